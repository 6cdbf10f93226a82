//! What the metadata say about a llama model's sizes, and which models are refused because of it.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};

use super::metadata::Header;

/// Sizes and constants of one model, from the metadata.
pub(super) struct Shape {
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
    /// Longest prompt the model was made for, in tokens.
    pub(super) context: usize,
    pub(super) vocabulary: usize,
    /// Positions turn the i-th pair of a head by position · rope_base^(-2i/head) radians.
    pub(super) rope_base: f64,
    /// Added to the mean square before its root is taken.
    pub(super) epsilon: f32,
}

impl Shape {
    /// Reads the `llama.*` keys. A key that is not known is an error: it may change what the model computes.
    pub(super) fn from_header(header: &Header, vocabulary: usize) -> Result<Self> {
        let place = header.place();
        let architecture = header.required("general.architecture", header.text("general.architecture"))?;
        ensure!(architecture == "llama", "{place}: architecture `{architecture}` is not supported; supported: llama");
        let count = |key: &str| {
            let found = header.required(key, header.integer(key))?;
            ensure!(found > 0, "{place}: metadata key `{key}` is 0");
            Ok(found)
        };
        let width = count("llama.embedding_length")?;
        let heads = count("llama.attention.head_count")?;
        let kv_heads = header.integer("llama.attention.head_count_kv")?.unwrap_or(heads);
        ensure!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads) && width.is_multiple_of(heads),
            "{place}: {heads} heads and {kv_heads} key-value heads do not divide a width of {width}"
        );
        let head = width / heads;
        ensure!(head.is_multiple_of(2), "{place}: a head of {head} numbers has no pairs to rotate");
        let epsilon = "llama.attention.layer_norm_rms_epsilon";
        let shape = Self {
            layers: count("llama.block_count")?,
            width,
            hidden: count("llama.feed_forward_length")?,
            heads,
            kv_heads,
            head,
            context: count("llama.context_length")?,
            vocabulary,
            // Both defaults are the GGUF specification's.
            rope_base: header.real("llama.rope.freq_base")?.unwrap_or(10_000.0),
            epsilon: header.required(epsilon, header.real(epsilon))? as f32,
        };
        // Keys that repeat what follows from the others: they must agree.
        let implied = [
            ("llama.rope.dimension_count", head),
            ("llama.attention.key_length", head),
            ("llama.attention.value_length", head),
            ("llama.vocab_size", vocabulary),
        ];
        for (key, wanted) in implied {
            if let Some(found) = header.integer(key)?
                && found != wanted
            {
                bail!("{place}: metadata key `{key}` is {found}; only {wanted} is supported with the other keys");
            }
        }
        let read = [
            "llama.embedding_length",
            "llama.attention.head_count",
            "llama.attention.head_count_kv",
            "llama.block_count",
            "llama.feed_forward_length",
            "llama.context_length",
            "llama.rope.freq_base",
            epsilon,
        ];
        let known: BTreeSet<&str> = read.into_iter().chain(implied.map(|(key, _)| key)).collect();
        let unknown: BTreeSet<&str> = header.keys().filter(|k| k.starts_with("llama.") && !known.contains(k)).collect();
        ensure!(
            unknown.is_empty(),
            "{place}: the model asks for {unknown:?}, which this decoder does not have\nhelp: use a plain llama model \
             such as SmolLM2, or an HTTP provider"
        );
        Ok(shape)
    }
}
