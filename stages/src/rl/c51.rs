//! Categorical deep Q-learning: what is learned is the distribution of returns over 51 atoms, and its mean is acted on.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  Z(s, a) = z_k with chance p_k(s, a), z_k from V_min to V_max;  Q = Σ_k z_k·p_k
//! a* = argmax_a Q(s_{t+n}, a);  m = Φ(Σ_{k<n} γᵏ r_{t+k} + γⁿ·Z̄(s_{t+n}, a*));  L = −mean(Σ_k m_k·log p_k(s, a))
//!
//! Bellemare et al. 2017 (*A distributional perspective on reinforcement learning*, arXiv 1707.06887, algorithm 1); Φ shares what
//! falls between two atoms. a* is chosen by the network that learns and priced by the slow copy, as in `rl.dqn` (van Hasselt
//! et al. 2016); episodes, exploration and replay are those of `rl.dqn`, too. Published: 51 atoms from −10 to 10, γ 0.99, ε
//! falling to 0.01, Adam with 2.5e-4. Here the ends are the smallest and the largest return that the training world's
//! rewards allow, unless they are set. Left out: noisy networks, priorities, dueling.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::{D, Tensor};
use pipeline::{Context, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::epsilon_greedy::EpsilonGreedy;
use super::inputs::Online;
use super::learner::{Modules, TrainingPlan, UpdateMetrics, train};
use super::mixed_reward::MixedReward;
use super::replay_buffer::{ReplayBuffer, Transitions};
use super::validation::{self, Validation};
use super::{NetworkConfig, Outputs, PolicyLearner, target_network};
use crate::artifact::{Array, TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::categorical::{Categorical, Support};
use crate::nn::schedule::{linear, to_a_tenth};
use crate::nn::{AdamW, PolicyNetwork, device, rng};

/// `rl.c51`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct C51 {
    /// Rounds; each plays `episodes` whole episodes and takes `gradient_steps`.
    pub iterations: u64,
    /// Episodes a round.
    pub episodes: usize,
    /// Gradient steps a round.
    pub gradient_steps: u64,
    /// Transitions of a gradient step.
    pub batch_size: usize,
    /// Episodes that the replay keeps.
    pub replay_episodes: usize,
    /// Atoms of a distribution, at least 2; the paper's: 51. Each item has as many outputs, so a large catalogue costs them all.
    pub atoms: usize,
    /// V_min, the return of the first atom; the smallest that the world's rewards allow where absent.
    pub lowest_return: Option<f64>,
    /// V_max, the return of the last atom; the largest that the world's rewards allow where absent. Set both where `omega` is
    /// above 0 and the learned reward is on another scale.
    pub highest_return: Option<f64>,
    /// Discount γ, in [0, 1]; 0.5 by default, as in `rl.dqn`.
    pub gamma: f64,
    /// Steps n before the target network takes over.
    pub n_step: usize,
    /// Gradient steps between two renewals of the target network.
    pub target_period: u64,
    /// Share of random items at first, in [0, 1].
    pub epsilon_first: f64,
    /// Share of random items from `epsilon_until` on, in [0, 1].
    pub epsilon_last: f64,
    /// Share of the rounds over which the first falls to the last in a straight line, in [0, 1].
    pub epsilon_until: f64,
    /// AdamW's step size, falling linearly to a tenth over the training.
    pub learning_rate: f64,
    /// Share ω of r_IRL in the reward, in [0, 1].
    pub omega: f64,
    /// Largest norm of a gradient, of the tilt and of the distributions each.
    pub clip: f64,
    /// The network whose logits tilt the distributions; `prior_scale: 1` starts them at the order of the world's own rewards.
    pub network: NetworkConfig,
    /// Rounds between two checkpoints.
    pub checkpoint_every: u64,
    /// Seed of the weights, the users, the draws and the batches.
    pub seed: u64,
}

impl Default for C51 {
    fn default() -> Self {
        Self {
            iterations: 300,
            episodes: 16,
            gradient_steps: 8,
            batch_size: 128,
            replay_episodes: 2000,
            atoms: 51,
            lowest_return: None,
            highest_return: None,
            gamma: 0.5,
            n_step: 1,
            target_period: 40,
            epsilon_first: 0.5,
            epsilon_last: 0.02,
            epsilon_until: 0.5,
            learning_rate: 0.002,
            omega: 0.0,
            clip: 1.0,
            network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
            checkpoint_every: 25,
            seed: 0,
        }
    }
}

impl Stage for C51 {
    const KIND: &'static str = "rl.c51";
    /// 1: first.
    /// 2: gradients are summed in parts, for threads, so they round otherwise.
    /// 3: means over the catalogue are fused, so sums round otherwise.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "train a policy by categorical deep Q-learning on world and learned reward";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = Online;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::discount("gamma", self.gamma)?;
        validation::fraction("omega", self.omega)?;
        validation::epsilon(self.epsilon_first, self.epsilon_last, self.epsilon_until)?;
        validation::episodes(self.episodes)?;
        validation::gradient_steps(self.gradient_steps)?;
        validation::batch_size(self.batch_size)?;
        validation::replay_episodes(self.replay_episodes)?;
        validation::at_least_one("atoms", self.atoms.saturating_sub(1), "a distribution has at least two atoms")?;
        for (path, end) in [("lowest_return", self.lowest_return), ("highest_return", self.highest_return)] {
            validation::finite(path, end.unwrap_or(0.0))?;
        }
        if let (Some(low), Some(high)) = (self.lowest_return, self.highest_return) {
            validation::positive("highest_return", high - low, "the highest return is above the lowest")?;
        }
        validation::n_step(self.n_step)?;
        validation::target_period(self.target_period)?;
        validation::training(self.learning_rate, self.clip, self.checkpoint_every, &self.network)
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega).into_iter().collect()
    }

    fn run(&self, inputs: Online, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let support = self.support(world)?;
        let build =
            || Categorical::new(self.network.build(world, self.seed, &device)?, support, self.seed.wrapping_add(1));
        let (online, target) = (build()?, build()?);
        let (tilt, atoms) = online.params();
        let adam = |params| AdamW::new(params, self.learning_rate, 0.0, self.clip);
        let mut learner = Learner {
            config: self,
            world,
            reward: MixedReward::new(self.omega, inputs.reward.as_ref(), world, self.network.window)?,
            tilt_adam: adam(tilt)?,
            atoms_adam: adam(atoms)?,
            replay: ReplayBuffer::new(self.replay_episodes, self.network.window, world),
            online,
            target,
        };
        let plan = TrainingPlan {
            kind: Self::KIND,
            updates: self.iterations,
            unit: "rounds",
            checkpoint_every: self.checkpoint_every,
        };
        train(&mut learner, &plan, world, cx)
    }
}

