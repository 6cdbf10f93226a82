//! Item-to-item similarity from what people like together: cosine of the items' columns of likes, its diagonal zero
//! (Sarwar et al. 2001, §3.1.1; Deshpande and Karypis 2004, §4.1).
//!
//! `similarity(h, i) = |users who like both| / √(|users who like h| · |users who like i|)`, and 0 for h = i: an item is no
//! evidence for itself. With `n_neighbors` only the most similar items of each h count (the model size k of Deshpande and
//! Karypis 2004, §4.1).
//!
//! The similarities of one item need a pass over all likes of the users who like it: Σ over users of (likes)² for all items. That is
//! the only place where a user with many likes costs their square, and the bar counts it. Rows that fit into [`ROOM`] are kept. Else
//! the users are ranked block by block, and each block makes the rows that it needs, part by part, once more.

use anyhow::Result;
use pipeline::Context;
use rayon::prelude::*;

use super::company::{Company, Ranking, Row};
use super::likes::Likes;
use super::top_k::Ranked;

/// Numbers that are kept at once of each kind, similarities of pairs (12 bytes each) and sums of users (8 bytes each): 640 MiB.
pub(super) const ROOM: usize = 1 << 25;

/// Ranks the catalogue for each user.
pub(super) struct Cooccurrence<'a> {
    pub likes: &'a Likes,
    pub ranking: &'a Ranking<'a>,
    /// Of each item, how many of the most similar ones count; all without a value.
    pub n_neighbors: Option<usize>,
    /// [`ROOM`], and less in tests.
    pub room: usize,
}

