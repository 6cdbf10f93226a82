//! Damaged, lost and unwritable stores.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::project::{Project, SLOW, SUM, spoil};
use crate::remains::files;

#[test]
fn a_damaged_object_is_never_read_by_a_stage() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let object = project.object("sum.value");
    let good = fs::read(&object).unwrap();
    spoil(&object, b"9.2\n");
    let ended = project.run("run x.yaml --set stages.round.with.to=0.1");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("sum warning: the object"), "{}", ended.stderr);
    assert!(ended.stderr.contains("sum runs: its value is damaged or lost"), "{}", ended.stderr);
    assert_eq!(fs::read(&object).unwrap(), good);
    assert_eq!(project.count("damaged"), 1);
    assert_eq!(fs::read_to_string(project.path("artifacts/sum/round/value.txt")).unwrap(), "6.2\n");
}

#[test]
fn a_stage_that_is_made_again_for_another_one_is_recorded_as_it_was_made() {
    let project = Project::new(
        "name: n\nstages:\n  pair: { use: toy.whim, with: { file: whim } }\n  y: { use: toy.round, inputs: { value: pair.first } }\n",
    );
    project.write("whim", "1");
    project.ok("run x.yaml");
    spoil(&project.object("pair.first"), b"9\n");
    project.write("whim", "2");
    let events = project.ok("run x.yaml --json --set stages.y.with.to=0.5");
    let ends = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ends: Vec<_> = ends.filter(|event| event["event"] == "stage_ended" && event["stage"] == "pair").collect();
    assert_eq!(ends.iter().map(|end| end["status"].as_str().unwrap()).collect::<Vec<_>>(), ["hit", "ran"]);
    let run = project.runs().pop().unwrap();
    let record = fs::read(project.path(&format!("artifacts/store/runs/{run}/run.json"))).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let row = &record["nodes"][0];
    assert_eq!((&row["stage"], &row["status"], &row["seconds"]), (&json!("pair"), &json!("ran"), &ends[1]["seconds"]));
    assert_eq!(row["outputs"]["first"], blake3::hash(b"2\n").to_hex().as_str());
}

#[test]
fn a_cut_or_lost_object_is_made_again() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let before = project.objects();
    spoil(&project.object("sum.value"), b"6");
    assert_eq!(project.plan("sum", ""), "run: its value is damaged or lost");
    assert_eq!(project.ran(""), ["sum"]);
    fs::remove_file(project.object("round.value")).unwrap();
    assert_eq!(project.ran(""), ["round"]);
    assert_eq!(project.objects(), before);
}

#[test]
fn a_damaged_object_is_never_viewed() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    spoil(&project.object("a.value"), b"7.7\n");
    let view = project.path("artifacts/sum/a/value.txt");
    fs::remove_file(&view).unwrap();
    let inspected = project.run("inspect a.value");
    assert_eq!(inspected.code, 6, "{inspected:?}");
    assert_eq!(project.ran(""), ["a"]);
    assert_eq!(fs::read_to_string(&view).unwrap(), "1.2\n");
}

#[test]
fn a_damaged_entry_is_made_again() {
    let project = Project::new("name: one\nstages:\n  a: { use: toy.number, with: { value: 1 } }\n");
    project.ok("run x.yaml");
    let entry = fs::read_dir(project.path("artifacts/store/entries")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&entry).unwrap();
    fs::write(&entry, text.replace("\"bytes\": 2", "\"bytes\": 3")).unwrap();
    assert_eq!(project.run("verify").code, 6);
    assert_eq!(project.plan("a", ""), "run: its entry is damaged or lost");
    assert_eq!(project.ran(""), ["a"]);
    project.ok("verify");
}

