//! Adversarial inverse RL in GAIL's form: a discriminator learns what the expert does and the policy does not.
//!
//! min −mean_demo(log D_E) − mean_π(log(1 − D_E)), D_E(s, a) = P(expert) = σ(logit); at the optimum e^logit = ρ_demo/ρ_π.
//! (Label smoothing ε draws the optimum in, to ((1−ε)·ρ_demo + ε·ρ_π) / (ε·ρ_demo + (1−ε)·ρ_π): with it neither the reward nor
//! the weights are exact ratios, and no ratio exceeds (1−ε)/ε.)
//! r_IRL = −log(1 − D_E) ≥ 0 (so it rewards staying alive); w_IRL = (1/D − 1)^κ with D = 1 − D_E.
//!
//! Ho and Ermon 2016 (arXiv 1606.03476, eq. 17); IL-Rec (arXiv 2510.13229) computes this form although it says AIRL. The
//! generator is `rl`'s actor-critic on r = (1 − ω)·r̂ + ω·r_IRL. Left out: AIRL's shaped form, other reward forms, gradient
//! penalties.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::{Device, Tensor};
use pipeline::{Context, Stage};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::advantage::{advantages, mixed_weights, returns};
use crate::artifact::{Array, Curves, Demonstrations, RewardModel, Weights, World};
use crate::env::{Features, Observation};
use crate::nn::discriminator::Shape;
use crate::nn::loss::{bce_with_logits, softplus};
use crate::nn::params::{to_array, to_tensor};
use crate::nn::{AdamW, Discriminator, State, Training, rng};
use crate::rl::a2c::{Batch, Learner};
use crate::rl::{A2c, Demonstrated};

/// `irl.gail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gail {
    /// Rounds; each updates the generator, then the discriminator.
    pub rounds: u64,
    /// Generator updates a round.
    pub policy_steps: u64,
    /// Discriminator steps a round.
    pub discriminator_steps: u64,
    /// Demonstrated and generated steps of a discriminator step, as many of each.
    pub batch_size: usize,
    /// Rounds of generated steps that are kept to learn from.
    pub replay_rounds: usize,
    /// The discriminator's step size.
    pub learning_rate: f64,
    /// The discriminator's decay.
    pub weight_decay: f64,
    /// ε: targets are 1 − ε and ε instead of 1 and 0; 0 for exact density ratios, which a small sample seldom supports.
    pub label_smoothing: f64,
    /// Logits are cut to ± this.
    pub logit_clip: f64,
    /// Width of the discriminator's hidden layer.
    pub hidden: usize,
    /// The rounds stop early once this share of steps is told apart in a round: a surer discriminator teaches nothing.
    pub stop_above_accuracy: f64,
    /// Share ω of r_IRL in the generator's reward.
    pub omega: f64,
    /// β of w_env = exp(A/β); IL-Rec: 10 on Steam, 1 on Amazon.
    pub beta: f64,
    /// κ of w_IRL.
    pub kappa: f64,
    /// α of w = w_env^α · w_IRL^(1−α): 1 is AWR, 0 the density ratio; IL-Rec: 0.5 on Steam, 0.25 on Amazon.
    pub alpha: f64,
    /// The generator; its `omega` and `iterations` are set by this stage.
    pub policy: A2c,
    /// Seed of the discriminator and of the batches.
    pub seed: u64,
}

impl Default for Gail {
    fn default() -> Self {
        Self {
            rounds: 20,
            policy_steps: 2,
            discriminator_steps: 10,
            batch_size: 128,
            replay_rounds: 5,
            learning_rate: 0.001,
            weight_decay: 0.01,
            label_smoothing: 0.1,
            logit_clip: 10.0,
            hidden: 64,
            stop_above_accuracy: 0.95,
            omega: 0.5,
            beta: 10.0,
            kappa: 1.0,
            alpha: 0.5,
            policy: A2c::default(),
            seed: 0,
        }
    }
}

pipeline::ports! {
    /// What is learned from.
    pub struct Inputs {
        /// The training world.
        world: World,
        /// What the expert did in it.
        demonstrations: Demonstrations,
    }
}

pipeline::ports! {
    /// What comes out.
    pub struct Outputs {
        /// r_IRL.
        reward: RewardModel,
        /// How much each demonstrated step counts.
        weights: Weights,
        /// `discriminator_loss`, `accuracy`, `generator_return` and `demonstrated_reward` a round.
        curves: Curves,
    }
}

