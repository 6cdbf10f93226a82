//! A sample of a table of any form: what its columns are called and what they hold.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use pipeline::Context;
use serde_json::Value;

use super::text_form::{TextForm, is_header, text_rows};
use crate::artifact::TextFile;
use crate::ingest::readers::decompress::decompressed;
use crate::ingest::readers::json_array::as_lines;
use crate::ingest::readers::parquet_parts::parts;
use crate::ingest::readers::parquet_value::value;
use crate::ingest::readers::record::record;
use crate::ingest::readers::row_ends::check_ends;
use crate::ingest::readers::sampled_lines::sampled_lines;
use crate::ingest::readers::side_table::FileFormat;

/// Rows of a sample, at most.
const ROWS: usize = 20_000;
/// Parts of a folder of Parquet that are looked into.
const PARTS: usize = 8;

/// The form of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Separated text: the separator, whether fields are quoted, whether the first line is a header.
    Text {
        separator: &'static str,
        quotes: bool,
        header: bool,
    },
    /// A record of JSON a line, or an array of them.
    Records,
    Parquet,
}

/// Rows from all over a table.
#[derive(Debug)]
pub(super) struct SampledTable {
    pub form: Form,
    /// Names of the columns; by their position where the file has no header.
    pub names: Vec<String>,
    /// Values by row; empty where missing.
    pub rows: Vec<Vec<String>>,
    /// The columns whose type is a date or a time.
    pub typed_times: Vec<bool>,
    /// Whether the file is packed.
    pub packed: bool,
    /// Whether the file has spaces around names of columns; here they are left out.
    pub padded_names: bool,
}

impl SampledTable {
    /// Looks into the file, or folder of parts, at that path.
    ///
    /// # Errors
    /// Where it is no table, or of a form that is not read.
    pub fn read(path: &Path, cx: &Context) -> Result<Self> {
        ensure!(path.exists(), "{} does not exist\nhelp: correct the name", path.display());
        if path.is_dir() || path.extension().is_some_and(|ending| ending == "parquet") {
            return Self::of_parquet(path);
        }
        let file = decompressed(path, cx)?;
        let packed = file.path() != file.name();
        check_ends(&file)?;
        let first = sampled_lines(&file)?.into_iter().find(|line| !line.trim().is_empty());
        let Some(first) = first else {
            bail!("{} is empty\nhelp: check that it is the right file", path.display());
        };
        let table = match FileFormat::of(&file) {
            Ok(FileFormat::Records) => Self::of_records(&file, cx)?,
            Err(error) if first.trim_start().starts_with(['{', '[']) => return Err(error),
            _ => Self::of_text(&file)?,
        };
        ensure!(!table.rows.is_empty(), "{} holds no row\nhelp: check that it is the right file", path.display());
        Ok(Self { packed, ..table })
    }

    fn of_text(file: &TextFile) -> Result<Self> {
        let lines: Vec<String> =
            sampled_lines(file)?.into_iter().filter(|line| !line.trim().is_empty()).take(ROWS).collect();
        let own = match FileFormat::of(file) {
            Ok(FileFormat::Delimited(own)) => Some(own),
            _ => None,
        };
        let Some(TextForm { separator, quotes, width }) = TextForm::of(&lines, own) else {
            bail!(
                "{} has no separator that gives all lines the same number of fields; tried a comma, a semicolon, `|`, `::`, a tab and a \
                 space\nhelp: check that it is a table with one row a line; its first line is {:?}",
                file.name().display(),
                lines[0].chars().take(80).collect::<String>()
            );
        };
        let parted = text_rows(&lines, separator, quotes);
        let whole = |row: &Option<Vec<String>>| row.as_ref().is_some_and(|fields| fields.len() == width);
        let is_first_whole = parted.first().is_some_and(whole);
        let mut rows: Vec<Vec<String>> = parted.into_iter().filter(whole).flatten().collect();
        let header = is_first_whole && is_header(&rows);
        let names = if header { rows.remove(0) } else { (1..=width).map(|place| format!("column_{place}")).collect() };
        rows.iter_mut().flatten().filter(|value| *value == "\\N").for_each(String::clear);
        let typed_times = vec![false; width];
        let form = Form::Text { separator, quotes, header };
        Ok(Self { form, names, rows, typed_times, packed: false, padded_names: false }.trimmed())
    }

