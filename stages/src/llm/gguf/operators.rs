//! The decoder's row-wise operators, on one thread.
//!
//! candle_nn has them too, but spreads each over rayon's threads. Called from a worker of a rayon pool, such an
//! operator may pick up another session while it waits for its own parts, which mixes two sessions on one stack.

use candle_core::{Device, Result, Tensor};

/// `x [tokens, width]` → `x / sqrt(mean(x²) + epsilon) · gain`, row by row (Zhang & Sennrich 2019, eq. 4).
pub(super) fn rms_norm(x: &Tensor, gain: &[f32], epsilon: f32) -> Result<Tensor> {
    let mut values = x.flatten_all()?.to_vec1::<f32>()?;
    for row in values.chunks_exact_mut(gain.len()) {
        let square: f32 = row.iter().map(|v| v * v).sum();
        let scale = 1.0 / (square / gain.len() as f32 + epsilon).sqrt();
        for (value, gain) in row.iter_mut().zip(gain) {
            *value *= scale * gain;
        }
    }
    Tensor::from_vec(values, x.shape(), &Device::Cpu)
}

/// Cosines and sines of position · base^(-2i/head), laid out `[head / 2, tokens]` (Su et al. 2021, eq. 15).
pub(super) struct Rotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
    tokens: usize,
    head: usize,
}

impl Rotation {
    pub(super) fn new(positions: &[usize], head: usize, base: f64) -> Self {
        let angle = |i: usize, position: usize| position as f64 * base.powf(-2.0 * i as f64 / head as f64);
        let angles = || (0..head / 2).flat_map(|i| positions.iter().map(move |position| angle(i, *position)));
        Self {
            cos: angles().map(|a| a.cos() as f32).collect(),
            sin: angles().map(|a| a.sin() as f32).collect(),
            tokens: positions.len(),
            head,
        }
    }

    /// `x [heads · head, tokens]` → `[heads, tokens, head]`, each pair of neighbours (0,1), (2,3), … turned by its
    /// angle. Llama files order their weights for neighbours, not for halves.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (tokens, head) = (self.tokens, self.head);
        let values = x.flatten_all()?.to_vec1::<f32>()?;
        let mut turned = vec![0.0; values.len()];
        for (from, to) in values.chunks_exact(head * tokens).zip(turned.chunks_exact_mut(head * tokens)) {
            for pair in 0..head / 2 {
                let (even, odd) = from[2 * pair * tokens..][..2 * tokens].split_at(tokens);
                for token in 0..tokens {
                    let (cos, sin) = (self.cos[pair * tokens + token], self.sin[pair * tokens + token]);
                    to[token * head + 2 * pair] = even[token] * cos - odd[token] * sin;
                    to[token * head + 2 * pair + 1] = even[token] * sin + odd[token] * cos;
                }
            }
        }
        Tensor::from_vec(turned, (values.len() / (head * tokens), tokens, head), &Device::Cpu)
    }
}

/// `scores [heads, tokens, before + tokens]` → attention weights of the same shape: softmax of `scale · score` over
/// what the token may see, 0 elsewhere. All of `before` is seen, and token j by token i where `sees[i · tokens + j]`.
pub(super) fn attention_weights(scores: &Tensor, sees: &[bool], scale: f32) -> Result<Tensor> {
    let (_, tokens, length) = scores.dims3()?;
    let before = length - tokens;
    let mut values = scores.flatten_all()?.to_vec1::<f32>()?;
    for (index, row) in values.chunks_exact_mut(length).enumerate() {
        let sees = &sees[index % tokens * tokens..][..tokens];
        for (score, _) in row[before..].iter_mut().zip(sees).filter(|(_, sees)| !**sees) {
            *score = f32::NEG_INFINITY;
        }
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for score in row.iter_mut() {
            *score = ((*score - top) * scale).exp();
            sum += *score;
        }
        let share = 1.0 / sum;
        row.iter_mut().for_each(|weight| *weight *= share);
    }
    Tensor::from_vec(values, scores.shape(), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &Tensor, wanted: &[f32]) {
        let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {wanted:?}");
    }

    #[test]
    fn rms_norm_by_hand() {
        let x = Tensor::new(&[[3.0_f32, 4.0], [0.0, 2.0]], &Device::Cpu).unwrap();
        // Mean squares 12.5 and 2; with an epsilon of 3.5 the roots are 4 and √5.5.
        close(&rms_norm(&x, &[1.0, 2.0], 3.5).unwrap(), &[0.75, 2.0, 0.0, 4.0 / 5.5_f32.sqrt()]);
    }

    #[test]
    fn rotation_by_hand() {
        // One head of four numbers at positions 0 and 1, base 1: both pairs turn by 1 radian per position.
        let x = Tensor::new(&[[1.0_f32, 1.0], [0.0, 0.0], [0.0, 0.0], [2.0, 2.0]], &Device::Cpu).unwrap();
        let (sin, cos) = 1.0_f32.sin_cos();
        let turned = Rotation::new(&[0, 1], 4, 1.0).apply(&x).unwrap();
        assert_eq!(turned.dims(), [1, 2, 4]);
        close(&turned, &[1.0, 0.0, 0.0, 2.0, cos, sin, -2.0 * sin, 2.0 * cos]);
        // With base 100 the second pair turns by 1/10 radian.
        let turned = Rotation::new(&[0, 1], 4, 100.0).apply(&x).unwrap();
        let (sin, cos) = 0.1_f32.sin_cos();
        close(&turned.narrow(1, 1, 1).unwrap().narrow(2, 2, 2).unwrap(), &[-2.0 * sin, 2.0 * cos]);
    }

    #[test]
    fn hidden_tokens_get_no_weight() {
        // Two heads, two tokens behind one; token 1 does not see token 0. ln 3 / 2 at scale 2 triples a share.
        let three = 3.0_f32.ln() / 2.0;
        let row = [[0.0, three, 9.0], [0.0, 9.0, three]];
        let scores = Tensor::new(&[row, row], &Device::Cpu).unwrap();
        let weights = attention_weights(&scores, &[true, false, false, true], 2.0).unwrap();
        let wanted = [0.25, 0.75, 0.0, 0.25, 0.0, 0.75];
        close(&weights, &[wanted, wanted].concat());
    }
}
