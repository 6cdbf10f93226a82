//! Serving: recommendations of a trained policy, outside of any world, for `apprentice recommend`.
//!
//! A policy is served as it is evaluated: greedily, and with repeats where its training world allows them, unless the history is
//! excluded; only the service draws the first item, where it is asked to ([`exploration`]). Ids come from the policy file alone, so the file
//! gives the same answers wherever it lies. Quit distances are not known here. Who is not in the log is answered with the mean of all
//! users' vectors, so from the history alone.

mod exploration;
mod names;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{Error, Result};
use pipeline::recommend::{Answer, Answers, PolicyFacts, RecommendBatch, RecommendQuery, ServedPolicy};
use pipeline::{Artifact, UsageError};

use crate::artifact::{Origin, PolicyFile, Repeats};
use crate::env::{Observation, states};
use crate::nn::{PolicyNetwork, policy_io, top_items};
use exploration::{FirstItem, led_by, place_probabilities};
use names::Names;

/// Queries per forward pass, at most.
const BATCH: usize = 256;
/// Scores per forward pass, at most: 64 MB.
const SCORES: usize = 1 << 24;

/// Reads the policy of a file to answer with.
///
/// # Errors
/// When it cannot be read.
pub fn load(path: &Path) -> Result<Box<dyn ServedPolicy>> {
    let policy = PolicyFile::read(path)?;
    let (mut network, origin, ids) = (policy_io::load(&policy.0)?, policy.origin()?, policy.ids()?);
    let [users, items] = [network.config().users, network.config().items];
    network.add_mean_user()?;
    let names = Names::new(ids, [users, items], origin.added_items);
    Ok(Box::new(Recommender { network, origin, names }))
}

/// A policy in memory. Row U of its users, behind those of the log, is somebody new.
struct Recommender {
    network: Box<dyn PolicyNetwork>,
    origin: Origin,
    names: Names,
}

impl ServedPolicy for Recommender {
    fn answer(&self, batch: &RecommendBatch) -> Result<Answers> {
        let mut answers = Vec::with_capacity(batch.queries.len());
        let seconds = self.each_question(batch, |query, session, scores| {
            let ranked = top_items(scores, session.count);
            let law = FirstItem::new(scores, ranked.first().map(|best| best.0), batch.explore);
            let (chosen, propensities) = match &law {
                None => (ranked, Vec::new()),
                Some(law) => {
                    let first = law.draw(query.draw);
                    let chosen = led_by(first, scores[first as usize], &ranked, session.count);
                    let shown: Vec<Option<u32>> = chosen.iter().map(|&(item, _)| Some(item)).collect();
                    let propensities = place_probabilities(Some(law), &ranked, &shown);
                    (chosen, propensities)
                }
            };
            answers.push(Answer {
                user: query.user.clone(),
                new_user: session.user as usize == self.names.users(),
                note: session.note(chosen.len()),
                items: chosen.into_iter().map(|(item, score)| self.names.item(item, score, batch.rows)).collect(),
                propensities,
            });
        })?;
        Ok(Answers { answers, seconds })
    }

    fn propensities(&self, batch: &RecommendBatch, shown: &[Vec<String>]) -> Result<Vec<Vec<f64>>> {
        // What another policy shows may be none of this one's items.
        let shown = shown.iter().map(|items| items.iter().map(|id| self.names.item_id(id, batch.rows)).collect());
        let mut shown: std::vec::IntoIter<Vec<Option<u32>>> = shown.collect::<Vec<_>>().into_iter();
        let mut found = Vec::with_capacity(batch.queries.len());
        self.each_question(batch, |_, session, scores| {
            let items = shown.next().unwrap_or_default();
            let ranked = top_items(scores, session.count.max(items.len()));
            let law = FirstItem::new(scores, ranked.first().map(|best| best.0), batch.explore);
            found.push(place_probabilities(law.as_ref(), &ranked, &items));
        })?;
        Ok(found)
    }

    fn prepare(&self) {
        self.names.index();
    }

    fn facts(&self) -> PolicyFacts {
        let (users, items) = (self.names.users(), self.network.config().items);
        PolicyFacts { learner: self.origin.learner.clone(), users, items, horizon: self.origin.horizon }
    }
}

