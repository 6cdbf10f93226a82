//! The state of a training between two units, as bytes.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::artifact::{Array, Curves};
use crate::nn::{AdamW, Params};

/// Serialises parameters, optimiser and curves so far. Everything random is drawn from (seed, iteration), so there is no
/// generator to save.
pub fn save(params: &Params, adam: &AdamW, curves: &Curves) -> Result<Vec<u8>> {
    let mut arrays: BTreeMap<String, Array> = BTreeMap::new();
    for (prefix, part) in [("p.", params.export()?), ("o.", adam.export()?)] {
        arrays.extend(part.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
    }
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = arrays
        .into_iter()
        .map(|(name, array)| (name, array.shape, array.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, shape, bytes) in &bytes {
        views.push((name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes)?));
    }
    let tensors = safetensors::serialize(views, None)?;
    let points: Vec<(&str, u64, u64)> =
        curves.0.iter().map(|p| (p.series.as_str(), p.step, p.value.to_bits())).collect();
    let curves = serde_json::to_vec(&points)?;
    let mut out = (tensors.len() as u64).to_le_bytes().to_vec();
    out.extend(tensors);
    out.extend(curves);
    Ok(out)
}

/// Restores what [`save`] wrote.
pub fn restore(bytes: &[u8], params: &Params, adam: &mut AdamW) -> Result<Curves> {
    let (length, rest) = bytes.split_at_checked(8).context("a checkpoint of fewer than 8 bytes")?;
    let length = u64::from_le_bytes(length.try_into()?) as usize;
    let (tensors, curves) = rest.split_at_checked(length).context("a checkpoint that ends early")?;
    let (mut of_params, mut of_adam) = (BTreeMap::new(), BTreeMap::new());
    for (name, view) in SafeTensors::deserialize(tensors)?.tensors() {
        let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let array = Array::new(view.shape(), data);
        match name.split_once('.') {
            Some(("p", name)) => of_params.insert(name.to_owned(), array),
            _ => of_adam.insert(name.trim_start_matches("o.").to_owned(), array),
        };
    }
    params.import(&of_params)?;
    adam.import(&of_adam)?;
    let points: Vec<(String, u64, u64)> = serde_json::from_slice(curves)?;
    let mut restored = Curves::default();
    for (series, step, bits) in points {
        restored.push(&series, step, f64::from_bits(bits));
    }
    Ok(restored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;

    #[test]
    fn a_restored_training_is_the_same_to_the_bit() {
        let train = |steps: std::ops::Range<u32>, state: Option<Vec<u8>>| {
            let mut params = Params::default();
            let x = params.add("x", &Init::new(1).normal(&[5], 1.0).unwrap()).unwrap();
            let mut adam = AdamW::new(&params, 0.1, 0.01, 1.0).unwrap();
            let mut curves = state.map(|s| restore(&s, &params, &mut adam).unwrap()).unwrap_or_default();
            for step in steps {
                let loss = x.sqr().unwrap().sum_all().unwrap();
                curves.push("loss", u64::from(step), f64::from(loss.to_scalar::<f32>().unwrap()) / 3.0);
                adam.descend(&params, &loss).unwrap();
            }
            save(&params, &adam, &curves).unwrap()
        };
        assert_eq!(train(0..6, None), train(3..6, Some(train(0..3, None))));
    }
}
