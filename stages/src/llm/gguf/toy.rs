//! A tiny model with random weights in a real GGUF file, so that tests and the smoke experiment need no download.
//!
//! It has everything the loader meets in a real file (merges, special tokens, several quantisations, shared key heads,
//! tied embedding), but its texts are random.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const LAYERS: u32 = 2;
const WIDTH: usize = 32;
const HIDDEN: usize = 64;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const CONTEXT: u32 = 8192;
/// ChatML, in the order in which SmolLM2 numbers them.
const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const MERGES: [&str; 7] = ["t h", "th e", "Ġ the", "i n", "e r", "o v", "ov i"];

/// Merges across the borders of the pre-tokenizers, so that another pre-tokenizer gives other tokens.
#[cfg(test)]
const CROSSING: [&str; 22] = [
    "1 2", "12 3", "123 4", "2 0", "20 0", "0 0", "Ġ 1", "' s", "' S", "n '", "s '", "e ,", ", Ġ", "( C", "Ġ (", "! Ċ",
    "Ċ Ċ", "Ġ Ġ", "ĠĠ Ġ", "ĠĠ l", "? .", "Â ½",
];
/// A word that no merges make.
#[cfg(test)]
const WHOLE: &str = "ĠStory";

/// Writes the toy model: 2 layers, width 32, 266 tokens, 27 kB; equal bytes at every call.
///
/// # Errors
/// The file cannot be written.
pub fn write_toy(path: &Path) -> Result<()> {
    Toy::new()?.write(path)
}

/// The parts of the file, so that tests can damage one.
pub(super) struct Toy {
    pub(super) metadata: Vec<(String, Value)>,
    tensors: Vec<(String, QTensor)>,
}

impl Toy {
    pub(super) fn new() -> Result<Self> {
        Self::of("llama", "smollm", &MERGES, &[])
    }

    /// A model of another architecture, with merges that depend on its pre-tokenizer.
    #[cfg(test)]
    pub(super) fn crossing(architecture: &str, pre: &str) -> Result<Self> {
        Self::of(architecture, pre, &[&MERGES[..], &CROSSING].concat(), &[WHOLE])
    }

    fn of(architecture: &str, pre: &str, merges: &[&str], words: &[&str]) -> Result<Self> {
        let mut tokens: Vec<String> = SPECIAL.map(str::to_owned).to_vec();
        tokens.extend((0..=255).map(|byte| spelling(byte).to_string()));
        tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
        tokens.extend(words.iter().map(|&word| word.to_owned()));
        let types = (0..tokens.len()).map(|id| Value::I32(if id < SPECIAL.len() { 3 } else { 1 })).collect();
        let vocabulary = tokens.len();
        let text = |text: &str| Value::String(text.to_owned());
        let count = |n: usize| Value::U32(n as u32);
        let sizes = [
            ("block_count", Value::U32(LAYERS)),
            ("context_length", Value::U32(CONTEXT)),
            ("embedding_length", count(WIDTH)),
            ("feed_forward_length", count(HIDDEN)),
            ("attention.head_count", count(HEADS)),
            ("attention.head_count_kv", count(KV_HEADS)),
            ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("rope.dimension_count", count(WIDTH / HEADS)),
            ("rope.freq_base", Value::F32(10_000.0)),
            ("vocab_size", count(vocabulary)),
        ];
        let tokenizer = [
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text(pre)),
            ("tokenizer.ggml.add_bos_token", Value::Bool(false)),
            ("tokenizer.ggml.bos_token_id", Value::U32(1)),
            ("tokenizer.ggml.eos_token_id", Value::U32(2)),
            ("tokenizer.ggml.tokens", Value::Array(tokens.into_iter().map(Value::String).collect())),
            ("tokenizer.ggml.token_type", Value::Array(types)),
            ("tokenizer.ggml.merges", Value::Array(merges.iter().map(|merge| text(merge)).collect())),
        ];
        let owned = |(key, value): (&str, Value)| (key.to_owned(), value);
        let mut metadata =
            [("general.architecture", text(architecture)), ("general.name", text("toy"))].map(owned).to_vec();
        metadata.extend(sizes.map(|(key, value)| (format!("{architecture}.{key}"), value)));
        metadata.extend(tokenizer.map(owned));
        Ok(Self { metadata, tensors: tensors(vocabulary, architecture == "qwen2")? })
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let place = || format!("cannot write the toy model {}", path.display());
        let metadata: Vec<_> = self.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<_> = self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = BufWriter::new(File::create(path).with_context(place)?);
        gguf_file::write(&mut file, &metadata, &tensors).with_context(place)?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(place)?;
        Ok(())
    }
}

