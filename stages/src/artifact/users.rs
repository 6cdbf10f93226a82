//! The users of a log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use pipeline::{Artifact, IdSpaces, Sizes};

use super::frame;
use super::id_space::user_space;

/// Parquet, one row a user; the row number is the user's id everywhere else:
/// `id: utf8` (as in the source) and one `utf8` column for each feature of the source, empty where unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Users {
    /// The id in the source.
    pub id: Vec<String>,
    /// Feature name → one value a user.
    pub features: BTreeMap<String, Vec<String>>,
}

impl Users {
    /// How many users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.id.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }
    /// The users at `keep`, in that order.
    #[must_use]
    pub fn take(&self, keep: &[usize]) -> Self {
        let take = |values: &[String]| keep.iter().map(|&i| values[i].clone()).collect();
        Self {
            id: take(&self.id),
            features: self.features.iter().map(|(name, values)| (name.clone(), take(values))).collect(),
        }
    }
}

impl Artifact for Users {
    const KIND: &'static str = "users";
    const EXTENSION: &'static str = "parquet";
    /// 2: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 2;
    const NUMBERED: bool = true;

    fn id_spaces(&self) -> IdSpaces {
        user_space(&self.id)
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn sizes_of(path: &Path) -> Result<Sizes> {
        frame::parquet_rows(path, "users")
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(StringArray::from_iter_values(&self.id)))];
        for (name, values) in &self.features {
            columns.push((name, Arc::new(StringArray::from_iter_values(values))));
        }
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, &self.id_spaces(), columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let mut users = Self::default();
        for field in batch.schema().fields() {
            let values: Vec<String> =
                frame::column::<StringArray>(&batch, field.name())?.iter().flatten().map(str::to_owned).collect();
            if field.name() == "id" {
                users.id = values;
            } else {
                users.features.insert(field.name().clone(), values);
            }
        }
        Ok(users)
    }
}
