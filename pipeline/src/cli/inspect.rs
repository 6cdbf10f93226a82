//! `apprentice inspect`: what the catalogue knows of a file's inside, and what the store knows of its making.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::args::Inspect;
use super::session::Session;
use super::{format, print, print_json};
use crate::exit::Failure;
use crate::reason::short;
use crate::record;
use crate::store::{Entry, Last, Output, Store, digest_of};
use crate::{Exit, InspectOptions};

pub(super) fn inspect(session: &Session, args: &Inspect) -> Result<Exit, Failure> {
    let store = session.store();
    let path = Path::new(&args.what);
    let (path, digest) = if path.is_file() {
        let digest = digest_of(path).map_err(|error| anyhow!("cannot read `{}`: {error}", path.display()))?;
        (path.to_path_buf(), digest)
    } else {
        let found = named(&store, args)?;
        (file(&store, &found)?, found.output.digest)
    };
    let options = InspectOptions { head: args.head, json: session.global.json };
    let content = (session.catalog.inspect)(&path, &options)?;
    let origin = Origin::of(&store, &digest)?;
    if session.global.json {
        let content: Value =
            serde_json::from_str(&content).map_err(|error| anyhow!("describe the file as JSON: {error}"))?;
        return print_json(json!({
            "file": path, "digest": digest, "provenance": origin.as_ref().map(Origin::to_json), "content": content,
        }));
    }
    let origin = origin.map_or_else(
        || "made by: unknown; this store has no such content (or the file was changed since)\n".into(),
        |origin| origin.to_text(),
    );
    print(&format!("{}\n\n{origin}", content.trim_end()))
}

/// An output that was asked for by name.
struct Found {
    experiment: String,
    stage: String,
    output: Output,
}

/// `stage.port` or `stage@cell.port`, in the experiment that is named or ran last.
fn named(store: &Store, args: &Inspect) -> Result<Found, Failure> {
    let what = &args.what;
    let experiment = match &args.experiment {
        Some(name) => name.clone(),
        None => latest(store)?.ok_or_else(|| {
            Failure::wrong(anyhow!(
                "`{what}` is no file, and `{}` holds no results yet\nhelp: run an experiment, or give its folder with `--artifacts DIR`",
                store.artifacts().display()
            ))
        })?,
    };
    let stages = store.stages_of(&experiment)?;
    // The cell may hold a dot (`lr=0.1`), a port cannot; a stage with one output needs no port.
    let split = what.rsplit_once('.').filter(|(stage, _)| stages.iter().any(|last| is(last, stage)));
    let (stage, port) = split.map_or((what.as_str(), None), |(stage, port)| (stage, Some(port)));
    let matching: Vec<_> = stages.iter().filter(|last| is(last, stage)).collect();
    let names = |lasts: &[&Last]| lasts.iter().map(|last| last.stage.clone()).collect::<Vec<_>>().join(", ");
    let last = match matching[..] {
        [last] => last,
        [] => {
            let all = names(&stages.iter().collect::<Vec<_>>());
            let known = if all.is_empty() { "it has no results here".into() } else { format!("its stages are {all}") };
            return Err(Failure::wrong(anyhow!(
                "`{what}` is neither a file nor an output of experiment `{experiment}`\nhelp: {known}"
            )));
        }
        _ => {
            return Err(Failure::wrong(anyhow!(
                "`{stage}` was swept\nhelp: name one of its cells: {}",
                names(&matching)
            )));
        }
    };
    let entry = store.entry(&last.key)?.ok_or_else(|| {
        Failure::new(Exit::Damaged, anyhow!("the result of `{}` is lost\nhelp: run the experiment again", last.stage))
    })?;
    let outputs = entry.outputs.iter().map(|output| output.port.as_str()).collect::<Vec<_>>().join(", ");
    let output = match port {
        Some(port) => entry.output(port).cloned(),
        None => Some(&entry.outputs[..]).filter(|all| all.len() == 1).and_then(|all| all.first().cloned()),
    };
    let output = output.ok_or_else(|| {
        Failure::wrong(anyhow!(
            "say which output of `{}`, as `{}.PORT`\nhelp: its outputs are {outputs}",
            last.stage,
            last.stage
        ))
    })?;
    Ok(Found { experiment, stage: last.stage.clone(), output })
}

