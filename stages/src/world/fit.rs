//! Fitting a rating model by minibatches: the loop that every family shares.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::{Device, Tensor};
use pipeline::Context;
use pipeline::progress::Bar;
use rand::seq::SliceRandom;

use super::dense_field::DenseField;
use super::fit_settings::Fit;
use super::heteroscedastic;
use super::lazy_fit::LazyFit;
use super::rated_log::Ratings;
use super::rating_model::{RatingModel, losses};
use crate::artifact::{Curves, Interactions};
use crate::nn::{AdamW, Params, TrainingCheckpoints, TrainingState, rng};

impl Fit {
    /// What no type can say.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.batch_size == 0 {
            return wrong("batch_size", "a step needs at least one rating");
        }
        self.optimizer.check().map_err(|(path, message)| (format!("optimizer.{path}"), message))?;
        if !(self.l2 >= 0.0 && self.l2.is_finite()) {
            return wrong("l2", "a penalty is 0 or more");
        }
        Ok(())
    }

    /// What a bar of such a fit counts, and how many of it an epoch of so many ratings is: one epoch of a log of many users and items
    /// takes minutes.
    pub(super) fn progress(&self, ratings: usize, shape: [usize; 2]) -> (&'static str, u64) {
        if self.embedding_updates.are_lazy(shape) { ("ratings", ratings as u64) } else { ("epochs", 1) }
    }

    /// Minimises mean(w·loss) + l2·|θ|²/N, where the loss of a rating is (r̂ − r)², or [`heteroscedastic::loss`] where the model states
    /// its variance; scores the hold-out each epoch. `rmse.train` is of the ratings themselves, unweighted. It moves
    /// `bar` as [`progress`](Self::progress) says.
    pub(super) fn run(
        &self,
        params: &Params,
        model: &dyn RatingModel,
        ratings: &Ratings<'_>,
        cx: &Context,
        bar: &Bar,
    ) -> Result<Curves> {
        let Ratings { log, holdout, .. } = *ratings;
        ensure!(!log.is_empty(), "no interaction to fit a world on");
        let lazy = self.embedding_updates.are_lazy(ratings.shape);
        let mut adam = self.optimizer.adam(params)?;
        if lazy {
            adam = adam.with_sparse_rows();
        }
        let mut curves = Curves::default();
        let training = TrainingCheckpoints::open(cx, &self.name, 1)?;
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            state(params, &mut adam, &mut curves).restore(&bytes)?;
            done = number;
        }
        let (_, of_epoch) = self.progress(log.len(), ratings.shape);
        bar.inc(done * of_epoch);
        let mut lazy = lazy.then(|| LazyFit::new(self, model, ratings, (params, &adam), done)).transpose()?;
        for epoch in done..self.n_epochs {
            adam.learning_rate = self.optimizer.rate(epoch, self.n_epochs);
            let squares = match &mut lazy {
                None => self.dense_epoch(params, &mut adam, model, ratings, epoch)?,
                Some(lazy) => lazy.epoch(ratings, epoch, (params, &mut adam), bar)?,
            };
            let train = (squares / log.len() as f64).sqrt();
            curves.push("rmse.train", epoch + 1, train);
            let mut message = format!("rmse {train:.4}");
            if let Some(holdout) = holdout.filter(|holdout| !holdout.is_empty()) {
                let (held, likelihood) = held_out(model, holdout, params.device())?;
                curves.push("rmse.holdout", epoch + 1, held);
                message += &format!(", held out {held:.4}");
                if let Some(likelihood) = likelihood {
                    curves.push("nll.holdout", epoch + 1, likelihood);
                }
            }
            // Lazy steps have moved it.
            bar.inc_with(if lazy.is_some() { 0 } else { of_epoch }, &message);
            training.after_unit(epoch + 1, || state(params, &mut adam, &mut curves).save())?;
        }
        Ok(curves)
    }

    /// One pass over the log by steps of all rows, and Σ of the ratings' squared errors before each step.
    fn dense_epoch(
        &self,
        params: &Params,
        adam: &mut AdamW,
        model: &dyn RatingModel,
        ratings: &Ratings<'_>,
        epoch: u64,
    ) -> Result<f64> {
        let ratings_in_all = ratings.log.len();
        let mut order: Vec<usize> = (0..ratings_in_all).collect();
        order.shuffle(&mut rng(&[self.seed, 0xf17, epoch]));
        let mut squares = 0.0;
        for rows in order.chunks(self.batch_size) {
            let (error, mean_square) = loss(model, ratings, rows, [self.seed, epoch], params.device())?;
            squares += mean_square * rows.len() as f64;
            let loss = (error + (model.size()? * (self.l2 / ratings_in_all as f64))?)?;
            adam.descend(params, &loss).with_context(|| format!("epoch {epoch}"))?;
        }
        Ok(squares)
    }
}

