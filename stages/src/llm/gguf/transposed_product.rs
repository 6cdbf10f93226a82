//! Gradients times packed weights: `d_x [tokens, columns] = d_y [tokens, rows] · W [rows, columns]`.
//!
//! As in [`matmul`](super::matmul) a tile of weights is dequantised once for all tokens. It is turned on its way, so that the same
//! inner product serves both directions. Each number is one chain of sums in the order of the rows, tile by tile.

use pulp::{Arch, Simd, WithSimd};

use super::matmul::{Inputs, add_block};
use super::packed::Packed;
use super::scales::PANEL;

/// Panels of a tile: 24 kB of dequantised weights.
const TILE_PANELS: usize = 6;

/// `d_y [tokens, rows]` → `[tokens, columns]`, by this thread alone.
pub(super) fn transposed_product(weights: &Packed, d_y: &[f32]) -> Vec<f32> {
    let inputs = Inputs::new(d_y, weights.rows);
    let padded = weights.columns.next_multiple_of(PANEL);
    let mut out = vec![0.0; inputs.tokens * padded];
    Arch::new().dispatch(Transposed { weights, inputs: &inputs, padded, out: &mut out });
    if padded > weights.columns {
        out = out.chunks_exact(padded).flat_map(|row| &row[..weights.columns]).copied().collect();
    }
    out
}

struct Transposed<'a> {
    weights: &'a Packed,
    inputs: &'a Inputs,
    padded: usize,
    /// `[tokens, padded]`, 0 at first.
    out: &'a mut [f32],
}

impl WithSimd for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, inputs, padded, out } = self;
        let (rows, columns) = (weights.rows, weights.columns);
        let mut expanded = [0.0; PANEL * PANEL];
        let mut tile = vec![0.0; TILE_PANELS * PANEL * PANEL];
        // 32 columns are a whole number of groups in every format.
        for from in (0..columns).step_by(PANEL) {
            let width = PANEL.min(columns - from);
            for first_row in (0..rows).step_by(TILE_PANELS * PANEL) {
                let length = (TILE_PANELS * PANEL).min(rows - first_row);
                for (at, tile) in tile.chunks_exact_mut(PANEL * PANEL).take(length.div_ceil(PANEL)).enumerate() {
                    weights.expand(first_row / PANEL + at, from, &mut expanded[..width * PANEL]);
                    for (lane, row) in tile.chunks_exact_mut(PANEL).enumerate() {
                        for (out, column) in row.iter_mut().zip(expanded[..width * PANEL].chunks_exact(PANEL)) {
                            *out = column[lane];
                        }
                    }
                }
                for &(first, size) in &inputs.blocks {
                    let x = &inputs.values[first * rows + first_row * size..][..length * size];
                    add_block(simd, size, &tile[..length * PANEL], x, &mut out[first * padded + from..], padded);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;

    #[test]
    fn a_product_by_its_formula() {
        // 40 columns leave a panel that is not full; 230 rows leave a tile that is not full.
        let numbers = |seed, count: usize| Init::new(seed).normal(&[count], 1.0).unwrap().to_vec1::<f32>().unwrap();
        let (rows, columns, tokens) = (230, 40, 11);
        let (values, d_y) = (numbers(1, rows * columns), numbers(2, tokens * rows));
        let found = transposed_product(&Packed::full(rows, columns, &values), &d_y);
        assert_eq!(found.len(), tokens * columns);
        for (place, found) in found.iter().enumerate() {
            let (token, column) = (place / columns, place % columns);
            let terms =
                (0..rows).map(|row| f64::from(d_y[token * rows + row]) * f64::from(values[row * columns + column]));
            let wanted: f64 = terms.sum();
            assert!((f64::from(*found) - wanted).abs() < 1e-4, "{place}: {found} is not {wanted}");
        }
    }
}
