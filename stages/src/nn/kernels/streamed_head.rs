//! The output layer over a catalogue of any size with its exact softmax, block by block of items.
//!
//! Scores of a few states and [`ITEM_BLOCK`] items exist at a time. The forward pass keeps the largest score and the sums of each block
//! and merges them (an online log-sum-exp); the backward pass computes the scores again, block by block, with their gradients, as Cut
//! Cross-Entropy does (Wijmans et al. 2024, arXiv 2411.09009; its filter of small gradients is left out). So B states take memory of
//! B·I/1024 numbers instead of B·I, and every item has its exact share. Blocks are summed in their order, on any number of threads.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::item_inputs::{ITEM_BLOCK, ItemInputs};
use super::matmul::{Matrix, matmul_into};
use super::param_grads::route_grad;
use super::score_tiles::{
    Head, ItemScores, MASKED_BELOW, Sums, TILE_ROWS, blocks, each, each_tile, items_of, sum_of_shown,
};
use super::{Float, contiguous, with_simd, with_slices};

/// Blocks of items whose gradients of the states are held at a time.
const WAVE: usize = 32;

/// Of actions in B states; each is computed only where [`Wanted`] says so, else 0.
pub struct StreamedScores {
    /// Their logits, `[B]`.
    pub logit: Tensor,
    /// log π, `[B]`.
    pub log_prob: Tensor,
    /// −Σ π log π, `[B]`, nats.
    pub entropy: Tensor,
    /// The mean of the logits of all items that may be shown, `[B]`.
    pub mean: Tensor,
    /// The sum of the squares of the same logits, `[B]`.
    pub squares: Tensor,
    /// Σ π·v of the values v of all items, `[B]`.
    pub expected: Tensor,
}

/// What is wanted of a pass beside the logits of the actions.
#[derive(Clone, Default)]
pub struct Wanted {
    /// log π and the entropy.
    pub softmax: bool,
    /// The mean of the logits.
    pub mean: bool,
    /// The sum of their squares.
    pub squares: bool,
    /// The values of the items, constants, whose expectation under π is wanted; with it log π and the entropy.
    pub values: Option<Arc<dyn ItemScores>>,
}

/// As [`output_layer`](super::output_layer()) with `inputs` in place of features and masks: scores = x·Wᵀ + b + inputs, of `x [B, K]`,
/// `weight [A, K]`, `rest [A + 2]` of b and the weights of what was shown and of what is similar, and the actions `items [B]`.
///
/// # Errors
/// When the shapes do not fit, an item is out of range, or the tensors are not on the CPU.
pub fn streamed_head(
    x: &Tensor,
    weight: &Tensor,
    rest: &Tensor,
    inputs: &Arc<ItemInputs>,
    items: &[u32],
    wanted: Wanted,
) -> Result<StreamedScores> {
    check(x, weight, rest, inputs)?;
    if items.len() != inputs.rows() || items.iter().any(|&item| item as usize >= inputs.items()) {
        candle_core::bail!("{} items for {} states of {}, or one beyond", items.len(), inputs.rows(), inputs.items());
    }
    if wanted.values.as_ref().is_some_and(|v| v.rows() != inputs.rows() || v.items() != inputs.items()) {
        candle_core::bail!("values of other states or items than {} of {}", inputs.rows(), inputs.items());
    }
    let op = StreamedHead { inputs: inputs.clone(), actions: items.to_vec(), wanted };
    let all = x.contiguous()?.apply_op3(&weight.contiguous()?, &rest.contiguous()?, op)?;
    let part = |k: usize| all.narrow(0, k, 1)?.squeeze(0);
    Ok(StreamedScores {
        logit: part(0)?,
        log_prob: part(1)?,
        entropy: part(2)?,
        mean: part(3)?,
        squares: part(4)?,
        expected: part(5)?,
    })
}

