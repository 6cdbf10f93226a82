//! A reward for where a session has come to: it depends on the last two items alone.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::array_hash;
use super::tensors::{Array, TensorFile};
use super::whole_numbers::whole_numbers;

/// The array of a table.
const TABLE: &str = "bonus";
/// The arrays of what a log tells.
const SEEN: [&str; 3] = ["bonus_after_one", "bonus_pairs", "bonus_after_two"];

/// A number for each (last item, one before), both of I + 1, where I stands for none.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionBonus {
    /// `[I + 1, I + 1]`.
    Table(Array),
    /// The same where few pairs differ from others with the same last item.
    Seen(SeenPairs),
}

/// One number a last item, and those of the pairs that have one of their own: a log of N interactions tells of 2·N pairs at most.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenPairs {
    /// `[I + 1]`.
    after_one: Vec<f32>,
    /// (last, before), rising.
    pairs: Vec<(u32, u32)>,
    /// One a pair.
    after_two: Vec<f32>,
}

impl From<Array> for SessionBonus {
    fn from(table: Array) -> Self {
        Self::Table(table)
    }
}

impl SessionBonus {
    /// After `last`, before which came `before`.
    #[must_use]
    pub fn of(&self, last: usize, before: usize) -> f32 {
        match self {
            Self::Table(table) => table.row(last)[before],
            Self::Seen(seen) => seen.of(last, before),
        }
    }

    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        match self {
            Self::Table(table) => array_hash::update(hasher, table),
            Self::Seen(seen) => seen.arrays().iter().for_each(|array| array_hash::update(hasher, array)),
        }
    }

    /// Adds it to a file; a table is not copied.
    pub(super) fn write_into<'a>(&'a self, file: &mut TensorFile, arrays: &mut Vec<(String, &'a Array)>) {
        match self {
            Self::Table(table) => arrays.push((TABLE.to_owned(), table)),
            Self::Seen(seen) => SEEN.into_iter().zip(seen.arrays()).for_each(|(name, array)| {
                file.arrays.insert(name.to_owned(), array);
            }),
        }
    }

    /// Takes it out of a file of so many items; none where there is none.
    ///
    /// # Errors
    /// When it is of another catalogue, or damaged.
    pub(super) fn read_from(file: &mut TensorFile, items: usize) -> Result<Option<Self>> {
        let places = items + 1;
        if let Some(table) = file.arrays.remove(TABLE) {
            ensure!(table.shape == [places, places], "bonus is not {places} × {places}");
            return Ok(Some(Self::Table(table)));
        }
        if !file.arrays.contains_key(SEEN[0]) {
            return Ok(None);
        }
        let [after_one, pairs, after_two] = SEEN.map(|name| file.take(name));
        let (after_one, pairs, after_two) = (after_one?, pairs?, after_two?);
        ensure!(
            after_one.shape == [places] && pairs.shape.len() == 2 && pairs.shape[1] == 2,
            "the bonuses of {items} items are {:?}, and of pairs {:?}",
            after_one.shape,
            pairs.shape
        );
        ensure!(after_two.shape == [pairs.shape[0]], "{} pairs have {:?} bonuses", pairs.shape[0], after_two.shape);
        let finite = after_one.data.iter().chain(&after_two.data).all(|x| x.is_finite());
        ensure!(finite, "a bonus of the world is no finite number");
        let ids = whole_numbers("bonus_pairs", &pairs.data, places as u64)?;
        let pairs: Vec<(u32, u32)> = ids.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        ensure!(pairs.is_sorted_by(|a, b| a < b), "`bonus_pairs` does not rise");
        Ok(Some(Self::Seen(SeenPairs { after_one: after_one.data, pairs, after_two: after_two.data })))
    }

    /// The mean over pairs of two items.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let of_pairs = |items: usize, sum: f64| sum / (items * items) as f64;
        match self {
            Self::Table(table) => {
                let items = table.shape[0] - 1;
                let row = |last: usize| table.row(last)[..items].iter().map(|&x| f64::from(x)).sum::<f64>();
                of_pairs(items, (0..items).map(row).sum())
            }
            Self::Seen(seen) => {
                let items = seen.after_one.len() - 1;
                let all: f64 = seen.after_one[..items].iter().map(|&x| f64::from(x) * items as f64).sum();
                let known = seen.pairs.iter().zip(&seen.after_two);
                let known = known.filter(|((last, before), _)| (*last as usize) < items && (*before as usize) < items);
                let more = known.map(|(&(last, _), &x)| f64::from(x) - f64::from(seen.after_one[last as usize]));
                of_pairs(items, all + more.sum::<f64>())
            }
        }
    }

    /// The largest, 0 at least.
    #[must_use]
    pub fn largest(&self) -> f32 {
        let of_all = |numbers: &[f32]| numbers.iter().fold(0.0, |most: f32, &x| most.max(x));
        match self {
            Self::Table(table) => of_all(&table.data),
            Self::Seen(seen) => of_all(&seen.after_one).max(of_all(&seen.after_two)),
        }
    }

    /// The same, each times `by`.
    #[must_use]
    pub fn scaled(mut self, by: f32) -> Self {
        let scale = |numbers: &mut Vec<f32>| numbers.iter_mut().for_each(|x| *x *= by);
        match &mut self {
            Self::Table(table) => scale(&mut table.data),
            Self::Seen(seen) => {
                scale(&mut seen.after_one);
                scale(&mut seen.after_two);
            }
        }
        self
    }
}

impl SeenPairs {
    /// One number a last item or none, `[I + 1]`, and those of pairs (last, before).
    #[must_use]
    pub fn new(after_one: Vec<f32>, of_pairs: BTreeMap<(u32, u32), f32>) -> Self {
        let (pairs, after_two) = of_pairs.into_iter().unzip();
        Self { after_one, pairs, after_two }
    }

    fn of(&self, last: usize, before: usize) -> f32 {
        match self.pairs.binary_search(&(last as u32, before as u32)) {
            Ok(at) => self.after_two[at],
            Err(_) => self.after_one[last],
        }
    }

    /// The same as a table.
    #[must_use]
    pub fn table(&self) -> Array {
        let places = self.after_one.len();
        let mut table: Vec<f32> = self.after_one.iter().flat_map(|&x| std::iter::repeat_n(x, places)).collect();
        for (&(last, before), &x) in self.pairs.iter().zip(&self.after_two) {
            table[last as usize * places + before as usize] = x;
        }
        Array::new(&[places, places], table)
    }

    fn arrays(&self) -> [Array; 3] {
        let vector = |numbers: &[f32]| Array::new(&[numbers.len()], numbers.to_vec());
        let ids = self.pairs.iter().flat_map(|&(last, before)| [last as f32, before as f32]).collect();
        [vector(&self.after_one), Array::new(&[self.pairs.len(), 2], ids), vector(&self.after_two)]
    }
}
