//! Self-supervised Q-learning on demonstrations alone: behaviour cloning whose encoder is also trained by Q-learning.
//!
//! L = −mean(log π(a_demo|s)) + c·mean(huber((Q(s, a_demo) − y)/unit)),  y = r + γ·Q̄(s′, argmax_a Q(s′, a))
//!
//! Xin et al. 2020 (*Self-supervised reinforcement learning for recommender systems*, arXiv 2006.05779, algorithm 1: SQN).
//! Two heads read one encoding of the state: that of π, which is trained as a next-item recommender and is what is served,
//! and that of Q, which learns from the rewards and shapes the encoder; it takes no action. Published: c 1,
//! γ 0.5, rewards of 0.2 for a click and 1 for a purchase, Adam with 0.005 to 0.01, encoders GRU4Rec, Caser, NextItNet and
//! SASRec (see `network.encoder`). Left out: the paper's SAC (self-supervised actor-critic, not `rl.sac`), which weighs the
//! cross-entropy by Q (see `rl.crr`); the two Q networks that learn in turns, in place of which a target network evaluates what the
//! online network chooses, as in `rl.dqn`; and the square, in place of which stands Huber's loss in the unit of the value head.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use pipeline::{Context, ForbiddenSource, MemoryNeed, Sizes, Stage};

use super::batch::value_unit;
use super::inputs::Offline;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::LearnerTables;
use super::q_values::{QOutput, gather_q, huber_loss};
use super::replay_buffer::ReplayBuffer;
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner, target_network};
use crate::artifact::{Array, TensorFile, World};
use crate::env::{Observation, states};
use crate::nn::actor_critic::ActorCriticOutput;
use crate::nn::{ActionLogProb, ActorCritic, AdamW, action_log_prob, device, rng};

learner_settings! {
    /// `rl.sqn`.
    pub struct Sqn {
        /// Gradient steps.
        pub n_gradient_steps: u64 = 1500,
        /// Transitions of a gradient step, from 1.
        pub batch_size: usize = 128,
        /// c: weight of the loss of Q beside the cross-entropy, 0 or more; 0 is behaviour cloning. The paper's: 1.
        pub value_coef: f64 = 1.0,
        /// Gradient steps between two updates of the target network, from 1; an update copies the online network.
        pub target_update_interval: u64 = 50,
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.001, max_grad_norm: 10.0, schedule: Linear },
        network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
        checkpoint_every: 100 steps,
        /// The paper's: 0.5.
        gamma: 0.5,
    }
}

impl Stage for Sqn {
    const KIND: &'static str = "rl.sqn";
    /// 1: first.
    /// 2: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "train a policy offline on demonstrations by self-supervised Q-learning";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init"];
    const USES_DEVICE: bool = true;
    type Inputs = Offline;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::batch_size(self.batch_size)?;
        validation::coefficient("value_coef", self.value_coef)?;
        validation::target_update_interval(self.target_update_interval)?;
        self.check_shared()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 2, self.batch_size as u64).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Offline, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let heads = || TwoHeads::new(self, world, &start, &device);
        let (online, target) = (heads()?, heads()?);
        let mut learner = Learner {
            config: self,
            log: ReplayBuffer::from_demonstrations(&inputs.demonstrations, self.network.window, world)?,
            policy_adam: self.optimizer.adam(online.policy.params())?,
            values_adam: self.optimizer.adam(online.values.params())?,
            online,
            target,
        };
        train(
            &mut learner,
            &self
                .plan(self.n_gradient_steps)
                .after(inputs.init.as_ref(), None)?
                .taught_by(Some(&inputs.demonstrations)),
            world,
            cx,
        )
    }
}

/// One encoder with the heads of π and of Q.
struct TwoHeads {
    /// The encoder and π.
    policy: ActorCritic,
    /// Q, of which only the heads are used.
    values: ActorCritic,
    /// Rewards in one unit of the value head.
    unit: f64,
}

