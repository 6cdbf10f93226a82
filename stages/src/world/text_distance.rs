//! How far titles are from each other: character trigrams, weighted by TF-IDF, compared by their cosine.
//!
//! What needs no model and no network. Left out: meaning; two titles without a common trigram are at 1, whatever they say.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use pipeline::progress::Bar;
use rayon::prelude::*;

use super::distance::symmetric;
use crate::artifact::Array;

/// 1 − cos of the titles' vectors, `[I, I]`. A trigram's weight is its count times ln((1 + n)/(1 + df)) + 1, where df of the n
/// titles hold it (Salton and Buckley 1988; the 1s keep what all titles hold above 0).
pub(super) fn title_distances(titles: &[String], bar: &Bar) -> Result<Array> {
    let counts: Vec<BTreeMap<String, usize>> = titles.iter().map(|title| trigrams(title)).collect();
    ensure!(
        counts.iter().any(|count| !count.is_empty()),
        "`simulator.distance` is `text`, but no item has a title\nhelp: name the catalogue's column of titles where the log is \
         read, or take `rating_columns` or `genres`"
    );
    let mut holding: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (item, count) in counts.iter().enumerate() {
        for trigram in count.keys() {
            holding.entry(trigram).or_default().push(item);
        }
    }
    let weight = |trigram: &str, count: usize| {
        let idf = ((1.0 + titles.len() as f64) / (1.0 + holding[trigram].len() as f64)).ln() + 1.0;
        count as f64 * idf
    };
    let vectors: Vec<BTreeMap<&str, f64>> = counts
        .iter()
        .map(|count| {
            let raw: BTreeMap<&str, f64> =
                count.iter().map(|(trigram, &n)| (trigram.as_str(), weight(trigram, n))).collect();
            let length = raw.values().map(|x| x * x).sum::<f64>().sqrt();
            raw.into_iter().map(|(trigram, x)| (trigram, x / length)).collect()
        })
        .collect();
    // Each row adds up its own products, in the order of the trigrams: equal on any number of threads.
    let rows: Vec<Vec<f64>> = vectors
        .par_iter()
        .map(|vector| {
            let mut cosine = vec![0.0; titles.len()];
            for (trigram, x) in vector {
                for &other in &holding[trigram] {
                    cosine[other] += x * vectors[other][trigram];
                }
            }
            bar.inc(1);
            cosine
        })
        .collect();
    Ok(symmetric(titles.len(), bar, |i, j| (1.0 - rows[i][j]).clamp(0.0, 1.0) as f32))
}

/// How often each three characters in a row stand in the title: in lower case, words apart by one blank and one around.
fn trigrams(title: &str) -> BTreeMap<String, usize> {
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

    fn bar() -> Bar {
        pipeline::Context::detached(std::path::Path::new("unused")).bar("distances", None, "rows")
    }

    #[test]
    fn titles_are_apart_as_computed_by_hand() {
        let titles = ["Ab", "ab!", "abc", "xyz", ""].map(str::to_owned);
        let distance = title_distances(&titles, &bar()).unwrap();
        // " ab" is in three of five titles, "ab " in two, "abc" and "bc " in one.
        let idf = |df: f64| (6.0 / (1.0 + df)).ln() + 1.0;
        let (common, end, own) = (idf(3.0), idf(2.0), idf(1.0));
        let cosine =
            common * common / ((common * common + end * end).sqrt() * (common * common + 2.0 * own * own).sqrt());
        assert!(distance.row(0)[1].abs() < 1e-6, "case and punctuation do not count");
        assert!((f64::from(distance.row(0)[2]) - (1.0 - cosine)).abs() < 1e-6, "{:?}", distance.row(0));
        assert_eq!(distance.row(3), [1.0, 1.0, 1.0, 0.0, 1.0]);
        assert_eq!(distance.row(4)[4], 0.0);
        assert_eq!(distance.row(2)[0], distance.row(0)[2]);
    }

    #[test]
    fn a_catalogue_without_titles_is_refused() {
        assert!(
            title_distances(&[String::new()], &bar()).unwrap_err().to_string().contains("no item has a title\nhelp:")
        );
    }
}