impl Stage for Gail {
    const KIND: &'static str = "irl.gail";
    /// 1: first. 2: the reward says which states and vectors it is for; the generator's defaults are those of rl.a2c.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "learn a reward and demonstration weights by adversarial inverse RL (GAIL's form)";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if !(0.0..=1.0).contains(&self.alpha) {
            return wrong("alpha", "a share lies between 0 and 1");
        }
        if !(0.0..=1.0).contains(&self.omega) {
            return wrong("omega", "a share lies between 0 and 1");
        }
        if self.beta.is_nan() || self.beta <= 0.0 {
            return wrong("beta", "a temperature is above 0");
        }
        if !(0.0..0.5).contains(&self.label_smoothing) {
            return wrong("label_smoothing", "smoothing lies between 0 and ½");
        }
        if self.batch_size == 0 {
            return wrong("batch_size", "a batch holds at least one step of each kind");
        }
        if self.replay_rounds == 0 {
            return wrong("replay_rounds", "the last round's steps at least are learned from");
        }
        if self.hidden == 0 {
            return wrong("hidden", "a layer has at least one unit");
        }
        if !AdamW::is_step_size(self.learning_rate) {
            return wrong("learning_rate", "a step size is above 0");
        }
        for (path, number) in [("weight_decay", self.weight_decay), ("kappa", self.kappa)] {
            if !(number >= 0.0 && number.is_finite()) {
                return wrong(path, "0 or more");
            }
        }
        if !(self.logit_clip > 0.0 && self.logit_clip.is_finite()) {
            return wrong("logit_clip", "a bound is above 0");
        }
        self.policy.check().map_err(|(path, message)| (format!("policy.{path}"), message))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let config = A2c {
            iterations: self.rounds * self.policy_steps,
            omega: self.omega,
            seed: self.policy.seed ^ self.seed,
            ..self.policy.clone()
        };
        let expert = Demonstrated::new(&inputs.demonstrations, None, world, config.network.window)?;
        let features = Features::new(world);
        let expert_features = features.compute(&expert.observation, &expert.actions)?;
        let shape = Shape {
            inputs: features.width(),
            window: config.network.window,
            vectors: world.vectors_digest(),
            hidden: self.hidden,
            clip: self.logit_clip,
        };
        let discriminator = Discriminator::new(shape, self.seed)?;
        let mut adam = AdamW::new(discriminator.params(), self.learning_rate, self.weight_decay, 1.0)?;
        let mut generator = Learner::new(&config, world)?;
        let mut replay: Vec<Tensor> = Vec::new();
        let mut curves = Curves::default();
        let training = Training::open(cx, "checkpoints", 1)?;
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            let networks = vec![generator.trained(), ("discriminator", discriminator.params(), &mut adam)];
            let mut state = State { networks, arrays: BTreeMap::new(), curves: &mut curves };
            state.restore(&bytes)?;
            replay = state.arrays.values().map(to_tensor).collect::<Result<_>>()?;
            done = number;
        }
        let bar = cx.bar("rounds", Some(self.rounds), "rounds");
        bar.inc(done);
        for round in done..self.rounds {
            let reward = |batch: &Batch| -> Result<Vec<f32>> {
                let logits =
                    discriminator.logits_expert_is_high(&features.compute(&batch.observation, &batch.actions)?)?;
                let irl: Vec<f32> = softplus(&logits)?.to_vec1()?;
                let omega = self.omega as f32;
                Ok(batch.rewards.iter().zip(irl).map(|(r, irl)| (1.0 - omega) * r + omega * irl).collect())
            };
            let imitated = (config.imitation > 0.0).then_some(&expert);
            let mut generated_return = 0.0;
            for step in 0..self.policy_steps {
                let update = round * self.policy_steps + step;
                generated_return = generator.update(world, update, imitated, reward)?.episode_return;
            }
            // Fresh episodes, drawn beyond the training's own numbers.
            let batch = generator.collect(world, config.iterations + round)?;
            replay.push(features.compute(&batch.observation, &batch.actions)?);
            if replay.len() > self.replay_rounds {
                replay.remove(0);
            }
            let generated = Tensor::cat(&replay, 0)?;
            let (mut loss, mut accuracy) = (0.0, 0.0);
            for step in 0..self.discriminator_steps {
                let (l, a) =
                    self.tell_apart(&discriminator, &mut adam, &expert_features, &generated, &[round, step])?;
                loss += l / self.discriminator_steps.max(1) as f64;
                accuracy += a / self.discriminator_steps.max(1) as f64;
            }
            let liking = softplus(&discriminator.logits_expert_is_high(&expert_features)?)?.mean_all()?;
            curves.push("discriminator_loss", round + 1, loss);
            curves.push("accuracy", round + 1, accuracy);
            curves.push("generator_return", round + 1, generated_return);
            curves.push("demonstrated_reward", round + 1, f64::from(liking.to_scalar::<f32>()?));
            bar.inc_with(1, &format!("accuracy {accuracy:.2}"));
            if accuracy > self.stop_above_accuracy {
                cx.note("stopped", format!("after round {} of {}: accuracy {accuracy:.3}", round + 1, self.rounds));
                break;
            }
            training.passed(round + 1, || {
                let named = |(k, steps)| Ok((format!("replay.{k:06}"), to_array(steps)?));
                let arrays: BTreeMap<String, Array> = replay.iter().enumerate().map(named).collect::<Result<_>>()?;
                let networks = vec![generator.trained(), ("discriminator", discriminator.params(), &mut adam)];
                State { networks, arrays, curves: &mut curves }.save()
            })?;
        }
        let weights = self.weights(&inputs.demonstrations, &expert.observation, &expert_features, &discriminator)?;
        Ok(Outputs { reward: RewardModel(discriminator.export()?), weights, curves })
    }
}

