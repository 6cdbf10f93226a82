//! Proximal policy optimisation of one-step episodes: a session is a state, a prompt an action, and nothing comes after.
//!
//! A = R − V(s), normalised over the sessions of an update;  ρ = π̃(a|s)/π̃_old(a|s), π̃ = (1 − ε)·π + ε/|A|
//! L = −mean(min(ρ·A, clip(ρ, 1 − c, 1 + c)·A)) − c_H·H(π) + c_V·mean((V − R)²)
//!
//! After Re2LLM (arXiv 2403.16427): two hidden layers of 64 with tanh, clip 0.05, learning rate 3e-4 that falls, entropy 0.01, a tenth
//! of the actions at random. Three things differ from its program, because there they are mistakes. γ is 0: sessions have nothing to do
//! with each other, so no reward of one may count for another. The random actions are part of the policy π̃, so that the probability
//! that is stored is that of the action that was taken. The state is the mean over all items of the history.

use anyhow::Result;
use candle_core::{Device, Tensor};
use candle_nn::Module as _;
use rand::RngExt;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bandit::argmax;
use crate::artifact::Curves;
use crate::nn::loss::{clipped_loss, value_loss};
use crate::nn::{Init, Mlp, Optimizer, OptimizerDefaults, Params, Schedule, action_log_prob, rng};

const SESSIONS: u64 = 0x5e55;
const ORDER: u64 = 0x0ade;

/// Marks the defaults of `optimizer`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
pub struct HintPolicyPpo;

impl OptimizerDefaults for HintPolicyPpo {
    const LEARNING_RATE: f64 = 3e-4;
    const WEIGHT_DECAY: f64 = 0.0;
    const MAX_GRAD_NORM: Option<f64> = Some(0.5);
    const SCHEDULE: Schedule = Schedule::Linear;
}

/// Settings of `algorithm: { ppo: … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PpoSettings {
    /// Updates; each draws sessions with the current policy and passes over them `n_epochs` times.
    pub n_iterations: u64,
    /// Sessions of an update, drawn with replacement, from 1.
    pub sessions_per_update: usize,
    /// Passes over the sessions of an update, from 1; Re2LLM: 10.
    pub n_epochs: u64,
    /// Sessions of a gradient step, from 1; Re2LLM: 32.
    pub batch_size: usize,
    /// c: the ratio of probabilities is clipped to 1 − c and 1 + c, above 0; Re2LLM: 0.05.
    pub clip_range: f64,
    /// c_H: weight of the entropy bonus, per nat; Re2LLM: 0.01.
    pub entropy_coef: f64,
    /// c_V: weight of the critic's loss, 0 or more.
    pub value_coef: f64,
    /// ε: share of the actions that are drawn uniformly while it learns, in [0, 1); Re2LLM: 0.1.
    pub exploration: f64,
    /// Width of the two hidden layers of actor and critic, from 1; Re2LLM: 64.
    pub hidden_size: usize,
    /// AdamW.
    pub optimizer: Optimizer<HintPolicyPpo>,
}

impl Default for PpoSettings {
    fn default() -> Self {
        Self {
            n_iterations: 150,
            sessions_per_update: 256,
            n_epochs: 10,
            batch_size: 64,
            clip_range: 0.05,
            entropy_coef: 0.01,
            value_coef: 0.5,
            exploration: 0.1,
            hidden_size: 64,
            optimizer: Optimizer::default(),
        }
    }
}

impl PpoSettings {
    /// Ranges that no type expresses.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        for (path, count) in [
            ("sessions_per_update", self.sessions_per_update),
            ("n_epochs", self.n_epochs as usize),
            ("batch_size", self.batch_size),
            ("hidden_size", self.hidden_size),
        ] {
            if count == 0 {
                return wrong(path, "at least 1");
            }
        }
        if !(self.clip_range > 0.0 && self.clip_range.is_finite()) {
            return wrong("clip_range", "the clip range is above 0");
        }
        if !self.entropy_coef.is_finite() {
            return wrong("entropy_coef", "a finite number");
        }
        if !(self.value_coef >= 0.0 && self.value_coef.is_finite()) {
            return wrong("value_coef", "a weight is 0 or more");
        }
        if !(0.0..1.0).contains(&self.exploration) {
            return wrong("exploration", "a share from 0 to below 1");
        }
        self.optimizer.check().map_err(|(path, message)| (format!("optimizer.{path}"), message))
    }
}

