//! Vectors of users and items that policies start from: a factorisation of the completed matrix.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use pipeline::Context;

use crate::artifact::Array;
use crate::nn::subspace;

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
    let bar = cx.bar("vectors", Some(subspace::PASSES), "passes");
    let basis = subspace::largest(&matrix, width, || bar.inc(1))?;
    let scores = matrix.matmul(&basis)?;
    let mean_square = |t: &Tensor| t.sqr()?.mean_all()?.to_scalar::<f64>();
    let balance = (mean_square(&scores)? / mean_square(&basis)?.max(1e-30)).sqrt().sqrt().max(1e-12);
    let export = |t: Tensor, rows| -> Result<Array> {
        Ok(Array::new(&[rows, width], t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?))
    };
    Ok((export((scores / balance)?, users)?, export((basis * balance)?, items)?))
}
