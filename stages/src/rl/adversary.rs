//! The policy's opponent: a discriminator that learns, round by round, to tell demonstrated steps from played ones.
//!
//! L_D = −mean_demo(log D_E) − mean_π(log(1 − D_E)), D_E = P(expert) = σ(logit), with smoothed labels and a replay of the last
//! rounds' played steps (Ho and Ermon 2016, arXiv 1606.03476, eq. 17).

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{Device, Tensor};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::checks::{self, Checked};
use super::demonstrated::Demonstrated;
use crate::artifact::{Array, World};
use crate::env::Features;
use crate::nn::adversarial::adversarial_loss;
use crate::nn::discriminator::Shape;
use crate::nn::loss::softplus;
use crate::nn::params::{to_array, to_tensor};
use crate::nn::{AdamW, Discriminator, Params, rng};

/// The settings of an [`Adversary`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiscriminatorConfig {
    /// Gradient steps a round; 0 leaves it as it began.
    pub steps: u64,
    /// Demonstrated and played steps of a gradient step, as many of each.
    pub batch_size: usize,
    /// Rounds of played steps that are kept to learn from.
    pub replay_rounds: usize,
    /// AdamW's step size.
    pub learning_rate: f64,
    /// AdamW's decoupled decay.
    pub weight_decay: f64,
    /// ε: targets are 1 − ε and ε instead of 1 and 0, in [0, ½).
    pub label_smoothing: f64,
    /// Logits are cut to ± this.
    pub logit_clip: f64,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// A round's steps end early once this share of a batch is told apart: a surer discriminator teaches nothing.
    pub stop_above_accuracy: f64,
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self {
            steps: 2,
            batch_size: 128,
            replay_rounds: 5,
            learning_rate: 0.001,
            weight_decay: 0.01,
            label_smoothing: 0.1,
            logit_clip: 10.0,
            hidden: 64,
            stop_above_accuracy: 0.95,
        }
    }
}

impl DiscriminatorConfig {
    /// What no type can say.
    pub fn check(&self) -> Checked {
        checks::some("batch_size", self.batch_size, "a batch holds at least one step of each kind")?;
        checks::some("replay_rounds", self.replay_rounds, "the last round's steps at least are learned from")?;
        checks::step_size("learning_rate", self.learning_rate)?;
        checks::weight("weight_decay", self.weight_decay)?;
        checks::above_zero("label_smoothing", 0.5 - self.label_smoothing, "smoothing lies between 0 and ½")?;
        checks::weight("label_smoothing", self.label_smoothing)?;
        checks::above_zero("logit_clip", self.logit_clip, "a bound is above 0")?;
        checks::some("hidden", self.hidden, "a layer has at least one unit")?;
        let message = "a share above 0; above 1 no round ends early";
        checks::above_zero("stop_above_accuracy", self.stop_above_accuracy, message)
    }
}

/// The discriminator with what it learns from.
pub struct Adversary<'w> {
    config: DiscriminatorConfig,
    seed: u64,
    features: Features<'w>,
    discriminator: Discriminator,
    adam: AdamW,
    /// Features of the demonstrated steps, `[N, F]`.
    demonstrated: Tensor,
    /// Features of the last rounds' played steps, oldest first.
    played: Vec<Tensor>,
}

/// The last batch of a round.
pub struct Told {
    /// L_D, nats.
    pub loss: f64,
    /// The share that was told apart.
    pub accuracy: f64,
}

impl<'w> Adversary<'w> {
    /// A new one against the expert of `pairs`.
    pub fn new(config: &DiscriminatorConfig, pairs: &Demonstrated, world: &'w World, seed: u64) -> Result<Self> {
        let features = Features::new(world);
        let shape = Shape {
            inputs: features.width(),
            window: pairs.observation.window,
            vectors: world.vectors_digest(),
            hidden: config.hidden,
            clip: config.logit_clip,
            ..Shape::default()
        };
        let discriminator = Discriminator::new(shape, seed)?;
        Ok(Self {
            adam: AdamW::new(discriminator.params(), config.learning_rate, config.weight_decay, 1.0)?,
            discriminator,
            demonstrated: features.compute(&pairs.observation, &pairs.actions)?,
            features,
            played: Vec::new(),
            config: config.clone(),
            seed,
        })
    }

    /// Adds a round's played steps and learns from what is kept.
    pub fn learn(&mut self, batch: &Batch, round: u64) -> Result<Told> {
        self.played.push(self.features.compute(&batch.observation, &batch.actions)?);
        if self.played.len() > self.config.replay_rounds {
            self.played.remove(0);
        }
        let (size, played) = (self.config.batch_size, Tensor::cat(&self.played, 0)?);
        let (high, low) = (1.0 - self.config.label_smoothing as f32, self.config.label_smoothing as f32);
        let targets: Vec<f32> = (0..2 * size).map(|k| if k < size { high } else { low }).collect();
        let targets = Tensor::new(targets, &Device::Cpu)?;
        let equal = targets.ones_like()?;
        let mut told = Told { loss: 0.0, accuracy: 0.0 };
        for step in 0..self.config.steps {
            let mut draw = rng(&[self.seed, 0xd15c, round, step]);
            let mut rows = |of: &Tensor| -> Result<Tensor> {
                let count = of.dim(0)? as u32;
                let rows: Vec<u32> = (0..size).map(|_| draw.random_range(0..count)).collect();
                Ok(of.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?)
            };
            let rows = Tensor::cat(&[rows(&self.demonstrated)?, rows(&played)?], 0)?;
            let logits = self.discriminator.logits_expert_is_high(&rows)?;
            let loss = adversarial_loss(&logits, &targets, &equal)?;
            let right = |(k, z): &(usize, &f32)| (*k < size) == (**z > 0.0);
            let right = logits.to_vec1::<f32>()?.iter().enumerate().filter(right).count();
            told = Told { loss: f64::from(loss.to_scalar::<f32>()?), accuracy: right as f64 / (2 * size) as f64 };
            if told.accuracy > self.config.stop_above_accuracy {
                break;
            }
            self.adam.descend(self.discriminator.params(), &loss)?;
        }
        Ok(told)
    }

    /// The logits of the demonstrated steps, `[N]`, high where the expert is likely.
    pub fn logits_of_demonstrated(&self) -> Result<Vec<f32>> {
        Ok(self.discriminator.logits_expert_is_high(&self.demonstrated)?.to_vec1()?)
    }

    /// r_IRL = −log(1 − D_E) = softplus(logit) ≥ 0 of a batch, `[S]`.
    pub fn rewards(&self, batch: &Batch) -> Result<Vec<f32>> {
        let features = self.features.compute(&batch.observation, &batch.actions)?;
        Ok(softplus(&self.discriminator.logits_expert_is_high(&features)?)?.to_vec1()?)
    }

    /// The network with its optimiser, for a checkpoint.
    pub fn trained(&mut self) -> (&'static str, &Params, &mut AdamW) {
        ("discriminator", self.discriminator.params(), &mut self.adam)
    }

    /// The replay as `played.<round>`.
    pub fn kept(&self) -> Result<BTreeMap<String, Array>> {
        let named = |(k, steps)| Ok((format!("played.{k:06}"), to_array(steps)?));
        self.played.iter().enumerate().map(named).collect()
    }

    /// Goes back to what [`Adversary::kept`] gave.
    pub fn restore(&mut self, kept: &BTreeMap<String, Array>) -> Result<()> {
        let rounds = kept.iter().filter(|(name, _)| name.starts_with("played."));
        self.played = rounds.map(|(_, array)| to_tensor(array)).collect::<Result<_>>()?;
        Ok(())
    }
}
