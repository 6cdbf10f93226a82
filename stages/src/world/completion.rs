//! From fitted models to the rewards of a world: their mean for every user and item, stored or as factors.
//!
//! A stored form asks all models for a block of users and keeps their mean and how far they are apart, so no model's own matrix is ever
//! held. What models say of the ratings of a log is taken on the way, for errors and calibration.

use std::ops::Range;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use pipeline::Context;
use pipeline::memory_need::zeros;
use rayon::prelude::*;

use super::dense_field::{DenseField, Fixed};
use super::rating_model::RatingModel;
use crate::artifact::{Array, Factored, Factors, Interactions, Rewards};

/// Pairs of a user and an item that a model is asked for at a time.
const PAIRS: usize = 65_536;

/// A fitted model.
pub(super) trait Fitted: Send + Sync {
    /// What it says of these users and all items, user by user.
    fn rows(&self, users: Range<usize>, items: usize) -> Result<Said>;
    /// Whether it states a variance.
    fn states_variance(&self) -> Result<bool>;
    /// The model as vectors of users and items whose products its ratings are, with a network or without, where it is such a one.
    fn factors(&self) -> Result<Option<Factors>>;
    /// Computes once what many questions need; until the result is dropped.
    fn fix(&self) -> Result<Option<Fixed<'_>>> {
        Ok(None)
    }
    /// Whether it may be asked from several threads at once, and gains by it.
    fn on_cpu(&self) -> bool;
}

/// What a model says of pairs.
pub(super) struct Said {
    /// The ratings, not clamped.
    pub rating: Vec<f32>,
    /// The variance that the model states, σ².
    pub variance: Option<Vec<f32>>,
}

/// A rating model on its device.
pub(super) struct OnDevice {
    pub model: Box<dyn RatingModel>,
    pub device: Device,
}

impl OnDevice {
    fn ask(&self, user: Vec<u32>, item: Vec<u32>) -> Result<Said> {
        let predicted = self.model.predict(&Tensor::new(user, &self.device)?, &Tensor::new(item, &self.device)?)?;
        let variance = match predicted.log_variance {
            Some(log_variance) => Some(log_variance.to_vec1::<f32>()?.into_iter().map(f32::exp).collect()),
            None => None,
        };
        Ok(Said { rating: predicted.rating.to_vec1()?, variance })
    }
}

impl Fitted for OnDevice {
    fn rows(&self, users: Range<usize>, items: usize) -> Result<Said> {
        let pairs = users.flat_map(|user| (0..items).map(move |item| (user as u32, item as u32)));
        let (user, item) = pairs.unzip();
        self.ask(user, item)
    }
    fn states_variance(&self) -> Result<bool> {
        Ok(self.ask(vec![0], vec![0])?.variance.is_some())
    }
    fn factors(&self) -> Result<Option<Factors>> {
        self.model.factors()
    }
    fn fix(&self) -> Result<Option<Fixed<'_>>> {
        Ok(self.model.dense_field().map(DenseField::fix).transpose()?)
    }
    fn on_cpu(&self) -> bool {
        self.device.is_cpu()
    }
}

/// What models say of each rating of a log.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answers {
    /// The mean of the models.
    pub mean: Vec<f32>,
    /// How far they are apart; none of a single model.
    pub std: Option<Vec<f32>>,
    /// Each model's own.
    pub members: Vec<Vec<f32>>,
    /// The variances that they state, a model each; none where they state none.
    pub variances: Vec<Vec<f32>>,
}

/// The rewards of a world with what is known of their uncertainty.
pub(super) struct Completed {
    /// The members' mean.
    pub rewards: Rewards,
    /// √(Σ_k (r_k − r̄)² / K), `[U, I]`, where it is stored and there are several members.
    pub ensemble_std: Option<Array>,
    /// √max_k σ²_k of the members that state a variance, `[U, I]`.
    pub predicted_std: Option<Array>,
    /// What the members say of each log.
    pub answers: Vec<Answers>,
}

/// A block of users' part of the mean, of the spread and of the largest variance.
type Parts<'p> = ((&'p mut [f32], Option<&'p mut [f32]>), Option<&'p mut [f32]>);

