//! What the prompts tell of a user before the episode: one beginning for each strategy, behind the same examples.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use pipeline::Context;

use super::Actor;
use super::memory::MemoryStore;
use super::settings::{Demonstrate, is_default};
use crate::artifact::{Call, Interactions, Items, Memories};
use crate::llm::{CachedLlm, ConversationFactory, Llm, LlmConfig};
use crate::prompting::{
    CandidateOrders, ExampleSelector, LogRow, Negatives, Prompt, Sampler, Select, Strategy, Teller, WindowQuestions,
    untimed,
};

/// What is told without `strategies`.
const DEFAULT: &[Strategy] = &[Strategy::TopRated];

impl Demonstrate {
    /// The strategies that are played.
    pub(super) fn played_strategies(&self) -> &[Strategy] {
        if self.strategies.is_empty() { DEFAULT } else { &self.strategies }
    }

    /// Number of rankings that are asked for at each turn of an actor that chooses.
    pub(super) fn rankings(&self) -> usize {
        self.played_strategies().len() * self.candidate_orders
    }

    /// The orders of the candidates.
    pub(super) fn orders(&self) -> CandidateOrders {
        CandidateOrders { orders: self.candidate_orders, seed: self.seed }
    }

    /// Checks the settings of what is told: the path of the first invalid one and a message.
    pub(super) fn check_told(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        let twice = self.strategies.iter().enumerate().any(|(at, one)| self.strategies[..at].contains(one));
        if twice {
            return wrong("strategies", "each strategy once: equal prompts have equal answers");
        }
        if self.candidate_orders == 0 {
            return wrong("candidate_orders", "at least the retriever's order");
        }
        if self.candidate_orders > 1 && matches!(self.llm, LlmConfig::Gguf(_)) {
            return wrong(
                "candidate_orders",
                "1: an embedded model scores each candidate by itself, so their order changes nothing",
            );
        }
        if self.strategies.is_empty() && !is_default(&self.log_history) {
            return wrong("log_history", "nothing without `strategies`, which tell the log");
        }
        if self.rankings() == 1 {
            if !is_default(&self.aggregate) {
                return wrong("aggregate", "nothing: there is one ranking alone; name several `strategies`");
            }
        } else {
            if !matches!(self.actor, Actor::Choose) {
                return wrong(
                    "strategies",
                    "one strategy and one order: only `actor: choose` has rankings to aggregate",
                );
            }
            if let Some(why) = self.llm.lacks_logprobs() {
                return wrong("strategies", &format!("one strategy and one order, because {why}"));
            }
        }
        if matches!(self.actor, Actor::Rate(_)) && !(self.strategies.is_empty() && self.examples.is_none()) {
            return wrong("actor", "another actor: `rate` asks about items alone, and is told nothing of a user");
        }
        if self.examples.select == Select::Effect
            && let Some(why) = self.llm.lacks_logprobs()
        {
            return wrong("examples.select", &format!("another selection: effects are scores, and {why}"));
        }
        self.log_history.check().map_err(|(path, message)| (format!("log_history.{path}"), message))?;
        self.examples.check().map_err(|(path, message)| (format!("examples.{path}"), message))
    }

    /// Says what the prompts cannot tell: an order without times, and users without a log.
    pub(super) fn note_untold(&self, train: &Interactions, logs: &[Vec<LogRow>], users: &[u32], cx: &Context) {
        untimed(train, &self.strategies).into_iter().for_each(|warning| cx.warn(warning));
        let untold = users.iter().filter(|&&user| logs[user as usize].is_empty()).count();
        if untold > 0 {
            cx.note("users without a log", format!("{untold} of {}: their prompts tell nothing of them", users.len()));
        }
    }

    /// Says how many of `users` an agent that does not reflect has texts of, where `memories` are connected.
    pub(super) fn note_hinted(&self, memories: Option<&Memories>, memory: &MemoryStore, users: &[u32], cx: &Context) {
        if memories.is_none() || self.agent.reflects() {
            return;
        }
        let told = users.iter().filter(|&&user| !memory.own(user).hints.is_empty()).count();
        cx.note("users with a hint", format!("{told} of {}", users.len()));
        if told == 0 {
            cx.warn("no demonstrated user has a text at `memories`: the prompts are those without the input");
        }
    }

    /// Tells users from the logs.
    pub(super) fn teller<'a>(&'a self, prompt: &'a Prompt, items: &'a Items) -> Result<Teller<'a>> {
        let teller = Teller { prompt, items, settings: &self.log_history, n_top_rated: self.n_liked, seed: self.seed };
        teller.check(&self.strategies)?;
        Ok(teller)
    }

    /// Selects the examples, and measures them where that is asked for.
    pub(super) fn examples<'a>(
        &'a self,
        teller: &'a Teller<'a>,
        logs: &'a [Vec<LogRow>],
        llm: &dyn Llm,
        cache: &CachedLlm,
        conversations: &ConversationFactory,
        cx: &Context,
    ) -> Result<ExampleSelector<'a>> {
        let mut selector =
            ExampleSelector { settings: &self.examples, teller, train: logs, seed: self.seed, measured: None };
        if self.examples.select == Select::Effect {
            let (start, bar) = (Instant::now(), cx.bar("questions about examples", None, "questions"));
            let sampler = Sampler::new(&[logs], teller.items.len(), Negatives::Popular, self.n_candidates, self.seed);
            let advance = || {
                cache.advance(&bar, start);
                cx.check_cancelled()
            };
            let (sampler, advance) = (&sampler, &advance);
            let questions = WindowQuestions { llm, cache, conversations, sampler, cx, advance };
            selector.measure(self.played_strategies()[0], &questions)?;
            selector.note(cx);
        }
        Ok(selector)
    }
}

/// Tells users.
pub(super) struct Told<'a> {
    pub stage: &'a Demonstrate,
    pub teller: &'a Teller<'a>,
    pub selector: ExampleSelector<'a>,
    pub logs: &'a [Vec<LogRow>],
}

impl Told<'_> {
    /// The beginning of the prompts about `user`, one a strategy.
    pub fn prefixes(&self, user: u32) -> Result<Vec<Vec<String>>> {
        let rows = &self.logs[user as usize];
        let order = self.stage.log_history.order;
        let examples = self.selector.lines(user, rows, order)?;
        let of = |&strategy: &Strategy| self.teller.prefix(strategy, user, rows, order, &examples);
        self.stage.played_strategies().iter().map(of).collect()
    }

    /// The user's profile: what the first strategy tells of the user; empty where it is nothing.
    pub fn profile(&self, user: u32) -> Result<String> {
        let (rows, order) = (&self.logs[user as usize], self.stage.log_history.order);
        let lines = self.teller.prefix(self.stage.played_strategies()[0], user, rows, order, &[])?;
        ensure!(!lines.is_empty(), "a prompt without a beginning");
        Ok(lines[1..].concat().trim().to_owned())
    }

    /// The calls that measured the examples.
    pub fn calls(&self) -> impl Iterator<Item = &Arc<Call>> {
        self.selector.measured.iter().flat_map(|measured| &measured.calls)
    }
}
