//! Distances between items.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use pipeline::Context;
use pipeline::progress::Bar;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gram::{Columns, pairs, symmetric};
use super::text_distance::trigram_distances;
use crate::artifact::{
    Array, ColumnDistances, Distances, DistancesFrom, ItemVectors, Items, Rewards, SetDistances, SetMeasure,
    VectorDistances,
};

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
    /// Where that distance is 0, because so many pairs are alike (items that nobody rated), it is the fraction of the other pairs, and
    /// all that are alike are similar.
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

    /// How far `items` are from each other, where users pay `rewards`; `vectors` are those of the items, where they are connected.
    /// Only columns of rewards are compared over `users` alone, where they are given.
    pub(super) fn distances(
        self,
        items: &Items,
        vectors: Option<&ItemVectors>,
        rewards: &Rewards,
        users: Option<Vec<u32>>,
    ) -> Result<Distances> {
        Ok(match self {
            Self::RatingColumns => Distances::Columns(ColumnDistances::new(users)),
            Self::Genres => Distances::Sets(genres(items)?),
            Self::Text => Distances::Sets(trigram_distances(&items.title)?),
            Self::ItemVectors => {
                let vectors = vectors.context(
                    "`simulator.distance` is `item_vectors`, but no vectors are connected\nhelp: connect the `item_vectors` of an \
                     `embed` stage",
                )?;
                vectors.check_items(rewards.items())?;
                Distances::Vectors(VectorDistances::new(vectors.vectors.clone()))
            }
        })
    }
}

/// Items up to which distances are stored for all pairs: a table of 1 GiB.
pub(super) const LARGEST_TABLE: usize = 16_384;

/// Whether distances of all pairs of items are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DistanceForm {
    /// A table up to 16,384 items, on demand beyond.
    #[default]
    Auto,
    /// They are stored: 4 bytes a pair of items.
    Table,
    /// They are computed when they are asked for. A threshold that is a share of the pairs is then that of a sample of them, where there
    /// are more than 1.3 million.
    OnDemand,
}

impl DistanceForm {
    /// Whether it is left to the number of items, which is left out of keys.
    pub(super) fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// `definition`, or the table of it.
    pub(super) fn of(self, definition: Distances, rewards: &Rewards, cx: &Context) -> Result<Distances> {
        if self.is_table(rewards.items()) { table(&definition, rewards, cx) } else { Ok(definition) }
    }

    /// Whether the distances of so many items are a table.
    pub(super) fn is_table(self, items: usize) -> bool {
        match self {
            Self::Auto => items <= LARGEST_TABLE,
            Self::Table => true,
            Self::OnDemand => false,
        }
    }
}

/// The same distances, stored.
fn table(distances: &Distances, rewards: &Rewards, cx: &Context) -> Result<Distances> {
    let items = distances.items(rewards);
    let bar = cx.bar("distances", Some(pairs(items)), "pairs");
    let data = match distances {
        Distances::Table(_) => return Ok(distances.clone()),
        Distances::Columns(columns) => column_table(rewards, columns.users(), &bar, cx),
        Distances::Sets(sets) => symmetric(items, &bar, cx, |left, right| {
            let row = |item: usize| right.clone().map(move |other| sets.between(item as u32, other as u32));
            Ok(left.clone().flat_map(row).collect())
        }),
        Distances::Vectors(vectors) => symmetric(items, &bar, cx, |left, right| Ok(vectors.tile(left, right))),
    };
    Ok(Array::new(&[items, items], data?).into())
}

/// Root mean square difference of the items' columns of `rewards [U, I]` over those users, or all, `[I, I]`, in units of the rating.
/// (EasyRL4Rec takes the Euclidean distance, which is √U times as much; a mean does not grow with the log.)
fn column_table(rewards: &Rewards, users: Option<&[u32]>, bar: &Bar, cx: &Context) -> Result<Vec<f32>> {
    let (users, items) =
        (users.map_or_else(|| (0..rewards.users() as u32).collect(), <[u32]>::to_vec), rewards.items());
    let of = |some: Range<usize>, columns: Range<usize>| -> Vec<f64> {
        let mut values = Vec::with_capacity(some.len() * columns.len());
        for &user in &users[some] {
            values.extend(rewards.part(user, columns.clone()).iter().map(|&x| f64::from(x)));
        }
        values
    };
    let columns = Columns { rows: users.len(), of };
    let squares = columns.squares(items, cx)?;
    symmetric(items, bar, cx, |left, right| {
        let products = columns.products(left, right)?;
        let of_row = |(products, &own): (&[f64], &f64)| {
            let distance = |(&product, &other): (&f64, &f64)| {
                let square = own + other - 2.0 * product;
                (square.max(0.0) / users.len() as f64).sqrt() as f32
            };
            products.iter().zip(&squares[right.clone()]).map(distance).collect::<Vec<f32>>()
        };
        Ok(products.chunks_exact(right.len()).zip(&squares[left.clone()]).flat_map(of_row).collect())
    })
}

/// The genres of each item.
fn genres(items: &Items) -> Result<SetDistances> {
    let names: BTreeSet<&String> = items.genres.iter().flatten().collect();
    ensure!(
        !names.is_empty(),
        "`simulator.distance` is `genres`, but no item has one\nhelp: name the catalogue's column of genres where the log is read, or \
         take `rating_columns` or `text`"
    );
    let number: BTreeMap<&String, u32> = names.into_iter().zip(0..).collect();
    let set = |list: &Vec<String>| {
        let own: BTreeSet<u32> = list.iter().map(|name| number[name]).collect();
        own.into_iter().map(|genre| (genre, 1)).collect()
    };
    Ok(SetDistances::new(SetMeasure::Jaccard, &items.genres.iter().map(set).collect::<Vec<_>>()))
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

    fn stored(by: DistanceBy, items: &Items, vectors: Option<&ItemVectors>) -> Result<Array> {
        let rewards = Rewards::from(Array::new(&[1, items.len()], vec![1.0; items.len()]));
        let stored = table(&by.distances(items, vectors, &rewards, None)?, &rewards, &cx())?;
        Ok(stored.table().unwrap().clone())
    }

    #[test]
    fn genres_are_apart_by_what_they_do_not_share() {
        let items = items(&[&["war", "drama"], &["drama"], &["drama", "war"], &["comedy"], &[], &[]]);
        let distance = stored(DistanceBy::Genres, &items, None).unwrap();
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
        let by = |vectors: Option<&ItemVectors>| stored(DistanceBy::ItemVectors, &items, vectors);
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
        let error = stored(DistanceBy::Genres, &items, None).unwrap_err().to_string();
        assert!(error.starts_with("`simulator.distance` is `genres`, but no item has one\nhelp: "), "{error}");
    }
}
