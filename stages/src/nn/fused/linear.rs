//! A linear layer with its activation.

use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::handed::handed_over;
use super::product::{Matrix, both, product, product_and};
use super::{PART, Real, contiguous, plain, wide, with_slices};

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
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op3(&weight.contiguous()?, bias, Layer { activation });
    }
    let (outputs, inputs) = weight.dims2()?;
    let (rows, shape) = rows_of(x.dims(), inputs, outputs)?;
    plain::linear(&x.reshape((rows, inputs))?, weight, bias, activation)?.reshape(shape)
}

/// How many rows of `inputs` numbers there are in `[…, I]`, and the shape after the layer.
fn rows_of(shape: &[usize], inputs: usize, outputs: usize) -> Result<(usize, Vec<usize>)> {
    match shape {
        [rows @ .., last] if *last == inputs => Ok((rows.iter().product(), [rows, &[outputs]].concat())),
        _ => candle_core::bail!("{shape:?} numbers for a layer of {inputs}"),
    }
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
        let (outputs, inputs) = weight_layout.shape().dims2()?;
        let (rows, shape) = rows_of(x_layout.dims(), inputs, outputs)?;
        if bias_layout.dims() != [outputs] {
            candle_core::bail!("a layer of {inputs} → {outputs} with {:?} biases", bias_layout.dims());
        }
        let (storages, layouts) = ([x, weight, bias], [x_layout, weight_layout, bias_layout]);
        let found = match bias {
            CpuStorage::F64(_) => forward::<f64>(storages, layouts, [rows, inputs, outputs], self.activation)?,
            _ => forward::<f32>(storages, layouts, [rows, inputs, outputs], self.activation)?,
        };
        Ok((found, Shape::from(shape)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_weight, of_bias) = match y.dtype() {
            DType::F64 => backward::<f64>([x, weight, y, gradient], self.activation)?,
            _ => backward::<f32>([x, weight, y, gradient], self.activation)?,
        };
        Ok((of_x, handed_over(weight, of_weight)?, handed_over(bias, of_bias)?))
    }
}

/// `[x, weight, bias]` and `[B, I, O]`.
fn forward<T: Real>(
    storages: [&CpuStorage; 3],
    layouts: [&Layout; 3],
    [rows, inputs, outputs]: [usize; 3],
    activation: Activation,
) -> Result<CpuStorage> {
    let of = |k: usize| contiguous::<T>(storages[k], layouts[k]);
    let (x, weight, bias) = (Matrix::new(of(0)?, rows, inputs)?, Matrix::new(of(1)?, outputs, inputs)?, of(2)?);
    let found = product_and(
        x,
        weight.t(),
        #[inline(always)]
        |_, column, sums| {
            let each = sums.iter_mut().zip(&bias[column..]);
            match activation {
                Activation::None => each.for_each(|(z, &b)| *z += b),
                Activation::Tanh => each.for_each(|(z, &b)| *z = (*z + b).tanh()),
            }
        },
    )?;
    Ok(T::to_cpu_storage_owned(found))
}

/// The gradients of `[x, weight, bias]` from `[x, weight, y, gradient]`.
fn backward<T: Real>(tensors: [&Tensor; 4], activation: Activation) -> Result<(Option<Tensor>, Tensor, Tensor)> {
    let ((outputs, inputs), asked, device) = (tensors[1].dims2()?, tensors[0].track_op(), tensors[0].device());
    let (rows, _) = rows_of(tensors[0].dims(), inputs, outputs)?;
    let mut of_bias = vec![T::zero(); outputs];
    let (of_x, of_weight) = with_slices::<T, _, 4>(tensors, |[x, weight, y, gradient]| {
        let own;
        let of_sums = match activation {
            Activation::None => gradient,
            Activation::Tanh => {
                own = through_tanh(y, gradient);
                &own
            }
        };
        add_rows(of_sums, &mut of_bias);
        let (x, weight) = (Matrix::new(x, rows, inputs)?, Matrix::new(weight, outputs, inputs)?);
        let of_sums = Matrix::new(of_sums, rows, outputs)?;
        let (of_x, of_weight) = both(
            rows * inputs * outputs,
            || asked.then(|| product(of_sums, weight)).transpose(),
            || product(of_sums.t(), x),
        );
        Ok::<_, Error>((of_x?, of_weight?))
    })??;
    let of_x = of_x.map(|of_x| Tensor::from_vec(of_x, tensors[0].shape(), device)).transpose()?;
    let of_weight = Tensor::from_vec(of_weight, (outputs, inputs), device)?;
    Ok((of_x, of_weight, Tensor::from_vec(of_bias, outputs, device)?))
}

/// Σ over `rows [B·O]` in `sum [O]`, from the first row to the last.
pub fn add_rows<T: Real>(rows: &[T], sum: &mut [T]) {
    let outputs = sum.len().max(1);
    let size = if rows.len() < 2 * PART { outputs } else { COLUMNS };
    sum.par_chunks_mut(size).enumerate().for_each(|(k, sum)| {
        wide(
            #[inline(always)]
            || {
                for row in rows.chunks_exact(outputs) {
                    sum.iter_mut().zip(&row[k * size..]).for_each(|(sum, &x)| *sum += x);
                }
            },
        );
    });
}

/// g·(1 − y²).
fn through_tanh<T: Real>(y: &[T], gradient: &[T]) -> Vec<T> {
    let mut found = vec![T::zero(); y.len()];
    let parts = found.par_chunks_mut(PART).zip(y.par_chunks(PART)).zip(gradient.par_chunks(PART));
    parts.for_each(|((out, y), gradient)| {
        wide(
            #[inline(always)]
            || out.iter_mut().zip(y).zip(gradient).for_each(|((out, &y), &g)| *out = g * (T::one() - y * y)),
        );
    });
    found
}

/// Columns of which a thread adds the rows, where there is enough of them.
const COLUMNS: usize = 128;

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
