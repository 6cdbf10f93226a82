//! Logs as tables: forms, units, what does not fit.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use parquet::arrow::ArrowWriter;
use pipeline::{Context, Stage as _};
use serde_json::{Value, json};

use crate::ingest::datasets::table::Table;
use crate::ingest::{NoInputs, Outputs};

fn run(files: &[(&str, &str)], with: Value) -> Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    run_in(folder.path(), with)
}

fn run_in(folder: &Path, with: Value) -> Result<Outputs> {
    let scratch = tempfile::tempdir().unwrap();
    let mut cx = Context::detached(scratch.path());
    cx.add_asset("x", folder);
    let mut config = json!({ "asset": "x" });
    config.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    serde_json::from_value::<Table>(config)?.run(NoInputs {}, &cx)
}

fn parquet(folder: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(folder.join("log.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn log(file: &str) -> Value {
    let time = json!({ "column": "ms", "unit": "milliseconds" });
    json!({ "file": file, "user": "who", "item": "what", "rating": "stars", "timestamp": time })
}

/// What each form of the same log gives.
fn is_the_log(outputs: &Outputs) {
    let log = &outputs.interactions;
    assert_eq!(
        (&*outputs.users.id, &*outputs.items.id),
        (&["7".to_owned(), "b".into()][..], &["x, y".to_owned(), "z".into()][..])
    );
    assert_eq!((&*log.user, &*log.item), (&[0, 1, 0][..], &[0, 0, 1][..]));
    assert_eq!((&*log.rating, &*log.timestamp), (&[4.5, 1.0, 3.0][..], &[1, 2, 1_500_000_000][..]));
}

#[test]
fn one_log_in_four_forms() {
    let csv =
        "\u{feff}who,what,stars,more,ms\r\n7,\"x, y\",4.5,,1500\r\nb,\"x, y\",1,,2000\r\n7,z,3,,1500000000000\r\n";
    is_the_log(&run(&[("log.csv", csv)], json!({ "log": log("log.csv") })).unwrap());
    let tsv = "stars\tms\twho\twhat\n4.5\t1500\t7\tx, y\n1\t2000\tb\tx, y\n3\t1500000000000\t7\tz\n";
    is_the_log(&run(&[("log.tsv", tsv)], json!({ "log": log("log.tsv") })).unwrap());
    let records = r#"{"who": 7, "what": "x, y", "stars": 4.5, "ms": 1500}
{"who": "b", "what": "x, y", "stars": "1", "ms": 2000}
{"who": 7, "what": "z", "stars": 3, "ms": 1.5e12}"#;
    is_the_log(&run(&[("log.ndjson", records)], json!({ "log": log("log.ndjson") })).unwrap());
    let times = [1500, 2000, 1_500_000_000_000];
    for ms in [
        Arc::new(Int64Array::from(times.to_vec())) as ArrayRef,
        Arc::new(TimestampMillisecondArray::from(times.to_vec())),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("who", Arc::new(StringArray::from(vec!["7", "b", "7"]))),
            ("what", Arc::new(StringArray::from(vec!["x, y", "x, y", "z"]))),
            ("stars", Arc::new(Float64Array::from(vec![Some(4.5), Some(1.0), Some(3.0)]))),
            ("ms", ms),
        ];
        parquet(folder.path(), columns);
        is_the_log(&run_in(folder.path(), json!({ "log": log("log.parquet") })).unwrap());
        let missing = run_in(folder.path(), json!({ "log": { "file": "log.parquet", "user": "who", "item": "it" } }));
        assert!(missing.err().unwrap().to_string().contains("has no column `it`"));
    }
}

#[test]
fn tables_beside_the_log() {
    let files = [
        ("log.csv", "u,i\nb,2\n"),
        ("items.csv", "i,t,y,g\n1,\"A, \"\"B\"\"\",1999,Drama|War\n2,,soon,\n"),
        ("users.ndjson", "{\"u\": \"a\", \"age\": 5}\n{\"u\": \"b\", \"age\": null}\n"),
    ];
    let with = |items: &str| {
        json!({
            "log": { "file": "log.csv", "user": "u", "item": "i" },
            "items": { "file": items, "id": "i", "title": "t", "year": "y", "genres": { "column": "g" } },
            "users": { "file": "users.ndjson", "id": "u" },
        })
    };
    let outputs = run(&files, with("items.csv")).unwrap();
    assert_eq!((&*outputs.interactions.user, &*outputs.interactions.item), (&[1][..], &[1][..]));
    assert_eq!((outputs.interactions.rating[0], outputs.interactions.timestamp[0]), (1.0, 0));
    assert_eq!(
        (outputs.items.title, outputs.items.year),
        (vec!["A, \"B\"".to_owned(), "2".into()], vec![Some(1999), None])
    );
    assert_eq!(outputs.items.genres, [vec!["Drama".to_owned(), "War".into()], vec![]]);
    assert_eq!(outputs.users.features["age"], ["5", ""]);
    let error = |items: &str, text: &str| {
        let mut files = files.to_vec();
        files.push((items, text));
        run(&files, with(items)).err().unwrap().to_string()
    };
    assert!(
        error("twice.csv", "i,t,y,g\n1,,,\n1,,,\n")
            .contains("twice.csv:3: column `i`: found \"1\", wanted a unique id")
    );
    assert!(error("short.csv", "i,t,y,g\n1,a\n").contains("short.csv:2: found 2 fields, wanted 4"));
    assert!(error("names.csv", "i,t,y\n1,a,\n").contains("has no column `g`; it has i, t, y"));
    assert!(
        error("one.csv", "i,t,y,g\n1,,,\n")
            .contains("log.csv:2: column `i`: found \"2\", wanted an id of the side table")
    );
    assert!(error("items.xls", "").contains("help: name it .csv"));
}

#[test]
fn files_outside_of_the_asset_are_refused() {
    let refused = |with: Value| {
        let mut config = json!({ "asset": "x", "log": { "file": "log.csv", "user": "u", "item": "i" } });
        config.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        serde_json::from_value::<Table>(config).unwrap().check().err().map(|(path, _)| path)
    };
    assert_eq!(refused(json!({ "users": { "file": "deep/users.csv", "id": "u" } })), None);
    for file in ["", "/etc/passwd", "../outside.csv"] {
        let log = json!({ "log": { "file": file, "user": "u", "item": "i" } });
        assert_eq!(refused(log).unwrap(), "log.file");
        assert_eq!(refused(json!({ "items": { "file": file, "id": "i" } })).unwrap(), "items.file");
        assert_eq!(refused(json!({ "users": { "file": file, "id": "u" } })).unwrap(), "users.file");
    }
}

#[test]
fn numbers_that_cannot_be_kept_do_not_fit() {
    let rows = [("4", "1500"), ("1e39", "1"), ("4", "99999999999999999999e3"), ("3", "-5"), ("3", "2024-05-01")];
    let csv: String = rows.iter().map(|(stars, ms)| format!("u,i,{stars},{ms}\n")).collect();
    let records: String = rows
        .iter()
        .map(|(stars, ms)| format!("{{\"who\": \"u\", \"what\": \"i\", \"stars\": \"{stars}\", \"ms\": \"{ms}\"}}\n"))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log.csv"), format!("who,what,stars,ms\n{csv}")).unwrap();
    std::fs::write(folder.path().join("log.ndjson"), records).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("who", Arc::new(StringArray::from(vec!["u"; 5]))),
        ("what", Arc::new(StringArray::from(vec!["i"; 5]))),
        ("stars", Arc::new(StringArray::from(rows.map(|row| row.0).to_vec()))),
        ("ms", Arc::new(StringArray::from(rows.map(|row| row.1).to_vec()))),
    ];
    parquet(folder.path(), columns);
    for file in ["log.csv", "log.ndjson", "log.parquet"] {
        let error = run_in(folder.path(), json!({ "log": log(file) })).err().unwrap().to_string();
        for part in [
            "column `stars`: found \"1e39\", wanted a number that 32 bits hold",
            "column `ms`: found \"",
            " (the year 292277026596)",
            "wanted a time of milliseconds in a year from 0 to 9999",
            "help: `unit` of `timestamp` says what the numbers count",
            "; correct the file, or set `on_bad_row: drop`",
        ] {
            assert!(error.contains(part), "{file}: {error}");
        }
        let kept = run_in(folder.path(), json!({ "log": log(file), "on_bad_row": "drop" })).unwrap().interactions;
        assert_eq!((&*kept.rating, &*kept.timestamp), (&[4.0, 3.0][..], &[1, -1][..]), "{file}");
    }
}

