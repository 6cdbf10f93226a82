//! Deep Q-learning: double, dueling, with n-step returns and a replay of episodes.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  y = Σ_{k<n} γᵏ r_{t+k} + γⁿ Q̄(s_{t+n}, argmax_a Q(s_{t+n}, a))
//! L = mean(huber((Q(s, a) − y)/unit)), with the unit of the value head
//!
//! Mnih et al. 2015 (*Human-level control through deep reinforcement learning*, algorithm 1); double: van Hasselt et al. 2016
//! (arXiv 1509.06461, eq. 4); dueling: Wang et al. 2016 (arXiv 1511.06581, eq. 9); n-step returns are not corrected for what
//! the policy would do now, as in Rainbow (arXiv 1710.02298). The task is of finite horizon and the state holds the
//! progress, so nothing is worth anything after the last turn, whether the user left or was cut off. Left out: priorities in
//! the replay, distributions of returns, noisy networks, and imitation (see `rl.cql` for learning from demonstrations).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use pipeline::{Context, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::epsilon_greedy::EpsilonGreedy;
use super::inputs::Online;
use super::learner::{Modules, TrainingPlan, UpdateMetrics, train};
use super::mixed_reward::MixedReward;
use super::q_values::{QValues, huber_loss};
use super::replay_buffer::ReplayBuffer;
use super::validation::{self, Validation};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Array, TensorFile, World};
use crate::env::PolicyAgent;
use crate::nn::schedule::{linear, to_a_tenth};
use crate::nn::{AdamW, device, rng};

/// `rl.dqn`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dqn {
    /// Rounds; each plays `episodes` whole episodes and takes `gradient_steps`.
    pub iterations: u64,
    /// Episodes a round.
    pub episodes: usize,
    /// Gradient steps a round.
    pub gradient_steps: u64,
    /// Transitions of a gradient step.
    pub batch_size: usize,
    /// Episodes that the replay keeps.
    pub replay_episodes: usize,
    /// Discount γ, in [0, 1]; 0.5 by default, IL-Rec's and BiLLP's: the further a value looks, the larger its error beside what one
    /// item pays more than another.
    pub gamma: f64,
    /// Steps n before the target network takes over; 1 by default, for longer returns hold the random items that were tried, and
    /// nothing corrects them. Rainbow, which explores without random actions: 3.
    pub n_step: usize,
    /// Gradient steps between two renewals of the target network.
    pub target_period: u64,
    /// Share of random items at first, in [0, 1].
    pub epsilon_first: f64,
    /// Share of random items from `epsilon_until` on, in [0, 1].
    pub epsilon_last: f64,
    /// Share of the rounds over which the first falls to the last in a straight line, in [0, 1].
    pub epsilon_until: f64,
    /// AdamW's step size, falling linearly to a tenth over the training.
    pub learning_rate: f64,
    /// Share ω of r_IRL in the reward, in [0, 1].
    pub omega: f64,
    /// Largest norm of a gradient.
    pub clip: f64,
    /// The network; `prior_scale: 1` starts the advantages at the world's own rewards.
    pub network: NetworkConfig,
    /// Rounds between two checkpoints.
    pub checkpoint_every: u64,
    /// Seed of the weights, the users, the draws and the batches.
    pub seed: u64,
}

impl Default for Dqn {
    fn default() -> Self {
        Self {
            iterations: 300,
            episodes: 16,
            gradient_steps: 8,
            batch_size: 256,
            replay_episodes: 2000,
            gamma: 0.5,
            n_step: 1,
            target_period: 40,
            epsilon_first: 0.5,
            epsilon_last: 0.02,
            epsilon_until: 0.5,
            learning_rate: 0.002,
            omega: 0.0,
            clip: 1.0,
            network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
            checkpoint_every: 25,
            seed: 0,
        }
    }
}

impl Stage for Dqn {
    const KIND: &'static str = "rl.dqn";
    /// 1: first.
    /// 2: steps of training are fused, so sums round otherwise.
    /// 3: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 3;
    const ABOUT: &'static str =
        "train a policy by deep Q-learning (double, dueling, n-step) on world and learned reward";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = Online;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::discount("gamma", self.gamma)?;
        validation::fraction("omega", self.omega)?;
        validation::epsilon(self.epsilon_first, self.epsilon_last, self.epsilon_until)?;
        validation::episodes(self.episodes)?;
        validation::gradient_steps(self.gradient_steps)?;
        validation::batch_size(self.batch_size)?;
        validation::replay_episodes(self.replay_episodes)?;
        validation::n_step(self.n_step)?;
        validation::target_period(self.target_period)?;
        validation::training(self.learning_rate, self.clip, self.checkpoint_every, &self.network)
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega).into_iter().collect()
    }

    fn run(&self, inputs: Online, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let values = QValues::new(&self.network, world, self.gamma, self.seed, &device)?;
        let mut learner = Learner {
            config: self,
            world,
            reward: MixedReward::new(self.omega, inputs.reward.as_ref(), world, self.network.window)?,
            adam: AdamW::new(values.network.params(), self.learning_rate, 0.0, self.clip)?,
            replay: ReplayBuffer::new(self.replay_episodes, self.network.window, world),
            values,
        };
        let plan = TrainingPlan {
            kind: Self::KIND,
            updates: self.iterations,
            unit: "rounds",
            checkpoint_every: self.checkpoint_every,
        };
        train(&mut learner, &plan, world, cx)
    }
}

