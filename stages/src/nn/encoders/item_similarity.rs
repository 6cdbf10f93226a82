//! Similarity of items by a policy's vectors.
//!
//! exp(−(δ/σ)⁸), where δ is the root mean square difference of two items' ratings by all users (`users [U, D]`, `items [I, D]`), and σ
//! the distance below which the share `share` of all pairs lies. The power 8 makes it nearly a step; a Gaussian also penalises good
//! items just beyond σ. Catalogues up to [`TABLE_ITEMS`] hold a table, larger ones compute it from vectors when it is needed.

use std::sync::{Arc, Mutex, Weak};

use anyhow::{Result, anyhow};
use candle_core::{DType, Tensor};
use rayon::prelude::*;

use crate::artifact::Array;
use crate::nn::encoders::similarity_vectors::{SimilarityVectors, quantile};
use crate::nn::layers::params::to_tensor;

/// Items of the largest catalogue with a table (256 MB), and with dense inputs of the output layer.
pub const TABLE_ITEMS: usize = 8192;

/// The similarity of all pairs of items.
pub enum ItemSimilarity {
    /// `[I, I]`.
    Table(Vec<f32>),
    /// Computed when needed.
    Vectors(SimilarityVectors),
}

/// What is alive, by a hash of what it was made from.
static SHARED: Mutex<Vec<(blake3::Hash, Weak<ItemSimilarity>)>> = Mutex::new(Vec::new());

impl ItemSimilarity {
    /// From vectors of users and items. Networks with equal vectors share one: those of a learner are up to five. `bandwidth` is σ², where
    /// a file tells it.
    ///
    /// # Errors
    /// When the widths of the vectors differ.
    pub fn shared(users: &Array, items: &Array, share: f64, bandwidth: Option<f32>) -> Result<Arc<Self>> {
        let key = key(users, items, share, bandwidth);
        // It is not locked while it computes: the pool may run another training on this thread meanwhile.
        let locked = || SHARED.lock().map_err(|_| anyhow!("a thread panicked while it shared similarities"));
        let found = |all: &[(blake3::Hash, Weak<Self>)]| {
            all.iter().find(|(other, _)| *other == key).and_then(|(_, shared)| shared.upgrade())
        };
        if let Some(shared) = found(&locked()?) {
            return Ok(shared);
        }
        let new = Arc::new(match items.shape[0] <= TABLE_ITEMS {
            true => Self::Table(table(users, items, share, bandwidth)?),
            false => Self::Vectors(SimilarityVectors::new(users, items, share, bandwidth)?),
        });
        let mut all = locked()?;
        if let Some(shared) = found(&all) {
            return Ok(shared);
        }
        all.retain(|(_, shared)| shared.strong_count() > 0);
        all.push((key, Arc::downgrade(&new)));
        Ok(new)
    }

    /// The vectors of a catalogue without a table.
    #[must_use]
    pub fn vectors(&self) -> Option<&SimilarityVectors> {
        match self {
            Self::Table(_) => None,
            Self::Vectors(vectors) => Some(vectors),
        }
    }
}

fn key(users: &Array, items: &Array, share: f64, bandwidth: Option<f32>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for array in [users, items] {
        for size in &array.shape {
            hasher.update(&size.to_le_bytes());
        }
        for numbers in array.data.chunks(1 << 14) {
            hasher.update(&numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    hasher.update(&share.to_le_bytes()).update(&bandwidth.unwrap_or(-1.0).to_le_bytes()).finalize()
}

/// σ² of a catalogue with a table: the squared distance below which the share `share` of all pairs lies; 1 for a single item.
///
/// # Errors
/// When the widths of the vectors differ.
pub fn item_bandwidth(users: &Array, items: &Array, share: f64) -> Result<f64> {
    let squares = Squares::of(users, items)?;
    Ok(squares.bandwidth(share))
}

/// Squared distances of all pairs.
struct Squares {
    count: usize,
    gram: Vec<f64>,
}

impl Squares {
    fn of(users: &Array, items: &Array) -> Result<Self> {
        let wide = |array: &Array| -> Result<Tensor> { Ok(to_tensor(array)?.to_dtype(DType::F64)?) };
        let (users, items) = (wide(users)?, wide(items)?);
        let metric = (users.t()?.matmul(&users)? / users.dim(0)? as f64)?;
        let gram = items.matmul(&metric)?.matmul(&items.t()?)?.flatten_all()?.to_vec1()?;
        Ok(Self { count: items.dim(0)?, gram })
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        let Self { count, gram } = self;
        (gram[i * count + i] + gram[j * count + j] - 2.0 * gram[i * count + j]).max(0.0)
    }

    fn bandwidth(&self, share: f64) -> f64 {
        let lower = (0..self.count).into_par_iter().flat_map_iter(|i| (0..i).map(move |j| (i, j)));
        let mut pairs: Vec<f64> = lower.map(|(i, j)| self.at(i, j)).collect();
        if pairs.is_empty() { 1.0 } else { quantile(&mut pairs, share) }
    }
}

/// `[I, I]`.
fn table(users: &Array, items: &Array, share: f64, bandwidth: Option<f32>) -> Result<Vec<f32>> {
    let squares = Squares::of(users, items)?;
    let (bandwidth, count) = (bandwidth.map_or_else(|| squares.bandwidth(share), f64::from), squares.count);
    let similarity = |k: usize| (-(squares.at(k / count, k % count) / bandwidth).powi(4)).exp() as f32;
    Ok((0..count * count).into_par_iter().map(similarity).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_are_alike_but_for_rounding_do_not_set_the_scale() {
        assert_eq!(quantile(&mut [4.0, 1e-15, 0.0, 3.0, 2.0, 1e-15], 0.02), 2.0);
        assert_eq!(quantile(&mut [4.0, 1e-15, 0.0, 3.0, 2.0, 1e-15], 0.5), 2.0, "the fourth of six");
        assert_eq!(quantile(&mut [4e9, 1e-4, 3e9], 0.02), 3e9, "rounding grows with the unit");
        assert_eq!(quantile(&mut [0.0, 1e-15], 0.5), 1e-12);
    }

    #[test]
    fn equal_vectors_share_one_and_others_do_not() {
        let users = Array::new(&[2, 2], vec![1.0, 0.5, -0.5, 2.0]);
        let items = Array::new(&[3, 2], vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5]);
        let of = |share: f64| ItemSimilarity::shared(&users, &items, share, None).unwrap();
        let (one, again, other) = (of(0.5), of(0.5), of(0.25));
        assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &other));
        let ItemSimilarity::Table(values) = &*one else { panic!("a small catalogue has a table") };
        // Answers of the two users to items 0, 1, 2: (1, −½), (½, 2), (¾, ¾); squared differences 3.25, 13/16, 13/16.
        let expected = [1.0, (-256.0_f32).exp(), (-1.0_f32).exp()];
        for (found, wanted) in values.iter().zip(expected) {
            assert!((found - wanted).abs() < 1e-6, "{values:?}");
        }
    }
}
