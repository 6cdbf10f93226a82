//! Who likes what: a user likes an item when it is rated at or above the user's own mean, so that no scale is assumed.

use crate::artifact::Interactions;
use crate::ratings::SparseRows;

/// The likes of a log, by user and by item.
pub(super) struct Likes {
    /// For each user, liked items, ascending.
    of_user: SparseRows<()>,
    /// For each item, the users who like it, ascending.
    of_item: SparseRows<()>,
}

impl Likes {
    /// The likes in a log whose ids are below `users` and `items`.
    pub fn of(log: &Interactions, users: usize, items: usize) -> Self {
        let (mut sums, mut counts) = (vec![0.0; users], vec![0.0; users]);
        for (&user, &rating) in log.user.iter().zip(&log.rating) {
            sums[user as usize] += f64::from(rating);
            counts[user as usize] += 1.0;
        }
        let liked = || {
            let rows = log.user.iter().zip(&log.item).zip(&log.rating);
            let liked = rows.filter(|((user, _), rating)| {
                let user = **user as usize;
                f64::from(**rating) >= sums[user] / counts[user]
            });
            liked.map(|((&user, &item), _)| (user, item, ()))
        };
        let of_user = SparseRows::new(users, liked, |(), ()| {});
        Self { of_item: of_user.transposed(items), of_user }
    }

    /// How many pairs of a user and a liked item there are.
    pub fn len(&self) -> usize {
        self.of_user.len()
    }
    /// How many users.
    pub fn users(&self) -> usize {
        self.of_user.rows()
    }
    /// How many items.
    pub fn items(&self) -> usize {
        self.of_item.rows()
    }
    /// What a user likes, ascending.
    pub fn of_user(&self, user: usize) -> &[u32] {
        self.of_user.columns(user)
    }
    /// Who likes an item, ascending.
    pub fn of_item(&self, item: usize) -> &[u32] {
        self.of_item.columns(item)
    }
    /// How many likes are looked at to find what an item is liked together with: all those of the users who like it.
    pub fn work(&self, item: usize) -> u64 {
        self.of_item(item).iter().map(|&user| self.of_user(user as usize).len() as u64).sum()
    }
}
