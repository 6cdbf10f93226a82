//! An adaptive mixture of a frozen policy and one that learns from it, for deployment without an early loss.
//!
//! π(a|s) = w·π₀(a|s) + (1 − w)·π_θ(a|s); θ starts at π₀, and θ and w = 1/(1 + e^−ω) are learned by
//! L = −mean(A·log π(a|s)) − c_H·H(π) + c_V·mean((V − R)²), with r, R and A as in `rl.a2c`
//!
//! After A-iALP's adaptive variant (Wang et al. 2025, arXiv 2501.13816), which protects the users of a deployed policy from a learner
//! that goes astray; only its abstract could be read, so the form of the mixture is ours. At the start π is π₀ exactly, and the frozen
//! policy keeps its share as long as its items earn more. Fine-tuning without the frozen policy is `init` of any learner. Left out: a weight
//! that depends on the state, and imitation.

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};

use super::a2c::policy_gradient_loss;
use super::advantage::{n_step_returns, normalised};
use super::batch::{Batch, value_unit};
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::{LearnerTables, states_of};
use super::mixed_reward::MixedReward;
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{PolicyFile, RewardModel, TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::loss::value_loss;
use crate::nn::mixture_policy::MixturePolicy;
use crate::nn::{ActionLogProb, AdamW, device, rng};

learner_settings! {
    /// `rl.mixture`.
    pub struct Mixture {
        /// Iterations; each plays `episodes_per_update` whole episodes with the mixture and takes one gradient step on them.
        pub n_iterations: u64 = 400,
        /// Whole episodes that an iteration plays, from 1.
        pub episodes_per_update: usize = 64,
        /// n of the n-step returns, from 1: rewards that are summed before the critic's value is added.
        pub n_step: usize = 8,
        /// c_H: weight of the entropy bonus of the mixture, per nat.
        pub entropy_coef: f64 = 0.01,
        /// c_V: weight of the critic's loss, 0 or more.
        pub value_coef: f64 = 0.5,
        /// w at the first iteration: the share of the frozen policy, between 0 and 1, both excluded.
        pub frozen_share: f64 = 0.5,
        /// Learning rate of the log-odds of w, which follows `optimizer.schedule`; 0 keeps `frozen_share`.
        pub frozen_share_learning_rate: f64 = 0.05,
        /// Share ω of r_IRL in the reward, in [0, 1].
        pub omega: f64 = 0.0,
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        /// `window`, `hidden_size`, `encoder` and `similar_fraction` have to be those of the policy at `init`; the rest is not used.
        network: NetworkConfig::default(),
        checkpoint_every: 25 iterations,
        gamma: 0.9,
    }
}

pipeline::ports! {
    /// What is deployed, and where.
    pub struct Inputs {
        /// The world to learn in, never the evaluation world.
        world: World,
        /// π₀: the policy to freeze, and to begin from.
        init: PolicyFile,
        /// r_IRL, required where `omega` is above 0.
        reward: Option<RewardModel>,
    }
}

impl Stage for Mixture {
    const KIND: &'static str = "rl.mixture";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "deploy a trained policy in a world as an adaptive mixture of itself and a copy that learns on";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::fraction("omega", self.omega)?;
        validation::n_step(self.n_step)?;
        validation::episodes_per_update(self.episodes_per_update)?;
        validation::coefficient("value_coef", self.value_coef)?;
        validation::finite("entropy_coef", self.entropy_coef)?;
        validation::open_interval("frozen_share", self.frozen_share, "a share of two policies lies between 0 and 1")?;
        validation::coefficient("frozen_share_learning_rate", self.frozen_share_learning_rate)?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega).into_iter().collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 3, states_of(self.episodes_per_update, inputs)).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let Inputs { world, init, reward } = &inputs;
        let device = device::of(cx)?;
        // Checks that the policy fits this world and these settings.
        Start::new(Self::KIND, &self.network, Some(init), world, &device)?;
        let policy = MixturePolicy::from_policy(&init.0, self.frozen_share, &device)?;
        let mut learner = Learner {
            config: self,
            world,
            reward: MixedReward::new(self.omega, reward.as_ref(), world, self.network.window)?,
            adam: self.optimizer.adam(policy.learned.params())?,
            share_adam: AdamW::new(policy.weight_params(), self.frozen_share_learning_rate, 0.0, f64::INFINITY)?,
            policy,
            value_unit: value_unit(world, self.gamma),
        };
        train(&mut learner, &self.plan(self.n_iterations).after(Some(init), None)?, world, cx)
    }
}

