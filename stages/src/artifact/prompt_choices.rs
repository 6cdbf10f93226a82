//! Which prompt a policy over prompts chose in each session.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float32Array, StringArray, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::frame;

/// The choice in one session, by a policy that did not learn from the session's user.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptChoice {
    /// The session.
    pub session: u32,
    /// The user.
    pub user: u32,
    /// The chosen prompt.
    pub prompt: String,
    /// The text of the hint that the prompt tells; empty where it tells none.
    pub hint: String,
    /// NDCG@10 of the chosen prompt.
    pub ndcg: f32,
    /// NDCG@10 of the reference.
    pub ndcg_reference: f32,
    /// NDCG@10 of the prompt that is best in this session, which no policy knows.
    pub ndcg_oracle: f32,
}

/// Parquet, one row a session, by session: `session: u32`, `user: u32`, `prompt: utf8`, `hint: utf8`, `ndcg: f32`, `ndcg_reference: f32`,
/// `ndcg_oracle: f32`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptChoices(pub Vec<PromptChoice>);

impl Artifact for PromptChoices {
    const KIND: &'static str = "prompt_choices";
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
        let number =
            |of: fn(&PromptChoice) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows().map(of))) };
        let text =
            |of: fn(&PromptChoice) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows().map(of))) };
        let real =
            |of: fn(&PromptChoice) -> f32| -> ArrayRef { Arc::new(Float32Array::from_iter_values(rows().map(of))) };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("session", number(|row| row.session)),
            ("user", number(|row| row.user)),
            ("prompt", text(|row| &row.prompt)),
            ("hint", text(|row| &row.hint)),
            ("ndcg", real(|row| row.ndcg)),
            ("ndcg_reference", real(|row| row.ndcg_reference)),
            ("ndcg_oracle", real(|row| row.ndcg_oracle)),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let number = |name| frame::column::<UInt32Array>(&batch, name);
        let text = |name| frame::column::<StringArray>(&batch, name);
        let real = |name| frame::column::<Float32Array>(&batch, name);
        let (session, user, prompt, hint) = (number("session")?, number("user")?, text("prompt")?, text("hint")?);
        let (ndcg, reference, oracle) = (real("ndcg")?, real("ndcg_reference")?, real("ndcg_oracle")?);
        let row = |row| PromptChoice {
            session: session.value(row),
            user: user.value(row),
            prompt: prompt.value(row).to_owned(),
            hint: hint.value(row).to_owned(),
            ndcg: ndcg.value(row),
            ndcg_reference: reference.value(row),
            ndcg_oracle: oracle.value(row),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("choices");
        let choice = PromptChoice {
            session: 4,
            user: 2,
            prompt: "recent h01".into(),
            hint: "Prefer what is old.".into(),
            ndcg: 0.5,
            ndcg_reference: 0.25,
            ndcg_oracle: 1.0,
        };
        let choices = PromptChoices(vec![choice.clone(), PromptChoice { hint: String::new(), ..choice }]);
        choices.write(&path).unwrap();
        assert_eq!(PromptChoices::read(&path).unwrap(), choices);
    }
}
