//! How a language model ranks held-out next items under different prompts.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{
    Array, ArrayRef, Float32Array, Float32Builder, ListArray, ListBuilder, StringArray, UInt32Array, UInt32Builder,
    UInt64Array,
};
use pipeline::{Artifact, IdSpaces};

use super::frame;

/// One session under one prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptResult {
    /// The session: a user's history and the item taken next.
    pub session: u32,
    /// The user.
    pub user: u32,
    /// The item taken next.
    pub target: u32,
    /// The history, oldest first, in the true order whatever was told.
    pub history: Vec<u32>,
    /// The prompt: a strategy, a strategy with examples, a strategy with a hint (`recent + h03`), or an aggregate.
    pub prompt: String,
    /// The order in which the history was told: `chronological`, or `shuffled`, the control.
    pub order: String,
    /// The candidates, of which the target is one, in the order in which they were offered.
    pub candidates: Vec<u32>,
    /// The score of each candidate, higher is better: ln p a token of the model's own scores, points of an aggregate. Empty where
    /// the model did not answer.
    pub scores: Vec<f32>,
    /// Tokens of the prompts and answers, without those that all prompts share (a title alone); `None` where the model does not
    /// report them.
    pub tokens: Option<u64>,
    /// Number of choices that the model was asked for.
    pub calls: u32,
}

/// Where ranks end to count in NDCG.
const NDCG_PLACES: f64 = 10.0;

impl PromptResult {
    /// The score of the target; `None` where the model did not answer.
    #[must_use]
    pub fn target_score(&self) -> Option<f32> {
        let place = self.candidates.iter().position(|&item| item == self.target)?;
        self.scores.get(place).copied()
    }

    /// The rank of the target, from 1: one more than the candidates with a higher score, and half of those with an equal one.
    /// `None` where the model did not answer.
    #[must_use]
    pub fn rank(&self) -> Option<f64> {
        let own = self.target_score()?;
        let count = |of: fn(&f32, &f32) -> bool| self.scores.iter().filter(|score| of(score, &own)).count() as f64;
        Some(1.0 + count(|score, own| score > own) + (count(|score, own| score == own) - 1.0) / 2.0)
    }

    /// NDCG@10 with one relevant item: 1/log₂(1 + rank) up to rank 10, else 0; 0 also where the model did not answer.
    #[must_use]
    pub fn ndcg(&self) -> f64 {
        self.rank().map_or(0.0, Self::ndcg_of)
    }

    /// NDCG@10 of a rank, from 1.
    #[must_use]
    pub fn ndcg_of(rank: f64) -> f64 {
        if rank <= NDCG_PLACES { 1.0 / (1.0 + rank).log2() } else { 0.0 }
    }
}

/// Parquet, one row a session and prompt, by session: `session: u32`, `user: u32`, `target: u32`, `history: list<u32>` (oldest first),
/// `prompt: utf8`, `order: utf8` (`chronological` or `shuffled`), `candidates: list<u32>`, `scores: list<f32>` (empty where the
/// model did not answer), `rank: f32?` (of the target, from 1), `ndcg: f32` (NDCG@10), `tokens: u64?`, `calls: u32`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptTable(pub Vec<PromptResult>);

