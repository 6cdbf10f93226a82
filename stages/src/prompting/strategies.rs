//! How a user's log is told: the strategies of temporal prompting.
//!
//! After Tempura (arXiv 2405.02778), of which only third parties' notes could be read: `proximal` are its proximal in-context examples
//! (the latest steps, each as an answered question), `global` its examples from the whole history, `clusters` its temporal
//! clusters, here found without a model: a phase ends where an item's genres resemble those of the phase too little. What a
//! strategy is worth is told by the same items in a shuffled order, and by `item_only`, which says nothing of the user.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Prompt;
use super::log_row::LogRow;
use crate::artifact::Items;
use crate::nn::rng;

const ORDER: u64 = 0x05d3;
/// Genres that are told of a phase, at most.
const MAX_GENRES: usize = 2;

/// How a user's log is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The best rated items, best first, whenever they were rated.
    TopRated,
    /// The latest items, oldest first.
    Recent,
    /// The latest items, and the last steps of them as answered questions: this history, then this item, then that one.
    Proximal,
    /// The latest items, behind examples from the whole log: these items, then that one.
    Global,
    /// The latest items in phases of similar genres, with the genres of each phase.
    Clusters,
    /// Nothing: the control that shows what the model says without knowing the user.
    ItemOnly,
}

impl Strategy {
    /// The name in settings and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TopRated => "top_rated",
            Self::Recent => "recent",
            Self::Proximal => "proximal",
            Self::Global => "global",
            Self::Clusters => "clusters",
            Self::ItemOnly => "item_only",
        }
    }

    /// Whether another order of the log gives another prompt.
    #[must_use]
    pub fn tells_an_order(self) -> bool {
        !matches!(self, Self::TopRated | Self::ItemOnly)
    }
}

/// The order in which a log is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistoryOrder {
    /// As it happened.
    #[default]
    Chronological,
    /// The same items in a random order: the control of every strategy that tells an order.
    Shuffled,
}

impl HistoryOrder {
    /// The name in settings and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chronological => "chronological",
            Self::Shuffled => "shuffled",
        }
    }
}

/// How much of a log the strategies tell, and in which order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogHistory {
    /// Number of latest items that are told, at least 1.
    pub length: usize,
    /// Number of examples of `proximal` and `global`, at least 1.
    pub n_examples: usize,
    /// Number of items before the item of an example of `global`, at least 1.
    pub example_length: usize,
    /// τ of `clusters`, 0 to 1: a phase ends at an item whose genres have a cosine below τ with the sum of the phase's. Items without
    /// genres end none.
    pub min_similarity: f64,
    /// The order in which the log is told. `shuffled` is the control.
    pub order: HistoryOrder,
}

impl Default for LogHistory {
    fn default() -> Self {
        Self { length: 10, n_examples: 3, example_length: 3, min_similarity: 0.5, order: HistoryOrder::Chronological }
    }
}

impl LogHistory {
    /// Ranges that no type expresses: the path of the first invalid setting and a message.
    ///
    /// # Errors
    /// Where one is out of its range.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        for (path, value) in
            [("length", self.length), ("n_examples", self.n_examples), ("example_length", self.example_length)]
        {
            if value == 0 {
                return wrong(path, "at least 1; leave the strategies out that need none");
            }
        }
        if !(0.0..=1.0).contains(&self.min_similarity) {
            return wrong("min_similarity", "a cosine of counts lies between 0 and 1");
        }
        Ok(())
    }
}

/// The `count` best rated items; ties by the latest time, then the lowest number.
pub(crate) fn top_rated(rows: &[LogRow], count: usize) -> Vec<u32> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| {
        let rest = |row: &LogRow| (Reverse(row.timestamp), row.item);
        b.rating.total_cmp(&a.rating).then_with(|| rest(a).cmp(&rest(b)))
    });
    let mut items: Vec<u32> = Vec::new();
    for row in rows {
        // A log may hold a pair twice.
        if items.len() < count && !items.contains(&row.item) {
            items.push(row.item);
        }
    }
    items
}

/// Tells the logs of users.
pub(crate) struct Teller<'a> {
    pub prompt: &'a Prompt,
    pub items: &'a Items,
    pub settings: &'a LogHistory,
    /// Number of items that `top_rated` tells.
    pub n_top_rated: usize,
    /// Seed of the shuffled order.
    pub seed: u64,
}

