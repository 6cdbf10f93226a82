//! A memory graph while an agent learns: it is asked for the best match of each step, grows by good sessions, and forgets.
//!
//! U = c·r̂·ρ·sim of the best match, with ρ the Jaccard index of the tags (goals and subgoal) of step and node, and
//! sim = max(0, cos(s, s′))·max(0, cos(x_a, x_a′))
//!
//! s is \[v_u, mean of the x of the last items\], each part of length 1, where no item at all is a direction of its own; v and x are
//! the world's vectors. The best match has the largest ρ·sim, of equals the largest c·r̂, of equals the first; a step that nothing
//! matches has none.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::{Device, Tensor};
use rand::RngExt;
use rayon::prelude::*;

use super::batch::Batch;
use crate::artifact::{Array, MemoryGraph, MemoryNode, MemoryPlace, MemoryScale, World};
use crate::nn::rng;

/// The nodes with what is needed to match them.
pub struct TrajectoryMemory {
    scale: MemoryScale,
    capacity: usize,
    /// v, each of length 1 or 0.
    users: Vec<Vec<f32>>,
    /// x, as it is and of length 1.
    items: Array,
    unit_items: Vec<Vec<f32>>,
    /// The goals of each item as bits.
    goals: Vec<Vec<u64>>,
    /// Where the bits of subgoals begin.
    subgoals_from: usize,
    nodes: Vec<MemoryNode>,
    /// Which number each node had among all that ever came.
    arrivals: Vec<u32>,
}

/// The best match of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Which node.
    pub node: usize,
    /// ρ·sim, above 0.
    pub similarity: f32,
}