struct Learner<'a> {
    config: &'a Dqn,
    world: &'a World,
    reward: MixedReward<'a>,
    values: QValues,
    adam: AdamW,
    replay: ReplayBuffer,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let until = (config.iterations as f64 * config.epsilon_until) as u64;
        let epsilon = linear(config.epsilon_first, config.epsilon_last, number, until);
        let agent = EpsilonGreedy { student: PolicyAgent { network: &self.values.network, sample: false }, epsilon };
        let draw = rng(&[config.seed, 0xd90, number]);
        let batch = Batch::play(self.world, &agent, config.episodes, config.network.window, draw)?;
        let rewards = batch.finite(self.reward.of(&batch)?).with_context(|| format!("update {number}"))?;
        self.replay.add(&batch, &rewards);

        self.adam.learning_rate = to_a_tenth(config.learning_rate, number, config.iterations);
        let mut error = 0.0;
        for step in 0..config.gradient_steps {
            let mut draw = rng(&[config.seed, 0xd91, number, step]);
            let transitions = self.replay.sample(config.batch_size, config.gamma, config.n_step, &mut draw);
            let targets = self.values.targets(&transitions)?;
            let q = self.values.online(&transitions.now)?.q;
            let actions = transitions.actions_on(self.values.network.device())?;
            let loss = huber_loss(&q, &actions, &targets, self.values.unit)?;
            error += f64::from(loss.to_scalar::<f32>()?) / config.gradient_steps as f64;
            self.adam
                .descend(self.values.network.params(), &loss)
                .with_context(|| format!("update {number}, gradient step {step}"))?;
            if (number * config.gradient_steps + step + 1).is_multiple_of(config.target_period) {
                self.values.update_target()?;
            }
        }
        Ok(vec![
            ("return", batch.episode_return()),
            ("length", batch.length()),
            ("value_error", error),
            ("epsilon", epsilon),
        ])
    }
    fn policy(&self) -> Result<TensorFile> {
        self.values.network.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![("policy", self.values.network.params(), &mut self.adam)]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        let mut state = self.values.export_target()?;
        state.extend(self.replay.export().into_iter().map(|(name, array)| (format!("replay.{name}"), array)));
        Ok(state)
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        self.values.import_target(state)?;
        self.replay.import(state, "replay.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = Dqn {
            iterations: 150,
            episodes: 8,
            batch_size: 128,
            learning_rate: 0.01,
            network: small_network(),
            ..Dqn::default()
        };
        assert_keeps_the_contract(&ContractCase {
            // The target is renewed and the replay forgets within the few updates.
            short: Dqn {
                iterations: 5,
                episodes: 4,
                gradient_steps: 3,
                batch_size: 9,
                replay_episodes: 6,
                n_step: 3,
                target_period: 4,
                ..solver.clone()
            },
            untrained: Dqn { iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _| Online { world, reward: None },
            frozen: &[],
            refused: vec![
                (with(|c: &mut Dqn| c.gamma = 1.5), "gamma"),
                (with(|c| c.omega = 2.0), "omega"),
                (with(|c| c.epsilon_first = 1.1), "epsilon_first"),
                (with(|c| c.epsilon_last = -0.1), "epsilon_last"),
                (with(|c| c.epsilon_until = f64::NAN), "epsilon_until"),
                (with(|c| c.episodes = 0), "episodes"),
                (with(|c| c.gradient_steps = 0), "gradient_steps"),
                (with(|c| c.batch_size = 0), "batch_size"),
                (with(|c| c.replay_episodes = 0), "replay_episodes"),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.target_period = 0), "target_period"),
                (with(|c| c.checkpoint_every = 0), "checkpoint_every"),
                (with(|c| c.learning_rate = 0.0), "learning_rate"),
                (with(|c| c.clip = 0.0), "clip"),
                (with(|c| c.network.hidden_size = 0), "network.hidden_size"),
            ],
            online: true,
        });
    }
}
