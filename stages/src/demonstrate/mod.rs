//! A language model recommends to simulated users, and what it does is written down.
//!
//! Each turn a retriever offers the best items that the episode has not shown, the model chooses one by its title (or names
//! one, which is looked for in the catalogue), and the world answers. `expert` says which roles it plays beside: a planner
//! that thinks first, a critic that values where each action led, a reflector that writes what to do otherwise. What they leave
//! is remembered and comes to mind with people alike. The model knows what the user liked in the training log and what came of its last recommendations; it
//! never sees the world's rewards before it chose. Of the distances behind the quit rules it learns only where the retriever
//! does: with `avoid_alike` the offers leave out what would end the episode, and the evaluation says so beside the row.
//!
//! # Resume
//! An episode is a function of the answers, and every answer is in the call store before it is used, so the stage needs no
//! state of its own: after a kill it plays the episodes again from the store up to the call that was never answered.
//! Experiments share the store, so the same user in the same world is asked once.
//!
//! Memories are carried from batch to batch of users, never within one, so neither do they depend on who was faster.
//!
//! Not here: calls in batches.

mod agent;
mod cost_estimate;
mod episode;
mod from_log;
mod llm_cache;
mod memory;
mod prompt;
mod replay;
mod roles;
mod templates;
mod usage;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::checkpointing::ValueStore;
use pipeline::progress::Bar;
use pipeline::{AssetName, Context, Requirement, Stage};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Array, Call, Calls, Candidates, Demonstrations, Interactions, Items, LlmUsage, Memories, World};
use crate::ground::Grounder;
use crate::llm::{FailedCall, Llm, LlmConfig, RecordedCall};
use crate::nn::rng;
use agent::{Actor, Agent, RoleSettings, UserSimilarity};
use episode::{AnswerCheck, EpisodeResult, EpisodeRunner, MAX_INVALID};
pub use from_log::FromLog;
use llm_cache::CachedLlm;
use memory::MemoryStore;
use prompt::Prompt;
pub use replay::Replay;
use roles::Roles;
pub use templates::Prompts;

/// `demonstrate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Demonstrate {
    /// The language model.
    pub llm: LlmConfig,
    /// How many users it recommends to, one episode each. A larger number keeps those of a smaller one.
    #[serde(default = "Demonstrate::sixteen")]
    pub users: usize,
    /// Which users.
    #[serde(default)]
    pub seed: u64,
    /// How many candidates it chooses from, 1 to 10: the best of the user's ranking that the episode has not shown.
    #[serde(default = "Demonstrate::ten")]
    pub candidates: usize,
    /// How many of the user's best rated items of the training log the prompt names.
    #[serde(default = "Demonstrate::five")]
    pub liked: usize,
    /// How many of the episode's last items the prompt tells about, at least; up to twice as many, because the window moves
    /// on in whole blocks, which keeps the evaluated beginning of the prompt.
    #[serde(default = "Demonstrate::seven")]
    pub remember: usize,
    /// What an item is, in a word, as the prompt says it.
    #[serde(default = "Demonstrate::item")]
    pub noun: String,
    /// The first words of the prompt, in place of the program's own.
    #[serde(default)]
    pub instructions: Option<String>,
    /// Templates in place of the program's own, by their names.
    #[serde(default)]
    pub prompts: Prompts,
    /// Which roles it plays.
    #[serde(default)]
    pub expert: Agent,
    /// How it says what it recommends.
    #[serde(default)]
    pub actor: Actor,
    /// What its roles write and remember.
    #[serde(default)]
    pub roles: RoleSettings,
    /// The least share of turns at which it named something that may be shown; else the stage fails. In the other turns the
    /// retriever's first offer stands in, and is counted.
    #[serde(default = "Demonstrate::half")]
    pub min_success: f64,
}

