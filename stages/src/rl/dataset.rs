//! Demonstrated episodes as learners take them: the one place where they are checked against the world to learn in.
//!
//! What does not fit is refused, never dropped: an episode without one of its steps is another episode.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::artifact::{Demonstrations, Repeats, World};

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Demonstration {
    /// The user.
    pub user: u32,
    /// The items, at least one and at most as many as the horizon.
    pub items: Vec<u32>,
    /// Rewards of the world, which are part of the states.
    pub rewards: Vec<f32>,
    /// The same with the rules' penalty for leaving, if they have one: what is learned from.
    pub training_rewards: Vec<f32>,
    /// Whether the episode ended with its last item. If not, it was truncated, and the state after it has a value.
    pub terminal: bool,
}

impl Demonstration {
    /// All episodes, in their order.
    ///
    /// # Errors
    /// Where there is no step, and where one is none of the world: an unknown user or item, a reward that is no number, a turn
    /// beyond the horizon, a repeat that the world masks.
    pub fn all(demonstrations: &Demonstrations, world: &World) -> Result<Vec<Self>> {
        let (users, items, horizon) = (world.users(), world.items(), world.rules.horizon);
        let mut all = Vec::with_capacity(demonstrations.trajectories.len());
        for (t, trajectory) in demonstrations.trajectories.iter().enumerate() {
            ensure!(
                (trajectory.user as usize) < users,
                "demonstrated trajectory {t} is of user {}, the world has {users}\nhelp: make both from one ingest stage",
                trajectory.user
            );
            ensure!(
                trajectory.steps.len() <= horizon,
                "demonstrated trajectory {t} has {} steps, more than the world's horizon of {horizon}\nhelp: set \
                 `max_episode_length: {horizon}` in `demonstrate.from_log`, or raise `simulator.horizon`",
                trajectory.steps.len()
            );
            let mut shown = BTreeSet::new();
            for (s, step) in trajectory.steps.iter().enumerate() {
                let (item, place) = (step.item, || format!("demonstrated trajectory {t}, step {s}"));
                ensure!(
                    (item as usize) < items,
                    "{}: item {item} is not among the world's {items}\nhelp: make both from one ingest stage",
                    place()
                );
                ensure!(
                    step.reward.is_finite(),
                    "{}: the reward of item {item} is {}, which is not finite\nhelp: look at the world that computed it",
                    place(),
                    step.reward
                );
                ensure!(
                    shown.insert(item) || world.rules.repeats == Repeats::Allowed,
                    "{}: item {item} was shown before, and the world masks repeats\nhelp: let the demonstrations be played in a \
                     world that masks them, too, or take `simulator.repeats: allowed`",
                    place()
                );
            }
            let rewards: Vec<f32> = trajectory.steps.iter().map(|step| step.reward).collect();
            all.push(Self {
                user: trajectory.user,
                items: trajectory.steps.iter().map(|step| step.item).collect(),
                training_rewards: world.rules.training_rewards(&rewards, Some(trajectory.end)),
                rewards,
                terminal: trajectory.terminal(horizon),
            });
        }
        ensure!(
            all.iter().any(|episode| !episode.items.is_empty()),
            "no demonstrated step to learn from\nhelp: look at the `demonstrations` that are connected, `apprentice inspect` \
             shows them"
        );
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};
    use crate::env::cluster_world;

    fn world() -> World {
        cluster_world(&[5.0, 4.0, 3.0], 2, 2, 3, 2)
    }

    fn demonstrated(user: u32, items: &[u32], end: Termination) -> Demonstrations {
        let step = |&item: &u32| Step { item, reward: 4.0, candidates: vec![], scores: vec![], call: String::new() };
        Demonstrations::new(vec![Trajectory { user, steps: items.iter().map(step).collect(), end }])
    }

    #[test]
    fn an_episode_is_over_when_the_user_left_or_the_horizon_was_reached() {
        let terminal =
            |items: &[u32], end| Demonstration::all(&demonstrated(0, items, end), &world()).unwrap()[0].terminal;
        assert_eq!(
            [terminal(&[0, 2], Termination::Horizon), terminal(&[0, 2, 4], Termination::Horizon)],
            [false, true]
        );
        assert_eq!([terminal(&[0, 0], Termination::Similar), terminal(&[0], Termination::Stopped)], [true, true]);
    }

    #[test]
    fn the_penalty_for_leaving_is_told_in_the_place_of_the_last_reward() {
        let mut world = world();
        world.rules.quit_penalty = Some(-9.0);
        let of = |end| Demonstration::all(&demonstrated(0, &[0, 1], end), &world).unwrap().remove(0);
        assert_eq!(
            (of(Termination::Similar).training_rewards, of(Termination::Similar).rewards),
            (vec![4.0, -9.0], vec![4.0, 4.0])
        );
        assert_eq!(of(Termination::Horizon).training_rewards, [4.0, 4.0]);
    }

    #[test]
    fn what_the_world_does_not_have_is_refused_by_its_place() {
        let refused = |demonstrations: &Demonstrations, world: &World, wanted: &str| {
            let error = Demonstration::all(demonstrations, world).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("help: "), "{error}");
        };
        let (end, mut masked) = (Termination::Horizon, world());
        masked.rules.repeats = Repeats::Masked;
        refused(&demonstrated(2, &[0], end), &world(), "trajectory 0 is of user 2, the world has 2");
        refused(&demonstrated(0, &[0, 6], end), &world(), "trajectory 0, step 1: item 6 is not among the world's 6");
        refused(
            &demonstrated(0, &[0, 2, 4, 0], end),
            &world(),
            "trajectory 0 has 4 steps, more than the world's horizon of 3",
        );
        refused(&demonstrated(0, &[0, 2, 0], end), &masked, "trajectory 0, step 2: item 0 was shown before");
        refused(&demonstrated(0, &[], end), &world(), "no demonstrated step");
        let mut broken = demonstrated(0, &[0, 2], end);
        broken.trajectories[0].steps[1].reward = f32::NAN;
        refused(&broken, &world(), "trajectory 0, step 1: the reward of item 2 is NaN");
        assert!(Demonstration::all(&demonstrated(0, &[0, 2, 0], end), &world()).is_ok(), "repeats are allowed here");
    }
}
