//! The tensors of a model's `model.safetensors`, each taken once by its name and shape.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::config::missing;

/// Tensors that do not change a sentence's vector: the place numbers, and the heads of the pre-training.
const UNUSED: [&str; 3] = ["embeddings.position_ids", "pooler.", "cls."];

/// The tensors that are left.
pub(super) struct Weights {
    path: PathBuf,
    left: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    /// Reads the file; a beginning `bert.` of all names does not count.
    ///
    /// # Errors
    /// Where it is missing, damaged, or holds other than floats.
    pub(super) fn read(path: &Path) -> Result<Self> {
        ensure!(path.exists(), missing(path));
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let tensors = SafeTensors::deserialize(&bytes).with_context(|| {
            format!("{} is not a whole safetensors file\nhelp: fetch it again; a copy may be truncated", path.display())
        })?;
        let mut left = BTreeMap::new();
        for (name, view) in tensors.iter() {
            let name = name.strip_prefix("bert.").unwrap_or(name);
            if UNUSED.iter().any(|unused| name.starts_with(unused)) {
                continue;
            }
            let values = floats(&view).with_context(|| format!("{}: tensor `{name}`", path.display()))?;
            left.insert(name.to_owned(), (view.shape().to_vec(), values));
        }
        Ok(Self { path: path.to_owned(), left })
    }

    /// Removes and returns a tensor of that shape, finite numbers.
    pub(super) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let place = self.path.display();
        let Some((found, values)) = self.left.remove(name) else { bail!("{place}: tensor `{name}` is missing") };
        ensure!(found == shape, "{place}: tensor `{name}` has shape {found:?}, `config.json` says {shape:?}");
        ensure!(values.iter().all(|x| x.is_finite()), "{place}: tensor `{name}` holds a number that is not finite");
        Ok(values)
    }

    /// Refuses tensors that nobody took.
    pub(super) fn check_all_read(&self) -> Result<()> {
        if let Some(name) = self.left.keys().next() {
            bail!(
                "{}: {} tensors are not supported by this encoder; the first is `{name}`\nhelp: use a plain BERT sentence encoder \
                 such as all-MiniLM-L6-v2",
                self.path.display(),
                self.left.len()
            );
        }
        Ok(())
    }
}

fn floats(view: &TensorView<'_>) -> Result<Vec<f32>> {
    let halves = || view.data().as_chunks::<2>().0.iter();
    Ok(match view.dtype() {
        Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F16 => halves().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => halves().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
        other => bail!("found {other:?}, wanted F32, F16 or BF16"),
    })
}
