//! Conservative Q-learning on demonstrations alone: no step is taken in a world.
//!
//! y = Σ_{k<n} γᵏ r_{t+k} + γⁿ Q̄(s_{t+n}, argmax_a Q(s_{t+n}, a))
//! L = α·mean(log Σ_a exp Q(s, a) − Q(s, a_demo)) + ½·mean((Q(s, a_demo) − y)²)
//!
//! Kumar et al. 2020 (arXiv 2006.04779, eq. 4: CQL(H), whose inner maximum over policies is the log-sum-exp over the discrete
//! items), on the double, dueling targets of `rl.dqn`. Q is in the unit of rewards, so α weighs rewards against nats. As Q =
//! V + A − mean A, the first part is behaviour cloning of softmax(A): at large α it copies, at small α it trusts the
//! rewards of the log; between them it may stitch a better policy than any of the demonstrated. Logged transitions of any
//! behaviour are demonstrations: what `demonstrate` writes. Left out: the Lagrange form, in which α is learned, and the
//! importance-sampled continuous form.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Sizes, Stage};

use super::batch::value_unit;
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
use crate::nn::{AdamW, device, rng};

learner_settings! {
    /// `rl.cql`.
    pub struct Cql {
        /// Gradient steps.
        pub n_gradient_steps: u64 = 1500,
        /// Transitions of a gradient step, from 1.
        pub batch_size: usize = 128,
        /// α: weight of the conservative loss, per nat, 0 or more; 0 is plain offline Q-learning. The paper's discrete
        /// tasks use 1 to 4, with rewards of about 1.
        pub alpha: f64 = 1.0,
        /// n of the n-step returns, from 1: rewards that are summed before the target network's value is added.
        pub n_step: usize = 1,
        /// Gradient steps between two updates of the target network, from 1; an update copies the online network.
        pub target_update_interval: u64 = 50,
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.001, max_grad_norm: 10.0, schedule: Linear },
        /// `prior_scale: 1` starts the advantages at the world's own rewards.
        network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
        checkpoint_every: 100 steps,
        gamma: 0.9,
    }
}

impl Stage for Cql {
    const KIND: &'static str = "rl.cql";
    /// 1: first. 2: after a demonstration that was only cut off its next state is priced; the penalty for leaving is learned from.
    /// 3: steps of training are fused, so sums round otherwise.
    /// 4: gradients are summed in parts, for threads, and the conservative loss is fused, so they round otherwise.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "train a policy offline on demonstrations by conservative Q-learning";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init"];
    const USES_DEVICE: bool = true;
    type Inputs = Offline;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::batch_size(self.batch_size)?;
        validation::coefficient("alpha", self.alpha)?;
        validation::n_step(self.n_step)?;
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
        let values = QValues::of(|| start.network(self.seed), value_unit(world, self.gamma))?;
        let mut learner = Learner {
            config: self,
            log: ReplayBuffer::from_demonstrations(&inputs.demonstrations, self.network.window, world)?,
            adam: self.optimizer.adam(values.network.params())?,
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
    config: &'c Cql,
    log: ReplayBuffer,
    values: QValues,
    adam: AdamW,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let mut draw = rng(&[config.seed, 0xc91, number]);
        let transitions = self.log.sample(config.batch_size, config.gamma, config.n_step, &mut draw);
        let targets = self.values.targets(&transitions)?;
        let (q, log_prob) = self.values.online_softmax_of(&transitions.now, &transitions.actions)?;
        let (conservative, error) = (conservative_loss(&log_prob)?, bellman_loss(&q, &targets)?);
        let loss = ((&conservative * config.alpha)? + &error)?;
        self.adam.learning_rate = config.optimizer.rate(number, config.n_gradient_steps);
        self.adam.descend(self.values.network.params(), &loss).with_context(|| format!("update {number}"))?;
        if (number + 1).is_multiple_of(config.target_update_interval) {
            self.values.update_target()?;
        }
        Ok(vec![
            ("conservative_loss", f64::from(conservative.to_scalar::<f32>()?)),
            ("value_error", f64::from(error.to_scalar::<f32>()?)),
        ])
    }
    fn policy(&self) -> Result<TensorFile> {
        self.values.network.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![("policy", self.values.network.params(), &mut self.adam)]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        self.values.export_target()
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        self.values.import_target(state)
    }
}

/// mean(log Σ_a exp Q(s, a) − Q(s, a_demo)) ≥ 0, the cross-entropy of softmax(Q): `log_prob [N]` of what was demonstrated → scalar;
/// the first part of Kumar et al. 2020, eq. 4.
pub fn conservative_loss(log_prob: &Tensor) -> candle_core::Result<Tensor> {
    log_prob.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::env::cluster_world;
    use crate::nn::Optimizer;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::nn::loss::log_prob;
    use crate::rl::conformance::{
        ContractCase, assert_keeps_the_contract, demonstrated_cycles, returns_after_good_and_frequent, small_network,
        with,
    };

    fn solver() -> Cql {
        Cql {
            n_gradient_steps: 400,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Cql::default()
        }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        assert_keeps_the_contract(&ContractCase {
            short: Cql { n_gradient_steps: 5, batch_size: 9, target_update_interval: 2, ..solver() },
            untrained: Cql { n_gradient_steps: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: Offline::new,
            frozen: &[],
            refused: vec![
                (with(|c: &mut Cql| c.batch_size = 0), "batch_size"),
                (with(|c| c.alpha = -1.0), "alpha"),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.target_update_interval = 0), "target_update_interval"),
            ],
            online: false,
        });
    }

    /// Copying prefers what was frequent; Q-learning sees the rewards.
    #[test]
    fn it_prefers_what_paid_over_what_was_frequent() {
        let returns = |alpha: f64| returns_after_good_and_frequent(&Cql { alpha, ..solver() });
        assert_eq!(returns(0.5), [120.0, 120.0]);
        assert_eq!(returns(100.0), [90.0, 90.0], "a large α copies");
    }

    #[test]
    fn a_reward_that_is_no_number_is_refused_by_its_place() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 1);
        let mut demonstrations = demonstrated_cycles(&world, &[&[0, 2, 4]]);
        demonstrations.trajectories[0].steps[3].reward = f32::NAN;
        let folder = tempfile::tempdir().unwrap();
        let outcome = solver().run(Offline::new(world, demonstrations), &Context::detached(folder.path()));
        let error = outcome.err().unwrap().to_string();
        assert!(error.starts_with("demonstrated trajectory 0, step 3: the reward of item 0 is NaN"), "{error}");
    }

    #[test]
    fn the_loss_agrees_with_hand_computed_values_and_finite_differences() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let q = tensor(&[0.0, 2.0_f64.ln(), 5.0_f64.ln(), 1.0, 1.0, 1.0]).reshape((2, 3)).unwrap();
        let actions = Tensor::new(&[1_u32, 0], &Device::Cpu).unwrap();
        // (ln 8 − ln 2 + ln 3e − 1)/2 = (ln 4 + ln 3)/2.
        let loss = conservative_loss(&log_prob(&q, &actions).unwrap()).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 12.0_f64.ln() / 2.0).abs() < 1e-12, "{loss}");
        assert_finite_differences(&q, |q| conservative_loss(&log_prob(q, &actions)?));
    }
}
