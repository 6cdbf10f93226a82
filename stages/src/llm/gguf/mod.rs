//! A language model in a GGUF file that runs inside the process. It scores given texts after a prompt, or generates a reply.
//!
//! Supported: files of the llama and Qwen2 architectures with a SentencePiece tokenizer, or a byte-level one whose pre-tokenizer is
//! that of SmolLM, GPT-2, Qwen2 or Llama 3, in any quantisation that candle reads. Unknown metadata that may change the result is
//! an error. Token ids and log-probabilities are checked against recorded llama.cpp values (`tests/data/llama_cpp_*.json`).
//!
//! A prompt is a list of *segments*: a system text, then one text per turn. Each is tokenised by itself and evaluated
//! by itself on top of those before it, so [`Session`] can keep what it has evaluated and a prompt that grew by one
//! line costs one line.
//!
//! # Reproducibility
//! The output of a token depends only on the tokens that it attends to: not on the cache, on how a prompt is cut into passes, on
//! the batch, on the number of threads or on the width of the CPU's vectors. A resumed run therefore computes the bits of an
//! uninterrupted run.
//!
//! # Performance
//! Weights stay quantised in memory, as large as in the file, and are dequantised block by block into the CPU's L1 cache ([`packed`],
//! [`matmul`]), or for few tokens into its registers ([`few_tokens`]). Sessions on several threads share passes ([`batching`]), and
//! threads without a pass share the products of the others ([`crew`]).
//!
//! What a model learns beside its weights, and how: [`tuning`]. Not here: GPUs.

mod adaptation;
mod adapter;
mod attention;
mod batching;
mod byte_level;
mod chat;
mod crew;
mod decoder;
mod few_tokens;
pub(super) mod hidden_states;
mod layer;
#[cfg(test)]
pub(super) mod llama_cpp_tests;
mod logits;
mod low_rank;
pub(super) mod matmul;
mod metadata;
mod model_config;
mod named_tokens;
mod ops;
pub(super) mod packed;
mod pieces;
mod projection;
mod quant_formats;
mod scale_form;
mod scales;
mod sentence_piece;
mod session;
mod supported;
mod tokenizer;
pub mod toy;
mod transposed_product;
pub mod tuning;
mod vocabulary;
#[cfg(test)]
mod vocabulary_tests;

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};

pub use adaptation::Adaptation;
pub use low_rank::{LayerMaps, LowRank};
pub use projection::Projection;
pub use session::{Score, Session};
pub use tuning::Sequence;

use batching::BatchScheduler;
use chat::Chat;
use decoder::{BatchSlice, Decoder, SliceOutput};
use metadata::Header;
use model_config::ModelConfig;
use tokenizer::Tokenizer;

/// A loaded model. Read-only, so one copy serves every thread.
pub struct Gguf {
    name: String,
    tokenizer: Tokenizer,
    chat: Option<Chat>,
    decoder: Decoder,
    scheduler: BatchScheduler,
}

impl Gguf {
    /// Reads a whole model into memory; 4-bit and 8-bit weights stay quantised (SmolLM2-135M as Q4_1: 0.11 GB).
    ///
    /// # Errors
    /// The file is missing, truncated, not GGUF, or holds a model that this decoder would compute wrongly; the message names
    /// the file and the metadata key or tensor.
    pub fn load(path: &Path) -> Result<Self> {
        let mut header = Header::open(path)?;
        let tokenizer = Tokenizer::from_header(&header)?;
        let config = ModelConfig::from_header(&header, tokenizer.len())?;
        let name = header.text("general.name")?.unwrap_or_else(|| header.place());
        let chat = Chat::from_header(&header)?;
        let threads = rayon::current_num_threads();
        let decoder = Decoder::load(&mut header, config, threads)?;
        Ok(Self { name, tokenizer, chat, decoder, scheduler: BatchScheduler::new(threads) })
    }

    /// BLAKE3 of a model's file in hex.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn digest(path: &Path) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        // Not mapped: beside the weights the pages of the whole file would count as memory of this process.
        let file = File::open(path);
        file.and_then(|file| hasher.update_reader(file).map(drop))
            .with_context(|| format!("read {}", path.display()))?;
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// The model's name from its metadata; the path when it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest prompt with its continuation, in tokens.
    #[must_use]
    pub fn context_length(&self) -> usize {
        self.decoder.config.context
    }

