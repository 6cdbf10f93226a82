//! Any log as a table, by the names of its columns: CSV, TSV, JSON records, Parquet.
//!
//! The extension of a file decides its format; all but Parquet may be followed by `.gz` or `.zst`. A folder holds Parquet in parts. Fields of
//! CSV may be quoted. JSON has one record per line, or is one array of records. Times are numbers of any unit or dates
//! ([`time_form`](crate::ingest::readers::time_form)).

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::{Items, TextFile, Users, check_asset_path, is_date_form};
use crate::ingest::readers::bad_rows::{Fault, OnBadRow};
use crate::ingest::readers::casts::{self, Seconds};
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::decompress::decompressed;
use crate::ingest::readers::delimited::{Delimited, Time};
use crate::ingest::readers::header::{Header, check_unique};
use crate::ingest::readers::item_table::assemble;
use crate::ingest::readers::json_array::as_lines;
use crate::ingest::readers::line_log::Lines;
use crate::ingest::readers::record::{Record, record, text, trimmed};
use crate::ingest::readers::row_counts::ExpectedRows;
use crate::ingest::readers::sampled_lines::sampled_lines;
use crate::ingest::readers::sampled_times::sampled_times;
use crate::ingest::readers::shard::{KnownIds, ReadLog, Row, note_missing_ratings};
use crate::ingest::readers::side_table::{FileFormat, Quotes, SEPARATORS, file_of};
use crate::ingest::readers::time_form::TimeForm;
use crate::ingest::readers::time_unit::Unit;
use crate::ingest::{NoInputs, Outputs};

/// `ingest.table`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The folder with the files, or the file of the log.
    pub asset: AssetName,
    /// The columns of the log.
    pub log: LogColumns,
    /// The catalogue. When absent, the items are those of the log, with their ids as titles. Rows of the log with other items are
    /// invalid.
    #[serde(default)]
    pub items: Option<ItemColumns>,
    /// The table of users. When absent, the users are those of the log. Rows of the log with other users are invalid.
    #[serde(default)]
    pub users: Option<UserColumns>,
    /// Whether fields of CSV and TSV may be in double quotes.
    #[serde(default)]
    pub quotes: Quotes,
    /// Whether spaces around names of columns, ids, numbers and times are no part of them, in all tables. Off by default: `u1` and `u1 ` are
    /// two ids.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trim_whitespace: bool,
    /// Treatment of invalid rows.
    #[serde(default)]
    pub on_bad_row: OnBadRow,
    /// Expected numbers of rows; copies of datasets are often altered.
    #[serde(default)]
    pub expected_rows: ExpectedRows,
}

/// The columns of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogColumns {
    /// The file in the asset's folder; for Parquet also a folder of parts, as Spark writes it.
    pub file: String,
    /// The names of all columns in their order, for CSV or TSV without a header: `[item, user, rating, time]`. When absent, the first
    /// line is the header.
    #[serde(default)]
    pub names: Option<Vec<String>>,
    /// The separator of text, whatever the extension says: `,`, `;`, `|`, `::`, a tab (`"\t"`) or a space. By default a comma in .csv and a
    /// tab in .tsv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The column of user ids.
    pub user: String,
    /// The column of item ids.
    pub item: String,
    /// The column of ratings, finite numbers. When absent, all ratings are 1: each row is a choice. Such a log wants a treatment of what was
    /// not chosen: `world.two_tower` (a softmax over the catalogue), `world.ials` (every pair, with a small weight), or drawn negatives
    /// (`sample_negatives: true` of the other worlds).
    #[serde(default)]
    pub rating: Option<String>,
    /// The decimal sign of ratings in text: `"."` (4.5) or `","` (4,5).
    #[serde(default, skip_serializing_if = "Decimal::is_point")]
    pub decimal: Decimal,
    /// The column of times. When absent, all times are 0.
    #[serde(default)]
    pub timestamp: Option<TimeColumn>,
}