/// Defaults that serde asks for by name; the design's figures for a small embedded model.
impl Demonstrate {
    fn sixteen() -> usize {
        16
    }
    fn ten() -> usize {
        10
    }
    fn five() -> usize {
        5
    }
    /// IL-Rec's window of similar items.
    fn seven() -> usize {
        7
    }
    fn item() -> String {
        "item".into()
    }
    fn half() -> f64 {
        0.5
    }
}

pipeline::ports! {
    /// Whom it recommends to, and what.
    pub struct Inputs {
        /// Where the episodes are played.
        world: World,
        /// The catalogue, for the titles; items without one are described by their genres and features.
        items: Items,
        /// What the users rated before; nothing kept back.
        train: Interactions,
        /// The retriever's offers.
        rankings: Candidates,
        /// What an earlier stage's expert remembered, such as that of other people; nothing without.
        memories: Option<Memories>,
        /// Recorded calls, which `llm: { replay: {} }` answers from; nothing without.
        calls: Option<Calls>,
    }
}

pipeline::ports! {
    /// What it did.
    pub struct Outputs {
        /// One trajectory a user, by user.
        demonstrations: Demonstrations,
        /// Every call behind them.
        calls: Calls,
        /// What it remembers at the end, with what it was given; empty where no role remembers.
        memories: Memories,
        /// What each episode took: calls, and tokens where the model tells.
        efforts: LlmUsage,
    }
}

impl Stage for Demonstrate {
    const KIND: &'static str = "demonstrate";
    /// 1: first. 2: the identity of a model behind a server includes the path of its address. 3: offers that avoid alike items
    /// know who is spared. 4: items without a title are described in the prompts. 5: experts with
    /// roles and memories; long names and what a tokenizer takes for its own are cut. 6: `efforts`, templates of
    /// one's own, people alike by texts. 7: replies are understood in any dress, and what names no option or two is a failed call;
    /// thoughts before an answer are no part of it; a critic's scale is not its value.
    const VERSION: u32 = 7;
    const ABOUT: &'static str = "let a language model recommend to simulated users and keep what it did";
    const NOT_IN_KEY: &'static [&'static str] = &[
        "llm.openai.api_key",
        "llm.openai.max_concurrent_requests",
        "llm.openai.requests_per_minute",
        "llm.openai.tokens_per_minute",
        "llm.openai.timeout_seconds",
        "llm.openai.max_retries",
        "llm.openai.prices",
        "llm.openai.budget_usd",
        "llm.openai.max_calls",
    ];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        self.llm.asset().into_iter().collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        self.llm.check().map_err(|(path, message)| (format!("llm.{path}"), message))?;
        if self.users == 0 {
            return wrong("users", "at least one user");
        }
        if !(1..=10).contains(&self.candidates) {
            return wrong("candidates", "1 to 10 candidates: each title costs the model tokens every turn");
        }
        if self.remember == 0 {
            return wrong("remember", "at least one item");
        }
        if self.noun.trim().is_empty() {
            return wrong("noun", "a word for what is recommended, such as `movie`");
        }
        if !(0.0..=1.0).contains(&self.min_success) {
            return wrong("min_success", "a share lies between 0 and 1");
        }
        self.prompts.check().map_err(|(path, message)| (format!("prompts.{path}"), message))?;
        self.actor.check().map_err(|(path, message)| (format!("actor.{path}"), message))?;
        if self.roles.alike_by == UserSimilarity::Texts && !self.llm.embeds() {
            let wanted =
                "texts are compared by a model that turns them into vectors: name one at `llm.openai.embedding_model`";
            return wrong("roles.alike_by", wanted);
        }
        self.roles.check().map_err(|(path, message)| (format!("roles.{path}"), message))
    }

    fn requirements(&self) -> Vec<Requirement> {
        let idle = !self.expert.reflects();
        let idle = idle.then(|| Requirement {
            setting: "expert",
            port: "memories",
            connected: false,
            why: "an expert that does not reflect recalls nothing".to_owned(),
            help: "set `expert: reflexion` or `expert: full`, or leave the input out",
        });
        let (why, help) = match self.llm.replays() {
            true => ("it answers from recorded calls", "connect the `calls` of an earlier stage"),
            false => ("only `llm: { replay: {} }` answers from recorded calls", "leave the input out, or replay it"),
        };
        let calls = Requirement { setting: "llm", port: "calls", connected: self.llm.replays(), why: why.into(), help };
        idle.into_iter().chain([calls]).collect()
    }

    fn estimate(&self, made: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Option<String>> {
        self.cost(made)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let llm = self.llm.open(cx, recorded_calls(inputs.calls.as_ref()))?;
        self.demonstrate(&*llm, &inputs, cx)
    }
}

