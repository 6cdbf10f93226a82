//! Queries and filters over files of every kind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use pipeline::inspect::{Format as Style, Request, Show};
use tempfile::tempdir;

use super::super::testing::{inspected, parquet};
use super::super::{Content, inspect, open};

pub(super) fn films() -> RecordBatch {
    let genres = ListBuilder::new(StringBuilder::new());
    let mut genres = genres.with_field(Field::new_list_field(DataType::Utf8, true));
    for list in [vec!["Drama", "Crime"], vec![], vec!["Comedy"]] {
        list.into_iter().for_each(|genre| genres.values().append_value(genre));
        genres.append(true);
    }
    let kinds: DictionaryArray<Int32Type> = [Some("film"), None, Some("series")].into_iter().collect();
    let by: ArrayRef = Arc::new(StringArray::from(vec!["Mann", "Doe", "Roe"]));
    let by = StructArray::from(vec![(Arc::new(Field::new("name", DataType::Utf8, true)), by)]);
    RecordBatch::try_from_iter_with_nullable([
        ("user", Arc::new(UInt32Array::from(vec![1, 2, 3])) as ArrayRef, false),
        ("rating", Arc::new(Float32Array::from(vec![Some(0.1), None, Some(f32::NAN)])), true),
        ("title", Arc::new(StringArray::from(vec![Some("Heat"), Some("it's"), None])), true),
        ("seen", Arc::new(BooleanArray::from(vec![true, false, true])), false),
        ("day", Arc::new(Date32Array::from(vec![0, 1, 365])), false),
        ("genres", Arc::new(genres.finish()), true),
        ("a column", Arc::new(Int64Array::from(vec![i64::MIN, 0, i64::MAX])), false),
        ("kind", Arc::new(kinds), true),
        ("price", Arc::new(Decimal128Array::from(vec![150, 250, 350]).with_precision_and_scale(5, 2).unwrap()), false),
        (
            "at",
            Arc::new(TimestampMillisecondArray::from(vec![0, 500, 7_200_000]).with_timezone("Europe/Berlin")),
            false,
        ),
        ("plain", Arc::new(TimestampSecondArray::from(vec![0, 1, 7200])), false),
        ("by", Arc::new(by), true),
    ])
    .unwrap()
}

/// The rows of a file that a filter leaves.
pub(super) fn left(path: &Path, filter: &str) -> Vec<u64> {
    let request = Request { filter: Some(filter.into()), head: Some(100), ..Request::default() };
    match super::super::description_of(open(path).unwrap(), "x".into(), &request)
        .unwrap_or_else(|e| panic!("{filter}: {e:#}"))
        .content
    {
        Content::Parquet { table, .. } | Content::Arrow { table, .. } | Content::Table { table, .. } => {
            table.head.numbers
        }
        other => panic!("{other:?}"),
    }
}

/// What a query answers, as CSV.
pub(super) fn answer(path: &Path, sql: &str) -> String {
    let request = Request { show: Show::Rows, format: Style::Csv, sql: Some(sql.into()), ..Request::default() };
    inspected(path, &request)
}

pub(super) fn refused(path: &Path, request: Request) -> String {
    let error = inspect(path, &Request { show: Show::Rows, ..request }, &mut Vec::new()).unwrap_err();
    assert!(error.chain().any(|cause| cause.is::<pipeline::UsageError>()), "{error:#}");
    format!("{error:#}").split_once(": ").unwrap().1.to_owned()
}

