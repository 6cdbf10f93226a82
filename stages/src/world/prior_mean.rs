//! The prior mean of an item's bias: m_i = β·s·z_i from scores of the items, where z is standardised over the catalogue and s is the
//! standard deviation of the ratings.
//!
//! β, and for `world.bias` the strength λ_i, come from cross-validation inside the fitted ratings, over a grid that contains β = 0
//! ([`crate::ratings`]): scores that say nothing of the ratings change little.

use anyhow::Result;
use candle_core::{Device, Tensor};
use pipeline::Context;

use super::Inputs;
use super::factor_steps::Intercepts;
use super::lookups::{PenaltyWeights, TableUses, Uses};
use super::rating_model::{Predicted, RatingModel};
use crate::artifact::Factors;
use crate::ratings::{Design, Fitted, HoldOut, Knowledge, Learner, Validation, WeightedLog};

/// Seed of the folds: the cross-validation is no part of what a stage's seed varies.
const FOLD_SEED: u64 = 0;

/// What cross-validation makes of the ratings and the scores.
pub(super) struct PriorMean {
    /// Biases around the prior mean, averaged over the grid.
    pub fitted: Fitted,
    /// m_i, one an item, with the grid's mean of β.
    pub offsets: Vec<f64>,
    /// z_i, one an item.
    pub scores: Vec<f64>,
}

impl PriorMean {
    /// That of the scores at `item_scores`; `None` where they are not connected.
    ///
    /// # Errors
    /// When the scores are of other items.
    pub fn of(inputs: &Inputs, cx: &Context) -> Result<Option<Self>> {
        let Some(scores) = &inputs.item_scores else { return Ok(None) };
        let (users, items) = (inputs.users.len(), inputs.items.len());
        scores.check_items("item_scores", items)?;
        // An item without a score is taken for an average one.
        let z: Vec<f64> = scores.standardised().into_iter().map(|z| z.unwrap_or(0.0)).collect();
        let design = Design::of_genres_and_years(&inputs.items);
        let knowledge = Knowledge { design: &design, scores: Some(&z) };
        let log = WeightedLog::equal(inputs.interactions.clone());
        let validation = Validation { hold_out: HoldOut::Ratings, seed: FOLD_SEED };
        let fitted = Learner::Biases.fit(&log, [users, items], knowledge, validation);
        let strength = fitted.strength;
        if !inputs.interactions.is_empty() {
            cx.note(
                "prior mean",
                format!(
                    "a standard deviation of the scores stands for {:.3} rating points, and counts as {:.1} ratings of an item (by \
                     cross-validation inside the ratings)",
                    strength.points, strength.ratings
                ),
            );
        }
        let offsets = z.iter().map(|z| strength.points * z).collect();
        Ok(Some(Self { fitted, offsets, scores: z }))
    }
}

/// A model of what the ratings deviate from the prior mean.
pub(super) struct AroundPrior<M> {
    model: M,
    /// `[I]`, zeros without scores.
    offsets: Tensor,
}

impl<M> AroundPrior<M> {
    pub fn new(model: M, offsets: &[f64], device: &Device) -> Result<Self> {
        let offsets: Vec<f32> = offsets.iter().map(|&offset| offset as f32).collect();
        Ok(Self { model, offsets: Tensor::new(offsets, device)? })
    }
}

impl<M: RatingModel> RatingModel for AroundPrior<M> {
    fn predict(&self, user: &Tensor, item: &Tensor) -> Result<Predicted> {
        let Predicted { rating, log_variance } = self.model.predict(user, item)?;
        Ok(Predicted { rating: (rating + self.offsets.index_select(item, 0)?)?, log_variance })
    }

    fn factors(&self) -> Result<Option<Factors>> {
        let Some(mut factors) = self.model.factors()? else { return Ok(None) };
        // The last number of an item is its bias.
        let width = factors.items.shape[1];
        let offsets = self.offsets.to_vec1::<f32>()?;
        factors.items.data.chunks_exact_mut(width).zip(offsets).for_each(|(row, offset)| row[width - 1] += offset);
        Ok(Some(factors))
    }

