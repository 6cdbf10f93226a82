//! Low-rank terms beside frozen maps: y = W·x + α/r · B·A·x (LoRA: Hu et al. 2021, arXiv 2106.09685, eq. 3).
//!
//! A `[r, inputs]` and B, stored transposed as `[r, outputs]`, so that both products run along contiguous numbers.

use std::collections::BTreeMap;

use super::projection::Projection;
use crate::nn::{LANES, with_simd};

/// The term of one map.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// A `[rank, inputs]`.
    pub a: Vec<f32>,
    /// Bᵀ `[rank, outputs]`.
    pub b: Vec<f32>,
    /// How many rows both have.
    pub rank: usize,
    /// α/r.
    pub scale: f32,
}

/// The terms of one layer.
pub type LayerMaps = BTreeMap<Projection, LowRank>;

impl LowRank {
    /// A term of zeros.
    #[must_use]
    pub fn zeros(rank: usize, [outputs, inputs]: [usize; 2], scale: f32) -> Self {
        Self { a: vec![0.0; rank * inputs], b: vec![0.0; rank * outputs], rank, scale }
    }

    /// Adds the term of `x [tokens, inputs]` to `out [tokens, outputs]`. A token's numbers do not depend on the others.
    pub(super) fn add(&self, x: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.a.len() / self.rank, self.b.len() / self.rank);
        with_simd(
            #[inline(always)]
            || {
                for (x, out) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(outputs)) {
                    for (a, b) in self.a.chunks_exact(inputs).zip(self.b.chunks_exact(outputs)) {
                        add_scaled(out, self.scale * dot(x, a), b);
                    }
                }
            },
        );
    }

    /// From the gradient `d_out [tokens, outputs]` of a loss: adds to the gradient `d_x [tokens, inputs]` and to those of A and B.
    pub(super) fn backward(&self, x: &[f32], d_out: &[f32], d_x: &mut [f32], gradient: &mut Self) {
        let (inputs, outputs) = (self.a.len() / self.rank, self.b.len() / self.rank);
        with_simd(
            #[inline(always)]
            || {
                let tokens = x.chunks_exact(inputs).zip(d_out.chunks_exact(outputs));
                for ((x, d_out), d_x) in tokens.zip(d_x.chunks_exact_mut(inputs)) {
                    let rows = self.a.chunks_exact(inputs).zip(self.b.chunks_exact(outputs));
                    let gradients = gradient.a.chunks_exact_mut(inputs).zip(gradient.b.chunks_exact_mut(outputs));
                    for ((a, b), (d_a, d_b)) in rows.zip(gradients) {
                        add_scaled(d_b, self.scale * dot(x, a), d_out);
                        let d_inner = self.scale * dot(d_out, b);
                        add_scaled(d_a, d_inner, x);
                        add_scaled(d_x, d_inner, a);
                    }
                }
            },
        );
    }
}

/// Σ x·y in the order of 16 partial sums.
#[inline(always)]
pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (x, y) in x.chunks(LANES).zip(y.chunks(LANES)) {
        sums.iter_mut().zip(x).zip(y).for_each(|((sum, x), y)| *sum = x.mul_add(*y, *sum));
    }
    sums.iter().sum()
}

/// `out += factor · x`.
#[inline(always)]
pub(super) fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) {
    out.iter_mut().zip(x).for_each(|(out, x)| *out = x.mul_add(factor, *out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_by_hand() {
        // Rank 1: A = (1, 2), B = (3, 4, 5), scale ½; x = (1, 1) gives 3 inside.
        let term = LowRank { a: vec![1.0, 2.0], b: vec![3.0, 4.0, 5.0], rank: 1, scale: 0.5 };
        let mut out = vec![1.0; 3];
        term.add(&[1.0, 1.0], &mut out);
        assert_eq!(out, [5.5, 7.0, 8.5]);
        let (mut d_x, mut gradient) = (vec![0.0; 2], LowRank::zeros(1, [3, 2], 0.5));
        term.backward(&[1.0, 1.0], &[1.0, 0.0, 1.0], &mut d_x, &mut gradient);
        // dB = ½·3·d; the gradient inside is ½·(3 + 5) = 4.
        assert_eq!(
            (&gradient.b[..], &gradient.a[..], &d_x[..]),
            (&[1.5, 0.0, 1.5][..], &[4.0, 4.0][..], &[4.0, 8.0][..])
        );
    }
}
