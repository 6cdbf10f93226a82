//! Scores that are made of others, and what is read of them: nothing of the size states × items is held.
//!
//! All are constants: they carry no gradient.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::item_inputs::{ITEM_BLOCK, ItemInputs};
use super::mask::MASKED_LOGIT;
use super::score_tiles::{Head, ItemScores, MASKED_BELOW, Sums, blocks, each, each_tile, items_of, sum_of_shown};
use super::streamed_head::check;
use super::{exp, row_max, with_simd, with_slices};

/// The scores of an output layer, as [`streamed_head`](super::streamed_head()) computes them.
pub struct FrozenHead {
    tensors: [Tensor; 3],
    inputs: Arc<ItemInputs>,
}

impl FrozenHead {
    /// Of `x [B, K]`, `weight [A, K]` and `rest [A + 2]`. It reads the tensors when it is asked, so that none may change before.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn new(x: &Tensor, weight: &Tensor, rest: &Tensor, inputs: &Arc<ItemInputs>) -> Result<Self> {
        check(x, weight, rest, inputs)?;
        let frozen = |tensor: &Tensor| tensor.detach().contiguous();
        Ok(Self { tensors: [frozen(x)?, frozen(weight)?, frozen(rest)?], inputs: inputs.clone() })
    }
}

impl ItemScores for FrozenHead {
    fn rows(&self) -> usize {
        self.inputs.rows()
    }
    fn items(&self) -> usize {
        self.inputs.items()
    }
    fn tile(&self, rows: Range<usize>, block: usize, out: &mut Vec<f32>) -> Result<()> {
        let [x, weight, rest] = &self.tensors;
        with_slices([x, weight, rest], |tensors| Head::new(tensors, &self.inputs).tile(rows, block, out))?
    }
}

/// `scale`·z + `offsets` of a state.
pub struct Shifted {
    /// z.
    pub of: Arc<dyn ItemScores>,
    /// Of all.
    pub scale: f32,
    /// `[B]`.
    pub offsets: Vec<f32>,
}

impl Shifted {
    /// log softmax(z/`temperature`).
    ///
    /// # Errors
    /// When the scores cannot be computed.
    pub fn log_softmax(of: Arc<dyn ItemScores>, temperature: f64) -> Result<Self> {
        let scale = (1.0 / temperature) as f32;
        let scaled = Self { offsets: vec![0.0; of.rows()], of, scale };
        let offsets = log_sum_exp(&scaled)?.into_iter().map(|log| -log as f32).collect();
        Ok(Self { offsets, ..scaled })
    }
}

impl ItemScores for Shifted {
    fn rows(&self) -> usize {
        self.of.rows()
    }
    fn items(&self) -> usize {
        self.of.items()
    }
    fn tile(&self, rows: Range<usize>, block: usize, out: &mut Vec<f32>) -> Result<()> {
        self.of.tile(rows.clone(), block, out)?;
        let width = items_of(block, self.items()).len();
        for (row, scores) in rows.zip(out.chunks_exact_mut(width)) {
            let offset = self.offsets[row];
            scores.iter_mut().for_each(|z| *z = *z * self.scale + offset);
        }
        Ok(())
    }
}

/// The scores of some states alone.
pub struct StateRows {
    of: Arc<dyn ItemScores>,
    rows: Vec<usize>,
}

impl StateRows {
    /// Of the states at `rows`, in this order.
    ///
    /// # Errors
    /// When one is out of range.
    pub fn new(of: Arc<dyn ItemScores>, rows: Vec<usize>) -> Result<Self> {
        if let Some(row) = rows.iter().find(|&&row| row >= of.rows()) {
            candle_core::bail!("state {row} of {}", of.rows());
        }
        Ok(Self { of, rows })
    }
}

