//! The skeleton of a learner: REINFORCE with an entropy bonus. It is built for the tests alone; copy it to begin a learner, see
//! "Adding a learner" in `README.md` beside it.
//!
//! L = −mean(log π(a|s)·A) − β·mean(H(π(·|s))),  A = Σ_k γᵏ r_{t+k}, less its mean and over its deviation
//!
//! Williams 1992 (*Simple statistical gradient-following algorithms for connectionist reinforcement learning*), with the mean
//! return for a baseline. Left out: a critic (see `rl.a2c`).

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::advantage::{n_step_returns, normalised};
use super::batch::Batch;
use super::learner::{Modules, TrainingPlan, UpdateMetrics, train};
use super::validation::{self, Validation};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::schedule::to_a_tenth;
use crate::nn::{ActionLogProb, ActorCritic, AdamW, device, rng};

/// `rl.reinforce`. (Each field: meaning, unit, range, where its default comes from; this is the schema and the help of errors.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reinforce {
    /// Updates, each of one batch of episodes.
    pub iterations: u64,
    /// Episodes an update.
    pub episodes: usize,
    /// Discount γ, in [0, 1].
    pub gamma: f64,
    /// β: what a nat of uncertainty is paid, 0 or more.
    pub entropy: f64,
    /// AdamW's step size, falling linearly to a tenth over the training.
    pub learning_rate: f64,
    /// The network.
    pub network: NetworkConfig,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
    /// Seed of the weights, the users and the draws.
    pub seed: u64,
}

impl Default for Reinforce {
    fn default() -> Self {
        Self {
            iterations: 300,
            episodes: 32,
            gamma: 0.5,
            entropy: 0.01,
            learning_rate: 0.005,
            network: NetworkConfig::default(),
            checkpoint_every: 25,
            seed: 0,
        }
    }
}

pipeline::ports! {
    /// What is learned from.
    pub struct Inputs {
        /// The training world; never the judging one.
        world: World,
    }
}

impl Stage for Reinforce {
    const KIND: &'static str = "rl.reinforce";
    /// 1: first. (Raised when equal settings on equal inputs give another result.)
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "train a policy by REINFORCE on a world";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::episodes(self.episodes)?;
        validation::discount("gamma", self.gamma)?;
        validation::coefficient("entropy", self.entropy)?;
        validation::step_size("learning_rate", self.learning_rate)?;
        validation::checkpoints(self.checkpoint_every)?;
        validation::nested("network", self.network.check())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let policy = self.network.build(world, self.seed, &device::of(cx)?)?;
        let adam = AdamW::new(policy.params(), self.learning_rate, 0.0, 1.0)?;
        let mut learner = Learner { config: self, world, policy, adam };
        let plan = TrainingPlan {
            kind: Self::KIND,
            updates: self.iterations,
            unit: "updates",
            checkpoint_every: self.checkpoint_every,
        };
        train(&mut learner, &plan, world, cx)
    }
}

struct Learner<'a> {
    config: &'a Reinforce,
    world: &'a World,
    policy: ActorCritic,
    adam: AdamW,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        // All that is random comes from (seed, a number of this purpose alone, update): so a resumed run draws the same.
        let draw = rng(&[config.seed, 0x53e1, number]);
        let agent = PolicyAgent { network: &self.policy, sample: true };
        let batch = Batch::play(self.world, &agent, config.episodes, config.network.window, draw)?;
        let place = || format!("update {number}");
        let rewards = batch.finite(batch.training_rewards.clone()).with_context(place)?;

        let horizon = self.world.rules.horizon;
        let returns = n_step_returns(&rewards, &vec![0.0; rewards.len()], &batch.lengths, config.gamma, horizon);
        let advantages = Tensor::from_vec(normalised(returns), batch.steps(), self.policy.device())?;
        let observed = states(&self.policy, &batch.observation)?;
        let ActionLogProb { log_prob, entropy } = self.policy.action_log_prob(&observed, &batch.actions)?;
        let loss = loss(&log_prob, &advantages, &entropy, config.entropy)?;
        self.adam.learning_rate = to_a_tenth(config.learning_rate, number, config.iterations);
        self.adam.descend(self.policy.params(), &loss).with_context(place)?;
        Ok(vec![
            ("return", batch.episode_return()),
            ("length", batch.length()),
            ("entropy", f64::from(entropy.mean_all()?.to_scalar::<f32>()?)),
        ])
    }
    fn policy(&self) -> Result<TensorFile> {
        self.policy.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![("policy", self.policy.params(), &mut self.adam)]
    }
}

/// −mean(log π·A) − β·mean(H): `log_prob [S]`, `advantages [S]` and `entropy [S]` → scalar; advantages are constants.
fn loss(log_prob: &Tensor, advantages: &Tensor, entropy: &Tensor, bonus: f64) -> candle_core::Result<Tensor> {
    ((log_prob * advantages)? + (entropy * bonus)?)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::action_log_prob;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = Reinforce { learning_rate: 0.01, network: small_network(), ..Reinforce::default() };
        assert_keeps_the_contract(&ContractCase {
            short: Reinforce { iterations: 5, episodes: 4, ..solver.clone() },
            untrained: Reinforce { iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _| Inputs { world },
            // There is no critic.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut Reinforce| c.episodes = 0), "episodes"),
                (with(|c| c.gamma = 1.5), "gamma"),
                (with(|c| c.entropy = -1.0), "entropy"),
                (with(|c| c.learning_rate = 0.0), "learning_rate"),
                (with(|c| c.checkpoint_every = 0), "checkpoint_every"),
                (with(|c| c.network.hidden_size = 0), "network.hidden_size"),
            ],
            online: true,
        });
    }

    #[test]
    fn the_loss_agrees_with_hand_computed_values_and_finite_differences() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        // −(−1·2 + ½·1 + −2·−1 + ½·0)/2.
        let found = loss(&tensor(&[-1.0, -2.0]), &tensor(&[2.0, -1.0]), &tensor(&[1.0, 0.0]), 0.5).unwrap();
        assert_eq!(found.to_scalar::<f64>().unwrap(), -0.25);
        let logits = tensor(&[0.3, -1.2, 0.4, 0.01, 1.0, 0.5]).reshape((2, 3)).unwrap();
        assert_finite_differences(&logits, |logits| {
            let ActionLogProb { log_prob, entropy } = action_log_prob(logits, &[2, 0])?;
            loss(&log_prob, &tensor(&[1.5, -0.5]), &entropy, 0.3)
        });
    }
}
