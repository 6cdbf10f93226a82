//! log π(a|s) and the entropy of π(·|s) in one pass over the logits.
//!
//! Equal to `log_softmax`, `gather` and −Σ π log π composed of tensor operations, which make about thirty passes over the catalogue for
//! a step of actor-critic; this kernel makes two, and the threads of the stage share the rows.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::nn::kernels::{Float, contiguous, reference, row_max, softmax_sums, with_simd, with_slices};

/// Log-probability of the actions in B states, and entropy of the policy.
pub struct ActionLogProb {
    /// log π(a|s), `[B]`.
    pub log_prob: Tensor,
    /// −Σ π log π, `[B]`, nats.
    pub entropy: Tensor,
}

/// From `logits [B, A]` and `actions [B]`.
///
/// # Errors
/// When an action is out of range.
pub fn action_log_prob(logits: &Tensor, actions: &[u32]) -> Result<ActionLogProb> {
    let (rows, width) = logits.dims2()?;
    if actions.len() != rows || actions.iter().any(|&action| action as usize >= width) {
        candle_core::bail!("{} actions for logits of {rows} × {width}, or one beyond", actions.len());
    }
    if !logits.device().is_cpu() {
        let (log_prob, entropy) = reference::action_log_prob(logits, &Tensor::new(actions, logits.device())?)?;
        return Ok(ActionLogProb { log_prob, entropy });
    }
    let found = logits.contiguous()?.apply_op1(ActionLogProbOp { actions: actions.to_vec() })?;
    Ok(ActionLogProb { log_prob: found.narrow(1, 0, 1)?.squeeze(1)?, entropy: found.narrow(1, 1, 1)?.squeeze(1)? })
}

/// Smallest number of rows per thread.
const ROWS: usize = 64;

struct ActionLogProbOp {
    actions: Vec<u32>,
}

impl CustomOp1 for ActionLogProbOp {
    fn name(&self) -> &'static str {
        "action-log-prob"
    }

    /// `[B, A]` → `[B, 3]`: log π(a), H, log-sum-exp. (The last is for the backward pass: z_a − log π(a) loses all precision where a is masked.)
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let found = match storage {
            CpuStorage::F64(_) => forward(contiguous::<f64>(storage, layout)?, width, &self.actions),
            _ => forward(contiguous::<f32>(storage, layout)?, width, &self.actions),
        };
        Ok((found, Shape::from((rows, 3))))
    }

    fn bwd(&self, logits: &Tensor, found: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        fn of<T: Float>(kernel: &ActionLogProbOp, tensors: [&Tensor; 3]) -> Result<Tensor> {
            let (logits, width) = (tensors[0], tensors[0].dim(1)?);
            let gradients = with_slices::<T, _, 3>(tensors, |[logits, found, gradient]| {
                backward(logits, width, &kernel.actions, found, gradient)
            })?;
            Tensor::from_vec(gradients, logits.shape(), logits.device())
        }
        Ok(Some(match logits.dtype() {
            candle_core::DType::F64 => of::<f64>(self, [logits, found, gradient])?,
            _ => of::<f32>(self, [logits, found, gradient])?,
        }))
    }
}

/// With m the largest logit, Z = Σ e^(z−m) and S = Σ (z−m)·e^(z−m): log π(a) = z_a − m − ln Z, H = ln Z − S/Z.
fn forward<T: Float>(logits: &[T], width: usize, actions: &[u32]) -> CpuStorage {
    let row = |(z, &action): (&[T], &u32)| {
        let (high, sum, mean) = with_simd(
            #[inline(always)]
            || {
                let high = row_max(z);
                let [sum, mean] = softmax_sums(z, high);
                (high, sum, mean)
            },
        );
        [z[action as usize] - high - sum.ln(), sum.ln() - mean / sum, high + sum.ln()]
    };
    let rows = logits.par_chunks_exact(width).zip(actions).with_min_len(ROWS);
    T::to_cpu_storage_owned(rows.map(row).collect::<Vec<_>>().concat())
}