/// A trained policy over prompts.
pub(super) struct PpoPolicy {
    actor: Mlp,
}

/// What an update learns from, `[S]` each.
struct Rollout {
    states: Tensor,
    actions: Vec<u32>,
    /// ln π̃_old(a|s) of the actions that were taken.
    log_old: Vec<f32>,
    advantages: Vec<f32>,
    /// R over its deviation.
    rewards: Vec<f32>,
}

struct Networks<'a> {
    settings: &'a PpoSettings,
    params: Params,
    actor: Mlp,
    critic: Mlp,
    actions: usize,
}

impl PpoPolicy {
    /// Trains on standardised states and the gains of every prompt, `[S][D]` and `[S][A]`. Curves are named `name · …`.
    pub fn train(
        settings: &PpoSettings,
        states: &[Vec<f64>],
        gains: &[Vec<f64>],
        seed: u64,
        curves: Option<(&mut Curves, &str)>,
        check_cancelled: &dyn Fn() -> Result<()>,
    ) -> Result<Self> {
        let networks = Networks::new(settings, states[0].len(), gains[0].len(), seed)?;
        let mut adam = settings.optimizer.adam(&networks.params)?;
        let scale = 1.0 / deviation(&gains.concat()).max(1e-6);
        let mut curves = curves;
        for update in 0..settings.n_iterations {
            check_cancelled()?;
            let mut draw = rng(&[seed, SESSIONS, update]);
            let rows: Vec<usize> =
                (0..settings.sessions_per_update).map(|_| draw.random_range(0..states.len())).collect();
            let uniform: Vec<f64> = rows.iter().map(|_| draw.random()).collect();
            let (rollout, entropy) = networks.play(states, gains, &rows, &uniform, scale)?;
            if let Some((curves, name)) = &mut curves {
                let gain = rollout.rewards.iter().map(|&r| f64::from(r)).sum::<f64>() / (rows.len() as f64 * scale);
                curves.push(&format!("{name} · gain"), update, gain);
                curves.push(&format!("{name} · entropy"), update, entropy);
            }
            adam.learning_rate = settings.optimizer.rate(update, settings.n_iterations);
            for epoch in 0..settings.n_epochs {
                let mut order: Vec<usize> = (0..rows.len()).collect();
                order.shuffle(&mut rng(&[seed, ORDER, update, epoch]));
                for batch in order.chunks(settings.batch_size) {
                    adam.descend(&networks.params, &networks.loss(&rollout, batch)?)?;
                }
            }
        }
        Ok(Self { actor: networks.actor })
    }

    /// The most probable prompt in a state.
    pub fn choose(&self, state: &[f64]) -> Result<usize> {
        let logits = self.actor.forward(&matrix(&[state])?)?.squeeze(0)?.to_vec1::<f32>()?;
        Ok(argmax(&logits.into_iter().map(f64::from).collect::<Vec<_>>()))
    }
}

impl<'a> Networks<'a> {
    fn new(settings: &'a PpoSettings, width: usize, actions: usize, seed: u64) -> Result<Self> {
        let (mut params, mut init) = (Params::default(), Init::new(seed));
        let hidden = settings.hidden_size;
        let actor = Mlp::new(&mut params, "actor", &[width, hidden, hidden, actions], 0.01, &mut init)?;
        let critic = Mlp::new(&mut params, "critic", &[width, hidden, hidden, 1], 1.0, &mut init)?;
        Ok(Self { settings, params, actor, critic, actions })
    }

