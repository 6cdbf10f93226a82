//! The decoder's elementwise operators, on one thread.

use crate::nn::{LANES, exp, with_simd};

/// `x [tokens, width]` → `x / sqrt(mean(x²) + epsilon) · gain`, row by row (Zhang & Sennrich 2019, eq. 4).
pub(super) fn rms_norm(x: &[f32], gain: &[f32], epsilon: f32) -> Vec<f32> {
    let mut out = x.to_vec();
    with_simd(
        #[inline(always)]
        || {
            for row in out.chunks_exact_mut(gain.len()) {
                let mut squares = [0.0_f32; LANES];
                for part in row.chunks(LANES) {
                    squares.iter_mut().zip(part).for_each(|(sum, x)| *sum = x.mul_add(*x, *sum));
                }
                let scale = 1.0 / (squares.iter().sum::<f32>() / gain.len() as f32 + epsilon).sqrt();
                row.iter_mut().zip(gain).for_each(|(x, gain)| *x *= scale * gain);
            }
        },
    );
    out
}

/// Which numbers of a head form a rotated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RopePairs {
    /// (0, 1), (2, 3), …: the order of the weights in llama files.
    Neighbours,
    /// (0, n/2), (1, n/2 + 1), …: in Qwen2 files.
    Halves,
}

/// Cosines and sines of position · base^(-2i/head) / factor_i, laid out `[tokens, head / 2]` (Su et al. 2021, eq. 15).
pub(super) struct Rope {
    turns: Vec<(f32, f32)>,
    head: usize,
    pairs: RopePairs,
}

impl Rope {
    /// `factors [head / 2]` lower the frequencies, where a file was trained with longer contexts than its base fits.
    pub(super) fn new(positions: impl Iterator<Item = usize>, factors: &[f32], base: f64, pairs: RopePairs) -> Self {
        let head = 2 * factors.len();
        let angle = |i: usize, position: usize| {
            position as f64 * base.powf(-2.0 * i as f64 / head as f64) / f64::from(factors[i])
        };
        let turns = positions.flat_map(|position| (0..head / 2).map(move |i| angle(i, position)));
        Self { turns: turns.map(|angle| (angle.cos() as f32, angle.sin() as f32)).collect(), head, pairs }
    }

    /// The opposite rotations, which are also the gradients' way back.
    pub(super) fn inverse(&self) -> Self {
        let turns = self.turns.iter().map(|(cos, sin)| (*cos, -sin)).collect();
        Self { turns, head: self.head, pairs: self.pairs }
    }

    /// Rotates every head of `x [tokens, heads · head]` by its token's position.
    pub(super) fn apply(&self, x: &mut [f32]) {
        let (head, half) = (self.head, self.head / 2);
        let tokens = self.turns.len() / half;
        for (token, turns) in x.chunks_exact_mut(x.len() / tokens).zip(self.turns.chunks_exact(half)) {
            for x in token.chunks_exact_mut(head) {
                let turned = |a: f32, b: f32, (cos, sin): (f32, f32)| (a * cos - b * sin, a * sin + b * cos);
                match self.pairs {
                    RopePairs::Neighbours => {
                        for (pair, turn) in x.chunks_exact_mut(2).zip(turns) {
                            (pair[0], pair[1]) = turned(pair[0], pair[1], *turn);
                        }
                    }
                    RopePairs::Halves => {
                        let (first, second) = x.split_at_mut(half);
                        for ((a, b), turn) in first.iter_mut().zip(second).zip(turns) {
                            (*a, *b) = turned(*a, *b, *turn);
                        }
                    }
                }
            }
        }
    }
}

/// `gate ← gate · σ(gate) · up`, elementwise (Shazeer 2020, SwiGLU).
pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
    with_simd(
        #[inline(always)]
        || gate.iter_mut().zip(up).for_each(|(gate, up)| *gate = *gate / (1.0 + exp(-*gate)) * up),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {wanted:?}");
    }

    #[test]
    fn rms_norm_by_hand() {
        // Mean squares 12.5 and 2; with an epsilon of 3.5 the roots are 4 and √5.5.
        close(&rms_norm(&[3.0, 4.0, 0.0, 2.0], &[1.0, 2.0], 3.5), &[0.75, 2.0, 0.0, 4.0 / 5.5_f32.sqrt()]);
    }

    #[test]
    fn rotation_by_hand() {
        // One head of four numbers at positions 0 and 1, base 1: both pairs turn by 1 radian per position.
        let x = [1.0, 0.0, 0.0, 2.0, 1.0, 0.0, 0.0, 2.0];
        let scaled = |factors: &[f32], base, pairs| {
            let mut turned = x;
            Rope::new([0, 1].into_iter(), factors, base, pairs).apply(&mut turned);
            turned
        };
        let turned = |base, pairs| scaled(&[1.0, 1.0], base, pairs);
        let (sin, cos) = 1.0_f32.sin_cos();
        close(&turned(1.0, RopePairs::Neighbours), &[1.0, 0.0, 0.0, 2.0, cos, sin, -2.0 * sin, 2.0 * cos]);
        close(&turned(1.0, RopePairs::Halves), &[1.0, 0.0, 0.0, 2.0, cos, -2.0 * sin, sin, 2.0 * cos]);
        // With base 100 the second pair turns by 1/10 radian.
        let (sin, cos) = 0.1_f32.sin_cos();
        close(&turned(100.0, RopePairs::Neighbours)[6..], &[-2.0 * sin, 2.0 * cos]);
        // As with a divisor of 10.
        close(&scaled(&[1.0, 10.0], 1.0, RopePairs::Neighbours)[6..], &[-2.0 * sin, 2.0 * cos]);
    }

    #[test]
    fn swiglu_by_hand() {
        let mut gate = [0.0, 1.0, -2.0];
        swiglu(&mut gate, &[5.0, 2.0, 1.0]);
        close(&gate, &[0.0, 2.0 / (1.0 + (-1.0_f32).exp()), -2.0 / (1.0 + 2.0_f32.exp())]);
    }
}
