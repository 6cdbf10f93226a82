//! Vectors of users and items that policies start from: a factorisation of the completed matrix.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use pipeline::Context;

use crate::artifact::Array;
use crate::nn::Init;

/// Iterations of the subspace.
const PASSES: u64 = 30;

/// `reward [U, I]` less its mean ≈ `user [U, D] · item [I, D]ᵀ`, the best such product, by orthogonal (subspace) iteration.
/// Both factors are scaled to the same root mean square.
pub(super) fn factorize(reward: &Array, width: usize, cx: &Context) -> Result<(Array, Array)> {
    let (users, items) = (reward.shape[0], reward.shape[1]);
    ensure!(
        width <= users.min(items),
        "simulator.embedding_dim is {width}, but there are {users} users and {items} items"
    );
    let mean = reward.data.iter().map(|&x| f64::from(x)).sum::<f64>() / reward.data.len() as f64;
    let matrix = (Tensor::from_slice(&reward.data, (users, items), &Device::Cpu)?.to_dtype(DType::F64)? - mean)?;
    let transposed = matrix.t()?.contiguous()?;
    let mut basis = Init::new(0).normal(&[items, width], 1.0)?.to_dtype(DType::F64)?;
    let bar = cx.bar("vectors", Some(PASSES), "passes");
    for _ in 0..PASSES {
        basis = orthonormal(&transposed.matmul(&matrix.matmul(&basis)?)?)?;
        bar.inc(1);
    }
    let scores = matrix.matmul(&basis)?;
    let mean_square = |t: &Tensor| t.sqr()?.mean_all()?.to_scalar::<f64>();
    let balance = (mean_square(&scores)? / mean_square(&basis)?.max(1e-30)).sqrt().sqrt().max(1e-12);
    let export = |t: Tensor, rows| -> Result<Array> {
        Ok(Array::new(&[rows, width], t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?))
    };
    Ok((export((scores / balance)?, users)?, export((basis * balance)?, items)?))
}

/// Gram and Schmidt, twice for accuracy: `[R, C]` → orthonormal columns. A dependent column becomes zero.
fn orthonormal(matrix: &Tensor) -> Result<Tensor> {
    let mut columns: Vec<Vec<f64>> = matrix.t()?.to_vec2()?;
    for c in 0..columns.len() {
        let (done, rest) = columns.split_at_mut(c);
        let column = &mut rest[0];
        for _ in 0..2 {
            for other in done.iter() {
                let dot: f64 = column.iter().zip(other).map(|(a, b)| a * b).sum();
                column.iter_mut().zip(other).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = column.iter().map(|a| a * a).sum::<f64>().sqrt();
        let scale = if norm > 1e-12 { 1.0 / norm } else { 0.0 };
        column.iter_mut().for_each(|a| *a *= scale);
    }
    Ok(Tensor::new(columns, &Device::Cpu)?.t()?.contiguous()?)
}
