//! `align.sft`: supervised tuning of low-rank terms (LoRA: Hu et al. 2021, arXiv 2106.09685) on the titles of the items taken next.
//!
//! min over A, B of −mean ln p(token of the title | history, question, tokens before), with W + α/r · B·A in the place of chosen maps W.
//! Left out: gradients of the weights themselves, and dropout.

use anyhow::Result;
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::low_rank_settings::LowRankSettings;
use super::objective::Answers;
use super::ports::{Inputs, Outputs};
use super::questions::LogQuestions;
use super::training::{Passes, Training, Tuned};

use crate::llm::gguf::Gguf;
use crate::nn::{Optimizer, OptimizerDefaults, Schedule};

/// `align.sft`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlignSft {
    /// The model file, an entry of `assets`.
    pub asset: AssetName,
    /// The questions to learn from.
    #[serde(default)]
    pub questions: LogQuestions,
    /// What is learned.
    #[serde(default)]
    pub low_rank: LowRankSettings,
    /// Passes over the questions.
    #[serde(default)]
    pub passes: Passes,
    /// AdamW.
    #[serde(default)]
    pub optimizer: Optimizer<Self>,
    /// Seed of the questions, the initial terms and the order.
    #[serde(default)]
    pub seed: u64,
    /// Updates between two checkpoints, from 1.
    #[serde(default = "AlignSft::twenty")]
    pub checkpoint_every: u64,
}

impl OptimizerDefaults for AlignSft {
    const LEARNING_RATE: f64 = 2e-4;
    const WEIGHT_DECAY: f64 = 0.0;
    const MAX_GRAD_NORM: Option<f64> = Some(1.0);
    const SCHEDULE: Schedule = Schedule::Cosine;
}

impl AlignSft {
    fn twenty() -> u64 {
        20
    }

    fn training(&self) -> Training<'_> {
        Training {
            passes: &self.passes,
            optimizer: self.optimizer.untyped(),
            seed: self.seed,
            checkpoint_every: self.checkpoint_every,
        }
    }
}

impl Stage for AlignSft {
    const KIND: &'static str = "align.sft";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "tune a language model on a log: low-rank terms that make the titles of the items taken next likely";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        self.training().check(&self.questions)?;
        self.low_rank.check().map_err(|(path, message)| (format!("low_rank.{path}"), message))?;
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let questions = self.questions.of(&inputs, None, self.seed)?;
        let path = cx.asset(&self.asset)?;
        let model = Gguf::load(path)?;
        let batch_size = self.passes.batch_size;
        let objective = Answers { model: &model, questions: &questions, virtual_tokens: |_| 0, batch_size };
        let tuned = Tuned { model: &model, path, learner: Self::KIND, alpha: self.low_rank.alpha };
        self.training().adapter(&tuned, self.low_rank.initial(&model, self.seed), &objective, cx)
    }
}
