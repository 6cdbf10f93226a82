//! The guard against a forgotten `VERSION`: a stage whose code changed must say whether its results did.
//!
//! A stage's code is its file or folder; of a folder with several stages, also what they share there. The nouns that it
//! uses, directly or through others, are recorded beside it, so that a change there names every stage to think about.
//! Comments, layout and unit tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::layout::{EXCEPTION, imports, is_noun};
use crate::project::repository;
use crate::source::{Source, sources};

const ACCEPT: &str = "APPRENTICE_ACCEPT_HASHES";

/// The files of a stage's own code, given all sources and the kinds of all stages.
fn own<'a>(kind: &str, all: &'a [Source], kinds: &[&str]) -> Vec<&'a Source> {
    let (folder, own) = kind.split_once('.').unwrap_or((kind, ""));
    let folder = format!("stages/src/{folder}/");
    let of_others: Vec<String> = kinds
        .iter()
        .filter_map(|other| other.split_once('.'))
        .filter(|(_, file)| *file != own)
        .map(|(_, file)| format!("{folder}{file}.rs"))
        .collect();
    let mine = |source: &&Source| source.path.starts_with(&folder) && !of_others.contains(&source.path);
    all.iter().filter(mine).filter(|source| !source.is_for_tests(all)).collect()
}

/// The files of a module at the root of the crate.
fn of_module<'a>(module: &str, all: &'a [Source]) -> Vec<&'a Source> {
    let folder = format!("stages/src/{module}/");
    all.iter().filter(|source| source.path.starts_with(&folder) && !source.is_for_tests(all)).collect()
}

/// The other modules that these files use, directly or through those that they use.
fn used(files: &[&Source], all: &[Source]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut new: BTreeSet<String> = files.iter().flat_map(|source| imports(&source.program())).collect();
    while let Some(module) = new.pop_first() {
        if (is_noun(&module) || module == EXCEPTION.1) && known.insert(module.clone()) {
            new.extend(of_module(&module, all).iter().flat_map(|source| imports(&source.program())));
        }
    }
    known
}

fn hash(files: &[&Source]) -> String {
    let mut hasher = blake3::Hasher::new();
    for source in files {
        let code = if source.path.ends_with(".rs") { source.program() } else { source.text.clone() };
        let words: Vec<&str> = code.split_whitespace().collect();
        hasher.update(source.path.as_bytes()).update(&[0]).update(words.join(" ").as_bytes()).update(&[0]);
    }
    assert!(!files.is_empty(), "no code at all");
    hasher.finalize().to_hex()[..16].to_owned()
}

#[test]
fn a_stage_that_changed_has_said_whether_its_results_did() {
    let all = sources("stages/src", &["rs", "j2", "css"]);
    let kinds: Vec<&str> = stages::CATALOG.stages.iter().map(|row| row.kind).collect();
    let current: BTreeMap<&str, Value> = stages::CATALOG
        .stages
        .iter()
        .map(|row| {
            let own = own(row.kind, &all, &kinds);
            let uses: BTreeMap<String, String> =
                used(&own, &all).into_iter().map(|module| (module.clone(), hash(&of_module(&module, &all)))).collect();
            (row.kind, json!({ "version": row.version, "hash": hash(&own), "uses": uses }))
        })
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
                let of = |value: &Value| value["uses"].as_object().cloned().unwrap_or_default();
                let (then_uses, now_uses) = (of(then), of(now));
                let mut parts: Vec<&str> = if then["hash"] == now["hash"] { vec![] } else { vec!["its own code"] };
                let modules: BTreeSet<&String> = then_uses.keys().chain(now_uses.keys()).collect();
                parts.extend(modules.into_iter().filter(|m| then_uses.get(*m) != now_uses.get(*m)).map(String::as_str));
                changed.push(format!("{kind}: changed: {}; VERSION did not", parts.join(", ")));
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
