//! What `inspect` is pointed at: a file, an output by stage and port, a run, or the beginning of a key or digest.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::newest;
use super::producers::Producers;
use crate::diagnostic::nearest;
use crate::exit::Failure;
use crate::record::{self, RunFolder, RunRecord};
use crate::spec::renamed::{Rows, WordKind};
use crate::store::{Entry, FileStamp, LatestResult, Output, Store, digest_of};
use crate::{Catalog, Exit, spec};

/// Digits of a key or digest that are taken for one.
const PREFIX: usize = 4;
/// Size in bytes up to which a file of unknown origin is hashed, only to tell its digest.
const SMALL: u64 = 64 << 20;

pub(crate) enum Target {
    Content(Box<Content>),
    /// A result with several outputs.
    Result(Box<Entry>),
    Run(Box<RunRecord>),
}

impl Target {
    /// What it is, for messages.
    pub fn noun(&self) -> String {
        match self {
            Self::Content(_) => "a file".into(),
            Self::Result(entry) => format!("a result of {} outputs", entry.outputs.len()),
            Self::Run(_) => "a run".into(),
        }
    }

    /// The outputs of a result, as one may ask for them.
    pub fn outputs(&self, name: &str) -> Option<String> {
        let Self::Result(entry) = self else { return None };
        let outputs = entry.outputs.iter().map(|output| format!("{name}.{}", output.port));
        Some(outputs.collect::<Vec<_>>().join(", "))
    }
}

/// One file, and who made it.
pub(crate) struct Content {
    /// As it was asked for.
    pub name: String,
    pub path: PathBuf,
    /// BLAKE3; `None` of a large file that the store cannot have made.
    pub digest: Option<String>,
    /// The store's own record, where the content was asked for as a result.
    pub named: Option<Output>,
    pub origin: Option<(Entry, Output)>,
    /// The `stage.port` of which the file is the readable copy, where it holds something else.
    pub changed_view: Option<String>,
}

pub(crate) fn find(store: &Store, what: &str, experiment: Option<&str>, catalog: &Catalog) -> Result<Target, Failure> {
    let path = Path::new(what);
    if path.is_file() {
        return Ok(Target::Content(Box::new(file(store, path)?)));
    }
    let experiment = match experiment {
        Some(name) => Some(name.to_owned()),
        None => newest::experiment_with(store, what)?,
    };
    let stages = match &experiment {
        Some(name) => store.stages_of(name)?,
        None => Vec::new(),
    };
    // A stage comes first: its name might be all hex digits.
    if let Some((stage, port)) = split(&stages, what) {
        let experiment = experiment.as_deref().unwrap_or_default();
        return output(store, experiment, &stages, stage, port, catalog).map(|found| Target::Content(Box::new(found)));
    }
    if let Some(found) = run(store, what)? {
        return Ok(found);
    }
    if let Some(found) = by_prefix(store, what, catalog)? {
        return Ok(found);
    }
    if path.is_dir() {
        return Err(Failure::usage(anyhow!("`{what}` is a folder\nhelp: give the path of a file in it")));
    }
    if let Some(other) = elsewhere(store, what)? {
        let stages = store.stages_of(&other)?;
        if let Some((stage, port)) = split(&stages, what) {
            // Where the other experiment has the stage without the port, what it has is said.
            output(store, &other, &stages, stage, port, catalog)?;
        }
        return Err(Failure::usage(anyhow!(
            "experiment `{}` has no such output as `{what}`\nhelp: `{other}` has: `--experiment {other}`",
            experiment.unwrap_or_default()
        )));
    }
    Err(Failure::usage(nothing(store, what, experiment.as_deref(), &stages)))
}

/// An experiment with a stage of that name.
fn elsewhere(store: &Store, what: &str) -> anyhow::Result<Option<String>> {
    let has = |latest: &LatestResult| split(std::slice::from_ref(latest), what).is_some();
    let remembered = store.all_latest()?.into_iter().find(|remembered| remembered.latest.as_ref().is_some_and(has));
    Ok(remembered.map(|remembered| remembered.experiment))
}

fn nothing(store: &Store, what: &str, experiment: Option<&str>, stages: &[LatestResult]) -> anyhow::Error {
    let Some(experiment) = experiment else {
        return anyhow!(
            "`{what}` is no file, and `{}` holds no results yet\nhelp: run an experiment, or give its folder with `--artifacts DIR`",
            store.artifacts().display()
        );
    };
    if let Some(stage) = left_out(store, what, experiment) {
        let cells: Vec<&LatestResult> = stages.iter().filter(|latest| newest::is(&latest.stage, &stage)).collect();
        if !cells.is_empty() {
            return anyhow!(
                "`{what}` is no cell of stage `{stage}` of experiment `{experiment}`\nhelp: it has results of {}",
                names(&cells)
            );
        }
        return anyhow!(
            "stage `{stage}` of experiment `{experiment}` has no result yet\n\
             help: `apprentice run EXPERIMENT.yaml {stage}` runs it and what it needs"
        );
    }
    let known = match stages {
        [] => "it has no results here".into(),
        _ => format!("its stages are {}", names(&stages.iter().collect::<Vec<_>>())),
    };
    anyhow!(
        "`{what}` is neither a file nor an output of experiment `{experiment}`, nor a run, nor the beginning of a key or \
         digest\nhelp: {known}"
    )
}

