//! Weights of demonstrated steps, normalised to mean 1 over all demonstrations.
//!
//! w = w_env^α · w_IRL^(1−α), w_env = exp(A/β), w_IRL = (1/D − 1)^κ (IL-Rec, arXiv 2510.13229), or a simpler scheme.

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, Weights};
use crate::nn::importance_weights::{mixed_weights, normalised};

/// How the weight of a demonstrated step is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// w_env^α · w_IRL^(1−α).
    #[default]
    Mixed,
    /// 1 for each step: the ablation.
    None,
    /// exp(R/(β·σ_R)), R the undiscounted return of the step's whole trajectory and σ_R the deviation of returns.
    ReturnSoftmax,
    /// 1 where the advantage is not negative, else 0.
    Sign,
    /// The probability of the chosen item under the softmax of the model's scores of its candidates; 1 where it gave no scores.
    Confidence,
}

/// Weights of the demonstrated steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WeightingConfig {
    /// How a weight is computed.
    pub scheme: Scheme,
    /// Temperature β, above 0: of w_env = exp(A/β) in units of the discounted return, as IL-Rec's 10 on Steam and 1 on Amazon; of
    /// `return_softmax` in deviations of the return.
    pub advantage_temperature: f64,
    /// κ of w_IRL, 0 or more.
    pub kappa: f64,
    /// α of w = w_env^α · w_IRL^(1−α), in [0, 1]: 1 is AWR, 0 the density ratio; IL-Rec: 0.5 on Steam, 0.25 on Amazon.
    pub alpha: f64,
}

impl Default for WeightingConfig {
    fn default() -> Self {
        Self { scheme: Scheme::Mixed, advantage_temperature: 10.0, kappa: 1.0, alpha: 0.5 }
    }
}

