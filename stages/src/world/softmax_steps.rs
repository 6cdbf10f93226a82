//! The training of a two-tower softmax: in-batch candidates, further ones drawn uniformly, and their log-Q correction.
//!
//! ```text
//! L = −1/B Σ_k ln( e^(s(u_k, i_k) − ln Q_{i_k}) / Σ_{j ∈ C_k} e^(s(u_k, j) − ln Q_j) ) + λ/B·(Σ_k |p_{u_k}|²/n_{u_k} + Σ_{j ∈ C} |q_j|²/n_j)
//! Q_j = B·c_j/N + M/I
//! ```
//!
//! C holds the items of the batch's B interactions and M that are drawn uniformly from I; C_k leaves those out that are i_k once more. c_j of
//! the N interactions are of item j, so Q_j is how often j is expected in C: Σ_{j ∈ C} e^s/Q estimates Σ_j e^s without bias (Bengio and
//! Senécal 2008, eq. 9; Yi et al. 2019, RecSys, eqs. 4 and 5; with uniform draws beside the batch Yang et al. 2020, WWW companion). n is
//! how often an epoch uses a row, so that over an epoch the penalty is λ times the squared size of both towers.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use pipeline::Context;
use rand::{Rng, RngExt};
use rayon::prelude::*;

use super::lookups::{PenaltyWeights, TableUses, clear_unused_rows};
use super::rated_log::{Ratings, Sample};
use super::shuffled_log::ShuffledLog;
use super::towers::Towers;
use super::two_tower_settings::TwoTower;
use crate::artifact::{Curves, Interactions};
use crate::nn::loss::{HeadInputs, output_layer};
use crate::nn::{AdamW, Params, TrainingCheckpoints, TrainingState, rng};

/// Interactions of the hold-out that are scored.
const SCORED: usize = 4096;
/// Places of the list in which a held-out item is looked for.
const TOP: usize = 20;

/// A training with what it counts in the log.
pub(super) struct SoftmaxFit<'a> {
    config: &'a TwoTower,
    log: Ratings<'a>,
    /// ln Q of each item; zeros without correction.
    log_q: Vec<f32>,
    tables: TableUses,
}

impl<'a> SoftmaxFit<'a> {
    pub fn new(config: &'a TwoTower, positives: &'a Interactions, shape: [usize; 2]) -> Self {
        let [users, items] = shape;
        let count = |ids: &[u32], rows: usize| {
            let mut counts = vec![0.0_f64; rows];
            ids.iter().for_each(|&id| counts[id as usize] += 1.0);
            counts
        };
        let chosen = count(&positives.item, items);
        let (rows, batch) = (positives.len() as f64, config.batch_size.min(positives.len()) as f64);
        let drawn = config.n_uniform_negatives as f64 / items as f64;
        let log_q = |&count: &f64| match config.log_q_correction {
            true => (batch * count / rows + drawn).ln() as f32,
            false => 0.0,
        };
        let steps = positives.len().div_ceil(config.batch_size) as f64;
        let candidate_uses = chosen.iter().map(|count| count + steps * drawn).collect();
        Self {
            config,
            log: Ratings { log: positives, shape, weights: None, negatives: None, holdout: None },
            log_q: chosen.iter().map(log_q).collect(),
            tables: TableUses::from([("user", count(&positives.user, users)), ("item", candidate_uses)]),
        }
    }