impl Gail {
    /// One step of the discriminator on a balanced batch; its loss and the share that it told apart before the step.
    fn tell_apart(
        &self,
        discriminator: &Discriminator,
        adam: &mut AdamW,
        expert: &Tensor,
        generated: &Tensor,
        place: &[u64; 2],
    ) -> Result<(f64, f64)> {
        let mut draw = rng(&[self.seed, 0xd15c, place[0], place[1]]);
        let mut rows = |count: usize| -> Result<Tensor> {
            let rows: Vec<u32> = (0..self.batch_size).map(|_| draw.random_range(0..count as u32)).collect();
            Ok(Tensor::new(rows, &Device::Cpu)?)
        };
        let (of_expert, of_generated) = (rows(expert.dim(0)?)?, rows(generated.dim(0)?)?);
        let batch = Tensor::cat(&[expert.index_select(&of_expert, 0)?, generated.index_select(&of_generated, 0)?], 0)?;
        let logits = discriminator.logits_expert_is_high(&batch)?;
        let (high, low) = (1.0 - self.label_smoothing as f32, self.label_smoothing as f32);
        let targets: Vec<f32> =
            (0..2 * self.batch_size).map(|k| if k < self.batch_size { high } else { low }).collect();
        let loss = bce_with_logits(&logits, &Tensor::new(targets, &Device::Cpu)?)?.mean_all()?;
        let right =
            logits.to_vec1::<f32>()?.iter().enumerate().filter(|(k, z)| (*k < self.batch_size) == (**z > 0.0)).count();
        adam.descend(discriminator.params(), &loss)
            .with_context(|| format!("the discriminator in round {}", place[0]))?;
        Ok((f64::from(loss.to_scalar::<f32>()?), right as f64 / (2 * self.batch_size) as f64))
    }