/// The column of times: numbers since 1970, or dates in ISO 8601 (`2021-01-31`, `2021-01-31T12:00:00+01:00`; UTC where there is no zone).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeColumn {
    /// The column.
    pub column: String,
    /// The unit of numbers. When absent, it is found out over the column, which may also hold dates: the unit in which most of the times
    /// lie between 1980 and 2100. The stage notes what it found. A Parquet column of a date or time type needs no unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// The form of dates in text that are not in ISO 8601, as for `strftime`: `"%d.%m.%Y"`, `"%m/%d/%Y %H:%M"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// The columns of the catalogue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemColumns {
    /// Another asset that holds the file, or is the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<AssetName>,
    /// The file in the asset's folder.
    pub file: String,
    /// As `names` of the log.
    #[serde(default)]
    pub names: Option<Vec<String>>,
    /// As `separator` of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The column of ids, which are unique.
    pub id: String,
    /// The column of titles. The title is the id when absent, and where it is empty.
    #[serde(default)]
    pub title: Option<String>,
    /// The column of years of release; a value that is not an integer (`1995`, `1995.0`) is unknown.
    #[serde(default)]
    pub year: Option<String>,
    /// The column of genres.
    #[serde(default)]
    pub genres: Option<GenreColumn>,
    /// Other columns that the catalogue keeps, as worlds, encoders and prompts may declare them: `[price, brand, tags]`. The run notes the
    /// columns that are not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// The column of genres.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenreColumn {
    /// The column.
    pub column: String,
    /// The separator of genres in a text. Lists of JSON or Parquet need none, nor does the text of a list (`['Drama', 'War']`, as
    /// pandas writes it). `(no genres listed)` means none.
    #[serde(default = "bar")]
    pub separator: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn bar() -> String {
    "|".to_owned()
}

/// The columns of the users: their ids; all other columns are features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserColumns {
    /// Another asset that holds the file, or is the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<AssetName>,
    /// The file in the asset's folder.
    pub file: String,
    /// As `names` of the log.
    #[serde(default)]
    pub names: Option<Vec<String>>,
    /// As `separator` of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The column of ids, which are unique.
    pub id: String,
}

impl Stage for Table {
    const KIND: &'static str = "ingest.table";
    /// 1: first. 2: times are rounded down; numbers out of range, open quotes and an empty log are refused. 3: a quote opens a field
    /// only at its beginning, and in TSV only where set; integers in floats are ids and years; a list of genres in a text is a list;
    /// a byte-order mark is not part of the text; times in nanoseconds keep their second; in Parquet, bytes and enumerations are
    /// texts, and late times of INT96 do not wrap around. 4: without a unit it is found out, and dates in text are times; a year beyond
    /// 9999 is refused.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "read a log from a table by the names of its columns: CSV, TSV, JSON records, Parquet";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        let others = [
            self.items.as_ref().and_then(|items| items.asset.clone()),
            self.users.as_ref().and_then(|u| u.asset.clone()),
        ];
        std::iter::once(self.asset.clone()).chain(others.into_iter().flatten()).collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        if self.items.as_ref().and_then(|items| items.genres.as_ref()).is_some_and(|genres| genres.separator.is_empty())
        {
            return Err(("items.genres.separator".into(), "a separator that is not empty".into()));
        }
        let named = [
            ("log", self.log.names.as_ref()),
            ("items", self.items.as_ref().and_then(|items| items.names.as_ref())),
            ("users", self.users.as_ref().and_then(|users| users.names.as_ref())),
        ];
        for (of, names) in named {
            if names.is_some_and(|names| check_unique(Path::new(of), names).is_err()) {
                return Err((format!("{of}.names"), "unique names".into()));
            }
        }
        if self.items.as_ref().is_some_and(|items| check_unique(Path::new("items"), &items.features).is_err()) {
            return Err(("items.features".into(), "columns that are each named once".into()));
        }
        if let Some(items) = &self.items {
            let genres = items.genres.as_ref().map(|of| &of.column);
            for (setting, column) in
                [("title", items.title.as_ref()), ("year", items.year.as_ref()), ("genres", genres)]
            {
                if column.is_some_and(|column| column == setting && items.features.contains(column)) {
                    let wanted = format!("other columns than `{setting}`, which `items.{setting}` reads already");
                    return Err(("items.features".into(), wanted));
                }
            }
        }
        let separators = [
            ("log", self.log.separator.as_ref()),
            ("items", self.items.as_ref().and_then(|items| items.separator.as_ref())),
            ("users", self.users.as_ref().and_then(|users| users.separator.as_ref())),
        ];
        for (of, separator) in separators {
            if separator.is_some_and(|separator| !SEPARATORS.contains(&&**separator)) {
                return Err((format!("{of}.separator"), "one of `,`, `;`, `|`, `::`, a tab and a space".into()));
            }
        }
        if let Some(time) = &self.log.timestamp
            && let Some(form) = &time.format
        {
            if time.unit.is_some() {
                return Err(("log.timestamp.format".into(), "either a `unit` or a `format`".into()));
            }
            if !is_date_form(form) {
                return Err(("log.timestamp.format".into(), "a form of dates, as `%d.%m.%Y`".into()));
            }
        }
        check_asset_path(Some(&self.log.file), "log.file")?;
        check_asset_path(self.items.as_ref().map(|items| &*items.file), "items.file")?;
        check_asset_path(self.users.as_ref().map(|users| &*users.file), "users.file")
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let ReadTable { file, log: mut read, items, users, times } = self.read_all(cx)?;
        read.finish_in(times.unit(), Some("log.timestamp.unit"), file.name(), self.on_bad_row, cx)?;
        if let Some(time) = &self.log.timestamp {
            read.note_times(&times, &time.column, cx);
        }
        if self.log.rating.is_none() {
            note_missing_ratings(file.name(), cx);
        }
        let rows = read.rows;
        let outputs = assemble(read, users, items);
        self.expected_rows.check(file.name(), rows, &outputs)?;
        outputs.note_counts(cx);
        Ok(outputs)
    }
}

