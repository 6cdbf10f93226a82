//! Implicit Q-learning on demonstrations alone: no step is taken in a world, and Q is evaluated at demonstrated items only.
//!
//! L_V = mean(|τ − 1[u < 0]|·u²),  u = (Q̄(s, a_demo) − V(s))/unit, with the unit of the value head
//! L_Q = ½·mean((Q(s, a_demo) − r − γ·V(s′))²)
//! L_π = −mean(min(exp((Q̄(s, a_demo) − V(s))/β), w_max)·log π(a_demo|s))
//!
//! Kostrikov, Nair and Levine 2022 (arXiv 2110.06169, eq. 5, 6 and 7). V is the τ-expectile of the values of the demonstrated
//! items of a state: at τ = ½ their mean, so that the policy is one step of improvement on whoever demonstrated; towards 1
//! the best of them, so that good parts of different episodes are joined. Published: τ 0.7 and 1/β 3 (locomotion), τ 0.9 and
//! 1/β 10 (mazes), weights cut at 100, γ 0.99, Adam with 3e-4. π and V share the vectors of the last items and how they are read,
//! Q has a network of its own, dueling as in `rl.dqn`; the policy's softmax takes the place of the paper's Gaussian. Left out:
//! the smaller of two Qs, and Polyak averaging of the targets (they are copied every `target_update_interval` steps).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Sizes, Stage};

use super::advantage_weighted::{exponential_weights, weighted_loss};
use super::inputs::Offline;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::LearnerTables;
use super::q_values::{QValues, bellman_loss};
use super::replay_buffer::ReplayBuffer;
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Array, TensorFile};
use crate::env::states;
use crate::nn::{ActorCritic, AdamW, device, rng};

learner_settings! {
    /// `rl.iql`.
    pub struct Iql {
        /// Gradient steps; each updates V, Q and π.
        pub n_gradient_steps: u64 = 1500,
        /// Transitions of a gradient step, from 1.
        pub batch_size: usize = 128,
        /// τ: V is this expectile of the demonstrated items' values, above 0 and below 1. The paper's for locomotion: 0.7.
        pub expectile: f64 = 0.7,
        /// β of the policy's weights exp(A/β), in the unit of rewards, above 0: an advantage of β counts e times as much as none, and
        /// the higher it is, the more the policy copies. The inverse of the paper's β, which is 3 for locomotion.
        pub advantage_temperature: f64 = 1.0 / 3.0,
        /// w_max: upper bound of a demonstrated step's weight, above 0; the paper's: 100.
        pub max_weight: f64 = 100.0,
        /// Gradient steps between two updates of the target network, from 1; an update copies the online network.
        pub target_update_interval: u64 = 50,
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.001, max_grad_norm: 10.0, schedule: Linear },
        network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
        checkpoint_every: 100 steps,
        gamma: 0.9,
    }
}

impl Stage for Iql {
    const KIND: &'static str = "rl.iql";
    /// 1: first.
    /// 2: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "train a policy offline on demonstrations by implicit Q-learning";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init"];
    const USES_DEVICE: bool = true;
    type Inputs = Offline;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::batch_size(self.batch_size)?;
        validation::open_interval("expectile", self.expectile, "an expectile lies between 0 and 1, both excluded")?;
        validation::positive("advantage_temperature", self.advantage_temperature, "a temperature is above 0")?;
        validation::finite("advantage_temperature", self.advantage_temperature)?;
        validation::positive("max_weight", self.max_weight, "a weight is above 0")?;
        validation::target_update_interval(self.target_update_interval)?;
        self.check_shared()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 4, self.batch_size as u64).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Offline, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let policy = start.network(self.seed)?;
        let values = QValues::new(&self.network, world, self.gamma, self.seed.wrapping_add(1), &device)?;
        let mut learner = Learner {
            config: self,
            log: ReplayBuffer::from_demonstrations(&inputs.demonstrations, self.network.window, world)?,
            policy_adam: self.optimizer.adam(policy.params())?,
            values_adam: self.optimizer.adam(values.network.params())?,
            policy,
            values,
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

struct Learner<'c> {
    config: &'c Iql,
    log: ReplayBuffer,
    /// π, and V as its value head.
    policy: ActorCritic,
    policy_adam: AdamW,
    values: QValues,
    values_adam: AdamW,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let unit = self.values.unit;
        let mut draw = rng(&[config.seed, 0x191, number]);
        let transitions = self.log.sample(config.batch_size, config.gamma, 1, &mut draw);
        // As the paper has it, all three read what the others were before this step.
        let next_values = self.policy.values(&states(&self.policy, &transitions.next)?)?;
        let targets = transitions.td_target(&(next_values * unit)?)?;
        let q_target = self.values.target_of(&transitions.now, &transitions.actions)?.detach();
        let observed = states(&self.policy, &transitions.now)?;
        let (choice, values) = self.policy.evaluate_actions(&observed, &transitions.actions)?;
        let advantages = ((&q_target / unit)? - &values)?;
        let weights =
            exponential_weights(&(advantages.detach() * unit)?, config.advantage_temperature, config.max_weight)?;
        let value = expectile_loss(&advantages, config.expectile)?;
        let imitation = weighted_loss(&choice.log_prob, &weights)?;
        let error = bellman_loss(&self.values.online_of(&transitions.now, &transitions.actions)?, &targets)?;

        let place = || format!("update {number}");
        for adam in [&mut self.policy_adam, &mut self.values_adam] {
            adam.learning_rate = config.optimizer.rate(number, config.n_gradient_steps);
        }
        self.policy_adam.descend(self.policy.params(), &(&value + &imitation)?).with_context(place)?;
        self.values_adam.descend(self.values.network.params(), &error).with_context(place)?;
        if (number + 1).is_multiple_of(config.target_update_interval) {
            self.values.update_target()?;
        }
        let number = |tensor: &Tensor| tensor.to_scalar::<f32>().map(f64::from);
        Ok(vec![
            ("imitation_loss", number(&imitation)?),
            ("value_loss", number(&value)?),
            ("value_error", number(&error)?),
            ("mean_weight", number(&weights.mean_all()?)?),
        ])
    }
    fn policy(&self) -> Result<TensorFile> {
        self.policy.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![
            ("policy", self.policy.params(), &mut self.policy_adam),
            ("values", self.values.network.params(), &mut self.values_adam),
        ]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        self.values.export_target()
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        self.values.import_target(state)
    }
}

