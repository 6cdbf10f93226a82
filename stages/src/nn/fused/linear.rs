//! A linear layer with its activation.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::{Real, contiguous, plain, wide, with_slices};

/// What follows the sum of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// Nothing.
    None,
    /// tanh.
    Tanh,
}

/// φ(x·Wᵀ + b): `x […, I]`, `weight [O, I]`, `bias [O]` → `[…, O]`. The gradient of `x` is computed only where one is asked for.
///
/// # Errors
/// When the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let layer = |x: &Tensor| match x.device().is_cpu() {
        true => x.apply_op3(weight, bias, Layer { activation }),
        false => plain::linear(x, weight, bias, activation),
    };
    if x.rank() == 2 {
        return layer(x);
    }
    let mut shape = x.dims().to_vec();
    if shape.pop() != Some(inputs) {
        candle_core::bail!("{:?} numbers for a layer of {inputs}", x.dims());
    }
    shape.push(outputs);
    layer(&x.reshape(((), inputs))?)?.reshape(shape)
}

struct Layer {
    activation: Activation,
}

impl CustomOp3 for Layer {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, inputs), (outputs, read)) = (x_layout.shape().dims2()?, weight_layout.shape().dims2()?);
        if inputs != read || bias_layout.dims() != [outputs] {
            candle_core::bail!("a layer of {read} → {outputs} with {:?} biases reads no {inputs}", bias_layout.dims());
        }
        let sizes = (1, rows, outputs, inputs);
        let mut sums = x.matmul(weight, sizes, x_layout, &weight_layout.transpose(0, 1)?)?;
        match bias {
            CpuStorage::F64(_) => {
                forward::<f64>(f64::slice_mut(&mut sums)?, contiguous(bias, bias_layout)?, self.activation)
            }
            _ => forward::<f32>(f32::slice_mut(&mut sums)?, contiguous(bias, bias_layout)?, self.activation),
        }
        Ok((sums, Shape::from((rows, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_sums, of_bias) = match y.dtype() {
            DType::F64 => backward::<f64>(y, gradient, self.activation)?,
            _ => backward::<f32>(y, gradient, self.activation)?,
        };
        let of_x = if x.track_op() { Some(of_sums.matmul(&weight.detach())?) } else { None };
        Ok((of_x, Some(of_sums.t()?.matmul(&x.detach())?), Some(of_bias)))
    }
}

/// `sums [B·O]`, `bias [O]`.
fn forward<T: Real>(sums: &mut [T], bias: &[T], activation: Activation) {
    wide(
        #[inline(always)]
        || {
            for row in sums.chunks_exact_mut(bias.len().max(1)) {
                match activation {
                    Activation::None => row.iter_mut().zip(bias).for_each(|(z, &b)| *z += b),
                    Activation::Tanh => row.iter_mut().zip(bias).for_each(|(z, &b)| *z = (*z + b).tanh()),
                }
            }
        },
    );
}

/// The gradients of the sums `[B, O]` and of the bias `[O]`, whose rows are added from the first to the last.
fn backward<T: Real>(y: &Tensor, gradient: &Tensor, activation: Activation) -> Result<(Tensor, Tensor)> {
    let (rows, outputs) = y.dims2()?;
    let mut of_bias = vec![T::zero(); outputs];
    let of_sums = match activation {
        Activation::None => {
            with_slices::<T, _, 1>([gradient], |[gradient]| add_rows(gradient, &mut of_bias))?;
            gradient.contiguous()?
        }
        Activation::Tanh => {
            let mut of_sums = vec![T::zero(); rows * outputs];
            with_slices::<T, _, 2>([y, gradient], |[y, gradient]| through_tanh(y, gradient, &mut of_sums))?;
            add_rows(&of_sums, &mut of_bias);
            Tensor::from_vec(of_sums, (rows, outputs), y.device())?
        }
    };
    Ok((of_sums, Tensor::from_vec(of_bias, outputs, y.device())?))
}

fn add_rows<T: Real>(rows: &[T], sum: &mut [T]) {
    wide(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(sum.len().max(1)) {
                sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
            }
        },
    );
}

/// g·(1 − y²).
fn through_tanh<T: Real>(y: &[T], gradient: &[T], out: &mut [T]) {
    wide(
        #[inline(always)]
        || out.iter_mut().zip(y).zip(gradient).for_each(|((out, &y), &g)| *out = g * (T::one() - y * y)),
    );
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::gradient_check::{assert_finite_differences, assert_same_gradients};

    fn values(seed: u64, shape: &[usize]) -> Tensor {
        Init::new(seed).normal(shape, 0.7).unwrap().to_dtype(DType::F64).unwrap()
    }

    #[test]
    fn it_is_what_the_plain_operations_give() {
        for (shape, activation) in [(vec![37, 5], Activation::Tanh), (vec![3, 4, 5], Activation::None)] {
            let tensors = [values(1, &shape), values(2, &[19, 5]), values(3, &[19])];
            let fused = |[x, w, b]: [&Tensor; 3]| linear(x, w, b, activation);
            let plain = |[x, w, b]: [&Tensor; 3]| {
                let mut dims = shape.clone();
                dims[shape.len() - 1] = 19;
                plain::linear(&x.reshape(((), 5))?, w, b, activation)?.reshape(dims)
            };
            assert_same_gradients(&tensors, fused, plain);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, w, b) = (values(1, &[4, 3]), values(2, &[2, 3]), values(3, &[2]));
        for activation in [Activation::None, Activation::Tanh] {
            let loss = |x: &Tensor, w: &Tensor, b: &Tensor| linear(x, w, b, activation)?.sqr()?.sum_all();
            assert_finite_differences(&x, |x| loss(x, &w, &b));
            assert_finite_differences(&w, |w| loss(&x, w, &b));
            assert_finite_differences(&b, |b| loss(&x, &w, b));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        assert!(linear(&zeros(&[2, 4]), &zeros(&[5, 3]), &zeros(&[5]), Activation::None).is_err());
        assert!(linear(&zeros(&[2, 2, 4]), &zeros(&[5, 3]), &zeros(&[5]), Activation::None).is_err());
        assert!(linear(&zeros(&[2, 3]), &zeros(&[5, 3]), &zeros(&[4]), Activation::None).is_err());
    }
}
