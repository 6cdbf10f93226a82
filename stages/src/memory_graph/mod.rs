//! `memory_graph`: demonstrations as a memory graph, which shapes the advantages of learners (`rl::shaping`).
//!
//! After MIRA (arXiv 2602.17930) and memory-based advantage shaping (2602.17931), where a language model writes the graph; here it is made
//! of sessions that were recorded or played, whoever demonstrated them. Goals are the genres of the catalogue, subgoals the thirds of a
//! session; each demonstrated step becomes a trajectory node with the state before it, what was shown, its discounted return to the
//! end on a scale of \[0, 1\], and the confidence of the demonstrator: the probability of what was shown under softmax of the
//! scores of its candidates, 1 where there are no scores. Of equal steps in equal states of a user the better is kept. Where no item
//! has a genre there is one goal, the return, which every step serves. Left out: goals that a model writes, and its screening
//! of answers: the confidence weighs what it says.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, Items, MemoryGraph, MemoryNode, MemoryScale, World};

/// The goal where no item has a genre.
const ONLY_GOAL: &str = "return";

/// `memory_graph`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BuildMemoryGraph {
    /// Items of the state that a node remembers, from 1: those shown last; 7 as in the state of learners.
    pub window: usize,
    /// Discount γ of the returns, in [0, 1]. 1 where the reward comes at the end of a session alone, so that early steps count.
    pub gamma: f64,
    /// Largest number of trajectory nodes, from 1; those of highest value times confidence are kept.
    pub capacity: usize,
}

impl Default for BuildMemoryGraph {
    fn default() -> Self {
        Self { window: 7, gamma: 0.9, capacity: 1000 }
    }
}

pipeline::ports! {
    /// What is remembered.
    pub struct Inputs {
        /// The sessions.
        demonstrations: Demonstrations,
        /// The training world: its horizon, its rules for training rewards, and titles.
        world: World,
        /// The catalogue, whose genres are the goals; without it there is one goal.
        items: Option<Items>,
    }
}

pipeline::ports! {
    /// The result.
    pub struct Outputs {
        /// The graph.
        memory: MemoryGraph,
    }
}

impl Stage for BuildMemoryGraph {
    const KIND: &'static str = "memory_graph";
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "turn demonstrations into a graph of goals, subgoals and steps, which shapes what learners learn";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.window == 0 {
            return wrong("window", "a state holds at least the last item");
        }
        if !(0.0..=1.0).contains(&self.gamma) {
            return wrong("gamma", "a discount lies between 0 and 1");
        }
        if self.capacity == 0 {
            return wrong("capacity", "a memory holds at least one node");
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let Inputs { demonstrations, world, items } = &inputs;
        if let Some(items) = items {
            world.check_catalogue(items)?;
        }
        let (goals, items) = catalogue(world, items.as_ref());
        let horizon = world.rules.horizon;
        let scale = MemoryScale { window: self.window, horizon, gamma: self.gamma, ..MemoryScale::default() };
        let mut graph = MemoryGraph { goals, items, nodes: self.nodes(demonstrations, world, &scale)?, scale };
        let returns = || graph.nodes.iter().map(|node| node.return_to_go);
        // From 0, so that sessions that are all alike and good are not told apart by their rounding.
        graph.scale.low = returns().fold(0.0, f32::min);
        graph.scale.high = returns().fold(0.0, f32::max);
        let scale = graph.scale;
        graph.nodes.iter_mut().for_each(|node| node.value = scale.value(node.return_to_go));
        let found = graph.nodes.len();
        graph.nodes.sort_by(|a, b| b.worth().total_cmp(&a.worth()));
        graph.nodes.truncate(self.capacity);
        graph.nodes.sort_by_key(|node| (node.user, node.turn, node.item));
        let kept = graph.nodes.len();
        cx.note(
            "trajectory nodes",
            if kept < found { format!("{kept} of {found}, the best") } else { kept.to_string() },
        );
        cx.note("goals", graph.goals.len().to_string());
        Ok(Outputs { memory: graph })
    }
}

