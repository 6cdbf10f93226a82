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

/// Letters and merges of the toy with a SentencePiece vocabulary, with their scores. Other letters are written in bytes.
#[cfg(test)]
const PIECES: [(&str, f32); 62] = [
    ("▁t", 0.0),
    ("he", -1.0),
    ("hs", -2.0),
    ("in", -3.0),
    ("ab", -4.0),
    ("ba", -4.0),
    ("th", -5.0),
    ("▁the", -6.0),
    ("the", -7.0),
    ("er", -8.0),
    ("or", -9.0),
    ("St", -10.0),
    ("▁S", -11.0),
    ("▁St", -12.0),
    ("ory", -13.0),
    ("▁Story", -14.0),
    ("Story", -15.0),
    ("oy", -16.0),
    ("▁T", -17.0),
    ("▁Toy", -18.0),
    ("Toy", -19.0),
    ("▁▁", -20.0),
    ("▁▁▁▁", -21.0),
    ("19", -22.0),
    ("▁(", -23.0),
    ("199", -24.0),
    ("▁(199", -25.0),
    ("an", -26.0),
    ("▁M", -27.0),
    ("en", -28.0),
    ("▁Men", -29.0),
    ("ou", -30.0),
    ("né", -31.0),
    ("<0", -32.0),
    ("<0x", -33.0),
    ("<0x0", -34.0),
    ("<0x0A", -35.0),
    ("▁", -36.0),
    ("t", -37.0),
    ("h", -38.0),
    ("e", -39.0),
    ("s", -40.0),
    ("i", -41.0),
    ("n", -42.0),
    ("a", -43.0),
    ("b", -44.0),
    ("r", -45.0),
    ("o", -46.0),
    ("y", -47.0),
    ("S", -48.0),
    ("T", -49.0),
    ("M", -50.0),
    ("1", -51.0),
    ("9", -52.0),
    ("(", -53.0),
    ("é", -54.0),
    ("<", -55.0),
    ("0", -56.0),
    ("u", -57.0),
    ("野", -58.0),
    ("\n", -59.0),
    ("A", -60.0),
];

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
        Self::of("llama", ToyVocabulary::byte_level("smollm", &MERGES, &[]))
    }

    /// A model of another architecture, with merges that depend on its pre-tokenizer.
    #[cfg(test)]
    pub(super) fn crossing(architecture: &str, pre: &str) -> Result<Self> {
        Self::of(architecture, ToyVocabulary::byte_level(pre, &[&MERGES[..], &CROSSING].concat(), &[WHOLE]))
    }

    /// A model in the form of Llama 3.1's files: its pre-tokenizer, and divisors of the rotations' frequencies.
    #[cfg(test)]
    pub(super) fn llama_3() -> Result<Self> {
        let mut toy = Self::crossing("llama", "llama-bpe")?;
        let factors = Tensor::new(&[1.0_f32, 1.0, 2.5, 8.0], &Device::Cpu)?;
        toy.tensors.push(("rope_freqs.weight".into(), QTensor::quantize(&factors, GgmlDType::F32)?));
        Ok(toy)
    }

    /// With an output map of its own.
    #[cfg(test)]
    pub(super) fn untied(mut self) -> Result<Self> {
        let embedding = &self.tensors.iter().find(|(name, _)| name == "token_embd.weight").context("no embedding")?.1;
        let values = embedding.dequantize(&Device::Cpu)?;
        // Other numbers of the same size: the rows in the opposite order.
        let rows = (0..values.dim(0)? as u32).rev().collect::<Vec<_>>();
        let values = values.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        self.tensors.push(("output.weight".into(), QTensor::quantize(&values, GgmlDType::Q8_0)?));
        Ok(self)
    }

    /// A model with a SentencePiece vocabulary.
    #[cfg(test)]
    pub(super) fn sentence_piece() -> Result<Self> {
        let mut tokens = vec![("<unk>".to_owned(), 0.0, 2), ("<s>".to_owned(), 0.0, 3), ("</s>".to_owned(), 0.0, 3)];
        tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6)));
        tokens.extend([(SPECIAL[1].to_owned(), 0.0, 3), (SPECIAL[2].to_owned(), 0.0, 4), ("\n\n".to_owned(), 0.0, 4)]);
        tokens.extend(PIECES.map(|(piece, score)| (piece.to_owned(), score, 1)));
        Self::of("llama", ToyVocabulary::sentence_piece(tokens))
    }

    pub(super) fn of(architecture: &str, vocabulary: ToyVocabulary) -> Result<Self> {
        let size = vocabulary.tokens.len();
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
            ("vocab_size", count(size)),
        ];
        let tokenizer = [
            ("tokenizer.ggml.model", text(vocabulary.model)),
            ("tokenizer.ggml.pre", text(&vocabulary.pre)),
            ("tokenizer.ggml.add_bos_token", Value::Bool(vocabulary.starts)),
            ("tokenizer.ggml.bos_token_id", Value::U32(vocabulary.start)),
            ("tokenizer.ggml.eos_token_id", Value::U32(vocabulary.end)),
            ("tokenizer.ggml.tokens", Value::Array(vocabulary.tokens.into_iter().map(Value::String).collect())),
            ("tokenizer.ggml.token_type", Value::Array(vocabulary.types.into_iter().map(Value::I32).collect())),
            vocabulary.merges,
        ];
        let owned = |(key, value): (&str, Value)| (key.to_owned(), value);
        let mut metadata =
            [("general.architecture", text(architecture)), ("general.name", text("toy"))].map(owned).to_vec();
        metadata.extend(sizes.map(|(key, value)| (format!("{architecture}.{key}"), value)));
        metadata.extend(tokenizer.map(owned));
        Ok(Self { metadata, tensors: tensors(size, architecture == "qwen2")? })
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

