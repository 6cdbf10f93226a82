//! A model of ratings, and the ratings that it is fitted to.

use anyhow::Result;
use candle_core::Tensor;

use super::dense_field::DenseField;
use super::factor_steps::Intercepts;
use super::heteroscedastic;
use super::lookups::{PenaltyWeights, TableUses, Uses};
use crate::artifact::Factors;

/// What a model says of some pairs of users and items.
pub(super) struct Predicted {
    /// The ratings, `[B]`.
    pub rating: Tensor,
    /// ln σ² of each, `[B]`, where the model states how far it may be off.
    pub log_variance: Option<Tensor>,
}

/// A family of rating models: `user [B], item [B]` of u32 in, differentiable values out.
pub(super) trait RatingModel: Send + Sync {
    /// The ratings of these pairs.
    fn predict(&self, user: &Tensor, item: &Tensor) -> Result<Predicted>;
    /// The same ratings as products of vectors of users and items, with what a network adds where there is one.
    /// `None` of a model that has none.
    fn factors(&self) -> Result<Option<Factors>> {
        Ok(None)
    }
    /// The squared size of everything that stands for a user or an item, a scalar: what `l2` shrinks.
    fn size(&self) -> Result<Tensor>;
    /// How often an epoch uses each row of the tables from which pairs look rows up.
    fn table_uses(&self, uses: &Uses) -> Result<TableUses>;
    /// [`RatingModel::predict`] by lookups whose gradients are of the looked-up rows alone, and Σ over the pairs of |θ|²/n of what they
    /// use, a scalar: over an epoch this is [`RatingModel::size`].
    fn look_up(&self, user: &Tensor, item: &Tensor, weights: &PenaltyWeights) -> Result<(Predicted, Tensor)>;
    /// The field of the items' vectors, which may be fixed while nothing learns.
    fn dense_field(&self) -> Option<&DenseField> {
        None
    }
    /// What is added to b_u + b_i + p_u·q_i, where a rating is no more than that: b and (p, q) are then the parameters `user_bias`,
    /// `item_bias`, `user` and `item`, and a fused kernel fits them.
    fn intercepts(&self) -> Option<Intercepts> {
        None
    }
}

/// The loss of each rating, weighted, `[B]` each.
pub(super) fn losses(squared: &Tensor, log_variance: Option<&Tensor>, weight: Option<&Tensor>) -> Result<Tensor> {
    let losses = match log_variance {
        Some(log_variance) => heteroscedastic::loss(squared, log_variance)?,
        None => squared.clone(),
    };
    Ok(match weight {
        Some(weight) => (losses * weight)?,
        None => losses,
    })
}
