//! The files behind a table, and in what they differ where polars cannot read them as one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Error, Result};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use pipeline::UsageError;

use super::super::arrow::ArrowFile;
use super::super::description::Format;
use super::super::escape;
use super::super::parquet::ParquetFile;
use crate::artifact::{catch_panics, damaged};

/// The files of a table.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub format: Format,
    pub files: Arc<[PathBuf]>,
}

impl Parts {
    /// What is wrong with the files, where that explains why they cannot be read as one table; else the error itself.
    pub fn explain(&self, error: Error) -> Error {
        if self.files.len() < 2 || !matches!(self.format, Format::Parquet | Format::Arrow | Format::ArrowStream) {
            return error;
        }
        self.difference().err().unwrap_or(error)
    }

    /// The columns of the first file as it has them; none of text.
    pub fn own_schema(&self) -> SchemaRef {
        let own = match self.format {
            Format::Parquet | Format::Arrow | Format::ArrowStream => self.schema(&self.files[0]).ok(),
            _ => None,
        };
        own.unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    /// # Errors
    /// Where a file is damaged, or its columns are not those of the first.
    fn difference(&self) -> Result<()> {
        let schema = |path: &Path| self.schema(path).with_context(|| shown(path));
        let first = schema(&self.files[0])?;
        for path in &self.files[1..] {
            let found = schema(path)?;
            if let Some(words) = difference(&found, &first) {
                let (path, first) = (shown(path), shown(&self.files[0]));
                let help = "write the files with the same columns, or name a pattern that leaves some out, such as 'folder/a*.parquet'";
                return Err(UsageError(format!("{path} {words} {first}\nhelp: {help}")).into());
            }
        }
        Ok(())
    }

    fn schema(&self, path: &Path) -> Result<SchemaRef> {
        let file = File::open(path).context("cannot be opened")?;
        let bytes = file.metadata()?.len();
        Ok(match self.format {
            Format::Parquet => ParquetFile::open(file, bytes)?.schema().clone(),
            Format::Arrow => ArrowFile::open(file, bytes)?.schema().clone(),
            _ => {
                let reader = catch_panics(|| StreamReader::try_new_buffered(file, None));
                reader.map_err(|error| damaged("its schema cannot be read", error))?.schema()
            }
        })
    }
}

fn shown(path: &Path) -> String {
    escape::shown(&path.display().to_string(), usize::MAX)
}

/// How columns differ, in words between the names of two files; `None` where they do not.
fn difference(found: &Schema, wanted: &Schema) -> Option<String> {
    let name = |name: &str| pipeline::escape::shown(name, 80);
    for field in wanted.fields() {
        let Ok(other) = found.field_with_name(field.name()) else {
            return Some(format!("has no column `{}`, as there is in", name(field.name())));
        };
        if other.data_type() != field.data_type() {
            return Some(format!(
                "has {} in the column `{}`, not {} as in",
                other.data_type(),
                name(field.name()),
                field.data_type()
            ));
        }
    }
    let more = found.fields().iter().find(|field| wanted.field_with_name(field.name()).is_err());
    if let Some(field) = more {
        return Some(format!("has a column `{}`, which is not in", name(field.name())));
    }
    let moved = found.fields().iter().zip(wanted.fields()).find(|(one, other)| one.name() != other.name());
    moved.map(|(field, _)| format!("has the column `{}` at another place than", name(field.name())))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let schema = |fields: &[(&str, DataType)]| {
            Schema::new(fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
        };
        let wanted = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
        let told = |fields: &[(&str, DataType)]| difference(&schema(fields), &wanted);
        assert_eq!(told(&[("a", DataType::Int64), ("b", DataType::Utf8)]), None);
        assert_eq!(told(&[("a", DataType::Int64)]).unwrap(), "has no column `b`, as there is in");
        let other = told(&[("a", DataType::Int32), ("b", DataType::Utf8)]).unwrap();
        assert_eq!(other, "has Int32 in the column `a`, not Int64 as in");
        let more = told(&[("a", DataType::Int64), ("b", DataType::Utf8), ("c", DataType::Utf8)]).unwrap();
        assert_eq!(more, "has a column `c`, which is not in");
        let moved = told(&[("b", DataType::Utf8), ("a", DataType::Int64)]).unwrap();
        assert_eq!(moved, "has the column `b` at another place than");
    }
}
