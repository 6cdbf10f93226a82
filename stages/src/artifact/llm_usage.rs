//! The calls and tokens of a language model, per episode.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, UInt32Array, UInt64Array};
use pipeline::Artifact;

use super::frame;

/// The usage of one episode. It follows from requests and responses alone, so it is the same if all responses came from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeUsage {
    /// The user.
    pub user: u32,
    /// Requests that no earlier episode made, so that the sum over episodes is the number of the stage's calls.
    pub calls: u32,
    /// Tokens of their prompts, prefixes in a cache included; `None` if the model does not report them.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the completions; `None` if the model does not report them.
    pub completion_tokens: Option<u64>,
}

/// Parquet, one row an episode, in the order of the demonstrations: `user: u32`, `calls: u32`, `prompt_tokens: u64?`,
/// `completion_tokens: u64?`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LlmUsage(pub Vec<EpisodeUsage>);

impl Artifact for LlmUsage {
    const KIND: &'static str = "llm_usage";
    const EXTENSION: &'static str = "parquet";
    /// 1: first. 2: the columns of tokens have the words of the metrics.
    const FORMAT: u32 = 2;

    fn write(&self, path: &Path) -> Result<()> {
        let count = |pick: fn(&EpisodeUsage) -> u32| Arc::new(UInt32Array::from_iter_values(self.0.iter().map(pick)));
        let tokens =
            |pick: fn(&EpisodeUsage) -> Option<u64>| Arc::new(self.0.iter().map(pick).collect::<UInt64Array>());
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("user", count(|episode| episode.user)),
            ("calls", count(|episode| episode.calls)),
            ("prompt_tokens", tokens(|episode| episode.prompt_tokens)),
            ("completion_tokens", tokens(|episode| episode.completion_tokens)),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let count = |name| frame::column::<UInt32Array>(&batch, name);
        let tokens = |name| frame::nullable::<UInt64Array>(&batch, name);
        let (user, calls) = (count("user")?, count("calls")?);
        let (prompt, completion) = (tokens("prompt_tokens")?, tokens("completion_tokens")?);
        let known = |array: &UInt64Array, row| array.is_valid(row).then(|| array.value(row));
        let episode = |row| EpisodeUsage {
            user: user.value(row),
            calls: calls.value(row),
            prompt_tokens: known(prompt, row),
            completion_tokens: known(completion, row),
        };
        Ok(Self((0..batch.num_rows()).map(episode).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_known_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("llm_usage");
        let usage = LlmUsage(vec![
            EpisodeUsage { user: 3, calls: 12, prompt_tokens: Some(4_000_000_000_000), completion_tokens: Some(0) },
            EpisodeUsage { user: 1, calls: 0, prompt_tokens: None, completion_tokens: None },
        ]);
        usage.write(&path).unwrap();
        assert_eq!(LlmUsage::read(&path).unwrap(), usage);
    }
}
