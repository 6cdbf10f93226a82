//! `demonstrate.replay`: recorded episodes, replayed in a world.
//!
//! The items are the recorded ones; the rewards and the end of the episode are the world's. An episode whose items run out while
//! the user stays is truncated. The recommendations of a recorded model can thus be evaluated beside policies. The limit of the
//! method: the model did not see these rewards, and would have continued differently.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use pipeline::{Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, Step, Termination, Trajectory, World};
use crate::env::Episodes;

/// `demonstrate.replay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Replay {
    /// Maximum number of episodes per user, the first recorded ones; all when absent. The evaluation's teacher needs 1.
    pub max_episodes_per_user: Option<usize>,
}

pipeline::ports! {
    /// The world and the recorded episodes.
    pub struct Inputs {
        /// The world in which the episodes are replayed.
        world: World,
        /// The recorded episodes.
        demonstrations: Demonstrations,
    }
}

pipeline::ports! {
    /// The replayed episodes.
    pub struct Outputs {
        /// The same items with this world's rewards, up to the turn at which the user leaves.
        demonstrations: Demonstrations,
    }
}

impl Stage for Replay {
    const KIND: &'static str = "demonstrate.replay";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "replay recorded episodes in a world";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.max_episodes_per_user == Some(0) {
            return Err(("max_episodes_per_user".into(), "at least one episode; leave it out for all".into()));
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let mut played: BTreeMap<u32, usize> = BTreeMap::new();
        let mut trajectories = Vec::new();
        let mut unused = 0;
        for (number, recorded) in inputs.demonstrations.trajectories.iter().enumerate() {
            let played = played.entry(recorded.user).or_default();
            if self.max_episodes_per_user.is_some_and(|most| *played >= most) {
                continue;
            }
            *played += 1;
            ensure!(
                (recorded.user as usize) < world.users()
                    && recorded.steps.iter().all(|step| (step.item as usize) < world.items()),
                "episode {number} is of a user or an item that the world of {} users and {} items does not have\nhelp: make \
                 both from one ingest stage",
                world.users(),
                world.items()
            );
            let trajectory =
                replayed(world, recorded).with_context(|| format!("episode {number} of user {}", recorded.user))?;
            unused += recorded.steps.len() - trajectory.steps.len();
            trajectories.push(trajectory);
        }
        ensure!(!trajectories.is_empty(), "no episode to replay\nhelp: look at the connected `demonstrations`");
        cx.note("episodes", trajectories.len());
        cx.note("items after the user had left", unused);
        let ran_out = trajectories.iter().filter(|played| ran_out(played, world)).count();
        if ran_out > 0 {
            cx.note(
                "items ran out while the user stayed",
                format!("{ran_out} episodes, whose returns are therefore lower bounds"),
            );
        }
        Ok(Outputs { demonstrations: Demonstrations { trajectories, ..inputs.demonstrations } })
    }
}

fn replayed(world: &World, recorded: &Trajectory) -> Result<Trajectory> {
    let mut episodes = Episodes::new(world, &[recorded.user]);
    let mut steps: Vec<Step> = Vec::new();
    for step in &recorded.steps {
        episodes.step(&[0], &[step.item]).with_context(|| {
            format!(
                "step {} cannot be replayed in this world\nhelp: record episodes in a world that masks repeats, too, or set \
                 `simulator.repeats: allowed`",
                steps.len()
            )
        })?;
        let reward = episodes.rewards(0)[steps.len()];
        steps.push(Step { reward, ..step.clone() });
        if episodes.end(0).is_some() {
            break;
        }
    }
    Ok(Trajectory { user: recorded.user, steps, end: episodes.end(0).unwrap_or(Termination::Horizon) })
}

/// Whether the recorded items ran out before the world's last turn.
fn ran_out(played: &Trajectory, world: &World) -> bool {
    played.end == Termination::Horizon && played.steps.len() < world.rules.horizon
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    fn recorded(user: u32, items: &[u32]) -> Trajectory {
        let step = |&item: &u32| Step { item, reward: 0.5, candidates: vec![], scores: vec![], call: "c".into() };
        Trajectory { user, steps: items.iter().map(step).collect(), end: Termination::Stopped }
    }

    #[test]
    fn the_world_answers_and_the_user_leaves_when_this_world_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let run = |max_episodes_per_user, trajectories| {
            // Clusters {0, 1} and {2, 3} pay 5 and 4; the last item is remembered.
            let inputs = Inputs {
                world: cluster_world(&[5.0, 4.0], 2, 1, 9, 2),
                demonstrations: Demonstrations::new(trajectories),
            };
            Replay { max_episodes_per_user }.run(inputs, &Context::detached(folder.path()))
        };
        let all = vec![recorded(1, &[0, 2, 3, 1]), recorded(1, &[0, 2]), recorded(0, &[2])];
        let out = run(None, all.clone()).unwrap().demonstrations.trajectories;
        let rewards: Vec<f32> = out[0].steps.iter().map(|step| step.reward).collect();
        assert_eq!((rewards, out[0].end), (vec![5.0, 4.0, 4.0], Termination::Similar));
        assert_eq!((out[1].steps.len(), out[1].end, out[1].steps[0].call.as_str()), (2, Termination::Horizon, "c"));
        let world = cluster_world(&[5.0, 4.0], 2, 1, 2, 2);
        assert!(ran_out(&out[1], &cluster_world(&[5.0, 4.0], 2, 1, 9, 2)), "two items of nine turns");
        assert!(!ran_out(&out[1], &world) && !ran_out(&out[0], &world), "the last turn was played, or the user left");
        let first: Vec<u32> =
            run(Some(1), all).unwrap().demonstrations.trajectories.iter().map(|episode| episode.user).collect();
        assert_eq!(first, [1, 0]);
        assert!(run(None, vec![recorded(2, &[0])]).err().unwrap().to_string().contains("episode 0 is of a user"));
        assert!(run(None, vec![]).is_err());
    }

    #[test]
    fn a_repeat_where_repeats_are_masked_is_told_with_its_place() {
        let mut world = cluster_world(&[5.0, 4.0], 2, 1, 9, 2);
        world.rules.repeats = crate::artifact::Repeats::Masked;
        let trajectories = vec![recorded(0, &[0, 2]), recorded(1, &[0, 2, 0])];
        let inputs = Inputs { world, demonstrations: Demonstrations::new(trajectories) };
        let folder = tempfile::tempdir().unwrap();
        let error = Replay::default().run(inputs, &Context::detached(folder.path())).err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains("episode 1 of user 1: step 2 cannot be replayed in this world\nhelp: "), "{error}");
    }
}
