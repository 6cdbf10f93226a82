//! What sessions taught, as a graph: goals, subgoals, and the steps of trajectories that served them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{
    Array, ArrayRef, Float32Array, ListArray, ListBuilder, StringArray, StringBuilder, UInt32Array, UInt32Builder,
};
use pipeline::{Artifact, IdSpaces};
use serde::{Deserialize, Serialize};

use super::{World, frame};

/// The subgoals of a session: to get through each third of the horizon.
pub const SUBGOALS: [&str; 3] = ["opening", "middle", "closing"];

/// A trajectory node: one step of a session that was worth remembering.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryNode {
    /// The user.
    pub user: u32,
    /// The turn, from 0.
    pub turn: u32,
    /// The items shown before, newest first, at most as many as the graph's window.
    pub recent: Vec<u32>,
    /// The item that was shown.
    pub item: u32,
    /// Discounted return from this step to the end of the session, in units of the training reward.
    pub return_to_go: f32,
    /// The same on the graph's scale, in [0, 1].
    pub value: f32,
    /// How sure the source was, in [0, 1].
    pub confidence: f32,
    /// Whether the learning agent added it; if not, it was demonstrated.
    pub agent: bool,
    /// The update in which it last matched a step; 0 before any.
    pub last_used: u32,
}

/// What tells a node from others: user, third of the session, item, and the items before.
pub type MemoryPlace = (u32, usize, u32, Vec<u32>);

impl MemoryNode {
    /// Where it is in the graph: of two nodes at one place the better is kept.
    #[must_use]
    pub fn place(&self, scale: &MemoryScale) -> MemoryPlace {
        (self.user, scale.subgoal(self.turn), self.item, self.recent.clone())
    }
    /// c·r̂.
    #[must_use]
    pub fn worth(&self) -> f32 {
        self.confidence * self.value
    }
}

/// What holds for the whole graph, as JSON in the footer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryScale {
    /// Items of the state that a node remembers.
    pub window: usize,
    /// Turns of a session, of which [`SUBGOALS`] are the thirds.
    pub horizon: usize,
    /// Discount of returns.
    pub gamma: f64,
    /// The return that has value 0.
    pub low: f32,
    /// The return that has value 1.
    pub high: f32,
}

impl MemoryScale {
    /// A return on the scale of the graph: 1 where all returns are equal.
    #[must_use]
    pub fn value(&self, return_to_go: f32) -> f32 {
        let range = self.high - self.low;
        if range > 0.0 { ((return_to_go - self.low) / range).clamp(0.0, 1.0) } else { 1.0 }
    }
    /// Which of [`SUBGOALS`] a turn belongs to.
    #[must_use]
    pub fn subgoal(&self, turn: u32) -> usize {
        (SUBGOALS.len() * turn as usize / self.horizon.max(1)).min(SUBGOALS.len() - 1)
    }
}

/// Parquet, one row a node or an item of the catalogue, in this order of `kind: utf8`: `goal`, `subgoal`, `trajectory`, `item`.
/// `name: utf8` is the goal, the subgoal, or the item's title; `tags: list<utf8>` are the names of the nodes that edges lead to: from
/// a goal to the subgoals in which a trajectory node serves it, from a trajectory node to its goals and its subgoal, from an item to
/// its goals. Of trajectory nodes only: `source: utf8?` (`demonstrations` or `agent`), `user: u32?`, `turn: u32?`, `return_to_go:
/// f32?`, `value: f32?`, `confidence: f32?`, `last_used: u32?`, and `recent: list<u32>` (empty elsewhere); of these and of items
/// `item: u32?`. In the footer under `scale` a [`MemoryScale`] as JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryGraph {
    /// The goals.
    pub goals: Vec<String>,
    /// Of each item of the catalogue its title and the goals that it serves.
    pub items: Vec<(String, Vec<u32>)>,
    /// The trajectory nodes.
    pub nodes: Vec<MemoryNode>,
    /// Window, horizon, discount, and the scale of returns.
    pub scale: MemoryScale,
}

/// The key of the scale in the footer.
const SCALE: &str = "scale";
/// The kinds of rows.
const KINDS: [&str; 4] = ["goal", "subgoal", "trajectory", "item"];
/// The sources of trajectory nodes.
const SOURCES: [&str; 2] = ["demonstrations", "agent"];

