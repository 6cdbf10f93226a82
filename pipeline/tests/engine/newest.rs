//! What is meant where no run and no experiment is named: the newest run that has what is asked for.

use serde_json::Value;

use crate::project::{Project, SUM};

/// A whole run of `sum`, and then one of `other` that fails before it has a page.
fn with_a_failure() -> Project {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let other = "name: other\nstages:\n  b: { use: toy.number, with: { value: 9 } }\n  sum: { use: toy.fail, with: { how: error } }\n  page: { use: toy.page, inputs: { values: { x: sum.value } } }\n";
    project.write("other.yaml", other);
    assert_eq!(project.run("run other.yaml -j 1").code, 1);
    project
}

#[test]
fn the_report_is_that_of_the_newest_run_that_made_one_and_says_so() {
    let project = with_a_failure();
    let runs = project.runs();
    let answer = project.run("report");
    assert!(answer.code == 0 && answer.stdout.contains("<li>total@ 6</li>"), "{answer:?}");
    let said = format!(
        "run {} of sum (ok), the newest run that made a page: run {} of other (failed) made none\n",
        runs[0], runs[1]
    );
    assert_eq!(answer.stderr, said);
    // Both made metrics.
    let answer = project.run("report --format md");
    assert!(answer.stdout.contains(&runs[1]) && !answer.stdout.contains(&runs[0]), "{answer:?}");
    assert_eq!(answer.stderr, format!("run {} of other (failed)\n", runs[1]));
    // A run of one stage, and one of which the page is not that of the stage, hide nothing.
    project.ok("run x.yaml a");
    assert!(project.ok("report --page page").contains("<li>total@ 6</li>"));
    // Who names a run means that one.
    let answer = project.run("report last");
    assert!(answer.code == 2 && answer.stderr.contains("made no page: it did not include `page`"), "{answer:?}");
}

#[test]
fn an_output_is_that_of_the_newest_run_that_has_it() {
    let project = with_a_failure();
    let runs = project.runs();
    let answer = project.run("inspect sum.value --rows");
    assert!(answer.code == 0 && answer.stdout.contains("6.2"), "{answer:?}");
    let said = format!(
        "sum.value of sum: run {} is the newest that has it; run {} of other (failed) has none\n",
        runs[0], runs[1]
    );
    assert_eq!(answer.stderr, said);
    let answer = project.run("inspect b --rows");
    assert_eq!((answer.stdout.trim(), &*answer.stderr), ("9", ""), "the newest run has it");
    let of = |what: &str| {
        let shown: Value = serde_json::from_str(&project.ok(&format!("inspect {what} --json"))).unwrap();
        shown["content"]["text"].as_str().unwrap().trim().to_owned()
    };
    assert_eq!(
        (of("b"), of("b -e sum"), of("page"), of("a")),
        ("9".into(), "2".into(), "<ul>\n<li>total@ 6</li>\n</ul>".into(), "1.2".into())
    );
    let ended = project.run("inspect nothing");
    assert!(ended.code == 2 && ended.stderr.contains("nor an output of experiment `other`"), "{ended:?}");
    // The shell offers what can be had.
    let offered = project.command("").args(["complete", "--", "apprentice inspect "]).output().unwrap().stdout;
    let offered = String::from_utf8(offered).unwrap();
    assert!(offered.contains("b.value") && offered.contains("round.value"), "{offered}");
}
