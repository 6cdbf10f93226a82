//! The items of the titles in transcripts.
//!
//! The source's match counts. Where the source has none, or one outside of the catalogue, the title is matched here
//! ([`crate::ground`]). In addition, every title that a model wrote is matched here, to report the agreement with the source.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use pipeline::Context;
use pipeline::checkpointing::ValueStore;
use rayon::prelude::*;

use crate::artifact::{Array, GroundedName, Groundings, Items};
use crate::ground::{Grounder, Grounding, MatchKind, MatchSettings, UnmatchedName};
use crate::ingest::transcripts::transcript::{Transcript, Turn};
use crate::llm::{EmbedderConfig, cached_embeddings};

/// The match of each title of some transcripts.
pub(in crate::ingest) struct TitleMatcher<'a> {
    /// The whole catalogue.
    items: &'a Items,
    grounder: Grounder,
    by_name: BTreeMap<&'a str, Grounding>,
}

impl<'a> TitleMatcher<'a> {
    /// Matches all titles; with an `embedder` those that no title of the catalogue resembles are matched by their vectors.
    pub fn new(
        items: &'a Items,
        settings: &MatchSettings,
        embedder: Option<&EmbedderConfig>,
        transcripts: impl Iterator<Item = &'a Transcript>,
        cx: &Context,
    ) -> Result<Self> {
        let mut grounder = Grounder::new(items, settings.clone());
        let mut by_name = grounder.ground_all(
            transcripts.flat_map(Transcript::recommendations).flat_map(|turn| [turn.said.as_str(), turn.name()]),
        );
        if let Some(embedder) = embedder {
            let unmatched = |(name, found): (&&'a str, &Grounding)| {
                (found.kind == MatchKind::Unmatched && !name.is_empty()).then(|| (*name).to_owned())
            };
            let names: Vec<String> = by_name.iter().filter_map(unmatched).collect();
            let (embedder, values) = (embedder.open(cx)?, ValueStore::open(cx.calls())?);
            let titles = cached_embeddings(&*embedder, &values, &items.display_names()).context("embed the titles")?;
            let vectors = cached_embeddings(&*embedder, &values, &names).context("embed the written titles")?.vectors;
            let width = titles.vectors.first().map_or(0, Vec::len);
            grounder = grounder.with_vectors(&Array::new(&[items.len(), width], titles.vectors.concat()))?;
            let found: Vec<Grounding> = names
                .par_iter()
                .zip(&vectors)
                .map(|(name, vector)| grounder.ground_with(name, vector))
                .collect::<Result<_>>()?;
            for (name, found) in names.iter().zip(found) {
                *by_name.get_mut(name.as_str()).context("a title that was not matched")? = found;
            }
        }
        Ok(Self { items, grounder, by_name })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::transcripts::transcript::Outcome;
    use crate::llm::sentence_encoder::toy;

    #[test]
    fn a_title_that_none_resembles_is_matched_by_its_vector() {
        let folder = tempfile::tempdir().unwrap();
        toy::write_toy(&folder.path().join("model")).unwrap();
        let mut cx = Context::detached(folder.path());
        cx.add_asset("encoder", &folder.path().join("model"));
        let embedder: EmbedderConfig = serde_json::from_str(r#"{"sentence_encoder": {"asset": "encoder"}}"#).unwrap();
        let items = Items {
            id: vec!["5".into(), "6".into()],
            title: vec!["Toy Story".into(), "War".into()],
            year: vec![None; 2],
            genres: vec![vec![]; 2],
            ..Items::default()
        };
        let turn = |said: &str| Turn {
            thought: String::new(),
            said: said.into(),
            title: None,
            raw: None,
            observed: String::new(),
            outcome: Outcome::Leaves,
            line: 1,
        };
        let transcript =
            Transcript { turns: vec![turn("story of a toy"), turn("toy story"), turn("")], ..Transcript::default() };
        let matched = |embedder: Option<&EmbedderConfig>, embedding: f64| {
            let settings = MatchSettings { embedding, ..MatchSettings::default() };
            let matcher = TitleMatcher::new(&items, &settings, embedder, [&transcript].into_iter(), &cx).unwrap();
            transcript
                .turns
                .iter()
                .map(|turn| (matcher.by_name[turn.said.as_str()].kind, matcher.item(turn).ok().flatten()))
                .collect::<Vec<_>>()
        };
        let by_letters = [(MatchKind::Unmatched, None), (MatchKind::Normalised, Some(0)), (MatchKind::Unmatched, None)];
        assert_eq!(matched(None, 0.5), by_letters);
        assert_eq!(matched(Some(&embedder), 1.0), by_letters, "under the threshold");
        let mut by_vectors = by_letters;
        by_vectors[0] = (MatchKind::Embedding, Some(0));
        assert_eq!(matched(Some(&embedder), 0.5), by_vectors);
    }
}
