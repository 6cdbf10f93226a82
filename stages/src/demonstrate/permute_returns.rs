//! `demonstrate.permute_returns`: the returns of each user's sessions, permuted among these sessions.
//!
//! It is the control of what learns from good and bad sessions. Each session keeps its user, its items and its end, and has the return of
//! another session of the same user, drawn without replacement (perhaps its own): to each of its rewards the same amount is added. Which
//! items were shown, how often, by which users and how well these users were served on average is unchanged; which sessions were the good
//! ones is not known any more. What a learner still gains over copying does not come from that. Within a session the differences between rewards, and
//! the step at which its user left, remain: a learner of values can learn from them. `demonstrate.replay` computes rewards anew in a world
//! and so undoes the permutation.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Demonstrations;
use crate::nn::rng;

/// `demonstrate.permute_returns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PermuteReturns {
    /// Seed of the permutations.
    pub seed: u64,
}

pipeline::ports! {
    /// The sessions.
    pub struct Inputs {
        /// Sessions, several of a user.
        demonstrations: Demonstrations,
    }
}

pipeline::ports! {
    /// The same sessions with permuted returns.
    pub struct Outputs {
        /// In the same order, with other rewards.
        demonstrations: Demonstrations,
    }
}

impl Stage for PermuteReturns {
    const KIND: &'static str = "demonstrate.permute_returns";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "permute the returns of recorded sessions within their users: the control of learning from good and bad sessions";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let mut demonstrations = inputs.demonstrations;
        let mut users: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (number, session) in demonstrations.trajectories.iter().enumerate() {
            ensure!(!session.steps.is_empty(), "session {number} of user {} has no step", session.user);
            users.entry(session.user).or_default().push(number);
        }
        let returns: Vec<f64> = demonstrations.trajectories.iter().map(|session| session.total()).collect();
        let mut changed = 0;
        for (&user, numbers) in &users {
            let mut from = numbers.clone();
            from.shuffle(&mut rng(&[self.seed, 0x9e47, u64::from(user)]));
            for (&number, &from) in numbers.iter().zip(&from) {
                if returns[from] == returns[number] {
                    continue;
                }
                changed += 1;
                let steps = &mut demonstrations.trajectories[number].steps;
                let more = (returns[from] - returns[number]) / steps.len() as f64;
                steps.iter_mut().for_each(|step| step.reward = (f64::from(step.reward) + more) as f32);
            }
        }
        ensure!(
            changed > 0,
            "no session of {} users has another return than before: none has two of different returns, or the seed moved none\nhelp: \
             connect several sessions of a user, or take another `seed`",
            users.len()
        );
        cx.note("sessions with another return", format!("{changed} of {}", returns.len()));
        Ok(Outputs { demonstrations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};

    fn session(user: u32, rewards: &[f32]) -> Trajectory {
        let step = |(item, &reward): (usize, &f32)| Step {
            item: item as u32,
            reward,
            candidates: vec![7],
            scores: vec![],
            call: "c".into(),
        };
        Trajectory { user, steps: rewards.iter().enumerate().map(step).collect(), end: Termination::Stopped }
    }

    fn permuted(seed: u64, trajectories: Vec<Trajectory>) -> Result<Vec<Trajectory>> {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs { demonstrations: Demonstrations::new(trajectories) };
        Ok(PermuteReturns { seed }.run(inputs, &Context::detached(folder.path()))?.demonstrations.trajectories)
    }

    #[test]
    fn each_user_keeps_the_returns_and_each_session_its_items() {
        let sessions: Vec<Trajectory> = (0..40).map(|k| session(k % 4, &vec![k as f32; 1 + k as usize % 3])).collect();
        let found = permuted(1, sessions.clone()).unwrap();
        let mut moved = 0;
        for user in 0..4 {
            let returns = |all: &[Trajectory]| {
                let of = all.iter().filter(|session| session.user == user);
                let mut returns: Vec<i64> = of.map(|session| (session.total() * 1e3).round() as i64).collect();
                returns.sort_unstable();
                returns
            };
            assert_eq!(returns(&found), returns(&sessions));
        }
        for (before, after) in sessions.iter().zip(&found) {
            moved += usize::from((before.total() - after.total()).abs() > 1e-3);
            let without = |session: &Trajectory| {
                let mut session = session.clone();
                session.steps.iter_mut().for_each(|step| step.reward = 0.0);
                session
            };
            assert_eq!(without(before), without(after));
            let spread = after.steps.iter().map(|step| step.reward - after.steps[0].reward);
            assert!(spread.map(f32::abs).all(|difference| difference < 1e-4), "all rewards move by the same amount");
        }
        assert!(moved > 25, "{moved} of 40");
        assert_eq!(permuted(1, sessions.clone()).unwrap(), found);
        assert_ne!(permuted(2, sessions).unwrap(), found);
    }

    #[test]
    fn where_nothing_can_move_that_is_said() {
        let alone = vec![session(0, &[1.0]), session(1, &[2.0]), session(1, &[1.0, 1.0])];
        let error = permuted(0, alone).unwrap_err().to_string();
        assert!(error.contains("no session of 2 users has another return than before") && error.contains("help: "));
    }
}