impl ItemScores for StateRows {
    fn rows(&self) -> usize {
        self.rows.len()
    }
    fn items(&self) -> usize {
        self.of.items()
    }
    fn tile(&self, rows: Range<usize>, block: usize, out: &mut Vec<f32>) -> Result<()> {
        let mut own = vec![];
        out.clear();
        for &row in &self.rows[rows] {
            self.of.tile(row..row + 1, block, &mut own)?;
            out.extend_from_slice(&own);
        }
        Ok(())
    }
}

/// How two scores make one.
pub enum Pairing {
    /// The smaller one.
    Least,
    /// The first, and the second times this.
    Sum(f32),
    /// Of log f and log p: log(max(p + w·(f − p), `least`)) with w the `share`; masked where p is.
    Mixture {
        /// w.
        share: f32,
        /// The least probability of an item that may be shown.
        least: f32,
    },
    /// Of values and of the logits of a behaviour: the values where the logit of the state is at least this, else masked.
    Likely(Vec<f32>),
}

/// Of two scores of the same states and items.
pub struct Paired {
    of: [Arc<dyn ItemScores>; 2],
    by: Pairing,
}

impl Paired {
    /// Of these two.
    ///
    /// # Errors
    /// When they are of other states or items.
    pub fn new(of: [Arc<dyn ItemScores>; 2], by: Pairing) -> Result<Self> {
        let [(rows, items), (others, of_others)] = [0, 1].map(|k| (of[k].rows(), of[k].items()));
        if (rows, items) != (others, of_others) {
            candle_core::bail!("scores of {rows} × {items} and of {others} × {of_others}");
        }
        Ok(Self { of, by })
    }
}

impl ItemScores for Paired {
    fn rows(&self) -> usize {
        self.of[0].rows()
    }
    fn items(&self) -> usize {
        self.of[0].items()
    }
    fn tile(&self, rows: Range<usize>, block: usize, out: &mut Vec<f32>) -> Result<()> {
        let mut more = vec![];
        self.of[0].tile(rows.clone(), block, out)?;
        self.of[1].tile(rows.clone(), block, &mut more)?;
        let width = items_of(block, self.items()).len();
        match &self.by {
            Pairing::Least => out.iter_mut().zip(&more).for_each(|(a, &b)| *a = a.min(b)),
            Pairing::Sum(scale) => out.iter_mut().zip(&more).for_each(|(a, &b)| *a += b * scale),
            Pairing::Mixture { share, least } => out.iter_mut().zip(&more).for_each(|(frozen, &log)| {
                let own = exp(log);
                let mixed = (own + share * (exp(*frozen) - own)).max(*least).ln();
                *frozen = mixed + if log > MASKED_BELOW as f32 { 0.0 } else { MASKED_LOGIT as f32 };
            }),
            Pairing::Likely(least) => {
                for ((row, values), logits) in rows.zip(out.chunks_exact_mut(width)).zip(more.chunks_exact(width)) {
                    let allowed = |logit: f32| if logit >= least[row] { 0.0 } else { MASKED_LOGIT as f32 };
                    values.iter_mut().zip(logits).for_each(|(value, &logit)| *value += allowed(logit));
                }
            }
        }
        Ok(())
    }
}

/// log((1 − `floor`)·p + `uniform` of a state) of log p.
pub struct Floored {
    /// log p.
    pub of: Arc<dyn ItemScores>,
    /// The share that is not p's.
    pub floor: f32,
    /// That share over what may be shown, `[B]`.
    pub uniform: Vec<f32>,
}

impl ItemScores for Floored {
    fn rows(&self) -> usize {
        self.of.rows()
    }
    fn items(&self) -> usize {
        self.of.items()
    }
    fn tile(&self, rows: Range<usize>, block: usize, out: &mut Vec<f32>) -> Result<()> {
        self.of.tile(rows.clone(), block, out)?;
        let width = items_of(block, self.items()).len();
        for (row, logs) in rows.zip(out.chunks_exact_mut(width)) {
            let uniform = self.uniform[row];
            logs.iter_mut().for_each(|log| *log = ((1.0 - self.floor) * exp(*log) + uniform).ln());
        }
        Ok(())
    }
}

