//! Categorical deep Q-learning: what is learned is the distribution of returns over 51 atoms, and its mean is acted on.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  Z(s, a) = z_k with chance p_k(s, a), z_k from V_min to V_max;  Q = Σ_k z_k·p_k
//! a* = argmax_a Q(s_{t+n}, a);  m = Φ(Σ_{k<n} γᵏ r_{t+k} + γⁿ·Z̄(s_{t+n}, a*));  L = −mean(Σ_k m_k·log p_k(s, a))
//!
//! Bellemare et al. 2017 (*A distributional perspective on reinforcement learning*, arXiv 1707.06887, algorithm 1); Φ shares what
//! falls between two atoms. a* is chosen by the online network and evaluated by the target network, as in `rl.dqn` (van Hasselt
//! et al. 2016); episodes, exploration and replay are those of `rl.dqn`, too. Published: 51 atoms from −10 to 10, γ 0.99, ε
//! falling to 0.01, Adam with 2.5e-4. Here the ends are the smallest and the largest return that the training world's
//! rewards allow, unless they are set. Left out: noisy networks, priorities, dueling.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use candle_core::{D, Tensor};
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};

use super::batch::Batch;
use super::epsilon_greedy::EpsilonGreedy;
use super::inputs::Online;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::LearnerTables;
use super::mixed_reward::MixedReward;
use super::replay_buffer::{ReplayBuffer, Transitions};
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner, target_network};
use crate::artifact::{Array, PolicyFile, SessionBonus, TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::categorical::Categorical;
use crate::nn::policy_io::output_of;
use crate::nn::policy_output::PolicyOutput;
use crate::nn::schedule::linear;
use crate::nn::support::Support;
use crate::nn::{AdamW, PolicyNetwork, device, rng};

learner_settings! {
    /// `rl.c51`.
    pub struct C51 {
        /// Iterations; each plays `episodes_per_update` whole episodes and then takes `gradient_steps`.
        pub n_iterations: u64 = 300,
        /// Whole episodes that an iteration plays, from 1.
        pub episodes_per_update: usize = 16,
        /// Gradient steps of an iteration, from 1.
        pub gradient_steps: u64 = 8,
        /// Transitions of a gradient step, from 1.
        pub batch_size: usize = 128,
        /// Episodes that the replay buffer holds, from 1; the oldest are dropped.
        pub buffer_episodes: usize = 2000,
        /// Atoms of a distribution, at least 2; the paper's: 51. Memory and time grow with atoms times items.
        pub n_atoms: usize = 51,
        /// V_min, the return of the first atom. Without it, the smallest that the world's rewards allow.
        pub v_min: Option<f64> = None,
        /// V_max, the return of the last atom. Without it, the largest that the world's rewards allow. Set both where `omega` is
        /// above 0 and the learned reward is on another scale.
        pub v_max: Option<f64> = None,
        /// n of the n-step returns, from 1: rewards that are summed before the target network's value is added.
        pub n_step: usize = 1,
        /// Gradient steps between two updates of the target network, from 1; an update copies the online network.
        pub target_update_interval: u64 = 40,
        /// ε at the first iteration: the probability of a random item, in [0, 1].
        pub epsilon_start: f64 = 0.5,
        /// ε once `exploration_fraction` of the iterations are over, in [0, 1].
        pub epsilon_end: f64 = 0.02,
        /// Fraction of the iterations over which ε falls linearly from `epsilon_start` to `epsilon_end`, in [0, 1].
        pub exploration_fraction: f64 = 0.5,
        /// Share ω of r_IRL in the reward, in [0, 1].
        pub omega: f64 = 0.0,
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        /// Its logits tilt the distributions, which have parameters and a gradient norm of their own; `prior_scale: 1` starts them at the
        /// order of the world's own rewards.
        network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
        checkpoint_every: 25 iterations,
        /// 0.5 by default, as in `rl.dqn`.
        gamma: 0.5,
    }
}

/// Items of the largest catalogue: each has a distribution of its own over the atoms.
const LARGEST_CATALOGUE: usize = 20_000;

impl Stage for C51 {
    const KIND: &'static str = "rl.c51";
    /// 1: first.
    /// 2: gradients are summed in parts, for threads, so they round otherwise.
    /// 3: means over the catalogue are fused, so sums round otherwise.
    const VERSION: u32 = 3;
    const ABOUT: &'static str = "train a policy by categorical deep Q-learning on world and learned reward";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init"];
    const USES_DEVICE: bool = true;
    type Inputs = Online;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::fraction("omega", self.omega)?;
        validation::epsilon(self.epsilon_start, self.epsilon_end, self.exploration_fraction)?;
        validation::episodes_per_update(self.episodes_per_update)?;
        validation::gradient_steps(self.gradient_steps)?;
        validation::batch_size(self.batch_size)?;
        validation::buffer_episodes(self.buffer_episodes)?;
        validation::at_least_one("n_atoms", self.n_atoms.saturating_sub(1), "a distribution has at least two atoms")?;
        for (path, end) in [("v_min", self.v_min), ("v_max", self.v_max)] {
            validation::finite(path, end.unwrap_or(0.0))?;
        }
        if let (Some(low), Some(high)) = (self.v_min, self.v_max) {
            validation::positive("v_max", high - low, "the highest return is above the lowest")?;
        }
        validation::n_step(self.n_step)?;
        validation::target_update_interval(self.target_update_interval)?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega).into_iter().collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let need = LearnerTables::of_all_scores(&self.network, 2, self.batch_size as u64).need(inputs)?;
        let head = [inputs.get("items")?, self.n_atoms as u64, self.network.hidden_size as u64 + 1];
        // Parameters, gradients and moments, and the target.
        Some(need.table("distributions of all items", &head, 20))
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Online, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        ensure!(
            world.items() <= LARGEST_CATALOGUE,
            "the distributions of {} items have {:.1} GB of parameters, and training holds five copies\nhelp: take rl.dqn, which has one \
             number for an item, or at most {LARGEST_CATALOGUE} items",
            world.items(),
            (world.items() * self.n_atoms * (self.network.hidden_size + 1)) as f64 * 4e-9
        );
        let device = device::of(cx)?;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let build = || match start.init() {
            Some(init) => Categorical::import_on(&device, &init.0, self.support_of(init)?),
            None => Categorical::new(start.network(self.seed)?, self.support(world)?, self.seed.wrapping_add(1)),
        };
        let (online, target) = (build()?, build()?);
        let (tilt, atoms) = online.params();
        let mut learner = Learner {
            config: self,
            world,
            reward: MixedReward::new(self.omega, inputs.reward.as_ref(), world, self.network.window)?,
            tilt_adam: self.optimizer.adam(tilt)?,
            atoms_adam: self.optimizer.adam(atoms)?,
            replay: ReplayBuffer::new(self.buffer_episodes, self.network.window, world),
            online,
            target,
        };
        train(&mut learner, &self.plan(self.n_iterations).after(inputs.init.as_ref(), None)?, world, cx)
    }
}

