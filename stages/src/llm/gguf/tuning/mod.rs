//! Gradients of what a model learns beside its weights: low-rank terms (Hu et al. 2021, arXiv 2106.09685) and virtual tokens (Zhu et
//! al. 2024, arXiv 2405.19670).
//!
//! The loss is the answer's −Σ ln p(token | all before). Its backward pass is written by hand: the weights are frozen, so that no
//! gradient of them is made, and stay packed in memory. The forward pass is the decoder's own, layer by layer.
//!
//! What a layer computed is kept where it takes little memory; elsewhere only the residual stream at its entry, from which it is
//! computed again (Chen et al. 2016, arXiv 1604.06174). Both give the same bits, as does any number of threads: a sequence has a
//! gradient of its own, and sums run in the order of the sequences.
//!
//! Not here: gradients of weights, and GPUs.

mod answer_loss;
mod attention_gradient;
mod layer_gradient;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use rand::RngExt;
use rayon::prelude::*;

use super::attention::{KeyValues, attention};
use super::decoder::Decoder;
use super::layer::{Activations, TokenPass};
use super::low_rank::{LayerMaps, LowRank};
use super::ops::{Rope, rms_norm};
use super::projection::Projection;
use super::{Adaptation, Gguf};
use crate::nn::rng;
use answer_loss::answer_loss;
use layer_gradient::{LayerGradient, rms_norm_gradient};

/// The most bytes of a sequence's activations that are kept from the forward pass for the backward pass.
const KEPT_BYTES: usize = 256 << 20;

/// A text whose end is an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// Token ids; from the vocabulary's size on those of virtual tokens.
    pub tokens: Vec<u32>,
    /// Where the answer begins; at least 1 and below the number of tokens.
    pub answer: usize,
}

impl Sequence {
    /// How many tokens the answer has.
    #[must_use]
    pub fn answer_tokens(&self) -> usize {
        self.tokens.len() - self.answer
    }
}

/// The loss of a sequence and its gradient.
pub struct SequenceGradient {
    /// −Σ ln p of the answer's tokens.
    pub nll: f64,
    /// d nll.
    pub gradient: Adaptation,
}

impl Gguf {
    /// Low-rank terms that change nothing yet: A uniform in ±1/√inputs from `seed`, B zeros.
    #[must_use]
    pub fn new_low_rank(&self, projections: &[Projection], rank: usize, alpha: f64, seed: &[u64]) -> Adaptation {
        let config = &self.decoder.config;
        let layer = |layer: usize| {
            let term = |&projection: &Projection| {
                let shape = config.shape(projection);
                let mut term = LowRank::zeros(rank, shape, (alpha / rank as f64) as f32);
                let mut draws = rng(&[seed, &[layer as u64, projection as u64]].concat());
                let bound = (shape[1] as f32).powf(-0.5);
                term.a.fill_with(|| bound * (2.0 * draws.random::<f32>() - 1.0));
                (projection, term)
            };
            projections.iter().map(term).collect()
        };
        Adaptation { low_rank: (0..config.layers).map(layer).collect(), virtual_tokens: Vec::new() }
    }

    /// `count` virtual tokens that begin at the embeddings of a text, which repeats until they are enough.
    ///
    /// # Errors
    /// A text without a token.
    pub fn new_virtual_tokens(&self, text: &str, count: usize) -> Result<Adaptation> {
        let tokens = self.tokenize(text)?;
        ensure!(!tokens.is_empty(), "the text {text:?}, at which virtual tokens begin, has no token");
        let rows = tokens.iter().cycle().take(count).flat_map(|id| self.decoder.embedding.row(*id as usize));
        Ok(Adaptation { low_rank: Vec::new(), virtual_tokens: rows.collect() })
    }

    /// The id of the virtual token at `index`.
    #[must_use]
    pub fn virtual_id(&self, index: usize) -> u32 {
        (self.decoder.config.vocabulary + index) as u32
    }

    /// −Σ ln p of each answer.
    ///
    /// # Errors
    /// A sequence without an answer or before it, longer than the context, or with a token that is none; a loss that is not finite.
    pub fn answer_nlls(&self, adaptation: &Adaptation, sequences: &[Sequence]) -> Result<Vec<f64>> {
        let nll = |sequence: &Sequence| {
            self.check(adaptation, sequence)?;
            SequencePass::new(&self.decoder, adaptation, sequence).nll()
        };
        sequences.par_iter().with_max_len(1).map(nll).collect()
    }

    /// The losses of sequences, each with its gradient.
    ///
    /// # Errors
    /// As [`Gguf::answer_nlls`].
    pub fn answer_gradients(&self, adaptation: &Adaptation, sequences: &[Sequence]) -> Result<Vec<SequenceGradient>> {
        let gradient = |sequence: &Sequence| {
            self.check(adaptation, sequence)?;
            SequencePass::new(&self.decoder, adaptation, sequence).gradient(KEPT_BYTES)
        };
        sequences.par_iter().with_max_len(1).map(gradient).collect()
    }

