//! The prior mean of an item's bias: m_i = β·s·z_i from scores of the items, where z is standardised over the catalogue and s is the
//! standard deviation of the ratings.
//!
//! β, and for `world.bias` the strength λ_i, come from cross-validation inside the fitted ratings, over a grid that contains β = 0
//! ([`crate::ratings`]): scores that say nothing of the ratings change little.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use pipeline::Context;

use super::Inputs;
use super::fit::{Predicted, RatingModel};
use crate::artifact::Interactions;
use crate::ratings::{Design, Fitted, Knowledge, Learner, standardized};

/// Seed of the folds: the cross-validation is no part of what a stage's seed varies.
const FOLD_SEED: u64 = 0;

/// What cross-validation makes of the ratings and the scores.
pub(super) struct PriorMean {
    /// Biases around the prior mean, averaged over the grid.
    pub fitted: Fitted,
    /// m_i, one an item, with the grid's mean of β.
    pub offsets: Vec<f64>,
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
        let z = standardized(&scores.score);
        let design = Design::of_genres_and_years(&inputs.items);
        let knowledge = Knowledge { design: &design, scores: Some(&z) };
        let fitted = Learner::Biases.fit(&inputs.interactions, [users, items], knowledge, FOLD_SEED);
        let strength = fitted.strength;
        cx.note(
            "prior mean",
            format!(
                "a standard deviation of the scores stands for {:.3} rating points, and counts as {:.1} ratings of an item (by \
                 cross-validation inside the ratings)",
                strength.points, strength.ratings
            ),
        );
        let offsets = z.iter().map(|z| strength.points * z).collect();
        Ok(Some(Self { fitted, offsets }))
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

    fn size(&self) -> Result<Tensor> {
        self.model.size()
    }
}
