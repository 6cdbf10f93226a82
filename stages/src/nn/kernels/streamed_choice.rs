//! The best item of each state, or one drawn from its softmax, over a catalogue of any size; see [`streamed_head`](super::streamed_head()).
//!
//! A draw is by inversion with one uniform number a state: the sums of the blocks say in which block it lies, and only that block's scores
//! are computed again.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::item_inputs::{ITEM_BLOCK, ItemInputs};
use super::score_tiles::{Head, ItemScores, Sums, blocks, each};
use super::streamed_head::check;
use super::{row_max, with_simd, with_slices};

/// `[B]` of the scores of [`streamed_head`](super::streamed_head()): the first of the highest, or with `uniforms [B]` in [0, 1) drawn.
///
/// # Errors
/// When the shapes do not fit, or the tensors are not on the CPU.
pub fn streamed_choice(
    x: &Tensor,
    weight: &Tensor,
    rest: &Tensor,
    inputs: &ItemInputs,
    uniforms: Option<&[f64]>,
) -> Result<Vec<u32>> {
    check(x, weight, rest, inputs)?;
    with_slices::<f32, _, 3>([x, weight, rest], |tensors| item_choice(&Head::new(tensors, inputs), uniforms))?
}

/// The same of any scores.
///
/// # Errors
/// When there is not one number for each state.
pub fn item_choice(scores: &dyn ItemScores, uniforms: Option<&[f64]>) -> Result<Vec<u32>> {
    match uniforms {
        Some(uniforms) if uniforms.len() == scores.rows() => drawn(scores, uniforms),
        Some(_) => candle_core::bail!("not one number for each of {} states", scores.rows()),
        None => best(scores),
    }
}

fn best(scores: &dyn ItemScores) -> Result<Vec<u32>> {
    let parts = each(scores, |_, block, z| {
        let high = with_simd(
            #[inline(always)]
            || row_max(z),
        );
        (high, (block * ITEM_BLOCK + z.iter().position(|&z| z == high).unwrap_or(0)) as u32)
    })?;
    let first = |a: (f32, u32), b: (f32, u32)| if b.0 > a.0 { b } else { a };
    let rows = parts.chunks_exact(blocks(scores.items()).max(1));
    Ok(rows.map(|parts| parts.iter().copied().reduce(first).map_or(0, |(_, item)| item)).collect())
}

fn drawn(scores: &dyn ItemScores, uniforms: &[f64]) -> Result<Vec<u32>> {
    let parts = each(scores, |_, _, z| Sums::of(z))?;
    let rows = parts.par_chunks_exact(blocks(scores.items()).max(1)).zip(uniforms).enumerate();
    let draw = |tile: &mut Vec<f32>, (row, (parts, uniform)): (usize, (&[Sums], &f64))| {
        let high = parts.iter().map(|part| part.high).fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = parts.iter().map(|part| part.sum * (part.high - high).exp()).collect();
        let mut left = uniform * shares.iter().sum::<f64>();
        // Rounding may leave something after the last block that has a share.
        let mut block = shares.iter().rposition(|&share| share > 0.0).unwrap_or(0);
        for (at, share) in shares.iter().enumerate().take(block) {
            if left < *share {
                block = at;
                break;
            }
            left -= share;
        }
        scores.tile(row..row + 1, block, tile)?;
        let mut last = 0;
        for (offset, &z) in tile.iter().enumerate() {
            let share = (f64::from(z) - high).exp();
            left -= share;
            if share > 0.0 {
                last = offset;
                if left < 0.0 {
                    break;
                }
            }
        }
        Ok((block * ITEM_BLOCK + last) as u32)
    };
    rows.map_init(Vec::new, draw).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::super::item_inputs::add_item_inputs;
    use super::super::item_inputs::tests::inputs;
    use super::*;
    use crate::nn::Init;

    fn given(of_inputs: f32) -> [Tensor; 3] {
        let normal = |seed: u64, shape: &[usize]| Init::new(seed).normal(shape, 1.0).unwrap();
        let of_inputs = Tensor::new(&[of_inputs, 2.0 * of_inputs], &candle_core::Device::Cpu).unwrap();
        [normal(1, &[3, 5]), normal(2, &[2100, 5]), Tensor::cat(&[&normal(3, &[2100]), &of_inputs], 0).unwrap()]
    }

    /// `[3, 2100]`, composed.
    fn scores([x, weight, rest]: &[Tensor; 3]) -> Vec<Vec<f32>> {
        let bias = rest.narrow(0, 0, 2100).unwrap();
        let scores = x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
        let found = add_item_inputs(&scores, &rest.narrow(0, 2100, 2).unwrap(), &std::sync::Arc::new(inputs()));
        found.unwrap().to_vec2::<f32>().unwrap()
    }

    #[test]
    fn the_best_is_the_best_of_all_scores() {
        for of_inputs in [0.0, 0.05, -0.05] {
            let [x, weight, rest] = given(of_inputs);
            let found = streamed_choice(&x, &weight, &rest, &inputs(), None).unwrap();
            for (item, row) in found.iter().zip(scores(&[x, weight, rest])) {
                let high = row.iter().copied().fold(f32::MIN, f32::max);
                assert!((row[*item as usize] - high).abs() < 1e-4, "{item}");
            }
        }
    }

    /// Every number between 0 and 1 belongs to the item whose share of the sum lies there.
    #[test]
    fn draws_are_the_inverse_of_the_distribution() {
        let tensors = given(-0.01);
        let [x, weight, rest] = &tensors;
        let shares: Vec<Vec<f64>> = scores(&tensors)
            .into_iter()
            .map(|row| {
                let high = row.iter().copied().fold(f32::MIN, f32::max);
                let shares: Vec<f64> = row.iter().map(|z| f64::from(z - high).exp()).collect();
                let sum: f64 = shares.iter().sum();
                shares.into_iter().map(|share| share / sum).collect()
            })
            .collect();
        for at in 0..200 {
            let uniform = f64::from(at) / 200.0 + 0.001;
            let found = streamed_choice(x, weight, rest, &inputs(), Some(&[uniform; 3])).unwrap();
            for (item, shares) in found.into_iter().zip(&shares) {
                let before: f64 = shares[..item as usize].iter().sum();
                let after = before + shares[item as usize];
                assert!(before - 1e-5 < uniform && uniform < after + 1e-5, "{item}: {before} {uniform} {after}");
                assert!(shares[item as usize] > 0.0, "{item} is masked");
            }
        }
    }

    #[test]
    fn misfits_are_refused() {
        let [x, weight, rest] = given(0.0);
        assert!(streamed_choice(&x, &weight, &rest, &inputs(), Some(&[0.5])).is_err());
        assert!(streamed_choice(&x, &weight, &rest.narrow(0, 0, 2100).unwrap(), &inputs(), None).is_err());
        let wide = x.to_dtype(DType::F64).unwrap();
        assert!(streamed_choice(&wide, &weight, &rest, &inputs(), None).is_err());
    }
}