fn is(last: &Last, name: &str) -> bool {
    last.stage == name || last.stage.split('@').next() == Some(name)
}

/// The experiment of the last run.
fn latest(store: &Store) -> anyhow::Result<Option<String>> {
    Ok(record::runs(store)?.pop().map(|run| run.experiment))
}

/// A file with the content of an output: its view, whose name tells the format, or else the object. Nothing damaged.
fn file(store: &Store, found: &Found) -> Result<PathBuf, Failure> {
    let view = store.view(&found.experiment, &found.stage, &found.output);
    if digest_of(&view).is_ok_and(|digest| digest == found.output.digest) {
        return Ok(view);
    }
    store.check_object(&found.output.digest)?.map_err(|damage| {
        Failure::new(Exit::Damaged, anyhow!("{damage}\nhelp: run the experiment again to make it anew"))
    })
}

/// Who made a content, and from what.
struct Origin {
    entry: Entry,
    output: Output,
    /// Port, name, digest of each input with the stage and port that made it.
    inputs: Vec<(String, String, Option<String>)>,
}

impl Origin {
    fn of(store: &Store, digest: &str) -> anyhow::Result<Option<Self>> {
        let (entries, _) = store.entries()?;
        let maker = |digest: &str| {
            entries.iter().find_map(|entry| Some((entry, entry.outputs.iter().find(|output| output.digest == digest)?)))
        };
        let Some((entry, output)) = maker(digest) else { return Ok(None) };
        let mut inputs = Vec::new();
        for (port, rows) in &entry.material.inputs {
            for digest in rows.as_array().into_iter().flatten().filter_map(|row| row["digest"].as_str()) {
                let from = maker(digest).map(|(entry, output)| format!("{}.{}", entry.made.stage, output.port));
                inputs.push((port.clone(), digest.to_owned(), from));
            }
        }
        Ok(Some(Self { entry: entry.clone(), output: output.clone(), inputs }))
    }

    fn to_json(&self) -> Value {
        let inputs =
            self.inputs.iter().map(|(port, digest, from)| json!({ "port": port, "digest": digest, "from": from }));
        json!({
            "stage": self.entry.made.stage,
            "port": self.output.port,
            "kind": self.entry.material.kind,
            "version": self.entry.material.version,
            "config": self.entry.material.config,
            "key": self.entry.key,
            "bytes": self.output.bytes,
            "inputs": inputs.collect::<Vec<_>>(),
            "made": self.entry.made,
        })
    }

    fn to_text(&self) -> String {
        let made = &self.entry.made;
        let mut rows = vec![
            vec![
                "made by".to_owned(),
                format!(
                    "{}.{} ({}, version {})",
                    made.stage, self.output.port, self.entry.material.kind, self.entry.material.version
                ),
            ],
            vec![
                "run".into(),
                format!(
                    "{} of {}, finished {}, {}",
                    made.run,
                    made.experiment,
                    made.finished,
                    format::seconds(made.seconds)
                ),
            ],
            vec!["command".into(), made.command.clone()],
            vec!["key".into(), self.entry.key.clone()],
            vec!["digest".into(), format!("{} ({})", self.output.digest, format::bytes(self.output.bytes))],
        ];
        for (port, digest, from) in &self.inputs {
            rows.push(vec![
                format!("from {port}"),
                format!("{} {}", from.as_deref().unwrap_or("unknown"), short(digest)),
            ]);
        }
        format::columns(&rows)
    }
}
