//! The mean of those of a few rows that are there.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType as _};
use rayon::prelude::*;

use super::{PART, Real, contiguous, plain, wide, with_slices};

/// Σ_t w_t·x_t / max(Σ_t w_t, 1): `x [B, T, D]` and `there [B, T]` of 1 and 0, a constant → `[B, D]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn mean_of(x: &Tensor, there: &Tensor) -> Result<Tensor> {
    let (rows, turns, width) = x.dims3()?;
    if there.dims() != [rows, turns] {
        candle_core::bail!("{:?} of which {:?} are there", x.dims(), there.dims());
    }
    if !x.device().is_cpu() {
        return plain::mean_of(x, there);
    }
    x.contiguous()?.apply_op1(Mean { there: there.contiguous()?.detach(), rows, turns, width })
}

struct Mean {
    there: Tensor,
    rows: usize,
    turns: usize,
    width: usize,
}

impl CustomOp1 for Mean {
    fn name(&self) -> &'static str {
        "mean-of"
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

impl Mean {
    fn forward<T: Real>(&self, x: &[T]) -> Result<Vec<T>> {
        let (turns, width) = (self.turns.max(1), self.width.max(1));
        let mut found = vec![T::zero(); self.rows * self.width];
        with_slices::<T, _, 1>([&self.there], |[there]| {
            let rows = found.par_chunks_exact_mut(width).zip(x.par_chunks_exact(turns * width));
            let rows = rows.zip(there.par_chunks_exact(turns)).with_min_len(self.least());
            rows.for_each(|((found, x), there)| {
                wide(
                    #[inline(always)]
                    || {
                        for (x, &there) in x.chunks_exact(width).zip(there) {
                            found.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x * there);
                        }
                        let count = count(there);
                        found.iter_mut().for_each(|sum| *sum /= count);
                    },
                );
            });
        })?;
        Ok(found)
    }

    /// w_t·g / max(Σ_t w_t, 1).
    fn backward<T: Real>(&self, gradient: &Tensor) -> Result<Tensor> {
        let (turns, width) = (self.turns.max(1), self.width.max(1));
        let mut found = vec![T::zero(); self.rows * self.turns * self.width];
        with_slices::<T, _, 2>([&self.there, gradient], |[there, gradient]| {
            let rows = found.par_chunks_exact_mut(turns * width).zip(gradient.par_chunks_exact(width));
            let rows = rows.zip(there.par_chunks_exact(turns)).with_min_len(self.least());
            rows.for_each(|((found, gradient), there)| {
                wide(
                    #[inline(always)]
                    || {
                        let count = count(there);
                        for (found, &there) in found.chunks_exact_mut(width).zip(there) {
                            found.iter_mut().zip(gradient).for_each(|(x, &g)| *x = g / count * there);
                        }
                    },
                );
            });
        })?;
        Tensor::from_vec(found, (self.rows, self.turns, self.width), gradient.device())
    }

    /// Rows that are worth a thread.
    fn least(&self) -> usize {
        (PART / (self.turns * self.width).max(1)).max(1)
    }
}

#[inline(always)]
fn count<T: Real>(there: &[T]) -> T {
    let sum = there.iter().fold(T::zero(), |sum, &there| sum + there);
    if sum > T::one() { sum } else { T::one() }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::gradient_check::{assert_finite_differences, assert_same_gradients};

    /// Of the first state all rows, of the second one, of the third none.
    fn there() -> Tensor {
        Tensor::new(&[[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu).unwrap()
    }

    fn values(shape: &[usize]) -> Tensor {
        Init::new(1).normal(shape, 1.0).unwrap().to_dtype(DType::F64).unwrap()
    }

    #[test]
    fn it_is_what_the_plain_operations_give_and_its_gradient_is_exact() {
        let x = values(&[3, 3, 4]);
        assert_same_gradients(std::array::from_ref(&x), |[x]| mean_of(x, &there()), |[x]| plain::mean_of(x, &there()));
        assert_finite_differences(&x, |x| mean_of(x, &there())?.sqr()?.sum_all());
        assert_eq!(mean_of(&x, &there()).unwrap().to_vec2::<f64>().unwrap()[2], [0.0; 4]);
        assert!(mean_of(&x, &there().narrow(1, 0, 2).unwrap()).is_err());
    }

    #[test]
    fn threads_change_no_bit() {
        let (x, there) = (values(&[600, 7, 33]), Tensor::ones((600, 7), DType::F64, &Device::Cpu).unwrap());
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let x = candle_core::Var::from_tensor(&x).unwrap();
            pool.install(|| {
                let mean = mean_of(x.as_tensor(), &there).unwrap();
                let gradients = mean.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
                (numbers(&mean), numbers(gradients.get(x.as_tensor()).unwrap()))
            })
        };
        assert!(with(1) == with(3));
    }
}
