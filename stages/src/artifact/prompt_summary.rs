//! What prompts are worth, over all sessions.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// One quantity of one prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptEstimate {
    /// The prompt, as in [`PromptTable`](super::PromptTable).
    pub prompt: String,
    /// `chronological` or `shuffled`.
    pub order: String,
    /// What is estimated, each as a mean over sessions:
    ///
    /// - `ndcg`: NDCG@10 of the item taken next; `first`: the share of sessions in which it is ranked first.
    /// - `ndcg_over_item_only`, `score_over_item_only`: less that of the prompt that tells nothing of the user.
    /// - `ndcg_over_shuffled`, `score_over_shuffled`: less that of the same prompt with a shuffled history. The score is ln p a token
    ///   of the item taken next.
    /// - `ndcg_over_plain`, `score_over_plain`: of prompts with examples or a hint, less that of the prompt without.
    /// - `tokens`, `calls`: of one session.
    pub quantity: String,
    /// The mean.
    pub value: f64,
    /// Lower end of the 95 % interval over sessions (bootstrap), each of which is of another user.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Of differences, the smallest one that is found with a power of 80 %: 2.8 standard errors; NaN elsewhere.
    pub detectable: f64,
    /// Number of sessions behind it.
    pub sessions: u32,
}

/// Parquet, one row a prompt and quantity: `prompt: utf8`, `order: utf8`, `quantity: utf8`, `value: f64`, `low: f64`, `high: f64`,
/// `detectable: f64`, `sessions: u32`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptSummary(pub Vec<PromptEstimate>);

impl PromptSummary {
    /// The estimate of these names, if there is one.
    #[must_use]
    pub fn find(&self, prompt: &str, order: &str, quantity: &str) -> Option<&PromptEstimate> {
        let names = (prompt, order, quantity);
        self.0.iter().find(|row| (row.prompt.as_str(), row.order.as_str(), row.quantity.as_str()) == names)
    }
}

impl Artifact for PromptSummary {
    const KIND: &'static str = "prompt_summary";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = || self.0.iter();
        let text = |pick: fn(&PromptEstimate) -> &String| StringArray::from_iter_values(rows().map(pick));
        let float = |pick: fn(&PromptEstimate) -> f64| Float64Array::from_iter_values(rows().map(pick));
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("prompt", Arc::new(text(|row| &row.prompt))),
            ("order", Arc::new(text(|row| &row.order))),
            ("quantity", Arc::new(text(|row| &row.quantity))),
            ("value", Arc::new(float(|row| row.value))),
            ("low", Arc::new(float(|row| row.low))),
            ("high", Arc::new(float(|row| row.high))),
            ("detectable", Arc::new(float(|row| row.detectable))),
            ("sessions", Arc::new(UInt32Array::from_iter_values(rows().map(|row| row.sessions)))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let float = |name| frame::column::<Float64Array>(&batch, name);
        let (prompt, order, quantity) = (text("prompt")?, text("order")?, text("quantity")?);
        let (value, low, high, detectable) = (float("value")?, float("low")?, float("high")?, float("detectable")?);
        let sessions = frame::column::<UInt32Array>(&batch, "sessions")?;
        let row = |row| PromptEstimate {
            prompt: prompt.value(row).to_owned(),
            order: order.value(row).to_owned(),
            quantity: quantity.value(row).to_owned(),
            value: value.value(row),
            low: low.value(row),
            high: high.value(row),
            detectable: detectable.value(row),
            sessions: sessions.value(row),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary");
        let row = PromptEstimate {
            prompt: "recent".into(),
            order: "shuffled".into(),
            quantity: "ndcg".into(),
            value: 0.4,
            low: 0.3,
            high: 0.5,
            detectable: 0.1,
            sessions: 20,
        };
        let summary = PromptSummary(vec![row.clone(), PromptEstimate { quantity: "first".into(), ..row.clone() }]);
        summary.write(&path).unwrap();
        assert_eq!(PromptSummary::read(&path).unwrap(), summary);
        assert_eq!(summary.find("recent", "shuffled", "ndcg"), Some(&row));
        assert_eq!(summary.find("recent", "chronological", "ndcg"), None);
    }
}
