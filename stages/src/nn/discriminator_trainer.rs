//! A policy's trainer: a discriminator with its optimiser, and the one step by which every adversarial stage teaches it.
//!
//! L_D = mean(w·bce(logit, target)) over as many demonstrated as played steps, with smoothed targets (Ho and Ermon 2016, arXiv
//! 1606.03476, eq. 17). It learns from the logits before the cut: beyond it nothing would have a gradient, and a discriminator that is
//! surely wrong would never learn better. The cut bounds only what is handed out, as a reward or as a weight. What is played, kept and
//! paid, and when a training ends, is left to the stages.

use anyhow::{Context as _, Result};
use candle_core::{DType, Device, Tensor};
use rand::RngExt;

use super::adversarial::adversarial_loss;
use super::discriminator::{DiscriminatorBatch, DiscriminatorConfig};
use super::{AdamW, Discriminator, DiscriminatorSettings, Optimizer, Params, rng};

/// The discriminator as it learns.
pub struct DiscriminatorTrainer {
    /// The network.
    pub discriminator: Discriminator,
    adam: AdamW,
    optimizer: Optimizer<DiscriminatorSettings>,
    batch_size: usize,
    label_smoothing: f32,
    seed: u64,
}

/// What one batch told, before anything was learned from it.
pub struct DiscriminatorMetrics {
    /// L_D, nats.
    pub loss: f64,
    /// The share that was told apart.
    pub accuracy: f64,
}

impl DiscriminatorTrainer {
    /// A new one on that device that reads what `config` says, with the layers, the cut and the norm of its `settings`.
    pub fn new(
        device: &Device,
        settings: &DiscriminatorSettings,
        config: DiscriminatorConfig,
        seed: u64,
    ) -> Result<Self> {
        let config = DiscriminatorConfig {
            hidden_size: settings.hidden_size,
            n_layers: settings.n_layers,
            clip: settings.logit_clip,
            spectral_norm: settings.spectral_norm,
            ..config
        };
        let discriminator = Discriminator::new_on(device, config, seed)?;
        Ok(Self {
            adam: settings.optimizer.adam(discriminator.params())?,
            optimizer: settings.optimizer.clone(),
            discriminator,
            batch_size: settings.batch_size,
            label_smoothing: settings.label_smoothing as f32,
            seed,
        })
    }

    /// Sets the learning rate to that of a round, counted from 0, of `rounds` in all.
    pub fn begin_round(&mut self, round: u64, rounds: u64) {
        self.adam.learning_rate = self.optimizer.rate(round, rounds);
    }

    /// One step on a balanced batch that is drawn from `expert`, whose rows count `counts [N]` each, and from `played`; `place` is
    /// (round, step). A batch of which more than the share `enough` is told apart teaches nothing.
    pub fn update(
        &mut self,
        (expert, counts): (&DiscriminatorBatch, &Tensor),
        played: &DiscriminatorBatch,
        place: [u64; 2],
        enough: f64,
    ) -> Result<DiscriminatorMetrics> {
        let (size, device) = (self.batch_size, self.discriminator.params().device());
        let mut draw = rng(&[self.seed, 0xd15c, place[0], place[1]]);
        let mut rows = |count: usize| -> Vec<u32> { (0..size).map(|_| draw.random_range(0..count as u32)).collect() };
        let (of_expert, of_played) = (rows(expert.state_actions.dim(0)?), rows(played.state_actions.dim(0)?));
        let batch = expert.gather(&of_expert, played, &of_played)?;
        let ones = Tensor::ones(size, DType::F32, device)?;
        let weights = Tensor::cat(&[&counts.index_select(&Tensor::new(of_expert, device)?, 0)?, &ones], 0)?;
        let (high, low) = (1.0 - self.label_smoothing, self.label_smoothing);
        let targets: Vec<f32> = (0..2 * size).map(|k| if k < size { high } else { low }).collect();
        let logits = self.discriminator.unclipped_logits(&batch)?;
        let loss = adversarial_loss(&logits, &Tensor::new(targets, device)?, &weights)?;
        let right = logits.to_vec1::<f32>()?.iter().enumerate().filter(|(k, z)| (*k < size) == (**z > 0.0)).count();
        let told = DiscriminatorMetrics {
            loss: f64::from(loss.to_scalar::<f32>()?),
            accuracy: right as f64 / (2 * size) as f64,
        };
        if told.accuracy <= enough {
            self.adam
                .descend(self.discriminator.params(), &loss)
                .with_context(|| format!("the discriminator in round {}", place[0]))?;
        }
        Ok(told)
    }

    /// The network with its optimiser, for a checkpoint.
    pub fn module(&mut self) -> (&'static str, &Params, &mut AdamW) {
        ("discriminator", self.discriminator.params(), &mut self.adam)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainer(settings: &DiscriminatorSettings) -> DiscriminatorTrainer {
        DiscriminatorTrainer::new(
            &Device::Cpu,
            settings,
            DiscriminatorConfig { inputs: 2, ..DiscriminatorConfig::default() },
            1,
        )
        .unwrap()
    }

    fn rows(features: [f32; 2]) -> DiscriminatorBatch {
        DiscriminatorBatch::of_state_actions(Tensor::new(&[features; 5], &Device::Cpu).unwrap())
    }

    fn taught(
        settings: &DiscriminatorSettings,
        steps: u64,
        enough: f64,
    ) -> (DiscriminatorTrainer, DiscriminatorMetrics) {
        let mut trainer = trainer(settings);
        let ones = Tensor::ones(5, DType::F32, &Device::Cpu).unwrap();
        let (expert, played) = (rows([1.0, 0.0]), rows([0.0, 1.0]));
        let mut teach = |step| trainer.update((&expert, &ones), &played, [0, step], enough).unwrap();
        let told = (0..steps).map(&mut teach).last().unwrap();
        (trainer, told)
    }

    /// With a cut that every logit is beyond at once, a loss of cut logits would have no gradient from the second step on.
    #[test]
    fn the_cut_bounds_what_is_handed_out_and_not_what_is_learned_from() {
        let cut = DiscriminatorSettings {
            logit_clip: 1e-3,
            optimizer: Optimizer::with_learning_rate(0.01),
            ..DiscriminatorSettings::default()
        };
        let free = DiscriminatorSettings { logit_clip: 1e3, ..cut.clone() };
        let ((of_cut, told), (_, of_free)) = (taught(&cut, 100, 2.0), taught(&free, 100, 2.0));
        assert_eq!((told.loss, told.accuracy), (of_free.loss, of_free.accuracy), "both learn alike");
        // Smoothed by a tenth, the best loss is the entropy of (0.9, 0.1).
        assert!((told.loss - 0.325).abs() < 0.01 && told.accuracy == 1.0, "{}", told.loss);
        let handed = of_cut.discriminator.logits(&rows([1.0, 0.0])).unwrap().to_vec1::<f32>().unwrap();
        assert!(handed.iter().all(|z| (z - 1e-3).abs() < 1e-7), "{handed:?}");
    }

    #[test]
    fn what_is_told_apart_well_enough_teaches_nothing() {
        let settings = DiscriminatorSettings::default();
        let before = trainer(&settings).discriminator.params().export().unwrap();
        let after = |enough| taught(&settings, 1, enough).0.discriminator.params().export().unwrap();
        assert_eq!(after(-1.0), before);
        assert_ne!(after(2.0), before);
    }
}
