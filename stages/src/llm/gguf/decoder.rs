//! The llama transformer, forward only: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
//!
//! Touvron et al. 2023 (arXiv:2302.13971, §2.2); grouped queries: Ainslie et al. 2023 (arXiv:2305.13245). The weights
//! are expanded to f32 when loaded: plain f32 matrix products evaluate about 360 tokens a second of SmolLM2-135M on one
//! core, candle's product on the quantised weights, which goes token by token, about 43. Forward only: nothing here
//! carries a gradient.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};

use super::logits::Logits;
use super::metadata::Header;
use super::operators::{Rotation, attention_weights, rms_norm};
use super::shape::Shape;

struct Layer {
    attention_norm: Vec<f32>,
    /// Queries, keys and values in one product `[(heads + 2 kv_heads) head, width]`.
    qkv: Tensor,
    attention_out: Tensor,
    forward_norm: Vec<f32>,
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
    norm: Vec<f32>,
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
        // Not with room for `shape.layers`: a damaged file may announce more than there is memory for.
        let mut layers = Vec::new();
        for layer in 0..shape.layers {
            let mut take = |part: &str, dims: &[usize]| take(format!("blk.{layer}.{part}.weight"), dims);
            layers.push(Layer {
                attention_norm: take("attn_norm", &[width])?.to_vec1()?,
                qkv: Tensor::cat(
                    &[take("attn_q", &[q, width])?, take("attn_k", &[kv, width])?, take("attn_v", &[kv, width])?],
                    0,
                )?,
                attention_out: take("attn_output", &[width, q])?,
                forward_norm: take("ffn_norm", &[width])?.to_vec1()?,
                gate_up: Tensor::cat(&[take("ffn_gate", &[hidden, width])?, take("ffn_up", &[hidden, width])?], 0)?,
                down: take("ffn_down", &[width, hidden])?,
            });
        }
        let norm = take("output_norm.weight".into(), &[width])?.to_vec1()?;
        let embedding = take("token_embd.weight".into(), &[vocabulary, width])?;
        let head = if tied { embedding.clone() } else { take("output.weight".into(), &[vocabulary, width])? };
        if let Some(name) = left.first() {
            bail!(
                "{}: {} tensors are of no use to this decoder, the first is `{name}`\nhelp: use a plain llama \
                 model such as SmolLM2, or an HTTP provider",
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
    ) -> Result<(Tensor, KeyValues)> {
        let Shape { heads, kv_heads, head, hidden, epsilon, .. } = self.shape;
        let (count, group) = (tokens.len(), heads / kv_heads);
        let rotation = Rotation::new(positions, head, self.shape.rope_base);
        let sees: Vec<bool> = (0..count * count).map(|pair| sees(pair / count, pair % count)).collect();
        let scale = (head as f32).powf(-0.5);
        let mut x = self.embedding.index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)?;
        let mut fresh = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let qkv = product(&layer.qkv, &rms_norm(&x, &layer.attention_norm, epsilon)?)?;
            let rows = |from: usize, n: usize| qkv.narrow(0, from * head, n * head);
            let q = rotation.apply(&rows(0, heads)?)?;
            let k = rotation.apply(&rows(heads, kv_heads)?)?;
            let v =
                rows(heads + kv_heads, kv_heads)?.reshape((kv_heads, head, count))?.transpose(1, 2)?.contiguous()?;
            let mut keys: Vec<&Tensor> = past.iter().map(|block| &block.0[index].0).collect();
            let mut values: Vec<&Tensor> = past.iter().map(|block| &block.0[index].1).collect();
            keys.push(&k);
            values.push(&v);
            let (keys, values) = (Tensor::cat(&keys, 1)?, Tensor::cat(&values, 1)?);
            let length = keys.dim(1)?;
            // A key head is shared by `group` query heads: they become rows of one product instead of copies of the
            // key.
            let scores = q.reshape((kv_heads, group * count, head))?.matmul(&keys.transpose(1, 2)?)?;
            let weights = attention_weights(&scores.reshape((heads, count, length))?, &sees, scale)?;
            let seen = weights.reshape((kv_heads, group * count, length))?.matmul(&values)?;
            let seen = seen.reshape((heads, count, head))?.transpose(0, 1)?.reshape((count, heads * head))?;
            x = (x + product(&layer.attention_out, &seen)?.t()?)?;
            let gate_up = product(&layer.gate_up, &rms_norm(&x, &layer.forward_norm, epsilon)?)?;
            let inner = (gate_up.narrow(0, 0, hidden)?.silu()? * gate_up.narrow(0, hidden, hidden)?)?;
            x = (x + layer.down.matmul(&inner)?.t()?)?;
            fresh.push((k, v));
        }
        Ok((rms_norm(&x, &self.norm, epsilon)?, KeyValues(fresh)))
    }

    /// Rows of [`Decoder::forward`]'s output `[rows, width]` → scores of the next token, a column for each row.
    pub(super) fn logits(&self, rows: &Tensor) -> Result<Logits> {
        Ok(Logits::new(&product(&self.head, rows)?)?)
    }
}

/// `weight [out, in] · x [tokens, in]ᵀ` → `[out, tokens]`. In this order gemm reads the weights as they lie; the other
/// way round it first repacks them, which for a dozen tokens takes longer than the product.
fn product(weight: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
    weight.matmul(&x.t()?)
}