impl C51 {
    /// From the smallest to the largest discounted return of an episode in that world, where they are not set. Nobody has to
    /// stay, so 0 is among them.
    fn support(&self, world: &World) -> Result<Support> {
        let turns: f64 = (0..world.rules.horizon).map(|t| self.gamma.powi(t as i32)).sum();
        let rewards = || world.reward.data.iter().chain(&world.rules.quit_penalty).filter(|r| r.is_finite());
        let least = rewards().fold(0.0, |least: f32, &r| least.min(r));
        let beside = world.bonus.iter().flat_map(|bonus| &bonus.data).fold(0.0, |most: f32, &r| most.max(r));
        let most = rewards().fold(0.0, |most: f32, &r| most.max(r)) + beside;
        let low = self.lowest_return.unwrap_or(f64::from(least) * turns);
        let mut high = self.highest_return.unwrap_or(f64::from(most) * turns);
        if least == 0.0 && most == 0.0 && self.highest_return.is_none() {
            // Nothing is paid for anything; one atom would be no distribution.
            high = low + 1.0;
        }
        ensure!(
            low < high,
            "returns from {low} to {high} are no row of atoms\nhelp: set `lowest_return` below `highest_return`; what is left \
             out comes from the world's rewards"
        );
        Ok(Support { low, high, atoms: self.atoms })
    }
}

