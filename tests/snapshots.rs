//! The program's words as files that a reviewer reads: `--help`, `plan`, `inspect`, and what it says of typical mistakes.
//!
//! `INSTA_UPDATE=always cargo test --release --locked --test apprentice -- snapshots` accepts new texts; read the difference of
//! `tests/snapshots/` before it is committed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;

use insta::Settings;

use crate::project::{Project, repository};

const FOLDER: &str = "tests/snapshots";

/// The snapshots whose names begin alike. One that nothing asserts any more fails the test as one that differs does.
struct Snapshots {
    prefix: &'static str,
    settings: Settings,
    names: RefCell<BTreeSet<String>>,
}

impl Snapshots {
    fn of(prefix: &'static str) -> Self {
        let mut settings = Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        for (what, instead) in [
            (r"\b[0-9a-f]{64}\b", "[digest]"),
            (r"\b[0-9a-f]{12}\b", "[digest]"),
            (r"\b20\d{6}T\d{6}Z-\d+\b", "[run]"),
            (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\b", "[time]"),
            (r"\b\d+(\.\d+)? (ms|s)\b", "[seconds]"),
            // How long it took before is said where that was a second or more, as on a busy machine.
            (r"; took (more than )?\[seconds\] before", ""),
            ("less than a second of work", "about [seconds] of work"),
            (r" on [^\s,]+, in \[seconds\]", " on [host], in [seconds]"),
            (r"apprentice \d+\.\d+\.\d+", "apprentice [version]"),
        ] {
            settings.add_filter(what, instead);
        }
        Self { prefix, settings, names: RefCell::default() }
    }

    #[track_caller]
    fn shows(&self, name: &str, text: &str) {
        let name = format!("{}-{name}", self.prefix);
        assert!(self.names.borrow_mut().insert(name.clone()), "{name} is shown twice");
        self.settings.bind(|| insta::assert_snapshot!(name, text));
    }

    /// Runs the program in `project`, whose folder is no part of the text.
    #[track_caller]
    fn run(&self, name: &str, project: &Project, args: &[&str]) {
        let ended = project.run(args);
        let folder = project.path("").canonicalize().unwrap();
        let text = format!("$ apprentice {}\n{}{}[code {}]\n", args.join(" "), ended.stdout, ended.stderr, ended.code);
        self.shows(name, &text.replace(&folder.display().to_string(), "[folder]"));
    }

    /// Every file is one of those that were shown.
    #[track_caller]
    fn end(self) {
        let prefix = format!("{}-", self.prefix);
        let files = files().into_iter().filter(|name| name.starts_with(&prefix)).collect::<BTreeSet<_>>();
        assert_eq!(files, self.names.into_inner(), "remove what is left over in {FOLDER}");
    }
}

/// The names of all snapshots.
fn files() -> BTreeSet<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let names = fs::read_dir(repository().join(FOLDER)).unwrap().map(name);
    names.map(|name| name.strip_suffix(".snap").unwrap_or_else(|| panic!("{FOLDER}/{name}")).to_owned()).collect()
}

#[test]
fn every_snapshot_belongs_to_a_test() {
    for name in files() {
        let prefix = name.split('-').next().unwrap();
        assert!(["help", "plan", "inspect", "error"].contains(&prefix), "{name}");
    }
}

#[test]
fn help() {
    let snapshots = Snapshots::of("help");
    let project = Project::new();
    let help = project.ok(&["--help"]).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that is wrapped goes on further to the right.
    let commands = commands.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 10, "{help}");
    snapshots.shows("apprentice", &help);
    for command in commands {
        snapshots.shows(command, &project.ok(&[command, "--help"]).stdout);
    }
    snapshots.end();
}

const SHORT: &str = "\
name: short
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title } }
  split: { use: split, inputs: { interactions: log.interactions } }
  world:
    use: world.mf
    sweep: { seed: [0, 1] }
    inputs: { interactions: split.train, items: log.items, users: log.users }
    with: { n_epochs: 1 }
