//! One episode: retrieve candidates, plan, choose, search or generate a title, step the world, criticise, reflect.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result, bail};

use super::agent::{Actor, ModelSearch, SearchPrior};
use super::lookahead::{Lookahead, Prior, Uniform, best, log_softmax, uniform};
use super::memory::RecalledMemory;
use super::roles::{CRITIC_SCALE, Roles, first_line};
use crate::artifact::{Call, Candidates, Memory, Step, Trajectory, World};
use crate::env::{Episodes, ImaginedEpisode, next_candidates};
use crate::ground::{Grounder, Grounding, MatchKind};
use crate::llm::{
    AwaitsBatch, CachedLlm, Conversation, ConversationFactory, FailedCall, ParsedChoice, Rated, parse_integer,
};
use crate::prompting::{Aggregate, CandidateOrders};

/// Maximum number of items with good, and with bad, advantages in a prompt.
const MAX_ADVISED: usize = 3;
/// After this many invalid answers without a valid one, the stage gives up.
pub(super) const MAX_INVALID: usize = 8;

/// Runs episodes; shared by all episodes of a stage.
pub(super) struct EpisodeRunner<'a> {
    pub world: &'a World,
    /// Where a search imagines turns.
    pub model: Option<&'a World>,
    /// What is retrieved, or the rated catalogue.
    pub candidates: &'a Candidates,
    /// The ratings behind the catalogue, of an actor that rates.
    pub rated: Option<&'a Rated>,
    pub roles: Roles<'a>,
    pub actor: &'a Actor,
    /// Matches the titles that the actor writes.
    pub grounder: Option<&'a Grounder>,
    pub cache: &'a CachedLlm<'a>,
    /// Number of candidates that the model sees.
    pub n_candidates: usize,
    /// The orders in which they are offered.
    pub orders: CandidateOrders,
    /// How several rankings become one.
    pub aggregate: Aggregate,
    /// Called before each decision; `false` where another episode failed and this one stops, too.
    pub check_cancelled: &'a (dyn Fn() -> Result<bool> + Sync),
    /// Called after each decision with its user and turn; again where an episode is replayed behind a batch.
    pub on_decision: &'a (dyn Fn(u32, usize) + Sync),
    /// Counts valid and invalid answers; `None` where `min_valid_rate` is 0.
    pub answer_check: Option<AnswerCheck>,
}

/// Decisions by user and turn. An episode that is replayed behind a batch makes the same ones again.
#[derive(Default)]
pub(super) struct Decided(Mutex<BTreeSet<(u32, usize)>>);

impl Decided {
    /// Whether a decision was not made before.
    pub fn is_first(&self, user: u32, turn: usize) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((user, turn))
    }

    /// Adds a decision; how many there are.
    fn add(&self, user: u32, turn: usize) -> usize {
        let mut decided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decided.insert((user, turn));
        decided.len()
    }
}

/// Whether any answer of a stage has named an item that may be shown.
#[derive(Default)]
pub(super) struct AnswerCheck {
    any_valid: AtomicBool,
    invalid: Decided,
    /// The first invalid answer, once there were too many.
    first_invalid: OnceLock<Arc<Call>>,
}

impl AnswerCheck {
    /// Counts the decision about a user at a turn; `first` is the episode's first invalid answer.
    fn record(&self, (user, turn): (u32, usize), item: Option<u32>, first: Option<&Arc<Call>>) {
        if item.is_some() {
            self.any_valid.store(true, Ordering::Relaxed);
        } else if self.invalid.add(user, turn) >= MAX_INVALID
            && !self.any_valid.load(Ordering::Relaxed)
            && let Some(first) = first
        {
            self.first_invalid.get_or_init(|| first.clone());
        }
    }

    /// An invalid answer, where the stage gives up.
    pub fn first_invalid(&self) -> Option<&Call> {
        self.first_invalid.get().map(|call| &**call)
    }
}

/// A finished episode.
pub(super) struct EpisodeResult {
    pub trajectory: Trajectory,
    /// Every call, in the order of use.
    pub calls: Vec<Arc<Call>>,
    /// The first invalid answer, and the number of turns with an invalid answer.
    pub invalid: Option<(Arc<Call>, usize)>,
    /// Number of the critic's answers without a number.
    pub unparsed_values: usize,
    /// Memories of the episode.
    pub memories: Vec<Memory>,
}

/// The actor's decision.
struct Decision {
    item: Option<u32>,
    candidates: Vec<u32>,
    scores: Vec<f32>,
    /// None where no model was asked.
    call: Option<Arc<Call>>,
}