/// Of each state what `of` makes of the sums of its blocks.
fn sums<R>(scores: &dyn ItemScores, of: impl Fn(Sums) -> R) -> Result<Vec<R>> {
    let parts = each(scores, |_, _, z| Sums::of(z))?;
    let rows = parts.chunks_exact(blocks(scores.items()).max(1));
    Ok(rows.map(|parts| of(Sums::all(parts.iter().copied()))).collect())
}

/// log Σ e^z of each state, `[B]`.
///
/// # Errors
/// When the scores cannot be computed.
pub fn log_sum_exp(scores: &dyn ItemScores) -> Result<Vec<f64>> {
    sums(scores, |sums| sums.log_sum_exp())
}

/// The largest score of each state, `[B]`.
///
/// # Errors
/// When the scores cannot be computed.
pub fn highest(scores: &dyn ItemScores) -> Result<Vec<f32>> {
    let parts = each(scores, |_, _, z| {
        with_simd(
            #[inline(always)]
            || row_max(z),
        )
    })?;
    let rows = parts.chunks_exact(blocks(scores.items()).max(1));
    Ok(rows.map(|parts| parts.iter().copied().fold(f32::NEG_INFINITY, f32::max)).collect())
}

/// Of each state the mean of the scores of what may be shown, `[B]`.
///
/// # Errors
/// When the scores cannot be computed.
pub fn shown_means(scores: &dyn ItemScores) -> Result<Vec<f64>> {
    let parts = each(scores, |_, _, z| (sum_of_shown(z, |z| z), sum_of_shown(z, |_| 1.0)))?;
    let rows = parts.chunks_exact(blocks(scores.items()).max(1));
    let mean = |parts: &[(f64, f64)]| {
        let (sum, count) = parts.iter().fold((0.0, 0.0), |all, part| (all.0 + part.0, all.1 + part.1));
        sum / count
    };
    Ok(rows.map(mean).collect())
}

/// How many scores of each state are at least its `least [B]`, `[B]`.
///
/// # Errors
/// When the scores cannot be computed.
pub fn counts_from(scores: &dyn ItemScores, least: &[f32]) -> Result<Vec<usize>> {
    let parts = each(scores, |row, _, z| z.iter().filter(|&&z| z >= least[row]).count())?;
    Ok(parts.chunks_exact(blocks(scores.items()).max(1)).map(|parts| parts.iter().sum()).collect())
}

/// Σ π·v and −Σ π log π of each state, with π the softmax of `scores` and v the `values`, `[B]` both.
///
/// # Errors
/// When they are of other states or items.
pub fn expectations(scores: &dyn ItemScores, values: &dyn ItemScores) -> Result<Vec<[f32; 2]>> {
    if (scores.rows(), scores.items()) != (values.rows(), values.items()) {
        candle_core::bail!("values of other states or items than the scores");
    }
    let items = scores.items();
    let parts = each_tile(scores, |rows, block, z| {
        let (mut of_items, width) = (vec![], items_of(block, items).len());
        values.tile(rows, block, &mut of_items)?;
        let each = z.chunks_exact(width).zip(of_items.chunks_exact(width));
        Ok(each.map(|(z, v)| Sums::of_values(z, v)).collect())
    })?;
    let rows = parts.chunks_exact(blocks(items).max(1));
    let of = |parts: &[Sums]| {
        let all = Sums::all(parts.iter().copied());
        [all.expected() as f32, all.entropy() as f32]
    };
    Ok(rows.map(of).collect())
}

