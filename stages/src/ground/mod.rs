//! From text that a model wrote to an item of the catalogue.
//!
//! In this order, and the first that finds something counts:
//! 1. the exact title;
//! 2. the normalised title: case, accents, punctuation, articles and a year in brackets set aside;
//! 3. the nearest title by trigrams, where it is near enough;
//! 4. the nearest item by embeddings, where vectors are given and it is near enough.
//!
//! What is under the thresholds is settled by a policy. Each answer says how it was found, how near it is and how many items
//! would do as well; of those the lowest number is taken, so that equal texts always mean the same item.
//!
//! Not here: where a title stands in a longer answer, and where vectors come from.

mod embedding;
mod normalise;
mod settings;
mod trigram;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use anyhow::Result;
use foldhash::fast::FixedState;
use rayon::prelude::*;

use crate::artifact::{Array, Items};
use embedding::Vectors;
use normalise::key;
pub use settings::{MatchSettings, OnUnmatched};
use trigram::Trigrams;

/// How an item was found for a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchKind {
    /// By its title, letter by letter.
    Exact,
    /// By its normalised title.
    Normalised,
    /// As the nearest title by trigrams.
    Trigram,
    /// As the nearest item by embeddings.
    Embedding,
    /// Not at all: nothing is near enough.
    Unmatched,
}

impl MatchKind {
    /// Every way, in the order in which they are tried.
    pub const ALL: [Self; 5] = [Self::Exact, Self::Normalised, Self::Trigram, Self::Embedding, Self::Unmatched];

    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Normalised => "normalised",
            Self::Trigram => "trigram",
            Self::Embedding => "embedding",
            Self::Unmatched => "unmatched",
        }
    }
}

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grounding {
    /// How the item was found.
    pub kind: MatchKind,
    /// The item, or the nearest one where none was found; `None` where nothing has anything in common with the text.
    pub nearest: Option<u32>,
    /// 1 of equal titles, else Jaccard's coefficient of trigrams, or the cosine where the item is the nearest by embeddings.
    pub similarity: f64,
    /// How many items would do as well, this one among them: above 1 the lowest number was taken.
    pub ties: usize,
}

/// Finds the items of one catalogue.
pub struct Grounder {
    settings: MatchSettings,
    titles: Vec<String>,
    years: Vec<Option<i32>>,
    /// Items by title, ascending. Like the others only looked up, so that no order of a map reaches anything.
    exact: HashMap<String, Vec<u32>, FixedState>,
    /// Places in `keys` by normalised title.
    normalised: HashMap<String, u32, FixedState>,
    /// The items of each normalised title, ascending; the titles by their first item.
    keys: Vec<Vec<u32>>,
    trigrams: Trigrams,
    vectors: Option<Vectors>,
}

impl Grounder {
    /// For this catalogue. Items without titles are found by their descriptions ([`Items::called`]), and those without either
    /// by embeddings only.
    #[must_use]
    pub fn new(items: &Items, settings: MatchSettings) -> Self {
        let (mut exact, mut normalised) = (HashMap::<_, Vec<u32>, _>::default(), HashMap::default());
        let (mut keys, mut texts, mut years): (Vec<Vec<u32>>, Vec<String>, _) = (Vec::new(), Vec::new(), Vec::new());
        let titles = items.called();
        for (item, title) in (0..).zip(&titles) {
            exact.entry(title.clone()).or_default().push(item);
            let key = key(title);
            years.push(items.year[item as usize].or(key.year));
            if key.text.is_empty() {
                continue;
            }
            let place = *normalised.entry(key.text.clone()).or_insert(keys.len() as u32);
            if place as usize == keys.len() {
                keys.push(Vec::new());
                texts.push(key.text);
            }
            keys[place as usize].push(item);
        }
        let trigrams = Trigrams::new(texts.iter().map(String::as_str));
        Self { settings, titles, years, exact, normalised, keys, trigrams, vectors: None }
    }

    /// The same with `vectors [items, width]`, for texts that come with a vector of their own.
    ///
    /// # Errors
    /// Where the vectors are not of these items, or one has no direction.
    pub fn with_vectors(self, vectors: &Array) -> Result<Self> {
        let vectors = Some(Vectors::new(vectors, self.titles.len())?);
        Ok(Self { vectors, ..self })
    }

