//! A reference policy π₀ that a learner is held near: a frozen policy's probabilities in observed states.
//!
//! π₀(a|s) = (1 − φ)·softmax(scores/τ) + φ/|A(s)|, with φ the `floor`: without it KL(π‖π₀) has no bound where π₀ excludes an item.
//! The coefficient of the divergence falls linearly, so that a bad reference is left behind.

use anyhow::{Result, ensure};
use candle_core::{D, Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::advantage::true_advantages;
use super::batch::Batch;
use super::correlation::correlation;
use super::kl_config::KlConfig;
use super::learner::UpdateMetrics;
use crate::artifact::{PolicyFile, World};
use crate::env::{Agent, Episodes, Observation, PolicyAgent, observe, states};
use crate::nn::state_batch::StateBatch;
use crate::nn::{ActorCritic, Expectation, ItemValues, PolicyNetwork, action_log_prob};

/// A frozen policy.
pub struct Reference {
    network: Box<dyn PolicyNetwork>,
    floor: f64,
    temperature: f64,
    items: usize,
    device: Device,
}

impl Reference {
    /// The policy at `reference`, if λ is above 0, for a learner of that `window` on that device.
    ///
    /// # Errors
    /// When none is connected, it is of another catalogue, or it reads more items of a state than the learner does.
    pub fn optional(
        config: &KlConfig,
        policy: Option<&PolicyFile>,
        world: &World,
        window: usize,
        device: &Device,
    ) -> Result<Option<Self>> {
        if config.coef == 0.0 {
            return Ok(None);
        }
        let Some(policy) = policy else {
            anyhow::bail!(
                "`kl.coef` is {}, but no `reference` is connected\nhelp: connect a policy, or set `kl: {{ coef: 0 }}`",
                config.coef
            )
        };
        Self::new(policy, config.floor, config.temperature, world, window, device).map(Some)
    }

    /// That policy with a share `floor` of a uniform one, and its scores over `temperature`.
    ///
    /// # Errors
    /// When it is of another catalogue, or reads more items of a state than the learner's `window`.
    pub fn new(
        policy: &PolicyFile,
        floor: f64,
        temperature: f64,
        world: &World,
        window: usize,
        device: &Device,
    ) -> Result<Self> {
        let network = PolicyAgent::load(policy, world.users(), world.items())?;
        let own = network.config().window;
        ensure!(
            own <= window,
            "the policy at `reference` reads the last {own} items of a state, and this learner's states hold {window}\nhelp: set \
             `network: {{ window: {own} }}`"
        );
        Ok(Self { network, floor, temperature, items: world.items(), device: device.clone() })
    }

    /// log π₀ of what was done in these states, `[N]`; a few states at a time, because a row is as long as the catalogue.
    pub fn action_log_probs(&self, observation: &Observation, actions: &[u32]) -> Result<Vec<f32>> {
        let rows: Vec<usize> = (0..actions.len()).collect();
        let mut all = Vec::with_capacity(actions.len());
        for rows in rows.chunks(256) {
            let observation = observation.take(rows).shortened(self.network.config().window);
            let actions = &actions[rows[0]..][..rows.len()];
            let own = match self.network.item_values(&states(self.network.as_ref(), &observation)?)? {
                ItemValues::Tensor(scores) => {
                    action_log_prob(&(scores / self.temperature)?, actions)?.log_prob.to_vec1::<f32>()?
                }
                ItemValues::Streamed(scores) => scores.log_softmax(self.temperature)?.of_actions(actions)?,
            };
            for (row, own) in own.into_iter().enumerate() {
                let uniform = 1.0 / (self.items - observation.masked(row).len()) as f64;
                // Without a share of the uniform policy no exponential underflows.
                all.push(match self.floor {
                    0.0 => own,
                    floor => ((1.0 - floor) * f64::from(own).exp() + floor * uniform).ln() as f32,
                });
            }
        }
        Ok(all)
    }

    /// log π₀ of every item in these states. Of a masked item it is that of the uniform share, which counts where π is 0.
    pub fn log_probs(&self, observation: &Observation) -> Result<ItemValues> {
        let observation = observation.shortened(self.network.config().window);
        let scores = self.network.item_values(&states(self.network.as_ref(), &observation)?)?;
        let allowed = (0..observation.len()).map(|row| (self.items - observation.masked(row).len()) as f32);
        let uniform = (Tensor::from_iter(allowed, &Device::Cpu)?.recip()? * self.floor)?;
        Ok(match scores {
            ItemValues::Tensor(scores) => {
                let own = (candle_nn::ops::softmax(&(scores / self.temperature)?, D::Minus1)? * (1.0 - self.floor))?;
                let log = own.broadcast_add(&uniform.unsqueeze(1)?)?.log()?;
                ItemValues::Tensor(log.detach().to_device(&self.device)?)
            }
            ItemValues::Streamed(scores) => {
                ItemValues::Streamed(scores.log_softmax(self.temperature)?.floored(self.floor, uniform.to_vec1()?))
            }
        })
    }
}

/// Draws from π ∝ π₀·exp(Q/λ), the policy of values that are held near a reference.
pub struct Guided<'a> {
    /// Q, up to a constant of each state: its logits.
    pub network: &'a ActorCritic,
    /// π₀.
    pub reference: &'a Reference,
    /// λ, above 0.
    pub coef: f64,
}