/// The scores of one item of each state: `actions [B]` → `[B]`.
///
/// # Errors
/// When there is not one for each state, or one is out of range.
pub fn picked(scores: &dyn ItemScores, actions: &[u32]) -> Result<Vec<f32>> {
    if actions.len() != scores.rows() || actions.iter().any(|&action| action as usize >= scores.items()) {
        candle_core::bail!("{} items for {} states of {}, or one beyond", actions.len(), scores.rows(), scores.items());
    }
    let mut tile = vec![];
    let mut of = |(row, &action): (usize, &u32)| {
        scores.tile(row..row + 1, action as usize / ITEM_BLOCK, &mut tile)?;
        Ok(tile[action as usize % ITEM_BLOCK])
    };
    actions.iter().enumerate().map(&mut of).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{D, Device};

    use super::super::item_inputs::add_item_inputs;
    use super::super::item_inputs::tests::inputs;
    use super::super::streamed_choice::item_choice;
    use super::*;
    use crate::nn::Init;

    /// Three states over 2,100 items, and the same as a tensor.
    fn frozen(seed: u64) -> (Arc<dyn ItemScores>, Tensor) {
        let normal = |seed: u64, shape: &[usize]| Init::new(seed).normal(shape, 1.0).unwrap();
        let weights = Tensor::new(&[0.01_f32, -0.02], &Device::Cpu).unwrap();
        let (x, weight, bias) = (normal(seed, &[3, 5]), normal(seed + 1, &[2100, 5]), normal(seed + 2, &[2100]));
        let rest = Tensor::cat(&[&bias, &weights], 0).unwrap();
        let scores = x.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
        let dense = add_item_inputs(&scores, &weights, &Arc::new(inputs())).unwrap();
        (Arc::new(FrozenHead::new(&x, &weight, &rest, &Arc::new(inputs())).unwrap()), dense)
    }

    fn all(scores: &dyn ItemScores) -> Vec<Vec<f32>> {
        let mut rows = vec![vec![]; scores.rows()];
        for block in 0..3 {
            let mut tile = vec![];
            scores.tile(0..3, block, &mut tile).unwrap();
            let width = tile.len() / 3;
            rows.iter_mut().zip(tile.chunks_exact(width)).for_each(|(row, part)| row.extend(part));
        }
        rows
    }

    fn close(found: impl IntoIterator<Item = f32>, wanted: impl IntoIterator<Item = f32>) {
        let (found, wanted): (Vec<f32>, Vec<f32>) = (found.into_iter().collect(), wanted.into_iter().collect());
        assert_eq!(found.len(), wanted.len());
        for (k, (a, b)) in found.into_iter().zip(wanted).enumerate() {
            assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{k}: {a} for {b}");
        }
    }

    fn same(scores: &dyn ItemScores, dense: &Tensor) {
        close(all(scores).concat(), dense.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }

    #[test]
    fn scores_of_scores_are_the_composed_ones() {
        let ((a, dense_a), (b, dense_b)) = (frozen(1), frozen(10));
        same(&*a, &dense_a);
        let shifted = Shifted { of: a.clone(), scale: 0.5, offsets: vec![1.0, -2.0, 0.0] };
        let offsets = Tensor::new(&[[1.0_f32], [-2.0], [0.0]], &Device::Cpu).unwrap();
        same(&shifted, &(&dense_a * 0.5).unwrap().broadcast_add(&offsets).unwrap());
        let paired = |by| Paired::new([a.clone(), b.clone()], by).unwrap();
        same(&paired(Pairing::Least), &dense_a.minimum(&dense_b).unwrap());
        same(&paired(Pairing::Sum(0.25)), &(&dense_a + (&dense_b * 0.25).unwrap()).unwrap());
        let log = |scores: &Arc<dyn ItemScores>, temperature| -> Arc<dyn ItemScores> {
            Arc::new(Shifted::log_softmax(scores.clone(), temperature).unwrap())
        };
        let softmax = |dense: &Tensor| candle_nn::ops::softmax(dense, D::Minus1).unwrap();
        let floored = Floored { of: log(&a, 2.0), floor: 0.1, uniform: vec![0.1 / 2097.0, 0.1 / 2100.0, 0.1 / 2099.0] };
        let uniform = Tensor::new(&[[0.1_f32 / 2097.0], [0.1 / 2100.0], [0.1 / 2099.0]], &Device::Cpu).unwrap();
        let own = (softmax(&(&dense_a / 2.0).unwrap()) * 0.9).unwrap();
        same(&floored, &own.broadcast_add(&uniform).unwrap().log().unwrap());
        let by = Pairing::Mixture { share: 0.25, least: 1e-30 };
        let mixed = Paired::new([log(&a, 1.0), log(&b, 1.0)], by).unwrap();
        let dense = ((softmax(&dense_a) * 0.25).unwrap() + (softmax(&dense_b) * 0.75).unwrap()).unwrap();
        let found = all(&mixed);
        close(found.iter().flatten().map(|log| log.exp()), dense.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        assert!(found[0][1024] < MASKED_BELOW as f32 && found[1].iter().all(|&log| log > -70.0));
    }

    #[test]
    fn what_is_likely_is_what_the_tensors_say() {
        let ((values, dense), (behaviour, logits)) = (frozen(1), frozen(10));
        for threshold in [0.3_f64, 0.01] {
            let least: Vec<f32> =
                highest(&*behaviour).unwrap().into_iter().map(|high| high + threshold.ln() as f32).collect();
            let counts = counts_from(&*behaviour, &least).unwrap();
            let likely = Paired::new([values.clone(), behaviour.clone()], Pairing::Likely(least)).unwrap();
            let allowed = crate::nn::policy::bcq_policy::likely_actions(&logits, threshold).unwrap();
            let wanted = crate::nn::kernels::mask_logits(&dense, &allowed).unwrap();
            let best = wanted.argmax(1).unwrap().to_vec1::<u32>().unwrap();
            assert_eq!(item_choice(&likely, None).unwrap(), best);
            close(counts.iter().map(|&count| count as f32), allowed.sum(1).unwrap().to_vec1::<f32>().unwrap());
            assert!(counts.iter().all(|&count| count > 0 && count < 2100), "{counts:?}");
        }
    }

    #[test]
    fn statistics_are_those_of_the_tensors() {
        let ((a, dense_a), (b, dense_b)) = (frozen(1), frozen(10));
        let softmax = candle_nn::ops::softmax(&dense_a, D::Minus1).unwrap();
        let expected = (&softmax * &dense_b).unwrap().sum(1).unwrap().to_vec1::<f32>().unwrap();
        let entropy = crate::nn::action_log_prob(&dense_a, &[0; 3]).unwrap().entropy.to_vec1::<f32>().unwrap();
        let found = expectations(&*a, &*b).unwrap();
        close(found.iter().map(|row| row[0]), expected);
        close(found.iter().map(|row| row[1]), entropy);
        let actions = [2099, 1023, 1024];
        let rows = dense_a.to_vec2::<f32>().unwrap();
        let wanted = rows.iter().zip(actions).map(|(row, action)| row[action as usize]);
        close(picked(&*a, &actions).unwrap(), wanted);
        let highs = rows.iter().map(|row| row.iter().copied().fold(f32::MIN, f32::max));
        close(highest(&*a).unwrap(), highs);
        for (row, mean) in rows.iter().zip(shown_means(&*a).unwrap()) {
            let shown: Vec<f64> = row.iter().map(|&z| f64::from(z)).filter(|&z| z > MASKED_BELOW).collect();
            assert!((mean - shown.iter().sum::<f64>() / shown.len() as f64).abs() < 1e-5);
        }
        let log = Shifted::log_softmax(a.clone(), 1.0).unwrap();
        assert!(log_sum_exp(&log).unwrap().iter().all(|log| log.abs() < 1e-5));
        let some = StateRows::new(a.clone(), vec![2, 0, 2]).unwrap();
        assert_eq!(all(&some), [all(&*a)[2].clone(), all(&*a)[0].clone(), all(&*a)[2].clone()]);
        assert!(StateRows::new(a.clone(), vec![3]).is_err());
        assert!(picked(&*a, &[0, 0]).is_err() && picked(&*a, &[0, 0, 2100]).is_err());
    }
}