    fn of_records(file: &TextFile, cx: &Context) -> Result<Self> {
        let lines = sampled_lines(&as_lines(file.clone(), cx)?)?;
        let records = lines.iter().filter(|line| !line.trim().is_empty()).take(ROWS).map(|line| record(line));
        let records: Vec<_> = records.filter_map(Result::ok).collect();
        let rows = records.into_iter().map(|record| record.into_iter().collect()).collect();
        Ok(Self::of_values(Form::Records, rows).trimmed())
    }

    /// The same without the spaces around the names of its columns.
    fn trimmed(mut self) -> Self {
        for name in &mut self.names {
            self.padded_names |= name.trim() != name;
            *name = name.trim().to_owned();
        }
        self
    }

    fn of_parquet(path: &Path) -> Result<Self> {
        let parts = parts(path)?;
        let (mut rows, mut times) = (Vec::new(), BTreeMap::new());
        for part in parts.iter().step_by(parts.len().div_ceil(PARTS)) {
            let Some(batch) = part.batches(None)?.next().transpose()? else { continue };
            let step = batch.num_rows().div_ceil(ROWS / PARTS).max(1);
            for row in (0..batch.num_rows()).step_by(step) {
                let columns = batch.schema_ref().fields().iter().zip(batch.columns());
                rows.push(
                    columns
                        .map(|(field, column)| Ok((field.name().clone(), value(column, row)?)))
                        .collect::<Result<_>>()?,
                );
            }
            for field in batch.schema_ref().fields() {
                times.insert(field.name().clone(), field.data_type().is_temporal());
            }
        }
        let table = Self::of_values(Form::Parquet, rows);
        ensure!(!table.rows.is_empty(), "{} holds no row\nhelp: check that it is the right file", path.display());
        let typed_times = table.names.iter().map(|name| times.get(name) == Some(&true)).collect();
        Ok(Self { typed_times, ..table })
    }

    fn of_values(form: Form, records: Vec<Vec<(String, Value)>>) -> Self {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in records.iter().flatten() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let text = |value: Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        let row = |record: Vec<(String, Value)>| {
            let mut row = vec![String::new(); names.len()];
            for (name, value) in record {
                if let Some(place) = names.iter().position(|known| *known == name) {
                    row[place] = text(value);
                }
            }
            row
        };
        let rows = records.into_iter().map(row).collect();
        let typed_times = vec![false; names.len()];
        Self { form, names, rows, typed_times, packed: false, padded_names: false }
    }

    /// Whether spaces stand around a value of that column.
    pub fn is_padded(&self, column: &str) -> bool {
        let at = self.names.iter().position(|name| name == column);
        at.is_some_and(|at| self.rows.iter().any(|row| row[at].trim() != row[at]))
    }

