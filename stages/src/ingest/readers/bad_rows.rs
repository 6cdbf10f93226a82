//! Invalid rows: counted, reported, refused or dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};
use pipeline::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Treatment of invalid rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// Stop with an error that names them.
    #[default]
    Refuse,
    /// Drop and count them, with a note on the run.
    Drop,
}

/// Why a row is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::ingest) struct Fault {
    /// The invalid column; `None` where the row as a whole is invalid.
    column: Option<String>,
    /// What was found, as shown in the message.
    found: String,
    /// What was expected.
    wanted: String,
    /// Another remedy, besides correcting or dropping the row.
    help: Option<String>,
}

impl Fault {
    /// An invalid value.
    pub fn value(column: &str, value: &str, wanted: &str) -> Self {
        // One long value must not fill the screen or the memory.
        let value: String = value.chars().take(200).collect();
        Self { column: Some(column.to_owned()), found: format!("{value:?}"), wanted: wanted.to_owned(), help: None }
    }

    /// The header, which occurs again.
    pub fn repeated_header() -> Self {
        Self::row("the header again", A_ROW)
            .help("the file seems to consist of several concatenated files: remove the repeated header lines")
    }

    /// An invalid row.
    pub fn row(found: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { column: None, found: found.into(), wanted: wanted.into(), help: None }
    }

    /// The same with another remedy.
    pub fn help(self, help: &str) -> Self {
        Self { help: Some(help.to_owned()), ..self }
    }

    /// Another number of fields.
    pub fn fields(found: usize, wanted: usize) -> Self {
        Self::row(format!("{found} {}", if found == 1 { "field" } else { "fields" }), wanted.to_string())
    }

    /// What the rows of one kind of fault have in common.
    fn reason(&self) -> String {
        match &self.column {
            Some(column) => format!("`{column}` is not {}", self.wanted),
            // A number is wanted of fields alone.
            None if self.wanted.parse::<usize>().is_ok() => format!("has {}, wanted {}", self.found, self.wanted),
            None if self.wanted == A_ROW => self.found.clone(),
            None => format!("is not {}", self.wanted),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = &self.column {
            write!(f, "column `{column}`: ")?;
        }
        write!(f, "found {}, wanted {}", self.found, self.wanted)
    }
}

/// What is wanted in place of a repeated header.
const A_ROW: &str = "a row";

/// Number of invalid rows that are shown.
const MAX_SHOWN: usize = 5;

/// The invalid rows of one file, each with its first fault: all are counted, the first few are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::ingest) struct BadRows {
    count: u64,
    reasons: BTreeMap<String, u64>,
    /// Physical lines from 1, ascending.
    first: Vec<(u64, Fault)>,
}

impl BadRows {
    /// Counts a row; `line` is asked for its physical line, from 1, only where the row will be shown.
    pub fn add(&mut self, fault: Fault, line: impl FnOnce() -> u64) {
        self.count += 1;
        *self.reasons.entry(fault.reason()).or_default() += 1;
        if self.first.len() < MAX_SHOWN {
            self.first.push((line(), fault));
        }
    }

    /// Adds those of a later shard of the file, before which stand `lines` lines.
    pub fn append(&mut self, later: Self, lines: u64) {
        self.count += later.count;
        for (reason, count) in later.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.first.extend(later.first.into_iter().map(|(line, fault)| (line + lines, fault)));
        self.first.truncate(MAX_SHOWN);
    }

    /// How many there are, and why, with the first of them; `None` where there are none.
    pub fn summary(&self) -> Option<(usize, String)> {
        let (line, first) = self.first.first()?;
        let reasons: Vec<String> = self.reasons.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
        Some((self.count as usize, format!("{}; the first: line {line}, {}", reasons.join(", "), first.found)))
    }

    /// Notes the dropped rows on the run, or refuses them.
    ///
    /// # Errors
    /// Under [`OnBadRow::Refuse`], when there is one.
    pub fn enforce(&self, path: &Path, policy: OnBadRow, cx: &Context) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if policy == OnBadRow::Refuse {
            let mut text = match self.count {
                1 => format!("1 row of {} is invalid:", path.display()),
                count => format!("{count} rows of {} are invalid:", path.display()),
            };
            for (line, fault) in &self.first {
                text += &format!("\n  {name}:{line}: {fault}");
            }
            let more = self.count - self.first.len() as u64;
            if more > 0 {
                text += &format!("\n  … and {more} more");
            }
            let help = self.first.iter().find_map(|(_, fault)| fault.help.as_ref());
            let help = help.map(|help| format!("{help}; ")).unwrap_or_default();
            bail!("{text}\nhelp: {help}correct the file, or set `on_bad_row: drop` to drop such rows");
        }
        let (count, why) = self.summary().unwrap_or_default();
        let rows = if count == 1 { "row" } else { "rows" };
        cx.note(&format!("dropped from {name}"), format!("{count} {rows} ({why})"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_what_is_wrong_with_how_many_rows() {
        let mut bad = BadRows::default();
        assert_eq!(bad.summary(), None);
        for (line, fault) in [
            (3, Fault::fields(5, 4)),
            (4, Fault::fields(1, 4)),
            (5, Fault::repeated_header()),
            (6, Fault::value("rating", "x", "a finite number")),
            (7, Fault::row("\"\u{fffd}\"", "UTF-8")),
            (8, Fault::fields(5, 4)),
        ] {
            bad.add(fault, || line);
        }
        let (count, why) = bad.summary().unwrap();
        assert_eq!(count, 6);
        assert_eq!(
            why,
            "1 × `rating` is not a finite number, 1 × has 1 field, wanted 4, 2 × has 5 fields, wanted 4, 1 × is not UTF-8, 1 × the header \
             again; the first: line 3, 5 fields"
        );
    }
}
