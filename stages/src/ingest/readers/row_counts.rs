//! Expected row counts of a dataset.

use std::path::Path;

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ingest::Outputs;

/// Expected numbers of rows; an absent number is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExpectedRows {
    /// Rows of the log.
    pub interactions: Option<usize>,
    /// Rows of the catalogue.
    pub items: Option<usize>,
    /// Users.
    pub users: Option<usize>,
}

impl ExpectedRows {
    /// Compares with the outputs of the log at `log`, a file of `rows` rows.
    pub(in crate::ingest) fn check(&self, log: &Path, rows: u64, outputs: &Outputs) -> Result<()> {
        for (what, wanted, found) in [
            ("interactions", self.interactions, outputs.interactions.len()),
            ("items", self.items, outputs.items.len()),
            ("users", self.users, outputs.users.len()),
        ] {
            ensure!(
                wanted.is_none_or(|wanted| wanted == found),
                "{} has {found} {what}, but the experiment expects {} (the file holds {rows} rows)\nhelp: this copy of the \
                 dataset was altered or truncated; get another one, or correct `expected_rows.{what}`",
                log.display(),
                wanted.unwrap_or_default(),
            );
        }
        Ok(())
    }
}
