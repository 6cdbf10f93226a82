//! Every step of every evaluated episode.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Float32Array, StringArray, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::frame;
use super::{Step, Termination, Trajectory};

/// The steps of one evaluated episode.
#[derive(Clone, Debug, PartialEq)]
pub struct EpisodeSteps {
    /// As [`Rollout::policy`](super::Rollout::policy).
    pub policy: String,
    /// As [`Rollout::cell`](super::Rollout::cell).
    pub cell: String,
    /// The user.
    pub user: u32,
    /// What was recommended, oldest first.
    pub items: Vec<u32>,
    /// The reward of each in the evaluation world.
    pub rewards: Vec<f32>,
    /// Why it ended.
    pub end: Termination,
}

impl EpisodeSteps {
    /// As a trajectory that was chosen from no candidates.
    #[must_use]
    pub fn trajectory(&self) -> Trajectory {
        let step = |(&item, &reward): (&u32, &f32)| Step {
            item,
            reward,
            candidates: Vec::new(),
            scores: Vec::new(),
            call: String::new(),
        };
        Trajectory { user: self.user, steps: self.items.iter().zip(&self.rewards).map(step).collect(), end: self.end }
    }
}

/// Parquet, one row a step, episodes in the order of [`Rollouts`](super::Rollouts): `policy: utf8`, `cell: utf8`, `user: u32`,
/// `t: u32` (from 0), `item: u32`, `reward: f32`, `end: utf8` (of the whole episode).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps(pub Vec<EpisodeSteps>);

impl Artifact for Steps {
    const KIND: &'static str = "steps";
    const EXTENSION: &'static str = "parquet";
    /// 2: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 2;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let each = || self.0.iter().flat_map(|played| (0..played.items.len()).map(move |t| (played, t)));
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("policy", Arc::new(StringArray::from_iter_values(each().map(|(played, _)| &played.policy)))),
            ("cell", Arc::new(StringArray::from_iter_values(each().map(|(played, _)| &played.cell)))),
            ("user", Arc::new(UInt32Array::from_iter_values(each().map(|(played, _)| played.user)))),
            ("t", Arc::new(UInt32Array::from_iter_values(each().map(|(_, t)| t as u32)))),
            ("item", Arc::new(UInt32Array::from_iter_values(each().map(|(played, t)| played.items[t])))),
            ("reward", Arc::new(Float32Array::from_iter_values(each().map(|(played, t)| played.rewards[t])))),
            ("end", Arc::new(StringArray::from_iter_values(each().map(|(played, _)| played.end.name())))),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let ids = |name| frame::column::<UInt32Array>(&batch, name);
        let (policy, cell, end) = (text("policy")?, text("cell")?, text("end")?);
        let (user, turn, item) = (ids("user")?, ids("t")?, ids("item")?);
        let reward = frame::column::<Float32Array>(&batch, "reward")?;
        let mut episodes: Vec<EpisodeSteps> = Vec::new();
        for row in 0..batch.num_rows() {
            if turn.value(row) == 0 || episodes.is_empty() {
                episodes.push(EpisodeSteps {
                    policy: policy.value(row).to_owned(),
                    cell: cell.value(row).to_owned(),
                    user: user.value(row),
                    items: Vec::new(),
                    rewards: Vec::new(),
                    end: Termination::from_name(end.value(row)).with_context(|| format!("row {row}"))?,
                });
            }
            if let Some(episode) = episodes.last_mut() {
                episode.items.push(item.value(row));
                episode.rewards.push(reward.value(row));
            }
        }
        Ok(Self(episodes))
    }
}