#[test]
fn typed_times_are_rounded_down() {
    let folder = tempfile::tempdir().unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("who", Arc::new(StringArray::from(vec!["u"; 2]))),
        ("what", Arc::new(StringArray::from(vec!["i"; 2]))),
        ("stars", Arc::new(Int64Array::from(vec![1; 2]))),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![-5, 1999]))),
    ];
    parquet(folder.path(), columns);
    let outputs = run_in(folder.path(), json!({ "log": log("log.parquet") })).unwrap();
    assert_eq!(outputs.interactions.timestamp, [-1, 1]);
}

#[test]
fn a_log_of_no_rows_is_refused() {
    for text in ["who,what,stars,ms\n", "who,what,stars,ms\n7,x,good,1\n"] {
        let with = json!({ "log": log("log.csv"), "on_bad_row": "drop" });
        let error = run(&[("log.csv", text)], with).err().unwrap().to_string();
        assert!(error.contains("log.csv holds no valid interaction\nhelp: check that it is the right file"), "{error}");
    }
}

#[test]
fn line_breaks_in_quotes_are_part_of_the_field() {
    let with = json!({
        "log": { "file": "log.csv", "user": "u", "item": "i" },
        "items": { "file": "items.csv", "id": "i", "title": "t" },
    });
    let items = "i,t\n2,\"a\nb\"\n\"3\r\nx\",c\n";
    let outputs = run(&[("log.csv", "u,i\n1,\"3\r\nx\"\n1,2\n"), ("items.csv", items)], with.clone()).unwrap();
    assert_eq!((outputs.items.title, outputs.interactions.item), (vec!["a\nb".to_owned(), "c".into()], vec![1, 0]));
    for (log, items, place) in [("u,i\n1,\"2\n", items, "log.csv:2"), ("u,i\n1,2\n", "i,t\n2,\"a\n", "items.csv:2")] {
        let mut with = with.clone();
        with["on_bad_row"] = "drop".into();
        let error = run(&[("log.csv", log), ("items.csv", items)], with).err().unwrap().to_string();
        assert!(error.contains(&format!("{place}: found an open quote")), "{error}");
    }
}

