//! Similarity of texts by the cosine of their embeddings, `cos(a, b) = a·b / (|a| |b|)`, with exact search. The caller computes the
//! embeddings.

use anyhow::{Result, ensure};

use crate::artifact::Array;

/// One unit vector per item.
pub(super) struct Vectors {
    units: Vec<f32>,
    width: usize,
}

/// The item with the most similar vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Nearest {
    /// The first of the tied items.
    pub item: u32,
    /// Number of tied items.
    pub ties: usize,
    /// The cosine, −1 to 1.
    pub similarity: f64,
}

impl Vectors {
    /// Of `vectors [items, width]`.
    ///
    /// # Errors
    /// Where they are not of as many items, or one of them has no direction.
    pub fn new(vectors: &Array, items: usize) -> Result<Self> {
        let [rows, width] = vectors.shape[..] else {
            anyhow::bail!("vectors of items have shape {:?}, wanted [items, width]", vectors.shape)
        };
        ensure!(rows == items && width > 0, "vectors of items have shape {:?}, wanted [{items}, width]", vectors.shape);
        let mut units = vectors.data.clone();
        for (item, row) in units.chunks_exact_mut(width).enumerate() {
            ensure!(unit(row), "the vector of item {item} has no direction: wanted finite numbers, not all 0");
        }
        Ok(Self { units, width })
    }

    /// The item most similar to a vector; `None` where the catalogue is empty.
    ///
    /// # Errors
    /// Where the vector is of another width or has no direction.
    pub fn nearest(&self, vector: &[f32]) -> Result<Option<Nearest>> {
        ensure!(
            vector.len() == self.width,
            "the vector of a text has {} numbers, those of the items have {}\nhelp: take both from the same model",
            vector.len(),
            self.width
        );
        let mut wanted = vector.to_vec();
        ensure!(unit(&mut wanted), "the vector of a text has no direction: wanted finite numbers, not all 0");
        let mut best: Option<Nearest> = None;
        for (item, row) in (0..).zip(self.units.chunks_exact(self.width)) {
            // Summed in order and in 64 bits: the same on any machine and any number of threads.
            let product: f64 = row.iter().zip(&wanted).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            match &mut best {
                Some(best) if product < best.similarity => {}
                Some(best) if product == best.similarity => best.ties += 1,
                _ => best = Some(Nearest { item, ties: 1, similarity: product }),
            }
        }
        Ok(best)
    }
}

/// Brings a vector to length 1; false where it has no direction.
fn unit(vector: &mut [f32]) -> bool {
    let length = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    length.is_finite() && length > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(data: &[f32]) -> Vectors {
        Vectors::new(&Array { shape: vec![data.len() / 2, 2], data: data.to_vec() }, data.len() / 2).unwrap()
    }

    #[test]
    fn length_does_not_count_and_of_equals_the_first_is_taken() {
        let nearest = vectors(&[0.0, 9.0, 1.0, 1.0, 3.0, 3.0]).nearest(&[10.0, 0.0]).unwrap().unwrap();
        assert_eq!((nearest.item, nearest.ties), (1, 2));
        assert!((nearest.similarity - 0.5f64.sqrt()).abs() < 1e-7);
        assert_eq!(vectors(&[]).nearest(&[1.0, 0.0]).unwrap(), None);
    }

    #[test]
    fn what_has_no_direction_or_another_width_is_refused() {
        let of = |shape: [usize; 2], data: &[f32]| {
            Vectors::new(&Array { shape: shape.to_vec(), data: data.to_vec() }, 1).err().unwrap().to_string()
        };
        assert!(of([1, 2], &[0.0, 0.0]).contains("the vector of item 0 has no direction"));
        assert!(of([1, 2], &[f32::NAN, 1.0]).contains("the vector of item 0 has no direction"));
        assert!(of([2, 1], &[1.0, 1.0]).contains("wanted [1, width]"));
        let items = vectors(&[1.0, 0.0]);
        assert!(items.nearest(&[1.0]).unwrap_err().to_string().contains("has 1 numbers, those of the items have 2"));
        assert!(items.nearest(&[0.0, 0.0]).unwrap_err().to_string().contains("no direction"));
    }
}
