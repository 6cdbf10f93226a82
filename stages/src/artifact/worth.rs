//! What a language model is worth: its place on the learning curves of the log.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// One estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct WorthEstimate {
    /// The scores whose worth it is (a model, or a control); empty of what needs none.
    pub scores: String,
    /// The learner; empty of scores alone.
    pub learner: String,
    /// The evaluation world, or `all` for the mean over the worlds.
    pub world: String,
    /// What is estimated:
    ///
    /// - `return`: V(N), the mean return with these scores (without any where `scores` is empty).
    /// - `gain`: V_FM(N) − V_F(N), paired by half, draw and user.
    /// - `marginal_worth`: W_F(N) = V_F⁻¹(V_FM(N)) − N, in ratings.
    /// - `standalone_worth`: N* with V_best(N*) = V(scores alone), in ratings; `n` is 0.
    /// - `detectable_gain`: the smallest gain that is found with a power of 80 %: 2.8 standard errors of `gain`.
    /// - `lead`: the return of a learner that reads vectors of the items less that of one without them, from the same ratings;
    ///   `detectable_lead`: the smallest one that is found.
    /// - `margin`: the equivalence margin, a share of V(oracle) − V(random); `n` is 0.
    /// - `end`: the log size from which on the scores change nothing: every gain's interval from there on lies within the margin
    ///   and not above 0. `value` is NaN where there is none; `n` is 0.
    pub quantity: String,
    /// N.
    pub n: u32,
    /// The estimate.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Of worths, what the log cannot resolve, because it lies beyond the largest N: `value`, or only the `high` end; empty elsewhere.
    pub censored: String,
}

/// Parquet, one row an estimate: `scores: utf8`, `learner: utf8`, `world: utf8`, `quantity: utf8`, `n: u32`, `value: f64`,
/// `low: f64`, `high: f64`, `censored: utf8`; in the footer under `answer` the answer in words, a JSON list of lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worth {
    /// The estimates.
    pub rows: Vec<WorthEstimate>,
    /// The answer in words, one line a sentence or two. What is said of one log size begins with `NAME beside N ratings`.
    pub answer: Vec<String>,
}

/// The key of the answer in the footer.
const ANSWER: &str = "answer";

impl Worth {
    /// The estimate of these names, if there is one.
    #[must_use]
    pub fn find(&self, scores: &str, learner: &str, world: &str, quantity: &str, n: u32) -> Option<&WorthEstimate> {
        self.rows.iter().find(|row| {
            (row.scores.as_str(), row.learner.as_str(), row.world.as_str()) == (scores, learner, world)
                && (row.quantity.as_str(), row.n) == (quantity, n)
        })
    }
}

impl Artifact for Worth {
    const KIND: &'static str = "worth";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.rows;
        let text = |pick: fn(&WorthEstimate) -> &String| StringArray::from_iter_values(rows.iter().map(pick));
        let float = |pick: fn(&WorthEstimate) -> f64| Float64Array::from_iter_values(rows.iter().map(pick));
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("scores", Arc::new(text(|r| &r.scores))),
            ("learner", Arc::new(text(|r| &r.learner))),
            ("world", Arc::new(text(|r| &r.world))),
            ("quantity", Arc::new(text(|r| &r.quantity))),
            ("n", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.n)))),
            ("value", Arc::new(float(|r| r.value))),
            ("low", Arc::new(float(|r| r.low))),
            ("high", Arc::new(float(|r| r.high))),
            ("censored", Arc::new(text(|r| &r.censored))),
        ];
        let answer = serde_json::to_string(&self.answer)?;
        frame::write_parquet_saying(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?, (ANSWER, &answer))
    }

    fn read(path: &Path) -> Result<Self> {
        let (batch, answer) = frame::read_parquet_saying(path, Self::KIND, Self::FORMAT, ANSWER)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let float = |name| frame::column::<Float64Array>(&batch, name);
        let (scores, learner, world) = (text("scores")?, text("learner")?, text("world")?);
        let (quantity, censored) = (text("quantity")?, text("censored")?);
        let n = frame::column::<UInt32Array>(&batch, "n")?;
        let (value, low, high) = (float("value")?, float("low")?, float("high")?);
        let row = |row| WorthEstimate {
            scores: scores.value(row).to_owned(),
            learner: learner.value(row).to_owned(),
            world: world.value(row).to_owned(),
            quantity: quantity.value(row).to_owned(),
            n: n.value(row),
            value: value.value(row),
            low: low.value(row),
            high: high.value(row),
            censored: censored.value(row).to_owned(),
        };
        Ok(Self { rows: (0..batch.num_rows()).map(row).collect(), answer: serde_json::from_str(&answer)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let row = |quantity: &str, n| WorthEstimate {
            scores: "llm".into(),
            learner: "biases".into(),
            world: "all".into(),
            quantity: quantity.into(),
            n,
            value: 480.0,
            low: 300.0,
            high: 700.0,
            censored: String::new(),
        };
        let worth =
            Worth { rows: vec![row("gain", 100), row("marginal_worth", 100)], answer: vec!["It \"adds\".".into()] };
        let path = folder.path().join("worth");
        worth.write(&path).unwrap();
        assert_eq!(Worth::read(&path).unwrap(), worth);
        assert_eq!(worth.find("llm", "biases", "all", "gain", 100), Some(&worth.rows[0]));
        assert_eq!(worth.find("llm", "biases", "all", "gain", 300), None);
    }
}
