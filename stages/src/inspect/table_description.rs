//! Everything there is to say about a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::parquet_layout::FooterStatistics;
use super::statistics::ColumnStatistics;
use super::value::CellValue;

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableDescription {
    /// Number of rows.
    pub rows: u64,
    /// Rows that pass the filter, where there is one: those that the statistics are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matching: Option<u64>,
    /// Whether every value was read for the statistics of the columns; otherwise there are none but the footer's.
    pub scanned: bool,
    /// In the order of the schema, or as they were asked for.
    pub columns: Vec<ColumnDescription>,
    /// Some rows.
    pub head: Head,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub r#type: String,
    /// Whether the schema allows missing values.
    pub nullable: bool,
    /// What the schema says about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What its values look like; absent where the table was not scanned.
    pub statistics: Option<ColumnStatistics>,
    /// What a Parquet footer says about all its values; absent for nested columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub footer: Option<FooterStatistics>,
}

/// Some rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Head {
    /// A list of values for each row, in the order of the columns.
    pub rows: Vec<Vec<CellValue>>,
    /// The row of the file behind each of `rows`, from 0.
    pub numbers: Vec<u64>,
    /// The seed, where the rows were drawn at random; otherwise they are the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether they are the last rows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub from_end: bool,
    /// The numbers in `rows` that JSON can only write as `null`.
    pub non_finite: Vec<NonFinite>,
}

/// A NaN or infinite number in [`Head::rows`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NonFinite {
    /// Place in [`Head::rows`], from 0.
    pub row: usize,
    /// Column, from 0.
    pub column: usize,
    /// `NaN`, `inf` or `-inf`.
    pub value: &'static str,
}

impl Head {
    pub(super) fn push(&mut self, number: u64, cells: Vec<CellValue>) {
        let row = self.rows.len();
        let odd = |(column, cell): (usize, &CellValue)| cell.non_finite().map(|value| NonFinite { row, column, value });
        self.non_finite.extend(cells.iter().enumerate().filter_map(odd));
        self.rows.push(cells);
        self.numbers.push(number);
    }
}
