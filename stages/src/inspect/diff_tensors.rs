//! The tensors of two files compared by name, chunk by chunk.

use std::io::Read;

use anyhow::Result;
use pipeline::inspect::Request;
use safetensors::tensor::TensorInfo;
use serde::Serialize;

use super::escape::{self, CELL};
use super::safetensors::{CHUNK, TensorsFile, reals};
use super::text_output::{TextOutput, counted, grouped};
use super::value::{CellValue, six_digits};

/// A tensor of either file.
#[derive(Debug, Serialize)]
pub(super) struct TensorDifference {
    tensor: String,
    /// Type and shape, `F32 [3, 4]`; `null` where a file has no such tensor.
    one: Option<String>,
    other: Option<String>,
    /// How the values differ; absent where they were not compared.
    values: Option<ValueDifference>,
}

#[derive(Debug, Default, Serialize)]
struct ValueDifference {
    equal: u64,
    different: u64,
    /// Largest absolute difference; `null` where it is no finite number.
    largest: CellValue,
    /// Mean absolute difference, equal ones included.
    mean: CellValue,
}

/// Compares all tensors of two files; the values of large files only where the request says so.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn compare(one: &TensorsFile, other: &TensorsFile, request: &Request) -> Result<Vec<TensorDifference>> {
    let scan = request.scan || (one.is_small() && other.is_small());
    let (ours, theirs) = (one.tensors(), other.tensors());
    let told = |info: &TensorInfo| format!("{:?} {:?}", info.dtype, info.shape);
    let mut all = Vec::new();
    for (name, info) in &ours {
        let matching = theirs.iter().find(|(other, _)| other == name).map(|(_, info)| *info);
        let values = match matching {
            Some(found) if scan && found.dtype == info.dtype && found.shape == info.shape => {
                values(one, info, other, found)?
            }
            _ => None,
        };
        all.push(TensorDifference { tensor: name.clone(), one: Some(told(info)), other: matching.map(told), values });
    }
    let added = theirs.iter().filter(|(name, _)| !ours.iter().any(|(ours, _)| ours == name));
    all.extend(added.map(|(name, info)| TensorDifference {
        tensor: name.clone(),
        one: None,
        other: Some(told(info)),
        values: None,
    }));
    Ok(all)
}

fn values(
    one: &TensorsFile,
    info: &TensorInfo,
    other: &TensorsFile,
    other_info: &TensorInfo,
) -> Result<Option<ValueDifference>> {
    let (mut ours, mut theirs) = (one.data(info)?, other.data(other_info)?);
    let mut found = ValueDifference::default();
    let (mut largest, mut sum) = (0.0_f64, 0.0_f64);
    let (mut a, mut b) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    loop {
        a.clear();
        b.clear();
        ours.by_ref().take(CHUNK as u64).read_to_end(&mut a)?;
        theirs.by_ref().take(CHUNK as u64).read_to_end(&mut b)?;
        if a.is_empty() {
            break;
        }
        let (Some(a), Some(b)) = (reals(info.dtype, &a), reals(info.dtype, &b)) else { return Ok(None) };
        for (a, b) in a.into_iter().zip(b) {
            if a == b || (a.is_nan() && b.is_nan()) {
                found.equal += 1;
            } else {
                found.different += 1;
                let difference = (a - b).abs();
                // A NaN on one side stays visible: nothing is larger than it.
                largest = if largest.is_nan() || difference.is_nan() { f64::NAN } else { largest.max(difference) };
                sum += difference;
            }
        }
    }
    let count = (found.equal + found.different) as f64;
    found.largest = CellValue::Real(largest);
    found.mean = if count > 0.0 { CellValue::Real(sum / count) } else { CellValue::Null };
    Ok(Some(found))
}

/// Tells which tensors differ.
pub(super) fn tell(all: &[TensorDifference], page: &mut TextOutput) {
    let same = |tensor: &&TensorDifference| {
        tensor.one == tensor.other && tensor.values.as_ref().is_none_or(|values| values.different == 0)
    };
    let equal = all.iter().filter(same).count() as u64;
    let compared = all.iter().all(|tensor| tensor.one != tensor.other || tensor.values.is_some());
    page.line(&match compared {
        true => format!("{} equal", counted(equal, "tensor")),
        false => format!("{} of the same type and shape; `--scan` compares the values", counted(equal, "tensor")),
    });
    let row = |tensor: &TensorDifference| {
        let side = |side: &Option<String>| side.clone().unwrap_or("–".into());
        let of = |pick: fn(&ValueDifference) -> String| tensor.values.as_ref().map_or("–".into(), pick);
        let real = |cell: &CellValue| if let CellValue::Real(value) = cell { six_digits(*value) } else { "–".into() };
        vec![
            escape::shown(&tensor.tensor, CELL * 2),
            side(&tensor.one),
            side(&tensor.other),
            of(|values| grouped(values.different)),
            tensor.values.as_ref().map_or("–".into(), |values| real(&values.largest)),
            tensor.values.as_ref().map_or("–".into(), |values| real(&values.mean)),
        ]
    };
    let rows: Vec<_> = all.iter().filter(|tensor| !same(tensor)).map(row).collect();
    let header = ["tensor", "A", "B", "different", "largest difference", "mean difference"];
    page.table("Tensors that differ", &header, &header[3..], &rows);
}

#[cfg(test)]
mod tests {
    use pipeline::inspect::Show;
    use safetensors::Dtype;
    use safetensors::tensor::{TensorView, serialize};

    use super::super::testing::inspected;
    use super::*;

    #[test]
    fn tensors_are_matched_by_name_and_compared_by_value() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, tensors: &[(&str, &[f32])]| {
            let bytes: Vec<Vec<u8>> = tensors
                .iter()
                .map(|(_, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
                .collect();
            let views = tensors.iter().zip(&bytes).map(|((name, values), bytes)| {
                (*name, TensorView::new(Dtype::F32, vec![values.len()], bytes).unwrap())
            });
            let path = folder.path().join(file);
            std::fs::write(&path, serialize(views, None).unwrap()).unwrap();
            path
        };
        let one = write("a", &[("bias", &[1.0, 2.0, f32::NAN]), ("gone", &[0.0]), ("same", &[1.0])]);
        let other = write("b", &[("bias", &[1.0, 2.5, f32::NAN]), ("new", &[0.0]), ("same", &[1.0])]);
        let show = Show::Diff { other, name: "b".into(), key: vec![] };
        let text = inspected(&one, &Request { show, name: "a".into(), ..Request::default() });
        for line in [
            "1 tensor equal",
            " bias     F32 [3]   F32 [3]           1                  0.5          0.166667",
            " gone     F32 [1]   –                 –                    –                 –",
            " new      –         F32 [1]           –                    –                 –",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
}
