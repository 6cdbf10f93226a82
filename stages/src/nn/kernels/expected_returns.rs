//! Expected returns of categorical distributions over atoms, for all items, without storing the distributions.
//!
//! For a batch of 128, 300 items and 51 atoms the composition makes about ten passes over a buffer of 8 MB; this kernel makes one.

use candle_core::{DType, Device, Error, Result, Tensor};
use rayon::prelude::*;

use super::arguments::Atoms;
use super::gathered_log_softmax::row_max;
use super::mask::MASKED_LOGIT;
use super::matmul::{Matrix, matmul};
use super::{Float, LANES, PART, reference, with_simd, with_slices};

/// Σ_k v_k·softmax_k(h·W_{ik} + b_{ik} + p_k·t_i), with v and p the atoms' values and places: `hidden [B, H]`, `weight [I, K·H]`, `bias
/// [I, K]`, `tilt [B, I]` → `[B, I]`. The result is a constant.
///
/// # Errors
/// When the shapes do not fit.
pub fn expected_returns(
    hidden: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    tilt: &Tensor,
    atoms: &Atoms,
) -> Result<Tensor> {
    let ((rows, width), (items, count)) = (hidden.dims2()?, bias.dims2()?);
    let of_atoms = [atoms.places.dims(), atoms.values.dims()];
    if weight.dims() != [items, count * width] || tilt.dims() != [rows, items] || of_atoms != [[count], [count]] {
        candle_core::bail!(
            "{rows} × {width} states of {items} items with {count} atoms, but weights of {:?}, a tilt of {:?} and atoms of {:?}",
            weight.dims(),
            tilt.dims(),
            of_atoms
        );
    }
    if !hidden.device().is_cpu() {
        return Ok(reference::expected_returns(hidden, weight, bias, tilt, atoms)?.detach());
    }
    let tensors = [hidden, weight, bias, tilt, &atoms.places, &atoms.values];
    match hidden.dtype() {
        DType::F64 => of::<f64>(tensors, [rows, width, items, count]),
        _ => of::<f32>(tensors, [rows, width, items, count]),
    }
}

/// By `[hidden, weight, bias, tilt, places, values]` and `[B, H, I, K]`.
fn of<T: Float>(tensors: [&Tensor; 6], [rows, width, items, count]: [usize; 4]) -> Result<Tensor> {
    let found = with_slices::<T, _, 6>(tensors, |[hidden, weight, bias, tilt, places, values]| {
        let (hidden, weight) = (Matrix::new(hidden, rows, width)?, Matrix::new(weight, items * count, width)?);
        let own = matmul(hidden, weight.t())?;
        let values = filled_up(values, T::zero());
        let mut found = vec![T::zero(); rows * items];
        let states = found.par_chunks_exact_mut(items).zip(own.par_chunks_exact(items * count));
        let states = states.zip(tilt.par_chunks_exact(items)).with_min_len((PART / (items * count).max(1)).max(1));
        states.for_each(|((found, own), tilt)| {
            // Padding has probability 0.
            let mut logits = filled_up(places, T::from_f64(MASKED_LOGIT));
            with_simd(
                #[inline(always)]
                || {
                    let each = own.chunks_exact(count).zip(bias.chunks_exact(count)).zip(tilt);
                    for (found, ((own, bias), &tilt)) in found.iter_mut().zip(each) {
                        let atoms = logits.iter_mut().zip(own).zip(bias).zip(places);
                        atoms.for_each(|(((z, &own), &bias), &place)| *z = own + bias + place * tilt);
                        *found = mean(&logits, &values);
                    }
                },
            );
        });
        Ok::<_, Error>(found)
    })??;
    Tensor::from_vec(found, (rows, items), &Device::Cpu)
}

/// These numbers, padded with `other` to whole registers.
fn filled_up<T: Float>(numbers: &[T], other: T) -> Vec<T> {
    let mut all = numbers.to_vec();
    all.resize(numbers.len().next_multiple_of(LANES), other);
    all
}

