//! Stages that read each other: in no order of theirs could each run after what it reads.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, VecDeque};

use super::port_references::references;
use super::tree::Entry;
use crate::diagnostic::{Diagnostic, Span};

/// References that are followed in one file, all faults together: more than any experiment has that people wrote.
const MOST_STEPS: usize = 100_000;
/// Longer cycles are shown by their beginning and end.
const MOST_SHOWN: usize = 8;

/// Looks for cycles among the stages of a file.
pub(crate) struct Cycles<'t> {
    written: &'t [Entry],
    /// What each stage reads; made when the first is looked for.
    reads: OnceCell<BTreeMap<&'t str, Vec<&'t str>>>,
    steps: Cell<usize>,
}

impl<'t> Cycles<'t> {
    pub fn of(written: &'t [Entry]) -> Self {
        Self { written, reads: OnceCell::new(), steps: Cell::new(0) }
    }

    /// The fault of `stage`, which reads `next`, where that reads `stage`, be it through others; nothing where it does not.
    pub fn fault(&self, stage: &str, next: &str, span: Span) -> Option<Diagnostic> {
        let way = self.way(next, stage)?;
        let readers = std::iter::once(stage).chain(way.iter().copied());
        let mut links: Vec<_> =
            readers.zip(&way).map(|(reader, read)| format!("`{reader}` reads `{read}`, ")).collect();
        let last = links.pop()?;
        if links.len() >= MOST_SHOWN {
            links.splice(MOST_SHOWN / 2.., ["…, ".to_owned()]);
        }
        let message = format!("{}and {last}so none of them can run first", links.concat());
        Some(Diagnostic::at(span, message).help("no order of these stages helps: let one of them read something else"))
    }

    /// The shortest way from a stage up to another, through what each reads: both of them and those between.
    fn way(&self, from: &str, to: &str) -> Option<Vec<&'t str>> {
        let reads = self.reads.get_or_init(|| self.written.iter().map(|stage| (&*stage.key, reads(stage))).collect());
        let (&from, _) = reads.get_key_value(from)?;
        let mut readers: BTreeMap<&str, Option<&'t str>> = BTreeMap::from([(from, None)]);
        let mut next = VecDeque::from([from]);
        while let Some(reader) = next.pop_front() {
            if reader == to {
                let up = std::iter::successors(Some(reader), |at| readers.get(at).copied().flatten());
                let mut way: Vec<_> = up.collect();
                way.reverse();
                return Some(way);
            }
            for &read in reads.get(reader).into_iter().flatten() {
                self.steps.set(self.steps.get() + 1);
                if self.steps.get() > MOST_STEPS {
                    return None;
                }
                if !readers.contains_key(read) {
                    readers.insert(read, Some(reader));
                    next.push_back(read);
                }
            }
        }
        None
    }
}

/// The stages that a stage names in its inputs.
fn reads(stage: &Entry) -> Vec<&str> {
    let inputs = stage.value.get("inputs").map_or(&[][..], |inputs| inputs.value.entries());
    let texts = inputs.iter().flat_map(|input| references(&input.value)).filter_map(|(_, reference)| reference.text());
    texts.map(|text| text.split_once('.').map_or(text, |(stage, _)| stage)).collect()
}
