//! Named float arrays with one JSON description: the safetensors files of this program.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The one key of `__metadata__`: a single key, because the format's own map has no order and bytes must be equal.
const KEY: &str = "apprentice";
/// The longest header that is read, as safetensors itself bounds it.
const LONGEST: u64 = 100_000_000;

/// A dense row-major array of f32.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub data: Vec<f32>,
}

impl Array {
    /// An array of that shape.
    ///
    /// # Panics
    /// When the shape does not hold as many values: a programming error.
    #[must_use]
    pub fn new(shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?} against {} values", data.len());
        Self { shape: shape.to_vec(), data }
    }
    /// Row `i` of a matrix `[R, C]`.
    #[must_use]
    pub fn row(&self, i: usize) -> &[f32] {
        let width = self.shape[1];
        &self.data[i * width..(i + 1) * width]
    }
}

/// Arrays by name and a JSON description of what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorFile {
    /// The arrays.
    pub arrays: BTreeMap<String, Array>,
    /// Serialised description, such as a network's shape.
    pub about: String,
}

impl TensorFile {
    /// Arrays with their description.
    pub fn new(about: &impl Serialize) -> Result<Self> {
        Ok(Self { arrays: BTreeMap::new(), about: serde_json::to_string(about)? })
    }
    /// The description, typed.
    pub fn about<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.about).context("the description in the file's metadata")
    }
    /// Adds to the description, a JSON object, or says something else under that name.
    pub fn tell(&mut self, name: &str, what: &impl Serialize) -> Result<()> {
        let mut about: serde_json::Map<String, serde_json::Value> = self.about()?;
        about.insert(name.to_owned(), serde_json::to_value(what)?);
        self.about = serde_json::to_string(&about)?;
        Ok(())
    }
    /// Removes and returns an array.
    pub fn take(&mut self, name: &str) -> Result<Array> {
        self.arrays.remove(name).with_context(|| format!("no array `{name}` in the file"))
    }

    /// Serialises the arrays in the order of their names.
    pub fn write(&self, path: &Path, kind: &str, format: u32) -> Result<()> {
        let bytes: Vec<(&String, &[usize], Vec<u8>)> = self
            .arrays
            .iter()
            .map(|(name, array)| {
                (name, array.shape.as_slice(), array.data.iter().flat_map(|x| x.to_le_bytes()).collect())
            })
            .collect();
        let mut views = Vec::with_capacity(bytes.len());
        for (name, shape, bytes) in &bytes {
            views.push(((*name).clone(), TensorView::new(Dtype::F32, shape.to_vec(), bytes)?));
        }
        let header = serde_json::json!({ "kind": kind, "format": format, "about": self.about }).to_string();
        ensure!(!path.exists(), "{} exists already", path.display());
        serialize_to_file(views, Some(HashMap::from([(KEY.to_owned(), header)])), path)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the whole file; an error when it is of another kind or format.
    pub fn read(path: &Path, kind: &str, format: u32) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (_, header) = SafeTensors::read_metadata(&bytes).with_context(|| {
            format!(
                "{} is not a whole safetensors file\nhelp: it is of another kind, or damaged: `apprentice inspect FILE` tells which",
                path.display()
            )
        })?;
        let header = description(path, header.metadata().as_ref(), kind, format)?;
        let mut file = Self { arrays: BTreeMap::new(), about: header };
        for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
            ensure!(view.dtype() == Dtype::F32, "array `{name}` is {:?}, wanted F32", view.dtype());
            let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            file.arrays.insert(name, Array::new(view.shape(), data));
        }
        Ok(file)
    }

    /// The description of a file, without its arrays.
    pub fn describe<T: DeserializeOwned>(path: &Path, kind: &str, format: u32) -> Result<T> {
        let wanted = || format!("cannot read the beginning of {}", path.display());
        let mut file = std::fs::File::open(path).with_context(wanted)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).with_context(wanted)?;
        let length = u64::from_le_bytes(length);
        let mut bytes = Vec::new();
        file.take(length.min(LONGEST)).read_to_end(&mut bytes).with_context(wanted)?;
        let header: Header = serde_json::from_slice(&bytes).with_context(wanted)?;
        let about = description(path, header.metadata.as_ref(), kind, format)?;
        Self { arrays: BTreeMap::new(), about }.about()
    }
}

/// The part of a safetensors header that is not about arrays.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Option<HashMap<String, String>>,
}

/// What a file's metadata say it is, when it is of that kind and format.
fn description(path: &Path, metadata: Option<&HashMap<String, String>>, kind: &str, format: u32) -> Result<String> {
    let header = metadata.and_then(|map| map.get(KEY));
    let header = header.with_context(|| format!("{} was not written by this program", path.display()))?;
    let header: serde_json::Value = serde_json::from_str(header)?;
    ensure!(
        header["kind"] == kind && header["format"] == format,
        "{} holds {}/{}, wanted {kind}/{format}",
        path.display(),
        header["kind"].as_str().unwrap_or("?"),
        header["format"],
    );
    Ok(header["about"].as_str().unwrap_or_default().to_owned())
}
