//! What the columns of an item say of the numbers that a policy has learned of it.
//!
//! A linear map from columns to learned numbers, fitted to the items that have both (Gantner et al. 2010, "Learning Attribute-to-Feature
//! Mappings for Cold-Start Recommendations", ICDM): B = (XᵀX + λP)⁻¹XᵀY, where a row of X is what [`Encoding`] makes of an item's columns
//! and a constant, which P leaves free. λ is the one with the least error of items that are left out one by one, which has a closed form:
//! y_i − ŷ₋ᵢ = (y_i − x_iB)/(1 − h_i) with h_i = x_iᵀ(XᵀX + λP)⁻¹x_i (Allen 1974).
//!
//! What an item would have if it were new is mapped from the items outside of its fold. (Mapped from all but the item itself, columns that
//! say nothing would give each item the mean of the others, which is the lower the higher its own numbers are.)

use anyhow::{Context as _, Result};
use rand::seq::SliceRandom as _;
use rayon::prelude::*;

use crate::artifact::Array;
use crate::features::Encoding;
use crate::nn::rng;
use crate::ratings::inverse;

/// Values of λ: of an item with the same column as k others the column has the weight k/(k + λ).
const RIDGES: [f64; 9] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// Parts of the fitted items, of which each is mapped from the others.
const FOLDS: usize = 5;

/// The columns of a catalogue as rows of X.
pub(super) struct Design {
    ids: Vec<u32>,
    weights: Vec<f32>,
    /// Slots of an item.
    slots: usize,
    /// Columns of X; the last one is the constant.
    width: usize,
}

impl Design {
    /// Of a catalogue of that many items.
    pub fn new(encoding: &Encoding, items: usize) -> Self {
        let (ids, weights) = encoding.slots(items, 0);
        Self { ids, weights, slots: encoding.width(), width: encoding.table_rows() + 1 }
    }

    /// What is not 0 of a row: a column of X each, and its number.
    fn row(&self, item: usize) -> impl Iterator<Item = (usize, f64)> + Clone {
        let at = item * self.slots..(item + 1) * self.slots;
        let slots = self.ids[at.clone()].iter().zip(&self.weights[at]);
        let slots = slots.filter(|(_, weight)| **weight != 0.0).map(|(&id, &weight)| (id as usize, f64::from(weight)));
        slots.chain([(self.width - 1, 1.0)])
    }

    /// XᵀX of some rows.
    fn products(&self, items: impl Iterator<Item = usize>) -> Vec<f64> {
        let mut products = vec![0.0; self.width * self.width];
        for item in items {
            for (i, x) in self.row(item) {
                self.row(item).for_each(|(j, y)| products[i * self.width + j] += x * y);
            }
        }
        products
    }

    /// XᵀX + λP.
    fn with_ridge(&self, products: &[f64], ridge: f64) -> Vec<f64> {
        let mut matrix = products.to_vec();
        (0..self.width - 1).for_each(|k| matrix[k * self.width + k] += ridge);
        matrix
    }

    /// Whether the columns say nothing of an item.
    pub fn is_empty(&self, item: usize) -> bool {
        self.row(item).count() == 1
    }
}

/// The map for every λ, but for the learned numbers.
pub(super) struct AttributeMap<'d> {
    design: &'d Design,
    /// Rows of X that are fitted.
    fitted: Vec<usize>,
    /// XᵀX of these, `[width, width]`.
    products: Vec<f64>,
    /// Places in `fitted`.
    folds: Vec<Vec<usize>>,
    /// For each λ the inverse `[width, width]`, and 1 − h of each fitted row.
    ridges: Vec<(Vec<f64>, Vec<f64>)>,
}

/// Learned numbers by the columns.
pub(super) struct Mapped {
    /// Of each fitted item, as if its fold were not: `[fitted, K]`.
    pub left_out: Array,
    /// Of the items asked for, `[asked, K]`.
    pub asked: Array,
}

