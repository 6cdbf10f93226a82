//! `evaluate.prompts`: what a model makes of a history, by how it ranks the item taken next.
//!
//! A session is a user's training log up to a time and the item taken next, among items that the user never took. The model is
//! asked once for each prompt: the [strategies](Strategy) that tell the history, each with the same items in a shuffled order, the
//! [examples](Examples), the hints, and nothing of the user (`item_only`). Language models rank well-known items well without reading
//! a history at all (arXiv 2405.02778, of zero-shot rankers: shuffling it hardly changes them), so a prompt is worth what it adds to
//! `item_only`, and an order what it adds to the shuffled one.
//!
//! The candidates are drawn: NDCG among them is a comparison of prompts, not an estimate of NDCG over the catalogue.

mod arms;
mod settings;
mod summary;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use pipeline::checkpointing::ValueStore;
use pipeline::progress::Bar;
use pipeline::{Artifact as _, AssetName, Context, MemoryNeed, Requirement, Sizes, Stage};

use crate::artifact::{Adapter, Call, Calls, Hints, Interactions, Items, PromptResult, PromptSummary, PromptTable};
use crate::features;
use crate::llm::{self, CachedLlm, Llm, LlmConfig, MAX_LETTERS, RecordedCall, Workload, ask_each};
use crate::prompting::{
    Aggregate, CandidateOrders, Examples, HistoryOrder, LogRow, Prompt, Sampler, Select, Strategy, Teller, Window,
    WindowQuestions, held_out, histories, last_of_log, untimed,
};
use crate::ratings::kendall;
use arms::{Arms, PromptArm};
pub use settings::EvaluatePrompts;

/// Tokens of a prompt without titles, and of a title, in estimates.
const FIXED_TOKENS: u64 = 90;
const TITLE_TOKENS: u64 = 7;

pipeline::ports! {
    /// The log, its held-out part and the catalogue.
    pub struct PromptInputs {
        /// The catalogue with the titles. Items without a title are described by their genres and features.
        items: Items,
        /// The training log, which the prompts tell.
        train: Interactions,
        /// The held-out log, whose items are to be ranked first. When not connected, they are the last items of the training log, which
        /// is told without them.
        test: Option<Interactions>,
        /// Hints, each of which is added to the first strategy and asked in every session; none when not connected.
        hints: Option<Hints>,
        /// Recorded calls from which `llm: { replay: {} }` answers; none when not connected.
        calls: Option<Calls>,
        /// What an embedded model learned beside its weights; none when not connected.
        adapter: Option<Adapter>,
    }
}

pipeline::ports! {
    /// The table and what it says.
    pub struct PromptOutputs {
        /// One row a session and prompt.
        table: PromptTable,
        /// Each prompt with its controls, over all sessions.
        summary: PromptSummary,
        /// Every call of the language model.
        calls: Calls,
    }
}

