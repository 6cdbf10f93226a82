//! What the policy knows of a session: the mean of the features of the items in its history.
//!
//! The features are vectors of the items where they are connected (Re2LLM, arXiv 2403.16427, takes frozen BERT embeddings), else genres,
//! years and the other columns of the catalogue; beside them how often an item is in the histories. No target plays a part.

use std::collections::BTreeMap;

use anyhow::Result;

use super::rewards::Session;
use crate::artifact::{ItemVectors, Items};
use crate::ratings::Design;

/// A value of a catalogue's column has a column of its own where at least this many items have it.
const MIN_ITEMS: usize = 3;
/// At most this many columns of each column of the catalogue: those of its most frequent values.
const MAX_VALUES: usize = 16;

/// The features of each item, `[I][D]`.
pub(super) fn item_features(
    items: &Items,
    vectors: Option<&ItemVectors>,
    sessions: &[&Session],
) -> Result<Vec<Vec<f64>>> {
    let mut rows = match vectors {
        Some(vectors) => Design::of_vectors(vectors)?.rows().to_vec(),
        None => {
            let mut rows = Design::of_genres_and_years(items).rows().to_vec();
            for values in items.features.values() {
                for value in frequent(values) {
                    rows.iter_mut().zip(values).for_each(|(row, own)| row.push(f64::from(own == value)));
                }
            }
            rows
        }
    };
    let mut counts = vec![0.0_f64; items.len()];
    sessions.iter().flat_map(|session| &session.history).for_each(|&item| counts[item as usize] += 1.0);
    rows.iter_mut().zip(&counts).for_each(|(row, count)| row.push(count.ln_1p()));
    Ok(rows)
}

/// The values of a column that tell items apart, most frequent first.
fn frequent(values: &[String]) -> Vec<&String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    values.iter().filter(|value| !value.is_empty()).for_each(|value| *counts.entry(value).or_default() += 1);
    let mut counts: Vec<(&String, usize)> =
        counts.into_iter().filter(|&(_, count)| count >= MIN_ITEMS && count < values.len()).collect();
    counts.sort_by_key(|&(value, count)| (std::cmp::Reverse(count), value));
    counts.truncate(MAX_VALUES);
    counts.into_iter().map(|(value, _)| value).collect()
}

/// The mean features of a history; zeros where it is empty.
pub(super) fn state(features: &[Vec<f64>], history: &[u32]) -> Vec<f64> {
    let mut mean = vec![0.0; features.first().map_or(0, Vec::len)];
    for &item in history {
        mean.iter_mut().zip(&features[item as usize]).for_each(|(sum, x)| *sum += x / history.len() as f64);
    }
    mean
}

/// Columns less their mean, over their deviation, by the states of the training sessions. A column that does not vary becomes 0.
pub(super) struct Standardisation {
    means: Vec<f64>,
    scales: Vec<f64>,
}

impl Standardisation {
    pub fn of(states: &[&[f64]]) -> Self {
        let width = states.first().map_or(0, |state| state.len());
        let count = states.len().max(1) as f64;
        let mean = |of: &dyn Fn(&[f64]) -> f64| states.iter().map(|state| of(state)).sum::<f64>() / count;
        let means: Vec<f64> = (0..width).map(|column| mean(&|state| state[column])).collect();
        let scale = |column: usize| {
            let deviation = mean(&|state| (state[column] - means[column]).powi(2)).sqrt();
            if deviation > 1e-9 { 1.0 / deviation } else { 0.0 }
        };
        Self { scales: (0..width).map(scale).collect(), means }
    }

    pub fn apply(&self, state: &[f64]) -> Vec<f64> {
        state.iter().zip(&self.means).zip(&self.scales).map(|((x, mean), scale)| (x - mean) * scale).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;

    fn items() -> Items {
        Items {
            id: (0..6).map(|k| k.to_string()).collect(),
            title: vec![String::new(); 6],
            year: vec![None; 6],
            genres: ["a", "a", "a", "b", "b", "b"].map(|genre| vec![genre.to_owned()]).to_vec(),
            features: [("colour".to_owned(), ["red", "red", "red", "blue", "", ""].map(str::to_owned).to_vec())].into(),
        }
    }

    fn session(history: &[u32]) -> Session {
        Session { session: 0, user: 0, history: history.to_vec(), ranks: vec![], ndcg: vec![] }
    }

    #[test]
    fn a_state_is_the_mean_of_what_the_items_are() {
        let sessions = [session(&[0, 3]), session(&[0])];
        let features = item_features(&items(), None, &sessions.iter().collect::<Vec<_>>()).unwrap();
        // Genres a and b, red, and the logarithm of the count.
        assert_eq!(features[0], [1.0, 0.0, 1.0, 2.0_f64.ln_1p()]);
        assert_eq!(features[3], [0.0, 1.0, 0.0, 1.0_f64.ln_1p()]);
        assert_eq!(state(&features, &[0, 3])[..3], [0.5, 0.5, 0.5]);
        assert_eq!(state(&features, &[]), [0.0; 4]);
        let vectors = ItemVectors {
            vectors: Array::new(&[6, 2], vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, -1.0, 0.0]),
            space: "s".into(),
            columns: vec![],
        };
        let features = item_features(&items(), Some(&vectors), &[]).unwrap();
        assert_eq!(features[0].len(), 3, "two directions and the count");
        assert!((features[0][0] + features[5][0]).abs() < 1e-6 && features[0][0].abs() > 0.5, "{features:?}");
    }

    #[test]
    fn columns_are_standardised_and_a_constant_says_nothing() {
        let states = [vec![1.0, 5.0], vec![3.0, 5.0]];
        let scale = Standardisation::of(&states.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(scale.apply(&[1.0, 5.0]), [-1.0, 0.0]);
        assert_eq!(scale.apply(&[4.0, 9.0]), [2.0, 0.0]);
    }
}
