//! One node brought up to date.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use super::{Run, key_lock};
use crate::asset::Resolved;
use crate::checkpointing::ResumePoint;
use crate::event::{Event, Status};
use crate::executor::entry_digest;
use crate::exit::Locked;
use crate::failpoints::reached;
use crate::key::KeyMaterial;
use crate::spec::Edge;
use crate::store::{Damage, DisplacedFile, Entry, KeyLock, Lookup};
use crate::{Interrupted, MissReason, Submitted};

/// The digests that a node reads, of one moment: while it waits for a lock, another node may make one of its inputs again,
/// with other bytes, and what goes into the key must be what the stage reads.
pub(super) struct Contents(BTreeMap<(usize, &'static str), String>);

impl Contents {
    /// The content behind an edge of the node.
    pub fn behind(&self, edge: &Edge) -> String {
        self.0.get(&(edge.node, edge.port)).cloned().unwrap_or_default()
    }
}

impl Run<'_> {
    /// Makes the node a hit, running it where it is none. Its needs are up to date.
    pub(super) fn execute_node(&self, index: usize) -> anyhow::Result<Status> {
        let mut forced = self.options.forced.contains(&index);
        let mut status = Status::Hit;
        // Damage sends us round again: each turn moves at least one damaged object out of the way, so this ends.
        loop {
            let assets =
                self.project.assets.fetched(self.project.node(index), &self.progress(index), &self.options.cancel)?;
            let contents = self.contents(index);
            let material = self.project.material(index, &assets, &|edge| contents.behind(edge));
            let key = material.key();
            let gc_lock = self.project.store.enter()?;
            self.record.keyed(index, &key)?;
            let found = if forced { Lookup::Nothing } else { self.project.store.lookup(&key)? };
            drop(gc_lock);
            let entry = match found {
                Lookup::Entry(entry) if !self.lacks(&entry) => *entry,
                found => {
                    let before = match &found {
                        Lookup::Entry(entry) => Some(entry.clone()),
                        _ => None,
                    };
                    let reason = match forced {
                        true => MissReason::Forced,
                        false if before.is_some() => MissReason::Incomplete,
                        false => self.project.reason(index, &material, &found)?,
                    };
                    if self.remade_inputs(index, &contents)? {
                        continue;
                    }
                    let flight = self.flights.claim(&key, &self.id(index), |maker| {
                        let holder = format!("{maker} in this run");
                        self.tell(&Event::Waiting { stage: self.id(index), holder });
                    });
                    // A worker elsewhere takes the lock itself: so it stays locked if this run is killed.
                    let lock = self.stays(index).then(|| self.lock(index, &key)).transpose()?;
                    match if forced { Lookup::Nothing } else { self.project.store.lookup(&key)? } {
                        // Another run made it while we waited.
                        Lookup::Entry(entry) if before.as_ref().is_none_or(|before| before.made != entry.made) => {
                            *entry
                        }
                        _ => {
                            let not_this = forced || before.is_some();
                            let made = self.make(index, material, &contents, &assets, reason, not_this);
                            status = Status::Ran;
                            let entry = match (made, before) {
                                (Err(error), Some(before))
                                    if !error.is::<Interrupted>() && !error.is::<Submitted>() =>
                                {
                                    self.warn(index, &format!("the earlier, incomplete result is used: {error:#}"));
                                    *before
                                }
                                (made, _) => made?,
                            };
                            forced = false;
                            drop((lock, flight));
                            reached("unlocked", &self.project.store.scratch(&key));
                            entry
                        }
                    }
                }
            };
            if let Some(damage) = self.show(index, &entry)? {
                self.warn(index, &format!("{damage}; it is made again"));
                continue;
            }
            self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(index, entry);
            return Ok(status);
        }
    }

    /// Whether an earlier run left a result of which its stage said that it lacks something.
    fn lacks(&self, entry: &Entry) -> bool {
        entry.made.incomplete && entry.made.run != self.record.id()
    }

    /// Runs the stage and commits its result; `not_this` where the store has one already that does not count.
    fn make(
        &self,
        index: usize,
        material: KeyMaterial,
        contents: &Contents,
        assets: &[(String, Resolved)],
        reason: MissReason,
        not_this: bool,
    ) -> anyhow::Result<Entry> {
        let key = material.key();
        let superseded = if not_this { entry_digest(&self.project.store, &key)? } else { None };
        let before = self.project.store.entry(&key)?;
        let scratch = self.project.store.scratch(&key);
        let (resume, damage) = ResumePoint::with_damage(&scratch)?;
        self.record.missed(index, &reason, self.project.node(index).trained_on());
        let why = reason.to_string();
        self.tell(&Event::StageStarted { stage: self.id(index), key, reason, why, resumed: resume.is_some() });
        if let Some(text) = damage.describe(resume) {
            self.warn(index, &text);
        }
        let entry = self.attempt(index, material, contents, assets, resume.is_some(), superseded)?;
        self.checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(entry.outputs.iter().map(|output| output.digest.clone()));
        let differs = |old: &Entry| {
            old.outputs
                .iter()
                .find(|old| entry.output(&old.port).map(|new| &new.digest) != Some(&old.digest))
                .map(|old| old.port.clone())
        };
        if let Some(port) = before.as_ref().filter(|before| !before.made.incomplete).and_then(differs) {
            self.warn(
                index,
                &format!("{port} has other bytes than before for the same key: the stage is not deterministic"),
            );
        }
        Ok(entry)
    }

    /// Brings the view up to date.
    fn show(&self, index: usize, entry: &Entry) -> anyhow::Result<Option<Damage>> {
        match self.project.store.show(&self.project.experiment.name, &self.id(index), entry)? {
            Ok(kept) => {
                for DisplacedFile { view, aside } in kept {
                    let (view, aside) = (view.display(), aside.display());
                    self.warn(
                        index,
                        &format!(
                            "`{view}` was changed or made by hand; it is restored, and yours is kept as `{aside}`"
                        ),
                    );
                }
                Ok(None)
            }
            Err(damage) => Ok(Some(damage)),
        }
    }

    /// Checks the contents of the inputs; where one is damaged, the stage that made it is visited again. Says whether any was.
    fn remade_inputs(&self, index: usize, contents: &Contents) -> anyhow::Result<bool> {
        let mut remade = false;
        for edge in self.project.node(index).inputs.iter().flat_map(|(_, edges)| edges) {
            let digest = contents.behind(edge);
            if self.checked.lock().unwrap_or_else(PoisonError::into_inner).contains(&digest) {
                continue;
            }
            match self.project.store.check_object(&digest)? {
                Ok(_) => {
                    self.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
                }
                Err(damage) => {
                    self.warn(edge.node, &format!("{damage}; it is made again"));
                    let start = Instant::now();
                    match self.execute_node(edge.node)? {
                        // Somebody else made it. If that was this run, it has said so.
                        Status::Hit => {
                            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                            done.get(&edge.node).into_iter().for_each(|entry| self.record.gives(edge.node, entry));
                        }
                        status => self.tell_end(edge.node, status, start, None),
                    }
                    remade = true;
                }
            }
        }
        Ok(remade)
    }

    /// Takes the lock of a key, waiting for whoever holds it.
    fn lock(&self, index: usize, key: &str) -> anyhow::Result<KeyLock> {
        let ours = || self.record.holder();
        key_lock::locked(&self.project.store, key, &ours, &self.options.cancel, |holder| {
            if self.options.no_wait {
                return Err(Locked { stage: self.id(index), holder }.into());
            }
            self.tell(&Event::Waiting { stage: self.id(index), holder });
            Ok(())
        })
    }

    /// What a node reads; what it needs is up to date.
    fn contents(&self, index: usize) -> Contents {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let content = |edge: &Edge| {
            let output = done.get(&edge.node).and_then(|entry| entry.output(edge.port));
            ((edge.node, edge.port), output.map(|output| output.digest.clone()).unwrap_or_default())
        };
        let edges = self.project.node(index).inputs.iter().flat_map(|(_, edges)| edges);
        Contents(edges.map(content).collect())
    }

    pub(super) fn id(&self, index: usize) -> String {
        self.project.node(index).id.clone()
    }

    pub(super) fn warn(&self, index: usize, text: &str) {
        self.tell(&Event::Warning { stage: self.id(index), text: text.into() });
    }
}