/// The mean of `members`, each clamped to `range`, as a stored matrix.
pub(super) fn stored(
    members: &[Box<dyn Fitted>],
    [users, items]: [usize; 2],
    range: (f32, f32),
    logs: &[&Interactions],
    cx: &Context,
) -> Result<Completed> {
    let check_cancelled = cx.check_cancelled_from_now();
    let bar = cx.bar("complete", Some(users as u64), "users");
    let rows = (PAIRS / items.max(1)).max(1);
    let blocks = users.div_ceil(rows);
    let _fixed = members.iter().map(|member| member.fix()).collect::<Result<Vec<_>>>()?;
    let stating = members.first().map_or(Ok(false), |member| member.states_variance())?;
    let table = |name: &str| zeros::<f32>(&format!("{name}, users × items"), users * items);
    let mut mean = table("rewards")?;
    let mut spread = (members.len() > 1).then(|| table("ensemble_std")).transpose()?;
    let mut largest = stating.then(|| table("predicted_std")).transpose()?;
    let wanted: Vec<Vec<Vec<usize>>> = logs.iter().map(|log| rows_of_blocks(log, rows, blocks)).collect();
    let out = mean
        .chunks_mut(rows * items)
        .zip(chunks(&mut spread, rows * items, blocks))
        .zip(chunks(&mut largest, rows * items, blocks))
        .enumerate();
    let answer = |(number, ((mean, spread), largest)): (usize, Parts<'_>)| {
        check_cancelled()?;
        let first = number * rows;
        let block = first..(first + rows).min(users);
        let said: Vec<Said> = members
            .iter()
            .map(|member| Ok(clamped(member.rows(block.clone(), items)?, range)))
            .collect::<Result<_>>()?;
        for Said { rating, .. } in &said {
            mean.iter_mut().zip(rating).for_each(|(sum, x)| *sum += x / members.len() as f32);
        }
        if let Some(spread) = spread {
            spread.iter_mut().enumerate().for_each(|(cell, std)| *std = deviation(&said, cell, mean[cell]));
        }
        if let Some(largest) = largest {
            let of = |cell: usize| said.iter().flat_map(|said| &said.variance).map(move |variance| variance[cell]);
            largest.iter_mut().enumerate().for_each(|(cell, std)| *std = of(cell).fold(0.0, f32::max).sqrt());
        }
        bar.inc(block.len() as u64);
        let of_log = |(log, wanted): (&&Interactions, &Vec<Vec<usize>>)| {
            let cell = |&row: &usize| (log.user[row] as usize - first) * items + log.item[row] as usize;
            answers_at(&said, mean, &wanted[number].iter().map(cell).collect::<Vec<_>>())
        };
        Ok(logs.iter().zip(&wanted).map(of_log).collect::<Vec<Answers>>())
    };
    // A device takes one question at a time.
    let at_least = if members.iter().all(|member| member.on_cpu()) { 1 } else { blocks.max(1) };
    let found: Vec<Vec<Answers>> =
        out.collect::<Vec<_>>().into_par_iter().with_min_len(at_least).map(answer).collect::<Result<_>>()?;
    let shape = [users, items];
    let array = |data: Option<Vec<f32>>| data.map(|data| Array::new(&shape, data));
    let answers = wanted.iter().enumerate().map(|(k, wanted)| {
        let parts = found.iter().map(|of_block| &of_block[k]);
        in_order_of_the_log(wanted, &parts.collect::<Vec<_>>())
    });
    Ok(Completed {
        answers: answers.collect(),
        rewards: Array::new(&shape, mean).into(),
        ensemble_std: array(spread),
        predicted_std: array(largest),
    })
}

