//! The output layer over all items with its softmax, in one kernel.
//!
//! The forward pass writes the scores once, and the backward pass overwrites them by their gradient. For a batch of 256 over 10,000 items
//! the composition makes passes over six buffers of 10 MB instead of one.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp3, DType, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::arguments::{ActionScores, HeadInputs};
use super::gathered_log_softmax::row_max;
use super::linear::add_rows;
use super::mask::MASKED_LOGIT;
use super::matmul::{Matrix, both, matmul, matmul_with};
use super::param_grads::route_grad;
use super::{Float, LANES, PART, contiguous, reference, with_simd, with_slices};

/// scores = x·Wᵀ + b + features·c, with [`MASKED_LOGIT`] added where masked: `x [B, K]`, `weight [A, K]`, `rest [A + E]` of b and c, and
/// the actions `items [B]`.
///
/// # Errors
/// When the shapes do not fit, or an item is out of range.
pub fn output_layer(
    x: &Tensor,
    weight: &Tensor,
    rest: &Tensor,
    inputs: HeadInputs,
    items: &[u32],
) -> Result<ActionScores> {
    let ((rows, inner), (width, read)) = (x.dims2()?, weight.dims2()?);
    if inner != read || items.len() != rows || items.iter().any(|&item| item as usize >= width) {
        candle_core::bail!("{} items, or one beyond, for {rows} × {inner} and {width} × {read}", items.len());
    }
    let none = Tensor::zeros(0, x.dtype(), x.device())?;
    let (features, action_mask) =
        (inputs.features.unwrap_or(&none).detach(), inputs.action_mask.unwrap_or(&none).detach());
    let extra = features.elem_count() / (rows * width).max(1);
    if rest.dims() != [width + extra] || features.elem_count() != rows * width * extra {
        candle_core::bail!("{:?} weights for {width} items and features of {:?}", rest.dims(), features.dims());
    }
    if inputs.action_mask.is_some_and(|action_mask| action_mask.dims() != [rows, width]) {
        candle_core::bail!("an action mask of {:?} for {rows} × {width}", action_mask.dims());
    }
    if !x.device().is_cpu() {
        return reference::output_layer(x, weight, rest, inputs, items);
    }
    let op = OutputLayer { features, action_mask, items: items.to_vec(), scores: Mutex::new(None) };
    let all = x.contiguous()?.apply_op3(&weight.contiguous()?, &rest.contiguous()?, op)?;
    let part = |k: usize| all.narrow(0, k, 1)?.squeeze(0);
    Ok(ActionScores { logit: part(0)?, log_prob: part(1)?, entropy: part(2)? })
}

struct OutputLayer {
    features: Tensor,
    action_mask: Tensor,
    items: Vec<u32>,
    /// `[B, A]` from the forward pass, for one backward pass.
    scores: Mutex<Option<CpuStorage>>,
}

impl CustomOp3 for OutputLayer {
    fn name(&self) -> &'static str {
        "output-layer"
    }

    /// → `[4, B]`: the logit, log π, H and log-sum-exp. (The last is for the backward pass: z − log π loses all precision where z is masked.)
    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        rest: &CpuStorage,
        rest_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (storages, layouts) = ([x, weight, rest], [x_layout, weight_layout, rest_layout]);
        let (found, scores) = match x {
            CpuStorage::F64(_) => self.forward::<f64>(storages, layouts)?,
            _ => self.forward::<f32>(storages, layouts)?,
        };
        *self.scores.lock().map_err(|_| Error::msg("a thread panicked within this kernel"))? = Some(scores);
        Ok((found, Shape::from((4, self.items.len()))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        rest: &Tensor,
        found: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_weight, of_rest) = match x.dtype() {
            DType::F64 => self.backward::<f64>([x, weight, rest, found, gradient])?,
            _ => self.backward::<f32>([x, weight, rest, found, gradient])?,
        };
        Ok((of_x, route_grad(weight, of_weight)?, route_grad(rest, of_rest)?))
    }
}

