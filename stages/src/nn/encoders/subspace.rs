//! The directions in which the rows of a matrix are largest.

use anyhow::{Result, bail};
use candle_core::{DType, Device, Storage, Tensor};
use pipeline::memory_need::zeros;
use rayon::prelude::*;

use crate::nn::Init;

/// Iterations.
pub const PASSES: u64 = 30;

/// An orthonormal basis `[C, width]` of the subspace in which the rows of `matrix [R, C]`, of f64, are largest, by orthogonal
/// (subspace) iteration from a fixed start. `passed` is told after each pass, and its error ends them. A direction that the rows do not
/// have is zero.
///
/// # Errors
/// Those of `passed`, and where there is no memory for the transposed matrix.
pub fn largest(matrix: &Tensor, width: usize, passed: impl Fn() -> Result<()>) -> Result<Tensor> {
    let transposed = transposed(matrix)?;
    let mut basis = Init::new(0).normal(&[matrix.dim(1)?, width], 1.0)?.to_dtype(DType::F64)?;
    for _ in 0..PASSES {
        basis = orthonormal(&transposed.matmul(&matrix.matmul(&basis)?)?)?;
        passed()?;
    }
    Ok(basis)
}

/// `[R, C]` → `[C, R]`.
fn transposed(matrix: &Tensor) -> Result<Tensor> {
    /// Columns that are copied together: what one read of memory brings.
    const TOGETHER: usize = 8;
    let (rows, columns) = matrix.dims2()?;
    let mut turned = zeros::<f64>("the transposed matrix, for its vectors", rows * columns)?;
    let matrix = matrix.contiguous()?;
    let (storage, layout) = matrix.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("the matrix is not in the memory of the CPU") };
    let values = &storage.as_slice::<f64>()?[layout.start_offset()..];
    turned.par_chunks_mut((TOGETHER * rows).max(1)).enumerate().for_each(|(block, some)| {
        let first = block * TOGETHER;
        for (row, values) in values.chunks_exact(columns).take(rows).enumerate() {
            for (column, x) in some.chunks_exact_mut(rows).zip(&values[first..]) {
                column[row] = *x;
            }
        }
    });
    Ok(Tensor::from_vec(turned, (columns, rows), &Device::Cpu)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_turned_as_candle_turns_it_and_an_error_ends_the_passes() {
        let data: Vec<f64> = (0..19 * 13).map(f64::from).collect();
        let matrix = Tensor::from_vec(data, (19, 13), &Device::Cpu).unwrap();
        let rows = |matrix: &Tensor| matrix.to_vec2::<f64>().unwrap();
        assert_eq!(rows(&transposed(&matrix).unwrap()), rows(&matrix.t().unwrap()));
        let part = matrix.narrow(0, 3, 5).unwrap();
        assert_eq!(rows(&transposed(&part).unwrap()), rows(&part.t().unwrap()));
        let passes = std::cell::Cell::new(0);
        let ends = || {
            passes.set(passes.get() + 1);
            anyhow::ensure!(passes.get() < 3, "enough");
            Ok(())
        };
        assert_eq!(largest(&matrix, 2, ends).unwrap_err().to_string(), "enough");
        assert_eq!(passes.get(), 3);
    }

    #[test]
    fn a_plane_is_found_and_what_lies_outside_of_it_is_zero() {
        // Rows in the plane of (3, 4, 0)/5 and (0, 0, 1).
        let rows = [[3.0, 4.0, 1.0], [-3.0, -4.0, 2.0], [6.0, 8.0, 0.0], [0.0, 0.0, -3.0]];
        let matrix = Tensor::new(&rows, &Device::Cpu).unwrap();
        let basis: Vec<Vec<f64>> = largest(&matrix, 3, || Ok(())).unwrap().t().unwrap().to_vec2().unwrap();
        for row in rows {
            let length: f64 = row.iter().map(|x| x * x).sum();
            let dot = |direction: &Vec<f64>| direction.iter().zip(&row).map(|(a, b)| a * b).sum::<f64>();
            let inside: f64 = basis.iter().map(|direction| dot(direction).powi(2)).sum();
            assert!((length - inside).abs() < 1e-9, "{length} {inside}");
        }
        assert!((basis[0][0] / basis[0][1] - 0.75).abs() < 1e-6 && basis[2].iter().all(|&x| x == 0.0), "{basis:?}");
    }
}
