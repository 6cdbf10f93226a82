//! The sizes of a model from its metadata, and the models that are refused because of them.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use super::metadata::Header;
use super::ops::RopePairs;
use super::projection::Projection;
use super::supported::supported;

/// Sizes and constants of one model, from the metadata.
pub(super) struct ModelConfig {
    pub(super) layers: usize,
    /// Numbers per token between two layers.
    pub(super) width: usize,
    /// Numbers per token inside the feed-forward part.
    pub(super) hidden: usize,
    pub(super) heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` heads of queries.
    pub(super) kv_heads: usize,
    /// Numbers per head.
    pub(super) head: usize,
    /// The context length that the model was trained for, in tokens.
    pub(super) context: usize,
    pub(super) vocabulary: usize,
    /// The i-th pair of a head is rotated by position · rope_base^(-2i/head) radians.
    pub(super) rope_base: f64,
    /// Which numbers of a head form a pair.
    pub(super) pairs: RopePairs,
    /// Whether queries, keys and values have biases.
    pub(super) qkv_bias: bool,
    /// Added to the mean square before its root is taken.
    pub(super) epsilon: f32,
}

impl ModelConfig {
    /// Reads the architecture's keys. An unknown key is an error: it may change what the model computes.
    pub(super) fn from_header(header: &Header, vocabulary: usize) -> Result<Self> {
        let place = header.place();
        let architecture = header.required("general.architecture", header.text("general.architecture"))?;
        let (pairs, qkv_bias) = match architecture.as_str() {
            "llama" => (RopePairs::Neighbours, false),
            "qwen2" => (RopePairs::Halves, true),
            _ => bail!("{place}: architecture `{architecture}` is not supported\n{}", supported()),
        };
        let key = |name: &str| format!("{architecture}.{name}");
        let count = |name: &str| {
            let key = key(name);
            let found = header.required(&key, header.integer(&key))?;
            ensure!(found > 0, "{place}: metadata key `{key}` is 0");
            Ok(found)
        };
        let width = count("embedding_length")?;
        let heads = count("attention.head_count")?;
        let kv_heads = header.integer(&key("attention.head_count_kv"))?.unwrap_or(heads);
        ensure!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads) && width.is_multiple_of(heads),
            "{place}: {heads} heads and {kv_heads} key-value heads do not divide a width of {width}"
        );
        let head = width / heads;
        ensure!(head.is_multiple_of(2), "{place}: a head of {head} numbers has no pairs to rotate");
        let epsilon = key("attention.layer_norm_rms_epsilon");
        let config = Self {
            layers: count("block_count")?,
            width,
            hidden: count("feed_forward_length")?,
            heads,
            kv_heads,
            head,
            context: count("context_length")?,
            vocabulary,
            // Both defaults are the GGUF specification's.
            rope_base: header.real(&key("rope.freq_base"))?.unwrap_or(10_000.0),
            pairs,
            qkv_bias,
            epsilon: header.required(&epsilon, header.real(&epsilon))? as f32,
        };
        // Keys that repeat what follows from the others: they must agree.
        let implied = [
            ("rope.dimension_count", head),
            ("attention.key_length", head),
            ("attention.value_length", head),
            ("vocab_size", vocabulary),
        ];
        for (name, wanted) in implied {
            let key = key(name);
            if let Some(found) = header.integer(&key)?
                && found != wanted
            {
                bail!("{place}: metadata key `{key}` is {found}; only {wanted} is supported with the other keys");
            }
        }
        let read = [
            "embedding_length",
            "attention.head_count",
            "attention.head_count_kv",
            "block_count",
            "feed_forward_length",
            "context_length",
            "rope.freq_base",
            "attention.layer_norm_rms_epsilon",
        ];
        let known: BTreeSet<String> = read.into_iter().chain(implied.map(|(name, _)| name)).map(key).collect();
        let ours = format!("{architecture}.");
        let unknown: BTreeSet<&str> = header.keys().filter(|k| k.starts_with(&ours) && !known.contains(*k)).collect();
        ensure!(
            unknown.is_empty(),
            "{place}: the model needs {unknown:?}, which this decoder does not support\nhelp: use a plain llama or Qwen2 \
             model such as SmolLM2, or an HTTP provider"
        );
        Ok(config)
    }

    /// Outputs and inputs of a map of a layer.
    pub(super) fn shape(&self, projection: Projection) -> [usize; 2] {
        let (queries, keys) = (self.heads * self.head, self.kv_heads * self.head);
        match projection {
            Projection::Queries => [queries, self.width],
            Projection::Keys | Projection::Values => [keys, self.width],
            Projection::AttentionOut => [self.width, queries],
            Projection::Gate | Projection::Up => [self.hidden, self.width],
            Projection::Down => [self.width, self.hidden],
        }
    }

    /// For tests that need only some fields.
    #[cfg(test)]
    pub(super) fn of_nothing() -> Self {
        Self {
            layers: 0,
            width: 0,
            hidden: 0,
            heads: 0,
            kv_heads: 0,
            head: 0,
            context: 0,
            vocabulary: 0,
            rope_base: 1.0,
            pairs: RopePairs::Neighbours,
            qkv_bias: false,
            epsilon: 0.0,
        }
    }
}
