//! One episode, revised step by step.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rand::RngExt;

use super::difficulty;
use super::gates::{Gain, gain, ifd_refusal};
use super::played::Played;
use super::prompts::RecordedPrompts;
use super::settings::{Gate, Grounded, Random, Recycle, Revise};
use crate::artifact::{Call, Repeats, Revision, Step, Trajectory, World};
use crate::llm::{CachedLlm, Conversation, ConversationFactory};
use crate::nn::rng;

/// The purpose of what is drawn.
const DRAW: u64 = 0x2ec1;

/// Revises episodes; shared by all of a stage.
pub(super) struct Reviser<'a> {
    pub stage: &'a Recycle,
    pub world: &'a World,
    pub gates: &'a [&'a World],
    pub prompts: &'a RecordedPrompts,
    /// Trajectories and steps at which `random` revises; `None` where it draws them.
    pub places: Option<&'a BTreeSet<(u32, u32)>>,
}

/// A recycled episode.
pub(super) struct Recycled {
    pub trajectory: Trajectory,
    pub revisions: Vec<Revision>,
    /// Calls in the order of use.
    pub calls: Vec<Arc<Call>>,
    /// Whether it was revised, and its items ran out while the user stayed.
    pub ran_out: bool,
}

/// What is to replace a step.
struct Proposal {
    item: u32,
    candidates: Vec<u32>,
    scores: Vec<f32>,
    /// The key of the call behind it; `None` where no model was asked.
    call: Option<String>,
}

