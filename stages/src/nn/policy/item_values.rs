//! Numbers of all items in B states that are constants: a tensor, or computed block by block when they are needed.
//!
//! What value learners maximise or weigh by π, and what a policy is held near, are such numbers. Beyond
//! [`TABLE_ITEMS`](crate::nn::TABLE_ITEMS) items no `[B, I]` of them exists.

use std::sync::Arc;

use anyhow::Result;
use candle_core::{D, Device, Tensor};

use crate::nn::encoders::state_batch::{OfItems, StateBatch};
use crate::nn::kernels::{
    Floored, ITEM_BLOCK, ItemScores, Paired, Pairing, Shifted, StateRows, Wanted, expectations, item_choice,
    log_sum_exp, picked, shown_means,
};
use crate::nn::policy::action_choice::choose;
use crate::nn::policy::action_log_prob::action_log_prob;
use crate::nn::policy::actor_critic::check_size;
use crate::nn::{ActionLogProb, ActorCritic};

/// See the module.
#[derive(Clone)]
pub enum ItemValues {
    /// `[B, I]`.
    Tensor(Tensor),
    /// In blocks, on the CPU.
    Streamed(StreamedValues),
}

/// Numbers of all items that are computed in blocks.
#[derive(Clone)]
pub struct StreamedValues(pub(in crate::nn) Arc<dyn ItemScores>);

impl StreamedValues {
    /// log softmax of these over `temperature`.
    pub fn log_softmax(&self, temperature: f64) -> Result<Self> {
        Ok(Self(Arc::new(Shifted::log_softmax(self.0.clone(), temperature)?)))
    }

    /// log((1 − `floor`)·p + `uniform` of a state) where these are log p: `uniform [B]`.
    #[must_use]
    pub fn floored(&self, floor: f64, uniform: Vec<f32>) -> Self {
        Self(Arc::new(Floored { of: self.0.clone(), floor: floor as f32, uniform }))
    }

    /// log(max((1 − `share`)·p + `share`·f, `least`)) where these are log p, masked where they are, and the others log f.
    pub fn mixed_with(&self, other: &Self, share: f64, least: f64) -> Result<Self> {
        let by = Pairing::Mixture { share: share as f32, least: least as f32 };
        Ok(Self(Arc::new(Paired::new([other.0.clone(), self.0.clone()], by)?)))
    }

    /// `values [B]` + A − mean A of these A, the mean over what may be shown.
    pub fn dueling(&self, values: &[f32]) -> Result<Self> {
        let means = shown_means(self.0.as_ref())?.into_iter().zip(values);
        let offsets = means.map(|(mean, value)| (f64::from(*value) - mean) as f32).collect();
        Ok(Self(Arc::new(Shifted { of: self.0.clone(), scale: 1.0, offsets })))
    }

    /// The numbers of `actions [B]`, `[B]`.
    pub fn of_actions(&self, actions: &[u32]) -> Result<Vec<f32>> {
        Ok(picked(self.0.as_ref(), actions)?)
    }
}

/// Of actions in B states under a policy π.
pub struct Expectation {
    /// log π of the actions and the entropy, `[B]` both.
    pub choice: ActionLogProb,
    /// Σ_a π(a|s)·v(s, a), `[B]`.
    pub expected: Tensor,
}

impl ItemValues {
    /// These scores.
    pub(in crate::nn) fn streamed(scores: impl ItemScores + 'static) -> Self {
        Self::Streamed(StreamedValues(Arc::new(scores)))
    }

    /// `[B, I]` on that device, whatever it takes.
    ///
    /// # Errors
    /// When that is too much.
    pub fn tensor(&self, device: &Device) -> Result<Tensor> {
        let scores = match self {
            Self::Tensor(tensor) => return Ok(tensor.to_device(device)?),
            Self::Streamed(scores) => &scores.0,
        };
        let (rows, items) = (scores.rows(), scores.items());
        check_size(rows, items)?;
        let (mut all, mut tile) = (vec![0.0; rows * items], vec![]);
        for (row, all) in all.chunks_exact_mut(items.max(1)).enumerate() {
            for (block, all) in all.chunks_mut(ITEM_BLOCK).enumerate() {
                scores.tile(row..row + 1, block, &mut tile)?;
                all.copy_from_slice(&tile);
            }
        }
        Ok(Tensor::from_vec(all, (rows, items), device)?)
    }

