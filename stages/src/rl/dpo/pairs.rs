//! Pairs of which one was better: sessions of a user, or what a model chose against what it did not choose.

use std::ops::Range;

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, World};
use crate::env::Observation;
use crate::rl::dataset::Demonstration;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairsFrom {
    /// A user's session of a higher return with each of a lower one.
    Sessions,
    /// The item that was chosen with each recorded candidate that was not.
    Candidates,
}

/// Pairs of decisions, each an item in a state.
pub struct Pairs {
    /// `[N]` states of all demonstrated steps.
    states: Observation,
    /// The state and the item of each decision.
    decisions: Vec<(usize, u32)>,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

/// One pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    user: u32,
    better: Range<usize>,
    worse: Range<usize>,
}

/// The decisions of some pairs.
pub struct PairBatch {
    /// Which decisions, D of them; one that is in several pairs is there as often.
    pub decisions: Vec<usize>,
    /// `[B, D]`: +1 where a decision is of the better side of a pair, −1 where it is of the worse one, over the steps of that side
    /// where they are averaged. Times log π of the decisions it is Δ_w − Δ_l of each pair.
    pub signs: Tensor,
}

impl Pairs {
    /// All pairs, ordered as demonstrated; states of the last `window` items.
    ///
    /// # Errors
    /// See [`Demonstration::all`]; and where there is no pair.
    pub fn new(demonstrations: &Demonstrations, from: PairsFrom, world: &World, window: usize) -> Result<Self> {
        let sessions = Demonstration::all(demonstrations, world)?;
        let mut all = Self { states: Observation::of(world, window), decisions: vec![], pairs: vec![] };
        let (horizon, padding) = (world.rules.horizon, world.items() as u32);
        let mut steps: Vec<Range<usize>> = Vec::with_capacity(sessions.len());
        for Demonstration { user, items, rewards, .. } in &sessions {
            let begin = all.decisions.len();
            for (step, &item) in items.iter().enumerate() {
                all.states.push(*user, &items[..step], &rewards[..step], horizon, padding);
                all.decisions.push((all.decisions.len(), item));
            }
            steps.push(begin..all.decisions.len());
        }
        match from {
            PairsFrom::Sessions => {
                all.pair_sessions(&sessions, &steps);
                ensure!(
                    !all.pairs.is_empty(),
                    "no user has two sessions of different returns among {}, so there is no pair\nhelp: connect `demonstrations` with \
                     several sessions of a user, or set `pairs: candidates` where a model chose among candidates",
                    sessions.len()
                );
            }
            PairsFrom::Candidates => {
                all.pair_candidates(demonstrations, &steps, world.items())?;
                ensure!(
                    !all.pairs.is_empty(),
                    "no demonstrated step records a candidate that was not chosen\nhelp: connect the demonstrations of `demonstrate`, \
                     or set `pairs: sessions`"
                );
            }
        }
        Ok(all)
    }

    fn pair_sessions(&mut self, sessions: &[Demonstration], steps: &[Range<usize>]) {
        let total = |k: usize| sessions[k].training_rewards.iter().map(|&reward| f64::from(reward)).sum::<f64>();
        let returns: Vec<f64> = (0..sessions.len()).map(total).collect();
        let mut order: Vec<usize> = (0..sessions.len()).filter(|&k| !steps[k].is_empty()).collect();
        order.sort_by_key(|&k| (sessions[k].user, k));
        for group in order.chunk_by(|&a, &b| sessions[a].user == sessions[b].user) {
            for (place, &first) in group.iter().enumerate() {
                for &second in &group[place + 1..] {
                    let (better, worse) = match returns[first].total_cmp(&returns[second]) {
                        std::cmp::Ordering::Greater => (first, second),
                        std::cmp::Ordering::Less => (second, first),
                        std::cmp::Ordering::Equal => continue,
                    };
                    let (better, worse) = (steps[better].clone(), steps[worse].clone());
                    self.pairs.push(Pair { user: sessions[first].user, better, worse });
                }
            }
        }
    }

