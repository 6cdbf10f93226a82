//! DeepFM as factors of users and items and a network over both.
//!
//! Σ_{f<g} ⟨v_f, v_g⟩ over the fields of a user and an item is ½(|S_u|² − Σ|v|²) of the user's fields, the same of the item's, and S_u·S_i,
//! where S is the sum of the vectors. The network's first layer is a product with the user's fields plus one with the item's. So both
//! sides are computed once, and a pair takes one product and the later layers.

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};

use super::deepfm_model::Model;
use super::fields::Slots;
use crate::artifact::{Array, Factors, PairNetwork};

/// x = (S_u, μ + Σ w + ½(|S_u|² − Σ|v|²), 1) and y = (S_i, 1, Σ w + ½(|S_i|² − Σ|v|²)) with the network's rating; what it states of the
/// variance is left out.
pub(super) fn factors(model: &Model) -> Result<Factors> {
    let rows = |slots: &Slots| -> Result<Tensor> {
        let (count, of_each) = slots.ids.dims2()?;
        let rows = model.table.index_select(&slots.ids.flatten_all()?, 0)?;
        slots.grouped(rows.reshape((count, of_each, rows.dim(1)?))?)
    };
    let users = rows(&model.fields.user)?;
    let mut of_items = vec![rows(&model.fields.item)?];
    if let Some((genres, table)) = model.fields.genres.as_ref().zip(model.genre_table.as_ref()) {
        of_items.push(genres.matmul(table)?.unsqueeze(1)?);
    }
    if let Some(vectors) = &model.vectors {
        let all = Tensor::arange(0, of_items[0].dim(0)? as u32, model.table.device())?;
        of_items.push(vectors.rows(&all)?.unsqueeze(1)?);
    }
    let items = Tensor::cat(&of_items, 1)?;
    let [user, item] = [side(&users)?, side(&items)?];
    let own = (user.own + model.mean)?;
    let layers = model.network.layers()?;
    let ((first, bias), later) = layers.split_first().context("a network without a layer")?;
    // Of a network of one layer the first output is the rating already.
    let outputs = if later.is_empty() { 1 } else { first.dim(0)? };
    let part = |fields: &Tensor, from: usize| -> Result<Tensor> {
        let width = fields.dim(1)?;
        Ok(fields.matmul(&first.narrow(0, 0, outputs)?.narrow(1, from, width)?.t()?.contiguous()?)?)
    };
    let of_items = part(&item.flat, user.flat.dim(1)?)?.broadcast_add(&bias.narrow(0, 0, outputs)?)?;
    let layer = |(number, (weight, bias)): (usize, &(Tensor, Tensor))| -> Result<[Array; 2]> {
        let outputs = if number + 1 == later.len() { 1 } else { weight.dim(0)? };
        Ok([array(&weight.narrow(0, 0, outputs)?)?, array(&bias.narrow(0, 0, outputs)?)?])
    };
    let network = PairNetwork {
        users: array(&part(&user.flat, 0)?)?,
        items: array(&of_items)?,
        layers: later.iter().enumerate().map(layer).collect::<Result<_>>()?,
    };
    Ok(Factors {
        users: array(&Tensor::cat(&[&user.sum, &own, &own.ones_like()?], 1)?)?,
        items: array(&Tensor::cat(&[&item.sum, &item.own.ones_like()?, &item.own], 1)?)?,
        network: Some(network),
    })
}

/// What the fields of N users, or items, come to.
struct Side {
    /// S, `[N, K]`.
    sum: Tensor,
    /// Σ w + ½(|S|² − Σ|v|²), `[N, 1]`.
    own: Tensor,
    /// Their vectors one after the other, `[N, F·K]`.
    flat: Tensor,
}

/// From rows `[N, F, 1 + K]`: linear weights, then vectors.
fn side(rows: &Tensor) -> Result<Side> {
    let linear = rows.narrow(2, 0, 1)?.sum(1)?;
    let vectors = rows.narrow(2, 1, rows.dim(2)? - 1)?.contiguous()?;
    let sum = vectors.sum(1)?;
    let pairs = ((sum.sqr()?.sum_keepdim(1)? - vectors.sqr()?.sum((1, 2))?.unsqueeze(1)?)? * 0.5)?;
    Ok(Side { sum, own: (linear + pairs)?, flat: vectors.flatten_from(1)? })
}

fn array(tensor: &Tensor) -> Result<Array> {
    let tensor = tensor.detach().to_device(&Device::Cpu)?;
    Ok(Array::new(tensor.dims(), tensor.flatten_all()?.to_vec1()?))
}
