//! Reads every byte of the store, and of the cache of assets, and says what is not as it was written, and whose it is.
//!
//! Damaged objects are moved aside, so that they are made again; everything else that is damaged is noticed by whoever reads
//! it, and only named here. Runs may be at work meanwhile: what they add or replace is no fault.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rayon::prelude::*;
use serde::Serialize;

use crate::asset::verify_cache;
use crate::checkpointing;
use crate::progress::{Bar, Progress};
use crate::record::folders;
use crate::store::{Entry, Store, list, read_if_there};

/// What was looked at, and what is wrong.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verified {
    pub objects: usize,
    pub results: usize,
    pub answers: usize,
    /// Checkpoints and logs of unfinished work.
    pub units: usize,
    /// What stages spent.
    pub ledgers: usize,
    pub runs: usize,
    /// Of the cache, which other stores share.
    pub assets: usize,
    pub faults: Vec<Fault>,
}

/// One thing that is damaged or lost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fault {
    /// `object`, `entry`, `answer`, `checkpoint`, `log`, `ledger`, `memory`, `run` or `asset`.
    pub what: &'static str,
    pub path: PathBuf,
    /// What is wrong, and what becomes of it.
    pub text: String,
    /// The results that name a damaged object.
    pub named_by: Vec<Named>,
}

/// A result, by where it was first made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Named {
    pub experiment: String,
    pub stage: String,
    pub port: String,
    pub key: String,
}

/// Checks the whole store and the cache, as many files at once as there are threads.
///
/// # Errors
/// When a folder cannot be listed, or something is of a newer program. A file that cannot be read is a fault like others.
pub(crate) fn verify(store: &Store, cache: &Path, progress: &Progress) -> anyhow::Result<Verified> {
    let digests = store.objects()?;
    let mut found = Verified { objects: digests.len(), ..Verified::default() };
    let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
    for (path, read) in store.each_entry()? {
        match read {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {
                unreadable.push(fault("entry", &path, "is damaged; its result is made again when it is needed"))
            }
            Err(error) if is_of_the_disk(&error) => unreadable.push(refused("entry", &path, &error)),
            Err(newer) => return Err(newer),
        }
    }
    found.results = entries.len();
    found.faults = in_parallel(progress, "objects", &digests, |digest| object(store, digest, &entries));
    found.faults.extend(unreadable);
    lost(store, &entries, &mut found.faults)?;

    let answers = checkpointing::values(&store.part("calls"))?;
    found.answers = answers.len();
    found.faults.extend(in_parallel(progress, "answers", &answers, |path| {
        let text = "is damaged; the call is repeated when it is needed";
        match checkpointing::is_whole_value(path) {
            Ok(whole) => whole.filter(|whole| !whole).map(|_| fault("answer", path, text)),
            Err(error) => Some(refused("answer", path, &error)),
        }
    }));

    let work = unfinished(store)?;
    found.units = work.len();
    found.faults.extend(in_parallel(progress, "unfinished work", &work, |path| {
        let what = if path.extension() == Some("checkpoint".as_ref()) { "checkpoint" } else { "log" };
        unit(path).unwrap_or_else(|error| Some(refused(what, path, &error)))
    }));

    let ledgers = ledgers(store)?;
    found.ledgers = ledgers.len();
    found.faults.extend(in_parallel(progress, "ledgers", &ledgers, |path| match read_if_there(path) {
        Ok(bytes) => checkpointing::damaged_record(&bytes.unwrap_or_default()).map(|at| {
            let text = format!("is damaged at byte {at}; its stage makes no call before it is restored or moved away");
            fault("ledger", path, &text)
        }),
        Err(error) => Some(refused("ledger", path, &error)),
    }));

    for remembered in store.all_latest()?.into_iter().filter(|remembered| remembered.latest.is_none()) {
        let text = "is damaged; `plan` cannot say why the stage runs again";
        found.faults.push(fault("memory", &remembered.path, text));
    }
    for folder in folders(store)? {
        match folder.record() {
            Ok(None) => continue,
            Ok(Some(Err(path))) => found.faults.push(fault(
                "run",
                &path,
                "is damaged; `runs` cannot show it, and `runs --prune --keep 1000 --apply` forgets it",
            )),
            Ok(Some(Ok(_))) => {}
            Err(error) => found.faults.push(refused("run", &folder.dir, &error)),
        }
        found.runs += 1;
    }

    let checked = verify_cache(cache, progress)?;
    found.assets = checked.whole + checked.damaged.len();
    for path in checked.damaged {
        found.faults.push(fault("asset", &path, "is damaged; it is fetched again when it is needed"));
    }
    for (path, why) in checked.unknown {
        found.faults.push(fault("asset", &path, &format!("cannot be checked: {why}")));
    }
    Ok(found)
}

