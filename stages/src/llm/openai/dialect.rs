//! How servers differ from the usual parameters of a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of the parameter that limits an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// `max_tokens`, which nearly all servers accept.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`, which OpenAI's reasoning models require.
    MaxCompletionTokens,
}

/// The role of the message with the instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// A message of the role `system`.
    #[default]
    System,
    /// A message of the role `developer`.
    Developer,
    /// The user, in the message of the question and before it: for models without a system role.
    User,
}

/// A parameter of a request that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Parameter {
    /// The longest answer.
    MaxTokens,
    /// The sampling temperature.
    Temperature,
    /// The seed of a sampled text.
    Seed,
    /// The stop sequence of a text; what follows it is discarded in any case.
    Stop,
}

impl MaxTokensField {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::MaxTokens => Self::MaxCompletionTokens,
            Self::MaxCompletionTokens => Self::MaxTokens,
        }
    }
}

impl SystemRole {
    /// Whether the instructions are a separate message.
    pub(super) fn is_separate_message(self) -> bool {
        self != Self::User
    }
}

impl Parameter {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::Temperature => "temperature",
            Self::Seed => "seed",
            Self::Stop => "stop",
        }
    }
}
