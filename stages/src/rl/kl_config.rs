//! The divergence from a reference policy as a setting of learners, and the schedule of its coefficient.

use pipeline::Requirement;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validation::{self, Validation};
use crate::nn::schedule::linear;

/// The divergence from the policy at `reference`, as a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KlConfig {
    /// λ: coefficient of KL(π‖π₀) at the first iteration, 0 or more; 0 turns it off. In units of reward per nat where values are learned
    /// (`rl.sac`, `rl.dqn`), else of the loss per nat (`rl.a2c`, `rl.ppo`, `rl.group`).
    pub coef: f64,
    /// λ once `decay_fraction` of the iterations are over, from 0 to `coef`; by default a twentieth of `coef`. Equal to `coef` it stays.
    pub final_coef: Option<f64>,
    /// Fraction of the iterations over which λ falls linearly, in [0, 1].
    pub decay_fraction: f64,
    /// φ: share of a uniform policy in π₀, above 0 and at most 1; 1 makes π₀ uniform.
    pub floor: f64,
    /// τ: the scores of the policy at `reference` are divided by it, above 0.
    pub temperature: f64,
}

impl Default for KlConfig {
    fn default() -> Self {
        Self { coef: 0.0, final_coef: None, decay_fraction: 0.5, floor: 0.05, temperature: 1.0 }
    }
}

impl KlConfig {
    /// Whether it is as if it were not there; then it is in no key.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// What no type can say.
    pub fn check(&self) -> Validation {
        validation::coefficient("coef", self.coef)?;
        validation::coefficient("final_coef", self.final_coef())?;
        validation::fraction("decay_fraction", self.decay_fraction)?;
        validation::fraction("floor", self.floor)?;
        validation::positive("floor", self.floor, "above 0: the divergence from what is never done has no bound")?;
        validation::positive("temperature", self.temperature, "a temperature is above 0")?;
        validation::finite("temperature", self.temperature)?;
        if self.coef == 0.0 && !self.is_off() {
            return Err(("coef".to_owned(), "it is 0, so that the other settings of `kl` do nothing".to_owned()));
        }
        if self.final_coef() > self.coef {
            return Err(("final_coef".to_owned(), format!("at most `coef`, which is {}: λ falls", self.coef)));
        }
        Ok(())
    }

    /// Whether `reference` is connected if and only if it is used.
    #[must_use]
    pub fn requirement(&self) -> Requirement {
        let used = self.coef > 0.0;
        Requirement {
            setting: "kl.coef",
            port: "reference",
            connected: used,
            why: if used {
                format!("it is {}, the coefficient of the divergence from a reference policy", self.coef)
            } else {
                "it is 0, so that no reference policy is used".to_owned()
            },
            help: if used {
                "connect a policy, such as `rl.bc` of a language model's demonstrations, or set `kl: { coef: 0 }`"
            } else {
                "set `kl: { coef: 1 }`, or remove the input"
            },
        }
    }

    /// λ at the end.
    #[must_use]
    pub fn final_coef(&self) -> f64 {
        self.final_coef.unwrap_or(self.coef / 20.0)
    }

    /// λ at an iteration of so many.
    #[must_use]
    pub fn coef_at(&self, iteration: u64, iterations: u64) -> f64 {
        let until = (iterations as f64 * self.decay_fraction) as u64;
        linear(self.coef, self.final_coef(), iteration, until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rl::{A2c, Dqn, Ppo, Sac};

    #[test]
    fn the_coefficient_falls_and_settings_are_refused_by_their_path() {
        let config = KlConfig { coef: 1.0, final_coef: Some(0.5), decay_fraction: 0.5, ..KlConfig::default() };
        assert_eq!([0, 2, 4, 9].map(|k| config.coef_at(k, 8)), [1.0, 0.75, 0.5, 0.5]);
        assert_eq!((config.requirement().connected, KlConfig::default().requirement().connected), (true, false));
        let refused = |config: KlConfig| config.check().unwrap_err().0;
        assert_eq!(refused(KlConfig { coef: -1.0, ..config.clone() }), "coef");
        assert_eq!(refused(KlConfig { final_coef: Some(f64::NAN), ..config.clone() }), "final_coef");
        assert_eq!(refused(KlConfig { final_coef: Some(1.5), ..config.clone() }), "final_coef");
        assert_eq!(refused(KlConfig { floor: 0.5, ..KlConfig::default() }), "coef");
        assert_eq!(KlConfig { coef: 0.5, ..KlConfig::default() }.final_coef(), 0.025);
        assert_eq!(refused(KlConfig { decay_fraction: 2.0, ..config.clone() }), "decay_fraction");
        assert_eq!(refused(KlConfig { floor: 0.0, ..config.clone() }), "floor");
        assert_eq!(refused(KlConfig { temperature: 0.0, ..config }), "temperature");
    }

    #[test]
    fn without_a_coefficient_it_is_in_no_config() {
        for config in [
            serde_json::to_value(A2c::default()).unwrap(),
            serde_json::to_value(Ppo::default()).unwrap(),
            serde_json::to_value(Sac::default()).unwrap(),
            serde_json::to_value(Dqn::default()).unwrap(),
        ] {
            assert!(config.get("kl").is_none() && config.get("gamma").is_some());
        }
        let on = Sac { kl: KlConfig { coef: 0.5, ..KlConfig::default() }, ..Sac::default() };
        assert_eq!(serde_json::to_value(on).unwrap()["kl"]["coef"], 0.5);
    }
}
