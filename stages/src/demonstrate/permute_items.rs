//! `demonstrate.permute_items`: what was recommended, dealt anew among all steps of all episodes.
//!
//! It is the control of demonstrations: the same items as often as before, in episodes of the same users and lengths, but an item says nothing
//! of its user, of its turn or of the items beside it. What a learner still gains from them comes from which items were recommended at
//! all. An item keeps its reward; `demonstrate.replay` computes rewards and ends anew in a world. The candidates, the scores and the call of a
//! step are left out, because they are of another item.

use std::collections::{HashSet, VecDeque};

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, Step};
use crate::nn::rng;

/// `demonstrate.permute_items`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PermuteItems {
    /// Seed of the permutation.
    pub seed: u64,
}

pipeline::ports! {
    /// The episodes.
    pub struct Inputs {
        /// Episodes of several users.
        demonstrations: Demonstrations,
    }
}

pipeline::ports! {
    /// Episodes of the same users and lengths.
    pub struct Outputs {
        /// In the same order, with other items.
        demonstrations: Demonstrations,
    }
}

impl Stage for PermuteItems {
    const KIND: &'static str = "demonstrate.permute_items";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "permute the recommended items among all steps of recorded episodes: the control of demonstrations";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let mut demonstrations = inputs.demonstrations;
        let steps = || demonstrations.trajectories.iter().flat_map(|episode| &episode.steps);
        let before: Vec<u32> = steps().map(|step| step.item).collect();
        let mut dealt: Vec<(u32, f32)> = steps().map(|step| (step.item, step.reward)).collect();
        dealt.shuffle(&mut rng(&[self.seed, 0x17e5]));
        let mut left = VecDeque::from(dealt);
        let mut repeats = 0;
        for episode in &mut demonstrations.trajectories {
            cx.check_cancelled()?;
            // All that is left before `first` was shown, and stays so until the episode ends.
            let (mut shown, mut first) = (HashSet::new(), 0);
            for step in &mut episode.steps {
                // An episode shows nothing twice as long as there is another item to deal.
                let new = left.range(first..).position(|(item, _)| !shown.contains(item)).map(|place| first + place);
                repeats += usize::from(new.is_none());
                first = new.unwrap_or(left.len().saturating_sub(1));
                let Some((item, reward)) = left.remove(new.unwrap_or(0)) else { break };
                *step = Step { item, reward, candidates: vec![], scores: vec![], call: String::new() };
                shown.insert(item);
            }
        }
        let after = demonstrations.trajectories.iter().flat_map(|episode| &episode.steps).map(|step| step.item);
        let moved = before.iter().zip(after).filter(|&(&before, after)| before != after).count();
        ensure!(
            moved > 0,
            "no step of {} episodes has another item than before\nhelp: connect episodes that show several items",
            demonstrations.trajectories.len()
        );
        cx.note("steps with another item", format!("{moved} of {}", before.len()));
        if repeats > 0 {
            cx.note("repeats within an episode", repeats);
        }
        Ok(Outputs { demonstrations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Termination, Trajectory};

    fn episode(user: u32, items: std::ops::Range<u32>) -> Trajectory {
        let step = |item: u32| Step {
            item,
            reward: item as f32 / 10.0,
            candidates: vec![item, 99],
            scores: vec![0.0, -1.0],
            call: "c".into(),
        };
        Trajectory { user, steps: items.map(step).collect(), end: Termination::Stopped }
    }

    fn permuted(seed: u64, trajectories: Vec<Trajectory>) -> Result<Vec<Trajectory>> {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs { demonstrations: Demonstrations::new(trajectories) };
        Ok(PermuteItems { seed }.run(inputs, &Context::detached(folder.path()))?.demonstrations.trajectories)
    }

    #[test]
    fn the_same_items_as_often_in_episodes_of_the_same_users_and_lengths() {
        // Items 0 to 24, most of them in two or three episodes.
        let episodes: Vec<Trajectory> = (0..10).map(|k| episode(k % 4, 2 * k..2 * k + 7)).collect();
        let found = permuted(1, episodes.clone()).unwrap();
        let items = |episodes: &[Trajectory]| {
            let mut items: Vec<u32> = episodes.iter().flat_map(|e| &e.steps).map(|step| step.item).collect();
            items.sort_unstable();
            items
        };
        assert_eq!(items(&found), items(&episodes));
        let mut moved = 0;
        for (before, after) in episodes.iter().zip(&found) {
            assert_eq!((before.user, before.steps.len(), before.end), (after.user, after.steps.len(), after.end));
            for (k, (old, new)) in before.steps.iter().zip(&after.steps).enumerate() {
                assert_eq!(new.reward, new.item as f32 / 10.0, "an item keeps its reward");
                assert!(new.candidates.is_empty() && new.scores.is_empty() && new.call.is_empty());
                assert!(after.steps[..k].iter().all(|step| step.item != new.item), "nothing twice: {after:?}");
                moved += usize::from(old.item != new.item);
            }
        }
        assert!(moved > 50, "{moved} of 70");
        assert_eq!(permuted(1, episodes.clone()).unwrap(), found);
        assert_ne!(permuted(2, episodes).unwrap(), found);
    }

    /// As dealt by looking through all that is left for each step.
    #[test]
    fn long_episodes_are_dealt_as_ever_and_at_once() {
        let repeated = |user: u32| Trajectory { user, ..episode(user, 0..40) };
        let mut episodes: Vec<Trajectory> = (0..3).map(repeated).collect();
        // 90 steps of 40 items: an episode has to repeat.
        let more = episodes[0].steps.clone();
        episodes[1].steps.extend(more.iter().chain(&more[..10]).cloned());
        let found = permuted(3, episodes.clone()).unwrap();
        let mut dealt: Vec<u32> = episodes.iter().flat_map(|e| &e.steps).map(|step| step.item).collect();
        let mut draw = rng(&[3, 0x17e5]);
        dealt.shuffle(&mut draw);
        let mut left = VecDeque::from(dealt);
        for episode in &found {
            let mut shown = Vec::new();
            for step in &episode.steps {
                let new = left.iter().position(|item| !shown.contains(item)).unwrap_or(0);
                assert_eq!(Some(step.item), left.remove(new));
                shown.push(step.item);
            }
        }
        // Two episodes of 30,000 steps each took minutes.
        let start = std::time::Instant::now();
        permuted(1, vec![episode(0, 0..30_000), episode(1, 0..30_000)]).unwrap();
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }

    #[test]
    fn where_nothing_can_move_that_is_said() {
        let error = permuted(0, vec![episode(0, 3..4), episode(1, 3..4)]).unwrap_err().to_string();
        assert!(error.contains("no step of 2 episodes has another item than before") && error.contains("help: "));
    }
}
