//! Columns of a catalogue as rows of a table of embeddings with weights, as a world was fitted with them.

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Array, TensorFile};

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureColumn {
    /// Its name in the catalogue.
    pub name: String,
    /// Slots of an item.
    pub width: usize,
    /// Rows of the table that are its own; its slots count from the first of them.
    pub table_rows: usize,
}

/// The columns of each item: its feature is Σ_k w_k·v_{id_k} over its slots, whose ids are rows of a table that holds all columns one after
/// the other.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemFeatures {
    /// The columns, by name.
    pub columns: Vec<FeatureColumn>,
    /// `[I, S]`, whole numbers.
    pub ids: Array,
    /// `[I, S]`; 0 of a slot that says nothing.
    pub weights: Array,
}

const IDS: &str = "item_feature_ids";
const WEIGHTS: &str = "item_feature_weights";

impl ItemFeatures {
    /// Rows of the table.
    #[must_use]
    pub fn table_rows(&self) -> usize {
        self.columns.iter().map(|column| column.table_rows).sum()
    }

    /// Those of `names` alone, in this order of columns.
    ///
    /// # Errors
    /// Where one of them is not here.
    pub fn select(&self, names: &[String]) -> Result<Self> {
        let known = || self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(unknown) = names.iter().find(|name| self.columns.iter().all(|column| column.name != **name)) {
            bail!(
                "the world was fitted with no column `{unknown}` of the items\nhelp: it has {}; declare another one in `features.items` of \
                 the stage that fits the world (a text is read through the world's own vectors)",
                known()
            );
        }
        let (mut kept, mut places, mut slot, mut row, mut new_row) = (Vec::new(), Vec::new(), 0, 0, 0_usize);
        for column in &self.columns {
            if names.contains(&column.name) {
                places.extend((slot..slot + column.width).map(|slot| (slot, row as f32 - new_row as f32)));
                kept.push(column.clone());
                new_row += column.table_rows;
            }
            slot += column.width;
            row += column.table_rows;
        }
        let items = self.ids.shape[0];
        let shape = [items, places.len()];
        let of = |array: &Array, shift: bool| {
            let value = |item: usize, (slot, by): (usize, f32)| array.row(item)[slot] - if shift { by } else { 0.0 };
            let places = &places;
            let data = (0..items).flat_map(|item| places.iter().map(move |&place| value(item, place)));
            Array::new(&shape, data.collect())
        };
        Ok(Self { ids: of(&self.ids, true), weights: of(&self.weights, false), columns: kept })
    }

    /// The arrays under `prefix` in a file.
    #[must_use]
    pub fn arrays(&self, prefix: &str) -> [(String, &Array); 2] {
        [(format!("{prefix}{IDS}"), &self.ids), (format!("{prefix}{WEIGHTS}"), &self.weights)]
    }

    /// Takes them from a file that names these columns; `None` where it names none.
    ///
    /// # Errors
    /// Where they are not those of `items` items and these columns.
    pub fn read_from(
        file: &mut TensorFile,
        prefix: &str,
        columns: Vec<FeatureColumn>,
        items: usize,
    ) -> Result<Option<Self>> {
        if columns.is_empty() {
            return Ok(None);
        }
        let [ids, weights] = [IDS, WEIGHTS].map(|name| file.take(&format!("{prefix}{name}")));
        let features = Self { columns, ids: ids?, weights: weights? };
        features.check(items).context("the columns of the items")?;
        Ok(Some(features))
    }

    /// Whether ids and weights are of `items` items and in range.
    ///
    /// # Errors
    /// Where they are not.
    pub fn check(&self, items: usize) -> Result<()> {
        let width: usize = self.columns.iter().map(|column| column.width).sum();
        for array in [&self.ids, &self.weights] {
            ensure!(array.shape == [items, width], "{:?} slots, wanted [{items}, {width}]", array.shape);
        }
        let rows = self.table_rows() as f32;
        let wrong = self.ids.data.iter().find(|&&id| !(id >= 0.0 && id < rows && id.fract() == 0.0));
        ensure!(wrong.is_none(), "row {} of a table of {rows}", wrong.unwrap_or(&0.0));
        ensure!(self.weights.data.iter().all(|weight| weight.is_finite()), "a weight that is not finite");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two items; `brand` has one slot and three rows, `price` one and two, `tags` two and four.
    fn features() -> ItemFeatures {
        let column = |name: &str, width, table_rows| FeatureColumn { name: name.into(), width, table_rows };
        ItemFeatures {
            columns: vec![column("brand", 1, 3), column("price", 1, 2), column("tags", 2, 4)],
            ids: Array::new(&[2, 4], vec![2.0, 3.0, 5.0, 8.0, 0.0, 4.0, 6.0, 5.0]),
            weights: Array::new(&[2, 4], vec![1.0, -0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 0.0]),
        }
    }

    #[test]
    fn a_selection_has_its_own_table() {
        let all = features();
        all.check(2).unwrap();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let found = all.select(&names(&["tags", "brand"])).unwrap();
        assert_eq!((found.ids.data.clone(), found.table_rows()), (vec![2.0, 3.0, 6.0, 0.0, 4.0, 3.0], 7));
        assert_eq!(found.weights.data, [1.0, 0.5, 0.5, 1.0, 1.0, 0.0]);
        found.check(2).unwrap();
        assert_eq!(all.select(&names(&["brand", "price", "tags"])).unwrap(), all);
        let error = all.select(&names(&["colour"])).unwrap_err().to_string();
        assert!(error.starts_with(
            "the world was fitted with no column `colour` of the items\nhelp: it has brand, price, tags;"
        ));
    }

    #[test]
    fn slots_of_another_catalogue_or_table_are_refused() {
        assert!(features().check(3).is_err());
        let mut wrong = features();
        wrong.ids.data[0] = 9.0;
        assert_eq!(wrong.check(2).unwrap_err().to_string(), "row 9 of a table of 9");
    }
}