impl OutputLayer {
    fn forward<T: Float>(&self, storages: [&CpuStorage; 3], layouts: [&Layout; 3]) -> Result<(CpuStorage, CpuStorage)> {
        let of = |k: usize| contiguous::<T>(storages[k], layouts[k]);
        let scores = self.scores::<T>([of(0)?, of(1)?, of(2)?], layouts[1].shape().dims2()?)?;
        let width = layouts[1].dims()[0];
        let row = |(z, &item): (&[T], &u32)| {
            let (high, [sum, mean]) = with_simd(
                #[inline(always)]
                || {
                    let high = row_max(z);
                    (high, softmax_sums(z, high))
                },
            );
            let logit = z[item as usize];
            [logit, logit - high - sum.ln(), sum.ln() - mean / sum, high + sum.ln()]
        };
        let rows = scores.par_chunks_exact(width).zip(&self.items).with_min_len(min_rows(width));
        let rows: Vec<[T; 4]> = rows.map(row).collect();
        let found = (0..4).flat_map(|k| rows.iter().map(move |row| row[k])).collect();
        Ok((T::to_cpu_storage_owned(found), T::to_cpu_storage_owned(scores)))
    }

    /// `[B, A]`.
    fn scores<T: Float>(&self, [x, weight, rest]: [&[T]; 3], (width, inner): (usize, usize)) -> Result<Vec<T>> {
        let rows = self.items.len();
        let (bias, of_features) = rest.split_at(width);
        let extra = of_features.len();
        let (x, weight) = (Matrix::new(x, rows, inner)?, Matrix::new(weight, width, inner)?);
        let far = T::from_f64(-MASKED_LOGIT);
        with_slices::<T, _, 2>([&self.features, &self.action_mask], |[features, action_mask]| {
            matmul_with(
                x,
                weight.t(),
                #[inline(always)]
                |row, column, scores| {
                    scores.iter_mut().zip(&bias[column..]).for_each(|(z, &b)| *z += b);
                    let first = row * width + column;
                    if extra > 0 {
                        let features = features[first * extra..].chunks_exact(extra);
                        for (z, features) in scores.iter_mut().zip(features) {
                            features.iter().zip(of_features).for_each(|(&features, &weight)| *z += features * weight);
                        }
                    }
                    if !action_mask.is_empty() {
                        let action_mask = &action_mask[first..];
                        scores.iter_mut().zip(action_mask).for_each(|(z, &mask)| *z += (mask - T::one()) * far);
                    }
                },
            )
        })?
    }

    /// The gradients of `[x, weight, rest]` from `[x, weight, rest, found, gradient]`.
    fn backward<T: Float>(&self, tensors: [&Tensor; 5]) -> Result<(Option<Tensor>, Tensor, Tensor)> {
        let ((rows, inner), (width, _), device) = (tensors[0].dims2()?, tensors[1].dims2()?, tensors[0].device());
        let saved = self.scores.lock().map_err(|_| Error::msg("a thread panicked within this kernel"))?.take();
        let needs_grad = tensors[0].track_op();
        let mut of_rest = vec![T::zero(); tensors[2].elem_count()];
        let (of_x, of_weight) = with_slices::<T, _, 5>(tensors, |[x, weight, rest, found, gradient]| {
            let mut scores = match saved {
                Some(mut saved) => std::mem::take(T::vec_mut(&mut saved)?),
                // A second backward pass of the same forward pass.
                None => self.scores([x, weight, rest], (width, inner))?,
            };
            let (of_bias, of_features) = of_rest.split_at_mut(width);
            self.through_softmax(&mut scores, width, found, gradient, of_features)?;
            let (x, weight) = (Matrix::new(x, rows, inner)?, Matrix::new(weight, width, inner)?);
            let of_scores = Matrix::new(&scores, rows, width)?;
            let of_x = || needs_grad.then(|| matmul(of_scores, weight)).transpose();
            let of_weight = || matmul(of_scores.t(), x);
            let gather_two = || both(rows * width * inner, of_x, of_weight);
            let ((of_x, of_weight), ()) = both(rows * width * inner, gather_two, || add_rows(&scores, of_bias));
            Ok::<_, Error>((of_x?, of_weight?))
        })??;
        let of_x = of_x.map(|of_x| Tensor::from_vec(of_x, (rows, inner), device)).transpose()?;
        let of_weight = Tensor::from_vec(of_weight, (width, inner), device)?;
        Ok((of_x, of_weight, Tensor::from_vec(of_rest, tensors[2].shape(), device)?))
    }

