//! How similar users are, and who is chosen by it.

use std::ops::Range;

use anyhow::{Result, ensure};
use pipeline::Context;

use super::gram::{Columns, pairs, symmetric};
use crate::artifact::{Array, Interactions};

/// Users who are compared, at most: a table of 8.6 GB.
const MOST: usize = 32_768;

/// The cosine of every two users' vectors, from −1 to 1; 1 to itself, 0 to others where a vector is 0.
pub(super) struct Similarity {
    users: usize,
    cosine: Vec<f64>,
}

impl Similarity {
    /// Of vectors `[U, n]`.
    pub(super) fn of(vectors: &Array, cx: &Context) -> Result<Self> {
        let (users, numbers) = (vectors.shape[0], vectors.shape[1]);
        ensure!(
            users <= MOST,
            "every two of {users} users are compared, a table of {} GB, and at most {MOST} users are\nhelp: keep fewer users, for example by \
             `filter.kcore`, or take another world",
            users * users * 8 / 1_000_000_000
        );
        let bar = cx.bar("similar users", Some(pairs(users)), "pairs");
        let length =
            |user: usize| vectors.row(user).iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt().max(1e-30);
        let lengths: Vec<f64> = (0..users).map(length).collect();
        let of = |numbers: Range<usize>, users: Range<usize>| -> Vec<f64> {
            let unit = |k: usize| users.clone().map(move |user| f64::from(vectors.row(user)[k]));
            let mut values = Vec::with_capacity(numbers.len() * users.len());
            numbers.for_each(|k| values.extend(unit(k).zip(&lengths[users.clone()]).map(|(x, length)| x / length)));
            values
        };
        let units = Columns { rows: numbers, of };
        let mut cosine = symmetric(users, &bar, cx, |left, right| units.products(left, right))?;
        (0..users).for_each(|user| cosine[user * users + user] = 1.0);
        Ok(Self { users, cosine })
    }

    pub(super) fn users(&self) -> usize {
        self.users
    }

    pub(super) fn between(&self, one: usize, other: usize) -> f64 {
        self.cosine[one * self.users + other]
    }

    /// The user, then one after the other who has the largest cos(u, v) + λ·mean_w (1 − cos(v, w)) over those w who were chosen beside
    /// the user; of equals the first.
    pub(super) fn choose(&self, user: usize, count: usize, diversity_coef: f64) -> Vec<usize> {
        let mut chosen = vec![user];
        // Σ_w cos(v, w) of each v.
        let mut alike = vec![0.0; self.users];
        let mut taken = vec![false; self.users];
        taken[user] = true;
        while chosen.len() < count.min(self.users) {
            let others = (chosen.len() - 1) as f64;
            let score = |v: usize| {
                let diversity = if others > 0.0 { 1.0 - alike[v] / others } else { 0.0 };
                self.between(user, v) + diversity_coef * diversity
            };
            let free = (0..self.users).filter(|&v| !taken[v]).map(|v| (v, score(v)));
            let best = free.reduce(|best, next| if next.1 > best.1 { next } else { best });
            let Some((next, _)) = best else { break };
            taken[next] = true;
            chosen.push(next);
            alike.iter_mut().enumerate().for_each(|(v, sum)| *sum += self.between(next, v));
        }
        chosen
    }
}

/// The ratings of each user, `[U, I]`: the last one of an item, 0 where there is none.
pub(super) fn of_log(log: &Interactions, users: usize, items: usize) -> Array {
    let mut rated = Array::new(&[users, items], vec![0.0; users * items]);
    for ((&user, &item), &rating) in log.user.iter().zip(&log.item).zip(&log.rating) {
        rated.data[user as usize * items + item as usize] = rating;
    }
    rated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[[f32; 2]]) -> Similarity {
        let cx = Context::detached(std::path::Path::new("unused"));
        Similarity::of(&Array::new(&[rows.len(), 2], rows.concat()), &cx).unwrap()
    }

    #[test]
    fn cosines_agree_with_hand_computed_values() {
        let similarity = of(&[[3.0, 4.0], [4.0, 3.0], [0.0, 0.0], [-6.0, -8.0]]);
        for (one, other, wanted) in [(0, 1, 0.96), (1, 0, 0.96), (0, 3, -1.0), (2, 2, 1.0), (0, 2, 0.0)] {
            assert!((similarity.between(one, other) - wanted).abs() < 1e-12, "{one} {other}");
        }
        assert_eq!(similarity.users(), 4);
    }

    #[test]
    fn more_users_than_a_table_holds_are_refused() {
        let cx = Context::detached(std::path::Path::new("unused"));
        let error = Similarity::of(&Array::new(&[MOST + 1, 0], vec![]), &cx).err().unwrap().to_string();
        assert!(error.starts_with("every two of 32769 users are compared, a table of 8 GB"), "{error}");
        assert!(error.contains("\nhelp: keep fewer users"), "{error}");
    }

    #[test]
    fn the_diverse_are_chosen_before_their_doubles() {
        // Directions at 0°, 5°, 6° and −20°.
        let at = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        let similarity = of(&[at(0.0), at(5.0), at(6.0), at(-20.0)]);
        assert_eq!(similarity.choose(0, 3, 0.0), [0, 1, 2], "the nearest");
        // 6°: 0.9945 + 1·(1 − cos 1°); −20°: 0.9397 + 1·(1 − cos 25°) = 1.0334.
        assert_eq!(similarity.choose(0, 3, 1.0), [0, 1, 3]);
        assert_eq!(similarity.choose(0, 9, 1.0).len(), 4, "no more than there are");
        assert_eq!(of(&[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]).choose(0, 2, 0.0), [0, 1], "of equals the first");
    }

    #[test]
    fn the_last_rating_of_an_item_counts() {
        let log = Interactions {
            user: vec![0, 1, 0],
            item: vec![1, 0, 1],
            rating: vec![2.0, 3.0, 4.0],
            timestamp: vec![0, 1, 2],
        };
        assert_eq!(of_log(&log, 2, 2).data, [0.0, 4.0, 3.0, 0.0]);
    }
}
