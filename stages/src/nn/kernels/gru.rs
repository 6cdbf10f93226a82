//! All steps of a gated recurrent unit in one kernel.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::matmul::{Matrix, matmul, matmul_into};
use super::param_grads::route_grad;
use super::{Float, contiguous, reference, with_simd, with_slices};

/// The last h of the recurrence in [`Gru`](crate::nn::Gru): `x [B, T, 3H]` after its product and newest first, `hidden [H, 3H]`,
/// `hidden_bias [H]` and `mask [B, T]` of 1 and 0, a constant → `[B, H]`.
///
/// # Errors
/// When the shapes do not fit.
pub fn gru(x: &Tensor, hidden: &Tensor, hidden_bias: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let ((batch, turns, gates), (width, outputs)) = (x.dims3()?, hidden.dims2()?);
    if turns == 0
        || gates != 3 * width
        || outputs != 3 * width
        || hidden_bias.dims() != [width]
        || mask.dims() != [batch, turns]
    {
        candle_core::bail!(
            "a recurrence of {:?}, {:?} and {:?} does not read {:?}",
            hidden.dims(),
            hidden_bias.dims(),
            mask.dims(),
            x.dims()
        );
    }
    if !x.device().is_cpu() {
        return reference::gru(x, hidden, hidden_bias, mask);
    }
    let steps = GruOp { batch, turns, width, mask: mask.contiguous()?.detach(), saved: Mutex::new(None) };
    x.contiguous()?.apply_op3(&hidden.contiguous()?, hidden_bias, steps)
}

struct GruOp {
    batch: usize,
    turns: usize,
    width: usize,
    mask: Tensor,
    /// What the backward pass needs from the forward pass.
    saved: Mutex<Option<SavedForBackward>>,
}

struct SavedForBackward {
    /// Of each block of rows.
    blocks: Vec<RowBlock>,
}

/// Of R rows, the oldest step first.
struct RowBlock {
    /// `[T + 1, R, H]`: h before each step, and after the last.
    h: CpuStorage,
    /// `[T, R, 4H]`: r, z, n, and U_n·h + c_n.
    gates: CpuStorage,
}

/// Rows of a block; a thread takes a block through all steps.
const ROWS: usize = 64;

impl CustomOp3 for GruOp {
    fn name(&self) -> &'static str {
        "gru"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        hidden: &CpuStorage,
        hidden_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (last, saved) = match x {
            CpuStorage::F64(_) => self.forward::<f64>(
                contiguous(x, x_layout)?,
                contiguous(hidden, hidden_layout)?,
                contiguous(bias, bias_layout)?,
            ),
            _ => self.forward::<f32>(
                contiguous(x, x_layout)?,
                contiguous(hidden, hidden_layout)?,
                contiguous(bias, bias_layout)?,
            ),
        }?;
        *self.saved.lock().map_err(|_| Error::msg("a thread panicked within this kernel"))? = Some(saved);
        Ok((last, Shape::from((self.batch, self.width))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        hidden: &Tensor,
        bias: &Tensor,
        _h: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let saved = self.saved.lock().map_err(|_| Error::msg("a thread panicked within this kernel"))?;
        let saved = saved.as_ref().ok_or_else(|| Error::msg("the backward pass ran before the forward pass"))?;
        let [of_x, of_hidden, of_bias] = match x.dtype() {
            DType::F64 => self.backward::<f64>(hidden, gradient, saved)?,
            _ => self.backward::<f32>(hidden, gradient, saved)?,
        };
        Ok((Some(of_x), route_grad(hidden, of_hidden)?, route_grad(bias, of_bias)?))
    }
}

impl GruOp {
    fn forward<T: Float>(&self, x: &[T], hidden: &[T], bias: &[T]) -> Result<(CpuStorage, SavedForBackward)> {
        let (turns, width) = (self.turns, self.width);
        let hidden = Matrix::new(hidden, width, 3 * width)?;
        let blocks = with_slices::<T, _, 1>([&self.mask], |[mask]| {
            let rows = x.par_chunks(ROWS * turns * 3 * width).zip(mask.par_chunks(ROWS * turns));
            rows.map(|(x, mask)| self.block_forward(x, hidden, bias, mask)).collect::<Result<Vec<_>>>()
        })??;
        let last = blocks.iter().flat_map(|(h, _)| &h[h.len() / (turns + 1) * turns..]).copied().collect();
        let own = |all: Vec<T>| T::to_cpu_storage_owned(all);
        let blocks = blocks.into_iter().map(|(h, gates)| RowBlock { h: own(h), gates: own(gates) }).collect();
        Ok((own(last), SavedForBackward { blocks }))
    }

