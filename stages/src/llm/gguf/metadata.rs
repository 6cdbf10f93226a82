//! The header of a GGUF file: typed look-ups whose errors name the file and the key.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};

use super::packed::Packed;
use super::quant_formats::QuantFormat;

/// An open GGUF file: its metadata and, one by one, its tensors.
pub(super) struct Header {
    path: PathBuf,
    content: Content,
    reader: BufReader<File>,
}

impl Header {
    /// Reads the header; the tensors stay on the disk.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let place = path.display();
        let file = File::open(path).with_context(|| format!("cannot open the model {place}"))?;
        let mut reader = BufReader::new(file);
        let mut begins = Vec::new();
        reader.by_ref().take(64).read_to_end(&mut begins).with_context(|| format!("cannot read the model {place}"))?;
        if let Some(other) = other_than_gguf(&begins) {
            bail!("{place} is not a GGUF file, but {other}");
        }
        reader.rewind()?;
        let content = Content::read(&mut reader).map_err(|error| {
            anyhow!(
                "{place} is not a readable GGUF file: {}\nhelp: fetch it again; it may be truncated",
                plainly(&error)
            )
        })?;
        let header = Self { path: path.to_owned(), content, reader };
        if let Some(parts) = header.integer("split.count")?.filter(|&parts| parts > 1) {
            let part = header.integer("split.no")?.unwrap_or_default() + 1;
            bail!(
                "{place} is part {part} of {parts} of a model\nhelp: join the parts with llama.cpp's `llama-gguf-split --merge`, or get the \
                 model in one file"
            );
        }
        Ok(header)
    }

    /// The path, for messages.
    pub(super) fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// Every metadata key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.content.metadata.keys().map(String::as_str)
    }

    fn value<T>(&self, key: &str, wanted: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.content.metadata.get(key) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => bail!("{}: metadata key `{key}` is {}, wanted {wanted}", self.place(), shown(value)),
        }
    }

    /// Turns an absent key into an error.
    pub(super) fn required<T>(&self, key: &str, value: Result<Option<T>>) -> Result<T> {
        value?.with_context(|| format!("{}: metadata key `{key}` is missing", self.place()))
    }

    /// A count or an id.
    pub(super) fn integer(&self, key: &str) -> Result<Option<usize>> {
        self.value(key, "a whole number that is not negative", whole)
    }

    /// A real number.
    pub(super) fn real(&self, key: &str) -> Result<Option<f64>> {
        self.value(key, "a number", number)
    }

    /// A flag.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.value(key, "true or false", |value| match value {
            Value::Bool(x) => Some(*x),
            _ => None,
        })
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>> {
        self.value(key, "a text", string)
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        self.value(key, "a list of texts", |value| list(value)?.iter().map(string).collect())
    }

    /// A list of counts or ids.
    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<usize>>> {
        self.value(key, "a list of whole numbers", |value| list(value)?.iter().map(whole).collect())
    }

    /// A list of real numbers.
    pub(super) fn reals(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.value(key, "a list of numbers", |value| list(value)?.iter().map(number).collect())
    }

    /// Names of all tensors, sorted.
    pub(super) fn tensor_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.content.tensor_infos.keys().cloned().collect();
        names.sort();
        names
    }

    /// Reads a vector of `length` numbers, which files store as floats.
    pub(super) fn floats(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        self.tensor(name, &[length])
    }

    /// Reads the weights `[rows, columns]` of a linear map as they are stored, where that is known.
    pub(super) fn weights(&mut self, name: &str, rows: usize, columns: usize) -> Result<Packed> {
        let kind = self.info(name, &[rows, columns])?.ggml_dtype;
        let packed = match (QuantFormat::of(kind), kind) {
            (Some(format), _) => self
                .seek(name)
                .and_then(|reader| Packed::grouped(rows, columns, format, |row| Ok(reader.read_exact(row)?))),
            (None, GgmlDType::F16 | GgmlDType::BF16) if columns.is_multiple_of(2) => {
                self.seek(name).and_then(|reader| {
                    let mut bytes = vec![0; 2 * columns];
                    Packed::halves(rows, columns, kind, |row| {
                        reader.read_exact(&mut bytes)?;
                        row.iter_mut().zip(bytes.as_chunks().0).for_each(|(out, two)| *out = u16::from_le_bytes(*two));
                        Ok(())
                    })
                })
            }
            _ => return Ok(Packed::full(rows, columns, &self.tensor(name, &[rows, columns])?)),
        };
        packed.with_context(|| self.unreadable(name))
    }

    fn info(&self, name: &str, shape: &[usize]) -> Result<&TensorInfo> {
        let place = self.place();
        let info =
            self.content.tensor_infos.get(name).with_context(|| format!("{place}: tensor `{name}` is missing"))?;
        if info.shape.dims() != shape {
            bail!("{place}: tensor `{name}` has shape {:?}, the metadata ask for {shape:?}", info.shape.dims());
        }
        Ok(info)
    }

    /// The file from where the tensor begins.
    fn seek(&mut self, name: &str) -> Result<&mut BufReader<File>> {
        let at = self
            .content
            .tensor_infos
            .get(name)
            .and_then(|info| info.offset.checked_add(self.content.tensor_data_offset));
        self.reader.seek(SeekFrom::Start(at.context("an offset beyond any file")?))?;
        Ok(&mut self.reader)
    }

    /// Reads one tensor as f32 and checks its shape (outermost dimension first).
    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.info(name, shape)?;
        let read = |content: &Content, reader: &mut BufReader<File>| {
            content.tensor(reader, name, &Device::Cpu)?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
        };
        let read: candle_core::Result<Vec<f32>> = read(&self.content, &mut self.reader);
        read.map_err(|error| anyhow!("{}", plainly(&error))).with_context(|| self.unreadable(name))
    }

    fn unreadable(&self, name: &str) -> String {
        format!("{}: cannot read tensor `{name}`\nhelp: fetch the file again; it may be truncated", self.place())
    }
}

