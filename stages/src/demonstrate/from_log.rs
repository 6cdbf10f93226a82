//! `demonstrate.from_log`: the interactions of a log as demonstrations.
//!
//! The interactions of each user, ordered by time (equal times in the order of the log), become episodes. The rewards are the
//! ratings. Where all times of a user are equal, as in Coat, the log has no order of time. Its rows are then often sorted by item,
//! and learners would learn that the next id is higher, so a seed shuffles them. Offline learners train on such episodes where no
//! language model demonstrated. They are not an expert's work: users chose these items themselves. Left out: quitting, which a log
//! does not record, so every episode counts as truncated.

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, Interactions, Step, Termination, Trajectory};
use crate::nn::rng;

/// `demonstrate.from_log`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FromLog {
    /// Minimum rating of an interaction; all interactions when absent. Low ratings are no example for imitation, but value-based
    /// learners learn from them.
    pub min_rating: Option<f64>,
    /// Maximum length of an episode; a user's interactions are cut into as many episodes as needed. One episode per user when
    /// absent.
    pub max_episode_length: Option<usize>,
    /// Seed of the order of interactions of users whose times are all equal.
    pub seed: u64,
}

pipeline::ports! {
    /// The log.
    pub struct Inputs {
        /// The log.
        interactions: Interactions,
    }
}

pipeline::ports! {
    /// Its interactions as episodes.
    pub struct Outputs {
        /// Ordered by user, then by time, or shuffled where the log has no order of time.
        demonstrations: Demonstrations,
    }
}

impl Stage for FromLog {
    const KIND: &'static str = "demonstrate.from_log";
    /// 1: first. 2: interactions of users whose times are all equal are shuffled.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "turn the interactions of a log into demonstrations";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.max_episode_length == Some(0) {
            return Err((
                "max_episode_length".into(),
                "an episode has at least one step; leave it out for one episode a user".into(),
            ));
        }
        if self.min_rating.is_some_and(|rating| !rating.is_finite()) {
            return Err(("min_rating".into(), "a finite rating".into()));
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        let is_selected = |&row: &usize| self.min_rating.is_none_or(|least| f64::from(log.rating[row]) >= least);
        let mut rows: Vec<usize> = (0..log.len()).filter(is_selected).collect();
        ensure!(
            !log.is_empty(),
            "the log holds no interaction\nhelp: look at the rows that the ingest or split stage before it dropped"
        );
        ensure!(
            !rows.is_empty(),
            "none of {} interactions is rated at least {}\nhelp: lower `min_rating`",
            log.len(),
            self.min_rating.unwrap_or_default()
        );
        rows.sort_by_key(|&row| (log.user[row], log.timestamp[row], row));
        let mut trajectories = Vec::new();
        let mut timeless = 0;
        for of_user in rows.chunk_by_mut(|&a, &b| log.user[a] == log.user[b]) {
            let (first, user) = (log.timestamp[of_user[0]], log.user[of_user[0]]);
            if of_user.len() > 1 && of_user.iter().all(|&row| log.timestamp[row] == first) {
                of_user.shuffle(&mut rng(&[self.seed, 0x109d, u64::from(user)]));
                timeless += 1;
            }
            for episode in of_user.chunks(self.max_episode_length.unwrap_or(usize::MAX)) {
                let step = |&row: &usize| Step {
                    item: log.item[row],
                    reward: log.rating[row],
                    candidates: Vec::new(),
                    scores: Vec::new(),
                    call: String::new(),
                };
                let steps = episode.iter().map(step).collect();
                trajectories.push(Trajectory { user, steps, end: Termination::Horizon });
            }
        }
        cx.note("episodes", format!("{} with {} steps", trajectories.len(), rows.len()));
        if timeless > 0 {
            cx.note("users without an order of time", format!("{timeless}; their interactions are shuffled"));
        }
        Ok(Outputs { demonstrations: Demonstrations::new(trajectories) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// User 0 has two distinct times; equal times keep the order of the log.
    fn run(logged: &FromLog) -> Result<Vec<(u32, Vec<u32>)>> {
        episodes(
            logged,
            Interactions {
                user: vec![1, 0, 1, 1, 0, 0],
                item: vec![5, 6, 7, 8, 9, 4],
                rating: vec![4.0, 2.0, 5.0, 1.0, 3.0, 1.0],
                timestamp: vec![3, 0, 1, 2, 1, 1],
            },
        )
    }

    fn episodes(logged: &FromLog, interactions: Interactions) -> Result<Vec<(u32, Vec<u32>)>> {
        let folder = tempfile::tempdir().unwrap();
        let out = logged.run(Inputs { interactions }, &Context::detached(folder.path()))?;
        let trajectories = out.demonstrations.trajectories.into_iter();
        Ok(trajectories.map(|t| (t.user, t.steps.iter().map(|step| step.item).collect())).collect())
    }

    #[test]
    fn interactions_in_order_of_time_become_episodes() {
        assert_eq!(run(&FromLog::default()).unwrap(), [(0, vec![6, 9, 4]), (1, vec![7, 8, 5])]);
        let good = FromLog { min_rating: Some(3.0), max_episode_length: Some(1), seed: 0 };
        assert_eq!(run(&good).unwrap(), [(0, vec![9]), (1, vec![7]), (1, vec![5])]);
        let error = run(&FromLog { min_rating: Some(6.0), ..FromLog::default() }).unwrap_err().to_string();
        assert!(error.contains("none of 6 interactions is rated at least 6"), "{error}");
        assert_eq!(
            FromLog { max_episode_length: Some(0), ..FromLog::default() }.check().unwrap_err().0,
            "max_episode_length"
        );
        let error = episodes(&FromLog::default(), Interactions::default()).unwrap_err().to_string();
        assert!(error.contains("the log holds no interaction\nhelp: "), "{error}");
    }

    #[test]
    fn where_a_log_knows_no_time_a_seed_draws_the_order() {
        let log = || Interactions {
            user: (0..20).map(|row| row / 10).collect(),
            item: (0..20).map(|row| row % 10).collect(),
            rating: vec![4.0; 20],
            timestamp: vec![0; 20],
        };
        let drawn = |seed| episodes(&FromLog { seed, ..FromLog::default() }, log()).unwrap();
        let (first, other) = (drawn(1), drawn(2));
        assert_eq!(first, drawn(1));
        assert!(first != other && first[0].1 != first[1].1, "each user's order is its own: {first:?}");
        for (_, mut items) in first {
            assert!(!items.is_sorted(), "{items:?}");
            items.sort_unstable();
            assert_eq!(items, (0..10).collect::<Vec<u32>>());
        }
    }
}
