//! The catalogue.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{Array, ArrayRef, Int32Array, ListBuilder, StringArray, StringBuilder};
use pipeline::{Artifact, IdSpaces, Sizes};

use super::frame;
use super::id_space::item_space;

/// Parquet, one row an item; the row number is the item's id everywhere else:
/// `id: utf8` (as in the source), `title: utf8`, `year: i32?`, `genres: list<utf8>`, and one `utf8` column for each other
/// feature of the source, empty where unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Items {
    /// The id in the source.
    pub id: Vec<String>,
    /// What a person or a language model calls it.
    pub title: Vec<String>,
    /// The year of release, where known.
    pub year: Vec<Option<i32>>,
    /// Its categories, in the source's order.
    pub genres: Vec<Vec<String>>,
    /// Name of any other feature → one value an item.
    pub features: BTreeMap<String, Vec<String>>,
}

/// What to do where tables, logs and worlds do not fit each other.
pub(super) const ONE_NUMBERING: &str = "help: take all of them from one stage or from what was made of it: most likely one comes from \
                                        before a `filter.kcore`, which numbers users and items anew";

/// The columns that every catalogue has.
const NAMED: [&str; 4] = ["id", "title", "year", "genres"];

impl Items {
    /// How many items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.id.len()
    }
    /// Whether the catalogue is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }
    /// The items at `keep`, in that order.
    #[must_use]
    pub fn take(&self, keep: &[usize]) -> Self {
        let take = |values: &[String]| keep.iter().map(|&i| values[i].clone()).collect();
        Self {
            id: take(&self.id),
            title: take(&self.title),
            year: keep.iter().map(|&i| self.year[i]).collect(),
            genres: keep.iter().map(|&i| self.genres[i].clone()).collect(),
            features: self.features.iter().map(|(name, values)| (name.clone(), take(values))).collect(),
        }
    }
}

impl Artifact for Items {
    const KIND: &'static str = "items";
    const EXTENSION: &'static str = "parquet";
    /// 3: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 3;
    const NUMBERED: bool = true;

    fn id_spaces(&self) -> IdSpaces {
        item_space(&self.id)
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn sizes_of(path: &Path) -> Result<Sizes> {
        frame::parquet_rows(path, "items")
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut genres = ListBuilder::new(StringBuilder::new());
        for list in &self.genres {
            for genre in list {
                genres.values().append_value(genre);
            }
            genres.append(true);
        }
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(StringArray::from_iter_values(&self.id))),
            ("title", Arc::new(StringArray::from_iter_values(&self.title))),
            ("year", Arc::new(Int32Array::from(self.year.clone()))),
            ("genres", Arc::new(genres.finish())),
        ];
        for (name, values) in &self.features {
            ensure!(!NAMED.contains(&name.as_str()), "a feature of items cannot be called `{name}`: that is a column");
            columns.push((name, Arc::new(StringArray::from_iter_values(values))));
        }
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, &self.id_spaces(), columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name: &str| -> Result<Vec<String>> {
            Ok(frame::column::<StringArray>(&batch, name)?.iter().flatten().map(str::to_owned).collect())
        };
        let lists = frame::column::<arrow::array::ListArray>(&batch, "genres")?;
        let genres = (0..lists.len())
            .map(|row| {
                let list = lists.value(row);
                let list = list.as_any().downcast_ref::<StringArray>();
                list.map(|list| list.iter().flatten().map(str::to_owned).collect()).unwrap_or_default()
            })
            .collect();
        let schema = batch.schema();
        let features = schema.fields().iter().map(|field| field.name()).filter(|name| !NAMED.contains(&name.as_str()));
        let features = features.map(|name| Ok((name.clone(), text(name)?))).collect::<Result<_>>()?;
        Ok(Self {
            id: text("id")?,
            title: text("title")?,
            year: frame::nullable::<Int32Array>(&batch, "year")?.iter().collect(),
            genres,
            features,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_feature_is_no_column_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut items = Items {
            id: vec!["a".into(), "b".into()],
            title: vec!["A".into(), "B".into()],
            year: vec![None, Some(1990)],
            genres: vec![vec!["x".into(), "y".into()], vec![]],
            features: BTreeMap::from([("colour".to_owned(), vec!["red".to_owned(), String::new()])]),
        };
        let path = folder.path().join("items");
        items.write(&path).unwrap();
        assert_eq!(Items::read(&path).unwrap(), items);
        items.features = BTreeMap::from([("title".to_owned(), vec![String::new(); 2])]);
        let error = items.write(&folder.path().join("other")).unwrap_err().to_string();
        assert_eq!(error, "a feature of items cannot be called `title`: that is a column");
    }
}