    /// What a text means, without embeddings.
    #[must_use]
    pub fn ground(&self, text: &str) -> Grounding {
        if let Some(exact) = self.exact(text) {
            return exact;
        }
        let key = key(text);
        if let Some(&place) = self.normalised.get(&key.text) {
            let (item, ties) = self.by_year(place, key.year);
            return Grounding { kind: MatchKind::Normalised, nearest: Some(item), similarity: 1.0, ties };
        }
        let Some(near) = self.trigrams.nearest(&key.text) else {
            return Grounding { kind: MatchKind::Unmatched, nearest: None, similarity: 0.0, ties: 0 };
        };
        let (item, ties) = self.by_year(near.text, key.year);
        let similarity = near.similarity();
        let kind = if similarity >= self.settings.trigram { MatchKind::Trigram } else { MatchKind::Unmatched };
        Grounding { kind, nearest: Some(item), similarity, ties: ties + near.ties - 1 }
    }

    /// What a text means that is a title letter by letter; `None` where it is none.
    #[must_use]
    pub fn exact(&self, text: &str) -> Option<Grounding> {
        // What says nothing is not the item that has no title.
        let items = self.exact.get(text).filter(|_| !text.is_empty())?;
        Some(Grounding { kind: MatchKind::Exact, nearest: Some(items[0]), similarity: 1.0, ties: items.len() })
    }

    /// What a text with this vector means. Where the titles say nothing, the vectors do.
    ///
    /// # Errors
    /// Where the vector does not fit those of the items.
    pub fn ground_with(&self, text: &str, vector: &[f32]) -> Result<Grounding> {
        let by_title = self.ground(text);
        let (MatchKind::Unmatched, Some(vectors)) = (by_title.kind, &self.vectors) else { return Ok(by_title) };
        let Some(near) = vectors.nearest(vector)? else { return Ok(by_title) };
        let kind = if near.similarity >= self.settings.embedding { MatchKind::Embedding } else { MatchKind::Unmatched };
        Ok(Grounding { kind, nearest: Some(near.item), similarity: near.similarity, ties: near.ties })
    }

    /// What each of many texts means, without embeddings; each different text is looked for once, in parallel.
    #[must_use]
    pub fn ground_all<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, Grounding> {
        let texts: Vec<&str> = texts.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let found: Vec<Grounding> = texts.par_iter().map(|text| self.ground(text)).collect();
        texts.into_iter().zip(found).collect()
    }

    /// The item that a text stands for, with the policy applied to what is near enough to nothing.
    ///
    /// # Errors
    /// Under [`OnUnmatched::Refuse`], where no item was found.
    pub fn resolve(&self, text: &str, grounding: &Grounding) -> Result<Option<u32>, UnmatchedName> {
        match (grounding.kind, self.settings.on_unmatched) {
            (MatchKind::Unmatched, OnUnmatched::Drop) => Ok(None),
            (MatchKind::Unmatched, OnUnmatched::Refuse) => Err(UnmatchedName {
                text: text.to_owned(),
                nearest: grounding.nearest.map(|item| (self.titles[item as usize].clone(), grounding.similarity)),
            }),
            _ => Ok(grounding.nearest),
        }
    }

    /// Of the items of one normalised title the one of the nearest year, and how many are as near; without a year, or of
    /// items that have none, the first. A year alone parts no title: models get years wrong.
    fn by_year(&self, place: u32, year: Option<i32>) -> (u32, usize) {
        let items = &self.keys[place as usize];
        let away =
            |item: u32| year.map(|year| self.years[item as usize].map_or(i32::MAX, |of| of.abs_diff(year) as i32));
        let nearest = items.iter().map(|&item| away(item)).min().flatten();
        let ties: Vec<u32> = items.iter().copied().filter(|&item| away(item) == nearest).collect();
        (ties[0], ties.len())
    }
}

/// A text that means no item; it reads on after "found".
#[derive(Clone, Debug, PartialEq)]
pub struct UnmatchedName {
    text: String,
    nearest: Option<(String, f64)>,
}

impl fmt::Display for UnmatchedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One long answer must not fill the screen.
        let short = |text: &str| text.chars().take(200).collect::<String>();
        write!(f, "the name {:?}", short(&self.text))?;
        match &self.nearest {
            Some((title, similarity)) => write!(f, " (the nearest title, {:?}, is at {similarity:.2})", short(title)),
            None => write!(f, " (like no title at all)"),
        }
    }
}

impl std::error::Error for UnmatchedName {}

#[cfg(test)]
mod tests;