/// The stage that `what` begins with, where the newest run of the experiment has it in its file. What cannot be read tells
/// nothing.
fn left_out(store: &Store, what: &str, experiment: &str) -> Option<String> {
    let runs = record::runs(store).ok()?;
    let newest = runs.iter().rfind(|run| run.experiment == experiment)?;
    let written = RunFolder::of(store, &newest.id).experiment().ok()?;
    let is_meant =
        |name: &str| what.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '@']));
    spec::stages_in(&written).into_iter().map(|(name, _)| name).find(|name| is_meant(name))
}

fn names(results: &[&LatestResult]) -> String {
    results.iter().map(|latest| latest.stage.clone()).collect::<Vec<_>>().join(", ")
}

/// The stage and port in `stage.port` or `stage@cell.port`; `None` where there is no such stage.
fn split<'a>(stages: &[LatestResult], what: &'a str) -> Option<(&'a str, Option<&'a str>)> {
    newest::split(what, &|name| stages.iter().any(|latest| newest::is(&latest.stage, name)))
}

fn output(
    store: &Store,
    experiment: &str,
    stages: &[LatestResult],
    stage: &str,
    port: Option<&str>,
    catalog: &Catalog,
) -> Result<Content, Failure> {
    let matching: Vec<_> = stages.iter().filter(|latest| newest::is(&latest.stage, stage)).collect();
    let [latest] = matching[..] else {
        return Err(Failure::usage(anyhow!("`{stage}` was swept\nhelp: name one of its cells: {}", names(&matching))));
    };
    let entry = store.entry(&latest.key)?.ok_or_else(|| {
        Failure::new(Exit::Damaged, anyhow!("the result of `{}` is lost\nhelp: run the experiment again", latest.stage))
    })?;
    let output = chosen(&entry, port).cloned().ok_or_else(|| say_which(&entry, &latest.stage, port, catalog))?;
    let view = store.view(experiment, &latest.stage, &output);
    // A view that is as it was left holds what it held.
    let as_left = latest.views.get(&output.port).is_some_and(|stamp| {
        stamp.digest == output.digest && FileStamp::of(&view, &output.digest).as_ref() == Some(stamp)
    });
    if as_left {
        return Ok(content(view.display().to_string(), view, entry, output));
    }
    let object = whole(store, &output.digest)?;
    Ok(content(format!("{}.{}", latest.stage, output.port), object, entry, output))
}

