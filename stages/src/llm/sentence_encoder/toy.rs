//! A tiny sentence encoder with random weights in a folder as Sentence-Transformers keeps it, so that tests and experiments need no
//! download.
//!
//! It has everything that the loader meets in a real folder: a lower-casing WordPiece tokenizer with the limit and the padding of an
//! export, pooling and normalising modules, and the pooler that sentences do not need. Its vectors say how texts are spelled.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context as _, Result};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use serde_json::{Value, json};

const LAYERS: usize = 2;
const WIDTH: usize = 32;
const INNER: usize = 64;
const HEADS: usize = 4;
const PLACES: usize = 40;
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const WORDS: [&str; 6] = ["the", "toy", "story", "##ing", "##er", "war"];

/// Writes the toy model: 2 layers, width 32, 150 kB; equal bytes at every call.
///
/// # Errors
/// The files cannot be written.
pub fn write_toy(folder: &Path) -> Result<()> {
    Toy::new().write(folder)
}

/// The parts of the folder, so that tests can damage one.
pub(super) struct Toy {
    /// Files by their path in the folder.
    pub(super) files: BTreeMap<&'static str, Value>,
    pub(super) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Toy {
    pub(super) fn new() -> Self {
        let pieces: Vec<String> = vocabulary();
        let config = json!({
            "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": WIDTH,
            "intermediate_size": INNER, "layer_norm_eps": 1e-12, "max_position_embeddings": PLACES,
            "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "position_embedding_type": "absolute",
            "type_vocab_size": 2, "vocab_size": pieces.len(),
        });
        let module = |index: usize, path: &str, name: &str| json!({ "idx": index, "name": index.to_string(), "path": path, "type": format!("sentence_transformers.models.{name}") });
        let pooling = json!({
            "word_embedding_dimension": WIDTH, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true,
        });
        let files = BTreeMap::from([
            ("config.json", config),
            (
                "modules.json",
                json!([module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling"), module(2, "2", "Normalize")]),
            ),
            ("1_Pooling/config.json", pooling),
            ("sentence_bert_config.json", json!({ "max_seq_length": 24, "do_lower_case": false })),
            ("tokenizer.json", tokenizer(&pieces)),
        ]);
        Self { files, tensors: tensors(pieces.len()) }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let place = || format!("cannot write the toy encoder {}", folder.display());
        std::fs::create_dir_all(folder.join("1_Pooling")).with_context(place)?;
        for (name, value) in &self.files {
            std::fs::write(folder.join(name), format!("{value:#}\n")).with_context(place)?;
        }
        let bytes = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let data: Vec<_> =
            self.tensors.iter().map(|(name, (shape, values))| (name, shape.clone(), bytes(values))).collect();
        let mut views = Vec::new();
        for (name, shape, bytes) in &data {
            views.push(((*name).clone(), TensorView::new(Dtype::F32, shape.clone(), bytes)?));
        }
        let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        serialize_to_file(views, Some(about), &folder.join("model.safetensors")).with_context(place)
    }
}

/// Every letter and digit as a word and as a part of one, and some longer pieces.
fn vocabulary() -> Vec<String> {
    let letters = || ('a'..='z').chain('0'..='9');
    let marks = [".", ",", ":", "(", ")", "!", "?", "'", "-", "&"].map(str::to_owned);
    SPECIAL
        .map(str::to_owned)
        .into_iter()
        .chain(letters().map(String::from))
        .chain(letters().map(|letter| format!("##{letter}")))
        .chain(marks)
        .chain(WORDS.map(str::to_owned))
        .collect()
}

fn tokenizer(pieces: &[String]) -> Value {
    let vocabulary: serde_json::Map<String, Value> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), id.into())).collect();
    let special = |(id, piece): (usize, &&str)| {
        json!({
            "id": id, "content": piece, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false,
        })
    };
    let token = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let with_ids = |name: &str, id: usize| json!({ "id": name, "ids": [id], "tokens": [name] });
    json!({
        "version": "1.0",
        "truncation": { "max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right" },
        "padding": {
            "strategy": { "Fixed": 8 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": SPECIAL.iter().enumerate().map(special).collect::<Vec<_>>(),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, token("[SEP]")],
            "pair": [token("[CLS]"), { "Sequence": { "id": "A", "type_id": 0 } }, token("[SEP]")],
            "special_tokens": { "[CLS]": with_ids("[CLS]", 2), "[SEP]": with_ids("[SEP]", 3) },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    })
}

/// Weights of about unit gain, from a fixed seed by additions and products only, so that every machine makes the same.
fn tensors(vocabulary: usize) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut random = ChaCha8Rng::seed_from_u64(384);
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, shape: &[usize], middle: f32| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|_| middle + 0.3 * (random.random::<f32>() * 2.0 - 1.0)).collect();
        tensors.insert(name, (shape.to_vec(), values));
    };
    add("embeddings.word_embeddings.weight".into(), &[vocabulary, WIDTH], 0.0);
    add("embeddings.position_embeddings.weight".into(), &[PLACES, WIDTH], 0.0);
    add("embeddings.token_type_embeddings.weight".into(), &[2, WIDTH], 0.0);
    let mut linear = |name: String, rows: usize, columns: usize| {
        add(format!("{name}.weight"), &[rows, columns], 0.0);
        add(format!("{name}.bias"), &[rows], 0.0);
    };
    linear("pooler.dense".into(), WIDTH, WIDTH);
    for layer in 0..LAYERS {
        for (part, rows, columns) in [
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", INNER, WIDTH),
            ("output.dense", WIDTH, INNER),
        ] {
            linear(format!("encoder.layer.{layer}.{part}"), rows, columns);
        }
    }
    let layers = (0..LAYERS)
        .flat_map(|layer| ["attention.output", "output"].map(|part| format!("encoder.layer.{layer}.{part}")));
    for part in std::iter::once("embeddings".to_owned()).chain(layers) {
        add(format!("{part}.LayerNorm.weight"), &[WIDTH], 1.0);
        add(format!("{part}.LayerNorm.bias"), &[WIDTH], 0.0);
    }
    tensors
}
