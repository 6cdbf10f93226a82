//! The log of what a service showed, as `apprentice serve --log` writes it.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt32Array,
};
use parquet::arrow::ArrowWriter;
use pipeline::impressions::Impression;

use super::frame;

/// Rows as the bytes of a Parquet file, one row an item shown:
/// `time: timestamp[µs, UTC]`, `answer_id: text`, `user: text` (null for somebody unnamed), `new_user: bool`, `history: list of texts`,
/// `restricted: bool`, `policy: text`, `digest: text`, `share: f64`, `position: u32` (from 1), `item: text`, `policy_propensity: f64`,
/// `propensity: f64`. [`Impression`] says what each means.
///
/// # Errors
/// When Parquet refuses them.
pub fn encode_impressions(rows: &[Impression]) -> Result<Vec<u8>> {
    fn of<T>(rows: &[Impression], value: impl Fn(&Impression) -> T) -> impl Iterator<Item = T> {
        rows.iter().map(value)
    }
    let mut histories = ListBuilder::new(StringBuilder::new());
    for row in rows {
        row.history.iter().for_each(|item| histories.values().append_value(item));
        histories.append(true);
    }
    let texts = |value: fn(&Impression) -> &str| Arc::new(StringArray::from_iter_values(rows.iter().map(value)));
    let numbers = |value: fn(&Impression) -> f64| Arc::new(Float64Array::from_iter_values(of(rows, value)));
    let flags = |value: fn(&Impression) -> bool| Arc::new(of(rows, value).map(Some).collect::<BooleanArray>());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(TimestampMicrosecondArray::from_iter_values(of(rows, |row| row.time)).with_timezone("UTC"))),
        ("answer_id", texts(|row| &row.answer_id)),
        ("user", Arc::new(rows.iter().map(|row| row.user.as_deref()).collect::<StringArray>())),
        ("new_user", flags(|row| row.new_user)),
        ("history", Arc::new(histories.finish())),
        ("restricted", flags(|row| row.restricted)),
        ("policy", texts(|row| &row.policy)),
        ("digest", texts(|row| &row.digest)),
        ("share", numbers(|row| row.share)),
        ("position", Arc::new(UInt32Array::from_iter_values(of(rows, |row| row.position)))),
        ("item", texts(|row| &row.item)),
        ("policy_propensity", numbers(|row| row.policy_propensity)),
        ("propensity", numbers(|row| row.propensity)),
    ];
    // The schema is the same in every file, whatever its rows lack.
    let nullable = |name: &str| matches!(name, "user");
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, nullable(name))),
    )?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(frame::properties()?))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, AsArray as _};
    use arrow::datatypes::Float64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn shown(user: Option<&str>, position: u32) -> Impression {
        Impression {
            time: 1_700_000_000_123_456,
            answer_id: "a-1".into(),
            user: user.map(Into::into),
            new_user: user.is_none(),
            history: vec!["7".to_owned(); position as usize].into(),
            restricted: false,
            policy: "p".into(),
            digest: "abc".into(),
            share: 0.25,
            position,
            item: format!("i{position}"),
            policy_propensity: 0.5,
            propensity: 0.125,
        }
    }

    #[test]
    fn every_row_is_there_and_files_have_one_schema() {
        let read = |rows: &[Impression]| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("p"), encode_impressions(rows).unwrap()).unwrap();
            let file = std::fs::File::open(folder.path().join("p")).unwrap();
            ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().next().unwrap().unwrap()
        };
        let batch = read(&[shown(Some("u"), 1), shown(None, 2)]);
        let texts = |name: &str| batch[name].as_string::<i32>().clone();
        assert_eq!((texts("user").value(0), texts("user").is_null(1), texts("item").value(1)), ("u", true, "i2"));
        assert_eq!(batch["propensity"].as_primitive::<Float64Type>().values(), &[0.125, 0.125]);
        assert_eq!(batch["history"].as_list::<i32>().value(1).len(), 2);
        assert_eq!(read(&[shown(Some("u"), 1)]).schema(), batch.schema());
    }
}
