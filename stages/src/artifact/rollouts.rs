//! Every evaluated episode, from which the table can be recomputed.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, Float64Array, StringArray, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::Termination;
use super::frame;

/// One evaluated episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The row of the table it belongs to.
    pub policy: String,
    /// The training seed's cell (`seed=3`), or `episode=k` for a random baseline; empty where there is only one.
    pub cell: String,
    /// The user.
    pub user: u32,
    /// Steps, the quitting one included.
    pub length: u32,
    /// Sum of rewards, the quitting step's included.
    pub return_inclusive: f64,
    /// Sum of rewards of the steps that continued.
    pub return_exclusive: f64,
    /// Distinct items in the episode.
    pub distinct_items: u32,
    /// Mean 1 − 1/(1 + Δ) over the pairs of its items; 0 where there is one item.
    pub diversity: f64,
    /// Mean −ln of the items' shares in the train log, nats.
    pub novelty: f64,
    /// Share of its most frequent category; `None` where the world knows no categories.
    pub top_category: Option<f64>,
    /// Return of the same episode in the training world; `None` where none was connected.
    pub return_training_world: Option<f64>,
    /// Why it ended.
    pub end: Termination,
}

/// Parquet, one row an episode: `policy: utf8`, `cell: utf8`, `user: u32`, `length: u32`, `return_inclusive: f64`,
/// `return_exclusive: f64`, `distinct_items: u32`, `diversity: f64`, `novelty: f64`, `top_category: f64?`,
/// `return_training_world: f64?`, `end: utf8`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollouts(pub Vec<Rollout>);

impl Artifact for Rollouts {
    const KIND: &'static str = "rollouts";
    const EXTENSION: &'static str = "parquet";
    /// 3: with the spaces of ids that its row numbers belong to. 4: `distinct` is `distinct_items`, `return_training` is
    /// `return_training_world`, as in the metrics.
    const FORMAT: u32 = 4;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let rows = &self.0;
        let text =
            |pick: fn(&Rollout) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(pick))) };
        let count =
            |pick: fn(&Rollout) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows.iter().map(pick))) };
        let float = |pick: fn(&Rollout) -> Option<f64>| -> ArrayRef {
            Arc::new(rows.iter().map(pick).collect::<Float64Array>())
        };
        let columns = vec![
            ("policy", text(|r| &r.policy)),
            ("cell", text(|r| &r.cell)),
            ("user", count(|r| r.user)),
            ("length", count(|r| r.length)),
            ("return_inclusive", float(|r| Some(r.return_inclusive))),
            ("return_exclusive", float(|r| Some(r.return_exclusive))),
            ("distinct_items", count(|r| r.distinct_items)),
            ("diversity", float(|r| Some(r.diversity))),
            ("novelty", float(|r| Some(r.novelty))),
            ("top_category", float(|r| r.top_category)),
            ("return_training_world", float(|r| r.return_training_world)),
            ("end", text(|r| r.end.name())),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let ids = |name| frame::column::<UInt32Array>(&batch, name);
        let floats = |name| frame::column::<Float64Array>(&batch, name);
        let known = |name| frame::nullable::<Float64Array>(&batch, name);
        let (policy, cell, end) = (text("policy")?, text("cell")?, text("end")?);
        let (user, length, distinct_items) = (ids("user")?, ids("length")?, ids("distinct_items")?);
        let (return_inclusive, return_exclusive) = (floats("return_inclusive")?, floats("return_exclusive")?);
        let (diversity, novelty) = (floats("diversity")?, floats("novelty")?);
        let (top_category, return_training_world) = (known("top_category")?, known("return_training_world")?);
        let optional = |array: &Float64Array, row| array.is_valid(row).then(|| array.value(row));
        let row = |row| {
            Ok(Rollout {
                policy: policy.value(row).to_owned(),
                cell: cell.value(row).to_owned(),
                user: user.value(row),
                length: length.value(row),
                return_inclusive: return_inclusive.value(row),
                return_exclusive: return_exclusive.value(row),
                distinct_items: distinct_items.value(row),
                diversity: diversity.value(row),
                novelty: novelty.value(row),
                top_category: optional(top_category, row),
                return_training_world: optional(return_training_world, row),
                end: Termination::from_name(end.value(row)).with_context(|| format!("row {row}"))?,
            })
        };
        Ok(Self((0..batch.num_rows()).map(row).collect::<Result<_>>()?))
    }
}