fn chosen<'a>(entry: &'a Entry, port: Option<&str>) -> Option<&'a Output> {
    match (port, &entry.outputs[..]) {
        (Some(port), _) => entry.output(port),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

fn say_which(entry: &Entry, name: &str, port: Option<&str>, catalog: &Catalog) -> Failure {
    let words = Rows::of(catalog).about(&entry.material.kind);
    if let Some(row) = port.and_then(|port| words.port(WordKind::Output, port)) {
        let (old, new) = (row.old, row.new);
        return Failure::usage(anyhow!(
            "the output `{old}` of `{name}` has a new name\nhelp: `{old}` is now `{new}`: ask for `{name}.{new}`"
        ));
    }
    let outputs: Vec<&str> = entry.outputs.iter().map(|output| output.port.as_str()).collect();
    let all = format!("its outputs are {}", outputs.join(", "));
    Failure::usage(match port {
        Some(port) => {
            let near = nearest(port, outputs.iter().copied());
            let help = near.map_or(all, |near| format!("did you mean `{name}.{near}`?"));
            anyhow!("`{name}` has no output `{port}`\nhelp: {help}")
        }
        None => anyhow!("say which output of `{name}`, as `{name}.PORT`\nhelp: {all}"),
    })
}

/// The files of a folder, or of a pattern.
pub(super) fn many(what: &str) -> Option<Target> {
    let path = PathBuf::from(what);
    let content =
        |path| Content { name: what.to_owned(), path, digest: None, named: None, origin: None, changed_view: None };
    (path.is_dir() || what.contains(['*', '?', '['])).then(|| Target::Content(Box::new(content(path))))
}

fn content(name: String, path: PathBuf, entry: Entry, output: Output) -> Content {
    Content {
        name,
        path,
        digest: Some(output.digest.clone()),
        named: Some(output.clone()),
        origin: Some((entry, output)),
        changed_view: None,
    }
}

/// An object with its content checked.
pub(super) fn whole(store: &Store, digest: &str) -> Result<PathBuf, Failure> {
    store.check_object(digest)?.map_err(|damage| {
        Failure::new(Exit::Damaged, anyhow!("{damage}\nhelp: run the experiment again to make it anew"))
    })
}

/// The run whose id begins so, or `latest`, `latest~2`.
fn run(store: &Store, what: &str) -> Result<Option<Target>, Failure> {
    // Ids begin with the date: `20250131T…`.
    let is_last = what == "last" || what.starts_with("last~");
    if !is_last && (what.len() < PREFIX || !what.starts_with(|digit: char| digit.is_ascii_digit())) {
        return Ok(None);
    }
    let runs = record::runs(store)?;
    if !is_last && !runs.iter().any(|run| run.id.starts_with(what)) {
        return Ok(None);
    }
    let run = record::find(&runs, what).map_err(Failure::usage)?;
    Ok(Some(Target::Run(Box::new(run.clone()))))
}

/// The result whose key, or the output whose digest, begins so; `KEY.port` for one of several outputs.
fn by_prefix(store: &Store, what: &str, catalog: &Catalog) -> Result<Option<Target>, Failure> {
    let (prefix, port) = what.split_once('.').map_or((what, None), |(prefix, port)| (prefix, Some(port)));
    if prefix.len() < PREFIX || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let prefix = &prefix.to_ascii_lowercase();
    let keys: Vec<String> = store.keys()?.into_iter().filter(|key| key.starts_with(prefix)).collect();
    let digests = match port {
        None => store.objects()?.into_iter().filter(|digest| digest.starts_with(prefix)).collect(),
        Some(_) => Vec::new(),
    };
    match (&keys[..], &digests[..]) {
        ([], []) => Ok(None),
        ([key], []) => {
            let Some(entry) = store.entry(key)? else { return Ok(None) };
            match (chosen(&entry, port), port) {
                (Some(output), _) => of_store(store, what, &entry, output).map(Some),
                (None, None) => Ok(Some(Target::Result(Box::new(entry)))),
                (None, Some(_)) => Err(say_which(&entry, prefix, port, catalog)),
            }
        }
        ([], [digest]) => match Producers::of(store)?.find(digest, None)? {
            Some((entry, output)) => of_store(store, what, &entry, &output).map(Some),
            None => Ok(None),
        },
        _ => {
            let several = keys.len() + digests.len();
            Err(Failure::usage(anyhow!("{several} keys and digests begin with `{prefix}`\nhelp: give more of it")))
        }
    }
}

fn of_store(store: &Store, what: &str, entry: &Entry, output: &Output) -> Result<Target, Failure> {
    let path = whole(store, &output.digest)?;
    Ok(Target::Content(Box::new(content(what.to_owned(), path, entry.clone(), output.clone()))))
}

/// A file by its path. Its bytes are only hashed where the store holds a content of the same size, or where it is small.
fn file(store: &Store, path: &Path) -> Result<Content, Failure> {
    let unreadable = |error| anyhow!("cannot read `{}`: {error}", path.display());
    let bytes = path.metadata().map_err(unreadable)?.len();
    let digest = match bytes <= SMALL || store.holds_size(bytes)? {
        true => Some(digest_of(path).map_err(unreadable)?),
        false => None,
    };
    // Of several results with equal bytes it is the one whose copy the path is.
    let view = view_of(store, path)?;
    let origin = match (&digest, &view) {
        (Some(digest), Some((entry, output, _))) if output.digest == *digest => Some((entry.clone(), output.clone())),
        (Some(digest), _) => Producers::of(store)?.find(digest, None)?,
        (None, _) => None,
    };
    let changed_view = view.filter(|_| origin.is_none()).map(|(_, _, name)| name);
    Ok(Content {
        name: path.display().to_string(),
        path: path.to_path_buf(),
        digest,
        named: None,
        origin,
        changed_view,
    })
}

/// The output of which a path is the readable copy, and its name, `stage.port`.
fn view_of(store: &Store, path: &Path) -> anyhow::Result<Option<(Entry, Output, String)>> {
    let Ok(path) = path.canonicalize() else { return Ok(None) };
    for remembered in store.all_latest()? {
        let Some(latest) = remembered.latest else { continue };
        let Some(entry) = store.entry(&latest.key)? else { continue };
        for output in &entry.outputs {
            let view = store.view(&remembered.experiment, &latest.stage, output);
            if view.canonicalize().is_ok_and(|view| view == path) {
                let name = format!("{}.{}", latest.stage, output.port);
                return Ok(Some((entry.clone(), output.clone(), name)));
            }
        }
    }
    Ok(None)
}
