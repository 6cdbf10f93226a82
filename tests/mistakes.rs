//! What the program says when something is wrong: the place, the cause, the next step.

use crate::project::Project;
use crate::skipped::skipped;

const TYPOS: &str = "\
name: typos
asets: {}
assets:
  toy: { from: [{ generate: toy-lgo }] }
stages:
  log: { use: ingest.recbole, with: { asset: toy, titel: movie_title } }
  split: { use: splitt, inputs: { interactions: log.interactions } }
  world:
    use: world.mf
    inputs: { interactions: log.interaction, items: log.items }
    with: { n_factors: many }
  evaluation: { use: world.mf, inputs: { interactions: lg.interactions, items: log.users } }
";

#[test]
fn every_typo_of_a_file_is_shown_with_its_place_and_what_was_meant() {
    let project = Project::new().config(TYPOS);
    let run = project.run(&["run", "x.yaml"]).ends_with(2);
    assert_eq!(run.stdout, "");
    for (place, words, mark, meant) in [
        ("x.yaml:2:1", "`asets`", "──┬──", "did you mean `assets`?"),
        ("x.yaml:6:51", "`titel`", "──┬──", "did you mean `title`?"),
        ("x.yaml:7:17", "there is no stage kind `splitt`", "───┬──", "did you mean `split`?"),
        ("x.yaml:10:33", "`log` has no output `interaction`", "─────┬─────", "did you mean `interactions`?"),
        ("x.yaml:11:24", "`n_factors`", "────", ""),
        ("x.yaml:12:56", "there is no stage `lg`", "┬", "did you mean `log`?"),
        (
            "x.yaml:12:80",
            "`evaluation.items` takes items, but `log.users` is users",
            "─────────",
            "for items there is `log.items`",
        ),
        ("x.yaml:4:29", "there is no generator `toy-lgo`", "───┬───", "did you mean `toy-log`?"),
    ] {
        let error = run.stderr.split("\n\n").find(|error| error.contains(place));
        let error = error.unwrap_or_else(|| panic!("nothing at {place} in:\n{}", run.stderr));
        for part in [words, mark, meant] {
            assert!(error.contains(part), "no {part:?} in:\n{error}");
        }
    }
    // `plan` finds the same, and nothing was begun.
    assert_eq!(project.run(&["plan", "x.yaml"]).ends_with(2).stderr, run.stderr);
    assert!(!project.path("artifacts").exists());
}

#[test]
fn a_card_is_refused_with_what_to_do_by_a_program_that_was_not_built_for_one() {
    if cfg!(feature = "cuda") {
        skipped("A_BUILD_WITHOUT_GPU", "this program was built for NVIDIA GPUs");
        return;
    }
    let project = Project::smoke();
    let help = "help: build it with `cargo build --release --features cuda`, or train on the `cpu`\n";
    for command in ["plan", "run"] {
        let refused = project.run(&[command, "x.yaml", "--device", "cuda:1"]).ends_with(2);
        let told = "error: `--device`: `cuda:1` needs a program that was built for NVIDIA GPUs, and this one was not\n";
        assert_eq!(refused.stderr, format!("{told}{help}"));
    }
    let refused = project.run(&["plan", "x.yaml", "--set", "stages.bc.device=cuda"]).ends_with(2);
    refused.says(&["`cuda:0` needs a program", "--set:1:18", "stages.bc.device=cuda", "--features cuda"]);
    // The processor may be named, and is not told of.
    project.ok(&["run", "x.yaml", "log", "--device", "cpu", "-q"]);
}

#[test]
fn the_same_for_programs() {
    let project = Project::new().config(TYPOS);
    let json = project.run(&["plan", "x.yaml", "--json"]).ends_with(2).json();
    assert_eq!(json["exit"], 2);
    let all = json["diagnostics"].as_array().unwrap();
    assert!(all.iter().any(|found| found["line"] == 7 && found["column"] == 17), "{json:#}");
}

const LOWERED: &str = "\
name: lowered
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy } }
  world: { use: world.mf, inputs: { interactions: log.interactions, items: log.items, users: log.users } }
  low: { use: world.pessimistic, inputs: { world: world.world } }
  score: { use: evaluate, inputs: { world: low.world, train: log.interactions, training_world: world.world } }
";

