//! What `gc` takes and what it leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::project::{Project, SLOW, SUM, spoil};

/// Every file below a folder.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// How many items of each class `gc` would take.
fn plan(project: &Project, args: &str) -> BTreeMap<String, usize> {
    let plan: Value = serde_json::from_str(&project.ok(&format!("gc --json {args}"))).unwrap();
    let mut classes = BTreeMap::new();
    for item in plan["items"].as_array().unwrap() {
        *classes.entry(item["class"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    classes
}

fn counted(counts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    counts.iter().map(|&(class, count)| (class.to_owned(), count)).collect()
}

#[test]
fn a_forgotten_run_leaves_garbage_and_looking_removes_nothing() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.ok("run x.yaml --set stages.sum.with.plus=4");
    let all = project.ok("gc");
    assert!(all.starts_with("nothing to remove; 8 results, 8 objects ("), "{all}");
    assert!(all.contains("of these, 3 results (") && all.contains("`apprentice runs --prune --keep 1`"), "{all}");
    project.ok("runs --prune --keep 1 --apply");
    let before = files(&project.path("artifacts"));
    let shown = project.ok("gc");
    assert!(shown.contains("results  3  ") && shown.contains("objects  3  "), "{shown}");
    assert!(shown.ends_with("nothing was removed; `--apply` removes it\n"), "{shown}");
    assert_eq!(files(&project.path("artifacts")), before);
    let done = project.ok("gc --apply");
    assert!(done.contains("\nfreed ") && done.contains(" (6 items); 5 results, 5 objects ("), "{done}");
    assert_eq!((project.count("entries"), project.objects().len()), (5, 5));
    assert!(project.ok("gc").starts_with("nothing to remove; 5 results, 5 objects ("));
    assert!(project.ran("--set stages.sum.with.plus=4").is_empty());
    project.ok("verify");
}

#[test]
fn a_run_at_work_keeps_what_it_found_and_what_it_makes() {
    let two = "name: two\nstages:\n  a: { use: toy.number, with: { value: 1 } }\n  slow: { use: toy.slow, with: { units: 10 } }\n  sum: { use: toy.add, inputs: { a: a.value, b: slow.value } }\n";
    let project = Project::new(two);
    project.ok("run x.yaml a");
    project.ok("run x.yaml a --set stages.a.with.value=2");
    project.ok("runs --prune --keep 1 --apply");
    assert_eq!(plan(&project, ""), counted(&[("objects", 1), ("results", 1)]));
    // Finds the result that nobody else keeps any more, and stands still.
    let run = project.start_and_hold(5, "-j 1");
    assert_eq!(plan(&project, ""), counted(&[]));
    project.ok("gc --apply --calls");
    project.write("gate", "");
    let (code, statuses) = run.end();
    assert_eq!((code, &*statuses["slow"], &*statuses["sum"]), (0, "ran", "ran"));
    assert_eq!(fs::read_to_string(project.path("artifacts/two/sum/value.txt")).unwrap(), "386\n");
    project.ok("verify");
}

#[test]
fn unfinished_work_of_a_recorded_run_stays() {
    let project = Project::new(SLOW);
    project.start_and_hold(6, "").kill();
    assert_eq!(plan(&project, ""), counted(&[("scratch", 2)]), "outputs that were not committed, and the lock");
    assert!(project.ok("gc --apply").contains("1 key with unfinished work stay"));
    let mut again = project.start("");
    assert_eq!(again.until(|event| event["name"] == "units found")["value"], "6");
    assert_eq!(again.end().0, 0);
    let other = SLOW.replace("units: 10", "units: 9");
    project.write("x.yaml", &other);
    project.start_and_hold(6, "").kill();
    project.write("x.yaml", SLOW);
    project.ok("run x.yaml");
    project.ok("runs --prune --keep 1 --apply");
    project.ok("gc --apply");
    assert_eq!(project.count("scratch"), 0, "nobody will come back for it");
}

#[test]
fn what_people_put_there_stays() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.write("x.yaml", &SUM.replace("  page", "  seite"));
    let mine = [
        "notes.txt",
        "sum/figures.csv",
        "sum/page/page.pdf",
        "sum/page/.new-idea",
        "sum/a/value.txt",
        "sum/page/page.html",
        "store/notes.txt",
        "store/entries/copy.json",
        "store/objects/ab/readme",
        "store/runs/mine/log.txt",
        "store/scratch/mine/work",
        "store/calls/ab/readme",
        "store/damaged/why.txt",
    ];
    for path in mine {
        let path = project.path("artifacts").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    project.ok("run x.yaml b");
    project.ok("verify");
    project.ok("gc --apply --forget sum --calls");
    for path in mine {
        assert_eq!(fs::read_to_string(project.path("artifacts").join(path)).unwrap(), "mine", "{path}");
    }
    assert!(project.runs().is_empty() && project.objects().keys().eq(["readme"]));
    assert!(!project.path("artifacts/sum/b").exists(), "its view was as the store had left it");
}

#[test]
fn the_view_and_result_of_a_vanished_stage_go_when_its_runs_are_forgotten() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.write("x.yaml", &SUM.replace("  page:", "  seite:").replace("total", "summe"));
    project.ok("run x.yaml a");
    assert_eq!(plan(&project, ""), counted(&[]));
    project.ok("runs --prune --keep 1 --apply");
    assert_eq!(plan(&project, ""), counted(&[]), "a run of some stages says nothing of the others");
    project.ok("run x.yaml");
    assert_eq!(plan(&project, ""), counted(&[("objects", 1), ("results", 1), ("views", 3)]));
    project.ok("gc --apply");
    assert!(!project.path("artifacts/sum/page").exists() && project.path("artifacts/sum/seite/page.html").exists());
}

#[test]
fn what_killed_processes_left_goes() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let run = project.runs().remove(0);
    let left = ["entries", "calls", "calls/ab", "last/sum", &format!("runs/{run}"), "../sum/a"];
    for folder in left {
        let folder = project.path("artifacts/store").join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".new-aB3xY9"), "half").unwrap();
    }
    fs::create_dir_all(project.path("artifacts/store/runs/20250131T120000Z-1/logs")).unwrap();
    assert_eq!(plan(&project, ""), counted(&[("runs", 1), ("temporary", left.len())]));
    // Somebody is still writing this one.
    let held = fs::File::open(project.path("artifacts/store/calls/.new-aB3xY9")).unwrap();
    held.lock().unwrap();
    project.ok("gc --apply");
    assert!(project.path("artifacts/store/calls/.new-aB3xY9").exists());
    drop(held);
    assert_eq!(plan(&project, ""), counted(&[("temporary", 1)]));
}

