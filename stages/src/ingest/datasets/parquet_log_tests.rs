//! Logs in Parquet: types of every kind, folders of parts, what is no Parquet.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    Array as _, ArrayRef, BinaryArray, Date32Array, Date64Array, DictionaryArray, Float32Array, Float64Array,
    Int64Array, RecordBatch, StringArray, StructArray, Time32SecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType, Int96, Int96Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use pipeline::{Context, Stage as _};
use serde_json::{Value, json};

use crate::ingest::{NoInputs, Outputs, Table};

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let fields: Vec<Field> = columns.iter().map(|(name, x)| Field::new(*name, x.data_type().clone(), true)).collect();
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
    let found = |times: ArrayRef| {
        let columns = vec![("u", texts(&["a"])), ("i", texts(&["b"])), ("t", times)];
        read(columns, json!({ "timestamp": { "column": "t" } })).unwrap().interactions.timestamp
    };
    for times in [
        texts(&["2021-01-01"]),
        texts(&["2021-01-01T01:00:00+01:00"]),
        texts(&["1609459200000"]),
        Arc::new(Int64Array::from(vec![1_609_459_200])),
        Arc::new(Int64Array::from(vec![1_609_459_200_000_000])),
        Arc::new(Int64Array::from(vec![20_210_101])),
        Arc::new(Float64Array::from(vec![1_609_459_200_000.0])),
        Arc::new(TimestampNanosecondArray::from(vec![1_609_459_200_000_000_000]).with_timezone("America/Lima")),
    ] {
        assert_eq!(found(Arc::clone(&times)), [1_609_459_200], "{times:?}");
    }
    // As a float it would be 1609459200000000000: the next second (as in jrothbaum/stata_parquet_io#51).
    let last: Vec<i64> = vec![1_609_459_199_999_999_999];
    assert_eq!(at(Arc::new(Int64Array::from(last)), "nanoseconds"), [1_609_459_199]);
    assert_eq!(at(Arc::new(UInt64Array::from(vec![1_609_459_199_999_999_999])), "nanoseconds"), [1_609_459_199]);
    let columns = || vec![("u", texts(&["a"])), ("i", texts(&["b"]))];
    let with =
        |times: ArrayRef| error([columns(), vec![("t", times)]].concat(), json!({ "timestamp": { "column": "t" } }));
    let found = with(texts(&["01.01.2021"]));
    assert!(found.contains("l.parquet:1: column `t`: found \"01.01.2021\", wanted a finite number"), "{found}");
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
    let found = error(vec![("u", Arc::new(BinaryArray::from(vec![&[0xff_u8][..]]))), ("i", texts(&["x"]))], json!({}));
    assert!(found.contains("is of type Binary") && found.contains("its bytes are not UTF-8"), "{found}");
    let missing = Float64Array::from(vec![Some(1.0), None, Some(1.5)]);
    let found = error(vec![("u", Arc::new(missing)), ("i", texts(&["x", "x", "x"]))], json!({}));
    assert!(found.contains("l.parquet:2: column `u`: found \"\", wanted an id"), "{found}");
    assert!(found.contains("l.parquet:3: column `u`: found \"1.5\", wanted a text or an integer"), "{found}");
}

/// pandas-dev/pandas#30268: with one value missing, integers became floats, and these two ids became one.
#[test]
fn ids_that_floats_have_merged_are_refused() {
    let merged = Float64Array::from(vec![4_873_214_862_074_861_312_i64 as f64, 4_873_214_862_074_861_313_i64 as f64]);
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
    let log =
        |time: &str| json!({ "file": "log", "user": "u", "item": "i", "rating": "r", "timestamp": { "column": time } });
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
        found.contains("seems to be a table of Delta Lake, whose current files are listed only in its `_delta_log`"),
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