    fn pair_candidates(&mut self, demonstrations: &Demonstrations, steps: &[Range<usize>], items: usize) -> Result<()> {
        for (t, s, step) in demonstrations.steps() {
            let chosen = steps[t].start + s;
            for &candidate in &step.candidates {
                ensure!(
                    (candidate as usize) < items,
                    "demonstrated trajectory {t}, step {s}: candidate {candidate} is not among the world's {items}\nhelp: make both \
                     from one ingest stage"
                );
                if candidate == step.item || self.states.masked(chosen).contains(&candidate) {
                    continue;
                }
                let unchosen = self.decisions.len();
                self.decisions.push((chosen, candidate));
                let user = demonstrations.trajectories[t].user;
                self.pairs.push(Pair { user, better: chosen..chosen + 1, worse: unchosen..unchosen + 1 });
            }
        }
        Ok(())
    }

    /// Takes the pairs of a `fraction` of the users away, drawn by `draw`; at least one user is left.
    pub fn hold_out(&mut self, fraction: f64, mut draw: ChaCha8Rng) -> Vec<Pair> {
        let mut users: Vec<u32> = self.pairs.iter().map(|pair| pair.user).collect();
        users.sort_unstable();
        users.dedup();
        let count = ((users.len() as f64 * fraction) as usize).min(users.len().saturating_sub(1));
        users.shuffle(&mut draw);
        users.truncate(count);
        let (held_out, kept) = std::mem::take(&mut self.pairs).into_iter().partition(|pair| users.contains(&pair.user));
        self.pairs = kept;
        held_out
    }

    /// Number of decisions.
    #[must_use]
    pub fn decisions(&self) -> usize {
        self.decisions.len()
    }

    /// States and items of decisions.
    #[must_use]
    pub fn take(&self, decisions: &[usize]) -> (Observation, Vec<u32>) {
        let states: Vec<usize> = decisions.iter().map(|&decision| self.decisions[decision].0).collect();
        (self.states.take(&states), decisions.iter().map(|&decision| self.decisions[decision].1).collect())
    }
}

impl PairBatch {
    /// Of these pairs; `averaged` divides by the steps of each side.
    ///
    /// # Errors
    /// When the device refuses the tensor.
    pub fn new(pairs: &[&Pair], averaged: bool, device: &Device) -> Result<Self> {
        let decisions: Vec<usize> =
            pairs.iter().flat_map(|pair| pair.better.clone().chain(pair.worse.clone())).collect();
        let mut signs = vec![0.0_f32; pairs.len() * decisions.len()];
        let mut place = 0;
        for (row, pair) in pairs.iter().enumerate() {
            for (side, sign) in [(&pair.better, 1.0), (&pair.worse, -1.0)] {
                let share = if averaged { sign / side.len() as f32 } else { sign };
                signs[row * decisions.len() + place..][..side.len()].fill(share);
                place += side.len();
            }
        }
        Ok(Self { signs: Tensor::from_vec(signs, (pairs.len(), decisions.len()), device)?, decisions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Repeats, Step, Termination, Trajectory};
    use crate::env::cluster_world;
    use crate::nn::rng;

    fn session(user: u32, steps: &[(u32, f32, &[u32])]) -> Trajectory {
        let step = |&(item, reward, candidates): &(u32, f32, &[u32])| Step {
            item,
            reward,
            candidates: candidates.to_vec(),
            scores: vec![],
            call: String::new(),
        };
        Trajectory { user, steps: steps.iter().map(step).collect(), end: Termination::Stopped }
    }

    /// Decisions 0 and 1; 2; 3; 4.
    fn demonstrated() -> Demonstrations {
        Demonstrations::new(vec![
            session(1, &[(0, 2.0, &[0, 1, 3]), (1, 1.0, &[0, 1])]),
            session(0, &[(2, 9.0, &[2])]),
            session(1, &[(3, 3.0, &[])]),
            session(1, &[(3, 5.0, &[])]),
        ])
    }

    fn sides(pairs: &[Pair]) -> Vec<(u32, Range<usize>, Range<usize>)> {
        pairs.iter().map(|pair| (pair.user, pair.better.clone(), pair.worse.clone())).collect()
    }

    #[test]
    fn sessions_of_a_user_are_paired_where_their_returns_differ() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 9, 2);
        let all = Pairs::new(&demonstrated(), PairsFrom::Sessions, &world, 2).unwrap();
        // Sessions 0 and 2 both return 3.
        assert_eq!(sides(&all.pairs), [(1, 4..5, 0..2), (1, 4..5, 3..4)]);
        let batch = PairBatch::new(&all.pairs.iter().collect::<Vec<_>>(), false, &Device::Cpu).unwrap();
        assert_eq!(batch.decisions, [4, 0, 1, 4, 3]);
        assert_eq!(batch.signs.to_vec2::<f32>().unwrap(), [[1.0, -1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, -1.0]]);
        let batch = PairBatch::new(&[&all.pairs[0]], true, &Device::Cpu).unwrap();
        assert_eq!(batch.signs.to_vec2::<f32>().unwrap(), [[1.0, -0.5, -0.5]]);
        assert_eq!(all.take(&[1, 4]).1, [1, 3]);
        let alone = Demonstrations::new(demonstrated().trajectories[..2].to_vec());
        let error = Pairs::new(&alone, PairsFrom::Sessions, &world, 2).err().unwrap().to_string();
        assert!(error.contains("no user has two sessions of different returns among 2") && error.contains("help: "));
    }

