//! What is known of the items besides their ratings, as numbers that a ridge regression reads: one column a genre, the year with its
//! square, and the largest directions of vectors such as those of a text embedder.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};

use super::ridge::solve;
use crate::artifact::{ItemVectors, Items};
use crate::nn::subspace;

/// A genre of fewer items has no column: a column of one item is a second bias of that item.
const MIN_ITEMS: usize = 3;
/// Columns of vectors at most: what a few hundred rated items can tell apart.
const MAX_DIRECTIONS: usize = 32;
/// λ of the columns of a catalogue, in ratings.
const CATALOGUE_RIDGE: f64 = 10.0;
/// λ of the columns of vectors, in ratings; it is averaged over.
const VECTOR_RIDGES: [f64; 5] = [3.0, 10.0, 30.0, 100.0, 300.0];

/// The features of each item, `[I][D]`; D may be 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Design {
    rows: Vec<Vec<f64>>,
    width: usize,
    /// How many of the last columns are of vectors.
    of_vectors: usize,
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
        Self { width: rows.first().map_or(0, Vec::len), rows, of_vectors: 0 }
    }

    /// The coordinates of standardised vectors in the directions in which they are largest; no rating decides which these are. An item
    /// has a length of at most 1 in the root mean square.
    ///
    /// # Errors
    /// Only those of candle.
    pub fn of_vectors(vectors: &ItemVectors) -> Result<Self> {
        let (items, numbers) = (vectors.len(), vectors.width());
        let width = MAX_DIRECTIONS.min(items).min(numbers);
        let matrix =
            Tensor::from_vec(vectors.standardized().data, (items, numbers), &Device::Cpu)?.to_dtype(DType::F64)?;
        let rows = matrix.matmul(&subspace::largest(&matrix, width, || Ok(()))?)?.to_vec2()?;
        Ok(Self { rows, width, of_vectors: width })
    }

    /// The columns of this one, which is of a catalogue, and those of `vectors`.
    #[must_use]
    pub fn beside(&self, vectors: &Self) -> Self {
        let rows = self.rows.iter().zip(&vectors.rows).map(|(own, other)| [&own[..], other].concat()).collect();
        Self { rows, width: self.width + vectors.width, of_vectors: self.of_vectors + vectors.of_vectors }
    }

    /// With the features of item `from[i]` for item i: a control that keeps everything but which item it is.
    #[must_use]
    pub fn permuted(&self, from: &[usize]) -> Self {
        Self { rows: from.iter().map(|&item| self.rows[item].clone()).collect(), ..*self }
    }

    /// The features of each item, `[I][D]`.
    #[must_use]
    pub fn rows(&self) -> &[Vec<f64>] {
        &self.rows
    }

    /// The values of λ that a learner averages over.
    #[must_use]
    pub fn ridges(&self) -> &'static [f64] {
        if self.of_vectors == 0 { &[CATALOGUE_RIDGE] } else { &VECTOR_RIDGES }
    }

    /// Whether nothing is known of any item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.width == 0
    }

    /// The normal equations of a ridge regression of ratings on the features of their items; `counts` are the ratings of each item.
    #[must_use]
    pub fn equations(&self, counts: &[f64]) -> Equations<'_> {
        let d = self.width;
        let mut gram = vec![0.0; d * d];
        for (x, &n) in self.rows.iter().zip(counts).filter(|(_, n)| **n > 0.0) {
            for (row, &value) in x.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                for column in 0..=row {
                    gram[row * d + column] += n * value * x[column];
                }
            }
        }
        Equations { design: self, gram }
    }
}

/// The left side of a ridge regression on a [`Design`].
pub struct Equations<'a> {
    design: &'a Design,
    /// Σ n_i x_i x_iᵀ below and on the diagonal, `[D·D]`.
    gram: Vec<f64>,
}

impl Equations<'_> {
    /// x_i·θ of every item, where θ = argmin Σ_i n_i (s_i/n_i − x_i·θ)² + λ|θ|². `sums` are s = Σ (r − μ), one an item, 0 where it has
    /// no rating. `ridge` is the λ of columns of vectors; those of a catalogue have their own.
    #[must_use]
    pub fn regress(&self, sums: &[f64], ridge: f64) -> Vec<f64> {
        let d = self.design.width;
        let rows = &self.design.rows;
        if d == 0 {
            return vec![0.0; rows.len()];
        }
        let (mut a, mut b) = (self.gram.clone(), vec![0.0; d]);
        for (x, &s) in rows.iter().zip(sums).filter(|(_, s)| **s != 0.0) {
            b.iter_mut().zip(x).for_each(|(b, value)| *b += value * s);
        }
        for row in 0..d {
            a[row * d + row] += if row < d - self.design.of_vectors { CATALOGUE_RIDGE } else { ridge };
            for column in 0..row {
                a[column * d + row] = a[row * d + column];
            }
        }
        let theta = solve(&mut a, &b);
        rows.iter().map(|x| x.iter().zip(&theta).map(|(x, t)| x * t).sum()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;

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
        // Genres do not overlap: θ_a = 60/(30 + 10), θ_b = −20/(10 + 10).
        let design = Design::of_genres_and_years(&catalogue());
        let equations = design.equations(&[20.0, 10.0, 0.0, 10.0, 0.0, 0.0]);
        near(&equations.regress(&[40.0, 20.0, 0.0, -20.0, 0.0, 0.0], 99.0), &[1.5, 1.5, 1.5, -1.0, -1.0, -1.0]);
    }

    fn near(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} for {wanted:?}");
    }

    /// Six items on a line in three numbers.
    fn vectors() -> ItemVectors {
        let data = [-2.0, -1.0, 0.0, 0.0, 1.0, 2.0].iter().flat_map(|x| [3.0 * x, 7.0, 4.0 * x]).collect();
        ItemVectors { vectors: Array::new(&[6, 3], data), space: "toy".into(), columns: vec![] }
    }

    #[test]
    fn vectors_have_their_own_ridge() {
        let design = Design::of_vectors(&vectors()).unwrap();
        assert_eq!((design.width, design.ridges().len(), design.is_empty()), (3, 5, false));
        // In their direction the items are at ±1.549, ±0.775 and 0: x·x/(x·x + λ) of what the first says.
        let (x, unit) = (2.4_f64.sqrt(), 0.6_f64.sqrt());
        let found = design.equations(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]).regress(&[-2.0, 0.0, 0.0, 0.0, 0.0, 0.0], 3.0);
        let slope = 2.0 * x / (2.4 + 3.0);
        near(&found, &[-slope * x, -slope * unit, 0.0, 0.0, slope * unit, slope * x]);
    }

    #[test]
    fn features_lie_side_by_side_and_go_to_other_items() {
        let genres = Design::of_genres_and_years(&catalogue());
        let both = genres.beside(&Design::of_vectors(&vectors()).unwrap());
        assert_eq!((both.width, both.of_vectors, both.rows[3][..2].to_vec()), (5, 3, vec![0.0, 1.0]));
        // The direction of the vectors says nothing where all counted items lie at 0: only genres do, at their λ of 10.
        let found = both.equations(&[0.0, 0.0, 10.0, 10.0, 0.0, 0.0]).regress(&[0.0, 0.0, 20.0, -20.0, 0.0, 0.0], 3.0);
        near(&found, &[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]);
        let moved = genres.permuted(&[5, 4, 3, 2, 1, 0]);
        assert_eq!((moved.rows[0].clone(), moved.width), (vec![0.0, 1.0], 2));
    }
}
