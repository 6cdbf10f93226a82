//! Several models of one family, fitted with seeds of their own: the world's reward is their mean, its uncertainty their
//! standard deviation (Lakshminarayanan, Pritzel and Blundell 2017, without the adversarial examples).
//!
//! Every family of fitted worlds ends here: models become a world, curves, and a calibration on what was held out.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use pipeline::{Context, MemoryNeed, Sizes};
use rayon::prelude::*;

use super::completion::{Answers, Completed, Fitted, OnDevice, factored, stored};
use super::fit_metrics::CalibrationStats;
use super::fit_settings::Fit;
use super::ips::Ips;
use super::prior_mean::{AroundPrior, PriorMean};
use super::rated_log::Ratings;
use super::rating_model::RatingModel;
use super::world_memory::{of_fit, with_distances, with_stored};
use super::{Inputs, Outputs, UserSimulator, WorldForm};
use crate::artifact::{Calibration, Curves, Interactions, Rewards};
use crate::nn::{Params, device};
use crate::ratings::NegativeSampler;

/// What to do with a log of one rating.
const NO_TASTE: &str = "name the log's ratings where it is read (`rating`). Where it only says what people chose, set \
                        `sample_negatives: true`, so that what they did not is fitted to 0, or take `world.ials` or `world.two_tower`, which \
                        are made for it (a study of `apprentice worth` takes the setting from a world of its experiment)";

/// What an ensemble is besides its models; each family has fields and defaults of its own for it.
pub(super) struct Ensemble<'a> {
    /// How many models.
    pub members: u64,
    /// The first one's seed; each next takes the next one.
    pub seed: u64,
    /// Whether an item that the user did not rate is fitted to 0 beside each rating.
    pub negatives: bool,
    /// How ratings are weighted where propensities are connected.
    pub ips: &'a Ips,
    /// How the world holds its rewards.
    pub form: WorldForm,
    /// How simulated users behave.
    pub simulator: &'a UserSimulator,
}

/// One fitted model.
pub(super) struct Member {
    /// What happened while it was fitted.
    pub curves: Curves,
    /// What answers for every user and item.
    pub model: Box<dyn Fitted>,
}

