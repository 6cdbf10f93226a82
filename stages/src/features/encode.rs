//! Columns as rows of a table of embeddings with weights.
//!
//! A row's feature is Σ_k w_k·v_{id_k} over its slots: one slot of weight 1 (categorical), one of the standardised number, or of weight 1 and
//! the missing value's embedding (numeric), m slots of weight 1/m (several values). Statistics and vocabularies come from the rows that are
//! fitted, so that held-out rows change nothing; a value that none of them has is one of the others, or nothing where there are no others.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::columns::{Columns, number, several};
use super::kind::{Declared, FeatureKind};
use crate::artifact::{Array, FeatureColumn, ItemFeatures};

/// Standardised numbers beyond this are this: one price in another currency must not decide a rating.
const LIMIT: f64 = 5.0;

/// A column as slots of every row.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Rows of the table that are its own.
    pub table_rows: usize,
    /// Slots of a row.
    pub width: usize,
    /// Which of its own rows of the table each slot takes, `[N, width]`.
    pub ids: Vec<u32>,
    /// The weights, `[N, width]`; 0 of a slot that says nothing.
    pub weights: Vec<f32>,
    /// What a person is told of it: `brand (categorical, 12 values)`.
    pub said: String,
}

/// The declared columns of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoding {
    /// By name.
    pub columns: Vec<Column>,
    /// Columns that are declared as texts.
    pub texts: Vec<String>,
    /// Columns that say nothing, with the reason.
    pub left_out: Vec<String>,
}

impl Encoding {
    /// The columns that are `declared`; `uses` are the fitted ratings of each row, and no more than `max_cardinality` values of a column
    /// have an embedding of their own.
    ///
    /// # Errors
    /// Where there is no such column, or one that is declared numeric holds other texts.
    pub fn of(table: &Columns<'_>, declared: &Declared, uses: &[u32], max_cardinality: usize) -> Result<Self> {
        let mut encoding = Self::default();
        for (name, kind) in declared {
            let values = table.column(name)?;
            let column = match kind {
                FeatureKind::Categorical => {
                    let texts = values.iter().map(|value| vec![value.trim().to_owned()]).collect::<Vec<_>>();
                    of_values(name, kind, &texts, uses, max_cardinality)
                }
                FeatureKind::MultiValued(separator) => {
                    let texts = values.iter().map(|value| several(value, separator)).collect::<Vec<_>>();
                    of_values(name, kind, &texts, uses, max_cardinality)
                }
                FeatureKind::Numeric => of_numbers(table, name, values, uses)?,
                FeatureKind::Text => {
                    encoding.texts.push(name.clone());
                    continue;
                }
            };
            match column {
                Ok(column) => encoding.columns.push(column),
                Err(reason) => encoding.left_out.push(format!("{name} ({reason})")),
            }
        }
        Ok(encoding)
    }

    /// Rows of a table that holds all columns one after the other.
    #[must_use]
    pub fn table_rows(&self) -> usize {
        self.columns.iter().map(|column| column.table_rows).sum()
    }