impl<'d> AttributeMap<'d> {
    /// From the items `fitted`, at least two a fold.
    ///
    /// # Errors
    /// When the numbers of the columns are too large to be squared.
    pub fn new(design: &'d Design, fitted: Vec<usize>) -> Result<Self> {
        let width = design.width;
        let products = design.products(fitted.iter().copied());
        let of_ridge = |ridge: &f64| -> Result<(Vec<f64>, Vec<f64>)> {
            let mut matrix = products.clone();
            (0..width - 1).for_each(|k| matrix[k * width + k] += ridge);
            let inverse =
                inverse(&mut matrix, width).context("the columns of the items hold numbers that are too large")?;
            let rest = |&item: &usize| {
                let row = design.row(item);
                let of = |(i, x): (usize, f64)| row.clone().map(|(j, y)| x * y * inverse[i * width + j]).sum::<f64>();
                1.0 - row.clone().map(of).sum::<f64>()
            };
            let rests = fitted.iter().map(rest).collect();
            Ok((inverse, rests))
        };
        let ridges = RIDGES.par_iter().map(of_ridge).collect::<Result<_>>()?;
        let mut places: Vec<usize> = (0..fitted.len()).collect();
        places.shuffle(&mut rng(&[0xadd17, fitted.len() as u64]));
        let folds = (0..FOLDS).map(|fold| places[fold..].iter().step_by(FOLDS).copied().collect()).collect();
        Ok(Self { design, fitted, products, folds, ridges })
    }

    /// The parts of the fitted items that are left out together, by their places.
    pub fn folds(&self) -> &[Vec<usize>] {
        &self.folds
    }

    /// Maps learned numbers `[fitted, K]`; gives those of the items `asked`.
    pub fn map(&self, learned: &Array, asked: &[usize]) -> Mapped {
        let (width, numbers) = (self.design.width, learned.shape[1]);
        let products = self.moments(learned, 0..self.fitted.len());
        let maps: Vec<Vec<f64>> =
            self.ridges.par_iter().map(|(inverse, _)| product(inverse, &products, width)).collect();
        let errors = maps.iter().zip(&self.ridges).map(|(map, (_, rests))| self.error(map, rests, learned));
        let least = errors.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(place, _)| place);
        let mut left_out = vec![0.0; self.fitted.len() * numbers];
        let of_folds: Vec<Vec<f64>> =
            self.folds.par_iter().map(|fold| self.without(fold, learned, &products, RIDGES[least])).collect();
        for (fold, map) in self.folds.iter().zip(&of_folds) {
            for &row in fold {
                let mapped = self.mapped(map, self.fitted[row], numbers);
                left_out[row * numbers..(row + 1) * numbers].iter_mut().zip(mapped).for_each(|(y, x)| *y = x as f32);
            }
        }
        let of =
            |&item: &usize| self.mapped(&maps[least], item, numbers).into_iter().map(|x| x as f32).collect::<Vec<_>>();
        Mapped {
            left_out: Array::new(&[self.fitted.len(), numbers], left_out),
            asked: Array::new(&[asked.len(), numbers], asked.par_iter().flat_map_iter(of).collect()),
        }
    }

    /// B from all but the places `fold`, where XᵀY of all is `moments`.
    fn without(&self, fold: &[usize], learned: &Array, moments: &[f64], ridge: f64) -> Vec<f64> {
        let width = self.design.width;
        let less = |all: &[f64], some: Vec<f64>| all.iter().zip(some).map(|(all, some)| all - some).collect::<Vec<_>>();
        let products = less(&self.products, self.design.products(fold.iter().map(|&row| self.fitted[row])));
        let moments = less(moments, self.moments(learned, fold.iter().copied()));
        let mut matrix = self.design.with_ridge(&products, ridge);
        // The ridge keeps it positive definite: the constant is of the items that are left.
        inverse(&mut matrix, width)
            .map_or_else(|| vec![0.0; moments.len()], |inverse| product(&inverse, &moments, width))
    }

    /// XᵀY of some places, `[width, K]`.
    fn moments(&self, learned: &Array, places: impl Iterator<Item = usize>) -> Vec<f64> {
        let numbers = learned.shape[1];
        let mut moments = vec![0.0; self.design.width * numbers];
        for row in places {
            for (i, x) in self.design.row(self.fitted[row]) {
                let sums = &mut moments[i * numbers..(i + 1) * numbers];
                sums.iter_mut().zip(learned.row(row)).for_each(|(sum, &y)| *sum += x * f64::from(y));
            }
        }
        moments
    }

    /// x·B.
    fn mapped(&self, map: &[f64], item: usize, numbers: usize) -> Vec<f64> {
        let mut found = vec![0.0; numbers];
        for (i, x) in self.design.row(item) {
            found.iter_mut().zip(&map[i * numbers..(i + 1) * numbers]).for_each(|(sum, b)| *sum += x * b);
        }
        found
    }

    /// The squared error of items that are left out.
    fn error(&self, map: &[f64], rests: &[f64], learned: &Array) -> f64 {
        let of = |(row, &item): (usize, &usize)| {
            let mapped = self.mapped(map, item, learned.shape[1]);
            let square: f64 = learned.row(row).iter().zip(mapped).map(|(&y, x)| (f64::from(y) - x).powi(2)).sum();
            square / rests[row].powi(2)
        };
        self.fitted.iter().enumerate().map(of).sum()
    }
}