    fn size(&self) -> Result<Tensor> {
        self.model.size()
    }

    fn table_uses(&self, uses: &Uses) -> Result<TableUses> {
        self.model.table_uses(uses)
    }

    fn look_up(&self, user: &Tensor, item: &Tensor, weights: &PenaltyWeights) -> Result<(Predicted, Tensor)> {
        let (Predicted { rating, log_variance }, penalty) = self.model.look_up(user, item, weights)?;
        Ok((Predicted { rating: (rating + self.offsets.index_select(item, 0)?)?, log_variance }, penalty))
    }

    fn intercepts(&self) -> Option<Intercepts> {
        let Intercepts { mean, mut items } = self.model.intercepts()?;
        let own = self.offsets.to_vec1::<f32>().ok()?;
        items.resize(own.len(), 0.0);
        items.iter_mut().zip(own).for_each(|(offset, own)| *offset += own);
        Some(Intercepts { mean, items })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use rand::RngExt;

    use super::*;
    use crate::artifact::{Interactions, ItemScores, Items, Users};
    use crate::nn::rng;
    use crate::world::{Bias, DeepFm, MatrixFactorisation, UserSimulator};
    use pipeline::Stage;

    const USERS: usize = 30;
    const ITEMS: usize = 40;

    fn quality(item: u32) -> f64 {
        f64::from(item * 17 % ITEMS as u32) / 20.0 - 1.0
    }

    /// `rows` ratings 3 + quality + noise, the hold-out of all pairs without noise, and scores of the items.
    fn inputs(rows: usize, scores: impl Fn(u32) -> f64) -> Inputs {
        let mut draw = rng(&[5, 7]);
        let (mut log, mut holdout) = (Interactions::default(), Interactions::default());
        let push = |log: &mut Interactions, user: u32, item: u32, noise: f64| {
            log.user.push(user);
            log.item.push(item);
            log.rating.push((3.0 + quality(item) + noise) as f32);
            log.timestamp.push(0);
        };
        for _ in 0..rows {
            let (user, item) = (draw.random_range(0..USERS as u32), draw.random_range(0..ITEMS as u32));
            push(&mut log, user, item, draw.random_range(-1.0..1.0));
        }
        (0..ITEMS as u32).for_each(|item| push(&mut holdout, item % USERS as u32, item, 0.0));
        let names = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
        let items = Items {
            id: names('i', ITEMS),
            title: names('i', ITEMS),
            year: vec![None; ITEMS],
            genres: vec![vec![]; ITEMS],
            ..Items::default()
        };
        let scores =
            ItemScores { score: (0..ITEMS as u32).map(|item| Some(scores(item))).collect(), questions: vec![] };
        Inputs {
            item_vectors: None,
            interactions: log,
            holdout: Some(holdout),
            propensities: None,
            distances: None,
            item_scores: Some(scores),
            items,
            users: Users { id: names('u', USERS), ..Users::default() },
        }
    }

    fn simulator() -> UserSimulator {
        UserSimulator { embedding_dim: 2, ..UserSimulator::default() }
    }

    /// The world's error on the hold-out with and without the scores.
    fn errors<S: Stage<Inputs = Inputs, Outputs = super::super::Outputs>>(
        stage: &S,
        inputs: fn() -> Inputs,
    ) -> [f64; 2] {
        [true, false].map(|connected| {
            let folder = tempfile::tempdir().unwrap();
            let mut inputs = inputs();
            inputs.item_scores = inputs.item_scores.filter(|_| connected);
            let curves = stage.run(inputs, &Context::detached(folder.path())).unwrap().curves;
            curves.0.iter().rfind(|point| point.series == "rmse.holdout.world").unwrap().value
        })
    }

    #[test]
    fn good_scores_lower_the_error_where_ratings_are_few_and_noise_does_little() {
        let bias = Bias { simulator: simulator(), ..Bias::default() };
        let [with, without] = errors(&bias, || inputs(60, quality));
        assert!(with < 0.8 * without, "{with} {without}");
        let [with, without] = errors(&bias, || inputs(600, |item| quality(item * 7 + 3)));
        assert!(with < 1.15 * without, "{with} {without}");
    }

    #[test]
    fn models_fitted_by_steps_deviate_from_the_prior_mean() {
        let mf = MatrixFactorisation { n_epochs: 5, simulator: simulator(), ..MatrixFactorisation::default() };
        let [with, without] = errors(&mf, || inputs(60, quality));
        assert!(with < 0.8 * without, "{with} {without}");
        let deepfm = DeepFm { n_epochs: 2, ensemble_size: 2, simulator: simulator(), ..DeepFm::default() };
        let [with, without] = errors(&deepfm, || inputs(60, quality));
        assert!(with < 0.8 * without, "{with} {without}");
    }

    #[test]
    fn without_ratings_the_world_is_the_scores_alone() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Bias { rating_range: Some([0.0, 8.0]), simulator: simulator(), ..Bias::default() };
        let mut few = inputs(0, |item| f64::from(item % 2));
        let world = stage.run(inputs(0, |item| f64::from(item % 2)), &Context::detached(folder.path())).unwrap().world;
        // z is −1 or 1: 4 ± 8/4.
        assert!(world.rewards_of(3).iter().enumerate().all(|(item, &r)| r == if item % 2 == 0 { 2.0 } else { 6.0 }));
        few.item_scores = None;
        let error = stage.run(few, &Context::detached(folder.path())).err().unwrap().to_string();
        assert_eq!(error, "no interaction to fit a world on");
        let refused = Bias { rating_range: Some([5.0, 1.0]), ..Bias::default() };
        assert_eq!(refused.check().unwrap_err().0, "rating_range");
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Bias { simulator: simulator(), ..Bias::default() };
        let error = |inputs| stage.run(inputs, &Context::detached(folder.path())).err().unwrap().to_string();
        let mut short = inputs(30, quality);
        short.item_scores.as_mut().unwrap().score.truncate(3);
        assert!(error(short).starts_with("the scores at `item_scores` are of 3 items, wanted 40\nhelp: "));
        let mut weighted = inputs(30, quality);
        let pairs = |log: &Interactions| log.user.iter().zip(&log.item).map(|(&u, &i)| (u, i, 0.5)).collect::<Vec<_>>();
        let mut all = pairs(&weighted.interactions);
        all.extend(pairs(weighted.holdout.as_ref().unwrap()));
        weighted.propensities = Some(crate::artifact::Propensities::new(all).unwrap());
        assert!(error(weighted).contains("\nhelp: set `ips: { weight_loss: false }`"));
    }

