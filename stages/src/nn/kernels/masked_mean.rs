//! Mean over the unmasked rows of a sequence.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType as _};
use rayon::prelude::*;

use super::{Float, PART, contiguous, reference, with_simd, with_slices};

/// Σ_t w_t·x_t / max(Σ_t w_t, 1): `x [B, T, D]` and `mask [B, T]` of 1 and 0, a constant → `[B, D]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn masked_mean(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (rows, turns, width) = x.dims3()?;
    if mask.dims() != [rows, turns] {
        candle_core::bail!("a mask of {1:?} for {0:?}", x.dims(), mask.dims());
    }
    if !x.device().is_cpu() {
        return reference::masked_mean(x, mask);
    }
    x.contiguous()?.apply_op1(MaskedMean { mask: mask.contiguous()?.detach(), rows, turns, width })
}

struct MaskedMean {
    mask: Tensor,
    rows: usize,
    turns: usize,
    width: usize,
}

impl CustomOp1 for MaskedMean {
    fn name(&self) -> &'static str {
        "masked-mean"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let found = match x {
            CpuStorage::F64(_) => f64::to_cpu_storage_owned(self.forward(contiguous(x, layout)?)?),
            _ => f32::to_cpu_storage_owned(self.forward(contiguous(x, layout)?)?),
        };
        Ok((found, Shape::from((self.rows, self.width))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(match x.dtype() {
            DType::F64 => self.backward::<f64>(gradient)?,
            _ => self.backward::<f32>(gradient)?,
        }))
    }
}

impl MaskedMean {
    fn forward<T: Float>(&self, x: &[T]) -> Result<Vec<T>> {
        let (turns, width) = (self.turns.max(1), self.width.max(1));
        let mut found = vec![T::zero(); self.rows * self.width];
        with_slices::<T, _, 1>([&self.mask], |[mask]| {
            let rows = found.par_chunks_exact_mut(width).zip(x.par_chunks_exact(turns * width));
            let rows = rows.zip(mask.par_chunks_exact(turns)).with_min_len(self.min_rows());
            rows.for_each(|((found, x), mask)| {
                with_simd(
                    #[inline(always)]
                    || {
                        for (x, &mask) in x.chunks_exact(width).zip(mask) {
                            found.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x * mask);
                        }
                        let count = count(mask);
                        found.iter_mut().for_each(|sum| *sum /= count);
                    },
                );
            });
        })?;
        Ok(found)
    }

    /// w_t·g / max(Σ_t w_t, 1).
    fn backward<T: Float>(&self, gradient: &Tensor) -> Result<Tensor> {
        let (turns, width) = (self.turns.max(1), self.width.max(1));
        let mut found = vec![T::zero(); self.rows * self.turns * self.width];
        with_slices::<T, _, 2>([&self.mask, gradient], |[mask, gradient]| {
            let rows = found.par_chunks_exact_mut(turns * width).zip(gradient.par_chunks_exact(width));
            let rows = rows.zip(mask.par_chunks_exact(turns)).with_min_len(self.min_rows());
            rows.for_each(|((found, gradient), mask)| {
                with_simd(
                    #[inline(always)]
                    || {
                        let count = count(mask);
                        for (found, &mask) in found.chunks_exact_mut(width).zip(mask) {
                            found.iter_mut().zip(gradient).for_each(|(x, &g)| *x = g / count * mask);
                        }
                    },
                );
            });
        })?;
        Tensor::from_vec(found, (self.rows, self.turns, self.width), gradient.device())
    }

    /// Smallest number of rows per thread.
    fn min_rows(&self) -> usize {
        (PART / (self.turns * self.width).max(1)).max(1)
    }
}

#[inline(always)]
fn count<T: Float>(mask: &[T]) -> T {
    let sum = mask.iter().fold(T::zero(), |sum, &mask| sum + mask);
    if sum > T::one() { sum } else { T::one() }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    /// Of the first state all rows, of the second one, of the third none.
    fn mask() -> Tensor {
        Tensor::new(&[[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu).unwrap()
    }

    fn values(shape: &[usize]) -> Tensor {
        Init::new(1).normal(shape, 1.0).unwrap().to_dtype(DType::F64).unwrap()
    }

    #[test]
    fn it_is_what_the_reference_gives_and_its_gradient_is_exact() {
        let x = values(&[3, 3, 4]);
        assert_same_gradients(
            std::array::from_ref(&x),
            |[x]| masked_mean(x, &mask()),
            |[x]| reference::masked_mean(x, &mask()),
        );
        assert_finite_differences(&x, |x| masked_mean(x, &mask())?.sqr()?.sum_all());
        assert_eq!(masked_mean(&x, &mask()).unwrap().to_vec2::<f64>().unwrap()[2], [0.0; 4]);
        assert!(masked_mean(&x, &mask().narrow(1, 0, 2).unwrap()).is_err());
    }

    #[test]
    fn threads_change_no_bit() {
        let (x, mask) = (values(&[600, 7, 33]), Tensor::ones((600, 7), DType::F64, &Device::Cpu).unwrap());
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let x = candle_core::Var::from_tensor(&x).unwrap();
            pool.install(|| {
                let mean = masked_mean(x.as_tensor(), &mask).unwrap();
                let gradients = mean.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                (numbers(&mean), numbers(gradients.get(x.as_tensor()).unwrap()))
            })
        };
        assert!(with(1) == with(3));
    }
}