    fn weights(
        &self,
        demonstrations: &Demonstrations,
        observation: &Observation,
        pairs: &Tensor,
        discriminator: &Discriminator,
    ) -> Result<Weights> {
        let logits: Vec<f32> = discriminator.logits_expert_is_high(pairs)?.to_vec1()?;
        // The state's part of the features: user, window and, at the end, the progress.
        let width = (pairs.dim(1)? - 1) / 4;
        let progress = Tensor::from_slice(&observation.progress, (observation.len(), 1), &Device::Cpu)?;
        let states = Tensor::cat(&[&pairs.narrow(1, 0, 2 * width)?, &progress], 1)?;
        let advantages = advantages(&states, pairs, &returns(demonstrations, self.policy.gamma), self.seed)?;
        let (trajectory, step) = demonstrations.steps().map(|(t, s, _)| (t as u32, s as u32)).unzip();
        let mixed = |alpha: f64| {
            let weights = mixed_weights(&advantages, &logits, self.beta, self.kappa, alpha);
            let finite = weights.iter().all(|w| w.is_finite());
            ensure!(finite, "a weight is not finite. help: raise `beta` or lower `kappa`");
            Ok(weights)
        };
        Ok(Weights { trajectory, step, w_env: mixed(1.0)?, w_irl: mixed(0.0)?, weight: mixed(self.alpha)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Choice, End, Trajectory};
    use crate::env::cluster_world;
    use crate::nn::training::assert_resumes_exactly;
    use crate::rl::NetworkConfig;

    #[test]
    fn interrupted_after_every_round_it_ends_the_same() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 6, 3);
        let step = |t: usize| Choice {
            item: [0, 2, 4][t % 3],
            reward: [5.0, 4.0, 3.0][t % 3],
            candidates: vec![],
            scores: vec![],
            call: String::new(),
        };
        let trajectory = |user| Trajectory { user, steps: (0..6).map(step).collect(), end: End::Horizon };
        let demonstrations = Demonstrations { trajectories: (0..3).map(trajectory).collect() };
        let policy = A2c { episodes: 4, ..A2c::default() };
        let stage = Gail { rounds: 6, replay_rounds: 3, stop_above_accuracy: 1.1, policy, ..Gail::default() };
        let inputs = || Inputs { world: world.clone(), demonstrations: demonstrations.clone() };
        assert_resumes_exactly(&stage, inputs, |outputs| (outputs.reward, outputs.weights, outputs.curves), 6);
    }

    /// With fixed tables ρ_E and ρ_π the discriminator reaches e^logit = ρ_E/ρ_π (method: the GAIL form's optimum).
    #[test]
    fn the_discriminator_finds_the_density_ratio() {
        let (expert, policy) = ([0.5_f64, 0.3, 0.2], [0.2_f64, 0.3, 0.5]);
        let shape = Shape { inputs: 3, window: 1, vectors: String::new(), hidden: 8, clip: 10.0 };
        let discriminator = Discriminator::new(shape, 1).unwrap();
        let mut adam = AdamW::new(discriminator.params(), 0.02, 0.0, f64::INFINITY).unwrap();
        let one_hot = Tensor::eye(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        let tensor = |values: [f64; 3]| Tensor::new(&values.map(|x| x as f32), &Device::Cpu).unwrap();
        let (ones, zeros) = (tensor([1.0; 3]), tensor([0.0; 3]));
        for step in 0..3000 {
            adam.learning_rate = 0.02 * (1.0 - f64::from(step) / 3000.0);
            let logits = discriminator.logits_expert_is_high(&one_hot).unwrap();
            let of_expert = (bce_with_logits(&logits, &ones).unwrap() * tensor(expert)).unwrap().sum_all().unwrap();
            let of_policy = (bce_with_logits(&logits, &zeros).unwrap() * tensor(policy)).unwrap().sum_all().unwrap();
            adam.descend(discriminator.params(), &(of_expert + of_policy).unwrap()).unwrap();
        }
        let logits = discriminator.logits_expert_is_high(&one_hot).unwrap().to_vec1::<f32>().unwrap();
        for ((z, e), p) in logits.iter().zip(expert).zip(policy) {
            assert!((f64::from(*z).exp() - e / p).abs() < 1e-3, "{} for {}", f64::from(*z).exp(), e / p);
        }
    }

    #[test]
    fn what_no_type_can_say_is_refused_by_its_own_name() {
        assert_eq!(Gail { beta: 0.0, ..Gail::default() }.check().unwrap_err().0, "beta");
        let policy = A2c { gamma: 2.0, ..A2c::default() };
        assert_eq!(Gail { policy, ..Gail::default() }.check().unwrap_err().0, "policy.gamma");
        assert_eq!(Gail { replay_rounds: 0, ..Gail::default() }.check().unwrap_err().0, "replay_rounds");
        assert_eq!(Gail { logit_clip: 0.0, ..Gail::default() }.check().unwrap_err().0, "logit_clip");
        let policy = A2c { network: NetworkConfig { hidden: 0, ..NetworkConfig::default() }, ..A2c::default() };
        assert_eq!(Gail { policy, ..Gail::default() }.check().unwrap_err().0, "policy.network.hidden");
    }
}
