//! ln(1 + eˣ).

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::{Float, contiguous, reference, with_simd, with_slices};

/// ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|) without overflow, any shape; its gradient is 1/(1 + e⁻ˣ).
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return reference::softplus(x);
    }
    x.contiguous()?.apply_op1(SoftplusOp)
}

struct SoftplusOp;

impl CustomOp1 for SoftplusOp {
    fn name(&self) -> &'static str {
        "softplus"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn of<T: Float>(x: &[T]) -> CpuStorage {
            let positive = |x: T| if x < T::zero() { T::zero() } else { x };
            T::to_cpu_storage_owned(x.iter().map(|&x| positive(x) + (-x.abs()).exp().ln_1p()).collect())
        }
        let found = match x {
            CpuStorage::F64(_) => of::<f64>(contiguous(x, layout)?),
            _ => of::<f32>(contiguous(x, layout)?),
        };
        Ok((found, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        fn of<T: Float>(x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
            let mut found = vec![T::zero(); x.elem_count()];
            with_slices::<T, _, 2>([x, gradient], |[x, gradient]| {
                with_simd(
                    #[inline(always)]
                    || found.iter_mut().zip(x).zip(gradient).for_each(|((out, &x), &g)| *out = g * x.sigmoid()),
                );
            })?;
            Tensor::from_vec(found, x.shape(), x.device())
        }
        Ok(Some(match x.dtype() {
            DType::F64 => of::<f64>(x, gradient)?,
            _ => of::<f32>(x, gradient)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    #[test]
    fn it_is_what_the_reference_gives_and_its_gradient_is_exact() {
        let x = Tensor::new(&[[0.3, -1.2, 30.0], [-0.01, -40.0, 2.0]], &Device::Cpu).unwrap();
        assert_finite_differences(&x, |x| softplus(x)?.sqr()?.sum_all());
        assert_same_gradients(&[x], |[x]| softplus(x), |[x]| reference::softplus(x));
        let ends = Tensor::new(&[-1000.0_f32, 1000.0, f32::NAN], &Device::Cpu).unwrap();
        let found = softplus(&ends).unwrap().to_vec1::<f32>().unwrap();
        assert!(found[0] == 0.0 && found[1] == 1000.0 && found[2].is_nan(), "{found:?}");
    }
}