/// # Errors
/// When the shapes do not fit.
pub(super) fn check(x: &Tensor, weight: &Tensor, rest: &Tensor, inputs: &ItemInputs) -> Result<()> {
    let ((rows, inner), (width, read)) = (x.dims2()?, weight.dims2()?);
    if inner != read || rows != inputs.rows() || width != inputs.items() || rest.dims() != [width + 2] {
        let (states, items) = (inputs.rows(), inputs.items());
        candle_core::bail!("{rows} × {inner} and {width} × {read} for {states} states of {items} items");
    }
    Ok(())
}

/// Of a state and a block.
#[derive(Clone, Copy)]
struct Part<T> {
    /// Of the action, where it lies there.
    logit: T,
    sums: Sums,
    /// Of what may be shown.
    sum: f64,
    squares: f64,
}

struct StreamedHead {
    inputs: Arc<ItemInputs>,
    actions: Vec<u32>,
    wanted: Wanted,
}

impl CustomOp3 for StreamedHead {
    fn name(&self) -> &'static str {
        "streamed-head"
    }

    /// → `[7, B]`: the logit, log π, H, the mean, the sum of squares, Σ π·v and log-sum-exp.
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
        let found = match x {
            CpuStorage::F64(_) => self.forward::<f64>(storages, layouts)?,
            _ => self.forward::<f32>(storages, layouts)?,
        };
        Ok((found, Shape::from((7, self.actions.len()))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        rest: &Tensor,
        found: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [of_x, of_weight, of_rest] = match x.dtype() {
            DType::F64 => self.backward::<f64>([x, weight, rest, found, gradient])?,
            _ => self.backward::<f32>([x, weight, rest, found, gradient])?,
        };
        Ok((Some(of_x), route_grad(weight, of_weight)?, route_grad(rest, of_rest)?))
    }
}

impl StreamedHead {
    fn forward<T: Float>(&self, storages: [&CpuStorage; 3], layouts: [&Layout; 3]) -> Result<CpuStorage> {
        let of = |k: usize| contiguous::<T>(storages[k], layouts[k]);
        let head = Head::new([of(0)?, of(1)?, of(2)?], &self.inputs);
        let part = |row: usize, block: usize, z: &[T], sums: Sums| {
            let action = self.actions[row] as usize;
            Part {
                logit: if action / ITEM_BLOCK == block { z[action % ITEM_BLOCK] } else { T::zero() },
                sums,
                sum: if self.wanted.mean { sum_of_shown(z, |z| z) } else { 0.0 },
                squares: if self.wanted.squares { sum_of_shown(z, |z| z * z) } else { 0.0 },
            }
        };
        let parts = match &self.wanted.values {
            Some(values) => each_tile(&head, |rows, block, z| {
                let (mut of_items, width) = (vec![], items_of(block, self.inputs.items()).len());
                values.tile(rows.clone(), block, &mut of_items)?;
                let each = rows.zip(z.chunks_exact(width)).zip(of_items.chunks_exact(width));
                Ok(each.map(|((row, z), v)| part(row, block, z, Sums::of_values(z, v))).collect())
            })?,
            None => each(&head, |row, block, z| {
                part(row, block, z, if self.wanted.softmax { Sums::of(z) } else { Sums::NONE })
            })?,
        };
        let row = |(row, parts): (usize, &[Part<T>])| {
            let all = Sums::all(parts.iter().map(|part| part.sums));
            let mean = parts.iter().map(|part| part.sum).sum::<f64>() / self.inputs.shown(row) as f64;
            let squares = parts.iter().map(|part| part.squares).sum();
            let logit = parts[self.actions[row] as usize / ITEM_BLOCK].logit.widen();
            let softmax = [logit - all.high - all.sum.ln(), all.entropy(), all.log_sum_exp()];
            let [log_prob, entropy, log] = softmax.map(|x| if self.wants_softmax() { x } else { 0.0 });
            [logit, log_prob, entropy, mean, squares, all.expected(), log].map(T::from_f64)
        };
        let rows: Vec<[T; 7]> = parts.chunks_exact(blocks(self.inputs.items()).max(1)).enumerate().map(row).collect();
        Ok(T::to_cpu_storage_owned((0..7).flat_map(|k| rows.iter().map(move |row| row[k])).collect()))
    }

    fn wants_softmax(&self) -> bool {
        self.wanted.softmax || self.wanted.values.is_some()
    }