impl WeightingConfig {
    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if !(0.0..=1.0).contains(&self.alpha) {
            return wrong("alpha", "α lies between 0 and 1");
        }
        if !(self.advantage_temperature > 0.0 && self.advantage_temperature.is_finite()) {
            return wrong("advantage_temperature", "a temperature is above 0");
        }
        if !(self.kappa >= 0.0 && self.kappa.is_finite()) {
            return wrong("kappa", "0 or more");
        }
        Ok(())
    }

    /// The weights of all demonstrated steps, in their order, from their `advantages [N]` and the discriminator's `logits [N]`.
    ///
    /// # Errors
    /// When a weight is no number, or none is above 0.
    pub fn weights(&self, demonstrations: &Demonstrations, advantages: &[f32], logits: &[f32]) -> Result<Weights> {
        let mixed = |alpha: f64| mixed_weights(advantages, logits, self.advantage_temperature, self.kappa, alpha);
        let weight = match self.scheme {
            Scheme::Mixed => mixed(self.alpha),
            Scheme::None => vec![1.0; advantages.len()],
            Scheme::ReturnSoftmax => normalised(&self.return_exponents(demonstrations)),
            Scheme::Sign => {
                let sign = |&a: &f32| if a >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
                normalised(&advantages.iter().map(sign).collect::<Vec<f64>>())
            }
            Scheme::Confidence => {
                normalised(&demonstrations.steps().map(|(_, _, choice)| choice.log_confidence()).collect::<Vec<f64>>())
            }
        };
        let (trajectory, step) = demonstrations.steps().map(|(t, s, _)| (t as u32, s as u32)).unzip();
        let weights = Weights {
            trajectory,
            step,
            w_env: mixed(1.0),
            w_irl: mixed(0.0),
            weight,
            demonstrations: demonstrations.digest(),
        };
        let finite = [&weights.w_env, &weights.w_irl, &weights.weight].into_iter().flatten().all(|w| w.is_finite());
        let help = match self.scheme {
            Scheme::Sign => "no step has an advantage of 0 or more: choose another `weights.scheme`",
            _ => "check the rewards and scores of the demonstrations, and whether the discriminator's loss is finite",
        };
        ensure!(finite, "a weight of scheme {:?} is not finite\nhelp: {help}", self.scheme);
        Ok(weights)
    }

    fn return_exponents(&self, demonstrations: &Demonstrations) -> Vec<f64> {
        let returns: Vec<f64> = demonstrations.trajectories.iter().map(|trajectory| trajectory.total()).collect();
        let count = returns.len().max(1) as f64;
        let mean = returns.iter().sum::<f64>() / count;
        let deviation = (returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-6);
        demonstrations.steps().map(|(t, _, _)| (returns[t] - mean) / (self.advantage_temperature * deviation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Context, Stage as _};
    use rand::RngExt;

    use super::*;
    use crate::artifact::{Step, Termination, Trajectory, World};
    use crate::env::{Features, PolicyAgent, cluster_world, play};
    use crate::irl::demo_advantage::advantages;
    use crate::irl::transitions::Transitions;
    use crate::nn::{Optimizer, rng};
    use crate::rl::{BcDataset, BehaviourCloning, NetworkConfig};

    fn step(item: u32, reward: f32) -> Step {
        Step { item, reward, candidates: vec![], scores: vec![], call: String::new() }
    }

    fn three() -> Demonstrations {
        let scored = Step { candidates: vec![7, 1], scores: vec![3.0_f32.ln(), 0.0], ..step(1, 1.0) };
        let first = Trajectory { user: 0, steps: vec![step(0, 1.0), scored], end: Termination::Horizon };
        Demonstrations::new(vec![first, Trajectory { user: 1, steps: vec![step(0, 4.0)], end: Termination::Horizon }])
    }

    fn weight(scheme: Scheme) -> Vec<f32> {
        let weighting = WeightingConfig { scheme, advantage_temperature: 1.0, ..WeightingConfig::default() };
        weighting.weights(&three(), &[0.5, -1.0, 2.0], &[1.0, 0.0, -1.0]).unwrap().weight
    }

    #[test]
    fn each_scheme_has_its_hand_computed_weights_of_mean_one() {
        let close = |found: Vec<f32>, wanted: [f32; 3]| {
            let scale = 3.0 / wanted.iter().sum::<f32>();
            let fits = found.iter().zip(wanted).all(|(f, w)| (f - w * scale).abs() < 1e-5);
            assert!(fits, "{found:?} for {wanted:?} times {scale}");
        };
        close(weight(Scheme::None), [1.0; 3]);
        close(weight(Scheme::Sign), [1.0, 0.0, 1.0]);
        close(weight(Scheme::Confidence), [1.0, 0.25, 1.0]);
        // Returns 2 and 4: one deviation on either side of the mean.
        close(weight(Scheme::ReturnSoftmax), [(-1.0_f32).exp(), (-1.0_f32).exp(), 1.0_f32.exp()]);
        close(weight(Scheme::Mixed), [0.75_f32.exp(), (-0.5_f32).exp(), 0.5_f32.exp()]);
    }

    #[test]
    fn no_weight_is_infinite_and_settings_are_refused_by_their_names() {
        let error = WeightingConfig { scheme: Scheme::Sign, ..WeightingConfig::default() }.weights(
            &three(),
            &[-1.0; 3],
            &[0.0; 3],
        );
        assert!(error.unwrap_err().to_string().contains("help: no step has an advantage"));
        assert_eq!(WeightingConfig { alpha: 1.5, ..WeightingConfig::default() }.check().unwrap_err().0, "alpha");
        assert_eq!(
            WeightingConfig { advantage_temperature: 0.0, ..WeightingConfig::default() }.check().unwrap_err().0,
            "advantage_temperature"
        );
        assert_eq!(WeightingConfig { kappa: -1.0, ..WeightingConfig::default() }.check().unwrap_err().0, "kappa");
        WeightingConfig::default().check().unwrap();
    }

    /// Users never leave, and the clusters' rewards are 5 to 1. Half of the demonstrations show the best items, half show random ones:
    /// weighted behaviour cloning beats the unweighted one.
    #[test]
    fn on_a_mixture_of_optimal_and_random_demonstrations_weighted_beats_unweighted() {
        let mut world = cluster_world(&[5.0, 4.0, 3.0, 2.0, 1.0], 2, 1, 10, 4);
        world.rules.distance_threshold = None;
        let mut draw = rng(&[7]);
        let mut trajectory = |best: bool| {
            let steps = (0..10).map(|_| {
                let item = if best { draw.random_range(0..2) } else { draw.random_range(0..10) };
                step(item, world.reward(0, item))
            });
            Trajectory { user: 0, steps: steps.collect(), end: Termination::Horizon }
        };
        let demonstrations = Demonstrations::new((0..12).map(|k| trajectory(k % 2 == 0)).collect());
        let pairs = BcDataset::new(&demonstrations, None, &world, 1).unwrap();
        let features = Features::new(&world);
        let steps = Transitions::demonstrated(&pairs, &demonstrations, &world);
        let rows = features.steps(&steps.observation, &steps.actions, &steps.terminal).unwrap();
        let advantages = advantages(&rows, &demonstrations, &world.rules, 0.0, 1).unwrap();
        let copy = |scheme: Scheme| {
            let weighting =
                WeightingConfig { scheme, alpha: 1.0, advantage_temperature: 0.5, ..WeightingConfig::default() };
            let weights = weighting.weights(&demonstrations, &advantages, &vec![0.0; advantages.len()]).unwrap();
            mean_return(&world, &demonstrations, weights)
        };
        let (unweighted, weighted) = (copy(Scheme::None), copy(Scheme::Mixed));
        assert!(weighted > unweighted + 3.0, "{weighted} with weights, {unweighted} without, of 50");
    }

    type Inputs = <BehaviourCloning as pipeline::Stage>::Inputs;

    fn mean_return(world: &World, demonstrations: &Demonstrations, weights: Weights) -> f64 {
        let folder = tempfile::tempdir().unwrap();
        let cloning = BehaviourCloning {
            n_epochs: 60,
            optimizer: Optimizer::with_learning_rate(0.02),
            network: NetworkConfig {
                window: 1,
                hidden_size: 8,
                prior_scale: 0.0,
                similarity_penalty: 0.0,
                ..NetworkConfig::default()
            },
            ..BehaviourCloning::default()
        };
        let inputs = Inputs { weights: Some(weights), ..Inputs::new(world.clone(), demonstrations.clone()) };
        let policy = cloning.run(inputs, &Context::detached(folder.path())).unwrap().policy;
        let network = PolicyAgent::load(&policy, world.users(), world.items()).unwrap();
        let played = play(world, &[0; 50], &PolicyAgent { network: &network, sample: true }, 3).unwrap();
        (0..50).flat_map(|e| played.rewards(e)).map(|&r| f64::from(r)).sum::<f64>() / 50.0
    }
}