/// One user's episode while it runs.
struct RunningEpisode<'a> {
    runner: &'a EpisodeRunner<'a>,
    user: u32,
    /// One for each beginning, so that each is evaluated once.
    conversations: Vec<Box<dyn Conversation + 'a>>,
    episodes: Episodes<'a>,
    recalled: &'a RecalledMemory,
    /// What is told before the episode, one beginning a strategy; the first is that of the other roles.
    prefixes: Vec<Vec<String>>,
    shown: Vec<String>,
    /// The critic's last value; 0 before the first turn.
    value: f32,
    result: EpisodeResult,
}

impl EpisodeRunner<'_> {
    /// Runs the whole episode of `user`. `prefixes` are the beginnings of its prompts, `recalled` are the recalled memories. `None`
    /// where the episode was stopped.
    pub fn run(
        &self,
        user: u32,
        mut prefixes: Vec<Vec<String>>,
        recalled: &RecalledMemory,
        conversations: &ConversationFactory,
    ) -> Result<Option<EpisodeResult>> {
        if !recalled.reflections.is_empty() {
            let line = self.roles.prompt.reflections_line(&recalled.reflections)?;
            prefixes.iter_mut().for_each(|prefix| prefix.push(line.clone()));
        }
        if !recalled.hints.is_empty() {
            let line = self.roles.prompt.hint_line(&recalled.hints.join(" "))?;
            prefixes.iter_mut().for_each(|prefix| prefix.push(line.clone()));
        }
        let conversations = prefixes.iter().map(|_| conversations()).collect();
        let episodes = Episodes::new(self.world, &[user]);
        let trajectory = Trajectory { user, steps: vec![], end: crate::artifact::Termination::Horizon };
        let result = EpisodeResult { trajectory, calls: vec![], invalid: None, unparsed_values: 0, memories: vec![] };
        let (runner, shown, value) = (self, vec![], 0.0);
        RunningEpisode { runner, user, conversations, episodes, recalled, prefixes, shown, value, result }.run()
    }

    /// The item of a title: by its letters, else, where the provider has an embedding model, by its embedding.
    fn match_title(&self, grounder: &Grounder, said: &str) -> Result<Grounding> {
        let by_letters = grounder.ground(said);
        if by_letters.kind != MatchKind::Unmatched || said.is_empty() {
            return Ok(by_letters);
        }
        match self.cache.vectors(&[said.to_owned()]) {
            Ok(Some(vectors)) => grounder.ground_with(said, &vectors[0]),
            Ok(None) => Ok(by_letters),
            // This title could not be embedded; others may be.
            Err(error) if error.is::<FailedCall>() => Ok(by_letters),
            Err(error) => Err(error),
        }
    }
}

