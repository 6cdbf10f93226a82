//! Files of CSV are read as pandas and DuckDB read them, where these two agree; where they do not, a file is refused or read as
//! one of them does, so that nothing is taken for what nobody else sees in it.
//!
//! Both come from pip, once, into the build folder. Without a network the test says so and is skipped, unless
//! `APPRENTICE_REQUIRE_NETWORK` is set.

use std::path::Path;
use std::process::Command;

use pipeline::{Context, Stage as _};
use serde_json::json;
use stages::ingest::{NoInputs, Table};

use crate::project::repository;
use crate::python::packages;

/// What fields are made of; quotes, separators, ends of lines and spaces in any order.
const PIECES: [&str; 11] = ["a", "b c", "\"", "\"\"", ",", " ", "'", "\\", "é", "\n", "\r\n"];

/// The next number of a row without a pattern, below `below`.
fn draw(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

/// One field as some writer writes it: as it is, in quotes as RFC 4180 has it, or in quotes that it knows nothing of.
fn field(state: &mut u64) -> String {
    let text: String = (0..=draw(state, 3)).map(|_| PIECES[draw(state, PIECES.len())]).collect();
    match draw(state, 4) {
        0 => text.replace([',', '\r', '\n'], ";"),
        1 => format!("\"{text}\""),
        _ => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

/// The users and items of a file's rows; `None` where it is refused.
fn read(path: &Path) -> Option<Vec<[String; 2]>> {
    let scratch = tempfile::tempdir().unwrap();
    let mut cx = Context::detached(scratch.path());
    cx.add_asset("x", path.parent().unwrap());
    let file = path.file_name().unwrap().to_string_lossy();
    let config = json!({ "asset": "x", "log": { "file": file, "user": "u", "item": "i" } });
    let outputs = serde_json::from_value::<Table>(config).unwrap().run(NoInputs {}, &cx).ok()?;
    let log = &outputs.interactions;
    let row = |(&user, &item): (&u32, &u32)| {
        [outputs.users.id[user as usize].clone(), outputs.items.id[item as usize].clone()]
    };
    Some(log.user.iter().zip(&log.item).map(row).collect())
}

#[test]
fn quotes_mean_what_they_mean_to_pandas_and_duckdb() {
    let Some(packages) = packages("pandas-and-duckdb", &["pandas", "duckdb"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let state = &mut 16;
    let paths: Vec<_> = (0..600).map(|number| folder.path().join(format!("{number}.csv"))).collect();
    for (number, path) in paths.iter().enumerate() {
        let end = if number % 3 == 0 { "\r\n" } else { "\n" };
        // Users begin with a letter, so that quotes stand within fields, too.
        let rows: Vec<String> = (0..2)
            .map(|_| {
                format!("u{},{},i{},x{end}", field(state).replace([',', '\r', '\n'], ""), field(state), draw(state, 9))
            })
            .collect();
        let header = if number % 2 == 0 { "u,i,x,y" } else { "\u{feff}u,i,x,y" };
        std::fs::write(path, format!("{header}{end}{}", rows.concat())).unwrap();
    }
    let script = repository().join("tests/data/read_csv.py");
    let output = Command::new("python3").arg(script).args(&paths).env("PYTHONPATH", packages).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for (number, path) in paths.iter().enumerate() {
        let of = |reader: &str| -> Option<Vec<[String; 2]>> {
            let rows = theirs[reader][number].as_array()?;
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            Some(rows.iter().map(|row| [text(&row[0]), text(&row[1])]).collect())
        };
        let (pandas, duckdb, ours) = (of("pandas"), of("duckdb"), read(path));
        let text = std::fs::read_to_string(path).unwrap();
        let has_ids = pandas.iter().flatten().flatten().all(|id| !id.is_empty());
        if pandas.is_some() && pandas == duckdb && has_ids {
            assert_eq!(ours, pandas, "{text}");
            agreed += 1;
        } else {
            assert!(ours.is_none() || ours == pandas || ours == duckdb, "{text}\n{ours:?}\n{pandas:?}\n{duckdb:?}");
            refused += 1;
        }
    }
    assert!(agreed > 200 && refused > 50, "{agreed} files are read alike, {refused} not");
}
