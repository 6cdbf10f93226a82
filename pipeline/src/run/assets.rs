//! The assets of an experiment: each found or fetched once in a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;

use crate::asset::{AssetSpec, Resolved, Resolver};
use crate::progress::Progress;
use crate::spec::Node;
use crate::{Cancel, Interrupted};

pub(crate) struct Assets<'a> {
    specs: &'a BTreeMap<String, AssetSpec>,
    resolver: Resolver,
    /// Each under a lock of its own: an asset that is here does not wait for one that is fetched.
    resolved: BTreeMap<&'a str, Mutex<Option<Resolved>>>,
    /// One fetch at a time: two that share one line gain nothing.
    line: Mutex<()>,
}

impl<'a> Assets<'a> {
    pub fn new(specs: &'a BTreeMap<String, AssetSpec>, resolver: Resolver) -> Self {
        let resolved = specs.keys().map(|name| (name.as_str(), Mutex::default())).collect();
        Self { specs, resolver, resolved, line: Mutex::default() }
    }

    /// The assets of a node that are on this machine, by name in the stage's order; `Err` with the name of the first that is
    /// not.
    pub fn known(&self, node: &Node) -> Result<Vec<(String, Resolved)>, String> {
        let one = |name: String| match self.look(&name) {
            Some(found) => Ok((name, found)),
            None => Err(name),
        };
        names(node).into_iter().map(one).collect()
    }

    /// The assets of a node, fetched where they are not here. Stages that need the same one wait for the first of them.
    pub fn fetched(
        &self,
        node: &Node,
        progress: &Progress,
        cancel: &Cancel,
    ) -> anyhow::Result<Vec<(String, Resolved)>> {
        let one = |name: String| {
            let place = self.resolved.get(&*name).zip(self.specs.get(&name));
            let (known, spec) = place.with_context(|| format!("the experiment has no asset `{name}`"))?;
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = &*known {
                return Ok((name, found.clone()));
            }
            if cancel.is_raised() {
                return Err(Interrupted.into());
            }
            let found = match self.resolver.look_for(&name, spec, progress, cancel)? {
                Some(found) => found,
                None => {
                    let _line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
                    let found = self.resolver.fetch(&name, spec, progress, cancel)?;
                    progress.note(&format!("asset {name}"), &found.origin);
                    found
                }
            };
            *known = Some(found.clone());
            Ok((name, found))
        };
        names(node).into_iter().map(one).collect()
    }

    /// Whether an asset still has the content that went into the key.
    pub fn is_unchanged(&self, name: &str, found: &Resolved) -> bool {
        let now = self.specs.get(name).and_then(|spec| self.resolver.known(name, spec));
        now.is_some_and(|now| now.digest == found.digest)
    }

    fn look(&self, name: &str) -> Option<Resolved> {
        let mut known = self.resolved.get(name)?.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = self.resolver.known(name, self.specs.get(name)?);
        }
        known.clone()
    }
}

fn names(node: &Node) -> Vec<String> {
    node.config.assets().into_iter().map(|name| name.0).collect()
}
