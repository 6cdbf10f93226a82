//! How far titles are from each other: character trigrams, weighted by TF-IDF, compared by their cosine.
//!
//! What needs no model and no network. Left out: meaning; two titles without a common trigram are at 1, whatever they say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use crate::artifact::{SetDistances, SetMeasure};

/// The trigrams of each title, numbered in their alphabetical order.
pub(super) fn trigram_distances(titles: &[String]) -> Result<SetDistances> {
    let counts: Vec<BTreeMap<String, u32>> = titles.iter().map(|title| trigrams(title)).collect();
    ensure!(
        counts.iter().any(|count| !count.is_empty()),
        "`simulator.distance` is `text`, but no item has a title\nhelp: name the catalogue's column of titles where the log is \
         read, or take `rating_columns` or `genres`"
    );
    let names: BTreeSet<&String> = counts.iter().flat_map(BTreeMap::keys).collect();
    let number: BTreeMap<&String, u32> = names.into_iter().zip(0..).collect();
    let set = |count: &BTreeMap<String, u32>| count.iter().map(|(trigram, &n)| (number[trigram], n)).collect();
    Ok(SetDistances::new(SetMeasure::Cosine, &counts.iter().map(set).collect::<Vec<_>>()))
}

/// How often each three characters in a row stand in the title: in lower case, words apart by one blank and one around.
fn trigrams(title: &str) -> BTreeMap<String, u32> {
    let lower = title.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut counts = BTreeMap::new();
    if words.is_empty() {
        return counts;
    }
    let characters: Vec<char> = format!(" {} ", words.join(" ")).chars().collect();
    for three in characters.windows(3) {
        *counts.entry(three.iter().collect()).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_apart_as_computed_by_hand() {
        let titles = ["Ab", "ab!", "abc", "xyz", ""].map(str::to_owned);
        let distances = trigram_distances(&titles).unwrap();
        // " ab" is in three of five titles, "ab " in two, "abc" and "bc " in one.
        let idf = |df: f64| (6.0 / (1.0 + df)).ln() + 1.0;
        let (common, end, own) = (idf(3.0), idf(2.0), idf(1.0));
        let cosine =
            common * common / ((common * common + end * end).sqrt() * (common * common + 2.0 * own * own).sqrt());
        assert!(distances.between(0, 1).abs() < 1e-6, "case and punctuation do not count");
        assert!((f64::from(distances.between(0, 2)) - (1.0 - cosine)).abs() < 1e-6, "{}", distances.between(0, 2));
        assert_eq!([0, 1, 2, 4].map(|other| distances.between(3, other)), [1.0; 4]);
        assert_eq!(distances.between(2, 0), distances.between(0, 2));
    }

    #[test]
    fn a_catalogue_without_titles_is_refused() {
        assert!(trigram_distances(&[String::new()]).unwrap_err().to_string().contains("no item has a title\nhelp:"));
    }
}