    /// In place of the scores their gradient, (a + g)·1\[i = item\] − π_i·(g + h·(log π_i + H)), where a, g and h are the gradients of
    /// logit, log π and H; in `of_features` the gradients of the features' weights.
    fn through_softmax<T: Float>(
        &self,
        scores: &mut [T],
        width: usize,
        found: &[T],
        gradient: &[T],
        of_features: &mut [T],
    ) -> Result<()> {
        let (rows, extra) = (self.items.len(), of_features.len());
        let sums: Vec<Vec<T>> = with_slices::<T, _, 1>([&self.features], |[features]| {
            let each = scores.par_chunks_exact_mut(width).zip(&self.items).enumerate();
            let each = each.with_min_len(min_rows(width)).map(|(row, (z, &item))| {
                let [a, g, h] = [gradient[row], gradient[rows + row], gradient[2 * rows + row]];
                let (entropy, all) = (found[2 * rows + row], found[3 * rows + row]);
                let mut sums = vec![T::zero(); extra];
                with_simd(
                    #[inline(always)]
                    || {
                        if h == T::zero() {
                            z.iter_mut().for_each(|z| *z = -((*z - all).exp() * g));
                        } else {
                            for z in z.iter_mut() {
                                let log = *z - all;
                                *z = -(log.exp() * (g + h * (log + entropy)));
                            }
                        }
                        z[item as usize] += a + g;
                        for (z, features) in z.iter().zip(features[row * width * extra..].chunks_exact(extra.max(1))) {
                            sums.iter_mut().zip(features).for_each(|(sum, &features)| *sum += *z * features);
                        }
                    },
                );
                sums
            });
            each.collect()
        })?;
        sums.iter().for_each(|sums| of_features.iter_mut().zip(sums).for_each(|(all, &sum)| *all += sum));
        Ok(())
    }
}

/// Smallest number of rows per thread.
fn min_rows(width: usize) -> usize {
    (PART / width.max(1)).max(1)
}