    /// Of each state the first item of the highest number, or with `uniforms [B]` in [0, 1) one drawn from their softmax.
    pub fn choose(&self, uniforms: Option<&[f64]>) -> Result<Vec<u32>> {
        match self {
            Self::Tensor(tensor) => choose(tensor, uniforms),
            Self::Streamed(scores) => Ok(item_choice(scores.0.as_ref(), uniforms)?),
        }
    }

    /// The numbers of `actions [B]`, `[B]`.
    pub fn of_actions(&self, actions: &[u32]) -> Result<Vec<f32>> {
        match self {
            Self::Tensor(tensor) => {
                let actions = Tensor::from_slice(actions, (actions.len(), 1), tensor.device())?;
                Ok(tensor.gather(&actions, 1)?.flatten_all()?.to_vec1()?)
            }
            Self::Streamed(scores) => scores.of_actions(actions),
        }
    }

    /// The smaller one of each pair.
    pub fn minimum(&self, other: &Self) -> Result<Self> {
        self.paired(other, Pairing::Least, |a, b| a.minimum(b))
    }

    /// With `scale` times the other's.
    pub fn plus(&self, other: &Self, scale: f64) -> Result<Self> {
        self.paired(other, Pairing::Sum(scale as f32), |a, b| a + (b * scale)?)
    }

    /// Divided by `by`.
    pub fn divided(&self, by: f64) -> Result<Self> {
        Ok(match self {
            Self::Tensor(tensor) => Self::Tensor((tensor / by)?),
            Self::Streamed(of) => {
                let offsets = vec![0.0; of.0.rows()];
                Self::streamed(Shifted { of: of.0.clone(), scale: (1.0 / by) as f32, offsets })
            }
        })
    }

    /// Of these states alone, in this order.
    pub fn rows(&self, rows: &[usize]) -> Result<Self> {
        Ok(match self {
            Self::Tensor(tensor) => {
                let rows = Tensor::from_iter(rows.iter().map(|&row| row as u32), tensor.device())?;
                Self::Tensor(tensor.index_select(&rows, 0)?)
            }
            Self::Streamed(of) => Self::streamed(StateRows::new(of.0.clone(), rows.to_vec())?),
        })
    }

    fn paired(
        &self,
        other: &Self,
        by: Pairing,
        of: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Self> {
        if let (Self::Streamed(a), Self::Streamed(b)) = (self, other) {
            return Ok(Self::streamed(Paired::new([a.0.clone(), b.0.clone()], by)?));
        }
        let [a, b] = self.tensors(other)?;
        Ok(Self::Tensor(of(&a, &b)?))
    }

    /// Both on the device of the one that is a tensor.
    fn tensors(&self, other: &Self) -> Result<[Tensor; 2]> {
        let device = match (self, other) {
            (Self::Tensor(tensor), _) | (_, Self::Tensor(tensor)) => tensor.device().clone(),
            _ => Device::Cpu,
        };
        Ok([self.tensor(&device)?, other.tensor(&device)?])
    }

    /// log Σ_a e^v of each state, `[B]`.
    pub fn log_sum_exp(&self) -> Result<Tensor> {
        match self {
            Self::Tensor(values) => {
                let most = values.max_keepdim(D::Minus1)?;
                let sum = values.broadcast_sub(&most)?.exp()?.sum_keepdim(D::Minus1)?.log()?;
                Ok((sum + most)?.squeeze(D::Minus1)?)
            }
            Self::Streamed(scores) => {
                let logs = log_sum_exp(scores.0.as_ref())?.into_iter().map(|log| log as f32);
                Ok(Tensor::from_iter(logs, &Device::Cpu)?)
            }
        }
    }

    /// Σ π·v and −Σ π log π, `[B]` both, where these are the logits of π.
    pub fn expectation(&self, values: &Self) -> Result<[Tensor; 2]> {
        if let (Self::Streamed(scores), Self::Streamed(values)) = (self, values) {
            let rows = expectations(scores.0.as_ref(), values.0.as_ref())?;
            let part = |k: usize| Tensor::from_iter(rows.iter().map(|row| row[k]), &Device::Cpu);
            return Ok([part(0)?, part(1)?]);
        }
        let [logits, values] = self.tensors(values)?;
        // The fused operator also returns log π of an item, which is not used here.
        let entropy = action_log_prob(&logits, &vec![0; logits.dim(0)?])?.entropy;
        Ok([expected(&values, &logits)?, entropy])
    }
}

/// Σ_a π(a|s)·v(s, a): `values [N, I]`, `logits [N, I]` of π → `[N]`.
pub fn expected(values: &Tensor, logits: &Tensor) -> candle_core::Result<Tensor> {
    (candle_nn::ops::softmax(logits, D::Minus1)? * values)?.sum(D::Minus1)
}

impl ActorCritic {
    /// The logits, as constants.
    pub fn item_values(&self, states: &StateBatch) -> Result<ItemValues> {
        let (users, inputs) = self.inputs(states)?;
        self.item_values_of(states, &users, &inputs)
    }