impl Stage for EvaluatePrompts {
    const KIND: &'static str = "evaluate.prompts";
    /// 1: first. 2: with several `candidate_orders` a candidate's score is the mean of its scores, no longer Borda's points.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "measure prompts by how a language model ranks the item that users took next";
    const NOT_IN_KEY: &'static [&'static str] = llm::NOT_IN_KEY;
    const ADDED_PORTS: &'static [&'static str] = &["hints", "adapter"];
    type Inputs = PromptInputs;
    type Outputs = PromptOutputs;

    fn local_only(&self) -> bool {
        self.llm.asks_server()
    }

    fn assets(&self) -> Vec<AssetName> {
        self.llm.asset().into_iter().collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        self.llm.check().map_err(|(path, message)| (format!("llm.{path}"), message))?;
        features::check(&self.item_features).map_err(|(path, message)| (format!("item_features.{path}"), message))?;
        if let Some(why) = self.llm.lacks_logprobs() {
            return wrong("llm", &format!("a model that ranks all candidates: {why}"));
        }
        for (path, value, least) in [
            ("sessions", self.sessions, 2),
            ("n_candidates", self.n_candidates, 2),
            ("min_history", self.min_history, 1),
            ("candidate_orders", self.candidate_orders, 1),
            ("n_resamples", self.n_resamples, 100),
        ] {
            if value < least {
                return wrong(path, &format!("at least {least}"));
            }
        }
        if matches!(self.llm, LlmConfig::Openai(_)) && self.n_candidates > MAX_LETTERS {
            let many = format!("at most {MAX_LETTERS}: a server gives log-probabilities of so many letters");
            return wrong("n_candidates", &many);
        }
        if self.candidate_orders > 1 && matches!(self.llm, LlmConfig::Gguf(_)) {
            return wrong("candidate_orders", "1: an embedded model scores each candidate by itself, in any order");
        }
        if self.strategies.is_empty() || self.strategies.contains(&Strategy::ItemOnly) {
            return wrong("strategies", "at least one; `item_only` is always asked and not named");
        }
        let distinct: BTreeSet<Strategy> = self.strategies.iter().copied().collect();
        if distinct.len() < self.strategies.len() {
            return wrong("strategies", "each strategy once");
        }
        if self.log_history.order != HistoryOrder::Chronological {
            return wrong("log_history.order", "nothing: both orders are asked");
        }
        let effects = self.examples.iter().filter(|examples| examples.select == Select::Effect).count();
        if self.each_example && effects != 1 {
            return wrong("each_example", "one of `examples` with `select: effect`, whose pool it asks with");
        }
        let selects: Vec<Select> = self.examples.iter().map(|examples| examples.select).collect();
        if selects.iter().enumerate().any(|(at, one)| *one == Select::None || selects[..at].contains(one)) {
            return wrong(
                "examples",
                "each selection once, without `none`, which is always asked; compare two settings of one selection by two stages",
            );
        }
        if !(0.0..=1.0).contains(&self.min_valid_rate) {
            return wrong("min_valid_rate", "a share lies between 0 and 1");
        }
        if self.item_noun.trim().is_empty() {
            return wrong("item_noun", "a word for what is recommended, such as `movie`");
        }
        for (at, examples) in self.examples.iter().enumerate() {
            examples.check().map_err(|(path, message)| (format!("examples.{at}.{path}"), message))?;
        }
        self.log_history.check().map_err(|(path, message)| (format!("log_history.{path}"), message))?;
        self.prompts.check().map_err(|(path, message)| (format!("prompts.{path}"), message))
    }

    fn requirements(&self) -> Vec<Requirement> {
        self.llm.requirements()
    }

    fn estimate(&self, made: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Option<String>> {
        let hints = made("hints").map(|path| Hints::read(&path)).transpose()?;
        let hints = hints.map_or(0, |hints| hints.kept().count() as u64);
        let told = self.strategies.iter().map(|strategy| 1 + u64::from(strategy.tells_an_order())).sum::<u64>();
        let arms = 1 + told + self.examples.len() as u64 + hints;
        let measured: usize = self.examples.iter().map(Examples::questions).sum();
        let choices = arms * (self.sessions * self.candidate_orders) as u64 + measured as u64;
        let titles = (self.log_history.length + self.n_candidates) as u64;
        let prompt_tokens = choices * (FIXED_TOKENS + TITLE_TOKENS * titles);
        let work = Workload { choices, prompt_tokens, ..Workload::default() };
        let words = self.llm.estimate(&work);
        Ok(words.map(|words| format!("{words} (an estimate; stored answers cost nothing)")))
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        Self::tables(inputs)
    }

    fn run(&self, inputs: PromptInputs, cx: &Context) -> Result<PromptOutputs> {
        let llm = self.llm.open(cx, RecordedCall::all_of(inputs.calls.as_ref()), inputs.adapter.as_ref())?;
        self.evaluate(&*llm, &inputs, cx)
    }
}

/// A session with what was drawn for it.
struct Session {
    window: Window,
    candidates: Vec<u32>,
}

/// The answer to one prompt in one session.
struct Answered {
    row: PromptResult,
    calls: Vec<Arc<Call>>,
    /// Kendall's τ of the ranking in the first order of the candidates and those in the others.
    agreements: Vec<f64>,
}

