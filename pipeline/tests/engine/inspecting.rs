//! What `inspect` may be pointed at, and where things came from.

use std::fs;

use serde_json::Value;

use crate::project::{Project, SUM, spoil};

fn json(project: &Project, args: &str) -> Value {
    serde_json::from_str(&project.ok(&format!("inspect {args} --json"))).unwrap()
}

#[test]
fn a_result_is_found_by_its_key_and_an_output_by_its_digest() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let found = json(&project, "sum.value");
    let (key, digest) = (found["provenance"]["key"].as_str().unwrap(), found["digest"].as_str().unwrap());
    for what in [key, &key[..8], &digest[..8], &format!("{}.value", &key[..8])] {
        let found = json(&project, what);
        assert_eq!((&found["provenance"]["stage"], &found["digest"]), (&"sum".into(), &digest.into()), "{what}");
    }
    let short = project.run(&format!("inspect {}", &key[..3]));
    assert_eq!(short.code, 2, "{short:?}");
    assert!(short.stderr.contains("nor the beginning of a key or digest"), "{}", short.stderr);
    let wrong = project.run(&format!("inspect {}.nosuch", &key[..8]));
    assert!(wrong.code == 2 && wrong.stderr.contains("its outputs are value"), "{wrong:?}");
}

#[test]
fn a_run_shows_its_stages_and_what_they_made() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let run = project.ok("runs").split_whitespace().next().unwrap().to_owned();
    for what in [run.as_str(), &run[..12]] {
        let text = project.ok(&format!("inspect {what}"));
        for part in ["command     apprentice run x.yaml\n", "sum       ran", "  .value  value"] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert_eq!(json(&project, what)["run"]["id"], run.as_str());
    }
    let rows = project.run(&format!("inspect {run} --filter a=1"));
    assert!(rows.code == 2 && rows.stderr.contains("is a run, and what you ask for needs one file"), "{rows:?}");
}

#[test]
fn lineage_names_the_asset_that_was_read_whatever_the_file_says() {
    let project = Project::new(
        "name: s\nassets:\n  one: { from: [{ path: one.txt }] }\n  two: { from: [{ path: two.txt }] }\n\
         stages:\n  a: { use: toy.number, with: { asset: one } }\n",
    );
    project.write("one.txt", "1");
    project.write("two.txt", "2");
    project.ok("run x.yaml --set stages.a.with.asset=two");
    let asset = json(&project, "a --lineage")["lineage"]["from"][0].clone();
    assert_eq!(asset["asset"], "two");
    assert!(asset["path"].as_str().unwrap().ends_with("two.txt"), "{asset}");
    assert!(project.ok("inspect a --lineage").contains("asset two "));
    assert!(project.ok("inspect last").contains("--set stages.a.with.asset=two"));
}

#[test]
fn lineage_goes_up_to_the_assets() {
    let experiment = "\
name: s
assets: { seven: { from: [{ generate: seven }] } }
stages:
  a: { use: toy.number, with: { value: 1.2 } }
  sum: { use: toy.add, inputs: { a: a.value, b: a.value } }
  page: { use: toy.page, inputs: { values: { total: sum.value, first: a.value } } }
";
    let project = Project::new(experiment);
    project.ok("run x.yaml");
    let text = project.ok("inspect page --lineage");
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("key ") && !line.contains("config ")).collect();
    let command = |indent: &str| format!("{indent}command apprentice run x.yaml");
    let wanted = [
        "page.page (toy.page, version 1)".to_owned(),
        command("│ "),
        "├─ values total ← sum.value (toy.add, version 1)".to_owned(),
        command("│  │ "),
        "│  ├─ a ← a.value (toy.number, version 1)".to_owned(),
        command("│  │    "),
        "│  └─ b ← a.value (shown above)".to_owned(),
        "└─ values first ← a.value (shown above)".to_owned(),
    ];
    assert_eq!(lines, wanted, "{text}");
    let tree = json(&project, "page --lineage")["lineage"].clone();
    assert_eq!((&tree["from"][0]["stage"], &tree["from"][0]["from"][1]["shown_above"]), (&"sum".into(), &true.into()));
    project.write("mine.txt", "1");
    let unknown = project.run("inspect mine.txt --lineage");
    assert!(unknown.code == 2 && unknown.stderr.contains("does not know where"), "{unknown:?}");
}

