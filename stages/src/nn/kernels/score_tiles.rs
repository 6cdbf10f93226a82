//! Scores of a batch of states over a catalogue of any size, computed block by block of items when they are needed.

use std::ops::Range;

use candle_core::Result;
use rayon::prelude::*;

use super::gathered_log_softmax::{row_max, row_sum};
use super::item_inputs::{ITEM_BLOCK, ItemInputs};
use super::mask::MASKED_LOGIT;
use super::matmul::{Matrix, matmul_into};
use super::output_layer::softmax_sums;
use super::{Float, LANES, with_simd};

/// States of a tile of scores, which stays in a core's cache.
pub(super) const TILE_ROWS: usize = 64;

/// A score below this is one of a masked item.
pub(super) const MASKED_BELOW: f64 = MASKED_LOGIT / 2.0;

/// A number for each of I items in each of B states.
pub trait ItemScores<T = f32>: Send + Sync {
    /// B.
    fn rows(&self) -> usize;
    /// I.
    fn items(&self) -> usize;
    /// Those of `rows` and a block of [`ITEM_BLOCK`] items, row by row in `out`, whatever was there.
    ///
    /// # Errors
    /// When they cannot be computed.
    fn tile(&self, rows: Range<usize>, block: usize, out: &mut Vec<T>) -> Result<()>;
}

/// How many blocks so many items are.
pub(super) fn blocks(items: usize) -> usize {
    items.div_ceil(ITEM_BLOCK)
}

/// The items of a block.
pub(super) fn items_of(block: usize, items: usize) -> Range<usize> {
    block * ITEM_BLOCK..((block + 1) * ITEM_BLOCK).min(items)
}

/// What `of_tile(rows, block, scores)` gives of each state of a tile, `[B, blocks]`; tiles are shared by the threads.
pub(super) fn each_tile<T: Float, R: Send + Copy>(
    scores: &(impl ItemScores<T> + ?Sized),
    of_tile: impl Fn(Range<usize>, usize, &[T]) -> Result<Vec<R>> + Sync,
) -> Result<Vec<R>> {
    let (rows, blocks) = (scores.rows(), blocks(scores.items()));
    let tiles = rows.div_ceil(TILE_ROWS) * blocks;
    let tile = |buffer: &mut Vec<T>, at: usize| -> Result<Vec<R>> {
        let (first, block) = (at / blocks * TILE_ROWS, at % blocks);
        let rows = first..(first + TILE_ROWS).min(rows);
        scores.tile(rows.clone(), block, buffer)?;
        of_tile(rows, block, buffer)
    };
    let found: Vec<Vec<R>> = (0..tiles).into_par_iter().map_init(Vec::new, tile).collect::<Result<_>>()?;
    let of = |row: usize, block: usize| found[row / TILE_ROWS * blocks + block][row % TILE_ROWS];
    Ok((0..rows).flat_map(|row| (0..blocks).map(move |block| (row, block))).map(|(r, b)| of(r, b)).collect())
}

/// What `of_row(row, block, scores)` gives of each state and block, `[B, blocks]`.
pub(super) fn each<T: Float, R: Send + Copy>(
    scores: &(impl ItemScores<T> + ?Sized),
    of_row: impl Fn(usize, usize, &[T]) -> R + Sync,
) -> Result<Vec<R>> {
    let items = scores.items();
    each_tile(scores, |rows, block, tile| {
        Ok(rows.zip(tile.chunks_exact(items_of(block, items).len())).map(|(row, z)| of_row(row, block, z)).collect())
    })
}

/// What the scores of an output layer are made of.
pub(super) struct Head<'s, T> {
    /// `[B, K]`.
    x: &'s [T],
    /// `[A, K]`.
    weight: &'s [T],
    /// `[A]`.
    bias: &'s [T],
    /// Of what was shown, and of what is similar.
    of_inputs: [T; 2],
    inputs: &'s ItemInputs,
    pub inner: usize,
}

impl<'s, T: Float> Head<'s, T> {
    /// From `[x, weight, rest]`.
    pub fn new([x, weight, rest]: [&'s [T]; 3], inputs: &'s ItemInputs) -> Self {
        let (bias, of_inputs) = rest.split_at(inputs.items());
        let inner = weight.len() / inputs.items().max(1);
        Self { x, weight, bias, of_inputs: [of_inputs[0], of_inputs[1]], inputs, inner }
    }

    pub fn states(&self, rows: &Range<usize>) -> Result<Matrix<'s, T>> {
        Matrix::new(&self.x[rows.start * self.inner..rows.end * self.inner], rows.len(), self.inner)
    }