    /// The gradients of `[x, weight, rest]` from `[x, weight, rest, found, gradient]`.
    fn backward<T: Float>(&self, tensors: [&Tensor; 5]) -> Result<[Tensor; 3]> {
        let ([of_x, of_weight, of_rest], device) = (
            with_slices::<T, _, 5>(tensors, |[x, weight, rest, found, gradient]| {
                self.gradients(&Head::new([x, weight, rest], &self.inputs), found, gradient)
            })??,
            tensors[0].device(),
        );
        Ok([
            Tensor::from_vec(of_x, tensors[0].shape(), device)?,
            Tensor::from_vec(of_weight, tensors[1].shape(), device)?,
            Tensor::from_vec(of_rest, tensors[2].shape(), device)?,
        ])
    }

    fn gradients<T: Float>(&self, head: &Head<T>, found: &[T], gradient: &[T]) -> Result<[Vec<T>; 3]> {
        let (rows, items, inner) = (self.inputs.rows(), self.inputs.items(), head.inner);
        let mut of_x = vec![T::zero(); rows * inner];
        let (mut of_weight, mut of_rest) = (vec![T::zero(); items * inner], vec![T::zero(); items + 2]);
        let (of_bias, of_inputs) = of_rest.split_at_mut(items);
        let waves = of_weight.chunks_mut(WAVE * ITEM_BLOCK * inner.max(1)).zip(of_bias.chunks_mut(WAVE * ITEM_BLOCK));
        for (wave, (of_weight, of_bias)) in waves.enumerate() {
            let blocks = of_weight.par_chunks_mut(ITEM_BLOCK * inner.max(1)).zip(of_bias.par_chunks_mut(ITEM_BLOCK));
            let block = |(at, (of_weight, of_bias)): (usize, (&mut [T], &mut [T]))| {
                self.block_gradients(head, wave * WAVE + at, (found, gradient), of_weight, of_bias)
            };
            let parts: Vec<(Vec<T>, [T; 2])> = blocks.enumerate().with_max_len(1).map(block).collect::<Result<_>>()?;
            for (part, own) in parts {
                of_x.iter_mut().zip(&part).for_each(|(sum, &x)| *sum += x);
                of_inputs.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
            }
        }
        Ok([of_x, of_weight, of_rest])
    }

    /// The part of a block: in `of_weight` and `of_bias` all of their gradients, and its summands of those of x `[B, K]` and of the inputs'
    /// weights.
    fn block_gradients<T: Float>(
        &self,
        head: &Head<T>,
        block: usize,
        (found, gradient): (&[T], &[T]),
        of_weight: &mut [T],
        of_bias: &mut [T],
    ) -> Result<(Vec<T>, [T; 2])> {
        let (rows, inner, items) = (self.inputs.rows(), head.inner, items_of(block, self.inputs.items()));
        let (mut scores, mut of_items, mut more) = (vec![], vec![], vec![T::zero(); of_weight.len()]);
        let (mut of_x, mut of_inputs) = (vec![T::zero(); rows * inner], [T::zero(); 2]);
        for first in (0..rows).step_by(TILE_ROWS) {
            let tile = first..(first + TILE_ROWS).min(rows);
            head.tile(tile.clone(), block, &mut scores)?;
            if let Some(values) = &self.wanted.values {
                values.tile(tile.clone(), block, &mut of_items)?;
            }
            for (row, z) in tile.clone().zip(scores.chunks_exact_mut(items.len())) {
                let [a, g, h, m, q, e] = [0, 1, 2, 3, 4, 5].map(|k| gradient[k * rows + row]);
                let share = if self.wanted.mean { m / T::from_f64(self.inputs.shown(row) as f64) } else { T::zero() };
                let [entropy, expected, all] = [2, 5, 6].map(|k| found[k * rows + row]);
                let values = of_items.get((row - tile.start) * items.len()..(row - tile.start + 1) * items.len());
                match (self.wanted.squares, values) {
                    (false, None) => through_softmax(z, [g, h, share], [entropy, all]),
                    (_, values) => {
                        let q = if self.wanted.squares { q } else { T::zero() };
                        let softmax = self.wants_softmax().then_some(([g, h, e], [entropy, expected, all]));
                        through_all(z, values, softmax, [share, q]);
                    }
                }
                let action = self.actions[row] as usize;
                if action / ITEM_BLOCK == block {
                    z[action % ITEM_BLOCK] += a + g;
                }
                self.inputs.add_gradients(row, block, z, &mut of_inputs);
                with_simd(
                    #[inline(always)]
                    || of_bias.iter_mut().zip(z.iter()).for_each(|(sum, &x)| *sum += x),
                );
            }
            let of_scores = Matrix::new(&scores, tile.len(), items.len())?;
            matmul_into(of_scores.t(), head.states(&tile)?, &mut more)?;
            of_weight.iter_mut().zip(&more).for_each(|(sum, &x)| *sum += x);
            matmul_into(of_scores, head.vectors(&items)?, &mut of_x[tile.start * inner..tile.end * inner])?;
        }
        Ok((of_x, of_inputs))
    }
}