/// The faults among `things`, in their order.
fn in_parallel<T: Sync>(
    progress: &Progress,
    label: &str,
    things: &[T],
    check: impl Fn(&T) -> Option<Fault> + Sync,
) -> Vec<Fault> {
    let bar: Bar = progress.bar(label, Some(things.len() as u64), "files");
    let one = |thing| {
        let found = check(thing);
        bar.inc(1);
        found
    };
    things.par_iter().filter_map(one).collect()
}

fn object(store: &Store, digest: &str, entries: &[Entry]) -> Option<Fault> {
    let path = store.object(digest);
    let damage = match store.check_object(digest) {
        Ok(Ok(_)) => return None,
        // Nothing was there to be moved: `gc` took it meanwhile. Whether somebody misses it is looked at later.
        Ok(Err(damage)) if damage.moved.is_none() => return None,
        Ok(Err(damage)) => damage.to_string(),
        Err(error) => format!("the object {digest} is damaged and stays where it is: {error:#}"),
    };
    let named_by = entries.iter().flat_map(|entry| names(entry, digest)).collect();
    Some(Fault { what: "object", path, text: damage, named_by })
}

fn names(entry: &Entry, digest: &str) -> impl Iterator<Item = Named> {
    let made = &entry.made;
    entry.outputs.iter().filter(move |output| output.digest == digest).map(|output| Named {
        experiment: made.experiment.clone(),
        stage: made.stage.clone(),
        port: output.port.clone(),
        key: entry.key.clone(),
    })
}

/// Objects that results name and that are not there, or have another size.
fn lost(store: &Store, entries: &[Entry], faults: &mut Vec<Fault>) -> anyhow::Result<()> {
    let known: BTreeSet<_> = faults.iter().map(|fault| fault.path.clone()).collect();
    let mut lost: BTreeMap<&str, Vec<Named>> = BTreeMap::new();
    for entry in entries {
        for output in &entry.outputs {
            let here = store.object_has_size(&output.digest, output.bytes)?;
            // An entry that has gone with its objects was taken by `gc`; one that was replaced is another.
            if !here
                && !known.contains(&store.object(&output.digest))
                && store.entry(&entry.key)?.as_ref() == Some(entry)
            {
                lost.entry(&output.digest).or_default().extend(names(entry, &output.digest));
            }
        }
    }
    faults.extend(lost.into_iter().map(|(digest, named_by)| Fault {
        what: "object",
        path: store.object(digest),
        text: format!("the object {digest} is lost"),
        named_by,
    }));
    Ok(())
}

/// The files of unfinished work that nobody is at.
fn unfinished(store: &Store) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in list(&store.part("scratch"))?.into_iter().filter(|path| path.is_dir() && path.extension().is_none()) {
        let key = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut folders = if store.is_locked(&key)? { vec![] } else { vec![folder] };
        while let Some(folder) = folders.pop() {
            for path in list(&folder)? {
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
    }
    Ok(files)
}

/// The ledgers of all stages of all experiments.
fn ledgers(store: &Store) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in list(&store.part("spent"))?.into_iter().filter(|path| path.is_dir()) {
        files.extend(list(&folder)?.into_iter().filter(|path| path.is_file()));
    }
    Ok(files)
}

fn unit(path: &Path) -> anyhow::Result<Option<Fault>> {
    match checkpointing::is_whole_checkpoint(path)? {
        Some(true) => return Ok(None),
        Some(false) => {
            let beside = list(path.parent().unwrap_or(path))?;
            let then = match checkpointing::standing(&beside) {
                (Some(_), 0) => "a newer one is intact, and the stage resumes from it",
                (Some(_), _) => "the stage resumes from the one before",
                (None, _) => "none before it is intact, so this work starts anew",
            };
            return Ok(Some(fault("checkpoint", path, &format!("is damaged; {then}"))));
        }
        None => {}
    }
    let bytes = read_if_there(path).with_context(|| format!("check `{}`", path.display()))?.unwrap_or_default();
    Ok(checkpointing::damaged_frame(&bytes)
        .map(|at| fault("log", path, &format!("is damaged at byte {at}; the units from there on are computed again"))))
}

/// What the disk does not give.
fn refused(what: &'static str, path: &Path, error: &anyhow::Error) -> Fault {
    fault(what, path, &format!("cannot be read: {:#}", error.root_cause()))
}

fn is_of_the_disk(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<io::Error>())
}

fn fault(what: &'static str, path: &Path, text: &str) -> Fault {
    Fault { what, path: path.to_path_buf(), text: format!("the {what} `{}` {text}", path.display()), named_by: vec![] }
}