/// What the files hold, before invalid rows are refused or dropped.
pub(in crate::ingest) struct ReadTable {
    pub file: TextFile,
    pub log: ReadLog,
    pub items: Option<Items>,
    pub users: Option<Users>,
    /// How the times of the log are written.
    pub times: TimeForm,
}

impl Table {
    /// Reads the tables beside the log.
    pub(in crate::ingest) fn read_sides(&self, cx: &Context) -> Result<(Option<Items>, Option<Users>)> {
        let asset = |other: &Option<AssetName>| cx.asset(other.as_ref().unwrap_or(&self.asset));
        let items = self.items.as_ref().map(|columns| self.items(asset(&columns.asset)?, columns, cx)).transpose()?;
        let users = self.users.as_ref().map(|columns| self.users(asset(&columns.asset)?, columns, cx)).transpose()?;
        Ok((items, users))
    }

    /// Reads everything.
    pub(in crate::ingest) fn read_all(&self, cx: &Context) -> Result<ReadTable> {
        let (items, users) = self.read_sides(cx)?;
        let log = file_of(cx.asset(&self.asset)?, &self.log.file)?;
        let file = if log.is_dir() { TextFile::new(&log) } else { decompressed(&log, cx)? };
        let known = [users.as_ref().map(|users| &*users.id), items.as_ref().map(|items| &*items.id)];
        let written = Written { quotes: self.quotes, trims: self.trim_whitespace };
        let times = self.log.time_form(&file, written, cx)?;
        let log = self.log.read(&file, written, known, &times, cx)?;
        Ok(ReadTable { file, log, items, users, times })
    }
}

/// How the fields of all tables are written.
#[derive(Clone, Copy)]
struct Written {
    quotes: Quotes,
    /// Whether spaces around them are no part of them.
    trims: bool,
}

impl Written {
    fn header(self, file: &TextFile, names: Option<&[String]>, separator: &str) -> Result<Header> {
        let header = Header::given_or_read(file, names, separator, self.quotes.allowed_in(separator))?;
        if self.trims { header.trimmed() } else { Ok(header) }
    }

    fn record(self, line: &str) -> Result<Record, Fault> {
        let record = record(line)?;
        Ok(if self.trims { trimmed(record) } else { record })
    }
}