impl EvaluatePrompts {
    fn evaluate(&self, llm: &dyn Llm, inputs: &PromptInputs, cx: &Context) -> Result<PromptOutputs> {
        let (users, items) = (self.users(inputs), inputs.items.len());
        inputs.train.check_within("train", users, items)?;
        if let Some(test) = &inputs.test {
            test.check_within("test", users, items)?;
        }
        if let Some(warning) = untimed(&inputs.train, &self.strategies) {
            cx.warn(warning);
        }
        let train = histories(&inputs.train, users);
        let test = inputs.test.as_ref().map(|test| histories(test, users));
        let windows = match &test {
            Some(test) => held_out(&train, test, self.sessions, self.min_history, self.seed),
            None => last_of_log(&train, self.sessions, self.min_history, self.seed),
        };
        let with_history = train.iter().filter(|rows| rows.len() >= self.min_history).count();
        ensure!(
            windows.len() >= 2,
            "{} users have {} rows at `train` and then a new item{}; {with_history} have these rows\nhelp: {}",
            windows.len(),
            self.min_history,
            if test.is_some() { " at `test`" } else { "" },
            if with_history < 2 {
                "lower `min_history`, or give the training log more rows"
            } else {
                "split the log by time or at random: a split by users leaves those of `test` without a history"
            }
        );
        if windows.len() < self.sessions {
            cx.warn(format!("{} sessions instead of {}: no more users have a history", windows.len(), self.sessions));
        }
        let logs: Vec<&[Vec<LogRow>]> =
            [Some(&train), test.as_ref()].into_iter().flatten().map(Vec::as_slice).collect();
        let sampler = Sampler::new(&logs, items, self.negatives, self.n_candidates, self.seed);
        let session = |window: Window| Ok(Session { candidates: sampler.candidates(&window)?, window });
        let sessions: Vec<Session> = windows.into_iter().map(session).collect::<Result<_>>()?;

        let noun = self.item_noun.trim();
        let instructions = self.instructions.as_deref();
        let prompt = Prompt::new(noun, instructions, &self.prompts, 1, &inputs.items, &inputs.train)?.telling(
            &self.item_features,
            &inputs.items,
            cx,
        )?;
        let cache = CachedLlm::new(llm, ValueStore::open(cx.calls())?);
        let conversations = llm.conversations(&prompt.preamble)?;
        let (settings, n_top_rated) = (&self.log_history, self.n_liked);
        let teller = Teller { prompt: &prompt, items: &inputs.items, settings, n_top_rated, seed: self.seed };
        teller.check(&self.strategies)?;
        let start = Instant::now();
        // Without the held-out log the examples must not hold the answers: they come from the log without them.
        let known: Vec<Vec<LogRow>> = match &test {
            Some(_) => train,
            None => {
                let mut known = train;
                for session in &sessions {
                    known[session.window.user as usize].clone_from(&session.window.history);
                }
                known
            }
        };
        let advance_on = |bar: &Bar| {
            cache.advance(bar, start);
            cx.check_cancelled()
        };
        let choosing = cx.bar("questions about examples", None, "questions");
        let advance = || advance_on(&choosing);
        let questions = WindowQuestions {
            llm,
            cache: &cache,
            conversations: &conversations,
            sampler: &sampler,
            cx,
            advance: &advance,
        };
        let arms = Arms::new(self, &teller, &known, inputs.hints.as_ref(), &questions)?;
        arms.selectors.iter().for_each(|selector| selector.note(cx));
        let bar = cx.bar("questions", Some((sessions.len() * arms.arms.len()) as u64), "questions");
        let ask = |&(number, session): &(usize, &Session)| -> Result<Vec<Answered>> {
            let mut conversation = conversations();
            let answer = |arm: &PromptArm| {
                let Session { window, candidates } = session;
                let context = arms.context(arm, window)?;
                let orders = CandidateOrders { orders: self.candidate_orders, seed: self.seed };
                let asked = orders.ask(&cache, &mut *conversation, &prompt, &context, candidates)?;
                advance_on(&bar)?;
                let scores = match &asked.rankings[..] {
                    [] => vec![],
                    [one] => one.clone(),
                    // Not points: differences of scores are told as ln p.
                    several => Aggregate::MeanScore.scores(several),
                };
                let mut tokens = Some(0);
                for call in asked.choices.iter().filter(|call| call.failure.is_none()) {
                    let counted = llm.count_tokens(&call.request, &call.answer)?;
                    tokens = tokens.zip(counted).map(|(sum, new)| sum + new.prompt + new.completion);
                }
                let row = PromptResult {
                    session: number as u32,
                    user: window.user,
                    target: window.target,
                    history: window.history.iter().map(|row| row.item).collect(),
                    prompt: arm.name.clone(),
                    order: arm.order.name().to_owned(),
                    candidates: candidates.clone(),
                    scores,
                    tokens,
                    calls: asked.choices.len() as u32,
                };
                let (first, others) =
                    asked.rankings.split_first().map_or((&[][..], &[][..]), |(first, rest)| (first, rest));
                let agreements = others.iter().map(|other| kendall(first, other)).collect();
                Ok(Answered { row, calls: asked.calls, agreements })
            };
            ask_each(arms.arms.iter().map(answer))
        };
        let numbered: Vec<(usize, &Session)> = sessions.iter().enumerate().collect();
        let answers = cache.ask_all(&numbered, cx, ask)?;

        let mut seen = BTreeSet::new();
        let used = arms.calls().chain(answers.iter().flatten().flat_map(|answered| &answered.calls));
        let calls = Calls(used.filter(|call| seen.insert(&call.key)).map(|call| (**call).clone()).collect());
        let rows = answers.iter().flat_map(|session| {
            let own: Vec<PromptResult> = session.iter().map(|answered| answered.row.clone()).collect();
            let made = self.aggregated(&own);
            own.into_iter().chain(made)
        });
        let table = PromptTable(rows.collect());
        cache.note_calls(!self.llm.replays(), start, cx);
        llm.spending()?.into_iter().for_each(|spent| cx.note("spent", spent));
        self.check_valid_rate(&table)?;
        let aggregates: Vec<&str> = self.aggregates.iter().map(|aggregate| aggregate.name()).collect();
        let plain = self.strategies[0].name();
        let summary = summary::summarise(&table, plain, &aggregates, self.seed, self.n_resamples);
        note(&summary, cx);
        let agreements: Vec<f64> = answers.iter().flatten().flat_map(|answered| answered.agreements.clone()).collect();
        if !agreements.is_empty() {
            let (mean, count) = (agreements.iter().sum::<f64>() / agreements.len() as f64, agreements.len());
            cx.note(
                "agreement of the orders of candidates",
                format!("Kendall τ {mean:.2} over {count} pairs of rankings"),
            );
        }
        if self.each_example {
            arms.note_correlation(&summary, cx);
        }
        Ok(PromptOutputs { table, summary, calls })
    }

