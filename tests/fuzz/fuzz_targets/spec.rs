//! The experiment file and its overrides: any bytes give an experiment or faults with places, soon, and no panic.
//!
//! An input is the file, then overrides, with a `\x1f` before each.
#![no_main]

#[path = "../../../pipeline/tests/toy/ask.rs"]
mod ask;
#[path = "../../../pipeline/tests/toy/stages.rs"]
mod stages;

use std::collections::BTreeSet;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use pipeline::inspect::Verdict;
use pipeline::spec::renamed::migrate;
use pipeline::spec::{Experiment, check};
use pipeline::{Catalog, Devices, Generator, StageKind};

static CATALOG: Catalog = Catalog {
    stages: &[
        StageKind::of::<stages::Add>(),
        StageKind::of::<ask::Ask>(),
        StageKind::of::<stages::Fail>(),
        StageKind::of::<stages::Number>(),
        StageKind::of::<stages::Page>(),
        StageKind::of::<stages::Round>(),
        StageKind::of::<stages::Train>(),
        StageKind::of::<stages::Whim>(),
    ],
    generators: &[Generator { name: "seven", about: "The number seven.", write: |_| Ok(()) }],
    devices: Devices::CPU,
    inspect: |_, _, _| Ok(Verdict::Whole),
    load_policy: |_| anyhow::bail!("toys have no policy"),
    worth: pipeline::worth::WorthStudy {
        experiment: |_, _| anyhow::bail!("toys have no teacher"),
        output: ("worth", "worth"),
        answer: |_, _| anyhow::bail!("toys have no teacher"),
    },
    metrics: &[],
    curves: &[],
    report: |_| Ok(String::new()),
    template: "",
    log_experiment: |_, _| anyhow::bail!("a toy reads no log"),
    renamed: include_str!("../../../pipeline/tests/toy/renamed.tsv"),
};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split('\u{1f}').map(str::to_owned);
    let file = parts.next().unwrap_or_default();
    let sets: Vec<String> = parts.collect();
    if let Ok(migrated) = migrate("x.yaml", &file, &CATALOG) {
        let again = migrate("x.yaml", &migrated.text, &CATALOG);
        assert!(again.is_ok_and(|again| again.changes.is_empty()), "half rewritten: {:?}", migrated.text);
    }
    match check("x.yaml", PathBuf::new(), file, &sets, &CATALOG) {
        Ok(experiment) => sound(&experiment),
        Err(faults) => {
            assert!(!faults.list().is_empty(), "refused without a fault");
            let shown = faults.render(false);
            assert!(!shown.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{shown:?}");
            assert_eq!(faults.to_json().as_array().map(Vec::len), Some(faults.list().len()));
        }
    }
});

/// What the engine relies on.
fn sound(experiment: &Experiment) {
    let mut ids = BTreeSet::new();
    for (index, node) in experiment.nodes.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+=@,".contains(c);
        assert!(node.id.chars().all(plain) && node.id.len() < 250, "{:?} is no name of a file", node.id);
        assert!(ids.insert(&node.id), "two nodes are called {}", node.id);
        let links = node.inputs.iter().flat_map(|(_, links)| links);
        assert!(links.clone().all(|link| link.node < index), "{} reads what is not made yet", node.id);
        let config = node.config.config();
        let again = (node.kind.parse)(config.clone()).map(|again| again.config());
        assert_eq!(again.ok(), Some(config), "the config of {} is not read as it is written", node.id);
    }
}
