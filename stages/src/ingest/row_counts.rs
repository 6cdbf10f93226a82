//! Row counts that a dataset must have.

use std::path::Path;

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Outputs;

/// Row counts that must come out; a count left out is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedRows {
    /// Rows of the log.
    pub interactions: Option<usize>,
    /// Rows of the catalogue.
    pub items: Option<usize>,
    /// People.
    pub users: Option<usize>,
}

impl ExpectedRows {
    /// Whether that is what came out of the log at `log`, which holds so many rows.
    pub(super) fn check(&self, log: &Path, rows: u64, outputs: &Outputs) -> Result<()> {
        for (what, wanted, found) in [
            ("interactions", self.interactions, outputs.interactions.len()),
            ("items", self.items, outputs.items.len()),
            ("users", self.users, outputs.users.len()),
        ] {
            ensure!(
                wanted.is_none_or(|wanted| wanted == found),
                "{} gave {found} {what}, but the experiment expects {} (the file holds {rows} rows)\nhelp: this copy of the \
                 dataset was altered or cut; get another, or correct `expected_rows.{what}`",
                log.display(),
                wanted.unwrap_or_default(),
            );
        }
        Ok(())
    }
}
