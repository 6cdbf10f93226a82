//! Inputs of the output layer that are 0 for most items, as lists: what was just shown, what is similar to it, and what is masked.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::mask::MASKED_LOGIT;
use super::{Float, PART, contiguous, with_slices};

/// Items of a block of the catalogue: of a list, and of the streamed output layer.
pub const ITEM_BLOCK: usize = 1024;

/// The items that are similar to one, block by block, ascending.
#[derive(Debug, Default, PartialEq)]
pub struct SimilarItems {
    /// Of each, its place in its block.
    offsets: Vec<u16>,
    /// Of each, its similarity.
    values: Vec<f32>,
    /// Where each block ends.
    ends: Vec<u32>,
}

impl SimilarItems {
    /// Adds an item to the last block.
    pub fn push(&mut self, offset: usize, similarity: f32) {
        self.offsets.push(offset as u16);
        self.values.push(similarity);
    }

    /// Begins the next block.
    pub fn end_block(&mut self) {
        self.ends.push(self.offsets.len() as u32);
    }

    /// The places and similarities of a block.
    #[must_use]
    pub fn block(&self, block: usize) -> (&[u16], &[f32]) {
        let begin = if block == 0 { 0 } else { self.ends[block - 1] as usize };
        let range = begin..self.ends[block] as usize;
        (&self.offsets[range.clone()], &self.values[range])
    }

    /// Its size in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.offsets.len() * 6 + self.ends.len() * 4
    }
}

/// The inputs of B states.
pub struct ItemInputs {
    items: usize,
    /// A unit of a feature.
    scale: f32,
    /// What is similar to the distinct items that were just shown.
    lists: Vec<Arc<SimilarItems>>,
    /// Of each state, the items just shown with the places of their lists.
    recent: Vec<Vec<(u32, u32)>>,
    /// Of each state, what is masked, ascending and distinct; empty where nothing is.
    masked: Vec<Vec<u32>>,
}

impl ItemInputs {
    /// Of states that show `recent [B, …]`, pairs of an item and the place of its list, in a catalogue of `items`.
    #[must_use]
    pub fn new(items: usize, scale: f32, lists: Vec<Arc<SimilarItems>>, recent: Vec<Vec<(u32, u32)>>) -> Self {
        Self { items, scale, lists, recent, masked: vec![] }
    }

    /// The same with these masks, of each state its own, ascending and distinct.
    #[must_use]
    pub fn with_masks(&self, masked: Vec<Vec<u32>>) -> Self {
        Self { items: self.items, scale: self.scale, lists: self.lists.clone(), recent: self.recent.clone(), masked }
    }