";

#[test]
fn plan() {
    let snapshots = Snapshots::of("plan");
    let project = Project::new().config(SHORT);
    snapshots.run("new", &project, &["plan", "x.yaml"]);
    project.ok(&["run", "x.yaml", "split"]);
    snapshots.run("begun", &project, &["plan", "x.yaml"]);
    snapshots.run("changed", &project, &["plan", "x.yaml", "--set", "stages.log.with.title=release_year"]);
    snapshots.run("check", &project, &["plan", "x.yaml", "--check", "world@seed=1"]);
    snapshots.run("explain", &project, &["explain", "x.yaml", "split", "--set", "stages.split.with.seed=1"]);
    snapshots.run("smoke", &Project::smoke(), &["plan", "x.yaml"]);
    snapshots.end();
}

#[test]
fn inspect() {
    let mut snapshots = Snapshots::of("inspect");
    let project = Project::new().config(SHORT);
    project.ok(&["run", "x.yaml"]);
    snapshots.run("table", &project, &["inspect", "log.items"]);
    snapshots.run(
        "rows",
        &project,
        &["inspect", "log.items", "--rows", "--filter", "id in ('1', '2')", "--format", "md"],
    );
    snapshots.run("verify", &project, &["inspect", "log.items", "--verify"]);
    snapshots.run("lineage", &project, &["inspect", "world@seed=0.world", "--lineage"]);
    snapshots.run("diff", &project, &["diff", "log.items", "log.users", "--key", "id"]);
    // What was learned may differ in its last digits from one processor to another, and with it the widths of columns.
    for (what, instead) in [
        (r" *-?\b\d+\.\d+(e-?\d+)?\b", " [number]"),
        (r"[▁▂▃▄▅▆▇█][▁▂▃▄▅▆▇█ ]*", "[histogram]"),
        (r"  +", "  "),
        (r"─+", "─"),
    ] {
        snapshots.settings.add_filter(what, instead);
    }
    snapshots.run("tensors", &project, &["inspect", "world@seed=0.world"]);
    snapshots.end();
}

/// One mistake, each in an experiment of its own: its name, the stages, and the line that shows it.
const MISTAKES: [(&str, &str); 22] = [
    (
        "unknown-setting",
        "  x: { use: world.mf, inputs: { interactions: log.interactions, items: log.items, users: log.users }, with: { epoch: 3 } }",
    ),
    (
        "old-word",
        "  x: { use: world.mf, inputs: { interactions: log.interactions, items: log.items, users: log.users }, each: { seed: [0] } }",
    ),
    (
        "wrong-type",
        "  x: { use: world.mf, inputs: { interactions: log.interactions, items: log.items, users: log.users }, with: { n_epochs: many } }",
    ),
    (
        "out-of-range",
        "  x: { use: world.mf, inputs: { interactions: log.interactions, items: log.items, users: log.users }, with: { optimizer: { learning_rate: -1 } } }",
    ),
    ("missing-setting", "  x: { use: ingest.table }"),
    ("unknown-choice", "  x: { use: split, inputs: { interactions: log.interactions }, with: { by: tim } }"),
    ("missing-input", "  x: { use: world.mf }"),
    ("unknown-input", "  x: { use: split, inputs: { interactions: log.interactions, item: log.items } }"),
    ("unknown-kind", "  x: { use: world.matrixfactorisation }"),
    ("no-kind", "  x: { inputs: { interactions: log.interactions } }"),
    ("unknown-stage", "  x: { use: split, inputs: { interactions: lg.interactions } }"),
    ("unknown-output", "  x: { use: split, inputs: { interactions: log.interaction } }"),
    ("which-output", "  x: { use: split, inputs: { interactions: log } }"),
    ("wrong-artifact", "  x: { use: split, inputs: { interactions: log.users } }"),
    ("own-output", "  x: { use: split, inputs: { interactions: x.train } }"),
    (
        "later-stage",
        "  x: { use: split, inputs: { interactions: y.train } }\n  y: { use: split, inputs: { interactions: log.interactions } }",
    ),
    (
        "cycle",
        "  x: { use: split, inputs: { interactions: y.train } }\n  y: { use: split, inputs: { interactions: x.train } }",
    ),
    ("unknown-asset", "  x: { use: ingest.recbole, with: { asset: tyo } }"),
    (
        "swept-and-set",
        "  x: { use: split, inputs: { interactions: log.interactions }, with: { seed: 1 }, sweep: { seed: [0] } }",
    ),
    ("no-device", "  x: { use: split, device: cuda, inputs: { interactions: log.interactions } }"),
    ("secret", "  x: { use: split, inputs: { interactions: log.interactions }, with: { seed: \"${env:SEED}\" } }"),
    ("twice", "  log: { use: split, inputs: { interactions: log.interactions } }"),
];