    /// All steps of some rows: h and the gates, as [`RowBlock`] holds them.
    fn block_forward<T: Float>(&self, x: &[T], hidden: Matrix<T>, bias: &[T], mask: &[T]) -> Result<(Vec<T>, Vec<T>)> {
        let (turns, width) = (self.turns, self.width);
        let rows = mask.len() / turns;
        let mut h = vec![T::zero(); (turns + 1) * rows * width];
        let mut gates = vec![T::zero(); turns * rows * 4 * width];
        let mut of_h = vec![T::zero(); rows * 3 * width];
        for step in 0..turns {
            let (before, after) = h[step * rows * width..].split_at_mut(rows * width);
            matmul_into(Matrix::new(before, rows, width)?, hidden, &mut of_h)?;
            let gates = &mut gates[step * rows * 4 * width..][..rows * 4 * width];
            let turn = turns - 1 - step;
            with_simd(
                #[inline(always)]
                || {
                    for row in 0..rows {
                        let at = row * turns + turn;
                        let place = row * width..(row + 1) * width;
                        step_forward(
                            &x[at * 3 * width..][..3 * width],
                            &of_h[3 * row * width..][..3 * width],
                            bias,
                            mask[at],
                            &before[place.clone()],
                            &mut after[place],
                            &mut gates[4 * row * width..][..4 * width],
                        );
                    }
                },
            );
        }
        Ok((h, gates))
    }

    /// The gradients of `x`, `hidden` and `hidden_bias`; the latter two of the blocks are added in their order.
    fn backward<T: Float>(&self, hidden: &Tensor, gradient: &Tensor, saved: &SavedForBackward) -> Result<[Tensor; 3]> {
        let (batch, turns, width) = (self.batch, self.turns, self.width);
        let mut of_x = vec![T::zero(); batch * turns * 3 * width];
        let found = with_slices::<T, _, 3>([&self.mask, hidden, gradient], |[mask, hidden, gradient]| {
            let hidden = Matrix::new(hidden, width, 3 * width)?;
            let rows = of_x.par_chunks_mut(ROWS * turns * 3 * width).zip(mask.par_chunks(ROWS * turns));
            let rows = rows.zip(gradient.par_chunks(ROWS * width)).zip(&saved.blocks);
            let blocks = rows.map(|(((of_x, mask), gradient), saved)| {
                let saved = (T::cpu_storage_as_slice(&saved.h)?, T::cpu_storage_as_slice(&saved.gates)?);
                self.block_backward(hidden, gradient, mask, saved, of_x)
            });
            blocks.collect::<Result<Vec<_>>>()
        })??;
        let (mut of_hidden, mut of_bias) = (vec![T::zero(); 3 * width * width], vec![T::zero(); width]);
        for (hidden, bias) in &found {
            of_hidden.iter_mut().zip(hidden).for_each(|(sum, &more)| *sum += more);
            of_bias.iter_mut().zip(bias).for_each(|(sum, &more)| *sum += more);
        }
        let device = hidden.device();
        Ok([
            Tensor::from_vec(of_x, (batch, turns, 3 * width), device)?,
            Tensor::from_vec(of_hidden, (width, 3 * width), device)?,
            Tensor::from_vec(of_bias, width, device)?,
        ])
    }