    /// B.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.recent.len()
    }

    /// I.
    #[must_use]
    pub fn items(&self) -> usize {
        self.items
    }

    /// How many items may be shown in the state at `row`.
    #[must_use]
    pub fn shown(&self, row: usize) -> usize {
        self.items - self.masked.get(row).map_or(0, Vec::len)
    }

    /// Adds to `scores`, those of a block of items in the state at `row`: `weights` of what was shown and of what is similar, and masks.
    pub(super) fn add<T: Float>(&self, row: usize, block: usize, weights: [T; 2], scores: &mut [T]) {
        let unit = T::from_f64(f64::from(self.scale));
        let weights = weights.map(|weight| weight * unit);
        for &(item, list) in &self.recent[row] {
            if item as usize / ITEM_BLOCK == block {
                scores[item as usize % ITEM_BLOCK] += weights[0];
            }
            let (offsets, values) = self.lists[list as usize].block(block);
            for (&offset, &value) in offsets.iter().zip(values) {
                scores[offset as usize] += weights[1] * T::from_f64(f64::from(value));
            }
        }
        for &item in self.masked_in(row, block) {
            scores[item as usize % ITEM_BLOCK] += T::from_f64(MASKED_LOGIT);
        }
    }

    /// Adds to `sums` the gradients of both weights, from those of the scores of a block.
    pub(super) fn add_gradients<T: Float>(&self, row: usize, block: usize, of_scores: &[T], sums: &mut [T; 2]) {
        let mut own = [T::zero(); 2];
        for &(item, list) in &self.recent[row] {
            if item as usize / ITEM_BLOCK == block {
                own[0] += of_scores[item as usize % ITEM_BLOCK];
            }
            let (offsets, values) = self.lists[list as usize].block(block);
            for (&offset, &value) in offsets.iter().zip(values) {
                own[1] += of_scores[offset as usize] * T::from_f64(f64::from(value));
            }
        }
        let unit = T::from_f64(f64::from(self.scale));
        sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own * unit);
    }

    /// What is masked of a block in the state at `row`.
    fn masked_in(&self, row: usize, block: usize) -> &[u32] {
        let Some(masked) = self.masked.get(row) else { return &[] };
        let before = |item: usize| masked.partition_point(|&masked| (masked as usize) < item);
        &masked[before(block * ITEM_BLOCK)..before((block + 1) * ITEM_BLOCK)]
    }

    /// `[B, I]`: 1 where an item may be shown, else 0; `None` where all may.
    #[must_use]
    pub fn action_mask(&self) -> Option<Vec<f32>> {
        let all = |_: &Vec<Vec<u32>>| {
            let mut allowed = vec![1.0; self.rows() * self.items];
            for (row, masked) in allowed.chunks_exact_mut(self.items.max(1)).zip(&self.masked) {
                masked.iter().for_each(|&item| row[item as usize] = 0.0);
            }
            allowed
        };
        Some(&self.masked).filter(|masked| !masked.is_empty()).map(all)
    }
}

/// `scores [B, I]` with what [`ItemInputs`] adds to them by `weights [2]`.
///
/// # Errors
/// When the shapes do not fit, or the scores are not on the CPU.
pub fn add_item_inputs(scores: &Tensor, weights: &Tensor, inputs: &Arc<ItemInputs>) -> Result<Tensor> {
    if scores.dims() != [inputs.rows(), inputs.items] || weights.dims() != [2] {
        candle_core::bail!("{:?} scores for {} states of {} items", scores.dims(), inputs.rows(), inputs.items);
    }
    scores.contiguous()?.apply_op2(&weights.contiguous()?, AddItemInputs(inputs.clone()))
}

struct AddItemInputs(Arc<ItemInputs>);

impl AddItemInputs {
    fn forward<T: Float>(&self, scores: &[T], weights: &[T]) -> CpuStorage {
        let (width, weights) = (self.0.items.max(1), [weights[0], weights[1]]);
        let mut found = scores.to_vec();
        let rows = found.par_chunks_exact_mut(width).enumerate().with_min_len((PART / width).max(1));
        rows.for_each(|(row, scores)| {
            for (block, scores) in scores.chunks_mut(ITEM_BLOCK).enumerate() {
                self.0.add(row, block, weights, scores);
            }
        });
        T::to_cpu_storage_owned(found)
    }

    fn backward<T: Float>(&self, gradient: &Tensor) -> Result<Tensor> {
        let width = self.0.items.max(1);
        let of_rows: Vec<[T; 2]> = with_slices::<T, _, 1>([gradient], |[gradient]| {
            let rows = gradient.par_chunks_exact(width).enumerate().with_min_len((PART / width).max(1));
            let row = |(row, of_scores): (usize, &[T])| {
                let mut sums = [T::zero(); 2];
                for (block, of_scores) in of_scores.chunks(ITEM_BLOCK).enumerate() {
                    self.0.add_gradients(row, block, of_scores, &mut sums);
                }
                sums
            };
            rows.map(row).collect()
        })?;
        let sum = of_rows.iter().fold([T::zero(); 2], |sum, row| [sum[0] + row[0], sum[1] + row[1]]);
        Tensor::from_vec(sum.to_vec(), 2, gradient.device())
    }
}

