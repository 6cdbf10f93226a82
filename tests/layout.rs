//! The rules of the house: who may import whom, how long a file may be, what may not stand in it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::project::repository;
use crate::source::{Source, sources};

/// The nouns of `stages` and what each may use.
const NOUNS: [(&str, &[&str]); 9] = [
    ("artifact", &[]),
    ("features", &["artifact"]),
    ("ground", &["artifact"]),
    ("inspect", &["artifact"]),
    ("llm", &["artifact", "nn"]),
    ("nn", &["artifact"]),
    ("prompting", &["artifact", "features", "llm", "nn"]),
    ("env", &["artifact", "nn"]),
    ("ratings", &["artifact", "nn"]),
];
/// Whether a module at the root of the crate is a noun.
pub fn is_noun(module: &str) -> bool {
    NOUNS.iter().any(|(noun, _)| *noun == module)
}

/// What a stage may use: artifacts and how to handle them, never another stage.
const FOR_STAGES: &[&str] = &["artifact", "env", "features", "ground", "llm", "nn", "prompting", "ratings"];
/// Who may use the learners of `rl`: adversarial inverse RL needs a generator, and the evaluation trains the controls that
/// every table must have (a learner that is only paid to stay, and plain copying).
pub const EXCEPTION: (&[&str], &str) = (&["evaluate", "irl"], "rl");

const LONGEST: usize = 500;

/// What lies at the top of the repository, beside files and folders whose names begin with a dot.
const TOP: [&str; 8] = ["Cargo.lock", "Cargo.toml", "README.md", "artifacts", "configs", "pipeline", "stages", "tests"];

/// The modules at the root of the crate that a text names: `crate::env::…`, `crate::{artifact::…, nn}`.
pub fn imports(program: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, prefix) in program.match_indices("crate::") {
        let rest = &program[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (place, character) in list.char_indices() {
            match character {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && !character.is_whitespace() => {
                    found.insert(word(&list[place..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_are_read_from_any_form() {
    let text = "use crate::env::Agent;\nuse crate::{artifact::{Items, World},\n    nn};\nlet x = crate::llm::open();";
    assert_eq!(imports(text).into_iter().collect::<Vec<_>>(), ["artifact", "env", "llm", "nn"]);
}

#[test]
fn a_stage_knows_nouns_and_no_other_stage() {
    let all = sources("stages/src", &["rs"]);
    let mut wrong = Vec::new();
    for source in all.iter().filter(|source| !source.is_for_tests(&all)) {
        let inside = source.path.trim_start_matches("stages/src/");
        let Some((module, _)) = inside.split_once('/') else { continue };
        let noun = NOUNS.iter().find(|(noun, _)| *noun == module).map(|(_, allowed)| *allowed);
        let allowed = noun.unwrap_or(FOR_STAGES);
        let fine = |used: &String| {
            used == module || allowed.contains(&used.as_str()) || (EXCEPTION.0.contains(&module) && used == EXCEPTION.1)
        };
        wrong.extend(
            imports(&source.program())
                .into_iter()
                .filter(|used| !fine(used))
                .map(|used| format!("{} uses {used}", source.path)),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_engine_knows_no_stage_no_tensor_and_no_data_frame() {
    let manifest = fs::read_to_string(repository().join("pipeline/Cargo.toml")).unwrap();
    let dependencies: Vec<&str> =
        manifest.lines().filter_map(|line| line.split_once(".workspace")).map(|(name, _)| name).collect();
    assert!(dependencies.contains(&"serde_yaml"));
    for heavy in ["stages", "polars", "arrow", "parquet", "candle-core", "candle-nn", "safetensors", "tokenizers"] {
        assert!(!dependencies.contains(&heavy), "pipeline depends on {heavy}");
    }
}

#[test]
fn files_are_short_and_tests_are_run() {
    let forbidden = [
        concat!("#[", "ignore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    for Source { path, text } in ["pipeline", "stages", "tests"].iter().flat_map(|folder| sources(folder, &["rs"])) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{path} has {lines} lines: split it by ideas");
        for word in forbidden {
            assert!(!text.contains(word), "{path} holds {word}");
        }
        let name = path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        assert!(
            !["utils", "util", "common", "helpers", "helper", "manager", "misc"].contains(&name),
            "{path} says nothing"
        );
    }
}

/// The names at the top of the repository that git does not ignore; outside a checkout all but the folder of builds.
fn top_level() -> BTreeSet<String> {
    let git = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output();
    if let Some(listed) = git.ok().filter(|ended| ended.status.success() && !ended.stdout.is_empty()) {
        let paths = String::from_utf8_lossy(&listed.stdout).into_owned();
        let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
        return paths.split_terminator('\0').map(first).collect();
    }
    let entries = fs::read_dir(repository()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "target").collect()
}

#[test]
fn the_top_level_is_the_one_on_the_card() {
    let found: Vec<String> = top_level().into_iter().filter(|name| !name.starts_with('.')).collect();
    assert_eq!(found, TOP, "put a new file beside what it belongs to, below one of these folders");
}

#[test]
fn every_dependency_comes_from_one_registry() {
    let lock = fs::read_to_string(repository().join("Cargo.lock")).unwrap();
    let sources: BTreeSet<&str> = lock.lines().filter(|line| line.starts_with("source = ")).collect();
    let sources: Vec<&str> = sources.into_iter().collect();
    let registry = matches!(sources[..], [only] if only.starts_with("source = \"registry+"));
    assert!(registry, "dependencies come from {sources:?}, wanted one registry and no repository");
}
