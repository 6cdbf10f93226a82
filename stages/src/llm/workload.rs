//! How much a stage will ask, for an estimate before it runs.

/// An estimate of the requests that a model gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Choices.
    pub choices: u64,
    /// Texts.
    pub texts: u64,
    /// Prompt tokens in total.
    pub prompt_tokens: u64,
    /// The most tokens of the texts in total.
    pub text_tokens: u64,
}