#[test]
fn an_episode_gets_what_lies_beside_it_and_a_difference_its_other_side() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    assert_eq!(project.ok("inspect sum --episode 0"), "6.2 with value, value\n");
    assert_eq!(project.ok("diff a b"), "1.2\n2\n");
    let gone = project.run("inspect a --against b");
    assert!(gone.code == 2 && gone.stderr.contains("two files are compared by `apprentice diff A B`"), "{gone:?}");
}

#[test]
fn damage_is_1_in_a_file_and_6_in_the_store() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.ok("inspect sum --verify");
    project.write("empty.txt", "");
    assert_eq!(project.run("inspect empty.txt --verify").code, 1);
    spoil(&project.object("sum.value"), b"9.9\n");
    let damaged = project.run("inspect sum --verify");
    assert!(damaged.code == 6 && damaged.stderr.contains("damaged"), "{damaged:?}");
    project.ok("run x.yaml");
    project.ok("inspect sum --verify");
}

#[test]
fn a_view_that_was_changed_is_not_taken_for_the_result() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    fs::write(project.path("artifacts/sum/sum/value.txt"), "9.9\n").unwrap();
    assert!(project.ok("inspect sum").starts_with("6.2\n"));
    assert!(project.ok("inspect artifacts/sum/sum/value.txt").contains("made by: unknown"));
}

#[test]
fn options_that_do_not_go_together_are_code_2() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    for args in [
        "--json --format md",
        "--head 1 --sample 2",
        "--seed 1",
        "--verify --lineage",
        "--verify --filter a=1",
        "--sql q --filter a=1",
        "--sql q --scan",
        "--sql q --rows",
        "--sql q --verify",
        "--head 1 --tail 1",
        "--sample 1 --tail 1",
        "--episode 0 --format csv",
        "--key a",
        "--format xml",
    ] {
        let ended = project.run(&format!("inspect sum {args}"));
        assert_eq!(ended.code, 2, "{args}: {ended:?}");
    }
    project.ok("inspect sum --json --format json");
}

#[test]
fn verify_tells_a_changed_copy_from_what_was_made() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let view = "artifacts/sum/sum/value.txt";
    let whole = project.ok(&format!("inspect {view} --verify"));
    assert!(whole.contains("content: that of sum.value, byte for byte"), "{whole}");
    fs::write(project.path(view), "9\n").unwrap();
    let changed = project.run(&format!("inspect {view} --verify"));
    assert!(changed.code == 1 && changed.stdout.contains("content: not that of sum.value"), "{changed:?}");
    project.write("mine.txt", "7\n");
    assert!(project.ok("inspect mine.txt --verify").contains("content: of unknown origin"));
}

#[test]
fn an_output_that_the_newest_run_has_not_is_that_of_another_experiment() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.write("y.yaml", "name: other\nstages:\n  one: { use: toy.number, with: { value: 1 } }\n");
    project.ok("run y.yaml");
    let ended = project.run("inspect round.value");
    assert!(ended.code == 0 && ended.stdout.starts_with("6\n"), "{ended:?}");
    assert!(
        ended.stderr.starts_with("round.value of sum: run ") && ended.stderr.ends_with(" of other (ok) has none\n")
    );
    let ended = project.run("inspect round.value --experiment other");
    assert!(ended.code == 2 && ended.stderr.contains("help: `sum` has: `--experiment sum`"), "{ended:?}");
    assert!(project.ok("inspect round.value --experiment sum").contains('6'));
}

#[test]
fn a_stage_that_no_run_included_is_told_as_one_without_a_result() {
    let project = Project::new(SUM);
    project.ok("run x.yaml a b");
    for what in ["sum.value", "sum", "sum@seed=1.value"] {
        let answer = project.run(&format!("inspect {what}"));
        let wanted =
            "stage `sum` of experiment `sum` has no result yet\nhelp: `apprentice run EXPERIMENT.yaml sum` runs it";
        assert!(answer.code == 2 && answer.stderr.contains(wanted), "{answer:?}");
    }
    let answer = project.run("inspect summ.value").stderr;
    assert!(
        answer.contains("`summ.value` is neither a file nor") && answer.contains("help: its stages are a, b"),
        "{answer}"
    );
}

/// Who renders a file tells every error as one of the file.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_takes_no_more_is_not_told_as_a_fault_of_the_file() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    for args in ["inspect a.value --rows --format csv", "inspect a.value"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = project.command(args).stdout(full).output().unwrap();
        let answer = String::from_utf8(ended.stderr).unwrap();
        let wanted = "error: write to standard output: No space left on device (os error 28)\nhelp: ";
        assert!(ended.status.code() == Some(1) && answer.starts_with(wanted), "{args}: {answer}");
    }
}