    pub fn vectors(&self, items: &Range<usize>) -> Result<Matrix<'s, T>> {
        Matrix::new(&self.weight[items.start * self.inner..items.end * self.inner], items.len(), self.inner)
    }
}

impl<T: Float> ItemScores<T> for Head<'_, T> {
    fn rows(&self) -> usize {
        self.inputs.rows()
    }
    fn items(&self) -> usize {
        self.inputs.items()
    }
    fn tile(&self, rows: Range<usize>, block: usize, out: &mut Vec<T>) -> Result<()> {
        let items = items_of(block, self.inputs.items());
        out.resize(rows.len() * items.len(), T::zero());
        matmul_into(self.states(&rows)?, self.vectors(&items)?.t(), out)?;
        for (row, scores) in rows.zip(out.chunks_exact_mut(items.len())) {
            with_simd(
                #[inline(always)]
                || scores.iter_mut().zip(&self.bias[items.clone()]).for_each(|(z, &b)| *z += b),
            );
            self.inputs.add(row, block, self.of_inputs, scores);
        }
        Ok(())
    }
}

/// Of a block or of several: the largest score m, Σ e^(z−m), Σ (z−m)·e^(z−m), and Σ v·e^(z−m) of the values v of the items.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub high: f64,
    pub sum: f64,
    pub mean: f64,
    pub value: f64,
}

impl Sums {
    /// Where no softmax is wanted.
    pub const NONE: Self = Self { high: 0.0, sum: 1.0, mean: 0.0, value: 0.0 };

    /// Without values.
    pub fn of<T: Float>(z: &[T]) -> Self {
        let (high, [sum, mean]) = with_simd(
            #[inline(always)]
            || {
                let high = row_max(z);
                (high, softmax_sums(z, high))
            },
        );
        Self { high: high.widen(), sum: sum.widen(), mean: mean.widen(), value: 0.0 }
    }

    /// With these values, one of each score.
    pub fn of_values<T: Float>(z: &[T], values: &[f32]) -> Self {
        let without = Self::of(z);
        let high = T::from_f64(without.high);
        let value = with_simd(
            #[inline(always)]
            || softmax_value(z, high, values),
        );
        Self { value: value.widen(), ..without }
    }

    /// Of both: with d = m − m′, Σ (z−m′)·e^(z−m′) = e^d·(Σ (z−m)·e^(z−m) + d·Σ e^(z−m)).
    pub fn with(self, other: Self) -> Self {
        let high = self.high.max(other.high);
        let to = |part: Self| {
            let below = part.high - high;
            [part.sum * below.exp(), (part.mean + below * part.sum) * below.exp(), part.value * below.exp()]
        };
        let ([a, b, c], [d, e, f]) = (to(self), to(other));
        Self { high, sum: a + d, mean: b + e, value: c + f }
    }

    /// Of the blocks of a state.
    pub fn all(parts: impl Iterator<Item = Self>) -> Self {
        parts.reduce(Self::with).unwrap_or(Self::NONE)
    }

    /// log Σ e^z.
    pub fn log_sum_exp(&self) -> f64 {
        self.high + self.sum.ln()
    }

    /// −Σ π log π with π the softmax of the scores, nats.
    pub fn entropy(&self) -> f64 {
        self.sum.ln() - self.mean / self.sum
    }

    /// Σ π·v.
    pub fn expected(&self) -> f64 {
        self.value / self.sum
    }
}

/// Σ v·e^(z−m), each 16th into a sum of its own, which are then added in their order.
#[inline(always)]
fn softmax_value<T: Float>(z: &[T], high: T, values: &[f32]) -> T {
    let mut sums = [T::zero(); LANES];
    let ((chunks, rest), (of_chunks, of_rest)) = (z.as_chunks::<LANES>(), values.as_chunks::<LANES>());
    let value = |v: f32| T::from_f64(f64::from(v));
    for (chunk, values) in chunks.iter().zip(of_chunks) {
        for k in 0..LANES {
            sums[k] += value(values[k]) * (chunk[k] - high).exp();
        }
    }
    let rest = rest.iter().zip(of_rest).map(|(&z, &v)| value(v) * (z - high).exp());
    rest.chain(sums).fold(T::zero(), |sum, x| sum + x)
}

/// Σ f(z) over the items that are not masked.
pub(super) fn sum_of_shown<T: Float>(z: &[T], f: impl Fn(T) -> T) -> f64 {
    let least = T::from_f64(MASKED_BELOW);
    with_simd(
        #[inline(always)]
        || row_sum(z, |z| if z > least { f(z) } else { T::zero() }),
    )
    .widen()
}