impl Guided<'_> {
    /// Q and log π of these states, each up to a constant of the state: `log_probs` of π₀.
    pub fn logits(&self, observation: &Observation, log_probs: &ItemValues) -> Result<(ItemValues, ItemValues)> {
        let advantages = self.network.item_values(&states(self.network, observation)?)?;
        let logits = advantages.divided(self.coef)?.plus(log_probs, 1.0)?;
        Ok((advantages, logits))
    }
}

impl Agent for Guided<'_> {
    fn act(&self, episodes: &Episodes, live: &[usize], draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        let observation = observe(episodes, live, self.network.config().window);
        let (_, logits) = self.logits(&observation, &self.reference.log_probs(&observation)?)?;
        let uniforms: Vec<f64> = draws.iter_mut().map(|draw| draw.random()).collect();
        logits.choose(Some(&uniforms))
    }
}

/// max_π Σ_a π(a|s)·Q(s, a) − λ·KL(π‖π₀) = λ·log Σ_a π₀(a|s)·exp(Q(s, a)/λ): `q` of N states, `reference` of log π₀, λ above 0 → `[N]`.
pub fn soft_maximum(q: &ItemValues, reference: &ItemValues, coef: f64) -> Result<Tensor> {
    Ok((q.divided(coef)?.plus(reference, 1.0)?.log_sum_exp()? * coef)?)
}

/// What the reference did in an update.
pub struct ReferenceMetrics {
    /// λ.
    pub coef: f64,
    /// Mean KL(π‖π₀), nats.
    pub divergence: f64,
    /// Share of the states with a divergence above 10⁻³ nats.
    pub share: f64,
    /// Correlation of log π₀(a|s) of what was played with what it was worth beyond its turn in the world.
    pub correlation: f64,
}

impl ReferenceMetrics {
    /// From log π₀ in the states of the played episodes, and the divergences `[N]` there.
    pub fn of(log_probs: &ItemValues, coef: f64, divergences: &Tensor, batch: &Batch, gamma: f64) -> Result<Self> {
        let divergences = divergences.to_vec1::<f32>()?;
        let count = divergences.len().max(1) as f64;
        let log_probs = log_probs.of_actions(&batch.actions)?;
        Ok(Self {
            coef,
            divergence: divergences.iter().map(|&kl| f64::from(kl)).sum::<f64>() / count,
            share: divergences.iter().filter(|&&kl| kl > 1e-3).count() as f64 / count,
            correlation: correlation(&log_probs, &true_advantages(&batch.rewards, &batch.lengths, gamma)),
        })
    }

    /// As curves.
    #[must_use]
    pub fn series(&self) -> UpdateMetrics {
        vec![
            ("kl_coef", self.coef),
            ("reference_kl", self.divergence),
            ("reference_kl_share", self.share),
            ("reference_correlation", self.correlation),
        ]
    }
}

/// KL(π‖π₀) of each state: `logits` of π, `reference` of log π₀ → `[N]`, nats.
pub fn kl_divergence(logits: &ItemValues, reference: &ItemValues) -> Result<Tensor> {
    let [expected, entropy] = logits.expectation(reference)?;
    Ok((expected + entropy)?.neg()?)
}

