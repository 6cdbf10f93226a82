//! Copies of one log as different tools write them: each gives the same tables, or a fault that names what was found.

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use pipeline::{Context, Stage as _};
use serde_json::{Value, json};

use super::{NoInputs, Outputs, Table, Transcripts};

fn run(files: &[(&str, &[u8])], with: &Value) -> Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    run_in(folder.path(), with)
}

fn run_in(folder: &Path, with: &Value) -> Result<Outputs> {
    let scratch = tempfile::tempdir().unwrap();
    let mut cx = Context::detached(scratch.path());
    cx.add_asset("x", folder);
    let mut config = json!({ "asset": "x" });
    config.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    serde_json::from_value::<Table>(config)?.run(NoInputs {}, &cx)
}

fn log(file: &str) -> Value {
    json!({ "log": { "file": file, "user": "u", "item": "i", "rating": "r", "timestamp": { "column": "t" } } })
}

fn error(files: &[(&str, &[u8])], with: &Value) -> String {
    format!("{:#}", run(files, with).err().unwrap())
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn is_the_log(outputs: &Outputs) {
    assert_eq!((&outputs.users.id.join(" "), &outputs.items.id.join(" ")), (&"7 8".into(), &"a b".into()));
    assert_eq!(outputs.interactions.rating, [3.0, 4.0]);
    assert_eq!(outputs.interactions.timestamp, [10, 11]);
}

const RECORDS: &str = "{\"u\": 7, \"i\": \"a\", \"r\": 3, \"t\": 10}\n{\"u\": 8, \"i\": \"b\", \"r\": 4, \"t\": 11}\n";

#[test]
fn a_mark_is_no_part_of_any_text() {
    let csv = "u,i,r,t\n7,a,3,10\n8,b,4,11\n";
    for (name, text) in [("l.csv", csv), ("l.tsv", &csv.replace(',', "\t")), ("l.ndjson", RECORDS)] {
        for text in [text.to_owned(), format!("\u{feff}{text}"), format!("\u{feff}{}", text.replace('\n', "\r\n"))] {
            let mut with = log(name);
            with["on_bad_row"] = "drop".into();
            is_the_log(&run(&[(name, text.as_bytes())], &with).unwrap());
            let name = format!("{name}.gz");
            with["log"]["file"] = name.clone().into();
            is_the_log(&run(&[(&name, &packed(&text))], &with).unwrap());
        }
    }
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(csv.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let found = error(&[("l.csv", &utf16)], &log("l.csv"));
    assert!(found.contains("l.csv is in UTF-16\nhelp: write it in UTF-8, as by `iconv -f UTF-16 "), "{found}");
    let items = json!({ "file": "m.ndjson", "id": "id", "title": "n" });
    let mut with = log("l.csv");
    with["items"] = items;
    let sides = "\u{feff}{\"id\": \"a\", \"n\": \"A\"}\n{\"id\": \"b\", \"n\": \"B\"}\n";
    let read = run(&[("l.csv", csv.as_bytes()), ("m.ndjson", sides.as_bytes())], &with).unwrap();
    assert_eq!(read.items.title, ["A", "B"]);
}

#[test]
fn a_mark_takes_no_episode_from_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = "{\"user\": \"u\", \"steps\": [{\"title\": \"A\", \"reward\": 4}]}\n";
    let titles = r#"{"id2item_dict": {"1": "A"}}"#;
    for (name, text) in [("recorded.jsonl", recorded), ("titles.json", titles)] {
        std::fs::write(folder.path().join(name), format!("\u{feff}{text}")).unwrap();
    }
    let mut cx = Context::detached(folder.path());
    cx.add_asset("x", folder.path());
    let config = json!({
        "asset": "x", "files": "recorded", "format": "lines", "titles": "titles.json", "on_bad_row": "drop"
    });
    let alone = crate::ingest::transcripts::ports::Inputs { items: None, users: None, interactions: None };
    let read = serde_json::from_value::<Transcripts>(config).unwrap().run(alone, &cx).unwrap();
    assert_eq!((read.users.id, read.interactions.rating), (vec!["u".to_owned()], vec![4.0]));
}

#[test]
fn an_array_of_records_is_its_lines() {
    let array = format!("[{}]", RECORDS.trim_end().replace('\n', ",\n"));
    is_the_log(&run(&[("l.json", array.as_bytes())], &log("l.json")).unwrap());
    let indented = format!("\u{feff}[\n{}\n]\n", RECORDS.trim_end().replace('\n', ",").replace(", \"", ",\n  \""));
    is_the_log(&run(&[("l.json.gz", &packed(&indented))], &log("l.json.gz")).unwrap());
    let found = error(&[("l.json", array.replace("\"r\": 4", "\"r\": null").as_bytes())], &log("l.json"));
    assert!(found.contains("l.json:2: column `r`: found \"null\", wanted a finite number"), "{found}");
    let cut = &array.as_bytes()[..array.len() - 1];
    assert!(error(&[("l.json", cut)], &log("l.json")).contains("ends within its array, after 1 complete records"));
}

#[test]
fn a_fault_in_a_packed_file_names_that_file() {
    let found = error(&[("l.csv.gz", &packed("u,i,r,t\n7,a,good,10\n"))], &log("l.csv.gz"));
    assert!(found.contains("l.csv.gz is invalid:\n  l.csv.gz:2: column `r`: found \"good\""), "{found}");
    assert!(!found.contains("unpacked-"), "{found}");
    let found = error(&[("l.csv.gz", &packed("u,i,r\n7,a,3\n"))], &log("l.csv.gz"));
    assert!(found.contains("l.csv.gz has no column `t`") && !found.contains("unpacked-"), "{found}");
}

#[test]
fn quotes_are_characters_where_they_open_nothing() {
    let with = |file: &str| json!({ "log": { "file": file, "user": "u", "item": "i" } });
    let items = |file: &str, text: &str, extra: &Value| {
        let mut with = with(file);
        with.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        run(&[(file, text.as_bytes())], &with).unwrap().items.id
    };
    let csv = "u,i\n1,a\"b\"c\n1,abc\n1,\"Say \"\"Hello\"\" now\"\n1,Say \"Hello\" now\n1,12\" mix\n";
    assert_eq!(items("l.csv", csv, &json!({})), ["a\"b\"c", "abc", "Say \"Hello\" now", "12\" mix"]);
    let tsv = "u\ti\n1\t\"a\"\n1\ta\n1\t\"Bad\" Company\n";
    assert_eq!(items("l.tsv", tsv, &json!({})), ["\"a\"", "a", "\"Bad\" Company"]);
    assert_eq!(items("l.tsv", "u\ti\n1\t\"a\tb\"\n1\ta\n", &json!({ "quotes": "always" })), ["a\tb", "a"]);
    assert_eq!(items("l.csv", "u,i\n1,\"a\"\n1,a\n", &json!({ "quotes": "never" })), ["\"a\"", "a"]);
    let found = error(&[("l.csv", b"u,i\n1,\"a\"b\n1,ab\n")], &with("l.csv"));
    assert!(found.contains("l.csv:2: found \"b\" after the closing quote of \"a\", wanted \",\" there"), "{found}");
}

#[test]
fn whole_numbers_in_floats_are_whole_numbers() {
    let sides = json!({
        "items": { "file": "m.csv", "id": "i", "title": "n", "year": "y", "genres": { "column": "g" } },
    });
    let read = |log_text: &str, items: &str| {
        let mut with = log("l.csv");
        with.as_object_mut().unwrap().extend(sides.as_object().unwrap().clone());
        run(&[("l.csv", log_text.as_bytes()), ("m.csv", items.as_bytes())], &with).unwrap()
    };
    let logs = ["u,i,r,t\n7,1,3,10\n8,2,4,11\n", "u,i,r,t\n7.0,1.0,3,10.0\n8.0,2.0,4,11.0\n"];
    for (log, ids) in logs.iter().flat_map(|log| [["1", "2"], ["1.0", "2.0"]].map(|ids| (log, ids))) {
        let [one, two] = ids;
        let items = format!("i,n,y,g\n{one},T,1995.0,\"['Drama', 'Sci-Fi']\"\n{two},,(1996),(no genres listed)\n");
        let outputs = read(log, &items);
        assert_eq!(outputs.users.id, ["7", "8"], "{log}{items}");
        assert_eq!((&*outputs.items.id.join(" "), &*outputs.items.title.join(" ")), ("1 2", "T 2"));
        assert_eq!(outputs.items.year, [Some(1995), None]);
        assert_eq!(outputs.items.genres, [vec!["Drama", "Sci-Fi"], vec![]]);
    }
    // A row that is left out leaves nothing in any column.
    let mut with = log("l.csv");
    with.as_object_mut().unwrap().extend(sides.as_object().unwrap().clone());
    with["on_bad_row"] = "drop".into();
    let items: &[u8] = b"i,n,y,g\n9,X,1990,['A' 'B']\na,A,1995,C\nb,B,1996,\n";
    let read = run(&[("l.csv", b"u,i,r,t\n7,a,3,10\n8,b,4,11\n"), ("m.csv", items)], &with).unwrap();
    assert_eq!((read.items.title, read.items.year), (vec!["A".to_owned(), "B".into()], vec![Some(1995), Some(1996)]));
    is_the_log(&run(&[("l.csv", b"u,i,r,t\n7,a,3,10\n8,b,4,11\n")], &log("l.csv")).unwrap());
    let records = RECORDS.replace(": 7", ": 7.0").replace(": 8", ": 8.0");
    is_the_log(&run(&[("l.ndjson", records.as_bytes())], &log("l.ndjson")).unwrap());
}

#[test]
fn columns_are_named_once_or_given() {
    let found = error(&[("l.csv", b"u,i,r,t,u\n7,a,3,10,9\n")], &log("l.csv"));
    assert!(found.contains("l.csv has two columns `u`: its 1st and its 5th"), "{found}");
    let rows: &[u8] = b"\xef\xbb\xbf7,a,3,10\n8,b,4,11\n";
    let found = error(&[("l.csv", rows)], &log("l.csv"));
    assert!(found.contains("help: its first line seems to be a row") && found.contains("`names: ["), "{found}");
    let mut with = log("l.csv");
    with["log"]["names"] = json!(["u", "i", "r", "t"]);
    is_the_log(&run(&[("l.csv", rows)], &with).unwrap());
    let mut sides = with.clone();
    sides["items"] = json!({ "file": "m.csv", "names": ["n", "id"], "id": "id", "title": "n" });
    let read = run(&[("l.csv", rows), ("m.csv", b"A,a\nB,b\n")], &sides).unwrap();
    assert_eq!(read.items.title, ["A", "B"]);
    let found = error(&[("l.csv", b"u,i,r,t\n7,a,3,10\n")], &with);
    assert!(found.contains("l.csv:1: found the header again"), "{found}");
    with["log"]["names"] = json!(["u", "u"]);
    with["asset"] = "x".into();
    assert_eq!(serde_json::from_value::<Table>(with).unwrap().check().unwrap_err().0, "log.names");
}

#[test]
fn a_header_that_comes_again_is_no_row_and_what_is_missing_no_value() {
    let with = json!({ "log": { "file": "l.csv", "user": "u", "item": "i" }, "on_bad_row": "drop" });
    // whitfin/s3-concat#3: without ratings to stumble over, `u` was a user and `i` an item.
    let read = run(&[("l.csv", b"u,i\n7,a\nu,i\n8,b\n\\N,a\n")], &with).unwrap();
    assert_eq!((read.users.id, read.items.id), (vec!["7".to_owned(), "8".into()], vec!["a".to_owned(), "b".into()]));
    // Kometa-Team/Kometa#1901: IMDb writes so what it does not know.
    let with = json!({
        "log": { "file": "l.csv", "user": "u", "item": "i" },
        "items": {
            "file": "m.tsv", "id": "tconst", "title": "t", "year": "y", "genres": { "column": "g", "separator": "," }
        },
    });
    let items = b"tconst\tt\ty\tg\na\t\"The\" A\t1999\tDrama,War\nb\t\\N\t\\N\t\\N\n";
    let read = run(&[("l.csv", b"u,i\n7,a\n"), ("m.tsv", items)], &with).unwrap().items;
    assert_eq!((read.title, read.year), (vec!["\"The\" A".to_owned(), "b".into()], vec![Some(1999), None]));
    assert_eq!(read.genres, [vec!["Drama", "War"], vec![]]);
}

/// edgexfoundry/device-sdk-c#150: as a float, the last nanosecond of a second is the first of the next one.
#[test]
fn nanoseconds_keep_their_second() {
    let time = 1_500_000_000_999_999_999_u64;
    let record = format!("{{\"u\": 7, \"i\": \"a\", \"t\": {time}}}\n");
    for (file, text) in [("l.csv", format!("u,i,t\n7,a,{time}\n")), ("l.ndjson", record)] {
        let time = json!({ "column": "t", "unit": "nanoseconds" });
        let with = json!({ "log": { "file": file, "user": "u", "item": "i", "timestamp": time } });
        assert_eq!(run(&[(file, text.as_bytes())], &with).unwrap().interactions.timestamp, [1_500_000_000], "{file}");
    }
}
