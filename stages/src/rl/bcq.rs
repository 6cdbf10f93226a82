//! Discrete batch-constrained Q-learning on demonstrations alone: the maximum over actions is restricted to likely ones.
//!
//! allowed(s) = {a : G(a|s) ≥ τ·max_b G(b|s)};  a′ = argmax_{a ∈ allowed(s′)} Q(s′, a);  y = r + γ·Q̄(s′, a′)
//! L_Q = mean(huber((Q(s, a_demo) − y)/unit)), with the unit of the value head
//! L_G = −mean(log G(a_demo|s)) + c·mean(z²), with z the logits of G
//!
//! Fujimoto et al. 2019 (*Benchmarking batch deep reinforcement learning algorithms*, arXiv 1910.01708, algorithm 1).
//! Q is wrong about items that are absent from the log. The behaviour network G gives the probability of an item in the log, and
//! τ how likely an item must be: at 0 this is Q-learning, at 1 behaviour cloning. The policy takes the
//! best allowed item by Q, when it learns and when it is served; its file holds both networks. Published: τ 0.3, c 0.01,
//! Huber's loss, the target updated every 8,000 steps, Adam with 6.25e-5. As in the release for states that are vectors, the
//! networks share nothing; Q is dueling, as in `rl.dqn`. Left out: the small share of random items when it acts.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Sizes, Stage};

use super::batch::value_unit;
use super::inputs::Offline;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::LearnerTables;
use super::q_values::{QValues, huber_loss};
use super::replay_buffer::{ReplayBuffer, Transitions};
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Array, TensorFile};
use crate::env::states;
use crate::nn::actor_critic::ActorCriticOutput;
use crate::nn::bcq_policy::{BcqPolicy, Likely};
use crate::nn::{ActorCritic, AdamW, action_log_prob, device, rng};

learner_settings! {
    /// `rl.bcq`.
    pub struct Bcq {
        /// Gradient steps; each updates Q and G.
        pub n_gradient_steps: u64 = 1500,
        /// Transitions of a gradient step, from 1.
        pub batch_size: usize = 128,
        /// τ: an item is allowed if its probability under G is at least τ times the largest one, in [0, 1]; the paper's: 0.3.
        pub action_threshold: f64 = 0.3,
        /// c: weight of the mean square of G's logits, 0 or more; the paper's: 0.01.
        pub logit_penalty: f64 = 0.01,
        /// Gradient steps between two updates of the target network, from 1; an update copies the online network.
        pub target_update_interval: u64 = 50,
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.001, max_grad_norm: 10.0, schedule: Linear },
        /// `prior_scale: 1` starts the advantages at the world's own rewards.
        network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
        checkpoint_every: 100 steps,
        gamma: 0.9,
    }
}

impl Stage for Bcq {
    const KIND: &'static str = "rl.bcq";
    /// 1: first.
    /// 2: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "train a policy offline on demonstrations by discrete batch-constrained Q-learning";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init"];
    const USES_DEVICE: bool = true;
    type Inputs = Offline;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::batch_size(self.batch_size)?;
        validation::fraction("action_threshold", self.action_threshold)?;
        validation::coefficient("logit_penalty", self.logit_penalty)?;
        validation::target_update_interval(self.target_update_interval)?;
        self.check_shared()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 3, self.batch_size as u64).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Offline, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let behaviour = match start.init() {
            Some(init) => BcqPolicy::behaviour(&device, &init.0)?,
            None => start.network(self.seed.wrapping_add(1))?,
        };
        let values = QValues::of(|| start.network(self.seed), value_unit(world, self.gamma))?;
        let mut learner = Learner {
            config: self,
            log: ReplayBuffer::from_demonstrations(&inputs.demonstrations, self.network.window, world)?,
            behaviour_adam: self.optimizer.adam(behaviour.params())?,
            values_adam: self.optimizer.adam(values.network.params())?,
            behaviour,
            values,
        };
        train(
            &mut learner,
            &self
                .plan(self.n_gradient_steps)
                .after(inputs.init.as_ref(), None)?
                .taught_by(Some(&inputs.demonstrations)),
            world,
            cx,
        )
    }
}

struct Learner<'c> {
    config: &'c Bcq,
    log: ReplayBuffer,
    /// G.
    behaviour: ActorCritic,
    behaviour_adam: AdamW,
    values: QValues,
    values_adam: AdamW,
}

