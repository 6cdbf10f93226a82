//! What may go: everything in the store that [`Roots`] do not keep, what killed processes left behind, and what was damaged
//! and has been made again.
//!
//! This only looks. Whoever means to act on it holds the gc lock alone from before this until the end ([`super::gc_apply()`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::Roots;
use crate::record::RunFolder;
use crate::store::{Entry, FileStamp, Remembered, Store, digest_of, file_name, is_hash, is_held, is_temporary, list};
use crate::{checkpointing, report};

/// What is asked for beyond the usual.
#[derive(Clone, Debug, Default)]
pub(crate) struct GcOptions {
    /// An experiment whose runs, last results and views are to go, too.
    pub forget: Option<String>,
    /// Whether the answers of language models are to go, too.
    pub calls: bool,
}

/// What kind of thing an item is, in the order in which they go: whatever names others goes before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Class {
    Runs,
    Views,
    Results,
    Objects,
    Scratch,
    Temporary,
    Damaged,
    Answers,
}

/// How an item is taken.
#[derive(Clone, Debug)]
pub(super) enum How {
    File,
    /// A file that its writer may still hold.
    Temporary,
    /// A copy for people, which stays when they changed it.
    View(FileStamp),
    /// A folder or lock of a key's work, which stays while the key is locked.
    Scratch(String),
    Run,
}

/// One file or folder that may go.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Item {
    pub class: Class,
    pub path: PathBuf,
    pub bytes: u64,
    pub why: &'static str,
    #[serde(skip)]
    pub(super) how: How,
}

/// What may go, and what stays.
#[derive(Debug, Default, Serialize)]
pub(crate) struct GcPlan {
    /// In the order in which they must go.
    pub items: Vec<Item>,
    pub stays: Retained,
    /// Files that cannot be read, so that what they name is not known; results and objects stay while there are any.
    pub unreadable: Vec<PathBuf>,
}

/// What stays, in numbers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Retained {
    pub runs: usize,
    pub runs_at_work: usize,
    pub results: usize,
    pub objects: usize,
    /// Of the objects.
    pub bytes: u64,
    /// Keys with unfinished work that a run can go on from.
    pub unfinished: usize,
    /// Answers of language models.
    pub answers: usize,
    /// Results that stay only because runs before an experiment's newest asked for them.
    pub results_of_old_runs: usize,
    /// The bytes of objects that only those name.
    pub bytes_of_old_runs: u64,
}

/// Looks through the store.
pub(crate) fn gc_plan(store: &Store, options: &GcOptions) -> anyhow::Result<GcPlan> {
    let mut roots = Roots::of(store, options.forget.as_deref())?;
    let (entries, unreadable) = store.entries()?;
    let (needed, not_needed): (Vec<_>, Vec<_>) =
        unreadable.into_iter().partition(|path| roots.keys.contains(stem(path)));
    roots.unreadable.extend(needed);
    let known = roots.unreadable.is_empty();
    let mut found = GcPlan::default();
    (found.stays.runs, found.stays.runs_at_work) = (roots.runs, roots.alive);
    found.runs(&roots);
    if known {
        found.views(store, &roots.vanished)?;
        found.results(store, &entries, &roots);
        for path in not_needed {
            found.add(Class::Results, path, "cannot be read, and no recorded run requested it", How::File);
        }
    }
    let objects = found.objects(store, &entries, &roots, known)?;
    let is_whole = |entry: &&Entry| entry.outputs.iter().all(|output| objects.contains(&output.digest));
    let finished = entries.iter().filter(is_whole).map(|entry| entry.key.as_str()).collect();
    found.scratch(store, &finished, &roots, known)?;
    found.temporary(store)?;
    found.damaged(store, &entries, &objects)?;
    found.answers(store, options.calls)?;
    found.unreadable = roots.unreadable;
    found.items.sort_by_key(|item| item.class);
    Ok(found)
}

impl GcPlan {
    fn add(&mut self, class: Class, path: PathBuf, why: &'static str, how: How) {
        let bytes = size(&path);
        self.items.push(Item { class, path, bytes, why, how });
    }

    fn runs(&mut self, roots: &Roots) {
        let rest = "left over from an unrecorded run";
        for (folders, why) in [(&roots.forgotten, "of the experiment to forget"), (&roots.remains, rest)] {
            for RunFolder { dir } in folders {
                self.add(Class::Runs, dir.clone(), why, How::Run);
            }
        }
    }

    fn views(&mut self, store: &Store, vanished: &[Remembered]) -> anyhow::Result<()> {
        let why = "of a stage that is gone or forgotten";
        for Remembered { path, experiment, latest } in vanished {
            for (stage, views) in latest.iter().map(|latest| (&latest.stage, &latest.views)) {
                for view in list(&store.artifacts().join(experiment).join(file_name(stage)))? {
                    if report::is_as_written(&view) {
                        let digest = digest_of(&view).with_context(|| format!("read `{}`", view.display()))?;
                        let stamp = FileStamp::of(&view, &digest).map(How::View);
                        stamp.into_iter().for_each(|how| self.add(Class::Views, view.clone(), why, how));
                        continue;
                    }
                    // A file that a person put there, or changed, is theirs.
                    let stamp = views
                        .get(stem(&view))
                        .filter(|stamp| FileStamp::of(&view, &stamp.digest).as_ref() == Some(stamp));
                    if let Some(stamp) = stamp.filter(|stamp| digest_of(&view).is_ok_and(|found| found == stamp.digest))
                    {
                        self.add(Class::Views, view, why, How::View(stamp.clone()));
                    }
                }
            }
            self.add(Class::Views, path.clone(), why, How::File);
        }
        Ok(())
    }

