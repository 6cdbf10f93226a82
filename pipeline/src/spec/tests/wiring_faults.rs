use super::{HEAD, below, faults, same};
use crate::spec::toy::load_text;

#[test]
fn kinds_of_stages() {
    same(
        below(
            "  x: { use: ingst }\n  y: {}\n  z: { use: [fit] }\n  w: { use: completely-different }\n  v: 3\n  u: { use: learn }\n  \
             t: { use: learn.something }",
        ),
        &[
            "toy.yaml:6:13 ingst | there is no stage kind `ingst` | did you mean `ingest`?",
            "toy.yaml:7:3 y | stage `y` has no `use` | the stage kinds are `fit`, `ingest`, `learn.a2c`, `pick`, `report`, `score`",
            "toy.yaml:8:13 [fit] | `use` takes the name of a stage kind, not a list | the stage kinds are `fit`, `ingest`, `learn.a2c`, `pick`, `report`, `score`",
            "toy.yaml:9:13 completely-different | there is no stage kind `completely-different` | the stage kinds are `fit`, `ingest`, `learn.a2c`, `pick`, `report`, `score`",
            "toy.yaml:10:6 3 | stage `v` takes a mapping, not 3 | write `v: { use: KIND, inputs: { … }, with: { … } }`",
            "toy.yaml:11:13 learn | there is no stage kind `learn` | `learn` is a family of kinds: `learn.a2c`",
            "toy.yaml:12:13 learn.something | there is no stage kind `learn.something` | the kinds of `learn` are `learn.a2c`",
        ],
    );
}

#[test]
fn devices() {
    let stage =
        |device: &str| below(&format!("  x: {{ use: learn.a2c, device: {device}, inputs: {{ world: world }} }}"));
    same(
        stage("cuda"),
        &[
            "toy.yaml:6:32 cuda | `cuda:0` needs a program that was built for NVIDIA GPUs, and this one was not | build it with `cargo build --release --features cuda`, or train on the `cpu`",
        ],
    );
    same(stage("2"), &["toy.yaml:6:32 2 | `device` takes the name of a device, not 2 | for example `device: cuda`"]);
    same(
        below("  x: { use: fit, device: cpu, inputs: { interactions: log.interactions } }"),
        &[
            "toy.yaml:6:26 cpu | fit trains nothing, so it has no device | leave it out here; the stage kinds that train: `learn.a2c`",
        ],
    );
}

#[test]
fn references() {
    same(
        below("  x: { use: fit, inputs: { interactions: lgo.interactions } }"),
        &["toy.yaml:6:42 lgo.interactions | there is no stage `lgo` | did you mean `log`?"],
    );
    same(
        below("  x: { use: fit, inputs: { interactions: nothing-like-it } }"),
        &[
            "toy.yaml:6:42 nothing-like-it | there is no stage `nothing-like-it` | for interactions there is `log.interactions`",
        ],
    );
    same(
        below("  x: { use: fit, inputs: { interactions: log.interaction, items: 'log.itms' } }"),
        &[
            "toy.yaml:6:46 interaction | `log` has no output `interaction` | did you mean `interactions`?",
            "toy.yaml:6:66 'log.itms' | `log` has no output `itms` | did you mean `items`?",
        ],
    );
    same(
        below("  x: { use: fit, inputs: { interactions: log, items: x.world } }"),
        &[
            "toy.yaml:6:42 log | `log` has 2 outputs: say which | write one of `log.interactions`, `log.items`",
            "toy.yaml:6:54 x.world | `x` cannot read its own output | ",
        ],
    );
    same(
        below("  x: { use: learn.a2c, inputs: { world: log.items } }"),
        &[
            "toy.yaml:6:41 log.items | `x.world` takes a world, but `log.items` is items | for a world there is `world.world`",
        ],
    );
    same(
        below(
            "  x: { use: learn.a2c, inputs: { world: y.world } }\n  y: { use: fit, inputs: { interactions: log.interactions } }",
        ),
        &["toy.yaml:6:41 y.world | `y` is written below `x` | stages stand in reading order: move `y` above `x`"],
    );
    let help = "no order of these stages helps: let one of them read something else";
    same(
        below(
            "  x: { use: learn.a2c, inputs: { world: y.world } }\n  y: { use: fit, inputs: { interactions: log.interactions, items: x.policy } }",
        ),
        &[
            &*format!(
                "toy.yaml:6:41 y.world | `x` reads `y`, and `y` reads `x`, so none of them can run first | {help}"
            ),
            "toy.yaml:7:67 x.policy | `y.items` takes items, but `x.policy` is a policy | for items there is `log.items`",
        ],
    );
    same(
        below(
            "  x: { use: fitt, inputs: { a: z.b } }\n  y: { use: fitt, inputs: { a: { one: x.b } } }\n  z: { use: fitt, inputs: { a: [log.items, y.b] } }",
        )
        .into_iter()
        .filter(|fault| !fault.contains("stage kind"))
        .collect(),
        &[&*format!(
            "toy.yaml:6:32 z.b | `x` reads `z`, `z` reads `y`, and `y` reads `x`, so none of them can run first | {help}"
        )],
    );
    same(
        below(
            "  x: { use: fitt, inputs: { anything: wrld.world } }\n  y: { use: learn.a2c, inputs: { world: x.world } }",
        ),
        &[
            "toy.yaml:6:13 fitt | there is no stage kind `fitt` | did you mean `fit`?",
            "toy.yaml:6:39 wrld.world | there is no stage `wrld` | did you mean `world`?",
        ],
    );
    same(
        below("  x: { use: fit, inputs: { interactions: 3, items: [log.items] } }"),
        &[
            "toy.yaml:6:42 3 | a reference is written `stage.port`, this is 3 | ",
            "toy.yaml:6:52 [log.items] | `x.items` takes one reference, not a list | write `stage.port`",
        ],
    );
    same(
        below("  x: { use: report, inputs: { metrics: [world.world, 3] } }"),
        &[
            "toy.yaml:6:41 world.world | `x.metrics` takes metrics, but `world.world` is a world | ",
            "toy.yaml:6:54 3 | a reference is written `stage.port`, this is 3 | ",
        ],
    );
}

