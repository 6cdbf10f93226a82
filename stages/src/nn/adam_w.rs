//! AdamW (Loshchilov and Hutter 2019, algorithm 2) with its state in the open, so that a checkpoint resumes exactly.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::Tensor;
use candle_core::backprop::GradStore;

use super::Params;
use super::params::{to_array, to_tensor};
use crate::artifact::Array;

/// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ − η·(m̂/(√v̂ + ε) + λθ), with gradients first scaled to a global norm of at
/// most `clip`. β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
pub struct AdamW {
    /// η, the step size; may be changed between steps.
    pub learning_rate: f64,
    /// λ, decoupled weight decay.
    pub weight_decay: f64,
    /// Largest global gradient norm; infinity for none.
    pub clip: f64,
    step: u32,
    moments: BTreeMap<String, (Tensor, Tensor)>,
}

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

impl AdamW {
    /// Whether a number can be a step size: above 0 and finite.
    #[must_use]
    pub fn is_step_size(learning_rate: f64) -> bool {
        learning_rate > 0.0 && learning_rate.is_finite()
    }

    /// A fresh optimiser for `params`.
    pub fn new(params: &Params, learning_rate: f64, weight_decay: f64, clip: f64) -> Result<Self> {
        let moments = params
            .iter()
            .map(|(name, var)| Ok((name.clone(), (var.zeros_like()?, var.zeros_like()?))))
            .collect::<Result<_>>()?;
        Ok(Self { learning_rate, weight_decay, clip, step: 0, moments })
    }

    /// One descent step on `loss`; returns the gradient's norm before clipping. A parameter that the loss does not reach
    /// stays as it is.
    pub fn descend(&mut self, params: &Params, loss: &Tensor) -> Result<f64> {
        let gradients = loss.backward()?;
        self.apply(params, &gradients)
    }

    /// One step along the given gradients.
    ///
    /// # Errors
    /// When a gradient is not finite; the parameters are then as before.
    pub fn apply(&mut self, params: &Params, gradients: &GradStore) -> Result<f64> {
        let mut squares = 0.0;
        for (_, var) in params.iter() {
            if let Some(gradient) = gradients.get(var.as_tensor()) {
                squares += gradient.sqr()?.sum_all()?.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
            }
        }
        let norm = squares.sqrt();
        ensure!(norm.is_finite(), "the gradient is not finite\nhelp: lower `learning_rate`");
        let scale = if norm > self.clip { self.clip / norm } else { 1.0 };
        self.step += 1;
        let (correct_1, correct_2) = (1.0 - BETA_1.powi(self.step as i32), 1.0 - BETA_2.powi(self.step as i32));
        for (name, var) in params.iter() {
            let Some(gradient) = gradients.get(var.as_tensor()) else { continue };
            // Without this a chain of graphs grows through the moments.
            let gradient = (gradient.detach() * scale)?;
            let (m, v) = self.moments.get_mut(name).context("the optimiser was made for other parameters")?;
            *m = ((&*m * BETA_1)? + (&gradient * (1.0 - BETA_1))?)?;
            *v = ((&*v * BETA_2)? + (gradient.sqr()? * (1.0 - BETA_2))?)?;
            let update = ((&*m / correct_1)? / ((&*v / correct_2)?.sqrt()? + EPSILON)?)?;
            let decay = (var.as_tensor().detach() * self.weight_decay)?;
            var.set(&(var.as_tensor().detach() - ((update + decay)? * self.learning_rate)?)?)?;
        }
        Ok(norm)
    }

    /// The state as arrays, `m.<name>` and `v.<name>`, with the step count as `step`.
    pub fn export(&self) -> Result<BTreeMap<String, Array>> {
        let mut state = BTreeMap::from([("step".to_owned(), Array::new(&[1], vec![self.step as f32]))]);
        for (name, (m, v)) in &self.moments {
            state.insert(format!("m.{name}"), to_array(m)?);
            state.insert(format!("v.{name}"), to_array(v)?);
        }
        Ok(state)
    }

    /// Restores what [`AdamW::export`] gave.
    pub fn import(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        let get = |name: &str| state.get(name).with_context(|| format!("no optimiser state `{name}`"));
        self.step = get("step")?.data[0] as u32;
        for (name, (m, v)) in &mut self.moments {
            *m = to_tensor(get(&format!("m.{name}"))?)?;
            *v = to_tensor(get(&format!("v.{name}"))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn one_parameter(value: f64) -> (Params, Tensor) {
        let mut params = Params::default();
        let tensor = params.add("x", &Tensor::new(&[value], &Device::Cpu).unwrap()).unwrap();
        (params, tensor)
    }

    fn value(params: &Params) -> f64 {
        params.iter().next().unwrap().1.to_vec1::<f64>().unwrap()[0]
    }

    #[test]
    fn two_steps_agree_with_hand_computed_values() {
        // loss = x², x = 1: g = 2, m̂ = 2, v̂ = 4, update = 1 → x = 1 − 0.1·(1 + 0.01·1) = 0.899.
        let (params, x) = one_parameter(1.0);
        let mut adam = AdamW::new(&params, 0.1, 0.01, f64::INFINITY).unwrap();
        adam.descend(&params, &x.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert!((value(&params) - 0.899).abs() < 1e-8, "{}", value(&params));
        // g = 1.798; m = 0.1·2·0.9 + 0.1·1.798 = 0.3598, m̂ = 0.3598/0.19; v = 0.004·0.999 + 0.001·1.798², v̂ = v/0.001999.
        let m = 0.3598 / 0.19;
        let v: f64 = (0.004 * 0.999 + 0.001 * 1.798_f64.powi(2)) / 0.001_999;
        let expected = 0.899 - 0.1 * (m / v.sqrt() + 0.01 * 0.899);
        adam.descend(&params, &x.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert!((value(&params) - expected).abs() < 1e-7, "{} {expected}", value(&params));
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_refused_and_changes_nothing() {
        let (params, x) = one_parameter(1.0);
        let mut adam = AdamW::new(&params, 0.1, 0.0, 1.0).unwrap();
        let error = adam.descend(&params, &(x * f64::INFINITY).unwrap().sum_all().unwrap()).unwrap_err().to_string();
        assert!(error.contains("not finite") && error.contains("learning_rate"), "{error}");
        assert!((value(&params) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn a_restored_optimiser_goes_on_exactly() {
        let run = |restore: bool| {
            let (params, x) = one_parameter(1.0);
            let mut adam = AdamW::new(&params, 0.1, 0.0, 0.5).unwrap();
            for k in 0..6 {
                if restore && k == 3 {
                    let state = adam.export().unwrap();
                    adam = AdamW::new(&params, 0.1, 0.0, 0.5).unwrap();
                    adam.import(&state).unwrap();
                    let f64s = |t: &Tensor| t.to_dtype(candle_core::DType::F64).unwrap();
                    for (m, v) in adam.moments.values_mut() {
                        (*m, *v) = (f64s(m), f64s(v));
                    }
                }
                adam.descend(&params, &x.sqr().unwrap().sum_all().unwrap()).unwrap();
            }
            value(&params)
        };
        assert!((run(true) - run(false)).abs() < 1e-6);
    }
}
