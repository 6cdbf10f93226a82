//! Demonstrations as training pairs.

use anyhow::{Result, ensure};
use candle_core::Tensor;
use pipeline::Requirement;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::advantage_weighted::weighted_loss;
use super::dataset::Demonstration;
use crate::artifact::{self, Demonstrations, Weights, World};
use crate::env::{Observation, states, states_for_candidates};
use crate::nn::ActorCritic;
use crate::nn::sampled_softmax::{Candidates, Proposal};

/// What the expert did in each state, in the order of the demonstrations: N pairs.
pub struct BcDataset {
    /// `[N]` states.
    pub observation: Observation,
    /// `[N]` items.
    pub actions: Vec<u32>,
    /// `[N]`, mean 1.
    pub weights: Vec<f32>,
}

impl BcDataset {
    /// Pairs with states of the last `window` items. Without weights each counts 1.
    ///
    /// # Errors
    /// See [`Demonstration::all`]; and where the weights are of other steps, or one is no number.
    pub fn new(
        demonstrations: &Demonstrations,
        weights: Option<&Weights>,
        world: &World,
        window: usize,
    ) -> Result<Self> {
        let mut pairs = Self { observation: Observation::of(world, window), actions: vec![], weights: vec![] };
        let (horizon, padding) = (world.rules.horizon, world.items() as u32);
        for Demonstration { user, items, rewards, .. } in Demonstration::all(demonstrations, world)? {
            for (step, &item) in items.iter().enumerate() {
                pairs.observation.push(user, &items[..step], &rewards[..step], horizon, padding);
                pairs.actions.push(item);
            }
        }
        pairs.weights = match weights {
            Some(weights) => {
                check_paired(weights, demonstrations)?;
                weights.weight.clone()
            }
            None => vec![1.0; pairs.actions.len()],
        };
        Ok(pairs)
    }

    /// Takes out the pairs of a share of the users: at least one stays.
    pub fn hold_out(&mut self, fraction: f64, mut draw: ChaCha8Rng) -> Self {
        let mut users = self.observation.user.clone();
        users.sort_unstable();
        users.dedup();
        let count = ((users.len() as f64 * fraction) as usize).min(users.len().saturating_sub(1));
        users.shuffle(&mut draw);
        users.truncate(count);
        users.sort_unstable();
        let of_held = |&row: &usize| users.binary_search(&self.observation.user[row]).is_ok();
        let (held_out, kept): (Vec<usize>, Vec<usize>) = (0..self.actions.len()).partition(of_held);
        let held_out = self.take(&held_out);
        *self = self.take(&kept);
        held_out
    }

    fn take(&self, rows: &[usize]) -> Self {
        Self {
            observation: self.observation.take(rows),
            actions: self.actions_of(rows),
            weights: rows.iter().map(|&row| self.weights[row]).collect(),
        }
    }

    /// −mean(log π(a|s)) over all pairs, without weights and without a gradient, `batch` of them at a time; 0 of none.
    ///
    /// # Errors
    /// When the network is of another world.
    pub fn mean_loss(&self, network: &ActorCritic, batch: usize) -> Result<f64> {
        let rows: Vec<usize> = (0..self.actions.len()).collect();
        let mut sum = 0.0;
        for rows in rows.chunks(batch) {
            let states = states(network, &self.observation.take(rows))?;
            let chosen = network.action_log_prob(&states, &self.actions_of(rows))?.log_prob.to_vec1::<f32>()?;
            sum -= chosen.into_iter().map(f64::from).sum::<f64>();
        }
        Ok(sum / rows.len().max(1) as f64)
    }

    /// Pairs for a learner with a behaviour-cloning loss: those of [`BcDataset::new`] where `bc_coef` is above 0.
    ///
    /// # Errors
    /// When there is something to imitate by, but nothing to imitate; and see [`BcDataset::new`]: weights of other steps are
    /// refused even where nothing is imitated.
    pub fn optional(
        bc_coef: f64,
        demonstrations: Option<&Demonstrations>,
        weights: Option<&Weights>,
        world: &World,
        window: usize,
    ) -> Result<Option<Self>> {
        match demonstrations {
            Some(demonstrations) if bc_coef > 0.0 => Ok(Some(Self::new(demonstrations, weights, world, window)?)),
            None if bc_coef > 0.0 => anyhow::bail!(
                "bc_coef is {bc_coef}, but no `demonstrations` are connected\nhelp: connect them, or set `bc_coef: 0`"
            ),
            _ => {
                if let (Some(demonstrations), Some(weights)) = (demonstrations, weights) {
                    check_paired(weights, demonstrations)?;
                }
                Ok(None)
            }
        }
    }

