//! Files of named tensors, tensor by tensor.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::{Context, Result, ensure};
use arrow::datatypes::{ArrowPrimitiveType, Float16Type};
use pipeline::UsageError;
use pipeline::inspect::Request;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::description::{Content, Description, Format, TensorDescription, TextList};
use super::escape::{self, CELL};
use super::numeric_summary::{NumberAccumulator, NumberSummary};
use super::value::CellValue;
use crate::artifact::{Unsupported, damaged};

/// Longest header that the format allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;
/// Bytes of a tensor read at a time; a multiple of every element's size.
pub(super) const CHUNK: usize = 1 << 16;
/// Bytes up to which every value is read without being asked to.
const SMALL: u64 = 256 << 20;

/// How many texts of a list are shown.
const FIRST: usize = 5;

/// Whether a file that begins with `start` can be of safetensors: the length of a header, then JSON.
pub(super) fn recognise(start: &[u8]) -> bool {
    start.get(8) == Some(&b'{') && header_length(start).is_some_and(|length| length <= LONGEST_HEADER)
}

fn header_length(start: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(start.get(..8)?.try_into().ok()?))
}

/// A file of tensors whose header was read.
pub(super) struct TensorsFile {
    file: File,
    bytes: u64,
    /// Where the first tensor begins.
    start: u64,
    header: Metadata,
}

impl TensorsFile {
    /// Opens a file that [`recognise`] took for one of safetensors.
    ///
    /// # Errors
    /// When the file is torn, or its header is damaged.
    pub fn open(mut file: File, bytes: u64) -> Result<Self> {
        let help = "help: it was probably interrupted while it was written or fetched; make it again";
        let mut start = [0; 8];
        file.read_exact(&mut start)?;
        let length = u64::from_le_bytes(start);
        ensure!(
            length.checked_add(8).is_some_and(|end| end <= bytes),
            "starts like safetensors with a header of {length} bytes, but the whole file has {bytes}\n{help}"
        );
        let mut header = vec![0; usize::try_from(length)?];
        file.read_exact(&mut header)?;
        // A checked header holds no shape whose size overflows.
        let header: Metadata = serde_json::from_slice(&header).map_err(|error| match unread_type(&header) {
            Some(text) => Unsupported(text).into(),
            None => damaged("starts like safetensors, but its header cannot be read", error),
        })?;
        let start = 8 + length;
        let wanted = start.saturating_add(header.data_len() as u64);
        ensure!(wanted == bytes, "its safetensors header announces {wanted} bytes, but the file has {bytes}\n{help}");
        Ok(Self { file, bytes, start, header })
    }

    /// Names and infos of all tensors, in the order of the file.
    pub fn tensors(&self) -> Vec<(String, &TensorInfo)> {
        let names = self.header.offset_keys().into_iter();
        names.filter_map(|name| self.header.info(&name).map(|info| (name, info))).collect()
    }

    /// Whether reading every value takes no patience.
    pub fn is_small(&self) -> bool {
        self.bytes <= SMALL
    }

