//! The discriminator of `rl.ilrec`: its training, and its reward.
//!
//! L_D = −mean_demo(ŵ·log D_E) − mean_π(log(1 − D_E)), D_E = P(expert) = σ(logit), with smoothed labels and a replay of the last
//! rounds' played steps (Ho and Ermon 2016, arXiv 1606.03476, eq. 17); one step of it is [`DiscriminatorTrainer`]'s, as in `irl`.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{Device, Tensor};

use super::batch::Batch;
use super::bc_dataset::BcDataset;
use crate::artifact::{Array, World};
use crate::env::Features;
use crate::nn::discriminator::{DiscriminatorBatch, DiscriminatorConfig};
use crate::nn::params::{to_array, to_tensor};
use crate::nn::{AdamW, DiscriminatorMetrics, DiscriminatorSettings, DiscriminatorTrainer, Params, RewardForm};

/// Gradient steps a round where the settings do not say.
const USUAL_STEPS: u64 = 2;

/// The discriminator with what it learns from.
pub struct IlRecDiscriminator<'w> {
    settings: DiscriminatorSettings,
    features: Features<'w>,
    trainer: DiscriminatorTrainer,
    device: Device,
    demonstrated: DiscriminatorBatch,
    /// Features of the last rounds' played steps, oldest first.
    played: Vec<Tensor>,
}

impl<'w> IlRecDiscriminator<'w> {
    /// A new one on that device against the expert of `pairs`, which reads these `features`.
    pub fn new(
        device: &Device,
        settings: &DiscriminatorSettings,
        pairs: &BcDataset,
        world: &'w World,
        features: Features<'w>,
        seed: u64,
    ) -> Result<Self> {
        let config = DiscriminatorConfig {
            inputs: features.width(),
            window: pairs.observation.window,
            vectors: world.vectors_digest(),
            ..DiscriminatorConfig::default()
        };
        Ok(Self {
            trainer: DiscriminatorTrainer::new(device, settings, config, seed)?,
            device: device.clone(),
            demonstrated: DiscriminatorBatch::of_state_actions(features.compute(&pairs.observation, &pairs.actions)?)
                .to_device(device)?,
            features,
            played: Vec::new(),
            settings: settings.clone(),
        })
    }

    /// Adds the played steps of a round and updates the discriminator; the metrics of the last batch. `weights [N]` are the demonstrated
    /// steps', and count where the settings say so; `[round, rounds]` is the number of this round, from 0, and of all.
    pub fn learn(&mut self, batch: &Batch, weights: &[f32], [round, rounds]: [u64; 2]) -> Result<DiscriminatorMetrics> {
        self.played.push(self.features.compute(&batch.observation, &batch.actions)?.to_device(&self.device)?);
        if self.played.len() > self.settings.buffer_rounds {
            self.played.remove(0);
        }
        let played = DiscriminatorBatch::of_state_actions(Tensor::cat(&self.played, 0)?);
        let counts = if self.settings.weighted { weights.to_vec() } else { vec![1.0; weights.len()] };
        let counts = Tensor::from_vec(counts, weights.len(), &self.device)?;
        self.trainer.begin_round(round, rounds);
        let enough = self.settings.max_accuracy;
        let mut metrics = DiscriminatorMetrics { loss: 0.0, accuracy: 0.0 };
        for step in 0..self.settings.n_updates.unwrap_or(USUAL_STEPS) {
            metrics = self.trainer.update((&self.demonstrated, &counts), &played, [round, step], enough)?;
            if metrics.accuracy > enough {
                break;
            }
        }
        Ok(metrics)
    }

    /// The logits of the demonstrated steps, `[N]`, high where the expert is likely.
    pub fn demo_logits(&self) -> Result<Vec<f32>> {
        Ok(self.trainer.discriminator.logits(&self.demonstrated)?.to_vec1()?)
    }

    /// r_IRL = −log(1 − D_E) = softplus(logit) ≥ 0 of a batch, `[S]`.
    pub fn rewards(&self, batch: &Batch) -> Result<Vec<f32>> {
        let rows = DiscriminatorBatch::of_state_actions(self.features.compute(&batch.observation, &batch.actions)?)
            .to_device(&self.device)?;
        Ok(self.trainer.discriminator.rewards(RewardForm::NegLogOneMinusD, &rows)?.to_vec1()?)
    }

    /// The network with its optimiser, for a checkpoint.
    pub fn modules(&mut self) -> (&'static str, &Params, &mut AdamW) {
        self.trainer.module()
    }

    /// The replay as `played.<round>`.
    pub fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        let named = |(k, steps)| Ok((format!("played.{k:06}"), to_array(steps)?));
        self.played.iter().enumerate().map(named).collect()
    }

    /// Goes back to what [`IlRecDiscriminator::extra_state`] gave.
    pub fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        let rounds = state.iter().filter(|(name, _)| name.starts_with("played."));
        self.played = rounds.map(|(_, array)| Ok(to_tensor(array)?.to_device(&self.device)?)).collect::<Result<_>>()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Context, Stage as _};

    use super::*;
    use crate::artifact::Items;
    use crate::env::cluster_world;
    use crate::nn::training::assert_resumes_exactly;
    use crate::rl::IlRec;
    use crate::rl::conformance::{demonstrated_cycles, small_network};
    use crate::rl::ilrec::{Inputs, WeightsConfig};

    fn small() -> DiscriminatorSettings {
        DiscriminatorSettings { batch_size: 32, hidden_size: 16, ..DiscriminatorSettings::default() }
    }

    /// The catalogue's texts, the spectral norm and the weights change what the discriminator makes of it, and resume exactly.
    #[test]
    fn the_discriminator_has_every_setting_that_it_has_in_inverse_rl() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 8, 4);
        let names: Vec<String> = (0..6).map(|k| format!("item {k}")).collect();
        let catalogue = Items { id: names.clone(), title: names, genres: vec![vec![]; 6], ..Items::default() };
        let inputs = |items: Option<Items>| {
            let demonstrations = demonstrated_cycles(&world, &[&[0, 2, 4]]);
            Inputs { items, ..Inputs::new(world.clone(), demonstrations) }
        };
        let with = |change: fn(&mut DiscriminatorSettings)| {
            let weights = WeightsConfig { reweight_interval: 1, ..WeightsConfig::default() };
            let (discriminator, network) = (small(), small_network());
            let mut config = IlRec {
                n_iterations: 4,
                episodes_per_update: 4,
                omega: 1.0,
                discriminator,
                weights,
                network,
                checkpoint_every: 1,
                ..IlRec::default()
            };
            change(&mut config.discriminator);
            config
        };
        let run = |config: &IlRec, items: Option<Items>| {
            let folder = tempfile::tempdir().unwrap();
            config.run(inputs(items), &Context::detached(folder.path())).unwrap().policy
        };
        let plain = run(&with(|_| ()), None);
        assert!(run(&with(|d| d.spectral_norm = true), None) != plain);
        assert!(run(&with(|d| d.weighted = true), None) != plain);
        assert!(run(&with(|d| d.n_updates = Some(0)), None) != plain);
        let texts = run(&with(|_| ()), Some(catalogue.clone()));
        assert!(texts != plain && run(&with(|d| d.text_embedding_dim = 3), Some(catalogue.clone())) != texts);
        let of_texts = |config: &IlRec| {
            assert_resumes_exactly(config, || inputs(Some(catalogue.clone())), |o| (o.policy, o.curves), 4);
        };
        of_texts(&with(|d| d.weighted = true));
    }
}
