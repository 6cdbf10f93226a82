//! What names that a model wrote were taken for.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// One name, with what the source took it for.
#[derive(Clone, Debug, PartialEq)]
pub struct GroundedName {
    /// The name as the model wrote it.
    pub said: String,
    /// How often it was said and recorded so.
    pub times: u32,
    /// How the item was found: `exact`, `normalised`, `trigram`, `embedding`; `unmatched` where nothing was near enough.
    pub how: String,
    /// How near it is, up to 1.
    pub similarity: f64,
    /// The id in the source of the item found, or of the nearest one.
    pub item: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// The id in the source of the item that was recorded, where it is in the catalogue.
    pub recorded_item: Option<String>,
    /// The title that was recorded.
    pub recorded_title: Option<String>,
}

impl GroundedName {
    /// Whether both are the same item; `None` where the source names none.
    #[must_use]
    pub fn agrees(&self) -> Option<bool> {
        self.recorded_item.as_ref().map(|recorded| self.item.as_ref() == Some(recorded))
    }
}

/// Parquet, a row for each pair of a name and what the source took it for, the most frequent first, then by name:
/// `said: utf8`, `times: u32`, `how: utf8`, `similarity: f64`, `item: utf8?`, `title: utf8?`, `recorded_item: utf8?`,
/// `recorded_title: utf8?`, `agrees: bool?`. Items are named by their ids in the source, as the catalogue may leave out
/// what nobody was recommended. An `unmatched` row shows the nearest item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groundings(pub Vec<GroundedName>);

impl Artifact for Groundings {
    const KIND: &'static str = "groundings";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.0;
        let texts = |of: fn(&GroundedName) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(of).collect::<StringArray>())
        };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("said", texts(|row| Some(&row.said))),
            ("times", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.times)))),
            ("how", texts(|row| Some(&row.how))),
            ("similarity", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.similarity)))),
            ("item", texts(|row| row.item.as_deref())),
            ("title", texts(|row| row.title.as_deref())),
            ("recorded_item", texts(|row| row.recorded_item.as_deref())),
            ("recorded_title", texts(|row| row.recorded_title.as_deref())),
            ("agrees", Arc::new(rows.iter().map(GroundedName::agrees).collect::<BooleanArray>())),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let (said, how) = (frame::column::<StringArray>(&batch, "said")?, frame::column::<StringArray>(&batch, "how")?);
        let times = frame::column::<UInt32Array>(&batch, "times")?;
        let similarity = frame::column::<Float64Array>(&batch, "similarity")?;
        let optional = |name| frame::nullable::<StringArray>(&batch, name);
        let (item, title) = (optional("item")?, optional("title")?);
        let (recorded_item, recorded_title) = (optional("recorded_item")?, optional("recorded_title")?);
        let of = |column: &StringArray, row: usize| column.is_valid(row).then(|| column.value(row).to_owned());
        let row = |row| GroundedName {
            said: said.value(row).to_owned(),
            times: times.value(row),
            how: how.value(row).to_owned(),
            similarity: similarity.value(row),
            item: of(item, row),
            title: of(title, row),
            recorded_item: of(recorded_item, row),
            recorded_title: of(recorded_title, row),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_agreement_needs_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("groundings");
        let name = |item: Option<&str>, recorded: Option<&str>| GroundedName {
            said: "heat".into(),
            times: 3,
            how: "normalised".into(),
            similarity: 1.0,
            item: item.map(Into::into),
            title: item.map(|_| "Heat".into()),
            recorded_item: recorded.map(Into::into),
            recorded_title: None,
        };
        let rows =
            vec![name(Some("7"), Some("7")), name(Some("7"), Some("8")), name(None, Some("7")), name(None, None)];
        let agrees: Vec<_> = rows.iter().map(GroundedName::agrees).collect();
        assert_eq!(agrees, [Some(true), Some(false), Some(false), None]);
        let groundings = Groundings(rows);
        groundings.write(&path).unwrap();
        assert_eq!(Groundings::read(&path).unwrap(), groundings);
    }
}