#[test]
fn ports() {
    same(
        below("  x: { use: fit }\n  y: { use: fit, inputs: { interactions: } }\n  z: { use: fit, inputs: 3 }"),
        &[
            "toy.yaml:6:3 x | `x` lacks its input `interactions` | for interactions there is `log.interactions`",
            "toy.yaml:7:28 interactions | `y` lacks its input `interactions` | for interactions there is `log.interactions`",
            "toy.yaml:8:26 3 | `inputs` takes a mapping, not 3 | ",
        ],
    );
    same(
        below("  x: { use: score, inputs: { wrld: world, policies: [] } }"),
        &["toy.yaml:6:30 wrld | score has no input `wrld` | did you mean `world`?"],
    );
    same(
        below("  x: { use: ingest, with: { asset: rows, user_column: u }, inputs: { a: log.items } }"),
        &["toy.yaml:6:70 a | ingest has no input `a` | ingest reads nothing"],
    );
    same(
        below(
            "  p: { use: learn.a2c, inputs: { world: world } }\n  x: { use: report, inputs: { metrics: [p.curves, p.curves] } }",
        ),
        &["toy.yaml:7:51 p.curves | `p.curves` stands in this list twice | "],
    );
    same(
        faults("name: t\nstages:\n  x: { use: learn.a2c }\n", &[]),
        &["toy.yaml:3:3 x | `x` lacks its input `world`, a world | no stage above makes a world: add one"],
    );
}

#[test]
fn assets() {
    same(
        below("  x: { use: ingest, with: { asset: row, user_column: u } }"),
        &["toy.yaml:6:36 row | there is no asset `row` | did you mean `rows`?"],
    );
    same(
        faults("name: t\nstages: { x: { use: ingest, with: { asset: row, user_column: u } } }\n", &[]),
        &["toy.yaml:2:44 row | there is no asset `row` | name it at the top: `assets: { row: { from: [ … ] } }`"],
    );
    let head = "name: t\nstages: { x: { use: report } }\nassets:\n";
    same(
        faults(&format!("{head}  A: {{ from: [{{ generate: toy-lag }}, {{ generate: q }}] }}\n"), &[]),
        &[
            "toy.yaml:4:3 A | `A` is no name for an asset | use up to 64 lower-case letters, digits, `_` and `-`, and begin with a letter or digit",
            "toy.yaml:4:27 toy-lag | there is no generator `toy-lag` | did you mean `toy-log`?",
            "toy.yaml:4:50 q | there is no generator `q` | the generators are `toy-log`",
        ],
    );
    same(
        faults(
            &format!("{head}  a: {{ sha256: abc, from: [] }}\n  b: {{ from: [{{ path: x, member: y }}] }}\n  c:\n"),
            &[],
        ),
        &[
            "toy.yaml:4:16 abc | `sha256`: a SHA-256 is 64 hex digits, found 3 characters in `abc` | `sha256`: SHA-256 that the content must have, as 64 hex digits; recorded at the first fetch where absent",
            "toy.yaml:4:27 [] | `from`: names no source: give one of `url`, `pip`, `generate`, `path` | `from`: Where it can be had; tried in this order until one gives it",
            "toy.yaml:5:34 y | `from[0].member`: `member` takes something out of a package or an archive and goes with `pip` or `url` | `from[0].member`: What to take out of the package or archive: the path of a file, or of a folder with a `/` at its end",
            "toy.yaml:6:3 c | asset `c` lacks `from` | `from`: Where it can be had; tried in this order until one gives it",
        ],
    );
}

