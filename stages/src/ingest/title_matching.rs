//! The items of the titles in transcripts.
//!
//! The source's match counts. Where the source has none, or one outside of the catalogue, the title is matched here
//! ([`crate::ground`]). In addition, every title that a model wrote is matched here, to report the agreement with the source.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use pipeline::Context;

use super::transcript::{Transcript, Turn};
use crate::artifact::{GroundedName, Groundings, Items};
use crate::ground::{Grounder, Grounding, MatchKind, MatchSettings, UnmatchedName};

/// The match of each title of some transcripts.
pub(super) struct TitleMatcher<'a> {
    /// The whole catalogue.
    items: &'a Items,
    grounder: Grounder,
    by_name: BTreeMap<&'a str, Grounding>,
}

impl<'a> TitleMatcher<'a> {
    pub fn new(items: &'a Items, settings: &MatchSettings, transcripts: impl Iterator<Item = &'a Transcript>) -> Self {
        let grounder = Grounder::new(items, settings.clone());
        let by_name = grounder.ground_all(
            transcripts.flat_map(Transcript::recommendations).flat_map(|turn| [turn.said.as_str(), turn.name()]),
        );
        Self { items, grounder, by_name }
    }

    /// The item of a turn, by its number in the whole catalogue; `None` where it is dropped.
    ///
    /// # Errors
    /// Where its title matches no item, and unmatched titles are refused.
    pub fn item(&self, turn: &Turn) -> Result<Option<u32>, UnmatchedName> {
        self.grounder.resolve(turn.name(), &self.by_name[turn.name()])
    }

    /// The item with exactly this title.
    pub fn exact_title(&self, title: &str) -> Option<u32> {
        self.grounder.exact(title)?.nearest
    }

    /// The match of every title, here and by the source.
    pub fn groundings<'t>(&self, transcripts: impl Iterator<Item = &'t Transcript>) -> Groundings {
        let mut times: BTreeMap<(&str, Option<&str>), u32> = BTreeMap::new();
        for turn in transcripts.flat_map(Transcript::recommendations) {
            *times.entry((&turn.said, turn.title.as_deref())).or_default() += 1;
        }
        let mut rows: Vec<GroundedName> =
            times.into_iter().map(|((said, title), times)| self.row(said, title, times)).collect();
        rows.sort_by_key(|row| Reverse(row.times));
        Groundings(rows)
    }

    fn row(&self, said: &str, recorded: Option<&str>, times: u32) -> GroundedName {
        let Grounding { kind, nearest, similarity, .. } = self.by_name[said];
        let id = |item: u32| self.items.id[item as usize].clone();
        GroundedName {
            said: said.to_owned(),
            times,
            how: kind.name().to_owned(),
            similarity,
            item: nearest.map(id),
            title: nearest.map(|item| self.items.title[item as usize].clone()),
            recorded_item: recorded.and_then(|title| self.exact_title(title)).map(id),
            recorded_title: recorded.map(ToOwned::to_owned),
        }
    }

    /// Notes on the run the kinds of the matches, and the agreement with the source.
    pub fn note_matches(&self, groundings: &Groundings, cx: &Context) {
        let count = |of: &dyn Fn(&&GroundedName) -> bool| -> u64 {
            groundings.0.iter().filter(of).map(|row| u64::from(row.times)).sum()
        };
        let all = count(&|_| true);
        for kind in MatchKind::ALL {
            let found = count(&|row| row.how == kind.name());
            if found == 0 {
                continue;
            }
            let of_these = |agrees: Option<bool>| count(&|row| row.how == kind.name() && row.agrees() == agrees);
            let (yes, no) = (of_these(Some(true)), of_these(Some(false)));
            let what = if kind == MatchKind::Unmatched { "the most similar item is" } else { "matched" };
            let agreement = match yes + no {
                0 => "the source has no match for them".to_owned(),
                recorded => format!("{what} as recorded in {yes} of {recorded}"),
            };
            cx.note(&format!("names, {}", kind.name()), format!("{found} of {all}; {agreement}"));
        }
        let ties = count(&|row| row.how != MatchKind::Unmatched.name() && self.by_name[row.said.as_str()].ties > 1);
        if ties > 0 {
            cx.note("names of several items", format!("{ties}; matched to the first item of the catalogue"));
        }
    }
}
