//! `evaluate`: every policy in a world that none of them learned from, beside the rows that keep the table honest.
//!
//! Each user plays one episode for each training seed (each repetition of a control that draws). The rows: random, random
//! and popular among the items that do not conflict, the greedy oracle, the retriever alone, the language model itself,
//! then the policies. The controls are always there: a table without them can make anything look good.

mod bootstrap;
mod judged;
mod rows;
mod table;
mod teacher;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use pipeline::{Context, Many, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, Interactions, Metrics, Policy, Rankings, Rollouts, World};
use bootstrap::Bootstrap;
use judged::Row;
use rows::Players;

/// `evaluate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Seed of everything that is drawn: the random controls, sampled actions and the bootstrap.
    pub episodes_seed: u64,
    /// How often each control that draws plays with every user, from 1; 5 by default.
    pub repetitions: usize,
    /// How policies act.
    pub act: Act,
    /// Resamples behind each interval, from 100; 2000 by default (Efron and Tibshirani 1993, §14.3, ask for 1000).
    pub bootstrap: usize,
    /// Plays with the first so many users only; with all when absent.
    pub users: Option<usize>,
}

/// How a policy's distribution becomes an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// The most likely item, as when serving.
    #[default]
    Greedy,
    /// An item drawn from the distribution, as when learning.
    Sample,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self { episodes_seed: 0, repetitions: 5, act: Act::Greedy, bootstrap: 2000, users: None }
    }
}

pipeline::ports! {
    /// Who is judged, where.
    pub struct Inputs {
        /// The judging world; another family than the one the policies learned in.
        world: World,
        /// What policies could learn from; tells what is popular.
        train: Interactions,
        /// The retriever, for its own row.
        rankings: Option<Rankings>,
        /// Who is judged; policies of one name are the training seeds of one row.
        policies: Many<Policy>,
        /// The language model's episodes in the judging world, for its own row.
        teacher: Option<Demonstrations>,
    }
}

pipeline::ports! {
    /// What was measured.
    pub struct Outputs {
        /// The table.
        metrics: Metrics,
        /// Every episode behind it.
        rollouts: Rollouts,
    }
}

impl Stage for Evaluate {
    const KIND: &'static str = "evaluate";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "judge policies in a world they did not learn from, beside honest controls";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.repetitions == 0 {
            return wrong("repetitions", "a control plays at least once");
        }
        if self.bootstrap < 100 {
            return wrong("bootstrap", "the ends of a 95 % interval need at least 100 resamples");
        }
        if self.users == Some(0) {
            return wrong("users", "at least one user plays; leave it out to play with all");
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let users: Vec<u32> = (0..world.users().min(self.users.unwrap_or(usize::MAX)) as u32).collect();
        ensure!(!users.is_empty() && world.items() > 0, "the world has nobody or nothing to play with");
        let teacher = inputs.teacher.as_ref().map(|told| teacher::replay(world, told)).transpose()?;
        let players = Players {
            config: self,
            world,
            users: &users,
            train: &inputs.train,
            rankings: inputs.rankings.as_ref(),
            teacher: teacher.as_ref(),
            opening: teacher.as_ref().map_or(world.rules.horizon, teacher::turns),
            policies: &inputs.policies,
        };
        let rows = players.play(cx)?;
        cx.note("episodes", rows.iter().flat_map(|row| &row.cells).map(|cell| cell.episodes.len()).sum::<usize>());
        cx.go_on()?;
        // Users are 0.., so the place of a user among them is its id.
        let taught = teacher.as_ref().and_then(|teacher| {
            let place = |e: usize| Some(teacher.user(e) as usize).filter(|&user| user < users.len());
            (0..teacher.len()).map(place).collect::<Option<Vec<usize>>>()
        });
        if teacher.is_some() && taught.is_none() {
            cx.note("teacher", "played with users beyond `users`, so no row is compared on the same users");
        }
        let bootstrap = Bootstrap { seed: self.episodes_seed, resamples: self.bootstrap };
        let metrics = table::table(&rows, taught.as_deref(), &bootstrap);
        Ok(Outputs { metrics, rollouts: Rollouts(rows.iter().flat_map(Row::rollouts).collect()) })
    }
}