/// The kind of a file without the GGUF magic, with a help line; none for a GGUF file.
fn other_than_gguf(begins: &[u8]) -> Option<String> {
    const OTHERS: [(&[u8], &str); 8] = [
        (
            b"version https://git-lfs",
            "a pointer of Git LFS to one\nhelp: get the file itself: `git lfs pull`, or download it from where the model is shown",
        ),
        (b"<", "a web page\nhelp: download the file itself, not the page that shows it"),
        (
            b"PK\x03\x04",
            "a ZIP archive\nhelp: unpack it, or convert a PyTorch model with llama.cpp's `convert_hf_to_gguf.py`",
        ),
        (b"\x1f\x8b", "compressed with gzip\nhelp: unpack it"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd\nhelp: unpack it"),
        (b"lmgg", "a model in the older format GGML\nhelp: get the model as GGUF"),
        (b"fmgg", "a model in the older format GGMF\nhelp: get the model as GGUF"),
        (b"tjgg", "a model in the older format GGJT\nhelp: get the model as GGUF"),
    ];
    if begins.starts_with(b"GGUF") || (!begins.is_empty() && begins.len() < 4 && b"GGUF".starts_with(begins)) {
        return None;
    }
    if begins.is_empty() {
        return Some("empty\nhelp: fetch it again".into());
    }
    if let Some((_, other)) = OTHERS.iter().find(|(magic, _)| begins.starts_with(magic)) {
        return Some((*other).to_owned());
    }
    // The length of its header in eight bytes, then JSON.
    if begins.get(4..9).is_some_and(|next| next[..4] == [0; 4] && next[4] == b'{') {
        return Some("a model in safetensors\nhelp: convert it with llama.cpp's `convert_hf_to_gguf.py`, or get the model as GGUF".into());
    }
    let shown: String = begins.iter().take(8).map(|byte| format!("{byte:02x} ")).collect();
    Some(format!("begins with the bytes {}\nhelp: get the model as GGUF", shown.trim_end()))
}

/// The first line of an error, without its backtrace.
fn plainly(error: &candle_core::Error) -> String {
    let message = error.to_string();
    message.lines().next().unwrap_or_default().to_owned()
}

fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::I8(x) => usize::try_from(*x).ok(),
        Value::I16(x) => usize::try_from(*x).ok(),
        Value::I32(x) => usize::try_from(*x).ok(),
        Value::I64(x) => usize::try_from(*x).ok(),
        Value::U8(x) => Some(usize::from(*x)),
        Value::U16(x) => Some(usize::from(*x)),
        Value::U32(x) => usize::try_from(*x).ok(),
        Value::U64(x) => usize::try_from(*x).ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::F32(x) => Some(f64::from(*x)),
        Value::F64(x) => Some(*x),
        _ => None,
    }
}

