//! Advantage actor-critic over whole episodes, with imitation beside it.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  R_t = Σ_{k<n} γᵏ r_{t+k} + γⁿ V(s_{t+n});  A = (R − V(s)) / deviation
//! L = −mean(A·log π(a|s)) − c_H·H(π) + c_V·mean((V − R)²) + λ·L_imit
//!
//! Mnih et al. 2016 (arXiv 1602.01783, algorithm S3) in its synchronous form; the mix and L_imit are IL-Rec's (arXiv
//! 2510.13229). The task is of finite horizon and the state holds the progress, so the value after the last turn is 0
//! whether the user left or was cut off. Left out: several updates a batch, and replay.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::{Device, Tensor};
use pipeline::{Context, Stage};
use rand::RngExt;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Demonstrated, NetworkConfig, Outputs};
use crate::artifact::{Curves, Demonstrations, Policy, RewardModel, Weights, World};
use crate::env::{LearnedReward, Observation, Student, last_steps, play, states};
use crate::nn::loss::{entropy, log_probability};
use crate::nn::{ActorCritic, AdamW, Params, State, Training, rng};

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

pipeline::ports! {
    /// What is learned from.
    pub struct Inputs {
        /// The training world; never the judging one.
        world: World,
        /// r_IRL, wanted where `omega` is above 0.
        reward: Option<RewardModel>,
        /// What to imitate, wanted where `imitation` is above 0.
        demonstrations: Option<Demonstrations>,
        /// How much each demonstrated step counts; 1 without.
        weights: Option<Weights>,
    }
}

impl Stage for A2c {
    const KIND: &'static str = "rl.a2c";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "train a policy by advantage actor-critic on world and learned reward, with imitation";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if !(0.0..=1.0).contains(&self.gamma) {
            return wrong("gamma", "a discount lies between 0 and 1");
        }
        if !(0.0..=1.0).contains(&self.omega) {
            return wrong("omega", "a share lies between 0 and 1");
        }
        if self.n_step == 0 {
            return wrong("n_step", "a return looks at least one step ahead");
        }
        if self.episodes == 0 {
            return wrong("episodes", "an update needs at least one episode");
        }
        if self.checkpoint_every == 0 {
            return wrong("checkpoint_every", "a checkpoint comes after at least one update");
        }
        if self.imitation_batch == 0 {
            return wrong("imitation_batch", "an update imitates at least one step; `imitation: 0` turns it off");
        }
        if !AdamW::is_step_size(self.learning_rate) {
            return wrong("learning_rate", "a step size is above 0");
        }
        if self.clip.is_nan() || self.clip <= 0.0 {
            return wrong("clip", "the largest norm of a gradient is above 0");
        }
        for (path, share) in [("imitation", self.imitation), ("value_loss", self.value_loss)] {
            if !(share >= 0.0 && share.is_finite()) {
                return wrong(path, "what a loss counts for is 0 or more");
            }
        }
        if !self.entropy.is_finite() {
            return wrong("entropy", "a finite number");
        }
        self.network.check().map_err(|(path, message)| (format!("network.{path}"), message))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let learned = match &inputs.reward {
            Some(model) if self.omega > 0.0 => Some(LearnedReward::load(model, world, self.network.window)?),
            None if self.omega > 0.0 => anyhow::bail!("omega is {}, but no `reward` is connected", self.omega),
            _ => None,
        };
        let demonstrated = match &inputs.demonstrations {
            Some(demonstrations) if self.imitation > 0.0 => {
                Some(Demonstrated::new(demonstrations, inputs.weights.as_ref(), world, self.network.window)?)
            }
            None if self.imitation > 0.0 => {
                anyhow::bail!("imitation is {}, but no `demonstrations` are connected", self.imitation)
            }
            _ => None,
        };
        let mut learner = Learner::new(self, world)?;
        let training = Training::open(cx, "checkpoints", self.checkpoint_every)?;
        let mut curves = Curves::default();
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            learner.state(&mut curves).restore(&bytes)?;
            done = number;
        }
        let bar = cx.bar("train", Some(self.iterations), "updates");
        bar.inc(done);
        for iteration in done..self.iterations {
            let progress = learner.update(world, iteration, demonstrated.as_ref(), |batch| {
                let Some(learned) = &learned else { return Ok(batch.rewards.clone()) };
                let irl = learned.rewards(&batch.observation, &batch.actions, &last_steps(&batch.lengths))?;
                let omega = self.omega as f32;
                Ok(batch.rewards.iter().zip(irl).map(|(r, irl)| (1.0 - omega) * r + omega * irl).collect())
            })?;
            for (series, value) in progress.series() {
                curves.push(series, iteration + 1, value);
            }
            bar.inc_with(1, &format!("return {:.1}", progress.episode_return));
            training.passed(iteration + 1, || learner.state(&mut curves).save())?;
        }
        Ok(Outputs { policy: Policy::new(learner.network.export()?, Self::KIND, world)?, curves })
    }
}

