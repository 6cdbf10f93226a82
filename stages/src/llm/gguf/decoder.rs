//! The llama transformer, forward only: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
//!
//! Touvron et al. 2023 (arXiv:2302.13971, §2.2); grouped queries: Ainslie et al. 2023 (arXiv:2305.13245). The weights are
//! expanded to f32 when loaded: a plain f32 matrix product evaluates a batch of tokens several times faster than candle's
//! product on the quantised weights, which goes token by token. Nothing here is trained, so candle_nn's fused operators,
//! which cut the gradient, are fine.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use candle_core::{Device, Tensor};
use candle_nn::ops::{rms_norm, softmax_last_dim, swiglu};
use candle_nn::rotary_emb::rope_i;

use super::metadata::Header;

/// Sizes and constants of one model, from the metadata.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) layers: usize,
    /// Numbers per token between two layers.
    pub(super) width: usize,
    pub(super) hidden: usize,
    pub(super) heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` heads of queries.
    pub(super) kv_heads: usize,
    /// Numbers per head.
    pub(super) head: usize,
    /// Longest prompt the model was made for, in tokens.
    pub(super) context: usize,
    pub(super) vocabulary: usize,
    rope_base: f64,
    epsilon: f32,
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
            "{place}: the model asks for {unknown:?}, which this decoder does not have. help: use a plain llama model \
             such as SmolLM2, or an HTTP provider"
        );
        Ok(shape)
    }
}

struct Layer {
    attention_norm: Tensor,
    /// Queries, keys and values in one product `[(heads + 2 kv_heads) head, width]`.
    qkv: Tensor,
    attention_out: Tensor,
    forward_norm: Tensor,
    /// Gate and up in one product `[2 hidden, width]`.
    gate_up: Tensor,
    down: Tensor,
}

/// Keys and values of some consecutive tokens: for each layer two tensors `[kv_heads, tokens, head]`.
#[derive(Clone)]
pub(super) struct KeyValues(Vec<(Tensor, Tensor)>);

/// Weights of one model, all f32.
pub(super) struct Decoder {
    pub(super) shape: Shape,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    /// `[vocabulary, width]`; the embedding itself when the file has no `output.weight`.
    head: Tensor,
}

impl Decoder {
    /// Reads all weights. A tensor left over is an error, for the model then computes something we do not.
    pub(super) fn load(header: &mut Header, shape: Shape) -> Result<Self> {
        let mut left: BTreeSet<String> = header.tensor_names().into_iter().collect();
        let tied = !left.contains("output.weight");
        let mut take = |name: String, dims: &[usize]| {
            left.remove(&name);
            header.tensor(&name, dims)
        };
        let Shape { width, hidden, vocabulary, .. } = shape;
        let (q, kv) = (shape.heads * shape.head, shape.kv_heads * shape.head);
        let mut layers = Vec::with_capacity(shape.layers);
        for layer in 0..shape.layers {
            let mut take = |part: &str, dims: &[usize]| take(format!("blk.{layer}.{part}.weight"), dims);
            layers.push(Layer {
                attention_norm: take("attn_norm", &[width])?,
                qkv: Tensor::cat(
                    &[take("attn_q", &[q, width])?, take("attn_k", &[kv, width])?, take("attn_v", &[kv, width])?],
                    0,
                )?,
                attention_out: take("attn_output", &[width, q])?,
                forward_norm: take("ffn_norm", &[width])?,
                gate_up: Tensor::cat(&[take("ffn_gate", &[hidden, width])?, take("ffn_up", &[hidden, width])?], 0)?,
                down: take("ffn_down", &[width, hidden])?,
            });
        }
        let norm = take("output_norm.weight".into(), &[width])?;
        let embedding = take("token_embd.weight".into(), &[vocabulary, width])?;
        let head = if tied { embedding.clone() } else { take("output.weight".into(), &[vocabulary, width])? };
        if let Some(name) = left.first() {
            bail!(
                "{}: {} tensors are of no use to this decoder, the first is `{name}`. help: use a plain llama model such \
                 as SmolLM2, or an HTTP provider",
                header.place(),
                left.len()
            );
        }
        Ok(Self { shape, embedding, layers, norm, head })
    }

    /// Evaluates `tokens` behind `past`.
    ///
    /// `positions[i]` is where token i stands in its text; `sees(i, j)` says whether token i may look at token j of
    /// `tokens` (all of `past` is seen). Returns the last layer's normed output `[tokens, width]` and the new keys and
    /// values. The caller keeps ids below the vocabulary and `tokens` non-empty.
    pub(super) fn forward(
        &self,
        past: &[&KeyValues],
        tokens: &[u32],
        positions: &[usize],
        sees: impl Fn(usize, usize) -> bool,
    ) -> candle_core::Result<(Tensor, KeyValues)> {
        let Shape { heads, kv_heads, head, epsilon, .. } = self.shape;
        let (count, group) = (tokens.len(), heads / kv_heads);
        let (cos, sin) = self.rotation(positions)?;
        let before: usize = past.iter().try_fold(0, |sum, block| Ok::<_, candle_core::Error>(sum + block.tokens()?))?;
        let mask = mask(before, count, sees)?;
        let mut x = self.embedding.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        let mut fresh = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let qkv = product(&rms_norm(&x, &layer.attention_norm, epsilon)?, &layer.qkv)?;
            // [tokens, n * head] → [n, tokens, head]
            let part = |from: usize, n: usize| {
                qkv.narrow(1, from * head, n * head)?.reshape((count, n, head))?.transpose(0, 1)?.contiguous()
            };
            // llama files pair neighbouring numbers (0,1), (2,3), …: the interleaved rotation.
            let rotate = |t: Tensor| rope_i(&t.unsqueeze(0)?, &cos, &sin)?.squeeze(0);
            let q = (rotate(part(0, heads)?)? * (head as f64).powf(-0.5))?;
            let k = rotate(part(heads, kv_heads)?)?;
            let v = part(heads + kv_heads, kv_heads)?;
            let mut keys: Vec<&Tensor> = past.iter().map(|block| &block.0[index].0).collect();
            let mut values: Vec<&Tensor> = past.iter().map(|block| &block.0[index].1).collect();
            keys.push(&k);
            values.push(&v);
            let (keys, values) = (Tensor::cat(&keys, 1)?, Tensor::cat(&values, 1)?);
            // A key head is shared by `group` query heads: they become rows of one product instead of copies of the key.
            let q = q.reshape((kv_heads, group * count, head))?;
            let scores = q.matmul(&keys.transpose(1, 2)?)?.reshape((heads, count, before + count))?;
            let weights = softmax_last_dim(&scores.broadcast_add(&mask)?)?;
            let seen = weights.reshape((kv_heads, group * count, before + count))?.matmul(&values)?;
            let seen = seen.reshape((heads, count, head))?.transpose(0, 1)?.reshape((count, heads * head))?;
            x = (x + product(&seen, &layer.attention_out)?)?;
            let inner = swiglu(&product(&rms_norm(&x, &layer.forward_norm, epsilon)?, &layer.gate_up)?)?;
            x = (x + product(&inner, &layer.down)?)?;
            fresh.push((k, v));
        }
        Ok((rms_norm(&x, &self.norm, epsilon)?, KeyValues(fresh)))
    }

    /// Rows of [`Decoder::forward`]'s output `[rows, width]` → scores of the next token `[rows, vocabulary]`.
    pub(super) fn logits(&self, rows: &Tensor) -> candle_core::Result<Tensor> {
        product(rows, &self.head)
    }

    /// Cosine and sine `[tokens, head / 2]` of position · base^(-2i/head) (Su et al. 2021, eq. 15).
    fn rotation(&self, positions: &[usize]) -> candle_core::Result<(Tensor, Tensor)> {
        let half = self.shape.head / 2;
        let angle = |position: usize, i: usize| {
            position as f64 * self.shape.rope_base.powf(-2.0 * i as f64 / self.shape.head as f64)
        };
        let angles = || positions.iter().flat_map(|p| (0..half).map(move |i| angle(*p, i)));
        let cos = Tensor::from_iter(angles().map(|a| a.cos() as f32), &Device::Cpu)?;
        let sin = Tensor::from_iter(angles().map(|a| a.sin() as f32), &Device::Cpu)?;
        Ok((cos.reshape((positions.len(), half))?, sin.reshape((positions.len(), half))?))
    }
}

impl KeyValues {
    fn tokens(&self) -> candle_core::Result<usize> {
        self.0.first().map_or(Ok(0), |(keys, _)| keys.dim(1))
    }
}

/// `x [rows, in] · weight [out, in]ᵀ`.
fn product(x: &Tensor, weight: &Tensor) -> candle_core::Result<Tensor> {
    x.matmul(&weight.t()?)
}

/// What is added to the attention scores `[tokens, before + tokens]`: 0 where a token may look, −∞ where not.
fn mask(before: usize, count: usize, sees: impl Fn(usize, usize) -> bool) -> candle_core::Result<Tensor> {
    let mut mask = Vec::with_capacity(count * (before + count));
    for i in 0..count {
        mask.resize(mask.len() + before, 0.0_f32);
        mask.extend((0..count).map(|j| if sees(i, j) { 0.0 } else { f32::NEG_INFINITY }));
    }
    Tensor::from_vec(mask, (count, before + count), &Device::Cpu)
}