#[test]
fn every_kind_of_column_is_compared() {
    let folder = tempdir().unwrap();
    let path = parquet(folder.path(), &films());
    let cases: [(&str, &[u64]); 44] = [
        ("user = 2", &[1]),
        ("user >= 1.5", &[1, 2]),
        ("user != 2", &[0, 2]),
        ("user <> 2", &[0, 2]),
        ("user > -1", &[0, 1, 2]),
        ("user in (1, 3, 99)", &[0, 2]),
        ("user not in (1)", &[1, 2]),
        ("user between 2 and 3", &[1, 2]),
        ("user % 2 = 1 and user + 1 > 2", &[2]),
        ("rating = 0.1", &[0]),
        ("rating < 1", &[0]),
        ("rating != 1", &[0, 2]),
        ("title = 'Heat'", &[0]),
        ("title = 'it''s'", &[1]),
        ("title contains 'ea'", &[0]),
        ("title contains '.'", &[]),
        ("title like 'H%t'", &[0]),
        ("title ilike 'h_at'", &[0]),
        ("not title contains 'ea'", &[1]),
        ("title not contains 'ea'", &[1]),
        ("title < 'a'", &[0]),
        ("title is null", &[2]),
        ("title IS NOT NULL and seen = true", &[0]),
        ("seen = false", &[1]),
        ("day > '1970-01-01'", &[1, 2]),
        ("day = '1971-01-01'", &[2]),
        ("day between '1970-01-02' and '1970-12-31'", &[1]),
        ("genres contains 'Drama'", &[0]),
        ("genres contains 'Drama' or genres contains 'Comedy'", &[0, 2]),
        ("\"a column\" = 9223372036854775807", &[2]),
        ("\"a column\" < -9223372036854775807", &[0]),
        ("kind = 'film' and kind contains 'il'", &[0]),
        ("kind is null", &[1]),
        ("price > 2.0 and price <= 2.5", &[1]),
        ("at = '1970-01-01T00:00:00.5'", &[1]),
        ("at >= '1970-01-01T04:00:00+02:00'", &[2]),
        ("at < '1970-01-01 00:00:00.2 UTC'", &[0]),
        ("plain = '1970-01-01 01:00:00+0100'", &[0]),
        ("plain > '1970-01-01T00:00:00Z' and plain < '1970-01-01T00:00:02Z'", &[1]),
        ("plain in ('1970-01-01', '1970-01-01T04:00+02')", &[0, 2]),
        ("by.name = 'Doe' or by.name contains 'M'", &[0, 1]),
        ("not (user = 1 or user = 2)", &[2]),
        ("user = 1 or user = 2 and title = 'it''s'", &[0, 1]),
        ("user >= 2 -- with a remark\n and user < 3", &[1]),
    ];
    for (filter, wanted) in cases {
        assert_eq!(left(&path, filter), wanted, "{filter}");
    }
}

#[test]
fn what_is_wrong_is_told_with_a_caret() {
    let folder = tempdir().unwrap();
    let path = parquet(folder.path(), &films());
    let told = |filter: &str| refused(&path, Request { filter: Some(filter.into()), ..Request::default() });
    assert_eq!(
        told("raitng >= 4"),
        "invalid filter: there is no column `raitng`\n  raitng >= 4\n  ^^^^^^\nhelp: the columns are user, rating, title, seen, day, \
         genres, a column, kind, price, at, plain, by; did you mean `rating`?; a text stands in single quotes"
    );
    for (filter, place, words) in [
        ("rating >=", 9..10, "expected an expression, found the end"),
        ("rating >= and", 10..13, "expected a value, found `and`"),
        ("rating 4", 7..8, "unexpected `4`"),
        ("rating >= 'x'", 10..13, "rating is f32, which is compared with a number"),
        ("title = 4", 8..9, "title is str, which is compared with a text in single quotes"),
        ("title = Heat", 8..12, "there is no column `Heat`"),
        ("day > 'soon'", 6..12, "`soon` is no date or time"),
        ("day > '1970-01-01T12:00'", 6..24, "finer or farther than date holds"),
        ("at > 5", 5..6, "compared with a moment in single quotes"),
        ("at = '1970-01-01T00:00:00.0005'", 5..31, "finer or farther than"),
        ("seen = 1", 7..8, "seen is bool, which is compared with true or false"),
        ("genres = 'Drama'", 9..16, "write `genres contains 'Drama'`"),
        ("user contains '1'", 5..13, "only texts and lists contain something"),
        ("(user = 1", 9..10, "expected )"),
        ("user = 1)", 8..9, "unexpected `)`"),
        ("user = 1 user = 2", 9..13, "unexpected `user`"),
        ("title = 'Heat", 8..9, "Unterminated string literal"),
        ("", 0..1, "expected an expression, found the end"),
        ("user in ()", 9..10, ""),
        ("user = 1 and\nuesr = 2", 0..4, "did you mean `user`?"),
    ] {
        let told = told(filter);
        let carets: Vec<_> = told.lines().filter(|line| line.trim_start().starts_with('^')).collect();
        let [caret] = carets[..] else { panic!("{filter}: {told}") };
        assert_eq!(caret.find('^').map(|at| at - 2..caret.len() - 2), Some(place), "{filter}: {told}");
        assert!(told.contains(words) && told.contains("\nhelp: "), "{filter}: {told}");
    }
    assert!(told("title + 1 > user").contains("title is str"), "the types of what stands in it");
}

