//! How good each item is for anybody, as a model or a person says.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{ArrayRef, Float64Array, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::{frame, items::ONE_NUMBERING};

/// Parquet, one row an item, by item: `item: u32`, `score: f64?` (higher is better, on any scale), and one column `f64?` for
/// each question behind the score. A null is an item without an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemScores {
    /// The score of each item, finite where it has one.
    pub score: Vec<Option<f64>>,
    /// What each question alone says, by its name; as many values as items.
    pub questions: Vec<(String, Vec<Option<f64>>)>,
}

/// The columns that every file has.
const NAMED: [&str; 2] = ["item", "score"];

impl ItemScores {
    /// The items' mean over the questions; no score where a question has no answer, as another item's mean would hold other questions.
    ///
    /// # Errors
    /// When there is no question.
    pub fn mean_of(questions: Vec<(String, Vec<Option<f64>>)>) -> Result<Self> {
        let items = questions.first().map(|(_, values)| values.len());
        ensure!(items.is_some(), "no question to take the mean of");
        let mean = |item: usize| -> Option<f64> {
            let sum = questions.iter().try_fold(0.0, |sum, (_, values)| values[item].map(|value| sum + value))?;
            Some(sum / questions.len() as f64)
        };
        Ok(Self { score: (0..items.unwrap_or_default()).map(mean).collect(), questions })
    }

    /// How many items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.score.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.score.is_empty()
    }

    /// The scores with mean 0 and standard deviation 1 over the items that have one. All are 0 where they do not differ.
    #[must_use]
    pub fn standardised(&self) -> Vec<Option<f64>> {
        standardised(&self.score)
    }

    /// The same of each question, as columns; 0 where an item has no score.
    #[must_use]
    pub fn standardised_questions(&self) -> Vec<Vec<f32>> {
        let column = |(_, values): &(String, Vec<Option<f64>>)| {
            standardised(values).into_iter().map(|z| z.unwrap_or(0.0) as f32).collect()
        };
        self.questions.iter().map(column).collect()
    }

    /// Whether the scores are of `items` items, as those at `port` should be.
    ///
    /// # Errors
    /// With both numbers, where they differ.
    pub fn check_items(&self, port: &str, items: usize) -> Result<()> {
        let scores = self.len();
        ensure!(scores == items, "the scores at `{port}` are of {scores} items, wanted {items}\n{ONE_NUMBERING}");
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let columns = self.questions.iter().map(|(name, values)| (name.as_str(), values));
        for (name, values) in [("score", &self.score)].into_iter().chain(columns) {
            ensure!(values.len() == self.len(), "`{name}` has {} values of {} items", values.len(), self.len());
            let strange = values.iter().position(|value| value.is_some_and(|value| !value.is_finite()));
            if let Some(item) = strange {
                let value = values[item].unwrap_or_default();
                anyhow::bail!("item {item}: found {value} in `{name}`, wanted a finite number or none");
            }
        }
        for (at, (name, _)) in self.questions.iter().enumerate() {
            let taken = NAMED.contains(&name.as_str()) || self.questions[..at].iter().any(|(other, _)| other == name);
            ensure!(!taken && !name.is_empty(), "a question cannot be called `{name}`: that is another column");
        }
        Ok(())
    }
}

