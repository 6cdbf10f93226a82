//! States from flat arrays: what the output layer reads of each item, dense for a catalogue with a table of similarities, else as lists.

use std::sync::Arc;

use anyhow::{Result, ensure};
use candle_core::Tensor;
use rayon::prelude::*;

use crate::nn::encoders::item_similarity::ItemSimilarity;
use crate::nn::encoders::similarity_vectors::SimilarityVectors;
use crate::nn::encoders::state_batch::{FEATURE_SCALE, OfItems, StateBatch};
use crate::nn::kernels::{ItemInputs, PART};
use crate::nn::{ActorCritic, check_ids};

impl ActorCritic {
    /// States from flat arrays: `user [B]`, `recent [B·W]` newest first with I for padding, their `rewards [B·W]`,
    /// `progress [B]`.
    pub fn states(&self, user: &[u32], recent: &[u32], rewards: &[f32], progress: &[f32]) -> Result<StateBatch> {
        let items = self.config().items;
        self.build_states(user, recent, rewards, progress, || match self.similarity() {
            ItemSimilarity::Table(table) => {
                let add = |item: u32, row: &mut [[f32; 2]]| {
                    row[item as usize][0] += FEATURE_SCALE;
                    let similarities = &table[item as usize * items..][..items];
                    row.iter_mut()
                        .zip(similarities)
                        .for_each(|(pair, similarity)| pair[1] += FEATURE_SCALE * similarity);
                };
                self.dense_features(recent, items, add)
            }
            ItemSimilarity::Vectors(vectors) if self.device().is_cpu() => {
                Ok(OfItems::Lists(Arc::new(self.item_inputs(vectors, recent)?)))
            }
            ItemSimilarity::Vectors(vectors) => {
                let all = vectors.gathered(&(0..items as u32).collect::<Vec<_>>());
                self.dense_features(recent, items, |item, row| {
                    row[item as usize][0] += FEATURE_SCALE;
                    vectors.add_similarities(item, &all, FEATURE_SCALE, row);
                })
            }
        })
    }

    /// States for [`ActorCritic::sampled_log_prob`], with features and masks of these candidates only.
    pub fn states_for_candidates(
        &self,
        user: &[u32],
        recent: &[u32],
        rewards: &[f32],
        progress: &[f32],
        candidates: &[u32],
        allowed: Tensor,
    ) -> Result<StateBatch> {
        let items = self.config().items;
        check_ids("candidate", candidates, items)?;
        let count = |item: u32, row: &mut [[f32; 2]]| {
            for (pair, &candidate) in row.iter_mut().zip(candidates) {
                pair[0] += if candidate == item { FEATURE_SCALE } else { 0.0 };
            }
        };
        let mut states = self.build_states(user, recent, rewards, progress, || match self.similarity() {
            ItemSimilarity::Table(table) => self.dense_features(recent, candidates.len(), |item, row| {
                count(item, row);
                let similarities = &table[item as usize * items..][..items];
                for (pair, &candidate) in row.iter_mut().zip(candidates) {
                    pair[1] += FEATURE_SCALE * similarities[candidate as usize];
                }
            }),
            ItemSimilarity::Vectors(vectors) => {
                let gathered = vectors.gathered(candidates);
                self.dense_features(recent, candidates.len(), |item, row| {
                    count(item, row);
                    vectors.add_similarities(item, &gathered, FEATURE_SCALE, row);
                })
            }
        })?;
        if let OfItems::Dense { action_mask, .. } = &mut states.of_items {
            *action_mask = Some(allowed.to_device(self.device())?);
        }
        Ok(states)
    }

    /// States with what `of_items` makes of the checked items.
    fn build_states(
        &self,
        user: &[u32],
        recent: &[u32],
        rewards: &[f32],
        progress: &[f32],
        of_items: impl FnOnce() -> Result<OfItems>,
    ) -> Result<StateBatch> {
        let (batch, items, window) = (user.len(), self.config().items, self.config().window);
        ensure!(recent.len() == batch * window, "{} recent items for {batch} states of {window}", recent.len());
        ensure!(rewards.len() == batch * window, "{} rewards for {batch} states of {window}", rewards.len());
        check_ids("user", user, self.config().users)?;
        check_ids("item", recent, items + 1)?;
        let device = self.device();
        Ok(StateBatch {
            user: Tensor::from_slice(user, batch, device)?,
            recent: Tensor::from_slice(recent, (batch, window), device)?,
            rewards: Tensor::from_slice(rewards, (batch, window), device)?,
            mask: Tensor::from_iter(recent.iter().map(|&item| f32::from((item as usize) < items)), device)?
                .reshape((batch, window))?,
            progress: Tensor::from_slice(progress, (batch, 1), device)?,
            of_items: of_items()?,
        })
    }

