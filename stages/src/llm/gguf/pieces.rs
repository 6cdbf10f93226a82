//! A prompt in the pieces that are evaluated one by one: its segments, with the virtual tokens before the last.
//!
//! The last segment is the question, those before it the context: virtual tokens stand between them (SPRING: Zhu et al. 2024, arXiv
//! 2405.19670, §3). A session and the tuning of a model read a prompt alike.

use anyhow::{Result, ensure};

use super::Gguf;
use super::tuning::Sequence;

/// The segments of a prompt, and `None` for the virtual tokens where there are some.
pub(super) fn pieces(segments: &[String], virtual_tokens: usize) -> Vec<Option<&str>> {
    let mut all: Vec<Option<&str>> = segments.iter().map(|segment| Some(segment.as_str())).collect();
    if virtual_tokens > 0 {
        all.insert(all.len().saturating_sub(1), None);
    }
    all
}

impl Gguf {
    /// Token ids of a piece behind a text that ends with the token `previous`; the first piece begins with the start token.
    pub(super) fn piece_tokens(
        &self,
        first: bool,
        piece: Option<&str>,
        previous: Option<u32>,
        virtual_tokens: usize,
    ) -> Result<Vec<u32>> {
        let mut tokens = match piece {
            Some(text) => self.tokenizer.encode_after(text, previous)?,
            None => (0..virtual_tokens).map(|index| self.virtual_id(index)).collect(),
        };
        if first {
            tokens.splice(0..0, self.tokenizer.start);
        }
        Ok(tokens)
    }

    /// The last token, unless it is a virtual one, of which texts know nothing.
    pub(super) fn last_of_text(&self, tokens: &[u32]) -> Option<u32> {
        tokens.last().copied().filter(|id| *id < self.virtual_id(0))
    }

    /// A prompt with its answer, tokenised as a session does, with the first `virtual_tokens` virtual tokens.
    ///
    /// # Errors
    /// A prompt or an answer without a token.
    pub fn sequence(&self, segments: &[String], answer: &str, virtual_tokens: usize) -> Result<Sequence> {
        let (mut tokens, mut previous) = (Vec::new(), None);
        for (index, piece) in pieces(segments, virtual_tokens).into_iter().enumerate() {
            let own = self.piece_tokens(index == 0, piece, previous, virtual_tokens)?;
            previous = self.last_of_text(&own).or(previous);
            tokens.extend(own);
        }
        let begin = tokens.len();
        tokens.extend(self.tokenizer.encode(answer)?);
        ensure!(begin > 0, "the prompt has no token");
        ensure!(tokens.len() > begin, "the answer {answer:?} has no token");
        Ok(Sequence { tokens, answer: begin })
    }
}