    #[test]
    fn what_was_chosen_is_paired_with_what_was_not() {
        let mut world = cluster_world(&[5.0, 4.0], 2, 1, 9, 2);
        let all = Pairs::new(&demonstrated(), PairsFrom::Candidates, &world, 2).unwrap();
        assert_eq!(sides(&all.pairs), [(1, 0..1, 5..6), (1, 0..1, 6..7), (1, 1..2, 7..8)]);
        assert_eq!(all.take(&[5, 6, 7]).1, [1, 3, 0]);
        assert_eq!(all.take(&[5, 7]).0, all.take(&[0, 1]).0, "in the state in which the other was chosen");
        // Item 0 may not be shown again at the second step.
        world.rules.repeats = Repeats::Masked;
        assert_eq!(Pairs::new(&demonstrated(), PairsFrom::Candidates, &world, 2).unwrap().pairs.len(), 2);
        let without = Demonstrations::new(demonstrated().trajectories[1..].to_vec());
        let error = Pairs::new(&without, PairsFrom::Candidates, &world, 2).err().unwrap().to_string();
        assert!(error.contains("records a candidate that was not chosen\nhelp: "), "{error}");
        let beyond = Demonstrations::new(vec![session(0, &[(0, 1.0, &[0, 4])])]);
        let error = Pairs::new(&beyond, PairsFrom::Candidates, &world, 2).err().unwrap().to_string();
        assert!(error.contains("trajectory 0, step 0: candidate 4 is not among the world's 4\nhelp: "), "{error}");
    }

    #[test]
    fn users_are_held_out_whole_and_one_is_left() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 9, 10);
        let both =
            |user| [session(user, &[(0, 1.0, &[])]), session(user, &[(1, 2.0, &[])]), session(user, &[(2, 3.0, &[])])];
        let recorded = Demonstrations::new((0..10).flat_map(both).collect());
        let split = |fraction: f64| {
            let mut all = Pairs::new(&recorded, PairsFrom::Sessions, &world, 2).unwrap();
            let held_out = all.hold_out(fraction, rng(&[7]));
            assert!(held_out.iter().all(|pair| all.pairs.iter().all(|kept| kept.user != pair.user)));
            [held_out.len(), all.pairs.len()]
        };
        assert_eq!([split(0.0), split(0.25), split(0.99)], [[0, 30], [6, 24], [27, 3]]);
    }
}
