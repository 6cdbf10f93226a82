use super::{below, faults, same, with};
use crate::spec::toy::{GOOD, load_text};

#[test]
fn a_report_shows_file_line_column_caret_and_the_next_step() {
    let text =
        GOOD.replace("sweep: { seed: [0, 1, 2] }", "sweep: { sede: [0, 1, 2] }").replace("judge.world,", "judg.world,");
    let Err(all) = load_text(&text, &["stages.one.with.gamma=7"]) else { panic!("this should not load") };
    let report = all.to_string();
    let (folder, _) = report.split_once("[").unwrap().1.split_once("toy.yaml").unwrap();
    assert_eq!(
        report.replace(folder, "").trim_start_matches('\n'),
        "  × unknown key `sede` in the config of learn.a2c
    ╭─[toy.yaml:13:14]
 12 │     use: learn.a2c
 13 │     sweep: { sede: [0, 1, 2] }
    ·              ──┬─
    ·                ╰── did you mean `seed`?
 14 │     inputs: { world: world }
    ╰────

  × there is no stage `judg`
    ╭─[toy.yaml:18:22]
 17 │     use: score
 18 │     inputs: { world: judg.world, policies: { a2c: policy.policy, single: one.policy } }
    ·                      ─────┬────
    ·                           ╰── did you mean `judge`?
 19 │   report: { use: report, inputs: { metrics: [score.metrics, policy.curves] } }
    ╰────

  × `gamma`: must be above 0 and at most 1, not 7
   ╭─[--set:1:23]
 1 │ stages.one.with.gamma=7
   ·                       ─
   ╰────
  help: `gamma`: Discount per step, above 0 and at most 1

3 errors in toy.yaml
"
    );
    let json = all.to_json();
    assert_eq!(json[2]["file"], "--set");
    assert_eq!((&json[0]["line"], &json[0]["column"]), (&13.into(), &14.into()));
    assert_eq!(json[0]["label"], "did you mean `seed`?");
}

#[test]
fn unknown_keys_at_any_depth() {
    same(
        faults("nam: t\nstages: {}\nfoo: 1\n", &[]),
        &[
            "toy.yaml:1:1 nam | unknown key `nam` in an experiment | did you mean `name`?",
            "toy.yaml:2:1 stages | `stages` is empty: there is nothing to run | ",
            "toy.yaml:3:1 foo | unknown key `foo` in an experiment | an experiment takes `name`, `assets`, `stages`",
        ],
    );
    same(
        with("learn.a2c", "{ gama: 1, zzz: 1 }"),
        &[
            "13 gama | unknown key `gama` in the config of learn.a2c | did you mean `gamma`?",
            "22 zzz | unknown key `zzz` in the config of learn.a2c | the config of learn.a2c takes `gamma`, `learning_rate`, `seed`, `centre`",
        ],
    );
    same(
        with("fit", "{ model: { factors: { rank: 1, penalti: 2 } } }"),
        &["42 penalti | unknown key `penalti` in `model.factors` | did you mean `penalty`?"],
    );
    same(
        below("  x: { us: fit, wiht: {} }"),
        &[
            "toy.yaml:6:8 us | unknown key `us` in stage `x` | did you mean `use`?",
            "toy.yaml:6:17 wiht | unknown key `wiht` in stage `x` | did you mean `with`?",
        ],
    );
    same(
        faults("name: t\nassets: { a: { form: [] }, b: { from: [{ ulr: x }] } }\nstages: {}\n", &[]),
        &[
            "toy.yaml:2:16 form | unknown key `form` in asset `a` | did you mean `from`?",
            "toy.yaml:2:42 ulr | unknown key `ulr` in a value of `from` | did you mean `url`?",
            "toy.yaml:3:1 stages | `stages` is empty: there is nothing to run | ",
        ],
    );
    same(
        with("report", "{ a: 1 }"),
        &[
            "toy.yaml:8:15 world | report has no input `world` | its inputs are `metrics`",
            "13 a | unknown key `a` in the config of report | the config of report takes no keys",
        ],
    );
}

