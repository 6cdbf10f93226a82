use super::{HEAD, below, faults, same};
use crate::spec::load;
use crate::spec::toy::CATALOG;

#[test]
fn the_file_as_a_whole() {
    same(
        faults("", &[]),
        &[
            "toy.yaml:1:1  | an experiment is a mapping with `name` and `stages`; the file is empty | `apprentice init` writes an experiment to start from",
        ],
    );
    same(
        faults("# only a comment\n", &[]),
        &[
            "toy.yaml:1:1 # only a comment | an experiment is a mapping with `name` and `stages`; the file is empty | `apprentice init` writes an experiment to start from",
        ],
    );
    same(
        faults("- a\n- b\n", &[]),
        &[
            "toy.yaml:1:1 - a | an experiment is a mapping with `name` and `stages`; the file is a list | `apprentice init` writes an experiment to start from",
        ],
    );
    same(faults("name: t\nstages:\n", &[]), &["toy.yaml:2:1 stages | `stages` is empty: there is nothing to run | "]);
    same(
        faults("name: t\n", &[]),
        &[
            "toy.yaml:1:1 name: t | the experiment has no `stages` | `apprentice init` writes an experiment to start from",
        ],
    );
    same(
        faults("name: t\nstages: [a]\nassets: 3\n", &[]),
        &[
            "toy.yaml:2:9 [a] | `stages` takes a mapping of names, not a list | ",
            "toy.yaml:3:9 3 | `assets` takes a mapping of names, not 3 | ",
        ],
    );
    same(
        faults("name: t\nstages: { a: { use: report } }\n---\nname: u\n", &[]),
        &[
            "toy.yaml:3:1 --- | a second YAML document in the same file | write one experiment per file, without `---` between parts",
        ],
    );
}

#[test]
fn duplicate_keys_are_all_reported() {
    same(
        below(
            "  x: { use: report, use: fit }\n  x: {}\n  y: { use: fit, with: { seed: 1, seed: 2 }, inputs: { interactions: log.interactions } }",
        ),
        &[
            "toy.yaml:6:21 use | the key `use` is written twice | the first one stands in line 6; remove or rename one of them",
            "toy.yaml:7:3 x | the key `x` is written twice | the first one stands in line 6; remove or rename one of them",
            "toy.yaml:8:35 seed | the key `seed` is written twice | the first one stands in line 8; remove or rename one of them",
        ],
    );
}

#[test]
fn broken_yaml() {
    same(
        below("\tx: { use: fit }"),
        &[
            "toy.yaml:6:2 x | invalid YAML: tabs disallowed within this context (block indentation) | indent with spaces, not with tabs",
        ],
    );
    same(
        below("  x: { use: fit, inputs: { interactions: log.interactions }"),
        &[
            "toy.yaml:6:59 } | invalid YAML: while parsing a flow mapping, did not find expected ',' or '}' | look at the indentation here, and at the quotes and brackets of the lines above",
        ],
    );
    same(
        below("  x: { use: \"fit }"),
        &[
            "toy.yaml:6:13 \" | invalid YAML: while scanning a quoted scalar, found unexpected end of stream | look at the indentation here, and at the quotes and brackets of the lines above",
        ],
    );
    same(
        below("  x: use: fit"),
        &[
            "toy.yaml:6:9 : | invalid YAML: mapping values are not allowed in this context | a text with `: ` in it must be quoted; else look at the indentation",
        ],
    );
    same(
        below("  x:\n    use: fit\n   with: {}"),
        &[
            "toy.yaml:8:4 w | invalid YAML: while parsing a block mapping, did not find expected key | look at the indentation here, and at the quotes and brackets of the lines above",
        ],
    );
    same(
        below("  x: { use: *fit }"),
        &[
            "toy.yaml:6:13 * | invalid YAML: while parsing node, found unknown anchor | quote a text that begins with `*` or `&`",
        ],
    );
    same(
        below("  x: &a { use: report, with: *a }"),
        &["toy.yaml:6:30 *a | the alias stands inside the value that it names | "],
    );
    same(
        below("  x: { use: !fit report }"),
        &[
            "toy.yaml:6:13 !fit report | the YAML tag `!fit` is not known here | a choice is written as a key: `name: { … }`",
        ],
    );
    same(
        below("  x: { [a]: 3 }"),
        &["toy.yaml:6:8 [ | a key must be a plain name | quote a value that begins with `[`, `{`, `*` or `&`"],
    );
}