impl Ensemble<'_> {
    /// What no type can say.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.members == 0 {
            return Err(("ensemble_size".into(), "an ensemble has at least one member".into()));
        }
        self.ips.check()?;
        self.simulator.check()
    }

    /// Fits the members and completes their mean: `fit` says how the one of that checkpoint's name and seed is fitted, `build`
    /// makes a new model of a seed, around the mean of what is fitted.
    pub(super) fn run<M: RatingModel + 'static>(
        &self,
        inputs: &Inputs,
        cx: &Context,
        fit: impl Fn(String, u64) -> Fit + Sync,
        build: impl Fn(&mut Params, u64, f64) -> Result<M> + Sync,
    ) -> Result<Outputs> {
        let log = &inputs.interactions;
        ensure!(!log.is_empty(), "no interaction to fit a world on");
        inputs.check(self.negatives, NO_TASTE)?;
        let (users, items) = (inputs.users.len(), inputs.items.len());
        let weights = self.weights(inputs)?;
        let negatives = self.negatives.then(|| NegativeSampler::new(log, users, items));
        let ratings = Ratings {
            log,
            shape: [users, items],
            weights: weights.as_deref(),
            negatives: negatives.as_ref(),
            holdout: inputs.holdout.as_ref(),
        };
        let offsets = PriorMean::of(inputs, cx)?.map(|prior| prior.offsets);
        let mean = mean(log, weights.as_deref());
        // Beside each rating stands a 0.
        let mean = if self.negatives { mean / 2.0 } else { mean };
        let (low, high) = range(log);
        let range = (if self.negatives { low.min(0.0) } else { low }, high);
        let device = device::of(cx)?;
        let member_fit = |k: u64| fit(format!("member{k}"), self.seed.wrapping_add(k));
        // Members are fitted side by side: one bar for all of them, for two of one name would overwrite each other.
        let progress = |k: u64| member_fit(k).progress(log.len(), [users, items]);
        let steps = (0..self.members).map(|k| member_fit(k).n_epochs * progress(k).1).sum();
        let fitting = cx.bar("fit", Some(steps), progress(0).0);
        let member = |k: u64| -> Result<Member> {
            let fit = member_fit(k);
            let mut params = Params::on(&device);
            let model: Box<dyn RatingModel> = match &offsets {
                None => Box::new(build(&mut params, fit.seed, mean)?),
                Some(offsets) => Box::new(AroundPrior::new(build(&mut params, fit.seed, mean)?, offsets, &device)?),
            };
            let curves = fit.run(&params, &*model, &ratings, cx, &fitting)?;
            Ok(Member { curves, model: Box::new(OnDevice { model, device: device.clone() }) })
        };
        let members: Vec<Member> = (0..self.members).into_par_iter().map(member).collect::<Result<_>>()?;
        self.complete(members, range, inputs, cx)
    }

    /// How many tables `[U, I]` a world of these models stores: their mean and, of several, their spread.
    pub(super) fn stored(&self, sizes: &Sizes) -> u64 {
        if self.form.is_factored_for(sizes) { 0 } else { 1 + u64::from(self.members > 1) }
    }

    /// What its largest tables take, of models with `width` numbers for a user and as many for an item; nothing `[U, I]` where the world
    /// holds factors.
    pub(super) fn memory(&self, sizes: &Sizes, width: usize) -> Option<MemoryNeed> {
        let [users, items] = [sizes.get("users")?, sizes.get("items")?];
        let is_factored = self.form.is_factored([users as usize, items as usize]);
        let help = match (is_factored, self.members) {
            (true, 1) => "keep fewer users and items by `filter.kcore`",
            (true, _) => "lower `ensemble_size`, or keep fewer users and items by `filter.kcore`",
            (false, 1) => "set `form: factored`, or keep fewer users and items by `filter.kcore`",
            (false, _) => {
                "set `form: factored`, lower `ensemble_size`, or keep fewer users and items by `filter.kcore`"
            }
        };
        let need = of_fit(help, sizes, self.members, width as u64)?;
        let stored = if self.members > 1 { 8 } else { 4 };
        Some(match is_factored {
            true => with_distances(need, [users, items], self.simulator),
            false => with_stored(need, [users, items], stored, self.simulator),
        })
    }

    /// Completes the mean of fitted models, clamped to `range`, to a world and reports the calibration on the hold-out.
    pub(super) fn complete(
        &self,
        members: Vec<Member>,
        range: (f32, f32),
        inputs: &Inputs,
        cx: &Context,
    ) -> Result<Outputs> {
        let mut curves = Curves::default();
        let count = members.len();
        let mut models = Vec::with_capacity(count);
        for (k, Member { curves: of_member, model }) in members.into_iter().enumerate() {
            for point in of_member.0 {
                let series = if count == 1 { point.series } else { format!("{}.member{k}", point.series) };
                curves.push(&series, point.step, point.value);
            }
            models.push(model);
        }
        let (log, size) = (&inputs.interactions, [inputs.users.len(), inputs.items.len()]);
        let mut calibration = Calibration::default();
        let holdout = inputs.holdout.as_ref().filter(|holdout| !holdout.is_empty());
        let logs: Vec<&Interactions> = [Some(log), holdout].into_iter().flatten().collect();
        let Completed { rewards, ensemble_std, predicted_std, answers } = if self.form.is_factored(size) {
            factored(&models, range, &logs)?
        } else {
            stored(&models, size, range, &logs, cx)?
        };
        drop(models);
        let held = holdout.zip(answers.get(1));
        if !log.is_empty() {
            cx.note("fit", fit_said((log, &answers[0]), held));
        }
        match held {
            None => cx.note("calibration", "none: connect `holdout` to measure the error of the world"),
            Some((holdout, held_answers)) => {
                if let Some(warning) = seen_before(log, holdout) {
                    cx.warn(warning);
                }
                let residual = if log.is_empty() { variance(&rewards) } else { mean_square(&answers[0].mean, log) };
                let stats = of_mean(held_answers, residual, holdout);
                let last = curves.0.iter().map(|point| point.step).max().unwrap_or(0);
                let metrics = stats.metrics();
                for (series, value) in [("rmse", metrics.rmse), ("mae", metrics.mae), ("nll", metrics.nll)] {
                    curves.push(&format!("{series}.holdout.world"), last, value);
                }
                let mut said = format!("rmse {:.4}, mae {:.4}, nll {:.4}", metrics.rmse, metrics.mae, metrics.nll);
                if let Some(propensities) = &inputs.propensities {
                    let of = propensities.of(holdout)?;
                    let weighted = stats.weighted_rmse(&self.ips.weights(&of, size[0] * size[1]));
                    curves.push("rmse.holdout.world.ips", last, weighted);
                    said += &format!(", rmse by inverse propensity {weighted:.4}");
                }
                cx.note("held out", said);
                calibration.0 = stats.bins("mean");
                if count > 1 {
                    for k in 0..count {
                        let residual = mean_square(&answers[0].members[k], log);
                        calibration.0.extend(of_member(held_answers, k, residual, holdout).bins(&format!("member{k}")));
                    }
                }
            }
        }
        let mut world = self.simulator.complete(
            inputs.distances.as_ref(),
            inputs.item_vectors.as_ref(),
            &inputs.items,
            &inputs.users,
            rewards,
            cx,
        )?;
        (world.ensemble_std, world.predicted_std) = (ensemble_std, predicted_std);
        Ok(Outputs { world, curves, calibration })
    }

    /// The weight of each rating, where propensities are connected and weigh the fit.
    pub(super) fn weights(&self, inputs: &Inputs) -> Result<Option<Vec<f64>>> {
        let Some(propensities) = inputs.propensities.as_ref().filter(|_| self.ips.weight_loss) else { return Ok(None) };
        let pairs = inputs.users.len() * inputs.items.len();
        Ok(Some(self.ips.weights(&propensities.of(&inputs.interactions)?, pairs)))
    }
}