/// Σ v·e^(z−m) / Σ e^(z−m) over whole registers, each 16th into sums of its own, which are then added in their order.
#[inline(always)]
fn mean<T: Float>(logits: &[T], values: &[T]) -> T {
    let high = row_max(logits);
    let (mut sums, mut means) = ([T::zero(); LANES], [T::zero(); LANES]);
    for (z, values) in logits.as_chunks::<LANES>().0.iter().zip(values.as_chunks::<LANES>().0) {
        for k in 0..LANES {
            let e = (z[k] - high).exp();
            sums[k] += e;
            means[k] += e * values[k];
        }
    }
    let sum = |all: [T; LANES]| all.into_iter().fold(T::zero(), |sum, x| sum + x);
    sum(means) / sum(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;

    fn normal(seed: u64, shape: &[usize], dtype: DType) -> Tensor {
        Init::new(seed).normal(shape, 1.5).unwrap().to_dtype(dtype).unwrap()
    }

    fn atoms(count: usize, dtype: DType) -> Atoms {
        Atoms { places: normal(8, &[count], dtype), values: normal(9, &[count], dtype) }
    }

    /// Of 37 items and as many atoms as are fewer than a register, fill one, and leave some over.
    #[test]
    fn it_is_what_the_reference_gives_and_threads_change_no_bit() {
        for count in [2, 16, 51] {
            let on = |threads: usize, dtype: DType| {
                let (hidden, tilt) = (normal(1, &[130, 5], dtype), normal(2, &[130, 37], dtype));
                let (weight, bias) = (normal(3, &[37, count * 5], dtype), normal(4, &[37, count], dtype));
                let (atoms, pool) = (atoms(count, dtype), rayon::ThreadPoolBuilder::new().num_threads(threads));
                let kernel =
                    pool.build().unwrap().install(|| expected_returns(&hidden, &weight, &bias, &tilt, &atoms)).unwrap();
                (kernel, reference::expected_returns(&hidden, &weight, &bias, &tilt, &atoms).unwrap())
            };
            let (kernel, reference) = on(1, DType::F64);
            let apart = (kernel - reference).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(apart < 1e-12, "{count} atoms: {apart}");
            let numbers = |tensor: Tensor| tensor.to_vec2::<f32>().unwrap();
            assert_eq!(numbers(on(1, DType::F32).0), numbers(on(3, DType::F32).0), "{count} atoms");
        }
    }

    #[test]
    fn they_agree_with_hand_computed_values_and_are_constants() {
        let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        let atoms = Atoms { places: tensor(&[-1.0, 1.0], &[2]), values: tensor(&[0.0, 4.0], &[2]) };
        // Logits of ln 1 and ln 3, once from the bias and once from weights and tilt: a chance of 3/4 for 4.
        let half = 3.0_f32.ln() / 2.0;
        let weight = candle_core::Var::from_tensor(&tensor(&[0.0, 0.0, 0.0, 2.0 * half], &[2, 2])).unwrap();
        let bias = tensor(&[-half, half, 0.0, 0.0], &[2, 2]);
        let found = |tilt: &[f32]| {
            expected_returns(&tensor(&[1.0], &[1, 1]), weight.as_tensor(), &bias, &tensor(tilt, &[1, 2]), &atoms)
                .unwrap()
        };
        assert!(!found(&[0.0, 0.0]).track_op());
        for (tilt, wanted) in [([0.0, 0.0], [3.0, 3.0]), ([-half, -half], [2.0, 2.0])] {
            let found = found(&tilt).to_vec2::<f32>().unwrap();
            assert!(found[0].iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let of = |count: usize, items: usize, tilted: usize| {
            let normal = |seed, shape: &[usize]| normal(seed, shape, DType::F32);
            let (hidden, weight, bias) = (normal(1, &[4, 5]), normal(2, &[7, 15]), normal(3, &[items, 3]));
            expected_returns(&hidden, &weight, &bias, &normal(4, &[4, tilted]), &atoms(count, DType::F32))
        };
        assert!(of(3, 7, 7).is_ok() && of(2, 7, 7).is_err() && of(3, 6, 7).is_err() && of(3, 7, 6).is_err());
    }
}
