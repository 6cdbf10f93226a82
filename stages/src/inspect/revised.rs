//! The revisions of an episode, where `recycle` proposed some.

use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::Artifact as _;
use serde::Serialize;

use crate::artifact::{Items, Revisions, Trajectory, title};

/// A proposed revision of a step.
#[derive(Debug, Serialize)]
pub(super) struct Revised {
    kind: String,
    old: String,
    new: String,
    gain: f64,
    gate_gain: Option<f64>,
    gate_gain_sd: Option<f64>,
    ifd: Option<[f64; 2]>,
    r_ifd: Option<[f64; 2]>,
    call: String,
    accepted: bool,
    reason: String,
}

/// The revisions of the episode at this place, by step; none where they do not lie beside it.
pub(super) fn revisions(
    path: Option<&Path>,
    trajectory: &Trajectory,
    index: usize,
    items: Option<&Items>,
) -> Result<Vec<Vec<Revised>>> {
    let mut found: Vec<Vec<Revised>> = trajectory.steps.iter().map(|_| Vec::new()).collect();
    let Some(path) = path else { return Ok(found) };
    let all = Revisions::read(path).context("read the revisions")?.0;
    for row in all.into_iter().filter(|row| row.trajectory as usize == index && row.user == trajectory.user) {
        let Some(step) = found.get_mut(row.step as usize) else { continue };
        step.push(Revised {
            kind: row.kind,
            old: title(items, row.old_item),
            new: title(items, row.new_item),
            gain: row.gain,
            gate_gain: row.gate_gain,
            gate_gain_sd: row.gate_gain_sd,
            ifd: row.ifd,
            r_ifd: row.r_ifd,
            call: row.call,
            accepted: row.accepted,
            reason: row.reason,
        });
    }
    Ok(found)
}

impl Revised {
    /// In words, from what it replaces on.
    pub(super) fn words(&self) -> String {
        let mut words = format!("{}: {} → {}, gain {:.3}", self.kind, self.old, self.new, self.gain);
        if let (Some(gain), Some(sd)) = (self.gate_gain, self.gate_gain_sd) {
            words += &format!(", in the gate worlds {gain:.3} ± {sd:.3}");
        }
        for (name, both) in [("IFD", self.ifd), ("r-IFD", self.r_ifd)] {
            if let Some([old, new]) = both {
                words += &format!(", {name} {old:.3} → {new:.3}");
            }
        }
        match self.accepted {
            true => words + ": accepted",
            false => format!("{words}: kept, because {}", self.reason),
        }
    }
}