/// Weights of about unit gain, from a fixed seed by additions and products only, so that every machine makes the same.
fn tensors(vocabulary: usize, biased: bool) -> Result<Vec<(String, QTensor)>> {
    let mut random = ChaCha8Rng::seed_from_u64(135);
    let mut tensors = Vec::new();
    // A uniform of half-width 0.3 over 32 inputs gives outputs of about the size of the inputs.
    let spread = 0.3;
    let mut add = |name: String, shape: &[usize], middle: f32, kind: GgmlDType| -> Result<()> {
        let count = shape.iter().product();
        let values = (0..count).map(|_| middle + spread * (random.random::<f32>() * 2.0 - 1.0)).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
        tensors.push((name, QTensor::quantize(&tensor, kind)?));
        Ok(())
    };
    add("token_embd.weight".into(), &[vocabulary, WIDTH], 0.0, GgmlDType::Q8_0)?;
    let kv = KV_HEADS * WIDTH / HEADS;
    for layer in 0..LAYERS {
        let mut norm = |part: &str| add(format!("blk.{layer}.{part}.weight"), &[WIDTH], 1.0, GgmlDType::F32);
        norm("attn_norm")?;
        norm("ffn_norm")?;
        for (part, rows, columns) in [
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", kv, WIDTH),
            ("attn_v", kv, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", HIDDEN, WIDTH),
            ("ffn_up", HIDDEN, WIDTH),
            ("ffn_down", WIDTH, HIDDEN),
        ] {
            add(format!("blk.{layer}.{part}.weight"), &[rows, columns], 0.0, GgmlDType::Q4_1)?;
        }
    }
    for (part, rows) in [("attn_q", WIDTH), ("attn_k", kv), ("attn_v", kv)].into_iter().filter(|_| biased) {
        for layer in 0..LAYERS {
            add(format!("blk.{layer}.{part}.bias"), &[rows], 0.0, GgmlDType::F32)?;
        }
    }
    add("output_norm.weight".into(), &[WIDTH], 1.0, GgmlDType::F32)?;
    Ok(tensors)
}

/// How byte-level BPE spells a byte: printable Latin-1 as itself, the others from U+0100 on (Radford et al. 2019,
/// `encoder.py`).
fn spelling(byte: u8) -> char {
    let itself = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if itself(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|b| !itself(*b)).count() as u32;
    char::from_u32(0x100 + rank).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::super::Gguf;
    use super::*;

    #[test]
    fn equal_bytes_small_and_readable() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["a", "b"].map(|name| folder.path().join(name));
        write_toy(&first).unwrap();
        write_toy(&second).unwrap();
        let bytes = std::fs::read(&first).unwrap();
        assert!(bytes == std::fs::read(&second).unwrap());
        assert!(bytes.len() < 30_000, "{} bytes", bytes.len());
        let model = Gguf::load(&first).unwrap();
        assert_eq!((model.name(), model.context_length()), ("toy", 8192));
    }

    #[test]
    fn every_byte_has_a_spelling_of_its_own() {
        let mut all: Vec<char> = (0..=255).map(spelling).collect();
        assert_eq!((all[usize::from(b' ')], all[usize::from(b'\n')], all[0xAD]), ('Ġ', 'Ċ', 'Ń'));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 256);
    }
}
