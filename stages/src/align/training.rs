//! The loop that all alignments share: batches of an objective's units, AdamW, checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use candle_core::{Device, Tensor};
use pipeline::Context;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::objective::Objective;
use super::ports::Outputs;
use super::questions::LogQuestions;
use crate::artifact::{AdapterOrigin, Curves};
use crate::llm::gguf::{Adaptation, Gguf};
use crate::nn::{Optimizer, Params, TrainingCheckpoints, TrainingState, rng};

const ORDER: u64 = 0xa11c;

/// How often the questions are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Passes {
    /// Passes over the questions, from 1.
    pub n_epochs: u64,
    /// Questions of an update, from 1. Threads share them: with fewer questions than threads some threads idle.
    pub batch_size: usize,
    /// Share of the updates over which the learning rate grows from near 0 to its first value, in [0, 1].
    pub warmup: f64,
}

impl Default for Passes {
    fn default() -> Self {
        Self { n_epochs: 3, batch_size: 8, warmup: 0.02 }
    }
}

impl Passes {
    /// What types cannot express: the path of the first invalid setting and a message.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if self.n_epochs == 0 {
            return wrong("n_epochs", "at least one pass");
        }
        if self.batch_size == 0 {
            return wrong("batch_size", "at least one question");
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return wrong("warmup", "a share lies between 0 and 1");
        }
        Ok(())
    }
}

/// A model that is tuned, and by whom.
pub(super) struct Tuned<'a> {
    pub model: &'a Gguf,
    /// Its file.
    pub path: &'a Path,
    /// The kind of stage.
    pub learner: &'static str,
    /// α of the low-rank terms; 0 where there are none.
    pub alpha: f64,
}

/// A training.
pub(super) struct Training<'a> {
    pub passes: &'a Passes,
    pub optimizer: Optimizer<()>,
    pub seed: u64,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
}

impl Training<'_> {
    /// What types cannot express of what all alignments share: the path of the first invalid setting and a message.
    pub fn check(&self, questions: &LogQuestions) -> Result<(), (String, String)> {
        questions.check().map_err(|(path, message)| (format!("questions.{path}"), message))?;
        self.passes.check().map_err(|(path, message)| (format!("passes.{path}"), message))?;
        self.optimizer.check().map_err(|(path, message)| (format!("optimizer.{path}"), message))?;
        if self.checkpoint_every == 0 {
            return Err(("checkpoint_every".to_owned(), "at least one update".to_owned()));
        }
        Ok(())
    }

    /// What the model learns from `initial` on, as an adapter of its file.
    ///
    /// # Errors
    /// Those of the training, or when the file cannot be read.
    pub fn adapter(
        &self,
        model: &Tuned,
        initial: Adaptation,
        objective: &dyn Objective,
        cx: &Context,
    ) -> Result<Outputs> {
        let model_digest = Gguf::digest(model.path)?;
        let (learnt, curves) = self.run(initial, objective, cx)?;
        let (name, learner) = (model.model.name().to_owned(), model.learner.to_owned());
        let origin = AdapterOrigin { model: name, model_digest, learner, alpha: model.alpha };
        Ok(Outputs { adapter: model.model.adapter(&learnt, &origin)?, curves })
    }

    /// From `initial` to the end, or from the last checkpoint.
    fn run(&self, initial: Adaptation, objective: &dyn Objective, cx: &Context) -> Result<(Adaptation, Curves)> {
        let mut adaptation = initial;
        let mut params = Params::default();
        for (name, numbers) in adaptation.tensors() {
            params.add(&name, &Tensor::new(numbers, &Device::Cpu)?)?;
        }
        let mut adam = self.optimizer.adam(&params)?;
        let mut curves = Curves::default();
        let training = TrainingCheckpoints::open(cx, "checkpoints", self.checkpoint_every)?;
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            let networks = vec![("adapter", &params, &mut adam)];
            TrainingState { networks, arrays: BTreeMap::new(), curves: &mut curves }.restore(&bytes)?;
            read(&params, &mut adaptation)?;
            done = number;
        }
        let predict = |update: u64, adaptation: &Adaptation, curves: &mut Curves| -> Result<()> {
            objective.held_out(adaptation)?.into_iter().for_each(|(series, value)| curves.push(series, update, value));
            Ok(())
        };
        if done == 0 {
            predict(0, &adaptation, &mut curves)?;
        }
        let batches = objective.units().div_ceil(self.passes.batch_size) as u64;
        let updates = batches * self.passes.n_epochs;
        let bar = cx.bar("train", Some(updates), "updates");
        bar.inc(done);
        for update in done..updates {
            let (epoch, batch) = (update / batches, (update % batches) as usize);
            let mut order: Vec<usize> = (0..objective.units()).collect();
            order.shuffle(&mut rng(&[self.seed, ORDER, epoch]));
            let places = order.chunks(self.passes.batch_size).nth(batch).unwrap_or_default();
            let (loss, gradient) = objective.gradient(&adaptation, places, update)?;
            adam.learning_rate = self.learning_rate(update, updates);
            let norm = adam.descend(&params, &with_gradient(&params, &gradient)?)?;
            read(&params, &mut adaptation)?;
            curves.push("loss", update + 1, loss);
            curves.push("gradient_norm", update + 1, norm);
            if (update + 1).is_multiple_of(batches) {
                predict(update + 1, &adaptation, &mut curves)?;
            }
            bar.inc_with(1, &format!("loss {loss:.3}"));
            training.after_unit(update + 1, || {
                let networks = vec![("adapter", &params, &mut adam)];
                TrainingState { networks, arrays: BTreeMap::new(), curves: &mut curves }.save()
            })?;
        }
        Ok((adaptation, curves))
    }

    fn learning_rate(&self, update: u64, updates: u64) -> f64 {
        let warm = (self.passes.warmup * updates as f64).max(1.0);
        self.optimizer.rate(update, updates) * ((update + 1) as f64 / warm).min(1.0)
    }
}

/// A scalar whose gradient by the parameters is `gradient`: the loss itself is not made of tensors.
fn with_gradient(params: &Params, gradient: &Adaptation) -> Result<Tensor> {
    let gradients: BTreeMap<String, &[f32]> = gradient.tensors().into_iter().collect();
    let mut sum = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
    for (name, var) in params.iter() {
        let gradient = Tensor::new(gradients[name.as_str()], &Device::Cpu)?;
        sum = (sum + (var.as_tensor() * gradient)?.sum_all()?)?;
    }
    Ok(sum)
}

/// Copies the parameters to where the model reads them.
fn read(params: &Params, adaptation: &mut Adaptation) -> Result<()> {
    let names: Vec<String> = adaptation.tensors().into_iter().map(|(name, _)| name).collect();
    let all = params.export()?;
    for (name, numbers) in names.iter().zip(adaptation.tensors_mut()) {
        numbers.copy_from_slice(&all[name].data);
    }
    Ok(())
}
