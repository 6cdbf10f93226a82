//! The llama transformer, forward only: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
//!
//! Touvron et al. 2023 (arXiv:2302.13971, §2.2); grouped queries: Ainslie et al. 2023 (arXiv:2305.13245). Qwen2 is the same with
//! biases on queries, keys and values (arXiv:2407.10671, §2.2). There are no gradients and no candle tensors: candle multiplies
//! quantised weights token by token, and its float products need dequantised weights.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use super::adaptation::Adaptation;
use super::attention::{KeyValues, attention};
use super::crew::{Crew, ForwardPass};
use super::layer::{Layer, Linear, TokenPass};
use super::logits::Logits;
use super::matmul::{Inputs, shared_matmuls};
use super::metadata::Header;
use super::model_config::ModelConfig;
use super::ops::{Rope, rms_norm};
use super::packed::Packed;
use super::projection::Projection;

/// Keys and values of some consecutive tokens, layer by layer.
#[derive(Clone)]
pub(super) struct KvCache(Arc<Vec<KeyValues>>);

/// Tokens of one prompt and what they attend to: one sequence of a batch.
pub(super) struct BatchSlice {
    /// The cache of the tokens before; all of it is attended to.
    pub past: Vec<KvCache>,
    /// At least one; each below the vocabulary.
    pub tokens: Vec<u32>,
    /// The position of each token in its text.
    pub positions: Vec<usize>,
    /// Whether token i attends to token j of `tokens`, at `i · tokens + j`.
    pub mask: Vec<bool>,
    /// Whether the logits of the token after the last one are wanted.
    pub wants_logits: bool,
}

/// The result of a slice.
pub(super) struct SliceOutput {
    /// The last layer's normed output `[tokens, width]`.
    pub hidden: Vec<f32>,
    /// The new keys and values.
    pub kv: KvCache,
    /// The logits of the next token in row 0, where they were wanted.
    pub next_logits: Option<Logits>,
}

/// Weights of one model.
pub(super) struct Decoder {
    pub(super) config: ModelConfig,
    pub(super) crew: Crew,
    pub(super) embedding: Arc<Packed>,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Vec<f32>,
    /// Divisors of the frequencies of [`Rope`], which Llama 3.1 and later have; else ones.
    pub(super) rope_factors: Vec<f32>,
    /// `[vocabulary, width]`; the embedding itself when the file has no `output.weight`.
    pub(super) output: Arc<Packed>,
    /// What the model learned beside its weights.
    pub(super) adaptation: Option<Adaptation>,
}

