//! Sessions in groups of one user each, as training rows with what their group says of them.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};

use super::loss::Verified;
use super::outcome::{GroupWeight, Outcome};
use crate::artifact::{Demonstrations, World};
use crate::rl::batch::Batch;
use crate::rl::dataset::Demonstration;

/// Sessions, flat: S steps in all, group by group.
pub struct GroupedSessions {
    /// The steps.
    pub batch: Batch,
    /// The steps of each group whose sessions differ in their returns; those of the others are never learned from.
    pub kept: Vec<Vec<usize>>,
    /// Number of groups whose sessions all returned the same.
    pub dropped: usize,
    /// r of each kept group.
    pub rates: Vec<f64>,
    /// `[S]`, of y, r, ω and A of each step.
    evidence: Vec<Evidence>,
}

/// What is known of a step; 0 in groups that are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Evidence {
    good: f32,
    rate: f32,
    weight: f32,
    advantage: f32,
}

/// How the returns of a group become evidence.
#[derive(Clone, Copy, Debug)]
pub struct EvidenceForm {
    /// ω.
    pub group_weight: GroupWeight,
    /// Whether advantages are those of y instead of returns.
    pub verified: bool,
    /// Whether advantages are over the deviation of their group.
    pub scaled: bool,
}

impl GroupedSessions {
    /// The sessions of `batch`, whose next `sizes[k]` sessions are group k.
    #[must_use]
    pub fn new(batch: Batch, sizes: &[usize], form: EvidenceForm) -> Self {
        let mut grouped = Self { kept: vec![], dropped: 0, rates: vec![], evidence: vec![], batch };
        let (mut session, mut row) = (0, 0);
        for &size in sizes {
            let lengths = grouped.batch.lengths[session..session + size].to_vec();
            let begin = row;
            let mut returns = Vec::with_capacity(size);
            for &length in &lengths {
                returns.push(grouped.batch.training_rewards[row..row + length].iter().map(|&r| f64::from(r)).sum());
                row += length;
            }
            session += size;
            let Some(outcome) = Outcome::of(&returns) else {
                grouped.dropped += 1;
                grouped.evidence.resize(row, Evidence::default());
                continue;
            };
            let verified: Vec<f64> = outcome.good.iter().map(|&good| f64::from(u8::from(good))).collect();
            let centred = if form.verified { Outcome::of(&verified) } else { Some(outcome.clone()) };
            let advantages = centred.map(|of| of.advantages(form.scaled)).unwrap_or_default();
            for (k, &length) in lengths.iter().enumerate() {
                let of_session = Evidence {
                    good: verified[k] as f32,
                    rate: outcome.rate as f32,
                    weight: form.group_weight.of(outcome.rate) as f32,
                    advantage: advantages[k] as f32,
                };
                grouped.evidence.resize(grouped.evidence.len() + length, of_session);
            }
            grouped.kept.push((begin..row).collect());
            grouped.rates.push(outcome.rate);
        }
        grouped
    }

    /// Recorded sessions with states of the last `window` items, grouped by user, ordered by user and then as recorded.
    ///
    /// # Errors
    /// See [`Demonstration::all`]; and where no group is left.
    pub fn recorded(demonstrations: &Demonstrations, world: &World, window: usize, form: EvidenceForm) -> Result<Self> {
        let mut users: BTreeMap<u32, Vec<Demonstration>> = BTreeMap::new();
        for session in Demonstration::all(demonstrations, world)? {
            users.entry(session.user).or_default().push(session);
        }
        let mut batch = Batch::empty(world, window);
        for session in users.values().flatten() {
            batch.push(session.user, &session.items, &session.rewards, &session.training_rewards, world);
        }
        let sizes: Vec<usize> = users.values().map(Vec::len).collect();
        let grouped = Self::new(batch, &sizes, form);
        ensure!(
            !grouped.kept.is_empty(),
            "none of {} users has two recorded sessions of different returns, so no session is better than another\nhelp: connect \
             `demonstrations` with several sessions of a user, or set `from: world`",
            sizes.len()
        );
        Ok(grouped)
    }

