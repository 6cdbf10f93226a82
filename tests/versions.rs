//! The guard against a forgotten `VERSION`: a stage whose code changed must say whether its results did.
//!
//! A stage's code is its file or folder; of a folder with several stages, also what they share there. The nouns (`env`,
//! `nn`, `llm`, `artifact`) are not part of it: a change there that alters results needs a look at every stage that uses
//! them. Comments, layout and unit tests do not count.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::project::repository;
use crate::source::{Source, sources};

const ACCEPT: &str = "APPRENTICE_ACCEPT_HASHES";

/// The hash of a stage's code, given all sources and the kinds of all stages.
fn hash(kind: &str, all: &[Source], kinds: &[&str]) -> String {
    let (folder, own) = kind.split_once('.').unwrap_or((kind, ""));
    let folder = format!("stages/src/{folder}/");
    let of_others: Vec<String> = kinds
        .iter()
        .filter_map(|other| other.split_once('.'))
        .filter(|(_, file)| *file != own)
        .map(|(_, file)| format!("{folder}{file}.rs"))
        .collect();
    let mut hasher = blake3::Hasher::new();
    let mut files = 0;
    for source in all.iter().filter(|source| source.path.starts_with(&folder) && !of_others.contains(&source.path)) {
        if source.is_for_tests(all) {
            continue;
        }
        let code = if source.path.ends_with(".rs") { source.program() } else { source.text.clone() };
        let words: Vec<&str> = code.split_whitespace().collect();
        hasher.update(source.path.as_bytes()).update(&[0]).update(words.join(" ").as_bytes()).update(&[0]);
        files += 1;
    }
    assert!(files > 0, "the code of {kind} is not at {folder}");
    hasher.finalize().to_hex()[..16].to_owned()
}

#[test]
fn a_stage_that_changed_has_said_whether_its_results_did() {
    let all = sources("stages/src", &["rs", "j2", "css"]);
    let kinds: Vec<&str> = stages::CATALOG.stages.iter().map(|row| row.kind).collect();
    let current: BTreeMap<&str, Value> = stages::CATALOG
        .stages
        .iter()
        .map(|row| (row.kind, json!({ "version": row.version, "hash": hash(row.kind, &all, &kinds) })))
        .collect();
    let path = repository().join("tests/data/stage_hashes.json");
    if std::env::var_os(ACCEPT).is_some() {
        fs::write(&path, serde_json::to_string_pretty(&current).unwrap() + "\n").unwrap();
    }
    let accepted: BTreeMap<String, Value> =
        serde_json::from_str(&fs::read_to_string(&path).unwrap_or_else(|_| "{}".into())).unwrap();
    let mut changed = Vec::new();
    for (kind, now) in &current {
        match accepted.get(*kind) {
            Some(then) if then == now => {}
            Some(then) if then["version"] == now["version"] => {
                changed.push(format!("{kind}: code changed, VERSION did not"))
            }
            Some(_) => changed.push(format!("{kind}: VERSION raised, not recorded yet")),
            None => changed.push(format!("{kind}: new")),
        }
    }
    changed.extend(accepted.keys().filter(|kind| !kinds.contains(&kind.as_str())).map(|kind| format!("{kind}: gone")));
    assert!(
        changed.is_empty(),
        "{}\n\nWhere an equal config on equal inputs now gives another output, raise VERSION in the stage: else the store goes \
         on serving old results. Then, or where results are the same as before, record the code with\n  \
         {ACCEPT}=1 cargo test --release --locked --workspace versions",
        changed.join("\n")
    );
}
