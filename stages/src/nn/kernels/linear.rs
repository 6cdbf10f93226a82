//! Linear layers with their activation, one or a chain of them.
//!
//! Candle adds every gradient to a buffer of zeros: between two layers this costs as much as tanh itself, on one thread. A chain therefore
//! passes these gradients itself, and candle sees one number in their place, which keeps the layers connected in its graph.

use std::sync::{Arc, Mutex, OnceLock};

use candle_core::{CpuStorage, CustomOp3, DType, Device, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::arguments::Activation;
use super::matmul::{Matrix, both, matmul, matmul_with};
use super::param_grads::route_grad;
use super::{Float, PART, contiguous, reference, with_simd, with_slices};

/// φ(x·Wᵀ + b): `x […, I]`, `weight [O, I]`, `bias [O]` → `[…, O]`. The gradient of `x` is computed only where it is needed.
///
/// # Errors
/// When the shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    if x.device().is_cpu() {
        let alone = LinearOp { activation, from: None, into: None };
        return x.contiguous()?.apply_op3(&weight.contiguous()?, bias, alone);
    }
    let (outputs, inputs) = weight.dims2()?;
    let (rows, shape) = rows_of(x.dims(), inputs, outputs)?;
    reference::linear(&x.reshape((rows, inputs))?, weight, bias, activation)?.reshape(shape)
}

/// The same through several layers of `[O, I]` and `[O]`, each with its activation.
///
/// # Errors
/// When the shapes do not fit.
pub fn chain(x: &Tensor, layers: &[(Tensor, &Tensor, Activation)]) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return layers
            .iter()
            .try_fold(x.clone(), |x, (weight, bias, activation)| linear(&x, weight, bias, *activation));
    }
    let (mut x, mut from) = (x.contiguous()?, None);
    for (k, (weight, bias, activation)) in layers.iter().enumerate() {
        let between =
            || Arc::new(Intermediate { activation: *activation, y: OnceLock::new(), gradient: Mutex::new(None) });
        let into = (k + 1 < layers.len()).then(between);
        let layer = LinearOp { activation: *activation, from: from.take(), into: into.clone() };
        x = x.apply_op3(&weight.contiguous()?, bias, layer)?;
        from = into;
    }
    Ok(x)
}

/// The activations between two layers of a chain.
struct Intermediate {
    /// Of the layer before.
    activation: Activation,
    /// `[…, O]`, from the forward pass.
    y: OnceLock<Tensor>,
    /// The gradient of what went into the activation, from the layer behind for the one before.
    gradient: Mutex<Option<Tensor>>,
}

impl Intermediate {
    fn y(&self) -> Result<&Tensor> {
        self.y.get().ok_or_else(|| Error::msg("a layer ran before the one that it reads"))
    }

    fn put_grad(&self, gradient: Tensor) -> Result<()> {
        *self.gradient.lock().map_err(|_| Error::msg("a thread panicked within this kernel"))? = Some(gradient);
        Ok(())
    }

    fn take_grad(&self) -> Result<Tensor> {
        let given = self.gradient.lock().map_err(|_| Error::msg("a thread panicked within this kernel"))?.take();
        given.ok_or_else(|| Error::msg("the backward pass reached a layer before the one after it"))
    }
}

/// How many rows of `inputs` numbers there are in `[…, I]`, and the shape after the layer.
fn rows_of(shape: &[usize], inputs: usize, outputs: usize) -> Result<(usize, Vec<usize>)> {
    match shape {
        [rows @ .., last] if *last == inputs => Ok((rows.iter().product(), [rows, &[outputs]].concat())),
        _ => candle_core::bail!("{shape:?} numbers for a layer of {inputs}"),
    }
}

struct LinearOp {
    activation: Activation,
    /// What it reads, where that is within a chain.
    from: Option<Arc<Intermediate>>,
    /// What it writes, where that is.
    into: Option<Arc<Intermediate>>,
}

