//! The tokens of a file, with their types.

use anyhow::{Result, ensure};

use super::metadata::Header;

/// Types of tokens in the GGUF format. A text may name the first three by their spelling.
pub(super) const UNKNOWN: usize = 2;
pub(super) const CONTROL: usize = 3;
pub(super) const USER_DEFINED: usize = 4;
pub(super) const BYTE: usize = 6;

/// The tokens of a file.
pub(super) struct Vocabulary {
    /// By token id: its spelling.
    pub(super) tokens: Vec<String>,
    /// By token id: its type.
    pub(super) types: Vec<usize>,
}

impl Vocabulary {
    pub(super) fn from_header(header: &Header) -> Result<Self> {
        let tokens = header.required("tokenizer.ggml.tokens", header.texts("tokenizer.ggml.tokens"))?;
        let types = header.required("tokenizer.ggml.token_type", header.integers("tokenizer.ggml.token_type"))?;
        ensure!(
            types.len() == tokens.len(),
            "{}: {} tokens but {} entries in tokenizer.ggml.token_type",
            header.place(),
            tokens.len(),
            types.len()
        );
        Ok(Self { tokens, types })
    }

    /// Tokens that a text may name by their spelling, with their ids.
    pub(super) fn named(&self) -> impl Iterator<Item = (&String, u32)> {
        let all = self.tokens.iter().zip(&self.types).zip(0..);
        all.filter(|((_, kind), _)| [UNKNOWN, CONTROL, USER_DEFINED].contains(kind)).map(|((token, _), id)| (token, id))
    }
}
