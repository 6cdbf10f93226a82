//! The discriminator as a setting of every adversarial stage (`irl` and `rl.ilrec`), with what keeps its training stable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Optimizer, OptimizerDefaults, Schedule};

/// How the discriminator learns. Left out: a gradient penalty, which needs second derivatives that candle has not; the spectral
/// norm bounds the slope in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiscriminatorSettings {
    /// Gradient steps a round. When absent 10 in an irl stage, which takes at least 1, and 2 in `rl.ilrec`, whose rounds are many
    /// and short and where 0 leaves the discriminator as it began.
    pub n_updates: Option<u64>,
    /// Demonstrated and generated steps of a gradient step, as many of each.
    pub batch_size: usize,
    /// Rounds of generated steps that are kept to learn from.
    pub buffer_rounds: usize,
    /// AdamW and its learning rate, which changes from round to round.
    pub optimizer: Optimizer<DiscriminatorSettings>,
    /// ε: targets are 1 − ε and ε instead of 1 and 0, in [0, ½); 0 for exact density ratios, which a small sample seldom supports.
    pub label_smoothing: f64,
    /// Logits are cut to ± this where a reward or a weight is made of them; what is learned from is never cut.
    pub logit_clip: f64,
    /// Width of a hidden layer.
    pub hidden_size: usize,
    /// Hidden layers, from 1; the networks of the library `imitation` have 2.
    pub n_layers: usize,
    /// Whether each layer is divided by its largest singular value (Miyato et al. 2018): a smoother, less sure discriminator.
    pub spectral_norm: bool,
    /// Whether demonstrated steps count as they were last weighed (ŵ of IL-Rec) instead of 1 each, as its code has it.
    pub weighted: bool,
    /// Once more than this share of steps is told apart, an irl stage ends with that round and `rl.ilrec` teaches no further in it: a
    /// surer discriminator teaches nothing.
    pub max_accuracy: f64,
    /// Numbers in an item's text vector, where `items` is connected.
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
    /// What no type can say.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if !(0.0..0.5).contains(&self.label_smoothing) {
            return wrong("label_smoothing", "smoothing lies between 0 and ½");
        }
        if self.batch_size == 0 {
            return wrong("batch_size", "a batch holds at least one step of each kind");
        }
        if self.buffer_rounds == 0 {
            return wrong("buffer_rounds", "the last round's steps at least are learned from");
        }
        if self.hidden_size == 0 {
            return wrong("hidden_size", "a layer has at least one unit");
        }
        if self.n_layers == 0 {
            return wrong("n_layers", "a discriminator has at least one hidden layer");
        }
        if self.text_embedding_dim == 0 {
            return wrong("text_embedding_dim", "a text's vector has at least one number");
        }
        self.optimizer.check().map_err(|(path, message)| (format!("optimizer.{path}"), message))?;
        if !(self.logit_clip > 0.0 && self.logit_clip.is_finite()) {
            return wrong("logit_clip", "a bound is above 0");
        }
        if self.max_accuracy.is_nan() || self.max_accuracy <= 0.0 {
            return wrong("max_accuracy", "a share above 0; above 1 nothing ends early");
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
