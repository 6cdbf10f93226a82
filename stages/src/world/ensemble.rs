//! Several models of one family, fitted with seeds of their own: the world's reward is their mean, its uncertainty their
//! standard deviation (Lakshminarayanan, Pritzel and Blundell 2017, without the adversarial examples).
//!
//! Every family of fitted worlds ends here: models become a world, curves, and a calibration on what was held out.

use std::collections::HashSet;
use std::sync::OnceLock;

use anyhow::{Result, ensure};
use pipeline::Context;
use pipeline::progress::Bar;
use rayon::prelude::*;

use super::fit::{Completed, Fit, RatingModel, Ratings, complete_matrix};
use super::fit_metrics::CalibrationStats;
use super::ips::Ips;
use super::prior_mean::{AroundPrior, PriorMean};
use super::threshold::report_similar_pairs;
use super::{Inputs, Outputs, UserSimulator};
use crate::artifact::{Array, Calibration, Curves, Interactions};
use crate::nn::{Params, device};
use crate::ratings::NegativeSampler;

/// What to do with a log of one rating.
const NO_TASTE: &str = "name the log's ratings where it is read (`rating`), or set `sample_negatives: true` where it only says what people \
                        chose: what they did not is then fitted to 0 (a study of `apprentice worth` takes the setting from a world of its experiment)";

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
    /// How simulated users behave.
    pub simulator: &'a UserSimulator,
}

