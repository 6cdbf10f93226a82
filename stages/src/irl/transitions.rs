//! Transitions in flat arrays, demonstrated or generated, and their form in a checkpoint.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::artifact::{Array, Demonstrations, World};
use crate::env::{Observation, last_steps};
use crate::rl::BcDataset;
use crate::rl::a2c::Batch;

/// S transitions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transitions {
    /// `[S]`, states.
    pub observation: Observation,
    /// `[S]`, recommended items.
    pub actions: Vec<u32>,
    /// `[S]`, whether the state after the step is terminal.
    pub terminal: Vec<bool>,
}

impl Transitions {
    /// The expert's steps, in the order of the demonstrations. The last step of a demonstration that was truncated before the world's
    /// horizon is not terminal.
    pub fn demonstrated(pairs: &BcDataset, demonstrations: &Demonstrations, world: &World) -> Self {
        let terminal = demonstrations.trajectories.iter().flat_map(|trajectory| {
            let (length, ends) = (trajectory.steps.len(), trajectory.terminal(world.rules.horizon));
            (1..=length).map(move |step| ends && step == length)
        });
        Self { terminal: terminal.collect(), observation: pairs.observation.clone(), actions: pairs.actions.clone() }
    }

    /// The generator's steps.
    pub fn generated(batch: Batch) -> Self {
        Self { terminal: last_steps(&batch.lengths), observation: batch.observation, actions: batch.actions }
    }

    /// `count` steps drawn without replacement, or all where there are fewer; in their order.
    pub fn sample(&self, count: usize, mut draw: ChaCha8Rng) -> Self {
        let mut rows: Vec<usize> = (0..self.actions.len()).collect();
        if rows.len() > count {
            rows.shuffle(&mut draw);
            rows.truncate(count);
            rows.sort_unstable();
        }
        Self {
            observation: self.observation.take(&rows),
            actions: rows.iter().map(|&row| self.actions[row]).collect(),
            terminal: rows.iter().map(|&row| self.terminal[row]).collect(),
        }
    }

    /// As arrays with names below `prefix`. Ids are below 2²⁴, so f32 holds them exactly.
    pub fn save(&self, prefix: &str) -> Vec<(String, Array)> {
        let steps = self.actions.len();
        let ids = |ids: &[u32]| ids.iter().map(|&id| id as f32).collect::<Vec<f32>>();
        let window = &[steps, self.observation.window];
        let terminal = self.terminal.iter().map(|&terminal| f32::from(terminal)).collect();
        let arrays = [
            ("user", Array::new(&[steps], ids(&self.observation.user))),
            ("recent", Array::new(window, ids(&self.observation.recent))),
            ("rewards", Array::new(window, self.observation.rewards.clone())),
            ("progress", Array::new(&[steps], self.observation.progress.clone())),
            ("actions", Array::new(&[steps], ids(&self.actions))),
            ("terminal", Array::new(&[steps], terminal)),
        ];
        let ends: Vec<u32> = self.observation.mask_ends.iter().map(|&end| end as u32).collect();
        let masks = [("masks", &self.observation.masks), ("mask_ends", &ends)];
        let masks = masks.map(|(name, values)| (name, Array::new(&[values.len()], ids(values))));
        let masks = masks.into_iter().filter(|_| self.observation.masking);
        arrays.into_iter().chain(masks).map(|(name, array)| (format!("{prefix}.{name}"), array)).collect()
    }

    /// Reads what [`Transitions::save`] wrote.
    pub fn restore(arrays: &BTreeMap<String, Array>, prefix: &str) -> Result<Self> {
        let get = |name: &str| {
            let name = format!("{prefix}.{name}");
            arrays.get(&name).with_context(|| format!("no array `{name}` in the checkpoint"))
        };
        let ids =
            |name: &str| Ok::<_, anyhow::Error>(get(name)?.data.iter().map(|&id| id as u32).collect::<Vec<u32>>());
        let recent = get("recent")?;
        Ok(Self {
            observation: Observation {
                user: ids("user")?,
                recent: ids("recent")?,
                rewards: get("rewards")?.data.clone(),
                progress: get("progress")?.data.clone(),
                window: recent.shape[1],
                masking: arrays.contains_key(&format!("{prefix}.masks")),
                masks: ids("masks").unwrap_or_default(),
                mask_ends: ids("mask_ends").unwrap_or_default().into_iter().map(|end| end as usize).collect(),
            },
            actions: ids("actions")?,
            terminal: get("terminal")?.data.iter().map(|&terminal| terminal > 0.5).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};
    use crate::env::cluster_world;
    use crate::nn::rng;

    #[test]
    fn steps_come_back_and_a_cut_demonstration_is_not_over() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 3, 2);
        let step = |item| Step { item, reward: 4.0, candidates: vec![], scores: vec![], call: String::new() };
        let trajectory =
            |items: &[u32], end| Trajectory { user: 1, steps: items.iter().map(|&i| step(i)).collect(), end };
        let trajectories = vec![
            trajectory(&[0, 2], Termination::Horizon),
            trajectory(&[0, 2, 4], Termination::Horizon),
            trajectory(&[1, 0], Termination::Similar),
        ];
        let demonstrations = Demonstrations::new(trajectories);
        let pairs = BcDataset::new(&demonstrations, None, &world, 2).unwrap();
        let steps = Transitions::demonstrated(&pairs, &demonstrations, &world);
        assert_eq!(steps.terminal, [false, false, false, false, true, false, true]);
        let saved: BTreeMap<String, Array> = steps.save("x").into_iter().collect();
        assert_eq!(Transitions::restore(&saved, "x").unwrap(), steps);
        assert_eq!(steps.sample(7, rng(&[1])), steps);
        let drawn = |seed| steps.sample(2, rng(&[seed]));
        assert_eq!((drawn(1).actions.len(), drawn(1)), (2, drawn(1)));
        let reaches_the_last = (0..20).any(|seed| drawn(seed).observation.progress[1] > 0.5 && drawn(seed).terminal[1]);
        assert!(reaches_the_last, "not only the first steps are shown");
        assert!(Transitions::restore(&saved, "y").is_err());
    }
}
