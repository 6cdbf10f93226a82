//! What a catalogue says of its items as numbers: one column a genre, and the year with its square.

use std::collections::BTreeMap;

use super::ridge::solve;
use crate::artifact::Items;

/// A genre of fewer items has no column: a column of one item is a second bias of that item.
const MIN_ITEMS: usize = 3;

/// The features of each item, `[I][D]`; D may be 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    rows: Vec<Vec<f64>>,
    width: usize,
}

impl Design {
    /// Genres as 0 or 1; the year standardised over the items that have one, its square, and 0 for both where it is unknown.
    #[must_use]
    pub fn of_genres_and_years(items: &Items) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for genre in items.genres.iter().flatten().filter(|genre| !genre.is_empty()) {
            *counts.entry(genre).or_default() += 1;
        }
        let genres: Vec<&str> = counts
            .into_iter()
            .filter(|&(_, count)| count >= MIN_ITEMS && count < items.len())
            .map(|(genre, _)| genre)
            .collect();
        let years: Vec<f64> = items.year.iter().flatten().map(|&year| f64::from(year)).collect();
        let mean = years.iter().sum::<f64>() / years.len().max(1) as f64;
        let deviation = (years.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / years.len().max(1) as f64).sqrt();
        let dated = deviation > 0.0;
        let row = |item: usize| {
            let mut row: Vec<f64> =
                genres.iter().map(|genre| f64::from(items.genres[item].iter().any(|own| own == genre))).collect();
            if dated {
                let year = items.year[item].map_or(0.0, |year| (f64::from(year) - mean) / deviation);
                row.extend([year, if items.year[item].is_some() { year * year - 1.0 } else { 0.0 }]);
            }
            row
        };
        let rows: Vec<Vec<f64>> = (0..items.len()).map(row).collect();
        Self { width: rows.first().map_or(0, Vec::len), rows }
    }

    /// Whether the catalogue has neither genres nor years.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.width == 0
    }

    /// x_i·θ of every item, where θ = argmin Σ_i n_i (s_i/n_i − x_i·θ)² + λ|θ|²: ridge regression of ratings on the features of their
    /// items. `counts` are n and `sums` are s = Σ (r − μ), one an item.
    #[must_use]
    pub fn regress(&self, counts: &[f64], sums: &[f64], ridge: f64) -> Vec<f64> {
        let d = self.width;
        if d == 0 {
            return vec![0.0; self.rows.len()];
        }
        let (mut a, mut b) = (vec![0.0; d * d], vec![0.0; d]);
        for ((x, &n), &s) in self.rows.iter().zip(counts).zip(sums).filter(|((_, n), _)| **n > 0.0) {
            for (row, &value) in x.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                b[row] += value * s;
                for column in 0..=row {
                    a[row * d + column] += n * value * x[column];
                }
            }
        }
        for row in 0..d {
            a[row * d + row] += ridge;
            for column in 0..row {
                a[column * d + row] = a[row * d + column];
            }
        }
        let theta = solve(&mut a, &b);
        self.rows.iter().map(|x| x.iter().zip(&theta).map(|(x, t)| x * t).sum()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Items {
        let genres = ["a", "a", "a", "b", "b", "b"].map(|genre| vec![genre.to_owned()]).to_vec();
        Items {
            id: (0..6).map(|k| k.to_string()).collect(),
            title: vec![String::new(); 6],
            year: vec![None; 6],
            genres,
            ..Items::default()
        }
    }

    #[test]
    fn one_column_a_genre_and_two_for_the_year() {
        let mut items = catalogue();
        assert_eq!(Design::of_genres_and_years(&items).rows[3], [0.0, 1.0]);
        items.year = vec![Some(1990), Some(2010), None, None, None, None];
        let design = Design::of_genres_and_years(&items);
        assert_eq!(design.rows[0], [1.0, 0.0, -1.0, 0.0]);
        assert_eq!(design.rows[2], [1.0, 0.0, 0.0, 0.0], "no year, no number");
        items.genres[0] = vec!["rare".to_owned()];
        assert_eq!(Design::of_genres_and_years(&items).rows[0], [0.0, -1.0, 0.0], "two of `a` are too few, too");
        let bare = Items { genres: vec![vec![]; 6], year: vec![None; 6], ..catalogue() };
        assert!(Design::of_genres_and_years(&bare).is_empty());
    }

    #[test]
    fn a_ridge_by_hand() {
        // Genres do not overlap: θ_a = 6/(3 + 1), θ_b = −2/(1 + 1).
        let design = Design::of_genres_and_years(&catalogue());
        let found = design.regress(&[2.0, 1.0, 0.0, 1.0, 0.0, 0.0], &[4.0, 2.0, 0.0, -2.0, 0.0, 0.0], 1.0);
        for (found, wanted) in found.iter().zip([1.5, 1.5, 1.5, -1.0, -1.0, -1.0]) {
            assert!((found - wanted).abs() < 1e-12, "{found} for {wanted}");
        }
    }
}