/// Whole episodes of the present policy, flat: S steps in all.
pub struct Batch {
    /// `[S]` states.
    pub observation: Observation,
    /// `[S]` items.
    pub actions: Vec<u32>,
    /// `[S]` rewards of the world.
    pub rewards: Vec<f32>,
    /// Steps of each episode, in order; sums to S.
    pub lengths: Vec<usize>,
}

/// What one update saw.
pub struct Progress {
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

impl Progress {
    fn series(&self) -> [(&'static str, f64); 5] {
        [
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
    /// Discounted return of an episode of mean reward: the critic's unit.
    value_unit: f64,
}

impl<'c> Learner<'c> {
    /// A fresh learner.
    pub fn new(config: &'c A2c, world: &World) -> Result<Self> {
        let network = config.network.build(world, config.seed)?;
        let adam = AdamW::new(network.params(), config.learning_rate, 0.0, config.clip)?;
        let mean = world.reward.data.iter().map(|&r| f64::from(r).abs()).sum::<f64>() / world.reward.data.len() as f64;
        let turns: f64 = (0..world.rules.horizon).map(|t| config.gamma.powi(t as i32)).sum();
        Ok(Self { config, network, adam, value_unit: (mean * turns).max(1e-6) })
    }

    /// The policy's network with its optimiser, as a part of a [`State`].
    pub fn trained(&mut self) -> (&'static str, &Params, &mut AdamW) {
        ("policy", self.network.params(), &mut self.adam)
    }

    fn state<'a>(&'a mut self, curves: &'a mut Curves) -> State<'a> {
        State { networks: vec![self.trained()], arrays: BTreeMap::new(), curves }
    }

    /// Plays a batch with the present policy.
    pub fn collect(&self, world: &World, iteration: u64) -> Result<Batch> {
        let mut draw = rng(&[self.config.seed, 0xa2c, iteration]);
        let users: Vec<u32> = (0..self.config.episodes).map(|_| draw.random_range(0..world.users() as u32)).collect();
        let student = Student { network: &self.network, sample: true };
        let episodes = play(world, &users, &student, draw.random())?;
        let window = self.config.network.window;
        let mut batch = Batch {
            observation: Observation { window, ..Observation::default() },
            actions: vec![],
            rewards: vec![],
            lengths: vec![],
        };
        for e in 0..episodes.len() {
            let (items, rewards) = (episodes.items(e), episodes.rewards(e));
            let (horizon, padding) = (world.rules.horizon, world.items() as u32);
            for step in 0..items.len() {
                batch.observation.push(episodes.user(e), &items[..step], &rewards[..step], horizon, padding);
            }
            batch.actions.extend_from_slice(items);
            batch.rewards.extend_from_slice(rewards);
            batch.lengths.push(items.len());
        }
        Ok(batch)
    }

    /// One update: play, reward, learn.
    pub fn update(
        &mut self,
        world: &World,
        iteration: u64,
        demonstrated: Option<&Demonstrated>,
        reward: impl Fn(&Batch) -> Result<Vec<f32>>,
    ) -> Result<Progress> {
        let config = self.config;
        let batch = self.collect(world, iteration)?;
        let rewards = reward(&batch)?;
        ensure!(rewards.iter().all(|r| r.is_finite()), "update {iteration}: a reward is not finite");
        let states = states(&self.network, &batch.observation)?;
        let values = self.network.values(&states)?;
        let unit = self.value_unit as f32;
        let known: Vec<f32> = values.to_vec1::<f32>()?.into_iter().map(|v| v * unit).collect();
        let returns = n_step_returns(&rewards, &known, &batch.lengths, config.gamma, config.n_step);
        let advantages = normalised(returns.iter().zip(&known).map(|(r, v)| r - v).collect());
        let targets: Vec<f32> = returns.iter().map(|r| r / unit).collect();

        let steps = batch.actions.len();
        let logits = self.network.logits(&states)?;
        let actions = Tensor::from_slice(&batch.actions, steps, &Device::Cpu)?;
        let advantages = Tensor::from_vec(advantages, steps, &Device::Cpu)?;
        let actor = policy_gradient_loss(&log_probability(&logits, &actions)?, &advantages)?;
        let entropy = entropy(&logits)?.mean_all()?;
        let critic = value_loss(&values, &Tensor::from_vec(targets, steps, &Device::Cpu)?)?;
        let mut loss = ((&actor - (&entropy * config.entropy)?)? + (&critic * config.value_loss)?)?;
        let mut imitation = 0.0;
        if let Some(demonstrated) = demonstrated {
            let mut rows: Vec<usize> = (0..demonstrated.actions.len()).collect();
            rows.shuffle(&mut rng(&[config.seed, 0x1317, iteration]));
            rows.truncate(config.imitation_batch);
            let copy = demonstrated.imitation_loss(&self.network, &rows)?;
            imitation = f64::from(copy.to_scalar::<f32>()?);
            loss = (loss + (copy * config.imitation)?)?;
        }
        let left = 1.0 - iteration as f64 / config.iterations.max(1) as f64;
        self.adam.learning_rate = config.learning_rate * (0.1 + 0.9 * left);
        self.adam.descend(self.network.params(), &loss).with_context(|| format!("update {iteration}"))?;
        let episodes = batch.lengths.len() as f64;
        Ok(Progress {
            episode_return: batch.rewards.iter().map(|&r| f64::from(r)).sum::<f64>() / episodes,
            length: steps as f64 / episodes,
            entropy: f64::from(entropy.to_scalar::<f32>()?),
            value_error: f64::from(critic.to_scalar::<f32>()?),
            imitation,
        })
    }
}

/// R_t = Σ_{k<n} γᵏ r_{t+k} + γⁿ V(s_{t+n}) within each episode; beyond its end nothing is worth anything. `rewards [S]`,
/// `values [S]` in the rewards' unit, `lengths` of the episodes → `[S]`. Mnih et al. 2016, algorithm S3.
#[must_use]
pub fn n_step_returns(rewards: &[f32], values: &[f32], lengths: &[usize], gamma: f64, n_step: usize) -> Vec<f32> {
    let mut returns = Vec::with_capacity(rewards.len());
    let mut start = 0;
    for &length in lengths {
        let end = start + length;
        for t in start..end {
            let last = (t + n_step).min(end);
            let beyond = if last < end { f64::from(values[last]) } else { 0.0 };
            let sum = rewards[t..last].iter().rev().fold(beyond, |sum, &r| f64::from(r) + gamma * sum);
            returns.push(sum as f32);
        }
        start = end;
    }
    returns
}

/// Less the mean, over the deviation.
fn normalised(mut values: Vec<f32>) -> Vec<f32> {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance.sqrt() + 1e-6);
    values.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
    values
}

/// −mean(A·log π(a|s)): `log_probability [S], advantage [S]` → scalar; the advantage is a constant.
pub fn policy_gradient_loss(log_probability: &Tensor, advantage: &Tensor) -> candle_core::Result<Tensor> {
    (log_probability * advantage)?.mean_all()?.neg()
}

/// mean((V − R)²): `values [S], targets [S]` → scalar.
pub fn value_loss(values: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
    (values - targets)?.sqr()?.mean_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::nn::training::assert_resumes_exactly;

    #[test]
    fn interrupted_after_every_update_it_ends_the_same() {
        let stage = A2c { iterations: 7, episodes: 4, imitation: 0.0, ..A2c::default() };
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 8, 4);
        let inputs = || Inputs { world: world.clone(), reward: None, demonstrations: None, weights: None };
        assert_resumes_exactly(&stage, inputs, |outputs| (outputs.policy, outputs.curves), 7);
    }

    #[test]
    fn what_no_type_can_say_is_refused_by_its_own_name() {
        let refused = |config: A2c| config.check().unwrap_err().0;
        assert_eq!(refused(A2c { clip: -1.0, ..A2c::default() }), "clip");
        assert_eq!(refused(A2c { imitation_batch: 0, ..A2c::default() }), "imitation_batch");
        assert_eq!(refused(A2c { imitation: -0.1, ..A2c::default() }), "imitation");
        assert_eq!(refused(A2c { learning_rate: 0.0, ..A2c::default() }), "learning_rate");
        let network = NetworkConfig { window: 0, ..NetworkConfig::default() };
        assert_eq!(refused(A2c { network, ..A2c::default() }), "network.window");
        A2c::default().check().unwrap();
    }

    #[test]
    fn returns_agree_with_hand_computed_values() {
        // Two episodes, n = 2, γ = ½: 1 + ½·2 + ¼·12; then 2 + ½·4; then 4; and 8 alone.
        let returns = n_step_returns(&[1.0, 2.0, 4.0, 8.0], &[10.0, 11.0, 12.0, 13.0], &[3, 1], 0.5, 2);
        assert_eq!(returns, [5.0, 4.0, 4.0, 8.0]);
    }

    #[test]
    fn losses_agree_with_hand_computed_values_and_finite_differences() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let (log_p, advantage) = (tensor(&[-1.0, -2.0]), tensor(&[3.0, -1.0]));
        let loss = policy_gradient_loss(&log_p, &advantage).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 0.5).abs() < 1e-12, "−(−1·3 + −2·−1)/2 = ½, found {loss}");
        let loss = value_loss(&log_p, &advantage).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 8.5).abs() < 1e-12, "((−4)² + (−1)²)/2 = 8.5, found {loss}");
        assert_finite_differences(&log_p, |x| policy_gradient_loss(x, &advantage));
        assert_finite_differences(&log_p, |x| value_loss(x, &advantage));
    }

    /// Three clusters paying 5, 4, 3 with a window of 2: the best is the cycle of all three, 120 over 30 turns (and at most 2
    /// more by leaving with a 5 on the last turn); repeating the best item ends after two turns.
    #[test]
    fn it_solves_its_small_world() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 4);
        let config = A2c {
            iterations: 300,
            episodes: 32,
            learning_rate: 0.01,
            imitation: 0.0,
            network: NetworkConfig { window: 2, hidden: 32, prior: 0.0, avoid: 0.0, ..NetworkConfig::default() },
            ..A2c::default()
        };
        let mut learner = Learner::new(&config, &world).unwrap();
        for iteration in 0..config.iterations {
            learner.update(&world, iteration, None, |batch| Ok(batch.rewards.clone())).unwrap();
        }
        let judged = play(&world, &[0, 1, 2, 3], &Student { network: &learner.network, sample: false }, 0).unwrap();
        for e in 0..judged.len() {
            let total: f32 = judged.rewards(e).iter().sum();
            assert!(total >= 120.0 - 1e-3, "episode {e} returned {total}: {:?}", judged.items(e));
        }
    }
}
