//! What a language model is asked, and the key under which its answer is kept.

use serde::Deserialize;
use serde::Serialize;

/// A request to choose one of several options. Its JSON is stored and hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceRequest {
    /// The prompt in pieces, oldest first; each ends with a newline. The first holds the instructions. Empty for a
    /// [reference](Llm::references).
    pub context: Vec<String>,
    /// The text that an option completes, without a space at the end (`Recommended movie:`).
    #[serde(rename = "cue")]
    pub completion_prefix: String,
    /// The options, at least one.
    pub options: Vec<String>,
}

impl ChoiceRequest {
    /// The request as it is stored: compact JSON, fields in this order.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a request is texts only")
    }

    /// See [`key`].
    #[must_use]
    pub fn key(&self, identity: &str) -> String {
        key(identity, &self.canonical())
    }
}

/// A request to write a text. Its JSON is stored and hashed, and differs from that of any choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// The prompt in pieces, oldest first; each ends with a newline. The first holds the instructions.
    pub context: Vec<String>,
    /// The end of the prompt, which the text continues or answers, without a space at the end (`Thought:`).
    #[serde(rename = "cue")]
    pub completion_prefix: String,
    /// The longest text, in tokens.
    pub max_tokens: u32,
    /// The stop sequence; none where it is empty.
    pub stop: String,
    /// The sampling temperature; 0 for the most probable text.
    pub temperature: f64,
    /// The number of the sample: equal requests with different numbers are sampled independently.
    pub draw: u64,
    /// The range of a whole number, where the text must be one. The embedded model writes nothing else; a server may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integer: Option<(i32, i32)>,
}

impl CompletionRequest {
    /// The request as it is stored: compact JSON, fields in this order.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a request is texts and numbers only")
    }
}

/// BLAKE3 of a model's identity and a canonical request, 64 hex digits.
#[must_use]
pub fn key(identity: &str, canonical: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    // The length separates the identity from the request.
    hasher.update(&(identity.len() as u64).to_le_bytes());
    hasher.update(identity.as_bytes());
    hasher.update(canonical.as_bytes());
    hasher.finalize().to_hex().to_string()
}
