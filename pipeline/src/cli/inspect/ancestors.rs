//! Everything that a result was made from.

use std::collections::BTreeSet;

use super::producers::Producers;
use crate::inspect::RelatedFile;
use crate::store::{Entry, Store};

/// The files of the `wanted` kinds that a result was made from, directly or through others, as far as they are whole; the
/// nearest first.
pub(in crate::cli) fn ancestors(
    store: &Store,
    entry: &Entry,
    wanted: fn(kind: &str) -> bool,
) -> anyhow::Result<Vec<RelatedFile>> {
    let mut producers = Producers::of(store)?;
    let mut known = BTreeSet::new();
    let (mut found, mut next) = (Vec::new(), vec![entry.clone()]);
    while !next.is_empty() {
        let mut above = Vec::new();
        for entry in next {
            for (kind, digest) in entry.inputs() {
                if !known.insert(digest.to_owned()) {
                    continue;
                }
                if let Some((producer, _)) = producers.find(digest, Some(&entry.made.experiment))? {
                    above.push(producer);
                }
                if !wanted(kind) {
                    continue;
                }
                if let Ok(path) = store.check_object(digest)? {
                    found.push(RelatedFile { kind: kind.to_owned(), path });
                }
            }
        }
        next = above;
    }
    Ok(found)
}