    /// Draws an action of π̃ in each of the sessions `rows`, by one number in [0, 1) each; also the mean entropy of π.
    fn play(
        &self,
        states: &[Vec<f64>],
        gains: &[Vec<f64>],
        rows: &[usize],
        uniform: &[f64],
        scale: f64,
    ) -> Result<(Rollout, f64)> {
        let states = matrix(&rows.iter().map(|&row| states[row].as_slice()).collect::<Vec<_>>())?;
        let logits = self.actor.forward(&states)?.to_vec2::<f32>()?;
        let actions: Vec<u32> =
            logits.iter().zip(uniform).map(|(logits, &at)| drawn(&self.probabilities(logits), at)).collect();
        let (log_old, entropy) = self.log_probs(&states, &actions)?;
        let values = self.critic.forward(&states)?.squeeze(1)?.to_vec1::<f32>()?;
        let rewards: Vec<f32> =
            rows.iter().zip(&actions).map(|(&row, &action)| (gains[row][action as usize] * scale) as f32).collect();
        let advantages: Vec<f64> = rewards.iter().zip(values).map(|(r, v)| f64::from(r - v)).collect();
        let (mean, spread) = (advantages.iter().sum::<f64>() / advantages.len() as f64, deviation(&advantages));
        let advantages = advantages.into_iter().map(|a| ((a - mean) / (spread + 1e-6)) as f32).collect();
        let entropy = f64::from(entropy.mean_all()?.to_scalar::<f32>()?);
        Ok((Rollout { states, actions, log_old: log_old.to_vec1()?, advantages, rewards }, entropy))
    }

    /// π̃ of every action, from the logits of a state.
    fn probabilities(&self, logits: &[f32]) -> Vec<f64> {
        let largest = logits.iter().copied().fold(f32::MIN, f32::max);
        let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
        let (sum, explored) = (weights.iter().sum::<f64>(), self.settings.exploration);
        weights.iter().map(|weight| (1.0 - explored) * weight / sum + explored / weights.len() as f64).collect()
    }

    /// ln π̃ of the actions and the entropy of π, `[S]` each.
    fn log_probs(&self, states: &Tensor, actions: &[u32]) -> Result<(Tensor, Tensor)> {
        let found = action_log_prob(&self.actor.forward(states)?, actions)?;
        let explored = self.settings.exploration;
        Ok((mixed_log_prob(&found.log_prob, explored, self.actions)?, found.entropy))
    }

    /// The loss of some sessions of an update.
    fn loss(&self, rollout: &Rollout, rows: &[usize]) -> Result<Tensor> {
        let select = |values: &[f32]| Tensor::from_iter(rows.iter().map(|&row| values[row]), &Device::Cpu);
        let places = Tensor::from_iter(rows.iter().map(|&row| row as u32), &Device::Cpu)?;
        let states = rollout.states.index_select(&places, 0)?;
        let actions: Vec<u32> = rows.iter().map(|&row| rollout.actions[row]).collect();
        let (log_prob, entropy) = self.log_probs(&states, &actions)?;
        let change = (log_prob - select(&rollout.log_old)?)?;
        let actor = clipped_loss(&change, &select(&rollout.advantages)?, self.settings.clip_range)?;
        let critic = value_loss(&self.critic.forward(&states)?.squeeze(1)?, &select(&rollout.rewards)?)?;
        let bonus = (entropy.mean_all()? * self.settings.entropy_coef)?;
        Ok(((actor - bonus)? + (critic * self.settings.value_coef)?)?)
    }
}

/// ln((1 − ε)·p + ε/A) from ln p, `[S]` → `[S]`.
fn mixed_log_prob(log_prob: &Tensor, explored: f64, actions: usize) -> candle_core::Result<Tensor> {
    if explored == 0.0 {
        return Ok(log_prob.clone());
    }
    log_prob.exp()?.affine(1.0 - explored, explored / actions as f64)?.log()
}

/// The action at the place `at` in [0, 1) of the cumulated probabilities.
fn drawn(probabilities: &[f64], at: f64) -> u32 {
    let mut sum = 0.0;
    let place = probabilities.iter().position(|probability| {
        sum += probability;
        at < sum
    });
    place.unwrap_or(probabilities.len() - 1) as u32
}

fn matrix(rows: &[&[f64]]) -> candle_core::Result<Tensor> {
    let width = rows.first().map_or(0, |row| row.len());
    Tensor::from_vec(rows.concat().into_iter().map(|x| x as f32).collect(), (rows.len(), width), &Device::Cpu)
}

