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
    resolved: Mutex<BTreeMap<String, Resolved>>,
}

impl<'a> Assets<'a> {
    pub fn new(specs: &'a BTreeMap<String, AssetSpec>, resolver: Resolver) -> Self {
        Self { specs, resolver, resolved: Mutex::default() }
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

    /// The assets of a node, fetched where they are not here. One fetch at a time: two that share one line gain nothing.
    pub fn fetched(
        &self,
        node: &Node,
        progress: &Progress,
        cancel: &Cancel,
    ) -> anyhow::Result<Vec<(String, Resolved)>> {
        let one = |name: String| {
            if let Some(found) = self.look(&name) {
                return Ok((name, found));
            }
            let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            if cancel.is_raised() {
                return Err(Interrupted.into());
            }
            if let Some(found) = resolved.get(&name) {
                return Ok((name, found.clone()));
            }
            let spec = self.specs.get(&name).with_context(|| format!("the experiment has no asset `{name}`"))?;
            let found = self.resolver.fetch(&name, spec, progress, cancel)?;
            progress.note(&format!("asset {name}"), &found.origin);
            resolved.insert(name.clone(), found.clone());
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
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = resolved.get(name) {
            return Some(found.clone());
        }
        let found = self.resolver.known(name, self.specs.get(name)?)?;
        resolved.insert(name.into(), found.clone());
        Some(found)
    }
}

fn names(node: &Node) -> Vec<String> {
    node.config.assets().into_iter().map(|name| name.0).collect()
}
