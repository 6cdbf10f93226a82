//! The entropy bonus of actor-critics, plain or weighted by the advantage.
//!
//! c_H·mean(H)  or  c_H·mean(stop(Â)·H), Â the normalised advantage of the step, cut to ±3 in the product
//!
//! The second is the practical form of information-bottleneck regularisation (IBRO, arXiv 2507.18391); the cut is ours. It adds no
//! entropy on average, because Â has mean 0: it moves entropy to the states whose steps turn out better than the critic expects. Where
//! the critic is exact, E_a\[Â\] = 0 in every state, H(s) does not depend on a, and the term has no gradient on average: what acts is
//! the critic's error, and the cut. Left out: the bottleneck's own estimate of how much each step matters, and its bound.

use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::correlation::correlation;
use super::learner::UpdateMetrics;

/// |Â| in the product is at most this.
const LARGEST: f32 = 3.0;

/// What the entropy of a step is multiplied by in the bonus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntropyBy {
    /// By 1: the plain bonus.
    #[default]
    Mean,
    /// By the normalised advantage of the step, cut to ±3 (IBRO).
    Advantage,
}

impl EntropyBy {
    /// Whether it is the plain bonus, which is left out of a stage's key.
    #[must_use]
    pub fn is_mean(&self) -> bool {
        *self == Self::Mean
    }

    /// The bonus without its weight: `entropy [S]`, `advantage [S]` → scalar; the advantage is a constant.
    pub fn bonus(self, entropy: &Tensor, advantage: &Tensor) -> candle_core::Result<Tensor> {
        let cut = f64::from(LARGEST);
        match self {
            Self::Mean => entropy.mean_all(),
            Self::Advantage => (entropy * advantage.detach().clamp(-cut, cut)?)?.mean_all(),
        }
    }

