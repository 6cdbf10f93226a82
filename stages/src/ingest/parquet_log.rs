//! A log in Parquet, read batch by batch by the names of its columns.
//!
//! It is not read in shards, because reading it again is fast. Messages number rows from 1 over all parts of a folder.

use std::borrow::Cow;
use std::path::Path;

use anyhow::{Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, UInt64Array};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, UInt64Type};
use pipeline::Context;

use super::bad_rows::Fault;
use super::casts::{self, Seconds};
use super::delimited;
use super::integers::exact_below;
use super::parquet_parts::parts;
use super::shard::{KnownIds, LogBuilder, Numbering, ReadLog, Row, Shard};
use super::table::LogColumns;

const SECONDS_A_DAY: i64 = 86_400;

/// A column of ids.
enum IdColumn {
    Texts(StringArray),
    /// Integers as pandas writes them where one is missing, and the bound from which on the type cannot distinguish them.
    Reals(Float64Array, f64),
}

/// A column of numbers.
enum NumberColumn {
    Reals(Float64Array),
    Texts(StringArray),
}

/// A column of times.
enum TimeColumn {
    /// Integer units, and their number per second.
    Counts(Int64Array, i64),
    Days(Int64Array),
    /// Numbers with fractions, and their units per second.
    Numbers(NumberColumn, f64),
}

/// A column and its file, for messages.
struct Place<'a> {
    file: &'a Path,
    name: &'a str,
}

impl LogColumns {
    /// Reads the whole log.
    pub(super) fn read_parquet(&self, path: &Path, ids: &KnownIds, cx: &Context) -> Result<ReadLog> {
        let (mut shard, mut numbering) = (Shard::default(), Numbering::default());
        let time = self.timestamp.as_ref();
        let wanted: Vec<&str> =
            [Some(&self.user), Some(&self.item), self.rating.as_ref(), time.map(|time| &time.column)]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
        for part in parts(path)? {
            for batch in part.batches(Some(&wanted))? {
                cx.check_cancelled()?;
                let batch = batch?;
                let column =
                    |name: &str| batch.column_by_name(name).expect("columns that are not there are refused").clone();
                let place = |name| Place { file: part.path(), name };
                let users = IdColumn::new(&column(&self.user), &place(&self.user))?;
                let items = IdColumn::new(&column(&self.item), &place(&self.item))?;
                let ratings =
                    self.rating.as_deref().map(|name| NumberColumn::new(&column(name), &place(name), "numbers"));
                let ratings = ratings.transpose()?;
                let times = time.map(|time| {
                    let per_second = time.unit.per_second();
                    TimeColumn::new(&column(&time.column), per_second, &place(&time.column))
                });
                let times = times.transpose()?;
                for row in 0..batch.num_rows() {
                    shard.lines += 1;
                    let read = || {
                        let rating = match (&ratings, &self.rating) {
                            (Some(ratings), Some(name)) => casts::rating(ratings.number(row, name)?, name)?,
                            _ => 1.0,
                        };
                        let timestamp = match (&times, time) {
                            (Some(times), Some(time)) => times.seconds(row, &time.column)?,
                            _ => Seconds::exactly(0),
                        };
                        let (user, item) = (users.id(row, &self.user)?, items.id(row, &self.item)?);
                        Ok(Row { user, item, rating, timestamp })
                    };
                    shard.take(read(), ids, &mut numbering);
                }
            }
        }
        let mut builder = LogBuilder::default();
        builder.push(&shard);
        Ok(builder.log)
    }
}

impl Place<'_> {
    /// The error for a column of an unsuitable type.
    fn is_no(&self, wanted: &str, found: &DataType, help: &str) -> anyhow::Error {
        let Self { file, name } = self;
        anyhow::anyhow!("column `{name}` of {} is of type {found}, wanted {wanted}\nhelp: {help}", file.display())
    }
}

