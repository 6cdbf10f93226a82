//! What a model's folder says of the model: its sizes, how many word pieces it reads, and how their vectors become one.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What to do where a folder holds no such model.
const HELP: &str = "name the folder of a BERT sentence encoder such as all-MiniLM-L6-v2, with `config.json`, `tokenizer.json` and \
     `model.safetensors`";

/// `config.json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct BertConfig {
    model_type: String,
    #[serde(default = "BertConfig::gelu")]
    hidden_act: String,
    #[serde(default = "BertConfig::absolute")]
    position_embedding_type: String,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub layer_norm_eps: f32,
    pub max_position_embeddings: usize,
    pub num_attention_heads: usize,
    pub num_hidden_layers: usize,
    #[serde(default = "BertConfig::two")]
    pub type_vocab_size: usize,
    pub vocab_size: usize,
}

impl BertConfig {
    fn gelu() -> String {
        "gelu".into()
    }
    fn absolute() -> String {
        "absolute".into()
    }
    fn two() -> usize {
        2
    }
}

/// How the vectors of a text's word pieces become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first one, `[CLS]`.
    First,
}

/// All settings of a folder.
#[derive(Clone, Debug)]
pub(super) struct FolderConfig {
    pub bert: BertConfig,
    pub pooling: Pooling,
    /// The longest text in word pieces, with those that mark its beginning and end.
    pub max_length: usize,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    r#type: String,
}

#[derive(Deserialize)]
struct Limit {
    max_seq_length: Option<usize>,
}

impl FolderConfig {
    /// Reads the folder of a model; without the files of Sentence-Transformers it is pooled by its mean.
    ///
    /// # Errors
    /// Where the folder holds no BERT, or one that would be computed wrongly: with the file, what stands there, and what to do.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        ensure!(folder.is_dir(), "{} is no folder\nhelp: {HELP}", folder.display());
        let bert: BertConfig = {
            let path = folder.join("config.json");
            let kind: serde_json::Value = json(&path)?.with_context(|| missing(&path))?;
            // Another architecture may lack the fields of this one: it is named before they are read.
            if let Some(other) = kind["model_type"].as_str().filter(|&kind| kind != "bert") {
                bail!("{}: architecture `{other}` is not supported; supported: bert\nhelp: {HELP}", path.display());
            }
            serde_json::from_value(kind)
                .with_context(|| format!("{} describes no BERT\nhelp: {HELP}", path.display()))?
        };
        let place = folder.join("config.json").display().to_string();
        for (name, found, wanted) in [
            ("model_type", &bert.model_type, "bert"),
            ("hidden_act", &bert.hidden_act, "gelu"),
            ("position_embedding_type", &bert.position_embedding_type, "absolute"),
        ] {
            ensure!(found == wanted, "{place}: `{name}` is `{found}`; supported: {wanted}\nhelp: {HELP}");
        }
        let (width, heads) = (bert.hidden_size, bert.num_attention_heads);
        ensure!(
            width > 0 && heads > 0 && width.is_multiple_of(heads),
            "{place}: {heads} heads do not divide a width of {width}"
        );
        ensure!(bert.intermediate_size > 0 && bert.max_position_embeddings > 2, "{place}: a size is 0");
        let limit: Option<Limit> = json(&folder.join("sentence_bert_config.json"))?;
        let limit = limit.and_then(|limit| limit.max_seq_length).unwrap_or(usize::MAX);
        ensure!(limit > 2, "{}: `max_seq_length` is {limit}, wanted 3 or more", folder.display());
        let max_length = limit.min(bert.max_position_embeddings);
        Ok(Self { bert, pooling: pooling(folder)?, max_length })
    }
}

/// How the modules of a folder pool.
fn pooling(folder: &Path) -> Result<Pooling> {
    let path = folder.join("modules.json");
    let modules: Vec<Module> = json(&path)?.unwrap_or_default();
    let mut found = Pooling::Mean;
    for Module { path: part, r#type } in modules {
        match r#type.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let path = folder.join(part).join("config.json");
                let settings: serde_json::Map<String, serde_json::Value> =
                    json(&path)?.with_context(|| missing(&path))?;
                let on: Vec<&str> = settings
                    .iter()
                    .filter(|(name, value)| name.starts_with("pooling_mode") && value.as_bool() == Some(true))
                    .map(|(name, _)| name.as_str())
                    .collect();
                found = match on[..] {
                    ["pooling_mode_mean_tokens"] => Pooling::Mean,
                    ["pooling_mode_cls_token"] => Pooling::First,
                    _ => bail!(
                        "{}: pooling by {on:?} is not supported; supported: pooling_mode_mean_tokens, pooling_mode_cls_token\n\
                         help: {HELP}",
                        path.display()
                    ),
                };
            }
            other => bail!(
                "{}: module `{other}` is not supported; supported: Transformer, Pooling, Normalize\nhelp: {HELP}",
                path.display()
            ),
        }
    }
    Ok(found)
}

/// A file of JSON; `None` where there is none.
fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is not as wanted", path.display()))
}

/// The error of a file that is not there.
pub(super) fn missing(path: &Path) -> String {
    format!("{} is missing\nhelp: {HELP}", path.display())
}