    /// What the weighted bonus did in an update, from `entropy [S]`, `advantage [S]` and the `truth [S]` of these steps, see
    /// [`true_advantages`](super::advantage::true_advantages): nothing of the plain one.
    #[must_use]
    pub fn series(self, entropy: &[f32], advantage: &[f32], truth: impl FnOnce() -> Vec<f32>) -> UpdateMetrics {
        if self.is_mean() {
            return vec![];
        }
        let terms: Vec<f32> = entropy.iter().zip(advantage).map(|(h, a)| h * a.clamp(-LARGEST, LARGEST)).collect();
        let share = |holds: fn(f32) -> bool, of: &[f32]| {
            of.iter().filter(|&&x| holds(x)).count() as f64 / of.len().max(1) as f64
        };
        vec![
            ("entropy_bonus", terms.iter().map(|&x| f64::from(x)).sum::<f64>() / terms.len().max(1) as f64),
            ("entropy_bonus_share", share(|term| term != 0.0, &terms)),
            ("entropy_bonus_cut", share(|a| a.abs() > LARGEST, advantage)),
            ("entropy_bonus_correlation", correlation(&terms, &truth())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use pipeline::{Context, Stage as _};

    use super::*;
    use crate::artifact::World;
    use crate::env::{Observation, PolicyAgent, cluster_world, states};
    use crate::nn::action_log_prob;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::inputs::OnlineWithDemos;
    use crate::rl::{A2c, IlRec, NetworkConfig, Ppo};

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    /// Two states of a softmax over two arms: H(p) with p = ¾ and ½.
    #[test]
    fn two_arms_agree_with_hand_computed_values_and_gradients() {
        let logits = Var::from_tensor(&tensor(&[3.0_f64.ln(), 0.0, 0.0, 0.0]).reshape((2, 2)).unwrap()).unwrap();
        let advantage = tensor(&[2.0, -5.0]);
        let entropy = action_log_prob(&logits, &[0, 1]).unwrap().entropy;
        let bonus = EntropyBy::Advantage.bonus(&entropy, &advantage).unwrap();
        let [first, second] = [-(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln()), 2.0_f64.ln()];
        let wanted = (2.0 * first - 3.0 * second) / 2.0;
        let found = bonus.to_scalar::<f64>().unwrap();
        assert!((found - wanted).abs() < 1e-12, "−5 counts as −3: {found} for {wanted}");
        // ∂H/∂z₀ = −p₀·p₁·(z₀ − z₁), times Â/S = 1; where both arms are equally likely it is 0.
        let gradients = bonus.backward().unwrap();
        let gradient = gradients.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let slope = -0.75 * 0.25 * 3.0_f64.ln();
        for (found, wanted) in gradient.iter().zip([slope, -slope, 0.0, 0.0]) {
            assert!((found - wanted).abs() < 1e-12, "{gradient:?}");
        }
        assert_finite_differences(&logits, |z| {
            EntropyBy::Advantage.bonus(&action_log_prob(z, &[0, 1])?.entropy, &advantage)
        });
    }

    #[test]
    fn an_advantage_of_one_gives_the_bytes_of_the_plain_bonus() {
        let logits = Var::from_tensor(&crate::nn::Init::new(5).normal(&[7, 3], 1.0).unwrap()).unwrap();
        let ones = Tensor::ones(7, logits.dtype(), &Device::Cpu).unwrap();
        let of = |by: EntropyBy| {
            let bonus = by.bonus(&action_log_prob(&logits, &[0; 7]).unwrap().entropy, &ones).unwrap();
            let gradient = bonus.backward().unwrap().get(&logits).unwrap().flatten_all().unwrap();
            let bits = |x: &Tensor| {
                x.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            (bits(&bonus.unsqueeze(0).unwrap()), bits(&gradient))
        };
        assert_eq!(of(EntropyBy::Advantage), of(EntropyBy::Mean));
    }

    #[test]
    fn its_series_agree_with_hand_computed_values() {
        assert_eq!(EntropyBy::Mean.series(&[1.0], &[1.0], || unreachable!()), vec![]);
        // Terms 2, −6 (cut) and 0, with truths that lie on their line.
        let found = EntropyBy::Advantage.series(&[1.0, 2.0, 3.0], &[2.0, -4.0, 0.0], || vec![1.0, -3.0, 0.0]);
        let wanted = [
            ("entropy_bonus", -4.0 / 3.0),
            ("entropy_bonus_share", 2.0 / 3.0),
            ("entropy_bonus_cut", 1.0 / 3.0),
            ("entropy_bonus_correlation", 1.0),
        ];
        for ((name, value), (wanted_name, wanted)) in found.into_iter().zip(wanted) {
            assert!(name == wanted_name && (value - wanted).abs() < 1e-9, "{name} {value}");
        }
    }

    #[test]
    fn the_plain_bonus_is_in_no_key() {
        let config = |by: EntropyBy| serde_json::to_value(A2c { entropy_by: by, ..A2c::default() }).unwrap();
        assert_eq!(config(EntropyBy::Mean).get("entropy_by"), None);
        assert_eq!(config(EntropyBy::Advantage)["entropy_by"], "advantage");
        for keyed in [serde_json::to_value(Ppo::default()), serde_json::to_value(IlRec::default())] {
            assert_eq!(keyed.unwrap().get("entropy_by"), None);
        }
    }

    /// Mean entropy of the policy in the first state of each kind of user: of those who pay 5 for everything, and of those who pay 1.
    fn entropies(entropy_by: EntropyBy, seed: u64) -> [f64; 2] {
        let world = two_kinds_of_users();
        let config = A2c {
            n_iterations: 150,
            episodes_per_update: 32,
            entropy_coef: 0.03,
            entropy_by,
            // A critic that learns would soon expect 5 of the ones and 1 of the others.
            value_coef: 0.0,
            bc_coef: 0.0,
            network: NetworkConfig { window: 1, hidden_size: 16, prior_scale: 2.0, ..NetworkConfig::default() },
            seed,
            ..A2c::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let inputs = OnlineWithDemos::new(world.clone());
        let policy = config.run(inputs, &Context::detached(folder.path())).unwrap().policy;
        let network = PolicyAgent::load(&policy, world.users(), world.items()).unwrap();
        let mut observation = Observation::of(&world, 1);
        for user in 0..world.users() as u32 {
            observation.push(user, &[], &[], world.rules.horizon, world.items() as u32);
        }
        let logits = network.logits(&states(&*network, &observation).unwrap()).unwrap();
        let entropy = action_log_prob(&logits, &vec![0; world.users()]).unwrap().entropy.to_vec1::<f32>().unwrap();
        let mean = |kind: usize| entropy.iter().skip(kind).step_by(2).map(|&h| f64::from(h)).sum::<f64>() / 4.0;
        [mean(0), mean(1)]
    }

    /// Even users pay 5 for every item, odd ones 1; nobody leaves, and no item is better than another.
    fn two_kinds_of_users() -> World {
        let mut world = cluster_world(&[1.0; 6], 1, 1, 4, 8);
        world.rules.distance_threshold = None;
        let items = world.items();
        for user in 0..8 {
            world.user_vectors.data[user * items + user % 2] = 1.0;
            world.rewards_mut().data[user * items..][..items].fill(if user % 2 == 0 { 5.0 } else { 1.0 });
        }
        world
    }

    /// Planted: no action is better than another, so that only the bonus has a gradient on average. Its advantage is above 0 for users who
    /// pay much and below 0 for those who pay little: it takes entropy from the latter and none from the former. The plain bonus
    /// leaves both as they were.
    #[test]
    fn entropy_moves_to_the_states_that_turn_out_better_than_expected() {
        const SEEDS: u64 = 10;
        let gap = |by: EntropyBy| -> Vec<f64> {
            (0..SEEDS).map(|seed| entropies(by, seed)).map(|[much, little]| much - little).collect()
        };
        let (weighted, plain) = (gap(EntropyBy::Advantage), gap(EntropyBy::Mean));
        let paired: Vec<f64> = weighted.iter().zip(&plain).map(|(w, p)| w - p).collect();
        let count = SEEDS as f64;
        let mean = paired.iter().sum::<f64>() / count;
        let deviation = (paired.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
        // Student's 97.5 % quantile of 9 degrees of freedom.
        let low = mean - 2.262 * deviation / count.sqrt();
        assert!(low > 0.0, "{mean:.3}, at least {low:.3} nats: weighted {weighted:.3?}, plain {plain:.3?}");
    }
}