/// ∂/∂z_i = g·(1[i = a] − π_i) − h·π_i·(log π_i + H), where g and h are the gradients of log π(a) and H.
fn backward<T: Float>(logits: &[T], width: usize, actions: &[u32], found: &[T], gradient: &[T]) -> Vec<T> {
    let mut gradients = vec![T::zero(); logits.len()];
    let rows = gradients.par_chunks_exact_mut(width).zip(logits.par_chunks_exact(width));
    let rows = rows.zip(actions).zip(found.par_chunks_exact(3)).zip(gradient.par_chunks_exact(3));
    rows.with_min_len(ROWS).for_each(|((((out, z), &action), found), gradient)| {
        let (g, h) = (gradient[0], gradient[1]);
        let (entropy, all) = (found[1], found[2]);
        with_simd(
            #[inline(always)]
            || {
                for (out, &z) in out.iter_mut().zip(z) {
                    // log π_i.
                    let log = z - all;
                    *out = -(log.exp() * (g + h * (log + entropy)));
                }
            },
        );
        out[action as usize] += g;
    });
    gradients
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    #[test]
    fn it_is_what_the_reference_gives() {
        let logits = (Init::new(1).normal(&[100, 7], 3.0).unwrap().to_dtype(DType::F64).unwrap() + 500.0).unwrap();
        let actions: Vec<u32> = (0..100).map(|k| k % 7).collect();
        let items = Tensor::new(actions.clone(), &Device::Cpu).unwrap();
        let kernel = |[z]: [&Tensor; 1]| {
            let ActionLogProb { log_prob, entropy } = action_log_prob(z, &actions)?;
            Tensor::stack(&[log_prob, entropy], 0)
        };
        let reference = |[z]: [&Tensor; 1]| {
            let (log_prob, entropy) = reference::action_log_prob(z, &items)?;
            Tensor::stack(&[log_prob, entropy], 0)
        };
        assert_same_gradients(&[logits], kernel, reference);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let logits = Init::new(2).normal(&[3, 5], 1.5).unwrap();
        let weights = Tensor::new(&[1.0, -2.0, 0.5], &Device::Cpu).unwrap();
        let of = |z: &Tensor| action_log_prob(z, &[4, 0, 2]);
        assert_finite_differences(&logits, |z| (of(z)?.log_prob * &weights)?.sum_all());
        assert_finite_differences(&logits, |z| (of(z)?.entropy * &weights)?.sum_all());
        assert_finite_differences(&logits, |z| {
            let ActionLogProb { log_prob, entropy } = of(z)?;
            ((log_prob.sqr()? * &weights)? + entropy.sqr()?)?.sum_all()
        });
    }

    #[test]
    fn what_cannot_be_chosen_has_no_share_and_a_finite_gradient() {
        let logits = candle_core::Var::new(&[[0.0_f32, crate::nn::MASKED_LOGIT as f32, 0.0]], &Device::Cpu).unwrap();
        let ActionLogProb { log_prob, entropy } = action_log_prob(logits.as_tensor(), &[0]).unwrap();
        assert!((entropy.to_vec1::<f32>().unwrap()[0] - 2.0_f32.ln()).abs() < 1e-6);
        let gradients = (log_prob + entropy).unwrap().sum_all().unwrap().backward().unwrap();
        let found = gradients.get(logits.as_tensor()).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found, [[0.5, 0.0, -0.5]]);
        // Of a masked action: −∂ log-sum-exp, and 1 for itself.
        let of = |ActionLogProb { log_prob, entropy }: ActionLogProb| (log_prob + entropy)?.sum_all()?.backward();
        let gradients = of(action_log_prob(logits.as_tensor(), &[1]).unwrap()).unwrap();
        let found = gradients.get(logits.as_tensor()).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found, [[-0.5, 1.0, -0.5]]);
        assert!(action_log_prob(logits.as_tensor(), &[3]).is_err());
    }
}