impl LogColumns {
    /// How the times are written: as the settings say, else by a sample of the column.
    fn time_form(&self, file: &TextFile, written: Written, cx: &Context) -> Result<TimeForm> {
        let Some(time) = &self.timestamp else { return Ok(TimeForm::SECONDS.clone()) };
        if let Some(given) = TimeForm::given(time.unit, time.format.as_ref()) {
            return Ok(given);
        }
        match FileFormat::given(file, self.names.as_deref(), self.separator.as_deref())? {
            FileFormat::Parquet => sampled_times(file.path(), &time.column),
            FileFormat::Records => {
                let lines = sampled_lines(&as_lines(file.clone(), cx)?)?;
                let value = |line: &String| match written.record(line).ok()?.remove(&time.column)? {
                    Value::String(text) => Some(Cow::Owned(text)),
                    other => Some(Cow::Owned(other.to_string())),
                };
                Ok(TimeForm::of_sample(lines.iter().filter_map(value)))
            }
            FileFormat::Delimited(separator) => {
                let header = written.header(file, self.names.as_deref(), separator)?;
                self.delimited(&header, separator, written, TimeForm::SECONDS)?.time_form(file)
            }
        }
    }

    fn delimited<'a>(
        &'a self,
        header: &'a Header,
        separator: &'a str,
        written: Written,
        times: &'a TimeForm,
    ) -> Result<Delimited<'a>> {
        let at = |name: &str| header.place(name);
        let rating = self.rating.as_deref().map(|name| anyhow::Ok((name, at(name)?))).transpose()?;
        let time = self.timestamp.as_ref().map(|time| {
            let column = &*time.column;
            anyhow::Ok(Time { column, at: at(column)?, form: times, may_be_missing: false })
        });
        let (user, item, fields, time) = (at(&self.user)?, at(&self.item)?, header.names.len(), time.transpose()?);
        let (quotes, trims, decimal) = (written.quotes.allowed_in(separator), written.trims, self.decimal);
        Ok(Delimited {
            separator,
            quotes,
            trims,
            decimal,
            header: Some(&*header.line),
            fields,
            user,
            item,
            rating,
            time,
        })
    }

    fn read(
        &self,
        file: &TextFile,
        written: Written,
        known: [Option<&[String]>; 2],
        times: &TimeForm,
        cx: &Context,
    ) -> Result<ReadLog> {
        let columns = [&*self.user, &*self.item];
        match FileFormat::given(file, self.names.as_deref(), self.separator.as_deref())? {
            FileFormat::Parquet => {
                self.read_parquet(file.path(), written.trims, &KnownIds::new(columns, known), times, cx)
            }
            FileFormat::Records => {
                let file = &as_lines(file.clone(), cx)?;
                let parse = |line: &str| written.record(line).and_then(|record| self.of_record(&record, times));
                Lines { file, header: 0, quoted_by: None, columns, known, parse: &|line, take| take(parse(line)) }
                    .read(cx)
            }
            FileFormat::Delimited(separator) => {
                let header = written.header(file, self.names.as_deref(), separator)?;
                let form = self.delimited(&header, separator, written, times)?;
                let header = u64::from(self.names.is_none());
                Lines {
                    file,
                    header,
                    quoted_by: form.quoted_by(),
                    columns,
                    known,
                    parse: &|line, take| take(form.parse(line)),
                }
                .read(cx)
            }
        }
    }

    fn of_record(&self, record: &Record, times: &TimeForm) -> Result<Row<'static>, Fault> {
        let rating =
            self.rating.as_ref().map_or(Ok(1.0), |name| casts::rating(self.decimal.number_in(record, name)?, name))?;
        let timestamp = self
            .timestamp
            .as_ref()
            .map_or(Ok(Seconds::exactly(0)), |time| times.of_json(record.get(&time.column), &time.column))?;
        let (user, item) = (text(record, &self.user)?.into(), text(record, &self.item)?.into());
        Ok(Row { user, item, rating, timestamp })
    }
}