#[test]
fn rows_that_do_not_fit_are_named_or_dropped() {
    let text = "who,what,stars,ms\n7,x,good,1\n7,x,1,1\n7,,1,1\n";
    let error = run(&[("log.csv", text)], json!({ "log": log("log.csv") })).err().unwrap().to_string();
    assert!(error.contains("log.csv:2: column `stars`: found \"good\", wanted a finite number"), "{error}");
    assert!(error.contains("log.csv:4: column `what`: found \"\", wanted an id"), "{error}");
    let dropped = run(&[("log.csv", text)], json!({ "log": log("log.csv"), "on_bad_row": "drop" })).unwrap();
    assert_eq!(dropped.interactions.len(), 1);
}

#[test]
fn other_columns_of_the_catalogue_are_kept_as_they_are_named() {
    let files = [
        ("log.csv", "u,i\nb,2\n"),
        ("items.csv", "i,price,tags,brand\n1,12.50,\"['a', 'b']\",Acme\n2,,,\n"),
        (
            "more.ndjson",
            "{\"i\": 2, \"price\": 3.0, \"tags\": [\"x\", 7], \"brand\": true}\n{\"i\": 3, \"price\": 0.5}\n",
        ),
    ];
    let with = |file: &str, features: &[&str]| {
        let log = json!({ "file": "log.csv", "user": "u", "item": "i" });
        run(&files, json!({ "log": log, "items": { "file": file, "id": "i", "features": features } }))
    };
    let kept = with("items.csv", &["price", "tags"]).unwrap().items;
    assert_eq!(kept.features.keys().collect::<Vec<_>>(), ["price", "tags"]);
    assert_eq!(kept.features["price"], ["12.50", ""]);
    assert_eq!(kept.features["tags"], [r#"["a","b"]"#, ""], "a list of Python is one of JSON");
    let kept = with("more.ndjson", &["tags", "price", "brand"]).unwrap().items;
    assert_eq!(kept.features["tags"], [r#"["x","7"]"#, ""]);
    assert_eq!(
        (&*kept.features["price"], &*kept.features["brand"]),
        (&["3".to_owned(), "0.5".into()][..], &["true".to_owned(), String::new()][..])
    );
    let error = with("items.csv", &["prise"]).err().unwrap().to_string();
    assert!(error.contains("has no column `prise`"), "{error}");
}

#[test]
fn spaces_around_fields_are_kept_or_left_out_in_all_tables() {
    let log = json!({ "file": "log.csv", "user": "who", "item": "what", "rating": "stars" });
    let items = json!({ "file": "items.csv", "id": "id", "title": "title" });
    let files = [
        ("log.csv", "who, what, stars\nu1, a, 2\nu1 , b, 3\n"),
        ("items.csv", "id, title\n a,A\nb ,B\nc,C\n"),
        (
            "log.ndjson",
            "{\"who\": \"u1\", \"what\": \"a\", \"stars\": \" 2\"}\n{\"who\": \"u1 \", \"what\": \" b\", \"stars\": 3}\n",
        ),
    ];
    for file in ["log.csv", "log.ndjson"] {
        let mut log = log.clone();
        log["file"] = file.into();
        let outputs = run(&files, json!({ "log": log, "items": items, "trim_whitespace": true })).unwrap();
        assert_eq!((outputs.users.id, outputs.interactions.item), (vec!["u1".to_owned()], vec![0, 1]), "{file}");
        assert_eq!((&*outputs.interactions.rating, &*outputs.items.title[1]), (&[2.0, 3.0][..], "B"), "{file}");
    }
    let padded = json!({ "file": "log.csv", "user": "who", "item": " what", "rating": " stars" });
    let error = run(&files, json!({ "log": padded })).err().unwrap().to_string();
    assert!(error.contains("found \" 2\"") && error.contains("set `trim_whitespace: true`"), "{error}");
    let without = json!({ "file": "log.csv", "user": "who", "item": " what" });
    assert_eq!(run(&files, json!({ "log": without })).unwrap().users.id, ["u1", "u1 "]);

    let folder = tempfile::tempdir().unwrap();
    let texts = |texts: [&str; 2]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
    parquet(folder.path(), vec![("u", texts(["u1", "u1 "])), ("i", texts([" a", "a"])), ("r", texts([" 2", "3"]))]);
    let log = json!({ "file": "log.parquet", "user": "u", "item": "i", "rating": "r" });
    let outputs = run_in(folder.path(), json!({ "log": log, "trim_whitespace": true })).unwrap();
    assert_eq!((outputs.users.id, outputs.items.id), (vec!["u1".to_owned()], vec!["a".to_owned()]));
    assert_eq!(outputs.interactions.rating, [2.0, 3.0]);
}