impl Cooccurrence<'_> {
    /// The candidates of each user.
    pub fn rank(&self, cx: &Context) -> Result<Vec<Ranked>> {
        // A row holds at most the catalogue, and at most what it is made from.
        let longest = |item| (self.likes.items() as u64).min(self.likes.work(item));
        let pairs: u64 = (0..self.likes.items()).map(longest).sum();
        match self.n_neighbors.is_some() || pairs <= self.room as u64 {
            true => self.rank_by_kept_rows(cx),
            false => self.rank_by_blocks(cx),
        }
    }

    fn rank_by_kept_rows(&self, cx: &Context) -> Result<Vec<Ranked>> {
        let (users, items) = (self.likes.users(), self.likes.items());
        let work = (0..items).map(|item| self.likes.work(item)).sum();
        let bar = cx.bar("similarities", Some(work), "pairs");
        let row = |together: &mut Vec<u32>, item| {
            cx.check_cancelled()?;
            let row = self.row(together, item);
            bar.inc(self.likes.work(item));
            anyhow::Ok(row)
        };
        let rows: Vec<Row> = (0..items).into_par_iter().map_init(|| vec![0; items], row).collect::<Result<_>>()?;
        drop(bar);
        let bar = cx.bar("rank", Some(users as u64), "users");
        let rank = |company: &mut Company, user: usize| {
            cx.check_cancelled()?;
            let liked = self.likes.of_user(user);
            company.add_all(liked, |item| &rows[item as usize]);
            bar.inc(1);
            Ok(self.ranking.of(company, liked.len()))
        };
        // What is as long as the catalogue is kept once for each thread, not once for each user.
        (0..users).into_par_iter().map_init(|| Company::new(items), rank).collect()
    }

    /// As many users at a time as there is room for their sums. Each sum is added in the order of the liked items, as with kept
    /// rows, so that the bytes are the same.
    fn rank_by_blocks(&self, cx: &Context) -> Result<Vec<Ranked>> {
        let (users, items) = (self.likes.users(), self.likes.items());
        let bar = cx.bar("rank", Some(self.likes.len() as u64), "likes");
        let mut ranked = Vec::with_capacity(users);
        let at_once = (self.room / items).max(rayon::current_num_threads()).min(users);
        let mut companies: Vec<Company> = (0..at_once).map(|_| Company::new(items)).collect();
        for first in (0..users).step_by(at_once) {
            let block = first..users.min(first + at_once);
            let mut liked: Vec<u32> = block.clone().flat_map(|user| self.likes.of_user(user)).copied().collect();
            liked.sort_unstable();
            liked.dedup();
            let mut rest = &liked[..];
            while !rest.is_empty() {
                let (part, others) = rest.split_at(self.fitting(rest));
                rest = others;
                let row = |together: &mut Vec<u32>, &item: &u32| {
                    cx.check_cancelled()?;
                    Ok(self.row(together, item as usize))
                };
                let rows: Vec<Row> = part.par_iter().map_init(|| vec![0; items], row).collect::<Result<_>>()?;
                companies.par_iter_mut().zip(block.clone()).try_for_each(|(company, user)| {
                    cx.check_cancelled()?;
                    let all = self.likes.of_user(user);
                    let from = all.partition_point(|item| *item < part[0]);
                    let until = all.partition_point(|item| *item <= part[part.len() - 1]);
                    let row = |item: u32| &rows[part.partition_point(|other| *other < item)];
                    company.add_all(&all[from..until], row);
                    bar.inc((until - from) as u64);
                    anyhow::Ok(())
                })?;
            }
            let rank =
                |(company, user): (&mut Company, usize)| self.ranking.of(company, self.likes.of_user(user).len());
            ranked.par_extend(companies.par_iter_mut().zip(block).map(rank));
        }
        Ok(ranked)
    }

    /// How many of these items have rows that fit into the room together; at least one.
    fn fitting(&self, items: &[u32]) -> usize {
        let mut pairs = 0;
        let full = items.iter().position(|&item| {
            pairs += (self.likes.items() as u64).min(self.likes.work(item as usize));
            pairs > self.room as u64
        });
        full.unwrap_or(items.len()).max(1)
    }

    /// The similarities of one item; `together` is `[I]` zeros before and after.
    fn row(&self, together: &mut [u32], h: usize) -> Row {
        let mut others = Vec::new();
        for &user in self.likes.of_item(h) {
            for &item in self.likes.of_user(user as usize) {
                if together[item as usize] == 0 {
                    others.push(item);
                }
                together[item as usize] += 1;
            }
        }
        let fans = |item: usize| self.likes.of_item(item).len() as f64;
        let similarity = |item: u32| {
            let count = f64::from(std::mem::take(&mut together[item as usize]));
            (item, count / (fans(h) * fans(item as usize)).sqrt())
        };
        let mut row: Vec<(u32, f64)> =
            others.into_iter().map(similarity).filter(|&(item, _)| item as usize != h).collect();
        if let Some(n_neighbors) = self.n_neighbors.filter(|n_neighbors| *n_neighbors < row.len()) {
            row.select_nth_unstable_by(n_neighbors, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            row.truncate(n_neighbors);
        }
        row.sort_unstable_by_key(|pair| pair.0);
        Row { items: row.iter().map(|pair| pair.0).collect(), similarity: row.iter().map(|pair| pair.1).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Interactions;

    /// User 0 likes {0, 1}, user 1 {0, 1, 2} (rated alike), user 2 {2} and not 0.
    fn likes() -> Likes {
        let log = Interactions {
            user: vec![0, 0, 1, 1, 1, 2, 2, 2],
            item: vec![0, 1, 2, 1, 0, 2, 0, 2],
            rating: vec![3.0, 3.0, 4.0, 4.0, 4.0, 5.0, 1.0, 5.0],
            timestamp: vec![0; 8],
        };
        Likes::of(&log, 3, 4)
    }

    #[test]
    fn similarity_is_the_cosine_of_likes() {
        let likes = likes();
        let ranking = Ranking::new(&[0.0; 4], 1.0, 4);
        let of = |n_neighbors, item| {
            let model = Cooccurrence { likes: &likes, ranking: &ranking, n_neighbors, room: ROOM };
            let row = model.row(&mut [0; 4], item);
            row.items.iter().copied().zip(row.similarity.iter().copied()).collect::<Vec<_>>()
        };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        let row = of(None, 0);
        assert_eq!(row.iter().map(|pair| pair.0).collect::<Vec<_>>(), [1, 2]);
        assert!(near(row[0].1, 1.0) && near(row[1].1, 0.5));
        assert!(of(None, 3).is_empty());
        assert_eq!(of(Some(1), 0), [(1, 1.0)]);
        // 0 and 1 are equally similar to 2, and the lower number stays.
        assert_eq!(of(Some(1), 2).iter().map(|pair| pair.0).collect::<Vec<_>>(), [0]);
        let mut company = Company::new(4);
        let model = Cooccurrence { likes: &likes, ranking: &ranking, n_neighbors: None, room: ROOM };
        let rows: Vec<Row> = (0..4).map(|item| model.row(&mut [0; 4], item)).collect();
        company.add_all(likes.of_user(0), |item| &rows[item as usize]);
        let (items, scores) = ranking.of(&mut company, 2);
        assert_eq!((items, scores), (vec![0, 1, 2, 3], vec![0.5, 0.5, 0.5, 0.0]));
    }

    /// 40 users of 1 to 40 likes among 60 items, one item that nobody likes.
    #[test]
    fn blocks_of_any_size_give_the_bytes_of_kept_rows() {
        let mut log = Interactions::default();
        for user in 0..40_u32 {
            for turn in 0..=user {
                log.user.push(user);
                log.item.push((user * 31 + turn * turn * 7) % 59);
                log.rating.push(((user + turn * 5) % 4) as f32);
                log.timestamp.push(0);
            }
        }
        let likes = Likes::of(&log, 41, 60);
        let mean: Vec<f64> = (0..60).map(|item| f64::from(item % 7)).collect();
        let ranking = Ranking::new(&mean, 16.0, 9);
        let cx = Context::detached(std::path::Path::new("unused"));
        let ranked =
            |room, n_neighbors| Cooccurrence { likes: &likes, ranking: &ranking, n_neighbors, room }.rank(&cx).unwrap();
        let kept = ranked(ROOM, None);
        for room in [1, 60, 130, 1_000] {
            assert!(ranked(room, None) == kept, "{room}");
        }
        assert!(ranked(ROOM, Some(59)) == kept && ranked(ROOM, Some(2)) != kept);
        let of_nobody = ranking.of(&mut Company::new(60), 0);
        assert_eq!(kept[40], of_nobody);
        cx.interrupt();
        for room in [1, ROOM] {
            let model = Cooccurrence { likes: &likes, ranking: &ranking, n_neighbors: None, room };
            assert!(model.rank(&cx).unwrap_err().is::<pipeline::Interrupted>());
        }
    }
}
