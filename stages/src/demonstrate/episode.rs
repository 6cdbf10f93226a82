//! One user's episode: retrieve candidates, think, let the model choose or name one, see what the user does, value it, reflect.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};

use super::desk::Desk;
use super::expert::Actor;
use super::recall::Recalled;
use super::roles::{Roles, first_line, number};
use crate::artifact::{Call, Candidates, Memory, Step, Trajectory, World};
use crate::env::{Episodes, candidates};
use crate::ground::{Grounder, Grounding, How};
use crate::llm::{Conversation, FailedCall};

/// How many items that went well, and badly, a prompt names.
const ADVISED: usize = 3;
/// So many answers that name nothing, before the first that names something, mean that none will.
pub(super) const HOPELESS: usize = 8;

/// What all episodes of a stage share.
pub(super) struct Table<'a> {
    pub world: &'a World,
    pub rankings: &'a Candidates,
    pub roles: Roles<'a>,
    pub actor: &'a Actor,
    /// Where titles are looked for that the actor writes.
    pub grounder: Option<&'a Grounder>,
    pub desk: &'a Desk<'a>,
    /// How many candidates the model sees.
    pub candidates: usize,
    /// Asked before each decision; `false` where somebody else's failure ends this episode too.
    pub check_cancelled: &'a (dyn Fn() -> Result<bool> + Sync),
    /// Told after each decision.
    pub decided: &'a (dyn Fn() + Sync),
    /// What became of the answers so far; none where it does not matter whether they name anything.
    pub sense: Option<Sense>,
}

/// Whether any answer of a stage has named something that may be shown.
#[derive(Default)]
pub(super) struct Sense {
    made: AtomicBool,
    without: AtomicUsize,
    /// The first answer that named nothing, once there were too many.
    hopeless: OnceLock<Arc<Call>>,
}

impl Sense {
    /// Takes in one more decision; `first` is the first of the episode that named nothing.
    fn take(&self, item: Option<u32>, first: &Arc<Call>) {
        if item.is_some() {
            self.made.store(true, Ordering::Relaxed);
        } else if self.without.fetch_add(1, Ordering::Relaxed) + 1 >= HOPELESS && !self.made.load(Ordering::Relaxed) {
            self.hopeless.get_or_init(|| first.clone());
        }
    }

    /// An answer that named nothing, where nothing is to be hoped for from the others.
    pub fn hopeless(&self) -> Option<&Call> {
        self.hopeless.get().map(|call| &**call)
    }
}

/// A finished episode.
pub(super) struct Played {
    pub trajectory: Trajectory,
    /// Every call that it used, in the order of use.
    pub calls: Vec<Arc<Call>>,
    /// The first answer that named nothing that may be shown, and how many turns there were without one.
    pub unread: Option<(Arc<Call>, usize)>,
    /// How many of the critic's answers were no number.
    pub unvalued: usize,
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
struct Playing<'a> {
    table: &'a Table<'a>,
    user: u32,
    conversation: &'a mut dyn Conversation,
    episodes: Episodes<'a>,
    recalled: &'a Recalled,
    begin: Vec<String>,
    shown: Vec<String>,
    /// The critic's last value; nothing is expected of somebody new.
    value: f32,
    played: Played,
}

impl Table<'_> {
    /// Plays `user`'s whole episode; `liked` are the items that the prompt names as favourites, and `recalled` is what comes to
    /// mind with them. `None` when it was told not to go on.
    pub fn play(
        &self,
        user: u32,
        liked: &[u32],
        recalled: &Recalled,
        conversation: &mut dyn Conversation,
    ) -> Result<Option<Played>> {
        let mut begin = self.roles.prompt.begin(liked)?;
        if !recalled.reflections.is_empty() {
            begin.push(self.roles.prompt.recalled(&recalled.reflections)?);
        }
        let episodes = Episodes::new(self.world, &[user]);
        let trajectory = Trajectory { user, steps: vec![], end: crate::artifact::Termination::Horizon };
        let played = Played { trajectory, calls: vec![], unread: None, unvalued: 0, memories: vec![] };
        let (table, shown, value) = (self, vec![], 0.0);
        Playing { table, user, conversation, episodes, recalled, begin, shown, value, played }.play_out()
    }

    /// What a name means: by its letters, else, where the model comes with vectors, by its meaning.
    fn meant(&self, grounder: &Grounder, said: &str) -> Result<Grounding> {
        let by_letters = grounder.ground(said);
        if by_letters.how != How::Unmatched || said.is_empty() {
            return Ok(by_letters);
        }
        match self.desk.vectors(&[said.to_owned()]) {
            Ok(Some(vectors)) => grounder.ground_with(said, &vectors[0]),
            Ok(None) => Ok(by_letters),
            // This one name has no vector; others may have.
            Err(error) if error.is::<FailedCall>() => Ok(by_letters),
            Err(error) => Err(error),
        }
    }
}

