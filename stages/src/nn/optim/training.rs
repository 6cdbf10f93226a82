//! Checkpoints of trainings between units. A resumed training gives the same bytes as an uninterrupted one.
//!
//! All random numbers are drawn from (seed, purpose, unit), so no generator state is saved: a state consists of the parameters, the
//! optimisers, the curves, and further arrays of the training.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use pipeline::Context;
use pipeline::checkpointing::Checkpoints;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::artifact::{Array, Curves};
use crate::nn::{AdamW, Params};

/// The checkpoints of one training, in the stage's scratch folder.
pub struct TrainingCheckpoints<'c> {
    cx: &'c Context,
    checkpoints: Checkpoints,
    every: u64,
}

impl<'c> TrainingCheckpoints<'c> {
    /// The checkpoints of the training `name`, written after each `every`-th unit.
    pub fn open(cx: &'c Context, name: &str, every: u64) -> Result<Self> {
        Ok(Self { cx, checkpoints: Checkpoints::open(&cx.scratch().join(name))?, every })
    }

    /// The number of completed units, and the state after them as [`TrainingState::save`] wrote it.
    pub fn latest(&self) -> Result<Option<(u64, Vec<u8>)>> {
        self.checkpoints.latest()
    }

    /// To be called after each unit: saves the state when it is due, or when the user interrupts.
    ///
    /// # Errors
    /// When the state cannot be written, or the user interrupted.
    pub fn after_unit(&self, done: u64, state: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
        let check_cancelled = self.cx.check_cancelled();
        if check_cancelled.is_err() || done.is_multiple_of(self.every) {
            self.checkpoints.save(done, &state()?)?;
        }
        check_cancelled
    }
}

/// The state of a training.
pub struct TrainingState<'a> {
    /// Networks with their optimisers, by name.
    pub networks: Vec<(&'static str, &'a Params, &'a mut AdamW)>,
    /// Other arrays that the next unit needs.
    pub arrays: BTreeMap<String, Array>,
    /// The curves so far.
    pub curves: &'a mut Curves,
}

impl TrainingState<'_> {
    /// The state as bytes.
    pub fn save(&self) -> Result<Vec<u8>> {
        let mut arrays: BTreeMap<String, Array> = BTreeMap::new();
        for (name, params, adam) in &self.networks {
            for (part, of_part) in [("p", params.export()?), ("o", adam.export()?)] {
                arrays.extend(of_part.into_iter().map(|(key, array)| (format!("{part}.{name}.{key}"), array)));
            }
        }
        arrays.extend(self.arrays.iter().map(|(key, array)| (format!("a.{key}"), array.clone())));
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = arrays
            .into_iter()
            .map(|(name, array)| (name, array.shape, array.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let mut views = Vec::with_capacity(bytes.len());
        for (name, shape, bytes) in &bytes {
            views.push((name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes)?));
        }
        let tensors = safetensors::serialize(views, None)?;
        let mut out = (tensors.len() as u64).to_le_bytes().to_vec();
        out.extend(tensors);
        out.extend(self.curves.to_bytes()?);
        Ok(out)
    }

    /// Restores what [`TrainingState::save`] wrote.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let (length, rest) = bytes.split_at_checked(8).context("a checkpoint of fewer than 8 bytes")?;
        let length = u64::from_le_bytes(length.try_into()?) as usize;
        let (tensors, curves) = rest.split_at_checked(length).context("a checkpoint that ends early")?;
        let mut arrays = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(tensors)?.tensors() {
            let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            arrays.insert(name, Array::new(view.shape(), data));
        }
        for (name, params, adam) in &mut self.networks {
            params.import(&below(&arrays, &format!("p.{name}.")))?;
            adam.import(&below(&arrays, &format!("o.{name}.")))?;
        }
        self.arrays = below(&arrays, "a.");
        *self.curves = Curves::from_bytes(curves)?;
        Ok(())
    }
}

/// The arrays whose names begin with `prefix`, by the rest of their names.
fn below(arrays: &BTreeMap<String, Array>, prefix: &str) -> BTreeMap<String, Array> {
    let rest = |(name, array): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone()));
    arrays.iter().filter_map(rest).collect()
}

/// Asserts that a stage that is interrupted after each of its at most `units` units ends as an uninterrupted one.
#[cfg(test)]
#[track_caller]
pub fn assert_resumes_exactly<S: pipeline::Stage, T: PartialEq>(
    stage: &S,
    inputs: impl Fn() -> S::Inputs,
    compared: impl Fn(S::Outputs) -> T,
    units: u64,
) {
    let (whole, pieces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let undisturbed = compared(stage.run(inputs(), &Context::detached(whole.path())).unwrap());
    let mut stops = 0;
    let resumed = loop {
        let cx = Context::detached(pieces.path());
        cx.interrupt();
        match stage.run(inputs(), &cx) {
            Ok(outputs) => break compared(outputs),
            Err(error) => assert!(error.is::<pipeline::Interrupted>(), "{error:#}"),
        }
        stops += 1;
        assert!(stops <= units, "no way ahead");
    };
    assert!(stops > 0, "it was never stopped");
    assert!(undisturbed == resumed, "interrupted {stops} times, it ends otherwise");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;

    #[test]
    fn a_restored_training_is_the_same_to_the_bit() {
        let train = |steps: std::ops::Range<u32>, saved: Option<Vec<u8>>| {
            let mut params = Params::default();
            let x = params.add("x", &Init::new(1).normal(&[5], 1.0).unwrap()).unwrap();
            let mut adam = AdamW::new(&params, 0.1, 0.01, 1.0).unwrap();
            let mut curves = Curves::default();
            let extra = BTreeMap::from([("kept".to_owned(), Array::new(&[2], vec![0.1, -0.0]))]);
            let mut state =
                TrainingState { networks: vec![("n", &params, &mut adam)], arrays: extra.clone(), curves: &mut curves };
            if let Some(saved) = saved {
                state.arrays.clear();
                state.restore(&saved).unwrap();
                assert_eq!(state.arrays, extra);
            }
            for step in steps {
                let loss = x.sqr().unwrap().sum_all().unwrap();
                curves.push("loss", u64::from(step), f64::from(loss.to_scalar::<f32>().unwrap()) / 3.0);
                adam.descend(&params, &loss).unwrap();
            }
            TrainingState { networks: vec![("n", &params, &mut adam)], arrays: extra, curves: &mut curves }
                .save()
                .unwrap()
        };
        assert_eq!(train(0..6, None), train(3..6, Some(train(0..3, None))));
    }

    #[test]
    fn it_saves_when_due_and_before_it_stops() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::detached(folder.path());
        let training = TrainingCheckpoints::open(&cx, "t", 3).unwrap();
        for done in 1..=4 {
            training.after_unit(done, || Ok(vec![done as u8])).unwrap();
        }
        assert_eq!(training.latest().unwrap(), Some((3, vec![3])));
        cx.interrupt();
        assert!(training.after_unit(5, || Ok(vec![5])).is_err());
        assert_eq!(training.latest().unwrap(), Some((5, vec![5])));
    }
}