    /// Number of users that the logs name.
    fn users(&self, inputs: &PromptInputs) -> usize {
        let logs = [Some(&inputs.train), inputs.test.as_ref()].into_iter().flatten();
        logs.flat_map(|log| &log.user).max().map_or(0, |&user| user as usize + 1)
    }

    /// The rankings made of those of all strategies in one session.
    fn aggregated(&self, rows: &[PromptResult]) -> Vec<PromptResult> {
        let mut made = Vec::new();
        for aggregate in &self.aggregates {
            for order in [HistoryOrder::Chronological, HistoryOrder::Shuffled] {
                let of = |strategy: &Strategy| {
                    let told = if strategy.tells_an_order() { order } else { HistoryOrder::Chronological };
                    rows.iter().find(|row| row.prompt == strategy.name() && row.order == told.name())
                };
                let Some(parts) = self.strategies.iter().map(of).collect::<Option<Vec<_>>>() else { continue };
                let answered = parts.iter().all(|row| !row.scores.is_empty());
                let rankings: Vec<Vec<f32>> = parts.iter().map(|row| row.scores.clone()).collect();
                made.push(PromptResult {
                    prompt: aggregate.name().to_owned(),
                    order: order.name().to_owned(),
                    scores: if answered { aggregate.scores(&rankings) } else { vec![] },
                    tokens: parts.iter().map(|row| row.tokens).sum(),
                    calls: parts.iter().map(|row| row.calls).sum(),
                    ..parts[0].clone()
                });
            }
        }
        made
    }

    fn check_valid_rate(&self, table: &PromptTable) -> Result<()> {
        let answered = table.0.iter().filter(|row| !row.scores.is_empty()).count();
        ensure!(
            answered as f64 >= self.min_valid_rate * table.0.len() as f64,
            "{} of {} questions were not answered with scores\nhelp: look at the failures with `apprentice inspect` of the calls, and \
             run again; only failed calls are repeated. Or lower `min_valid_rate` from {}",
            table.0.len() - answered,
            table.0.len(),
            self.min_valid_rate
        );
        Ok(())
    }
}

/// Notes each prompt in a line.
fn note(summary: &PromptSummary, cx: &Context) {
    for row in summary.0.iter().filter(|row| row.quantity == "ndcg") {
        let mut line = format!("NDCG@10 {:.3} [{:.3}, {:.3}]", row.value, row.low, row.high);
        for (quantity, name) in
            [("over_item_only", "item_only"), ("over_shuffled", "shuffled"), ("over_plain", "plain")]
        {
            if let Some(gain) = summary.find(&row.prompt, &row.order, &format!("ndcg_{quantity}")) {
                line += &format!("; over {name} {:+.3} [{:+.3}, {:+.3}]", gain.value, gain.low, gain.high);
            }
        }
        let order = if row.order == HistoryOrder::Shuffled.name() { ", shuffled" } else { "" };
        cx.note(&format!("{}{order}", row.prompt), line);
    }
}

#[cfg(test)]
mod tests;