fn string(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn list(value: &Value) -> Option<&Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// A value for a message; a list is abbreviated.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("a list of {} values", values.len()),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::quantized::gguf_file;

    #[test]
    fn errors_name_the_file_and_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.gguf");
        let values = [("a.count", Value::I32(-3)), ("a.list", Value::Array(vec![Value::U8(1), Value::U8(2)]))];
        let metadata: Vec<_> = values.iter().map(|(key, value)| (*key, value)).collect();
        gguf_file::write(&mut File::create(&path).unwrap(), &metadata, &[]).unwrap();
        let header = Header::open(&path).unwrap();
        let message = |error: anyhow::Error| format!("{error:#}").replace(&header.place(), "FILE");
        assert_eq!(
            message(header.integer("a.count").unwrap_err()),
            "FILE: metadata key `a.count` is I32(-3), wanted a whole number that is not negative"
        );
        assert_eq!(
            message(header.text("a.list").unwrap_err()),
            "FILE: metadata key `a.list` is a list of 2 values, wanted a text"
        );
        assert_eq!(
            message(header.required("a.name", header.text("a.name")).unwrap_err()),
            "FILE: metadata key `a.name` is missing"
        );
        assert_eq!(header.integers("a.list").unwrap(), Some(vec![1, 2]));
    }

    #[test]
    fn a_file_that_is_no_gguf_says_what_it_is_without_a_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.gguf");
        for (bytes, expected) in [
            (&b"<html>not found</html>"[..], "is not a GGUF file, but a web page\nhelp: "),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
                "but a pointer of Git LFS to one\nhelp: ",
            ),
            (b"PK\x03\x04", "but a ZIP archive\nhelp: "),
            (b"\x10\x02\0\0\0\0\0\0{\"a\":", "but a model in safetensors\nhelp: "),
            (b"tjgg\x03\0\0\0", "but a model in the older format GGJT\nhelp: "),
            (b"", "but empty\nhelp: "),
            (b"\x01\x02\x03", "but begins with the bytes 01 02 03\nhelp: "),
            (b"GGU", "is not a readable GGUF file: "),
            (b"GGUF\x09\0\0\0", "is not a readable GGUF file: "),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = format!("{:#}", Header::open(&path).err().unwrap());
            assert!(error.contains("page.gguf is not a ") && error.contains(expected), "{error}");
            assert_eq!(error.lines().count(), 2, "{error}");
        }
    }

    #[test]
    fn a_part_of_a_model_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m-00001-of-00002.gguf");
        let values = [("split.count", Value::U16(2)), ("split.no", Value::U16(0))];
        let metadata: Vec<_> = values.iter().map(|(key, value)| (*key, value)).collect();
        gguf_file::write(&mut File::create(&path).unwrap(), &metadata, &[]).unwrap();
        let error = Header::open(&path).err().unwrap().to_string();
        assert!(error.contains("is part 1 of 2 of a model\nhelp: join the parts"), "{error}");
    }
}
