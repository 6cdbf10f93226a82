//! The fields of a user and of an item, as rows of one table of embeddings.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use candle_core::{Device, Tensor};

use crate::artifact::{Items, Users};

/// Which row of one shared embedding table each field of a user or item takes.
pub(super) struct Fields {
    /// `[U, F_u]` and `[I, F_i]` of u32.
    pub user: Tensor,
    pub item: Tensor,
    /// `[I, G]`, rows sum to 1 where the item has a genre.
    pub genres: Tensor,
    /// Rows of the table.
    pub rows: usize,
}

impl Fields {
    pub fn new(users: &Users, items: &Items, max_cardinality: usize) -> Result<Self> {
        let mut rows = 0_u32;
        let mut user_fields: Vec<Vec<u32>> = vec![(0..users.len() as u32).collect()];
        rows += users.len() as u32;
        let few = |values: &&Vec<String>| values.iter().collect::<BTreeSet<_>>().len() <= max_cardinality;
        for values in users.features.values().filter(few) {
            user_fields.push(number(values.iter().map(String::as_str), &mut rows));
        }
        let mut item_fields: Vec<Vec<u32>> = vec![(rows..rows + items.len() as u32).collect()];
        rows += items.len() as u32;
        let decades: Vec<String> =
            items.year.iter().map(|year| year.map_or(String::new(), |y| (y.div_euclid(10) * 10).to_string())).collect();
        item_fields.push(number(decades.iter().map(String::as_str), &mut rows));
        for values in items.features.values().filter(few) {
            item_fields.push(number(values.iter().map(String::as_str), &mut rows));
        }
        let names: BTreeSet<&str> = items.genres.iter().flatten().map(String::as_str).collect();
        let place: BTreeMap<&str, usize> = names.iter().enumerate().map(|(k, name)| (*name, k)).collect();
        let width = names.len().max(1);
        let mut genres = vec![0.0_f32; items.len() * width];
        for (item, list) in items.genres.iter().enumerate() {
            for genre in list {
                genres[item * width + place[genre.as_str()]] += 1.0 / list.len() as f32;
            }
        }
        Ok(Self {
            user: interleave(&user_fields)?,
            item: interleave(&item_fields)?,
            genres: Tensor::from_vec(genres, (items.len(), width), &Device::Cpu)?,
            rows: rows as usize,
        })
    }
}

impl Fields {
    /// The same on that device.
    pub fn on(&self, device: &Device) -> Result<Self> {
        let there = |x: &Tensor| x.to_device(device);
        Ok(Self { user: there(&self.user)?, item: there(&self.item)?, genres: there(&self.genres)?, rows: self.rows })
    }
}

/// Numbers the distinct values from `rows` on, in their order.
fn number<'a>(values: impl Iterator<Item = &'a str> + Clone, rows: &mut u32) -> Vec<u32> {
    let distinct: BTreeSet<&str> = values.clone().collect();
    let place: BTreeMap<&str, u32> = distinct.into_iter().zip(*rows..).collect();
    *rows += place.len() as u32;
    values.map(|value| place[value]).collect()
}

/// Columns → a `[rows, fields]` tensor.
fn interleave(columns: &[Vec<u32>]) -> Result<Tensor> {
    let rows = columns[0].len();
    let data: Vec<u32> = (0..rows).flat_map(|row| columns.iter().map(move |column| column[row])).collect();
    Ok(Tensor::from_vec(data, (rows, columns.len()), &Device::Cpu)?)
}
