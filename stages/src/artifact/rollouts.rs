//! Every judged episode, so that anyone can recompute the table.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Float32Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::End;
use super::frame;

/// One judged episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// The row of the table it belongs to.
    pub policy: String,
    /// The training seed's cell (`seed=3`), or `episode=k` for a control that draws; empty where there is only one.
    pub cell: String,
    /// The user.
    pub user: u32,
    /// Steps, the quitting one included.
    pub length: u32,
    /// Sum of rewards, the quitting step's included.
    pub inclusive: f32,
    /// Sum of rewards of the steps that continued.
    pub exclusive: f32,
    /// Distinct items in the episode.
    pub distinct: u32,
    /// Why it ended.
    pub end: End,
}

/// Parquet, one row an episode: `policy: utf8`, `cell: utf8`, `user: u32`, `length: u32`, `return_inclusive: f32`,
/// `return_exclusive: f32`, `distinct: u32`, `end: utf8`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollouts(pub Vec<Rollout>);

impl Artifact for Rollouts {
    const KIND: &'static str = "rollouts";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.0;
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("policy", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.policy)))),
            ("cell", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.cell)))),
            ("user", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.user)))),
            ("length", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.length)))),
            ("return_inclusive", Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.inclusive)))),
            ("return_exclusive", Arc::new(Float32Array::from_iter_values(rows.iter().map(|r| r.exclusive)))),
            ("distinct", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.distinct)))),
            ("end", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.end.name())))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let ids = |name| frame::column::<UInt32Array>(&batch, name);
        let floats = |name| frame::column::<Float32Array>(&batch, name);
        let (policy, cell, end) = (text("policy")?, text("cell")?, text("end")?);
        let (user, length, distinct) = (ids("user")?, ids("length")?, ids("distinct")?);
        let (inclusive, exclusive) = (floats("return_inclusive")?, floats("return_exclusive")?);
        let row = |row| {
            Ok(Rollout {
                policy: policy.value(row).to_owned(),
                cell: cell.value(row).to_owned(),
                user: user.value(row),
                length: length.value(row),
                inclusive: inclusive.value(row),
                exclusive: exclusive.value(row),
                distinct: distinct.value(row),
                end: End::from_name(end.value(row)).with_context(|| format!("row {row}"))?,
            })
        };
        Ok(Self((0..batch.num_rows()).map(row).collect::<Result<_>>()?))
    }
}