impl Playing<'_> {
    fn play_out(mut self) -> Result<Option<Played>> {
        let expert = self.table.roles.expert;
        loop {
            if let Some(end) = self.episodes.end(0) {
                self.played.trajectory.end = end;
                break;
            }
            let hopeless = self.table.sense.as_ref().is_some_and(|sense| sense.hopeless().is_some());
            if !(self.table.check_cancelled)()? || hopeless {
                return Ok(None);
            }
            self.turn()?;
            if expert.criticises() {
                self.criticise()?;
            }
            (self.table.decided)();
        }
        if expert.reflects() {
            self.reflect()?;
        }
        Ok(Some(self.played))
    }

    /// One recommendation and the user's answer.
    fn turn(&mut self) -> Result<()> {
        let table = self.table;
        let candidates = candidates(&self.episodes, 0, table.rankings, table.candidates)?;
        let mut told = table.roles.prompt.told(&self.begin, &self.shown);
        told.extend(self.advice(&candidates)?);
        if table.roles.expert.plans() {
            let thought = first_line(&self.write(&table.roles.thought(&told)?)?.0);
            if !thought.is_empty() {
                told.push(table.roles.prompt.thinking(&thought)?);
            }
        }
        let first = candidates[0];
        let Decision { item, candidates, scores, call } = match table.actor {
            Actor::Choose => self.choose(told, candidates)?,
            Actor::Write(spoken) => self.name(&told, spoken.tries, spoken.max_tokens)?,
        };
        if item.is_none() {
            self.played.unread.get_or_insert((call.clone(), 0)).1 += 1;
        }
        if let Some(sense) = &table.sense {
            let first = self.played.unread.as_ref().map_or(&call, |(first, _)| first);
            sense.take(item, first);
        }
        let item = item.unwrap_or(first);
        self.episodes.step(&[0], &[item])?;
        let reward = *self.episodes.rewards(0).last().context("a step without a reward")?;
        self.shown.push(table.roles.prompt.shown(item, reward)?);
        let call = call.key.clone();
        self.played.trajectory.steps.push(Step { item, reward, candidates, scores, call });
        Ok(())
    }

    /// Among what is offered.
    fn choose(&mut self, told: Vec<String>, candidates: Vec<u32>) -> Result<Decision> {
        let request = self.table.roles.prompt.request(told, &candidates);
        let (reading, used) = self.table.desk.choose(self.conversation, &request)?;
        let call = used[0].clone();
        self.played.calls.extend(used);
        Ok(Decision { item: reading.index.map(|index| candidates[index]), candidates, scores: reading.scores, call })
    }

    /// By writing a title, again where it means nothing that may be shown.
    fn name(&mut self, told: &[String], tries: u64, max_tokens: u32) -> Result<Decision> {
        let roles = &self.table.roles;
        let grounder = self.table.grounder.context("an actor that writes without a catalogue")?;
        let mut writing = roles.line(told, roles.prompt.cue().to_owned(), max_tokens);
        loop {
            let (text, call) = self.write(&writing)?;
            let said = first_line(&text);
            let said = said.trim_matches(|c: char| "\"'“”*. ".contains(c));
            // What no title is near enough to is no choice, whatever the policy: the next try may name one.
            let item = grounder.settle(said, &self.table.meant(grounder, said)?).ok().flatten();
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
            candidates.iter().copied().filter(|item| advantage(item).is_some_and(holds)).take(ADVISED).collect()
        };
        let (good, bad) = (pick(|a| a >= 0.0), pick(|a| a < 0.0));
        let none = good.is_empty() && bad.is_empty();
        Ok(if none { None } else { Some(self.table.roles.prompt.advice(&good, &bad)?) })
    }

    /// Values where the last recommendation led, and remembers whether it was good: r + γ·v_t − v_{t−1} ≥ 0, with v = 0 after
    /// the end.
    fn criticise(&mut self) -> Result<()> {
        let step = self.played.trajectory.steps.last().context("nothing to value")?;
        let (item, reward) = (step.item, step.reward);
        let mut value = Some(0.0);
        if self.episodes.end(0).is_none() {
            let told = self.table.roles.prompt.told(&self.begin, &self.shown);
            value = number(&self.write(&self.table.roles.value(&told)?)?.0).map(|number| number as f32);
        }
        let Some(value) = value else {
            self.played.unvalued += 1;
            return Ok(());
        };
        let advantage = reward + self.table.roles.settings.gamma as f32 * value - self.value;
        let (user, step) = (self.user, (self.shown.len() - 1) as u32);
        self.played.memories.push(Memory::Action { user, step, item, value, advantage });
        self.value = value;
        Ok(())
    }

    /// Remembers what the model writes about the episode.
    fn reflect(&mut self) -> Result<()> {
        let (turns, left) = (self.shown.len(), self.played.trajectory.end.terminal());
        let told = self.table.roles.prompt.told(&self.begin, &self.shown);
        let text = first_line(&self.write(&self.table.roles.reflection(&told, turns, left)?)?.0);
        if !text.is_empty() {
            let (user, total) = (self.user, self.played.trajectory.total() as f32);
            self.played.memories.push(Memory::Reflection { user, total, text });
        }
        Ok(())
    }

    fn write(&mut self, writing: &crate::llm::CompletionRequest) -> Result<(String, Arc<Call>)> {
        let (text, call) = self.table.desk.write(self.conversation, writing)?;
        self.played.calls.push(call.clone());
        Ok((text, call))
    }
}
