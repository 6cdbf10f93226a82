//! One user's episode: retrieve candidates, think, let the model choose or name one, see what the user does, value it, reflect.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};

use super::agent::Actor;
use super::llm_cache::CachedLlm;
use super::memory::RecalledMemory;
use super::roles::{Roles, first_line, parse_value};
use crate::artifact::{Call, Candidates, Memory, Step, Trajectory, World};
use crate::env::{Episodes, next_candidates};
use crate::ground::{Grounder, Grounding, MatchKind};
use crate::llm::{Conversation, FailedCall};

/// How many items that went well, and badly, a prompt names.
const MAX_ADVISED: usize = 3;
/// So many answers that name nothing, before the first that names something, mean that none will.
pub(super) const MAX_INVALID: usize = 8;

/// What all episodes of a stage share.
pub(super) struct EpisodeRunner<'a> {
    pub world: &'a World,
    pub candidates: &'a Candidates,
    pub roles: Roles<'a>,
    pub actor: &'a Actor,
    /// Where titles are looked for that the actor writes.
    pub grounder: Option<&'a Grounder>,
    pub cache: &'a CachedLlm<'a>,
    /// How many candidates the model sees.
    pub n_candidates: usize,
    /// Asked before each decision; `false` where somebody else's failure ends this episode too.
    pub check_cancelled: &'a (dyn Fn() -> Result<bool> + Sync),
    /// Told after each decision.
    pub on_decision: &'a (dyn Fn() + Sync),
    /// What became of the answers so far; none where it does not matter whether they name anything.
    pub answer_check: Option<AnswerCheck>,
}

/// Whether any answer of a stage has named something that may be shown.
#[derive(Default)]
pub(super) struct AnswerCheck {
    any_valid: AtomicBool,
    invalid: AtomicUsize,
    /// The first answer that named nothing, once there were too many.
    first_invalid: OnceLock<Arc<Call>>,
}

impl AnswerCheck {
    /// Takes in one more decision; `first` is the first of the episode that named nothing.
    fn record(&self, item: Option<u32>, first: &Arc<Call>) {
        if item.is_some() {
            self.any_valid.store(true, Ordering::Relaxed);
        } else if self.invalid.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_INVALID
            && !self.any_valid.load(Ordering::Relaxed)
        {
            self.first_invalid.get_or_init(|| first.clone());
        }
    }

    /// An answer that named nothing, where nothing is to be hoped for from the others.
    pub fn first_invalid(&self) -> Option<&Call> {
        self.first_invalid.get().map(|call| &**call)
    }
}

/// A finished episode.
pub(super) struct EpisodeResult {
    pub trajectory: Trajectory,
    /// Every call that it used, in the order of use.
    pub calls: Vec<Arc<Call>>,
    /// The first answer that named nothing that may be shown, and how many turns there were without one.
    pub invalid: Option<(Arc<Call>, usize)>,
    /// How many of the critic's answers were no number.
    pub unparsed_values: usize,
    /// What is remembered of it.
    pub memories: Vec<Memory>,
}

/// What the actor decided.
struct Decision {
    item: Option<u32>,
    candidates: Vec<u32>,
    scores: Vec<f32>,
    call: Arc<Call>,
}

/// One user's episode while it is played.
struct RunningEpisode<'a> {
    runner: &'a EpisodeRunner<'a>,
    user: u32,
    conversation: &'a mut dyn Conversation,
    episodes: Episodes<'a>,
    recalled: &'a RecalledMemory,
    prefix: Vec<String>,
    shown: Vec<String>,
    /// The critic's last value; nothing is expected of somebody new.
    value: f32,
    result: EpisodeResult,
}

impl EpisodeRunner<'_> {
    /// Plays `user`'s whole episode; `liked` are the items that the prompt names as favourites, and `recalled` is what comes to
    /// mind with them. `None` when it was told not to go on.
    pub fn run(
        &self,
        user: u32,
        liked: &[u32],
        recalled: &RecalledMemory,
        conversation: &mut dyn Conversation,
    ) -> Result<Option<EpisodeResult>> {
        let mut prefix = self.roles.prompt.prefix(liked)?;
        if !recalled.reflections.is_empty() {
            prefix.push(self.roles.prompt.reflections_line(&recalled.reflections)?);
        }
        let episodes = Episodes::new(self.world, &[user]);
        let trajectory = Trajectory { user, steps: vec![], end: crate::artifact::Termination::Horizon };
        let result = EpisodeResult { trajectory, calls: vec![], invalid: None, unparsed_values: 0, memories: vec![] };
        let (runner, shown, value) = (self, vec![], 0.0);
        RunningEpisode { runner, user, conversation, episodes, recalled, prefix, shown, value, result }.run()
    }

    /// What a name means: by its letters, else, where the model comes with vectors, by its meaning.
    fn match_title(&self, grounder: &Grounder, said: &str) -> Result<Grounding> {
        let by_letters = grounder.ground(said);
        if by_letters.kind != MatchKind::Unmatched || said.is_empty() {
            return Ok(by_letters);
        }
        match self.cache.vectors(&[said.to_owned()]) {
            Ok(Some(vectors)) => grounder.ground_with(said, &vectors[0]),
            Ok(None) => Ok(by_letters),
            // This one name has no vector; others may have.
            Err(error) if error.is::<FailedCall>() => Ok(by_letters),
            Err(error) => Err(error),
        }
    }
}

