//! Which model embeds texts inside the process.

use anyhow::Result;
use pipeline::{AssetName, Context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Embedder;
use super::sentence_encoder::SentenceEncoder;

/// A model that embeds texts inside this process, without a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EmbedderConfig {
    /// A BERT sentence encoder such as all-MiniLM-L6-v2.
    SentenceEncoder(SentenceEncoderConfig),
}

/// `sentence_encoder: { asset: … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SentenceEncoderConfig {
    /// The folder of the model as Sentence-Transformers keeps it, an entry of `assets`: `config.json`, `tokenizer.json` and
    /// `model.safetensors`, with the settings of its pooling.
    pub asset: AssetName,
}

impl EmbedderConfig {
    /// The asset that it needs.
    #[must_use]
    pub fn asset(&self) -> &AssetName {
        match self {
            Self::SentenceEncoder(config) => &config.asset,
        }
    }

    /// Reads the model.
    ///
    /// # Errors
    /// When its files cannot be read, or hold a model that would be computed wrongly.
    pub fn open(&self, cx: &Context) -> Result<Box<dyn Embedder>> {
        match self {
            Self::SentenceEncoder(config) => Ok(Box::new(SentenceEncoder::load(cx.asset(&config.asset)?)?)),
        }
    }
}
