//! Distances between items.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use pipeline::Context;
use pipeline::progress::Bar;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gram::{Columns, pairs, symmetric};
use super::text_distance::title_distances;
use crate::artifact::{Array, DistancesFrom, ItemVectors, Items};

/// The distance between items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DistanceBy {
    /// Root mean square difference of the items' columns in the completed matrix, in units of the rating.
    #[default]
    RatingColumns,
    /// Jaccard distance of the items' genres, 1 − |A ∩ B| / |A ∪ B|, from 0 to 1. An item without a genre has distance 1 to
    /// every other item.
    Genres,
    /// Cosine distance of the titles' character trigrams, weighted by TF-IDF, from 0 to 1.
    Text,
    /// Cosine distance of the input `item_vectors`, from 0 to 2. An item whose vector is 0 has distance 1 to every other item.
    ItemVectors,
}

/// When two items are similar: a user who has one in the quit window quits at the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum QuitSimilarity {
    /// This fraction of all item pairs, the closest ones, in (0, 1). It makes worlds of different scales comparable. Pairs at
    /// exactly the distance of the quantile are not similar: many distances of genres are equal, so the fraction may be far smaller.
    SimilarFraction(f64),
    /// Distances strictly below this, in units of the distance (`rating_columns`: of the rating, root mean square over the users;
    /// `genres` and `text`: from 0 to 1; `item_vectors`: from 0 to 2).
    Threshold(f64),
    /// Euclidean distances strictly below this, as EasyRL4Rec and DORL state theirs (Coat 6, MovieLens-1M 75): √users times
    /// the root mean square. For `rating_columns` only.
    EuclideanThreshold(f64),
    /// No item is similar to another.
    Off,
}

/// A share, because it makes worlds of different scales comparable.
pub(super) const USUAL: QuitSimilarity = QuitSimilarity::SimilarFraction(0.02);

impl DistanceBy {
    /// What a world with such distances says of where they come from.
    pub(super) fn from(self) -> DistancesFrom {
        match self {
            Self::RatingColumns => DistancesFrom::Own,
            Self::Genres | Self::Text | Self::ItemVectors => DistancesFrom::Catalogue,
        }
    }

    /// Distances of `items` to each other, `[I, I]`, symmetric, zero on the diagonal; `reward [U, I]` is the completed matrix,
    /// `vectors` are those of the items, where they are connected.
    pub(super) fn distances(
        self,
        items: &Items,
        vectors: Option<&ItemVectors>,
        reward: &Array,
        cx: &Context,
    ) -> Result<Array> {
        let count = if self == Self::RatingColumns { reward.shape[1] } else { items.len() };
        let bar = cx.bar("distances", Some(pairs(count)), "pairs");
        let data = match self {
            Self::RatingColumns => column_distances(reward, &bar, cx),
            Self::Genres => {
                ensure!(
                    items.genres.iter().any(|genres| !genres.is_empty()),
                    "`simulator.distance` is `genres`, but no item has one\nhelp: name the catalogue's column of genres where \
                     the log is read, or take `rating_columns` or `text`"
                );
                genre_distances(&items.genres, &bar, cx)
            }
            Self::Text => title_distances(&items.title, &bar, cx),
            Self::ItemVectors => {
                let vectors = vectors.context(
                    "`simulator.distance` is `item_vectors`, but no vectors are connected\nhelp: connect the `item_vectors` of an \
                     `embed` stage",
                )?;
                vectors.check_items(items.len())?;
                vector_distances(&vectors.vectors, &bar, cx)
            }
        }?;
        Ok(Array::new(&[count, count], data))
    }
}

/// Root mean square difference of the items' columns: `reward [U, I]` → `[I, I]`, in units of the rating. (EasyRL4Rec takes
/// the Euclidean distance, which is √U times as much; a mean does not grow with the log.)
fn column_distances(reward: &Array, bar: &Bar, cx: &Context) -> Result<Vec<f32>> {
    let (users, items) = (reward.shape[0], reward.shape[1]);
    let of = |users: Range<usize>, columns: Range<usize>| -> Vec<f64> {
        users.flat_map(|user| reward.row(user)[columns.clone()].iter().map(|&x| f64::from(x))).collect()
    };
    let columns = Columns { rows: users, of };
    let squares = columns.squares(items, cx)?;
    symmetric(items, bar, cx, |left, right| {
        let products = columns.products(left, right)?;
        let of_row = |(products, &own): (&[f64], &f64)| {
            let distance = |(&product, &other): (&f64, &f64)| {
                let square = own + other - 2.0 * product;
                (square.max(0.0) / users as f64).sqrt() as f32
            };
            products.iter().zip(&squares[right.clone()]).map(distance).collect::<Vec<f32>>()
        };
        Ok(products.chunks_exact(right.len()).zip(&squares[left.clone()]).flat_map(of_row).collect())
    })
}

