//! Advantages that are shaped by a memory of good sessions.
//!
//! Ã = η·Â + ξ·U, U ≥ 0 the utility of a step by its best match in the memory (see `rl::memory`); at update t of T
//!   ξ = min(ξ₀·max(0, 1 − t/(f·T)), δ·η),  η = 1 − d·max(0, 1 − t/(f·T))
//!
//! Memory-based advantage shaping (arXiv 2602.17931) and MIRA (2602.17930), from which the bound ξ ≤ δη is; values after them, where
//! their own could not be read. Ã takes the place of Â in the policy's loss alone: PPO minimises −mean(min(ρÃ, clip(ρ)Ã)), and
//! rewards and the critic's targets stay. From f·T on the advantage is the plain one, and the memory is neither asked nor grown.
//! Left out: asking a language model while learning when U stays near 0, because a learner depends on its artifacts alone,
//! and the penalty of what the model discourages.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use pipeline::Requirement;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::correlation::correlation;
use super::learner::UpdateMetrics;
use super::memory::{Match, TrajectoryMemory};
use super::validation::{self, Validation};
use crate::artifact::{Array, MemoryGraph, World};

/// Updates whose episodes say what a good return is.
const RECENT: usize = 10;

/// How a memory graph shapes the advantages; without a connected `memory` nothing is shaped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shaping {
    /// ξ₀: initial weight of the utility U in Ã = ηÂ + ξU, in [0, 1].
    pub initial_weight: f64,
    /// f: share of the training after which ξ is 0, in (0, 1]; it falls linearly.
    pub decay_fraction: f64,
    /// d: by how much η is below 1 at the beginning, in [0, 1]; it rises to 1 as ξ falls.
    pub advantage_reduction: f64,
    /// δ: ξ is at most δ·η, in [0, 1]; MIRA's bound.
    pub max_ratio: f64,
    /// Of the returns of the last ten updates' episodes, the quantile from which on an episode is good and its steps are added, in [0, 1].
    pub good_quantile: f64,
    /// Updates for which a node stays without matching a step.
    pub prune_after: u32,
    /// Largest number of nodes, with each of which every step is compared; where it is full, a new node replaces the one of least
    /// value.
    pub capacity: usize,
    /// What is told in the place of the memory, for comparison.
    pub control: MemoryControl,
}

/// Controls of a memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemoryControl {
    /// The memory itself.
    #[default]
    None,
    /// The returns r̂ are exchanged among the nodes: matches stay, and what they are worth is another node's.
    Shuffled,
    /// U is the same for all steps of an update: its mean.
    Constant,
}

impl Default for Shaping {
    fn default() -> Self {
        Self {
            initial_weight: 0.5,
            decay_fraction: 0.5,
            advantage_reduction: 0.3,
            max_ratio: 0.9,
            good_quantile: 0.8,
            prune_after: 50,
            capacity: 2000,
            control: MemoryControl::None,
        }
    }
}

impl Shaping {
    /// Whether nothing is set, which leaves it out of a stage's key.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What no type can say.
    pub fn check(&self) -> Validation {
        validation::fraction("initial_weight", self.initial_weight)?;
        validation::fraction("decay_fraction", self.decay_fraction)?;
        validation::positive("decay_fraction", self.decay_fraction, "the weight falls for some time")?;
        validation::fraction("advantage_reduction", self.advantage_reduction)?;
        validation::fraction("max_ratio", self.max_ratio)?;
        validation::fraction("good_quantile", self.good_quantile)?;
        validation::at_least_one("capacity", self.capacity, "a memory holds at least one node")
    }

    /// The port without which these settings do nothing.
    #[must_use]
    pub fn requirement(&self) -> Option<Requirement> {
        (!self.is_default()).then(|| Requirement {
            setting: "shaping",
            port: "memory",
            connected: true,
            why: "advantages are shaped by a memory".to_owned(),
            help: "connect the memory of a `memory_graph` stage, or leave `shaping` out",
        })
    }

    /// ξ and η at an update of so many.
    fn weights(&self, update: u64, updates: u64) -> [f32; 2] {
        let left = (1.0 - update as f64 / (self.decay_fraction * updates as f64)).max(0.0);
        // Without a weight nothing is taken from the advantage.
        let eta = if self.initial_weight > 0.0 { 1.0 - self.advantage_reduction * left } else { 1.0 };
        let xi = (self.initial_weight * left).min(self.max_ratio * eta);
        [xi as f32, eta as f32]
    }
}

/// A memory at work in a training.
pub struct Shaper {
    config: Shaping,
    updates: u64,
    seed: u64,
    memory: TrajectoryMemory,
    /// Training returns of the last episodes, oldest first.
    returns: Vec<f32>,
}

impl Shaper {
    /// With that graph, for a training of so many updates in that world; nothing without a graph.
    ///
    /// # Errors
    /// When the graph is of another world, or too large.
    pub fn optional(
        config: &Shaping,
        graph: Option<&MemoryGraph>,
        world: &World,
        updates: u64,
        seed: u64,
    ) -> Result<Option<Self>> {
        let Some(graph) = graph else { return Ok(None) };
        let memory = TrajectoryMemory::new(graph, world, config.capacity)?;
        Ok(Some(Self { config: config.clone(), updates, seed, memory, returns: vec![] }))
    }

