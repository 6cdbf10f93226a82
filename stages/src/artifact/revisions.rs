//! Proposed revisions of demonstrations: what was there, what replaces it, what it gains, and whether it was accepted.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::frame;

/// One proposed revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// The trajectory, by its place in the demonstrations.
    pub trajectory: u32,
    /// Its user.
    pub user: u32,
    /// The step, by its place in the revised trajectory.
    pub step: u32,
    /// The item that was there.
    pub old_item: u32,
    /// The item that replaces it.
    pub new_item: u32,
    /// What proposed it: `grounded`, `random` or `llm`.
    pub kind: String,
    /// Gain of the episode's return in the world in which it is played again, with all steps that it changes.
    pub gain: f64,
    /// The gain's mean over the gate worlds; `None` without them.
    pub gate_gain: Option<f64>,
    /// Its standard deviation between the gate worlds; `None` without them.
    pub gate_gain_sd: Option<f64>,
    /// Difficulty of the old and the new item after the prompt: ppl(item | prompt) / ppl(item). `None` where the gate does not ask.
    pub ifd: Option<[f64; 2]>,
    /// Difficulty of the prompt after the old and the new item: ppl(prompt | item) / ppl(prompt). `None` where the gate does not ask.
    pub r_ifd: Option<[f64; 2]>,
    /// The key of the call that proposed it; empty where no model was asked.
    pub call: String,
    /// Whether it was accepted.
    pub accepted: bool,
    /// Why not; empty where it was accepted.
    pub reason: String,
}

/// Parquet, one row a proposed revision, by trajectory and step: `trajectory: u32`, `user: u32`, `step: u32`, `old_item: u32`,
/// `new_item: u32`, `kind: utf8` (`grounded`, `random` or `llm`), `gain: f64`, `gate_gain: f64?`, `gate_gain_sd: f64?` (in units of
/// the reward), `ifd_old: f64?`, `ifd_new: f64?`, `r_ifd_old: f64?`, `r_ifd_new: f64?`, `call: utf8`, `accepted: bool`, `reason:
/// utf8`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Revisions(pub Vec<Revision>);

impl Artifact for Revisions {
    const KIND: &'static str = "revisions";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let rows = || self.0.iter();
        let id = |of: fn(&Revision) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows().map(of))) };
        let text =
            |of: fn(&Revision) -> &String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows().map(of))) };
        let number =
            |of: fn(&Revision) -> Option<f64>| -> ArrayRef { Arc::new(rows().map(of).collect::<Float64Array>()) };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("trajectory", id(|row| row.trajectory)),
            ("user", id(|row| row.user)),
            ("step", id(|row| row.step)),
            ("old_item", id(|row| row.old_item)),
            ("new_item", id(|row| row.new_item)),
            ("kind", text(|row| &row.kind)),
            ("gain", Arc::new(Float64Array::from_iter_values(rows().map(|row| row.gain)))),
            ("gate_gain", number(|row| row.gate_gain)),
            ("gate_gain_sd", number(|row| row.gate_gain_sd)),
            ("ifd_old", number(|row| row.ifd.map(|[old, _]| old))),
            ("ifd_new", number(|row| row.ifd.map(|[_, new]| new))),
            ("r_ifd_old", number(|row| row.r_ifd.map(|[old, _]| old))),
            ("r_ifd_new", number(|row| row.r_ifd.map(|[_, new]| new))),
            ("call", text(|row| &row.call)),
            ("accepted", Arc::new(rows().map(|row| Some(row.accepted)).collect::<BooleanArray>())),
            ("reason", text(|row| &row.reason)),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let id = |name| frame::column::<UInt32Array>(&batch, name);
        let text = |name| frame::column::<StringArray>(&batch, name);
        let number = |name| frame::nullable::<Float64Array>(&batch, name);
        let (trajectory, user, step) = (id("trajectory")?, id("user")?, id("step")?);
        let (old_item, new_item) = (id("old_item")?, id("new_item")?);
        let (kind, call, reason) = (text("kind")?, text("call")?, text("reason")?);
        let gain = frame::column::<Float64Array>(&batch, "gain")?;
        let accepted = frame::column::<BooleanArray>(&batch, "accepted")?;
        let (gate_gain, gate_gain_sd) = (number("gate_gain")?, number("gate_gain_sd")?);
        let (ifd_old, ifd_new) = (number("ifd_old")?, number("ifd_new")?);
        let (r_ifd_old, r_ifd_new) = (number("r_ifd_old")?, number("r_ifd_new")?);
        let known = |array: &Float64Array, row| array.is_valid(row).then(|| array.value(row));
        let both = |old, new, row| Some([known(old, row)?, known(new, row)?]);
        let row = |row| Revision {
            trajectory: trajectory.value(row),
            user: user.value(row),
            step: step.value(row),
            old_item: old_item.value(row),
            new_item: new_item.value(row),
            kind: kind.value(row).to_owned(),
            gain: gain.value(row),
            gate_gain: known(gate_gain, row),
            gate_gain_sd: known(gate_gain_sd, row),
            ifd: both(ifd_old, ifd_new, row),
            r_ifd: both(r_ifd_old, r_ifd_new, row),
            call: call.value(row).to_owned(),
            accepted: accepted.value(row),
            reason: reason.value(row).to_owned(),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revisions");
        let row = Revision {
            trajectory: 2,
            user: 7,
            step: 1,
            old_item: 3,
            new_item: 4,
            kind: "grounded".into(),
            gain: 1.5,
            gate_gain: Some(0.5),
            gate_gain_sd: Some(0.25),
            ifd: Some([0.5, 0.75]),
            r_ifd: None,
            call: "k".into(),
            accepted: false,
            reason: "it loses".into(),
        };
        let other = Revision { gate_gain: None, gate_gain_sd: None, ifd: None, r_ifd: Some([0.9, 0.8]), ..row.clone() };
        let revisions = Revisions(vec![row, other]);
        revisions.write(&path).unwrap();
        assert_eq!(Revisions::read(&path).unwrap(), revisions);
    }
}