/// mean(|τ − 1[u < 0]|·u²): `advantages [N]` → scalar; Kostrikov et al. 2022,
/// eq. 5.
pub fn expectile_loss(advantages: &Tensor, expectile: f64) -> candle_core::Result<Tensor> {
    let (better, worse) = (advantages.relu()?, advantages.neg()?.relu()?);
    ((better.sqr()? * expectile)? + (worse.sqr()? * (1.0 - expectile))?)?.mean_all()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Optimizer;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{
        ContractCase, assert_keeps_the_contract, returns_after_good_and_frequent, small_network, with,
    };

    fn solver() -> Iql {
        Iql {
            n_gradient_steps: 300,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Iql::default()
        }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        assert_keeps_the_contract(&ContractCase {
            short: Iql { n_gradient_steps: 5, batch_size: 9, target_update_interval: 2, ..solver() },
            untrained: Iql { n_gradient_steps: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: Offline::new,
            frozen: &[],
            refused: vec![
                (with(|c: &mut Iql| c.batch_size = 0), "batch_size"),
                (with(|c| c.expectile = 1.0), "expectile"),
                (with(|c| c.advantage_temperature = 0.0), "advantage_temperature"),
                (with(|c| c.max_weight = 0.0), "max_weight"),
                (with(|c| c.target_update_interval = 0), "target_update_interval"),
            ],
            online: false,
        });
    }

    #[test]
    fn it_prefers_what_paid_over_what_was_frequent() {
        let returns =
            |advantage_temperature: f64| returns_after_good_and_frequent(&Iql { advantage_temperature, ..solver() });
        assert_eq!(returns(1.0 / 3.0), [120.0, 120.0]);
        assert_eq!(returns(1e6), [90.0, 90.0], "a high temperature copies");
    }

    #[test]
    fn the_loss_agrees_with_hand_computed_values_and_finite_differences() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let advantages = tensor(&[2.0, -1.0, 0.5]);
        // (0.7·4 + 0.3·1 + 0.7·0.25)/3.
        let loss = expectile_loss(&advantages, 0.7).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 3.275 / 3.0).abs() < 1e-12, "{loss}");
        assert_finite_differences(&advantages, |advantages| expectile_loss(advantages, 0.7));
    }

    /// Two items of one state have the rewards 1 and 3: V lies between their mean and the larger one.
    #[test]
    fn an_expectile_lies_between_the_mean_and_the_best() {
        let rewards = [1.0, 3.0];
        // The minimum solves τ·(3 − V) = (1 − τ)·(V − 1).
        for (expectile, wanted) in [(0.5, 2.0), (0.75, 2.5), (0.9, 2.8)] {
            let loss = |value: f64| {
                let advantages = Tensor::new(&rewards.map(|reward| reward - value), &Device::Cpu).unwrap();
                expectile_loss(&advantages, expectile).unwrap().to_scalar::<f64>().unwrap()
            };
            assert!(loss(wanted) < loss(wanted + 1e-3) && loss(wanted) < loss(wanted - 1e-3), "{expectile}");
        }
    }
}