    /// Trains the towers, epoch by epoch, and scores the hold-out after each.
    pub fn run(&self, params: &Params, towers: &Towers, holdout: &Interactions, cx: &Context) -> Result<Curves> {
        let config = self.config;
        let mut adam = config.optimizer.adam(params)?.with_sparse_rows();
        let mut curves = Curves::default();
        let training = TrainingCheckpoints::open(cx, "towers", 1)?;
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            state(params, &mut adam, &mut curves).restore(&bytes)?;
            done = number;
        } else if config.l2 > 0.0 {
            clear_unused_rows(params, &self.tables)?;
        }
        let weights = PenaltyWeights::new(&self.tables, self.log.log.len() as f64, params.device())?;
        let held_out = HeldOut::new(holdout, self.log.log);
        let rows = self.log.log.len() as u64;
        let bar = cx.bar("fit", Some(config.n_epochs * rows), "interactions");
        bar.inc(done * rows);
        let mut log = ShuffledLog::default();
        for epoch in done..config.n_epochs {
            log.shuffle(&self.log, [config.seed, epoch]);
            adam.learning_rate = config.optimizer.rate(epoch, config.n_epochs);
            let mut sum = 0.0;
            for (number, samples) in log.batches(config.batch_size).enumerate() {
                let mut draw = rng(&[config.seed, 0x2707, epoch, number as u64]);
                let (loss, penalty) = self.loss(towers, samples, &mut draw, &weights)?;
                sum += f64::from(loss.to_scalar::<f32>()?) * samples.len() as f64;
                adam.descend(params, &(loss + penalty)?).with_context(|| format!("epoch {epoch}"))?;
                bar.inc(samples.len() as u64);
            }
            let loss = sum / self.log.log.len() as f64;
            curves.push("softmax_loss.train", epoch + 1, loss);
            let mut message = format!("loss {loss:.4}");
            if let Some([nll, recall]) = held_out.score(towers)? {
                curves.push("nll.holdout", epoch + 1, nll);
                curves.push("recall_at_20.holdout", epoch + 1, recall);
                message += &format!(", held out {nll:.4}");
            }
            bar.inc_with(0, &message);
            training.after_unit(epoch + 1, || state(params, &mut adam, &mut curves).save())?;
        }
        Ok(curves)
    }

    /// The softmax loss of a batch and its penalty, scalars.
    fn loss(
        &self,
        towers: &Towers,
        samples: &[Sample],
        draw: &mut impl Rng,
        weights: &PenaltyWeights,
    ) -> Result<(Tensor, Tensor)> {
        let (device, items) = (towers.user.device(), self.log.shape[1] as u32);
        let drawn = (0..self.config.n_uniform_negatives).map(|_| draw.random_range(0..items));
        let candidates: Vec<u32> = samples.iter().map(|sample| sample.item).chain(drawn).collect();
        let users = Tensor::from_iter(samples.iter().map(|sample| sample.user), device)?;
        let there = Tensor::new(candidates.as_slice(), device)?;
        let (of_users, of_items) = (towers.users(&users)?, towers.items(&there)?);
        let log_q = Tensor::from_iter(candidates.iter().map(|&item| self.log_q[item as usize]), device)?;
        let biases = (&of_items.bias - log_q)?;
        let allowed = allowed(samples, &candidates, device)?;
        let inputs = HeadInputs { action_mask: Some(&allowed), features: None };
        let own: Vec<u32> = (0..samples.len() as u32).collect();
        let loss =
            output_layer(&of_users.vectors, &of_items.vectors, &biases, inputs, &own)?.log_prob.mean_all()?.neg()?;
        let of_users = (of_users.own.sqr()?.sum(1)? * weights.of("user", &users)?)?.sum_all()?;
        let of_items = (of_items.own.sqr()?.sum(1)? * weights.of("item", &there)?)?.sum_all()?;
        let mut penalty = (of_users + of_items)?;
        if let Some(shared) = towers.shared_size()? {
            penalty = (penalty + (shared * weights.of_shared(samples.len()))?)?;
        }
        Ok((loss, (penalty * (self.config.l2 / samples.len() as f64))?))
    }
}

fn state<'a>(params: &'a Params, adam: &'a mut AdamW, curves: &'a mut Curves) -> TrainingState<'a> {
    TrainingState { networks: vec![("towers", params, adam)], arrays: BTreeMap::new(), curves }
}

/// `[B, C]`: 0 where a candidate of an interaction is its own item once more, else 1.
fn allowed(samples: &[Sample], candidates: &[u32], device: &Device) -> Result<Tensor> {
    let mut allowed = vec![1.0_f32; samples.len() * candidates.len()];
    let rows = allowed.par_chunks_exact_mut(candidates.len()).zip(samples).enumerate();
    rows.with_min_len(32).for_each(|(own, (allowed, sample))| {
        let columns = allowed.iter_mut().zip(candidates).enumerate();
        let again = columns.filter(|(column, (_, item))| **item == sample.item && *column != own);
        again.for_each(|(_, (allowed, _))| *allowed = 0.0);
    });
    Ok(Tensor::from_vec(allowed, (samples.len(), candidates.len()), device)?)
}