impl CustomOp3 for LinearOp {
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
        if bias_layout.dims() != [outputs] {
            candle_core::bail!("a layer of {inputs} → {outputs} with {:?} biases", bias_layout.dims());
        }
        let x_shape = match &self.from {
            Some(from) => from.y()?.dims(),
            None => x_layout.dims(),
        };
        let (rows, shape) = rows_of(x_shape, inputs, outputs)?;
        let (storages, layouts) = ([x, weight, bias], [x_layout, weight_layout, bias_layout]);
        let found = match bias {
            CpuStorage::F64(_) => self.forward::<f64>(storages, layouts, [rows, inputs, outputs])?,
            _ => self.forward::<f32>(storages, layouts, [rows, inputs, outputs])?,
        };
        let Some(into) = &self.into else { return Ok((found, Shape::from(shape))) };
        let (one, y) = match found {
            CpuStorage::F64(all) => (CpuStorage::F64(vec![0.0]), Tensor::from_vec(all, shape, &Device::Cpu)?),
            CpuStorage::F32(all) => (CpuStorage::F32(vec![0.0]), Tensor::from_vec(all, shape, &Device::Cpu)?),
            _ => candle_core::bail!("a layer of numbers that are neither f32 nor f64"),
        };
        into.y.set(y).map_err(|_| Error::msg("a layer ran twice"))?;
        Ok((one, Shape::from(1)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        // Within a chain the layer behind has gone back through the activation.
        let (gradient, activation) = match &self.into {
            Some(into) => (into.take_grad()?, Activation::None),
            None => (gradient.clone(), self.activation),
        };
        let (read, read_activation) = match &self.from {
            Some(from) => (from.y()?, from.activation),
            None => (x, Activation::None),
        };
        let (needs_grad, activations) = (x.track_op(), [read_activation, activation]);
        let (of_x, of_weight, of_bias) = match gradient.dtype() {
            DType::F64 => backward::<f64>([read, weight, y, &gradient], activations, needs_grad)?,
            _ => backward::<f32>([read, weight, y, &gradient], activations, needs_grad)?,
        };
        let of_x = match (&self.from, of_x) {
            (Some(from), Some(of_x)) => {
                from.put_grad(of_x)?;
                Some(x.zeros_like()?)
            }
            (_, of_x) => of_x,
        };
        Ok((of_x, route_grad(weight, of_weight)?, route_grad(bias, of_bias)?))
    }
}

impl LinearOp {
    /// `[x, weight, bias]` and `[B, I, O]`.
    fn forward<T: Float>(
        &self,
        storages: [&CpuStorage; 3],
        layouts: [&Layout; 3],
        [rows, inputs, outputs]: [usize; 3],
    ) -> Result<CpuStorage> {
        let of = |k: usize| contiguous::<T>(storages[k], layouts[k]);
        let (weight, bias) = (Matrix::new(of(1)?, outputs, inputs)?, of(2)?);
        let from = |x: &[T]| {
            matmul_with(
                Matrix::new(x, rows, inputs)?,
                weight.t(),
                #[inline(always)]
                |_, column, sums| {
                    let each = sums.iter_mut().zip(&bias[column..]);
                    match self.activation {
                        Activation::None => each.for_each(|(z, &b)| *z += b),
                        Activation::Tanh => each.for_each(|(z, &b)| *z = (*z + b).tanh()),
                    }
                },
            )
        };
        let found = match &self.from {
            Some(between) => with_slices::<T, _, 1>([between.y()?], |[x]| from(x))??,
            None => from(of(0)?)?,
        };
        Ok(T::to_cpu_storage_owned(found))
    }
}

/// The gradients of `[x, weight, bias]` from `[x, weight, y, gradient]`; that of x where it is needed, back through the
/// activation that gave it.
fn backward<T: Float>(
    tensors: [&Tensor; 4],
    [of_read, activation]: [Activation; 2],
    needs_grad: bool,
) -> Result<(Option<Tensor>, Tensor, Tensor)> {
    let ((outputs, inputs), device) = (tensors[1].dims2()?, tensors[0].device());
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
        let weight = Matrix::new(weight, outputs, inputs)?;
        let of_sums = Matrix::new(of_sums, rows, outputs)?;
        let of_x = || {
            matmul_with(
                of_sums,
                weight,
                #[inline(always)]
                |row, column, gradient| {
                    if of_read == Activation::Tanh {
                        let y = &x[row * inputs + column..];
                        gradient.iter_mut().zip(y).for_each(|(g, &y)| *g *= T::one() - y * y);
                    }
                },
            )
        };
        let (of_x, of_weight) = both(
            rows * inputs * outputs,
            || needs_grad.then(of_x).transpose(),
            || matmul(of_sums.t(), Matrix::new(x, rows, inputs)?),
        );
        Ok::<_, Error>((of_x?, of_weight?))
    })??;
    let of_x = of_x.map(|of_x| Tensor::from_vec(of_x, tensors[0].shape(), device)).transpose()?;
    let of_weight = Tensor::from_vec(of_weight, (outputs, inputs), device)?;
    Ok((of_x, of_weight, Tensor::from_vec(of_bias, outputs, device)?))
}

