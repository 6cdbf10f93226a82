//! Advantage actor-critic over whole episodes, with a behaviour-cloning loss.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  R_t = Σ_{k<n} γᵏ r_{t+k} + γⁿ V(s_{t+n});  A = (R − V(s) − mean) / deviation
//! L = −mean(A·log π(a|s)) − c_H·H(π) + c_V·mean((V − R)²) + λ·L_imit + λ_KL·mean KL(π‖π₀)
//!
//! Mnih et al. 2016 (arXiv 1602.01783, algorithm S3) in its synchronous form; the mix and L_imit are IL-Rec's (arXiv
//! 2510.13229). The task is of finite horizon and the state holds the progress, so the value after the last turn is 0
//! whether the user left or was cut off. Left out: several updates a batch, and replay.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};

use super::advantage::{n_step_returns, normalised, true_advantages};
pub use super::batch::Batch;
use super::batch::value_unit;
use super::inputs::OnlineWithDemos;
use super::kl_config::KlConfig;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::{LearnerTables, states_of};
use super::mixed_reward::MixedReward;
use super::reference::{Reference, ReferenceMetrics, divergence_of};
use super::settings::learner_settings;
use super::shaping::{Shaper, shaped};
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{BcDataset, EntropyBy, NetworkConfig, Outputs, PolicyLearner, Shaping};
use crate::artifact::{Array, TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::loss::value_loss;
use crate::nn::{ActionLogProb, ActorCritic, AdamW, Params, device, rng};

learner_settings! {
    /// `rl.a2c`.
    pub struct A2c {
        /// Iterations; each plays `episodes_per_update` whole episodes with the current policy and takes one gradient step on them.
        pub n_iterations: u64 = 400,
        /// Whole episodes that an iteration plays, from 1.
        pub episodes_per_update: usize = 64,
        /// n of the n-step returns, from 1: rewards that are summed before the critic's value is added.
        pub n_step: usize = 8,
        /// c_H: weight of the entropy bonus, per nat.
        pub entropy_coef: f64 = 0.01,
        /// What the entropy of a step is multiplied by in the bonus: 1 (`mean`, the default) or the normalised advantage, cut to ±3
        /// (`advantage`: IBRO, see `rl::entropy`).
        #[serde(skip_serializing_if = "EntropyBy::is_mean")]
        pub entropy_by: EntropyBy = EntropyBy::Mean,
        /// c_V: weight of the critic's loss, 0 or more.
        pub value_coef: f64 = 0.5,
        /// Share ω of r_IRL in the reward, in [0, 1]: 0 as in IL-Rec's released code, 1 is pure inverse RL.
        pub omega: f64 = 0.0,
        /// λ: weight of the behaviour-cloning loss, 0 or more; 0 turns it off. 0.25 is IL-Rec's for Steam.
        pub bc_coef: f64 = 0.25,
        /// Demonstrated steps in the behaviour-cloning loss of a gradient step, from 1.
        pub bc_batch_size: usize = 128,
        /// The divergence from a reference policy: λ·KL(π‖π₀) in the loss (after LINVIT, arXiv 2402.16181).
        #[serde(skip_serializing_if = "KlConfig::is_off")]
        pub kl: KlConfig = KlConfig::default(),
        /// How a connected `memory` shapes the advantages: Ã = ηÂ + ξU (after MIRA, arXiv 2602.17930).
        #[serde(skip_serializing_if = "Shaping::is_default")]
        pub shaping: Shaping = Shaping::default(),
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        network: NetworkConfig::default(),
        checkpoint_every: 25 iterations,
        gamma: 0.9,
    }
}

impl Stage for A2c {
    const KIND: &'static str = "rl.a2c";
    /// 1: first. 2: both heads read one encoding and log π and the entropy are one operation, so sums
    /// round otherwise; `network.encoder`.
    /// 3: steps of training are fused, so sums round otherwise.
    /// 4: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 4;
    const ABOUT: &'static str =
        "train a policy by advantage actor-critic on world and learned reward, with a behaviour-cloning loss";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init", "reference", "memory"];
    const USES_DEVICE: bool = true;
    type Inputs = OnlineWithDemos;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::fraction("omega", self.omega)?;
        validation::n_step(self.n_step)?;
        validation::episodes_per_update(self.episodes_per_update)?;
        validation::behaviour_cloning(self.bc_coef, self.bc_batch_size)?;
        validation::coefficient("value_coef", self.value_coef)?;
        validation::finite("entropy_coef", self.entropy_coef)?;
        validation::nested("kl", self.kl.check())?;
        validation::nested("shaping", self.shaping.check())?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega)
            .into_iter()
            .chain(BcDataset::requirement(self.bc_coef))
            .chain([self.kl.requirement()])
            .chain(self.shaping.requirement())
            .collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 1, states_of(self.episodes_per_update, inputs)).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: OnlineWithDemos, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let reward = MixedReward::new(self.omega, inputs.reward.as_ref(), world, self.network.window)?;
        let demonstrated = BcDataset::optional(
            self.bc_coef,
            inputs.demonstrations.as_ref(),
            inputs.weights.as_ref(),
            world,
            self.network.window,
        )?;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let reference = Reference::optional(&self.kl, inputs.reference.as_ref(), world, self.network.window, &device)?;
        let shaper = Shaper::optional(&self.shaping, inputs.memory.as_ref(), world, self.n_iterations, self.seed)?;
        let learner = Learner { reference, shaper, ..Learner::with(self, start.network(self.seed)?, world)? };
        let mut learner = Trainer { learner, world, demonstrated, reward };
        train(
            &mut learner,
            &self
                .plan(self.n_iterations)
                .after(inputs.init.as_ref(), inputs.reference.as_ref())?
                .taught_by(inputs.demonstrations.as_ref()),
            world,
            cx,
        )
    }
}