    /// The bytes of a tensor.
    pub fn data(&self, info: &TensorInfo) -> Result<impl Read> {
        let (from, to) = info.data_offsets;
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(self.start + from as u64))?;
        Ok(BufReader::with_capacity(CHUNK, file).take((to - from) as u64))
    }

    /// Describes one tensor, by its values only if `scan`.
    fn tensor(&self, name: String, info: &TensorInfo, scan: bool) -> Result<TensorDescription> {
        let texts = if scan { self.texts(info)? } else { None };
        let statistics = match scan && texts.is_none() {
            true => measure(info.dtype, self.data(info)?)
                .with_context(|| format!("cannot read the tensor {}", escape::shown(&name, CELL)))?,
            false => None,
        };
        let (from, to) = info.data_offsets;
        Ok(TensorDescription {
            dtype: format!("{:?}", info.dtype),
            shape: info.shape.clone(),
            count: info.shape.iter().map(|&size| size as u64).product(),
            bytes: (to - from) as u64,
            finite: statistics.as_ref().map(|statistics| statistics.nan + statistics.infinite == 0),
            statistics,
            texts,
            name,
        })
    }

    /// The list of texts that a tensor of bytes holds, where it holds one.
    fn texts(&self, info: &TensorInfo) -> Result<Option<TextList>> {
        let mut data = self.data(info)?;
        let mut begin = [0; 2];
        // Most tensors of bytes are no texts; those are not read twice.
        if info.dtype != Dtype::U8 || info.shape.len() != 1 || data.read_exact(&mut begin).is_err() || begin != *b"[\""
        {
            return Ok(None);
        }
        let mut bytes = begin.to_vec();
        data.read_to_end(&mut bytes)?;
        let list: Option<Vec<String>> = serde_json::from_slice(&bytes).ok();
        Ok(list.map(|list| TextList { count: list.len(), first: list.into_iter().take(FIRST).collect() }))
    }

    /// Describes the tensors that the request asks for (`columns` are their names here).
    ///
    /// # Errors
    /// [`UsageError`] for what tensors do not have; else when the file cannot be read.
    pub fn describe(&self, name: String, request: &Request) -> Result<Description> {
        if request.filter.is_some() || request.sample.is_some() {
            return Err(UsageError("it holds tensors, which have no rows to filter or draw".into()).into());
        }
        let tensors = self.tensors();
        let wanted: Vec<&str> = request.columns.iter().flat_map(|list| list.split(',')).map(str::trim).collect();
        if let Some(absent) = wanted.iter().find(|wanted| !tensors.iter().any(|(name, _)| name == *wanted)) {
            return Err(UsageError(format!("it holds no tensor `{}`", escape::shown(absent, CELL))).into());
        }
        let scanned = request.scan || self.is_small();
        let tensors = tensors.into_iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str()));
        Ok(Description {
            schema_version: super::SCHEMA_VERSION,
            file: name,
            format: Format::Safetensors,
            bytes: self.bytes,
            metadata: self
                .header
                .metadata()
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            content: Content::Safetensors {
                tensors: tensors.map(|(name, info)| self.tensor(name, info, scanned)).collect::<Result<_>>()?,
                scanned,
            },
        })
    }
}

/// What to say of a header that names a type of elements which is not known here, as formats of quantised models come and go.
fn unread_type(header: &[u8]) -> Option<String> {
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    let types = header.iter().filter_map(|(name, tensor)| Some((name, tensor.get("dtype")?.as_str()?)));
    let is_known = |dtype: &str| serde_json::from_value::<Dtype>(dtype.into()).is_ok();
    let (name, dtype) = types.into_iter().find(|(_, dtype)| !is_known(dtype))?;
    let (name, dtype) = (escape::shown(name, CELL), escape::shown(dtype, CELL));
    Some(format!(
        "its tensor `{name}` is of type {dtype}, which is not known here\nhelp: write it in a type such as F32"
    ))
}

/// Statistics of the elements in `data`, or `None` for a type that is not decoded.
pub(super) fn measure(dtype: Dtype, mut data: impl Read) -> Result<Option<NumberSummary>> {
    let mut numbers = NumberAccumulator::new();
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        chunk.clear();
        if data.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)? == 0 {
            return Ok(Some(numbers.summary(CellValue::Whole, CellValue::Real)));
        }
        let bytes = &chunk;
        match dtype {
            Dtype::BOOL | Dtype::U8 => whole(bytes, u8::from_le_bytes, &mut numbers),
            Dtype::I8 => whole(bytes, i8::from_le_bytes, &mut numbers),
            Dtype::U16 => whole(bytes, u16::from_le_bytes, &mut numbers),
            Dtype::I16 => whole(bytes, i16::from_le_bytes, &mut numbers),
            Dtype::U32 => whole(bytes, u32::from_le_bytes, &mut numbers),
            Dtype::I32 => whole(bytes, i32::from_le_bytes, &mut numbers),
            Dtype::U64 => whole(bytes, u64::from_le_bytes, &mut numbers),
            Dtype::I64 => whole(bytes, i64::from_le_bytes, &mut numbers),
            Dtype::F16 => real(bytes, <Float16Type as ArrowPrimitiveType>::Native::from_le_bytes, &mut numbers),
            // A bfloat16 is the upper half of a 32-bit float.
            Dtype::BF16 => real(bytes, |[low, high]| f32::from_le_bytes([0, 0, low, high]), &mut numbers),
            Dtype::F32 => real(bytes, f32::from_le_bytes, &mut numbers),
            Dtype::F64 => real(bytes, f64::from_le_bytes, &mut numbers),
            _ => return Ok(None),
        }
    }
}