/// The same with the gradient of π, the network's.
pub fn divergence_of(network: &ActorCritic, states: &StateBatch, reference: &ItemValues) -> Result<Tensor> {
    let Expectation { choice, expected } = network.expectation(states, reference, &vec![0; states.rows()])?;
    Ok((expected + choice.entropy)?.neg()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Repeats;
    use crate::env::cluster_world;
    use crate::nn::Optimizer;
    use crate::nn::expected;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{greedy_returns, small_network};
    use crate::rl::inputs::{OnlineWithDemos, OnlineWithReference};
    use crate::rl::{A2c, Dqn, NetworkConfig, Ppo, Sac};

    /// A policy whose logits are these in every state.
    pub(in crate::rl) fn constant_policy(world: &World, logits: &[f32], window: usize) -> PolicyFile {
        let config = NetworkConfig { window, hidden_size: 4, prior_scale: 0.0, ..NetworkConfig::default() };
        let mut file = config.build(world, 1, &Device::Cpu).unwrap().export().unwrap();
        for (name, array) in &mut file.arrays {
            match name.as_str() {
                "bias" => array.data.copy_from_slice(logits),
                "item_out" => array.data.fill(0.0),
                _ => (),
            }
        }
        PolicyFile::new(file, "rl.bc", world).unwrap()
    }

    #[test]
    fn probabilities_are_mixed_with_uniform_ones_over_what_may_be_shown() {
        let mut world = cluster_world(&[5.0, 4.0], 1, 1, 4, 1);
        let policy = constant_policy(&world, &[0.0, 3.0_f32.ln()], 1);
        let of = |world: &World, floor, temperature| {
            let reference = Reference::new(&policy, floor, temperature, world, 2, &Device::Cpu).unwrap();
            let mut observation = Observation::of(world, 2);
            observation.push(0, &[0], &[5.0], 4, 2);
            reference
                .log_probs(&observation)
                .unwrap()
                .tensor(&Device::Cpu)
                .unwrap()
                .exp()
                .unwrap()
                .to_vec2::<f32>()
                .unwrap()
                .remove(0)
        };
        let close = |found: Vec<f32>, wanted: [f32; 2]| {
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} is not {wanted:?}");
        };
        close(of(&world, 0.2, 1.0), [0.3, 0.7]);
        close(of(&world, 1.0, 1.0), [0.5, 0.5]);
        // Scores over ½ square the odds: 1 to 9.
        close(of(&world, 0.2, 0.5), [0.18, 0.82]);
        world.rules.repeats = Repeats::Masked;
        close(of(&world, 0.2, 1.0), [0.2, 1.0]);
    }

    /// KL(π‖π₀) of tensors.
    fn kl_divergence(logits: &Tensor, reference: &Tensor) -> candle_core::Result<Tensor> {
        let [logits, reference] = [logits, reference].map(|tensor| ItemValues::Tensor(tensor.clone()));
        super::kl_divergence(&logits, &reference).map_err(|error| candle_core::Error::Msg(error.to_string()))
    }

    fn soft_maximum(q: &Tensor, log: &Tensor, coef: f64) -> Result<Tensor> {
        super::soft_maximum(&ItemValues::Tensor(q.clone()), &ItemValues::Tensor(log.clone()), coef)
    }

    #[test]
    fn the_divergence_agrees_with_hand_computed_values_and_finite_differences() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let logits = tensor(&[0.0, 3.0_f64.ln(), 0.5, -0.5]).reshape((2, 2)).unwrap();
        let reference = tensor(&[0.5, 0.5, 0.9, 0.1]).log().unwrap().reshape((2, 2)).unwrap();
        let found = kl_divergence(&logits, &reference).unwrap().to_vec1::<f64>().unwrap();
        let wanted = 0.25 * 0.5_f64.ln() + 0.75 * 1.5_f64.ln();
        assert!((found[0] - wanted).abs() < 1e-12, "{found:?} is not {wanted}");
        let weights = tensor(&[1.0, -0.5]);
        assert_finite_differences(&logits, |logits| (kl_divergence(logits, &reference)? * &weights)?.sum_all());
        let own = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap();
        let none = kl_divergence(&logits, &own).unwrap().to_vec1::<f64>().unwrap();
        assert!(none.iter().all(|kl| kl.abs() < 1e-12), "{none:?}");
    }

    #[test]
    fn the_best_of_what_is_held_near_the_reference_is_the_soft_maximum() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap().reshape((2, 3)).unwrap();
        let q = tensor(&[1.0, 2.0, 4.0, -1.0, 0.5, 0.0]);
        let log = tensor(&[0.5, 0.3, 0.2, 0.1, 0.1, 0.8]).log().unwrap();
        let values =
            |q: &Tensor, log: &Tensor, coef: f64| soft_maximum(q, log, coef).unwrap().to_vec1::<f64>().unwrap();
        let by_hand = |q: [f64; 3], p: [f64; 3], coef: f64| {
            coef * q.iter().zip(p).map(|(q, p)| p * (q / coef).exp()).sum::<f64>().ln()
        };
        let close = |found: &[f64], wanted: [f64; 2]| {
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?} is not {wanted:?}");
        };
        let found = values(&q, &log, 0.7);
        close(
            &found,
            [by_hand([1.0, 2.0, 4.0], [0.5, 0.3, 0.2], 0.7), by_hand([-1.0, 0.5, 0.0], [0.1, 0.1, 0.8], 0.7)],
        );
        // π* ∝ π₀·exp(Q/λ) reaches it, and any other policy less.
        let best = ((&q / 0.7).unwrap() + &log).unwrap();
        let value = |logits: &Tensor| {
            let kl = (kl_divergence(logits, &log).unwrap() * 0.7).unwrap();
            (expected(&q, logits).unwrap() - kl).unwrap().to_vec1::<f64>().unwrap()
        };
        close(&value(&best), [found[0], found[1]]);
        assert!(value(&log).iter().chain(&value(&(&best * 1.3).unwrap())).zip(found.repeat(2)).all(|(a, b)| *a < b));
        // A uniform reference is the entropy bonus less λ·log|A| at each step.
        let uniform = tensor(&[1.0 / 3.0; 6]).log().unwrap();
        let soft = values(&q, &uniform.zeros_like().unwrap(), 0.7);
        close(&values(&q, &uniform, 0.7), [soft[0] - 0.7 * 3.0_f64.ln(), soft[1] - 0.7 * 3.0_f64.ln()]);
        // As λ falls, so does the reference's part.
        close(&values(&q, &log, 1e-10), [4.0, 0.5]);
    }

    /// The mean return of the first updates of a learner that is held near a good reference, and near the reverse of it.
    fn early(learn: impl Fn(PolicyFile) -> crate::artifact::Curves) -> [f64; 2] {
        let good = [2.0, 2.0, 1.5, 1.5, 1.0, 1.0, -2.0, -2.0];
        [1.0, -1.0].map(|sign| {
            let logits: Vec<f32> = good.iter().map(|x| x * sign).collect();
            let curves = learn(constant_policy(&judged(), &logits, 2));
            let metric = |name: &str| -> Vec<f64> {
                curves.0.iter().filter(|point| point.series == name).map(|point| point.value).collect()
            };
            assert!(metric("reference_kl").iter().all(|kl| kl.is_finite() && *kl >= -1e-5));
            assert!(metric("kl_coef").windows(2).all(|pair| pair[1] <= pair[0]));
            let correlations = metric("reference_correlation");
            let mean = correlations.iter().sum::<f64>() / correlations.len() as f64;
            assert!(
                mean * f64::from(sign) > 0.0,
                "a {sign} reference correlates by {mean} with what its items are worth"
            );
            let returns = metric("return");
            returns.iter().sum::<f64>() / returns.len() as f64
        })
    }

    fn judged() -> World {
        cluster_world(&[5.0, 4.0, 3.0, 0.0], 2, 2, 10, 4)
    }

    #[test]
    fn a_good_reference_helps_early_and_its_reverse_hurts_in_each_learner() {
        fn curves<S: pipeline::Stage<Outputs = crate::rl::Outputs>>(
            stage: &S,
            inputs: S::Inputs,
        ) -> crate::artifact::Curves {
            stage.check().unwrap();
            let folder = tempfile::tempdir().unwrap();
            stage.run(inputs, &pipeline::Context::detached(folder.path())).unwrap().curves
        }
        let kl = || KlConfig { coef: 4.0, final_coef: Some(1.0), decay_fraction: 1.0, ..KlConfig::default() };
        let with_demos = |policy| OnlineWithDemos { reference: Some(policy), ..OnlineWithDemos::new(judged()) };
        let alone = |policy| OnlineWithReference { reference: Some(policy), ..OnlineWithReference::new(judged()) };
        let (n_iterations, bc_coef) = (12, 0.0);
        let a2c = A2c {
            n_iterations,
            bc_coef,
            network: small_network(),
            kl: kl(),
            optimizer: Optimizer::with_learning_rate(0.01),
            ..A2c::default()
        };
        let ppo = Ppo {
            n_iterations,
            bc_coef,
            network: small_network(),
            kl: kl(),
            optimizer: Optimizer::with_learning_rate(0.01),
            target_kl: 1.0,
            ..Ppo::default()
        };
        let sac = Sac {
            n_iterations,
            network: small_network(),
            kl: kl(),
            optimizer: Optimizer::with_learning_rate(0.01),
            ..Sac::default()
        };
        let dqn = Dqn { n_iterations, network: small_network(), kl: kl(), ..Dqn::default() };
        for (name, [good, reversed]) in [
            ("rl.a2c", early(|policy| curves(&a2c, with_demos(policy)))),
            ("rl.ppo", early(|policy| curves(&ppo, with_demos(policy)))),
            ("rl.sac", early(|policy| curves(&sac, alone(policy)))),
            ("rl.dqn", early(|policy| curves(&dqn, alone(policy)))),
        ] {
            assert!(good > reversed + 1.0, "{name} returned {good} near a good reference, {reversed} near its reverse");
        }
    }

    #[test]
    fn what_is_served_is_said_to_differ_where_the_reference_decides() {
        let agreement = |coef: f64| {
            let kl = KlConfig { coef, final_coef: Some(coef), ..KlConfig::default() };
            let stage = Dqn {
                n_iterations: 1,
                network: NetworkConfig { prior_scale: 1.0, ..small_network() },
                kl,
                ..Dqn::default()
            };
            let reference = Some(constant_policy(&judged(), &[-2.0, -2.0, 0.0, 0.0, 0.0, 0.0, 2.0, 2.0], 2));
            let inputs = OnlineWithReference { reference, ..OnlineWithReference::new(judged()) };
            let folder = tempfile::tempdir().unwrap();
            let curves =
                pipeline::Stage::run(&stage, inputs, &pipeline::Context::detached(folder.path())).unwrap().curves;
            curves.0.iter().find(|point| point.series == "served_agreement").unwrap().value
        };
        // Twins of a cluster are within rounding of each other, so that even where Q decides not all states agree.
        let (near, far) = (agreement(1000.0), agreement(1e-6));
        assert!(far > near + 0.3, "{near} where the reference decides, {far} where Q does");
    }

    #[test]
    fn as_the_coefficient_falls_the_best_plan_is_reached_whatever_the_reference() {
        // Everybody leaves at the third turn, and 5 + 3 + 5 is the best; the reference prefers what pays 3.
        let world = cluster_world(&[5.0, 3.0], 2, 2, 30, 4);
        let reference = Some(constant_policy(&world, &[-2.0, -2.0, 2.0, 2.0], 2));
        let inputs = OnlineWithReference { reference, ..OnlineWithReference::new(world.clone()) };
        let stage = Sac {
            n_iterations: 150,
            episodes_per_update: 8,
            batch_size: 128,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            kl: KlConfig { coef: 2.0, final_coef: Some(0.02), ..KlConfig::default() },
            ..Sac::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let learned = pipeline::Stage::run(&stage, inputs, &pipeline::Context::detached(folder.path())).unwrap();
        assert_eq!(greedy_returns(&learned.policy, &world), [13.0; 4]);
    }

    #[test]
    fn a_reference_that_reads_more_of_a_state_is_refused() {
        let world = cluster_world(&[5.0, 4.0], 1, 1, 4, 1);
        let policy = constant_policy(&world, &[0.0, 0.0], 3);
        let error = Reference::new(&policy, 0.1, 1.0, &world, 2, &Device::Cpu).err().unwrap().to_string();
        assert!(error.contains("the last 3 items") && error.contains("help: set `network: { window: 3 }`"), "{error}");
        let none = KlConfig { coef: 1.0, ..KlConfig::default() };
        let error = Reference::optional(&none, None, &world, 2, &Device::Cpu).err().unwrap().to_string();
        assert!(error.contains("no `reference` is connected\nhelp: "), "{error}");
    }
}