impl CustomOp2 for AddItemInputs {
    fn name(&self) -> &'static str {
        "add-item-inputs"
    }

    fn cpu_fwd(
        &self,
        scores: &CpuStorage,
        scores_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let found = match scores {
            CpuStorage::F64(_) => {
                self.forward::<f64>(contiguous(scores, scores_layout)?, contiguous(weights, weights_layout)?)
            }
            _ => self.forward::<f32>(contiguous(scores, scores_layout)?, contiguous(weights, weights_layout)?),
        };
        Ok((found, scores_layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_weights = match gradient.dtype() {
            DType::F64 => self.backward::<f64>(gradient)?,
            _ => self.backward::<f32>(gradient)?,
        };
        Ok((Some(gradient.clone()), Some(of_weights)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::assert_same_gradients;

    /// Three states over 2,100 items: repeated recent items at the ends of blocks, masks with and without, and none at all.
    pub fn inputs() -> ItemInputs {
        let list = |of: u64| {
            let mut list = SimilarItems::default();
            for block in 0..3 {
                for offset in
                    (0..ITEM_BLOCK.min(2100 - block * ITEM_BLOCK)).filter(|o| (*o as u64 * 7 + of).is_multiple_of(31))
                {
                    list.push(offset, 1.0 / (1 + offset % 5) as f32);
                }
                list.end_block();
            }
            Arc::new(list)
        };
        let recent = vec![vec![(1023, 0), (1024, 1), (1023, 0)], vec![(2099, 1)], vec![]];
        let inputs = ItemInputs::new(2100, 100.0, vec![list(1), list(2)], recent);
        inputs.with_masks(vec![vec![0, 1024, 2099], vec![], vec![1023]])
    }

    /// The features `[B·I, 2]` and the mask `[B, I]` of the same inputs.
    pub fn dense(inputs: &ItemInputs) -> (Tensor, Tensor) {
        let mut features = vec![0.0_f64; inputs.rows() * inputs.items * 2];
        for (row, features) in features.chunks_exact_mut(inputs.items * 2).enumerate() {
            for &(item, list) in &inputs.recent[row] {
                features[2 * item as usize] += 100.0;
                for block in 0..inputs.items.div_ceil(ITEM_BLOCK) {
                    let (offsets, values) = inputs.lists[list as usize].block(block);
                    for (&offset, &value) in offsets.iter().zip(values) {
                        features[2 * (block * ITEM_BLOCK + offset as usize) + 1] += 100.0 * f64::from(value);
                    }
                }
            }
        }
        let shape = (inputs.rows() * inputs.items, 2);
        let mask =
            Tensor::from_vec(inputs.action_mask().unwrap(), (inputs.rows(), inputs.items), &Device::Cpu).unwrap();
        (Tensor::from_vec(features, shape, &Device::Cpu).unwrap(), mask.to_dtype(DType::F64).unwrap())
    }

    #[test]
    fn lists_add_what_dense_features_and_masks_add() {
        let inputs = Arc::new(inputs());
        let (features, mask) = dense(&inputs);
        let normal =
            |seed: u64, shape: &[usize]| Init::new(seed).normal(shape, 1.0).unwrap().to_dtype(DType::F64).unwrap();
        let composed = |[scores, weights]: [&Tensor; 2]| {
            let added = features.matmul(&weights.unsqueeze(1)?)?.reshape(scores.shape())?;
            crate::nn::kernels::mask_logits(&(scores + added)?, &mask)
        };
        assert_same_gradients(
            &[normal(1, &[3, 2100]), normal(2, &[2])],
            |[scores, weights]| add_item_inputs(scores, weights, &inputs),
            composed,
        );
        assert!(add_item_inputs(&normal(1, &[2, 2100]), &normal(2, &[2]), &inputs).is_err());
        assert!(add_item_inputs(&normal(1, &[3, 2100]), &normal(2, &[3]), &inputs).is_err());
    }
}
