//! Where a result came from, up to the files that nobody here made: a tree of the results that it was made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::super::format;
use super::producers::Producers;
use crate::reason::short;
use crate::store::{AssetMade, Entry, Store};
use crate::{Device, escape};

pub(super) struct Lineage {
    /// Digest of an input → the result that holds it, of all results above the one asked for.
    producers: BTreeMap<String, (Entry, String)>,
}

/// One line of the tree, and those below it.
enum Branch<'a> {
    Result {
        link: String,
        entry: &'a Entry,
        port: Option<String>,
        below: Vec<Self>,
    },
    /// A result that was shown already.
    Again {
        link: String,
        entry: &'a Entry,
        port: Option<String>,
    },
    /// A file or folder that a stage read and no stage made.
    Asset {
        digest: &'a str,
        made: Option<&'a AssetMade>,
    },
    /// An input whose producer is gone.
    Unknown {
        link: String,
        digest: &'a str,
    },
}

impl Lineage {
    pub fn of(store: &Store, root: &Entry) -> anyhow::Result<Self> {
        let mut all = Producers::of(store)?;
        let mut producers = BTreeMap::new();
        let mut next = vec![root.clone()];
        while let Some(entry) = next.pop() {
            for (_, digest) in inputs(&entry) {
                if producers.contains_key(digest) {
                    continue;
                }
                if let Some((producer, output)) = all.find(digest, Some(&entry.made.experiment))? {
                    next.push(producer.clone());
                    producers.insert(digest.to_owned(), (producer, output.port));
                }
            }
        }
        Ok(Self { producers })
    }

    fn branch<'a>(
        &'a self,
        link: String,
        entry: &'a Entry,
        port: Option<String>,
        shown: &mut BTreeSet<&'a str>,
    ) -> Branch<'a> {
        if !shown.insert(&entry.key) {
            return Branch::Again { link, entry, port };
        }
        let assets = entry.material.assets.iter().enumerate();
        let mut below: Vec<_> =
            assets.map(|(index, digest)| Branch::Asset { digest, made: entry.made.assets.get(index) }).collect();
        for (link, digest) in inputs(entry) {
            below.push(match self.producers.get(digest) {
                Some((producer, port)) => self.branch(link, producer, Some(port.clone()), shown),
                None => Branch::Unknown { link, digest },
            });
        }
        Branch::Result { link, entry, port, below }
    }

    fn tree<'a>(&'a self, root: &'a Entry, port: Option<&str>) -> Branch<'a> {
        self.branch(String::new(), root, port.map(ToOwned::to_owned), &mut BTreeSet::new())
    }

    pub fn to_json(&self, root: &Entry, port: Option<&str>) -> Value {
        json!({ "lineage": json_of(&self.tree(root, port)) })
    }

    pub fn to_text(&self, root: &Entry, port: Option<&str>) -> String {
        let mut text = String::new();
        draw(&mut text, &self.tree(root, port), "", "");
        text
    }
}

/// The inputs of a result as `port` or, in a port that takes many, `port name@cell`, with their digests.
fn inputs(entry: &Entry) -> impl Iterator<Item = (String, &str)> {
    entry.material.inputs.iter().flat_map(|(port, rows)| {
        rows.as_array().into_iter().flatten().filter_map(move |row| {
            let text = |field: &str| row[field].as_str().unwrap_or_default();
            let link = match (text("name"), text("cell")) {
                ("", _) => port.clone(),
                (name, "") => format!("{port} {name}"),
                (name, cell) => format!("{port} {name}@{cell}"),
            };
            Some((link, row["digest"].as_str()?))
        })
    })
}

fn draw(text: &mut String, branch: &Branch<'_>, before: &str, under: &str) {
    let heading = |link: &str| if link.is_empty() { String::new() } else { format!("{link} ← ") };
    let of = |entry: &Entry, port: &Option<String>| match port {
        Some(port) => format!("{}.{port}", entry.made.stage),
        None => entry.made.stage.clone(),
    };
    let none = &Vec::new();
    let (line, facts, below) = match branch {
        Branch::Result { link, entry, port, below } => {
            let (made, material) = (&entry.made, &entry.material);
            let kind = format!("({}, version {})", material.kind, material.version);
            let device = made.device.as_deref().filter(|&device| device != Device::Cpu.to_string());
            let facts = vec![
                format!(
                    "key {}, run {} of {}, {}{}",
                    short(&entry.key),
                    made.run,
                    made.experiment,
                    format::seconds(made.seconds),
                    device.map(|device| format!(", on {device}")).unwrap_or_default()
                ),
                format!("command {}", escape::shown(&made.command, usize::MAX)),
                format!("config {}", escape::shown(&material.config.to_string(), usize::MAX)),
            ];
            (format!("{}{} {kind}", heading(link), of(entry, port)), facts, below)
        }
        Branch::Again { link, entry, port } => {
            (format!("{}{} (shown above)", heading(link), of(entry, port)), vec![], none)
        }
        Branch::Asset { digest, made } => {
            let name = made.map_or("of unknown name", |made| &made.name);
            let facts = made.iter().flat_map(|made| [("from", &made.origin), ("at", &made.path)]);
            let facts = facts.map(|(word, text)| format!("{word} {}", escape::shown(text, usize::MAX)));
            (format!("asset {name} {}", short(digest)), facts.collect(), none)
        }
        Branch::Unknown { link, digest } => {
            (format!("{}unknown {}: its result is gone from this store", heading(link), short(digest)), vec![], none)
        }
    };
    let _ = writeln!(text, "{before}{line}");
    let bar = if below.is_empty() { "  " } else { "│ " };
    for fact in facts {
        let _ = writeln!(text, "{under}{bar}{fact}");
    }
    for (index, next) in below.iter().enumerate() {
        let (fork, rail) = if index + 1 == below.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(text, next, &format!("{under}{fork}"), &format!("{under}{rail}"));
    }
}

fn json_of(branch: &Branch<'_>) -> Value {
    let result = |link: &str, entry: &Entry, port: &Option<String>| {
        let mut fields = Map::new();
        if !link.is_empty() {
            fields.insert("input".into(), link.into());
        }
        fields.insert("stage".into(), entry.made.stage.clone().into());
        fields.insert("port".into(), port.clone().into());
        fields.insert("key".into(), entry.key.clone().into());
        fields
    };
    match branch {
        Branch::Result { link, entry, port, below } => {
            let mut fields = result(link, entry, port);
            fields.insert("kind".into(), entry.material.kind.clone().into());
            fields.insert("version".into(), entry.material.version.into());
            fields.insert("config".into(), entry.material.config.clone());
            fields.insert("made".into(), json!(entry.made));
            fields.insert("from".into(), below.iter().map(json_of).collect());
            fields.into()
        }
        Branch::Again { link, entry, port } => {
            let mut fields = result(link, entry, port);
            fields.insert("shown_above".into(), true.into());
            fields.into()
        }
        Branch::Asset { digest, made } => json!({
            "asset": made.map(|made| &made.name),
            "digest": digest,
            "origin": made.map(|made| &made.origin),
            "path": made.map(|made| &made.path),
        }),
        Branch::Unknown { link, digest } => json!({ "input": link, "digest": digest, "unknown": true }),
    }
}
