//! Deep Q-learning: double, dueling, with n-step returns and a replay of episodes.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  y = Σ_{k<n} γᵏ r_{t+k} + γⁿ Q̄(s_{t+n}, argmax_a Q(s_{t+n}, a))
//! L = mean(huber((Q(s, a) − y)/unit)), with the unit of the value head
//! with a reference policy π₀: y = Σ_{k<n} γᵏ r_{t+k} + γⁿ·λ·log Σ_a π₀(a|s_{t+n})·exp(Q̄(s_{t+n}, a)/λ), and π ∝ π₀·exp(Q/λ) explores
//!
//! Mnih et al. 2015 (*Human-level control through deep reinforcement learning*, algorithm 1); double: van Hasselt et al. 2016
//! (arXiv 1509.06461, eq. 4); dueling: Wang et al. 2016 (arXiv 1511.06581, eq. 9); n-step returns are not corrected for what
//! the policy would do now, as in Rainbow (arXiv 1710.02298). The task is of finite horizon and the state holds the
//! progress, so the value after the last turn is 0, whether the user left or the horizon was reached. Left out: priorities in
//! the replay, distributions of returns, noisy networks, and imitation (see `rl.cql` for learning from demonstrations).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};

use super::batch::{Batch, value_unit};
use super::epsilon_greedy::EpsilonGreedy;
use super::inputs::OnlineWithReference;
use super::kl_config::KlConfig;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::LearnerTables;
use super::mixed_reward::MixedReward;
use super::q_values::{QValues, huber_loss};
use super::reference::{Guided, Reference, ReferenceMetrics, kl_divergence, soft_maximum};
use super::replay_buffer::ReplayBuffer;
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Array, TensorFile, World};
use crate::env::{Agent, PolicyAgent};
use crate::nn::schedule::linear;
use crate::nn::{AdamW, device, rng};

learner_settings! {
    /// `rl.dqn`.
    pub struct Dqn {
        /// Iterations; each plays `episodes_per_update` whole episodes and then takes `gradient_steps`.
        pub n_iterations: u64 = 300,
        /// Whole episodes that an iteration plays, from 1.
        pub episodes_per_update: usize = 16,
        /// Gradient steps of an iteration, from 1.
        pub gradient_steps: u64 = 8,
        /// Transitions of a gradient step, from 1.
        pub batch_size: usize = 256,
        /// Episodes that the replay buffer holds, from 1; the oldest are dropped.
        pub buffer_episodes: usize = 2000,
        /// n of the n-step returns, from 1: rewards that are summed before the target network's value is added. 1 by default, because
        /// longer returns include random items and are not corrected for them. Rainbow, which explores by noisy networks: 3.
        pub n_step: usize = 1,
        /// Gradient steps between two updates of the target network, from 1; an update copies the online network.
        pub target_update_interval: u64 = 40,
        /// ε at the first iteration: the probability of a random item, in [0, 1].
        pub epsilon_start: f64 = 0.5,
        /// ε once `exploration_fraction` of the iterations are over, in [0, 1].
        pub epsilon_end: f64 = 0.02,
        /// Fraction of the iterations over which ε falls linearly from `epsilon_start` to `epsilon_end`, in [0, 1].
        pub exploration_fraction: f64 = 0.5,
        /// Share ω of r_IRL in the reward, in [0, 1].
        pub omega: f64 = 0.0,
        /// The divergence from a reference policy (after LINVIT, arXiv 2402.16181): a state's value is λ·log Σ_a π₀(a|s)·exp(Q̄(s, a)/λ), and
        /// π ∝ π₀·exp(Q/λ) explores in the place of ε. The policy's file holds Q alone: evaluated and served is the item of the highest Q,
        /// so that λ should end small beside the differences of Q; the curve `served_agreement` tells.
        #[serde(skip_serializing_if = "KlConfig::is_off")]
        pub kl: KlConfig = KlConfig::default(),
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        /// `prior_scale: 1` starts the advantages at the world's own rewards.
        network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
        checkpoint_every: 25 iterations,
        /// 0.5 by default, as IL-Rec and BiLLP have it: the error of a value grows with its horizon, while the difference between
        /// the rewards of two items does not.
        gamma: 0.5,
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
    const ADDED_PORTS: &'static [&'static str] = &["init", "reference"];
    const USES_DEVICE: bool = true;
    type Inputs = OnlineWithReference;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::fraction("omega", self.omega)?;
        validation::epsilon(self.epsilon_start, self.epsilon_end, self.exploration_fraction)?;
        validation::episodes_per_update(self.episodes_per_update)?;
        validation::gradient_steps(self.gradient_steps)?;
        validation::batch_size(self.batch_size)?;
        validation::buffer_episodes(self.buffer_episodes)?;
        validation::n_step(self.n_step)?;
        validation::target_update_interval(self.target_update_interval)?;
        validation::nested("kl", self.kl.check())?;
        if self.kl.coef > 0.0 {
            validation::positive("kl.final_coef", self.kl.final_coef(), "Q is divided by it; above 0")?;
        }
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega).into_iter().chain([self.kl.requirement()]).collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 2, self.batch_size as u64).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: OnlineWithReference, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let values = QValues::of(|| start.network(self.seed), value_unit(world, self.gamma))?;
        let mut learner = Learner {
            config: self,
            world,
            reward: MixedReward::new(self.omega, inputs.reward.as_ref(), world, self.network.window)?,
            reference: Reference::optional(&self.kl, inputs.reference.as_ref(), world, self.network.window, &device)?,
            adam: self.optimizer.adam(values.network.params())?,
            replay: ReplayBuffer::new(self.buffer_episodes, self.network.window, world),
            values,
        };
        train(
            &mut learner,
            &self.plan(self.n_iterations).after(inputs.init.as_ref(), inputs.reference.as_ref())?,
            world,
            cx,
        )
    }
}

