//! The training of a discriminator: its optimiser, and the gradient step that all adversarial stages share.
//!
//! L_D = mean(w·bce(logit, target)) over as many demonstrated as generated steps, with smoothed targets (Ho and Ermon 2016, arXiv
//! 1606.03476, eq. 17). The loss uses unclipped logits, because a clipped logit has no gradient. Clipping bounds rewards and weights
//! only. Replay, rewards and the end of a training are left to the stages.

use anyhow::{Context as _, Result};
use candle_core::{DType, Device, Tensor};
use rand::RngExt;

use crate::nn::discriminator::adversarial::adversarial_loss;
use crate::nn::discriminator::network::{DiscriminatorBatch, DiscriminatorConfig};
use crate::nn::{AdamW, Discriminator, DiscriminatorSettings, Optimizer, Params, rng};

/// A discriminator in training.
pub struct DiscriminatorTrainer {
    /// The network.
    pub discriminator: Discriminator,
    adam: AdamW,
    optimizer: Optimizer<DiscriminatorSettings>,
    batch_size: usize,
    label_smoothing: f32,
    seed: u64,
}

/// Metrics of a batch before the update.
pub struct DiscriminatorMetrics {
    /// L_D in nats.
    pub loss: f64,
    /// Share of steps that are classified correctly.
    pub accuracy: f64,
}

impl DiscriminatorTrainer {
    /// A new discriminator on that device, with the inputs of `config` and the network of `settings`.
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

    /// One gradient step on a balanced batch drawn from `expert`, with weights `expert_weights [N]`, and from `generated`; `place` is (round, step).
    /// A batch with an accuracy above `max_accuracy` makes no step.
    pub fn update(
        &mut self,
        (expert, expert_weights): (&DiscriminatorBatch, &Tensor),
        generated: &DiscriminatorBatch,
        place: [u64; 2],
        max_accuracy: f64,
    ) -> Result<DiscriminatorMetrics> {
        let (size, device) = (self.batch_size, self.discriminator.params().device());
        let mut draw = rng(&[self.seed, 0xd15c, place[0], place[1]]);
        let mut rows = |count: usize| -> Vec<u32> { (0..size).map(|_| draw.random_range(0..count as u32)).collect() };
        let (of_expert, of_generated) = (rows(expert.state_actions.dim(0)?), rows(generated.state_actions.dim(0)?));
        let batch = expert.gather(&of_expert, generated, &of_generated)?;
        let ones = Tensor::ones(size, DType::F32, device)?;
        let weights = Tensor::cat(&[&expert_weights.index_select(&Tensor::new(of_expert, device)?, 0)?, &ones], 0)?;
        let (high, low) = (1.0 - self.label_smoothing, self.label_smoothing);
        let targets: Vec<f32> = (0..2 * size).map(|k| if k < size { high } else { low }).collect();
        let logits = self.discriminator.unclipped_logits(&batch)?;
        let loss = adversarial_loss(&logits, &Tensor::new(targets, device)?, &weights)?;
        let right = logits.to_vec1::<f32>()?.iter().enumerate().filter(|(k, z)| (*k < size) == (**z > 0.0)).count();
        let metrics = DiscriminatorMetrics {
            loss: f64::from(loss.to_scalar::<f32>()?),
            accuracy: right as f64 / (2 * size) as f64,
        };
        if metrics.accuracy <= max_accuracy {
            self.adam
                .descend(self.discriminator.params(), &loss)
                .with_context(|| format!("the discriminator in round {}", place[0]))?;
        }
        Ok(metrics)
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

    fn trained(
        settings: &DiscriminatorSettings,
        steps: u64,
        max_accuracy: f64,
    ) -> (DiscriminatorTrainer, DiscriminatorMetrics) {
        let mut trainer = trainer(settings);
        let ones = Tensor::ones(5, DType::F32, &Device::Cpu).unwrap();
        let (expert, generated) = (rows([1.0, 0.0]), rows([0.0, 1.0]));
        let mut update = |step| trainer.update((&expert, &ones), &generated, [0, step], max_accuracy).unwrap();
        let metrics = (0..steps).map(&mut update).last().unwrap();
        (trainer, metrics)
    }

    /// With a bound below every logit, a loss of clipped logits would have no gradient from the second step on.
    #[test]
    fn clipping_bounds_rewards_and_not_the_loss() {
        let clipped_settings = DiscriminatorSettings {
            logit_clip: 1e-3,
            optimizer: Optimizer::with_learning_rate(0.01),
            ..DiscriminatorSettings::default()
        };
        let unclipped = DiscriminatorSettings { logit_clip: 1e3, ..clipped_settings.clone() };
        let ((of_clipped, metrics), (_, of_unclipped)) =
            (trained(&clipped_settings, 100, 2.0), trained(&unclipped, 100, 2.0));
        assert_eq!((metrics.loss, metrics.accuracy), (of_unclipped.loss, of_unclipped.accuracy), "both learn the same");
        // Smoothed by a tenth, the best loss is the entropy of (0.9, 0.1).
        assert!((metrics.loss - 0.325).abs() < 0.01 && metrics.accuracy == 1.0, "{}", metrics.loss);
        let clipped = of_clipped.discriminator.logits(&rows([1.0, 0.0])).unwrap().to_vec1::<f32>().unwrap();
        assert!(clipped.iter().all(|z| (z - 1e-3).abs() < 1e-7), "{clipped:?}");
    }

    #[test]
    fn a_batch_above_the_largest_accuracy_makes_no_step() {
        let settings = DiscriminatorSettings::default();
        let before = trainer(&settings).discriminator.params().export().unwrap();
        let after = |max_accuracy| trained(&settings, 1, max_accuracy).0.discriminator.params().export().unwrap();
        assert_eq!(after(-1.0), before);
        assert_ne!(after(2.0), before);
    }
}
