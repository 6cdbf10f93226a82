//! Columns of the items in a state encoder: what is added to the vector of a recent item.
//!
//! e_in(i) = E_in\[i\] + Σ_k w_k·M\[id_k\] over the slots of the item's columns. M is 0 at first, so that a new policy is the one without
//! columns. The padding has no column.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};

use crate::artifact::{Array, ItemFeatures};
use crate::nn::Params;
use crate::nn::kernels::embedding;
use crate::nn::layers::params::to_array;

/// The name of M, and of the slots in a policy's file.
pub(in crate::nn) const TABLE: &str = "item_features";
pub(in crate::nn) const SLOTS: [&str; 2] = ["table.item_feature_ids", "table.item_feature_weights"];

/// The columns with their embeddings.
pub(in crate::nn) struct ItemFeatureTable {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// M, `[R, D]`.
    table: Tensor,
    /// `[I + 1, S]` of u32, and weights.
    ids: Tensor,
    weights: Tensor,
}

/// The slots of I items, from a world or from a policy's file.
pub(in crate::nn) struct Slots {
    columns: Vec<String>,
    ids: Array,
    weights: Array,
    table_rows: usize,
}

impl Slots {
    pub fn of(features: &ItemFeatures) -> Self {
        Self {
            columns: features.columns.iter().map(|column| column.name.clone()).collect(),
            ids: features.ids.clone(),
            weights: features.weights.clone(),
            table_rows: features.table_rows(),
        }
    }

    /// Takes those of the named columns from the arrays of a policy's file; `None` where it has none.
    ///
    /// # Errors
    /// Where they do not fit its table or its items.
    pub fn take_from(arrays: &mut BTreeMap<String, Array>, columns: Vec<String>, items: usize) -> Result<Option<Self>> {
        let [ids, weights] = SLOTS.map(|name| arrays.remove(name));
        let (Some(ids), Some(weights)) = (ids, weights) else { return Ok(None) };
        let table_rows = arrays.get(TABLE).and_then(|table| table.shape.first().copied()).unwrap_or(0);
        let fits = ids.shape.len() == 2 && ids.shape[0] == items && ids.shape == weights.shape;
        let in_range = ids.data.iter().all(|&id| id >= 0.0 && id < table_rows as f32 && id.fract() == 0.0);
        ensure!(fits && in_range, "`{}` does not fit {items} items and a table of {table_rows} rows", SLOTS[0]);
        Ok(Some(Self { columns, ids, weights, table_rows }))
    }
}

impl ItemFeatureTable {
    pub fn new(params: &mut Params, slots: &Slots, width: usize) -> Result<Self> {
        let table = params.add(TABLE, &Tensor::zeros((slots.table_rows, width), DType::F32, &Device::Cpu)?)?;
        let padded = |array: &Array| {
            let slots = Tensor::from_slice(&array.data, (array.shape[0], array.shape[1]), &Device::Cpu)?;
            slots.pad_with_zeros(0, 0, 1)
        };
        let ids = padded(&slots.ids)?.to_dtype(DType::U32)?.to_device(params.device())?;
        let weights = padded(&slots.weights)?.to_dtype(table.dtype())?.to_device(params.device())?;
        Ok(Self { columns: slots.columns.clone(), table, ids, weights })
    }

    /// What is added to the vectors of `items […]`, `[…, D]`.
    pub fn rows(&self, items: &Tensor) -> candle_core::Result<Tensor> {
        let all = items.flatten_all()?;
        let (ids, weights) = (self.ids.index_select(&all, 0)?, self.weights.index_select(&all, 0)?);
        let rows = embedding(&self.table, &ids)?.broadcast_mul(&weights.unsqueeze(2)?)?.sum(1)?;
        rows.reshape([items.dims(), &[self.table.dim(1)?]].concat())
    }

    /// The slots as arrays of a policy's file; the embeddings are a parameter.
    pub fn export(&self) -> Result<[(String, Array); 2]> {
        let items = self.ids.dim(0)? - 1;
        let array = |tensor: &Tensor| to_array(&tensor.narrow(0, 0, items)?.to_dtype(DType::F32)?.contiguous()?);
        let [ids, weights] = SLOTS.map(str::to_owned);
        Ok([(ids, array(&self.ids)?), (weights, array(&self.weights)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::FeatureColumn;
    use crate::nn::optim::gradient_check::{assert_every_parameter_learns, assert_parameters_are_exact};

    #[test]
    fn rows_are_weighted_sums_and_learn_exactly() {
        let features = ItemFeatures {
            columns: vec![FeatureColumn { name: "tags".into(), width: 2, table_rows: 3 }],
            ids: Array::new(&[2, 2], vec![0.0, 2.0, 1.0, 0.0]),
            weights: Array::new(&[2, 2], vec![0.5, 0.5, -2.0, 0.0]),
        };
        let mut params = Params::in_f64();
        let table = ItemFeatureTable::new(&mut params, &Slots::of(&features), 2).unwrap();
        let items = Tensor::new(&[[1_u32, 2], [0, 1]], &Device::Cpu).unwrap();
        assert_eq!(table.rows(&items).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap(), [0.0; 8]);
        let values = Tensor::new(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        params.iter().for_each(|(_, var)| var.set(&values).unwrap());
        let found = table.rows(&items).unwrap().to_vec3::<f64>().unwrap();
        assert_eq!(found, [[[-6.0, -8.0], [0.0, 0.0]], [[3.0, 4.0], [-6.0, -8.0]]], "the padding, 2, has no column");
        let weights = Tensor::new(&[1.0, -0.5, 2.0, 1.5, 0.3, 1.0, -1.0, 2.5], &Device::Cpu).unwrap();
        let loss = || (table.rows(&items)?.flatten_all()? * &weights)?.sqr()?.sum_all();
        assert_every_parameter_learns(&params, loss);
        assert_parameters_are_exact(&params, loss);
        let mut arrays: BTreeMap<String, Array> = table.export().unwrap().into();
        arrays.insert(TABLE.into(), Array::new(&[2, 2], vec![0.0; 4]));
        assert!(Slots::take_from(&mut arrays.clone(), Vec::new(), 2).is_err(), "row 2 of a table of 2");
        arrays.insert(TABLE.into(), Array::new(&[3, 2], vec![0.0; 6]));
        assert!(Slots::take_from(&mut arrays.clone(), Vec::new(), 3).is_err(), "of another catalogue");
        assert_eq!(Slots::take_from(&mut arrays, Vec::new(), 2).unwrap().unwrap().weights, features.weights);
    }
}
