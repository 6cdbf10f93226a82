//! Distances between items, and the threshold below which two items are similar.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use candle_core::{DType, Device, Tensor};
use pipeline::Context;
use pipeline::progress::Bar;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text_distance::title_distances;
use crate::artifact::{Array, DistancesFrom, ItemVectors, Items, World};

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

/// Rows of products that are made between two words on how far it is.
pub(super) const BLOCK: usize = 256;

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
        let rows = if self == Self::RatingColumns { reward.shape[1] } else { items.len() } as u64;
        // What takes long passes over the rows twice: for the products of two, and for the distances.
        let bar = cx.bar(
            "distances",
            Some(if matches!(self, Self::Genres | Self::ItemVectors) { rows } else { 2 * rows }),
            "rows",
        );
        match self {
            Self::RatingColumns => column_distances(reward, &bar),
            Self::Genres => {
                ensure!(
                    items.genres.iter().any(|genres| !genres.is_empty()),
                    "`simulator.distance` is `genres`, but no item has one\nhelp: name the catalogue's column of genres where \
                     the log is read, or take `rating_columns` or `text`"
                );
                Ok(genre_distances(&items.genres, &bar))
            }
            Self::Text => title_distances(&items.title, &bar),
            Self::ItemVectors => {
                let vectors = vectors.context(
                    "`simulator.distance` is `item_vectors`, but no vectors are connected\nhelp: connect the `item_vectors` of an \
                     `embed` stage",
                )?;
                vectors.check_items(items.len())?;
                Ok(vector_distances(&vectors.vectors, &bar))
            }
        }
    }
}

/// Root mean square difference of the items' columns: `reward [U, I]` → `[I, I]`, in units of the rating. (EasyRL4Rec takes
/// the Euclidean distance, which is √U times as much; a mean does not grow with the log.)
fn column_distances(reward: &Array, bar: &Bar) -> Result<Array> {
    let (users, items) = (reward.shape[0], reward.shape[1]);
    let matrix = Tensor::from_slice(&reward.data, (users, items), &Device::Cpu)?.to_dtype(DType::F64)?;
    let gram = products(&matrix, BLOCK, bar)?;
    Ok(symmetric(items, bar, |i, j| {
        let square = gram[i * items + i] + gram[j * items + j] - 2.0 * gram[i * items + j];
        (square.max(0.0) / users as f64).sqrt() as f32
    }))
}

/// `matrix [U, I]` → `matrixᵀ · matrix`, `[I, I]`, `block` rows of it at a time: of many users one product takes minutes. Each
/// number is the sum over the users in the order that the whole product has, so the blocks change no bit.
pub(super) fn products(matrix: &Tensor, block: usize, bar: &Bar) -> Result<Vec<f64>> {
    let items = matrix.dim(1)?;
    let mut gram = Vec::with_capacity(items * items);
    let mut first = 0;
    while first < items {
        // A single row would go another way through the kernel, and round otherwise.
        let rows = if items - first <= block + 1 { items - first } else { block };
        let some = matrix.narrow(1, first, rows)?.t()?.matmul(matrix)?;
        gram.extend(some.flatten_all()?.to_vec1::<f64>()?);
        first += rows;
        bar.inc(rows as u64);
    }
    Ok(gram)
}

/// 1 − cos of vectors `[I, d]` → `[I, I]`.
fn vector_distances(vectors: &Array, bar: &Bar) -> Array {
    let units: Vec<Vec<f64>> = (0..vectors.shape[0])
        .map(|item| {
            let row = vectors.row(item);
            let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(1e-30);
            row.iter().map(|&x| f64::from(x) / length).collect()
        })
        .collect();
    symmetric(units.len(), bar, |i, j| {
        let cosine: f64 = units[i].iter().zip(&units[j]).map(|(a, b)| a * b).sum();
        (1.0 - cosine).clamp(0.0, 2.0) as f32
    })
}

/// Jaccard distance of sets of genres.
fn genre_distances(genres: &[Vec<String>], bar: &Bar) -> Array {
    let sets: Vec<BTreeSet<&String>> = genres.iter().map(|list| list.iter().collect()).collect();
    symmetric(sets.len(), bar, |i, j| {
        let common = sets[i].intersection(&sets[j]).count();
        let all = sets[i].len() + sets[j].len() - common;
        if all == 0 { 1.0 } else { (1.0 - common as f64 / all as f64) as f32 }
    })
}

