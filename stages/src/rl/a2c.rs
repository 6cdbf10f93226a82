//! Advantage actor-critic over whole episodes, with imitation beside it.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  R_t = Σ_{k<n} γᵏ r_{t+k} + γⁿ V(s_{t+n});  A = (R − V(s) − mean) / deviation
//! L = −mean(A·log π(a|s)) − c_H·H(π) + c_V·mean((V − R)²) + λ·L_imit
//!
//! Mnih et al. 2016 (arXiv 1602.01783, algorithm S3) in its synchronous form; the mix and L_imit are IL-Rec's (arXiv
//! 2510.13229). The task is of finite horizon and the state holds the progress, so the value after the last turn is 0
//! whether the user left or was cut off. Left out: several updates a batch, and replay.

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use pipeline::{Context, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::advantage::{n_step_returns, normalised};
pub use super::batch::Batch;
use super::batch::value_unit;
use super::inputs::OnlineWithDemos;
use super::learner::{Modules, TrainingPlan, UpdateMetrics, train};
use super::mixed_reward::MixedReward;
use super::validation::{self, Validation};
use super::{BcDataset, NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::loss::value_loss;
use crate::nn::schedule::to_a_tenth;
use crate::nn::{ActionLogProb, ActorCritic, AdamW, Params, device, rng};

/// `rl.a2c`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct A2c {
    /// Updates; each plays `episodes` whole episodes with the present policy.
    pub iterations: u64,
    /// Episodes an update.
    pub episodes: usize,
    /// Discount γ, in [0, 1].
    pub gamma: f64,
    /// Steps n before the critic takes over.
    pub n_step: usize,
    /// AdamW's step size, falling linearly to a tenth over the training.
    pub learning_rate: f64,
    /// c_H: what a nat of entropy is worth.
    pub entropy: f64,
    /// c_V.
    pub value_loss: f64,
    /// Share ω of r_IRL in the reward, in [0, 1]: 0 as in IL-Rec's released code, 1 is pure inverse RL.
    pub omega: f64,
    /// λ of the imitation loss; 0.25 is IL-Rec's for Steam.
    pub imitation: f64,
    /// Demonstrated steps an update imitates.
    pub imitation_batch: usize,
    /// Largest norm of a gradient.
    pub clip: f64,
    /// The network.
    pub network: NetworkConfig,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
    /// Seed of the weights, the users and the draws.
    pub seed: u64,
}

impl Default for A2c {
    fn default() -> Self {
        Self {
            iterations: 400,
            episodes: 64,
            gamma: 0.9,
            n_step: 8,
            learning_rate: 0.002,
            entropy: 0.01,
            value_loss: 0.5,
            omega: 0.0,
            imitation: 0.25,
            imitation_batch: 128,
            clip: 1.0,
            network: NetworkConfig::default(),
            checkpoint_every: 25,
            seed: 0,
        }
    }
}

impl Stage for A2c {
    const KIND: &'static str = "rl.a2c";
    /// 1: first. 2: both heads read one encoding and log π and the entropy are one operation, so sums
    /// round otherwise; `network.encoder`.
    /// 3: steps of training are fused, so sums round otherwise.
    /// 4: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "train a policy by advantage actor-critic on world and learned reward, with imitation";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = OnlineWithDemos;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::discount("gamma", self.gamma)?;
        validation::fraction("omega", self.omega)?;
        validation::n_step(self.n_step)?;
        validation::episodes(self.episodes)?;
        validation::imitation(self.imitation, self.imitation_batch)?;
        validation::coefficient("value_loss", self.value_loss)?;
        validation::finite("entropy", self.entropy)?;
        validation::training(self.learning_rate, self.clip, self.checkpoint_every, &self.network)
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega).into_iter().chain(BcDataset::requirement(self.imitation)).collect()
    }

    fn run(&self, inputs: OnlineWithDemos, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let reward = MixedReward::new(self.omega, inputs.reward.as_ref(), world, self.network.window)?;
        let demonstrated = BcDataset::optional(
            self.imitation,
            inputs.demonstrations.as_ref(),
            inputs.weights.as_ref(),
            world,
            self.network.window,
        )?;
        let mut learner = Trainer { learner: Learner::new(self, world, &device)?, world, demonstrated, reward };
        let plan = TrainingPlan {
            kind: Self::KIND,
            updates: self.iterations,
            unit: "updates",
            checkpoint_every: self.checkpoint_every,
        };
        train(&mut learner, &plan, world, cx)
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
    pub imitation: f64,
}