    /// The port that a weight of the behaviour-cloning loss requires.
    #[must_use]
    pub fn requirement(bc_coef: f64) -> Option<Requirement> {
        (bc_coef > 0.0).then(|| Requirement {
            setting: "bc_coef",
            port: "demonstrations",
            connected: true,
            why: format!("it is {bc_coef}, so demonstrations are required"),
            help: "connect demonstrations, or set `bc_coef: 0`",
        })
    }

    /// Up to `count` different rows.
    #[must_use]
    pub fn draw(&self, count: usize, mut draw: ChaCha8Rng) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.actions.len()).collect();
        rows.shuffle(&mut draw);
        rows.truncate(count);
        rows
    }

    /// L_imit = −mean(w · log π(a|s)) over the pairs at `rows` (IL-Rec's imitation loss).
    ///
    /// # Errors
    /// When a row is none of the pairs, or the network is of another world.
    pub fn imitation_loss(&self, network: &ActorCritic, rows: &[usize]) -> Result<Tensor> {
        let states = states(network, &self.observation.take(rows))?;
        let chosen = network.action_log_prob(&states, &self.actions_of(rows))?;
        self.weighted_loss_of(&chosen.log_prob, rows)
    }

    /// The same by a softmax over `negatives` draws from `proposal`, one sample for all of the rows.
    ///
    /// # Errors
    /// See [`BcDataset::imitation_loss`]; and when the proposal is of another catalogue.
    pub fn sampled_imitation_loss(
        &self,
        network: &ActorCritic,
        rows: &[usize],
        (proposal, negatives): (&Proposal, usize),
        draw: &mut ChaCha8Rng,
    ) -> Result<Tensor> {
        self.loss_among(network, rows, &proposal.candidates(&self.actions_of(rows), negatives, draw)?)
    }

    /// −mean(w·log π̂(a|s)) over the pairs at `rows`, log π̂ among the demonstrated item and the first `most` of the user's candidates.
    ///
    /// # Errors
    /// See [`BcDataset::imitation_loss`].
    pub fn candidate_imitation_loss(
        &self,
        network: &ActorCritic,
        rows: &[usize],
        (candidates, most): (&artifact::Candidates, usize),
    ) -> Result<Tensor> {
        let first = |row: &usize| {
            let items = &candidates.items[self.observation.user[*row] as usize];
            &items[..most.min(items.len())]
        };
        self.loss_among(network, rows, &Candidates::of_sets(rows.iter().map(first), &self.actions_of(rows))?)
    }

    fn loss_among(&self, network: &ActorCritic, rows: &[usize], candidates: &Candidates) -> Result<Tensor> {
        let states = states_for_candidates(network, &self.observation.take(rows), candidates)?;
        self.weighted_loss_of(&network.sampled_log_prob(&states, candidates)?, rows)
    }

    fn actions_of(&self, rows: &[usize]) -> Vec<u32> {
        rows.iter().map(|&row| self.actions[row]).collect()
    }

    /// The loss by `log_prob [B]` of the pairs at B `rows`.
    fn weighted_loss_of(&self, log_prob: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let weights = Tensor::from_iter(rows.iter().map(|&row| self.weights[row]), log_prob.device())?;
        Ok(weighted_loss(log_prob, &weights)?)
    }
}