impl IdColumn {
    fn new(column: &ArrayRef, place: &Place<'_>) -> Result<Self> {
        let wanted = "texts or integers";
        Ok(match column.data_type() {
            kind if kind.is_nested() => {
                bail!(place.is_no(wanted, kind, "write the id as a separate column"))
            }
            kind @ (DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)) => {
                bail!(place.is_no(
                    wanted,
                    kind,
                    "its bytes are not UTF-8: write it as text, for example in hexadecimal digits"
                ))
            }
            kind if kind.is_floating() => {
                let reals = cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
                Self::Reals(reals, exact_below(kind))
            }
            kind if kind.is_decimal() => {
                let texts = cast(column, &DataType::Utf8)?;
                let whole = |text: &str| match text.split_once('.') {
                    Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => whole.to_owned(),
                    _ => text.to_owned(),
                };
                Self::Texts(texts.as_string::<i32>().iter().map(|text| text.map(whole)).collect())
            }
            _ => Self::Texts(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    /// The id in a row, empty where it is missing.
    fn id(&self, row: usize, name: &str) -> Result<Cow<'_, str>, Fault> {
        match self {
            Self::Texts(texts) => Ok(if texts.is_null(row) { "".into() } else { texts.value(row).into() }),
            Self::Reals(reals, _) if reals.is_null(row) || reals.value(row).is_nan() => Ok("".into()),
            Self::Reals(reals, below) => whole(reals.value(row), *below, name).map(Cow::Owned),
        }
    }
}

/// The integer in a float of a type that holds integers `below` a bound exactly.
fn whole(number: f64, below: f64, name: &str) -> Result<String, Fault> {
    if number.fract() != 0.0 || !number.is_finite() {
        return Err(Fault::value(name, &number.to_string(), "a text or an integer"));
    }
    if number.abs() >= below {
        let wanted = format!("an integer that such a float holds exactly (below 2^{})", below.log2());
        let fault = Fault::value(name, &format!("{number:e}"), &wanted);
        return Err(fault.help(
            "the column was converted to floats, which cannot distinguish such ids: write it as integers or texts",
        ));
    }
    Ok((number as i64).to_string())
}

impl NumberColumn {
    fn new(column: &ArrayRef, place: &Place<'_>, wanted: &str) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Self::Texts(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
            }
            kind if kind.is_numeric() || *kind == DataType::Boolean => {
                Self::Reals(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            kind => bail!(place.is_no(wanted, kind, "write it as numbers, or name another column")),
        })
    }

    /// The finite number in a row.
    fn number(&self, row: usize, name: &str) -> Result<f64, Fault> {
        match self {
            Self::Texts(texts) => delimited::number(if texts.is_null(row) { "" } else { texts.value(row) }, name),
            Self::Reals(reals) if reals.is_null(row) => Err(Fault::value(name, "", "a finite number")),
            Self::Reals(reals) => match reals.value(row) {
                number if number.is_finite() => Ok(number),
                other => Err(Fault::value(name, &other.to_string(), "a finite number")),
            },
        }
    }
}

impl TimeColumn {
    fn new(column: &ArrayRef, per_second: f64, place: &Place<'_>) -> Result<Self> {
        let counts = |column: &ArrayRef| -> Result<Int64Array> {
            Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        Ok(match column.data_type() {
            DataType::Timestamp(unit, _) => Self::Counts(counts(column)?, parts_of_a_second(*unit)),
            DataType::Date32 => Self::Days(counts(&cast(column, &DataType::Int32)?)?),
            DataType::Date64 => Self::Counts(counts(column)?, parts_of_a_second(TimeUnit::Millisecond)),
            // A float would shift nanoseconds of today by up to 128, sometimes into another second.
            DataType::UInt64 if beyond(column.as_primitive::<UInt64Type>()) => {
                Self::Numbers(NumberColumn::new(column, place, "times")?, per_second)
            }
            kind if kind.is_integer() => Self::Counts(counts(column)?, per_second as i64),
            kind @ (DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_)) => {
                bail!(place.is_no(
                    "times since 1970",
                    kind,
                    "it has no date: name a column of dates, timestamps or numbers"
                ))
            }
            _ => Self::Numbers(NumberColumn::new(column, place, "times")?, per_second),
        })
    }