impl TwoHeads {
    fn new(config: &Sqn, world: &World, start: &Start, device: &Device) -> Result<Self> {
        Ok(Self {
            policy: start.network(config.seed)?,
            values: config.network.build(world, config.seed.wrapping_add(1), device)?,
            unit: value_unit(world, config.gamma),
        })
    }

    /// What π and Q say of B states.
    fn forward(&self, observation: &Observation) -> Result<(ActorCriticOutput, QOutput)> {
        let (policy, values) =
            self.policy.forward_with_shared_encoder(&self.values, &states(&self.policy, observation)?)?;
        Ok((policy, QOutput::of(&values, self.unit)?))
    }

    /// log π and Q of `actions [B]`, each `[B]`.
    fn of_actions(&self, observation: &Observation, actions: &[u32]) -> Result<(Tensor, Tensor)> {
        let states = states(&self.policy, observation)?;
        let streamed = self.policy.action_advantages_with_shared_encoder(&self.values, &states, actions)?;
        if let Some((ActionLogProb { log_prob, .. }, values)) = streamed {
            return Ok((log_prob, (values.advantages + (values.values * self.unit)?)?));
        }
        let (policy, values) = self.forward(observation)?;
        let log_prob = action_log_prob(&policy.logits, actions)?.log_prob;
        Ok((log_prob, gather_q(&values.q, &Tensor::from_slice(actions, actions.len(), self.policy.device())?)?))
    }

    /// The items of the highest Q, `[B]`.
    fn best(&self, observation: &Observation) -> Result<Vec<u32>> {
        if self.policy.streams() {
            return self.policy.best_with_shared_encoder(&self.values, &states(&self.policy, observation)?);
        }
        Ok(self.forward(observation)?.1.best.to_vec1()?)
    }
}

