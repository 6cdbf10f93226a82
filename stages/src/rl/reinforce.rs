//! REINFORCE with a baseline: the policy gradient over whole episodes, without a critic.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  G_t = Σ_k γᵏ r_{t+k};  A_t = (G_t − b) / σ_G, with b the mean and σ_G the deviation of G over the update
//! L = −mean(log π(a|s)·A) − c_H·mean(H(π(·|s)))
//!
//! Williams 1992 (*Simple statistical gradient-following algorithms for connectionist reinforcement learning*), whose reinforcement
//! baseline is b. Left out: a learned baseline V(s), which is `rl.a2c` with `n_step` of the horizon.
//! It is the shortest learner; a new one begins as a copy of it (see "Adding a learner" in `README.md`).

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};

use super::advantage::{n_step_returns, normalised};
use super::batch::Batch;
use super::inputs::Online;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::{LearnerTables, states_of};
use super::mixed_reward::MixedReward;
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::{ActionLogProb, ActorCritic, AdamW, device, rng};

learner_settings! {
    /// `rl.reinforce`.
    pub struct Reinforce {
        /// Iterations; each plays `episodes_per_update` whole episodes with the current policy and takes one gradient step on them.
        pub n_iterations: u64 = 300,
        /// Whole episodes that an iteration plays, from 1.
        pub episodes_per_update: usize = 32,
        /// c_H: weight of the entropy bonus, per nat, 0 or more.
        pub entropy_coef: f64 = 0.01,
        /// Share ω of r_IRL in the reward, in [0, 1].
        pub omega: f64 = 0.0,
    }
    shared {
        optimizer: { learning_rate: 0.005, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        network: NetworkConfig::default(),
        checkpoint_every: 25 iterations,
        gamma: 0.5,
    }
}

impl Stage for Reinforce {
    const KIND: &'static str = "rl.reinforce";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "train a policy by REINFORCE with a baseline on world and learned reward";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init"];
    const USES_DEVICE: bool = true;
    type Inputs = Online;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::fraction("omega", self.omega)?;
        validation::episodes_per_update(self.episodes_per_update)?;
        validation::coefficient("entropy_coef", self.entropy_coef)?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega).into_iter().collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 1, states_of(self.episodes_per_update, inputs)).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Online, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let policy = start.network(self.seed)?;
        let adam = self.optimizer.adam(policy.params())?;
        let reward = MixedReward::new(self.omega, inputs.reward.as_ref(), world, self.network.window)?;
        let mut learner = Learner { config: self, world, reward, policy, adam };
        train(&mut learner, &self.plan(self.n_iterations).after(inputs.init.as_ref(), None)?, world, cx)
    }
}

struct Learner<'a> {
    config: &'a Reinforce,
    world: &'a World,
    reward: MixedReward<'a>,
    policy: ActorCritic,
    adam: AdamW,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        // Random numbers are drawn from (seed, purpose, update) alone, so that a resumed run draws the same.
        let draw = rng(&[config.seed, 0x53e1, number]);
        let agent = PolicyAgent { network: &self.policy, sample: true };
        let batch = Batch::play(self.world, &agent, config.episodes_per_update, config.network.window, draw)?;
        let place = || format!("update {number}");
        let rewards = batch.finite(self.reward.of(&batch)?).with_context(place)?;

        let horizon = self.world.rules.horizon;
        let returns = n_step_returns(&rewards, &vec![0.0; rewards.len()], &batch.lengths, config.gamma, horizon);
        let advantages = Tensor::from_vec(normalised(returns), batch.steps(), self.policy.device())?;
        let observed = states(&self.policy, &batch.observation)?;
        let ActionLogProb { log_prob, entropy } = self.policy.action_log_prob(&observed, &batch.actions)?;
        let loss = loss(&log_prob, &advantages, &entropy, config.entropy_coef)?;
        self.adam.learning_rate = config.optimizer.rate(number, config.n_iterations);
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

/// −mean(log π·A) − c_H·mean(H): `log_prob [S]`, `advantages [S]` and `entropy [S]` → scalar; advantages are constants.
fn loss(log_prob: &Tensor, advantages: &Tensor, entropy: &Tensor, bonus: f64) -> candle_core::Result<Tensor> {
    ((log_prob * advantages)? + (entropy * bonus)?)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Optimizer;
    use crate::nn::action_log_prob;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = Reinforce {
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Reinforce::default()
        };
        assert_keeps_the_contract(&ContractCase {
            short: Reinforce { n_iterations: 5, episodes_per_update: 4, ..solver.clone() },
            untrained: Reinforce { n_iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _| Online::new(world),
            // There is no critic.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut Reinforce| c.episodes_per_update = 0), "episodes_per_update"),
                (with(|c| c.entropy_coef = -1.0), "entropy_coef"),
                (with(|c| c.omega = 2.0), "omega"),
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
