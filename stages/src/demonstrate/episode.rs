//! One user's episode: retrieve candidates, let the model choose, see what the user does.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::desk::Desk;
use super::prompt::Prompt;
use crate::artifact::{Call, Choice, Rankings, Trajectory, World};
use crate::env::{Episodes, candidates};
use crate::llm::Player;

/// What all episodes of a stage share.
pub(super) struct Table<'a> {
    pub world: &'a World,
    pub rankings: &'a Rankings,
    pub prompt: &'a Prompt,
    pub desk: &'a Desk<'a>,
    /// How many candidates the model sees.
    pub candidates: usize,
    /// Asked before each decision; `false` where somebody else's failure ends this episode too.
    pub go_on: &'a (dyn Fn() -> Result<bool> + Sync),
    /// Told after each decision.
    pub decided: &'a (dyn Fn() + Sync),
}

/// A finished episode.
pub(super) struct Played {
    pub trajectory: Trajectory,
    /// Every call that it used, in the order of use.
    pub calls: Vec<Arc<Call>>,
    /// The first answer that named no candidate, and how many there were.
    pub unread: Option<(Arc<Call>, usize)>,
}

impl Table<'_> {
    /// Plays `user`'s whole episode; `liked` are the items that the prompt names as favourites. `None` when it was told not
    /// to go on.
    pub fn play(&self, user: u32, liked: &[u32], player: &mut dyn Player) -> Result<Option<Played>> {
        let mut episodes = Episodes::new(self.world, &[user]);
        let begin = self.prompt.begin(liked)?;
        let mut shown: Vec<String> = Vec::new();
        let (mut steps, mut calls, mut unread) = (Vec::new(), Vec::new(), None);
        let end = loop {
            if let Some(end) = episodes.end(0) {
                break end;
            }
            if !(self.go_on)()? {
                return Ok(None);
            }
            let candidates = candidates(&episodes, 0, self.rankings, self.candidates)?;
            let request = self.prompt.request(&begin, &shown, &candidates);
            let (reading, used) = self.desk.choose(player, &request)?;
            let call = used[0].clone();
            let item = candidates[reading.index.unwrap_or(0)];
            if reading.index.is_none() {
                unread.get_or_insert((call.clone(), 0)).1 += 1;
            }
            episodes.step(&[0], &[item])?;
            let reward = *episodes.rewards(0).last().context("a step without a reward")?;
            shown.push(self.prompt.shown(item, reward)?);
            steps.push(Choice { item, reward, candidates, scores: reading.scores, call: call.key.clone() });
            calls.extend(used);
            (self.decided)();
        };
        Ok(Some(Played { trajectory: Trajectory { user, steps, end }, calls, unread }))
    }
}
