//! `rate`: a language model rates each item of the catalogue once.
//!
//! The scores are those of [`RateBy`]: contrasts of words, written grades or the likelihood of titles, independent of users and turns.
//! They rank a catalogue (`retrieve.item_scores`), are the prior mean of an item's bias in a world, and can be demonstrated.
//!
//! Every answer is stored before it is used. After a kill, and in every other experiment on the same items with the same model and
//! questions, stored answers are not asked again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use pipeline::checkpointing::ValueStore;
use pipeline::{Artifact as _, AssetName, Context, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Adapter, Array, Calls, ItemScores, ItemVectors, Items};
use crate::llm::{self, CachedLlm, Llm, LlmConfig, RateBy, Rated, Rating, RecordedCall};

/// `rate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The language model.
    pub llm: LlmConfig,
    /// The noun for an item in the prompts, such as `movie`.
    #[serde(default = "Rate::item")]
    pub item_noun: String,
    /// The questions. By default three contrasts, in English, whose mean is the score.
    #[serde(default)]
    pub by: RateBy,
    /// Minimum fraction of items with a score; below it the stage fails. An item has no score where an answer failed, or holds no
    /// grade.
    #[serde(default = "Rate::half")]
    pub min_valid_rate: f64,
}

impl Rate {
    fn item() -> String {
        "item".into()
    }
    fn half() -> f64 {
        0.5
    }
}

pipeline::ports! {
    /// The catalogue.
    pub struct Inputs {
        /// The catalogue with the titles. Items without a title are described by their genres and features.
        items: Items,
        /// Recorded calls from which `llm: { replay: {} }` answers; none when not connected.
        calls: Option<Calls>,
        /// What an embedded model learned beside its weights; none when not connected.
        adapter: Option<Adapter>,
    }
}

pipeline::ports! {
    /// The scores and the calls behind them.
    pub struct Outputs {
        /// The score of each item, and its score by each question.
        item_scores: ItemScores,
        /// The scores by each question as a vector of the item: one column a question, with mean 0 and standard deviation 1 over the
        /// items that have a score, 0 for the others.
        item_vectors: ItemVectors,
        /// Every call of the language model, by item.
        calls: Calls,
    }
}

impl Stage for Rate {
    const KIND: &'static str = "rate";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "let a language model rate each item once, for no user in particular";
    const NOT_IN_KEY: &'static [&'static str] = llm::NOT_IN_KEY;
    const ADDED_PORTS: &'static [&'static str] = &["adapter"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn local_only(&self) -> bool {
        self.llm.asks_server()
    }

    fn assets(&self) -> Vec<AssetName> {
        self.llm.asset().into_iter().collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        self.llm.check().map_err(|(path, message)| (format!("llm.{path}"), message))?;
        if self.item_noun.trim().is_empty() {
            return Err(("item_noun".into(), "a word for what is rated, such as `movie`".into()));
        }
        if !(0.0..=1.0).contains(&self.min_valid_rate) {
            return Err(("min_valid_rate".into(), "a share lies between 0 and 1".into()));
        }
        self.by.check(&self.llm).map_err(|(path, message)| (format!("by.{path}"), message))
    }

    fn requirements(&self) -> Vec<Requirement> {
        self.llm.requirements()
    }

    fn estimate(&self, made: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Option<String>> {
        let items = made("items").map(|items| Items::read(&items)).transpose()?;
        Ok(self.by.cost(&self.llm, items.as_ref()))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let llm = self.llm.open(cx, RecordedCall::all_of(inputs.calls.as_ref()), inputs.adapter.as_ref())?;
        self.rate(&*llm, &inputs.items, cx)
    }
}

impl Rate {
    fn rate(&self, llm: &dyn Llm, items: &Items, cx: &Context) -> Result<Outputs> {
        let cache = CachedLlm::new(llm, ValueStore::open(cx.calls())?);
        let start = Instant::now();
        let rating = Rating { by: &self.by, item_noun: &self.item_noun, min_valid_rate: self.min_valid_rate };
        let Rated { scores, calls } = rating.rate(items, llm, &cache, cx)?;
        cache.note_calls(!self.llm.replays(), start, cx);
        llm.spending()?.into_iter().for_each(|spent| cx.note("spent", spent));
        // Items of one text share their calls.
        let mut seen = BTreeSet::new();
        let distinct = calls.iter().flatten().filter(|call| seen.insert(&call.key));
        let calls = Calls(distinct.map(|call| (**call).clone()).collect());
        let item_vectors = self.vectors(&scores, llm);
        Ok(Outputs { item_scores: scores, item_vectors, calls })
    }

    fn vectors(&self, scores: &ItemScores, llm: &dyn Llm) -> ItemVectors {
        let columns: Vec<Vec<f32>> = scores.standardised_questions();
        let rows = (0..scores.len()).flat_map(|item| columns.iter().map(move |column| column[item]));
        let model = llm.identity();
        let space = serde_json::json!({ "model": model, "item_noun": self.item_noun, "by": self.by }).to_string();
        ItemVectors {
            vectors: Array::new(&[scores.len(), columns.len()], rows.collect()),
            space,
            columns: scores.questions.iter().map(|(name, _)| name.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