struct Learner<'a> {
    config: &'a C51,
    world: &'a World,
    reward: MixedReward<'a>,
    online: Categorical,
    tilt_adam: AdamW,
    atoms_adam: AdamW,
    target: Categorical,
    replay: ReplayBuffer,
}

impl Learner<'_> {
    /// m, `[N, K]`.
    fn targets(&self, transitions: &Transitions) -> Result<Tensor> {
        let read = |network: &Categorical| states(network, &transitions.next);
        let best = self.online.logits(&read(&self.online)?)?.argmax(1)?;
        let chances = self.target.log_probs(&read(&self.target)?, &best)?.exp()?;
        let chances = chances.flatten_all()?.to_vec1::<f32>()?;
        let mass = self.online.support().project(&transitions.returns, &transitions.discounts, &chances);
        Ok(Tensor::from_vec(mass, (transitions.actions.len(), self.config.atoms), best.device())?)
    }
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let until = (config.iterations as f64 * config.epsilon_until) as u64;
        let epsilon = linear(config.epsilon_first, config.epsilon_last, number, until);
        let agent = EpsilonGreedy { student: PolicyAgent { network: &self.online, sample: false }, epsilon };
        let draw = rng(&[config.seed, 0xc510, number]);
        let batch = Batch::play(self.world, &agent, config.episodes, config.network.window, draw)?;
        let rewards = batch.finite(self.reward.of(&batch)?).with_context(|| format!("update {number}"))?;
        self.replay.add(&batch, &rewards);

        for adam in [&mut self.tilt_adam, &mut self.atoms_adam] {
            adam.learning_rate = to_a_tenth(config.learning_rate, number, config.iterations);
        }
        let mut error = 0.0;
        for step in 0..config.gradient_steps {
            let mut draw = rng(&[config.seed, 0xc511, number, step]);
            let transitions = self.replay.sample(config.batch_size, config.gamma, config.n_step, &mut draw);
            let mass = self.targets(&transitions)?;
            let now = states(&self.online, &transitions.now)?;
            let actions = transitions.actions_on(mass.device())?;
            let loss = distribution_loss(&self.online.log_probs(&now, &actions)?, &mass)?;
            error += f64::from(loss.to_scalar::<f32>()?) / config.gradient_steps as f64;
            let (tilt, atoms) = self.online.params();
            let trained = [(&mut self.tilt_adam, tilt), (&mut self.atoms_adam, atoms)];
            AdamW::descend_together(trained, &loss)
                .with_context(|| format!("update {number}, gradient step {step}"))?;
            if (number * config.gradient_steps + step + 1).is_multiple_of(config.target_period) {
                let (target_tilt, target_atoms) = self.target.params();
                target_network::update(target_tilt, tilt)?;
                target_network::update(target_atoms, atoms)?;
            }
        }
        Ok(vec![
            ("return", batch.episode_return()),
            ("length", batch.length()),
            ("distribution_loss", error),
            ("epsilon", epsilon),
        ])
    }
    fn policy(&self) -> Result<TensorFile> {
        self.online.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        let (tilt, atoms) = self.online.params();
        vec![("tilt", tilt, &mut self.tilt_adam), ("atoms", atoms, &mut self.atoms_adam)]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        let (tilt, atoms) = self.target.params();
        let mut state = target_network::export("target.tilt.", tilt)?;
        state.extend(target_network::export("target.atoms.", atoms)?);
        state.extend(self.replay.export().into_iter().map(|(name, array)| (format!("replay.{name}"), array)));
        Ok(state)
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        let (tilt, atoms) = self.target.params();
        target_network::import("target.tilt.", tilt, state)?;
        target_network::import("target.atoms.", atoms, state)?;
        self.replay.import(state, "replay.")
    }
}

