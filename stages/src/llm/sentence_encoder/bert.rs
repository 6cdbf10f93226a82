//! BERT, forward only: words, places and segments, then layers of bidirectional attention and feed-forward maps, each added and
//! normalised.
//!
//! Devlin et al. 2019 (arXiv:1810.04805), post-norm as in Vaswani et al. 2017; GELU in its exact form (Hendrycks and Gimpel 2016).
//! The products are those of the embedded language model ([`matmul`]): a number of the result is one chain of sums, so that the
//! vector of a text does not depend on the texts beside it, on the number of threads or on the width of the CPU's registers. Candle's
//! own product chooses its blocks by the number of rows and rounds accordingly.
//!
//! Left out: gradients, and other places than learned ones.

use anyhow::{Result, ensure};

use super::config::BertConfig;
use super::weights::Weights;
use crate::llm::gguf::matmul::{Inputs, matmul};
use crate::llm::gguf::packed::Packed;
use crate::nn::{LANES, exp, with_simd};

/// A linear map with its bias.
struct Linear {
    weights: Packed,
    bias: Vec<f32>,
}

struct LayerNorm {
    gain: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

struct Layer {
    queries: Linear,
    keys: Linear,
    values: Linear,
    attention_out: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    down: Linear,
    forward_norm: LayerNorm,
}

/// The weights of one model.
pub(super) struct Bert {
    width: usize,
    heads: usize,
    /// `[vocabulary, width]`.
    words: Vec<f32>,
    /// `[places, width]`; the vector of the first segment is added already.
    places: Vec<f32>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

impl Bert {
    /// Reads all weights. A tensor that is not known is an error, because the model then computes something else.
    pub(super) fn load(weights: &mut Weights, config: &BertConfig) -> Result<Self> {
        let BertConfig { hidden_size: width, intermediate_size: inner, .. } = *config;
        let norm = |weights: &mut Weights, name: &str| -> Result<LayerNorm> {
            Ok(LayerNorm {
                gain: weights.take(&format!("{name}.weight"), &[width])?,
                bias: weights.take(&format!("{name}.bias"), &[width])?,
                epsilon: config.layer_norm_eps,
            })
        };
        let linear = |weights: &mut Weights, name: &str, rows: usize, columns: usize| -> Result<Linear> {
            let values = weights.take(&format!("{name}.weight"), &[rows, columns])?;
            let bias = weights.take(&format!("{name}.bias"), &[rows])?;
            Ok(Linear { weights: Packed::full(rows, columns, &values), bias })
        };
        let words = weights.take("embeddings.word_embeddings.weight", &[config.vocab_size, width])?;
        let mut places =
            weights.take("embeddings.position_embeddings.weight", &[config.max_position_embeddings, width])?;
        let segments = weights.take("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, width])?;
        ensure!(config.type_vocab_size > 0, "`type_vocab_size` is 0, wanted a segment at least");
        places.chunks_exact_mut(width).for_each(|place| add(place, &segments[..width]));
        let embedding_norm = norm(weights, "embeddings.LayerNorm")?;
        // Not with capacity: a damaged file may announce more layers than there is memory for.
        let mut layers = Vec::new();
        for layer in 0..config.num_hidden_layers {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            layers.push(Layer {
                queries: linear(weights, &name("attention.self.query"), width, width)?,
                keys: linear(weights, &name("attention.self.key"), width, width)?,
                values: linear(weights, &name("attention.self.value"), width, width)?,
                attention_out: linear(weights, &name("attention.output.dense"), width, width)?,
                attention_norm: norm(weights, &name("attention.output.LayerNorm"))?,
                up: linear(weights, &name("intermediate.dense"), inner, width)?,
                down: linear(weights, &name("output.dense"), width, inner)?,
                forward_norm: norm(weights, &name("output.LayerNorm"))?,
            });
        }
        weights.check_all_read()?;
        Ok(Self { width, heads: config.num_attention_heads, words, places, norm: embedding_norm, layers })
    }

    /// The last layer's output of some texts, one after the other, `[tokens of all, width]`. A text is at least one token, each below
    /// the vocabulary, and no longer than there are places.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Vec<f32> {
        let mut x = Vec::with_capacity(texts.iter().map(|text| text.len()).sum::<usize>() * self.width);
        for (place, &id) in texts.iter().flat_map(|text| text.iter().enumerate()) {
            let row = |table: &[f32], at: usize| table[at * self.width..(at + 1) * self.width].to_vec();
            let mut token = row(&self.words, id as usize);
            add(&mut token, &row(&self.places, place));
            x.extend(token);
        }
        self.norm.apply(&mut x);
        for layer in &self.layers {
            let inputs = Inputs::new(&x, self.width);
            let [queries, keys, values] =
                [&layer.queries, &layer.keys, &layer.values].map(|linear| linear.apply(&inputs));
            let mut attended = vec![0.0; x.len()];
            let mut first = 0;
            for text in texts {
                let range = first * self.width..(first + text.len()) * self.width;
                let [queries, keys, values] = [&queries, &keys, &values].map(|all| &all[range.clone()]);
                attention(self.heads, self.width, [queries, keys, values], &mut attended[range.clone()]);
                first += text.len();
            }
            add(&mut x, &layer.attention_out.apply(&Inputs::new(&attended, self.width)));
            layer.attention_norm.apply(&mut x);
            let mut inner = layer.up.apply(&Inputs::new(&x, self.width));
            gelu(&mut inner);
            add(&mut x, &layer.down.apply(&Inputs::new(&inner, layer.up.bias.len())));
            layer.forward_norm.apply(&mut x);
        }
        x
    }
}

impl Linear {
    fn apply(&self, inputs: &Inputs) -> Vec<f32> {
        let mut out = matmul(&self.weights, inputs);
        out.chunks_exact_mut(self.bias.len()).for_each(|row| add(row, &self.bias));
        out
    }
}

impl LayerNorm {
    /// (x − mean) / sqrt(variance + ε) · gain + bias, row by row (Ba et al. 2016).
    fn apply(&self, x: &mut [f32]) {
        let width = self.gain.len();
        with_simd(
            #[inline(always)]
            || {
                for row in x.chunks_exact_mut(width) {
                    let mean = sum(row, |x| x) / width as f32;
                    row.iter_mut().for_each(|x| *x -= mean);
                    let scale = 1.0 / (sum(row, |x| x * x) / width as f32 + self.epsilon).sqrt();
                    for ((x, gain), bias) in row.iter_mut().zip(&self.gain).zip(&self.bias) {
                        *x = *x * scale * gain + bias;
                    }
                }
            },
        );
    }
}

/// Σ of(x) in partial sums that every CPU adds in one order.
#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for part in row.chunks(LANES) {
        sums.iter_mut().zip(part).for_each(|(sum, &x)| *sum += of(x));
    }
    sums.iter().sum()
}

