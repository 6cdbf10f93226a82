//! The fields of a user and of an item, as rows of one table of embeddings.
//!
//! Each field has one slot or several, and is the sum of their rows of the table by weights ([`Encoding`]). Fields of columns that nobody
//! declared have one slot of weight 1.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use candle_core::{DType, Device, Tensor};

use super::side_features::{Declarations, distinct};
use crate::artifact::{Items, Users};
use crate::features::Encoding;

/// Which rows of one shared embedding table the fields of a user or item take.
pub(super) struct Fields {
    pub user: Slots,
    pub item: Slots,
    /// `[I, G]`, rows sum to 1 where the item has a genre; `None` where the columns of items are declared, genres among them.
    pub genres: Option<Tensor>,
    /// Rows of the table.
    pub rows: usize,
}

/// The slots of N users, or items.
pub(super) struct Slots {
    /// `[N, S]` of u32.
    pub ids: Tensor,
    /// `[N, S]`; all 1 without.
    pub weights: Option<Tensor>,
    /// The slots of each field, which follow each other.
    pub widths: Vec<usize>,
}

impl Fields {
    /// The columns that are `declared`; those of a table with none are read where they have at most `max_cardinality` values.
    pub fn new(users: &Users, items: &Items, max_cardinality: usize, declared: &Declarations) -> Result<Self> {
        let mut rows = users.len() as u32;
        let few = |values: &&Vec<String>| distinct(values) <= max_cardinality;
        let user = match &declared.users {
            Some(encoding) => Slots::of(encoding, users.len(), 0, &mut rows)?,
            None => {
                let mut fields: Vec<Vec<u32>> = vec![(0..users.len() as u32).collect()];
                for values in users.features.values().filter(few) {
                    fields.push(number(values.iter().map(String::as_str), &mut rows));
                }
                Slots::single(&fields)?
            }
        };
        let first = rows;
        rows += items.len() as u32;
        let item = match &declared.items {
            Some(encoding) => Slots::of(encoding, items.len(), first, &mut rows)?,
            None => {
                let mut fields: Vec<Vec<u32>> = vec![(first..rows).collect()];
                let decade = |year: i32| (year.div_euclid(10) * 10).to_string();
                let decades: Vec<String> = items.year.iter().map(|year| year.map_or(String::new(), decade)).collect();
                fields.push(number(decades.iter().map(String::as_str), &mut rows));
                for values in items.features.values().filter(few) {
                    fields.push(number(values.iter().map(String::as_str), &mut rows));
                }
                Slots::single(&fields)?
            }
        };
        let genres = declared.items.is_none().then(|| genres(items)).transpose()?;
        Ok(Self { user, item, genres, rows: rows as usize })
    }

    /// The same on that device.
    pub fn on(&self, device: &Device) -> Result<Self> {
        let genres = self.genres.as_ref().map(|genres| genres.to_device(device)).transpose()?;
        Ok(Self { user: self.user.on(device)?, item: self.item.on(device)?, genres, rows: self.rows })
    }

    /// How many a pair has, without the item's vector.
    pub fn count(&self) -> usize {
        self.user.widths.len() + self.item.widths.len() + usize::from(self.genres.is_some())
    }

    /// The weights of B pairs' slots, `[B, S]`; `None` where all are 1.
    pub fn weights(&self, user: &Tensor, item: &Tensor) -> Result<Option<Tensor>> {
        if self.user.weights.is_none() && self.item.weights.is_none() {
            return Ok(None);
        }
        Ok(Some(Tensor::cat(&[self.user.weights_of(user)?, self.item.weights_of(item)?], 1)?))
    }

    /// The fields of B pairs, `[B, F, W]`, from the rows of their slots, `[B, S, W]`, and the slots' weights.
    pub fn grouped(&self, rows: Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
        let Some(weights) = weights else { return Ok(rows) };
        let widths: Vec<usize> = self.user.widths.iter().chain(&self.item.widths).copied().collect();
        grouped(&rows, weights, &widths)
    }
}

/// The genres of each item, `[I, G]`, and how much each counts.
fn genres(items: &Items) -> Result<Tensor> {
    let names: BTreeSet<&str> = items.genres.iter().flatten().map(String::as_str).collect();
    let place: BTreeMap<&str, usize> = names.iter().enumerate().map(|(k, name)| (*name, k)).collect();
    let width = names.len().max(1);
    let mut genres = vec![0.0_f32; items.len() * width];
    for (item, list) in items.genres.iter().enumerate() {
        for genre in list {
            genres[item * width + place[genre.as_str()]] += 1.0 / list.len() as f32;
        }
    }
    Ok(Tensor::from_vec(genres, (items.len(), width), &Device::Cpu)?)
}

