//! A softmax over a part of the catalogue: a sample of it (sampled softmax), or a set of each state's own.
//!
//! log π̂(a|s) = z_a − log q_a − log Σ_{i ∈ {a} ∪ S} e^(z_i − log q_i), S drawn from q: importance sampling of the sum by a proposal
//! q (Jean, Cho, Memisevic and Bengio 2015, arXiv 1412.2007, section 3; the correction is what Yi et al. 2019, RecSys, eq. 5, call that
//! for sampling bias). All states of a batch share S; draws that equal the
//! positive of a state, or are masked in it, do not count. At convergence the scores are those of the full softmax.
//!
//! Over a set C(s) nothing is corrected: log π̂(a|s) = z_a − log Σ_{i ∈ {a} ∪ C(s)} e^z_i tells a apart from C(s), and says nothing of
//! items that are in no set.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::nn::kernels::PART;

/// q, over I items.
pub struct Proposal {
    /// Σ of q up to each, not divided by all of it.
    sums: Vec<u64>,
    /// Whether log q is subtracted from the scores.
    corrected: bool,
}

impl Proposal {
    /// q proportional to the smoothed counts of the items in `positives`: (1 + n_i)/(I + n). Where it is not `corrected`, the scores at
    /// convergence are those of the full softmax less log q.
    #[must_use]
    pub fn new(items: usize, positives: &[u32], corrected: bool) -> Self {
        let mut counts = vec![1_u64; items];
        positives.iter().for_each(|&item| counts[item as usize] += 1);
        let mut sum = 0;
        for count in &mut counts {
            sum += *count;
            *count = sum;
        }
        Self { sums: counts, corrected }
    }

    /// What is subtracted from the score of an item.
    fn log(&self, item: u32) -> f32 {
        if !self.corrected {
            return 0.0;
        }
        let before = if item > 0 { self.sums[item as usize - 1] } else { 0 };
        let (own, all) = (self.sums[item as usize] - before, self.sums.last().copied().unwrap_or(1));
        (own as f64 / all as f64).ln() as f32
    }

    /// `negatives` draws, each from the whole of q, beside the items `positives [B]`.
    ///
    /// # Errors
    /// When the tensors cannot be made.
    pub fn candidates(&self, positives: &[u32], negatives: usize, draw: &mut ChaCha8Rng) -> Result<Candidates> {
        let all = self.sums.last().copied().unwrap_or(1);
        let drawn = (0..negatives).map(|_| {
            let place = draw.random_range(0..all);
            self.sums.partition_point(|&sum| sum <= place) as u32
        });
        let items: Vec<u32> = drawn.chain(positives.iter().copied()).collect();
        let log_proposal = Tensor::from_iter(items.iter().map(|&item| self.log(item)), &Device::Cpu)?;
        Ok(Candidates { items, states: positives.len(), log_proposal, sets: None })
    }
}

/// C = N + B candidates: N draws or all items of the states' sets, then the positive of each of B states.
pub struct Candidates {
    /// `[C]`.
    pub items: Vec<u32>,
    /// B.
    pub states: usize,
    /// What is subtracted from the score of each, `[C]`: log q where it is corrected, else 0.
    pub log_proposal: Tensor,
    /// The items that count in each state, in ascending order; without it all do.
    pub sets: Option<Vec<Vec<u32>>>,
}