/// softmax(q·k/√head)·v of one text, head by head (Vaswani et al. 2017, eq. 1): three times `[tokens, width]` → `out`, the same.
fn attention(heads: usize, width: usize, [queries, keys, values]: [&[f32]; 3], out: &mut [f32]) {
    let (tokens, head) = (queries.len() / width, width / heads);
    let scale = (head as f32).powf(-0.5);
    let mut scores = vec![0.0_f32; tokens];
    with_simd(
        #[inline(always)]
        || {
            for at in (0..width).step_by(head) {
                let part = |all: &'_ [f32], token: usize| token * width + at..token * width + at + head.min(all.len());
                for token in 0..tokens {
                    let query = &queries[part(queries, token)];
                    for (other, score) in scores.iter_mut().enumerate() {
                        *score = dot(query, &keys[part(keys, other)]) * scale;
                    }
                    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    scores.iter_mut().for_each(|score| *score = exp(*score - top));
                    let share = 1.0 / scores.iter().sum::<f32>();
                    let out = &mut out[part(values, token)];
                    for (other, score) in scores.iter().enumerate() {
                        let weight = score * share;
                        out.iter_mut().zip(&values[part(values, other)]).for_each(|(out, x)| *out += weight * x);
                    }
                }
            }
        },
    );
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}

/// x·Φ(x) = x/2·(1 + erf(x/√2)), elementwise.
fn gelu(x: &mut [f32]) {
    with_simd(
        #[inline(always)]
        || x.iter_mut().for_each(|x| *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2))),
    );
}

/// The error function within 5e-7: the rational approximation of Eigen (`generic_fast_erf_float`), which a compiler can spread over
/// vector registers.
#[inline(always)]
fn erf(x: f32) -> f32 {
    const ABOVE: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_5e-8,
        -2.101_024e-6,
        -5.692_506_3e-5,
        -7.349_906_4e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const BELOW: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let polynomial = |coefficients: &[f32]| coefficients.iter().fold(0.0, |sum, c| sum * square + c);
    x * polynomial(&ABOVE) / polynomial(&BELOW)
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_is_near_candles() {
        let worst = (-600..=600)
            .map(|k| k as f32 / 100.0)
            .map(|x| (f64::from(erf(x)) - candle_core::cpu::erf::erf_f64(f64::from(x))).abs())
            .fold(0.0, f64::max);
        assert!(worst < 5e-7, "{worst}");
        let mut x = [0.0, 1.0, -1.0];
        gelu(&mut x);
        assert!((x[1] - 0.841_344_7).abs() < 1e-6 && (x[2] + 0.158_655_3).abs() < 1e-6 && x[0] == 0.0, "{x:?}");
    }

    #[test]
    fn attention_and_norm_by_hand() {
        // One head of two numbers, two tokens: scores 1/√2 and 0, then 0 and 2/√2.
        let queries = [1.0, 0.0, 0.0, 2.0];
        let mut out = [0.0; 4];
        attention(1, 2, [&queries, &[1.0, 0.0, 0.0, 1.0], &[1.0, 10.0, 3.0, 30.0]], &mut out);
        let first = 1.0 / (1.0 + (-0.5_f32.sqrt()).exp());
        let second = 1.0 / (1.0 + 2.0_f32.sqrt().exp());
        let wanted = [first, second].map(|p| [p + 3.0 * (1.0 - p), 10.0 * p + 30.0 * (1.0 - p)]).concat();
        assert!(out.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{out:?} {wanted:?}");
        let norm = LayerNorm { gain: vec![1.0, 2.0], bias: vec![0.5, 0.0], epsilon: 3.0 };
        let mut x = [1.0, 3.0];
        norm.apply(&mut x);
        assert_eq!(x, [0.0, 1.0], "deviation 1, so √(1 + 3) = 2");
    }
}