/// Values with mean 0 and standard deviation 1 over those that are there. All are 0 where they do not differ.
fn standardised(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let known: Vec<f64> = values.iter().copied().flatten().collect();
    let count = known.len().max(1) as f64;
    let mean = known.iter().sum::<f64>() / count;
    let deviation = (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    // Equal values may differ from their mean by a rounding, which is no difference to blow up.
    let differ = known.iter().any(|value| *value != known[0]) && deviation > 0.0;
    let z = |value: f64| if differ { (value - mean) / deviation } else { 0.0 };
    values.iter().map(|value| value.map(z)).collect()
}

impl Artifact for ItemScores {
    const KIND: &'static str = "item_scores";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        self.check()?;
        let floats =
            |values: &[Option<f64>]| -> ArrayRef { Arc::new(values.iter().copied().collect::<Float64Array>()) };
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("item", Arc::new(UInt32Array::from_iter_values(0..self.len() as u32))),
            ("score", floats(&self.score)),
        ];
        columns.extend(self.questions.iter().map(|(name, values)| (name.as_str(), floats(values))));
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let items = frame::column::<UInt32Array>(&batch, "item")?;
        let out_of_order = items.values().iter().enumerate().position(|(row, &item)| row != item as usize);
        if let Some(row) = out_of_order {
            anyhow::bail!("row {row} is of item {}, wanted the items in their order", items.value(row));
        }
        let floats = |name: &str| -> Result<Vec<Option<f64>>> {
            Ok(frame::nullable::<Float64Array>(&batch, name)?.iter().collect())
        };
        let schema = batch.schema();
        let questions = schema.fields().iter().map(|field| field.name()).filter(|name| !NAMED.contains(&name.as_str()));
        let questions = questions.map(|name| Ok((name.clone(), floats(name)?))).collect::<Result<_>>()?;
        let read = Self { score: floats("score")?, questions };
        read.check()?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores() -> ItemScores {
        let questions = vec![
            ("critics".to_owned(), vec![Some(1.0), None, Some(-3.0)]),
            ("audience".to_owned(), vec![Some(2.0), Some(9.0), Some(-1.0)]),
        ];
        ItemScores::mean_of(questions).unwrap()
    }

    #[test]
    fn a_score_is_the_mean_of_all_questions_or_none() {
        assert_eq!(scores().score, [Some(1.5), None, Some(-2.0)]);
        assert!(ItemScores::mean_of(vec![]).is_err());
    }

    #[test]
    fn a_file_gives_back_what_was_written_nulls_and_order_of_columns_included() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores");
        let spaces: IdSpaces = [("items".to_owned(), "5eed".to_owned())].into_iter().collect();
        scores().write_within(&path, &spaces).unwrap();
        assert_eq!(ItemScores::read(&path).unwrap(), scores());
        assert_eq!(ItemScores::id_spaces_of(&path).unwrap(), spaces);
        let (again, none) = (folder.path().join("again"), folder.path().join("none"));
        scores().write_within(&again, &spaces).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(again).unwrap());
        let nobody = ItemScores { score: vec![None, None], questions: vec![] };
        nobody.write(&none).unwrap();
        assert_eq!(ItemScores::read(&none).unwrap(), nobody);
    }

    #[test]
    fn what_is_no_score_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let refused = |change: fn(&mut ItemScores)| {
            let mut scores = scores();
            change(&mut scores);
            scores.write(&path).unwrap_err().to_string()
        };
        assert_eq!(
            refused(|s| s.score[2] = Some(f64::NAN)),
            "item 2: found NaN in `score`, wanted a finite number or none"
        );
        assert_eq!(refused(|s| s.questions[1].1.truncate(2)), "`audience` has 2 values of 3 items");
        assert!(refused(|s| s.questions[1].0 = "critics".into()).starts_with("a question cannot be called `critics`"));
        assert!(refused(|s| s.questions[0].0 = "item".into()).starts_with("a question cannot be called `item`"));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("item", Arc::new(UInt32Array::from(vec![0, 2]))),
            ("score", Arc::new(Float64Array::from(vec![0.0, 1.0]))),
        ];
        frame::write_parquet(&path, &frame::batch("item_scores", ItemScores::FORMAT, columns).unwrap()).unwrap();
        assert!(ItemScores::read(&path).unwrap_err().to_string().starts_with("row 1 is of item 2"));
        let error = scores().check_items("item_scores", 4).unwrap_err().to_string();
        assert!(error.starts_with("the scores at `item_scores` are of 3 items, wanted 4\nhelp: "), "{error}");
    }

    #[test]
    fn standard_scores_by_hand() {
        let scores = |score: &[Option<f64>]| ItemScores { score: score.to_vec(), questions: vec![] }.standardised();
        // Mean 3, variance ((2)² + 0 + (2)²)/3 = 8/3.
        let unit = 2.0 / (8.0_f64 / 3.0).sqrt();
        assert_eq!(scores(&[Some(1.0), None, Some(3.0), Some(5.0)]), [Some(-unit), None, Some(0.0), Some(unit)]);
        assert_eq!(scores(&[Some(0.1), Some(0.1), None, Some(0.1)]), [Some(0.0), Some(0.0), None, Some(0.0)]);
        assert_eq!(scores(&[None, None]), [None, None]);
        assert_eq!(scores(&[]), []);
        assert_eq!(self::scores().standardised_questions()[0], [1.0, 0.0, -1.0]);
    }
}
