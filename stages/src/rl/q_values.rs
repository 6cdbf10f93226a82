//! Q-values of the policy network's two heads, and their target network.
//!
//! Q(s, a) = V(s) + A(s, a) − mean_a′ A(s, a′), the mean over what may be shown, with A the logits and V the value head in the critic's unit (Wang et al. 2016,
//! arXiv 1511.06581, eq. 9). So the item of the highest Q is the one of the highest logit, and a policy of a Q-learner is
//! served like any other.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{D, Device, Tensor};

use super::NetworkConfig;
use super::batch::value_unit;
use super::replay_buffer::Transitions;
use super::target_network;
use crate::artifact::{Array, World};
use crate::env::{Observation, states};
use crate::nn::actor_critic::ActorCriticOutput;
use crate::nn::loss::{huber, log_prob};
use crate::nn::{ActionAdvantages, ActorCritic, ItemValues, Params};

/// What the target's parameters are called in a checkpoint.
const TARGET: &str = "target.";

/// A network read as Q, with its target network.
pub struct QValues {
    /// What learns.
    pub network: ActorCritic,
    target: ActorCritic,
    /// Rewards in one unit of the value head.
    pub unit: f64,
}

/// Q of B states.
pub struct QOutput {
    /// `[B, I]`, in the unit of rewards.
    pub q: Tensor,
    /// `[B]`, the items of the highest Q.
    pub best: Tensor,
}

impl QValues {
    /// A new network on that device, and a target equal to it.
    pub fn new(config: &NetworkConfig, world: &World, gamma: f64, seed: u64, device: &Device) -> Result<Self> {
        Self::of(|| config.build(world, seed, device), value_unit(world, gamma))
    }

    /// Two equal networks that `build` makes.
    pub fn of(build: impl Fn() -> Result<ActorCritic>, unit: f64) -> Result<Self> {
        Ok(Self { network: build()?, target: build()?, unit })
    }

    /// Q of the network that learns.
    pub fn online(&self, observation: &Observation) -> Result<QOutput> {
        self.values(&self.network, observation)
    }

    /// Q of what was done, `[N]`, by the network that learns: `actions [N]`.
    pub fn online_of(&self, observation: &Observation, actions: &[u32]) -> Result<Tensor> {
        self.values_of(&self.network, observation, actions)
    }

    /// The same with log softmax(Q) of it, `[N]`.
    pub fn online_softmax_of(&self, observation: &Observation, actions: &[u32]) -> Result<(Tensor, Tensor)> {
        let states = states(&self.network, observation)?;
        if let Some(found) = self.network.action_advantages(&states, actions, true)? {
            return Ok((self.q_of(&found)?, found.log_prob));
        }
        let q = QOutput::of(&self.network.forward(&states)?, self.unit)?.q;
        let actions = Tensor::from_slice(actions, actions.len(), self.network.device())?;
        Ok((gather_q(&q, &actions)?, log_prob(&q, &actions)?))
    }

    /// Q̄ of what was done, `[N]`, by the target network: `actions [N]`.
    pub fn target_of(&self, observation: &Observation, actions: &[u32]) -> Result<Tensor> {
        self.values_of(&self.target, observation, actions)
    }

    fn values_of(&self, network: &ActorCritic, observation: &Observation, actions: &[u32]) -> Result<Tensor> {
        let states = states(network, observation)?;
        if let Some(found) = network.action_advantages(&states, actions, false)? {
            return Ok(self.q_of(&found)?);
        }
        let q = QOutput::of(&network.forward(&states)?, self.unit)?.q;
        Ok(gather_q(&q, &Tensor::from_slice(actions, actions.len(), network.device())?)?)
    }

    /// V·unit + A − mean_a A.
    fn q_of(&self, found: &ActionAdvantages) -> candle_core::Result<Tensor> {
        &found.advantages + (&found.values * self.unit)?
    }

    /// R + γᵐ·Q̄(s′, argmax_a Q(s′, a)), `[N]`, in the unit of rewards and without a gradient: the online network chooses
    /// and the target network evaluates (van Hasselt, Guez and Silver 2016, arXiv 1509.06461, eq. 4).
    pub fn targets(&self, transitions: &Transitions) -> Result<Tensor> {
        if self.network.streams() {
            let best = self.network.choose(&states(&self.network, &transitions.next)?, None)?;
            return transitions.td_target(&self.target_of(&transitions.next, &best)?);
        }
        let best = self.online(&transitions.next)?.best;
        transitions.td_target(&gather_q(&self.target(&transitions.next)?.q, &best)?)
    }

