//! The contract between a run and whoever is told of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::catalog::CurvePoint;
use crate::event::RunStatus;

/// Which run it is.
#[derive(Clone, Debug)]
pub(crate) struct TrackedRun {
    /// Its id, also the name of its folder in the store.
    pub id: String,
    pub experiment: String,
    pub command: String,
}

/// What a stage came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TrackedStage {
    /// `policy@seed=3`.
    pub id: String,
    pub kind: String,
    pub key: String,
    /// Its settings with all defaults, flat (`network.window`), as text.
    pub params: Vec<(String, String)>,
    /// Figures by name.
    pub metrics: Vec<(String, f64)>,
    pub curves: Vec<CurvePoint>,
    /// When it was told, since 1970.
    pub at: Duration,
}

/// Somebody who is told. After an error nothing more is told.
pub(super) trait Tracker {
    fn begin(&mut self, run: &TrackedRun, at: Duration) -> anyhow::Result<()>;
    fn stage(&mut self, stage: &TrackedStage) -> anyhow::Result<()>;
    /// The run is over; the result says what could not be kept.
    fn end(&mut self, status: RunStatus, pages: &[PathBuf], at: Duration) -> anyhow::Result<Option<String>>;
}
