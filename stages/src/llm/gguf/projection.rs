//! The linear maps of a layer, by their place in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A linear map of every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Projection {
    /// To the queries of the attention.
    Queries,
    /// To the keys of the attention.
    Keys,
    /// To the values of the attention.
    Values,
    /// From the attention back to the width.
    AttentionOut,
    /// To the gate of the feed-forward part.
    Gate,
    /// To what is gated.
    Up,
    /// From the feed-forward part back to the width.
    Down,
}

impl Projection {
    /// In the order of a layer.
    pub const ALL: [Self; 7] =
        [Self::Queries, Self::Keys, Self::Values, Self::AttentionOut, Self::Gate, Self::Up, Self::Down];

    /// Its name in a GGUF file.
    #[must_use]
    pub fn tensor(self) -> &'static str {
        match self {
            Self::Queries => "attn_q",
            Self::Keys => "attn_k",
            Self::Values => "attn_v",
            Self::AttentionOut => "attn_output",
            Self::Gate => "ffn_gate",
            Self::Up => "ffn_up",
            Self::Down => "ffn_down",
        }
    }

    /// Whether it makes queries, keys or values, which have biases in Qwen2.
    pub(super) fn feeds_attention(self) -> bool {
        matches!(self, Self::Queries | Self::Keys | Self::Values)
    }
}
