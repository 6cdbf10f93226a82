//! The users with whom a demonstrator plays: equal for every demonstrator of the same number and seed.

use anyhow::{Result, ensure};
use rand::seq::SliceRandom;

use crate::artifact::World;
use crate::nn::rng;

/// Whether the world has that many users.
pub(super) fn check_users(count: usize, world: &World) -> Result<()> {
    let users = world.users();
    ensure!(count <= users, "`users` is {count}, the world has {users} users\nhelp: lower `users`");
    Ok(())
}

/// The first users of a shuffle of all, in ascending order: a larger sample contains every smaller one of its seed.
pub(super) fn sample_users(count: usize, seed: u64, world: &World) -> Vec<u32> {
    let mut order: Vec<u32> = (0..world.users() as u32).collect();
    order.shuffle(&mut rng(&[seed, 0xde30]));
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn more_users_keep_the_fewer() {
        let world = cluster_world(&[1.0], 1, 1, 1, 100);
        let (few, more) = (sample_users(4, 1, &world), sample_users(20, 1, &world));
        assert!(few.len() == 4 && more.len() == 20 && few.iter().all(|user| more.contains(user)));
        assert!(few.is_sorted());
        assert_ne!(few, sample_users(4, 2, &world));
        assert!(check_users(100, &world).is_ok() && check_users(101, &world).is_err());
    }
}