    /// What some rows add to the gradients of `hidden` and `hidden_bias`, and in `of_x` the gradient of theirs.
    fn block_backward<T: Float>(
        &self,
        hidden: Matrix<T>,
        gradient: &[T],
        mask: &[T],
        (h, gates): (&[T], &[T]),
        of_x: &mut [T],
    ) -> Result<(Vec<T>, Vec<T>)> {
        let (turns, width) = (self.turns, self.width);
        let rows = mask.len() / turns;
        // `[T, rows, 3H]`, the gradients of h·U before each step.
        let mut of_products = vec![T::zero(); turns * rows * 3 * width];
        let (mut of_bias, mut of_h) = (vec![T::zero(); width], gradient.to_vec());
        let mut more = vec![T::zero(); rows * width];
        for step in (0..turns).rev() {
            let turn = turns - 1 - step;
            let products = &mut of_products[step * rows * 3 * width..][..rows * 3 * width];
            with_simd(
                #[inline(always)]
                || {
                    for row in 0..rows {
                        let (at, saved) = (row * turns + turn, step * rows + row);
                        step_backward(
                            &gates[saved * 4 * width..][..4 * width],
                            &h[saved * width..][..width],
                            mask[at],
                            &mut of_h[row * width..][..width],
                            &mut of_x[at * 3 * width..][..3 * width],
                            &mut products[3 * row * width..][..3 * width],
                            &mut of_bias,
                        );
                    }
                },
            );
            // Before the first step h is a constant.
            if step > 0 {
                matmul_into(Matrix::new(products, rows, 3 * width)?, hidden.t(), &mut more)?;
                of_h.iter_mut().zip(&more).for_each(|(sum, &more)| *sum += more);
            }
        }
        let before = Matrix::new(&h[..turns * rows * width], turns * rows, width)?;
        Ok((matmul(before.t(), Matrix::new(&of_products, turns * rows, 3 * width)?)?, of_bias))
    }
}

/// One row of one step: `x` and `of_h [3H]`, `before` and `after [H]`, `gates [4H]`.
#[inline(always)]
fn step_forward<T: Float>(x: &[T], of_h: &[T], bias: &[T], mask: T, before: &[T], after: &mut [T], gates: &mut [T]) {
    let width = before.len();
    let (x_reset, x_keep, x_new) = thirds(x, width);
    let (h_reset, h_keep, h_new) = thirds(of_h, width);
    let (bias, after) = (&bias[..width], &mut after[..width]);
    let [reset, keep, new, remembered] = quarters(gates, width);
    for k in 0..width {
        let (r, z) = ((x_reset[k] + h_reset[k]).sigmoid(), (x_keep[k] + h_keep[k]).sigmoid());
        let q = h_new[k] + bias[k];
        let n = (x_new[k] + r * q).tanh();
        (reset[k], keep[k], new[k], remembered[k]) = (r, z, n, q);
        after[k] = before[k] + mask * (n + z * (before[k] - n) - before[k]);
    }
}

/// One row of one step back: `of_h [H]` is the gradient after the step and becomes what reaches h before it, but for the way
/// through the products, whose gradient goes to `products [3H]`.
#[inline(always)]
fn step_backward<T: Float>(
    gates: &[T],
    before: &[T],
    mask: T,
    of_h: &mut [T],
    of_x: &mut [T],
    products: &mut [T],
    of_bias: &mut [T],
) {
    let width = before.len();
    let (reset, rest) = gates.split_at(width);
    let (keep, new, remembered) = thirds(rest, width);
    let (of_h, of_bias) = (&mut of_h[..width], &mut of_bias[..width]);
    let [x_reset, x_keep, x_new] = thirds_mut(of_x, width);
    let [p_reset, p_keep, p_new] = thirds_mut(products, width);
    for k in 0..width {
        let (r, z, n, q) = (reset[k], keep[k], new[k], remembered[k]);
        let of_next = mask * of_h[k];
        let of_new = of_next * (T::one() - z) * (T::one() - n * n);
        let of_keep = of_next * (before[k] - n) * z * (T::one() - z);
        let of_reset = of_new * q * r * (T::one() - r);
        (x_reset[k], x_keep[k], x_new[k]) = (of_reset, of_keep, of_new);
        (p_reset[k], p_keep[k], p_new[k]) = (of_reset, of_keep, of_new * r);
        of_bias[k] += of_new * r;
        of_h[k] = of_h[k] - of_next + of_next * z;
    }
}

#[inline(always)]
fn thirds<T>(all: &[T], width: usize) -> (&[T], &[T], &[T]) {
    let (first, rest) = all.split_at(width);
    let (second, third) = rest.split_at(width);
    (first, second, &third[..width])
}

#[inline(always)]
fn thirds_mut<T>(all: &mut [T], width: usize) -> [&mut [T]; 3] {
    let (first, rest) = all.split_at_mut(width);
    let (second, third) = rest.split_at_mut(width);
    [first, second, &mut third[..width]]
}

#[inline(always)]
fn quarters<T>(all: &mut [T], width: usize) -> [&mut [T]; 4] {
    let (first, rest) = all.split_at_mut(width);
    let [second, third, fourth] = thirds_mut(rest, width);
    [first, second, third, fourth]
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    fn values(seed: u64, shape: &[usize]) -> Tensor {
        Init::new(seed).normal(shape, 0.8).unwrap().to_dtype(DType::F64).unwrap()
    }

    fn mask() -> Tensor {
        Tensor::new(&[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], &Device::Cpu).unwrap()
    }

    #[test]
    fn it_is_what_the_reference_gives() {
        let tensors = [values(1, &[2, 3, 15]), values(2, &[5, 15]), values(3, &[5])];
        let kernel = |[x, hidden, bias]: [&Tensor; 3]| gru(x, hidden, bias, &mask());
        assert_same_gradients(&tensors, kernel, |[x, hidden, bias]| reference::gru(x, hidden, bias, &mask()));
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, hidden, bias) = (values(1, &[2, 3, 6]), values(2, &[2, 6]), values(3, &[2]));
        let loss = |x: &Tensor, hidden: &Tensor, bias: &Tensor| gru(x, hidden, bias, &mask())?.sqr()?.sum_all();
        assert_finite_differences(&x, |x| loss(x, &hidden, &bias));
        assert_finite_differences(&hidden, |hidden| loss(&x, hidden, &bias));
        assert_finite_differences(&bias, |bias| loss(&x, &hidden, bias));
        assert!(gru(&x, &hidden, &hidden, &mask()).is_err());
    }
}