    fn seconds(&self, row: usize, name: &str) -> Result<Seconds, Fault> {
        match self {
            Self::Counts(times, _) | Self::Days(times) if times.is_null(row) => Err(Fault::value(name, "", "a time")),
            Self::Counts(times, per_second) => Ok(Seconds::of_parts(times.value(row), *per_second)),
            Self::Days(days) => Ok(Seconds::exactly(days.value(row) * SECONDS_A_DAY)),
            Self::Numbers(numbers, per_second) => Seconds::read(numbers.number(row, name), *per_second, name),
        }
    }
}

fn beyond(times: &UInt64Array) -> bool {
    max(times).is_some_and(|most| i64::try_from(most).is_err())
}

fn parts_of_a_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use arrow::array::Float32Array;
    use arrow::array::{
        BinaryArray, Date32Array, Date64Array, DictionaryArray, RecordBatch, StructArray, Time32SecondArray,
    };
    use arrow::datatypes::{Field, Int32Type, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType, Int96, Int96Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use pipeline::Stage as _;
    use serde_json::{Value, json};

    use super::super::{NoInputs, Outputs, Table};
    use super::*;

    fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        let fields: Vec<Field> =
            columns.iter().map(|(name, x)| Field::new(*name, x.data_type().clone(), true)).collect();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn texts(texts: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(texts.to_vec()))
    }

    fn run(folder: &Path, log: Value) -> Result<Outputs> {
        let scratch = tempfile::tempdir().unwrap();
        let mut cx = Context::detached(scratch.path());
        cx.add_asset("x", folder);
        serde_json::from_value::<Table>(json!({ "asset": "x", "log": log }))?.run(NoInputs {}, &cx)
    }