#[test]
fn damaged_copies_go_when_the_content_is_there_again() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    spoil(&project.object("sum.value"), b"9.9\n");
    assert_eq!(project.run("verify").code, 6);
    assert_eq!(plan(&project, ""), counted(&[]), "until then it is the best there is");
    project.ok("run x.yaml");
    assert_eq!(plan(&project, ""), counted(&[("damaged", 1)]));
}

#[test]
fn nothing_goes_while_it_is_not_known_what_is_named() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.ok("run x.yaml --set stages.sum.with.plus=4");
    project.ok("runs --prune --keep 1 --apply");
    let provenance = project.provenance("round.value");
    let entry = project.path("artifacts/store/entries").join(format!("{}.json", provenance["key"].as_str().unwrap()));
    let whole = fs::read(&entry).unwrap();
    fs::write(&entry, "from a newer version").unwrap();
    let before = files(&project.path("artifacts"));
    let ended = project.run("gc --apply");
    assert_eq!(ended.code, 6);
    assert!(
        ended.stdout.contains("cannot be read, so what it refers to is unknown: no result and no object is removed"),
        "{}",
        ended.stdout
    );
    let mut after = files(&project.path("artifacts"));
    after.remove(&project.path("artifacts/store/gate.lock"));
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes) || path.ends_with("gate.lock")));
    fs::write(&entry, whole).unwrap();
    assert_eq!(plan(&project, ""), counted(&[("objects", 3), ("results", 3)]));
}

#[test]
fn answers_go_only_when_asked_for_and_nothing_needs_them() {
    let project = Project::new(SLOW);
    let answer = project.path("artifacts/store/calls/ab").join("0".repeat(62));
    fs::create_dir_all(answer.parent().unwrap()).unwrap();
    fs::write(&answer, "an answer").unwrap();
    project.start_and_hold(6, "").kill();
    assert!(project.ok("gc --apply --calls").contains("the answers of language models stay while work is unfinished"));
    assert!(answer.exists());
    project.ok("run x.yaml");
    project.ok("gc --apply");
    assert!(answer.exists());
    assert_eq!(plan(&project, "--calls"), counted(&[("answers", 11)]));
    project.ok("gc --apply --calls");
    assert!(!answer.exists());
}

#[test]
fn only_a_known_experiment_is_forgotten() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let ended = project.run("gc --forget summ");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("knows no experiment `summ`\nhelp: did you mean `sum`?"), "{}", ended.stderr);
    project.ok("runs last --pin");
    assert_eq!(plan(&project, "--forget sum"), counted(&[]), "a pinned run stays");
}