const HEAD: &str = "\
name: mistake
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title } }
";

/// A world is scored in a world that was made from it.
const LEAK: &str =
    "  world: { use: world.mf, inputs: { interactions: log.interactions, items: log.items, users: log.users } }
  low: { use: world.pessimistic, inputs: { world: world.world } }
  score: { use: evaluate, inputs: { world: world.world, train: log.interactions, training_world: low.world } }
";

#[test]
fn errors() {
    let snapshots = Snapshots::of("error");
    for (name, stages) in MISTAKES {
        snapshots.run(name, &Project::new().config(&format!("{HEAD}{stages}\n")), &["plan", "x.yaml"]);
    }
    snapshots.run("leak", &Project::new().config(&format!("{HEAD}{LEAK}")), &["plan", "x.yaml"]);
    for (name, text) in [
        ("empty", ""),
        ("no-stages", "name: a\n"),
        ("unknown-key", "nam: a\nassets: {}\nstages: {}\n"),
        ("broken-yaml", "name: a\nstages:\n  log: { use: split\n"),
        ("bad-name", "name: My Log\nstages: { x: { use: split } }\n"),
        (
            "missing-asset",
            "name: a\nassets: { mine: { from: [{ path: ratings.csv }] } }\nstages: { log: { use: ingest.recbole, with: { asset: mine } } }\n",
        ),
    ] {
        snapshots.run(name, &Project::new().config(text), &["run", "x.yaml"]);
    }
    let project = Project::new().config(SHORT);
    project.ok(&["run", "x.yaml", "split"]);
    for (name, args) in [
        ("no-command", &["insepct", "log.items"][..]),
        ("no-option", &["run", "x.yaml", "--forse", "log"]),
        ("no-file", &["run", "absent.yaml"]),
        ("no-such-stage", &["run", "x.yaml", "splt"]),
        ("no-such-cell", &["run", "x.yaml", "world@seed=7"]),
        ("set-without-value", &["plan", "x.yaml", "--set", "stages.split.with.seed"]),
        ("set-unknown", &["plan", "x.yaml", "--set", "stages.split.wiht.seed=1"]),
        ("no-result", &["inspect", "world.world"]),
        ("no-target", &["inspect", "ratings"]),
        ("no-output", &["inspect", "log.item"]),
        ("no-column", &["inspect", "log.items", "--columns", "ttile"]),
        ("bad-filter", &["inspect", "log.items", "--filter", "year > and"]),
        ("no-episodes", &["inspect", "log.items", "--episode", "0"]),
        ("against", &["inspect", "log.items", "--against", "log.users"]),
        ("diff-run-and-file", &["diff", "last", "log.items"]),
        ("no-run", &["runs", "2019"]),
        ("no-report", &["report"]),
        ("no-policy", &["recommend", "log.items", "--user", "1"]),
        ("init-exists", &["init", "x.yaml"]),
    ] {
        snapshots.run(name, &project, args);
    }
    snapshots.end();
}
