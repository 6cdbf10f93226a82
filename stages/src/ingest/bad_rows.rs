//! Rows that do not fit: counted, shown, refused or dropped.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use pipeline::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to do with a row that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// Stop and name it.
    #[default]
    Refuse,
    /// Leave it out, count it and say so.
    Drop,
}

/// One row that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadRow {
    /// Row of the table, from 0.
    pub row: usize,
    /// The column at fault.
    pub column: String,
    /// What stands there.
    pub value: String,
    /// What should.
    pub wanted: String,
}

/// How many bad rows an error lists.
const SHOWN: usize = 5;

/// Notes the bad rows of a file on the run, or refuses them. Returns the distinct row numbers to leave out, ascending.
/// `line_of` finds the physical line of a row.
pub(super) fn settle(
    path: &Path,
    mut bad: Vec<BadRow>,
    policy: OnBadRow,
    line_of: impl Fn(usize) -> usize,
    cx: &Context,
) -> Result<Vec<usize>> {
    if bad.is_empty() {
        return Ok(Vec::new());
    }
    bad.sort_by_key(|bad| bad.row);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if policy == OnBadRow::Refuse {
        let mut text = format!("{} rows of {} do not fit:", bad.len(), path.display());
        for BadRow { row, column, value, wanted } in bad.iter().take(SHOWN) {
            text += &format!("\n  {name}:{}: column `{column}`: found {value:?}, wanted {wanted}", line_of(*row));
        }
        if bad.len() > SHOWN {
            text += &format!("\n  … and {} more", bad.len() - SHOWN);
        }
        bail!("{text}\nhelp: mend the file, or set `on_bad_row: drop` to leave such rows out");
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for BadRow { column, wanted, .. } in &bad {
        *reasons.entry(format!("`{column}` is not {wanted}")).or_default() += 1;
    }
    let mut rows: Vec<usize> = bad.iter().map(|bad| bad.row).collect();
    rows.dedup();
    let first = &bad[0];
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
    cx.note(
        &format!("dropped from {name}"),
        format!(
            "{} rows ({}; the first: line {}, {:?})",
            rows.len(),
            reasons.join(", "),
            line_of(first.row),
            first.value
        ),
    );
    Ok(rows)
}
