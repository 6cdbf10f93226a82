//! A stage as the stages below it see it.

use super::sweep::Cell;
use crate::StageKind;

/// A stage that later ones can refer to.
pub(crate) struct StageDecl {
    pub name: String,
    /// Absent when `use` is wrong; then nothing is said about its outputs.
    pub kind: Option<&'static StageKind>,
    pub cells: Vec<Cell>,
    /// The node of the first cell; the others follow.
    pub first: usize,
}