/// The learner with its inputs.
struct Trainer<'a> {
    learner: Learner<'a>,
    world: &'a World,
    demonstrated: Option<BcDataset>,
    reward: MixedReward<'a>,
}

impl PolicyLearner for Trainer<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let demonstrated = self.demonstrated.as_ref();
        Ok(self.learner.update(self.world, number, demonstrated, |batch, _| self.reward.of(batch))?.series())
    }
    fn policy(&self) -> Result<TensorFile> {
        self.learner.network.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![self.learner.modules()]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        Ok(self.learner.shaper.iter().flat_map(Shaper::extra_state).collect())
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        self.learner.shaper.iter_mut().try_for_each(|shaper| shaper.restore(state))
    }
}

/// What one update saw.
pub struct A2cMetrics {
    /// Mean undiscounted world return of the batch.
    pub episode_return: f64,
    /// Mean steps of the batch.
    pub length: f64,
    /// Mean entropy of the policy, nats.
    pub entropy: f64,
    /// Mean squared error of the critic, in its own units.
    pub value_error: f64,
    /// Imitation loss, nats; 0 where nothing is imitated.
    pub bc_loss: f64,
    /// What the terms did that are off by default, by the name of their curve.
    pub terms: UpdateMetrics,
}

impl A2cMetrics {
    fn series(self) -> UpdateMetrics {
        let series = vec![
            ("return", self.episode_return),
            ("length", self.length),
            ("entropy", self.entropy),
            ("value_error", self.value_error),
            ("imitation_loss", self.bc_loss),
        ];
        series.into_iter().chain(self.terms).collect()
    }
}

/// The learner itself, also the generator of adversarial inverse RL.
pub struct Learner<'c> {
    config: &'c A2c,
    /// The policy so far.
    pub network: ActorCritic,
    adam: AdamW,
    /// The critic's unit.
    value_unit: f64,
    /// π₀, where the policy is held near one.
    reference: Option<Reference>,
    /// The memory, where one is connected.
    shaper: Option<Shaper>,
}

impl<'c> Learner<'c> {
    /// A fresh learner on that device.
    pub fn new(config: &'c A2c, world: &World, device: &Device) -> Result<Self> {
        Self::with(config, config.network.build(world, config.seed, device)?, world)
    }

    /// A learner that begins with that network.
    fn with(config: &'c A2c, network: ActorCritic, world: &World) -> Result<Self> {
        let adam = config.optimizer.adam(network.params())?;
        let value_unit = value_unit(world, config.gamma);
        Ok(Self { config, network, adam, value_unit, reference: None, shaper: None })
    }

    /// The policy's network with its optimiser, as a part of a [`State`].
    pub fn modules(&mut self) -> (&'static str, &Params, &mut AdamW) {
        ("policy", self.network.params(), &mut self.adam)
    }

    /// Plays a batch with the current policy.
    pub fn collect(&self, world: &World, iteration: u64) -> Result<Batch> {
        let student = PolicyAgent { network: &self.network, sample: true };
        let draw = rng(&[self.config.seed, 0xa2c, iteration]);
        Batch::play(world, &student, self.config.episodes_per_update, self.config.network.window, draw)
    }