/// Σ w·r / Σ w; all weights alike without.
pub(super) fn mean(log: &Interactions, weights: Option<&[f64]>) -> f64 {
    let ratings = log.rating.iter().map(|&r| f64::from(r));
    match weights {
        None => ratings.sum::<f64>() / log.len() as f64,
        Some(weights) => ratings.zip(weights).map(|(r, w)| r * w).sum::<f64>() / weights.iter().sum::<f64>(),
    }
}

/// The smallest and the largest rating.
pub(super) fn range(log: &Interactions) -> (f32, f32) {
    let low = log.rating.iter().copied().fold(f32::INFINITY, f32::min);
    (low, log.rating.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// What is wrong with a hold-out of which more than a tenth was fitted. (A few: people rate an item again, or are asked for one that
/// they had chosen.)
fn seen_before(fitted: &Interactions, holdout: &Interactions) -> Option<String> {
    let pairs = |log: &Interactions| log.user.iter().copied().zip(log.item.iter().copied()).collect::<Vec<_>>();
    let known: HashSet<(u32, u32)> = pairs(fitted).into_iter().collect();
    let (seen, all) = (pairs(holdout).iter().filter(|pair| known.contains(pair)).count(), holdout.len());
    (10 * seen > all).then(|| {
        format!(
            "{seen} of {all} ratings at `holdout` are of a user and an item that were fitted, so the error on them is no \
             test\nhelp: connect ratings that are not at `interactions`"
        )
    })
}

/// The world's predictive variance: the variance between the models, plus noise: the mean of the variances that they state (together
/// the variance of their mixture), or else `residual`, the mean squared error of the mean on the ratings that it was fitted on.
fn of_mean(said: &Answers, residual: f64, holdout: &Interactions) -> CalibrationStats {
    let variance = |row: usize| {
        let spread = said.std.as_ref().map_or(0.0, |std| f64::from(std[row]).powi(2));
        let noise: f64 = said.variances.iter().map(|variance| f64::from(variance[row])).sum();
        spread + if said.variances.is_empty() { residual } else { noise / said.members.len() as f64 }
    };
    stats(&said.mean, variance, holdout)
}

/// The predictive variance of one model: its own, or else `residual`, the mean squared error on the ratings that it was fitted on.
fn of_member(said: &Answers, member: usize, residual: f64, holdout: &Interactions) -> CalibrationStats {
    let stated = said.variances.get(member);
    stats(&said.members[member], |row| stated.map_or(residual, |variance| f64::from(variance[row])), holdout)
}

fn stats(said: &[f32], variance: impl Fn(usize) -> f64, log: &Interactions) -> CalibrationStats {
    CalibrationStats {
        predicted: said.iter().map(|&x| f64::from(x)).collect(),
        variance: (0..said.len()).map(variance).collect(),
        observed: log.rating.clone(),
    }
}

/// Of rewards over all pairs, where they are stored, and over a sample of the pairs otherwise.
fn variance(rewards: &Rewards) -> f64 {
    if !matches!(rewards, Rewards::Dense(_)) {
        let mean = rewards.mean_of_sample(|user, item| f64::from(rewards.of(user, item)));
        return rewards.mean_of_sample(|user, item| (f64::from(rewards.of(user, item)) - mean).powi(2));
    }
    let users = 0..rewards.users() as u32;
    let pairs = (rewards.users() * rewards.items()) as f64;
    let sum = |of: &dyn Fn(f64) -> f64| {
        users.clone().fold(0.0, |sum, user| rewards.row(user).iter().fold(sum, |sum, &x| sum + of(f64::from(x))))
    };
    let mean = sum(&|x| x) / pairs;
    sum(&|x| (x - mean).powi(2)) / pairs
}

/// Mean squared error of what is said of each rating of a log.
pub(super) fn mean_square(said: &[f32], log: &Interactions) -> f64 {
    let error = |(x, &found): (&f32, &f32)| f64::from(x - found).powi(2);
    said.iter().zip(&log.rating).map(error).sum::<f64>() / log.len() as f64
}

/// The error of the world's rewards, the mean of its models, followed by the mean error of a single model.
fn fit_said(fitted: (&Interactions, &Answers), held: Option<(&Interactions, &Answers)>) -> String {
    let written = |off: &dyn Fn((&Interactions, &Answers)) -> f64| {
        let held = held.map_or_else(String::new, |held| format!(", held out {:.4}", off(held)));
        format!("rmse {:.4}{held}", off(fitted))
    };
    let world = written(&|(log, said)| mean_square(&said.mean, log).sqrt());
    let count = fitted.1.members.len();
    if count == 1 {
        return world;
    }
    let alone = |(log, said): (&Interactions, &Answers)| {
        said.members.iter().map(|said| mean_square(said, log).sqrt()).sum::<f64>() / count as f64
    };
    format!("{world} (the mean of {count} models; one alone {})", written(&alone))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::artifact::Factors;
    use crate::world::completion::Said;
    use crate::world::small_log;

    /// A model whose answers are known, users × items.
    struct Known(Vec<f32>, Option<Vec<f32>>);

    impl Fitted for Known {
        fn rows(&self, users: Range<usize>, items: usize) -> Result<Said> {
            let of = |data: &Vec<f32>| data[users.start * items..users.end * items].to_vec();
            Ok(Said { rating: of(&self.0), variance: self.1.as_ref().map(of) })
        }
        fn states_variance(&self) -> Result<bool> {
            Ok(self.1.is_some())
        }
        fn factors(&self) -> Result<Option<Factors>> {
            Ok(None)
        }
        fn on_cpu(&self) -> bool {
            true
        }
    }

    fn member(rating: [f32; 4], variance: Option<[f32; 4]>) -> Box<dyn Fitted> {
        Box::new(Known(rating.to_vec(), variance.map(|variance| variance.to_vec())))
    }

    /// Of two users and two items.
    fn completed(members: &[Box<dyn Fitted>], logs: &[&Interactions]) -> (Vec<f32>, Completed) {
        let cx = Context::detached(std::path::Path::new("unused"));
        let found = stored(members, [2, 2], (0.0, 5.0), logs, &cx).unwrap();
        let Rewards::Dense(mean) = &found.rewards else { panic!("not stored") };
        (mean.data.clone(), found)
    }

    fn log(cells: &[(u32, u32, f32)]) -> Interactions {
        Interactions {
            user: cells.iter().map(|cell| cell.0).collect(),
            item: cells.iter().map(|cell| cell.1).collect(),
            rating: cells.iter().map(|cell| cell.2).collect(),
            timestamp: vec![0; cells.len()],
        }
    }

    #[test]
    fn mean_spread_and_predictive_variance_by_hand() {
        let stating = [member([1.0, 2.0, 3.0, 4.0], Some([0.5; 4])), member([3.0, 2.0, 3.0, 0.0], Some([1.5; 4]))];
        let (fitted, held) = (log(&[(0, 0, 3.0), (0, 1, 2.0)]), log(&[(1, 1, 5.0), (0, 1, 1.0)]));
        let (mean, found) = completed(&stating, &[&fitted, &held]);
        assert_eq!(mean, [2.0, 2.0, 3.0, 2.0]);
        assert_eq!(found.ensemble_std.unwrap().data, [1.0, 0.0, 0.0, 2.0]);
        let stats = of_mean(&found.answers[1], f64::NAN, &held);
        assert_eq!((stats.predicted, stats.variance), (vec![2.0, 2.0], vec![4.0 + 1.0, 0.0 + 1.0]));
        let silent = [member([1.0, 2.0, 3.0, 4.0], None), member([3.0, 2.0, 3.0, 0.0], None)];
        let (_, found) = completed(&silent, &[&fitted, &held]);
        // The mean is off by 1 and by 0 on what was fitted.
        let residual = mean_square(&found.answers[0].mean, &fitted);
        assert_eq!(of_mean(&found.answers[1], residual, &held).variance, [4.5, 0.5]);
        let residual = mean_square(&found.answers[0].members[0], &fitted);
        assert_eq!(of_member(&found.answers[1], 0, residual, &held).variance, [2.0; 2]);
        assert_eq!((found.predicted_std, completed(&silent[..1], &[]).1.ensemble_std), (None, None));
        let stating = [member([0.0; 4], Some([0.25, 1.0, 4.0, 0.0])), member([0.0; 4], Some([1.0, 0.25, 1.0, 0.0]))];
        assert_eq!(completed(&stating, &[]).1.predicted_std.unwrap().data, [1.0, 1.0, 2.0, 0.0]);
    }

    #[test]
    fn the_fit_that_is_told_is_that_of_what_the_world_pays() {
        // Two models that are off by 1 to either side: each alone is off by 1, their mean by nothing.
        let two = [member([2.0; 4], None), member([4.0; 4], None)];
        let (fitted, held) = (log(&[(0, 0, 3.0), (0, 1, 3.0)]), log(&[(1, 1, 3.0), (1, 0, 5.0)]));
        let answers = completed(&two, &[&fitted, &held]).1.answers;
        let said = fit_said((&fitted, &answers[0]), Some((&held, &answers[1])));
        // Held out alone: √((1 + 9)/2) and 1; together √(4/2).
        let alone = (5.0_f64.sqrt() + 1.0) / 2.0;
        let wanted =
            format!("rmse 0.0000, held out 1.4142 (the mean of 2 models; one alone rmse 1.0000, held out {alone:.4})");
        assert_eq!(said, wanted);
        let alone = completed(&two[..1], &[&fitted]).1.answers;
        assert_eq!(fit_said((&fitted, &alone[0]), None), "rmse 1.0000");
    }

    #[test]
    fn a_holdout_that_was_fitted_is_told() {
        let fitted = log(&[(0, 0, 3.0), (0, 1, 2.0)]);
        let mut held = vec![(1, 0, 3.0); 18];
        held.extend([(0, 0, 3.0), (0, 1, 4.0)]);
        assert_eq!(seen_before(&fitted, &log(&held)), None, "a tenth may be asked again");
        held.push((0, 1, 2.0));
        let said = seen_before(&fitted, &log(&held)).unwrap();
        assert!(said.starts_with("3 of 21 ratings at `holdout` are of a user and an item that were fitted"), "{said}");
    }

    #[test]
    fn without_a_holdout_the_calibration_is_empty_and_with_one_it_holds_each_rating_once_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = |held: bool| {
            let mut inputs = small_log();
            inputs.holdout = held.then(|| inputs.interactions.take(&[0, 5, 9, 12]));
            let of = |x: f32| Member { curves: Curves::default(), model: Box::new(Known(vec![x; 48], None)) };
            let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
            let cx = Context::detached(folder.path());
            let (ips, form) = (&Ips::default(), WorldForm::Auto);
            let simulator = &simulator;
            let ensemble = Ensemble { members: 2, seed: 0, negatives: false, ips, form, simulator };
            ensemble.complete(vec![of(2.0), of(3.0)], (0.0, 5.0), &inputs, &cx).unwrap()
        };
        assert!(outputs(false).calibration.0.is_empty());
        let found = outputs(true);
        let counted =
            |model: &str| found.calibration.0.iter().filter(|bin| bin.model == model).map(|bin| bin.count).sum::<u32>();
        assert_eq!(["mean", "member0", "member1"].map(counted), [4; 3]);
        assert_eq!(found.world.ensemble_std.unwrap().data, [0.5; 48]);
    }
}