impl BuildMemoryGraph {
    /// A node for each demonstrated step; of equal ones the one of highest return, the first of equals. Without their values.
    fn nodes(&self, demonstrations: &Demonstrations, world: &World, scale: &MemoryScale) -> Result<Vec<MemoryNode>> {
        let (users, items) = (world.users(), world.items());
        let mut best: BTreeMap<_, MemoryNode> = BTreeMap::new();
        for (number, trajectory) in demonstrations.trajectories.iter().enumerate() {
            let ids = trajectory.steps.iter().map(|step| step.item).max().unwrap_or(0);
            ensure!(
                (trajectory.user as usize) < users && (ids as usize) < items,
                "demonstrated trajectory {number} is of user {} and shows item {ids}, the world has {users} users and {items} \
                 items\nhelp: make both from one ingest stage",
                trajectory.user
            );
            ensure!(
                trajectory.steps.len() <= world.rules.horizon,
                "demonstrated trajectory {number} has {} steps, more than the world's horizon of {}\nhelp: set \
                 `max_episode_length: {}` in `demonstrate.from_log`, or raise `simulator.horizon`",
                trajectory.steps.len(),
                world.rules.horizon,
                world.rules.horizon
            );
            let rewards: Vec<f32> = trajectory.steps.iter().map(|step| step.reward).collect();
            let rewards = world.rules.training_rewards(&rewards, Some(trajectory.end));
            let mut return_to_go = 0.0;
            for (turn, (step, reward)) in trajectory.steps.iter().zip(&rewards).enumerate().rev() {
                return_to_go = f64::from(*reward) + self.gamma * return_to_go;
                ensure!(
                    return_to_go.is_finite(),
                    "the return of demonstrated trajectory {number} from step {turn} on is {return_to_go}\nhelp: look at the world \
                     that computed its rewards"
                );
                let before = trajectory.steps[..turn].iter().rev().take(self.window);
                let node = MemoryNode {
                    user: trajectory.user,
                    turn: turn as u32,
                    recent: before.map(|step| step.item).collect(),
                    item: step.item,
                    return_to_go: return_to_go as f32,
                    value: 0.0,
                    confidence: step.log_confidence().exp() as f32,
                    agent: false,
                    last_used: 0,
                };
                let place = best.entry(node.place(scale)).or_insert_with(|| node.clone());
                if node.return_to_go > place.return_to_go {
                    *place = node;
                }
            }
        }
        ensure!(
            !best.is_empty(),
            "no demonstrated step to remember\nhelp: look at the `demonstrations` that are connected, `apprentice inspect` shows them"
        );
        Ok(best.into_values().collect())
    }
}

