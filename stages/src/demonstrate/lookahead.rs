//! Search with a model of the user: a tree of imagined turns, a few candidates wide and a few turns deep.
//!
//! At each turn of an episode the search proposes the retriever's candidates, imagines the model's answer to each, follows the best
//! `width` of them, and so on to `depth`. With the imagined reward r̂ and the prior π over the candidates of a turn, a path is worth
//!
//! Σ_{t < d} γ^t·(r̂_t + α·ln π_t) + γ^d·V(leaf)
//!
//! over its d turns: `depth`, or fewer where the imagined user leaves. The first item of the best path is recommended, and the
//! next turn is searched anew. After SLINVIT (Zhang et al., arXiv 2402.16181): what it adds up as two lists is added up by element here.
//! At full width and depth, α 0 and γ 1 the search is exact: it finds the best sequence of candidates.

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Candidates, World};
use crate::env::ImaginedEpisode;

/// Nodes of one tree: of a search that asks a language model each is a call.
const MAX_NODES: u64 = 1000;

/// The value of an imagined turn at which the search ends although the user stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeafValue {
    /// 0: only the imagined turns of the path count.
    #[default]
    Zero,
    /// The discounted rewards of a greedy episode from there to its end in `model`: at each turn the candidate of the highest reward
    /// among those at which the user stays, or of all where there is none. It asks no language model.
    Greedy,
}

/// The prior of a tree.
pub(super) trait Prior {
    /// ln π of each of `candidates` after these imagined items and rewards.
    fn log_probabilities(&mut self, imagined: &[(u32, f32)], candidates: &[u32]) -> Result<Vec<f64>>;
}

/// The prior that asks nobody: ln π = −ln n of n candidates.
pub(super) struct Uniform;

impl Prior for Uniform {
    fn log_probabilities(&mut self, _: &[(u32, f32)], candidates: &[u32]) -> Result<Vec<f64>> {
        Ok(uniform(candidates.len()))
    }
}

/// ln π of each of `count` candidates that are equally likely.
pub(super) fn uniform(count: usize) -> Vec<f64> {
    vec![-(count as f64).ln(); count]
}

/// ln of the softmax of `scores`.
pub(super) fn log_softmax(scores: &[f32]) -> Vec<f64> {
    let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = scores.iter().map(|score| f64::from(score - high).exp()).sum();
    scores.iter().map(|score| f64::from(score - high) - total.ln()).collect()
}

/// How a tree grows.
pub(super) struct Lookahead<'a> {
    /// What is proposed at imagined turns.
    pub candidates: &'a Candidates,
    /// How many of them.
    pub n_candidates: usize,
    pub width: usize,
    pub depth: usize,
    /// Weight of the prior.
    pub alpha: f64,
    pub gamma: f64,
    pub leaf_value: LeafValue,
}

/// Ranges of the settings of a tree that no type expresses.
pub(super) fn check(width: usize, depth: usize, n_candidates: usize, gamma: f64) -> Result<(), (String, String)> {
    let wrong = |path: &str, wanted: String| Err((path.to_owned(), wanted));
    if width == 0 {
        return wrong("width", "at least one candidate is followed".into());
    }
    if depth == 0 {
        return wrong("depth", "at least one turn is imagined".into());
    }
    if !(gamma > 0.0 && gamma <= 1.0) {
        return wrong("gamma", "a discount above 0, at most 1".into());
    }
    let nodes = nodes(width, depth, n_candidates);
    if nodes > MAX_NODES {
        return wrong(
            "depth",
            format!("a narrower or shallower tree: it has {nodes} nodes a turn, the limit is {MAX_NODES}"),
        );
    }
    Ok(())
}

/// Whether the users and items of the model are those of the world.
pub(super) fn check_model(model: &World, world: &World) -> Result<()> {
    let (own, others) = ((model.users(), model.items()), (world.users(), world.items()));
    ensure!(
        own == others,
        "the world at `model` has {} users and {} items, the one at `world` {} and {}\nhelp: make both from one ingest stage",
        own.0,
        own.1,
        others.0,
        others.1
    );
    Ok(())
}