impl C51 {
    /// Of the policy to begin from.
    ///
    /// # Errors
    /// When the settings name other atoms.
    fn support_of(&self, init: &PolicyFile) -> Result<Support> {
        let PolicyOutput::Categorical(support) = output_of(&init.0)? else {
            bail!("the policy at `init` has no atoms\nhelp: connect a policy of {}", Self::KIND)
        };
        let Support { low, high, atoms } = support;
        ensure!(
            atoms == self.n_atoms && self.v_min.unwrap_or(low) == low && self.v_max.unwrap_or(high) == high,
            "the policy at `init` has {atoms} atoms from {low} to {high}\nhelp: set `n_atoms: {atoms}`, and leave `v_min` and `v_max` out"
        );
        Ok(support)
    }

    /// From the smallest to the largest discounted return of an episode in that world, where they are not set. Nobody has to
    /// stay, so 0 is among them.
    fn support(&self, world: &World) -> Result<Support> {
        let turns: f64 = (0..world.rules.horizon).map(|t| self.gamma.powi(t as i32)).sum();
        let (least, most) = world.rewards().range();
        let penalty = world.rules.quit_penalty.filter(|penalty| penalty.is_finite()).unwrap_or(0.0);
        let least = [least, penalty].into_iter().fold(0.0, f32::min);
        let beside = world.bonus.as_ref().map_or(0.0, SessionBonus::largest);
        let most = [most, penalty].into_iter().fold(0.0, f32::max) + beside;
        let least = least - world.diversity_penalty.as_ref().map_or(0.0, |penalty| penalty.local + penalty.global);
        let low = self.v_min.unwrap_or(f64::from(least) * turns);
        let mut high = self.v_max.unwrap_or(f64::from(most) * turns);
        if least == 0.0 && most == 0.0 && self.v_max.is_none() {
            // All rewards are 0; a single atom is not a distribution.
            high = low + 1.0;
        }
        ensure!(
            low < high,
            "returns from {low} to {high} are no row of atoms\nhelp: set `v_min` below `v_max`; what is left \
             out comes from the world's rewards"
        );
        Ok(Support { low, high, atoms: self.n_atoms })
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
        Ok(Tensor::from_vec(mass, (transitions.actions.len(), self.config.n_atoms), best.device())?)
    }
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let until = (config.n_iterations as f64 * config.exploration_fraction) as u64;
        let epsilon = linear(config.epsilon_start, config.epsilon_end, number, until);
        let agent = EpsilonGreedy { student: PolicyAgent { network: &self.online, sample: false }, epsilon };
        let draw = rng(&[config.seed, 0xc510, number]);
        let batch = Batch::play(self.world, &agent, config.episodes_per_update, config.network.window, draw)?;
        let rewards = batch.finite(self.reward.of(&batch)?).with_context(|| format!("update {number}"))?;
        self.replay.add(&batch, &rewards);

