//! The report of runs: the page with what was run, other forms, and runs side by side.

use std::fs;

use crate::project::{Project, text};

const HOSTILE: &str = "# <script>alert('no')</script> ``` |\n";

/// A page without the links to its terms, for sentences that one stands in.
fn unlinked(page: &str) -> String {
    let mut parts = page.split("<a class=\"term\"");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once('>').map_or("", |(_, rest)| rest).replacen("</a>", "", 1));
    first + &rest.collect::<String>()
}

#[test]
fn a_run_tells_what_was_run_beside_what_came_out() {
    let project = Project::smoke();
    let smoke = fs::read_to_string(project.path("x.yaml")).unwrap();
    let project = project.config(&format!("{HOSTILE}{smoke}"));
    project.ok(&["run", "x.yaml", "--threads", "1"]).prints(&[" · report: artifacts/smoke/report/page-as-run.html\n"]);
    let run = text(&project.ok(&["runs", "--json"]).json()["runs"][0]["id"]);
    let shown = fs::read_to_string(project.path("artifacts/smoke/report/page-as-run.html")).unwrap();
    let told = project.ok(&["report"]).stdout;
    assert!(shown.starts_with(told.trim_end()), "the page beside the view is the page of `report`, with a seal");
    let said = unlinked(&told);
    for part in [
        "<h1>",
        "<b>Run</b>",
        &run,
        "apprentice run x.yaml --threads 1",
        "1 threads",
        "ingest.recbole",
        "policy@seed=1",
        "generate toy-log",
        "&quot;n_epochs&quot;: 10",
        "The evaluation world takes its item distances from the training world",
        "non-negative reward",
        "Time for one recommendation",
        "Fewer than 5 training seeds: bc (1) and a2c (2)",
        "&lt;script&gt;alert(",
    ] {
        assert!(said.contains(part), "no {part}");
    }
    assert!(!told.contains("<script") && told.trim_end().ends_with("</html>"));
    // The object knows nothing of the run.
    let object = fs::read_to_string(project.path("artifacts/smoke/report/page.html")).unwrap();
    assert!(!object.contains(&run) && !object.contains("--threads 1") && object.contains("<!-- what was run -->"));

    other_forms(&project, &run);
    side_by_side(&project);
    what_was_served_keeps_its_notes(&project);
}

fn what_was_served_keeps_its_notes(project: &Project) {
    project.ok(&["run", "x.yaml", "-q"]);
    let json = project.ok(&["report", "--json"]).json();
    let run = &json["runs"][0];
    let stages = run["stages"].as_array().unwrap();
    let score = stages.iter().find(|stage| stage["stage"] == "score").unwrap();
    assert_eq!(score["status"], "hit");
    assert!(text(&score["notes"]["time of a2c"]).starts_with("median "), "{score}");
    let timed = run["times"][0]["rows"].as_array().unwrap();
    assert!(timed.iter().any(|row| row["policy"] == "a2c" && row["milliseconds"].as_f64().unwrap() > 0.0), "{timed:?}");
}

fn other_forms(project: &Project, run: &str) {
    let md = project.ok(&["report", "--format", "md"]);
    let md = md.prints(&["# smoke\n", "| row | return |", "| a2c | ", "**Caveats**", "## Run", run, "````yaml\n"]);
    assert!(!md.stdout.split("````").next().unwrap().contains("<script"));
    let csv = project.ok(&["report", "--format", "csv"]).stdout;
    assert_eq!(
        csv.lines().next(),
        Some(
            "run,experiment,stage,policy,baseline,privileged,remark,metric,mean,low,high,seeds,episodes,cell,effective_sample_size,logged,conclusive"
        )
    );
    assert!(
        csv.lines().skip(1).all(|line| line.starts_with(run))
            && csv.lines().any(|line| line.contains(",score,a2c,false,false,") && line.contains(",return_inclusive,")),
        "{csv}"
    );
    let json = project.ok(&["report", "--json"]).json();
    assert_eq!((&json["schema_version"], text(&json["runs"][0]["run"]).as_str()), (&1.into(), run));
    let stages = json["runs"][0]["stages"].as_array().unwrap();
    let seeds: Vec<_> = stages.iter().filter(|stage| stage["kind"] == "rl.a2c").map(|stage| &stage["seed"]).collect();
    assert_eq!(seeds, [0, 1]);
}

