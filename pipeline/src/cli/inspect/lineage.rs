//! Where a result came from, up to the files that nobody here made: a tree of the results that it was made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::super::format;
use super::super::session::Session;
use crate::asset::Source;
use crate::escape;
use crate::reason::short;
use crate::spec;
use crate::store::{Entry, Store};

pub(super) struct Lineage {
    entries: Vec<Entry>,
    /// Digest of an output → where its entries are.
    makers: BTreeMap<String, Vec<usize>>,
    /// Key of a result → its assets.
    assets: BTreeMap<String, Vec<Asset>>,
}

/// A file or folder that a stage read and no stage made.
#[derive(Clone)]
struct Asset {
    digest: String,
    /// What the experiment called it, as far as the record of the run still tells.
    name: Option<String>,
    sources: Vec<String>,
    /// Where it lies on this machine, with the content it had then.
    path: Option<String>,
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
    Asset {
        asset: &'a Asset,
    },
    /// An input whose maker is gone.
    Unknown {
        link: String,
        digest: &'a str,
    },
}

impl Lineage {
    pub fn of(session: &Session, store: &Store, root: &Entry) -> anyhow::Result<Self> {
        let (mut entries, _) = store.entries()?;
        entries.retain(|entry| entry.key != root.key);
        entries.push(root.clone());
        let mut makers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            for output in &entry.outputs {
                makers.entry(output.digest.clone()).or_default().push(index);
            }
        }
        let mut lineage = Self { entries, makers, assets: BTreeMap::new() };
        let mut seen = BTreeSet::new();
        let mut next = vec![root];
        let mut assets = BTreeMap::new();
        while let Some(entry) = next.pop() {
            if !seen.insert(&entry.key) {
                continue;
            }
            if !entry.material.assets.is_empty() {
                assets.insert(entry.key.clone(), named_assets(session, store, entry));
            }
            next.extend(inputs(entry).filter_map(|(_, digest)| lineage.maker(entry, digest)));
        }
        lineage.assets = assets;
        Ok(lineage)
    }

    /// The result that holds an input: of several with the same content, one of the same experiment.
    fn maker(&self, of: &Entry, digest: &str) -> Option<&Entry> {
        let makers = self.makers.get(digest)?;
        let same = makers.iter().find(|&&index| self.entries[index].made.experiment == of.made.experiment);
        same.or(makers.first()).map(|&index| &self.entries[index])
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
        let assets = self.assets.get(&entry.key).into_iter().flatten().map(|asset| Branch::Asset { asset });
        let mut below: Vec<_> = assets.collect();
        for (link, digest) in inputs(entry) {
            below.push(match self.maker(entry, digest) {
                Some(maker) => {
                    let port = maker.outputs.iter().find(|output| output.digest == digest);
                    self.branch(link, maker, port.map(|output| output.port.clone()), shown)
                }
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

/// The assets of a result with the names and sources that the experiment gave them when it ran.
fn named_assets(session: &Session, store: &Store, entry: &Entry) -> Vec<Asset> {
    let unnamed = |digest: &String| Asset { digest: digest.clone(), name: None, sources: Vec::new(), path: None };
    let mut assets: Vec<_> = entry.material.assets.iter().map(unnamed).collect();
    let copy = store.part("runs").join(&entry.made.run).join("experiment.yaml");
    // The record may have been pruned, or be of a version that is read no more: then the digests have to do.
    let Ok(experiment) = spec::load(&copy, &[], session.catalog) else { return assets };
    let Some(node) = experiment.nodes.iter().find(|node| node.id == entry.made.stage) else { return assets };
    let names = node.config.assets();
    if names.len() != assets.len() {
        return assets;
    }
    let found = session.project(&experiment).assets.known(node).unwrap_or_default();
    for (asset, name) in assets.iter_mut().zip(names) {
        let sources = experiment.assets.get(&name.0).cloned();
        asset.sources = sources.into_iter().flat_map(|spec| spec.from).map(|source| told(&source)).collect();
        let here = found.iter().find(|(known, resolved)| *known == name.0 && resolved.digest == asset.digest);
        asset.path = here.map(|(_, resolved)| resolved.path.display().to_string());
        asset.name = Some(name.0);
    }
    assets
}

fn told(source: &Source) -> String {
    match source {
        Source { url: Some(url), .. } => url.clone(),
        Source { pip: Some(pip), member, .. } => {
            format!("pip {pip}{}", member.as_ref().map_or_else(String::new, |member| format!(" {member}")))
        }
        Source { generate: Some(name), .. } => format!("generate {name}"),
        Source { path: Some(path), .. } => path.clone(),
        _ => String::new(),
    }
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
            let facts = vec![
                format!(
                    "key {}, run {} of {}, {}",
                    short(&entry.key),
                    made.run,
                    made.experiment,
                    format::seconds(made.seconds)
                ),
                format!("command {}", escape::shown(&made.command, usize::MAX)),
                format!("config {}", escape::shown(&material.config.to_string(), usize::MAX)),
            ];
            (format!("{}{} {kind}", heading(link), of(entry, port)), facts, below)
        }
        Branch::Again { link, entry, port } => {
            (format!("{}{} (shown above)", heading(link), of(entry, port)), vec![], none)
        }
        Branch::Asset { asset } => {
            let name = asset.name.as_deref().unwrap_or("of unknown name");
            let path = asset.path.iter().map(|path| format!("here {}", escape::shown(path, usize::MAX)));
            let sources = asset.sources.iter().map(|source| format!("from {}", escape::shown(source, usize::MAX)));
            (format!("asset {name} {}", short(&asset.digest)), path.chain(sources).collect(), none)
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
        Branch::Asset { asset } => json!({
            "asset": asset.name,
            "digest": asset.digest,
            "sources": asset.sources,
            "path": asset.path,
        }),
        Branch::Unknown { link, digest } => json!({ "input": link, "digest": digest, "unknown": true }),
    }
}
