//! The towers of a two-tower softmax: p_u, q_i and b_i.
//!
//! An item's row is its own, plus a linear map of its vector (`dense_field.rs`), plus the embeddings of its declared columns
//! (`side_features.rs`); a user's likewise, without a vector.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};

use super::dense_field::DenseField;
use super::side_features::{Declarations, FeatureTable, sum};
use super::two_tower_settings::TwoTower;
use crate::artifact::Array;
use crate::nn::loss::gathered_log_softmax;
use crate::nn::{Init, Params, embedding};

/// Both towers.
pub(super) struct Towers {
    /// `[U, D]`.
    pub user: Tensor,
    /// `[I, 1 + D]`: b_i, then the row of q_i.
    pub item: Tensor,
    /// To 1 + D numbers, which are added to an item's row.
    pub vectors: Option<DenseField>,
    /// To D and 1 + D numbers of the declared columns, likewise.
    user_features: Option<FeatureTable>,
    item_features: Option<FeatureTable>,
    items: usize,
}

/// Standard deviation of the initial vectors.
const SPREAD: f64 = 0.1;

impl Towers {
    pub fn new(
        params: &mut Params,
        config: &TwoTower,
        [users, items]: [usize; 2],
        vectors: Option<&Array>,
        declared: &Declarations,
    ) -> Result<Self> {
        let mut init = Init::new(config.seed);
        let user = params.add("user", &init.normal(&[users, config.embedding], SPREAD)?)?;
        let rows = init.normal(&[items, config.embedding], SPREAD)?;
        let item =
            params.add("item", &Tensor::cat(&[&Tensor::zeros((items, 1), DType::F32, &Device::Cpu)?, &rows], 1)?)?;
        let width = 1 + config.embedding;
        let vectors = vectors.map(|vectors| DenseField::new(params, "item_vectors", vectors, width, &mut init));
        let vectors = vectors.transpose()?;
        let of_users = declared.users.as_ref();
        let user_features = FeatureTable::new(params, "user_features", of_users, users, width - 1, &mut init)?;
        let of_items = declared.items.as_ref();
        let item_features = FeatureTable::new(params, "item_features", of_items, items, width, &mut init)?;
        Ok(Self { user, item, vectors, user_features, item_features, items })
    }

    /// The rows of users `[B]`, whose gradients are of these rows alone.
    pub fn users(&self, ids: &Tensor) -> Result<UserRows> {
        let own = embedding(&self.user, ids)?;
        let vectors = match &self.user_features {
            Some(features) => (&own + features.rows(ids)?)?,
            None => own.clone(),
        };
        Ok(UserRows { own, vectors })
    }

    /// p of all, `[U, D]`.
    pub fn all_users(&self) -> Result<Tensor> {
        Ok(self.users(&Tensor::arange(0, self.user.dim(0)? as u32, self.user.device())?)?.vectors)
    }

    /// |θ|² of what all pairs use; `None` where that is nothing.
    pub fn shared_size(&self) -> Result<Option<Tensor>> {
        let mut size = self.vectors.as_ref().map(DenseField::size).transpose()?;
        for table in [&self.user_features, &self.item_features] {
            size = sum(size, table.as_ref().map(FeatureTable::size).transpose()?)?;
        }
        Ok(size)
    }

    /// The rows of items `[C]`, likewise.
    pub fn items(&self, ids: &Tensor) -> Result<ItemRows> {
        let own = embedding(&self.item, ids)?;
        let mut all = own.clone();
        if let Some(vectors) = &self.vectors {
            all = (all + vectors.look_up(ids)?)?;
        }
        if let Some(features) = &self.item_features {
            all = (all + features.rows(ids)?)?;
        }
        let width = all.dim(1)? - 1;
        Ok(ItemRows {
            own: own.narrow(1, 1, width)?,
            bias: all.narrow(1, 0, 1)?.squeeze(1)?,
            vectors: all.narrow(1, 1, width)?.contiguous()?,
        })
    }

    /// What the items' tower says of all.
    pub fn catalogue(&self) -> Result<ItemRows> {
        self.items(&Tensor::arange(0, self.items as u32, self.user.device())?)
    }

    /// s of `users` and all items, `[users, I]`, on the CPU.
    pub fn scores(&self, users: &[u32], catalogue: &ItemRows) -> Result<Tensor> {
        let users = self.users(&Tensor::new(users, self.user.device())?)?;
        let scores = users.vectors.matmul(&catalogue.vectors.t()?)?.broadcast_add(&catalogue.bias)?;
        Ok(scores.to_device(&Device::Cpu)?.detach())
    }

    /// ln p(i|u) of `users` and all items, `[users, I]`, on the CPU.
    pub fn log_probabilities(&self, users: &[u32], catalogue: &ItemRows) -> Result<Tensor> {
        let scores = self.scores(users, catalogue)?;
        Ok(scores.broadcast_sub(&log_sum_exp(&scores)?.unsqueeze(1)?)?)
    }
}

/// ln Σ e^s of each row, `[B]`.
pub(super) fn log_sum_exp(scores: &Tensor) -> Result<Tensor> {
    let any = Tensor::zeros(scores.dim(0)?, DType::U32, &Device::Cpu)?;
    Ok(gathered_log_softmax(scores, &any)?.log_sum_exp)
}

/// What B users' tower says.
pub(super) struct UserRows {
    /// Their own part of p, `[B, D]`.
    pub own: Tensor,
    /// p, `[B, D]`.
    pub vectors: Tensor,
}

/// What C items' tower says.
pub(super) struct ItemRows {
    /// Their own part of q, `[C, D]`.
    pub own: Tensor,
    /// b, `[C]`.
    pub bias: Tensor,
    /// q, `[C, D]`.
    pub vectors: Tensor,
}