fn state<'a>(params: &'a Params, adam: &'a mut AdamW, curves: &'a mut Curves) -> TrainingState<'a> {
    TrainingState { networks: vec![("model", params, adam)], arrays: BTreeMap::new(), curves }
}

/// The loss of a batch, a scalar, and the mean squared error of its ratings.
fn loss(
    model: &dyn RatingModel,
    ratings: &Ratings<'_>,
    rows: &[usize],
    [seed, epoch]: [u64; 2],
    device: &Device,
) -> Result<(Tensor, f64)> {
    let log = ratings.log;
    let mut user: Vec<u32> = rows.iter().map(|&row| log.user[row]).collect();
    let mut item: Vec<u32> = rows.iter().map(|&row| log.item[row]).collect();
    let mut rating: Vec<f32> = rows.iter().map(|&row| log.rating[row]).collect();
    let weight = ratings.weights.map(|weights| rows.iter().map(|&row| weights[row] as f32));
    let mut weight: Option<Vec<f32>> = weight.map(Iterator::collect);
    if let Some(negatives) = ratings.negatives {
        for &row in rows {
            let drawn = negatives.draw(log.user[row], &mut rng(&[seed, 0x4e6, epoch, row as u64]));
            let Some(other) = drawn else { continue };
            user.push(log.user[row]);
            item.push(other);
            rating.push(0.0);
            weight.iter_mut().for_each(|weight| weight.push(1.0));
        }
    }
    let tensor = |values: Vec<f32>| Tensor::new(values, device);
    let predicted = model.predict(&Tensor::new(user, device)?, &Tensor::new(item, device)?)?;
    let squared = (predicted.rating - tensor(rating)?)?.sqr()?;
    let mean_square = f64::from(squared.narrow(0, 0, rows.len())?.mean_all()?.to_scalar::<f32>()?);
    let weight = weight.map(tensor).transpose()?;
    Ok((losses(&squared, predicted.log_variance.as_ref(), weight.as_ref())?.mean_all()?, mean_square))
}

/// The root mean squared error of a log, and its mean negative log-likelihood where the model states its variance.
fn held_out(model: &dyn RatingModel, log: &Interactions, device: &Device) -> Result<(f64, Option<f64>)> {
    let rows: Vec<usize> = (0..log.len()).collect();
    let (mut squares, mut likelihood) = (0.0, None);
    let _fixed = model.dense_field().map(DenseField::fix).transpose()?;
    for rows in rows.chunks(8192) {
        let rating = Tensor::from_iter(rows.iter().map(|&row| log.rating[row]), device)?;
        let predicted = model.predict(&ids(&log.user, rows, device)?, &ids(&log.item, rows, device)?)?;
        let error = (predicted.rating - rating)?;
        squares += f64::from(error.sqr()?.sum_all()?.to_scalar::<f32>()?);
        if let Some(log_variance) = predicted.log_variance {
            let (error, log_variance) = (error.to_vec1::<f32>()?, log_variance.to_vec1::<f32>()?);
            let of = |(&error, &s): (&f32, &f32)| {
                heteroscedastic::negative_log_likelihood(f64::from(error), f64::from(s).exp())
            };
            *likelihood.get_or_insert(0.0) += error.iter().zip(&log_variance).map(of).sum::<f64>();
        }
    }
    let ratings = log.len() as f64;
    Ok(((squares / ratings).sqrt(), likelihood.map(|sum| sum / ratings)))
}

fn ids(values: &[u32], rows: &[usize], device: &Device) -> Result<Tensor> {
    Ok(Tensor::from_iter(rows.iter().map(|&row| values[row]), device)?)
}