#[test]
fn sweeps() {
    let stage = |sweep: &str| below(&format!("  x: {{ use: learn.a2c, inputs: {{ world: world }}, {sweep} }}"));
    same(
        stage("sweep: { seed: [], gamma: 3 }"),
        &[
            "toy.yaml:6:65 [] | `sweep` takes a list of values for `seed` | write `seed: [0, 1, 2]`; a single value belongs into `with`",
            "toy.yaml:6:76 3 | `sweep` takes a list of values for `gamma` | write `gamma: [0, 1, 2]`; a single value belongs into `with`",
        ],
    );
    same(
        stage("sweep: { seed: [1, 2, 1] }"),
        &[
            "toy.yaml:6:72 1 | two cells of this sweep would be called `seed=1` | every value may stand in the list once",
        ],
    );
    same(
        stage("sweep: { seed: [0, x], gama: [1] }"),
        &[
            "toy.yaml:6:69 x | `seed` takes a whole number, 0 or more, not the text \"x\" | `seed`: Seed of all random draws; for example `seed: 0`",
            "toy.yaml:6:73 gama | unknown key `gama` in the config of learn.a2c | did you mean `gamma`?",
        ],
    );
    same(
        stage("sweep: { seed: [0, 1] }, with: { seed: 3 }"),
        &["toy.yaml:6:59 seed | `seed` is swept here and has a value in `with` | keep one of them"],
    );
    same(
        stage("sweep: { seed.deep: [0, 1] }, with: { gamma: 1 }"),
        &[
            "toy.yaml:6:59 seed.deep | `seed` takes a whole number, 0 or more, not a mapping | `seed`: Seed of all random draws; for example `seed: 0`",
        ],
    );
    let fit =
        |sweep: &str| below(&format!("  x: {{ use: fit, inputs: {{ interactions: log.interactions }}, {sweep} }}"));
    same(
        fit("sweep: { model.factors.rank: [5, 6], seed: [1], model: [popular] }"),
        &[
            "toy.yaml:6:71 model.factors.rank | `model.factors.rank` is a part of `model`, which is swept, too: only one of them can be | write its values into those of `model`, or sweep parts alone",
        ],
    );
    let parts = "sweep: { model.factors.rank: [5, 6], model.factors.penalty: [0, 1] }";
    let text = format!("{HEAD}  x: {{ use: fit, inputs: {{ interactions: log.interactions }}, {parts} }}\n");
    assert!(load_text(&text, &[]).is_ok());
    same(stage("sweep: [1]"), &["toy.yaml:6:57 [1] | `sweep` takes a mapping, not a list | "]);
    let two = "  a: { use: fit, inputs: { interactions: log.interactions }, sweep: { seed: [0, 1] } }
  p: { use: learn.a2c, inputs: { world: a }, sweep: { seed: [0, 1, 2] } }";
    same(
        below(two),
        &[
            "toy.yaml:7:55 seed | two sweeps do not fit: `seed=2` of `sweep` has no partner in `a` | sweeps that meet are joined on equal values; give both the same list",
        ],
    );
}

#[test]
fn names() {
    same(
        faults("name: My Run\nstages:\n  Log: { use: report }\n  a.b: { use: report }\n  -x: { use: report }\n", &[]),
        &[
            "toy.yaml:1:7 My Run | `My Run` is no name for an experiment | use up to 64 lower-case letters, digits, `_` and `-`, and begin with a letter or digit",
            "toy.yaml:3:3 Log | `Log` is no name for a stage | use up to 64 lower-case letters, digits, `_` and `-`, and begin with a letter or digit",
            "toy.yaml:4:3 a.b | `a.b` is no name for a stage | use up to 64 lower-case letters, digits, `_` and `-`, and begin with a letter or digit",
            "toy.yaml:5:3 -x | `-x` is no name for a stage | use up to 64 lower-case letters, digits, `_` and `-`, and begin with a letter or digit",
        ],
    );
    same(
        faults("name: store\nstages: { a: { use: report } }\n", &[]),
        &["toy.yaml:1:7 store | the name `store` is taken by the store itself | "],
    );
    same(
        faults("name: 3\nstages: { a: { use: report } }\n", &[]),
        &[
            "toy.yaml:1:7 3 | `name` takes a text, not 3 | use up to 64 lower-case letters, digits, `_` and `-`, and begin with a letter or digit",
        ],
    );
}