        for adam in [&mut self.tilt_adam, &mut self.atoms_adam] {
            adam.learning_rate = config.optimizer.rate(number, config.n_iterations);
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
            if (number * config.gradient_steps + step + 1).is_multiple_of(config.target_update_interval) {
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
    use crate::nn::Optimizer;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = C51 {
            n_iterations: 150,
            episodes_per_update: 8,
            batch_size: 128,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..C51::default()
        };
        assert_keeps_the_contract(&ContractCase {
            // The target is updated and the buffer drops episodes within the few iterations.
            short: C51 {
                n_iterations: 5,
                episodes_per_update: 4,
                gradient_steps: 3,
                batch_size: 9,
                buffer_episodes: 6,
                n_step: 3,
                target_update_interval: 4,
                ..solver.clone()
            },
            untrained: C51 { n_iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _| Online::new(world),
            // The value of a state is the mean of a distribution, not the critic.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut C51| c.omega = 2.0), "omega"),
                (with(|c| c.epsilon_start = 1.1), "epsilon_start"),
                (with(|c| c.epsilon_end = -0.1), "epsilon_end"),
                (with(|c| c.exploration_fraction = f64::NAN), "exploration_fraction"),
                (with(|c| c.episodes_per_update = 0), "episodes_per_update"),
                (with(|c| c.gradient_steps = 0), "gradient_steps"),
                (with(|c| c.batch_size = 0), "batch_size"),
                (with(|c| c.buffer_episodes = 0), "buffer_episodes"),
                (with(|c| c.n_atoms = 1), "n_atoms"),
                (with(|c| c.v_min = Some(f64::NAN)), "v_min"),
                (
                    with(|c| {
                        c.v_min = Some(1.0);
                        c.v_max = Some(1.0);
                    }),
                    "v_max",
                ),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.target_update_interval = 0), "target_update_interval"),
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
        let set = C51 { v_min: Some(-1.0), v_max: Some(2.0), ..config.clone() };
        assert_eq!(ends(&set, &world), (-1.0, 2.0));
        let crossed = C51 { v_min: Some(9.0), ..config };
        let error = crossed.support(&world).unwrap_err().to_string();
        assert!(error.starts_with("returns from 9 to 7.5 are no row of atoms\nhelp: set `v_min`"), "{error}");
    }
}