#[test]
fn verify_finds_one_flipped_bit() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    assert_eq!(project.ok("verify"), "5 objects, 5 results, 1 run: all intact\n");
    let object = project.object("b.value");
    let mut bytes = fs::read(&object).unwrap();
    bytes[0] ^= 1;
    spoil(&object, &bytes);
    let ended = project.run("verify");
    assert_eq!(ended.code, 6);
    assert!(ended.stdout.contains("is damaged or lost; it was moved to"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\n  it is b.value of sum (entry "), "{}", ended.stdout);
    project.ok("run x.yaml");
    project.ok("verify");
}

#[test]
fn verify_names_all_that_can_be_damaged() {
    let project = Project::new(SLOW);
    let mut started = project.start_and_hold(7, "");
    started.child.kill().unwrap();
    started.child.wait().unwrap();
    assert_eq!(project.ok("verify"), "7 answers, 3 files of unfinished work, 1 run: all intact\n");
    let scratch = project.path("artifacts/store/scratch");
    let work = fs::read_dir(scratch)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("squares").exists())
        .unwrap();
    for (file, word) in [("squares", "log"), ("sums/6.checkpoint", "checkpoint")] {
        let mut bytes = fs::read(work.join(file)).unwrap();
        // The last byte of the second frame, and of the state.
        let at = bytes.len().min(2 * 44) - 1;
        bytes[at] ^= 1;
        fs::write(work.join(file), bytes).unwrap();
        let ended = project.run("verify");
        assert_eq!(ended.code, 6);
        assert!(ended.stdout.contains(&format!("the {word} `")), "{}", ended.stdout);
    }
    let run = project.ok("runs").split_whitespace().next().unwrap().to_owned();
    project.write(&format!("artifacts/store/runs/{run}/run.json"), "{");
    project.ok("run x.yaml");
    let ended = project.run("verify");
    assert!(
        ended.stdout.starts_with("the run `") && ended.stdout.ends_with("2 runs: 1 fault, none of them in a result\n"),
        "{}",
        ended.stdout
    );
    assert!(project.ok("runs").contains(&format!("{run}  ")) && project.ok("runs").contains("its record is damaged"));
    assert!(project.ok("runs --prune --keep 5").contains("1 run would be forgotten, 1 stay"));
    project.ok("runs --prune --keep 5 --apply");
    assert!(!project.path("artifacts/store/runs").join(&run).exists());
    assert!(project.ok("verify").contains("all intact"));
    assert_eq!(fs::read_to_string(project.path("artifacts/slow/slow/value.txt")).unwrap(), "385\n");
}

#[test]
fn damaged_checkpoints_are_told_and_what_is_said_of_them_happens() {
    let project = Project::new(SLOW);
    project.start_and_hold(7, "").kill();
    let work = files(&project).into_keys().find(|path| path.ends_with("sums/6.checkpoint")).unwrap();
    let sums = work.parent().unwrap();
    // Without its log the stage is one training: all that it goes on from are its sums.
    fs::remove_file(sums.parent().unwrap().join("squares")).unwrap();
    assert_eq!(project.plan("slow", ""), "run: it has no result yet; resumes after 6 saved units");
    fs::write(sums.join("6.checkpoint"), "torn").unwrap();
    assert_eq!(project.plan("slow", ""), "run: it has no result yet; resumes after 3 saved units");
    let said = project.run("verify").stdout;
    assert!(said.contains("6.checkpoint` is damaged; the stage resumes from the one before\n"), "{said}");
    fs::write(sums.join("3.checkpoint"), "torn").unwrap();
    assert_eq!(project.plan("slow", ""), "run: it has no result yet");
    let said = project.run("verify").stdout;
    let line = "is damaged; none before it is intact, so this work starts anew\n";
    assert_eq!(said.matches(line).count(), 2, "{said}");
    let said = project.run("run x.yaml").stderr;
    let line = "slow warning: 2 saved checkpoints are damaged; there is no other, so the stage starts anew\n";
    assert!(said.contains("slow runs: it has no result yet\n") && said.contains(line), "{said}");
    assert_eq!(fs::read_to_string(project.path("artifacts/slow/slow/value.txt")).unwrap(), "385\n");
}

/// A file that the disk does not give is a fault like others: the rest is looked at all the same.
#[cfg(unix)]
#[test]
fn verify_goes_on_after_what_cannot_be_read() {
    let project = Project::new(SLOW);
    project.start_and_hold(7, "slow").kill();
    project.ok("run x.yaml slow --set stages.slow.with.units=1");
    let all: Vec<_> = files(&project).into_keys().collect();
    let of = |part: &str, end: &str| {
        let fits = |path: &&PathBuf| path.to_str().unwrap().contains(part) && path.to_str().unwrap().ends_with(end);
        all.iter().find(fits).unwrap().clone()
    };
    let broken = [
        of("store/entries/", ".json"),
        of("store/calls/", ""),
        of("store/scratch/", "squares"),
        of("store/last/", ".json"),
        of("store/runs/", "run.json"),
    ];
    for path in &broken {
        // A link to itself is there, and even root cannot read it.
        fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink(path, path).unwrap();
    }
    let ended = project.run("verify");
    assert_eq!(ended.code, 6, "{ended:?}");
    assert_eq!(ended.stdout.matches("symbolic links").count(), 4, "all but the memory, which says nothing more");
    for path in &broken {
        let shown = path.strip_prefix(project.path("")).unwrap();
        let shown = if shown.ends_with("run.json") { shown.parent().unwrap() } else { shown };
        assert!(ended.stdout.contains(shown.to_str().unwrap()), "{}: {}", shown.display(), ended.stdout);
    }
    assert!(ended.stdout.contains(": 5 faults; "), "{}", ended.stdout);
}

#[test]
fn verify_reads_the_fetched_assets_too() {
    let project = Project::new(
        "name: n\nassets:\n  num: { from: [{ generate: seven }] }\nstages:\n  one: { use: toy.number, with: { asset: num } }\n",
    );
    project.ok("run x.yaml");
    assert_eq!(project.ok("verify"), "1 object, 1 result, 1 run, 1 asset: all intact\n");
    let mut folders = vec![project.path("cache")];
    let mut contents = vec![];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { contents.push(path) }
        }
    }
    let content = contents.into_iter().find(|path| fs::read(path).unwrap() == b"7").unwrap();
    fs::write(&content, "8").unwrap();
    let ended = project.run("verify");
    assert_eq!(ended.code, 6);
    let said = format!("the asset `{}` is damaged; it is fetched again when it is needed\n", content.display());
    assert!(ended.stdout.starts_with(&said), "{}", ended.stdout);
    assert_eq!(project.ran("--force one"), ["one"]);
    project.ok("verify");
    assert_eq!(fs::read_to_string(project.path("artifacts/n/one/value.txt")).unwrap(), "7\n");
}

