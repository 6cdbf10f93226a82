//! The catalogue.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, Int32Array, ListBuilder, StringArray, StringBuilder};
use pipeline::Artifact;

use super::frame;

/// Parquet, one row an item; the row number is the item's id everywhere else:
/// `id: utf8` (as in the source), `title: utf8`, `year: i32?`, `genres: list<utf8>`.
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
}

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
        Self {
            id: keep.iter().map(|&i| self.id[i].clone()).collect(),
            title: keep.iter().map(|&i| self.title[i].clone()).collect(),
            year: keep.iter().map(|&i| self.year[i]).collect(),
            genres: keep.iter().map(|&i| self.genres[i].clone()).collect(),
        }
    }
}

impl Artifact for Items {
    const KIND: &'static str = "items";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let mut genres = ListBuilder::new(StringBuilder::new());
        for list in &self.genres {
            for genre in list {
                genres.values().append_value(genre);
            }
            genres.append(true);
        }
        let batch = frame::batch(
            Self::KIND,
            Self::FORMAT,
            vec![
                ("id", Arc::new(StringArray::from_iter_values(&self.id))),
                ("title", Arc::new(StringArray::from_iter_values(&self.title))),
                ("year", Arc::new(Int32Array::from(self.year.clone()))),
                ("genres", Arc::new(genres.finish())),
            ],
        )?;
        frame::write_parquet(path, &batch)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| -> Result<Vec<String>> {
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
        Ok(Self {
            id: text("id")?,
            title: text("title")?,
            year: frame::nullable::<Int32Array>(&batch, "year")?.iter().collect(),
            genres,
        })
    }
}