    /// The same of a catalogue without a table; `None` for another.
    pub fn streamed_values(&self, states: &StateBatch) -> Result<Option<StreamedValues>> {
        let (users, inputs) = self.inputs(states)?;
        Ok(self.frozen_head(states, &users, &inputs)?.map(|head| StreamedValues(Arc::new(head))))
    }

    /// The logits of encoded states, as constants.
    pub(in crate::nn) fn item_values_of(
        &self,
        states: &StateBatch,
        users: &Tensor,
        inputs: &Tensor,
    ) -> Result<ItemValues> {
        Ok(match self.frozen_head(states, users, inputs)? {
            Some(head) => ItemValues::streamed(head),
            None => ItemValues::Tensor(self.scores(states, users, inputs)?.detach()),
        })
    }

    /// log π of `actions [B]`, the entropy, and what π expects of `values`, which are constants.
    pub fn expectation(&self, states: &StateBatch, values: &ItemValues, actions: &[u32]) -> Result<Expectation> {
        let (users, inputs) = self.inputs(states)?;
        if let ItemValues::Streamed(values) = values {
            let wanted = Wanted { values: Some(values.0.clone()), ..Wanted::default() };
            if let Some(found) = self.streamed_scores(states, (&users, &inputs), actions, wanted)? {
                let choice = ActionLogProb { log_prob: found.log_prob, entropy: found.entropy };
                return Ok(Expectation { choice, expected: found.expected });
            }
        }
        let logits = self.scores(states, &users, &inputs)?;
        let expected = expected(&values.tensor(logits.device())?.detach(), &logits)?;
        Ok(Expectation { choice: action_log_prob(&logits, actions)?, expected })
    }