impl Candidates {
    /// The items of one set a state beside the items `positives [B]`, of which there is one a set.
    ///
    /// # Errors
    /// When the tensor cannot be made.
    pub fn of_sets<'s>(sets: impl Iterator<Item = &'s [u32]>, positives: &[u32]) -> Result<Self> {
        let ascending = |mut items: Vec<u32>| {
            items.sort_unstable();
            items.dedup();
            items
        };
        let sets: Vec<Vec<u32>> = sets.map(|set| ascending(set.to_vec())).collect();
        let mut items = ascending(sets.concat());
        items.extend(positives);
        let log_proposal = Tensor::zeros(items.len(), DType::F32, &Device::Cpu)?;
        Ok(Self { items, states: positives.len(), log_proposal, sets: Some(sets) })
    }

    /// The columns of the positives, `[B]`.
    #[must_use]
    pub fn target_columns(&self) -> Vec<u32> {
        let drawn = self.items.len() - self.states;
        (drawn..self.items.len()).map(|column| column as u32).collect()
    }

    /// `[B, C]`: 1 for the positive of a state and for others that are neither that item nor `masked` in the state, and in its set.
    ///
    /// # Errors
    /// When the tensor cannot be made.
    pub fn action_mask<'m>(&self, masked: impl Fn(usize) -> &'m [u32] + Sync) -> Result<Tensor> {
        let (drawn, own) = self.items.split_at(self.items.len() - self.states);
        let width = self.items.len().max(1);
        let mut allowed = vec![0.0_f32; self.states * self.items.len()];
        let rows = allowed.par_chunks_exact_mut(width).zip(own).enumerate();
        rows.with_min_len((PART / width).max(1)).for_each(|(row, (allowed, positives))| {
            let counts = |item: &u32| {
                item != positives && self.sets.as_ref().is_none_or(|sets| sets[row].binary_search(item).is_ok())
            };
            allowed.iter_mut().zip(drawn).for_each(|(allowed, item)| *allowed = f32::from(counts(item)));
            let mut masked = masked(row).to_vec();
            masked.sort_unstable();
            if !masked.is_empty() {
                let draws = allowed.iter_mut().zip(drawn);
                draws.filter(|(_, item)| masked.binary_search(item).is_ok()).for_each(|(allowed, _)| *allowed = 0.0);
            }
            allowed[drawn.len() + row] = 1.0;
        });
        Ok(Tensor::from_vec(allowed, (self.states, self.items.len()), &Device::Cpu)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::rng;

    #[test]
    fn draws_follow_the_proposal_with_its_log_probabilities() {
        let proposal = Proposal::new(4, &[1, 1, 1, 3], true);
        let candidates = proposal.candidates(&[2, 1], 8000, &mut rng(&[1])).unwrap();
        assert_eq!((candidates.items.len(), &candidates.items[8000..]), (8002, &[2, 1][..]));
        let logs = candidates.log_proposal.to_vec1::<f32>().unwrap();
        for (item, q) in [(0, 1.0 / 8.0), (1, 4.0 / 8.0), (2, 1.0 / 8.0), (3, 2.0 / 8.0)] {
            let drawn = candidates.items[..8000].iter().filter(|&&other| other == item).count();
            assert!((drawn as f64 / 8000.0 - q).abs() < 0.02, "{item}: {drawn}");
            let at = candidates.items.iter().position(|&other| other == item).unwrap();
            assert!((f64::from(logs[at]) - q.ln()).abs() < 1e-6);
        }
        let plain = Proposal::new(4, &[1, 1, 1, 3], false).candidates(&[2, 1], 8000, &mut rng(&[1])).unwrap();
        assert!(plain.items == candidates.items && plain.log_proposal.to_vec1::<f32>().unwrap() == [0.0; 8002]);
    }

    #[test]
    fn a_positive_counts_once_and_masked_draws_do_not() {
        let items = vec![0, 1, 2, 0, /* positives */ 1, 0];
        let log_proposal = Tensor::zeros(6, DType::F32, &Device::Cpu).unwrap();
        let candidates = Candidates { items, states: 2, log_proposal, sets: None };
        assert_eq!(candidates.target_columns(), [4, 5]);
        let allowed =
            candidates.action_mask(|row| if row == 0 { &[2] } else { &[] }).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(allowed, [[1.0, 0.0, 0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]]);
    }

    #[test]
    fn of_sets_each_state_counts_its_own() {
        let sets: [&[u32]; 2] = [&[5, 2, 2], &[7, 5]];
        let candidates = Candidates::of_sets(sets.into_iter(), &[2, 9]).unwrap();
        assert_eq!((&candidates.items[..], candidates.target_columns()), (&[2, 5, 7, 2, 9][..], vec![3, 4]));
        assert_eq!(candidates.log_proposal.to_vec1::<f32>().unwrap(), [0.0; 5]);
        let allowed =
            candidates.action_mask(|row| if row == 0 { &[] } else { &[7] }).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(allowed, [[0.0, 1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0, 1.0]]);
    }
}
