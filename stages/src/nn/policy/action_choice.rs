//! What is chosen by scores: the best item, or one drawn from their softmax.

use anyhow::Result;
use candle_core::Tensor;

/// Of each row of `logits [B, I]` the [`best`], or with `uniforms [B]` in [0, 1) what they draw.
pub(in crate::nn) fn choose(logits: &Tensor, uniforms: Option<&[f64]>) -> Result<Vec<u32>> {
    let (_, items) = logits.dims2()?;
    let logits = logits.flatten_all()?.to_vec1::<f32>()?;
    let rows = logits.chunks_exact(items);
    Ok(match uniforms {
        Some(uniforms) => rows.zip(uniforms).map(|(row, &uniform)| drawn(row, uniform)).collect(),
        None => rows.map(best).collect(),
    })
}

/// The index of the largest value; the first of equals.
fn best(row: &[f32]) -> u32 {
    let mut best = 0;
    for (k, &value) in row.iter().enumerate() {
        if value > row[best] {
            best = k;
        }
    }
    best as u32
}

/// The index in softmax(row) at the share `uniform` of its sum: drawn by inversion, where that is a random number.
fn drawn(row: &[f32], uniform: f64) -> u32 {
    let high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = row.iter().map(|&x| f64::from((x - high).exp())).sum();
    let mut left = uniform * total;
    for (k, &x) in row.iter().enumerate() {
        left -= f64::from((x - high).exp());
        if left < 0.0 {
            return k as u32;
        }
    }
    best(row)
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;
    use crate::nn::rng;

    #[test]
    fn samples_follow_the_softmax() {
        let row = [0.0, 2.0_f32.ln(), 5.0_f32.ln()];
        let mut counts = [0; 3];
        let mut draw = rng(&[1]);
        for _ in 0..8000 {
            counts[drawn(&row, draw.random()) as usize] += 1;
        }
        for (count, expected) in counts.iter().zip([1000.0, 2000.0, 5000.0]) {
            assert!((f64::from(*count) - expected).abs() < 150.0, "{counts:?}");
        }
        assert_eq!(best(&row), 2);
    }
}