#[test]
fn nobody_is_judged_by_a_world_that_was_made_to_learn_in() {
    let project = Project::new().config(LOWERED);
    let error = project.run(&["plan", "x.yaml"]).ends_with(2).stderr;
    for part in [
        "x.yaml:7:44",
        "`low.world` is made by world.pessimistic and has no place at `score.world`",
        "─────────",
        "help: evaluate in the world that it was made from",
    ] {
        assert!(error.contains(part), "no {part:?} in:\n{error}");
    }
    let swapped = LOWERED
        .replace("training_world: world.world", "training_world: low.world")
        .replace("world: low.world, train:", "world: world.world, train:");
    // An evaluation world must not be what the training world was made from, either.
    let error = Project::new().config(&swapped).run(&["plan", "x.yaml"]).ends_with(2).stderr;
    assert!(error.contains("`low.world` was made with `world.world`") && !error.contains("has no place"), "{error}");
}

const SHARED: &str = "\
name: shared
stages:
  a:
    use: rl.iql
    with:
      optimizer:
        momentum: 0.9
        schedule: linaer
  b:
    use: rl.ppo
    with: { optimizer: { learning_rate: -0.1 } }
  c: { use: rl.dqn, with: { gamma: 1.5, optimizer: { max_grad_nrm: 2 } } }
";

#[test]
fn a_setting_that_all_learners_share_is_shown_in_its_block() {
    let run = Project::new().config(SHARED).run(&["plan", "x.yaml"]).ends_with(2);
    for (place, words, mark, help) in [
        (
            "x.yaml:7:9",
            "unknown key `momentum` in `optimizer`",
            "────────",
            "`optimizer` takes `learning_rate`, `weight_decay`, `max_grad_norm`, `schedule`",
        ),
        ("x.yaml:8:19", "`linaer` is no choice for `optimizer.schedule`", "───┬──", "did you mean `linear`?"),
        ("x.yaml:11:41", "`optimizer.learning_rate`: a learning rate is above 0", "────", "Learning rate of AdamW"),
        ("x.yaml:12:36", "`gamma`: a discount lies between 0 and 1", "───", "Discount γ"),
        ("x.yaml:12:54", "unknown key `max_grad_nrm` in `optimizer`", "──────┬─────", "did you mean `max_grad_norm`?"),
    ] {
        let error = run.stderr.split("\n\n").find(|error| error.contains(&format!("{place}]")));
        let error = error.unwrap_or_else(|| panic!("nothing at {place} in:\n{}", run.stderr));
        for part in [words, mark, help] {
            assert!(error.contains(part), "no {part:?} in:\n{error}");
        }
    }
}

#[test]
fn a_typo_in_a_set_is_shown_in_the_set() {
    let project = Project::smoke();
    let typo = project.run(&["run", "x.yaml", "--set", "stages.bc.with.n_epoch=3"]).ends_with(2);
    typo.says(&["unknown key `n_epoch` in the config of rl.bc", "--set:1:16", "───┬───", "did you mean `n_epochs`?"]);
    let value = project.run(&["run", "x.yaml", "--set", "stages.bc.with.n_epochs=few"]).ends_with(2);
    value.says(&["`n_epochs` takes a whole number", "\"few\"", "--set:1:25"]);
}

#[test]
fn a_yaml_that_cannot_be_read_is_shown_where_it_breaks() {
    let project = Project::new().config("name: x\nstages:\n  log: { use: split\n");
    project.run(&["run", "x.yaml"]).ends_with(2).says(&["x.yaml:"]);
    project.run(&["run", "absent.yaml"]).ends_with(2).says(&["absent.yaml", "help: `apprentice init`"]);
}

#[test]
fn another_count_than_expected_names_the_file_and_both_counts() {
    let project = Project::smoke();
    let run = project.run(&["run", "x.yaml", "--set", "stages.log.with.expected_rows.users=41"]).ends_with(1);
    run.says(&[
        "13 stages: 1 failed, 12 not started",
        "stage `log` failed",
        "toy.inter has 40 users, but the experiment expects 41",
        "help: ",
        "expected_rows.users",
    ]);
}

/// A log of one's own whose rows `rows` are lines 2 and on.
fn own(rows: &str, with: &str) -> Project {
    let config = format!(
        "name: own\nassets: {{ mine: {{ from: [{{ path: mine }}] }} }}\n\
         stages: {{ log: {{ use: ingest.recbole, with: {{ asset: mine{with} }} }} }}\n"
    );
    let head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n";
    Project::new().config(&config).file("mine/mine.inter", &format!("{head}{rows}"))
}

