//! Cosine distances of vectors.

use std::ops::Range;

use crate::artifact::tensors::Array;

/// 1 − cos of the items' vectors, from 0 to 2; an item whose vector is 0 is at 1 from every other item.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorDistances {
    /// `[I, d]`.
    vectors: Array,
    /// Of each vector, at least 1e-30.
    lengths: Vec<f64>,
}

impl VectorDistances {
    /// Of vectors `[I, d]`.
    #[must_use]
    pub fn new(vectors: Array) -> Self {
        let length = |item: usize| {
            let squares = vectors.row(item).iter().map(|&x| f64::from(x).powi(2));
            squares.sum::<f64>().sqrt().max(1e-30)
        };
        let lengths = (0..vectors.shape[0]).map(length).collect();
        Self { vectors, lengths }
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn array(&self) -> &Array {
        &self.vectors
    }

    /// Of two different items.
    #[must_use]
    pub fn between(&self, item: u32, other: u32) -> f32 {
        let cosine: f64 = self.unit(item as usize).zip(self.unit(other as usize)).map(|(x, y)| x * y).sum();
        (1.0 - cosine).clamp(0.0, 2.0) as f32
    }

    /// Of the items `left` to the items `right`, `[left, right]`, as [`between`](Self::between) has them.
    #[must_use]
    pub fn tile(&self, left: &Range<usize>, right: &Range<usize>) -> Vec<f32> {
        // One dimension of all items after the other: the sums of many pairs grow side by side, each in the order of the dimensions.
        let units: Vec<Vec<f64>> = right.clone().map(|item| self.unit(item).collect()).collect();
        let turned: Vec<Vec<f64>> =
            (0..self.vectors.shape[1]).map(|k| units.iter().map(|unit| unit[k]).collect()).collect();
        let row = |item: usize| {
            let mut cosines = vec![0.0; right.len()];
            for (x, others) in self.unit(item).zip(&turned) {
                cosines.iter_mut().zip(others).for_each(|(sum, y)| *sum += x * y);
            }
            cosines.into_iter().map(|cosine| (1.0 - cosine).clamp(0.0, 2.0) as f32).collect::<Vec<f32>>()
        };
        left.clone().flat_map(row).collect()
    }

    fn unit(&self, item: usize) -> impl Iterator<Item = f64> {
        let length = self.lengths[item];
        self.vectors.row(item).iter().map(move |&x| f64::from(x) / length)
    }
}