    /// Slots of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns.iter().map(|column| column.width).sum()
    }

    /// Ids in that table from row `first` on, and weights, of `rows` rows: `[N, width]` each.
    #[must_use]
    pub fn slots(&self, rows: usize, first: u32) -> (Vec<u32>, Vec<f32>) {
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let mut first = first;
            for column in &self.columns {
                let at = row * column.width..(row + 1) * column.width;
                ids.extend(column.ids[at.clone()].iter().map(|id| first + id));
                weights.extend_from_slice(&column.weights[at]);
                first += column.table_rows as u32;
            }
        }
        (ids, weights)
    }

    /// The slots of `items` items for a world's file; `None` where no column is read.
    #[must_use]
    pub fn item_features(&self, items: usize) -> Option<ItemFeatures> {
        let (ids, weights) = self.slots(items, 0);
        let column = |column: &Column| FeatureColumn {
            name: column.name.clone(),
            width: column.width,
            table_rows: column.table_rows,
        };
        let shape = [items, self.width()];
        (self.width() > 0).then(|| ItemFeatures {
            columns: self.columns.iter().map(column).collect(),
            ids: Array::new(&shape, ids.into_iter().map(|id| id as f32).collect()),
            weights: Array::new(&shape, weights),
        })
    }

    /// What is read, as a person is told: `price (numeric, mean 12.5, standard deviation 3.1), brand (categorical, 12 values)`.
    #[must_use]
    pub fn said(&self) -> Option<String> {
        let texts = self.texts.iter().map(|name| format!("{name} (text, by `item_vectors`)"));
        let said: Vec<String> = self.columns.iter().map(|column| column.said.clone()).chain(texts).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

/// The most frequent values with a row each, and one for the others where a fitted row has one of them. The reason where all fitted rows
/// say the same.
fn of_values(
    name: &str,
    kind: &FeatureKind,
    texts: &[Vec<String>],
    uses: &[u32],
    max_cardinality: usize,
) -> Result<Column, String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let fitted = || texts.iter().zip(uses).filter(|(_, uses)| **uses > 0);
    for (values, uses) in fitted() {
        for value in values {
            *counts.entry(value).or_default() += u64::from(*uses);
        }
    }
    let mut all = fitted().map(|(values, _)| values);
    let first = all.next();
    if all.all(|values| Some(values) == first) {
        return Err(match first.is_none_or(|values| values.iter().all(String::is_empty)) {
            true => "missing in all rows that are fitted".into(),
            false => "the same in all rows that are fitted".into(),
        });
    }
    let distinct = counts.len();
    let mut kept: Vec<(&str, u64)> = counts.into_iter().collect();
    if distinct > max_cardinality {
        // The sort is stable: among equally frequent values the first by name stay.
        kept.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        kept.truncate(max_cardinality - 1);
        kept.sort_unstable();
    }
    let place: BTreeMap<&str, u32> = kept.iter().map(|(value, _)| *value).zip(0..).collect();
    let others = (distinct > kept.len()).then_some(kept.len() as u32);
    let ids_of = |values: &Vec<String>| {
        let mut ids: Vec<u32> =
            values.iter().filter_map(|value| place.get(value.as_str()).copied().or(others)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    let rows: Vec<Vec<u32>> = texts.iter().map(ids_of).collect();
    let width = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let (mut ids, mut weights) = (vec![0; rows.len() * width], vec![0.0; rows.len() * width]);
    for (row, found) in rows.iter().enumerate() {
        for (slot, &id) in found.iter().enumerate() {
            ids[row * width + slot] = id;
            weights[row * width + slot] = 1.0 / found.len() as f32;
        }
    }
    let mut said = format!("{name} ({}, {} values", kind.name(), kept.len());
    if others.is_some() {
        said += &format!(" and {} rarer ones as one", distinct - kept.len());
    }
    let unseen =
        |values: &&Vec<String>| values.iter().any(|value| !value.is_empty() && !place.contains_key(value.as_str()));
    let new = texts.iter().zip(uses).filter(|(values, uses)| **uses == 0 && unseen(values)).count();
    if new > 0 {
        said += &format!("; {new} rows that are not fitted hold unseen values");
    }
    Ok(Column {
        name: name.to_owned(),
        table_rows: kept.len() + usize::from(others.is_some()),
        width,
        ids,
        weights,
        said: said + ")",
    })
}

/// One slot: the standardised number, or the missing value's.
fn of_numbers(table: &Columns<'_>, name: &str, values: &[String], uses: &[u32]) -> Result<Result<Column, String>> {
    let read: Vec<Result<Option<f64>, &str>> = values.iter().map(|value| number(value)).collect();
    let wrong: Vec<(usize, &str)> =
        read.iter().enumerate().filter_map(|(row, read)| Some((row, read.err()?))).collect();
    if let [(row, text), ..] = wrong[..] {
        bail!(
            "the column `{name}` of {} is declared numeric, and {} of {} values are no numbers (the first: {:?} of {:?})\nhelp: declare \
             `{name}: categorical`, or `{name}: {{ multi_valued: \"|\" }}` where it holds several values",
            table.of,
            wrong.len(),
            values.len(),
            text,
            table.ids[row]
        );
    }
    let numbers: Vec<Option<f64>> = read.into_iter().map(|read| read.unwrap_or(None)).collect();
    let fitted: Vec<f64> =
        numbers.iter().zip(uses).filter(|(_, uses)| **uses > 0).filter_map(|(number, _)| *number).collect();
    if fitted.is_empty() {
        return Ok(Err("missing in all rows that are fitted".into()));
    }
    let count = fitted.len() as f64;
    let mean = fitted.iter().sum::<f64>() / count;
    let deviation = (fitted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    let missing = numbers.iter().zip(uses).filter(|(number, uses)| number.is_none() && **uses > 0).count();
    let constant = deviation <= 1e-9 * mean.abs().max(1e-300);
    if constant && missing == 0 {
        return Ok(Err("the same in all rows that are fitted".into()));
    }
    let slot = |number: &Option<f64>| match number {
        Some(_) if constant => (0, 0.0),
        Some(number) => (0, ((number - mean) / deviation).clamp(-LIMIT, LIMIT) as f32),
        // Rows alone that are not fitted lack it: nobody has learned what that means.
        None => {
            if missing > 0 {
                (1, 1.0)
            } else {
                (0, 0.0)
            }
        }
    };
    let (ids, weights) = numbers.iter().map(slot).unzip();
    let mut said = format!("{name} (numeric, mean {}, standard deviation {}", short(mean), short(deviation));
    if missing > 0 {
        said += &format!(", {missing} missing");
    }
    Ok(Ok(Column {
        name: name.to_owned(),
        table_rows: 1 + usize::from(missing > 0),
        width: 1,
        ids,
        weights,
        said: said + ")",
    }))
}

/// Four digits.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 1e6 || (size < 1e-3 && size > 0.0) => format!("{number:.3e}"),
        size if size >= 1000.0 => format!("{number:.0}"),
        size => {
            let digits = if size >= 10.0 { 1 } else { 3 };
            format!("{number:.digits$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn encoded(values: &[&str], kind: &FeatureKind, uses: &[u32], most: usize) -> Encoding {
        let (values, ids): (Vec<String>, Vec<String>) =
            (values.iter().map(|&value| value.into()).collect(), (0..values.len()).map(|k| k.to_string()).collect());
        let table = Columns { of: "items", ids: &ids, values: [("x", Cow::Owned(values))].into() };
        let declared = [("x".to_owned(), kind.clone())].into();
        Encoding::of(&table, &declared, uses, most).unwrap()
    }

    #[test]
    fn several_values_are_a_mean_and_rare_ones_one() {
        let kind = FeatureKind::MultiValued(",".into());
        let found = encoded(&["a, b", "['a', 'c']", "b,c, d,b", "", "e"], &kind, &[5, 1, 2, 1, 0], 3);
        let column = &found.columns[0];
        // b has 7 ratings and a has 6; c and d are the others, as is e, which nobody has rated.
        assert_eq!((column.table_rows, column.width), (3, 2));
        assert_eq!(column.ids, [0, 1, 0, 2, 1, 2, 0, 0, 2, 0]);
        assert_eq!(column.weights, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(
            column.said,
            "x (multi_valued, 2 values and 2 rarer ones as one; 1 rows that are not fitted hold unseen values)"
        );
        assert_eq!(found.slots(5, 10).0[..4], [10, 11, 10, 12]);
    }

    #[test]
    fn numbers_are_standardised_by_what_is_fitted() {
        let found = encoded(&["1", "3", "NaN", "1000", "n/a"], &FeatureKind::Numeric, &[1, 9, 1, 0, 0], 9);
        let column = &found.columns[0];
        assert_eq!((&*column.ids, &*column.weights), (&[0, 0, 1, 0, 1][..], &[-1.0, 1.0, 1.0, 5.0, 1.0][..]));
        assert_eq!(column.said, "x (numeric, mean 2.000, standard deviation 1.000, 1 missing)");
        let found = encoded(&["1", "3", ""], &FeatureKind::Numeric, &[1, 1, 0], 9);
        assert_eq!(
            (found.columns[0].table_rows, found.columns[0].weights[2]),
            (1, 0.0),
            "nobody has learned what it means"
        );
        let found = encoded(&["2", "2", ""], &FeatureKind::Numeric, &[1, 1, 1], 9);
        assert_eq!((&*found.columns[0].ids, &*found.columns[0].weights), (&[0, 0, 1][..], &[0.0, 0.0, 1.0][..]));
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        for (values, kind, reason) in [
            (["a", "a", "b"], FeatureKind::Categorical, "x (the same in all rows that are fitted)"),
            (["", "", "b"], FeatureKind::Categorical, "x (missing in all rows that are fitted)"),
            (["", "", "b"], FeatureKind::MultiValued("|".into()), "x (missing in all rows that are fitted)"),
            (["2", "2", "3"], FeatureKind::Numeric, "x (the same in all rows that are fitted)"),
            (["", "", "3"], FeatureKind::Numeric, "x (missing in all rows that are fitted)"),
        ] {
            let found = encoded(&values, &kind, &[1, 1, 0], 9);
            assert_eq!((found.columns.len(), &*found.left_out), (0, &[reason.to_owned()][..]), "{kind:?}");
        }
    }
}