/// Held-out interactions with what their users chose before.
struct HeldOut {
    user: Vec<u32>,
    item: Vec<u32>,
    chosen: HashMap<u32, HashSet<u32>>,
}

impl HeldOut {
    /// Those of `holdout`, at equal distances in it where there are many.
    fn new(holdout: &Interactions, fitted: &Interactions) -> Self {
        let rows: Vec<usize> = match holdout.len() {
            all if all <= SCORED => (0..all).collect(),
            all => (0..SCORED).map(|k| k * all / SCORED).collect(),
        };
        let taken = holdout.take(&rows);
        let mut chosen: HashMap<u32, HashSet<u32>> = taken.user.iter().map(|&user| (user, HashSet::new())).collect();
        for (user, &item) in fitted.user.iter().zip(&fitted.item) {
            if let Some(chosen) = chosen.get_mut(user) {
                chosen.insert(item);
            }
        }
        Self { user: taken.user, item: taken.item, chosen }
    }

    /// Mean −ln p(i|u), and the share of the items that are among the first [`TOP`] of those that the user did not choose; `None` without
    /// any.
    fn score(&self, towers: &Towers) -> Result<Option<[f64; 2]>> {
        if self.user.is_empty() {
            return Ok(None);
        }
        let catalogue = towers.catalogue()?;
        let (mut nll, mut found) = (0.0, 0);
        for (users, items) in self.user.chunks(64).zip(self.item.chunks(64)) {
            let all = towers.log_probabilities(users, &catalogue)?.to_vec2::<f32>()?;
            for ((user, &item), log_p) in users.iter().zip(items).zip(all) {
                let own = log_p[item as usize];
                nll -= f64::from(own);
                let better = log_p.iter().zip(0_u32..).filter(|(log_p, _)| **log_p > own);
                let chosen = &self.chosen[user];
                found += usize::from(better.filter(|(_, other)| !chosen.contains(other)).take(TOP).count() < TOP);
            }
        }
        let rows = self.user.len() as f64;
        Ok(Some([nll / rows, found as f64 / rows]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;
    use crate::nn::gradient_check::assert_every_parameter_learns;
    use crate::world::side_features::Declarations;

    fn positives() -> Interactions {
        Interactions { user: vec![0, 1, 0, 2], item: vec![1, 1, 0, 3], rating: vec![1.0; 4], timestamp: vec![0; 4] }
    }

    fn config() -> TwoTower {
        TwoTower { embedding: 2, batch_size: 3, n_uniform_negatives: 4, l2: 0.5, ..TwoTower::default() }
    }

    fn draws() -> impl Rng {
        rng(&[9])
    }

    /// The formula of the module's description over rows of (p) and (b, q), in f64.
    fn by_hand(users: &[f64], items: &[f64]) -> f64 {
        let (log, mut draw) = (positives(), draws());
        let candidates: Vec<usize> = log.item[..3]
            .iter()
            .copied()
            .chain((0..4).map(|_| draw.random_range(0..4_u32)))
            .map(|x| x as usize)
            .collect();
        // Items 0, 1, 2, 3 were chosen once, twice, never, once; each is drawn once a step, in two steps an epoch.
        let chosen = [1.0, 2.0, 0.0, 1.0];
        let score = |user: usize, item: usize| {
            let (p, row) = (&users[user * 2..][..2], &items[item * 3..][..3]);
            row[0] + p[0] * row[1] + p[1] * row[2] - (3.0 * chosen[item] / 4.0 + 1.0_f64).ln()
        };
        let mut loss = 0.0;
        for k in 0..3 {
            let (user, item) = (log.user[k] as usize, log.item[k] as usize);
            let others = candidates.iter().enumerate().filter(|(place, other)| *place == k || **other != item);
            loss -= score(user, item) - others.map(|(_, &other)| score(user, other).exp()).sum::<f64>().ln();
            let p = &users[user * 2..][..2];
            loss += 0.5 * (p[0] * p[0] + p[1] * p[1]) / [2.0, 1.0, 1.0][user];
        }
        for item in candidates {
            let q = &items[item * 3 + 1..][..2];
            loss += 0.5 * (q[0] * q[0] + q[1] * q[1]) / (chosen[item] + 2.0);
        }
        loss / 3.0
    }

    #[test]
    fn the_loss_is_that_of_the_formula_and_its_gradients_are_those_of_finite_differences() {
        let (config, log, mut params) = (config(), positives(), Params::default());
        let towers = Towers::new(&mut params, &config, [3, 4], None, &Declarations::default()).unwrap();
        let fit = SoftmaxFit::new(&config, &log, [3, 4]);
        let weights = PenaltyWeights::new(&fit.tables, 4.0, &Device::Cpu).unwrap();
        let samples: Vec<Sample> = (0..3).map(|row| fit.log.sample(row)).collect();
        let loss = || {
            let (loss, penalty) = fit.loss(&towers, &samples, &mut draws(), &weights).unwrap();
            (loss + penalty).unwrap()
        };
        let values = |tensor: &Tensor| -> Vec<f64> {
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
        };
        let tables = [values(&towers.user), values(&towers.item)];
        let found = f64::from(loss().to_scalar::<f32>().unwrap());
        let wanted = by_hand(&tables[0], &tables[1]);
        assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
        let gradients = loss().backward().unwrap();
        for (side, table) in [&towers.user, &towers.item].into_iter().enumerate() {
            for (k, found) in values(gradients.get(table).unwrap()).into_iter().enumerate() {
                let at = |by: f64| {
                    let mut tables = tables.clone();
                    tables[side][k] += by;
                    by_hand(&tables[0], &tables[1])
                };
                let wanted = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((found - wanted).abs() < 1e-4, "table {side}, number {k}: {found} {wanted}");
            }
        }
    }

    #[test]
    fn every_parameter_learns_with_vectors_too() {
        let (config, log, mut params) = (config(), positives(), Params::default());
        let vectors = Array::new(&[4, 2], vec![1.0, 0.0, -1.0, 0.5, 2.0, 1.0, 0.0, 0.3]);
        let towers = Towers::new(&mut params, &config, [3, 4], Some(&vectors), &Declarations::default()).unwrap();
        let fit = SoftmaxFit::new(&config, &log, [3, 4]);
        let weights = PenaltyWeights::new(&fit.tables, 4.0, &Device::Cpu).unwrap();
        let samples: Vec<Sample> = (0..4).map(|row| fit.log.sample(row)).collect();
        assert_every_parameter_learns(&params, || {
            let (loss, penalty) = fit.loss(&towers, &samples, &mut draws(), &weights).unwrap();
            loss + penalty
        });
    }

    #[test]
    fn a_large_holdout_is_scored_at_equal_distances_and_an_empty_one_not_at_all() {
        let count = 3 * SCORED;
        let many = Interactions {
            user: vec![0; count],
            item: (0..count as u32).collect(),
            rating: vec![1.0; count],
            timestamp: vec![0; count],
        };
        let held_out = HeldOut::new(&many, &positives());
        assert!(held_out.item.len() == SCORED && held_out.item.iter().zip(0..).all(|(&item, k)| item == 3 * k));
        assert_eq!(held_out.chosen[&0], HashSet::from([0, 1]));
        let mut params = Params::default();
        let towers = Towers::new(&mut params, &config(), [3, 4], None, &Declarations::default()).unwrap();
        assert_eq!(HeldOut::new(&Interactions::default(), &positives()).score(&towers).unwrap(), None);
        // Of four items each held-out one is among the first twenty.
        let [nll, recall] = HeldOut::new(&positives(), &positives()).score(&towers).unwrap().unwrap();
        assert!((nll - 4.0_f64.ln()).abs() < 0.1 && recall == 1.0, "{nll} {recall}");
    }
}