impl Demonstrate {
    fn demonstrate(&self, llm: &dyn Llm, inputs: &Inputs, cx: &Context) -> Result<Outputs> {
        self.check_inputs(inputs)?;
        let (world, noun) = (&inputs.world, self.noun.trim());
        let instructions = self.instructions.as_deref();
        let prompt = Prompt::new(noun, instructions, &self.prompts, self.remember, &inputs.items, &inputs.train)?;
        let cache = CachedLlm::new(llm, ValueStore::open(cx.calls())?);
        let users = self.sample_users(world.users());
        let top_rated = top_rated(&inputs.train, world.users(), self.liked);
        let conversations = llm.conversations(&prompt.preamble)?;

        let start = Instant::now();
        let bar = cx.bar("decisions", Some((users.len() * world.rules.horizon) as u64), "decisions");
        // Raised when one episode failed: the others stop at their next decision.
        let failed = AtomicBool::new(false);
        let generation = match &self.actor {
            Actor::Choose => None,
            Actor::Write(generation) => {
                let catalogue = prompt.catalogue(&inputs.items);
                let vectors = cache.vectors(&catalogue.title).context("turn the titles into vectors")?;
                let grounder = Grounder::new(&catalogue, generation.ground.clone());
                Some(match vectors {
                    Some(vectors) => {
                        let shape = [vectors.len(), vectors.first().map_or(0, Vec::len)];
                        grounder.with_vectors(&Array::new(&shape, vectors.concat()))?
                    }
                    None => grounder,
                })
            }
        };
        let runner = EpisodeRunner {
            world,
            rankings: &inputs.rankings,
            roles: Roles { expert: self.expert, settings: &self.roles, prompt: &prompt },
            actor: &self.actor,
            grounder: generation.as_ref(),
            cache: &cache,
            candidates: self.candidates,
            check_cancelled: &|| cx.check_cancelled().map(|()| !failed.load(Ordering::Relaxed)),
            on_decision: &|| advance_bar(&bar, &cache, start),
            answer_check: (self.min_success > 0.0).then(AnswerCheck::default),
        };
        let mut memory = MemoryStore::new(&self.roles, world, inputs.memories.as_ref());
        let pool = llm
            .max_concurrency()
            .map(|conversations| rayon::ThreadPoolBuilder::new().num_threads(conversations).build())
            .transpose()?;
        // Who remembers nothing need not wait for anybody.
        let batch = if self.expert.reflects() { self.roles.batch } else { users.len() };
        let mut played: Vec<EpisodeResult> = Vec::new();
        let beginning = |user: u32| prompt.profile(top_rated.get(user as usize).map_or(&[][..], Vec::as_slice));
        let vectors = |texts: &[String]| {
            let found = cache.vectors(texts).context("turn what people liked into vectors")?;
            found.context("people are to be alike by texts, and this model turns none into vectors")
        };
        for batch in users.chunks(batch) {
            if self.roles.alike_by == UserSimilarity::Texts && self.expert.reflects() {
                memory.embed_users(batch, &beginning, &vectors)?;
            }
            let play = |&user: &u32| -> Result<Option<EpisodeResult>> {
                let played = runner.run(user, &top_rated[user as usize], &memory.recall(user), &mut *conversations());
                match &played {
                    // The bar counts to the horizon; what an early end saved is done too.
                    Ok(Some(played)) => bar.inc((world.rules.horizon - played.trajectory.steps.len()) as u64),
                    Ok(None) => {}
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
                played.with_context(|| format!("the episode of user {user}"))
            };
            let all = || batch.par_iter().with_max_len(1).map(play).collect::<Vec<_>>();
            let results = pool.as_ref().map_or_else(all, |pool| pool.install(all));
            let new: Vec<EpisodeResult> = results.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
            if let Some(example) = runner.answer_check.as_ref().and_then(AnswerCheck::first_invalid) {
                bail!("all of the first {MAX_INVALID} answers {}", self.invalid_answers(example));
            }
            memory.extend(new.iter().flat_map(|played| played.memories.iter().cloned()));
            played.extend(new);
        }
        note_summary(&played, &cache, !self.llm.replays(), start, cx);
        llm.spending()?.into_iter().for_each(|spent| cx.note("spent", spent));
        self.check_valid_rate(&played)?;
        let trajectories = played.iter().map(|played| played.trajectory.clone()).collect();
        Ok(Outputs {
            demonstrations: Demonstrations { trajectories },
            calls: unique_calls(&played),
            memories: memory.into_memories(),
            efforts: usage::usage_by_episode(&played, llm)?,
        })
    }

    /// Whether the inputs speak of the same users and items.
    fn check_inputs(&self, inputs: &Inputs) -> Result<()> {
        let (users, items) = (inputs.world.users(), inputs.world.items());
        inputs.items.check_world(&inputs.world)?;
        let rankings = &inputs.rankings.items;
        ensure!(rankings.len() == users, "the rankings are of {} users, the world has {users}", rankings.len());
        let known = rankings.iter().flatten().all(|&item| (item as usize) < items);
        ensure!(known, "the rankings hold an item that is not among the world's {items}");
        let train = &inputs.train;
        ensure!(!train.is_empty(), "the training log is empty");
        train.check_within("train", users, items)?;
        ensure!(self.users <= users, "{} users asked for, the world has {users}\nhelp: lower `users`", self.users);
        Ok(())
    }

    /// A model whose answers mostly name nothing demonstrates nothing.
    fn check_valid_rate(&self, played: &[EpisodeResult]) -> Result<()> {
        let decisions: usize = played.iter().map(|played| played.trajectory.steps.len()).sum();
        let mut silent = played.iter().filter_map(|played| played.invalid.as_ref());
        let Some((example, first)) = silent.next() else { return Ok(()) };
        let count = first + silent.map(|(_, count)| count).sum::<usize>();
        ensure!(
            (decisions - count) as f64 >= self.min_success * decisions as f64,
            "{count} of {decisions} answers {}",
            self.invalid_answers(example)
        );
        Ok(())
    }

    /// That answers name nothing, with an example and what to do.
    fn invalid_answers(&self, example: &Call) -> String {
        let shown = example.told();
        let help = match (shown.contains("\nhelp: "), &example.failure) {
            (true, _) => String::new(),
            (false, Some(_)) => format!(
                "\nhelp: mend what the server reports and run again, which asks the failed ones again and keeps the others; or lower \
                 `min_success` from {}",
                self.min_success
            ),
            (false, None) => format!(
                "\nhelp: use a larger model, let it write more tokens, or lower `min_success` from {}",
                self.min_success
            ),
        };
        format!("name nothing that may be shown, the first of them is: {shown}{help}")
    }

    /// The first of a shuffle, ascending.
    fn sample_users(&self, users: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..users as u32).collect();
        order.shuffle(&mut rng(&[self.seed, 0xde30]));
        order.truncate(self.users);
        order.sort_unstable();
        order
    }
}