/// The most nodes of a tree whose candidates are imagined: 1 + w + w² + …, `depth` terms.
pub(super) fn nodes(width: usize, depth: usize, n_candidates: usize) -> u64 {
    let width = width.min(n_candidates) as u64;
    // What is beyond the limit need not be counted.
    let layers = std::iter::successors(Some(1_u64), |layer| Some(layer.saturating_mul(width)));
    layers.take(depth.min(MAX_NODES as usize + 1)).fold(0, u64::saturating_add)
}

impl Lookahead<'_> {
    /// The value of the best path that begins with each of `candidates`, at the turn that `history` has come to; −∞ of candidates
    /// that were not followed.
    pub fn values(
        &self,
        history: &ImaginedEpisode,
        candidates: &[u32],
        log_prior: &[f64],
        prior: &mut dyn Prior,
    ) -> Result<Vec<f64>> {
        self.expand(history, candidates, log_prior, &mut Vec::new(), self.depth, prior)
    }

    fn expand(
        &self,
        node: &ImaginedEpisode,
        candidates: &[u32],
        log_prior: &[f64],
        imagined: &mut Vec<(u32, f32)>,
        depth: usize,
        prior: &mut dyn Prior,
    ) -> Result<Vec<f64>> {
        let mut values = Vec::with_capacity(candidates.len());
        let mut next = Vec::with_capacity(candidates.len());
        for (&item, &log_prior) in candidates.iter().zip(log_prior) {
            let (reward, end) = node.answer(item)?;
            let own = f64::from(reward) + self.alpha * log_prior;
            let stays = end.is_none().then(|| node.after(item, reward));
            let leaf = stays.as_ref().map_or(Ok(0.0), |stays| self.leaf(stays))?;
            values.push(own + self.gamma * leaf);
            next.push(stays.map(|stays| (stays, own, reward)));
        }
        if depth == 1 {
            return Ok(values);
        }
        // A stable sort: of equal candidates the retriever's earlier ones are followed.
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        for &place in order.iter().skip(self.width) {
            values[place] = f64::NEG_INFINITY;
        }
        order.truncate(self.width);
        order.sort_unstable();
        for place in order {
            let Some((stays, own, reward)) = &next[place] else { continue };
            let further = stays.next_candidates(self.candidates, self.n_candidates);
            // A list that is exhausted ends the path; it is worth what its leaf is.
            if further.is_empty() {
                continue;
            }
            imagined.push((candidates[place], *reward));
            let log_prior = prior.log_probabilities(imagined, &further)?;
            let values_there = self.expand(stays, &further, &log_prior, imagined, depth - 1, prior)?;
            imagined.pop();
            values[place] = own + self.gamma * values_there[best(&values_there)];
        }
        Ok(values)
    }

    /// V of a history at which the user is still there.
    fn leaf(&self, history: &ImaginedEpisode) -> Result<f64> {
        if self.leaf_value == LeafValue::Zero {
            return Ok(0.0);
        }
        let (mut here, mut total, mut discount) = (history.clone(), 0.0, 1.0);
        loop {
            let offers = here.next_candidates(self.candidates, self.n_candidates);
            let mut chosen: Option<(u32, f32, bool)> = None;
            for item in offers {
                let (reward, end) = here.answer(item)?;
                let stays = end.is_none();
                if chosen.is_none_or(|(_, best, stayed)| (stays, reward) > (stayed, best)) {
                    chosen = Some((item, reward, stays));
                }
            }
            let Some((item, reward, stays)) = chosen else { return Ok(total) };
            total += discount * f64::from(reward);
            if !stays {
                return Ok(total);
            }
            discount *= self.gamma;
            here = here.after(item, reward);
        }
    }
}

/// The place of the highest value, the first of equal ones.
pub(super) fn best(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, place| if values[place] > values[best] { place } else { best })
}

#[cfg(test)]
#[path = "lookahead_tests.rs"]
mod tests;