    /// log π of `actions [B]`, and the mean of the squares of the logits of what may be shown in all states, a scalar, in one pass over a
    /// catalogue without a table; `None` for another.
    pub fn log_prob_and_mean_square(&self, states: &StateBatch, actions: &[u32]) -> Result<Option<(Tensor, Tensor)>> {
        let (users, inputs) = self.inputs(states)?;
        let OfItems::Lists(of_items) = &states.of_items else { return Ok(None) };
        let shown: usize = (0..of_items.rows()).map(|row| of_items.shown(row)).sum();
        let wanted = Wanted { softmax: true, squares: true, ..Wanted::default() };
        let Some(found) = self.streamed_scores(states, (&users, &inputs), actions, wanted)? else { return Ok(None) };
        Ok(Some((found.log_prob, (found.squares.sum_all()? / shown as f64)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;
    use crate::nn::policy::actor_critic::ActorCriticConfig;
    use crate::nn::policy::bcq_policy::BcqPolicy;
    use crate::nn::policy::mixture_policy::MixturePolicy;
    use crate::nn::{Encoder, Init, Params, PolicyNetwork, TABLE_ITEMS};

    const ITEMS: usize = TABLE_ITEMS + 100;
    const ACTIONS: [u32; 2] = [7, 8191];

    /// A network over a catalogue without a table.
    fn large(seed: u64) -> ActorCritic {
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
        ActorCritic::new(config, &array(1, [20, 3]), &array(2, [ITEMS, 3]), seed).unwrap()
    }

    /// The same frozen vectors, and other parameters.
    fn other() -> ActorCritic {
        let network = large(4);
        let mut moved = network.params().export().unwrap();
        for (seed, array) in (100..).zip(moved.values_mut()) {
            let noise = Init::new(seed).normal(&[array.data.len()], 0.2).unwrap().to_vec1::<f32>().unwrap();
            array.data.iter_mut().zip(noise).for_each(|(x, noise)| *x += noise);
        }
        // Similar items stay as they are: their features are a hundred times as large.
        moved.get_mut("alike").unwrap().data[0] = -0.01;
        moved.get_mut("shown").unwrap().data[0] = 0.02;
        network.params().import(&moved).unwrap();
        network
    }

    fn states(network: &ActorCritic) -> StateBatch {
        let recent = [5, 1030, 5, 8000, ITEMS as u32, ITEMS as u32];
        let mut states = network.states(&[0, 19], &recent, &[1.0, 2.0, 3.0, 4.0, 0.0, 0.0], &[0.5, 0.25]).unwrap();
        states.mask_actions([(0, 5), (0, 1030), (1, 77)]).unwrap();
        states
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    }

    fn assert_close(found: &[f32], wanted: &[f32]) {
        let size = wanted.iter().fold(1e-3_f32, |size, x| size.max(x.abs()));
        assert_eq!(found.len(), wanted.len());
        for (at, (a, b)) in found.iter().zip(wanted).enumerate() {
            assert!((a - b).abs() < 1e-5 * size, "{at}: {a} in blocks, {b} by tensors, of {size}");
        }
    }

    /// Losses `[B]`, and the gradients of all parameters.
    fn learned(params: &[&Params], loss: &Tensor) -> Vec<Vec<f32>> {
        let weights = Tensor::new(&[1.0_f32, -0.7], &Device::Cpu).unwrap();
        let gradients = (loss * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let vars = params.iter().flat_map(|params| params.iter());
        let of = vars.filter_map(|(_, var)| gradients.get(var.as_tensor())).map(flat);
        [vec![flat(loss)], of.collect()].concat()
    }

    fn assert_same(found: &[Vec<f32>], wanted: &[Vec<f32>]) {
        assert_eq!(found.len(), wanted.len());
        found.iter().zip(wanted).for_each(|(found, wanted)| assert_close(found, wanted));
    }

    /// What SAC, CRR and the divergence from a reference policy learn from.
    #[test]
    fn expectations_and_their_gradients_are_the_composed_ones() {
        let (policy, of_items) = (large(3), other());
        let observed = states(&policy);
        let values = of_items.item_values(&observed).unwrap();
        assert!(matches!(values, ItemValues::Streamed(_)));
        let dense = ItemValues::Tensor(values.tensor(&Device::Cpu).unwrap());
        assert_close(&flat(&dense.tensor(&Device::Cpu).unwrap()), &flat(&of_items.logits(&observed).unwrap()));
        let of = |values: &ItemValues| {
            let Expectation { choice, expected } = policy.expectation(&observed, values, &ACTIONS).unwrap();
            let loss =
                ((expected + (choice.entropy * 0.3).unwrap()).unwrap() + choice.log_prob.sqr().unwrap()).unwrap();
            learned(&[policy.params()], &loss)
        };
        assert_same(&of(&values), &of(&dense));
        // Without gradients, and where only one of them is a tensor.
        let (logits, composed) = (policy.item_values(&observed).unwrap(), policy.logits(&observed).unwrap());
        let parts = |logits: &ItemValues, values: &ItemValues| logits.expectation(values).unwrap().map(|x| flat(&x));
        let wanted = parts(&ItemValues::Tensor(composed), &dense);
        for found in [parts(&logits, &values), parts(&logits, &dense)] {
            found.iter().zip(&wanted).for_each(|(found, wanted)| assert_close(found, wanted));
        }
    }

    /// Q/λ + log π₀, the smaller of two, rows of them, and what is read of each.
    #[test]
    fn values_of_values_are_the_composed_ones() {
        let observed = states(&large(3));
        let both = [large(3), other()].map(|network| network.item_values(&observed).unwrap());
        let dense = both.each_ref().map(|values| ItemValues::Tensor(values.tensor(&Device::Cpu).unwrap()));
        let read = |values: &ItemValues| {
            let best = values.choose(None).unwrap();
            (best, [flat(&values.log_sum_exp().unwrap()), values.of_actions(&ACTIONS).unwrap()].concat())
        };
        let made = |[a, b]: &[ItemValues; 2]| {
            let sum = a.divided(0.7).unwrap().plus(b, 0.5).unwrap();
            [a.minimum(b).unwrap(), sum.rows(&[1, 0]).unwrap(), sum]
        };
        for (found, wanted) in made(&both).iter().zip(&made(&dense)) {
            assert!(matches!(found, ItemValues::Streamed(_)));
            let (found, wanted) = (read(found), read(wanted));
            assert_eq!(found.0, wanted.0);
            assert_close(&found.1, &wanted.1);
        }
    }

    #[test]
    fn imitation_with_a_penalty_has_the_composed_gradients() {
        let network = other();
        let observed = states(&network);
        let (log_prob, square) = network.log_prob_and_mean_square(&observed, &ACTIONS).unwrap().unwrap();
        let found = learned(&[network.params()], &(log_prob.broadcast_add(&square)).unwrap());
        let logits = network.logits(&observed).unwrap();
        let shown = observed.action_mask().unwrap().unwrap();
        let square =
            ((&logits * &shown).unwrap().sqr().unwrap().sum_all().unwrap() / shown.sum_all().unwrap()).unwrap();
        let log_prob = action_log_prob(&logits, &ACTIONS).unwrap().log_prob;
        assert_same(&found, &learned(&[network.params()], &log_prob.broadcast_add(&square).unwrap()));
    }

    #[test]
    fn a_mixture_has_the_composed_gradients_and_choices() {
        let policy = MixturePolicy::from_policy(&other().export().unwrap(), 0.3, &Device::Cpu).unwrap();
        policy.learned.params().import(&large(3).params().export().unwrap()).unwrap();
        let observed = states(&policy.learned);
        let params = [policy.learned.params(), policy.weight_params()];
        let of =
            |choice: ActionLogProb| learned(&params, &(choice.log_prob + (choice.entropy * 0.3).unwrap()).unwrap());
        let composed = policy.log_probs(&observed, &policy.learned.logits(&observed).unwrap()).unwrap();
        let wanted = of(action_log_prob(&composed, &ACTIONS).unwrap());
        assert_same(&of(policy.evaluate_actions(&observed, &ACTIONS).unwrap().0), &wanted);
        for uniforms in [None, Some(&[0.1, 0.9][..]), Some(&[0.5, 0.4])] {
            let wanted = ItemValues::Tensor(composed.detach()).choose(uniforms).unwrap();
            assert!(policy.streams() && policy.choose(&observed, uniforms).unwrap() == wanted);
        }
    }

    #[test]
    fn a_constrained_policy_serves_what_the_tensors_say() {
        let (values, behaviour) = (other(), large(3));
        for threshold in [0.0, 0.3, 0.9] {
            let file = BcqPolicy::export(&values, &behaviour, threshold).unwrap();
            let served = crate::nn::policy::policy_io::load(&file).unwrap();
            let observed = states(served.backbone());
            let composed = ItemValues::Tensor(served.logits(&observed).unwrap());
            assert!(served.streams());
            for uniforms in [None, Some(&[0.2, 0.6][..])] {
                assert_eq!(served.choose(&observed, uniforms).unwrap(), composed.choose(uniforms).unwrap());
            }
        }
    }
}
