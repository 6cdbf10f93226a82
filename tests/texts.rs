//! Texts that people read, word for word.

use crate::project::Project;
use crate::source::sources;

const SHORT: &str = "\
name: short
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title } }
  split: { use: split, inputs: { interactions: log.interactions } }
  offers: { use: retrieve, inputs: { interactions: split.train, items: log.items, users: log.users } }
";

#[test]
fn plan_before_and_after_a_run() {
    let project = Project::new().config(SHORT);
    let plan = project.ok(&["plan", "x.yaml"]);
    assert_eq!(
        plan.stdout,
        "\
log     may run: asset toy is not on this machine and will be fetched
split   will run: it has no result yet, after log
offers  will run: it has no result yet, after log, split
3 stages: 2 will run, 1 may run
time: unknown, for nothing alike ran before
"
    );
    project.ok(&["run", "x.yaml"]);
    let plan = project.ok(&["plan", "x.yaml", "--set", "stages.split.with.test_fraction=0.5"]);
    // How long the stages took is another number each time.
    let (said, time) = plan.stdout.split_once("time: ").unwrap();
    assert!(time.starts_with("about ") || time.starts_with("less than a second of work\n"), "{time}");
    let said = said.lines().map(|line| line.split("; took ").next().unwrap_or_default().to_owned() + "\n");
    assert_eq!(
        said.collect::<String>(),
        "\
log     hit
split   will run: test_fraction 0.2 → 0.5
offers  waits for split, which will run: test_fraction 0.2 → 0.5
3 stages: 1 hit, 1 will run, 1 waits
"
    );
}

#[test]
fn graph_for_terminals_and_for_pages() {
    let project = Project::new().config(SHORT);
    assert_eq!(
        project.ok(&["graph", "x.yaml"]).stdout,
        "\
╭──── log     ingest.recbole
├─┬── split   split           ← log.interactions
╰─┴── offers  retrieve        ← split.train, log.items, log.users
"
    );
    project.ok(&["graph", "x.yaml", "--mermaid"]).prints(&["flowchart", "log", "split", "offers", "-->"]);
}

#[test]
fn help_names_every_command_option_and_exit_code() {
    let project = Project::new();
    let help = project.ok(&["--help"]);
    let commands = [
        "run",
        "plan",
        "explain",
        "inspect",
        "graph",
        "stages",
        "schema",
        "init",
        "migrate",
        "verify",
        "recommend",
        "serve",
        "export",
        "runs",
        "diff",
        "report",
        "gc",
        "completions",
    ];
    for command in commands {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}");
        project.ok(&[command, "--help"]).prints(&["Usage: apprentice ", command, "Example", "apprentice "]);
    }
    help.prints(&[
        "--artifacts <DIR>",
        "--data <DIR>",
        "--offline",
        "--json",
        "--threads <N>",
        "--device <DEVICE>",
        "Examples:",
        "Exit codes:",
    ])
    .prints(&["    0  done", "    1  a stage failed", "    2  the experiment", "  130  interrupted"]);
    project.ok(&["--version"]).prints(&["apprentice 0."]);
}

/// Whoever reads an error finds the next step at the beginning of its last line, and programs are given it by itself.
#[test]
fn a_help_is_a_line_of_its_own() {
    let mut inside = Vec::new();
    for source in ["pipeline/src", "stages/src"].iter().flat_map(|folder| sources(folder, &["rs"])) {
        for (number, line) in source.text.lines().enumerate() {
            if [". help: ", "; help: ", ". {help", ". {HELP"].iter().any(|wrong| line.contains(wrong)) {
                inside.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(inside.is_empty(), "{}", inside.join("\n"));
}
