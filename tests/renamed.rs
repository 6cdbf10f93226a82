//! Every row of `stages/src/renamed.tsv`: the stages know the new word and not the old one, an experiment with the old one is
//! refused with the new one, and `migrate` rewrites it.

use std::path::PathBuf;

use pipeline::spec::{check, renamed};
use stages::CATALOG;

#[test]
fn the_table_agrees_with_the_stages() {
    let wrong = renamed::audit(&CATALOG);
    assert!(wrong.is_empty(), "stages/src/renamed.tsv:\n{}", wrong.join("\n"));
}

/// A row with one kind of stage that it is about.
struct Case<'t> {
    kind: &'static str,
    what: &'t str,
    old: &'t str,
    new: &'t str,
}

fn cases() -> Vec<Case<'static>> {
    let mut cases = Vec::new();
    for line in CATALOG.renamed.lines().skip(1) {
        let [kinds, what, old, new, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        let fits = |kind: &str| {
            let fits = |pattern: &str| match pattern.split_once('*') {
                Some((start, end)) => kind.starts_with(start) && kind.ends_with(end),
                None => kind == pattern,
            };
            kinds == "-" || kinds.split(',').any(fits)
        };
        let all = CATALOG.stages.iter().map(|stage| stage.kind).filter(|kind| fits(kind));
        // What belongs to no kind is tried on one.
        let all = all.take(if kinds == "-" { 1 } else { usize::MAX });
        cases.extend(all.map(|kind| Case { kind, what, old, new }));
    }
    cases
}

/// The smallest text with the old word, its line, and the new word as the help names it; what else is wrong with it counts for
/// nothing.
fn written(case: &Case) -> String {
    let Case { kind, what, old, .. } = case;
    let with = |path: &str, value: &str| {
        let key = |(depth, key)| format!("{}{key}:\n", " ".repeat(6 + 2 * depth));
        let keys: String = path.split('.').enumerate().map(key).collect();
        format!("  x:\n    use: {kind}\n    with:\n{} {value}\n", keys.trim_end())
    };
    let stage = match *what {
        "kind" => format!("  x: {{ use: {old} }}\n"),
        "setting" if !old.contains('.') && stages_key(case) => format!("  x:\n    use: {kind}\n    {old}:\n"),
        "setting" | "reciprocal" => with(old, "4"),
        "value" => {
            let (path, value) = old.split_once('=').unwrap();
            with(path, value)
        }
        "input" => format!("  x:\n    use: {kind}\n    inputs:\n      {old}: y.z\n"),
        "output" => format!("  x: {{ use: {kind} }}\n  y: {{ use: report, inputs: {{ metrics: [x.{old}] }} }}\n"),
        other => panic!("{other}"),
    };
    format!("# kept\nname: t # kept\nstages:\n{stage}")
}

fn stages_key(case: &Case) -> bool {
    CATALOG.renamed.lines().any(|line| line.starts_with(&format!("-\t{}\t{}\t", case.what, case.old)))
}

#[test]
fn every_old_word_is_refused_with_the_new_one_and_migrated() {
    for case in cases() {
        let text = written(&case);
        let new = case.new.split_once('=').map_or(case.new, |(_, value)| value);
        let last = new.rsplit('.').next().unwrap();
        let refused = check("t.yaml", PathBuf::new(), text.clone(), &[], &CATALOG).err().unwrap();
        let help = format!("{last}`");
        let said = refused.list().iter().any(|fault| {
            let help = fault.help.as_deref().is_some_and(|text| text.contains(" is now `") && text.contains(&help));
            help && fault.message.contains("has a new name") && fault.span.is_some()
        });
        assert!(said, "{} {} of {}:\n{text}\n{refused}", case.what, case.old, case.kind);
        let migrated = renamed::migrate("t.yaml", &text, &CATALOG);
        let migrated = migrated.unwrap_or_else(|faults| panic!("{} of {}: {faults}", case.old, case.kind)).text;
        assert!(migrated.starts_with("# kept\nname: t # kept\n") && migrated.contains(last), "{migrated}");
        let left = renamed::migrate("t.yaml", &migrated, &CATALOG).unwrap();
        assert_eq!(left.changes, [], "{migrated}");
    }
}