    /// y, r and ω at `rows`, then A.
    pub fn evidence_at(&self, rows: &[usize], device: &Device) -> Result<EvidenceTensors> {
        let of =
            |value: fn(&Evidence) -> f32| Tensor::from_iter(rows.iter().map(|&row| value(&self.evidence[row])), device);
        Ok(EvidenceTensors {
            good: of(|e| e.good)?,
            rate: of(|e| e.rate)?,
            weight: of(|e| e.weight)?,
            advantage: of(|e| e.advantage)?,
        })
    }
}

/// [`GroupedSessions::evidence_at`].
pub struct EvidenceTensors {
    good: Tensor,
    rate: Tensor,
    weight: Tensor,
    /// A.
    pub advantage: Tensor,
}

impl EvidenceTensors {
    /// y, r and ω.
    #[must_use]
    pub fn verified(&self) -> Verified<'_> {
        Verified { good: &self.good, rate: &self.rate, weight: &self.weight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};
    use crate::env::cluster_world;

    const FORM: EvidenceForm = EvidenceForm { group_weight: GroupWeight::FailureRate, verified: false, scaled: false };

    fn recorded(sessions: &[(u32, &[f32])]) -> Demonstrations {
        let step = |&reward: &f32| Step { item: 0, reward, candidates: vec![], scores: vec![], call: String::new() };
        let of = |&(user, rewards): &(u32, &[f32])| Trajectory {
            user,
            steps: rewards.iter().map(step).collect(),
            end: Termination::Stopped,
        };
        Demonstrations::new(sessions.iter().map(of).collect())
    }

    #[test]
    fn sessions_are_compared_with_those_of_their_user() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 9, 4);
        // User 1 returns 3 and 9, user 0 4 twice, user 2 one session, user 3 2, 2 and 5.
        let sessions: &[(u32, &[f32])] = &[
            (1, &[1.0, 2.0]),
            (0, &[4.0]),
            (3, &[2.0]),
            (1, &[9.0]),
            (0, &[2.0, 2.0]),
            (2, &[7.0]),
            (3, &[2.0]),
            (3, &[5.0]),
        ];
        let grouped = GroupedSessions::recorded(&recorded(sessions), &world, 2, FORM).unwrap();
        assert_eq!(grouped.batch.training_rewards, [4.0, 2.0, 2.0, 1.0, 2.0, 9.0, 7.0, 2.0, 2.0, 5.0]);
        assert_eq!((grouped.kept.clone(), grouped.dropped), (vec![vec![3, 4, 5], vec![7, 8, 9]], 2));
        let found = grouped.evidence_at(&[3, 4, 5, 7, 8, 9, 0], &Device::Cpu).unwrap();
        let values = |tensor: &Tensor| tensor.to_vec1::<f32>().unwrap();
        assert_eq!(values(found.verified().good), [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(values(&found.advantage), [-3.0, -3.0, 3.0, -1.0, -1.0, 2.0, 0.0]);
        let third = |count: f64| (count / 3.0) as f32;
        assert_eq!(values(found.verified().weight), [0.5, 0.5, 0.5, third(2.0), third(2.0), third(2.0), 0.0]);
        let form = EvidenceForm { verified: true, ..FORM };
        let of_y = GroupedSessions::recorded(&recorded(sessions), &world, 2, form).unwrap();
        let advantages = values(&of_y.evidence_at(&[3, 5, 7, 9], &Device::Cpu).unwrap().advantage);
        assert_eq!(advantages, [-0.5, 0.5, -third(1.0), third(2.0)]);
    }

    #[test]
    fn where_no_session_is_better_than_another_that_is_said() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 9, 4);
        let error = GroupedSessions::recorded(&recorded(&[(0, &[1.0]), (0, &[1.0]), (1, &[2.0])]), &world, 2, FORM);
        let error = error.err().unwrap().to_string();
        assert!(
            error.contains("none of 2 users has two recorded sessions of different returns")
                && error.contains("help: ")
        );
    }
}