impl RunningEpisode<'_> {
    fn run(mut self) -> Result<Option<EpisodeResult>> {
        let expert = self.runner.roles.expert;
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
            if expert.criticises() {
                self.criticise()?;
            }
            (self.runner.on_decision)();
        }
        if expert.reflects() {
            self.reflect()?;
        }
        Ok(Some(self.result))
    }

    /// One recommendation and the user's answer.
    fn turn(&mut self) -> Result<()> {
        let runner = self.runner;
        let candidates = next_candidates(&self.episodes, 0, runner.candidates, runner.n_candidates)?;
        let mut context = runner.roles.prompt.context(&self.prefix, &self.shown);
        context.extend(self.advice(&candidates)?);
        if runner.roles.expert.plans() {
            let thought = first_line(&self.write(&runner.roles.thought(&context)?)?.0);
            if !thought.is_empty() {
                context.push(runner.roles.prompt.thought_line(&thought)?);
            }
        }
        let first = candidates[0];
        let Decision { item, candidates, scores, call } = match runner.actor {
            Actor::Choose => self.choose(context, candidates)?,
            Actor::Write(generation) => self.generate_title(&context, generation.tries, generation.max_tokens)?,
        };
        if item.is_none() {
            self.result.invalid.get_or_insert((call.clone(), 0)).1 += 1;
        }
        if let Some(check) = &runner.answer_check {
            let first = self.result.invalid.as_ref().map_or(&call, |(first, _)| first);
            check.record(item, first);
        }
        let item = item.unwrap_or(first);
        self.episodes.step(&[0], &[item])?;
        let reward = *self.episodes.rewards(0).last().context("a step without a reward")?;
        self.shown.push(runner.roles.prompt.feedback_line(item, reward)?);
        let call = call.key.clone();
        self.result.trajectory.steps.push(Step { item, reward, candidates, scores, call });
        Ok(())
    }

    /// Among what is offered.
    fn choose(&mut self, context: Vec<String>, candidates: Vec<u32>) -> Result<Decision> {
        let request = self.runner.roles.prompt.request(context, &candidates);
        let (reading, used) = self.runner.cache.choose(self.conversation, &request)?;
        let call = used[0].clone();
        self.result.calls.extend(used);
        Ok(Decision { item: reading.index.map(|index| candidates[index]), candidates, scores: reading.scores, call })
    }

    /// By writing a title, again where it means nothing that may be shown.
    fn generate_title(&mut self, context: &[String], tries: u64, max_tokens: u32) -> Result<Decision> {
        let roles = &self.runner.roles;
        let grounder = self.runner.grounder.context("an actor that writes without a catalogue")?;
        let mut writing = roles.line(context, roles.prompt.completion_prefix().to_owned(), max_tokens);
        loop {
            let (text, call) = self.write(&writing)?;
            let said = first_line(&text);
            let said = said.trim_matches(|c: char| "\"'“”*. ".contains(c));
            // What no title is near enough to is no choice, whatever the policy: the next try may name one.
            let item = grounder.resolve(said, &self.runner.match_title(grounder, said)?).ok().flatten();
            let item = item.filter(|&item| self.episodes.episode(0).allowed(item));
            writing.draw += 1;
            if item.is_some() || writing.draw >= tries {
                return Ok(Decision { item, candidates: vec![], scores: vec![], call });
            }
        }
    }

    /// The line about what went well and badly with people alike, among what is offered.
    fn advice(&self, candidates: &[u32]) -> Result<Option<String>> {
        let advantage = |item: &u32| self.recalled.advantages.get(item).copied();
        let pick = |holds: fn(f32) -> bool| -> Vec<u32> {
            candidates.iter().copied().filter(|item| advantage(item).is_some_and(holds)).take(MAX_ADVISED).collect()
        };
        let (good, bad) = (pick(|a| a >= 0.0), pick(|a| a < 0.0));
        let none = good.is_empty() && bad.is_empty();
        Ok(if none { None } else { Some(self.runner.roles.prompt.advice_line(&good, &bad)?) })
    }

    /// Values where the last recommendation led, and remembers whether it was good: r + γ·v_t − v_{t−1} ≥ 0, with v = 0 after
    /// the end.
    fn criticise(&mut self) -> Result<()> {
        let step = self.result.trajectory.steps.last().context("nothing to value")?;
        let (item, reward) = (step.item, step.reward);
        let mut value = Some(0.0);
        if self.episodes.end(0).is_none() {
            let context = self.runner.roles.prompt.context(&self.prefix, &self.shown);
            value = parse_value(&self.write(&self.runner.roles.critique(&context)?)?.0).map(|number| number as f32);
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

    /// Remembers what the model writes about the episode.
    fn reflect(&mut self) -> Result<()> {
        let (turns, left) = (self.shown.len(), self.result.trajectory.end.terminal());
        let context = self.runner.roles.prompt.context(&self.prefix, &self.shown);
        let text = first_line(&self.write(&self.runner.roles.reflection(&context, turns, left)?)?.0);
        if !text.is_empty() {
            let (user, total) = (self.user, self.result.trajectory.total() as f32);
            self.result.memories.push(Memory::Reflection { user, total, text });
        }
        Ok(())
    }

    fn write(&mut self, writing: &crate::llm::CompletionRequest) -> Result<(String, Arc<Call>)> {
        let (text, call) = self.runner.cache.write(self.conversation, writing)?;
        self.result.calls.push(call.clone());
        Ok((text, call))
    }
}
