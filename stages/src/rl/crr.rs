//! Critic-regularised regression on demonstrations alone: behaviour cloning of those steps that the critic finds good.
//!
//! A(s, a) = Q(s, a) − Σ_b π(b|s)·Q(s, b)
//! L_π = −mean(f(A(s, a_demo))·log π(a_demo|s)),  f = 1[A > 0] (binary) or min(exp(A/β), w_max) (exponential)
//! L_Q = ½·mean((Q(s, a_demo) − r − γ·Σ_b π(b|s′)·Q̄(s′, b))²)
//!
//! Wang et al. 2020 (arXiv 2006.15134, algorithm 1; `mean` of its advantages). Unlike in `rl.iql`, Q is that of
//! the policy that is learned, and is evaluated at items that are absent from the log, weighted by their probability under π.
//! Published: β 1, w_max 20, targets updated every 100 steps, Adam with 1e-4. The items are discrete, so both sums are exact
//! where the paper draws four actions. Left out: the distributional critic (Q is dueling as in `rl.dqn`), the `max` of the
//! advantages, the target network of π (targets use the current π and Q̄), and CRR's policy at serving time
//! that re-weighs by Q.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
use crate::nn::{ActorCritic, AdamW, Expectation, device, rng};

/// The weight of a demonstrated step by its advantage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Filter {
    /// Weight 1 for an advantage above 0, else 0: the paper's `CRR binary`.
    Binary,
    /// Weight exp(A/β), bounded by `max_weight`: the paper's `CRR exp`.
    Exponential(Exponential),
}

/// Settings of the filter `exponential`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Exponential {
    /// β, in the unit of rewards, above 0: an advantage of β counts e times as much as none. The paper's: 1.
    pub advantage_temperature: f64,
    /// w_max: the largest weight of a step, above 0; the paper's: 20.
    pub max_weight: f64,
}

impl Default for Exponential {
    fn default() -> Self {
        Self { advantage_temperature: 1.0, max_weight: 20.0 }
    }
}

impl Filter {
    fn check(&self) -> Validation {
        let Self::Exponential(Exponential { advantage_temperature, max_weight }) = self else { return Ok(()) };
        validation::positive("exponential.advantage_temperature", *advantage_temperature, "a temperature is above 0")?;
        validation::positive("exponential.max_weight", *max_weight, "a weight is above 0")
    }

    /// f(A): `advantages [N]`, in the unit of rewards → `[N]`.
    pub fn weights(&self, advantages: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Binary => advantages.gt(0.0)?.to_dtype(advantages.dtype()),
            Self::Exponential(Exponential { advantage_temperature, max_weight }) => {
                exponential_weights(advantages, *advantage_temperature, *max_weight)
            }
        }
    }
}

learner_settings! {
    /// `rl.crr`.
    pub struct Crr {
        /// Gradient steps; each updates Q and π.
        pub n_gradient_steps: u64 = 1500,
        /// Transitions of a gradient step, from 1.
        pub batch_size: usize = 128,
        /// f: the weight of a demonstrated step by its advantage, `binary` or `exponential`.
        pub filter: Filter = Filter::Exponential(Exponential::default()),
        /// Gradient steps between two updates of the target network, from 1; an update copies the online network. The paper's: 100.
        pub target_update_interval: u64 = 50,
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.001, max_grad_norm: 10.0, schedule: Linear },
        network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
        checkpoint_every: 100 steps,
        gamma: 0.9,
    }
}

impl Stage for Crr {
    const KIND: &'static str = "rl.crr";
    /// 1: first.
    /// 2: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "train a policy offline on demonstrations by critic-regularised regression";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init"];
    const USES_DEVICE: bool = true;
    type Inputs = Offline;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::batch_size(self.batch_size)?;
        validation::nested("filter", self.filter.check())?;
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
    config: &'c Crr,
    log: ReplayBuffer,
    policy: ActorCritic,
    policy_adam: AdamW,
    values: QValues,
    values_adam: AdamW,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let mut draw = rng(&[config.seed, 0xc44, number]);
        let transitions = self.log.sample(config.batch_size, config.gamma, 1, &mut draw);
        let next_values = self.policy.item_values(&states(&self.policy, &transitions.next)?)?;
        let [next_values, _] = next_values.expectation(&self.values.target_all(&transitions.next)?)?;
        let targets = transitions.td_target(&next_values)?;
        let (done, q) = self.values.online_with_all(&transitions.now, &transitions.actions)?;
        let now = states(&self.policy, &transitions.now)?;
        let Expectation { choice, expected } = self.policy.expectation(&now, &q, &transitions.actions)?;
        let advantages = (&done - expected)?.detach();
        let weights = config.filter.weights(&advantages)?;
        let imitation = weighted_loss(&choice.log_prob, &weights)?;
        let error = bellman_loss(&done, &targets)?;

