//! From text that a model wrote to an item of the catalogue.
//!
//! The first of these that matches counts:
//! 1. the exact title;
//! 2. the normalised title: without case, accents, punctuation, articles and a year in brackets;
//! 3. the most similar title by trigrams, above a threshold;
//! 4. the most similar item by embeddings, above a threshold and where embeddings are given.
//!
//! A policy decides on unmatched titles. Each match states its kind, its similarity and the number of ties; of tied items the one
//! with the lowest number is returned, so that equal texts always match the same item.
//!
//! Not here: the extraction of a title from a longer answer, and the computation of embeddings.

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

/// How a text was matched to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MatchKind {
    /// By the exact title.
    Exact,
    /// By the normalised title.
    Normalised,
    /// As the most similar title by trigrams.
    Trigram,
    /// As the most similar item by embeddings.
    Embedding,
    /// Not matched: no item is similar enough.
    Unmatched,
}

impl MatchKind {
    /// Every kind, in the order of the attempts.
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

/// The match of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grounding {
    /// The kind of the match.
    pub kind: MatchKind,
    /// The matched item, or the most similar one where none matched; `None` where no title shares a trigram with the text.
    pub nearest: Option<u32>,
    /// 1 for equal titles, else the Jaccard coefficient of trigrams, or the cosine of embeddings.
    pub similarity: f64,
    /// Number of items that match equally well, including this one; the lowest number is returned.
    pub ties: usize,
}

/// Matches texts to the items of one catalogue.
pub struct Grounder {
    settings: MatchSettings,
    titles: Vec<String>,
    years: Vec<Option<i32>>,
    /// Items by title, ascending. The maps are never iterated, so that their order has no effect.
    exact: HashMap<String, Vec<u32>, FixedState>,
    /// Positions in `keys` by normalised title.
    normalised: HashMap<String, u32, FixedState>,
    /// The items of each normalised title, ascending; the titles by their first item.
    keys: Vec<Vec<u32>>,
    trigrams: Trigrams,
    vectors: Option<Vectors>,
}

impl Grounder {
    /// For this catalogue. Items without titles are matched by their descriptions ([`Items::called`]), and those without either
    /// by embeddings only.
    #[must_use]
    pub fn new(items: &Items, settings: MatchSettings) -> Self {
        let (mut exact, mut normalised) = (HashMap::<_, Vec<u32>, _>::default(), HashMap::default());
        let (mut keys, mut texts, mut years): (Vec<Vec<u32>>, Vec<String>, _) = (Vec::new(), Vec::new(), Vec::new());
        let titles = items.display_names();
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

    /// The same with embeddings `[items, width]`, for texts that have an embedding.
    ///
    /// # Errors
    /// Where the vectors are not of these items, or one has no direction.
    pub fn with_vectors(self, vectors: &Array) -> Result<Self> {
        let vectors = Some(Vectors::new(vectors, self.titles.len())?);
        Ok(Self { vectors, ..self })
    }

    /// The match of a text, without embeddings.
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

    /// The match of a text that equals a title; `None` where none does.
    #[must_use]
    pub fn exact(&self, text: &str) -> Option<Grounding> {
        // An empty text does not match an item without a title.
        let items = self.exact.get(text).filter(|_| !text.is_empty())?;
        Some(Grounding { kind: MatchKind::Exact, nearest: Some(items[0]), similarity: 1.0, ties: items.len() })
    }

    /// The match of a text with an embedding, which decides where no title matches.
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

    /// The matches of many texts, without embeddings; each distinct text is matched once, in parallel.
    #[must_use]
    pub fn ground_all<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'a str, Grounding> {
        let texts: Vec<&str> = texts.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let found: Vec<Grounding> = texts.par_iter().map(|text| self.ground(text)).collect();
        texts.into_iter().zip(found).collect()
    }

    /// The item of a text, with the policy applied to an unmatched one.
    ///
    /// # Errors
    /// Under [`OnUnmatched::Refuse`], where no item matched.
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

    /// Of the items with one normalised title the one with the nearest year, and the number of ties; without a year, or among
    /// items that have none, the first. A different year never rejects a match: models get years wrong.
    fn by_year(&self, place: u32, year: Option<i32>) -> (u32, usize) {
        let items = &self.keys[place as usize];
        let away =
            |item: u32| year.map(|year| self.years[item as usize].map_or(i32::MAX, |of| of.abs_diff(year) as i32));
        let nearest = items.iter().map(|&item| away(item)).min().flatten();
        let ties: Vec<u32> = items.iter().copied().filter(|&item| away(item) == nearest).collect();
        (ties[0], ties.len())
    }
}

/// A text that matches no item; its message continues "found".
#[derive(Clone, Debug, PartialEq)]
pub struct UnmatchedName {
    text: String,
    nearest: Option<(String, f64)>,
}

impl fmt::Display for UnmatchedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A long answer must not fill the screen.
        let short = |text: &str| text.chars().take(200).collect::<String>();
        write!(f, "the name {:?}", short(&self.text))?;
        match &self.nearest {
            Some((title, similarity)) => {
                write!(f, " (the most similar title, {:?}, has similarity {similarity:.2})", short(title))
            }
            None => write!(f, " (no title shares a trigram with it)"),
        }
    }
}

impl std::error::Error for UnmatchedName {}

#[cfg(test)]
mod tests;