    /// What the table is, in words.
    pub fn words(&self) -> String {
        let form = match self.form {
            Form::Text { separator, quotes, header } => {
                let separator = match separator {
                    "," => "commas".to_owned(),
                    ";" => "semicolons".to_owned(),
                    "\t" => "tabs".to_owned(),
                    " " => "spaces".to_owned(),
                    other => format!("`{other}`"),
                };
                format!(
                    "text separated by {separator}{}, {}",
                    if quotes { ", fields may be quoted" } else { "" },
                    if header { "with a header" } else { "without a header" }
                )
            }
            Form::Records => "records of JSON".to_owned(),
            Form::Parquet => "Parquet".to_owned(),
        };
        if self.packed { format!("{form}, compressed") } else { form }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_in_dates_or_behind_commas_is_no_separator() {
        let zone: String = (0..9).map(|row| format!("u{row},{row},2021-04-26 09:47:48 +0000 UTC\n")).collect();
        let behind: String = (0..9).map(|row| format!("u{row}, {row}, 2, 2021-04-26 09:47:48\n")).collect();
        for (name, header, rows, wanted) in [
            ("a.csv", "user_id,item_id,viewed_at\n", &zone, "user_id|item_id|viewed_at"),
            ("a.txt", "user_id,item_id,viewed_at\n", &zone, "user_id|item_id|viewed_at"),
            ("a.csv", "", &zone, "column_1|column_2|column_3"),
            ("a.txt", "", &zone, "column_1|column_2|column_3"),
            ("a.csv", "user,item,rating,date\n", &behind, "user|item|rating|date"),
            ("a.csv", "user, item, rating, date\n", &behind, "user|item|rating|date"),
            ("a.csv", "a;b;c\n", &"u;1;4,5\n".repeat(9), "a|b|c"),
            ("a.txt", "", &"196 242 3,5\n".repeat(9), "column_1|column_2|column_3"),
        ] {
            let table = sniff(name, &format!("{header}{rows}")).unwrap();
            assert_eq!(table.names.join("|"), wanted, "{name}: {header}{rows}");
        }
        assert!(sniff("a.csv", &format!("user, item, rating, date\n{behind}")).unwrap().padded_names);
        let error = sniff("a.csv", "u,i\r1,2\r2,3\r").unwrap_err().to_string();
        assert!(error.contains("carriage return alone") && error.contains("\nhelp: "), "{error}");
    }

    fn sniff(name: &str, text: &str) -> Result<SampledTable> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        SampledTable::read(&folder.path().join(name), &Context::detached(folder.path()))
    }

    #[test]
    fn the_separator_cuts_all_lines_alike() {
        for (text, wanted, width) in [
            ("u,i,t\n1,2,2021-01-01 12:00\n1,3,2021-01-02 12:00\n", (",", true, true), 3),
            ("u;i;r\n1;2;3,5\n1;3;4,5\n", (";", true, true), 3),
            ("user\titem\n1\tThe good, the bad\n2\tHeat, a film, and\n", ("\t", false, true), 2),
            ("1::1193::5::978300760\n1::661::3::978302109\n", ("::", false, false), 4),
            ("a|b|c\n1|2|3\n4|5|6\n", ("|", false, true), 3),
            ("196 242 3\n186 302 3\n", (" ", false, false), 3),
            ("\"u\",\"i\"\n\"1\",\"x, y\"\n\"2\",\"z\"\n", (",", true, true), 2),
            ("ann,heat\nbob,heat\nann,alien\n", (",", true, false), 2),
        ] {
            let table = sniff("log.txt", text).unwrap();
            let (separator, quotes, header) = wanted;
            assert_eq!(table.form, Form::Text { separator, quotes, header }, "{text}");
            assert_eq!(table.names.len(), width, "{text}");
        }
        let broken: String =
            (0..200).map(|row| if row % 50 == 7 { "x\n".to_owned() } else { format!("{row},2 3,{row}\n") }).collect();
        assert_eq!(sniff("log.csv", &broken).unwrap().names.len(), 3);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (name, text, part) in [
            ("a.csv", "", "is empty"),
            ("a.csv", "one\ntwo\n", "has no separator"),
            ("a.csv", "u,i\n", "holds no row"),
            ("a.xyz", "{\"u\": 1}\n", "unknown extension `xyz`"),
            ("a.csv.gz", "u,i\n1,2\n", "is not a gzip file"),
        ] {
            let error = sniff(name, text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("\nhelp: "), "{error}");
        }
        let records = sniff("a.json", "[{\"u\": 1, \"x\": {\"y\": 2}}, {\"i\": null, \"u\": \"b\"}]").unwrap();
        assert_eq!((records.form, &*records.names), (Form::Records, &["u", "x", "i"].map(str::to_owned)[..]));
        assert_eq!(records.rows, [["1", "{\"y\":2}", ""], ["b", "", ""]].map(|row| row.map(str::to_owned).to_vec()));
    }
}