/// Which categories each item belongs to, 1 or 0, `[I, C]`, categories by name; none where no item has one.
pub(super) fn categories(items: &Items) -> Option<Array> {
    let names: BTreeSet<&String> = items.genres.iter().flatten().collect();
    let row = |genres: &Vec<String>| names.iter().map(|&name| f32::from(u8::from(genres.contains(name)))).collect();
    let rows: Vec<Vec<f32>> = items.genres.iter().map(row).collect();
    (!names.is_empty()).then(|| Array::new(&[items.len(), names.len()], rows.concat()))
}

/// A matrix of what `of` says of i > j; each row moves `bar` by one.
pub(super) fn symmetric(items: usize, bar: &Bar, of: impl Fn(usize, usize) -> f32) -> Array {
    let mut data = vec![0.0_f32; items * items];
    for i in 0..items {
        for j in 0..i {
            let distance = of(i, j);
            data[i * items + j] = distance;
            data[j * items + i] = distance;
        }
        bar.inc(1);
    }
    Array::new(&[items, items], data)
}

/// The distance below which `share` of all pairs of different items lie.
pub(super) fn closest(distance: &Array, share: f64) -> f32 {
    let items = distance.shape[0];
    let mut pairs: Vec<f32> = (0..items).flat_map(|i| distance.row(i)[..i].iter().copied()).collect();
    if pairs.is_empty() {
        return 0.0;
    }
    let rank = ((pairs.len() as f64 * share) as usize).min(pairs.len() - 1);
    *pairs.select_nth_unstable_by(rank, f32::total_cmp).1
}

/// Notes how many pairs of items are similar; if none is, no user ever quits by the rule.
pub(super) fn report_similar_pairs(world: &World, cx: &Context) {
    if let Some(said) = world.rules.distance_threshold.and_then(|below| similar_pairs(world.distance_table(), below)) {
        cx.note("similar pairs", said);
    }
}

/// Describes the pairs of items below a distance; `None` for a single item.
fn similar_pairs(distance: &Array, below: f32) -> Option<String> {
    let items = distance.shape[0];
    let pairs = || (0..items).flat_map(|i| distance.row(i)[..i].iter().copied());
    let (all, closest) = (pairs().count(), pairs().min_by(f32::total_cmp)?);
    Some(match pairs().filter(|&distance| distance < below).count() {
        0 => format!(
            "none of {all} pairs of items, so no user quits at a similar item: the closest are {closest} apart, and the threshold \
             is {below}; set `simulator.quit_similarity: {{ threshold: … }}` above {closest}, or `off`"
        ),
        pairs => format!("{pairs} of {all} pairs of items ({:.2} %)", 100.0 * pairs as f64 / all as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Context {
        Context::detached(std::path::Path::new("unused"))
    }

    #[test]
    fn products_in_blocks_are_those_of_the_whole_to_the_bit() {
        // More users than one panel of the kernel takes, more items than one block.
        for (users, items) in [(1300, 65), (700, 130), (3, 64), (2000, 33)] {
            let matrix = crate::nn::Init::new(7).normal(&[users, items], 1.7).unwrap().to_dtype(DType::F64).unwrap();
            let whole: Vec<f64> =
                matrix.t().unwrap().matmul(&matrix).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for block in [2, 16, 32, 64] {
                let found = products(&matrix, block, &cx().bar("x", None, "rows")).unwrap();
                assert!(found.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits()), "{users} {items} {block}");
                assert_eq!(found.len(), whole.len());
            }
        }
    }

    #[test]
    fn how_many_pairs_are_alike_is_told_and_none_aloud() {
        let distance = Array::new(&[3, 3], vec![0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0]);
        assert_eq!(similar_pairs(&distance, 0.6).unwrap(), "2 of 3 pairs of items (66.67 %)");
        let none = similar_pairs(&distance, 0.5).unwrap();
        assert!(none.starts_with("none of 3 pairs of items, so no user quits at a similar item"), "{none}");
        assert!(none.contains("closest are 0.5 apart") && none.contains("threshold: … }` above 0.5"), "{none}");
        assert_eq!(similar_pairs(&Array::new(&[1, 1], vec![0.0]), 0.5), None);
        // Of genres most pairs may share the distance at which the share ends: then none lies below it.
        let twins = Array::new(&[2, 2], vec![0.0; 4]);
        assert!(similar_pairs(&twins, closest(&twins, 0.02)).unwrap().contains("the threshold is 0"));
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