impl Recommender {
    /// Scores the questions of a batch, and hands each of them over in its order. Gives the seconds that took.
    fn each_question(
        &self,
        batch: &RecommendBatch,
        mut each: impl FnMut(&RecommendQuery, &Session, &[f32]),
    ) -> Result<f64> {
        let config = self.network.config();
        self.names.prepare(batch)?;
        let exclude = batch.exclude_history || self.origin.repeats != Repeats::Allowed;
        let session = |query: &RecommendQuery| self.session(query, batch, exclude).map_err(at(query));
        let sessions: Vec<Session> = batch.queries.iter().map(session).collect::<Result<_>>()?;

        let begun = Instant::now();
        let mut queries = batch.queries.iter();
        for sessions in sessions.chunks((SCORES / config.items.max(1)).clamp(1, BATCH)) {
            let masking = sessions.iter().any(|session| !session.masked.is_empty());
            let mut observation = Observation { masking, ..Observation::unmasked(config.window) };
            for session in sessions {
                let Session { user, history, rewards, .. } = session;
                // A session that is longer than any it learned from is at its end.
                let first = history.len().saturating_sub(self.origin.horizon.saturating_sub(1));
                let (history, rewards) = (&history[first..], &rewards[first..]);
                observation.push(*user, history, rewards, self.origin.horizon, config.items as u32);
                observation.mask_last(&session.masked);
            }
            let scores = self.network.logits(&states(&self.network, &observation)?)?.flatten_all()?.to_vec1::<f32>()?;
            let rows = scores.chunks_exact(config.items).zip(sessions);
            rows.zip(queries.by_ref()).for_each(|((scores, session), query)| each(query, session, scores));
        }
        Ok(begun.elapsed().as_secs_f64())
    }
}

/// A query in the policy's row numbers.
struct Session {
    /// The number of users where it is somebody new.
    user: u32,
    history: Vec<u32>,
    /// As many as `history`; 0 where they are not known and not read.
    rewards: Vec<f32>,
    /// What may not be recommended, in ascending order: what is excluded, and what is no candidate where there are some.
    masked: Vec<u32>,
    /// How many items are wanted, of as many as there are or candidates.
    count: usize,
    /// How many may be recommended.
    fresh: usize,
}

impl Recommender {
    fn session(&self, query: &RecommendQuery, batch: &RecommendBatch, exclude: bool) -> Result<Session> {
        let items = self.network.config().items;
        let rows = |names: &[String]| -> Result<Vec<u32>> {
            Ok(names.iter().map(|name| self.names.item_row(name, batch.rows)).collect::<Result<_, UsageError>>()?)
        };
        let history = rows(&query.history)?;
        let user = match &query.user {
            None => self.names.users() as u32,
            Some(user) => self.names.user_row(user, batch)?,
        };
        let rewards = self.rewards(query)?;
        let excluded: BTreeSet<u32> =
            history.iter().filter(|_| exclude).copied().chain(rows(&query.exclude)?).collect();
        let candidates: Option<BTreeSet<u32>> =
            query.candidates.as_ref().map(|names| rows(names)).transpose()?.map(|rows| rows.into_iter().collect());
        let masked: Vec<u32> = match &candidates {
            None => excluded.into_iter().collect(),
            Some(candidates) => {
                (0..items as u32).filter(|item| excluded.contains(item) || !candidates.contains(item)).collect()
            }
        };
        let fresh = items - masked.len();
        if fresh == 0 {
            return Err(UsageError(match &candidates {
                Some(candidates) => format!(
                    "none of the {} candidates may be recommended: they are excluded, or in the history, which is excluded\nhelp: give \
                     other candidates, or exclude less",
                    candidates.len()
                ),
                None if query.exclude.is_empty() => format!(
                    "all {items} items of the policy's catalogue are in the history, which is excluded\nhelp: give a shorter \
                     history: the items of this session alone"
                ),
                None => format!("all {items} items of the policy's catalogue are excluded\nhelp: exclude less"),
            })
            .into());
        }
        let count = query.top_k.unwrap_or(batch.count).min(candidates.map_or(items, |candidates| candidates.len()));
        Ok(Session { user, history, rewards, masked, count, fresh })
    }

    fn rewards(&self, query: &RecommendQuery) -> Result<Vec<f32>, UsageError> {
        let (items, earned) = (query.history.len(), query.rewards.len());
        let reads = self.network.config().encoder.reads_rewards();
        if earned == items {
            return Ok(query.rewards.clone());
        }
        if earned == 0 && !reads {
            return Ok(vec![0.0; items]);
        }
        let help = match reads {
            true => "this policy reads the reward of each item of the history: give",
            false => "this policy does not read rewards: leave them out, or give",
        };
        let whose = query.user.as_ref().map_or_else(|| "a new user".to_owned(), |user| format!("user {user:?}"));
        Err(UsageError(format!(
            "{whose}: the history has {items} {} and {earned} {}\nhelp: {help} one reward an item, in the same order (`rewards` \
             beside `history` in a question; `--reward` for each `--history` of `apprentice recommend`)",
            if items == 1 { "item" } else { "items" },
            if earned == 1 { "reward" } else { "rewards" }
        )))
    }
}

impl Session {
    /// Why there are no more than `found` items.
    fn note(&self, found: usize) -> Option<String> {
        let wanted = self.count;
        match found {
            _ if found < wanted.min(self.fresh) => {
                Some(format!("{found} instead of {wanted}: the policy allows no other item in this state"))
            }
            _ if found < wanted => Some(format!("{found} instead of {wanted}: the others are excluded")),
            _ => None,
        }
    }
}

/// Adds to an error the place of its query in a batch file.
fn at(query: &RecommendQuery) -> impl FnOnce(Error) -> Error {
    let place = query.place.clone();
    |error| match place {
        Some(place) => error.context(place),
        None => error,
    }
}

#[cfg(test)]
mod tests;
