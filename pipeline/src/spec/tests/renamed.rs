//! Words that have a new name: refused with it, and replaced by `migrate` with every other byte left alone.

use super::{HEAD, faults, same};
use crate::Catalog;
use crate::spec::renamed::{Change, audit, migrate};
use crate::spec::toy::CATALOG;

pub(super) const OLD: &str = "\
name: t
assets: { rows: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest, with: { asset: rows, user_column: u } }
  world: { use: world.fit, inputs: { log: log.interactions }, with: { model: counts } }
  a:
    use: learn.a2c
    inputs: { environment: world }
    with: { discount: 0.9, patience: 4 }
    each: { seed: [0, 1] }
  score:
    use: score
    inputs: { world: world, policies: { x: a.agent, y: 'a.agent' } }
    with: { clip_at: 2 }
";

#[test]
fn an_old_word_is_refused_where_it_stands_with_the_new_one() {
    let rewrites = "`apprentice migrate toy.yaml` rewrites the file";
    let found: Vec<String> = faults(OLD, &[]).into_iter().map(|line| strip_folder(&line)).collect();
    let line = |place: &str, what: &str, old: &str, new: &str| {
        format!("toy.yaml:{place} | {what} has a new name | `{old}` is now `{new}`; {rewrites}")
    };
    let mut wanted = vec![
        line("5:17 world.fit", "the stage kind `world.fit`", "world.fit", "fit"),
        line("5:38 log", "the input `log` of fit", "log", "interactions"),
        line("5:78 counts", "the choice `counts` of `model`", "counts", "popular"),
        line("8:15 environment", "the input `environment` of learn.a2c", "environment", "world"),
        line("9:13 discount", "the setting `discount` of learn.a2c", "discount", "gamma"),
        String::new(),
        line("10:5 each", "the key `each` of a stage", "each", "sweep"),
        line("13:46 agent", "the output `agent` of `a`", "agent", "policy"),
        line("13:56 'a.agent'", "the output `agent` of `a`", "agent", "policy"),
        line("14:13 clip_at", "the setting `clip_at` of score", "clip_at", "clip.at"),
    ];
    wanted[5] = format!(
        "toy.yaml:9:28 patience | the setting `patience` of learn.a2c has a new name | `patience` is now `learning_rate`, \
         and holds 1 divided by the old number; {rewrites}\nAbove 0."
    );
    same(found, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The path of a test's file leads through a folder of its own.
fn strip_folder(line: &str) -> String {
    match line.split_once("`apprentice migrate ") {
        Some((before, after)) => {
            let end = after.find("toy.yaml").unwrap_or(0);
            format!("{before}`apprentice migrate {}", &after[end..])
        }
        None => line.to_owned(),
    }
}

#[test]
fn an_old_word_hides_no_other_fault_and_is_found_in_overrides_and_sweeps() {
    let text = format!(
        "{HEAD}  p: {{ use: learn.a2c, inputs: {{ environment: world }}, with: {{ discount: 2, sede: 1 }} }}\n"
    );
    let found = faults(&text, &["stages.p.each.patience=[1, 2]", "stages.p.with.discount=0.5"]);
    let found: Vec<String> = found.iter().map(|line| strip_folder(line)).collect();
    let has = |part: &str| assert!(found.iter().any(|line| line.contains(part)), "{part}: {found:#?}");
    has("--set:1:10 each | the key `each` of a stage has a new name | `each` is now `sweep`");
    has("--set:1:15 discount | the setting `discount` of learn.a2c has a new name | `discount` is now `gamma`");
    has("toy.yaml:6:77 sede | unknown key `sede` in the config of learn.a2c | did you mean `seed`?");
    has("the setting `patience` of learn.a2c");
    let wrong =
        faults(&format!("{HEAD}  p: {{ use: learn.a2c, inputs: {{ world: world }}, with: {{ discount: 2 }} }}\n"), &[]);
    assert!(wrong.iter().any(|line| line.contains("2 | `gamma`: must be above 0 and at most 1, not 2")), "{wrong:#?}");
}

#[test]
fn a_file_is_rewritten_byte_for_byte() {
    let new = OLD
        .replace("world.fit", "fit")
        .replace("{ log: log", "{ interactions: log")
        .replace("counts", "popular")
        .replace("environment", "world")
        .replace("discount", "gamma")
        .replace("patience: 4", "learning_rate: 0.25")
        .replace("each", "sweep")
        .replace("agent", "policy")
        .replace("clip_at: 2", "clip: { at: 2 }");
    assert_eq!(rewritten(OLD), new);
    // Again there is nothing to do.
    let again = migrate("x", &new, &CATALOG).unwrap();
    assert_eq!((again.text, again.changes), (new, Vec::new()));
    let changes = migrate("x", OLD, &CATALOG).unwrap().changes;
    let change = |line, old: &str, new: &str| Change { line, old: old.into(), new: new.into() };
    assert_eq!(changes[0], change(5, "world.fit", "fit"));
    assert_eq!(changes.last(), Some(&change(14, "clip_at", "clip.at")));
}

#[track_caller]
fn rewritten(text: &str) -> String {
    migrate("x.yaml", text, &CATALOG).unwrap_or_else(|faults| panic!("{faults}")).text
}

/// The config of a stage before and after, in block style.
#[track_caller]
fn becomes(kind: &str, old: &str, new: &str) {
    let around = |with: &str| format!("{HEAD}  x:\n    use: {kind}\n    with:{with}  y: {{ use: report }} # end\n");
    assert_eq!(rewritten(&around(old)), around(new));
}

#[test]
fn what_moves_takes_its_comments_along_in_block_style() {
    becomes(
        "fit",
        "
      # the dimension
      # of it all
      rank: 8  # per side

      # a weight
      penalty: 1e-3
      seed: 1
",
        "
      model:
        factors:
          # the dimension
          # of it all
          rank: 8  # per side
          # a weight
          penalty: 1e-3

      seed: 1
",
    );
    becomes(
        "fit",
        "\n      model:\n        svd: # the old word\n          seed: 3 # up it goes\n          size: 8\n      layers:\n        - 64\n",
        "\n      model:\n        factors: # the old word\n          rank: 8\n      layers:\n        - 64\n      seed: 3 # up it goes\n",
    );
}

#[test]
fn what_moves_stays_in_its_style_in_braces() {
    becomes(
        "fit",
        " { rank: 8, seed: 1, penalty: 1e-3 } # x\n",
        " { model: { factors: { rank: 8, penalty: 1e-3 } }, seed: 1 } # x\n",
    );
    becomes(
        "fit",
        " { \"rank\": 8,\n            layers: [1, 2],   # two\n            penalty: 1e-3 }\n",
        " { model: { factors: { \"rank\": 8, penalty: 1e-3 } },\n            layers: [1, 2]   # two\n            }\n",
    );
    becomes(
        "fit",
        " { layers: [1],\n            rank: 8,   # a\n            seed: 1,\n            penalty: 0,\n            }\n",
        " { layers: [1],\n            model: { factors: { rank: 8, penalty: 0 } },   # a\n            seed: 1,\n            }\n",
    );
    becomes(
        "score",
        "\n      # how far\n      clip_at: 2 # deviations\n      cut: {}\n",
        "\n      # how far\n      # deviations\n      clip: { at: 2 }\n",
    );
    becomes("score", " { 'cut': { where: 3 }, seed: 1 }\n", " { 'clip': { at: 3 }, seed: 1 }\n");
    becomes("score", " { clip: { where: 3 } }\n", " { clip: { at: 3 } }\n");
}

#[test]
fn sweeps_anchors_and_line_ends_are_kept() {
    let old = format!(
        "{HEAD}  x: {{ use: learn.a2c, each: &e {{ discount: [0.5, 1], patience: [2, 4] }}, with: &w {{ centre: no, discount: 1 }} }}\n  \
         y: {{ use: learn.a2c, each: *e, with: {{ <<: *w, seed: 1 }} }}\n  \
         z: {{ use: fit, each: {{ model: [counts, {{ svd: {{ size: 1 }} }}], penalty: [1] }} }}\n"
    );
    let new = old
        .replace("each", "sweep")
        .replace("discount", "gamma")
        .replace("patience: [2, 4]", "learning_rate: [0.5, 0.25]")
        .replace("counts, { svd: { size", "popular, { factors: { rank")
        .replace("penalty:", "model.factors.penalty:");
    assert_eq!(rewritten(&old), new);
    for (from, to) in [("\n", "\r\n"), ("\n", "\r")] {
        let ends = |text: &str| text.replace(from, to);
        assert_eq!(rewritten(&ends(&old)), ends(&new));
        assert_eq!(rewritten(&format!("\u{feff}{}", ends(&old))), format!("\u{feff}{}", ends(&new)));
    }
    let crlf = |text: &str| text.replace('\n', "\r\n");
    let stage = |with: &str| format!("{HEAD}  x:\n    use: fit\n    with:\n{with}");
    let (old, new) =
        ("      # a\n      rank: 8 # b", "      model:\n        factors:\n          # a\n          rank: 8 # b\n");
    assert_eq!(rewritten(&crlf(&stage(old))), crlf(&stage(new)));
}

#[test]
fn what_cannot_be_rewritten_safely_is_named_and_left() {
    let refused = |tail: &str| {
        let faults = migrate("x.yaml", &format!("{HEAD}{tail}"), &CATALOG).unwrap_err();
        let (place, fault) = (faults.place(&faults.list()[0]), &faults.list()[0]);
        let (_, line, column) = place.unwrap();
        format!("{line}:{column} {} | {}", fault.message, fault.help.clone().unwrap_or_default())
    };
    assert_eq!(
        refused("  x: { use: learn.a2c, with: { discount: 1, gamma: 1 } }"),
        "6:32 the setting `discount` of learn.a2c has a new name | `discount` is now `gamma`; `gamma` stands here, too: keep one of them"
    );
    assert_eq!(
        refused("  x: { use: score, with: { clip_at: 1, clip: { at: 1 } } }"),
        "6:28 the setting `clip_at` of score has a new name | `clip_at` is now `clip.at`; `at` stands there, too: keep one of them"
    );
    assert_eq!(
        refused("  x: { use: learn.a2c, with: { patience: fast } }"),
        "6:32 the setting `patience` of learn.a2c has a new name | `patience` is now `learning_rate`, and holds 1 divided by the old \
         number; its value has no inverse: write 1 / the old value by hand\nAbove 0."
    );
    let shared = refused("  x: { use: learn.a2c, with: &w { discount: 1 } }\n  y: { use: score, with: *w }");
    assert!(shared.starts_with("6:35 the old words here cannot be replaced safely"), "{shared}");
    assert!(migrate("x.yaml", "a: [", &CATALOG).is_err());
    assert!(migrate("x.yaml", "a: 1\na: 2", &CATALOG).is_err());
    for fine in
        ["", "a", "[]", "stages: 1", "stages: { x: 1 }", "stages: { x: { use: 1, with: 2, inputs: [3], each: 4 } }"]
    {
        migrate("x.yaml", fine, &CATALOG).unwrap();
    }
}

#[test]
fn a_table_that_disagrees_with_its_stages_is_found() {
    assert_eq!(audit(&CATALOG), [""; 0]);
    const HEAD: &str = "kind\twhat\told\tnew\tnote\n";
    let wrong = |rows: &'static str| {
        let renamed = Box::leak(format!("{HEAD}{rows}").into_boxed_str());
        let catalog = Catalog { renamed, ..toy() };
        audit(&catalog).join("; ")
    };
    for (rows, fault) in [
        ("learn.*\tsetting\told\tgama\t", "no kind of stage has `gama`"),
        ("learn.a2c\tsetting\told\tgama\t", "learn.a2c has no `gama`"),
        ("learn.a2c\tsetting\tseed\tgamma\t", "learn.a2c has `seed` still"),
        ("learn.dqn\tsetting\told\tgamma\t", "`learn.dqn` is no kind of stage"),
        ("fit\tvalue\tmodel=x\tmodel=y\t", "fit has no `model=y`"),
        ("fit\tvalue\tmodel=factors\tmodel=popular\t", "fit has `model=factors` still"),
        ("fit\tinput\titems\tinteractions\t", "fit has `items` still"),
        ("-\tkind\tscore\tfit\t", "`score` is a kind of stage still"),
        ("-\tkind\tx\tfitt\t", "`fitt` is no kind of stage"),
        ("fit\tsetting\ta\tlayers\t\nfit\tsetting\tlayers\tseed\t", "is old itself"),
        ("fit\tsetting\ta\tlayers\t\nfit\tsetting\ta\tseed\t", "stands there twice"),
        ("fit\tsettings\ta\tlayers\t", "no row of kind"),
        ("-\tsetting\ta\tb\t", "no key of a stage"),
    ] {
        let found = wrong(rows);
        assert!(found.contains(fault), "{rows:?}: {found}");
    }
}

fn toy() -> Catalog {
    Catalog {
        stages: CATALOG.stages,
        generators: CATALOG.generators,
        devices: crate::Devices::CPU,
        inspect: CATALOG.inspect,
        load_policy: CATALOG.load_policy,
        encode_impressions: CATALOG.encode_impressions,
        export_policy: CATALOG.export_policy,
        add_items: CATALOG.add_items,
        metrics: CATALOG.metrics,
        curves: CATALOG.curves,
        report: CATALOG.report,
        worth: CATALOG.worth,
        template: CATALOG.template,
        log_experiment: CATALOG.log_experiment,
        renamed: CATALOG.renamed,
    }
}
