//! `align.dpo`: tuning of low-rank terms by pairs, the title of the item taken next against that of an item never taken.
//!
//! min over A, B of −ln σ(β[(ln π − ln π_ref)(chosen) − (ln π − ln π_ref)(rejected)]), where π_ref is the untuned model (DPO: Rafailov et
//! al. 2023, arXiv 2305.18290, eq. 7; of recommenders: DPO4Rec, arXiv 2410.05939). Left out: pairs of sampled rationales.

use anyhow::Result;
use pipeline::{AssetName, Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::low_rank_settings::LowRankSettings;
use super::pairs::Pairs;
use super::ports::{Inputs, Outputs};
use super::questions::LogQuestions;
use super::training::{Passes, Training, Tuned};

use crate::llm::gguf::Gguf;
use crate::nn::{Optimizer, OptimizerDefaults, Schedule};
use crate::prompting::Negatives;

/// `align.dpo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlignDpo {
    /// The model file, an entry of `assets`.
    pub asset: AssetName,
    /// The questions to learn from.
    #[serde(default)]
    pub questions: LogQuestions,
    /// How the rejected items are drawn.
    #[serde(default)]
    pub negatives: Negatives,
    /// β, how far the model may move from the untuned one for a pair, above 0; the paper's: 0.1.
    #[serde(default = "AlignDpo::tenth")]
    pub beta: f64,
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
    #[serde(default = "AlignDpo::twenty")]
    pub checkpoint_every: u64,
}

impl OptimizerDefaults for AlignDpo {
    const LEARNING_RATE: f64 = 5e-5;
    const WEIGHT_DECAY: f64 = 0.0;
    const MAX_GRAD_NORM: Option<f64> = Some(1.0);
    const SCHEDULE: Schedule = Schedule::Cosine;
}

impl AlignDpo {
    fn tenth() -> f64 {
        0.1
    }
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

impl Stage for AlignDpo {
    const KIND: &'static str = "align.dpo";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "tune a language model on pairs of a log: the title of the item taken next against another, by DPO";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        self.training().check(&self.questions)?;
        self.low_rank.check().map_err(|(path, message)| (format!("low_rank.{path}"), message))?;
        if !(self.beta > 0.0 && self.beta.is_finite()) {
            return wrong("beta", "a number above 0");
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let questions = self.questions.of(&inputs, Some(self.negatives), self.seed)?;
        let path = cx.asset(&self.asset)?;
        let model = Gguf::load(path)?;
        let objective = Pairs::new(&model, &questions, self.beta, self.passes.batch_size)?;
        let tuned = Tuned { model: &model, path, learner: Self::KIND, alpha: self.low_rank.alpha };
        self.training().adapter(&tuned, self.low_rank.initial(&model, self.seed), &objective, cx)
    }
}