        let place = || format!("update {number}");
        for adam in [&mut self.policy_adam, &mut self.values_adam] {
            adam.learning_rate = config.optimizer.rate(number, config.n_gradient_steps);
        }
        self.policy_adam.descend(self.policy.params(), &imitation).with_context(place)?;
        self.values_adam.descend(self.values.network.params(), &error).with_context(place)?;
        if (number + 1).is_multiple_of(config.target_update_interval) {
            self.values.update_target()?;
        }
        let number = |tensor: &Tensor| tensor.to_scalar::<f32>().map(f64::from);
        Ok(vec![
            ("imitation_loss", number(&imitation)?),
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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Optimizer;
    use crate::nn::expected;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{
        ContractCase, assert_keeps_the_contract, returns_after_good_and_frequent, small_network, with,
    };

    fn solver() -> Crr {
        Crr {
            n_gradient_steps: 300,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Crr::default()
        }
    }

    fn exponential(advantage_temperature: f64) -> Filter {
        Filter::Exponential(Exponential { advantage_temperature, ..Exponential::default() })
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        for filter in [Filter::Binary, Filter::Exponential(Exponential::default())] {
            assert_keeps_the_contract(&ContractCase {
                short: Crr {
                    n_gradient_steps: 5,
                    batch_size: 9,
                    target_update_interval: 2,
                    filter: filter.clone(),
                    ..solver()
                },
                untrained: Crr { n_gradient_steps: 0, ..solver() },
                solver: Crr { filter, ..solver() },
                updates: 5,
                inputs: Offline::new,
                // Q is another network.
                frozen: &["critic."],
                refused: vec![
                    (with(|c: &mut Crr| c.batch_size = 0), "batch_size"),
                    (with(|c| c.filter = exponential(0.0)), "filter.exponential.advantage_temperature"),
                    (with(|c| c.target_update_interval = 0), "target_update_interval"),
                ],
                online: false,
            });
        }
    }

    #[test]
    fn it_prefers_what_paid_over_what_was_frequent() {
        let returns = |filter: Filter| returns_after_good_and_frequent(&Crr { filter, ..solver() });
        assert_eq!(returns(exponential(1.0)), [120.0, 120.0]);
        assert_eq!(returns(Filter::Binary), [120.0, 120.0]);
        assert_eq!(returns(exponential(1e6)), [90.0, 90.0], "a high temperature copies");
    }

    #[test]
    fn advantages_and_weights_agree_with_hand_computed_values() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let q = tensor(&[4.0, 8.0, 1.0, 3.0]).reshape((2, 2)).unwrap();
        let logits = tensor(&[3.0_f64.ln(), 0.0, 0.0, 0.0]).reshape((2, 2)).unwrap();
        // π is (¾, ¼) and (½, ½): 3 + 2 and ½ + 1½.
        let values = expected(&q, &logits).unwrap().to_vec1::<f64>().unwrap();
        assert!((values[0] - 5.0).abs() < 1e-12 && (values[1] - 2.0).abs() < 1e-12, "{values:?}");
        assert_finite_differences(&q, |q| expected(q, &logits)?.sqr()?.sum_all());
        let advantages = tensor(&[-1.0, 0.0, 2.0, 100.0]);
        let binary = Filter::Binary.weights(&advantages).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(binary, [0.0, 0.0, 1.0, 1.0]);
        let found = exponential(2.0).weights(&advantages).unwrap().to_vec1::<f64>().unwrap();
        let wanted = [(-0.5_f64).exp(), 1.0, 1.0_f64.exp(), 20.0];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }
}
