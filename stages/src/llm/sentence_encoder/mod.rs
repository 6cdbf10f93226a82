//! A sentence encoder that runs inside the process: a BERT such as all-MiniLM-L6-v2 turns a text into one vector of length 1.
//!
//! Reimers and Gurevych 2019 (arXiv:1908.10084): the vector is the mean of the last layer over the word pieces (or that of the
//! first one, where the folder says so), scaled to length 1. A longer text than the folder's limit is cut at its end.
//!
//! Many texts are sorted by length and evaluated in passes of some hundred word pieces, without padding, on all threads. The vector
//! of a text depends on the text alone, to the bit ([`bert`]). The similarities that Sentence-Transformers publishes are met to
//! four digits (a test).
//!
//! Not here: training, GPUs, encoders of other architectures, separate prompts of queries and documents.

mod bert;
mod config;
#[cfg(test)]
mod tests;
pub mod toy;
mod weights;

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, ensure};
use rayon::prelude::*;
use tokenizers::{Tokenizer, TruncationParams};

use super::{Embedder, Embeddings};
use bert::Bert;
use config::{FolderConfig, Pooling, missing};
use weights::Weights;

/// Raised when an equal text and an equal file should give another vector.
const FORM: u32 = 1;
/// Word pieces of a pass: enough to use the weights that are in the cache, few enough to share work among threads.
const PASS: usize = 128;

/// A loaded sentence encoder. Read-only, so one copy serves every thread.
pub struct SentenceEncoder {
    bert: Bert,
    tokenizer: Tokenizer,
    pooling: Pooling,
    width: usize,
    digest: String,
}

impl SentenceEncoder {
    /// Reads the folder of a model as Sentence-Transformers keeps it into memory.
    ///
    /// # Errors
    /// The folder lacks a file, or holds a model that this encoder would compute wrongly; the message names the file and what
    /// stands there.
    pub fn load(folder: &Path) -> Result<Self> {
        let FolderConfig { bert: config, pooling, max_length } = FolderConfig::read(folder)?;
        let path = folder.join("tokenizer.json");
        ensure!(path.exists(), missing(&path));
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let broken = |error: tokenizers::Error| anyhow!("{}: the tokenizer is broken: {error}", path.display());
        let mut tokenizer = Tokenizer::from_bytes(&bytes).map_err(broken)?;
        // The file's own limit and padding are those of an export, not of the model.
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        tokenizer.with_padding(None).with_truncation(Some(truncation)).map_err(broken)?;
        let tokens = tokenizer.get_vocab_size(true);
        ensure!(
            tokens <= config.vocab_size,
            "{}: {tokens} tokens, but `config.json` says {}\nhelp: take both files from the same model",
            path.display(),
            config.vocab_size
        );
        let mut weights = Weights::read(&folder.join("model.safetensors"))?;
        let bert = Bert::load(&mut weights, &config)?;
        let mut hasher = blake3::Hasher::new();
        for file in ["model.safetensors", "config.json", "tokenizer.json"] {
            let path = folder.join(file);
            let digest = blake3::Hasher::new().update_mmap(&path).map(|hasher| hasher.finalize());
            hasher.update(digest.with_context(|| format!("read {}", path.display()))?.as_bytes());
        }
        hasher.update(&(max_length as u64).to_le_bytes());
        hasher.update(serde_json::to_string(&pooling)?.as_bytes());
        let digest = hasher.finalize().to_hex().to_string();
        Ok(Self { bert, tokenizer, pooling, width: config.hidden_size, digest })
    }

    /// The ids of a text's word pieces, with those that mark its beginning and end.
    fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        let encoding =
            self.tokenizer.encode_fast(text, true).map_err(|error| anyhow!("cannot tokenise {text:?}: {error}"))?;
        ensure!(!encoding.is_empty(), "the text {text:?} has no word piece");
        Ok(encoding.get_ids().to_vec())
    }

    /// The vector of each text of a pass.
    fn pass(&self, texts: &[&[u32]]) -> Vec<Vec<f32>> {
        let hidden = self.bert.forward(texts);
        let mut rest = &hidden[..];
        let vector = |text: &&[u32]| {
            let (own, others) = rest.split_at(text.len() * self.width);
            rest = others;
            let pooled = match self.pooling {
                Pooling::First => &own[..self.width],
                Pooling::Mean => own,
            };
            unit_mean(pooled, self.width)
        };
        texts.iter().map(vector).collect()
    }
}

/// Cuts texts of these lengths into ranges of at most [`PASS`] word pieces, or of one text.
fn passes(lengths: &[usize]) -> Vec<Range<usize>> {
    let (mut cut, mut first, mut pieces) = (Vec::new(), 0, 0);
    for (text, length) in lengths.iter().enumerate() {
        if text > first && pieces + length > PASS {
            cut.push(first..text);
            (first, pieces) = (text, 0);
        }
        pieces += length;
    }
    cut.push(first..lengths.len());
    cut
}

/// The mean of rows `[R, width]`, scaled to length 1.
fn unit_mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; width];
    for row in rows.chunks_exact(width) {
        sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    sum.iter().map(|x| (x / length) as f32).collect()
}

impl Embedder for SentenceEncoder {
    fn space(&self) -> String {
        format!(r#"{{"provider":"sentence_encoder","form":{FORM},"blake3":"{}"}}"#, self.digest)
    }

    fn embed(&self, texts: &[String]) -> Result<Embeddings> {
        ensure!(texts.iter().all(|text| !text.is_empty()), "an empty text has no embedding");
        let ids: Vec<Vec<u32>> = texts.par_iter().map(|text| self.tokenize(text)).collect::<Result<_>>()?;
        // Longest first: what is left at the end, when a thread has nothing to do, is short.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&text| (std::cmp::Reverse(ids[text].len()), text));
        let lengths: Vec<usize> = order.iter().map(|&text| ids[text].len()).collect();
        let passes: Vec<&[usize]> = passes(&lengths).into_iter().map(|pass| &order[pass]).collect();
        let evaluate = |pass: &&[usize]| {
            let texts: Vec<&[u32]> = pass.iter().map(|&text| &ids[text][..]).collect();
            self.pass(&texts)
        };
        let found: Vec<Vec<Vec<f32>>> = passes.par_iter().with_max_len(1).map(evaluate).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        order.iter().zip(found.into_iter().flatten()).for_each(|(&text, vector)| vectors[text] = vector);
        ensure!(
            vectors.iter().flatten().all(|x| x.is_finite()),
            "a vector is not finite: the model file may be damaged"
        );
        Ok(Embeddings { vectors, tokens: ids.iter().map(|ids| ids.len() as u64).sum() })
    }
}
