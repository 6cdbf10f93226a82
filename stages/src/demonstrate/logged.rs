//! `demonstrate.logged`: what people did by themselves, as demonstrations.
//!
//! Each user's interactions in the order of time (equal times in the order of the log) become episodes; the rewards are the
//! ratings. It is what offline learners learn from where no language model played, and no expert's work: people chose these
//! items without anybody's plan. Left out: quitting, of which a log says nothing, so every episode counts as cut.

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Choice, Demonstrations, End, Interactions, Trajectory};

/// `demonstrate.logged`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Logged {
    /// Takes only interactions rated at least so; all when absent. What people rated badly is nothing to copy, but learners
    /// of values learn from it.
    pub at_least: Option<f64>,
    /// Longest episode; a user's interactions are cut into so many as it takes. One episode a user when absent.
    pub length: Option<usize>,
}

pipeline::ports! {
    /// What people did.
    pub struct Inputs {
        /// The log.
        interactions: Interactions,
    }
}

pipeline::ports! {
    /// What they did, as episodes.
    pub struct Outputs {
        /// By user, then time.
        demonstrations: Demonstrations,
    }
}

impl Stage for Logged {
    const KIND: &'static str = "demonstrate.logged";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "take what people did by themselves as demonstrations";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.length == Some(0) {
            return Err((
                "length".into(),
                "an episode has at least one step; leave it out for one episode a user".into(),
            ));
        }
        if self.at_least.is_some_and(|rating| !rating.is_finite()) {
            return Err(("at_least".into(), "a finite rating".into()));
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        let taken = |&row: &usize| self.at_least.is_none_or(|least| f64::from(log.rating[row]) >= least);
        let mut rows: Vec<usize> = (0..log.len()).filter(taken).collect();
        ensure!(
            !rows.is_empty(),
            "none of {} interactions is rated at least {}. help: lower `at_least`",
            log.len(),
            self.at_least.unwrap_or_default()
        );
        rows.sort_by_key(|&row| (log.user[row], log.timestamp[row], row));
        let mut trajectories = Vec::new();
        for of_user in rows.chunk_by(|&a, &b| log.user[a] == log.user[b]) {
            for episode in of_user.chunks(self.length.unwrap_or(usize::MAX)) {
                let choice = |&row: &usize| Choice {
                    item: log.item[row],
                    reward: log.rating[row],
                    candidates: Vec::new(),
                    scores: Vec::new(),
                    call: String::new(),
                };
                let steps = episode.iter().map(choice).collect();
                trajectories.push(Trajectory { user: log.user[of_user[0]], steps, end: End::Horizon });
            }
        }
        cx.note("episodes", format!("{} with {} steps", trajectories.len(), rows.len()));
        Ok(Outputs { demonstrations: Demonstrations { trajectories } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(logged: &Logged) -> Result<Vec<(u32, Vec<u32>)>> {
        let interactions = Interactions {
            user: vec![1, 0, 1, 1, 0],
            item: vec![5, 6, 7, 8, 9],
            rating: vec![4.0, 2.0, 5.0, 1.0, 3.0],
            timestamp: vec![3, 0, 1, 2, 0],
        };
        let folder = tempfile::tempdir().unwrap();
        let out = logged.run(Inputs { interactions }, &Context::detached(folder.path()))?;
        let told = out.demonstrations.trajectories.into_iter();
        Ok(told.map(|t| (t.user, t.steps.iter().map(|step| step.item).collect())).collect())
    }

    #[test]
    fn interactions_in_order_of_time_become_episodes() {
        assert_eq!(run(&Logged::default()).unwrap(), [(0, vec![6, 9]), (1, vec![7, 8, 5])]);
        let good = Logged { at_least: Some(3.0), length: Some(1) };
        assert_eq!(run(&good).unwrap(), [(0, vec![9]), (1, vec![7]), (1, vec![5])]);
        let error = run(&Logged { at_least: Some(6.0), length: None }).unwrap_err().to_string();
        assert!(error.contains("none of 5 interactions is rated at least 6"), "{error}");
        assert_eq!(Logged { at_least: None, length: Some(0) }.check().unwrap_err().0, "length");
    }
}