    /// Q̄ of the target network.
    pub fn target(&self, observation: &Observation) -> Result<QOutput> {
        self.values(&self.target, observation)
    }

    /// Q of all items by the network that learns, as constants.
    pub fn online_all(&self, observation: &Observation) -> Result<ItemValues> {
        self.all(&self.network, observation)
    }

    /// Q̄ of all items by the target network.
    pub fn target_all(&self, observation: &Observation) -> Result<ItemValues> {
        self.all(&self.target, observation)
    }

    fn all(&self, network: &ActorCritic, observation: &Observation) -> Result<ItemValues> {
        let states = states(network, observation)?;
        Ok(match network.streamed_values(&states)? {
            Some(advantages) => {
                let values = (network.values(&states)? * self.unit)?.to_vec1::<f32>()?;
                ItemValues::Streamed(advantages.dueling(&values)?)
            }
            None => ItemValues::Tensor(QOutput::of(&network.forward(&states)?, self.unit)?.q.detach()),
        })
    }

    /// Of all items what orders them as the Q of the network that learns does.
    pub fn online_order(&self, observation: &Observation) -> Result<ItemValues> {
        if self.network.streams() {
            return self.network.item_values(&states(&self.network, observation)?);
        }
        self.online_all(observation)
    }

    /// Q of what was done, `[N]`, and of all items as constants, by the network that learns.
    pub fn online_with_all(&self, observation: &Observation, actions: &[u32]) -> Result<(Tensor, ItemValues)> {
        if self.network.streams() {
            return Ok((self.online_of(observation, actions)?, self.online_all(observation)?));
        }
        let q = self.online(observation)?.q;
        let done = gather_q(&q, &Tensor::from_slice(actions, actions.len(), self.network.device())?)?;
        Ok((done, ItemValues::Tensor(q.detach())))
    }

    fn values(&self, network: &ActorCritic, observation: &Observation) -> Result<QOutput> {
        Ok(QOutput::of(&network.forward(&states(network, observation)?)?, self.unit)?)
    }

    /// Sets the target to what has been learned.
    pub fn update_target(&self) -> Result<()> {
        target_network::update(self.target.params(), self.network.params())
    }

    /// The target's parameters, for a checkpoint with more than one (see [`target_network::export`]).
    pub fn target_params(&self) -> &Params {
        self.target.params()
    }

    /// The target's parameters, for a checkpoint.
    pub fn export_target(&self) -> Result<BTreeMap<String, Array>> {
        target_network::export(TARGET, self.target.params())
    }

    /// Goes back to what [`QValues::export_target`] gave.
    pub fn import_target(&self, arrays: &BTreeMap<String, Array>) -> Result<()> {
        target_network::import(TARGET, self.target.params(), arrays)
    }
}

impl QOutput {
    /// Both heads read as Q; `unit` is that of the value head, in rewards.
    pub fn of(heads: &ActorCriticOutput, unit: f64) -> candle_core::Result<Self> {
        let ActorCriticOutput { logits, values, action_mask } = heads;
        Ok(Self { q: dueling(logits, values, unit, action_mask.as_ref())?, best: logits.argmax(1)? })
    }
}

/// Q of what was done: `q [N, I]`, `actions [N]` of u32 → `[N]`.
pub fn gather_q(q: &Tensor, actions: &Tensor) -> candle_core::Result<Tensor> {
    q.gather(&actions.unsqueeze(1)?, 1)?.squeeze(1)
}

/// ½·mean((Q(s, a) − y)²): `q [N]` of what was done, `targets [N]` → scalar; the target is a constant.
pub fn bellman_loss(q: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
    (q - targets)?.sqr()?.mean_all()? * 0.5
}

/// mean(huber((Q(s, a) − y)/unit)): `q [N]` of what was done, `targets [N]` → scalar; the target is a constant.
pub fn huber_loss(q: &Tensor, targets: &Tensor, unit: f64) -> candle_core::Result<Tensor> {
    huber(&((q - targets)? / unit)?)?.mean_all()
}

