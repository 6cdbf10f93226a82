//! What a language model learned beside its weights.

use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::Artifact;
use serde::{Deserialize, Serialize};

use super::array_hash;
use super::tensors::TensorFile;

/// safetensors: low-rank terms `blk.N.MAP.a [rank, inputs]` and `blk.N.MAP.b [rank, outputs]` (B transposed) of a model's maps by
/// their names in its GGUF file, `virtual_tokens [tokens, width]`, or both; in the metadata an [`AdapterOrigin`].
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter(pub TensorFile);

/// What an adapter belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterOrigin {
    /// The model's name in its file.
    pub model: String,
    /// BLAKE3 of the model's file in hex: an adapter changes no other model.
    pub model_digest: String,
    /// The kind of stage that trained it.
    pub learner: String,
    /// α of the low-rank terms, which are scaled by α/rank; 0 where there are none.
    pub alpha: f64,
}

impl Adapter {
    /// What it belongs to.
    ///
    /// # Errors
    /// When its metadata do not say it.
    pub fn origin(&self) -> Result<AdapterOrigin> {
        self.0.about().context("the adapter does not say which model it belongs to")
    }

    /// BLAKE3 of its numbers with their names and shapes, and of what it belongs to, in hex.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.about.as_bytes());
        for (name, array) in &self.0.arrays {
            hasher.update(name.as_bytes());
            array_hash::update(&mut hasher, array);
        }
        array_hash::hex(&hasher)
    }
}

impl Artifact for Adapter {
    const KIND: &'static str = "adapter";
    const EXTENSION: &'static str = "safetensors";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        self.0.write(path, Self::KIND, Self::FORMAT, &pipeline::IdSpaces::default())
    }

    fn read(path: &Path) -> Result<Self> {
        Ok(Self(TensorFile::read(path, Self::KIND, Self::FORMAT)?))
    }
}