#[test]
fn what_is_kept_apart_may_not_be_made_with_each_other() {
    let score = "  j: { use: fit, inputs: { interactions: log.interactions } }
  p: { use: learn.a2c, inputs: { world: world.world }, sweep: { seed: [0, 1] } }
  q: { use: learn.a2c, inputs: { world: j, metrics: p.curves } }
";
    let judged = |world: &str, policies: &str, apart: bool| {
        format!(
            "{HEAD}{score}  s: {{ use: score, inputs: {{ world: {world}, policies: {policies} }}, with: {{ apart: {apart} }} }}\n"
        )
    };
    let loads = |text: &str| load_text(text, &[]).is_ok();
    assert!(loads(&judged("j", "p.policy", true)), "both come from one log, which is no world");
    assert!(loads(&judged("world", "p.policy", false)), "only where the stage says so");
    assert!(loads(&judged("world", "q.policy", true)), "`metrics` is excepted");
    // Where the world is a part of the log, so is what was made with the log past the stage that drew the part.
    let drawn = |policies: &str| judged("world", policies, true).replace("apart: true", "apart: true, drawn: true");
    let other = drawn("r.policy").replace("  s: ", "  r: { use: learn.a2c, inputs: { world: j } }\n  s: ");
    same(
        faults(&other, &[]),
        &[
            "toy.yaml:10:54 r.policy | `r.policy` was made with `log.interactions`, of which `s.world` is a part: judge apart | another world",
        ],
    );
    // Where a way must take a port to count, others are free, and the same stage is met on both.
    let told = |policies: &str| judged("world", policies, true).replace("apart: true", "apart: true, told: true");
    assert!(loads(&told("p.policy")), "made in the world, which is allowed");
    same(
        faults(&told("{ a: p.policy, b: q.policy }"), &[]),
        &[
            "toy.yaml:9:72 q.policy | `q.policy` was made with `world.world`, which is `s.world`: judge apart | another world",
        ],
    );
    // One fault for all cells of a sweep.
    same(
        faults(&judged("world", "{ b: q.policy, a: p.policy }", true), &[]),
        &[
            "toy.yaml:9:72 p.policy | `p.policy` was made with `world.world`, which is `s.world`: judge apart | another world",
        ],
    );
}

#[test]
fn an_input_may_have_no_place_for_what_a_kind_of_stage_makes() {
    let score = |settled: bool| {
        format!(
            "{HEAD}  p: {{ use: learn.a2c, inputs: {{ world: world }}, sweep: {{ seed: [0, 1] }} }}\n  s: {{ use: score, inputs: {{ world: world, policies: {{ a: p.policy }} }}, with: {{ settled: {settled} }} }}\n"
        )
    };
    assert!(load_text(&score(false), &[]).is_ok());
    // Once for all cells.
    same(
        faults(&score(true), &[]),
        &[
            "toy.yaml:7:59 p.policy | `p.policy` is made by learn.a2c and has no place at `s.policies`: too new | an older one",
        ],
    );
}

#[test]
fn settings_that_want_an_input_or_leave_no_room_for_it() {
    let score = |policies: &str, with: &str| {
        format!(
            "{HEAD}  x: {{ use: learn.a2c, inputs: {{ world: world.world }} }}\n  y: {{ use: score, inputs: {{ world: world.world{policies} }}, with: {with} }}\n"
        )
    };
    let policies = ", policies: x.policy";
    for (inputs, with) in
        [("", "{}"), (policies, "{}"), (policies, "{ clip: { at: 1 } }"), ("", "{ clip: { at: -1 } }")]
    {
        assert!(load_text(&score(inputs, with), &[]).is_ok(), "{inputs} {with}");
    }
    same(
        faults(&score("", "{ clip: { at: 1 } }"), &[]),
        &[
            "toy.yaml:7:68 at | `y` has no input `policies`, which `clip.at` requires: they say how far | connect them, or not",
        ],
    );
    // What is not written itself is shown at what is.
    same(
        faults(&score("", "{ clip: {} }"), &[]),
        &[
            "toy.yaml:7:60 clip | `y` has no input `policies`, which `clip.at` requires: they say how far | connect them, or not",
        ],
    );
    same(
        faults(&score(policies, "{ clip: { at: -1 } }"), &[]),
        &[
            "toy.yaml:7:88 at | `clip.at` cannot be set where `y` has an input `policies`: they say how far | connect them, or not",
        ],
    );
}
