//! Named float arrays with one JSON description: the safetensors files of this program.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pipeline::IdSpaces;
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
    /// Lists of texts; in the file each is an array of bytes, the JSON of the list.
    pub texts: BTreeMap<String, Vec<String>>,
    /// Serialised description, such as a network's shape.
    pub about: String,
}

impl TensorFile {
    /// Arrays with their description.
    pub fn new(about: &impl Serialize) -> Result<Self> {
        Ok(Self { about: serde_json::to_string(about)?, ..Self::default() })
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

    /// Serialises arrays and texts in the order of their names; `spaces` says which ids its row numbers stand for.
    pub fn write(&self, path: &Path, kind: &str, format: u32, spaces: &IdSpaces) -> Result<()> {
        let mut parts: Vec<(&String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, array) in &self.arrays {
            let bytes = array.data.iter().flat_map(|x| x.to_le_bytes()).collect();
            parts.push((name, Dtype::F32, array.shape.clone(), bytes));
        }
        for (name, list) in &self.texts {
            let bytes = serde_json::to_vec(list)?;
            parts.push((name, Dtype::U8, vec![bytes.len()], bytes));
        }
        let mut views = Vec::with_capacity(parts.len());
        for (name, dtype, shape, bytes) in &parts {
            views.push(((*name).clone(), TensorView::new(*dtype, shape.clone(), bytes)?));
        }
        let mut header = serde_json::json!({ "kind": kind, "format": format, "about": self.about });
        if !spaces.is_empty() {
            header["id_spaces"] = serde_json::to_value(spaces)?;
        }
        ensure!(!path.exists(), "{} exists already", path.display());
        serialize_to_file(views, Some(HashMap::from([(KEY.to_owned(), header.to_string())])), path)
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
        let About { about, .. } = description(path, header.metadata().as_ref(), kind, format)?;
        let mut file = Self { about, ..Self::default() };
        for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
            if view.dtype() == Dtype::U8 {
                let list = serde_json::from_slice(view.data());
                file.texts.insert(name.clone(), list.with_context(|| format!("`{name}` is no list of texts"))?);
                continue;
            }
            ensure!(view.dtype() == Dtype::F32, "array `{name}` is {:?}, wanted F32", view.dtype());
            let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            file.arrays.insert(name, Array::new(view.shape(), data));
        }
        Ok(file)
    }

    /// The description of a file, without its arrays.
    pub fn about_of<T: DeserializeOwned>(path: &Path, kind: &str, format: u32) -> Result<T> {
        let About { about, .. } = Self::beginning(path, kind, format)?;
        Self { about, ..Self::default() }.about()
    }

    /// Which ids the row numbers in a file stand for, without its arrays.
    pub fn id_spaces_of(path: &Path, kind: &str, format: u32) -> Result<IdSpaces> {
        Ok(Self::beginning(path, kind, format)?.id_spaces)
    }

    fn beginning(path: &Path, kind: &str, format: u32) -> Result<About> {
        let wanted = || format!("cannot read the beginning of {}", path.display());
        let mut file = std::fs::File::open(path).with_context(wanted)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).with_context(wanted)?;
        let length = u64::from_le_bytes(length);
        let mut bytes = Vec::new();
        file.take(length.min(LONGEST)).read_to_end(&mut bytes).with_context(wanted)?;
        let header: Header = serde_json::from_slice(&bytes).with_context(wanted)?;
        description(path, header.metadata.as_ref(), kind, format)
    }
}

/// The part of a safetensors header that is not about arrays.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Option<HashMap<String, String>>,
}

/// What this program says of a file in its metadata.
#[derive(Deserialize)]
struct About {
    kind: String,
    format: u32,
    #[serde(default)]
    about: String,
    #[serde(default)]
    id_spaces: IdSpaces,
}

/// What a file's metadata say it is, when it is of that kind and format.
fn description(path: &Path, metadata: Option<&HashMap<String, String>>, kind: &str, format: u32) -> Result<About> {
    let header = metadata.and_then(|map| map.get(KEY));
    let header = header.with_context(|| format!("{} was not written by this program", path.display()))?;
    let about: About = serde_json::from_str(header)?;
    ensure!(
        about.kind == kind && about.format == format,
        "{} holds {}/{}, wanted {kind}/{format}{}",
        path.display(),
        about.kind,
        about.format,
        older(kind, &about.kind, about.format < format)
    );
    Ok(about)
}

/// What to do about a file of an older program.
pub(super) fn older(kind: &str, found: &str, before: bool) -> &'static str {
    if kind == found && before {
        "\nhelp: an earlier version of the program wrote it: run the experiment again, which makes it anew"
    } else {
        ""
    }
}
