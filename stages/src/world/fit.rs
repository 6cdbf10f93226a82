//! Fitting a rating model by minibatches: the loop that every family shares.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::{Device, Tensor};
use pipeline::Context;
use rand::seq::SliceRandom;

use crate::artifact::{Array, Curves, Interactions};
use crate::nn::{AdamW, Params, State, Training, rng};

/// A family of rating models: `user [B], item [B]` of u32 in, differentiable values out.
pub(super) trait RatingModel {
    /// The ratings, `[B]`.
    fn predict(&self, user: &Tensor, item: &Tensor) -> Result<Tensor>;
    /// The squared size of everything that stands for a user or an item, a scalar: what `l2` shrinks.
    fn size(&self) -> Result<Tensor>;
}

/// How a rating model is fitted; each family has fields and defaults of its own for it.
pub(super) struct Fit<'a> {
    /// What the training is called among the checkpoints.
    pub name: &'a str,
    /// Passes over the log.
    pub epochs: u64,
    /// Ratings a step.
    pub batch_size: usize,
    /// AdamW's step size.
    pub learning_rate: f64,
    /// λ of λ·|θ|² beside the sum of squared errors: a rating counts against it once, so that what few have rated stays near
    /// the mean. (A penalty for each rating would leave an item with one rating of 5 on top of every list.)
    pub l2: f64,
    /// Seed of the order of batches.
    pub seed: u64,
}

impl Fit<'_> {
    /// What no type can say.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.batch_size == 0 {
            return wrong("batch_size", "a step needs at least one rating");
        }
        if !AdamW::is_step_size(self.learning_rate) {
            return wrong("learning_rate", "a step size is above 0");
        }
        if !(self.l2 >= 0.0 && self.l2.is_finite()) {
            return wrong("l2", "a penalty is 0 or more");
        }
        Ok(())
    }

    /// Minimises mean((r̂ − r)²) + l2·|θ|²/N on `log` and scores `holdout` each epoch.
    pub(super) fn run(
        &self,
        params: &Params,
        model: &dyn RatingModel,
        log: &Interactions,
        holdout: Option<&Interactions>,
        cx: &Context,
    ) -> Result<Curves> {
        ensure!(!log.is_empty(), "no interaction to fit a world on");
        let mut adam = AdamW::new(params, self.learning_rate, 0.0, f64::INFINITY)?;
        let mut curves = Curves::default();
        let training = Training::open(cx, self.name, 1)?;
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            state(params, &mut adam, &mut curves).restore(&bytes)?;
            done = number;
        }
        let bar = cx.bar("fit", Some(self.epochs), "epochs");
        bar.inc(done);
        for epoch in done..self.epochs {
            let mut order: Vec<usize> = (0..log.len()).collect();
            order.shuffle(&mut rng(&[self.seed, 0xf17, epoch]));
            let mut squares = 0.0;
            for rows in order.chunks(self.batch_size) {
                let error = error(model, log, rows)?.sqr()?.mean_all()?;
                squares += f64::from(error.to_scalar::<f32>()?) * rows.len() as f64;
                let loss = (error + (model.size()? * (self.l2 / log.len() as f64))?)?;
                adam.descend(params, &loss).with_context(|| format!("epoch {epoch}"))?;
            }
            let train = (squares / log.len() as f64).sqrt();
            curves.push("rmse.train", epoch + 1, train);
            let mut message = format!("rmse {train:.4}");
            if let Some(holdout) = holdout.filter(|holdout| !holdout.is_empty()) {
                let held = rmse(model, holdout)?;
                curves.push("rmse.holdout", epoch + 1, held);
                message += &format!(", held out {held:.4}");
            }
            bar.inc_with(1, &message);
            training.passed(epoch + 1, || state(params, &mut adam, &mut curves).save())?;
        }
        Ok(curves)
    }
}

/// Notes how well the models fit at the end: the means over the members of an ensemble, which do not depend on who was last.
pub(super) fn note_fit(curves: &Curves, cx: &Context) {
    let last = |kind: &str| {
        let of_kind = curves.0.iter().filter(|point| point.series.starts_with(kind));
        let step = of_kind.clone().map(|point| point.step).max()?;
        let values: Vec<f64> = of_kind.filter(|point| point.step == step).map(|point| point.value).collect();
        Some(values.iter().sum::<f64>() / values.len() as f64)
    };
    let Some(train) = last("rmse.train") else { return };
    let held = last("rmse.holdout").map_or_else(String::new, |held| format!(", held out {held:.4}"));
    cx.note("fit", format!("rmse {train:.4}{held}"));
}

fn state<'a>(params: &'a Params, adam: &'a mut AdamW, curves: &'a mut Curves) -> State<'a> {
    State { networks: vec![("model", params, adam)], arrays: BTreeMap::new(), curves }
}

fn rmse(model: &dyn RatingModel, log: &Interactions) -> Result<f64> {
    let rows: Vec<usize> = (0..log.len()).collect();
    let mut squares = 0.0;
    for rows in rows.chunks(8192) {
        squares += f64::from(error(model, log, rows)?.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok((squares / log.len() as f64).sqrt())
}

fn error(model: &dyn RatingModel, log: &Interactions, rows: &[usize]) -> Result<Tensor> {
    let rating = Tensor::from_iter(rows.iter().map(|&row| log.rating[row]), &Device::Cpu)?;
    Ok((model.predict(&ids(&log.user, rows)?, &ids(&log.item, rows)?)? - rating)?)
}

fn ids(values: &[u32], rows: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_iter(rows.iter().map(|&row| values[row]), &Device::Cpu)?)
}

/// The whole matrix `[U, I]`, clamped to the ratings that occur, a block of users at a time.
pub(super) fn complete_matrix(
    model: &dyn RatingModel,
    users: usize,
    items: usize,
    log: &Interactions,
) -> Result<Array> {
    let low = log.rating.iter().copied().fold(f32::INFINITY, f32::min);
    let high = log.rating.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut data = Vec::with_capacity(users * items);
    let block = (65_536 / items.max(1)).max(1);
    for first in (0..users).step_by(block) {
        let block = first..(first + block).min(users);
        let pairs = block.flat_map(|user| (0..items).map(move |item| (user as u32, item as u32)));
        let (user, item): (Vec<u32>, Vec<u32>) = pairs.unzip();
        let values = model.predict(&Tensor::new(user, &Device::Cpu)?, &Tensor::new(item, &Device::Cpu)?)?;
        data.extend(values.to_vec1::<f32>()?.into_iter().map(|x| x.clamp(low, high)));
    }
    Ok(Array::new(&[users, items], data))
}