#[test]
fn a_view_that_was_changed_by_hand_is_restored() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let view = project.path("artifacts/sum/a/value.txt");
    fs::write(&view, "my own figures\n").unwrap();
    let ended = project.run("run x.yaml");
    assert!(
        ended.stderr.contains("was changed or made by hand; it is restored, and yours is kept as"),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::read_to_string(&view).unwrap(), "1.2\n");
    assert_eq!(fs::read_to_string(view.with_extension("txt.kept")).unwrap(), "my own figures\n");
    // Nor does a new result overwrite what somebody wrote; an older view goes without a word.
    fs::write(&view, "more of mine\n").unwrap();
    project.ok("run x.yaml --set stages.a.with.value=7");
    assert_eq!(fs::read_to_string(view.with_extension("txt.kept-2")).unwrap(), "more of mine\n");
    assert!(!project.run("run x.yaml").stderr.contains("kept"));
    project.ok("gc --apply");
    assert!(view.with_extension("txt.kept").exists());
    assert_eq!(fs::read_to_string(project.object("a.value")).unwrap(), "1.2\n");
}

#[test]
fn a_store_that_cannot_be_written_is_an_error_with_a_next_step() {
    let project = Project::new(SUM);
    fs::create_dir(project.path("artifacts")).unwrap();
    project.write("artifacts/store", "a file where a folder should be");
    let ended = project.run("run x.yaml");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("cannot write to the store `artifacts/store`"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("help: give a folder that you may write to with `--artifacts DIR`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_full_disk_is_an_error_and_what_was_saved_counts() {
    let project = Project::new(&SLOW.replace("units: 10", "units: 200"));
    // A limit on the size of files refuses a write as a full disk does: half of it may be done.
    let toy = env!("CARGO_BIN_EXE_toy");
    let script = format!("trap '' XFSZ; ulimit -f 8; exec {toy} run x.yaml");
    let output = Command::new("sh").args(["-c", &script]).current_dir(project.path("")).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: stage `slow` failed: append to the log"), "{stderr}");
    assert_eq!(project.count("entries"), 0);
    let mut again = project.start("");
    let found = again.until(|event| event["name"] == "units found")["value"].as_str().unwrap().parse::<u64>().unwrap();
    assert!((50..200).contains(&found), "{found}");
    assert_eq!(again.end().0, 0);
    assert_eq!(std::fs::read_to_string(project.path("artifacts/slow/slow/value.txt")).unwrap(), "2686700\n");
}