impl Decoder {
    /// Reads all weights. A tensor that is not read is an error, because the model then computes something else. The products of a
    /// pass are shared by `threads` threads.
    pub(super) fn load(header: &mut Header, config: ModelConfig, threads: usize) -> Result<Self> {
        let mut left: BTreeSet<String> = header.tensor_names().into_iter().collect();
        let tied = !left.contains("output.weight");
        let scaled = left.contains("rope_freqs.weight");
        let ModelConfig { width, vocabulary, qkv_bias, .. } = config;
        // Not with capacity for `config.layers`: a damaged file may announce more than there is memory for.
        let mut layers = Vec::new();
        for layer in 0..config.layers {
            let mut name = |part: &str| {
                let name = format!("blk.{layer}.{part}");
                left.remove(&name);
                name
            };
            let mut maps = Vec::with_capacity(Projection::ALL.len());
            for projection in Projection::ALL {
                let (part, [rows, columns]) = (projection.tensor(), config.shape(projection));
                let weights = Arc::new(header.weights(&name(&format!("{part}.weight")), rows, columns)?);
                let biased = qkv_bias && projection.feeds_attention();
                let bias = biased.then(|| header.floats(&name(&format!("{part}.bias")), rows)).transpose()?;
                maps.push(Linear { weights, bias });
            }
            layers.push(Layer {
                attention_norm: header.floats(&name("attn_norm.weight"), width)?,
                forward_norm: header.floats(&name("ffn_norm.weight"), width)?,
                maps,
            });
        }
        let mut name = |name: &'static str| {
            left.remove(name);
            name
        };
        let norm = header.floats(name("output_norm.weight"), width)?;
        let embedding = Arc::new(header.weights(name("token_embd.weight"), vocabulary, width)?);
        let output = match tied {
            true => Arc::clone(&embedding),
            false => Arc::new(header.weights(name("output.weight"), vocabulary, width)?),
        };
        let mut rope_factors = vec![1.0; config.head / 2];
        if scaled {
            rope_factors = header.floats(name("rope_freqs.weight"), config.head / 2)?;
            ensure!(
                rope_factors.iter().all(|factor| factor.is_finite() && *factor > 0.0),
                "{}: tensor `rope_freqs.weight` holds a number that is not above 0\nhelp: fetch the file again; it may be damaged",
                header.place()
            );
        }
        if let Some(name) = left.first() {
            bail!(
                "{}: {} tensors are not supported by this decoder; the first is `{name}`\nhelp: use a plain llama or Qwen2 \
                 model such as SmolLM2, or an HTTP provider",
                header.place(),
                left.len()
            );
        }
        Ok(Self { config, crew: Crew::new(threads), embedding, layers, norm, rope_factors, output, adaptation: None })
    }

    /// How many virtual tokens the model learned.
    pub(super) fn virtual_tokens(&self) -> usize {
        self.adaptation.as_ref().map_or(0, |adaptation| adaptation.virtual_tokens.len() / self.config.width)
    }

    /// The embedding row of a token, which is a virtual one of `adaptation` from the vocabulary's size on.
    pub(super) fn embedded(&self, id: u32, adaptation: Option<&Adaptation>) -> Vec<f32> {
        let ModelConfig { width, vocabulary, .. } = self.config;
        match (adaptation, (id as usize).checked_sub(vocabulary)) {
            (Some(adaptation), Some(index)) => adaptation.virtual_tokens[index * width..][..width].to_vec(),
            _ => self.embedding.row(id as usize),
        }
    }

    /// Evaluates a batch; the result of a slice does not depend on the others.
    pub(super) fn forward(&self, slices: &[BatchSlice]) -> Vec<SliceOutput> {
        let ModelConfig { heads, kv_heads, head, width, epsilon, rope_base, pairs, .. } = self.config;
        let pass = self.crew.begin_pass();
        let positions = slices.iter().flat_map(|slice| slice.positions.iter().copied());
        let rotation = Rope::new(positions, &self.rope_factors, rope_base, pairs);
        let tokens = slices.iter().flat_map(|slice| &slice.tokens);
        let mut x: Vec<f32> = tokens.flat_map(|id| self.embedded(*id, self.adaptation.as_ref())).collect();
        let mut fresh: Vec<Vec<KeyValues>> = slices.iter().map(|_| Vec::new()).collect();
        let tokens = TokenPass { config: &self.config, pass: &pass, rotation: &rotation };
        for (index, layer) in self.layers.iter().enumerate() {
            let attend = |queries: &[f32], keys: &[f32], values: &[f32]| {
                let mut attended = Vec::with_capacity(queries.len());
                let mut first = 0;
                for (slice, fresh) in slices.iter().zip(&mut fresh) {
                    let range = |width: usize| first * width..(first + slice.tokens.len()) * width;
                    let own = range(kv_heads * head);
                    let own = KeyValues::new(&self.config, &keys[own.clone()], &values[own]);
                    let mut blocks: Vec<&KeyValues> = slice.past.iter().map(|kv| &kv.0[index]).collect();
                    blocks.push(&own);
                    attended.extend(attention(&self.config, &queries[range(heads * head)], &blocks, &slice.mask));
                    fresh.push(own);
                    first += slice.tokens.len();
                }
                attended
            };
            let low_rank = self.adaptation.as_ref().and_then(|adaptation| adaptation.low_rank.get(index));
            layer.forward(&tokens, low_rank, &mut x, attend, false);
        }
        let out = rms_norm(&x, &self.norm, epsilon);
        let mut rest = &out[..];
        let mut results = Vec::with_capacity(slices.len());
        let mut last = Vec::new();
        for (slice, fresh) in slices.iter().zip(fresh) {
            let (rows, others) = rest.split_at(slice.tokens.len() * width);
            if slice.wants_logits {
                last.extend_from_slice(&rows[rows.len() - width..]);
            }
            results.push(SliceOutput { hidden: rows.to_vec(), kv: KvCache(Arc::new(fresh)), next_logits: None });
            rest = others;
        }
        let scores = self.scores(&pass, &last);
        let wanted = results.iter_mut().zip(slices).filter(|(_, slice)| slice.wants_logits);
        for ((result, _), row) in wanted.zip(scores.chunks_exact(self.config.vocabulary)) {
            result.next_logits = Some(Logits::new(row.to_vec(), self.config.vocabulary));
        }
        results
    }

    /// Rows of [`Decoder::forward`]'s output `[rows, width]` → logits of the next token, one row each.
    pub(super) fn logits(&self, rows: &[f32]) -> Logits {
        Logits::new(self.scores(&self.crew.begin_pass(), rows), self.config.vocabulary)
    }

    /// `[rows, vocabulary]`.
    fn scores(&self, pass: &ForwardPass, rows: &[f32]) -> Vec<f32> {
        if rows.is_empty() {
            return Vec::new();
        }
        let [scores] = shared_matmuls(pass, [&self.output], &Arc::new(Inputs::new(rows, self.config.width)));
        scores
    }
}