/// In place of scores −π_i·(g + h·(log π_i + H)), with g and h the gradients of log π and H, and `share` of the items that are not masked.
fn through_softmax<T: Float>(z: &mut [T], [g, h, share]: [T; 3], [entropy, all]: [T; 2]) {
    let least = T::from_f64(MASKED_BELOW);
    with_simd(
        #[inline(always)]
        || {
            if share != T::zero() || (g == T::zero() && h == T::zero()) {
                let softmax = g != T::zero() || h != T::zero();
                for z in z.iter_mut() {
                    let own = if *z > least { share } else { T::zero() };
                    let log = *z - all;
                    *z = if softmax { own - log.exp() * (g + h * (log + entropy)) } else { own };
                }
            } else if h == T::zero() {
                z.iter_mut().for_each(|z| *z = -((*z - all).exp() * g));
            } else {
                for z in z.iter_mut() {
                    let log = *z - all;
                    *z = -(log.exp() * (g + h * (log + entropy)));
                }
            }
        },
    );
}

/// The same with e·π_i·(v_i − Σ π·v) of the `values`, and 2·`q`·z_i of the items that are not masked; `softmax` holds the gradients g, h and e,
/// and H, Σ π·v and log-sum-exp.
fn through_all<T: Float>(z: &mut [T], values: Option<&[f32]>, softmax: Option<([T; 3], [T; 3])>, [share, q]: [T; 2]) {
    let (least, two) = (T::from_f64(MASKED_BELOW), T::from_f64(2.0));
    let own = |z: T| if z > least { share + two * q * z } else { T::zero() };
    with_simd(
        #[inline(always)]
        || match (softmax, values) {
            (None, _) => z.iter_mut().for_each(|z| *z = own(*z)),
            (Some(([g, h, _], [entropy, _, all])), None) => {
                for z in z.iter_mut() {
                    let log = *z - all;
                    *z = own(*z) - log.exp() * (g + h * (log + entropy));
                }
            }
            (Some(([g, h, e], [entropy, expected, all])), Some(values)) => {
                for (z, &value) in z.iter_mut().zip(values) {
                    let log = *z - all;
                    let beyond = T::from_f64(f64::from(value)) - expected;
                    *z = own(*z) - log.exp() * (g + h * (log + entropy) - e * beyond);
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::item_inputs::tests::{dense, inputs};
    use super::super::{ActionScores, FrozenHead, HeadInputs, output_layer};
    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    const ITEMS: [u32; 3] = [1023, 2098, 1024];

    fn values(seed: u64, shape: &[usize]) -> Tensor {
        Init::new(seed).normal(shape, 1.0).unwrap().to_dtype(DType::F64).unwrap()
    }

    /// All that can be wanted, with values of the states.
    fn all_wanted(inputs: &Arc<ItemInputs>) -> Wanted {
        let single = |tensor: Tensor| tensor.to_dtype(DType::F32).unwrap();
        let rest = single((values(7, &[inputs.items() + 2]) * 0.1).unwrap());
        let [x, weight] =
            [(5, inputs.rows()), (6, inputs.items())].map(|(seed, rows)| single(values(seed, &[rows, 5])));
        let values = FrozenHead::new(&x, &weight, &rest, inputs).unwrap();
        Wanted { softmax: true, mean: true, squares: true, values: Some(Arc::new(values)) }
    }

    fn all(found: StreamedScores) -> Result<Tensor> {
        let StreamedScores { logit, log_prob, entropy, mean, squares, expected } = found;
        Tensor::stack(&[logit, log_prob, entropy, mean, squares, expected], 0)
    }

    /// The dense layer with the mean and the squares of the scores that are not masked, and the expectation of the values.
    fn dense_layer([x, weight, rest]: [&Tensor; 3], inputs: &ItemInputs, values: &dyn ItemScores) -> Result<Tensor> {
        let (features, action_mask) = dense(inputs);
        let wide = HeadInputs { features: Some(&features), action_mask: Some(&action_mask) };
        let ActionScores { logit, log_prob, entropy } = output_layer(x, weight, rest, wide, &ITEMS)?;
        let scores = x.matmul(&weight.t()?)?.broadcast_add(&rest.narrow(0, 0, 2100)?)?;
        let weights = rest.narrow(0, 2100, 2)?.unsqueeze(1)?;
        let scores = (&scores + features.matmul(&weights)?.reshape(scores.shape())?)?;
        let shown = (&scores * &action_mask)?;
        let (mean, squares) = ((shown.sum(1)? / action_mask.sum(1)?)?, shown.sqr()?.sum(1)?);
        let mut of_items = vec![vec![]; 3];
        for (row, of_items) in of_items.iter_mut().enumerate() {
            for block in 0..3 {
                let mut tile = vec![];
                values.tile(row..row + 1, block, &mut tile)?;
                of_items.extend(tile);
            }
        }
        let of_items = Tensor::new(of_items, x.device())?.to_dtype(DType::F64)?;
        let masked = crate::nn::kernels::mask_logits(&scores, &action_mask)?;
        let expected = (candle_nn::ops::softmax(&masked, 1)? * of_items)?.sum(1)?;
        Tensor::stack(&[logit, log_prob, entropy, mean, squares, expected], 0)
    }

    /// The weights of the inputs are small, so that no item has all of the probability.
    fn tensors() -> [Tensor; 3] {
        let rest = Tensor::cat(&[&values(3, &[2100]), &(values(4, &[2]) * 0.01).unwrap()], 0).unwrap();
        [values(1, &[3, 5]), values(2, &[2100, 5]), rest]
    }

    #[test]
    fn it_is_what_the_dense_layer_gives() {
        let inputs = Arc::new(inputs());
        let wanted = all_wanted(&inputs);
        let of_items = wanted.values.clone().unwrap();
        let kernel = |[x, w, r]: [&Tensor; 3]| all(streamed_head(x, w, r, &inputs, &ITEMS, wanted.clone())?);
        assert_same_gradients(&tensors(), kernel, |tensors| dense_layer(tensors, &inputs, &*of_items));
        // What is not wanted is 0, and the rest is the same.
        let part = |softmax, mean, squares, values: bool| {
            let values = values.then(|| of_items.clone());
            Wanted { softmax, mean, squares, values }
        };
        for (wanted, kept) in [
            (part(true, false, false, false), [0, 1, 2].as_slice()),
            (part(false, true, false, false), &[0, 3]),
            (part(true, false, true, false), &[0, 1, 2, 4]),
            (part(false, false, true, false), &[0, 4]),
            (part(false, false, false, true), &[0, 1, 2, 5]),
        ] {
            let of =
                |all: Tensor| Tensor::cat(&kept.iter().map(|&k| all.narrow(0, k, 1)).collect::<Result<Vec<_>>>()?, 0);
            let kernel = |[x, w, r]: [&Tensor; 3]| of(all(streamed_head(x, w, r, &inputs, &ITEMS, wanted.clone())?)?);
            assert_same_gradients(&tensors(), kernel, |tensors| of(dense_layer(tensors, &inputs, &*of_items)?));
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let inputs = Arc::new(inputs());
        let [x, weight, rest] = tensors();
        let wanted = all_wanted(&inputs);
        // The sum of squares is thousands of times as large as the rest.
        let sizes = Tensor::new(&[1.0, 1.0, 1.0, 1.0, 1e-4, 1.0], x.device()).unwrap().unsqueeze(1).unwrap();
        let loss = |x: &Tensor, w: &Tensor, r: &Tensor| {
            all(streamed_head(x, w, r, &inputs, &ITEMS, wanted.clone())?)?.broadcast_mul(&sizes)?.sqr()?.sum_all()
        };
        assert_finite_differences(&x, |x| loss(x, &weight, &rest));
        // Of the items at the borders of blocks, and of the weights of the inputs.
        let part = rest.narrow(0, 2090, 12).unwrap();
        let begin = rest.narrow(0, 0, 2090).unwrap();
        assert_finite_differences(&part, |part| loss(&x, &weight, &Tensor::cat(&[&begin, part], 0)?));
        let (low, high) = (weight.narrow(0, 0, 1023).unwrap(), weight.narrow(0, 1025, 1075).unwrap());
        let middle = weight.narrow(0, 1023, 2).unwrap();
        assert_finite_differences(&middle, |middle| loss(&x, &Tensor::cat(&[&low, middle, &high], 0)?, &rest));
    }

    #[test]
    fn a_masked_action_has_a_finite_gradient_and_misfits_are_refused() {
        let inputs = Arc::new(inputs());
        let [x, weight, rest] = tensors().map(|tensor| tensor.to_dtype(DType::F32).unwrap());
        let rest = candle_core::Var::from_tensor(&rest).unwrap();
        // In the first state items 0, 1024 and 2099 are masked.
        let chosen = streamed_head(&x, &weight, rest.as_tensor(), &inputs, &[1024, 0, 0], all_wanted(&inputs)).unwrap();
        let loss = (chosen.log_prob.sum_all().unwrap() + chosen.entropy.sum_all().unwrap()).unwrap();
        let gradients = loss.backward().unwrap().get(rest.as_tensor()).unwrap().to_vec1::<f32>().unwrap();
        assert!(gradients.iter().all(|g| g.is_finite()), "{:?}", &gradients[2090..]);
        let refused = |rest: &Tensor, items: &[u32]| {
            streamed_head(&x, &weight, rest, &inputs, items, all_wanted(&inputs)).is_err()
        };
        assert!(refused(rest.as_tensor(), &[0, 0]) && refused(rest.as_tensor(), &[0, 0, 2100]));
        assert!(refused(&rest.narrow(0, 0, 2100).unwrap(), &[0; 3]));
    }

    /// With more states than a tile, and more blocks than a wave.
    #[test]
    fn threads_change_no_bit() {
        let (rows, items) = (70, WAVE * ITEM_BLOCK + 10);
        let recent = (0..rows).map(|_| vec![]).collect();
        let inputs = Arc::new(ItemInputs::new(items, 1.0, vec![], recent));
        let single = |seed: u64, shape: &[usize]| Init::new(seed).normal(shape, 0.5).unwrap();
        let given = [single(1, &[rows, 2]), single(2, &[items, 2]), single(3, &[items + 2])];
        let actions: Vec<u32> = (0..rows as u32).map(|row| row * 400).collect();
        let wanted = all_wanted(&inputs);
        let of = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let [x, w, r] = given.each_ref().map(|tensor| candle_core::Var::from_tensor(tensor).unwrap());
                let found = all(streamed_head(&x, &w, &r, &inputs, &actions, wanted.clone()).unwrap()).unwrap();
                let gradients = found.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                let bits = |tensor: &Tensor| {
                    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
                };
                let of_gradients = [&x, &w, &r].map(|var| bits(gradients.get(var.as_tensor()).unwrap()));
                (bits(&found), of_gradients.map(|bits: Vec<u32>| bits))
            })
        };
        let alone: (Vec<u32>, [Vec<u32>; 3]) = of(1);
        assert!(of(2) == alone && of(16) == alone);
    }
}