impl RunningEpisode<'_> {
    fn run(mut self) -> Result<Option<EpisodeResult>> {
        let agent = self.runner.roles.agent;
        let mut waits = None;
        loop {
            if let Some(end) = self.episodes.end(0) {
                self.result.trajectory.end = end;
                break;
            }
            let is_hopeless = self.runner.answer_check.as_ref().is_some_and(|check| check.first_invalid().is_some());
            if !(self.runner.check_cancelled)()? || is_hopeless {
                return Ok(None);
            }
            self.turn()?;
            if agent.criticises() {
                // Nothing of the next turn depends on the value.
                match self.criticise() {
                    Err(error) if AwaitsBatch::is(&error) => waits = Some(error),
                    done => done?,
                }
            }
            (self.runner.on_decision)(self.user, self.shown.len());
        }
        if let Some(waits) = waits {
            return Err(waits);
        }
        if agent.reflects() {
            self.reflect()?;
        }
        Ok(Some(self.result))
    }

    /// One recommendation and the user's rating.
    fn turn(&mut self) -> Result<()> {
        let runner = self.runner;
        let candidates = next_candidates(&self.episodes, 0, runner.candidates, runner.n_candidates)?;
        let first = candidates[0];
        let Decision { item, candidates, scores, call } = match runner.actor {
            Actor::Choose => self.choose(candidates)?,
            Actor::Search(search) => self.search(search, candidates)?,
            Actor::Write(generation) => {
                self.generate_title(&candidates, generation.max_attempts, generation.max_tokens)?
            }
            Actor::Rate(_) => self.best_rated(candidates)?,
        };
        if let (None, Some(call)) = (item, &call) {
            self.result.invalid.get_or_insert((call.clone(), 0)).1 += 1;
        }
        if let Some(check) = &runner.answer_check {
            check.record((self.user, self.shown.len()), item, self.result.invalid.as_ref().map(|(first, _)| first));
        }
        let item = item.unwrap_or(first);
        self.episodes.step(&[0], &[item])?;
        let reward = *self.episodes.rewards(0).last().context("a step without a reward")?;
        self.shown.push(runner.roles.prompt.feedback_line(item, reward)?);
        let call = call.map_or_else(String::new, |call| call.key.clone());
        self.result.trajectory.steps.push(Step { item, reward, candidates, scores, call });
        Ok(())
    }

    /// The contexts of a decision about these candidates, one a beginning, with the planner's thought.
    fn contexts(&mut self, candidates: &[u32]) -> Result<Vec<Vec<String>>> {
        let roles = &self.runner.roles;
        let advice = self.advice(candidates)?;
        let of = |prefix: &Vec<String>| roles.prompt.context(prefix, &self.shown).into_iter().chain(advice.clone());
        let mut contexts: Vec<Vec<String>> = self.prefixes.iter().map(|prefix| of(prefix).collect()).collect();
        if roles.agent.plans() {
            let thought = first_line(&self.write(&roles.thought(&contexts[0])?)?.0);
            if !thought.is_empty() {
                let line = roles.prompt.thought_line(&thought)?;
                contexts.iter_mut().for_each(|context| context.push(line.clone()));
            }
        }
        Ok(contexts)
    }

    /// The best of the rated catalogue, with the scores of the next ones.
    fn best_rated(&self, candidates: Vec<u32>) -> Result<Decision> {
        let runner = self.runner;
        let (ranked, scores) =
            (&runner.candidates.items[self.user as usize], &runner.candidates.scores[self.user as usize]);
        let score = |item: &u32| ranked.iter().position(|ranked| ranked == item).map(|rank| scores[rank]);
        let scores = candidates.iter().map(score).collect::<Option<_>>().context("an item without a rank")?;
        let item = candidates[0];
        let calls = runner.rated.and_then(|rated| rated.calls[item as usize].first());
        let call = calls.context("an actor that rates without ratings")?.clone();
        Ok(Decision { item: Some(item), candidates, scores, call: Some(call) })
    }

    /// Lets the model choose one of the candidates.
    fn choose(&mut self, candidates: Vec<u32>) -> Result<Decision> {
        let runner = self.runner;
        let (mut first, mut rankings) = (None, Vec::new());
        for (at, context) in self.contexts(&candidates)?.iter().enumerate() {
            let conversation = &mut *self.conversations[at];
            let asked = runner.orders.ask(runner.cache, conversation, runner.roles.prompt, context, &candidates)?;
            first.get_or_insert((asked.index, asked.choices[0].clone()));
            rankings.extend(asked.rankings);
            self.result.calls.extend(asked.calls);
        }
        let (index, call) = first.context("a decision without a prompt")?;
        // Of a single ranking the provider's own choice counts: it may choose without scores.
        let single = self.prefixes.len() * runner.orders.orders == 1;
        let index = if single { index } else { runner.aggregate.winner(&rankings) };
        // On the model's own scale, whatever rule chose.
        let scores = Aggregate::MeanScore.scores(&rankings);
        Ok(Decision { item: index.map(|index| candidates[index]), candidates, scores, call: Some(call) })
    }

    /// Searches over imagined turns for one of the candidates. Where the model does not answer at the turn itself, none is chosen.
    fn search(&mut self, search: &ModelSearch, candidates: Vec<u32>) -> Result<Decision> {
        let runner = self.runner;
        let model = runner.model.context("a search without a world at `model`")?;
        let lookahead = Lookahead {
            candidates: runner.candidates,
            n_candidates: runner.n_candidates,
            width: search.width,
            depth: search.depth,
            alpha: search.alpha,
            gamma: search.gamma,
            leaf_value: search.leaf_value,
        };
        let history = ImaginedEpisode::new(model, self.user, self.episodes.items(0), self.episodes.rewards(0));
        let (values, call) = match search.prior {
            SearchPrior::Uniform => {
                let log_prior = uniform(candidates.len());
                (lookahead.values(&history, &candidates, &log_prior, &mut Uniform)?, None)
            }
            SearchPrior::LanguageModel => {
                let choice = self.choose(candidates.clone())?;
                let Decision { item: Some(_), scores, call, .. } = choice else { return Ok(choice) };
                let log_prior = log_probabilities(&scores)?;
                (lookahead.values(&history, &candidates, &log_prior, &mut AskedPrior(self))?, call)
            }
        };
        let item = Some(candidates[best(&values)]);
        let scores = values.into_iter().map(|value| value as f32).collect();
        Ok(Decision { item, candidates, scores, call })
    }

    /// Lets the model write a title, again where it matches no item that may be shown.
    fn generate_title(&mut self, candidates: &[u32], max_attempts: u64, max_tokens: u32) -> Result<Decision> {
        let context = &self.contexts(candidates)?.swap_remove(0);
        let roles = &self.runner.roles;
        let grounder = self.runner.grounder.context("an actor that writes titles without a catalogue")?;
        let mut writing = roles.line(context, roles.prompt.completion_prefix().to_owned(), max_tokens);
        loop {
            let (text, call) = self.write(&writing)?;
            let said = first_line(&text);
            let said = said.trim_matches(|c: char| "\"'“”*. ".contains(c));
            // An unmatched title is invalid under every policy: the next attempt may match.
            let item = grounder.resolve(said, &self.runner.match_title(grounder, said)?).ok().flatten();
            let item = item.filter(|&item| self.episodes.episode(0).allowed(item));
            writing.draw += 1;
            if item.is_some() || writing.draw >= max_attempts {
                return Ok(Decision { item, candidates: vec![], scores: vec![], call: Some(call) });
            }
        }
    }

    /// The line about the candidates that went well and badly with similar users.
    fn advice(&self, candidates: &[u32]) -> Result<Option<String>> {
        let advantage = |item: &u32| self.recalled.advantages.get(item).copied();
        let pick = |holds: fn(f32) -> bool| -> Vec<u32> {
            candidates.iter().copied().filter(|item| advantage(item).is_some_and(holds)).take(MAX_ADVISED).collect()
        };
        let (good, bad) = (pick(|a| a >= 0.0), pick(|a| a < 0.0));
        let none = good.is_empty() && bad.is_empty();
        Ok(if none { None } else { Some(self.runner.roles.prompt.advice_line(&good, &bad)?) })
    }

    /// Estimates the value of the state after the last recommendation, and remembers its advantage r + γ·v_t − v_{t−1}, with v = 0
    /// after the end.
    fn criticise(&mut self) -> Result<()> {
        let step = self.result.trajectory.steps.last().context("nothing to value")?;
        let (item, reward) = (step.item, step.reward);
        let mut value = Some(0.0);
        if self.episodes.end(0).is_none() {
            let context = self.runner.roles.prompt.context(&self.prefixes[0], &self.shown);
            let answer = self.write(&self.runner.roles.critique(&context)?)?.0;
            value = parse_integer(&answer, CRITIC_SCALE).map(|number| number as f32);
        }
        let Some(value) = value else {
            self.result.unparsed_values += 1;
            return Ok(());
        };
        let advantage = reward + self.runner.roles.settings.gamma as f32 * value - self.value;
        let (user, step) = (self.user, (self.shown.len() - 1) as u32);
        self.result.memories.push(Memory::Action { user, step, item, value, advantage });
        self.value = value;
        Ok(())
    }

    /// Remembers the reflection on the episode.
    fn reflect(&mut self) -> Result<()> {
        let (turns, left) = (self.shown.len(), self.result.trajectory.end.terminal());
        let context = self.runner.roles.prompt.context(&self.prefixes[0], &self.shown);
        let text = first_line(&self.write(&self.runner.roles.reflection(&context, turns, left)?)?.0);
        if !text.is_empty() {
            let (user, total) = (self.user, self.result.trajectory.total() as f32);
            self.result.memories.push(Memory::Reflection { user, total, text });
        }
        Ok(())
    }

    fn write(&mut self, writing: &crate::llm::CompletionRequest) -> Result<(String, Arc<Call>)> {
        let (text, call) = self.runner.cache.write(&mut *self.conversations[0], writing)?;
        self.result.calls.push(call.clone());
        Ok((text, call))
    }
}