impl Teller<'_> {
    /// Whether these strategies can tell this catalogue.
    ///
    /// # Errors
    /// When `clusters` finds no genres.
    pub fn check(&self, strategies: &[Strategy]) -> Result<()> {
        ensure!(
            !strategies.contains(&Strategy::Clusters) || self.items.genres.iter().any(|genres| !genres.is_empty()),
            "the strategy `clusters` divides a history by genres, and no item at `items` has any\nhelp: give the ingest stage the \
             column of the genres, or leave `clusters` out of `strategies`"
        );
        Ok(())
    }

    /// The beginning of a prompt: the instructions, `examples`, and what `strategy` tells of the log of `user`, oldest first.
    pub fn prefix(
        &self,
        strategy: Strategy,
        user: u32,
        rows: &[LogRow],
        order: HistoryOrder,
        examples: &[String],
    ) -> Result<Vec<String>> {
        let opening = std::iter::once(self.prompt.preamble.clone()).chain(examples.iter().cloned());
        Ok(opening.chain(self.lines(strategy, user, rows, order)?).collect())
    }

    fn lines(&self, strategy: Strategy, user: u32, rows: &[LogRow], order: HistoryOrder) -> Result<Vec<String>> {
        let LogHistory { length, n_examples, example_length, .. } = *self.settings;
        let latest = |count: usize| self.ordered(user, &rows[rows.len().saturating_sub(count)..], order);
        let history =
            |items: &[u32]| if items.is_empty() { Ok(vec![]) } else { Ok(vec![self.prompt.history_line(items)?]) };
        match strategy {
            Strategy::ItemOnly => Ok(vec![]),
            Strategy::TopRated => Ok(self.prompt.prefix(&top_rated(rows, self.n_top_rated))?.split_off(1)),
            Strategy::Recent => history(&latest(length)),
            Strategy::Proximal => {
                let items = latest(length);
                // At least one item is told before the first step.
                let (before, steps) = items.split_at(items.len().saturating_sub(n_examples).max(1).min(items.len()));
                let mut lines = history(before)?;
                for &step in steps {
                    lines.push(self.prompt.step_line(step)?);
                }
                Ok(lines)
            }
            Strategy::Global => {
                let end = rows.len().saturating_sub(length);
                let examples = spread(end, n_examples).into_iter().filter(|&place| place > 0);
                let examples: Vec<(Vec<usize>, usize)> =
                    examples.map(|place| ((place.saturating_sub(example_length)..place).collect(), place)).collect();
                // What is told, each place once: a shuffled order tells the same items.
                let examples_places = examples.iter().flat_map(|(before, place)| before.iter().chain([place]));
                let places: BTreeSet<usize> = examples_places.copied().chain(end..rows.len()).collect();
                let told: Vec<LogRow> = places.iter().map(|&place| rows[place]).collect();
                let items: BTreeMap<usize, u32> = places.into_iter().zip(self.ordered(user, &told, order)).collect();
                let mut lines = Vec::new();
                for (before, place) in examples {
                    let before: Vec<u32> = before.iter().map(|place| items[place]).collect();
                    lines.extend([self.prompt.history_line(&before)?, self.prompt.step_line(items[&place])?]);
                }
                lines.extend(history(&(end..rows.len()).map(|place| items[&place]).collect::<Vec<_>>())?);
                Ok(lines)
            }
            Strategy::Clusters => {
                let items = latest(length);
                if items.is_empty() { Ok(vec![]) } else { Ok(vec![self.prompt.phases_line(&self.phases(&items))?]) }
            }
        }
    }

    /// The items of `rows` in that order.
    pub(super) fn ordered(&self, user: u32, rows: &[LogRow], order: HistoryOrder) -> Vec<u32> {
        let mut items: Vec<u32> = rows.iter().map(|row| row.item).collect();
        if order == HistoryOrder::Shuffled {
            items.shuffle(&mut rng(&[self.seed, ORDER, user.into(), rows.len() as u64]));
        }
        items
    }

    /// Runs of items with similar genres, and the most frequent genres of each.
    fn phases(&self, items: &[u32]) -> Vec<(Vec<u32>, Vec<String>)> {
        let mut phases: Vec<(Vec<u32>, BTreeMap<&str, usize>)> = Vec::new();
        for &item in items {
            let genres = &self.items.genres[item as usize];
            let joins = phases.last().is_some_and(|(_, counts)| {
                genres.is_empty() || counts.is_empty() || cosine(genres, counts) >= self.settings.min_similarity
            });
            if !joins {
                phases.push(Default::default());
            }
            let (members, counts) = phases.last_mut().expect("one was just opened");
            members.push(item);
            genres.iter().for_each(|genre| *counts.entry(genre.as_str()).or_default() += 1);
        }
        let told = |(members, counts): (Vec<u32>, BTreeMap<&str, usize>)| {
            let mut genres: Vec<(&str, usize)> = counts.into_iter().collect();
            // Stable: equals in alphabetical order.
            genres.sort_by_key(|&(_, count)| Reverse(count));
            (members, genres.into_iter().take(MAX_GENRES).map(|(genre, _)| genre.to_owned()).collect())
        };
        phases.into_iter().map(told).collect()
    }
}