    /// Ã of the steps of the first `episodes` of `batch` from their `advantages [S]`, and what the memory did; then the memory grows by
    /// these episodes. `truth [S]` are the steps' true advantages.
    pub fn shape(
        &mut self,
        update: u64,
        batch: &Batch,
        episodes: usize,
        advantages: &[f32],
        truth: impl FnOnce() -> Vec<f32>,
    ) -> Result<(Vec<f32>, UpdateMetrics)> {
        let [xi, eta] = self.config.weights(update, self.updates);
        if xi == 0.0 && eta == 1.0 {
            return Ok((advantages.to_vec(), vec![("shaping_ratio", 0.0)]));
        }
        let matches = self.memory.matches(batch, episodes)?;
        let utilities = self.utilities(&matches);
        let shaped = combined(advantages, &utilities, [xi, eta]);
        let size = |of: &[f32]| of.iter().map(|&x| f64::from(x).abs()).sum::<f64>() / of.len().max(1) as f64;
        let ratio = f64::from(xi) * size(&utilities) / size(&advantages[..utilities.len()]).max(f64::MIN_POSITIVE);
        let used = utilities.iter().filter(|&&u| u != 0.0).count() as f64 / utilities.len().max(1) as f64;
        let [nodes, agents] = [|_: bool| true, |agent: bool| agent]
            .map(|counted| self.memory.nodes().iter().filter(|node| counted(node.agent)).count() as f64);
        let series = vec![
            ("shaping_ratio", ratio),
            ("utility", size(&utilities)),
            ("utility_share", used),
            ("utility_correlation", correlation(&utilities, &truth())),
            ("memory_nodes", nodes),
            ("memory_agent_nodes", agents),
        ];
        self.learn(batch, episodes, &matches, update as u32);
        Ok((shaped, series))
    }

    /// U of each step, under the control.
    fn utilities(&self, matches: &[Option<Match>]) -> Vec<f32> {
        let nodes = self.memory.nodes();
        let values = match self.config.control {
            MemoryControl::Shuffled => self.memory.shuffled_values(self.seed),
            MemoryControl::None | MemoryControl::Constant => nodes.iter().map(|node| node.value).collect(),
        };
        let of = |found: &Match| nodes[found.node].confidence * values[found.node] * found.similarity;
        let utilities: Vec<f32> = matches.iter().map(|found| found.as_ref().map_or(0.0, of)).collect();
        if self.config.control != MemoryControl::Constant {
            return utilities;
        }
        let sum: f64 = utilities.iter().map(|&u| f64::from(u)).sum();
        vec![(sum / utilities.len().max(1) as f64) as f32; utilities.len()]
    }

    /// Marks the nodes that were used, adds good episodes, and forgets what nothing matched for long.
    fn learn(&mut self, batch: &Batch, episodes: usize, matches: &[Option<Match>], update: u32) {
        self.memory.touch(matches, update);
        let mut rewards = batch.training_rewards.iter();
        let returns: Vec<f32> =
            batch.lengths[..episodes].iter().map(|&length| rewards.by_ref().take(length).sum()).collect();
        self.returns.extend(&returns);
        self.returns.drain(..self.returns.len().saturating_sub(RECENT * episodes));
        let mut sorted = self.returns.clone();
        sorted.sort_by(f32::total_cmp);
        let place = (self.config.good_quantile * sorted.len().saturating_sub(1) as f64).ceil() as usize;
        let least = sorted.get(place).copied().unwrap_or(f32::INFINITY);
        let good: Vec<bool> = returns.iter().map(|&total| total >= least).collect();
        self.memory.grow(batch, &good, update);
        self.memory.prune(update, self.config.prune_after);
    }

    /// For a checkpoint.
    #[must_use]
    pub fn extra_state(&self) -> BTreeMap<String, Array> {
        let returns = Array::new(&[self.returns.len()], self.returns.clone());
        [("memory.nodes".to_owned(), self.memory.table()), ("memory.returns".to_owned(), returns)].into()
    }

    /// From a checkpoint.
    ///
    /// # Errors
    /// When it holds no such memory.
    pub fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        let array = |name: &str| state.get(name).with_context(|| format!("no {name} in the checkpoint"));
        self.returns = array("memory.returns")?.data.clone();
        self.memory.restore(array("memory.nodes")?)
    }
}

/// As [`Shaper::shape`]; without a memory the advantages as they are, and nothing to say.
pub fn shaped(
    shaper: &mut Option<Shaper>,
    update: u64,
    batch: &Batch,
    episodes: usize,
    advantages: &[f32],
    truth: impl FnOnce() -> Vec<f32>,
) -> Result<(Vec<f32>, UpdateMetrics)> {
    match shaper {
        Some(shaper) => shaper.shape(update, batch, episodes, advantages, truth),
        None => Ok((advantages.to_vec(), vec![])),
    }
}

/// ηÂ + ξU of the steps that have a utility; those behind them keep their advantages.
fn combined(advantages: &[f32], utilities: &[f32], [xi, eta]: [f32; 2]) -> Vec<f32> {
    let (played, others) = advantages.split_at(utilities.len());
    let played = played.iter().zip(utilities).map(|(a, u)| eta * a + xi * u);
    played.chain(others.iter().copied()).collect()
}

#[cfg(test)]
mod tests;
