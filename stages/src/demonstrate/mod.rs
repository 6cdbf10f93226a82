//! A language model recommends items to simulated users, and its episodes are recorded as demonstrations.
//!
//! At each turn a retriever offers the best items that the episode has not shown. The model chooses one of them by its title, or
//! writes a title that is matched to the catalogue, and the world answers with a reward. With `actor: { rate: {} }` the model rates
//! every item once, before the first episode, and each turn shows the best rated one. With `actor: { search: {} }` its
//! probabilities guide a search over turns that are imagined in a world of their own, at `model`. The setting `agent` adds roles: a planner
//! writes a thought first, a critic estimates the value of each state, a reflector writes what to change. Their texts are
//! remembered and recalled for similar users. The prompt holds the user's best rated items of the training log and the ratings of
//! the last recommendations. The model never sees a reward before it chose. It knows the distances behind the quit rules only
//! through a retriever with `filter_quit_items`, whose offers leave out items that would end the episode; the evaluation marks such rows.
//!
//! # Resume
//! An episode is a function of the model's answers, and every answer is written to the call store before it is used. The stage
//! therefore needs no state of its own: after a kill it replays the episodes from the store up to the first call without an answer.
//! Experiments share the store, so each request is sent once.
//!
//! Memories pass from one batch of users to the next, never within a batch. They do not depend on the order in which episodes end.
//!
//! # Batches of a provider
//! With `llm: { openai: { batch: {} } }` all episodes advance together: each up to its next request without an answer, then one batch.
//! That is one batch a turn and role (the critic's is that of the next turn), again for each `memory_batch_size` users where
//! memories pass between them.

mod agent;
mod cost_estimate;
mod episode;
mod from_log;
mod lookahead;
mod memory;
mod notes;
mod permute_items;
mod permute_returns;
mod replay;
mod retriever;
mod roles;
mod search;
mod settings;
mod told;
mod user_sample;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::checkpointing::ValueStore;
use pipeline::{AssetName, Context, Requirement, Stage};

use crate::artifact::{
    Adapter, Array, Calls, Candidates, Demonstrations, Interactions, Items, LlmUsage, Memories, World,
};
use crate::features;
use crate::ground::Grounder;
use crate::llm::{self, AwaitsBatch, CachedLlm, Llm, Rating, RecordedCall, usage_by_user};
use crate::prompting::{Prompt, histories};
use agent::{Actor, CatalogueRating, UserSimilarity};
use episode::{AnswerCheck, Decided, EpisodeResult, EpisodeRunner, MAX_INVALID};
pub use from_log::FromLog;
use memory::MemoryStore;
use notes::{note_agreement, note_summary, ranked_catalogue, unique_calls};
pub use permute_items::PermuteItems;
pub use permute_returns::PermuteReturns;
pub use replay::Replay;
pub use retriever::Retriever;
use roles::Roles;
pub use search::Search;
pub use settings::Demonstrate;
use told::Told;
use user_sample::{check_users, sample_users};

pipeline::ports! {
    /// The world, the catalogue and what is known of the users.
    pub struct Inputs {
        /// The world in which the episodes run.
        world: World,
        /// The catalogue with the titles. Items without a title are described by their genres and features.
        items: Items,
        /// The training log, without held-out ratings.
        train: Interactions,
        /// The retriever's candidates.
        candidates: Candidates,
        /// Memories of an earlier stage; none when not connected. An agent that reflects recalls those of similar users, any other
        /// agent the texts of the user itself, such as the hints that `hint_policy` chose.
        memories: Option<Memories>,
        /// Recorded calls from which `llm: { replay: {} }` answers; none when not connected.
        calls: Option<Calls>,
        /// The world in which `actor: { search: {} }` imagines turns: its rewards and quit rules. The demonstrations know what it
        /// knows, so it must not be the world that evaluates them.
        model: Option<World>,
        /// What an embedded model learned beside its weights; none when not connected.
        adapter: Option<Adapter>,
    }
}

pipeline::ports! {
    /// The episodes and the calls behind them.
    pub struct Outputs {
        /// One trajectory per user, ordered by user.
        demonstrations: Demonstrations,
        /// Every call of the language model.
        calls: Calls,
        /// The memories at the end, including those of the input; empty where no role remembers.
        memories: Memories,
        /// Calls of each episode, and tokens where the model reports them.
        llm_usage: LlmUsage,
    }
}