/// 1 − cos of vectors `[I, d]` → `[I, I]`.
fn vector_distances(vectors: &Array, bar: &Bar, cx: &Context) -> Result<Vec<f32>> {
    let units: Vec<Vec<f64>> = (0..vectors.shape[0])
        .map(|item| {
            let row = vectors.row(item);
            let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(1e-30);
            row.iter().map(|&x| f64::from(x) / length).collect()
        })
        .collect();
    symmetric(units.len(), bar, cx, |left, right| {
        // One dimension of all columns after the other: sums of many pairs grow side by side, each in the order of the dimensions.
        let turned: Vec<Vec<f64>> =
            (0..vectors.shape[1]).map(|k| units[right.clone()].iter().map(|unit| unit[k]).collect()).collect();
        let of_row = |unit: &Vec<f64>| {
            let mut cosines = vec![0.0; right.len()];
            for (x, others) in unit.iter().zip(&turned) {
                cosines.iter_mut().zip(others).for_each(|(sum, y)| *sum += x * y);
            }
            cosines.into_iter().map(|cosine| (1.0 - cosine).clamp(0.0, 2.0) as f32).collect::<Vec<f32>>()
        };
        Ok(units[left.clone()].iter().flat_map(of_row).collect())
    })
}

/// Jaccard distance of sets of genres.
fn genre_distances(genres: &[Vec<String>], bar: &Bar, cx: &Context) -> Result<Vec<f32>> {
    let names: BTreeSet<&String> = genres.iter().flatten().collect();
    let number: BTreeMap<&String, usize> = names.into_iter().zip(0..).collect();
    let words = number.len().div_ceil(64);
    let bits = |list: &Vec<String>| {
        let mut bits = vec![0_u64; words];
        list.iter().for_each(|name| bits[number[name] / 64] |= 1 << (number[name] % 64));
        bits
    };
    let sets: Vec<Vec<u64>> = genres.iter().map(bits).collect();
    let count = |one: &[u64], other: &[u64]| one.iter().zip(other).map(|(a, b)| (a & b).count_ones()).sum::<u32>();
    let sizes: Vec<u32> = sets.iter().map(|set| count(set, set)).collect();
    symmetric(sets.len(), bar, cx, |left, right| {
        let distance = |(i, j): (usize, usize)| {
            let common = count(&sets[i], &sets[j]);
            let all = sizes[i] + sizes[j] - common;
            if all == 0 { 1.0 } else { (1.0 - f64::from(common) / f64::from(all)) as f32 }
        };
        Ok(left.clone().flat_map(|i| right.clone().map(move |j| (i, j))).map(distance).collect())
    })
}

/// Which categories each item belongs to, 1 or 0, `[I, C]`, categories by name; none where no item has one.
pub(super) fn categories(items: &Items) -> Option<Array> {
    let names: BTreeSet<&String> = items.genres.iter().flatten().collect();
    let row = |genres: &Vec<String>| names.iter().map(|&name| f32::from(u8::from(genres.contains(name)))).collect();
    let rows: Vec<Vec<f32>> = items.genres.iter().map(row).collect();
    (!names.is_empty()).then(|| Array::new(&[items.len(), names.len()], rows.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Context {
        Context::detached(std::path::Path::new("unused"))
    }

    fn items(genres: &[&[&str]]) -> Items {
        let genres: Vec<Vec<String>> =
            genres.iter().map(|list| list.iter().map(|&name| name.to_owned()).collect()).collect();
        let id: Vec<String> = (0..genres.len()).map(|k| k.to_string()).collect();
        Items { title: id.clone(), year: vec![None; id.len()], id, genres, ..Items::default() }
    }

    #[test]
    fn genres_are_apart_by_what_they_do_not_share() {
        let items = items(&[&["war", "drama"], &["drama"], &["drama", "war"], &["comedy"], &[], &[]]);
        let distance = DistanceBy::Genres.distances(&items, None, &Array::default(), &cx()).unwrap();
        assert_eq!(distance.row(0), [0.0, 0.5, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(distance.row(5), [1.0, 1.0, 1.0, 1.0, 1.0, 0.0], "of what nothing is known nothing is alike");
        let categories = categories(&items).unwrap();
        assert_eq!(categories.shape, [6, 3], "comedy, drama, war");
        assert_eq!((categories.row(0), categories.row(4)), ([0.0, 1.0, 1.0].as_slice(), [0.0; 3].as_slice()));
    }

    #[test]
    fn vectors_are_apart_by_their_angle() {
        let items = items(&[&[], &[], &[], &[]]);
        let data = vec![3.0, 0.0, 5.0, 5.0, -1.0, 0.0, 0.0, 0.0];
        let vectors = ItemVectors { vectors: Array::new(&[4, 2], data), space: "toy".into(), columns: vec![] };
        let by = |vectors: Option<&ItemVectors>| {
            DistanceBy::ItemVectors.distances(&items, vectors, &Array::default(), &cx())
        };
        let distance = by(Some(&vectors)).unwrap();
        assert!((distance.row(0)[1] - (1.0 - 0.5_f32.sqrt())).abs() < 1e-6, "{:?}", distance.row(0));
        assert_eq!((distance.row(0)[2], distance.row(3)), (2.0, [1.0, 1.0, 1.0, 0.0].as_slice()));
        assert!(
            by(None).unwrap_err().to_string().contains("no vectors are connected\nhelp: connect the `item_vectors`")
        );
    }

    #[test]
    fn genres_of_a_catalogue_without_any_are_refused() {
        let items = items(&[&[], &[]]);
        assert_eq!(categories(&items), None);
        let error = DistanceBy::Genres.distances(&items, None, &Array::default(), &cx()).unwrap_err().to_string();
        assert!(error.starts_with("`simulator.distance` is `genres`, but no item has one\nhelp: "), "{error}");
    }
}
