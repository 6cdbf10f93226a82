//! Settings of the discriminator and of its training, shared by all adversarial stages (`irl.*` and `rl.ilrec`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::{Optimizer, OptimizerDefaults, Schedule};

/// The discriminator and its training. Not implemented: a gradient penalty, which needs second derivatives that candle lacks;
/// `spectral_norm` bounds the slope instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiscriminatorSettings {
    /// Gradient steps of the discriminator in each round. Default: 10 in `irl.*` (at least 1), 2 in `rl.ilrec`, whose rounds are many
    /// and short; there 0 leaves the discriminator at its initial parameters.
    pub n_updates: Option<u64>,
    /// Demonstrated steps of a gradient step, and as many generated steps.
    pub batch_size: usize,
    /// Rounds of generated steps in the replay buffer.
    pub buffer_rounds: usize,
    /// AdamW and its learning rate, which changes from round to round.
    pub optimizer: Optimizer<DiscriminatorSettings>,
    /// Label smoothing ε in [0, ½): targets are 1 − ε and ε instead of 1 and 0. With 0 the optimum is the exact density ratio, which
    /// a small sample seldom supports.
    pub label_smoothing: f64,
    /// Bound of |logit| where a reward or a weight is computed from it; the loss uses unclipped logits. `irl.airl` adds ln I for catalogues
    /// of I items beyond 8,192, because its logit holds −log π, which is ln I for a uniform policy.
    pub logit_clip: f64,
    /// Units of a hidden layer.
    pub hidden_size: usize,
    /// Number of hidden layers, at least 1; the library `imitation`: 2.
    pub n_layers: usize,
    /// Whether each weight matrix is divided by its largest singular value (Miyato et al. 2018), for a smoother discriminator.
    pub spectral_norm: bool,
    /// Whether the loss weighs demonstrated steps by their last weights (ŵ in IL-Rec's paper) instead of 1 each (IL-Rec's code).
    pub weighted: bool,
    /// Largest accuracy of the discriminator. Above it `irl.*` ends after the round, and `rl.ilrec` skips the remaining updates of the
    /// round: a saturated discriminator gives no useful reward. A value above 1 disables the limit.
    pub max_accuracy: f64,
    /// Size of an item's text embedding, where `items` is connected.
    pub text_embedding_dim: usize,
}

impl OptimizerDefaults for DiscriminatorSettings {
    const LEARNING_RATE: f64 = 0.001;
    const WEIGHT_DECAY: f64 = 0.01;
    const MAX_GRAD_NORM: Option<f64> = Some(1.0);
    const SCHEDULE: Schedule = Schedule::Constant;
}

impl Default for DiscriminatorSettings {
    fn default() -> Self {
        Self {
            n_updates: None,
            batch_size: 128,
            buffer_rounds: 5,
            optimizer: Optimizer::default(),
            label_smoothing: 0.1,
            logit_clip: 10.0,
            hidden_size: 64,
            n_layers: 1,
            spectral_norm: false,
            weighted: false,
            max_accuracy: 0.95,
            text_embedding_dim: 16,
        }
    }
}

impl DiscriminatorSettings {
    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if !(0.0..0.5).contains(&self.label_smoothing) {
            return wrong("label_smoothing", "label smoothing lies between 0 and ½");
        }
        if self.batch_size == 0 {
            return wrong("batch_size", "a batch holds at least one step of each kind");
        }
        if self.buffer_rounds == 0 {
            return wrong("buffer_rounds", "the buffer holds at least the last round");
        }
        if self.hidden_size == 0 {
            return wrong("hidden_size", "a layer has at least one unit");
        }
        if self.n_layers == 0 {
            return wrong("n_layers", "a discriminator has at least one hidden layer");
        }
        if self.text_embedding_dim == 0 {
            return wrong("text_embedding_dim", "a text embedding has at least one number");
        }
        self.optimizer.check().map_err(|(path, message)| (format!("optimizer.{path}"), message))?;
        if !(self.logit_clip > 0.0 && self.logit_clip.is_finite()) {
            return wrong("logit_clip", "a bound is above 0");
        }
        if self.max_accuracy.is_nan() || self.max_accuracy <= 0.0 {
            return wrong("max_accuracy", "an accuracy above 0; above 1 it is no limit");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_type_can_say_is_refused_by_its_own_name() {
        let refused = |change: fn(&mut DiscriminatorSettings)| {
            let mut settings = DiscriminatorSettings::default();
            change(&mut settings);
            settings.check().unwrap_err().0
        };
        assert_eq!(refused(|s| s.label_smoothing = 0.5), "label_smoothing");
        assert_eq!(refused(|s| s.batch_size = 0), "batch_size");
        assert_eq!(refused(|s| s.buffer_rounds = 0), "buffer_rounds");
        assert_eq!(refused(|s| s.hidden_size = 0), "hidden_size");
        assert_eq!(refused(|s| s.n_layers = 0), "n_layers");
        assert_eq!(refused(|s| s.text_embedding_dim = 0), "text_embedding_dim");
        assert_eq!(refused(|s| s.optimizer.learning_rate = 0.0), "optimizer.learning_rate");
        assert_eq!(refused(|s| s.logit_clip = 0.0), "logit_clip");
        assert_eq!(refused(|s| s.max_accuracy = f64::NAN), "max_accuracy");
        DiscriminatorSettings::default().check().unwrap();
    }
}