struct Learner<'a> {
    config: &'a Mixture,
    world: &'a World,
    reward: MixedReward<'a>,
    policy: MixturePolicy,
    adam: AdamW,
    share_adam: AdamW,
    /// The critic's unit.
    value_unit: f64,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let place = || format!("update {number}");
        let agent = PolicyAgent { network: &self.policy, sample: true };
        let draw = rng(&[config.seed, 0x313c, number]);
        let batch = Batch::play(self.world, &agent, config.episodes_per_update, config.network.window, draw)?;
        let rewards = batch.finite(self.reward.of(&batch)?).with_context(place)?;

        let observed = states(&self.policy, &batch.observation)?;
        let (choice, values) = self.policy.evaluate_actions(&observed, &batch.actions)?;
        let unit = self.value_unit as f32;
        let state_values: Vec<f32> = values.to_vec1::<f32>()?.into_iter().map(|v| v * unit).collect();
        let returns = n_step_returns(&rewards, &state_values, &batch.lengths, config.gamma, config.n_step);
        let advantages = normalised(returns.iter().zip(&state_values).map(|(r, v)| r - v).collect());
        let targets: Vec<f32> = returns.iter().map(|r| r / unit).collect();

        let (steps, device) = (batch.steps(), values.device());
        let ActionLogProb { log_prob, entropy } = choice;
        let actor = policy_gradient_loss(&log_prob, &Tensor::from_vec(advantages, steps, device)?)?;
        let entropy = entropy.mean_all()?;
        let critic = value_loss(&values, &Tensor::from_vec(targets, steps, device)?)?;
        let loss = ((&actor - (&entropy * config.entropy_coef)?)? + (&critic * config.value_coef)?)?;
        self.adam.learning_rate = config.optimizer.rate(number, config.n_iterations);
        self.share_adam.learning_rate =
            config.optimizer.schedule.at(config.frozen_share_learning_rate, number, config.n_iterations);
        let share = self.policy.weight()?;
        AdamW::descend_together(
            [(&mut self.adam, self.policy.learned.params()), (&mut self.share_adam, self.policy.weight_params())],
            &loss,
        )
        .with_context(place)?;
        Ok(vec![
            ("return", batch.episode_return()),
            ("length", batch.length()),
            ("entropy", f64::from(entropy.to_scalar::<f32>()?)),
            ("value_error", f64::from(critic.to_scalar::<f32>()?)),
            ("frozen_share", share),
        ])
    }
    fn policy(&self) -> Result<TensorFile> {
        self.policy.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![
            ("policy", self.policy.learned.params(), &mut self.adam),
            ("mixture", self.policy.weight_params(), &mut self.share_adam),
        ]
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::artifact::Demonstrations;
    use crate::nn::Optimizer;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, demonstrated_cycles, small_network, with};
    use crate::rl::inputs::OnlineWithDemos;
    use crate::rl::{A2c, BehaviourCloning, bc};

    fn unlearned(world: World) -> Inputs {
        let network = small_network().build(&world, 1, &Device::Cpu).unwrap();
        let mut init = PolicyFile::new(network.export().unwrap(), "rl.bc", &world).unwrap();
        init.tell_untrained().unwrap();
        Inputs { world, init, reward: None }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = Mixture {
            episodes_per_update: 32,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Mixture::default()
        };
        assert_keeps_the_contract(&ContractCase {
            short: Mixture { n_iterations: 5, episodes_per_update: 4, ..solver.clone() },
            untrained: Mixture { n_iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, _: Demonstrations| unlearned(world),
            frozen: &["frozen."],
            refused: vec![
                (with(|c: &mut Mixture| c.omega = 2.0), "omega"),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.episodes_per_update = 0), "episodes_per_update"),
                (with(|c| c.value_coef = -1.0), "value_coef"),
                (with(|c| c.entropy_coef = f64::NAN), "entropy_coef"),
                (with(|c| c.frozen_share = 1.0), "frozen_share"),
                (with(|c| c.frozen_share_learning_rate = -1.0), "frozen_share_learning_rate"),
            ],
            online: true,
        });
    }

    fn run<S: Stage<Outputs = Outputs>>(stage: &S, inputs: S::Inputs) -> Outputs {
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs, &Context::detached(folder.path())).unwrap()
    }

    fn world() -> World {
        crate::env::cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 2, 30, 4)
    }

    /// A policy that copies these cycles.
    fn copied(cycles: &[&[u32]]) -> PolicyFile {
        let stage = BehaviourCloning { network: small_network(), ..BehaviourCloning::default() };
        run(&stage, bc::Inputs::new(world(), demonstrated_cycles(&world(), cycles))).policy
    }

    fn series(outputs: &Outputs, series: &str) -> Vec<f64> {
        outputs.curves.0.iter().filter(|point| point.series == series).map(|point| point.value).collect()
    }

    #[test]
    fn a_poor_policy_loses_its_share_and_a_good_one_keeps_it_while_the_learner_goes_astray() {
        let mixture = |rate, cycles: &[&[u32]]| {
            let (optimizer, network) = (Optimizer::with_learning_rate(rate), small_network());
            let stage = Mixture { n_iterations: 40, episodes_per_update: 16, optimizer, network, ..Mixture::default() };
            run(&stage, Inputs { world: world(), init: copied(cycles), reward: None })
        };
        let poor = *series(&mixture(0.01, &[&[2, 4, 6]]), "frozen_share").last().unwrap();
        assert!(poor < 0.4, "a poor policy keeps {poor} beside one that learns");

        let fine_tuned = A2c {
            n_iterations: 40,
            episodes_per_update: 16,
            bc_coef: 0.0,
            optimizer: Optimizer::with_learning_rate(0.5),
            network: small_network(),
            ..A2c::default()
        };
        let good: &[&[u32]] = &[&[0, 2, 4]];
        let alone = run(&fine_tuned, OnlineWithDemos { init: Some(copied(good)), ..OnlineWithDemos::new(world()) });
        let mixed = mixture(0.5, good);
        let least = |outputs: &Outputs| series(outputs, "return").into_iter().fold(f64::INFINITY, f64::min);
        let kept = *series(&mixed, "frozen_share").last().unwrap();
        assert!(kept > 0.5 && kept > poor + 0.1, "beside a learner that goes astray a good policy keeps {kept}");
        let (least_mixed, least_alone) = (least(&mixed), least(&alone));
        assert!(
            least_mixed > least_alone + 1.0,
            "users got {least_mixed} at worst, and {least_alone} without the frozen policy"
        );
    }
}
