//! Layer normalisation, forward and back in one operator each.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::gathered_log_softmax::row_sum;
use super::{Float, contiguous, reference, with_simd, with_slices};

/// g ∘ (x − mean)/√(variance + ε) + b over the last dimension: `x […, D]`, `gain [D]`, `bias [D]` → `[…, D]` (Ba, Kiros and Hinton
/// 2016, eq. 4).
///
/// # Errors
/// When the shapes do not fit.
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    if x.dims().last() != Some(&gain.dim(0)?) || gain.dims() != bias.dims() {
        candle_core::bail!("a norm of {:?} and {:?} numbers for {:?}", gain.dims(), bias.dims(), x.dims());
    }
    if !x.device().is_cpu() {
        return reference::layer_norm(x, gain, bias, epsilon);
    }
    x.contiguous()?.apply_op3(gain, bias, LayerNormOp { epsilon })
}

struct LayerNormOp {
    epsilon: f64,
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gain: &CpuStorage,
        gain_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (layouts, epsilon) = ([x_layout, gain_layout, bias_layout], self.epsilon);
        let found = match x {
            CpuStorage::F64(_) => forward::<f64>([x, gain, bias], layouts, epsilon)?,
            _ => forward::<f32>([x, gain, bias], layouts, epsilon)?,
        };
        Ok((found, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [of_x, of_gain, of_bias] = match x.dtype() {
            DType::F64 => backward::<f64>(x, gain, gradient, self.epsilon)?,
            _ => backward::<f32>(x, gain, gradient, self.epsilon)?,
        };
        Ok((Some(of_x), Some(of_gain), Some(of_bias)))
    }
}

fn forward<T: Float>(storages: [&CpuStorage; 3], layouts: [&Layout; 3], epsilon: f64) -> Result<CpuStorage> {
    let of = |k: usize| contiguous::<T>(storages[k], layouts[k]);
    let (x, gain, bias) = (of(0)?, of(1)?, of(2)?);
    let mut found = vec![T::zero(); x.len()];
    let width = gain.len().max(1);
    with_simd(
        #[inline(always)]
        || {
            for (out, row) in found.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let (mean, slope) = moments(row, epsilon);
                for (((out, &x), &gain), &bias) in out.iter_mut().zip(row).zip(gain).zip(bias) {
                    *out = (x - mean) * slope * gain + bias;
                }
            }
        },
    );
    Ok(T::to_cpu_storage_owned(found))
}

/// The mean of a row and 1/√(variance + ε).
#[inline(always)]
fn moments<T: Float>(row: &[T], epsilon: f64) -> (T, T) {
    let count = T::from_f64(row.len() as f64);
    let mean = row_sum(row, |x| x) / count;
    let variance = row_sum(row, |x| (x - mean) * (x - mean)) / count;
    (mean, T::one() / (variance + T::from_f64(epsilon)).sqrt())
}

/// With n = (x − mean)·slope and h = g ∘ gain: ∂x = slope·(h − mean(h) − n·mean(h ∘ n)), ∂gain = Σ g ∘ n, ∂bias = Σ g.
fn backward<T: Float>(x: &Tensor, gain: &Tensor, gradient: &Tensor, epsilon: f64) -> Result<[Tensor; 3]> {
    let width = gain.dim(0)?;
    let mut of_x = vec![T::zero(); x.elem_count()];
    let (mut of_gain, mut of_bias) = (vec![T::zero(); width], vec![T::zero(); width]);
    with_slices::<T, _, 3>([x, gain, gradient], |[x, gain, gradient]| {
        with_simd(
            #[inline(always)]
            || {
                let rows = of_x.chunks_exact_mut(width.max(1)).zip(x.chunks_exact(width.max(1)));
                for ((out, row), g) in rows.zip(gradient.chunks_exact(width.max(1))) {
                    let (mean, slope) = moments(row, epsilon);
                    let (mut sum, mut product) = (T::zero(), T::zero());
                    for (k, ((&x, &g), &gain)) in row.iter().zip(g).zip(gain).enumerate() {
                        let normal = (x - mean) * slope;
                        sum += g * gain;
                        product += g * gain * normal;
                        of_gain[k] += g * normal;
                        of_bias[k] += g;
                    }
                    let count = T::from_f64(width as f64);
                    let (sum, product) = (sum / count, product / count);
                    for (((out, &x), &g), &gain) in out.iter_mut().zip(row).zip(g).zip(gain) {
                        *out = slope * (g * gain - sum - (x - mean) * slope * product);
                    }
                }
            },
        );
    })?;
    let vector = |values: Vec<T>| Tensor::from_vec(values, width, x.device());
    Ok([Tensor::from_vec(of_x, x.shape(), x.device())?, vector(of_gain)?, vector(of_bias)?])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    fn values(seed: u64, shape: &[usize]) -> Tensor {
        Init::new(seed).normal(shape, 1.0).unwrap().to_dtype(DType::F64).unwrap()
    }

    #[test]
    fn it_is_what_the_reference_gives() {
        let reference = |[x, gain, bias]: [&Tensor; 3]| reference::layer_norm(x, gain, bias, 1e-5);
        let tensors = [values(1, &[3, 4, 35]), values(2, &[35]), values(3, &[35])];
        assert_same_gradients(&tensors, |[x, gain, bias]| layer_norm(x, gain, bias, 1e-5), reference);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, gain, bias, weights) = (values(1, &[2, 4]), values(2, &[4]), values(3, &[4]), values(4, &[2, 4]));
        let loss =
            |x: &Tensor, gain: &Tensor, bias: &Tensor| (layer_norm(x, gain, bias, 1e-5)? * &weights)?.sqr()?.sum_all();
        assert_finite_differences(&x, |x| loss(x, &gain, &bias));
        assert_finite_differences(&gain, |gain| loss(&x, gain, &bias));
        assert_finite_differences(&bias, |bias| loss(&x, &gain, bias));
        let short = Tensor::zeros(3, DType::F64, &Device::Cpu).unwrap();
        assert!(layer_norm(&x, &short, &short, 1e-5).is_err());
    }
}