/// Whether the weights are of these steps, one of each in their order.
fn check_paired(weights: &Weights, demonstrations: &Demonstrations) -> Result<()> {
    let help = "help: connect to `demonstrations` what is connected to `demonstrations` of the irl stage that made the `weights`";
    let steps: Vec<(usize, usize)> = demonstrations.steps().map(|(t, s, _)| (t, s)).collect();
    let rows = weights.weight.len();
    ensure!(rows == steps.len(), "{rows} weights for {} demonstrated steps\n{help}", steps.len());
    for (row, (t, s)) in steps.into_iter().enumerate() {
        let (trajectory, step) = (weights.trajectory[row] as usize, weights.step[row] as usize);
        ensure!(
            (trajectory, step) == (t, s),
            "row {row} of the weights is of trajectory {trajectory}, step {step}; the demonstrations have trajectory {t}, step \
             {s} there\n{help}"
        );
        for (name, weight) in [("weight", weights.weight[row]), ("w_env", weights.w_env[row])] {
            ensure!(
                weight.is_finite(),
                "`{name}` of demonstrated trajectory {t}, step {s} is {weight}, which is not finite\nhelp: look at the irl stage \
                 that weighed it"
            );
        }
    }
    // As many steps in as many episodes may still be others.
    ensure!(
        weights.demonstrations == demonstrations.digest(),
        "the steps at `weights` are not those at `demonstrations`: they are as many, but of other users, items or rewards\n{help}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::rl::conformance::demonstrated_cycles;

    #[test]
    fn whole_users_are_held_out() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 3, 5);
        let demonstrations = demonstrated_cycles(&world, &[&[0, 2, 4]]);
        let all = || BcDataset::new(&demonstrations, None, &world, 2).unwrap();
        for (fraction, count) in [(0.0, 0), (0.4, 2), (1.0, 4)] {
            let mut kept = all();
            let held_out = kept.hold_out(fraction, crate::nn::rng(&[1]));
            assert_eq!((held_out.actions.len(), kept.actions.len()), (3 * count, 15 - 3 * count));
            assert!(held_out.observation.user.iter().all(|user| !kept.observation.user.contains(user)));
        }
        let network = crate::rl::conformance::small_network().build(&world, 1, &candle_core::Device::Cpu).unwrap();
        let loss = all().imitation_loss(&network, &(0..15).collect::<Vec<_>>()).unwrap().to_scalar::<f32>().unwrap();
        assert!((all().mean_loss(&network, 4).unwrap() - f64::from(loss)).abs() < 1e-5);
    }

    #[test]
    fn weights_of_other_steps_are_refused() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 3, 2);
        let demonstrations = demonstrated_cycles(&world, &[&[0, 2, 4]]);
        let weights = Weights {
            trajectory: vec![0, 0, 0, 1, 1, 1],
            step: vec![0, 1, 2, 0, 1, 2],
            w_env: vec![1.0; 6],
            w_irl: vec![1.0; 6],
            weight: vec![0.5, 1.5, 1.0, 0.5, 1.5, 1.0],
            demonstrations: demonstrations.digest(),
        };
        let pairs = |weights: &Weights| BcDataset::new(&demonstrations, Some(weights), &world, 2);
        assert_eq!(pairs(&weights).unwrap().weights, weights.weight);
        let refused = |weights: Weights, wanted: &str| {
            let error = pairs(&weights).err().unwrap().to_string();
            assert!(error.contains(wanted) && error.contains("help: "), "{error}");
        };
        // As many rows, cut into other episodes.
        let others = Weights { trajectory: vec![0, 0, 1, 1, 1, 1], step: vec![0, 1, 0, 1, 2, 3], ..weights.clone() };
        refused(
            others,
            "row 2 of the weights is of trajectory 1, step 0; the demonstrations have trajectory 0, step 2",
        );
        let mut rewarded = demonstrations.clone();
        rewarded.trajectories[1].steps[2].reward += 1.0;
        let of_others = Weights { demonstrations: rewarded.digest(), ..weights.clone() };
        refused(of_others.clone(), "the steps at `weights` are not those at `demonstrations`");
        let idle = BcDataset::optional(0.0, Some(&demonstrations), Some(&of_others), &world, 2);
        assert!(idle.is_err(), "a wrong wiring is refused where nothing is imitated, too");
        refused(Weights { weight: vec![1.0; 5], ..weights.clone() }, "5 weights for 6 demonstrated steps");
        let nan = vec![1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0];
        refused(Weights { w_env: nan, ..weights }, "`w_env` of demonstrated trajectory 1, step 1 is NaN");
    }
}