    /// Token ids of a text that begins a prompt, without the start token; special tokens such as `<|im_start|>` written in it are
    /// one id each.
    ///
    /// # Errors
    /// The tokenizer refuses the text (not known to happen).
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode_after(text, None)
    }

    /// Token ids of a text that continues a prompt.
    ///
    /// # Errors
    /// As [`Gguf::tokenize`].
    pub fn tokenize_continuation(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.encode(text)
    }

    /// Evaluates a slice in a batch with those of other sessions.
    fn forward(&self, part: BatchSlice) -> SliceOutput {
        self.scheduler.forward(&self.decoder, part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::gguf_file::Value;

    #[test]
    fn a_model_and_its_sessions_go_to_other_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Gguf>();
        shared::<Session<'_>>();
    }

    #[test]
    fn a_model_of_another_kind_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.gguf");
        let refused = |key: &str, value: Option<Value>| {
            let mut model = toy::Toy::new().unwrap();
            model.metadata.retain(|(have, _)| have != key);
            model.metadata.extend(value.map(|value| (key.to_owned(), value)));
            model.write(&path).unwrap();
            format!("{:#}", Gguf::load(&path).err().expect(key)).replace(&path.display().to_string(), "FILE")
        };
        let text = |text: &str| Some(Value::String(text.to_owned()));
        for (key, value, message) in [
            (
                "general.architecture",
                text("gemma"),
                "FILE: architecture `gemma` is not supported\nhelp: supported are the architectures llama, qwen2; the \
                 tokenizer.ggml.model `gpt2` with the tokenizer.ggml.pre smollm, gpt-2, qwen2, llama-bpe, and `llama` (SentencePiece); serve",
            ),
            (
                "tokenizer.ggml.pre",
                text("tekken"),
                "FILE: tokenizer.ggml.pre `tekken` is not supported\nhelp: supported are the architectures llama, qwen2; the",
            ),
            (
                "tokenizer.ggml.model",
                text("t5"),
                "FILE: tokenizer.ggml.model `t5` is not supported\nhelp: supported are the architectures llama, qwen2; the",
            ),
            ("tokenizer.ggml.model", None, "FILE: metadata key `tokenizer.ggml.model` is missing"),
            ("llama.block_count", None, "FILE: metadata key `llama.block_count` is missing"),
            (
                "llama.block_count",
                Some(Value::F32(2.0)),
                "FILE: metadata key `llama.block_count` is F32(2.0), wanted a whole number that is not negative",
            ),
            (
                "llama.attention.head_count",
                Some(Value::U32(5)),
                "FILE: 5 heads and 2 key-value heads do not divide a width",
            ),
            (
                "llama.rope.dimension_count",
                Some(Value::U32(4)),
                "FILE: metadata key `llama.rope.dimension_count` is 4; only 8",
            ),
            (
                "llama.rope.scaling.factor",
                Some(Value::F32(8.0)),
                "FILE: the model needs {\"llama.rope.scaling.factor\"}",
            ),
            ("llama.feed_forward_length", Some(Value::U32(32)), "tensor `blk.0.ffn_gate.weight` has shape [64, 32]"),
            (
                "llama.block_count",
                Some(Value::U32(1)),
                "tensors are not supported by this decoder; the first is `blk.1.",
            ),
            ("llama.block_count", Some(Value::U32(3)), "FILE: tensor `blk.2.attn_q.weight` is missing"),
            // More layers than fit any memory.
            ("llama.block_count", Some(Value::U64(u64::MAX >> 1)), "FILE: tensor `blk.2.attn_q.weight` is missing"),
        ] {
            let error = refused(key, value);
            assert!(error.contains(message), "{key}: {error}");
        }
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truncated.gguf");
        toy::write_toy(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for keep in [3, 100, bytes.len() / 2, bytes.len() - 1000] {
            std::fs::write(&path, &bytes[..keep]).unwrap();
            let error = format!("{:#}", Gguf::load(&path).err().expect("truncated"));
            assert!(error.contains("truncated.gguf") && error.contains("help: fetch"), "{error}");
        }
    }
}