impl Learner<'_> {
    /// log G of what was done, `[N]`, and the mean square of G's logits.
    fn imitated(&self, transitions: &Transitions) -> Result<(Tensor, Tensor)> {
        let observed = states(&self.behaviour, &transitions.now)?;
        if let Some(streamed) = self.behaviour.log_prob_and_mean_square(&observed, &transitions.actions)? {
            return Ok(streamed);
        }
        let ActorCriticOutput { logits, action_mask: shown, .. } = self.behaviour.forward(&observed)?;
        let log_prob = action_log_prob(&logits, &transitions.actions)?.log_prob;
        Ok((log_prob, mean_square(&logits, shown.as_ref())?))
    }
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let mut draw = rng(&[config.seed, 0xbc9, number]);
        let transitions = self.log.sample(config.batch_size, config.gamma, 1, &mut draw);
        let likely = {
            let usual = self.behaviour.item_values(&states(&self.behaviour, &transitions.next)?)?;
            Likely::new(&usual, config.action_threshold)?
        };
        let best = likely.restrict(&self.values.online_order(&transitions.next)?)?.choose(None)?;
        let targets = transitions.td_target(&self.values.target_of(&transitions.next, &best)?)?;
        let q = self.values.online_of(&transitions.now, &transitions.actions)?;
        let error = huber_loss(&q, &targets, self.values.unit)?;
        let (log_prob, square) = self.imitated(&transitions)?;
        let imitation = log_prob.mean_all()?.neg()?;
        let behaviour = (&imitation + (square * config.logit_penalty)?)?;

        let place = || format!("update {number}");
        for adam in [&mut self.behaviour_adam, &mut self.values_adam] {
            adam.learning_rate = config.optimizer.rate(number, config.n_gradient_steps);
        }
        self.behaviour_adam.descend(self.behaviour.params(), &behaviour).with_context(place)?;
        self.values_adam.descend(self.values.network.params(), &error).with_context(place)?;
        if (number + 1).is_multiple_of(config.target_update_interval) {
            self.values.update_target()?;
        }
        let number = |tensor: &Tensor| tensor.to_scalar::<f32>().map(f64::from);
        Ok(vec![
            ("imitation_loss", number(&imitation)?),
            ("value_error", number(&error)?),
            ("allowed_items", likely.mean_count()?),
        ])
    }
    fn policy(&self) -> Result<TensorFile> {
        BcqPolicy::export(&self.values.network, &self.behaviour, self.config.action_threshold)
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![
            ("behaviour", self.behaviour.params(), &mut self.behaviour_adam),
            ("values", self.values.network.params(), &mut self.values_adam),
        ]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        self.values.export_target()
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        self.values.import_target(state)
    }
}

/// mean(z²) over the items that may be shown: `logits [N, I]`, `shown [N, I]` of 1 and 0 → scalar. The logit of a masked item is
/// a constant.
fn mean_square(logits: &Tensor, shown: Option<&Tensor>) -> candle_core::Result<Tensor> {
    match shown {
        None => logits.sqr()?.mean_all(),
        Some(shown) => (logits * shown)?.sqr()?.sum_all()? / shown.sum_all()?,
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::MASKED_LOGIT;
    use crate::nn::Optimizer;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{
        ContractCase, assert_keeps_the_contract, returns_after_good_and_frequent, small_network, with,
    };

    fn solver() -> Bcq {
        Bcq {
            n_gradient_steps: 400,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Bcq::default()
        }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        assert_keeps_the_contract(&ContractCase {
            short: Bcq { n_gradient_steps: 5, batch_size: 9, target_update_interval: 2, ..solver() },
            untrained: Bcq { n_gradient_steps: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: Offline::new,
            // Behaviour cloning has no value loss.
            frozen: &["behaviour.critic."],
            refused: vec![
                (with(|c: &mut Bcq| c.batch_size = 0), "batch_size"),
                (with(|c| c.action_threshold = 1.5), "action_threshold"),
                (with(|c| c.logit_penalty = -1.0), "logit_penalty"),
                (with(|c| c.target_update_interval = 0), "target_update_interval"),
            ],
            online: false,
        });
    }

    /// In the log the better items have a third of the probability of the frequent ones.
    #[test]
    fn it_prefers_what_paid_among_what_was_usual() {
        let returns = |action_threshold: f64| returns_after_good_and_frequent(&Bcq { action_threshold, ..solver() });
        assert_eq!(returns(0.2), [120.0, 120.0]);
        assert_eq!(returns(0.7), [90.0, 90.0], "only what was most usual is allowed");
    }

    #[test]
    fn the_penalty_agrees_with_hand_computed_values_and_finite_differences() {
        let logits = Tensor::new(&[[1.0, -2.0], [3.0, 0.5]], &Device::Cpu).unwrap();
        let plain = mean_square(&logits, None).unwrap().to_scalar::<f64>().unwrap();
        assert!((plain - 14.25 / 4.0).abs() < 1e-12, "{plain}");
        let shown = Tensor::new(&[[1.0, 1.0], [0.0, 1.0]], &Device::Cpu).unwrap();
        let masked = Tensor::new(&[[1.0, -2.0], [MASKED_LOGIT, 0.5]], &Device::Cpu).unwrap();
        let found = mean_square(&masked, Some(&shown)).unwrap().to_scalar::<f64>().unwrap();
        assert!((found - 5.25 / 3.0).abs() < 1e-12, "{found}");
        assert_finite_differences(&logits, |logits| mean_square(logits, Some(&shown)));
    }
}
