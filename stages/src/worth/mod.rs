//! What a language model is worth, in ratings.
//!
//! ```text
//! ratings, split into halves:  E ─▶ evaluation worlds ─┐
//!                              L ─▶ nested draws of N ─┴▶ worth.returns ─▶ worth ─▶ answer, curves
//!                    a model's scores of the items ────┘        (then E and L swap)
//! ```
//!
//! `worth.returns` plays every learner with and without a model's scores, for every N and draw; `worth` turns the returns into worths
//! with intervals. `apprentice worth x.yaml` builds the experiment around them ([`study`]).

mod answer;
mod arms;
mod bootstrap;
mod contenders;
mod curve;
mod estimate;
#[cfg(test)]
mod planted_tests;
mod policies;
mod price;
mod returns;
mod statistics;
mod study;

pub use policies::PolicyArm;
pub use returns::EvaluateReturns;
pub use statistics::EstimateWorth;

use pipeline::Artifact as _;
use pipeline::worth::WorthStudy;

use crate::artifact::Worth;

/// What `apprentice worth` runs and says.
pub const STUDY: WorthStudy = WorthStudy {
    experiment: study::study,
    output: ("worth", "worth"),
    answer: |path, ran| {
        let worth = Worth::read(path)?;
        let prices = price::prices(&worth, ran);
        Ok([worth.answer, prices].concat())
    },
};