impl TrajectoryMemory {
    /// The memory of a graph in that world.
    ///
    /// # Errors
    /// When the graph is of another catalogue or horizon, or has more nodes than `capacity`.
    pub fn new(graph: &MemoryGraph, world: &World, capacity: usize) -> Result<Self> {
        graph.check_world(world)?;
        let nodes: Vec<MemoryNode> = graph.nodes.iter().map(|n| MemoryNode { last_used: 0, ..n.clone() }).collect();
        ensure!(
            nodes.len() <= capacity,
            "the memory has {} nodes, and `shaping.capacity` is {capacity}\nhelp: raise it, or lower `capacity` of the stage that made \
             the memory",
            nodes.len()
        );
        let rows = |array: &Array, count: usize| (0..count).map(|row| unit(array.row(row))).collect();
        let words = (graph.goals.len() + 3).div_ceil(64);
        let bits = |served: &Vec<u32>| {
            let mut bits = vec![0; words];
            served.iter().for_each(|&goal| set(&mut bits, goal as usize));
            bits
        };
        Ok(Self {
            scale: graph.scale,
            capacity,
            users: rows(&world.user_vectors, world.users()),
            items: world.item_vectors.clone(),
            unit_items: rows(&world.item_vectors, world.items()),
            goals: graph.items.iter().map(|(_, served)| bits(served)).collect(),
            subgoals_from: graph.goals.len(),
            arrivals: (0..nodes.len() as u32).collect(),
            nodes,
        })
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[MemoryNode] {
        &self.nodes
    }

    /// The best match of each step of the first `episodes` of `batch`, `[S]`.
    pub fn matches(&self, batch: &Batch, episodes: usize) -> Result<Vec<Option<Match>>> {
        let played = self.steps(batch, episodes);
        let (steps, nodes) = (played.len(), self.nodes.len());
        if nodes == 0 || steps == 0 {
            return Ok(vec![None; steps]);
        }
        // One product for all pairs of steps and nodes: states, then items.
        let products = |of: &dyn Fn(&MemoryNode) -> Vec<f32>| -> Result<Vec<f32>> {
            let table = |of_nodes: &[MemoryNode]| {
                let rows: Vec<f32> = of_nodes.iter().flat_map(of).collect();
                let width = rows.len() / of_nodes.len();
                Tensor::from_vec(rows, (of_nodes.len(), width), &Device::Cpu)
            };
            Ok(table(&played)?.matmul(&table(&self.nodes)?.t()?)?.flatten_all()?.to_vec1()?)
        };
        let states = products(&|step| self.state(step))?;
        let items = products(&|step| self.unit_items[step.item as usize].clone())?;
        let tagged: Vec<Vec<u64>> = self.nodes.iter().map(|node| self.tags(node)).collect();
        let best = |row: usize| {
            let tags = self.tags(&played[row]);
            let mut best: Option<Match> = None;
            for (node, others) in tagged.iter().enumerate() {
                let at = row * nodes + node;
                if states[at] <= 0.0 || items[at] <= 0.0 {
                    continue;
                }
                let similarity = rounded(jaccard(&tags, others) * states[at] * items[at]);
                let better = best.is_none_or(|found| {
                    let equal = similarity == found.similarity;
                    similarity > found.similarity
                        || (equal && self.nodes[node].worth() > self.nodes[found.node].worth())
                });
                if similarity > 0.0 && better {
                    best = Some(Match { node, similarity });
                }
            }
            best
        };
        Ok((0..steps).into_par_iter().map(best).collect())
    }

    /// For each node the r̂ of the next one in an order that the seed draws: a control that keeps the values and breaks what they are
    /// of. Nodes keep their places in the order while others come and go.
    #[must_use]
    pub fn shuffled_values(&self, seed: u64) -> Vec<f32> {
        let drawn = |node: &usize| rng(&[seed, 0x5fff, u64::from(self.arrivals[*node])]).random::<u64>();
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by_cached_key(drawn);
        let mut values = vec![0.0; order.len()];
        for (place, &node) in order.iter().enumerate() {
            values[node] = self.nodes[order[(place + 1) % order.len()]].value;
        }
        values
    }

    /// Notes that an update used these nodes.
    pub fn touch(&mut self, matches: &[Option<Match>], update: u32) {
        for found in matches.iter().flatten() {
            self.nodes[found.node].last_used = update;
        }
    }

    /// Adds the steps of the episodes that are `good`, `[E]`, the first of `batch`. A step of higher return takes the place of the node that
    /// it equals in user, state, third of the session and item; where the memory is full, a new one that of the node of least c·r̂, if
    /// it has more.
    pub fn grow(&mut self, batch: &Batch, good: &[bool], update: u32) {
        let steps = self.steps(batch, good.len());
        let mut places: BTreeMap<MemoryPlace, usize> =
            self.nodes.iter().enumerate().map(|(at, node)| (node.place(&self.scale), at)).collect();
        let whose = batch.lengths.iter().zip(good).flat_map(|(&length, &good)| std::iter::repeat_n(good, length));
        for (step, _) in steps.into_iter().zip(whose).filter(|(_, good)| *good) {
            self.insert(MemoryNode { last_used: update, ..step }, &mut places);
        }
    }

    fn insert(&mut self, node: MemoryNode, places: &mut BTreeMap<MemoryPlace, usize>) {
        let place = node.place(&self.scale);
        if let Some(&at) = places.get(&place) {
            if node.return_to_go > self.nodes[at].return_to_go {
                self.nodes[at] = node;
            }
            return;
        }
        let arrival = self.arrivals.iter().max().map_or(0, |last| last + 1);
        if self.nodes.len() < self.capacity {
            places.insert(place, self.nodes.len());
            self.nodes.push(node);
            self.arrivals.push(arrival);
            return;
        }
        let order = |&a: &usize, &b: &usize| {
            let [one, other] = [&self.nodes[a], &self.nodes[b]];
            one.worth().total_cmp(&other.worth()).then(one.last_used.cmp(&other.last_used))
        };
        let least = (0..self.nodes.len()).min_by(order);
        if let Some(at) = least.filter(|&at| node.worth() > self.nodes[at].worth()) {
            places.remove(&self.nodes[at].place(&self.scale));
            places.insert(place, at);
            (self.nodes[at], self.arrivals[at]) = (node, arrival);
        }
    }

    /// Removes the nodes that no step matched for more than `updates`.
    pub fn prune(&mut self, update: u32, updates: u32) {
        let kept = |node: &MemoryNode| update.saturating_sub(node.last_used) <= updates;
        let nodes = self.nodes.drain(..).zip(self.arrivals.drain(..)).filter(|(node, _)| kept(node));
        let (nodes, arrivals) = nodes.unzip();
        (self.nodes, self.arrivals) = (nodes, arrivals);
    }

    /// The steps of the first `episodes` as nodes of the agent.
    fn steps(&self, batch: &Batch, episodes: usize) -> Vec<MemoryNode> {
        let mut steps = Vec::new();
        let mut start = 0;
        for &length in &batch.lengths[..episodes] {
            let (items, rewards) =
                (&batch.actions[start..start + length], &batch.training_rewards[start..start + length]);
            let mut returns = vec![0.0_f64; length + 1];
            for turn in (0..length).rev() {
                returns[turn] = f64::from(rewards[turn]) + self.scale.gamma * returns[turn + 1];
            }
            for turn in 0..length {
                let return_to_go = returns[turn] as f32;
                steps.push(MemoryNode {
                    user: batch.observation.user[start + turn],
                    turn: turn as u32,
                    recent: items[..turn].iter().rev().take(self.scale.window).copied().collect(),
                    item: items[turn],
                    return_to_go,
                    value: self.scale.value(return_to_go),
                    confidence: 1.0,
                    agent: true,
                    last_used: 0,
                });
            }
            start += length;
        }
        steps
    }

    /// s, of length 1.
    fn state(&self, step: &MemoryNode) -> Vec<f32> {
        let width = self.items.shape[1];
        let mut history = vec![0.0; width + 1];
        for &item in &step.recent {
            history.iter_mut().zip(self.items.row(item as usize)).for_each(|(sum, x)| *sum += x);
        }
        history[width] = f32::from(u8::from(step.recent.is_empty()));
        let mut state = self.users[step.user as usize].clone();
        state.extend(unit(&history));
        unit(&state)
    }

    /// Goals and subgoal as bits.
    fn tags(&self, step: &MemoryNode) -> Vec<u64> {
        let mut bits = self.goals[step.item as usize].clone();
        set(&mut bits, self.subgoals_from + self.scale.subgoal(step.turn));
        bits
    }

    /// The nodes as one table of a checkpoint, `[M, 9 + W]`: arrival, user, turn, item, return, value, confidence, source, last use, and
    /// the recent items, −1 where there is none.
    #[must_use]
    pub fn table(&self) -> Array {
        let width = 9 + self.scale.window;
        let mut data = Vec::with_capacity(self.nodes.len() * width);
        for (node, &arrival) in self.nodes.iter().zip(&self.arrivals) {
            let [user, turn, item, last_used] = [node.user, node.turn, node.item, node.last_used].map(|n| n as f32);
            data.extend([arrival as f32, user, turn, item, node.return_to_go, node.value, node.confidence]);
            data.extend([f32::from(u8::from(node.agent)), last_used]);
            data.extend(
                node.recent.iter().map(|&item| item as f32).chain(std::iter::repeat(-1.0)).take(self.scale.window),
            );
        }
        Array::new(&[self.nodes.len(), width], data)
    }

    /// Goes back to such a table.
    ///
    /// # Errors
    /// When it is of another window.
    pub fn restore(&mut self, table: &Array) -> Result<()> {
        let width = 9 + self.scale.window;
        ensure!(table.shape.len() == 2 && table.shape[1] == width, "the memory in the checkpoint is {:?}", table.shape);
        (self.nodes, self.arrivals) = (Vec::new(), Vec::new());
        for row in (0..table.shape[0]).map(|row| table.row(row)) {
            let (named, recent) = row.split_at_checked(9).context("a node of the memory is cut off")?;
            self.arrivals.push(named[0] as u32);
            self.nodes.push(MemoryNode {
                user: named[1] as u32,
                turn: named[2] as u32,
                item: named[3] as u32,
                return_to_go: named[4],
                value: named[5],
                confidence: named[6],
                agent: named[7] > 0.0,
                last_used: named[8] as u32,
                recent: recent.iter().take_while(|item| **item >= 0.0).map(|&item| item as u32).collect(),
            });
        }
        Ok(())
    }
}

/// Of length 1; 0 stays 0.
fn unit(values: &[f32]) -> Vec<f32> {
    let length = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    values.iter().map(|&x| (f64::from(x) * scale) as f32).collect()
}

/// To 16 bits, so that equal states are equally similar however their sums round.
fn rounded(similarity: f32) -> f32 {
    (similarity * 65536.0).round() / 65536.0
}

fn set(bits: &mut [u64], bit: usize) {
    bits[bit / 64] |= 1 << (bit % 64);
}

/// How many bits both have, over how many either has.
fn jaccard(one: &[u64], other: &[u64]) -> f32 {
    let count = |of: fn(u64, u64) -> u64| one.iter().zip(other).map(|(&a, &b)| of(a, b).count_ones()).sum::<u32>();
    let either = count(|a, b| a | b);
    if either == 0 { 0.0 } else { count(|a, b| a & b) as f32 / either as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    /// Three clusters of two items; clusters 0 and 1 serve goal 0 and cluster 2 goal 1; user 1 is of another kind than users 0 and 2.
    fn world() -> World {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 6, 3);
        world.user_vectors.data = vec![1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 3.0, 0.0, 0.0];
        world
    }

    fn node(user: u32, turn: u32, recent: &[u32], item: u32, value: f32) -> MemoryNode {
        let recent = recent.to_vec();
        let return_to_go = 10.0 * value;
        MemoryNode { user, turn, recent, item, return_to_go, value, confidence: 1.0, agent: false, last_used: 0 }
    }

    fn memory(nodes: Vec<MemoryNode>, capacity: usize) -> TrajectoryMemory {
        let goals = |item: u32| vec![u32::from(item >= 4)];
        let graph = MemoryGraph {
            goals: vec!["a".into(), "b".into()],
            items: (0..6).map(|item| (item.to_string(), goals(item))).collect(),
            nodes,
            scale: MemoryScale { window: 2, horizon: 6, gamma: 1.0, low: 0.0, high: 10.0 },
        };
        TrajectoryMemory::new(&graph, &world(), capacity).unwrap()
    }

    fn batch(episodes: &[(u32, &[u32], &[f32])]) -> Batch {
        let mut batch = Batch::empty(&world(), 2);
        for (user, items, rewards) in episodes {
            batch.push(*user, items, rewards, rewards, &world());
        }
        batch
    }

    #[test]
    fn the_best_match_agrees_with_hand_computed_values() {
        let memory = memory(vec![node(0, 0, &[], 0, 0.5), node(0, 1, &[0], 2, 1.0), node(1, 1, &[0], 2, 0.9)], 9);
        let found = memory.matches(&batch(&[(2, &[1, 3, 0], &[0.0; 3]), (1, &[4], &[0.0])]), 2).unwrap();
        let at = |node: usize, similarity: f32| Some(Match { node, similarity });
        // User 2 is like user 0. Nothing was shown; an item of the same cluster, goal and third of six turns: all 1.
        assert_eq!(found[0], at(0, 1.0));
        // After an item of cluster 0, an item of cluster 1: node 1 is of a like user, node 2 of another, so that half the state is like it.
        assert_eq!(found[1], at(1, 1.0));
        // At the third turn, of the middle: tags {a, middle} and {a, opening} share one of three. After clusters 1 and 0 the history is
        // (1, 1, 0)/√2, which nothing has; node 0 remembers an item of the cluster, and of its state the user alone: ½.
        let third = found[2].unwrap();
        assert!(third.node == 0 && (third.similarity - 1.0 / 6.0).abs() < 1e-5, "{third:?}");
        // Goal b, cluster 2: no item is like it.
        assert_eq!(found[3], None);
    }

    #[test]
    fn of_equal_matches_the_more_valuable_counts() {
        let memory = memory(vec![node(0, 0, &[], 0, 0.5), node(2, 0, &[], 0, 0.75), node(0, 0, &[], 1, 0.75)], 9);
        let found = memory.matches(&batch(&[(0, &[0], &[0.0])]), 1).unwrap();
        assert_eq!(found, [Some(Match { node: 1, similarity: 1.0 })]);
    }

    #[test]
    fn good_episodes_replace_what_they_exceed_and_a_full_memory_its_least() {
        let mut memory = memory(vec![node(0, 0, &[], 0, 0.5), node(1, 0, &[], 4, 0.1)], 3);
        let episodes: [(u32, &[u32], &[f32]); 3] =
            [(0, &[0, 2], &[2.0, 4.0]), (0, &[4], &[9.0]), (2, &[0, 2, 4], &[1.0, 1.0, 2.0])];
        memory.grow(&batch(&episodes), &[true, false, true], 7);
        let found: Vec<_> =
            memory.nodes().iter().map(|n| (n.user, n.turn, n.item, n.return_to_go, n.agent, n.last_used)).collect();
        // 6 exceeds 5 at the same place; the step after it is new; of user 2, 4 exceeds the 1 of user 1, then nothing exceeds its least.
        assert_eq!(found, [(0, 0, 0, 6.0, true, 7), (2, 0, 0, 4.0, true, 7), (0, 1, 2, 4.0, true, 7)]);
        assert_eq!((memory.arrivals.clone(), memory.nodes[0].value), (vec![0, 3, 2], 0.6));
        memory.touch(&[None, Some(Match { node: 1, similarity: 1.0 })], 40);
        memory.prune(58, 50);
        assert_eq!((memory.nodes.len(), memory.arrivals.clone()), (1, vec![3]), "51 updates are too many, 18 not");
    }

    #[test]
    fn shuffled_values_are_the_same_values_of_other_nodes() {
        let nodes = (0..6).map(|item| node(0, 0, &[], item, item as f32 / 10.0)).collect();
        let mut memory = memory(nodes, 9);
        let shuffled = memory.shuffled_values(3);
        let mut sorted = shuffled.clone();
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, memory.nodes().iter().map(|node| node.value).collect::<Vec<_>>());
        assert!(shuffled.iter().zip(memory.nodes()).all(|(value, node)| *value != node.value));
        assert_ne!(memory.shuffled_values(4), shuffled);
        memory.grow(&batch(&[(1, &[5], &[10.0])]), &[true], 1);
        let moved = memory.shuffled_values(3).iter().zip(&shuffled).filter(|(now, before)| now != before).count();
        assert_eq!(moved, 1, "one node has the newcomer's value, the newcomer that of the next");
    }

    #[test]
    fn a_checkpoint_gives_back_the_memory() {
        let mut memory = memory(vec![node(0, 0, &[], 0, 0.5), node(1, 3, &[4, 2], 1, 0.25)], 9);
        memory.grow(&batch(&[(2, &[5, 3], &[0.125, 1.0])]), &[true], 3);
        let (nodes, arrivals) = (memory.nodes.clone(), memory.arrivals.clone());
        let table = memory.table();
        memory.prune(900, 1);
        assert!(memory.nodes.is_empty() && memory.table().shape == [0, 11]);
        memory.restore(&table).unwrap();
        assert_eq!((memory.nodes, memory.arrivals), (nodes, arrivals));
    }
}