/// `count` places spread evenly over the first `available`, none twice.
fn spread(available: usize, count: usize) -> Vec<usize> {
    let count = count.min(available);
    (0..count).map(|k| (2 * k + 1) * available / (2 * count)).collect()
}

/// The cosine of an item's genres, each once, and the counts of a phase.
fn cosine(genres: &[String], counts: &BTreeMap<&str, usize>) -> f64 {
    let dot: usize = genres.iter().map(|genre| counts.get(genre.as_str()).copied().unwrap_or(0)).sum();
    let norm: f64 = counts.values().map(|&count| (count * count) as f64).sum::<f64>() * genres.len() as f64;
    dot as f64 / norm.sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::Prompts;
    use super::*;
    use crate::artifact::Interactions;

    const ALL: [Strategy; 6] = [
        Strategy::TopRated,
        Strategy::Recent,
        Strategy::Proximal,
        Strategy::Global,
        Strategy::Clusters,
        Strategy::ItemOnly,
    ];

    fn catalogue() -> Items {
        let kinds = [["War"], ["War"], ["Love"], ["Love"], ["War"], ["Love"], ["War"], ["Love"]];
        Items {
            id: (0..8).map(|item| item.to_string()).collect(),
            title: ["Ao", "Bo", "Co", "Do", "Eo", "Fo", "Go", "Ho"].map(String::from).to_vec(),
            year: vec![None; 8],
            genres: kinds.iter().map(|kind| kind.iter().map(|&genre| genre.to_owned()).collect()).collect(),
            ..Items::default()
        }
    }

    fn rows(items: &[u32]) -> Vec<LogRow> {
        let row = |(time, &item): (usize, &u32)| LogRow { item, rating: item as f32, timestamp: time as i64 };
        items.iter().enumerate().map(row).collect()
    }

    fn told(strategy: Strategy, items: &[u32], order: HistoryOrder) -> String {
        let catalogue = catalogue();
        let train = Interactions { user: vec![0], item: vec![0], rating: vec![5.0], timestamp: vec![0] };
        let prompt = Prompt::new("movie", Some("Go."), &Prompts::default(), 7, &catalogue, &train).unwrap();
        let settings = LogHistory { length: 4, n_examples: 2, example_length: 2, ..LogHistory::default() };
        let teller = Teller { prompt: &prompt, items: &catalogue, settings: &settings, n_top_rated: 2, seed: 3 };
        teller.check(&ALL).unwrap();
        teller.prefix(strategy, 0, &rows(items), order, &["Example.\n".to_owned()]).unwrap().concat()
    }

    #[test]
    fn each_strategy_in_full() {
        let of = |strategy| told(strategy, &[0, 1, 2, 3, 4, 5, 6, 7], HistoryOrder::Chronological);
        let begins = "Go.\nExample.\n";
        assert_eq!(of(Strategy::ItemOnly), begins);
        assert_eq!(of(Strategy::TopRated), format!("{begins}The user's favourites: Ho; Go.\n"));
        assert_eq!(of(Strategy::Recent), format!("{begins}The user's history, oldest first: Eo; Fo; Go; Ho.\n"));
        let steps = "Recommended movie: Go.\nRecommended movie: Ho.\n";
        assert_eq!(of(Strategy::Proximal), format!("{begins}The user's history, oldest first: Eo; Fo.\n{steps}"));
        assert_eq!(
            of(Strategy::Global),
            format!(
                "{begins}The user's history, oldest first: Ao.\nRecommended movie: Bo.\n\
                 The user's history, oldest first: Bo; Co.\nRecommended movie: Do.\n\
                 The user's history, oldest first: Eo; Fo; Go; Ho.\n"
            )
        );
        assert_eq!(
            of(Strategy::Clusters),
            format!(
                "{begins}The user's history in phases, oldest first: Eo (War); then Fo (Love); then Go (War); then Ho (Love).\n"
            )
        );
        let phases = told(Strategy::Clusters, &[2, 0, 1, 3], HistoryOrder::Chronological);
        assert!(phases.ends_with("first: Co (Love); then Ao; Bo (War); then Do (Love).\n"), "{phases}");
    }

    #[test]
    fn a_short_history_is_told_as_far_as_it_goes() {
        for strategy in ALL {
            assert_eq!(told(strategy, &[], HistoryOrder::Chronological), "Go.\nExample.\n", "{strategy:?}");
        }
        let one = |strategy| told(strategy, &[2], HistoryOrder::Chronological);
        for strategy in [Strategy::Recent, Strategy::Proximal, Strategy::Global] {
            assert_eq!(one(strategy), "Go.\nExample.\nThe user's history, oldest first: Co.\n", "{strategy:?}");
        }
    }

    #[test]
    fn a_shuffled_history_tells_the_same_items_in_another_order() {
        let items = [0, 1, 2, 3, 4, 5, 6, 7];
        for strategy in ALL {
            let [true_order, shuffled] =
                [HistoryOrder::Chronological, HistoryOrder::Shuffled].map(|order| told(strategy, &items, order));
            assert_eq!(true_order != shuffled, strategy.tells_an_order(), "{strategy:?}");
            assert_eq!(shuffled, told(strategy, &items, HistoryOrder::Shuffled), "{strategy:?}");
            // An item may stand in an example and in what comes before another.
            let once = |names: &str| names.split(' ').map(String::from).collect::<BTreeSet<_>>();
            let letters = |text: &str| {
                let mut names: Vec<&str> =
                    text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() == 2).collect();
                names.sort_unstable();
                names.join(" ")
            };
            if strategy.tells_an_order() {
                let names = |text: &str| letters(text.split_once("first:").unwrap().1);
                assert_eq!(once(&names(&true_order)), once(&names(&shuffled)), "{strategy:?}");
            }
        }
    }

    #[test]
    fn favourites_are_rated_best_and_latest() {
        let row = |item, rating, timestamp| LogRow { item, rating, timestamp };
        let rows = [row(1, 3.0, 1), row(5, 5.0, 2), row(9, 5.0, 3), row(9, 5.0, 4), row(2, 5.0, 3)];
        assert_eq!(top_rated(&rows, 3), [9, 2, 5]);
        assert_eq!(top_rated(&rows, 0), Vec::<u32>::new());
    }

    #[test]
    fn clusters_need_genres_and_settings_have_ranges() {
        let mut bare = catalogue();
        bare.genres = vec![vec![]; 8];
        let train = Interactions { user: vec![0], item: vec![0], rating: vec![5.0], timestamp: vec![0] };
        let prompt = Prompt::new("movie", None, &Prompts::default(), 7, &bare, &train).unwrap();
        let settings = LogHistory::default();
        let teller = Teller { prompt: &prompt, items: &bare, settings: &settings, n_top_rated: 2, seed: 0 };
        assert!(teller.check(&[Strategy::Recent]).is_ok());
        assert!(teller.check(&[Strategy::Clusters]).unwrap_err().to_string().contains("\nhelp: "));
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(LogHistory { length: 0, ..settings.clone() }.check().unwrap_err().0, "length");
        assert_eq!(LogHistory { min_similarity: 1.5, ..settings }.check().unwrap_err().0, "min_similarity");
    }
}