/// `left [d, d]` times `right [d, k]`.
fn product(left: &[f64], right: &[f64], d: usize) -> Vec<f64> {
    let k = right.len() / d;
    let mut product = vec![0.0; d * k];
    for (row, left) in product.chunks_exact_mut(k).zip(left.chunks_exact(d)) {
        for (x, right) in left.iter().zip(right.chunks_exact(k)) {
            row.iter_mut().zip(right).for_each(|(sum, y)| *sum += x * y);
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::features::{Columns, FeatureKind};

    fn design(values: &[&str], kind: FeatureKind, fitted: usize) -> Design {
        let (values, ids): (Vec<String>, Vec<String>) =
            (values.iter().map(|&value| value.into()).collect(), (0..values.len()).map(|k| k.to_string()).collect());
        let uses: Vec<u32> = (0..ids.len()).map(|row| u32::from(row < fitted)).collect();
        let table = Columns { of: "items", ids: &ids, values: [("x", Cow::Owned(values))].into() };
        let encoding = Encoding::of(&table, &[("x".to_owned(), kind)].into(), &uses, 9).unwrap();
        Design::new(&encoding, ids.len())
    }

    #[test]
    fn a_line_is_found_and_prolonged() {
        let design = design(&["1", "2", "3", "4", "6"], FeatureKind::Numeric, 4);
        let map = AttributeMap::new(&design, vec![0, 1, 2, 3]).unwrap();
        let found = map.map(&Array::new(&[4, 2], vec![1.0, 5.0, 3.0, 5.0, 5.0, 5.0, 7.0, 5.0]), &[4]);
        // λ = 0.1 is the least; the slope is 4/(4 + 0.1) of the line's, and what is constant stays.
        assert!((found.asked.data[0] - (4.0 + 7.0 * 4.0 / 4.1)).abs() < 1e-5, "{:?}", found.asked);
        assert!((found.asked.data[1] - 5.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_left_out_is_as_if_its_fold_had_not_been_fitted() {
        let values: Vec<&str> = (0..15).map(|k| ["a", "b", "c"][k * k % 3]).collect();
        let all = design(&values, FeatureKind::Categorical, 15);
        let learned: Vec<f32> = (0..15).map(|k| (k as f32 * 2.3).sin() + (k * k % 3) as f32).collect();
        let map = AttributeMap::new(&all, (0..15).collect()).unwrap();
        let found = map.map(&Array::new(&[15, 1], learned.clone()), &[]);
        assert_eq!(map.folds().iter().map(Vec::len).collect::<Vec<_>>(), [3; 5]);
        for fold in map.folds() {
            // By the normal equations without it, at the λ that was chosen.
            let by = |ridge: f64, out: usize| {
                let (mut a, mut b) = (vec![0.0; all.width * all.width], vec![0.0; all.width]);
                for item in (0..15).filter(|item| !fold.contains(item)) {
                    for (i, x) in all.row(item) {
                        all.row(item).for_each(|(j, y)| a[i * all.width + j] += x * y);
                        b[i] += x * f64::from(learned[item]);
                    }
                }
                (0..all.width - 1).for_each(|k| a[k * all.width + k] += ridge);
                let map = crate::ratings::solve(&mut a, &b);
                all.row(out).map(|(i, x)| x * map[i]).sum::<f64>()
            };
            let same = |ridge: &&f64| {
                fold.iter().all(|&out| (by(**ridge, out) - f64::from(found.left_out.data[out])).abs() < 1e-5)
            };
            assert_eq!(RIDGES.iter().filter(same).count(), 1, "{fold:?}: {:?}", found.left_out);
        }
    }

    #[test]
    fn columns_that_say_nothing_give_the_mean() {
        let values: Vec<String> = (0..60).map(|k| ["a", "b", "c"][k * 7 % 3].to_owned()).collect();
        let design = design(&values.iter().map(String::as_str).collect::<Vec<_>>(), FeatureKind::Categorical, 60);
        let learned: Vec<f32> = (0..60).map(|k| (k as f32 * 2.3).sin()).collect();
        let mean = learned.iter().sum::<f32>() / 60.0;
        let found = AttributeMap::new(&design, (0..60).collect()).unwrap().map(&Array::new(&[60, 1], learned), &[0, 1]);
        assert!(found.asked.data.iter().all(|x| (x - mean).abs() < 0.05), "{:?} of {mean}", found.asked);
    }
}
