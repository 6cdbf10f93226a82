//! Which result holds a content.
//!
//! Nearly always it is the last result of some stage, and those few entries are read first; all others only where that is
//! not enough, because a store may hold a hundred thousand.

use crate::store::{Entry, Output, Store};

pub(super) struct Producers<'s> {
    store: &'s Store,
    entries: Vec<Entry>,
    read_all: bool,
}

impl<'s> Producers<'s> {
    pub fn of(store: &'s Store) -> anyhow::Result<Self> {
        let mut entries = Vec::new();
        for latest in store.all_latest()?.into_iter().filter_map(|remembered| remembered.latest) {
            entries.extend(store.entry(&latest.key)?);
        }
        Ok(Self { store, entries, read_all: false })
    }

    /// The result that holds `digest`; of several, one of `experiment` before others.
    pub fn find(&mut self, digest: &str, experiment: Option<&str>) -> anyhow::Result<Option<(Entry, Output)>> {
        if let Some(found) = self.look(digest, experiment) {
            return Ok(Some(found));
        }
        // What is no object of the store has no result either.
        if !self.read_all && self.store.object(digest).exists() {
            (self.entries, _) = self.store.entries()?;
            self.read_all = true;
        }
        Ok(self.look(digest, experiment))
    }

    fn look(&self, digest: &str, experiment: Option<&str>) -> Option<(Entry, Output)> {
        let holds = |entry: &&Entry| entry.outputs.iter().any(|output| output.digest == digest);
        let own = self.entries.iter().filter(holds).find(|entry| Some(&*entry.made.experiment) == experiment);
        let entry = own.or_else(|| self.entries.iter().find(holds))?;
        let output = entry.outputs.iter().find(|output| output.digest == digest)?;
        Some((entry.clone(), output.clone()))
    }
}