#[test]
fn no_filter_is_too_deep_for_the_stack() {
    let folder = tempdir().unwrap();
    let path = parquet(folder.path(), &films());
    let told = |filter: String| refused(&path, Request { filter: Some(filter), ..Request::default() });
    let deep = "(".repeat(100_000) + "user = 1" + &")".repeat(100_000);
    assert!(told(deep).contains("nested deeper than"));
    assert!(told(vec!["user = 1"; 20_000].join(" or ")).contains("it joins more than 200 tests"));
    assert_eq!(left(&path, &vec!["user = 1"; 200].join(" or ")), [0]);
    assert_eq!(left(&path, &format!("user in ({})", vec!["2"; 5000].join(","))), [1]);
    assert_eq!(left(&path, &("not ".repeat(20) + "user = 1")), [0]);
}

/// The same table in a file of each kind.
fn written(folder: &Path, batch: &RecordBatch) -> Vec<PathBuf> {
    let paths: Vec<_> =
        ["t.parquet", "t.arrow", "t.arrows", "t.csv", "t.tsv", "t.ndjson"].map(|name| folder.join(name)).into();
    let create = |index: usize| File::create(&paths[index]).unwrap();
    let mut writer = ArrowWriter::try_new(create(0), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    let mut writer = FileWriter::try_new(create(1), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    let mut writer = StreamWriter::try_new(create(2), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    let rows = |format| inspected(&paths[0], &Request { show: Show::Rows, format, ..Request::default() });
    std::fs::write(&paths[3], rows(Style::Csv)).unwrap();
    std::fs::write(&paths[4], rows(Style::Csv).replace(',', "\t")).unwrap();
    std::fs::write(&paths[5], rows(Style::Ndjson)).unwrap();
    paths
}

fn log() -> RecordBatch {
    RecordBatch::try_from_iter([
        ("user", Arc::new(Int64Array::from(vec![1, 1, 2, 3])) as ArrayRef),
        ("rating", Arc::new(Float64Array::from(vec![4.5, 1.0, 2.0, 3.0]))),
        ("title", Arc::new(StringArray::from(vec![Some("Heat"), Some("a\u{1b}[2J"), None, Some("Alien")]))),
        ("day", Arc::new(Date32Array::from(vec![0, 1, 2, 3]))),
    ])
    .unwrap()
}

#[test]
fn a_query_answers_alike_whatever_the_format() {
    let folder = tempdir().unwrap();
    for path in written(folder.path(), &log()) {
        let shown = path.display();
        let grouped = "select user, count(*) as n, avg(rating) as mean from self where title like '%e%' or user < 3 group by user order by user";
        assert_eq!(answer(&path, grouped), "user,n,mean\n1,2,2.75\n2,1,2.0\n3,1,3.0\n", "{shown}");
        // What a text shows was escaped when it was written.
        let titles =
            answer(&path, "select title from self where day between '1970-01-02' and '1970-01-03T02:00+02:00'");
        assert_eq!(titles, "title\na\\u{1b}[2J\n\n", "{shown}");
        assert_eq!(left(&path, "rating >= 2 and day < '1970-01-04'"), [0, 2], "{shown}");
        let last = Request {
            show: Show::Rows,
            format: Style::Csv,
            tail: Some(2),
            columns: vec!["user".into()],
            ..Request::default()
        };
        assert_eq!(inspected(&path, &last), "user\n2\n3\n", "{shown}");
        let last = Request { filter: Some("user = 1".into()), ..last };
        assert_eq!(inspected(&path, &last), "user\n1\n1\n", "{shown}");
        let told = refused(&path, Request { sql: Some("select\n  raitng\nfrom self".into()), ..Request::default() });
        assert!(
            told.starts_with(
                "invalid query: there is no column `raitng`\n    raitng\n    ^^^^^^\nhelp: the columns are user, rating"
            ),
            "{shown}: {told}"
        );
        assert!(told.ends_with("did you mean `rating`?"), "{told}");
    }
}

#[test]
fn a_text_is_described_as_any_table() {
    let folder = tempdir().unwrap();
    let paths = written(folder.path(), &log());
    let shown = inspected(&paths[3], &Request::default());
    for line in ["t.csv: CSV, ", "4 rows, 4 columns", "Numbers", "All rows"] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
    let last = inspected(&paths[3], &Request { tail: Some(1), ..Request::default() });
    assert!(last.contains("Last 1 of 4 rows") && last.contains(" 3      3"), "{last}");
    // A value that fits no type of its column is named.
    let path = folder.path().join("late.csv");
    std::fs::write(&path, "n\n".to_owned() + &"1\n".repeat(10_500) + "one\n").unwrap();
    let told = format!("{:#}", inspect(&path, &Request::default(), &mut Vec::new()).unwrap_err());
    assert!(
        told.contains("could not parse `one` as dtype `i64` at column 'n'") && told.contains("\nhelp: correct"),
        "{told}"
    );
    // No first line that names the columns.
    let path = folder.path().join("u.tsv");
    std::fs::write(&path, "196\t242\t3\n186\t302\t4\n").unwrap();
    assert_eq!(answer(&path, "select sum(column_3) as s from self"), "s\n7\n");
    std::fs::write(&path, "").unwrap();
    assert!(inspect(&path, &Request::default(), &mut Vec::new()).is_err());
}

#[test]
fn many_files_are_one_table() {
    let folder = tempdir().unwrap();
    for (year, first) in [(2020, 0), (2021, 2)] {
        let part = folder.path().join(format!("log/year={year}"));
        std::fs::create_dir_all(&part).unwrap();
        parquet(&part, &log().slice(first, 2));
        std::fs::write(part.join("_SUCCESS"), "").unwrap();
    }
    let log_folder = folder.path().join("log");
    let by_year = "select year, max(user) as m from self group by year order by year";
    assert_eq!(answer(&log_folder, by_year), "year,m\n2020,1\n2021,3\n");
    assert_eq!(answer(&log_folder, "select rating from self where year = 2021 and user = 2"), "rating\n2.0\n");
    let shown = inspected(&log_folder, &Request::default());
    assert!(shown.contains("4 rows in 2 files, 5 columns"), "{shown}");
    let pattern = folder.path().join("log/*/*.parquet");
    assert_eq!(answer(&pattern, "select count(*) as n from self"), "n\n4\n");
    // A plain folder has no columns in its paths, and text goes as well.
    let texts = folder.path().join("texts");
    std::fs::create_dir(&texts).unwrap();
    std::fs::write(texts.join("a.csv"), "user,n\n1,2\n").unwrap();
    std::fs::write(texts.join("b.csv"), "user,n\n1,3\n").unwrap();
    assert_eq!(answer(&texts, "select user, sum(n) as n from self group by user"), "user,n\n1,5\n");
    parquet(&texts, &log());
    let told = |path: &Path| refused(path, Request { sql: Some("select * from self".into()), ..Request::default() });
    assert!(told(&texts).contains("holds files of CSV and of Parquet\nhelp: "), "{}", told(&texts));
    assert!(told(&folder.path().join("*.csv")).starts_with("holds no file\nhelp: "));
}

/// The columns of a stream are called what they are in a file; so are those of many files.
#[test]
fn types_are_those_of_the_file() {
    let folder = tempdir().unwrap();
    let paths = written(folder.path(), &films().project(&[0, 1, 2, 7, 9, 10]).unwrap());
    let types = |path: &Path, filter: Option<&str>| {
        let request = Request { format: Style::Json, filter: filter.map(str::to_owned), ..Request::default() };
        let whole: serde_json::Value = serde_json::from_str(&inspected(path, &request)).unwrap();
        let columns = whole["table"]["columns"].as_array().unwrap().clone();
        let rows = whole["table"]["head"]["rows"].clone();
        (columns.iter().map(|column| column["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), rows)
    };
    let wanted = types(&paths[0], None);
    assert_eq!(wanted.0[4], "Timestamp(ms, \"Europe/Berlin\")");
    assert_eq!(types(&paths[2], None), wanted);
    assert_eq!(types(&paths[2], Some("user = 2")).0, wanted.0);
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    std::fs::copy(&paths[0], parts.join("a.parquet")).unwrap();
    assert_eq!(types(&parts, None), wanted);
}

#[test]
fn parts_that_differ_are_named() {
    let folder = tempdir().unwrap();
    for (kind, ending) in [(0, "parquet"), (1, "arrow"), (2, "arrows")] {
        let parts = folder.path().join(ending);
        std::fs::create_dir(&parts).unwrap();
        let place = |name: &str| parts.join(format!("{name}.{ending}"));
        std::fs::rename(&written(folder.path(), &log())[kind], place("a")).unwrap();
        let title: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let other =
            RecordBatch::try_from_iter([("user", Arc::new(Int64Array::from(vec![1])) as ArrayRef), ("rating", title)])
                .unwrap();
        for (batch, words) in [
            (other.clone(), "has Int32 in the column `rating`, not Float64 as in "),
            (other.project(&[0]).unwrap(), "has no column `rating`, as there is in "),
        ] {
            let path = folder.path().join("b");
            std::fs::create_dir_all(&path).unwrap();
            std::fs::rename(&written(&path, &batch)[kind], place("b")).unwrap();
            let told = refused(&parts, Request { sql: Some("select rating from self".into()), ..Request::default() });
            assert!(
                told.contains(&format!("b.{ending} {words}")) && told.contains("\nhelp: write the files"),
                "{told}"
            );
        }
    }
}

#[test]
fn an_answer_is_escaped_and_cut_for_a_terminal_only() {
    let folder = tempdir().unwrap();
    let path = parquet(folder.path(), &log());
    let request = |format| Request {
        show: Show::Rows,
        format,
        sql: Some("select title, user from self".into()),
        ..Request::default()
    };
    let shown = inspected(&path, &request(Style::Table));
    assert!(shown.starts_with(" title ") && shown.contains("a\\u{1b}[2J") && !shown.contains('\u{1b}'), "{shown}");
    let whole: serde_json::Value = serde_json::from_str(&inspected(&path, &request(Style::Json))).unwrap();
    assert_eq!(whole["rows"][1], serde_json::json!({ "title": "a\u{1b}[2J", "user": 1 }));
    assert!(whole.get("rows_in_file").is_none());
    let many = "select a.user from self a cross join self b cross join self c cross join self d";
    let shown = inspected(&path, &Request { sql: Some(many.into()), ..request(Style::Table) });
    assert!(shown.ends_with(" The first 100 rows; `--head N` shows more, `--format csv` writes all.\n"), "{shown}");
    assert_eq!(answer(&path, many).lines().count(), 257);
}

#[test]
fn a_query_that_is_none_is_refused() {
    let folder = tempdir().unwrap();
    let path = parquet(folder.path(), &log());
    let told = |sql: &str| refused(&path, Request { sql: Some(sql.into()), ..Request::default() });
    assert!(
        told("select * from ratings")
            .contains("there is no table `ratings`\n  select * from ratings\n                ^^^^^^^")
    );
    assert!(told("select * from ratings").contains("help: the table is called `self`; the columns are user"));
    assert!(
        told("selec * from self").contains("\n  selec * from self\n  ^^^^^\nhelp: "),
        "{}",
        told("selec * from self")
    );
    assert!(told("drop table self").contains("only a `select` is answered"));
    assert!(told("select 1; select 2").contains("it holds 2 statements, not one"));
    assert!(told("select self.uesr from self").contains("did you mean `user`?"));
    let wrong = told("select title + rating from self where user > 'x'");
    assert!(wrong.contains("user is i64, which is compared with a number"), "{wrong}");
    assert!(told("select cast(title as int) from self").contains("cannot be computed: conversion from `str`"));
}

/// Row groups of a thousand rows in ascending order, of which the first is damaged: who does not read it does not notice.
#[test]
fn only_the_row_groups_and_columns_that_may_matter_are_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let noise = |row: i64| row.wrapping_mul(6_364_136_223_846_793_005);
    let batch = RecordBatch::try_from_iter([
        ("row", Arc::new(Int64Array::from_iter_values(0..10_000)) as ArrayRef),
        ("noise", Arc::new(Int64Array::from_iter_values((0..10_000).map(noise)))),
    ])
    .unwrap();
    let properties =
        WriterProperties::builder().set_max_row_group_row_count(Some(1000)).set_dictionary_enabled(false).build();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    let metadata = writer.close().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let (from, length) = metadata.row_group(0).column(0).byte_range();
    bytes[from as usize..(from + length) as usize].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(left(&path, "row >= 9998"), [9998, 9999]);
    assert_eq!(answer(&path, "select row from self where row between 5000 and 5001"), "row\n5000\n5001\n");
    assert_eq!(answer(&path, "select max(noise) > 0 as n, count(*) as all_rows from self"), "n,all_rows\ntrue,10000\n");
    let last = Request { show: Show::Rows, format: Style::Csv, tail: Some(1), ..Request::default() };
    assert!(inspected(&path, &last).starts_with("row,noise\n9999,"));
    let request = Request { show: Show::Rows, filter: Some("row < 5".into()), ..Request::default() };
    let error = inspect(&path, &request, &mut Vec::new()).unwrap_err();
    let told = format!("{error:#}");
    assert!(!error.chain().any(|cause| cause.is::<pipeline::UsageError>()), "{told}");
    assert!(
        told.contains("t.parquet: cannot read on after row 0: the file is damaged (") && told.contains("\nhelp: "),
        "{told}"
    );
}

#[test]
fn a_type_that_polars_has_not_is_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let ends = IntervalYearMonthArray::from(vec![1, 2]);
    let schema = Schema::new(vec![
        Field::new("user", DataType::Int64, false),
        Field::new("span", ends.data_type().clone(), true),
    ]);
    let batch =
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(ends)]).unwrap();
    let mut writer = FileWriter::try_new(File::create(&path).unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let told = refused(&path, Request { filter: Some("user = 1".into()), ..Request::default() });
    assert!(told.contains("its column `span` is Interval(YearMonth), which a query cannot read\nhelp: "), "{told}");
    assert!(
        inspected(&path, &Request::default()).contains("2 rows in 1 batch"),
        "without a filter it is shown as before"
    );
}

#[test]
fn no_other_file_is_read() {
    let folder = tempdir().unwrap();
    let other = folder.path().join("other.csv");
    std::fs::write(&other, "a,b\n1,2\n").unwrap();
    let path = parquet(folder.path(), &films());
    let other = other.display();
    for sql in [
        format!("select * from read_csv('{other}')"),
        format!("with t as (select * from read_csv('{other}')) select * from t"),
        format!("select * from self, read_csv('{other}')"),
        format!("select * from self where user in (select a from read_csv('{other}'))"),
        "select * from elsewhere".to_owned(),
    ] {
        let error = refused(&path, Request { sql: Some(sql.clone()), ..Request::default() });
        assert!(
            error.contains("there is no table `") && error.contains("the table is called `self`"),
            "{sql}: {error}"
        );
    }
    let filter = format!("user in (select a from read_csv('{other}'))");
    let error = refused(&path, Request { filter: Some(filter), ..Request::default() });
    assert!(error.contains("there is no table `read_csv`"), "{error}");
    assert!(answer(&path, "with t as (select user from self) select max(user) as m from t").contains('3'));
}