impl MemoryGraph {
    /// Whether it is of the users and items of `world`, as far as numbers tell.
    ///
    /// # Errors
    /// With what differs.
    pub fn check_world(&self, world: &World) -> Result<()> {
        let help = "help: make the graph with the `world` that the learner plays in";
        let (users, items) = (world.users(), world.items());
        ensure!(
            self.items.len() == items,
            "the memory knows {} items, the world has {items}\n{help}",
            self.items.len()
        );
        let strange = self.nodes.iter().find(|node| node.user as usize >= users);
        ensure!(
            strange.is_none(),
            "the memory holds a node of user {}, the world has {users}\n{help}",
            strange.map_or(0, |n| n.user)
        );
        let horizon = world.rules.horizon;
        ensure!(
            self.scale.horizon == horizon,
            "the memory is of sessions of {} turns, those of the world have {horizon}\n{help}",
            self.scale.horizon
        );
        Ok(())
    }

    /// The goals and the subgoal of showing `item` at `turn`, by name.
    fn tags(&self, item: u32, turn: u32) -> Vec<&str> {
        let goals = self.items[item as usize].1.iter().map(|&goal| self.goals[goal as usize].as_str());
        goals.chain([SUBGOALS[self.scale.subgoal(turn)]]).collect()
    }

    /// In which thirds a trajectory node serves that goal.
    fn subgoals_of(&self, goal: u32) -> Vec<&str> {
        let serving = self.nodes.iter().filter(|node| self.items[node.item as usize].1.contains(&goal));
        let thirds: BTreeSet<usize> = serving.map(|node| self.scale.subgoal(node.turn)).collect();
        thirds.into_iter().map(|third| SUBGOALS[third]).collect()
    }
}

/// One row of the file, before it becomes columns.
struct Row<'a> {
    kind: &'static str,
    name: &'a str,
    tags: Vec<&'a str>,
    item: Option<u32>,
    node: Option<&'a MemoryNode>,
}

impl MemoryGraph {
    fn rows(&self) -> Vec<Row<'_>> {
        let [goal, subgoal, trajectory, item] = KINDS;
        let plain = |kind, name, tags| Row { kind, name, tags, item: None, node: None };
        let goals = (0_u32..).zip(&self.goals).map(|(k, name)| plain(goal, name.as_str(), self.subgoals_of(k)));
        let subgoals = SUBGOALS.iter().map(|&name| plain(subgoal, name, vec![]));
        let nodes = self.nodes.iter().map(|node| Row {
            kind: trajectory,
            name: &self.items[node.item as usize].0,
            tags: self.tags(node.item, node.turn),
            item: Some(node.item),
            node: Some(node),
        });
        let items = (0_u32..).zip(&self.items).map(|(number, (title, goals))| Row {
            kind: item,
            name: title,
            tags: goals.iter().map(|&goal| self.goals[goal as usize].as_str()).collect(),
            item: Some(number),
            node: None,
        });
        goals.chain(subgoals).chain(nodes).chain(items).collect()
    }
}

