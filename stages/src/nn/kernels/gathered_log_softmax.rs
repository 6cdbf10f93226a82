//! The logit of one item of each row and the row's log-sum-exp, without storing the softmax.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Float, LANES, contiguous, reference, with_simd, with_slices};

/// Logits of one item in each of B rows, with the rows' log-sum-exp.
pub struct GatheredLogSoftmax {
    /// Their logits, `[B]`.
    pub logit: Tensor,
    /// log Σ e^logit over all items, `[B]`.
    pub log_sum_exp: Tensor,
}

/// From `logits [B, A]` and `items [B]` of u32. It makes two passes over a row forward and one backward; a composition makes about ten
/// each.
///
/// # Errors
/// When an item is out of range. On a GPU items are not checked, because that would synchronise with the CPU.
pub fn gathered_log_softmax(logits: &Tensor, items: &Tensor) -> Result<GatheredLogSoftmax> {
    let (rows, width) = logits.dims2()?;
    if !logits.device().is_cpu() {
        let (logit, log_sum_exp) = reference::gathered_log_softmax(logits, items)?;
        return Ok(GatheredLogSoftmax { logit, log_sum_exp });
    }
    let items = items.to_vec1::<u32>()?;
    if items.len() != rows || items.iter().any(|&item| item as usize >= width) {
        candle_core::bail!("{} items for logits of {rows} × {width}, or one beyond", items.len());
    }
    let both = logits.contiguous()?.apply_op1(GatheredLogSoftmaxOp { items })?;
    Ok(GatheredLogSoftmax { logit: both.narrow(0, 0, 1)?.squeeze(0)?, log_sum_exp: both.narrow(0, 1, 1)?.squeeze(0)? })
}

/// Smallest number of rows per thread.
const ROWS: usize = 32;

struct GatheredLogSoftmaxOp {
    items: Vec<u32>,
}

impl CustomOp1 for GatheredLogSoftmaxOp {
    fn name(&self) -> &'static str {
        "gathered-log-softmax"
    }

    /// `[B, A]` → `[2, B]`: the logits of the items, then log-sum-exp.
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let found = match storage {
            CpuStorage::F64(_) => forward(contiguous::<f64>(storage, layout)?, width, &self.items),
            _ => forward(contiguous::<f32>(storage, layout)?, width, &self.items),
        };
        Ok((found, Shape::from((2, rows))))
    }

    fn bwd(&self, logits: &Tensor, both: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(match logits.dtype() {
            DType::F64 => backward::<f64>(logits, &self.items, both, gradient)?,
            _ => backward::<f32>(logits, &self.items, both, gradient)?,
        }))
    }
}

fn forward<T: Float>(logits: &[T], width: usize, items: &[u32]) -> CpuStorage {
    let sums = logits.par_chunks_exact(width).with_min_len(ROWS).map(|row| {
        let (high, sum) = with_simd(
            #[inline(always)]
            || {
                let high = row_max(row);
                (high, row_sum(row, |z| (z - high).exp()))
            },
        );
        high + sum.ln()
    });
    let sums: Vec<T> = sums.collect();
    let logits = logits.chunks_exact(width).zip(items).map(|(row, &item)| row[item as usize]);
    T::to_cpu_storage_owned(logits.chain(sums).collect())
}

/// ∂/∂z_i = g·1\[i = item\] + h·e^(z_i − lse), where g and h are the gradients of the logit and of log-sum-exp.
fn backward<T: Float>(logits: &Tensor, items: &[u32], both: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let (rows, width) = logits.dims2()?;
    let mut found = vec![T::zero(); rows * width];
    with_slices::<T, _, 3>([logits, both, gradient], |[logits, both, gradient]| {
        let each = found.par_chunks_exact_mut(width).zip(logits.par_chunks_exact(width)).enumerate();
        each.with_min_len(ROWS).for_each(|(row, (out, z))| {
            let (lse, g, h) = (both[rows + row], gradient[row], gradient[rows + row]);
            with_simd(
                #[inline(always)]
                || out.iter_mut().zip(z).for_each(|(out, &z)| *out = h * (z - lse).exp()),
            );
            out[items[row] as usize] += g;
        });
    })?;
    Tensor::from_vec(found, (rows, width), logits.device())
}

