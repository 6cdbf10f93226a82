//! Who made a content, and from what.

use serde_json::{Value, json};

use super::super::format;
use super::producers::Producers;
use super::target::Content;
use crate::escape;
use crate::reason::short;
use crate::store::{Entry, Output, Store};

/// What to say of a content that nobody here made.
pub(super) const UNKNOWN: &str = "made by: unknown; this store has no such content (or the file was changed since)\n";

/// Whether a content is what somebody made; a value that was changed and can still be read is seen by nothing else.
pub(super) fn as_made(content: &Content) -> String {
    match (&content.origin, &content.changed_view) {
        (Some((entry, output)), _) => {
            format!("content: that of {}.{}, byte for byte\n", entry.made.stage, output.port)
        }
        (None, Some(output)) => {
            format!("content: not that of {output}: the file was changed; the next run restores it\n")
        }
        (None, None) => {
            "content: of unknown origin, so that a changed value which can still be read is not seen\n".into()
        }
    }
}

pub(super) struct Origin {
    entry: Entry,
    output: Output,
    inputs: Vec<Input>,
}

/// An artifact that a result was made from.
pub(super) struct Input {
    pub port: String,
    pub digest: String,
    /// `stage.port` of the result that holds it.
    pub from: Option<String>,
}

impl Origin {
    pub fn of(store: &Store, content: &Content) -> anyhow::Result<Option<Self>> {
        let Some((entry, output)) = content.origin.clone() else { return Ok(None) };
        let inputs = inputs(store, &entry)?;
        Ok(Some(Self { entry, output, inputs }))
    }

    pub fn to_json(&self) -> Value {
        let mut all = json!({ "stage": self.entry.made.stage, "port": self.output.port });
        about(&mut all, &self.entry, &self.inputs);
        all["bytes"] = self.output.bytes.into();
        all
    }

    pub fn to_text(&self) -> String {
        let digest = format!("{} ({})", self.output.digest, format::bytes(self.output.bytes));
        let mut rows = rows(&self.entry, Some(&self.output.port));
        rows.push(vec!["digest".into(), digest]);
        rows.extend(from(&self.inputs, &self.entry));
        format::columns(&rows)
    }
}

/// The inputs of a result, by port.
pub(super) fn inputs(store: &Store, entry: &Entry) -> anyhow::Result<Vec<Input>> {
    let mut producers = Producers::of(store)?;
    let mut inputs = Vec::new();
    for (port, rows) in &entry.material.inputs {
        for digest in rows.as_array().into_iter().flatten().filter_map(|row| row["digest"].as_str()) {
            let producer = producers.find(digest, Some(&entry.made.experiment))?;
            let from = producer.map(|(producer, output)| format!("{}.{}", producer.made.stage, output.port));
            inputs.push(Input { port: port.clone(), digest: digest.to_owned(), from });
        }
    }
    Ok(inputs)
}

/// Fills in what is known of a result.
pub(super) fn about(all: &mut Value, entry: &Entry, inputs: &[Input]) {
    let input = |input: &Input| json!({ "port": input.port, "digest": input.digest, "from": input.from });
    all["kind"] = entry.material.kind.clone().into();
    all["version"] = entry.material.version.into();
    all["config"] = entry.material.config.clone();
    all["key"] = entry.key.clone().into();
    all["inputs"] = inputs.iter().map(input).collect();
    all["assets"] = entry.material.assets.clone().into();
    all["made"] = json!(entry.made);
}

/// The stage, run, command and key of a result, each a row.
pub(super) fn rows(entry: &Entry, port: Option<&str>) -> Vec<Vec<String>> {
    let (made, material) = (&entry.made, &entry.material);
    let port = port.map_or_else(String::new, |port| format!(".{port}"));
    let run = format!("{} of {}, finished {}", made.run, made.experiment, made.finished);
    vec![
        vec!["made by".into(), format!("{}{port} ({}, version {})", made.stage, material.kind, material.version)],
        vec!["run".into(), format!("{run}, {}", format::seconds(made.seconds))],
        vec!["command".into(), escape::shown(&made.command, usize::MAX)],
        vec!["key".into(), entry.key.clone()],
    ]
}

/// A row for each input and asset.
pub(super) fn from(inputs: &[Input], entry: &Entry) -> Vec<Vec<String>> {
    let input = |input: &Input| {
        let from = input.from.as_deref().unwrap_or("unknown");
        vec![format!("from {}", input.port), format!("{from} {}", short(&input.digest))]
    };
    let asset = |(index, digest): (usize, &String)| {
        let name = entry.made.assets.get(index).map_or("", |made| &made.name);
        vec!["from asset".into(), format!("{name} {}", short(digest)).trim_start().to_owned()]
    };
    let assets = entry.material.assets.iter().enumerate().map(asset);
    inputs.iter().map(input).chain(assets).collect()
}