/// Asks the model at imagined turns, which it is told as if they had happened.
struct AskedPrior<'r, 'a>(&'r mut RunningEpisode<'a>);

impl Prior for AskedPrior<'_, '_> {
    fn log_probabilities(&mut self, imagined: &[(u32, f32)], candidates: &[u32]) -> Result<Vec<f64>> {
        let episode = &mut *self.0;
        let prompt = episode.runner.roles.prompt;
        let mut shown = episode.shown.clone();
        for &(item, reward) in imagined {
            shown.push(prompt.feedback_line(item, reward)?);
        }
        let request = prompt.request(prompt.context(&episode.prefixes[0], &shown), candidates)?;
        let (reading, used) = episode.runner.cache.choose(&mut *episode.conversations[0], &request)?;
        episode.result.calls.extend(used);
        match reading {
            ParsedChoice { index: None, scores } if scores.is_empty() => Ok(uniform(candidates.len())),
            ParsedChoice { scores, .. } => log_probabilities(&scores),
        }
    }
}

/// ln π of the options of a valid answer.
fn log_probabilities(scores: &[f32]) -> Result<Vec<f64>> {
    if scores.is_empty() {
        bail!(
            "an answer gives no probabilities of its options, which guide the search\nhelp: use a model that gives them, such as a \
             server with `logprobs: true`, or set `prior: uniform`"
        );
    }
    Ok(log_softmax(scores))
}