impl Slots {
    /// Fields of one slot each, by field.
    fn single(fields: &[Vec<u32>]) -> Result<Self> {
        let rows = fields[0].len();
        let ids: Vec<u32> = (0..rows).flat_map(|row| fields.iter().map(move |field| field[row])).collect();
        let ids = Tensor::from_vec(ids, (rows, fields.len()), &Device::Cpu)?;
        Ok(Self { ids, weights: None, widths: vec![1; fields.len()] })
    }

    /// The `count` rows' own ids, from `first` on, and their declared columns, which take rows of the table from `rows` on.
    fn of(encoding: &Encoding, count: usize, first: u32, rows: &mut u32) -> Result<Self> {
        let (of_columns, of_weights) = encoding.slots(count, *rows);
        *rows += encoding.table_rows() as u32;
        let own = Tensor::arange(first, first + count as u32, &Device::Cpu)?.unsqueeze(1)?;
        let width = encoding.width();
        let widths = std::iter::once(1).chain(encoding.columns.iter().map(|column| column.width)).collect();
        if width == 0 {
            return Ok(Self { ids: own, weights: None, widths });
        }
        let of_columns = Tensor::from_vec(of_columns, (count, width), &Device::Cpu)?;
        let of_weights = Tensor::from_vec(of_weights, (count, width), &Device::Cpu)?;
        let weights = Tensor::cat(&[&own.ones_like()?.to_dtype(DType::F32)?, &of_weights], 1)?;
        Ok(Self { ids: Tensor::cat(&[&own, &of_columns], 1)?, weights: Some(weights), widths })
    }

    fn on(&self, device: &Device) -> Result<Self> {
        let weights = self.weights.as_ref().map(|weights| weights.to_device(device)).transpose()?;
        Ok(Self { ids: self.ids.to_device(device)?, weights, widths: self.widths.clone() })
    }

    /// The ids of these rows, `[B, S]`.
    pub fn ids_of(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(self.ids.index_select(rows, 0)?)
    }

    fn weights_of(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(match &self.weights {
            Some(weights) => weights.index_select(rows, 0)?,
            None => Tensor::ones((rows.dim(0)?, self.ids.dim(1)?), DType::F32, rows.device())?,
        })
    }

    /// The fields of all, `[N, F, W]`, from the rows of their slots, `[N, S, W]`.
    pub fn grouped(&self, rows: Tensor) -> Result<Tensor> {
        self.weights.as_ref().map_or(Ok(rows.clone()), |weights| grouped(&rows, weights, &self.widths))
    }

    /// Adds to each row of the table how often those of `uses` use it.
    pub fn add_uses(&self, uses: &[f64], rows: &mut [f64]) -> Result<()> {
        let weights = self.weights.as_ref().map(Tensor::to_vec2::<f32>).transpose()?;
        for (at, (ids, uses)) in self.ids.to_vec2::<u32>()?.iter().zip(uses).enumerate() {
            let counts = |slot: usize| weights.as_ref().is_none_or(|weights| weights[at][slot] != 0.0);
            ids.iter().enumerate().filter(|(slot, _)| counts(*slot)).for_each(|(_, &row)| rows[row as usize] += uses);
        }
        Ok(())
    }
}

/// Σ over the slots of each field: rows `[B, S, W]`, weights `[B, S]` → `[B, F, W]`.
fn grouped(rows: &Tensor, weights: &Tensor, widths: &[usize]) -> Result<Tensor> {
    let weighted = rows.broadcast_mul(&weights.to_dtype(rows.dtype())?.unsqueeze(2)?)?;
    let mut first = 0;
    let field = |&width: &usize| {
        let slots = weighted.narrow(1, first, width);
        first += width;
        if width == 1 { slots } else { slots?.sum_keepdim(1) }
    };
    Ok(Tensor::cat(&widths.iter().map(field).collect::<candle_core::Result<Vec<_>>>()?, 1)?)
}

/// Numbers the distinct values from `rows` on, in their order.
fn number<'a>(values: impl Iterator<Item = &'a str> + Clone, rows: &mut u32) -> Vec<u32> {
    let distinct: BTreeSet<&str> = values.clone().collect();
    let place: BTreeMap<&str, u32> = distinct.into_iter().zip(*rows..).collect();
    *rows += place.len() as u32;
    values.map(|value| place[value]).collect()
}