/// One fitted model.
pub(super) struct Member {
    /// What happened while it was fitted.
    pub curves: Curves,
    /// Its predictions for every user and item.
    pub completed: Completed,
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
        let fitting = cx.bar("fit", Some((0..self.members).map(|k| member_fit(k).n_epochs).sum()), "epochs");
        let completing: OnceLock<Bar> = OnceLock::new();
        let completing = || completing.get_or_init(|| cx.bar("complete", Some(self.members * users as u64), "users"));
        let member = |k: u64| -> Result<Member> {
            let fit = member_fit(k);
            let mut params = Params::on(&device);
            let model: Box<dyn RatingModel> = match &offsets {
                None => Box::new(build(&mut params, fit.seed, mean)?),
                Some(offsets) => Box::new(AroundPrior::new(build(&mut params, fit.seed, mean)?, offsets, &device)?),
            };
            let curves = fit.run(&params, &*model, &ratings, cx, &fitting)?;
            Ok(Member { curves, completed: complete_matrix(&*model, [users, items], range, &device, completing())? })
        };
        let members: Vec<Member> = (0..self.members).into_par_iter().map(member).collect::<Result<_>>()?;
        complete(&members, self.ips, self.simulator, inputs, cx)
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

/// Completes the mean of fitted models to a world and reports the calibration on the hold-out.
pub(super) fn complete(
    members: &[Member],
    ips: &Ips,
    simulator: &UserSimulator,
    inputs: &Inputs,
    cx: &Context,
) -> Result<Outputs> {
    let (mean, deviation) = mean_and_deviation(members, cx);
    let mut curves = Curves::default();
    for (k, member) in members.iter().enumerate() {
        for point in &member.curves.0 {
            let of_member = format!("{}.member{k}", point.series);
            let series = if members.len() == 1 { &point.series } else { &of_member };
            curves.push(series, point.step, point.value);
        }
    }
    let mut calibration = Calibration::default();
    let holdout = inputs.holdout.as_ref().filter(|holdout| !holdout.is_empty());
    if !inputs.interactions.is_empty() {
        cx.note("fit", fit_said(members, &mean, &inputs.interactions, holdout));
    }
    match holdout {
        None => cx.note("calibration", "none: connect `holdout` to measure the error of the world"),
        Some(holdout) => {
            if let Some(warning) = seen_before(&inputs.interactions, holdout) {
                cx.warn(warning);
            }
            let stats = of_mean(members, &mean, deviation.as_ref(), &inputs.interactions, holdout);
            let last = curves.0.iter().map(|point| point.step).max().unwrap_or(0);
            let metrics = stats.metrics();
            for (series, value) in [("rmse", metrics.rmse), ("mae", metrics.mae), ("nll", metrics.nll)] {
                curves.push(&format!("{series}.holdout.world"), last, value);
            }
            let mut said = format!("rmse {:.4}, mae {:.4}, nll {:.4}", metrics.rmse, metrics.mae, metrics.nll);
            if let Some(propensities) = &inputs.propensities {
                let of = propensities.of(holdout)?;
                let weighted = stats.weighted_rmse(&ips.weights(&of, mean.data.len()));
                curves.push("rmse.holdout.world.ips", last, weighted);
                said += &format!(", rmse by inverse propensity {weighted:.4}");
            }
            cx.note("held out", said);
            calibration.0 = stats.bins("mean");
            if members.len() > 1 {
                for (k, member) in members.iter().enumerate() {
                    let stats = of_member(member, &inputs.interactions, holdout);
                    calibration.0.extend(stats.bins(&format!("member{k}")));
                }
            }
        }
    }
    let mut world = simulator.complete(
        inputs.distances.as_ref(),
        inputs.item_vectors.as_ref(),
        &inputs.items,
        &inputs.users,
        mean,
        cx,
    )?;
    report_similar_pairs(&world, cx)?;
    world.ensemble_std = deviation;
    world.predicted_std = largest_stated(members);
    Ok(Outputs { world, curves, calibration })
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

/// The members' mean, and √(Σ_k (r_k − r̄)² / K) where there are several, both `[U, I]`.
fn mean_and_deviation(members: &[Member], cx: &Context) -> (Array, Option<Array>) {
    let shape = &members[0].completed.rating.shape;
    let mut mean = Array::new(shape, vec![0.0; members[0].completed.rating.data.len()]);
    for member in members {
        let answers = &member.completed.rating.data;
        mean.data.iter_mut().zip(answers).for_each(|(sum, x)| *sum += x / members.len() as f32);
    }
    let deviation = |cell: usize| {
        let square = |member: &Member| f64::from(member.completed.rating.data[cell] - mean.data[cell]).powi(2);
        (members.iter().map(square).sum::<f64>() / members.len() as f64).sqrt() as f32
    };
    if members.len() == 1 {
        return (mean, None);
    }
    let [users, items] = [shape[0], shape[1]];
    let bar = cx.bar("spread", Some(users as u64), "users");
    let mut data = Vec::with_capacity(mean.data.len());
    for user in 0..users {
        data.extend((user * items..(user + 1) * items).map(deviation));
        bar.inc(1);
    }
    let deviation = Array::new(shape, data);
    (mean, Some(deviation))
}

/// √max_k σ²_k of the members that state a variance, `[U, I]`.
fn largest_stated(members: &[Member]) -> Option<Array> {
    let stated: Vec<&Array> = members.iter().filter_map(|member| member.completed.variance.as_ref()).collect();
    let shape = &stated.first()?.shape;
    let largest = |cell: usize| stated.iter().map(|variance| variance.data[cell]).fold(0.0, f32::max).sqrt();
    Some(Array::new(shape, (0..shape.iter().product()).map(largest).collect()))
}

/// The world's predictive variance: the variance between the models, plus noise: the mean of the predicted variances (together
/// the variance of their mixture), or else the mean squared error of the mean on the ratings that it was fitted on.
fn of_mean(
    members: &[Member],
    mean: &Array,
    deviation: Option<&Array>,
    log: &Interactions,
    holdout: &Interactions,
) -> CalibrationStats {
    let residual = noise(mean, log);
    let variance = |cell: usize| {
        let spread = deviation.map_or(0.0, |deviation| f64::from(deviation.data[cell]).powi(2));
        let stated = members.iter().filter_map(|member| member.completed.variance.as_ref());
        let noise: f64 = stated.clone().map(|variance| f64::from(variance.data[cell])).sum();
        spread + if stated.clone().count() == 0 { residual } else { noise / members.len() as f64 }
    };
    stats(mean, variance, holdout)
}

/// The predictive variance of one model: its own, or else the mean squared error on the ratings that it was fitted on.
fn of_member(member: &Member, log: &Interactions, holdout: &Interactions) -> CalibrationStats {
    let Completed { rating, variance } = &member.completed;
    let residual = noise(rating, log);
    let variance = |cell: usize| variance.as_ref().map_or(residual, |variance| f64::from(variance.data[cell]));
    stats(rating, variance, holdout)
}

fn stats(rating: &Array, variance: impl Fn(usize) -> f64, log: &Interactions) -> CalibrationStats {
    let cells: Vec<usize> = cells(rating, log).collect();
    CalibrationStats {
        predicted: cells.iter().map(|&cell| f64::from(rating.data[cell])).collect(),
        variance: cells.iter().map(|&cell| variance(cell)).collect(),
        observed: log.rating.clone(),
    }
}

/// The variance of what the model leaves: the mean squared error on the ratings that it was fitted on; without ratings the variance
/// of its own rewards.
fn noise(rating: &Array, log: &Interactions) -> f64 {
    if !log.is_empty() {
        return mean_square(rating, log);
    }
    let cells = || rating.data.iter().map(|&x| f64::from(x));
    let mean = cells().sum::<f64>() / rating.data.len() as f64;
    cells().map(|x| (x - mean).powi(2)).sum::<f64>() / rating.data.len() as f64
}

/// Mean squared error of a matrix on a log.
pub(super) fn mean_square(rating: &Array, log: &Interactions) -> f64 {
    let error = |(cell, &found): (usize, &f32)| f64::from(rating.data[cell] - found).powi(2);
    cells(rating, log).zip(&log.rating).map(error).sum::<f64>() / log.len() as f64
}

/// Where each rating of the log stands in a matrix `[U, I]`.
fn cells(matrix: &Array, log: &Interactions) -> impl Iterator<Item = usize> {
    let items = matrix.shape[1];
    log.user.iter().zip(&log.item).map(move |(&user, &item)| user as usize * items + item as usize)
}

/// The error of the world's rewards, the mean of its models, followed by the mean error of a single model.
fn fit_said(members: &[Member], mean: &Array, fitted: &Interactions, holdout: Option<&Interactions>) -> String {
    let off = |matrix: &Array, log: &Interactions| mean_square(matrix, log).sqrt();
    let written = |off: &dyn Fn(&Interactions) -> f64| {
        let held = holdout.map_or_else(String::new, |holdout| format!(", held out {:.4}", off(holdout)));
        format!("rmse {:.4}{held}", off(fitted))
    };
    let world = written(&|log| off(mean, log));
    if members.len() == 1 {
        return world;
    }
    let alone = |log: &Interactions| {
        members.iter().map(|member| off(&member.completed.rating, log)).sum::<f64>() / members.len() as f64
    };
    format!("{world} (the mean of {} models; one alone {})", members.len(), written(&alone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::small_log;

    fn member(rating: [f32; 4], variance: Option<[f32; 4]>) -> Member {
        let array = |data: [f32; 4]| Array::new(&[2, 2], data.to_vec());
        let completed = Completed { rating: array(rating), variance: variance.map(array) };
        Member { curves: Curves::default(), completed }
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
        let cx = Context::detached(std::path::Path::new("unused"));
        let (mean, deviation) = mean_and_deviation(&stating, &cx);
        assert_eq!(mean.data, [2.0, 2.0, 3.0, 2.0]);
        assert_eq!(deviation.as_ref().unwrap().data, [1.0, 0.0, 0.0, 2.0]);
        let (fitted, held) = (log(&[(0, 0, 3.0), (0, 1, 2.0)]), log(&[(1, 1, 5.0), (0, 1, 1.0)]));
        let stats = of_mean(&stating, &mean, deviation.as_ref(), &fitted, &held);
        assert_eq!((stats.predicted, stats.variance), (vec![2.0, 2.0], vec![4.0 + 1.0, 0.0 + 1.0]));
        let silent = [member([1.0, 2.0, 3.0, 4.0], None), member([3.0, 2.0, 3.0, 0.0], None)];
        // The mean is off by 1 and by 0 on what was fitted.
        assert_eq!(of_mean(&silent, &mean, deviation.as_ref(), &fitted, &held).variance, [4.5, 0.5]);
        assert_eq!(of_member(&silent[0], &fitted, &held).variance, [2.0; 2]);
        assert_eq!(mean_and_deviation(&silent[..1], &cx).1, None);
        let stating = [member([0.0; 4], Some([0.25, 1.0, 4.0, 0.0])), member([0.0; 4], Some([1.0, 0.25, 1.0, 0.0]))];
        assert_eq!(largest_stated(&stating).unwrap().data, [1.0, 1.0, 2.0, 0.0]);
        assert_eq!(largest_stated(&silent), None);
    }

    #[test]
    fn the_fit_that_is_told_is_that_of_what_the_world_pays() {
        // Two models that are off by 1 to either side: each alone is off by 1, their mean by nothing.
        let two = [member([2.0; 4], None), member([4.0; 4], None)];
        let cx = Context::detached(std::path::Path::new("unused"));
        let (mean, _) = mean_and_deviation(&two, &cx);
        let (fitted, held) = (log(&[(0, 0, 3.0), (0, 1, 3.0)]), log(&[(1, 1, 3.0), (1, 0, 5.0)]));
        let said = fit_said(&two, &mean, &fitted, Some(&held));
        // Held out alone: √((1 + 9)/2) and 1; together √(4/2).
        let alone = (5.0_f64.sqrt() + 1.0) / 2.0;
        let wanted =
            format!("rmse 0.0000, held out 1.4142 (the mean of 2 models; one alone rmse 1.0000, held out {alone:.4})");
        assert_eq!(said, wanted);
        assert_eq!(fit_said(&two[..1], &two[0].completed.rating, &fitted, None), "rmse 1.0000");
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
            let of = |x: f32| Member {
                curves: Curves::default(),
                completed: Completed { rating: Array::new(&[6, 8], vec![x; 48]), variance: None },
            };
            let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
            let cx = Context::detached(folder.path());
            complete(&[of(2.0), of(3.0)], &Ips::default(), &simulator, &inputs, &cx).unwrap()
        };
        assert!(outputs(false).calibration.0.is_empty());
        let found = outputs(true);
        let counted =
            |model: &str| found.calibration.0.iter().filter(|bin| bin.model == model).map(|bin| bin.count).sum::<u32>();
        assert_eq!(["mean", "member0", "member1"].map(counted), [4; 3]);
        assert_eq!(found.world.ensemble_std.unwrap().data, [0.5; 48]);
    }
}
