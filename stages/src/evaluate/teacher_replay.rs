//! The language model as a row: its recorded episodes are replayed and checked against the evaluation world.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

use crate::artifact::{Demonstrations, Termination, World};
use crate::env::Episodes;

/// The episodes of demonstrations in `world`, step by step; an error where they were not played in that very world.
pub(super) fn replay<'w>(world: &'w World, demonstrations: &Demonstrations) -> Result<Episodes<'w>> {
    let played = &demonstrations.trajectories;
    ensure!(!played.is_empty(), "played no episode\nhelp: let its demonstrate stage play with some users");
    let mut users = BTreeSet::new();
    for (t, trajectory) in played.iter().enumerate() {
        let (user, steps) = (trajectory.user, trajectory.steps.len());
        ensure!((user as usize) < world.users(), "{}", elsewhere(&format!("episode {t} is of user {user}")));
        ensure!(users.insert(user), "played twice with user {user}; a table takes one episode a user");
        ensure!(steps > 0, "its episode {t} has no step");
        let strange = trajectory.steps.iter().find(|choice| choice.item as usize >= world.items());
        if let Some(choice) = strange {
            bail!("{}", elsewhere(&format!("episode {t} shows item {}", choice.item)));
        }
    }
    let users: Vec<u32> = played.iter().map(|trajectory| trajectory.user).collect();
    let mut episodes = Episodes::new(world, &users);
    for step in 0.. {
        let live: Vec<usize> = (0..played.len()).filter(|&e| step < played[e].steps.len()).collect();
        if live.is_empty() {
            break;
        }
        if let Some(&e) = live.iter().find(|&&e| episodes.end(e).is_some()) {
            bail!("{}", elsewhere(&format!("episode {e} goes on after step {step}, at which its user left")));
        }
        let actions: Vec<u32> = live.iter().map(|&e| played[e].steps[step].item).collect();
        episodes.step(&live, &actions)?;
        for &e in &live {
            let (recorded, found) =
                (played[e].steps[step].reward, *episodes.rewards(e).last().context("a step was made")?);
            if recorded != found {
                let what = format!("step {step} of episode {e} has reward {recorded}, this world gives {found}");
                bail!("{}", elsewhere(&what));
            }
        }
    }
    for (e, trajectory) in played.iter().enumerate() {
        let end = episodes.end(e).unwrap_or(Termination::Horizon);
        if end != trajectory.end {
            let what = format!("episode {e} ended by {}, here by {}", trajectory.end.name(), end.name());
            bail!("{}", elsewhere(&what));
        }
    }
    Ok(episodes)
}

fn elsewhere(what: &str) -> String {
    format!(
        "played in another world than the evaluation world: {what}\nhelp: connect `teacher` to a demonstrate stage \
         whose `world` is the evaluation world"
    )
}

/// The number of turns of the teacher with each user, over which other rows are compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TurnLimits {
    /// With most.
    pub most: usize,
    /// With users who stayed although it had stopped earlier: a recording ran out of items.
    pub fewer: BTreeMap<u32, usize>,
}

impl TurnLimits {
    /// With that user.
    pub fn with(&self, user: u32) -> usize {
        self.fewer.get(&user).copied().unwrap_or(self.most)
    }
}

/// Turns after which the teacher's episodes were cut; its player may have had less patience than the world. Who left would
/// have been shown as many as anyone.
pub(super) fn turns(episodes: &Episodes) -> TurnLimits {
    let horizon = episodes.world().rules.horizon;
    let cut = |e: &usize| episodes.end(*e).is_none();
    let length = |e: usize| (episodes.user(e), episodes.items(e).len());
    let whole = (0..episodes.len()).any(|e| episodes.end(e) == Some(Termination::Horizon));
    let longest = (0..episodes.len()).filter(cut).map(|e| length(e).1).max();
    let most = if whole { horizon } else { longest.unwrap_or(horizon) };
    TurnLimits { most, fewer: (0..episodes.len()).filter(cut).map(length).filter(|(_, turns)| *turns < most).collect() }
}

/// The users and the turn limits of a teacher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TeacherCoverage {
    /// In its own order.
    pub users: Vec<u32>,
    pub turns: TurnLimits,
    /// Whether every one of these users is evaluated; else nothing is compared with it.
    pub evaluated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Trajectory};
    use crate::env::cluster_world;

    fn trajectory(user: u32, steps: &[(u32, f32)], end: Termination) -> Trajectory {
        let choice = |&(item, reward): &(u32, f32)| Step {
            item,
            reward,
            candidates: Vec::new(),
            scores: Vec::new(),
            call: String::new(),
        };
        Trajectory { user, steps: steps.iter().map(choice).collect(), end }
    }

    #[test]
    fn episodes_are_played_again_and_a_shorter_cut_is_seen() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let recorded = Demonstrations::new(vec![
            trajectory(2, &[(0, 5.0), (1, 5.0)], Termination::Similar),
            trajectory(0, &[(0, 5.0), (2, 4.0), (0, 5.0)], Termination::Horizon),
        ]);
        let episodes = replay(&world, &recorded).unwrap();
        assert_eq!((episodes.end(0), episodes.end(1)), (Some(Termination::Similar), None));
        assert_eq!(turns(&episodes), TurnLimits { most: 3, fewer: BTreeMap::new() });
    }

    #[test]
    fn a_user_whose_items_ran_out_is_compared_over_as_many_turns() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 3, 3);
        let mut recorded = Demonstrations::new(vec![
            trajectory(2, &[(0, 5.0), (2, 4.0)], Termination::Horizon),
            trajectory(1, &[(0, 5.0)], Termination::Horizon),
            trajectory(0, &[(0, 5.0), (1, 5.0)], Termination::Similar),
        ]);
        let given = |recorded: &Demonstrations| {
            let turns = turns(&replay(&world, recorded).unwrap());
            [2, 1, 0].map(|user| turns.with(user))
        };
        assert_eq!(given(&recorded), [2, 1, 2]);
        recorded.trajectories[2] = trajectory(0, &[(0, 5.0), (2, 4.0), (0, 5.0)], Termination::Horizon);
        assert_eq!(given(&recorded), [2, 1, 3]);
    }

    #[test]
    fn what_another_world_answered_is_refused() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let error = |trajectories| replay(&world, &Demonstrations::new(trajectories)).err().unwrap().to_string();
        let cases = [
            (trajectory(0, &[(0, 3.0)], Termination::Horizon), "step 0 of episode 0 has reward 3, this world gives 5"),
            (trajectory(3, &[(0, 5.0)], Termination::Horizon), "episode 0 is of user 3"),
            (trajectory(0, &[(4, 5.0)], Termination::Horizon), "episode 0 shows item 4"),
            (trajectory(0, &[(0, 5.0), (1, 5.0), (2, 4.0)], Termination::Horizon), "goes on after step 2"),
            (trajectory(0, &[(0, 5.0), (2, 4.0)], Termination::Similar), "ended by similar, here by horizon"),
        ];
        for (trajectory, expected) in cases {
            let found = error(vec![trajectory]);
            assert!(found.contains(expected) && found.contains("help: "), "{found}");
        }
        let one = || trajectory(1, &[(0, 5.0)], Termination::Horizon);
        assert!(error(vec![one(), one()]).contains("twice with user 1"));
        assert!(error(Vec::new()).contains("played no episode"));
    }
}