struct Learner<'a> {
    config: &'a Dqn,
    world: &'a World,
    reward: MixedReward<'a>,
    /// π₀, where the policy is held near one.
    reference: Option<Reference>,
    values: QValues,
    adam: AdamW,
    replay: ReplayBuffer,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let until = (config.n_iterations as f64 * config.exploration_fraction) as u64;
        let epsilon = linear(config.epsilon_start, config.epsilon_end, number, until);
        let coef = config.kl.coef_at(number, config.n_iterations);
        let guided = self.reference.as_ref().map(|reference| Guided { network: &self.values.network, reference, coef });
        let greedy = EpsilonGreedy { student: PolicyAgent { network: &self.values.network, sample: false }, epsilon };
        let agent: &dyn Agent = guided.as_ref().map_or(&greedy, |guided| guided);
        let draw = rng(&[config.seed, 0xd90, number]);
        let batch = Batch::play(self.world, agent, config.episodes_per_update, config.network.window, draw)?;
        let rewards = batch.finite(self.reward.of(&batch)?).with_context(|| format!("update {number}"))?;
        self.replay.add(&batch, &rewards);

        let mut held = None;
        if let Some(guided) = &guided {
            let log_probs = guided.reference.log_probs(&batch.observation)?;
            let (advantages, logits) = guided.logits(&batch.observation, &log_probs)?;
            let divergences = kl_divergence(&logits, &log_probs)?;
            let metrics = ReferenceMetrics::of(&log_probs, coef, &divergences, &batch, config.gamma)?;
            // What is served is the best by Q alone.
            let (served, drawn) = (advantages.choose(None)?, logits.choose(None)?);
            let agreement = served.iter().zip(&drawn).filter(|(a, b)| a == b).count() as f64 / served.len() as f64;
            held = Some([metrics.series(), vec![("served_agreement", agreement)]].concat());
        }
        self.adam.learning_rate = config.optimizer.rate(number, config.n_iterations);
        let mut error = 0.0;
        for step in 0..config.gradient_steps {
            let mut draw = rng(&[config.seed, 0xd91, number, step]);
            let transitions = self.replay.sample(config.batch_size, config.gamma, config.n_step, &mut draw);
            let targets = match &self.reference {
                Some(reference) => {
                    let q = self.values.target_all(&transitions.next)?;
                    transitions.td_target(&soft_maximum(&q, &reference.log_probs(&transitions.next)?, coef)?)?
                }
                None => self.values.targets(&transitions)?,
            };
            let q = self.values.online_of(&transitions.now, &transitions.actions)?;
            let loss = huber_loss(&q, &targets, self.values.unit)?;
            error += f64::from(loss.to_scalar::<f32>()?) / config.gradient_steps as f64;
            self.adam
                .descend(self.values.network.params(), &loss)
                .with_context(|| format!("update {number}, gradient step {step}"))?;
            if (number * config.gradient_steps + step + 1).is_multiple_of(config.target_update_interval) {
                self.values.update_target()?;
            }
        }
        let mut series = vec![("return", batch.episode_return()), ("length", batch.length()), ("value_error", error)];
        match held {
            Some(metrics) => series.extend(metrics),
            None => series.push(("epsilon", epsilon)),
        }
        Ok(series)
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
    use crate::nn::Optimizer;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = Dqn {
            n_iterations: 150,
            episodes_per_update: 8,
            batch_size: 128,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Dqn::default()
        };
        assert_keeps_the_contract(&ContractCase {
            // The target is updated and the buffer drops episodes within the few iterations.
            short: Dqn {
                n_iterations: 5,
                episodes_per_update: 4,
                gradient_steps: 3,
                batch_size: 9,
                buffer_episodes: 6,
                n_step: 3,
                target_update_interval: 4,
                ..solver.clone()
            },
            untrained: Dqn { n_iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _| OnlineWithReference::new(world),
            frozen: &[],
            refused: vec![
                (with(|c: &mut Dqn| c.omega = 2.0), "omega"),
                (with(|c| c.epsilon_start = 1.1), "epsilon_start"),
                (with(|c| c.epsilon_end = -0.1), "epsilon_end"),
                (with(|c| c.exploration_fraction = f64::NAN), "exploration_fraction"),
                (with(|c| c.episodes_per_update = 0), "episodes_per_update"),
                (with(|c| c.gradient_steps = 0), "gradient_steps"),
                (with(|c| c.batch_size = 0), "batch_size"),
                (with(|c| c.buffer_episodes = 0), "buffer_episodes"),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.target_update_interval = 0), "target_update_interval"),
            ],
            online: true,
        });
    }
}