impl Artifact for MemoryGraph {
    const KIND: &'static str = "memory_graph";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let rows = self.rows();
        let (mut tags, mut recent) = (ListBuilder::new(StringBuilder::new()), ListBuilder::new(UInt32Builder::new()));
        for row in &rows {
            row.tags.iter().for_each(|tag| tags.values().append_value(tag));
            tags.append(true);
            recent.values().append_slice(row.node.map_or(&[], |node| &node.recent));
            recent.append(true);
        }
        let nodes = || rows.iter().map(|row| row.node);
        let number =
            |of: fn(&MemoryNode) -> u32| -> ArrayRef { Arc::new(nodes().map(|n| n.map(of)).collect::<UInt32Array>()) };
        let real =
            |of: fn(&MemoryNode) -> f32| -> ArrayRef { Arc::new(nodes().map(|n| n.map(of)).collect::<Float32Array>()) };
        let source = nodes().map(|node| node.map(|node| SOURCES[usize::from(node.agent)]));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("kind", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.kind)))),
            ("name", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.name)))),
            ("tags", Arc::new(tags.finish())),
            ("source", Arc::new(source.collect::<StringArray>())),
            ("user", number(|node| node.user)),
            ("turn", number(|node| node.turn)),
            ("item", Arc::new(rows.iter().map(|row| row.item).collect::<UInt32Array>())),
            ("return_to_go", real(|node| node.return_to_go)),
            ("value", real(|node| node.value)),
            ("confidence", real(|node| node.confidence)),
            ("last_used", number(|node| node.last_used)),
            ("recent", Arc::new(recent.finish())),
        ];
        let scale = serde_json::to_string(&self.scale)?;
        let batch = frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?;
        frame::write_parquet_saying(path, &batch, (SCALE, &scale))
    }

    fn read(path: &Path) -> Result<Self> {
        let (batch, scale) = frame::read_parquet_saying(path, Self::KIND, Self::FORMAT, SCALE)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let whole = |name| frame::nullable::<UInt32Array>(&batch, name);
        let real = |name| frame::nullable::<Float32Array>(&batch, name);
        let (kind, name, tags) = (text("kind")?, text("name")?, frame::column::<ListArray>(&batch, "tags")?);
        let source = frame::nullable::<StringArray>(&batch, "source")?;
        let (user, turn, item, last_used) = (whole("user")?, whole("turn")?, whole("item")?, whole("last_used")?);
        let (return_to_go, value, confidence) = (real("return_to_go")?, real("value")?, real("confidence")?);
        let recent = frame::column::<ListArray>(&batch, "recent")?;
        let mut graph =
            Self { scale: serde_json::from_str(&scale).context("the scale of the memory")?, ..Self::default() };
        let mut nodes = Vec::new();
        for row in 0..batch.num_rows() {
            let said = name.value(row).to_owned();
            match KINDS.iter().position(|&known| known == kind.value(row)) {
                Some(0) => graph.goals.push(said),
                Some(1) => {}
                Some(2) => nodes.push(row),
                Some(_) => {
                    let list = tags.value(row);
                    let list = list.as_any().downcast_ref::<StringArray>().context("tags are not texts")?;
                    let place = |tag: &str| graph.goals.iter().position(|goal| goal == tag).map(|goal| goal as u32);
                    let goals = list.iter().flatten().map(place).collect::<Option<Vec<u32>>>();
                    graph
                        .items
                        .push((said, goals.with_context(|| format!("row {row} serves a goal that is no node"))?));
                }
                None => bail!("row {row} of the memory is of no known kind: `{}`", kind.value(row)),
            }
        }
        for row in nodes {
            let list = recent.value(row);
            let list = list.as_any().downcast_ref::<UInt32Array>().context("recent items are not u32")?;
            let node = MemoryNode {
                user: user.value(row),
                turn: turn.value(row),
                recent: list.values().to_vec(),
                item: item.value(row),
                return_to_go: return_to_go.value(row),
                value: value.value(row),
                confidence: confidence.value(row),
                agent: source.is_valid(row) && source.value(row) == SOURCES[1],
                last_used: last_used.value(row),
            };
            let known = node.recent.iter().chain([&node.item]).all(|&item| (item as usize) < graph.items.len());
            ensure!(known, "row {row} of the memory holds an item that is none of its {}", graph.items.len());
            graph.nodes.push(node);
        }
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> MemoryGraph {
        let node = |turn, item, agent| MemoryNode {
            user: 2,
            turn,
            recent: vec![1, 0][..(turn as usize).min(2)].to_vec(),
            item,
            return_to_go: 3.0,
            value: 0.75,
            confidence: 0.5,
            agent,
            last_used: 7,
        };
        MemoryGraph {
            goals: vec!["Drama".into(), "Comedy".into()],
            items: vec![("Heat".into(), vec![0]), ("Big".into(), vec![0, 1]), ("?".into(), vec![])],
            nodes: vec![node(0, 1, false), node(5, 2, true)],
            scale: MemoryScale { window: 2, horizon: 6, gamma: 0.9, low: 0.0, high: 4.0 },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for (number, graph) in [graph(), MemoryGraph::default()].into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            graph.write(&path).unwrap();
            assert_eq!(MemoryGraph::read(&path).unwrap(), graph);
        }
    }

    #[test]
    fn edges_lead_from_goals_to_subgoals_and_from_steps_to_both() {
        let graph = graph();
        let rows: Vec<_> = graph.rows().into_iter().map(|row| (row.kind, row.name, row.tags)).collect();
        assert_eq!(rows[0], ("goal", "Drama", vec!["opening"]), "only Big served it, at the first turn");
        assert_eq!(rows[5], ("trajectory", "Big", vec!["Drama", "Comedy", "opening"]));
        assert_eq!(rows[6], ("trajectory", "?", vec!["closing"]), "an item without goals serves the session alone");
        assert_eq!(rows[7], ("item", "Heat", vec!["Drama"]));
    }

    #[test]
    fn values_lie_between_the_ends_of_the_scale() {
        let scale = MemoryScale { low: -2.0, high: 2.0, horizon: 30, ..MemoryScale::default() };
        assert_eq!([-3.0, 0.0, 1.0, 9.0].map(|r| scale.value(r)), [0.0, 0.5, 0.75, 1.0]);
        assert_eq!(MemoryScale { low: 2.0, ..scale }.value(-5.0), 1.0, "all returns are equal");
        assert_eq!([0, 9, 10, 19, 20, 29].map(|turn| scale.subgoal(turn)), [0, 0, 1, 1, 2, 2]);
    }
}