/// For each user the `count` items rated best; of equals the latest, then the lowest id.
fn top_rated(train: &Interactions, users: usize, count: usize) -> Vec<Vec<u32>> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); users];
    for (row, &user) in train.user.iter().enumerate() {
        rows[user as usize].push(row);
    }
    let best = |rows: &mut Vec<usize>| {
        rows.sort_by(|&a, &b| {
            let rest = |row: usize| (Reverse(train.timestamp[row]), train.item[row]);
            train.rating[b].total_cmp(&train.rating[a]).then_with(|| rest(a).cmp(&rest(b)))
        });
        let mut items: Vec<u32> = Vec::new();
        for &row in &*rows {
            // A log may hold a pair twice.
            if items.len() < count && !items.contains(&train.item[row]) {
                items.push(train.item[row]);
            }
        }
        items
    };
    rows.iter_mut().map(best).collect()
}

/// Moves the bar by one decision.
fn advance_bar(bar: &Bar, cache: &CachedLlm, start: Instant) {
    let tokens = cache.counters().tokens;
    if tokens == 0 {
        bar.inc(1);
    } else {
        bar.inc_with(1, &format!("{:.0} tokens/s", tokens as f64 / start.elapsed().as_secs_f64()));
    }
}

/// `again`: whether another run may get an answer where this one got none.
fn note_summary(played: &[EpisodeResult], cache: &CachedLlm, again: bool, start: Instant, cx: &Context) {
    let steps = || played.iter().flat_map(|played| &played.trajectory.steps);
    let decisions = steps().count();
    let (counters, seconds) = (cache.counters(), start.elapsed().as_secs_f64());
    cx.note("decisions", format!("{decisions} in {} episodes", played.len()));
    cx.note("calls", format!("{} asked, {} served from the store", counters.asked, counters.served));
    if counters.failed > 0 {
        cx.note("failed calls", format!("{}; they are asked again by the next run that needs them", counters.failed));
        if again {
            cx.incomplete();
        }
    }
    if counters.asked > 0 {
        cx.note("tokens", format!("{} new, {:.0} a second", counters.tokens, counters.tokens as f64 / seconds));
    }
    let first = steps().filter(|step| step.candidates.first() == Some(&step.item)).count();
    cx.note("retriever's first choice taken", format!("{:.0} %", 100.0 * first as f64 / decisions.max(1) as f64));
    let invalid: usize = played.iter().filter_map(|played| played.invalid.as_ref()).map(|(_, count)| count).sum();
    if invalid > 0 {
        cx.note("answers without a choice", format!("{invalid}; the retriever's first choice stands in for them"));
        cx.warn(format!(
            "{invalid} of {decisions} decisions are not the language model's: the retriever's first choice stands in for answers \
             without a choice"
        ));
    }
    let unparsed_values: usize = played.iter().map(|played| played.unparsed_values).sum();
    if unparsed_values > 0 {
        cx.note("values that are no number", format!("{unparsed_values}; nothing is remembered of these actions"));
    }
    let memories: usize = played.iter().map(|played| played.memories.len()).sum();
    if memories > 0 {
        cx.note("remembered", format!("{memories} actions and reflections"));
    }
}

/// Calls as a model that replays them knows them.
fn recorded_calls(calls: Option<&Calls>) -> Vec<RecordedCall> {
    let record = |call: &Call| RecordedCall {
        model: call.model.clone(),
        request: call.request.clone(),
        answer: call.failure.as_ref().map_or_else(
            || Ok(call.answer.clone()),
            |failure| {
                let (status, reason) = (failure.status, failure.reason.clone());
                Err(FailedCall { status, reason, raw: call.answer.clone() })
            },
        ),
    };
    calls.map_or_else(Vec::new, |calls| calls.0.iter().map(record).collect())
}

fn unique_calls(played: &[EpisodeResult]) -> Calls {
    let mut seen = BTreeSet::new();
    let used = played.iter().flat_map(|played| &played.calls);
    let distinct = used.filter(|call| seen.insert(&call.key));
    Calls(distinct.map(|call: &Arc<Call>| Call::clone(call)).collect())
}

#[cfg(test)]
mod failing_tests;
#[cfg(test)]
mod roles_tests;
#[cfg(test)]
mod tests;
