//! An episode whose items are given, played in a world.

use anyhow::{Result, ensure};

use crate::artifact::{Demonstrations, Termination, World};
use crate::env::Episodes;

/// What a world makes of given items.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Played {
    /// The places of the items that were shown: up to the one at which the user left, without those that may not be shown again.
    pub shown: Vec<usize>,
    /// Their rewards.
    pub rewards: Vec<f32>,
    /// Why it ended; the horizon also where the items ran out while the user stayed.
    pub end: Termination,
}

impl Played {
    /// Plays `items` for `user`, in their order.
    pub fn of(world: &World, user: u32, items: &[u32]) -> Result<Self> {
        let mut episodes = Episodes::new(world, &[user]);
        let mut shown = Vec::new();
        for (place, &item) in items.iter().enumerate() {
            if episodes.end(0).is_some() {
                break;
            }
            if episodes.episode(0).allowed(item) {
                episodes.step(&[0], &[item])?;
                shown.push(place);
            }
        }
        let end = episodes.end(0).unwrap_or(Termination::Horizon);
        Ok(Self { shown, rewards: episodes.rewards(0).to_vec(), end })
    }

    /// The return.
    pub fn total(&self) -> f64 {
        self.rewards.iter().map(|&reward| f64::from(reward)).sum()
    }
}

/// An error where a world does not know a user or an item of the demonstrations.
pub(super) fn check_known(demonstrations: &Demonstrations, world: &World, name: &str) -> Result<()> {
    let (users, items) = (world.users(), world.items());
    for (number, episode) in demonstrations.trajectories.iter().enumerate() {
        let mut all = episode.steps.iter().flat_map(|step| step.candidates.iter().chain([&step.item]));
        ensure!(
            (episode.user as usize) < users && all.all(|&item| (item as usize) < items),
            "episode {number} is of a user or an item that {name} of {users} users and {items} items does not have\nhelp: make both \
             from one ingest stage"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Repeats;
    use crate::env::cluster_world;

    #[test]
    fn the_user_leaves_by_the_rules_and_a_repeat_is_left_out() {
        // Clusters {0, 1}, {2, 3} and {4, 5}; the last item is remembered.
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 1, 9, 1);
        world.rules.repeats = Repeats::Masked;
        let played = Played::of(&world, 0, &[0, 2, 0, 4, 5, 1]).unwrap();
        assert_eq!((&played.shown[..], &played.rewards[..]), (&[0, 1, 3, 4][..], &[5.0, 4.0, 3.0, 3.0][..]));
        assert_eq!((played.total(), played.end), (15.0, Termination::Similar));
        assert_eq!(Played::of(&world, 0, &[0, 2]).unwrap().end, Termination::Horizon, "the items ran out");
    }
}