    fn check(&self, adaptation: &Adaptation, sequence: &Sequence) -> Result<()> {
        let config = &self.decoder.config;
        let (length, known) =
            (sequence.tokens.len(), config.vocabulary + adaptation.virtual_tokens.len() / config.width);
        ensure!(
            (1..length).contains(&sequence.answer),
            "a sequence of {length} tokens has no answer from {} on",
            sequence.answer
        );
        ensure!(
            length <= config.context,
            "a sequence of {length} tokens is longer than the context of {}",
            config.context
        );
        ensure!(
            sequence.tokens.iter().all(|id| (*id as usize) < known),
            "a sequence has a token that is none of the {known} of model and adaptation"
        );
        Ok(())
    }
}

/// One sequence on its way through the model.
struct SequencePass<'a> {
    decoder: &'a Decoder,
    adaptation: &'a Adaptation,
    /// Without the last, which is predicted only.
    tokens: &'a [u32],
    answer: &'a [u32],
    rotation: Rope,
    causal: Vec<bool>,
}

impl<'a> SequencePass<'a> {
    fn new(decoder: &'a Decoder, adaptation: &'a Adaptation, sequence: &'a Sequence) -> Self {
        let count = sequence.tokens.len() - 1;
        let config = &decoder.config;
        Self {
            decoder,
            adaptation,
            tokens: &sequence.tokens[..count],
            answer: &sequence.tokens[sequence.answer..],
            rotation: Rope::new(0..count, &decoder.rope_factors, config.rope_base, config.pairs),
            causal: (0..count * count).map(|pair| pair % count <= pair / count).collect(),
        }
    }

    fn nll(&self) -> Result<f64> {
        let mut x = self.embedded();
        for layer in 0..self.decoder.layers.len() {
            self.forward(layer, &mut x, false);
        }
        Ok(answer_loss(self.decoder, &self.last_hidden(&x), self.answer, false)?.0)
    }

    fn gradient(&self, kept_bytes: usize) -> Result<SequenceGradient> {
        let (config, layers) = (&self.decoder.config, &self.decoder.layers);
        let width = config.width;
        let numbers = Projection::ALL.map(|projection| config.shape(projection)[0]).iter().sum::<usize>();
        let keep = layers.len() * self.tokens.len() * numbers * size_of::<f32>() <= kept_bytes;
        let mut x = self.embedded();
        let mut entries = Vec::with_capacity(layers.len());
        for layer in 0..layers.len() {
            let entry = x.clone();
            entries.push((entry, self.forward(layer, &mut x, keep)));
        }
        let (nll, d_hidden) = answer_loss(self.decoder, &self.last_hidden(&x), self.answer, true)?;
        let mut d_x = vec![0.0; x.len()];
        let first = (self.tokens.len() - self.answer.len()) * width;
        d_x[first..].copy_from_slice(&rms_norm_gradient(&x[first..], &self.decoder.norm, config.epsilon, &d_hidden));
        let mut gradient = self.adaptation.zeros_like();
        let (nothing, mut untouched) = (LayerMaps::new(), LayerMaps::new());
        let inverse = self.rotation.inverse();
        for (index, (mut entry, kept)) in entries.into_iter().enumerate().rev() {
            let x = entry.clone();
            let Some(activations) = kept.or_else(|| self.forward(index, &mut entry, true)) else { continue };
            let maps = LayerGradient {
                config,
                layer: &layers[index],
                low_rank: self.adaptation.low_rank.get(index).unwrap_or(&nothing),
                inverse: &inverse,
            };
            d_x = maps.backward(&x, &activations, d_x, gradient.low_rank.get_mut(index).unwrap_or(&mut untouched));
        }
        for (id, d_x) in self.tokens.iter().zip(d_x.chunks_exact(width)) {
            if let Some(index) = (*id as usize).checked_sub(config.vocabulary) {
                let row = &mut gradient.virtual_tokens[index * width..][..width];
                row.iter_mut().zip(d_x).for_each(|(sum, d)| *sum += d);
            }
        }
        Ok(SequenceGradient { nll, gradient })
    }

    fn embedded(&self) -> Vec<f32> {
        self.tokens.iter().flat_map(|id| self.decoder.embedded(*id, Some(self.adaptation))).collect()
    }

    /// The normed output at the tokens that predict the answer.
    fn last_hidden(&self, x: &[f32]) -> Vec<f32> {
        let config = &self.decoder.config;
        let first = (self.tokens.len() - self.answer.len()) * config.width;
        rms_norm(&x[first..], &self.decoder.norm, config.epsilon)
    }

    fn forward(&self, layer: usize, x: &mut [f32], keep: bool) -> Option<Activations> {
        let config = &self.decoder.config;
        let pass = self.decoder.crew.begin_pass();
        let tokens = TokenPass { config, pass: &pass, rotation: &self.rotation };
        let attend = |queries: &[f32], keys: &[f32], values: &[f32]| {
            attention(config, queries, &[&KeyValues::new(config, keys, values)], &self.causal)
        };
        self.decoder.layers[layer].forward(&tokens, self.adaptation.low_rank.get(layer), x, attend, keep)
    }
}
