//! What may stand in the place of a value, decided by the value's name in `--help`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Arg;

use super::super::session::Session;
use super::typed::{Candidate, Typed, about};
use crate::record;
use crate::spec::{self, Experiment};
use crate::store::Store;

pub(super) struct Candidates<'a> {
    pub session: &'a Session,
    pub typed: &'a Typed<'a>,
}

impl Candidates<'_> {
    /// The values of an argument that begin as `current` does; others may be among them.
    pub fn of(&self, arg: &Arg, current: &str) -> Vec<Candidate> {
        let choices = arg.get_possible_values();
        if !choices.is_empty() {
            return choices.iter().map(|value| (value.get_name().to_owned(), about(value.get_help()))).collect();
        }
        match arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str()) {
            "EXPERIMENT.yaml" => {
                files(current, &|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml"))
            }
            "STAGE" => self.stages(current),
            "PATH=VALUE" => self.settings(),
            "POLICY" => self.outputs().into_iter().filter(|(name, _)| name.ends_with(".policy")).collect(),
            "TARGET" => self.outputs().into_iter().chain(files(current, &|_| true)).collect(),
            "A" | "B" => self.outputs().into_iter().chain(self.runs()).chain(files(current, &|_| true)).collect(),
            "RUN" => self.runs(),
            "NAME" => self
                .runs()
                .into_iter()
                .map(|(_, name)| (name, String::new()))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            "DIR" => files(current, &|_| false),
            "PATH" | "FILE" => files(current, &|_| true),
            _ => Vec::new(),
        }
    }

    /// The experiment that is named before the cursor, where it has no faults.
    fn experiment(&self) -> Option<Experiment> {
        let sets: Vec<String> = self.typed.values_of("set").map(str::to_owned).collect();
        spec::load(Path::new(self.typed.positionals.first()?), &sets, self.session.catalog).ok()
    }

    /// Stages, and the cells of a sweep as soon as it is clear which is meant.
    fn stages(&self, current: &str) -> Vec<Candidate> {
        let Some(experiment) = self.experiment() else {
            // An experiment at work may have faults; its names are there all the same.
            let names = self.typed.positionals.first().map(|path| spec::stage_names(Path::new(path)));
            return names.unwrap_or_default().into_iter().map(|name| (name, String::new())).collect();
        };
        let mut found: Vec<Candidate> = Vec::new();
        for node in &experiment.nodes {
            if !found.iter().any(|(stage, _)| *stage == node.stage) {
                found.push((node.stage.clone(), node.kind.kind.to_owned()));
            }
        }
        let stage = current.split('@').next().unwrap_or(current);
        let meant: Vec<&Candidate> = found
            .iter()
            .filter(|(name, _)| if current.contains('@') { name == stage } else { name.starts_with(stage) })
            .collect();
        if let [(stage, kind)] = meant[..] {
            let cells = experiment.nodes.iter().filter(|node| node.stage == *stage && !node.cell.is_empty());
            let cells: Vec<Candidate> = cells.map(|node| (node.id.clone(), kind.clone())).collect();
            found.extend(cells);
        }
        found
    }

    /// `stages.policy.with.gamma=` for every field of every stage.
    fn settings(&self) -> Vec<Candidate> {
        let experiment = self.experiment();
        let nodes = experiment.iter().flat_map(|experiment| &experiment.nodes);
        let mut stages: Vec<&str> = Vec::new();
        let mut found = Vec::new();
        for node in nodes {
            if stages.contains(&node.stage.as_str()) {
                continue;
            }
            stages.push(&node.stage);
            let fields = spec::fields(node.kind).into_iter();
            found.extend(fields.map(|(field, about)| (format!("stages.{}.with.{field}=", node.stage), about)));
        }
        found
    }

    /// `stage.port` of the experiment that is named with `-e`, or of all that have one, those that ran last first.
    fn outputs(&self) -> Vec<Candidate> {
        let store = self.store();
        let named = self.typed.values_of("experiment").next().map(str::to_owned);
        let mut experiments: Vec<String> = named.into_iter().collect();
        if experiments.is_empty() {
            for run in record::runs(&store).unwrap_or_default().into_iter().rev() {
                if !experiments.contains(&run.experiment) {
                    experiments.push(run.experiment);
                }
            }
        }
        let mut found: Vec<Candidate> = Vec::new();
        for experiment in experiments {
            for last in store.stages_of(&experiment).unwrap_or_default() {
                let Ok(Some(entry)) = store.entry(&last.key) else { continue };
                for output in entry.outputs {
                    let name = format!("{}.{}", last.stage, output.port);
                    if !found.iter().any(|(known, _)| *known == name) {
                        found.push((name, output.kind));
                    }
                }
            }
        }
        found
    }

    /// The ids of the runs, with their experiments.
    fn runs(&self) -> Vec<Candidate> {
        let runs = record::runs(&self.store()).unwrap_or_default();
        runs.into_iter().map(|run| (run.id, run.experiment)).collect()
    }

    fn store(&self) -> Store {
        let named = self.typed.values_of("artifacts").last().map(PathBuf::from);
        Store::new(&named.unwrap_or_else(|| self.session.global.artifacts.clone()))
    }
}

/// Folders and the files that fit, below the folder that is typed.
fn files(current: &str, fits: &dyn Fn(&Path) -> bool) -> Vec<Candidate> {
    let folder = current.rfind('/').map_or("", |slash| &current[..=slash]);
    let entries = std::fs::read_dir(if folder.is_empty() { "." } else { folder }).into_iter().flatten().flatten();
    let mut found: Vec<Candidate> = Vec::new();
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // What is hidden is offered to those who ask for it.
        if name.starts_with('.') && !current[folder.len()..].starts_with('.') {
            continue;
        }
        if path.is_dir() {
            found.push((format!("{folder}{name}/"), String::new()));
        } else if fits(&path) {
            found.push((format!("{folder}{name}"), String::new()));
        }
    }
    found.sort();
    found
}