impl Reviser<'_> {
    /// Revises the episode at place `number`.
    pub fn episode(&self, number: usize, recorded: &Trajectory, asked: Option<Asked>) -> Result<Recycled> {
        let user = recorded.user;
        let mut found = Recycled { trajectory: recorded.clone(), revisions: vec![], calls: vec![], ran_out: false };
        let mut conversation = asked.map(|(_, conversations)| conversations());
        let (mut at, mut accepted) = (0, 0);
        while at < found.trajectory.steps.len() {
            if self.stage.max_per_episode.is_some_and(|most| accepted >= most) {
                break;
            }
            let proposal =
                self.proposal(number, at, &found.trajectory, asked, conversation.as_deref_mut(), &mut found.calls)?;
            let step = at;
            at += 1;
            let Some(proposal) = proposal else { continue };
            let old = found.trajectory.steps[step].clone();
            let (before, after) =
                (items(&found.trajectory.steps), edited(&found.trajectory.steps, step, proposal.item));
            let played = Played::of(self.world, user, &after)?;
            let shown: Vec<u32> = played.shown.iter().map(|&place| after[place]).collect();
            let gain_here = played.total() - Played::of(self.world, user, &before)?.total();
            let gate_gain = gain(self.gates, user, &before, &shown)?;
            let mut revision = Revision {
                trajectory: u32::try_from(number).context("too many episodes")?,
                user,
                step: step as u32,
                old_item: old.item,
                new_item: proposal.item,
                kind: self.stage.revise.name().to_owned(),
                gain: gain_here,
                gate_gain: gate_gain.map(|gain| gain.mean),
                gate_gain_sd: gate_gain.map(|gain| gain.sd),
                ifd: None,
                r_ifd: None,
                call: proposal.call.clone().unwrap_or_default(),
                accepted: false,
                reason: String::new(),
            };
            let refusal =
                self.refusal(&old, gate_gain, &mut revision, asked, conversation.as_deref_mut(), &mut found.calls)?;
            revision.accepted = refusal.is_none();
            revision.reason = refusal.unwrap_or_default();
            if revision.accepted {
                accepted += 1;
                found.ran_out = !played.end.terminal() && played.shown.len() < self.world.rules.horizon;
                found.trajectory = self.replaced(&found.trajectory, step, proposal, &played);
            }
            found.revisions.push(revision);
        }
        Ok(found)
    }

    /// Why the gate refuses a revision. Its difficulties are written into it.
    fn refusal(
        &self,
        old: &Step,
        gain: Option<Gain>,
        revision: &mut Revision,
        asked: Option<Asked>,
        conversation: Option<&mut (dyn Conversation + '_)>,
        calls: &mut Vec<Arc<Call>>,
    ) -> Result<Option<String>> {
        match self.stage.gate {
            Gate::None => Ok(None),
            Gate::World => {
                let gain = gain.context("no gate world")?;
                Ok(gain.refusal(self.stage.deviations))
            }
            Gate::Ifd => {
                let ((cache, _), conversation) = asked.zip(conversation).context("no model to ask")?;
                let Some(prompt) = self.prompts.of_call(&old.call) else {
                    return Ok(Some("its prompt is not recorded".into()));
                };
                let items = [revision.old_item, revision.new_item];
                let noun = self.stage.item_noun.trim();
                let found = difficulty::ask(cache, conversation, &prompt, items, noun, calls)?;
                let Some(found) = found else { return Ok(Some("the model gave no probabilities".into())) };
                (revision.ifd, revision.r_ifd) = (Some(found.ifd), Some(found.r_ifd));
                Ok(ifd_refusal(found.ifd, found.r_ifd).map(ToOwned::to_owned))
            }
        }
    }

    /// Another candidate for a step; `None` where what is there stays.
    fn proposal(
        &self,
        number: usize,
        at: usize,
        episode: &Trajectory,
        asked: Option<Asked>,
        conversation: Option<&mut (dyn Conversation + '_)>,
        calls: &mut Vec<Arc<Call>>,
    ) -> Result<Option<Proposal>> {
        let step = &episode.steps[at];
        let masked = self.world.rules.repeats != Repeats::Allowed;
        let possible =
            |item: u32| item == step.item || !masked || episode.steps[..at].iter().all(|earlier| earlier.item != item);
        let places: Vec<usize> = (0..step.candidates.len()).filter(|&place| possible(step.candidates[place])).collect();
        let offered: Vec<u32> = places.iter().map(|&place| step.candidates[place]).collect();
        let scores: Vec<f32> = places.iter().filter_map(|&place| step.scores.get(place).copied()).collect();
        let kept =
            |item| Proposal { item, candidates: step.candidates.clone(), scores: step.scores.clone(), call: None };
        let others: Vec<u32> = offered.iter().copied().filter(|&item| item != step.item).collect();
        if others.is_empty() {
            return Ok(None);
        }
        match &self.stage.revise {
            Revise::Grounded(how) => Ok(self.grounded(how, at, episode, &offered, &scores)?.map(kept)),
            Revise::Random(Random { share }) => {
                let mut draw = rng(&[self.stage.seed, DRAW, number as u64, at as u64]);
                let here = match self.places {
                    Some(places) => places.contains(&(number as u32, at as u32)),
                    None => draw.random::<f64>() < *share,
                };
                Ok(here.then(|| kept(others[draw.random_range(0..others.len())])))
            }
            Revise::Llm(critique) => {
                let ((cache, _), conversation) = asked.zip(conversation).context("no model to ask")?;
                let Some(prompt) = self.prompts.of_call(&step.call) else { return Ok(None) };
                let chosen = critique.choose(cache, conversation, &prompt, step.item, &offered, calls)?;
                let Some((place, scores, call)) = chosen.filter(|(place, ..)| offered[*place] != step.item) else {
                    return Ok(None);
                };
                Ok(Some(Proposal { item: offered[place], candidates: offered, scores, call: Some(call) }))
            }
        }
    }

    /// The candidate with the highest J, where it exceeds that of the item which is there.
    fn grounded(
        &self,
        how: &Grounded,
        at: usize,
        episode: &Trajectory,
        offered: &[u32],
        scores: &[f32],
    ) -> Result<Option<u32>> {
        let score = |item: u32| {
            let place = offered.iter().position(|&other| other == item);
            place.and_then(|place| scores.get(place)).map_or(0.0, |&score| f64::from(score))
        };
        let value = |item: u32| -> Result<f64> {
            let played = Played::of(self.world, episode.user, &edited(&episode.steps, at, item))?;
            Ok(played.total() + how.weight * score(item))
        };
        let present = episode.steps[at].item;
        let (mut best, mut highest) = (None, value(present)? + how.min_gain);
        for &item in offered.iter().filter(|&&item| item != present) {
            let value = value(item)?;
            if value > highest {
                (best, highest) = (Some(item), value);
            }
        }
        Ok(best)
    }

    /// The episode with the revision, as `world` plays it.
    fn replaced(&self, episode: &Trajectory, at: usize, proposal: Proposal, played: &Played) -> Trajectory {
        let Proposal { item, candidates, scores, call } = proposal;
        let masked = self.world.rules.repeats != Repeats::Allowed;
        let mut steps = Vec::with_capacity(played.shown.len());
        for (&place, &reward) in played.shown.iter().zip(&played.rewards) {
            let mut step = Step { reward, ..episode.steps[place].clone() };
            if place == at {
                let call = call.clone().unwrap_or(step.call);
                step = Step { item, candidates: candidates.clone(), scores: scores.clone(), call, reward };
            } else if place > at && masked {
                without(&mut step, item);
            }
            steps.push(step);
        }
        Trajectory { user: episode.user, steps, end: played.end }
    }
}

/// Takes an item that was shown before from the candidates of a step.
fn without(step: &mut Step, item: u32) {
    if let Some(place) = step.candidates.iter().position(|&other| other == item) {
        step.candidates.remove(place);
        if place < step.scores.len() {
            step.scores.remove(place);
        }
    }
}

fn items(steps: &[Step]) -> Vec<u32> {
    steps.iter().map(|step| step.item).collect()
}

/// The items with another one at `at`.
fn edited(steps: &[Step], at: usize, item: u32) -> Vec<u32> {
    steps.iter().enumerate().map(|(place, step)| if place == at { item } else { step.item }).collect()
}

/// The cache of a model's answers and what makes conversations with it.
pub(super) type Asked<'r, 'm> = (&'r CachedLlm<'m>, &'r ConversationFactory<'m>);
