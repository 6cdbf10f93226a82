//! Item-to-item similarity from what people like together: cosine of the items' columns of likes, its diagonal zero
//! (Sarwar et al. 2001, §3.1.1; Deshpande and Karypis 2004, §4.1).
//!
//! `similarity(h, i) = |users who like both| / √(|users who like h| · |users who like i|)`, and 0 for h = i: an item is no
//! evidence for itself. A user likes an item when it is rated at or above the user's own mean, so that no scale is assumed.
//! The score of an item is its shrunken mean rating + c · the mean similarity to what the user likes.

use rayon::prelude::*;

use crate::artifact::Interactions;

/// Who likes what.
pub(super) struct Likes {
    /// For each user, liked items, ascending.
    of_user: Vec<Vec<u32>>,
    /// For each item, the users who like it, ascending.
    of_item: Vec<Vec<u32>>,
}

impl Likes {
    /// The likes in a log whose ids are below `users` and `items`.
    pub fn of(log: &Interactions, users: usize, items: usize) -> Self {
        let (mut sums, mut counts) = (vec![0.0; users], vec![0.0; users]);
        for (&user, &rating) in log.user.iter().zip(&log.rating) {
            sums[user as usize] += f64::from(rating);
            counts[user as usize] += 1.0;
        }
        let mut of_user = vec![Vec::new(); users];
        for ((&user, &item), &rating) in log.user.iter().zip(&log.item).zip(&log.rating) {
            let user = user as usize;
            if f64::from(rating) >= sums[user] / counts[user] {
                of_user[user].push(item);
            }
        }
        let mut of_item = vec![Vec::new(); items];
        for (user, liked) in of_user.iter_mut().enumerate() {
            liked.sort_unstable();
            liked.dedup();
            for &item in &*liked {
                of_item[item as usize].push(user as u32);
            }
        }
        Self { of_user, of_item }
    }

    /// For each item, the others it shares a user with, ascending, and how similar they are.
    pub fn similarities(&self) -> Vec<Vec<(u32, f64)>> {
        let items = self.of_item.len();
        let row = |together: &mut Vec<u32>, h: usize| {
            let mut others = Vec::new();
            for &user in &self.of_item[h] {
                for &item in &self.of_user[user as usize] {
                    if together[item as usize] == 0 {
                        others.push(item);
                    }
                    together[item as usize] += 1;
                }
            }
            others.sort_unstable();
            let fans = |item: usize| self.of_item[item].len() as f64;
            let similarity = |item: u32| {
                let count = f64::from(std::mem::take(&mut together[item as usize]));
                (item, count / (fans(h) * fans(item as usize)).sqrt())
            };
            let mut row: Vec<(u32, f64)> =
                others.into_iter().map(similarity).filter(|&(item, _)| item as usize != h).collect();
            // It stays until every user is ranked, and grew by doubling.
            row.shrink_to_fit();
            row
        };
        (0..items).into_par_iter().map_init(|| vec![0; items], row).collect()
    }

    /// The mean similarity of each item to what `user` likes, `[I]`, into `company`; zeros for who likes nothing. A mean, where
    /// item-based top-N takes the sum, so that the balance with popularity is the same for a user of ten ratings and of a thousand.
    pub fn company(&self, user: usize, similar: &[Vec<(u32, f64)>], company: &mut Vec<f64>) {
        let liked = &self.of_user[user];
        company.clear();
        company.resize(self.of_item.len(), 0.0);
        for &h in liked {
            for &(item, similarity) in &similar[h as usize] {
                company[item as usize] += similarity;
            }
        }
        for value in company {
            *value /= liked.len().max(1) as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_is_the_cosine_of_likes() {
        // User 0 likes {0, 1}, user 1 {0, 1, 2} (rated alike), user 2 {2} and not 0.
        let log = Interactions {
            user: vec![0, 0, 1, 1, 1, 2, 2, 2],
            item: vec![0, 1, 2, 1, 0, 2, 0, 2],
            rating: vec![3.0, 3.0, 4.0, 4.0, 4.0, 5.0, 1.0, 5.0],
            timestamp: vec![0; 8],
        };
        let likes = Likes::of(&log, 3, 4);
        let similar = likes.similarities();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert_eq!(similar[0].iter().map(|pair| pair.0).collect::<Vec<_>>(), [1, 2]);
        assert!(near(similar[0][0].1, 1.0) && near(similar[0][1].1, 0.5));
        assert!(similar[3].is_empty());
        let mut company = vec![9.0; 2];
        likes.company(0, &similar, &mut company);
        assert_eq!(company.len(), 4);
        for (found, expected) in company.iter().zip([0.5, 0.5, 0.5, 0.0]) {
            assert!(near(*found, expected), "{company:?}");
        }
    }
}
