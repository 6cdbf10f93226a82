//! The optimiser as one block of settings, which everything that is trained by [`AdamW`] shares.

use std::marker::PhantomData;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::optim::schedule::Schedule;
use crate::nn::{AdamW, Params};

/// The values that `optimizer` has for `Self` where an experiment does not set them.
pub trait OptimizerDefaults {
    /// Of `learning_rate`.
    const LEARNING_RATE: f64;
    /// Of `weight_decay`.
    const WEIGHT_DECAY: f64;
    /// Of `max_grad_norm`.
    const MAX_GRAD_NORM: Option<f64>;
    /// Of `schedule`.
    const SCHEDULE: Schedule;
}

/// Settings of AdamW. A setting that is omitted keeps the default of its stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, bound(serialize = "", deserialize = "L: OptimizerDefaults"))]
#[schemars(rename = "Optimizer_for_{L}", bound = "L: OptimizerDefaults + JsonSchema")]
pub struct Optimizer<L> {
    /// Learning rate of AdamW at the first update, above 0.
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW, 0 or more.
    pub weight_decay: f64,
    /// Largest global norm of a gradient, above 0: a longer gradient is scaled down to it. `null` scales none.
    pub max_grad_norm: Option<f64>,
    /// How the learning rate changes over the training: `constant`, `linear` or `cosine`, both to a tenth.
    pub schedule: Schedule,
    #[serde(skip)]
    learner: PhantomData<L>,
}

impl<L: OptimizerDefaults> Default for Optimizer<L> {
    fn default() -> Self {
        Self {
            learning_rate: L::LEARNING_RATE,
            weight_decay: L::WEIGHT_DECAY,
            max_grad_norm: L::MAX_GRAD_NORM,
            schedule: L::SCHEDULE,
            learner: PhantomData,
        }
    }
}

impl<L: OptimizerDefaults> Optimizer<L> {
    /// The defaults with another learning rate.
    #[must_use]
    pub fn with_learning_rate(learning_rate: f64) -> Self {
        Self { learning_rate, ..Self::default() }
    }
}

