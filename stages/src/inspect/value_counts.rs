//! Distinct values, and the most frequent ones, of a stream of values in bounded memory.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::escape;

/// Distinct values up to which they are counted exactly.
pub(super) const DISTINCT_UP_TO: usize = 10_000;
/// Most frequent values that are kept for the description.
const TOP: usize = 5;
/// Characters of a text in a description.
const CHARACTERS: usize = 200;
/// Bytes up to which a text is remembered whole.
const REMEMBERED: usize = 1024;

/// How many different values there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Distinct {
    /// Their number, or the bound at which counting stopped.
    pub count: u64,
    /// Whether `count` is their number; otherwise there are more.
    pub exact: bool,
}

/// What a column of texts looks like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextSummary {
    /// First in byte order; long ones end in `…`.
    pub min: Option<String>,
    /// Last in byte order.
    pub max: Option<String>,
    /// The most frequent ones, most frequent first, equal ones in byte order.
    pub top: Vec<Frequent>,
    /// Whether the counts in `top` are exact; otherwise each is at most `top_missed` too low.
    pub top_exact: bool,
    /// See `top_exact`.
    pub top_missed: u64,
}

/// A value and how often it occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frequent {
    /// The value.
    pub value: String,
    /// How often, at least.
    pub count: u64,
}

/// Different values of a column of numbers, by their bits.
#[derive(Default)]
pub(super) struct Bits {
    seen: HashSet<u64>,
    overflowed: bool,
}

impl Bits {
    pub(super) fn push(&mut self, bits: u64) {
        if !self.overflowed && self.seen.insert(bits) && self.seen.len() > DISTINCT_UP_TO {
            self.overflowed = true;
            self.seen = HashSet::new();
        }
    }

    /// Counts no further.
    pub(super) fn stop(&mut self) {
        self.overflowed = true;
    }

    pub(super) fn distinct(&self) -> Distinct {
        let count = if self.overflowed { DISTINCT_UP_TO } else { self.seen.len() };
        Distinct { count: count as u64, exact: !self.overflowed }
    }
}

/// The running state of a column of texts. The counters are those of Misra and Gries (1982): when a value finds none free,
/// every counter loses one, so that each is too low by at most the number of such losses.
#[derive(Default)]
pub(super) struct TextCounter {
    counters: HashMap<String, u64>,
    losses: u64,
    /// Whether only the first and last text are wanted.
    stopped: bool,
    min: Option<String>,
    max: Option<String>,
}

impl TextCounter {
    /// Counts no further.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn push(&mut self, text: &str) {
        if self.min.as_deref().is_none_or(|min| text < min) {
            self.min = Some(text.to_owned());
        }
        if self.max.as_deref().is_none_or(|max| text > max) {
            self.max = Some(text.to_owned());
        }
        if self.stopped {
            return;
        }
        let name = remembered(text);
        if let Some(counter) = self.counters.get_mut(name.as_ref()) {
            *counter += 1;
        } else if self.counters.len() < DISTINCT_UP_TO {
            self.counters.insert(name.into_owned(), 1);
        } else {
            self.losses += 1;
            self.counters.retain(|_, counter| {
                *counter -= 1;
                *counter > 0
            });
        }
    }

    pub(super) fn summary(self) -> (Distinct, TextSummary) {
        let exact = self.losses == 0;
        let count = if exact { self.counters.len() } else { DISTINCT_UP_TO };
        let mut top: Vec<_> = self.counters.into_iter().map(|(value, count)| Frequent { value, count }).collect();
        // The map's order is arbitrary; this one is total, because no two values are equal.
        top.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
        top.truncate(TOP);
        top.iter_mut().for_each(|frequent| frequent.value = escape::cut(&frequent.value, CHARACTERS));
        let cut = |text: Option<String>| text.map(|text| escape::cut(&text, CHARACTERS));
        let summary =
            TextSummary { min: cut(self.min), max: cut(self.max), top, top_exact: exact, top_missed: self.losses };
        (Distinct { count: count as u64, exact }, summary)
    }
}

/// What stands for a text in the counters: itself, or its beginning and a digest, so that no text takes much memory.
fn remembered(text: &str) -> Cow<'_, str> {
    if text.len() <= REMEMBERED {
        return Cow::Borrowed(text);
    }
    let start = escape::cut(text, CHARACTERS);
    Cow::Owned(format!("{start}{}", blake3::hash(text.as_bytes()).to_hex()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> (Distinct, TextSummary) {
        let mut all = TextCounter::default();
        texts.into_iter().for_each(|text| all.push(text.as_ref()));
        all.summary()
    }

    #[test]
    fn the_most_frequent_come_first_and_ties_in_order() {
        let (distinct, summary) = summary(["b", "c", "a", "c", "b"]);
        let top: Vec<_> = summary.top.iter().map(|top| (top.value.as_str(), top.count)).collect();
        assert_eq!(top, [("b", 2), ("c", 2), ("a", 1)]);
        assert_eq!(distinct, Distinct { count: 3, exact: true });
        assert_eq!((summary.min.as_deref(), summary.max.as_deref()), (Some("a"), Some("c")));
    }

    #[test]
    fn beyond_the_bound_the_counts_are_lower_bounds_and_say_so() {
        let unique = (0..30_000).map(|i| format!("{i:05}"));
        let (distinct, summary) = summary(unique.flat_map(|text| [text, "often".to_owned()]));
        assert_eq!(distinct, Distinct { count: 10_000, exact: false });
        let Frequent { value, count } = &summary.top[0];
        assert_eq!(value, "often");
        assert!(!summary.top_exact && *count <= 30_000 && count + summary.top_missed >= 30_000, "{summary:?}");
    }

    #[test]
    fn exactly_the_bound_is_still_exact() {
        assert_eq!(summary((0..10_000).map(|i| i.to_string())).0, Distinct { count: 10_000, exact: true });
        let mut bits = Bits::default();
        (0..10_000).for_each(|value| bits.push(value));
        assert_eq!(bits.distinct(), Distinct { count: 10_000, exact: true });
        bits.push(10_000);
        assert_eq!(bits.distinct(), Distinct { count: 10_000, exact: false });
    }

    #[test]
    fn long_texts_that_begin_alike_are_different() {
        let (a, b) = ("x".repeat(5000) + "a", "x".repeat(5000) + "b");
        let (distinct, summary) = summary([&a, &b, &b]);
        assert_eq!(distinct.count, 2);
        assert_eq!((summary.top[0].count, summary.top[0].value.chars().count()), (2, 201));
    }
}