    /// Features of `columns` items, unmasked: `add(item, row)` adds those of a recent item to `row [columns]`.
    fn dense_features(
        &self,
        recent: &[u32],
        columns: usize,
        add: impl Fn(u32, &mut [[f32; 2]]) + Sync,
    ) -> Result<OfItems> {
        let (window, items) = (self.config().window, self.config().items);
        let batch = recent.len() / window;
        let mut features = vec![[0.0_f32; 2]; batch * columns];
        let rows = features.par_chunks_exact_mut(columns.max(1)).zip(recent.par_chunks_exact(window));
        rows.with_min_len((PART / columns.max(1)).max(1)).for_each(|(row, recent)| {
            recent.iter().filter(|&&item| (item as usize) < items).for_each(|&item| add(item, row));
        });
        let similarity_features = Tensor::from_vec(features.into_flattened(), (batch * columns, 2), self.device())?;
        Ok(OfItems::Dense { similarity_features, action_mask: None })
    }

    /// The same as lists.
    fn item_inputs(&self, vectors: &SimilarityVectors, recent: &[u32]) -> Result<ItemInputs> {
        let known = |&item: &u32| (item as usize) < self.config().items;
        let mut distinct: Vec<u32> = recent.iter().copied().filter(known).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let place = |item: u32| (item, distinct.partition_point(|&other| other < item) as u32);
        let of_row = |row: &[u32]| row.iter().copied().filter(known).map(place).collect();
        let rows = recent.chunks_exact(self.config().window).map(of_row).collect();
        Ok(ItemInputs::new(self.config().items, FEATURE_SCALE, vectors.lists(&distinct)?, rows))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::artifact::Array;
    use crate::nn::optim::gradient_check::assert_every_parameter_learns;
    use crate::nn::policy::action_log_prob::action_log_prob;
    use crate::nn::policy::actor_critic::{ActorCriticConfig, ActorCriticOutput};
    use crate::nn::policy::sampled_softmax::Proposal;
    use crate::nn::{ActionLogProb, Encoder, Init, TABLE_ITEMS, rng};

    const ITEMS: usize = TABLE_ITEMS + 100;

    /// A catalogue without a table.
    fn large() -> ActorCritic {
        let config = ActorCriticConfig {
            users: 20,
            items: ITEMS,
            width: 3,
            window: 3,
            hidden_size: 4,
            encoder: Encoder::Window,
            prior_scale: 1.0,
            similarity_penalty: 2.0,
            similar_fraction: 0.02,
        };
        let array = |seed: u64, shape: [usize; 2]| {
            Array::new(&shape, Init::new(seed).normal(&shape, 1.0).unwrap().flatten_all().unwrap().to_vec1().unwrap())
        };
        ActorCritic::new(config, &array(1, [20, 3]), &array(2, [ITEMS, 3]), 3).unwrap()
    }

    #[test]
    fn a_file_with_another_bandwidth_than_a_number_above_0_is_refused() {
        let file = large().export().unwrap();
        assert!(ActorCritic::import(&file).is_ok());
        for wrong in [vec![0.0], vec![-1.0], vec![f32::NAN], vec![f32::INFINITY], vec![], vec![1.0, 1.0]] {
            let mut damaged = file.clone();
            damaged.arrays.insert("table.similarity_bandwidth".to_owned(), Array::new(&[wrong.len()], wrong));
            let error = ActorCritic::import(&damaged).err().unwrap().to_string();
            assert!(error.contains("wanted one number above 0"), "{error}");
        }
    }

    const RECENT: [u32; 6] = [5, 1030, 5, 8000, ITEMS as u32, ITEMS as u32];

    fn states(network: &ActorCritic) -> StateBatch {
        let mut states = network.states(&[0, 19], &RECENT, &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0], &[0.5, 0.25]).unwrap();
        states.mask_actions([(0, 5), (0, 1030), (0, 5), (1, 77)]).unwrap();
        states
    }

    /// The same as tensors.
    fn dense(network: &ActorCritic) -> StateBatch {
        let all: Vec<u32> = (0..ITEMS as u32).collect();
        let allowed = states(network).action_mask().unwrap().unwrap();
        let rewards = [1.0, 2.0, 3.0, 4.0, 0.0, 0.0];
        network.states_for_candidates(&[0, 19], &RECENT, &rewards, &[0.5, 0.25], &all, allowed).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    }

    fn assert_close(found: &[f32], wanted: &[f32]) {
        let size = wanted.iter().fold(1e-3_f32, |size, x| size.max(x.abs()));
        assert_eq!(found.len(), wanted.len());
        for (at, (a, b)) in found.iter().zip(wanted).enumerate() {
            assert!((a - b).abs() < 1e-5 * size, "{at}: {a} by lists, {b} by tensors");
        }
    }

