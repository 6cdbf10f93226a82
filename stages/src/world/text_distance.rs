//! How far titles are from each other: character trigrams, weighted by TF-IDF, compared by their cosine.
//!
//! What needs no model and no network. Left out: meaning; two titles without a common trigram are at 1, whatever they say.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use pipeline::Context;
use pipeline::progress::Bar;

use super::gram::symmetric;

/// 1 − cos of the titles' vectors, `[I, I]`. A trigram's weight is its count times ln((1 + n)/(1 + df)) + 1, where df of the n
/// titles hold it (Salton and Buckley 1988; the 1s keep what all titles hold above 0).
pub(super) fn title_distances(titles: &[String], bar: &Bar, cx: &Context) -> Result<Vec<f32>> {
    let vectors = unit_vectors(titles)?;
    let trigrams = vectors.iter().flatten().map(|&(trigram, _)| trigram as usize + 1).max().unwrap_or(0);
    // The titles that hold a trigram, and what it weighs there.
    let mut holding: Vec<Vec<(usize, f64)>> = vec![Vec::new(); trigrams];
    for (item, vector) in vectors.iter().enumerate() {
        vector.iter().for_each(|&(trigram, x)| holding[trigram as usize].push((item, x)));
    }
    symmetric(titles.len(), bar, cx, |left, right| {
        // Each row adds up its own products, in the order of the trigrams: equal on any number of threads.
        let of_row = |item: usize| {
            let mut cosines = vec![0.0; right.len()];
            for &(trigram, x) in &vectors[item] {
                let titles = &holding[trigram as usize];
                let from = titles.partition_point(|&(other, _)| other < right.start);
                for &(other, y) in titles[from..].iter().take_while(|&&(other, _)| other < right.end) {
                    cosines[other - right.start] += x * y;
                }
            }
            cosines.into_iter().map(|cosine| (1.0 - cosine).clamp(0.0, 1.0) as f32).collect::<Vec<f32>>()
        };
        Ok(left.clone().flat_map(of_row).collect())
    })
}

/// The titles' vectors of length 1: numbers of trigrams, rising, and their weights. A title without a trigram has none.
fn unit_vectors(titles: &[String]) -> Result<Vec<Vec<(u32, f64)>>> {
    let counts: Vec<BTreeMap<String, usize>> = titles.iter().map(|title| trigrams(title)).collect();
    ensure!(
        counts.iter().any(|count| !count.is_empty()),
        "`simulator.distance` is `text`, but no item has a title\nhelp: name the catalogue's column of titles where the log is \
         read, or take `rating_columns` or `genres`"
    );
    let mut holding: BTreeMap<&str, usize> = BTreeMap::new();
    counts.iter().flat_map(BTreeMap::keys).for_each(|trigram| *holding.entry(trigram).or_default() += 1);
    let idf = |held: usize| ((1.0 + titles.len() as f64) / (1.0 + held as f64)).ln() + 1.0;
    let known: BTreeMap<&str, (u32, f64)> =
        (0..).zip(&holding).map(|(number, (&trigram, &held))| (trigram, (number, idf(held)))).collect();
    let unit = |count: &BTreeMap<String, usize>| {
        let raw: Vec<(u32, f64)> = count
            .iter()
            .map(|(trigram, &n)| {
                let (number, idf) = known[trigram.as_str()];
                (number, n as f64 * idf)
            })
            .collect();
        let length = raw.iter().map(|(_, x)| x * x).sum::<f64>().sqrt();
        raw.into_iter().map(|(trigram, x)| (trigram, x / length)).collect()
    };
    Ok(counts.iter().map(unit).collect())
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
    use crate::artifact::Array;

    fn distances(titles: &[String]) -> Result<Array> {
        let cx = Context::detached(std::path::Path::new("unused"));
        let data = title_distances(titles, &cx.bar("distances", None, "pairs"), &cx)?;
        Ok(Array::new(&[titles.len(), titles.len()], data))
    }

    #[test]
    fn titles_are_apart_as_computed_by_hand() {
        let titles = ["Ab", "ab!", "abc", "xyz", ""].map(str::to_owned);
        let distance = distances(&titles).unwrap();
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
        assert!(distances(&[String::new()]).unwrap_err().to_string().contains("no item has a title\nhelp:"));
    }
}