impl<L> Optimizer<L> {
    /// The conditions on its values, each named by its path within the block.
    ///
    /// # Errors
    /// The path of the first value that does not hold, with the reason.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong("learning_rate", "a learning rate is above 0");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return wrong("weight_decay", "a weight decay is 0 or more");
        }
        if self.max_grad_norm.is_some_and(|norm| norm.is_nan() || norm <= 0.0) {
            return wrong("max_grad_norm", "the largest norm of a gradient is above 0; `null` sets no bound");
        }
        Ok(())
    }

    /// The same values for a training that several kinds of settings share.
    #[must_use]
    pub fn untyped(&self) -> Optimizer<()> {
        let Self { learning_rate, weight_decay, max_grad_norm, schedule, .. } = *self;
        Optimizer { learning_rate, weight_decay, max_grad_norm, schedule, learner: PhantomData }
    }

    /// A fresh optimiser for `params`.
    ///
    /// # Errors
    /// When its moments have no room on the device.
    pub fn adam(&self, params: &Params) -> Result<AdamW> {
        AdamW::new(params, self.learning_rate, self.weight_decay, self.max_grad_norm.unwrap_or(f64::INFINITY))
    }

    /// The learning rate of an update, counted from 0, of `updates` in all.
    #[must_use]
    pub fn rate(&self, update: u64, updates: u64) -> f64 {
        self.schedule.at(self.learning_rate, update, updates)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json, to_value};

    use super::*;

    #[derive(Clone, Debug, PartialEq, JsonSchema)]
    struct Learner;

    impl OptimizerDefaults for Learner {
        const LEARNING_RATE: f64 = 0.5;
        const WEIGHT_DECAY: f64 = 0.25;
        const MAX_GRAD_NORM: Option<f64> = Some(2.0);
        const SCHEDULE: Schedule = Schedule::Cosine;
    }

    fn read(value: Value) -> Result<Optimizer<Learner>, serde_json::Error> {
        from_value(value)
    }

    #[test]
    fn a_setting_that_is_left_out_has_the_default_of_the_learner() {
        let wanted = |rate: f64| {
            let block =
                json!({ "learning_rate": rate, "weight_decay": 0.25, "max_grad_norm": 2.0, "schedule": "cosine" });
            assert_eq!(to_value(read(json!({ "learning_rate": rate })).unwrap()).unwrap(), block);
        };
        wanted(0.5);
        wanted(0.125);
        assert_eq!(read(json!({})).unwrap(), Optimizer::default());
        assert_eq!(read(json!({ "max_grad_norm": null })).unwrap().max_grad_norm, None);
        let schema = schemars::schema_for!(Optimizer<Learner>);
        assert_eq!(schema.pointer("/properties/weight_decay/default"), Some(&json!(0.25)));
        assert_eq!(schema.pointer("/properties/schedule/default"), Some(&json!("cosine")));
    }

    #[test]
    fn an_unknown_setting_is_answered_with_all_names() {
        let error = read(json!({ "momentum": 0.9 })).unwrap_err().to_string();
        let names = "expected one of `learning_rate`, `weight_decay`, `max_grad_norm`, `schedule`";
        assert!(error.starts_with("unknown field `momentum`") && error.contains(names), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused_by_their_names() {
        let refused = |change: fn(&mut Optimizer<Learner>)| {
            let mut optimizer = Optimizer::default();
            change(&mut optimizer);
            optimizer.check().unwrap_err().0
        };
        assert_eq!(refused(|o| o.learning_rate = 0.0), "learning_rate");
        assert_eq!(refused(|o| o.learning_rate = f64::NAN), "learning_rate");
        assert_eq!(refused(|o| o.weight_decay = -0.1), "weight_decay");
        assert_eq!(refused(|o| o.weight_decay = f64::INFINITY), "weight_decay");
        assert_eq!(refused(|o| o.max_grad_norm = Some(0.0)), "max_grad_norm");
        assert_eq!(refused(|o| o.max_grad_norm = Some(f64::NAN)), "max_grad_norm");
        Optimizer::<Learner>::default().check().unwrap();
    }

    /// One parameter of value 1 and the loss 10·θ: m̂/(√v̂ + ε) is 1 of any gradient at the first step, so θ falls by
    /// η·(1 + λ·θ); the norm that `descend` returns is that before scaling.
    #[test]
    fn every_setting_reaches_the_optimiser() {
        use candle_core::{Device, Tensor};
        let step = |optimizer: &Optimizer<Learner>| {
            let mut params = Params::default();
            let theta = params.add("theta", &Tensor::new(&[1.0_f64], &Device::Cpu).unwrap()).unwrap();
            let mut adam = optimizer.adam(&params).unwrap();
            adam.learning_rate = optimizer.rate(1, 2);
            let norm = adam.descend(&params, &(&theta * 10.0).unwrap().sum_all().unwrap()).unwrap();
            (norm, adam.max_grad_norm, params.export().unwrap()["theta"].data[0])
        };
        let close = |found: f32, wanted: f64| assert!((f64::from(found) - wanted).abs() < 1e-6, "{found} {wanted}");
        // Half-way down the cosine the rate is ½·(1 + 0.1)·½.
        let (norm, clip, theta) = step(&Optimizer::default());
        assert_eq!((norm, clip), (10.0, 2.0));
        close(theta, 1.0 - 0.275 * 1.25);
        let constant = Optimizer { schedule: Schedule::Constant, max_grad_norm: None, ..Optimizer::default() };
        let (norm, clip, theta) = step(&constant);
        assert_eq!((norm, clip), (10.0, f64::INFINITY));
        close(theta, 1.0 - 0.5 * 1.25);
        let (_, _, theta) = step(&Optimizer { weight_decay: 0.0, ..constant });
        close(theta, 0.5);
    }
}