    #[test]
    fn an_offset_is_added_to_its_item() {
        struct Constant;
        impl RatingModel for Constant {
            fn predict(&self, user: &Tensor, _: &Tensor) -> Result<Predicted> {
                Ok(Predicted { rating: user.ones_like()?.to_dtype(candle_core::DType::F32)?, log_variance: None })
            }
            fn size(&self) -> Result<Tensor> {
                Ok(Tensor::new(0.0_f32, &Device::Cpu)?)
            }
            fn table_uses(&self, _: &Uses) -> Result<TableUses> {
                Ok(TableUses::new())
            }
            fn look_up(&self, user: &Tensor, item: &Tensor, _: &PenaltyWeights) -> Result<(Predicted, Tensor)> {
                Ok((self.predict(user, item)?, self.size()?))
            }
            fn intercepts(&self) -> Option<Intercepts> {
                Some(Intercepts { mean: 0.0, items: Vec::new() })
            }
        }
        let model = AroundPrior::new(Constant, &[0.5, -2.0], &Device::Cpu).unwrap();
        let ids = |ids: [u32; 3]| Tensor::new(&ids, &Device::Cpu).unwrap();
        let found = model.predict(&ids([0, 1, 2]), &ids([1, 0, 1])).unwrap().rating.to_vec1::<f32>().unwrap();
        assert_eq!(found, [-1.0, 1.5, -1.0]);
        assert_eq!(model.intercepts().unwrap().items, [0.5, -2.0]);
    }
}