    /// Reads users `u`, items `i` and what `more` names of a file of these columns.
    fn read(columns: Vec<(&str, ArrayRef)>, more: Value) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("l.parquet"), columns);
        let mut log = json!({ "file": "l.parquet", "user": "u", "item": "i" });
        log.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        run(folder.path(), log)
    }

    fn error(columns: Vec<(&str, ArrayRef)>, more: Value) -> String {
        format!("{:#}", read(columns, more).err().unwrap())
    }

    fn at(times: ArrayRef, unit: &str) -> Vec<i64> {
        let rows = times.len();
        let columns = vec![("u", texts(&vec!["a"; rows])), ("i", texts(&vec!["b"; rows])), ("t", times)];
        read(columns, json!({ "timestamp": { "column": "t", "unit": unit } })).unwrap().interactions.timestamp
    }

    #[test]
    fn times_of_any_type_are_seconds() {
        assert_eq!(at(Arc::new(Date32Array::from(vec![18_628, -1])), "seconds"), [1_609_459_200, -86_400]);
        assert_eq!(at(Arc::new(Date64Array::from(vec![1_609_459_200_000])), "seconds"), [1_609_459_200]);
        assert_eq!(at(texts(&["1500", "2000.0"]), "milliseconds"), [1, 2]);
        // As a float it would be 1609459200000000000: the next second (as in jrothbaum/stata_parquet_io#51).
        let last: Vec<i64> = vec![1_609_459_199_999_999_999];
        assert_eq!(at(Arc::new(Int64Array::from(last)), "nanoseconds"), [1_609_459_199]);
        assert_eq!(at(Arc::new(UInt64Array::from(vec![1_609_459_199_999_999_999])), "nanoseconds"), [1_609_459_199]);
        let columns = || vec![("u", texts(&["a"])), ("i", texts(&["b"]))];
        let with = |times: ArrayRef| {
            error([columns(), vec![("t", times)]].concat(), json!({ "timestamp": { "column": "t" } }))
        };
        let found = with(texts(&["2021-01-01"]));
        assert!(found.contains("l.parquet:1: column `t`: found \"2021-01-01\", wanted a finite number"), "{found}");
        let found = with(Arc::new(Time32SecondArray::from(vec![1])));
        assert!(
            found.contains("column `t` of ") && found.contains("is of type Time32(s), wanted times since 1970"),
            "{found}"
        );
        assert!(found.contains("\nhelp: it has no date"), "{found}");
    }

    /// Spark and Hive write 9999-12-31 for "never"; in nanoseconds it wraps around to 1816 (apache/arrow-rs#982,
    /// jorgecarleitao/arrow2#1527).
    #[test]
    fn late_times_of_int96_do_not_wrap_around() {
        let folder = tempfile::tempdir().unwrap();
        let schema = "message log { required binary u (UTF8); required binary i (UTF8); required int96 t; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(folder.path().join("l.parquet")).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        for _ in 0..2 {
            let mut column = group.next_column().unwrap().unwrap();
            let values = ["a".into(), "b".into()];
            column.typed::<parquet::data_type::ByteArrayType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        // Days since the beginning of the Julian period, in which 1970-01-01 has the number 2,440,588.
        let day = |day: u32| Int96::from(vec![0, 0, 2_440_588 + day]);
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&[day(2_932_896), day(18_628)], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let log = json!({ "file": "l.parquet", "user": "u", "item": "i", "timestamp": { "column": "t" } });
        let times = run(folder.path(), log).unwrap().interactions.timestamp;
        assert_eq!(times, [253_402_214_400, 1_609_459_200]);
    }

    #[test]
    fn ids_of_any_type_are_texts() {
        let words: DictionaryArray<Int32Type> = vec![Some("a"), Some("b"), Some("a")].into_iter().collect();
        let bytes = BinaryArray::from(vec!["x".as_bytes(), "é".as_bytes(), b"x"]);
        let outputs = read(vec![("u", Arc::new(words)), ("i", Arc::new(bytes))], json!({})).unwrap();
        assert_eq!((outputs.users.id, outputs.items.id), (vec!["a".into(), "b".into()], vec!["x".into(), "é".into()]));
        let floats = Float64Array::from(vec![1.0, -0.0, 123_456_789_012.0]);
        let decimals = arrow::array::Decimal128Array::from(vec![100, 250, 100]).with_precision_and_scale(9, 2).unwrap();
        let outputs = read(vec![("u", Arc::new(floats)), ("i", Arc::new(decimals))], json!({})).unwrap();
        assert_eq!(outputs.users.id, ["1", "0", "123456789012"]);
        assert_eq!(outputs.items.id, ["1", "2.50"]);
        let one: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1]));
        let nested = StructArray::from(vec![(Arc::new(Field::new("id", DataType::Int32, true)), one)]);
        let found = error(vec![("u", Arc::new(nested)), ("i", texts(&["x"]))], json!({}));
        assert!(
            found.contains("column `u` of ") && found.contains("wanted texts or integers\nhelp: write the id"),
            "{found}"
        );
        let found =
            error(vec![("u", Arc::new(BinaryArray::from(vec![&[0xff_u8][..]]))), ("i", texts(&["x"]))], json!({}));
        assert!(found.contains("is of type Binary") && found.contains("its bytes are not UTF-8"), "{found}");
        let missing = Float64Array::from(vec![Some(1.0), None, Some(1.5)]);
        let found = error(vec![("u", Arc::new(missing)), ("i", texts(&["x", "x", "x"]))], json!({}));
        assert!(found.contains("l.parquet:2: column `u`: found \"\", wanted an id"), "{found}");
        assert!(found.contains("l.parquet:3: column `u`: found \"1.5\", wanted a text or an integer"), "{found}");
    }

    /// pandas-dev/pandas#30268: with one value missing, integers became floats, and these two ids became one.
    #[test]
    fn ids_that_floats_have_merged_are_refused() {
        let merged =
            Float64Array::from(vec![4_873_214_862_074_861_312_i64 as f64, 4_873_214_862_074_861_313_i64 as f64]);
        assert_eq!(merged.value(0), merged.value(1));
        let found = error(vec![("u", Arc::new(merged)), ("i", texts(&["x", "y"]))], json!({}));
        assert!(found.contains("wanted an integer that such a float holds exactly (below 2^53)"), "{found}");
        assert!(found.contains("help: the column was converted to floats"), "{found}");
        // Narrower floats merge smaller ids.
        let narrow = Float32Array::from(vec![20_000_000.0, 20_000_001.0]);
        assert_eq!(narrow.value(0), narrow.value(1));
        let found = error(vec![("u", Arc::new(narrow)), ("i", texts(&["x", "y"]))], json!({}));
        assert!(found.contains("(below 2^24)"), "{found}");
    }

    #[test]
    fn a_uuid_is_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let schema = "message log { required fixed_len_byte_array(16) u (UUID); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let file = File::create(folder.path().join("l.parquet")).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let id = FixedLenByteArray::from((0..16).collect::<Vec<u8>>());
        column.typed::<FixedLenByteArrayType>().write_batch(&[id], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        let users = run(folder.path(), json!({ "file": "l.parquet", "user": "u", "item": "u" })).unwrap().users;
        assert_eq!(users.id, ["00010203-0405-0607-0809-0a0b0c0d0e0f"]);
    }

    #[test]
    fn a_folder_of_parts_is_one_log() {
        let folder = tempfile::tempdir().unwrap();
        let part = |name: &str, user: ArrayRef| {
            write(&folder.path().join("log").join(name), vec![("u", user), ("i", texts(&["x"])), ("r", texts(&["3"]))]);
        };
        part("day=2/part-0.parquet", texts(&["b"]));
        part("day=1/part-0.parquet", Arc::new(Int64Array::from(vec![7])));
        part("day=__HIVE_DEFAULT_PARTITION__/part-0.parquet", texts(&["c"]));
        std::fs::write(folder.path().join("log/_SUCCESS"), "").unwrap();
        std::fs::write(folder.path().join("log/README.md"), "words").unwrap();
        let log = |time: &str| json!({ "file": "log", "user": "u", "item": "i", "rating": "r", "timestamp": { "column": time } });
        let found = format!("{:#}", run(folder.path(), log("day")).err().unwrap());
        assert!(found.contains("log:3: column `day`: found \"\", wanted a finite number"), "{found}");
        std::fs::remove_dir_all(folder.path().join("log/day=__HIVE_DEFAULT_PARTITION__")).unwrap();
        let outputs = run(folder.path(), log("day")).unwrap();
        assert_eq!(outputs.users.id, ["7", "b"]);
        assert_eq!((outputs.interactions.timestamp, outputs.interactions.rating), (vec![1, 2], vec![3.0, 3.0]));
        let found = run(folder.path(), log("hour")).err().unwrap().to_string();
        assert!(found.contains("part-0.parquet has no column `hour`; it has u, i, r, day"), "{found}");
        // Files that were deleted or replaced still lie in such a table (derekwisong/datui#237).
        std::fs::create_dir(folder.path().join("log/_delta_log")).unwrap();
        std::fs::write(folder.path().join("log/_delta_log/00000000000000000000.json"), "{}").unwrap();
        let found = run(folder.path(), log("day")).err().unwrap().to_string();
        assert!(
            found
                .contains("seems to be a table of Delta Lake, whose current files are listed only in its `_delta_log`"),
            "{found}"
        );
        std::fs::create_dir(folder.path().join("none")).unwrap();
        let found = run(folder.path(), json!({ "file": "none", "user": "u", "item": "i" })).err().unwrap().to_string();
        assert!(found.contains("holds no part of a table\nhelp: "), "{found}");
    }

    #[test]
    fn two_columns_of_one_name_are_refused_where_it_is_asked_for() {
        let columns = || vec![("u", texts(&["a"])), ("i", texts(&["b"])), ("i", texts(&["c"])), ("r", texts(&["1"]))];
        let found = error(columns(), json!({}));
        assert!(found.contains("l.parquet has two columns `i`\nhelp: rename or remove one of them"), "{found}");
    }

    #[test]
    fn what_is_no_parquet_is_called_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = |bytes: &[u8]| {
            std::fs::write(folder.path().join("l.parquet"), bytes).unwrap();
            let log = json!({ "file": "l.parquet", "user": "u", "item": "i" });
            format!("{:#}", run(folder.path(), log).err().unwrap())
        };
        for (bytes, words) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"[..], "a Git LFS pointer"),
            (b"ARROW1\0\0", "an Arrow file (also known as Feather)"),
            (b"u,i,r\na,b,1\n", "is no Parquet file but text"),
            (b"\x1f\x8b\x08", "packed with gzip"),
            (b"", "is empty (0 bytes)"),
            (b"PARE\0\0\0\0PARE", "its footer is encrypted"),
            (b"PAR1\0\0\0\0", "has only 8 of at least 12 bytes"),
        ] {
            let found = error(bytes);
            assert!(found.contains("l.parquet: ") && found.contains(words) && found.contains("\nhelp: "), "{found}");
        }
    }
}