impl Stage for Demonstrate {
    const KIND: &'static str = "demonstrate";
    /// 1: first. 2: the identity of a model behind a server includes the path of its address. 3: candidates that avoid similar
    /// items respect `min_turns`. 4: items without a title are described in the prompts. 5: agents with roles and memories; long
    /// names are cut and special tokens are split. 6: `llm_usage`, prompt templates, users similar by texts. 7: answers are parsed
    /// in any format, and an answer that names no option, or two, is a failed call; thoughts before an answer are not part of it;
    /// a critic's scale is not parsed as its value.
    const VERSION: u32 = 7;
    const ABOUT: &'static str = "let a language model recommend items to simulated users, and record its episodes";
    const NOT_IN_KEY: &'static [&'static str] = llm::NOT_IN_KEY;
    const ADDED_PORTS: &'static [&'static str] = &["model", "adapter"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn local_only(&self) -> bool {
        self.llm.asks_server()
    }

    fn assets(&self) -> Vec<AssetName> {
        self.llm.asset().into_iter().chain(self.embedder.as_ref().map(|embedder| embedder.asset().clone())).collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        self.llm.check().map_err(|(path, message)| (format!("llm.{path}"), message))?;
        features::check(&self.item_features).map_err(|(path, message)| (format!("item_features.{path}"), message))?;
        if self.users == 0 {
            return wrong("users", "at least one user");
        }
        if !(1..=10).contains(&self.n_candidates) {
            return wrong("n_candidates", "1 to 10 candidates: each title costs the model tokens every turn");
        }
        if self.history_length == 0 {
            return wrong("history_length", "at least one item");
        }
        if self.item_noun.trim().is_empty() {
            return wrong("item_noun", "a word for what is recommended, such as `movie`");
        }
        if !(0.0..=1.0).contains(&self.min_valid_rate) {
            return wrong("min_valid_rate", "a share lies between 0 and 1");
        }
        self.prompts.check().map_err(|(path, message)| (format!("prompts.{path}"), message))?;
        self.check_told()?;
        self.actor
            .check(&self.llm, self.agent, self.n_candidates)
            .map_err(|(path, message)| (format!("actor.{path}"), message))?;
        if self.roles.similarity == UserSimilarity::Texts && !self.llm.embeds() && self.embedder.is_none() {
            let wanted =
                "texts are compared by an embedding model: set `embedder`, or name one in `llm.openai.embedding_model`";
            return wrong("roles.similarity", wanted);
        }
        self.roles.check().map_err(|(path, message)| (format!("roles.{path}"), message))
    }

    fn requirements(&self) -> Vec<Requirement> {
        let idle = matches!(self.actor, Actor::Rate(_)).then(|| Requirement {
            setting: "actor",
            port: "memories",
            connected: false,
            why: "an actor that rates the catalogue is told nothing in an episode".to_owned(),
            help: "set `actor: choose` or `actor: { write: {} }`, or leave the input out",
        });
        let searches = matches!(self.actor, Actor::Search(_));
        let (setting, why, help) = match searches {
            true => (
                "actor.search",
                "a search imagines turns in a world of its own",
                "connect a world there, for example the training world, not the one that evaluates the demonstrations",
            ),
            false => (
                "actor",
                "only `actor: { search: {} }` imagines turns",
                "leave the input out, or set `actor: { search: {} }`",
            ),
        };
        let model = Requirement { setting, port: "model", connected: searches, why: why.to_owned(), help };
        idle.into_iter().chain(self.llm.requirements()).chain([model]).collect()
    }

    fn estimate(&self, made: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Option<String>> {
        self.cost(made)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let llm = self.llm.open(cx, RecordedCall::all_of(inputs.calls.as_ref()), inputs.adapter.as_ref())?;
        self.demonstrate(&*llm, &inputs, cx)
    }
}

impl Demonstrate {
    fn demonstrate(&self, llm: &dyn Llm, inputs: &Inputs, cx: &Context) -> Result<Outputs> {
        self.check_inputs(inputs)?;
        let (world, noun) = (&inputs.world, self.item_noun.trim());
        let instructions = self.instructions.as_deref();
        let prompt = Prompt::new(noun, instructions, &self.prompts, self.history_length, &inputs.items, &inputs.train)?;
        let prompt = prompt.telling(&self.item_features, &inputs.items, cx)?;
        let embedder = self.embedder.as_ref().map(|embedder| embedder.open(cx)).transpose()?;
        let cache = CachedLlm::new(llm, ValueStore::open(cx.calls())?).embedding_with(embedder.as_deref());
        let users = sample_users(self.users, self.seed, world);
        let logs = histories(&inputs.train, world.users());
        let conversations = llm.conversations(&prompt.preamble)?;
        self.note_untold(&inputs.train, &logs, &users, cx);
        let teller = self.teller(&prompt, &inputs.items)?;
        let selector = self.examples(&teller, &logs, llm, &cache, &conversations, cx)?;
        let told = Told { stage: self, teller: &teller, selector, logs: &logs };

        let start = Instant::now();
        let rated = match &self.actor {
            Actor::Choose | Actor::Search(_) | Actor::Write(_) => None,
            Actor::Rate(CatalogueRating { by, weight }) => {
                let rating = Rating { by, item_noun: noun, min_valid_rate: self.min_valid_rate };
                let rated = rating.rate(&inputs.items, llm, &cache, cx)?;
                let ranked = ranked_catalogue(&rated, &inputs.candidates, *weight, &users)?;
                Some((rated, ranked))
            }
        };
        let bar = cx.bar("decisions", Some((users.len() * world.rules.horizon) as u64), "decisions");
        let decided = Decided::default();
        // Set when one episode failed: the others stop at their next decision.
        let failed = AtomicBool::new(false);
        let generation = match &self.actor {
            Actor::Choose | Actor::Search(_) | Actor::Rate(_) => None,
            Actor::Write(generation) => {
                let catalogue = prompt.catalogue(&inputs.items);
                let vectors = cache.vectors(&catalogue.title).context("embed the titles")?;
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
            model: inputs.model.as_ref(),
            candidates: rated.as_ref().map_or(&inputs.candidates, |(_, ranked)| ranked),
            rated: rated.as_ref().map(|(rated, _)| rated),
            roles: Roles { agent: self.agent, settings: &self.roles, prompt: &prompt },
            actor: &self.actor,
            grounder: generation.as_ref(),
            cache: &cache,
            n_candidates: self.n_candidates,
            orders: self.orders(),
            aggregate: self.aggregate,
            check_cancelled: &|| cx.check_cancelled().map(|()| !failed.load(Ordering::Relaxed)),
            on_decision: &|user, turn| {
                if decided.is_first(user, turn) {
                    cache.advance(&bar, start);
                }
            },
            answer_check: (self.min_valid_rate > 0.0).then(AnswerCheck::default),
        };
        let mut memory = MemoryStore::new(&self.roles, world, inputs.memories.as_ref());
        self.note_hinted(inputs.memories.as_ref(), &memory, &users, cx);
        // Without memories no episode waits for another one.
        let batch = if self.agent.reflects() { self.roles.memory_batch_size } else { users.len() };
        let mut played: Vec<EpisodeResult> = Vec::new();
        let beginning = |user: u32| told.profile(user);
        let vectors = |texts: &[String]| {
            let found = cache.vectors(texts).context("embed the profiles of the users")?;
            found.context("`roles.similarity: texts` needs an embedding model, and this provider has none")
        };
        for batch in users.chunks(batch) {
            if self.roles.similarity == UserSimilarity::Texts && self.agent.reflects() {
                memory.embed_users(batch, &beginning, &vectors)?;
            }
            let play = |&user: &u32| -> Result<Option<EpisodeResult>> {
                let recalled = if self.agent.reflects() { memory.recall(user) } else { memory.own(user) };
                let played = runner.run(user, told.prefixes(user)?, &recalled, &conversations);
                match &played {
                    // The bar counts up to the horizon; the turns after an early end are done as well.
                    Ok(Some(played)) => bar.inc((world.rules.horizon - played.trajectory.steps.len()) as u64),
                    Ok(None) => {}
                    Err(error) if AwaitsBatch::is(error) => {}
                    Err(_) => failed.store(true, Ordering::Relaxed),
                }
                played.with_context(|| format!("the episode of user {user}"))
            };
            let new: Vec<EpisodeResult> = cache.ask_all(batch, cx, play)?.into_iter().flatten().collect();
            if let Some(example) = runner.answer_check.as_ref().and_then(AnswerCheck::first_invalid) {
                bail!("all of the first {MAX_INVALID} answers {}", self.invalid_answers(example));
            }
            memory.extend(new.iter().flat_map(|played| played.memories.iter().cloned()));
            played.extend(new);
        }
        if let (Some((rated, _)), Some(first)) = (&rated, played.first_mut()) {
            // The ratings serve all episodes: like every shared call they count with the first.
            first.calls = rated.calls.iter().flatten().cloned().collect();
        }
        if let Some(first) = played.first_mut() {
            first.calls.splice(0..0, told.calls().cloned());
        }
        note_summary(&played, &cache, !self.llm.replays(), start, cx);
        if rated.is_none() {
            note_agreement(&played, cx);
        }
        llm.spending()?.into_iter().for_each(|spent| cx.note("spent", spent));
        self.check_valid_rate(&played)?;
        let trajectories = played.iter().map(|played| played.trajectory.clone()).collect();
        let mut demonstrations = Demonstrations::new(trajectories);
        if let Some(model) = &inputs.model {
            demonstrations = demonstrations.searched(Self::KIND, model);
        }
        Ok(Outputs {
            demonstrations,
            calls: unique_calls(&played),
            memories: memory.into_memories(),
            llm_usage: usage_by_user(played.iter().map(|played| (played.trajectory.user, &*played.calls)), llm)?,
        })
    }

    /// Whether the inputs have the same users and items.
    fn check_inputs(&self, inputs: &Inputs) -> Result<()> {
        let (users, items) = (inputs.world.users(), inputs.world.items());
        inputs.world.check_catalogue(&inputs.items)?;
        inputs.candidates.check_world(&inputs.world)?;
        let train = &inputs.train;
        ensure!(!train.is_empty(), "the training log is empty");
        train.check_within("train", users, items)?;
        if let Some(model) = &inputs.model {
            lookahead::check_model(model, &inputs.world)?;
        }
        check_users(self.users, &inputs.world)
    }
}

#[cfg(test)]
mod failing_tests;
#[cfg(test)]
mod roles_tests;
#[cfg(test)]
mod search_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod told_tests;