struct Learner<'c> {
    config: &'c Sqn,
    log: ReplayBuffer,
    online: TwoHeads,
    policy_adam: AdamW,
    values_adam: AdamW,
    target: TwoHeads,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let mut draw = rng(&[config.seed, 0x599, number]);
        let transitions = self.log.sample(config.batch_size, config.gamma, 1, &mut draw);
        let best = self.online.best(&transitions.next)?;
        let targets = transitions.td_target(&self.target.of_actions(&transitions.next, &best)?.1)?;
        let (log_prob, q) = self.online.of_actions(&transitions.now, &transitions.actions)?;
        let imitation = log_prob.mean_all()?.neg()?;
        let error = huber_loss(&q, &targets, self.online.unit)?;

        for adam in [&mut self.policy_adam, &mut self.values_adam] {
            adam.learning_rate = config.optimizer.rate(number, config.n_gradient_steps);
        }
        // One gradient of the sum: the encoder belongs to both heads.
        let loss = (&imitation + (&error * config.value_coef)?)?;
        let (policy, values) = (self.online.policy.params(), self.online.values.params());
        let trained = [(&mut self.policy_adam, policy), (&mut self.values_adam, values)];
        AdamW::descend_together(trained, &loss).with_context(|| format!("update {number}"))?;
        if (number + 1).is_multiple_of(config.target_update_interval) {
            target_network::update(self.target.policy.params(), self.online.policy.params())?;
            target_network::update(self.target.values.params(), self.online.values.params())?;
        }
        Ok(vec![
            ("imitation_loss", f64::from(imitation.to_scalar::<f32>()?)),
            ("value_error", f64::from(error.to_scalar::<f32>()?)),
        ])
    }
    fn policy(&self) -> Result<TensorFile> {
        self.online.policy.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![
            ("policy", self.online.policy.params(), &mut self.policy_adam),
            ("values", self.online.values.params(), &mut self.values_adam),
        ]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        let mut state = target_network::export("target.policy.", self.target.policy.params())?;
        state.extend(target_network::export("target.values.", self.target.values.params())?);
        Ok(state)
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        target_network::import("target.policy.", self.target.policy.params(), state)?;
        target_network::import("target.values.", self.target.values.params(), state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::Optimizer;
    use crate::nn::{Encoder, GruEncoder};
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, demonstrated_cycles, small_network, with};

    fn solver() -> Sqn {
        Sqn {
            n_gradient_steps: 300,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Sqn::default()
        }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        assert_keeps_the_contract(&ContractCase {
            short: Sqn { n_gradient_steps: 5, batch_size: 9, target_update_interval: 2, ..solver() },
            untrained: Sqn { n_gradient_steps: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: Offline::new,
            // The value of a state comes from the head of Q.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut Sqn| c.batch_size = 0), "batch_size"),
                (with(|c| c.value_coef = -1.0), "value_coef"),
                (with(|c| c.target_update_interval = 0), "target_update_interval"),
            ],
            online: false,
        });
    }

    /// Three states of a world whose users differ.
    fn shared() -> (TwoHeads, Observation) {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 1, 1, 10, 2);
        world.user_vectors.data = vec![1.0, 0.5, -0.5, 0.25, 2.0, -1.0];
        let network = NetworkConfig { encoder: Encoder::Gru(GruEncoder { hidden_size: 3 }), ..small_network() };
        let mut seen = Observation::of(&world, 2);
        for (user, items, rewards) in [(0, &[][..], &[][..]), (0, &[0], &[5.0]), (1, &[0, 2], &[5.0, 3.0])] {
            seen.push(user, items, rewards, 10, 3);
        }
        let config = Sqn { network, ..Sqn::default() };
        let start = Start::new(Sqn::KIND, &config.network, None, &world, &Device::Cpu).unwrap();
        (TwoHeads::new(&config, &world, &start, &Device::Cpu).unwrap(), seen)
    }

    #[test]
    fn the_loss_of_q_moves_the_encoder_and_its_own_heads_and_no_other() {
        let (both, seen) = shared();
        let actions = Tensor::new(&[1_u32, 0, 2], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[3.0_f32, -1.0, 2.0], &Device::Cpu).unwrap();
        let error = huber_loss(&gather_q(&both.forward(&seen).unwrap().1.q, &actions).unwrap(), &targets, 2.0).unwrap();
        let gradients = error.backward().unwrap();
        let encodes = |name: &str| name == "item_in" || name.starts_with("encoder.");
        for (network, reads) in [(&both.policy, true), (&both.values, false)] {
            for (name, var) in network.params().iter() {
                let size = gradients.get(var.as_tensor()).map(|g| g.abs().unwrap().sum_all().unwrap());
                let moved = size.is_some_and(|size| size.to_scalar::<f32>().unwrap() > 0.0);
                assert_eq!(moved, encodes(name) == reads, "`{name}` of the encoder's network: {reads}");
            }
        }
    }

    #[test]
    fn both_heads_read_one_encoding() {
        let (both, seen) = shared();
        let logits = |network: &ActorCritic| network.logits(&states(network, &seen).unwrap()).unwrap();
        let numbers = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap();
        assert_eq!(numbers(&both.forward(&seen).unwrap().0.logits), numbers(&logits(&both.policy)));
        let before = numbers(&both.forward(&seen).unwrap().1.q);
        let mut changed = both.policy.params().export().unwrap();
        changed.get_mut("item_in").unwrap().data.iter_mut().for_each(|x| *x += 1.0);
        both.policy.params().import(&changed).unwrap();
        assert_ne!(numbers(&both.forward(&seen).unwrap().1.q), before, "Q reads what the policy's network encodes");
    }

    #[test]
    fn the_rewards_reach_the_policy_through_the_encoder() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 8, 2);
        let policy = |value_coef: f64| {
            let folder = tempfile::tempdir().unwrap();
            let inputs = Offline::new(world.clone(), demonstrated_cycles(&world, &[&[0, 2, 4]]));
            let stage = Sqn { n_gradient_steps: 3, value_coef, ..solver() };
            stage.run(inputs, &Context::detached(folder.path())).unwrap().policy
        };
        assert!(policy(0.0) != policy(1.0));
    }
}