/// Σ e^(z−m) and Σ (z−m)·e^(z−m), each 16th into sums of its own, which are then added in their order.
#[inline(always)]
pub fn softmax_sums<T: Float>(z: &[T], high: T) -> [T; 2] {
    let (mut sums, mut means) = ([T::zero(); LANES], [T::zero(); LANES]);
    let (chunks, rest) = z.as_chunks::<LANES>();
    for chunk in chunks {
        for k in 0..LANES {
            let below = chunk[k] - high;
            let e = below.exp();
            sums[k] += e;
            means[k] += below * e;
        }
    }
    let mut all = [T::zero(); 2];
    for below in rest.iter().map(|&z| z - high) {
        all = [all[0] + below.exp(), all[1] + below * below.exp()];
    }
    sums.into_iter().zip(means).fold(all, |all, (sum, mean)| [all[0] + sum, all[1] + mean])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    const ITEMS: [u32; 4] = [36, 0, 7, 7];

    fn values(seed: u64, shape: &[usize]) -> Tensor {
        Init::new(seed).normal(shape, 1.0).unwrap().to_dtype(DType::F64).unwrap()
    }

    /// `[4, 37]`; the actions themselves are not masked.
    fn action_mask() -> Tensor {
        let of = |at: usize| f64::from(at % 5 != 1 || ITEMS[at / 37] as usize == at % 37);
        Tensor::from_iter((0..4 * 37).map(of), &Device::Cpu).unwrap().reshape((4, 37)).unwrap()
    }

    fn all(ActionScores { logit, log_prob, entropy }: ActionScores) -> Result<Tensor> {
        Tensor::stack(&[logit, log_prob, entropy], 0)
    }

    #[test]
    fn it_is_what_the_reference_gives() {
        let (features, action_mask) = (values(4, &[4 * 37, 2]), action_mask());
        for (features, action_mask) in [(None, None), (Some(&features), None), (Some(&features), Some(&action_mask))] {
            let inputs = HeadInputs { features, action_mask };
            let rest = values(3, &[37 + 2 * usize::from(features.is_some())]);
            let tensors = [values(1, &[4, 5]), values(2, &[37, 5]), rest];
            let kernel = |[x, w, r]: [&Tensor; 3]| all(output_layer(x, w, r, inputs, &ITEMS)?);
            assert_same_gradients(&tensors, kernel, |[x, w, r]| all(reference::output_layer(x, w, r, inputs, &ITEMS)?));
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (x, weight, rest, features) =
            (values(1, &[4, 2]), values(2, &[37, 2]), values(3, &[38]), values(4, &[148, 1]));
        let inputs = HeadInputs { features: Some(&features), action_mask: None };
        let loss = |x: &Tensor, w: &Tensor, r: &Tensor| all(output_layer(x, w, r, inputs, &ITEMS)?)?.sqr()?.sum_all();
        assert_finite_differences(&x, |x| loss(x, &weight, &rest));
        assert_finite_differences(&weight, |weight| loss(&x, weight, &rest));
        assert_finite_differences(&rest, |rest| loss(&x, &weight, rest));
    }

    #[test]
    fn what_may_not_be_taken_has_the_gradient_of_the_reference() {
        let single = |tensor: Tensor| tensor.to_dtype(DType::F32).unwrap();
        let action_mask = single(action_mask());
        let inputs = HeadInputs { features: None, action_mask: Some(&action_mask) };
        let (x, weight) = (single(values(1, &[4, 5])), single(values(2, &[37, 5])));
        let rest = candle_core::Var::from_tensor(&single(values(3, &[37]))).unwrap();
        let of = |chosen: Result<ActionScores>| {
            let ActionScores { logit, log_prob, entropy } = chosen.unwrap();
            let loss = ((logit.mean_all()? - log_prob.mean_all()?)? + entropy.mean_all()?)?;
            loss.backward()?.get(rest.as_tensor()).expect("it has one").to_vec1::<f32>()
        };
        // In the second state item 4 is not allowed.
        let items = [36, 4, 7, 7];
        assert_eq!(action_mask.to_vec2::<f32>().unwrap()[1][4], 0.0);
        let kernel = of(output_layer(&x, &weight, rest.as_tensor(), inputs, &items)).unwrap();
        let reference = of(reference::output_layer(&x, &weight, rest.as_tensor(), inputs, &items)).unwrap();
        assert!(
            kernel.iter().zip(&reference).all(|(a, b)| (a - b).abs() < 1e-6),
            "{kernel:?} by the kernel, {reference:?} by the reference"
        );
    }

    #[test]
    fn misfits_are_refused_and_a_second_backward_pass_gives_the_same() {
        let (x, weight, rest) = (values(1, &[4, 2]), values(2, &[37, 2]), values(3, &[37]));
        let of = |rest: &Tensor, items: &[u32]| output_layer(&x, &weight, rest, HeadInputs::default(), items);
        assert!(
            of(&rest, &[37, 0, 0, 0]).is_err() && of(&rest, &[0]).is_err() && of(&values(3, &[38]), &ITEMS).is_err()
        );
        let rest = candle_core::Var::from_tensor(&rest).unwrap();
        let loss = of(rest.as_tensor(), &ITEMS).unwrap().log_prob.sum_all().unwrap();
        let back = || loss.backward().unwrap().get(rest.as_tensor()).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(back(), back());
    }
}