/// The largest of `row`, which holds at least one.
#[inline(always)]
pub fn row_max<T: Float>(row: &[T]) -> T {
    let mut lanes = [row[0]; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &z)| *lane = if z > *lane { z } else { *lane });
    }
    rest.iter().chain(&lanes).fold(row[0], |high, &z| if z > high { z } else { high })
}

/// Σ f(z) over `row`, each 16th into a sum of its own, which are then added in their order.
#[inline(always)]
pub fn row_sum<T: Float>(row: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &z)| *lane += f(z));
    }
    rest.iter().map(|&z| f(z)).chain(lanes).fold(T::zero(), |sum, x| sum + x)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    fn both(logits: &Tensor, items: &Tensor) -> Result<Tensor> {
        let GatheredLogSoftmax { logit, log_sum_exp } = gathered_log_softmax(logits, items)?;
        Tensor::stack(&[logit, log_sum_exp], 0)
    }

    #[test]
    fn it_is_what_the_reference_gives() {
        let logits = (Init::new(1).normal(&[100, 37], 3.0).unwrap().to_dtype(DType::F64).unwrap() + 500.0).unwrap();
        let items = Tensor::new((0..100).map(|k| k % 37).collect::<Vec<u32>>(), &Device::Cpu).unwrap();
        let reference = |[z]: [&Tensor; 1]| {
            let (logit, log_sum_exp) = reference::gathered_log_softmax(z, &items)?;
            Tensor::stack(&[logit, log_sum_exp], 0)
        };
        assert_same_gradients(&[logits], |[z]| both(z, &items), reference);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let logits = Init::new(2).normal(&[3, 20], 1.5).unwrap();
        let items = Tensor::new(&[19_u32, 0, 2], &Device::Cpu).unwrap();
        assert_finite_differences(&logits, |z| both(z, &items)?.sqr()?.sum_all());
    }

    #[test]
    fn threads_change_no_bit() {
        let logits = Init::new(3).normal(&[200, 77], 2.0).unwrap();
        let items = Tensor::new((0..200).map(|k| k % 77).collect::<Vec<u32>>(), &Device::Cpu).unwrap();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let logits = candle_core::Var::from_tensor(&logits).unwrap();
                let loss = both(logits.as_tensor(), &items).unwrap().sqr().unwrap().sum_all().unwrap();
                let gradients = loss.backward().unwrap();
                let found = gradients.get(logits.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                (loss.to_scalar::<f32>().unwrap().to_bits(), found.into_iter().map(f32::to_bits).collect::<Vec<u32>>())
            })
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn what_cannot_be_taken_has_no_share_and_other_items_are_refused() {
        let logits = candle_core::Var::new(&[[0.0_f32, crate::nn::MASKED_LOGIT as f32, 0.0]], &Device::Cpu).unwrap();
        let item = |item: u32| Tensor::new(&[item], &Device::Cpu).unwrap();
        let GatheredLogSoftmax { log_sum_exp, .. } = gathered_log_softmax(logits.as_tensor(), &item(0)).unwrap();
        assert_eq!(log_sum_exp.to_vec1::<f32>().unwrap(), [2.0_f32.ln()]);
        let gradients = log_sum_exp.sum_all().unwrap().backward().unwrap();
        assert_eq!(gradients.get(logits.as_tensor()).unwrap().to_vec2::<f32>().unwrap(), [[0.5, 0.0, 0.5]]);
        assert!(gathered_log_softmax(logits.as_tensor(), &item(3)).is_err());
    }
}