/// −mean(Σ_k m_k·log p_k): `log_chances [N, K]`, `mass [N, K]` → scalar; the mass is a constant.
pub fn distribution_loss(log_chances: &Tensor, mass: &Tensor) -> candle_core::Result<Tensor> {
    (log_chances * mass)?.sum(D::Minus1)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::env::cluster_world;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = C51 {
            iterations: 150,
            episodes: 8,
            batch_size: 128,
            learning_rate: 0.01,
            network: small_network(),
            ..C51::default()
        };
        assert_keeps_the_contract(&ContractCase {
            // The target is renewed and the replay forgets within the few updates.
            short: C51 {
                iterations: 5,
                episodes: 4,
                gradient_steps: 3,
                batch_size: 9,
                replay_episodes: 6,
                n_step: 3,
                target_period: 4,
                ..solver.clone()
            },
            untrained: C51 { iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _| Online { world, reward: None },
            // The mean of a distribution is what a state is worth.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut C51| c.gamma = 1.5), "gamma"),
                (with(|c| c.omega = 2.0), "omega"),
                (with(|c| c.epsilon_first = 1.1), "epsilon_first"),
                (with(|c| c.epsilon_last = -0.1), "epsilon_last"),
                (with(|c| c.epsilon_until = f64::NAN), "epsilon_until"),
                (with(|c| c.episodes = 0), "episodes"),
                (with(|c| c.gradient_steps = 0), "gradient_steps"),
                (with(|c| c.batch_size = 0), "batch_size"),
                (with(|c| c.replay_episodes = 0), "replay_episodes"),
                (with(|c| c.atoms = 1), "atoms"),
                (with(|c| c.lowest_return = Some(f64::NAN)), "lowest_return"),
                (
                    with(|c| {
                        c.lowest_return = Some(1.0);
                        c.highest_return = Some(1.0);
                    }),
                    "highest_return",
                ),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.target_period = 0), "target_period"),
                (with(|c| c.checkpoint_every = 0), "checkpoint_every"),
                (with(|c| c.learning_rate = 0.0), "learning_rate"),
                (with(|c| c.clip = 0.0), "clip"),
                (with(|c| c.network.hidden_size = 0), "network.hidden_size"),
            ],
            online: true,
        });
    }

    #[test]
    fn the_loss_agrees_with_hand_computed_values_and_finite_differences() {
        let logs = Tensor::new(&[[-1.0, -2.0, -3.0], [-0.5, -4.0, -1.5]], &Device::Cpu).unwrap();
        let mass = Tensor::new(&[[0.5, 0.5, 0.0], [0.25, 0.0, 0.75]], &Device::Cpu).unwrap();
        // (½ + 1 + ⅛ + 9/8)/2.
        let loss = distribution_loss(&logs, &mass).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 1.375).abs() < 1e-12, "{loss}");
        assert_finite_differences(&logs, |logs| {
            distribution_loss(&candle_nn::ops::log_softmax(logs, D::Minus1)?, &mass)
        });
    }

    #[test]
    fn atoms_reach_from_the_smallest_to_the_largest_return() {
        let mut world = cluster_world(&[5.0, -4.0], 1, 1, 2, 1);
        let config = C51 { gamma: 0.5, ..C51::default() };
        let ends = |config: &C51, world: &World| config.support(world).map(|s| (s.low, s.high)).unwrap();
        assert_eq!(ends(&config, &world), (-6.0, 7.5), "two turns of −4 or of 5, the second for half");
        world.rules.quit_penalty = Some(-10.0);
        assert_eq!(ends(&config, &world), (-15.0, 7.5));
        let set = C51 { lowest_return: Some(-1.0), highest_return: Some(2.0), ..config.clone() };
        assert_eq!(ends(&set, &world), (-1.0, 2.0));
        let crossed = C51 { lowest_return: Some(9.0), ..config };
        let error = crossed.support(&world).unwrap_err().to_string();
        assert!(error.starts_with("returns from 9 to 7.5 are no row of atoms\nhelp: set `lowest_return`"), "{error}");
    }
}