/// The elements in `bytes` as floats, or `None` for a type that is not decoded.
pub(super) fn reals(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    fn all<const SIZE: usize>(bytes: &[u8], decode: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
        bytes.as_chunks().0.iter().map(|&element| decode(element)).collect()
    }
    Some(match dtype {
        Dtype::BOOL | Dtype::U8 => all(bytes, |b| u8::from_le_bytes(b).into()),
        Dtype::I8 => all(bytes, |b| i8::from_le_bytes(b).into()),
        Dtype::U16 => all(bytes, |b| u16::from_le_bytes(b).into()),
        Dtype::I16 => all(bytes, |b| i16::from_le_bytes(b).into()),
        Dtype::U32 => all(bytes, |b| u32::from_le_bytes(b).into()),
        Dtype::I32 => all(bytes, |b| i32::from_le_bytes(b).into()),
        Dtype::U64 => all(bytes, |b| u64::from_le_bytes(b) as f64),
        Dtype::I64 => all(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::F16 => all(bytes, |b| <Float16Type as ArrowPrimitiveType>::Native::from_le_bytes(b).into()),
        Dtype::BF16 => all(bytes, |[low, high]| f32::from_le_bytes([0, 0, low, high]).into()),
        Dtype::F32 => all(bytes, |b| f32::from_le_bytes(b).into()),
        Dtype::F64 => all(bytes, f64::from_le_bytes),
        _ => return None,
    })
}

fn whole<const SIZE: usize, T: Into<i128>>(
    bytes: &[u8],
    decode: impl Fn([u8; SIZE]) -> T,
    numbers: &mut NumberAccumulator,
) {
    bytes.as_chunks().0.iter().for_each(|&element| numbers.push_whole(decode(element).into()));
}

fn real<const SIZE: usize, T: Into<f64>>(
    bytes: &[u8],
    decode: impl Fn([u8; SIZE]) -> T,
    numbers: &mut NumberAccumulator,
) {
    bytes.as_chunks().0.iter().for_each(|&element| numbers.push_real(decode(element).into()));
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::{TensorView, serialize};

    use super::super::testing::{describe, rendered};
    use super::super::{Description, escape};
    use super::*;

    fn file(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views =
            tensors.iter().map(|tensor| (tensor.0, TensorView::new(tensor.1, tensor.2.clone(), &tensor.3).unwrap()));
        serialize(views, Some(HashMap::from([("kind".to_owned(), "world\u{9b}".to_owned())]))).unwrap()
    }

    fn described(bytes: &[u8]) -> Result<Description> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, bytes).unwrap();
        describe(&path, 9)
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn tensors_are_measured_and_hostile_metadata_is_escaped() {
        let bytes = file(&[
            ("bias", Dtype::F32, vec![4], floats(&[1.0, f32::NAN, 3.0, f32::INFINITY])),
            ("empty", Dtype::F32, vec![0, 7], vec![]),
            ("ids\u{1b}", Dtype::I64, vec![2, 1], [5_i64, -5].iter().flat_map(|id| id.to_le_bytes()).collect()),
        ]);
        let mut description = described(&bytes).unwrap();
        description.file = "weights".into();
        let wanted = "\
weights: safetensors, 264 bytes
3 tensors, 6 values

Metadata
 key    value
────────────────────
 kind   world\\u{9b}

Tensors
 tensor      dtype   shape    values   min   max   mean   finite   histogram
────────────────────────────────────────────────────────────────────────────────────
 ids\\u{1b}   I64     [2, 1]        2    -5     5      0   yes      █         █
 bias        F32     [4]           4     1     3      2   NO       █              █
 empty       F32     [0, 7]        0     –     –      –   yes      –
 bias: 1 NaN and 1 infinite, left out above
";
        let text = rendered(&description, 100);
        assert_eq!(text, wanted, "\n{text}");
        let json = escape::json(&serde_json::to_string(&description).unwrap());
        assert!(!json.contains(['\u{1b}', '\u{9b}']));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["schema_version"], &json["format"]), (&1.into(), &"safetensors".into()));
        let bias = &json["tensors"][1];
        assert_eq!(
            (&bias["finite"], &bias["statistics"]["nan"], &bias["statistics"]["max"]),
            (&false.into(), &1.into(), &3.0.into())
        );
        assert!(json["tensors"][2]["statistics"]["min"].is_null());
    }

    #[test]
    fn a_list_of_texts_is_shown_as_texts() {
        let list = br#"["196","a\u001b","c","d","e","f"]"#.to_vec();
        let bytes =
            file(&[("ids.users", Dtype::U8, vec![list.len()], list), ("mask", Dtype::U8, vec![2], vec![91, 34])]);
        let text = rendered(&described(&bytes).unwrap(), 100);
        assert!(text.contains("ids.users: 6 texts, the first of them 196, a\\u{1b}, c, d, e\n"), "{text}");
        assert!(text.contains("mask        U8      [2]          2    34    91"), "{text}");
    }

    #[test]
    fn every_width_of_number_is_decoded() {
        let max_of = |dtype, bytes: &[u8]| {
            let Content::Safetensors { tensors, .. } =
                described(&file(&[("t", dtype, vec![1], bytes.to_vec())])).unwrap().content
            else {
                panic!("safetensors")
            };
            tensors[0].statistics.as_ref().map(|statistics| statistics.max.clone())
        };
        assert_eq!(max_of(Dtype::F16, &[0x00, 0x3e]), Some(CellValue::Real(1.5)));
        assert_eq!(max_of(Dtype::BF16, &[0xc0, 0x3f]), Some(CellValue::Real(1.5)));
        assert_eq!(max_of(Dtype::F64, &1.5_f64.to_le_bytes()), Some(CellValue::Real(1.5)));
        assert_eq!(max_of(Dtype::I16, &[0xfe, 0xff]), Some(CellValue::Whole(-2)));
        assert_eq!(max_of(Dtype::U64, &[0xff; 8]), Some(CellValue::Whole(u64::MAX.into())));
        assert_eq!(max_of(Dtype::BOOL, &[1]), Some(CellValue::Whole(1)));
        assert_eq!(max_of(Dtype::F8_E4M3, &[1]), None);
    }

    #[test]
    fn a_tensor_longer_than_a_chunk_is_read_to_its_end() {
        let values: Vec<f32> = (0..100_000).map(|value| value as f32).collect();
        let bytes = file(&[("t", Dtype::F32, vec![100, 1000], floats(&values))]);
        let Content::Safetensors { tensors, .. } = described(&bytes).unwrap().content else { panic!("safetensors") };
        let statistics = tensors[0].statistics.as_ref().unwrap();
        assert_eq!((statistics.count, &statistics.max), (100_000, &CellValue::Real(99_999.0)));
        assert_eq!(statistics.mean, CellValue::Real(49_999.5));
    }

    #[test]
    fn torn_and_lying_files_are_refused() {
        let bytes = file(&[("t", Dtype::F32, vec![2], floats(&[1.0, 2.0]))]);
        let refused = |bytes: &[u8]| format!("{:#}", described(bytes).unwrap_err());
        let text = refused(&bytes[..bytes.len() - 1]);
        assert!(text.contains("announces") && text.contains("\nhelp: "), "{text}");
        assert!(refused(&[&bytes[..], &[0]].concat()).contains("announces"));
        let lying = String::from_utf8_lossy(&bytes).replace("[2]", "[3]").into_bytes();
        assert!(refused(&lying).contains("its header cannot be read"));
        let newer = String::from_utf8_lossy(&bytes).replace("\"F32\"", "\"I4\" ").into_bytes();
        let error = described(&newer).unwrap_err();
        assert!(error.chain().any(|cause| cause.is::<Unsupported>()), "{error:#}");
        assert!(refused(&newer).contains("its tensor `t` is of type I4, which is not known here\nhelp: "), "{error:#}");
    }
}