#[test]
fn a_broken_row_is_named_by_line_column_and_value_or_dropped_aloud() {
    let rows = "a\tx\t4\t1\na\ty\tfour\t2\nb\tx\t3\t3\n";
    own(rows, "").run(&["run", "x.yaml"]).ends_with(1).says(&[
        "1 row of mine/mine.inter is invalid",
        "mine.inter:3: column `rating`: found \"four\", wanted",
        "help: correct the file, or set `on_bad_row: drop`",
    ]);
    let dropped = own(rows, ", on_bad_row: drop").ok(&["run", "x.yaml"]);
    dropped.says(&["dropped from mine.inter", "1 row (", "line 3, \"four\"", "2 interactions, 2 users, 1 item"]);
}

#[test]
fn what_is_rounded_and_what_is_left_empty_is_told() {
    let config = "name: own\nassets: { mine: { from: [{ path: mine }] } }\nstages:\n  log: { use: ingest.recbole, with: { asset: mine } }\n  \
                  split: { use: split, inputs: { interactions: log.interactions } }\n";
    let head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n";
    let rows = "a\tx\t4\t1.9\nb\ty\t3\t2\n";
    let told = Project::new().config(config).file("mine/mine.inter", &format!("{head}{rows}")).ok(&["run", "x.yaml"]);
    told.says(&[
        "times in mine.inter",
        "1 of 2 rounded down to whole seconds",
        "2 train, 0 test: the test part is empty",
    ]);
    own("", "")
        .run(&["run", "x.yaml"])
        .ends_with(1)
        .says(&["mine.inter holds no valid interaction", "help: check that it is"]);
}

#[test]
fn an_asset_that_cannot_be_had_says_which_file_to_put_where() {
    let config = "\
name: far
assets: { log: { from: [{ pip: recbole==1.2.1, member: recbole/dataset_example/ml-100k/ }] } }
stages: { log: { use: ingest.recbole, with: { asset: log } } }
";
    let project = Project::new().config(config);
    project.run(&["run", "x.yaml", "--offline", "--data", "."]).ends_with(2).says(&[
        "asset `log` is not on this machine and no source gives it",
        "holds no `log`, no `ml-100k`",
        "recbole==1.2.1",
        "offline",
        "help: get the folder on another machine, put it at DIR/log or DIR/ml-100k",
        "--data DIR",
    ]);
}

#[test]
fn a_wrong_command_line_says_how_it_is_meant() {
    let project = Project::smoke();
    project.run(&["insepct", "x.yaml"]).ends_with(2).says(&["unrecognized subcommand 'insepct'", "'inspect'"]);
    project.run(&["run", "x.yaml", "--forse", "log"]).ends_with(2).says(&["'--forse'", "'--force'"]);
    project.run(&["run"]).ends_with(2).says(&["Usage: apprentice run <EXPERIMENT.yaml> [STAGE]..."]);
    project.run(&["run", "x.yaml", "polcy"]).ends_with(2).says(&["`polcy`", "policy"]);
    project.run(&["inspect", "log.items"]).ends_with(2).says(&["holds no results yet", "help: run an experiment"]);
}

#[test]
fn a_stage_that_warns_twice_is_heard_twice() {
    let project = Project::new()
        .config(
            "name: x\nassets: { a: { from: [{ path: logs/ }] } }\nstages:\n  log:\n    use: ingest.table\n    with: { asset: a, \
             log: { file: l.csv, user: u, item: i, rating: r, timestamp: { column: t, unit: milliseconds } } }\n",
        )
        .file("logs/l.csv", "u,i,r,t\nnan,1,3,1609459200\n7,2,4,1609459201\n");
    let warned = ["l.csv: one user id is \"nan\"", "l.csv: 2 of 2 times are implausible in milliseconds"];
    project.ok(&["run", "x.yaml"]).says(&warned);
    project.ok(&["runs", "last"]).prints(&warned);
}

#[test]
fn times_that_lose_their_order_within_a_second_are_told() {
    let project = Project::new()
        .config(
            "name: x\nassets: { a: { from: [{ path: logs/ }] } }\nstages:\n  log:\n    use: ingest.table\n    with: { asset: a, \
             log: { file: l.csv, user: u, item: i, rating: r, timestamp: { column: t, unit: milliseconds } } }\n",
        )
        .file("logs/l.csv", "u,i,r,t\n1,a,3,1609459200900\n1,b,4,1609459200100\n2,a,4,1609459200100\n");
    project.ok(&["run", "x.yaml"]).says(&[
        "l.csv: 1 of 3 rows have the same second as an earlier row of the same user",
        "sort the file by time first",
    ]);
}