/// Σ over `rows [B·O]` in `sum [O]`, from the first row to the last.
pub fn add_rows<T: Float>(rows: &[T], sum: &mut [T]) {
    let outputs = sum.len().max(1);
    let size = if rows.len() < 2 * PART { outputs } else { COLUMNS };
    sum.par_chunks_mut(size).enumerate().for_each(|(k, sum)| {
        with_simd(
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
fn through_tanh<T: Float>(y: &[T], gradient: &[T]) -> Vec<T> {
    let mut found = vec![T::zero(); y.len()];
    let parts = found.par_chunks_mut(PART).zip(y.par_chunks(PART)).zip(gradient.par_chunks(PART));
    parts.for_each(|((out, y), gradient)| {
        with_simd(
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
    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    fn values(seed: u64, shape: &[usize]) -> Tensor {
        Init::new(seed).normal(shape, 0.7).unwrap().to_dtype(DType::F64).unwrap()
    }

    #[test]
    fn it_is_what_the_reference_gives() {
        for (shape, activation) in [(vec![37, 5], Activation::Tanh), (vec![3, 4, 5], Activation::None)] {
            let tensors = [values(1, &shape), values(2, &[19, 5]), values(3, &[19])];
            let kernel = |[x, w, b]: [&Tensor; 3]| linear(x, w, b, activation);
            let reference = |[x, w, b]: [&Tensor; 3]| {
                let mut dims = shape.clone();
                dims[shape.len() - 1] = 19;
                reference::linear(&x.reshape(((), 5))?, w, b, activation)?.reshape(dims)
            };
            assert_same_gradients(&tensors, kernel, reference);
        }
    }

    #[test]
    fn a_chain_is_its_layers_one_by_one_and_may_be_gone_back_through_again() {
        let tensors =
            [values(1, &[37, 5]), values(2, &[19, 5]), values(3, &[19]), values(4, &[11, 19]), values(5, &[11])];
        let tensors: Vec<Tensor> = tensors.into_iter().chain([values(6, &[2, 11]), values(7, &[2])]).collect();
        let tensors: [Tensor; 7] = tensors.try_into().unwrap();
        let (none, tanh) = (Activation::None, Activation::Tanh);
        let chained = |[x, a, b, c, d, e, f]: [&Tensor; 7]| {
            chain(x, &[(a.clone(), b, tanh), (c.clone(), d, tanh), (e.clone(), f, none)])
        };
        assert_same_gradients(&tensors, chained, |[x, a, b, c, d, e, f]| {
            reference::linear(&reference::linear(&reference::linear(x, a, b, tanh)?, c, d, tanh)?, e, f, none)
        });
        let [x, a, b, c, d, e, f] = &tensors;
        let x = x.narrow(0, 0, 3).unwrap();
        assert_finite_differences(&x, |x| chained([x, a, b, c, d, e, f])?.sqr()?.sum_all());
        assert_finite_differences(b, |b| chained([&x, a, b, c, d, e, f])?.sqr()?.sum_all());
        assert_finite_differences(c, |c| chained([&x, a, b, c, d, e, f])?.sqr()?.sum_all());
        let of = tensors.each_ref().map(|tensor| candle_core::Var::from_tensor(tensor).unwrap());
        let loss = chained(of.each_ref().map(candle_core::Var::as_tensor)).unwrap().sqr().unwrap().sum_all().unwrap();
        let back = |k: usize| {
            let gradients = loss.backward().unwrap();
            gradients.get(of[k].as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        assert_eq!(back(1), back(1));
        // Only the last layer needs a gradient.
        let constant = |k: usize| tensors[k].clone();
        let head = [(constant(1), &tensors[2], tanh), (of[3].as_tensor().clone(), &tensors[4], none)];
        let loss = chain(&tensors[0], &head).unwrap().sqr().unwrap().sum_all().unwrap();
        assert!(loss.backward().unwrap().get(of[3].as_tensor()).is_some());
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