/// The metadata of a tokenizer.
pub(super) struct ToyVocabulary {
    model: &'static str,
    pre: String,
    tokens: Vec<String>,
    types: Vec<i32>,
    /// The key and its value: merges, or scores.
    merges: (&'static str, Value),
    /// Whether a prompt begins with the token `start`.
    starts: bool,
    start: u32,
    end: u32,
}

impl ToyVocabulary {
    fn byte_level(pre: &str, merges: &[&str], words: &[&str]) -> Self {
        let mut tokens: Vec<String> = SPECIAL.map(str::to_owned).to_vec();
        tokens.extend((0..=255).map(|byte| spelling(byte).to_string()));
        tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
        tokens.extend(words.iter().map(|&word| word.to_owned()));
        let types = (0..tokens.len()).map(|id| if id < SPECIAL.len() { 3 } else { 1 }).collect();
        let merges = merges.iter().map(|&merge| merge.to_owned()).collect();
        Self { starts: false, ..Self::with_merges(pre, tokens, types, merges, [1, 2]) }
    }

    /// A byte-level vocabulary with its start and end.
    pub(super) fn with_merges(
        pre: &str,
        tokens: Vec<String>,
        types: Vec<i32>,
        merges: Vec<String>,
        [start, end]: [u32; 2],
    ) -> Self {
        let merges = ("tokenizer.ggml.merges", Value::Array(merges.into_iter().map(Value::String).collect()));
        Self { model: "gpt2", pre: pre.to_owned(), tokens, types, merges, starts: true, start, end }
    }

    /// A SentencePiece vocabulary of tokens with their scores and types; the second and the third are its start and end.
    #[cfg(test)]
    pub(super) fn sentence_piece(tokens: Vec<(String, f32, i32)>) -> Self {
        let scores = tokens.iter().map(|(_, score, _)| Value::F32(*score)).collect();
        let types = tokens.iter().map(|(.., kind)| *kind).collect();
        Self {
            model: "llama",
            pre: "default".to_owned(),
            tokens: tokens.into_iter().map(|(token, ..)| token).collect(),
            types,
            merges: ("tokenizer.ggml.scores", Value::Array(scores)),
            starts: true,
            start: 1,
            end: 2,
        }
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