fn deviation(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::gradient_check::{assert_every_parameter_learns, assert_finite_differences};

    const STATES: [[f64; 2]; 3] = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]];

    fn rollout(networks: &Networks) -> Rollout {
        let states: Vec<Vec<f64>> = STATES.map(|state| state.to_vec()).to_vec();
        let gains = vec![vec![0.0, 0.5, -0.5], vec![0.0, -0.5, 0.5], vec![0.0, 0.25, 0.0]];
        networks.play(&states, &gains, &[0, 1, 2, 0], &[0.1, 0.5, 0.95, 0.99], 2.0).unwrap().0
    }

    #[test]
    fn the_stored_probability_is_that_of_the_action_that_was_taken() {
        let settings = PpoSettings { exploration: 0.4, ..PpoSettings::default() };
        let networks = Networks::new(&settings, 2, 3, 1).unwrap();
        let rollout = rollout(&networks);
        let logits = networks.actor.forward(&rollout.states).unwrap().to_vec2::<f32>().unwrap();
        for ((logits, &action), &stored) in logits.iter().zip(&rollout.actions).zip(&rollout.log_old) {
            let wanted = networks.probabilities(logits)[action as usize].ln();
            assert!((f64::from(stored) - wanted).abs() < 1e-6, "{stored} {wanted}");
        }
        // Before the first step the ratio is 1 whatever was explored: the loss is that of ρ = 1.
        let loss = networks.loss(&rollout, &[0, 1, 2, 3]).unwrap().to_scalar::<f32>().unwrap();
        let values = networks.critic.forward(&rollout.states).unwrap().squeeze(1).unwrap().to_vec1::<f32>().unwrap();
        let error = values.iter().zip(&rollout.rewards).map(|(v, r)| (v - r).powi(2)).sum::<f32>() / 4.0;
        let (_, entropy) = networks.log_probs(&rollout.states, &rollout.actions).unwrap();
        let entropy = entropy.mean_all().unwrap().to_scalar::<f32>().unwrap();
        let advantage = rollout.advantages.iter().sum::<f32>() / 4.0;
        assert!((loss - (-advantage - 0.01 * entropy + 0.5 * error)).abs() < 1e-5, "{loss}");
        assert_eq!((drawn(&[0.25, 0.5, 0.25], 0.3), drawn(&[0.25, 0.5, 0.25], 1.0)), (1, 2));
    }

    #[test]
    fn gradients_are_exact_and_reach_every_parameter() {
        let settings = PpoSettings::default();
        let networks = Networks::new(&settings, 2, 3, 1).unwrap();
        let rollout = rollout(&networks);
        assert_every_parameter_learns(&networks.params, || {
            networks.loss(&rollout, &[0, 1, 2]).map_err(|error| candle_core::Error::Msg(error.to_string()))
        });
        let log_prob = Tensor::new(&[-0.1_f64, -2.0, -5.0], &Device::Cpu).unwrap();
        assert_finite_differences(&log_prob, |x| mixed_log_prob(x, 0.1, 4)?.sum_all());
        let mixed = mixed_log_prob(&log_prob, 0.1, 4).unwrap().to_vec1::<f64>().unwrap();
        assert!((mixed[1] - (0.9 * (-2.0_f64).exp() + 0.025).ln()).abs() < 1e-12);
        assert_eq!(mixed_log_prob(&log_prob, 0.0, 4).unwrap().to_vec1::<f64>().unwrap()[2], -5.0);
    }

    #[test]
    fn what_no_type_can_say_is_refused_by_its_own_name() {
        let refused = |change: fn(&mut PpoSettings)| {
            let mut settings = PpoSettings::default();
            change(&mut settings);
            settings.check().unwrap_err().0
        };
        assert_eq!(refused(|s| s.sessions_per_update = 0), "sessions_per_update");
        assert_eq!(refused(|s| s.n_epochs = 0), "n_epochs");
        assert_eq!(refused(|s| s.batch_size = 0), "batch_size");
        assert_eq!(refused(|s| s.hidden_size = 0), "hidden_size");
        assert_eq!(refused(|s| s.clip_range = 0.0), "clip_range");
        assert_eq!(refused(|s| s.entropy_coef = f64::NAN), "entropy_coef");
        assert_eq!(refused(|s| s.value_coef = -1.0), "value_coef");
        assert_eq!(refused(|s| s.exploration = 1.0), "exploration");
        assert_eq!(refused(|s| s.optimizer.learning_rate = 0.0), "optimizer.learning_rate");
        assert_eq!(PpoSettings::default().check(), Ok(()));
    }
}