/// V·unit + A − mean_a A: `advantages [B, I]`, `values [B]`, `allowed [B, I]` of 1 and 0, which says what the mean is over → `[B, I]`.
fn dueling(advantages: &Tensor, values: &Tensor, unit: f64, allowed: Option<&Tensor>) -> candle_core::Result<Tensor> {
    let mean = match allowed {
        Some(allowed) => {
            (advantages * allowed)?.sum_keepdim(D::Minus1)?.broadcast_div(&allowed.sum_keepdim(D::Minus1)?)?
        }
        None => advantages.mean_keepdim(D::Minus1)?,
    };
    let centred = advantages.broadcast_sub(&mean)?;
    centred.broadcast_add(&(values * unit)?.unsqueeze(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Repeats;
    use crate::env::cluster_world;
    use crate::nn::TABLE_ITEMS;
    use crate::nn::gradient_check::{assert_every_parameter_learns, assert_finite_differences};
    use crate::rl::conformance::small_network;

    #[test]
    fn heads_make_q_as_computed_by_hand() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let advantages = tensor(&[1.0, 2.0, 6.0, 0.0, 0.0, 3.0]).reshape((2, 3)).unwrap();
        let q = dueling(&advantages, &tensor(&[0.5, -1.0]), 10.0, None).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(q, [[3.0, 4.0, 8.0], [-11.0, -11.0, -8.0]]);
        let allowed = tensor(&[1.0, 0.0, 1.0, 1.0, 1.0, 1.0]).reshape((2, 3)).unwrap();
        let q = dueling(&advantages, &tensor(&[0.5, -1.0]), 10.0, Some(&allowed)).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(q[0], [2.5, 3.5, 7.5], "less the mean of 1 and 6");
        let weights = tensor(&[1.0, -2.0, 0.5, 0.3, 1.0, -1.0]).reshape((2, 3)).unwrap();
        assert_finite_differences(&advantages, |a| {
            (dueling(a, &tensor(&[0.5, -1.0]), 10.0, Some(&allowed))?.sqr()? * &weights)?.sum_all()
        });
    }

    #[test]
    fn hubers_error_agrees_with_hand_computed_values() {
        let q = Tensor::new(&[[1.0, 2.0, 6.0], [0.0, 5.0, 3.0]], &Device::Cpu).unwrap();
        let actions = Tensor::new(&[2_u32, 0], &Device::Cpu).unwrap();
        // Differences 6 − 5 = 1 and 0 − 8 = −8, over 2: ½ and −4: (⅛ + 3½)/2.
        let targets = Tensor::new(&[5.0, 8.0], &Device::Cpu).unwrap();
        let of = |q: &Tensor| huber_loss(&gather_q(q, &actions)?, &targets, 2.0);
        let loss = of(&q).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 1.8125).abs() < 1e-12, "{loss}");
        assert_finite_differences(&q, of);
    }

    #[test]
    fn the_squared_error_agrees_with_hand_computed_values() {
        let q = Tensor::new(&[[0.0, 2.0, 5.0], [1.0, 1.0, 1.0]], &Device::Cpu).unwrap();
        let actions = Tensor::new(&[1_u32, 0], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[5.0, 0.0], &Device::Cpu).unwrap();
        let of = |q: &Tensor| bellman_loss(&gather_q(q, &actions)?, &targets);
        let loss = of(&q).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 2.5).abs() < 1e-12, "½·(9 + 1)/2, found {loss}");
        assert_finite_differences(&q, of);
    }

    #[test]
    fn every_parameter_learns() {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 1, 1, 10, 2);
        world.user_vectors.data = vec![1.0, 0.5, -0.5, 0.25, 2.0, -1.0];
        let values = QValues::new(&small_network(), &world, 0.9, 1, &Device::Cpu).unwrap();
        let mut now = Observation::of(&world, 2);
        now.push(0, &[0], &[5.0], 10, 3);
        now.push(1, &[0, 2], &[5.0, 3.0], 10, 3);
        let targets = Tensor::new(&[3.0_f32, -1.0], &Device::Cpu).unwrap();
        assert_every_parameter_learns(values.network.params(), || {
            bellman_loss(&values.online_of(&now, &[1, 0]).unwrap(), &targets)
        });
    }

    /// Q, log softmax(Q), their gradients and the target, of a catalogue without a table.
    #[test]
    fn single_actions_have_the_values_of_all_scores() {
        let mut world = cluster_world(&[5.0, 4.0], TABLE_ITEMS / 2 + 50, 1, 10, 2);
        world.rules.repeats = Repeats::Masked;
        world.user_vectors.data = vec![1.0, 0.5, -0.5, 0.25];
        let config = crate::rl::NetworkConfig { similarity_penalty: 1.0, ..small_network() };
        let values = QValues::new(&config, &world, 0.9, 1, &Device::Cpu).unwrap();
        let padding = world.items() as u32;
        let mut now = Observation::of(&world, 2);
        now.push(0, &[0], &[5.0], 10, padding);
        now.push(1, &[8000, 2], &[5.0, 3.0], 10, padding);
        let done = [1, 8001];
        let actions = Tensor::new(&done, &Device::Cpu).unwrap();
        let gradients = |q: &Tensor, log: &Tensor| {
            let loss = (q.sqr().unwrap() + log).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let of = |var: &candle_core::Var| flat(gradients.get(var.as_tensor()).unwrap());
            (flat(q), flat(log), values.network.params().iter().map(|(_, var)| of(var)).collect::<Vec<_>>())
        };
        let all = values.online(&now).unwrap().q;
        let wanted = gradients(&gather_q(&all, &actions).unwrap(), &log_prob(&all, &actions).unwrap());
        let (q, log) = values.online_softmax_of(&now, &done).unwrap();
        let found = gradients(&q, &log);
        let close = |found: &[f32], wanted: &[f32]| {
            // The exactness of the pass is tested in f64; here are sums of thousands of equal shares in f32.
            let size = wanted.iter().fold(0.1_f32, |size, x| size.max(x.abs()));
            let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3 * size, "{worst} of {size}");
        };
        close(&found.0, &wanted.0);
        close(&found.1, &wanted.1);
        found.2.iter().zip(&wanted.2).for_each(|(found, wanted)| close(found, wanted));
        close(&values.online_of(&now, &done).unwrap().to_vec1::<f32>().unwrap(), &wanted.0);
        let streamed = values.online_all(&now).unwrap();
        assert!(matches!(streamed, ItemValues::Streamed(_)));
        let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let shown = |all: Vec<f32>| -> Vec<f32> { all.into_iter().filter(|&q| q > -1e6).collect() };
        close(&shown(flat(streamed.tensor(&Device::Cpu).unwrap())), &shown(flat(all.clone())));
        let best = values.online(&now).unwrap().best;
        let priced = gather_q(&values.target(&now).unwrap().q, &best).unwrap().to_vec1::<f32>().unwrap();
        let transitions = Transitions {
            now: now.clone(),
            actions: done.to_vec(),
            returns: vec![0.0; 2],
            next: now,
            discounts: vec![1.0; 2],
        };
        close(&values.targets(&transitions).unwrap().to_vec1::<f32>().unwrap(), &priced);
    }

    #[test]
    fn the_network_chooses_and_the_target_prices() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 1, 1, 10, 1);
        let values = QValues::new(&small_network(), &world, 0.9, 1, &Device::Cpu).unwrap();
        // The network now likes item 2; the target still prices it as before.
        let mut changed = values.network.params().export().unwrap();
        changed.get_mut("bias").unwrap().data = vec![0.0, 0.0, 50.0];
        values.network.params().import(&changed).unwrap();
        let mut next = Observation::of(&world, 2);
        next.push(0, &[0], &[5.0], 10, 3);
        let old = values.values(&values.target, &next).unwrap().q.to_vec2::<f32>().unwrap()[0][2];
        let transitions = Transitions {
            now: next.clone(),
            actions: vec![1, 1],
            returns: vec![7.0, 7.0],
            next: next.take(&[0, 0]),
            discounts: vec![0.5, 0.0],
        };
        let found = values.targets(&transitions).unwrap().to_vec1::<f32>().unwrap();
        assert!((found[0] - (7.0 + 0.5 * old)).abs() < 1e-5 && found[1] == 7.0, "{found:?} with {old}");
        values.update_target().unwrap();
        let new = values.values(&values.target, &next).unwrap().q.to_vec2::<f32>().unwrap()[0][2];
        assert!(new > old + 10.0, "{new} after {old}");
    }
}
