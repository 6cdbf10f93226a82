//! The policies that answer, each from its file, and what happens when a file changes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use anyhow::Context as _;

use super::metrics::Metrics;
use crate::recommend::{LoadPolicy, PolicyFacts, ServedPolicy};

/// How often files are looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Digits of a digest that tell two versions apart.
const DIGITS: usize = 12;

/// A policy in memory.
pub(super) struct Loaded {
    pub name: String,
    /// Beginning of the BLAKE3 of its file.
    pub digest: String,
    pub facts: PolicyFacts,
    pub policy: Box<dyn ServedPolicy>,
}

impl Loaded {
    fn read(name: &str, path: &Path, load: LoadPolicy) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read `{}`", path.display()))?;
        let mut digest = blake3::hash(&bytes).to_hex().to_string();
        digest.truncate(DIGITS);
        let policy = load(path)?;
        Ok(Self { name: name.to_owned(), digest, facts: policy.facts(), policy })
    }

    fn described(&self) -> String {
        let PolicyFacts { learner, users, items, .. } = &self.facts;
        format!("{} {} ({learner}, {users} users, {items} items)", self.name, self.digest)
    }
}

/// One file and the policy that was read from it.
struct Slot {
    name: String,
    path: PathBuf,
    now: RwLock<Arc<Loaded>>,
}

/// What a file looks like from outside.
type FileStamp = Option<(u64, u64, i64, i64)>;

impl Slot {
    fn stamp(&self) -> FileStamp {
        let found = fs::metadata(&self.path).ok()?;
        Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    }
}

/// All policies with the shares of the users that they answer.
pub(super) struct Policies {
    slots: Vec<Slot>,
    pub shares: Vec<f64>,
}

impl Policies {
    /// Reads each file.
    ///
    /// # Errors
    /// When one is no policy.
    pub fn load(files: &[(String, PathBuf)], shares: Vec<f64>, load: LoadPolicy) -> anyhow::Result<Self> {
        let slot = |(name, path): &(String, PathBuf)| {
            let loaded = Loaded::read(name, path, load)?;
            Ok(Slot { name: name.clone(), path: path.clone(), now: RwLock::new(Arc::new(loaded)) })
        };
        Ok(Self { slots: files.iter().map(slot).collect::<anyhow::Result<_>>()?, shares })
    }

    /// The policy at a place, as it is now. Who holds it goes on with it, whatever the file becomes.
    pub fn at(&self, place: usize) -> Arc<Loaded> {
        self.slots[place].now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Loaded>> {
        (0..self.slots.len()).map(|place| self.at(place)).collect()
    }

    /// Each in words.
    pub fn described(&self) -> Vec<String> {
        self.all().iter().map(|loaded| loaded.described()).collect()
    }
}

/// Reads each file again after it changed, on a thread of its own, until `stop` is raised.
pub(super) fn watch(
    policies: &Arc<Policies>,
    load: LoadPolicy,
    metrics: &Arc<Metrics>,
    stop: &Arc<AtomicBool>,
    tell: fn(&str),
) -> anyhow::Result<JoinHandle<()>> {
    let (policies, metrics, stop) = (policies.clone(), metrics.clone(), stop.clone());
    let watch = move || {
        let mut known: Vec<FileStamp> = policies.slots.iter().map(Slot::stamp).collect();
        let mut seen = known.clone();
        while !stop.load(Ordering::Relaxed) {
            sleep(EVERY);
            for ((slot, known), seen) in policies.slots.iter().zip(&mut known).zip(&mut seen) {
                let stamp = slot.stamp();
                // A file that is still being written changes between two looks.
                let settled = std::mem::replace(seen, stamp) == stamp;
                if !settled || stamp == *known || stamp.is_none() {
                    continue;
                }
                *known = stamp;
                match Loaded::read(&slot.name, &slot.path, load) {
                    Ok(loaded) => {
                        let before = slot.now.read().unwrap_or_else(PoisonError::into_inner).facts.clone();
                        tell(&format!("read again: {}", loaded.described()));
                        if (before.users, before.items) != (loaded.facts.users, loaded.facts.items) {
                            let PolicyFacts { users, items, .. } = before;
                            tell(&format!(
                                "warning: before it knew {users} users and {items} items: is it of another log?"
                            ));
                        }
                        *slot.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                        metrics.reloaded(true);
                    }
                    Err(error) => {
                        let (path, name) = (slot.path.display(), &slot.name);
                        tell(&format!(
                            "warning: `{path}` changed and cannot be read: {error:#}; {name} answers as before"
                        ));
                        metrics.reloaded(false);
                    }
                }
            }
        }
    };
    Builder::new().name("watch".to_owned()).spawn(watch).context("start the thread that watches the files")
}