/// The goals, and of each item its title and its goals.
fn catalogue(world: &World, items: Option<&Items>) -> (Vec<String>, Vec<(String, Vec<u32>)>) {
    let title = |item: usize| match items {
        Some(items) => items.title[item].clone(),
        None => world.ids.titles.get(item).cloned().unwrap_or_else(|| format!("item {item}")),
    };
    let genres = |item: usize| items.map_or(&[][..], |items| &items.genres[item]);
    let mut goals: Vec<String> = (0..world.items()).flat_map(|item| genres(item).iter().cloned()).collect();
    goals.sort();
    goals.dedup();
    if goals.is_empty() {
        return (vec![ONLY_GOAL.to_owned()], (0..world.items()).map(|item| (title(item), vec![0])).collect());
    }
    let of = |item: usize| {
        let mut served: Vec<u32> =
            genres(item).iter().filter_map(|genre| Some(goals.binary_search(genre).ok()? as u32)).collect();
        served.sort_unstable();
        served.dedup();
        (title(item), served)
    };
    let items = (0..world.items()).map(of).collect();
    (goals, items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};
    use crate::env::cluster_world;

    fn step(item: u32, reward: f32, scores: &[f32]) -> Step {
        let candidates = if scores.is_empty() { vec![] } else { vec![item, 0] };
        Step { item, reward, candidates, scores: scores.to_vec(), call: String::new() }
    }

    fn run(stage: &BuildMemoryGraph, trajectories: Vec<Trajectory>, items: Option<Items>) -> Result<MemoryGraph> {
        let world = cluster_world(&[5.0, 4.0, 3.0], 1, 1, 6, 2);
        let inputs = Inputs { demonstrations: Demonstrations::new(trajectories), world, items };
        Ok(stage.run(inputs, &Context::detached(std::path::Path::new("unused")))?.memory)
    }

    fn sessions() -> Vec<Trajectory> {
        let end = Termination::Horizon;
        vec![
            Trajectory { user: 0, steps: vec![step(0, 1.0, &[3.0_f32.ln(), 0.0]), step(1, 2.0, &[])], end },
            Trajectory { user: 0, steps: vec![step(0, 4.0, &[]), step(2, 4.0, &[])], end },
        ]
    }

    #[test]
    fn each_step_becomes_a_node_and_of_equal_ones_the_better_is_kept() {
        let stage = BuildMemoryGraph { gamma: 0.5, window: 1, ..BuildMemoryGraph::default() };
        let graph = run(&stage, sessions(), None).unwrap();
        let found: Vec<_> =
            graph.nodes.iter().map(|n| (n.turn, n.item, n.recent.clone(), n.return_to_go, n.confidence)).collect();
        // Item 0 was shown first in both sessions, which returned 1 + ½·2 and 4 + ½·4.
        assert_eq!(found, [(0, 0, vec![], 6.0, 1.0), (1, 1, vec![0], 2.0, 1.0), (1, 2, vec![0], 4.0, 1.0)]);
        assert_eq!((graph.scale.low, graph.scale.high), (0.0, 6.0));
        let third: Vec<f32> = graph.nodes.iter().map(|n| n.value).collect();
        assert_eq!(third, [1.0, 2.0 / 6.0, 4.0 / 6.0]);
        assert_eq!((graph.goals, graph.items[1].clone()), (vec!["return".to_owned()], ("item 1".to_owned(), vec![0])));
    }

    #[test]
    fn what_a_demonstrator_was_sure_of_counts_more_and_the_best_are_kept() {
        let stage = BuildMemoryGraph { capacity: 1, gamma: 1.0, ..BuildMemoryGraph::default() };
        let sessions = sessions();
        let one = run(&stage, vec![sessions[0].clone()], None).unwrap().nodes;
        // Values 3/3 and 2/3; 1 times the confidence of ¾ is still more.
        assert_eq!((one.len(), one[0].turn, one[0].confidence), (1, 0, 0.75));
    }

    #[test]
    fn goals_are_genres_where_the_catalogue_has_some() {
        let genres = [vec!["b"], vec!["a", "b"], vec![]].map(|list| list.into_iter().map(str::to_owned).collect());
        let title = ["A", "B", "C"].map(str::to_owned).to_vec();
        let items =
            Items { id: title.clone(), title, year: vec![None; 3], genres: genres.to_vec(), ..Items::default() };
        let graph = run(&BuildMemoryGraph::default(), sessions(), Some(items)).unwrap();
        assert_eq!(graph.goals, ["a", "b"]);
        assert_eq!(graph.items, [("A".to_owned(), vec![1]), ("B".to_owned(), vec![0, 1]), ("C".to_owned(), vec![])]);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_to_do() {
        let refused = |trajectories: Vec<Trajectory>, said: &str| {
            let error = run(&BuildMemoryGraph::default(), trajectories, None).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("help: "), "{error}");
        };
        let session = |user, items: &[u32], reward| {
            let steps = items.iter().map(|&item| step(item, reward, &[])).collect();
            vec![Trajectory { user, steps, end: Termination::Horizon }]
        };
        refused(session(2, &[0], 1.0), "trajectory 0 is of user 2");
        refused(session(0, &[0, 3], 1.0), "shows item 3");
        refused(session(0, &[0; 7], 1.0), "has 7 steps, more than the world's horizon of 6");
        refused(session(0, &[0], f32::NAN), "is NaN");
        refused(session(0, &[], 1.0), "no demonstrated step to remember");
        for (stage, path) in [
            (BuildMemoryGraph { window: 0, ..BuildMemoryGraph::default() }, "window"),
            (BuildMemoryGraph { gamma: 1.1, ..BuildMemoryGraph::default() }, "gamma"),
            (BuildMemoryGraph { capacity: 0, ..BuildMemoryGraph::default() }, "capacity"),
        ] {
            assert_eq!(stage.check().unwrap_err().0, path);
        }
    }
}