/// The mean of `members`, each clamped to `range`, as their factors.
///
/// # Errors
/// When one of them has none.
pub(super) fn factored(members: &[Box<dyn Fitted>], range: (f32, f32), logs: &[&Interactions]) -> Result<Completed> {
    let factors = |member: &dyn Fitted| member.factors()?.context("a model without factors cannot be stored as such");
    let mean = Factored {
        members: members.iter().map(|member| factors(&**member)).collect::<Result<_>>()?,
        range,
        penalty: None,
    };
    let of_log = |log: &&Interactions| {
        let pairs: Vec<(u32, u32)> = log.user.iter().copied().zip(log.item.iter().copied()).collect();
        let of_member = |k: usize| -> Vec<f32> {
            pairs.par_chunks(PAIRS / 16).flat_map_iter(|pairs| mean.of_member(k, pairs)).collect()
        };
        let said: Vec<Vec<f32>> = (0..members.len()).map(of_member).collect();
        let of_pair = |pair: usize| said.iter().map(move |member| member[pair]);
        let means: Vec<f32> = (0..pairs.len()).into_par_iter().map(|pair| mean.mean_of(of_pair(pair))).collect();
        let std = |(pair, &of): (usize, &f32)| mean.std_of(of, of_pair(pair));
        Answers {
            std: (members.len() > 1).then(|| means.par_iter().enumerate().map(std).collect()),
            mean: means,
            members: said,
            variances: Vec::new(),
        }
    };
    let answers = logs.iter().map(of_log).collect();
    Ok(Completed { rewards: mean.into(), ensemble_std: None, predicted_std: None, answers })
}

fn clamped(mut said: Said, (low, high): (f32, f32)) -> Said {
    said.rating.iter_mut().for_each(|x| *x = x.clamp(low, high));
    said
}

/// √(Σ_k (r_k − r̄)² / K) of one cell of a block.
fn deviation(said: &[Said], cell: usize, mean: f32) -> f32 {
    let squares = said.iter().map(|said| f64::from(said.rating[cell] - mean).powi(2));
    (squares.sum::<f64>() / said.len() as f64).sqrt() as f32
}

/// What was said of these cells of a block.
fn answers_at(said: &[Said], mean: &[f32], cells: &[usize]) -> Answers {
    let taken = |values: &[f32]| cells.iter().map(|&cell| values[cell]).collect::<Vec<f32>>();
    let std = || cells.iter().map(|&cell| deviation(said, cell, mean[cell])).collect();
    Answers {
        mean: taken(mean),
        std: (said.len() > 1).then(std),
        members: said.iter().map(|said| taken(&said.rating)).collect(),
        variances: said.iter().filter_map(|said| said.variance.as_deref()).map(taken).collect(),
    }
}

/// The rows of a log by the block that their users are in, `rows` users each; in their order.
fn rows_of_blocks(log: &Interactions, rows: usize, blocks: usize) -> Vec<Vec<usize>> {
    let mut of_blocks = vec![Vec::new(); blocks];
    log.user.iter().enumerate().for_each(|(row, &user)| of_blocks[user as usize / rows].push(row));
    of_blocks
}

/// Answers of all blocks, of a log whose rows lie in them as `wanted` says.
fn in_order_of_the_log(wanted: &[Vec<usize>], parts: &[&Answers]) -> Answers {
    let count = wanted.iter().map(Vec::len).sum();
    let joined = |of: &dyn Fn(&Answers) -> &Vec<f32>| {
        let mut values = vec![0.0; count];
        for (rows, part) in wanted.iter().zip(parts) {
            rows.iter().zip(of(part)).for_each(|(&row, &value)| values[row] = value);
        }
        values
    };
    let Some(first) = parts.first() else { return Answers::default() };
    Answers {
        mean: joined(&|part| &part.mean),
        std: first.std.as_ref().map(|_| joined(&|part| part.std.as_ref().unwrap_or(&part.mean))),
        members: (0..first.members.len()).map(|k| joined(&|part| &part.members[k])).collect(),
        variances: (0..first.variances.len()).map(|k| joined(&|part| &part.variances[k])).collect(),
    }
}

/// Pieces of an array that may be absent.
fn chunks(data: &mut Option<Vec<f32>>, size: usize, count: usize) -> Vec<Option<&mut [f32]>> {
    match data {
        Some(data) => data.chunks_mut(size).map(Some).collect(),
        None => (0..count).map(|_| None).collect(),
    }
}
