//! Which model embeds texts inside the process.

use anyhow::Result;
use pipeline::{AssetName, Context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Embedder;
use super::gguf::hidden_states::HiddenStates;
use super::sentence_encoder::SentenceEncoder;

/// A model that embeds texts inside this process, without a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EmbedderConfig {
    /// A BERT sentence encoder such as all-MiniLM-L6-v2.
    SentenceEncoder(SentenceEncoderConfig),
    /// The mean of the last hidden states of a language model in a GGUF file. Its cosines are near 1 for all texts: a learner that
    /// reads the vectors centres them, but thresholds on cosines fit a sentence encoder.
    Gguf(HiddenStatesConfig),
}

/// `sentence_encoder: { asset: … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SentenceEncoderConfig {
    /// The folder of the model as Sentence-Transformers keeps it, an entry of `assets`: `config.json`, `tokenizer.json` and
    /// `model.safetensors`, with the settings of its pooling.
    pub asset: AssetName,
}

/// `gguf: { asset: … }` of an embedder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenStatesConfig {
    /// The model file, an entry of `assets`.
    pub asset: AssetName,
}

impl EmbedderConfig {
    /// The asset that it needs.
    #[must_use]
    pub fn asset(&self) -> &AssetName {
        match self {
            Self::SentenceEncoder(config) => &config.asset,
            Self::Gguf(config) => &config.asset,
        }
    }

    /// Reads the model.
    ///
    /// # Errors
    /// When its files cannot be read, or hold a model that would be computed wrongly.
    pub fn open(&self, cx: &Context) -> Result<Box<dyn Embedder>> {
        match self {
            Self::SentenceEncoder(config) => Ok(Box::new(SentenceEncoder::load(cx.asset(&config.asset)?)?)),
            Self::Gguf(config) => Ok(Box::new(HiddenStates::load(cx.asset(&config.asset)?)?)),
        }
    }
}
