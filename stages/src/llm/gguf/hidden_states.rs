//! A language model as an embedder: the mean of its last hidden states over a text.
//!
//! The states are those before the output map, normed by the last layer. A start token is evaluated, but not averaged: it sees no
//! text. Directions that all texts share dominate such a mean, so raw cosines are near 1 (Ethayarajh 2019); what learns from the
//! vectors centres them. A text that is longer than [`MAX_TOKENS`] is cut at its end.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rayon::prelude::*;

use super::Gguf;
use super::decoder::BatchSlice;
use crate::llm::{Embedder, Embeddings};

/// Raised when an equal text and an equal file should give another vector.
const FORM: u32 = 1;
/// The most tokens of a text; bounds the memory of a pass.
const MAX_TOKENS: usize = 256;

/// An embedded language model that embeds texts.
pub(in crate::llm) struct HiddenStates {
    model: Gguf,
    digest: String,
}

impl HiddenStates {
    /// Reads the file.
    ///
    /// # Errors
    /// As [`Gguf::load`].
    pub(in crate::llm) fn load(path: &Path) -> Result<Self> {
        let model = Gguf::load(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_mmap(path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self { model, digest: hasher.finalize().to_hex().to_string() })
    }

    /// The vector of a text, and its number of tokens.
    fn vector(&self, text: &str) -> Result<(Vec<f32>, u64)> {
        let start = self.model.tokenizer.start;
        let own = self.model.tokenize(text)?;
        ensure!(!own.is_empty(), "the text {text:?} has no token");
        let limit = MAX_TOKENS.min(self.model.context_length());
        let tokens: Vec<u32> = start.into_iter().chain(own).take(limit).collect();
        let count = tokens.len();
        let mask = (0..count * count).map(|pair| pair % count <= pair / count).collect();
        let slice = BatchSlice { past: vec![], tokens, positions: (0..count).collect(), mask, wants_logits: false };
        let hidden = self.model.decoder.forward(&[slice]).remove(0).hidden;
        let width = self.model.decoder.config.width;
        let rows = hidden.chunks_exact(width).skip(if count > 1 { start.iter().count() } else { 0 });
        let (mut sum, mut averaged) = (vec![0.0_f64; width], 0.0);
        for row in rows {
            sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
            averaged += 1.0;
        }
        let vector: Vec<f32> = sum.into_iter().map(|x| (x / averaged) as f32).collect();
        ensure!(vector.iter().all(|x| x.is_finite()), "a vector is not finite: the model file may be damaged");
        Ok((vector, count as u64))
    }
}

impl Embedder for HiddenStates {
    fn space(&self) -> String {
        format!(r#"{{"provider":"gguf","form":{FORM},"hidden_states":"mean","blake3":"{}"}}"#, self.digest)
    }

    fn embed(&self, texts: &[String]) -> Result<Embeddings> {
        ensure!(texts.iter().all(|text| !text.is_empty()), "an empty text has no embedding");
        let found: Vec<(Vec<f32>, u64)> =
            texts.par_iter().with_max_len(1).map(|text| self.vector(text)).collect::<Result<_>>()?;
        let tokens = found.iter().map(|(_, tokens)| tokens).sum();
        Ok(Embeddings { vectors: found.into_iter().map(|(vector, _)| vector).collect(), tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy;
    use super::*;

    #[test]
    fn a_vector_is_the_mean_of_the_last_states_and_depends_on_its_text_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let embedder = HiddenStates::load(&path).unwrap();
        let texts = ["the theatre", "x", "Heat (1995)"].map(str::to_owned);
        let together = embedder.embed(&texts).unwrap();
        for (text, vector) in texts.iter().zip(&together.vectors) {
            assert_eq!(&embedder.embed(std::slice::from_ref(text)).unwrap().vectors[0], vector, "{text}");
        }
        // Of one token the vector is what a session leaves behind it.
        let mut session = embedder.model.session();
        assert_eq!(embedder.model.tokenize("x").unwrap().len(), 1);
        let (_, last) = session.evaluate(&["x".to_owned()], 0).unwrap();
        assert_eq!(together.vectors[1], last);
        assert_eq!(embedder.embed(&["word ".repeat(300)]).unwrap().tokens, 256, "cut at the limit");
        assert!(embedder.embed(&[String::new()]).unwrap_err().to_string().contains("an empty text"));
        assert!(embedder.space().contains("hidden_states"));
    }
}