#[test]
fn overrides() {
    let table: &[(&str, &[&str])] = &[
        (
            "stages.world.with.seed=x",
            &[
                "--set:1:24 x | `seed` takes a whole number, 0 or more, not the text \"x\" | `seed`: Seed of the first weights; for example `seed: 0`",
            ],
        ),
        (
            "stages.world.with.sed=3",
            &["--set:1:19 sed | unknown key `sed` in the config of fit | did you mean `seed`?"],
        ),
        (
            "stages.wrld.with.seed=3",
            &["--set:1:8 wrld | there is no `wrld` in `stages` | did you mean `stages.world.with.seed`?"],
        ),
        (
            "stages.world.wth.seed=3",
            &["--set:1:14 wth | there is no `wth` in `stages.world` | did you mean `stages.world.with.seed`?"],
        ),
        (
            "stage.world.with.seed=3",
            &["--set:1:1 stage | there is no `stage` in the experiment | did you mean `stages.world.with.seed`?"],
        ),
        (
            "assets.row.sha256=x",
            &["--set:1:8 row | there is no `row` in `assets` | did you mean `assets.rows.sha256`?"],
        ),
        (
            "stages.world.with.layers.0=3",
            &[
                "--set:1:19 layers | `layers` takes a list, not a mapping | `layers`: Sizes of the hidden layers; for example `layers: [64]`",
            ],
        ),
        (
            "stages.world.use.x=3",
            &["--set:1:18 x | `stages.world.use` is the text \"fit\", so there is no `x` in it | "],
        ),
        (
            "stages.world.with.layers=[",
            &[
                "--set:1:26 [ | invalid YAML: while parsing a node, did not find expected node content | look at the indentation here, and at the quotes and brackets of the lines above",
            ],
        ),
        (
            "stages.world.sweep.model.factors.rank=[3, x]",
            &[
                "--set:1:20 model.factors.rank | `model.factors` lacks `penalty` | `penalty`: Weight of the penalty",
                "--set:1:43 x | `model.factors.rank` takes a whole number from 0 to 4294967295, not the text \"x\" | `model.factors.rank`: Number of factors; for example `rank: 1`",
            ],
        ),
        (
            "stages.world.inputs.interactions=log.items",
            &[
                "--set:1:34 log.items | `world.interactions` takes interactions, but `log.items` is items | for interactions there is `log.interactions`",
            ],
        ),
        (
            "stages.log.inputs.interactions=",
            &["--set:1:19 interactions | ingest has no input `interactions` | ingest reads nothing"],
        ),
        (
            "assets.rows.from.7=3",
            &[
                "--set:1:18 7 | `assets.rows.from` is a list of 1: `7` is no place in it | write the position, counted from 0, or set the whole list",
            ],
        ),
        ("name", &["--set:1:1 name | `--set` takes `path=value` | for example `--set stages.policy.with.gamma=0.9`"]),
        ("=3", &["--set:1:1  | there is no `` in the experiment | the experiment has `name`, `assets`, `stages`"]),
        ("", &["--set:1:1  | `--set` takes `path=value` | for example `--set stages.policy.with.gamma=0.9`"]),
        ("...=", &["--set:1:1  | there is no `` in the experiment | the experiment has `name`, `assets`, `stages`"]),
    ];
    for (set, wanted) in table {
        same(faults(HEAD, &[set]), wanted);
    }
    same(
        faults(HEAD, &["stages.world.with.seed=x", "stages.world.with.layers=x", "a=1"]),
        &[
            "--set:1:24 x | `seed` takes a whole number, 0 or more, not the text \"x\" | `seed`: Seed of the first weights; for example `seed: 0`",
            "--set:1:26 x | `layers` takes a list, not the text \"x\" | `layers`: Sizes of the hidden layers; for example `layers: [64]`",
            "--set:1:1 a | there is no `a` in the experiment | the experiment has `name`, `assets`, `stages`",
        ],
    );
}

#[test]
fn a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| load(&folder.path().join(name), &[], &CATALOG);
    let Err(all) = read("no.yaml") else { panic!("this should not load") };
    assert!(
        all.to_string().contains("cannot read the experiment") && all.to_string().contains("apprentice init"),
        "{all}"
    );
    let Err(all) = read("") else { panic!("this should not load") };
    assert_eq!(
        all.list()[0].help.as_deref(),
        Some("it is a folder: give the path of an experiment file in it"),
        "{all}"
    );
    std::fs::write(folder.path().join("latin.yaml"), b"name: t\n# caf\xe9\n").unwrap();
    let Err(all) = read("latin.yaml") else { panic!("this should not load") };
    assert!(all.list()[0].message.starts_with("line 2 of"), "{all}");
}
