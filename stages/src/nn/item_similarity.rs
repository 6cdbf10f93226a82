//! Similarity of items by a policy's vectors.

use anyhow::Result;
use candle_core::{DType, Tensor};

use super::params::to_tensor;
use crate::artifact::Array;

/// Similarity of two items: exp(−(δ/σ)⁸), `[I, I]`, where δ is the root mean square difference of their ratings by all users
/// (`users [U, D]`, `items [I, D]`) and σ the distance below which the share `share` of all pairs lies. The power 8 makes it nearly a
/// step; a Gaussian also penalises good items just beyond σ.
pub fn item_similarity(users: &Array, items: &Array, share: f64) -> Result<Vec<f32>> {
    let wide = |array: &Array| -> Result<Tensor> { Ok(to_tensor(array)?.to_dtype(DType::F64)?) };
    let (users, items) = (wide(users)?, wide(items)?);
    let count = items.dim(0)?;
    let metric = (users.t()?.matmul(&users)? / users.dim(0)? as f64)?;
    let gram: Vec<f64> = items.matmul(&metric)?.matmul(&items.t()?)?.flatten_all()?.to_vec1()?;
    let square = |i: usize, j: usize| (gram[i * count + i] + gram[j * count + j] - 2.0 * gram[i * count + j]).max(0.0);
    let mut pairs: Vec<f64> = (0..count).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| square(i, j)).collect();
    if pairs.is_empty() {
        return Ok(vec![1.0; count * count]);
    }
    let rank = ((pairs.len() as f64 * share) as usize).min(pairs.len() - 1);
    let bandwidth = pairs.select_nth_unstable_by(rank, f64::total_cmp).1.max(1e-12);
    let similarity = |k: usize| (-(square(k / count, k % count) / bandwidth).powi(4)).exp() as f32;
    Ok((0..count * count).map(similarity).collect())
}