impl Artifact for PromptTable {
    const KIND: &'static str = "prompt_table";
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
        let rows = || self.0.iter();
        let id = |of: fn(&PromptResult) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows().map(of))) };
        let text =
            |of: fn(&PromptResult) -> &String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows().map(of))) };
        let ids = |of: fn(&PromptResult) -> &Vec<u32>| -> ArrayRef {
            let mut list = ListBuilder::new(UInt32Builder::new());
            for row in rows() {
                list.values().append_slice(of(row));
                list.append(true);
            }
            Arc::new(list.finish())
        };
        let mut scores = ListBuilder::new(Float32Builder::new());
        for row in rows() {
            scores.values().append_slice(&row.scores);
            scores.append(true);
        }
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("session", id(|row| row.session)),
            ("user", id(|row| row.user)),
            ("target", id(|row| row.target)),
            ("history", ids(|row| &row.history)),
            ("prompt", text(|row| &row.prompt)),
            ("order", text(|row| &row.order)),
            ("candidates", ids(|row| &row.candidates)),
            ("scores", Arc::new(scores.finish())),
            ("rank", Arc::new(rows().map(|row| row.rank().map(|rank| rank as f32)).collect::<Float32Array>())),
            ("ndcg", Arc::new(Float32Array::from_iter_values(rows().map(|row| row.ndcg() as f32)))),
            ("tokens", Arc::new(rows().map(|row| row.tokens).collect::<UInt64Array>())),
            ("calls", id(|row| row.calls)),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let id = |name| frame::column::<UInt32Array>(&batch, name);
        let text = |name| frame::column::<StringArray>(&batch, name);
        let list = |name| frame::column::<ListArray>(&batch, name);
        let (session, user, target, calls) = (id("session")?, id("user")?, id("target")?, id("calls")?);
        let (prompt, order) = (text("prompt")?, text("order")?);
        let (history, candidates, scores) = (list("history")?, list("candidates")?, list("scores")?);
        let tokens = frame::nullable::<UInt64Array>(&batch, "tokens")?;
        let ids = |list: &ListArray, row: usize| -> Result<Vec<u32>> {
            let values = list.value(row);
            let values = values.as_any().downcast_ref::<UInt32Array>().context("a list of items is not u32")?;
            Ok(values.values().to_vec())
        };
        let row = |row: usize| -> Result<PromptResult> {
            let values = scores.value(row);
            let values = values.as_any().downcast_ref::<Float32Array>().context("scores are not f32")?;
            let found = PromptResult {
                session: session.value(row),
                user: user.value(row),
                target: target.value(row),
                history: ids(history, row)?,
                prompt: prompt.value(row).to_owned(),
                order: order.value(row).to_owned(),
                candidates: ids(candidates, row)?,
                scores: values.values().to_vec(),
                tokens: tokens.is_valid(row).then(|| tokens.value(row)),
                calls: calls.value(row),
            };
            let (offered, scored) = (found.candidates.len(), found.scores.len());
            ensure!(scored == 0 || scored == offered, "row {row} has {scored} scores of {offered} candidates");
            Ok(found)
        };
        Ok(Self((0..batch.num_rows()).map(row).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scores: &[f32]) -> PromptResult {
        PromptResult {
            session: 1,
            user: 7,
            target: 3,
            history: vec![9, 8],
            prompt: "recent".into(),
            order: "chronological".into(),
            candidates: vec![5, 3, 4],
            scores: scores.to_vec(),
            tokens: Some(40),
            calls: 1,
        }
    }

    #[test]
    fn ranks_by_hand() {
        assert_eq!((row(&[1.0, 2.0, 0.0]).rank(), row(&[1.0, 2.0, 0.0]).ndcg()), (Some(1.0), 1.0));
        assert_eq!(row(&[3.0, 2.0, 0.0]).rank(), Some(2.0));
        assert!((row(&[3.0, 2.0, 0.0]).ndcg() - 1.0 / 3.0_f64.log2()).abs() < 1e-12);
        assert_eq!(row(&[2.0, 2.0, 2.0]).rank(), Some(2.0), "equals share the mean of their places");
        assert_eq!((row(&[]).rank(), row(&[]).ndcg()), (None, 0.0));
        let long =
            PromptResult { candidates: (0..20).collect(), scores: (0..20).map(|s| s as f32).collect(), ..row(&[]) };
        assert_eq!((long.rank(), long.ndcg()), (Some(17.0), 0.0));
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        let table = PromptTable(vec![row(&[1.0, 2.0, 0.0]), PromptResult { tokens: None, ..row(&[]) }]);
        table.write(&path).unwrap();
        assert_eq!(PromptTable::read(&path).unwrap(), table);
    }
}
