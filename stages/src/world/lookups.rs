//! How often an epoch looks up each row of a model's tables, for a penalty that counts at each use.
//!
//! λ·|θ|² beside the errors of a log is λ·|θ|²/n at each of the n uses of θ in an epoch: a step that sees only the rows of its batch then
//! minimises what a step of all rows minimises.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};

use super::rated_log::Ratings;
use crate::nn::Params;

/// How often an epoch uses each user and each item; what negatives add is an expectation.
pub(super) struct Uses {
    /// One a user.
    pub user: Vec<f64>,
    /// One an item.
    pub item: Vec<f64>,
}

impl Uses {
    /// Those of an epoch over `ratings`.
    pub fn of(ratings: &Ratings<'_>) -> Self {
        let count = |ids: &[u32], rows: usize| {
            let mut uses = vec![0.0_f64; rows];
            ids.iter().for_each(|&id| uses[id as usize] += 1.0);
            uses
        };
        let [users, items] = ratings.shape;
        let mut uses = Self { user: count(&ratings.log.user, users), item: count(&ratings.log.item, items) };
        if let Some(negatives) = ratings.negatives {
            uses.item.iter_mut().zip(negatives.expected(ratings.log)).for_each(|(uses, more)| *uses += more);
            for (user, uses) in uses.user.iter_mut().enumerate() {
                *uses *= if negatives.left(user as u32) > 0 { 2.0 } else { 1.0 };
            }
        }
        uses
    }

    /// The pairs of an epoch.
    pub fn pairs(&self) -> f64 {
        self.user.iter().sum()
    }
}

/// How often an epoch uses each row of some tables, by their parameters' names; a parameter that is not named is used by each pair.
pub(super) type TableUses = BTreeMap<&'static str, Vec<f64>>;

/// Sets the rows that nothing uses to 0, where a penalty would have them.
pub(super) fn clear_unused_rows(params: &Params, tables: &TableUses) -> Result<()> {
    let mut values = params.export()?;
    for (name, uses) in tables {
        let table = values.get_mut(*name).with_context(|| format!("no table `{name}`"))?;
        let width = table.data.len() / uses.len().max(1);
        let rows = table.data.chunks_exact_mut(width.max(1)).zip(uses);
        rows.filter(|(_, uses)| **uses == 0.0).for_each(|(row, _)| row.fill(0.0));
    }
    params.import(&values)
}

/// What a use of a row counts: one over the number of its uses.
pub(super) struct PenaltyWeights {
    /// `[rows]` of each table.
    tables: BTreeMap<&'static str, Tensor>,
    pairs: f64,
}

impl PenaltyWeights {
    pub fn new(tables: &TableUses, pairs: f64, device: &Device) -> Result<Self> {
        let weights = |uses: &Vec<f64>| Tensor::from_iter(uses.iter().map(|&uses| inverse(uses)), device);
        let tables = tables.iter().map(|(&name, uses)| Ok((name, weights(uses)?)));
        Ok(Self { tables: tables.collect::<Result<_>>()?, pairs })
    }

    /// Those of the rows `ids [B]` of a table, `[B]`.
    ///
    /// # Errors
    /// When the table has no such rows.
    pub fn of(&self, table: &str, ids: &Tensor) -> Result<Tensor> {
        let weights = self.tables.get(table).with_context(|| format!("nobody counted the uses of `{table}`"))?;
        Ok(weights.index_select(ids, 0)?)
    }

    /// That of what each pair uses, summed over `pairs` pairs.
    pub fn of_shared(&self, pairs: usize) -> f64 {
        pairs as f64 / self.pairs
    }
}

/// 1/n, and 0 of what is never used.
pub(super) fn inverse(uses: f64) -> f32 {
    if uses > 0.0 { (1.0 / uses) as f32 } else { 0.0 }
}

/// Asserts that what `model` looks up gives its predictions, that its penalty over an epoch is its size, and that every parameter learns.
#[cfg(test)]
#[track_caller]
pub(super) fn assert_lookups_are_predictions(
    params: &Params,
    model: &dyn super::rating_model::RatingModel,
    ratings: &Ratings<'_>,
) {
    let uses = Uses::of(ratings);
    let tables = model.table_uses(&uses).unwrap();
    clear_unused_rows(params, &tables).unwrap();
    let weights = PenaltyWeights::new(&tables, uses.pairs(), &Device::Cpu).unwrap();
    let ids = |ids: &[u32]| Tensor::new(ids, &Device::Cpu).unwrap();
    let (user, item) = (ids(&ratings.log.user), ids(&ratings.log.item));
    let look_up = || model.look_up(&user, &item, &weights).unwrap();
    let numbers = |tensor: Tensor| tensor.to_vec1::<f32>().unwrap();
    let (found, wanted) = (numbers(look_up().0.rating), numbers(model.predict(&user, &item).unwrap().rating));
    assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {wanted:?}");
    let [penalty, size] = [look_up().1, model.size().unwrap()].map(|x| x.to_scalar::<f32>().unwrap());
    assert!(size > 0.0 && (penalty - size).abs() < 1e-4 * size, "{penalty} {size}");
    crate::nn::gradient_check::assert_every_parameter_learns(params, || {
        let (predicted, penalty) = look_up();
        predicted.rating.sqr()?.sum_all()? + penalty
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Interactions;
    use crate::nn::Init;
    use crate::ratings::NegativeSampler;

    #[test]
    fn uses_are_counted_with_those_that_negatives_add() {
        let log =
            Interactions { user: vec![0, 0, 1], item: vec![0, 1, 1], rating: vec![1.0; 3], timestamp: vec![0; 3] };
        let plain = Ratings { log: &log, shape: [3, 2], weights: None, negatives: None, holdout: None };
        let uses = Uses::of(&plain);
        assert_eq!((&uses.user[..], &uses.item[..], uses.pairs()), (&[2.0, 1.0, 0.0][..], &[1.0, 2.0][..], 3.0));
        // User 0 rated all: beside the ratings of user 0 stands nothing, beside that of user 1 item 0.
        let negatives = NegativeSampler::new(&log, 3, 2);
        let uses = Uses::of(&Ratings { negatives: Some(&negatives), ..plain });
        assert_eq!((&uses.user[..], &uses.item[..], uses.pairs()), (&[2.0, 2.0, 0.0][..], &[2.0, 2.0][..], 4.0));
    }

    #[test]
    fn what_nothing_uses_is_cleared_and_weighs_nothing() {
        let mut params = Params::default();
        let table = params.add("t", &Init::new(1).normal(&[3, 2], 1.0).unwrap()).unwrap();
        let before = table.to_vec2::<f32>().unwrap();
        let tables = TableUses::from([("t", vec![4.0, 0.0, 1.0])]);
        clear_unused_rows(&params, &tables).unwrap();
        assert_eq!(table.to_vec2::<f32>().unwrap(), [before[0].clone(), vec![0.0; 2], before[2].clone()]);
        let weights = PenaltyWeights::new(&tables, 8.0, &Device::Cpu).unwrap();
        let ids = Tensor::new(&[2_u32, 1, 0], &Device::Cpu).unwrap();
        assert_eq!(weights.of("t", &ids).unwrap().to_vec1::<f32>().unwrap(), [1.0, 0.0, 0.25]);
        assert_eq!(weights.of_shared(2), 0.25);
        assert!(weights.of("u", &ids).is_err());
    }
}
