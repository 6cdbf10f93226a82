//! `align.virtual_tokens`: embedding rows between context and question that make the answer likely (SPRING: Zhu et al. 2024, arXiv
//! 2405.19670, §3).
//!
//! min over E of −mean ln p(token of the title | history, E_1 … E_k, question, tokens before), with k uniform in 1 … n for each batch, so
//! that every beginning of the tokens serves. E begins at the embeddings of an instruction. Left out: retrieved passages.

use anyhow::Result;
use pipeline::{AssetName, Context, Stage};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::objective::Answers;
use super::ports::{Inputs, Outputs};
use super::questions::LogQuestions;
use super::training::{Passes, Training, Tuned};

use crate::llm::gguf::Gguf;
use crate::nn::{Optimizer, OptimizerDefaults, Schedule, rng};

const COUNT: u64 = 0xa11e;

/// `align.virtual_tokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlignVirtualTokens {
    /// The model file, an entry of `assets`.
    pub asset: AssetName,
    /// The questions to learn from.
    #[serde(default)]
    pub questions: LogQuestions,
    /// n, the number of virtual tokens, from 1; ours: 16, the paper's: 50.
    #[serde(default = "AlignVirtualTokens::sixteen")]
    pub n_tokens: usize,
    /// The instruction at whose embeddings they begin, repeated until they are enough.
    #[serde(default = "AlignVirtualTokens::instruction")]
    pub initial_text: String,
    /// Passes over the questions.
    #[serde(default)]
    pub passes: Passes,
    /// AdamW.
    #[serde(default)]
    pub optimizer: Optimizer<Self>,
    /// Seed of the questions, the numbers of tokens and the order.
    #[serde(default)]
    pub seed: u64,
    /// Updates between two checkpoints, from 1.
    #[serde(default = "AlignVirtualTokens::twenty")]
    pub checkpoint_every: u64,
}

/// The learning rate is the paper's.
impl OptimizerDefaults for AlignVirtualTokens {
    const LEARNING_RATE: f64 = 1e-4;
    const WEIGHT_DECAY: f64 = 0.0;
    const MAX_GRAD_NORM: Option<f64> = Some(1.0);
    const SCHEDULE: Schedule = Schedule::Linear;
}

impl AlignVirtualTokens {
    fn sixteen() -> usize {
        16
    }
    fn instruction() -> String {
        "Recommend what fits this history best:".into()
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

impl Stage for AlignVirtualTokens {
    const KIND: &'static str = "align.virtual_tokens";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "tune a language model on a log: embedding rows between history and question, and no weight";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        vec![self.asset.clone()]
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        self.training().check(&self.questions)?;
        if self.n_tokens == 0 {
            return wrong("n_tokens", "at least one");
        }
        if self.initial_text.is_empty() {
            return wrong("initial_text", "a text");
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let questions = self.questions.of(&inputs, None, self.seed)?;
        let path = cx.asset(&self.asset)?;
        let model = Gguf::load(path)?;
        let initial = model.new_virtual_tokens(&self.initial_text, self.n_tokens)?;
        let count = |update: Option<u64>| match update {
            Some(update) => rng(&[self.seed, COUNT, update]).random_range(1..=self.n_tokens),
            None => self.n_tokens,
        };
        let batch_size = self.passes.batch_size;
        let objective = Answers { model: &model, questions: &questions, virtual_tokens: count, batch_size };
        let tuned = Tuned { model: &model, path, learner: Self::KIND, alpha: 0.0 };
        self.training().adapter(&tuned, initial, &objective, cx)
    }
}