    fn results(&mut self, store: &Store, entries: &[Entry], roots: &Roots) {
        for entry in entries.iter().filter(|entry| !roots.keys.contains(&entry.key)) {
            let why = "no recorded run requested it, and it is no stage's last result";
            self.add(Class::Results, store.entry_path(&entry.key), why, How::File);
        }
    }

    /// Gives the digests of the objects that are there.
    fn objects(
        &mut self,
        store: &Store,
        entries: &[Entry],
        roots: &Roots,
        known: bool,
    ) -> anyhow::Result<BTreeSet<String>> {
        let named = |keys: &BTreeSet<String>| -> BTreeSet<String> {
            let entries = entries.iter().filter(|entry| keys.contains(&entry.key));
            entries.flat_map(|entry| &entry.outputs).map(|output| output.digest.clone()).collect()
        };
        let (stay, current) = (named(&roots.keys), named(&roots.current));
        let has = |keys: &BTreeSet<String>| entries.iter().filter(|entry| keys.contains(&entry.key)).count();
        self.stays.results = if known { has(&roots.keys) } else { entries.len() };
        self.stays.results_of_old_runs = has(&roots.keys.difference(&roots.current).cloned().collect());
        let there: BTreeSet<_> = store.objects()?.into_iter().collect();
        for digest in &there {
            let path = store.object(digest);
            if known && !stay.contains(digest) && !roots.objects.contains(digest) {
                self.add(Class::Objects, path, "no remaining result refers to it", How::File);
                continue;
            }
            let bytes = size(&path);
            self.stays.objects += 1;
            self.stays.bytes += bytes;
            if stay.contains(digest) && !current.contains(digest) {
                self.stays.bytes_of_old_runs += bytes;
            }
        }
        Ok(there)
    }

    fn scratch(&mut self, store: &Store, finished: &BTreeSet<&str>, roots: &Roots, known: bool) -> anyhow::Result<()> {
        for path in list(&store.part("scratch"))? {
            let key = stem(&path).to_owned();
            if !is_hash(&key) || store.is_locked(&key)? {
                continue;
            }
            let why = match path.extension().and_then(|extension| extension.to_str()) {
                Some("out") => "outputs of a stage that did not finish",
                Some("lock") => "the lock of a killed process",
                Some("slurm") if finished.contains(&*key) => "the mark of a job of a stage that is finished",
                Some("slurm") if known && !roots.keys.contains(&key) => {
                    "the mark of a job that no recorded run requested"
                }
                Some(_) => continue,
                None if finished.contains(&*key) => "work of a stage that is finished",
                None if known && !roots.keys.contains(&key) => "unfinished work that no recorded run requested",
                None => {
                    self.stays.unfinished += 1;
                    continue;
                }
            };
            self.add(Class::Scratch, path, why, How::Scratch(key));
        }
        Ok(())
    }

    fn temporary(&mut self, store: &Store) -> anyhow::Result<()> {
        let mut folders = vec![store.part(""), store.part("entries"), store.part("calls")];
        for part in ["last", "runs", "calls"] {
            folders.extend(list(&store.part(part))?.into_iter().filter(|path| path.is_dir()));
        }
        for Remembered { experiment, latest, .. } in store.all_latest()? {
            folders.extend(latest.map(|latest| store.artifacts().join(experiment).join(file_name(&latest.stage))));
        }
        for path in folders.iter().map(|folder| list(folder)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            if is_temporary(&path) && path.is_file() && !is_held(&path)? {
                self.add(Class::Temporary, path, "half written by a killed process", How::Temporary);
            }
        }
        Ok(())
    }

    fn damaged(&mut self, store: &Store, entries: &[Entry], objects: &BTreeSet<String>) -> anyhow::Result<()> {
        let outputs = entries.iter().flat_map(|entry| &entry.outputs);
        let wanted: BTreeSet<_> = outputs.map(|output| output.digest.as_str()).collect();
        for path in list(&store.part("damaged"))? {
            let digest = path.file_name().and_then(|name| name.to_str()?.split_once('-')).unwrap_or_default().0;
            // While the content is wanted and not there again, its damaged copy is the best there is.
            if is_hash(digest) && path.is_file() && (objects.contains(digest) || !wanted.contains(digest)) {
                self.add(Class::Damaged, path, "damaged, and made again or not needed since", How::File);
            }
        }
        Ok(())
    }

    fn answers(&mut self, store: &Store, wanted: bool) -> anyhow::Result<()> {
        let answers = checkpointing::values(&store.part("calls"))?;
        // Units of unfinished work go on exactly only with the answers that they were made with.
        if !wanted || self.stays.unfinished > 0 || self.stays.runs_at_work > 0 {
            self.stays.answers = answers.len();
            return Ok(());
        }
        for path in answers {
            self.add(Class::Answers, path, "removed by --calls", How::File);
        }
        Ok(())
    }

    /// Class and reason → how many, and their bytes.
    pub fn summary(&self) -> BTreeMap<(Class, &'static str), (usize, u64)> {
        let mut sums: BTreeMap<_, (usize, u64)> = BTreeMap::new();
        for item in &self.items {
            let sum = sums.entry((item.class, item.why)).or_default();
            *sum = (sum.0 + 1, sum.1 + item.bytes);
        }
        sums
    }
}

/// The name without its extension.
fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// The bytes of a file, or of all files in a folder. What cannot be looked at counts nothing.
fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => list(path).unwrap_or_default().iter().map(|path| size(path)).sum(),
        Ok(found) => found.len(),
        Err(_) => 0,
    }
}
