//! One vector for each item of a catalogue, from what is known of the items besides the log.

use std::path::Path;

use anyhow::{Result, ensure};
use pipeline::{Artifact, IdSpaces};
use serde::{Deserialize, Serialize};

use super::tensors::{Array, TensorFile};

/// The description in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    space: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
}

/// safetensors: `vectors [I, d]` of f32, finite; a row of zeros says nothing of its item. The metadata name the `space` of the
/// vectors (what they depend on besides the item: vectors of one space can be compared) and, where they have names, the `columns`.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemVectors {
    /// The vectors, `[I, d]`.
    pub vectors: Array,
    /// The identity of the space: the model, and how items are shown to it.
    pub space: String,
    /// What each of the d numbers stands for; empty where they have no names, as in an embedding.
    pub columns: Vec<String>,
}

/// The name of the array.
const VECTORS: &str = "vectors";

impl ItemVectors {
    /// Number of items I.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vectors.shape[0]
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers of a vector d.
    #[must_use]
    pub fn width(&self) -> usize {
        self.vectors.shape[1]
    }

    /// Checks that they are of a catalogue of `items` items.
    ///
    /// # Errors
    /// When they are of another catalogue.
    pub fn check_items(&self, items: usize) -> Result<()> {
        ensure!(
            self.len() == items,
            "`item_vectors` holds {} vectors for {items} items\nhelp: make them from the `items` that this stage reads",
            self.len()
        );
        Ok(())
    }

    /// Columns centred, and all numbers scaled alike so that a row has a length of 1 in the root mean square: what a model learns from
    /// does then not depend on the unit of the space. Constant vectors become 0.
    #[must_use]
    pub fn standardized(&self) -> Array {
        let (items, width) = (self.len(), self.width());
        let mut means = vec![0.0_f64; width];
        for row in self.vectors.data.chunks_exact(width) {
            means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / items as f64);
        }
        let centred: Vec<f64> = self
            .vectors
            .data
            .chunks_exact(width)
            .flat_map(|row| row.iter().zip(&means).map(|(&x, mean)| f64::from(x) - mean))
            .collect();
        let size = (centred.iter().map(|x| x * x).sum::<f64>() / items as f64).sqrt();
        let scale = if size > 1e-12 { 1.0 / size } else { 0.0 };
        Array::new(&[items, width], centred.into_iter().map(|x| (x * scale) as f32).collect())
    }
}

impl Artifact for ItemVectors {
    const KIND: &'static str = "item-vectors";
    const EXTENSION: &'static str = "safetensors";
    const FORMAT: u32 = 1;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let mut file = TensorFile::new(&About { space: self.space.clone(), columns: self.columns.clone() })?;
        file.arrays.insert(VECTORS.to_owned(), self.vectors.clone());
        file.write(path, Self::KIND, Self::FORMAT, spaces)
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        TensorFile::id_spaces_of(path, Self::KIND, Self::FORMAT)
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = TensorFile::read(path, Self::KIND, Self::FORMAT)?;
        let About { space, columns } = file.about()?;
        let vectors = file.take(VECTORS)?;
        let [_, width] = vectors.shape[..] else {
            anyhow::bail!("`{VECTORS}` has shape {:?}, wanted [items, numbers]", vectors.shape)
        };
        ensure!(width > 0, "`{VECTORS}` has no number for an item");
        ensure!(columns.is_empty() || columns.len() == width, "{} names for {width} columns", columns.len());
        ensure!(vectors.data.iter().all(|x| x.is_finite()), "`{VECTORS}` holds a number that is not finite");
        Ok(Self { vectors, space, columns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors(shape: [usize; 2], data: &[f32], columns: &[&str]) -> ItemVectors {
        let columns = columns.iter().map(|&name| name.to_owned()).collect();
        ItemVectors { vectors: Array::new(&shape, data.to_vec()), space: "toy".into(), columns }
    }

    #[test]
    fn what_is_written_is_read_and_equal_vectors_are_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        for (name, columns) in [("plain", &[][..]), ("named", &["praise", "fame"][..])] {
            let found = vectors([2, 2], &[1.0, 0.5, -1.0, 0.0], columns);
            let path = folder.path().join(name);
            found.write(&path).unwrap();
            assert_eq!(ItemVectors::read(&path).unwrap(), found);
            let again = folder.path().join(format!("{name} again"));
            found.write(&again).unwrap();
            assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
        }
    }

    #[test]
    fn what_is_no_table_of_finite_numbers_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str, vectors: ItemVectors| {
            let path = folder.path().join(name);
            vectors.write(&path).unwrap();
            ItemVectors::read(&path).unwrap_err().to_string()
        };
        assert!(refused("nan", vectors([1, 1], &[f32::NAN], &[])).contains("not finite"));
        assert!(refused("names", vectors([1, 2], &[0.0; 2], &["a"])).contains("1 names for 2 columns"));
        assert!(refused("none", vectors([1, 0], &[], &[])).contains("no number for an item"));
        let error = vectors([1, 1], &[1.0], &[]).check_items(2).unwrap_err().to_string();
        assert!(error.starts_with("`item_vectors` holds 1 vectors for 2 items\nhelp: "), "{error}");
    }

    #[test]
    fn vectors_are_standardized_as_a_whole() {
        // Means 2 and 5; rows (±1, 0), so the root mean square length is 1 already; then twice as long.
        let found = vectors([2, 2], &[1.0, 5.0, 3.0, 5.0], &[]).standardized();
        assert_eq!(found.data, [-1.0, 0.0, 1.0, 0.0]);
        let found = vectors([2, 2], &[-2.0, 5.0, 2.0, 5.0], &[]).standardized();
        assert_eq!(found.data, [-1.0, 0.0, 1.0, 0.0]);
        assert_eq!(vectors([2, 1], &[7.0, 7.0], &[]).standardized().data, [0.0, 0.0]);
    }
}