fn side_by_side(project: &Project) {
    project.ok(&["run", "x.yaml", "-q", "--set", "stages.bc.with.n_epochs=11"]);
    let md = project.ok(&["report", "last~1", "last", "--format", "md"]);
    md.prints(&[
        "# 2 runs side by side",
        "Run 2: ",
        "## Settings that differ",
        "| bc | n\\_epochs | 10 | 11 |",
        "## return",
        "| bc | ",
    ]);
    project.ok(&["report", "last~1", "last", "--html", "both.html"]).says(&["wrote `both.html`"]);
    let page = fs::read_to_string(project.path("both.html")).unwrap();
    assert!(page.contains("<td>n_epochs</td><td>10</td><td>11</td>") && page.contains("Runs 1 and 2"), "{page}");
    for outside in ["http:", "https:", "<script", "@import", "url(", "src="] {
        assert!(!page.contains(outside), "`{outside}` reaches outside");
    }
    let csv = project.ok(&["report", "last~1", "last", "--format", "csv"]).stdout;
    let one = project.ok(&["report", "--format", "csv"]).stdout;
    assert_eq!(csv.lines().count(), 2 * one.lines().count() - 1);
    let json = project.ok(&["report", "last~1", "last", "--json"]).json();
    assert_eq!(json["settings"][0]["field"], "n_epochs");
    ranked(project);
}

/// All rows of both runs, the highest first, with the setting in which they differ.
fn ranked(project: &Project) {
    let json = project.ok(&["runs", "last~1", "last", "--table", "--row", "bc", "--json"]).json();
    let rows = json["rows"].as_array().unwrap();
    let of = |row: &serde_json::Value| (row["row"].clone(), row["settings"]["bc.n_epochs"].clone());
    let mut found: Vec<_> = rows.iter().map(of).collect();
    found.sort_by_key(|(_, epochs)| epochs.to_string());
    assert_eq!(found, [("bc".into(), "10".into()), ("bc".into(), "11".into())]);
    assert!(rows[0]["value"].as_f64() >= rows[1]["value"].as_f64(), "{rows:?}");
    let table = project.ok(&["runs", "last~1", "last", "--table", "--settings", "n_epochs", "--ascending"]);
    table.prints(&["return_inclusive  95 %", "bc.n_epochs", "planning oracle"]);
    project
        .ok(&["runs", "--table", "--settings", "teacher.n_liked"])
        .says(&["the same in all rows: teacher.n_liked = 5"]);
    project
        .run(&["runs", "--table", "--settings", "n_epoch5"])
        .ends_with(2)
        .says(&["no setting of these rows has `n_epoch5` in its name", "help: did you mean `n_epochs`?"]);
    let csv = project.ok(&["runs", "--table", "--metric", "length", "--top", "3", "--csv"]).stdout;
    assert!(csv.starts_with("run,experiment,stage,row,length,low,high,world") && csv.lines().count() == 4, "{csv}");
    project
        .run(&["runs", "--table", "--metric", "lenght"])
        .ends_with(2)
        .says(&["no `lenght` in these runs", "`length`"]);
    project.run(&["runs", "last~1", "last"]).ends_with(2).says(&["2 runs are named", "`--table` shows"]);
}

#[test]
fn what_cannot_be_reported_is_said_with_the_way_out() {
    let project = Project::new().config(
        "\
name: short
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title } }
",
    );
    project.run(&["report"]).ends_with(2).says(&["no run is recorded in `artifacts`", "help: "]);
    project.ok(&["run", "x.yaml", "-q"]);
    project.run(&["report"]).ends_with(2).says(&["of short made no page", "help: add a stage `use: report`"]);
    for form in ["md", "csv"] {
        let told = project.run(&["report", "--format", form]).ends_with(2);
        told.says(&["of short holds no metrics", "help: add a stage `use: evaluate`"]);
    }
    project.run(&["report", "last~7"]).ends_with(2).says(&["there is no run `last~7`", "help: "]);
    let error = project.run(&["report", "2019", "--json"]).ends_with(2).json();
    assert!(text(&error["error"]).contains("there is no run `2019`"), "{error}");
}
