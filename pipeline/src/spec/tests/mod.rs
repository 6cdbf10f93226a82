//! What the experiment format accepts and refuses, on toy stages.

mod config_faults;
mod good;
mod hostile;
mod renamed;
mod robust;
mod text_faults;
mod wiring_faults;
mod yaml;

use super::toy::load_text;

/// A head that most tests build on: a log and a world.
const HEAD: &str = "\
name: t
assets: { rows: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest, with: { asset: rows, user_column: u } }
  world: { use: fit, inputs: { interactions: log.interactions } }
";

/// All faults, one line each: `file:line:column text-under-the-caret | message | label or help`.
fn faults(text: &str, sets: &[&str]) -> Vec<String> {
    let Err(all) = load_text(text, sets) else { panic!("this should not load:\n{text}{sets:?}") };
    let line = |fault| {
        let (place, under) = match (all.place(fault), fault.span) {
            (Some((name, line, column)), Some(span)) => {
                let source = if span.source == 0 { text } else { sets[span.source - 1] };
                let file = name.rsplit('/').next().unwrap_or(name);
                (format!("{file}:{line}:{column}"), source.get(span.start..span.end).unwrap_or("?").to_owned())
            }
            _ => ("nowhere".into(), String::new()),
        };
        let hint = fault.label.clone().or(fault.help.clone()).unwrap_or_default();
        format!("{place} {under} | {} | {hint}", fault.message)
    };
    all.list().iter().map(line).collect()
}

/// The faults of [`HEAD`] with more stages below.
fn below(tail: &str) -> Vec<String> {
    faults(&format!("{HEAD}{tail}\n"), &[])
}

/// The faults of a stage with a config block.
fn with(kind: &str, config: &str) -> Vec<String> {
    let port = if kind == "fit" { "interactions: log.interactions" } else { "world: world.world" };
    let all = below(&format!("  x:\n    use: {kind}\n    inputs: {{ {port} }}\n    with: {config}"));
    all.into_iter().map(|line| line.strip_prefix("toy.yaml:9:").map_or(line.clone(), str::to_owned)).collect()
}

#[track_caller]
fn same(found: Vec<String>, wanted: &[&str]) {
    assert_eq!(found, wanted, "found:\n{}", found.iter().map(|l| format!("{l:?},\n")).collect::<String>());
}
