//! `apprentice stages`: the kinds of stages, or the reference of one.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::args;
use super::output::{print, print_json};
use super::session::Session;
use crate::diagnostic::nearest;
use crate::exit::{Exit, Failure};
use crate::spec::{Port, Setting, StageReference, reference};

/// Columns of a line.
const WIDTH: usize = 110;

pub(super) fn stages(session: &Session, args: &args::Stages) -> Result<Exit, Failure> {
    let all = session.catalog.stages;
    let Some(wanted) = &args.kind else {
        if session.global.json {
            let rows: Vec<Value> = all.iter().map(|row| json!({ "kind": row.kind, "about": row.about })).collect();
            return print_json(json!({ "stages": rows }));
        }
        let rows: Vec<(&str, &str)> = all.iter().map(|row| (row.kind, row.about)).collect();
        return print(&listed(&rows));
    };
    let Some(row) = session.catalog.stage(wanted) else {
        let inside: Vec<&str> =
            all.iter().map(|row| row.kind).filter(|kind| kind.split('.').any(|part| part == *wanted)).collect();
        let families: BTreeSet<&str> = all.iter().filter_map(|row| Some(row.kind.split_once('.')?.0)).collect();
        let near = nearest(wanted, all.iter().map(|row| row.kind).chain(families.iter().copied()));
        let listed = |kinds: &[&str]| kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
        let (what, help) = match (inside.as_slice(), near) {
            ([], Some(near)) => ("", format!("did you mean `{near}`?")),
            ([], None) => {
                ("", format!("`apprentice stages` lists all kinds; families are {}", listed(&Vec::from_iter(families))))
            }
            (inside, _) if families.contains(&**wanted) => {
                (", it is a family of kinds", format!("there are {}", listed(inside)))
            }
            (inside, _) => ("", format!("there are {}", listed(inside))),
        };
        return Err(Failure::usage(anyhow::anyhow!("there is no kind of stage `{wanted}`{what}\nhelp: {help}")));
    };
    let found = reference(row);
    if session.global.json {
        return print_json(serde_json::to_value(&found).map_err(anyhow::Error::from)?);
    }
    print(&text(&found))
}

/// One line a kind, in groups by the word before the point.
fn listed(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(kind, _)| kind.len()).max().unwrap_or(0);
    let group = |kind: &str| kind.split('.').next().unwrap_or(kind).to_owned();
    let mut text = String::new();
    for (place, (kind, about)) in rows.iter().enumerate() {
        if place > 0 && group(rows[place - 1].0) != group(kind) {
            text.push('\n');
        }
        let _ = writeln!(text, "{kind:width$}  {about}");
    }
    text + "\n`apprentice stages KIND` prints inputs, outputs and settings of a kind.\n"
}

fn text(found: &StageReference) -> String {
    let mut text = format!("{}: {}\n\n", found.kind, found.about);
    for line in found.example.lines() {
        let _ = writeln!(text, "    {line}");
    }
    ports("Inputs", &found.inputs, &mut text);
    ports("Outputs", &found.outputs, &mut text);
    if !found.settings.is_empty() {
        text.push_str("\nSettings, below `with`:\n");
    }
    for setting in &found.settings {
        setting_text(setting, &mut text);
    }
    text
}

fn ports(title: &str, ports: &[Port], text: &mut String) {
    if ports.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    let width = ports.iter().map(|port| port.name.len()).max().unwrap_or(0);
    for port in ports {
        let arity = match port.arity {
            "optional" => ", optional",
            "many" => ", any number",
            _ => "",
        };
        let _ = writeln!(text, "  {:width$}  {}{arity}", port.name, port.artifact);
    }
}

fn setting_text(setting: &Setting, text: &mut String) {
    let default = match (&setting.default, setting.required) {
        (_, true) => "required".to_owned(),
        (Some(Value::Null) | None, _) => "off by default".to_owned(),
        (Some(_), _) => format!("by default `{}`", setting.example),
    };
    let example = match (&setting.default, setting.required) {
        (Some(default), false) if !default.is_null() => String::new(),
        _ => format!(", as `{}`", setting.example),
    };
    let _ = writeln!(text, "\n  {}  {}; {default}{example}", setting.path, setting.takes);
    wrapped(&setting.about, 6, text);
    for (word, about) in &setting.choices {
        wrapped(&format!("`{word}`: {about}"), 8, text);
    }
}

/// Words in lines of [`WIDTH`] columns.
fn wrapped(words: &str, indent: usize, text: &mut String) {
    let mut used = 0;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if used == 0 || used + 1 + length > WIDTH {
            if used > 0 {
                text.push('\n');
            }
            text.push_str(&" ".repeat(indent));
            used = indent;
        } else {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += length;
    }
    if used > 0 {
        text.push('\n');
    }
}