    #[test]
    fn lists_and_tensors_give_the_same_network() {
        let network = large();
        let (lists, tensors) = (states(&network), dense(&network));
        assert!(matches!(lists.of_items, OfItems::Lists(_)) && network.streams());
        assert_close(&flat(&network.logits(&lists).unwrap()), &flat(&network.logits(&tensors).unwrap()));
        let of = |states: &StateBatch| {
            let (ActionLogProb { log_prob, entropy }, values) = network.evaluate_actions(states, &[7, 8191]).unwrap();
            let loss = ((log_prob + (entropy * 0.3).unwrap()).unwrap() + values.sqr().unwrap()).unwrap();
            let gradients = loss.sum_all().unwrap().backward().unwrap();
            let of = |var: &candle_core::Var| flat(gradients.get(var.as_tensor()).unwrap());
            (flat(&loss), network.params().iter().map(|(_, var)| of(var)).collect::<Vec<_>>())
        };
        let ((loss, gradients), (wanted, wanted_gradients)) = (of(&lists), of(&tensors));
        assert_close(&loss, &wanted);
        gradients.iter().zip(&wanted_gradients).for_each(|(found, wanted)| assert_close(found, wanted));
        let ActorCriticOutput { logits, .. } = network.forward(&lists).unwrap();
        let composed = action_log_prob(&logits, &[7, 8191]).unwrap().log_prob;
        assert_close(&flat(&network.action_log_prob(&lists, &[7, 8191]).unwrap().log_prob), &flat(&composed));
        for uniforms in [None, Some(&[0.1, 0.9][..]), Some(&[0.5, 0.5])] {
            let chosen = |states: &StateBatch| network.choose(states, uniforms).unwrap();
            assert_eq!(chosen(&lists), chosen(&tensors));
        }
    }

    #[test]
    fn every_parameter_learns_from_the_streamed_head() {
        let network = large();
        let states = states(&network);
        assert_every_parameter_learns(network.params(), || {
            let (ActionLogProb { log_prob, entropy }, values) = network.evaluate_actions(&states, &[7, 8191]).unwrap();
            (log_prob.sum_all()? + entropy.sum_all()?)? + values.sqr()?.sum_all()?
        });
    }

    #[test]
    fn a_sampled_softmax_needs_no_table() {
        let network = large();
        let candidates = Proposal::new(ITEMS, &[7, 8191], true).candidates(&[7, 8191], 50, &mut rng(&[1])).unwrap();
        let allowed = candidates.action_mask(|_| &[]).unwrap();
        let rewards = [0.0; 6];
        let among = network
            .states_for_candidates(&[0, 19], &RECENT, &rewards, &[0.5, 0.25], &candidates.items, allowed)
            .unwrap();
        let log_prob = network.sampled_log_prob(&among, &candidates).unwrap();
        assert!(flat(&log_prob).iter().all(|log| log.is_finite() && *log < 0.0));
        let whole = states(&network);
        assert!(network.sampled_log_prob(&whole, &candidates).is_err());
    }

    #[test]
    fn a_file_tells_the_bandwidth_and_masks_are_checked() {
        let network = large();
        let file = network.export().unwrap();
        let again = ActorCritic::import(&file).unwrap();
        assert_eq!(flat(&network.logits(&states(&network)).unwrap()), flat(&again.logits(&states(&again)).unwrap()));
        let mut told = file.clone();
        told.arrays.get_mut("table.similarity_bandwidth").unwrap().data[0] *= 2.0;
        let other = ActorCritic::import(&told).unwrap();
        assert_ne!(flat(&network.logits(&states(&network)).unwrap()), flat(&other.logits(&states(&other)).unwrap()));
        let mask = |forbidden: Vec<(usize, u32)>| states(&network).mask_actions(forbidden);
        assert!(mask(vec![(2, 0)]).is_err() && mask(vec![(0, ITEMS as u32)]).is_err());
        let stuck = mask((0..ITEMS as u32).map(|item| (1, item)).collect()).unwrap_err().to_string();
        assert!(stuck.contains("state 1 has none of 8292 items left to show\nhelp: "), "{stuck}");
        let allowed = states(&network).action_mask().unwrap().unwrap();
        assert_eq!(
            allowed.to_dtype(DType::F64).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap(),
            2.0 * 8292.0 - 3.0
        );
    }

    #[test]
    fn scores_of_everything_at_once_are_refused_beyond_a_size() {
        let network = large();
        let count = (1 << 26) / ITEMS + 1;
        let recent = vec![ITEMS as u32; 3 * count];
        let states = network.states(&vec![0; count], &recent, &vec![0.0; 3 * count], &vec![0.0; count]).unwrap();
        let error = network.logits(&states).unwrap_err().to_string();
        assert!(
            error.contains("8292 items in 8094 states at once") && error.contains("help: take a smaller"),
            "{error}"
        );
    }
}