    /// One update: play, reward, learn. `reward` computes the rewards of a batch from the policy that played it.
    pub fn update(
        &mut self,
        world: &World,
        iteration: u64,
        demonstrated: Option<&BcDataset>,
        reward: impl Fn(&Batch, &ActorCritic) -> Result<Vec<f32>>,
    ) -> Result<A2cMetrics> {
        let config = self.config;
        let batch = self.collect(world, iteration)?;
        let rewards = batch.finite(reward(&batch, &self.network)?).with_context(|| format!("update {iteration}"))?;
        let observed = states(&self.network, &batch.observation)?;
        let (choice, values) = self.network.evaluate_actions(&observed, &batch.actions)?;
        let unit = self.value_unit as f32;
        let state_values: Vec<f32> = values.to_vec1::<f32>()?.into_iter().map(|v| v * unit).collect();
        let returns = n_step_returns(&rewards, &state_values, &batch.lengths, config.gamma, config.n_step);
        let advantages = normalised(returns.iter().zip(&state_values).map(|(r, v)| r - v).collect());
        let targets: Vec<f32> = returns.iter().map(|r| r / unit).collect();

        let steps = batch.steps();
        let ActionLogProb { log_prob, entropy } = choice;
        let truth = || true_advantages(&batch.training_rewards, &batch.lengths, config.gamma);
        let mut terms = config.entropy_by.series(&entropy.to_vec1()?, &advantages, truth);
        let episodes = batch.lengths.len();
        let (shaped, memory) = shaped(&mut self.shaper, iteration, &batch, episodes, &advantages, truth)?;
        terms.extend(memory);
        let advantages = Tensor::from_vec(advantages, steps, values.device())?;
        let actor = policy_gradient_loss(&log_prob, &Tensor::from_vec(shaped, steps, values.device())?)?;
        let bonus = config.entropy_by.bonus(&entropy, &advantages)?;
        let entropy = entropy.mean_all()?;
        let critic = value_loss(&values, &Tensor::from_vec(targets, steps, values.device())?)?;
        let mut loss = ((&actor - (bonus * config.entropy_coef)?)? + (&critic * config.value_coef)?)?;
        let mut imitated = 0.0;
        if let Some(demonstrated) = demonstrated {
            let rows = demonstrated.draw(config.bc_batch_size, rng(&[config.seed, 0x1317, iteration]));
            let bc_loss = demonstrated.imitation_loss(&self.network, &rows)?;
            imitated = f64::from(bc_loss.to_scalar::<f32>()?);
            loss = (loss + (bc_loss * config.bc_coef)?)?;
        }
        if let Some(reference) = &self.reference {
            let coef = config.kl.coef_at(iteration, config.n_iterations);
            let log_probs = reference.log_probs(&batch.observation)?;
            let divergences = divergence_of(&self.network, &observed, &log_probs)?;
            loss = (loss + (divergences.mean_all()? * coef)?)?;
            terms.extend(ReferenceMetrics::of(&log_probs, coef, &divergences, &batch, config.gamma)?.series());
        }
        self.adam.learning_rate = config.optimizer.rate(iteration, config.n_iterations);
        self.adam.descend(self.network.params(), &loss).with_context(|| format!("update {iteration}"))?;
        Ok(A2cMetrics {
            episode_return: batch.episode_return(),
            length: batch.length(),
            entropy: f64::from(entropy.to_scalar::<f32>()?),
            value_error: f64::from(critic.to_scalar::<f32>()?),
            bc_loss: imitated,
            terms,
        })
    }
}

/// −mean(A·log π(a|s)): `log_prob [S], advantage [S]` → scalar; the advantage is a constant.
pub fn policy_gradient_loss(log_prob: &Tensor, advantage: &Tensor) -> candle_core::Result<Tensor> {
    (log_prob * advantage)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Optimizer;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = A2c {
            n_iterations: 300,
            episodes_per_update: 32,
            optimizer: Optimizer::with_learning_rate(0.01),
            bc_coef: 0.0,
            network: small_network(),
            ..A2c::default()
        };
        assert_keeps_the_contract(&ContractCase {
            short: A2c { n_iterations: 5, episodes_per_update: 4, ..solver.clone() },
            untrained: A2c { n_iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _| OnlineWithDemos::new(world),
            frozen: &[],
            refused: vec![
                (with(|c: &mut A2c| c.omega = -0.1), "omega"),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.episodes_per_update = 0), "episodes_per_update"),
                (with(|c| c.bc_batch_size = 0), "bc_batch_size"),
                (with(|c| c.bc_coef = -0.1), "bc_coef"),
                (with(|c| c.kl.floor = 0.0), "kl.floor"),
                (with(|c| c.value_coef = f64::NAN), "value_coef"),
                (with(|c| c.entropy_coef = f64::INFINITY), "entropy_coef"),
            ],
            online: true,
        });
    }

    #[test]
    fn losses_agree_with_hand_computed_values_and_finite_differences() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let (log_p, advantage) = (tensor(&[-1.0, -2.0]), tensor(&[3.0, -1.0]));
        let loss = policy_gradient_loss(&log_p, &advantage).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 0.5).abs() < 1e-12, "−(−1·3 + −2·−1)/2 = ½, found {loss}");
        assert_finite_differences(&log_p, |x| policy_gradient_loss(x, &advantage));
    }
}