#[test]
fn wrong_types_and_values_out_of_range() {
    same(
        with("learn.a2c", "{ gamma: high, seed: -1, centre: 0, learning_rate: [] }"),
        &[
            "20 high | `gamma` takes a number, not the text \"high\" | `gamma`: Discount per step, above 0 and at most 1; for example `gamma: 0.99`",
            "32 -1 | `seed` takes a whole number, 0 or more, not -1 | `seed`: Seed of all random draws; for example `seed: 0`",
            "44 0 | `centre` takes true or false, not 0 | `centre`: Whether to centre the advantages; for example `centre: true`",
            "62 [] | `learning_rate` takes a number, not a list | `learning_rate`: Step size of the optimiser, above 0; for example `learning_rate: 0.001`",
        ],
    );
    same(
        with("learn.a2c", "{ gamma: 2, learning_rate: -1, seed: 1.5 }"),
        &[
            "20 2 | `gamma`: must be above 0 and at most 1, not 2 | `gamma`: Discount per step, above 0 and at most 1",
            "38 -1 | `learning_rate`: must be above 0, not -1 | `learning_rate`: Step size of the optimiser, above 0",
            "48 1.5 | `seed` takes a whole number, 0 or more, not 1.5 | `seed`: Seed of all random draws; for example `seed: 0`",
        ],
    );
    same(
        with("fit", "{ layers: [64, x, 3, -1], model: 3 }"),
        &[
            "26 x | a value of `layers` takes a whole number, 0 or more, not the text \"x\" | ",
            "32 -1 | a value of `layers` takes a whole number, 0 or more, not -1 | ",
            "44 3 | `model` takes the name of one choice, or one `choice: { … }`, not 3 | `model` is one of `popular`, `factors`",
        ],
    );
    same(
        with("fit", "{ layers: 4, model: { factors: { rank: 1e3, penalty: .inf } } }"),
        &[
            "21 4 | `layers` takes a list, not 4 | `layers`: Sizes of the hidden layers; for example `layers: [64]`",
            "50 1e3 | `model.factors.rank` takes a whole number from 0 to 4294967295, not 1000.0 | `model.factors.rank`: Number of factors; for example `rank: 1`",
            "64 .inf | `.inf` is not a finite number | write a finite number such as `0.5`, or quote it where a text is meant",
        ],
    );
    same(
        with("learn.a2c", "{ seed: 99999999999999999999 }"),
        &[
            "19 99999999999999999999 | `seed` takes a whole number, 0 or more, and this number is too large | `seed`: Seed of all random draws; for example `seed: 0`",
        ],
    );
    same(with("fit", "3"), &["11 3 | `with` takes a mapping, not 3 | "]);
    same(below("  x: { use: ingest, with: [] }"), &["toy.yaml:6:27 [] | `with` takes a mapping, not a list | "]);
}

#[test]
fn choices() {
    same(
        with("fit", "{ model: popula }"),
        &["20 popula | `popula` is no choice for `model` | did you mean `popular`?"],
    );
    same(
        with("fit", "{ model: { tree: {} } }"),
        &["22 tree | `tree` is no choice for `model` | `model` is one of `popular`, `factors`"],
    );
    same(
        with("fit", "{ model: factors }"),
        &["20 factors | the choice `factors` of `model` needs a block | write `{ factors: { rank: …, penalty: … } }`"],
    );
    same(with("fit", "{ model: { popular: 3 } }"), &["31 3 | `model.popular` takes no value, not 3 | "]);
    same(
        with("fit", "{ model: { popular: , factors: } }"),
        &[
            "20 { popular: , factors: } | `model` takes the name of one choice, or one `choice: { … }`, not a mapping | `model` is one of `popular`, `factors`",
        ],
    );
}

#[test]
fn missing_values_are_listed_together() {
    same(
        below("  x: { use: ingest }"),
        &[
            "toy.yaml:6:3 x | the config of ingest lacks `asset`, `user_column` | `asset`: The data set\n`user_column`: Column of the user",
        ],
    );
    same(
        below("  x: { use: ingest, with: { asset: 3 } }"),
        &["toy.yaml:6:36 3 | `asset` takes a text, not 3 | `asset`: The data set; for example `asset: text`"],
    );
    same(
        with("fit", "{ model: { factors: {} } }"),
        &[
            "22 factors | `model.factors` lacks `rank`, `penalty` | `rank`: Number of factors\n`penalty`: Weight of the penalty",
        ],
    );
}