impl A2cMetrics {
    fn series(&self) -> UpdateMetrics {
        vec![
            ("return", self.episode_return),
            ("length", self.length),
            ("entropy", self.entropy),
            ("value_error", self.value_error),
            ("imitation_loss", self.imitation),
        ]
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
}

impl<'c> Learner<'c> {
    /// A fresh learner on that device.
    pub fn new(config: &'c A2c, world: &World, device: &Device) -> Result<Self> {
        let network = config.network.build(world, config.seed, device)?;
        let adam = AdamW::new(network.params(), config.learning_rate, 0.0, config.clip)?;
        Ok(Self { config, network, adam, value_unit: value_unit(world, config.gamma) })
    }

    /// The policy's network with its optimiser, as a part of a [`State`].
    pub fn modules(&mut self) -> (&'static str, &Params, &mut AdamW) {
        ("policy", self.network.params(), &mut self.adam)
    }

    /// Plays a batch with the present policy.
    pub fn collect(&self, world: &World, iteration: u64) -> Result<Batch> {
        let student = PolicyAgent { network: &self.network, sample: true };
        let draw = rng(&[self.config.seed, 0xa2c, iteration]);
        Batch::play(world, &student, self.config.episodes, self.config.network.window, draw)
    }

    /// One update: play, reward, learn. `reward` is told the batch and the policy that played it.
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
        let (choice, values) =
            self.network.evaluate_actions(&states(&self.network, &batch.observation)?, &batch.actions)?;
        let unit = self.value_unit as f32;
        let state_values: Vec<f32> = values.to_vec1::<f32>()?.into_iter().map(|v| v * unit).collect();
        let returns = n_step_returns(&rewards, &state_values, &batch.lengths, config.gamma, config.n_step);
        let advantages = normalised(returns.iter().zip(&state_values).map(|(r, v)| r - v).collect());
        let targets: Vec<f32> = returns.iter().map(|r| r / unit).collect();

        let steps = batch.steps();
        let advantages = Tensor::from_vec(advantages, steps, values.device())?;
        let ActionLogProb { log_prob, entropy } = choice;
        let actor = policy_gradient_loss(&log_prob, &advantages)?;
        let entropy = entropy.mean_all()?;
        let critic = value_loss(&values, &Tensor::from_vec(targets, steps, values.device())?)?;
        let mut loss = ((&actor - (&entropy * config.entropy)?)? + (&critic * config.value_loss)?)?;
        let mut imitation = 0.0;
        if let Some(demonstrated) = demonstrated {
            let rows = demonstrated.draw(config.imitation_batch, rng(&[config.seed, 0x1317, iteration]));
            let bc_loss = demonstrated.imitation_loss(&self.network, &rows)?;
            imitation = f64::from(bc_loss.to_scalar::<f32>()?);
            loss = (loss + (bc_loss * config.imitation)?)?;
        }
        self.adam.learning_rate = to_a_tenth(config.learning_rate, iteration, config.iterations);
        self.adam.descend(self.network.params(), &loss).with_context(|| format!("update {iteration}"))?;
        Ok(A2cMetrics {
            episode_return: batch.episode_return(),
            length: batch.length(),
            entropy: f64::from(entropy.to_scalar::<f32>()?),
            value_error: f64::from(critic.to_scalar::<f32>()?),
            imitation,
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
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = A2c {
            iterations: 300,
            episodes: 32,
            learning_rate: 0.01,
            imitation: 0.0,
            network: small_network(),
            ..A2c::default()
        };
        assert_keeps_the_contract(&ContractCase {
            short: A2c { iterations: 5, episodes: 4, ..solver.clone() },
            untrained: A2c { iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _| OnlineWithDemos { world, reward: None, demonstrations: None, weights: None },
            frozen: &[],
            refused: vec![
                (with(|c: &mut A2c| c.gamma = 1.5), "gamma"),
                (with(|c| c.omega = -0.1), "omega"),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.episodes = 0), "episodes"),
                (with(|c| c.checkpoint_every = 0), "checkpoint_every"),
                (with(|c| c.imitation_batch = 0), "imitation_batch"),
                (with(|c| c.learning_rate = 0.0), "learning_rate"),
                (with(|c| c.clip = -1.0), "clip"),
                (with(|c| c.imitation = -0.1), "imitation"),
                (with(|c| c.value_loss = f64::NAN), "value_loss"),
                (with(|c| c.entropy = f64::INFINITY), "entropy"),
                (with(|c| c.network.window = 0), "network.window"),
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
