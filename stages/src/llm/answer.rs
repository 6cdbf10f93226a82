//! What a language model answered, and what it took.

use std::fmt;
use std::ops::Add;

/// A raw answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer as it is stored: JSON in the provider's own form, without measurements.
    pub text: String,
    /// Tokens that this call evaluated or that the provider billed. Cached tokens do not count, so the number differs between a
    /// resumed and an uninterrupted run and belongs in no object.
    pub tokens: u64,
}

/// Tokens of requests and their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Tokens of whole prompts, as if nothing were cached.
    pub prompt: u64,
    /// Generated tokens.
    pub completion: u64,
}

impl Add for TokenUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            completion: self.completion.saturating_add(other.completion),
        }
    }
}

/// The error of a request that the model did not answer; other requests may succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// The server's status, where it responded.
    pub status: Option<u16>,
    /// What happened, in a sentence; where something helps, followed by a line `help: …`.
    pub reason: String,
    /// The beginning of the response, if there was one.
    pub raw: String,
}

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for FailedCall {}
