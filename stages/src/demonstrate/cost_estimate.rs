//! An estimate of the stage's cost before it runs.

use std::path::PathBuf;

use anyhow::Result;
use pipeline::Artifact as _;

use super::Demonstrate;
use super::agent::{Actor, SearchPrior};
use super::lookahead::nodes;
use super::roles::CRITIC_TOKENS;
use crate::artifact::{Items, World};
use crate::features::{Columns, Declared, told};
use crate::llm::Workload;
use crate::prompting::Strategy;

/// Tokens of the fixed text: default instructions, the format of the answer, the chat template.
const FIXED_TOKENS: f64 = 90.0;
/// Tokens around a title in a line about a shown item.
const FEEDBACK_TOKENS: f64 = 14.0;
/// Bytes per token in most texts.
const BYTES_PER_TOKEN: f64 = 4.0;
/// Tokens of a title where the catalogue is not known yet.
const TITLE_TOKENS: f64 = 7.0;

impl Demonstrate {
    /// The calls of every role at every turn of each user, with prompts of average length. It is an upper estimate: stored answers
    /// cost nothing, users may leave early, also imagined ones, and most titles match at the first attempt.
    pub(super) fn cost(&self, made: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Option<String>> {
        let items = made("items").map(|items| Items::read(&items)).transpose()?;
        if let Actor::Rate(rating) = &self.actor {
            return Ok(rating.by.cost(&self.llm, items.as_ref()));
        }
        let horizon = made("world").map(|world| World::rules_of(&world)).transpose()?.map(|rules| rules.horizon);
        let users = self.users as u64;
        let turns = users * horizon.unwrap_or(1) as u64;
        let (agent, roles) = (self.agent, &self.roles);
        // Texts of each kind and the longest of them; an episode of unknown length has its reflection counted with each turn.
        let mut texts = Vec::new();
        let mut choices = 0;
        match &self.actor {
            Actor::Choose => choices = turns * self.rankings() as u64,
            Actor::Search(search) => {
                let asks = search.prior == SearchPrior::LanguageModel;
                choices = if asks { turns * nodes(search.width, search.depth, self.n_candidates) } else { 0 };
            }
            Actor::Rate(_) => {}
            Actor::Write(generation) => texts.push((turns, generation.max_tokens)),
        }
        choices += self.examples.questions() as u64;
        if agent.plans() {
            texts.push((turns, roles.max_thought_tokens));
        }
        if agent.criticises() {
            texts.push((turns, CRITIC_TOKENS));
        }
        if agent.reflects() {
            texts.push((users, roles.max_reflection_tokens));
        }
        let count = texts.iter().map(|(count, _)| count).sum::<u64>();
        let work = Workload {
            choices,
            texts: count,
            prompt_tokens: ((choices + count) as f64 * self.prompt_tokens(horizon, items.as_ref())) as u64,
            text_tokens: texts.iter().map(|&(count, longest)| count * u64::from(longest)).sum(),
        };
        let each = if horizon.is_none() {
            "per turn of an episode, because the horizon of the world is not known yet: "
        } else {
            ""
        };
        let rounds = if self.llm.in_batches() { self.rounds(horizon.unwrap_or(1)) } else { String::new() };
        let words = self.llm.estimate(&work);
        Ok(words.map(|words| format!("{each}{words}{rounds} (an estimate; stored answers cost nothing)")))
    }

    /// How many batches follow each other at least: one for each text or choice that depends on the one before. Users whose memories
    /// wait for each other do so in groups.
    fn rounds(&self, turns: usize) -> String {
        let (agent, groups) = (self.agent, self.users.div_ceil(self.roles.memory_batch_size.max(1)));
        let each = turns * (1 + usize::from(agent.plans())) + usize::from(agent.reflects());
        let rounds = if agent.reflects() { each * groups } else { each };
        format!(" in {rounds} {} of batches", if rounds == 1 { "round" } else { "rounds" })
    }

    /// Items that the beginning of a prompt names, on average over the strategies.
    fn told_items(&self) -> f64 {
        let history = &self.log_history;
        let of = |strategy: &Strategy| match strategy {
            Strategy::ItemOnly => 0,
            Strategy::TopRated => self.n_liked,
            Strategy::Recent | Strategy::Proximal | Strategy::Clusters => history.length,
            Strategy::Global => history.length + history.n_examples * (history.example_length + 1),
        };
        let strategies = self.played_strategies();
        let told = strategies.iter().map(of).sum::<usize>() as f64 / strategies.len() as f64;
        let examples = &self.examples;
        told + if examples.is_none() { 0.0 } else { (examples.count * (examples.length + 1)) as f64 }
    }

    /// Tokens of a prompt on average.
    fn prompt_tokens(&self, horizon: Option<usize>, items: Option<&Items>) -> f64 {
        let bytes = |items: &Items| {
            let all: usize = items.display_names().iter().map(|title| title.len()).sum();
            all as f64 / items.len().max(1) as f64
        };
        let title = items.map_or(TITLE_TOKENS, |items| 1.0 + bytes(items) / BYTES_PER_TOKEN);
        let columns = match (items, self.item_features.len()) {
            (_, 0) => 0.0,
            (None, columns) => columns as f64 * TITLE_TOKENS,
            (Some(items), _) => told_bytes(&self.item_features, items) / BYTES_PER_TOKEN,
        };
        // Between `history_length` and twice as many, less while an episode is young.
        let shown = (1.5 * self.history_length as f64).min(horizon.map_or(f64::MAX, |horizon| horizon as f64 / 2.0));
        let own = [&self.instructions, &self.prompts.preamble].into_iter().flatten();
        let own = own.map(|text| text.len() as f64 / BYTES_PER_TOKEN).sum::<f64>();
        FIXED_TOKENS
            + own
            + (title + columns + 1.0) * self.told_items()
            + columns * self.n_candidates as f64
            + (title + FEEDBACK_TOKENS) * shown
            + (title + 3.0) * self.n_candidates as f64
    }
}

/// Bytes of the columns of an item on average; 0 where one of them is not there, which the stage refuses.
fn told_bytes(declared: &Declared, items: &Items) -> f64 {
    let plain = |text: &str, most: usize| text.chars().take(most).collect();
    let texts = told(&Columns::of_items(items), declared, plain).map(|told| told.texts).unwrap_or_default();
    texts.iter().map(String::len).sum::<usize>() as f64 / items.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::agent::{Agent, TitleGeneration};
    use super::super::tests::{inputs, stage};
    use super::*;
    use crate::llm::LlmConfig;

    #[test]
    fn by_hand_with_and_without_what_it_reads() {
        let openai = serde_json::json!({ "openai": { "model": "m", "prices": { "input": 1.0, "output": 10.0 } } });
        let llm: LlmConfig = serde_json::from_value(openai).unwrap();
        let stage = Demonstrate { llm, instructions: Some("12345678".into()), ..stage() };
        // 90 + 2 + 8·2 + 21·3 + 10·4 tokens, and 8 written.
        assert_eq!(stage.prompt_tokens(None, None), 211.0);
        let said = stage.cost(&|_| None).unwrap().unwrap();
        assert_eq!(
            said,
            "per turn of an episode, because the horizon of the world is not known yet: about 4 calls, 876 tokens, 0.0012 USD (an \
             estimate; stored answers cost nothing)"
        );
        let full = Demonstrate { agent: Agent::Full, actor: Actor::Write(TitleGeneration::default()), ..stage.clone() };
        let said = full.cost(&|_| None).unwrap().unwrap();
        // Four texts of 24, 32, 8 and 64 tokens for each of four users.
        assert!(said.contains("about 16 calls, 3888 tokens"), "{said}");
        let searching = |search| {
            let search = serde_json::from_value(search).unwrap();
            let searching = Demonstrate { actor: Actor::Search(search), ..stage.clone() };
            searching.cost(&|_| None).unwrap().unwrap()
        };
        // 1 + 3 + 9 nodes at each of four turns.
        let said = searching(serde_json::json!({ "width": 3, "depth": 3 }));
        assert!(said.contains("about 52 calls"), "{said}");
        let said = searching(serde_json::json!({ "prior": "uniform" }));
        assert!(said.contains("about 0 calls"), "{said}");
        let rating = serde_json::from_value(serde_json::json!({ "by": { "grade": {} } })).unwrap();
        let rating = Demonstrate { actor: Actor::Rate(rating), ..stage.clone() };
        let said = rating.cost(&|_| None).unwrap().unwrap();
        assert!(
            said.starts_with("per item, because") && said.contains("about 1 calls"),
            "however long the episodes: {said}"
        );
        let folder = tempfile::tempdir().unwrap();
        let inputs = inputs();
        inputs.world.write(&folder.path().join("world")).unwrap();
        inputs.items.write(&folder.path().join("items")).unwrap();
        let said = stage.cost(&|port| Some(folder.path().join(port))).unwrap().unwrap();
        assert!(said.starts_with("about 32 calls, ") && said.contains(" USD (an estimate"), "{said}");
    }

    #[test]
    fn batches_follow_each_other_by_turn_role_and_group_of_users() {
        let openai = serde_json::json!({ "openai": { "model": "m", "batch": {} } });
        let llm: LlmConfig = serde_json::from_value(openai).unwrap();
        let stage = Demonstrate { llm, users: 25, ..stage() };
        assert_eq!(stage.rounds(8), " in 8 rounds of batches");
        assert_eq!(stage.rounds(1), " in 1 round of batches");
        assert_eq!(Demonstrate { agent: Agent::React, ..stage.clone() }.rounds(8), " in 16 rounds of batches");
        // Three groups of ten users or fewer; the critic asks beside the next thought.
        assert_eq!(Demonstrate { agent: Agent::Full, ..stage.clone() }.rounds(8), " in 51 rounds of batches");
        let said = stage.cost(&|_| None).unwrap().unwrap();
        assert!(said.contains(" tokens in 1 round of batches (an estimate"), "{said}");
    }

    #[test]
    fn a_model_of_ones_own_costs_nothing() {
        assert_eq!(stage().cost(&|_| None).unwrap(), None);
    }
}
