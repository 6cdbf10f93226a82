//! Named float arrays with one JSON description: the safetensors files of this program.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pipeline::IdSpaces;
use safetensors::tensor::{Metadata, View};
use safetensors::{Dtype, serialize_to_file};
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
        self.write_with(&[], path, kind, format, spaces)
    }

    /// The same with these arrays beside its own, which need not be copied for it.
    pub fn write_with(
        &self,
        others: &[(String, &Array)],
        path: &Path,
        kind: &str,
        format: u32,
        spaces: &IdSpaces,
    ) -> Result<()> {
        let mut parts: Vec<(&String, Part<'_>)> = Vec::new();
        for (name, array) in self.arrays.iter().chain(others.iter().map(|(name, array)| (name, *array))) {
            parts.push((name, Part::Numbers(array)));
        }
        for (name, list) in &self.texts {
            let bytes = serde_json::to_vec(list)?;
            parts.push((name, Part::Texts { shape: [bytes.len()], bytes }));
        }
        let mut header = serde_json::json!({ "kind": kind, "format": format, "about": self.about });
        if !spaces.is_empty() {
            header["id_spaces"] = serde_json::to_value(spaces)?;
        }
        ensure!(!path.exists(), "{} exists already", path.display());
        serialize_to_file(parts, Some(HashMap::from([(KEY.to_owned(), header.to_string())])), path)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the whole file, one array after the other, so that it takes no more memory than the arrays; an error when it is of another
    /// kind or format.
    pub fn read(path: &Path, kind: &str, format: u32) -> Result<Self> {
        let unreadable = || format!("cannot read {}", path.display());
        let whole = std::fs::metadata(path).with_context(unreadable)?.len();
        let mut source = std::fs::File::open(path).with_context(unreadable)?;
        let metadata = header(&mut source, whole).with_context(|| {
            format!(
                "{} is not a whole safetensors file\nhelp: it is of another kind, or damaged: `apprentice inspect FILE` tells which",
                path.display()
            )
        })?;
        let About { about, .. } = description(path, metadata.metadata().as_ref(), kind, format)?;
        let mut file = Self { about, ..Self::default() };
        // In the order of the file.
        for name in metadata.offset_keys() {
            let info = metadata.info(&name).with_context(|| format!("no array `{name}` in the file"))?;
            if info.dtype == Dtype::U8 {
                let mut bytes = vec![0; info.shape.iter().product()];
                source.read_exact(&mut bytes).with_context(unreadable)?;
                let list = serde_json::from_slice(&bytes);
                file.texts.insert(name.clone(), list.with_context(|| format!("`{name}` is no list of texts"))?);
                continue;
            }
            ensure!(info.dtype == Dtype::F32, "array `{name}` is {:?}, wanted F32", info.dtype);
            let mut data = vec![0.0_f32; info.shape.iter().product()];
            source.read_exact(bytemuck::cast_slice_mut(&mut data)).with_context(unreadable)?;
            if cfg!(target_endian = "big") {
                data.iter_mut().for_each(|x| *x = f32::from_bits(u32::from_le(x.to_bits())));
            }
            file.arrays.insert(name, Array::new(&info.shape, data));
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

    /// The shapes of the arrays of a file by name, without the arrays.
    pub fn shapes_of(path: &Path) -> Result<BTreeMap<String, Vec<usize>>> {
        let unreadable = || format!("cannot read the beginning of {}", path.display());
        let whole = std::fs::metadata(path).with_context(unreadable)?.len();
        let metadata =
            header(&mut std::fs::File::open(path).with_context(unreadable)?, whole).with_context(unreadable)?;
        Ok(metadata.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect())
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

/// An array or a list of texts as safetensors writes it: no copy of the numbers is made.
enum Part<'a> {
    Numbers(&'a Array),
    /// The JSON of a list.
    Texts {
        shape: [usize; 1],
        bytes: Vec<u8>,
    },
}

impl View for Part<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Numbers(_) => Dtype::F32,
            Self::Texts { .. } => Dtype::U8,
        }
    }
    fn shape(&self) -> &[usize] {
        match self {
            Self::Numbers(array) => &array.shape,
            Self::Texts { shape, .. } => shape,
        }
    }
    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Numbers(array) if cfg!(target_endian = "big") => {
                Cow::Owned(array.data.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
            Self::Numbers(array) => Cow::Borrowed(bytemuck::cast_slice(&array.data)),
            Self::Texts { bytes, .. } => Cow::Borrowed(bytes),
        }
    }
    fn data_len(&self) -> usize {
        match self {
            Self::Numbers(array) => size_of_val(&*array.data),
            Self::Texts { bytes, .. } => bytes.len(),
        }
    }
}

/// The header of a safetensors file of `whole` bytes, up to its first array.
fn header(source: &mut impl Read, whole: u64) -> Result<Metadata> {
    let mut length = [0; 8];
    source.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    ensure!(length <= LONGEST.min(whole), "its header is said to have {length} bytes");
    let mut bytes = vec![0; length as usize];
    source.read_exact(&mut bytes)?;
    let metadata: Metadata = serde_json::from_slice(&bytes)?;
    let said = 8 + length + metadata.data_len() as u64;
    ensure!(said == whole, "it has {whole} bytes, and its header says {said}");
    Ok(metadata)
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
