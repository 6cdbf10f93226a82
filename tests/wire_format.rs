//! What was paid for stays paid: requests, the identities of models and the keys made of both keep their bytes, whatever their
//! fields are called in the program. `tests/data/recorded` holds the answers that an earlier version kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::project::{Project, repository};

fn recorded(name: &str) -> PathBuf {
    repository().join("tests/data/recorded").join(name)
}

/// The experiment and its log, without any answer.
fn project() -> Project {
    let text = |name: &str| fs::read_to_string(recorded(name)).unwrap();
    let logs = ["log.csv", "items.csv", "users.csv", "truth.ascii"];
    let project = Project::new().config(&text("experiment.yaml"));
    logs.iter().fold(project, |project, name| project.file(&format!("logs/{name}"), &text(name)))
}

/// Path below the folder of answers → its bytes, as the earlier version wrote them.
fn answers() -> BTreeMap<String, Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    let line = |line: &str| {
        let (path, hex) = line.split_once('\t').unwrap();
        (path.to_owned(), hex.as_bytes().chunks(2).map(byte).collect())
    };
    fs::read_to_string(recorded("calls.tsv")).unwrap().lines().map(line).collect()
}

/// No server listens at the address of the experiment: each question that is asked anew fails.
#[test]
fn a_store_of_an_earlier_version_answers_every_question() {
    let project = project();
    for (path, bytes) in answers() {
        let path = project.path("artifacts/store/calls").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let told = project.ok(&["run", "x.yaml", "--jobs", "1"]).stderr;
    for served in ["0 asked, 20 served from the store", "0 asked, 6 served from the store"] {
        assert!(told.contains(served), "no {served:?} in:\n{told}");
    }
}

/// The embedded model draws its texts from the request: equal requests give equal texts, in this version as in that one.
#[test]
fn the_embedded_model_writes_what_it_wrote() {
    let project = project();
    project.ok(&["run", "x.yaml", "demos", "-q"]);
    let recorded = answers();
    let asked = project.files("calls");
    assert_eq!(asked.len(), 20);
    for path in asked {
        let below = path.strip_prefix(project.path("artifacts/store/calls")).unwrap();
        let known = recorded.get(below.to_str().unwrap());
        let known = known.unwrap_or_else(|| panic!("the request of {} was never asked before", below.display()));
        let answer = fs::read(&path).unwrap();
        // A text is drawn, and equal; a choice is read off sums, whose last bits may go by the processor.
        if String::from_utf8_lossy(known).contains("\"text\"") {
            assert_eq!(&answer, known, "{}", below.display());
        }
    }
}
