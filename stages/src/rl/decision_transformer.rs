//! Decision transformer: copies the demonstrations together with what each of them returned, and is then asked for a high return.
//!
//! min −mean(log π(a_t | R_t, s_t, R_{t−1}, s_{t−1}, a_{t−1}, …)), R_t = Σ_{k ≥ t} r_k of the demonstrated episode, not discounted
//! (+ expectile loss of the critic, where it says what to ask for: mean(|τ − 1[u < 0]|·u²), u = R_t/unit − V(s_t))
//!
//! Chen et al. 2021 (arXiv 2106.01345). Published for Gym, in the authors' program: the last 20 turns, 3 blocks, one head, width 128,
//! dropout 0.1, one target for a task that falls by what was paid. Here the target is of the log: at each turn a quantile of its returns-to-go
//! at that turn, or the critic's expectile of the returns-to-go from the state, which near 1 is the largest return that the log supports
//! (after Elastic Decision Transformer and MDT4Rec, of which we have read the abstract, arXiv 2510.12816). A policy that copies cannot do
//! better than what was demonstrated, and a return that nobody had is no help. Left out: dropout, and MDT4Rec's shorter histories and its
//! start from a language model.

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Sizes, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::batch::value_unit;
use super::dataset::Demonstration;
use super::inputs::Offline;
use super::iql::expectile_loss;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::LearnerTables;
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{BcDataset, NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Demonstrations, TensorFile, World};
use crate::env::states;
use crate::nn::decision_transformer::DecisionTransformer as Network;
use crate::nn::policy_output::Returns;
use crate::nn::{AdamW, Encoder, Transformer, device, rng};

learner_settings! {
    /// `rl.decision_transformer`.
    pub struct DecisionTransformer {
        /// Passes over the demonstrations.
        pub n_epochs: u64 = 40,
        /// Demonstrated steps of a gradient step, from 1.
        pub batch_size: usize = 128,
        /// The return-to-go that the policy asks for when it is served.
        pub target: Target = Target::default(),
    }
    shared {
        optimizer: { learning_rate: 0.003, weight_decay: 0.001, max_grad_norm: 1.0, schedule: Constant },
        /// `window` is the number of past turns with three tokens each, and `encoder`, which has to be `transformer`, the shape of the
        /// transformer over them.
        network: NetworkConfig { encoder: Encoder::Transformer(Transformer::default()), ..NetworkConfig::default() },
        checkpoint_every: 10 epochs,
    }
}

/// The return-to-go that a policy asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// This quantile of the log's returns-to-go at the same turn, in [0, 1]; 1 is the largest one. Of turns that the log does not reach,
    /// that of the last turn that it reaches.
    Quantile(f64),
    /// This expectile of the returns-to-go from states like the present one, above 0 and below 1; near 1 it is the largest.
    Expectile(f64),
}

impl Default for Target {
    /// The upper tenth of the log: its largest return is one episode's.
    fn default() -> Self {
        Self::Quantile(0.9)
    }
}

impl Stage for DecisionTransformer {
    const KIND: &'static str = "rl.decision_transformer";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "copy demonstrations with their returns by a decision transformer, and ask it for a high return";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init"];
    const USES_DEVICE: bool = true;
    type Inputs = Offline;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::batch_size(self.batch_size)?;
        match self.target {
            Target::Quantile(quantile) => validation::fraction("target.quantile", quantile)?,
            Target::Expectile(expectile) => {
                let message = "an expectile lies between 0 and 1, both excluded";
                validation::open_interval("target.expectile", expectile, message)?;
            }
        }
        if !matches!(self.network.encoder, Encoder::Transformer(_)) {
            let message = "this learner is a transformer: `network: { encoder: { transformer: {} } }` gives its shape";
            return Err(("network.encoder".to_owned(), message.to_owned()));
        }
        self.check_shared()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 1, self.batch_size as u64 * self.network.window as u64).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Offline, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let log = ReturnsToGo::of(&inputs.demonstrations, world)?;
        let by_turn = match self.target {
            Target::Quantile(quantile) => Some(log.by_turn(quantile, world.rules.horizon)),
            Target::Expectile(_) => None,
        };
        if let Some(first) = by_turn.as_ref().map(|turns| turns[0]) {
            cx.note(
                "target",
                format!("a return of {first:.3} at the first turn; the log's is {:.3} on average", log.mean()),
            );
        }
        let returns = Returns { unit: value_unit(world, 1.0), by_turn };
        let network = match start.init() {
            Some(init) => Network::import_on(&device, &init.0, returns)?,
            None => Network::new(start.network(self.seed)?, returns, self.seed.wrapping_add(1))?,
        };
        let (actor_critic, transformer) = network.params();
        let mut learner = Learner {
            config: self,
            pairs: BcDataset::new(&inputs.demonstrations, None, world, self.network.window)?,
            returns: log.returns,
            actor_critic_adam: self.optimizer.adam(actor_critic)?,
            transformer_adam: self.optimizer.adam(transformer)?,
            network,
        };
        train(
            &mut learner,
            &self.plan(self.n_epochs).after(inputs.init.as_ref(), None)?.taught_by(Some(&inputs.demonstrations)),
            world,
            cx,
        )
    }
}

/// What was to go at each demonstrated step, in the order of the demonstrations.
struct ReturnsToGo {
    returns: Vec<f32>,
    turns: Vec<usize>,
}

impl ReturnsToGo {
    fn of(demonstrations: &Demonstrations, world: &World) -> Result<Self> {
        let mut all = Self { returns: vec![], turns: vec![] };
        for Demonstration { training_rewards, .. } in Demonstration::all(demonstrations, world)? {
            let begin = all.returns.len();
            let mut to_go = 0.0;
            for &reward in training_rewards.iter().rev() {
                to_go += f64::from(reward);
                all.returns.push(to_go as f32);
            }
            all.returns[begin..].reverse();
            all.turns.extend(0..training_rewards.len());
        }
        Ok(all)
    }

    /// That quantile of each turn, the nearest rank; of turns without a step that of the turn before.
    fn by_turn(&self, quantile: f64, horizon: usize) -> Vec<f32> {
        let mut found: Vec<f32> = Vec::with_capacity(horizon);
        for turn in 0..horizon {
            let of_turn = self.turns.iter().zip(&self.returns).filter(|&(&t, _)| t == turn);
            let mut returns: Vec<f32> = of_turn.map(|(_, &r)| r).collect();
            returns.sort_by(f32::total_cmp);
            let rank = (quantile * returns.len().saturating_sub(1) as f64).round() as usize;
            found.push(returns.get(rank).or(found.last()).copied().unwrap_or(0.0));
        }
        found
    }

    /// Of an episode's first step.
    fn mean(&self) -> f64 {
        let first = || self.turns.iter().zip(&self.returns).filter(|&(&turn, _)| turn == 0);
        first().map(|(_, &r)| f64::from(r)).sum::<f64>() / first().count().max(1) as f64
    }
}

struct Learner<'c> {
    config: &'c DecisionTransformer,
    pairs: BcDataset,
    /// `[N]`.
    returns: Vec<f32>,
    network: Network,
    actor_critic_adam: AdamW,
    transformer_adam: AdamW,
}

impl PolicyLearner for Learner<'_> {
    /// One pass over all pairs, in a new order.
    fn update(&mut self, epoch: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let mut order: Vec<usize> = (0..self.pairs.actions.len()).collect();
        order.shuffle(&mut rng(&[config.seed, 0xdec, epoch]));
        for adam in [&mut self.actor_critic_adam, &mut self.transformer_adam] {
            adam.learning_rate = config.optimizer.rate(epoch, config.n_epochs);
        }
        let (mut imitation_loss, mut value_loss) = (0.0, 0.0);
        for rows in order.chunks(config.batch_size) {
            let observed = states(&self.network, &self.pairs.observation.take(rows))?;
            let actions: Vec<u32> = rows.iter().map(|&row| self.pairs.actions[row]).collect();
            let (actor_critic, transformer) = self.network.params();
            let returns = Tensor::from_iter(rows.iter().map(|&row| self.returns[row]), actor_critic.device())?;
            let mut loss = self.network.action_log_prob(&observed, &returns, &actions)?.log_prob.mean_all()?.neg()?;
            let mean = rows.len() as f64 / order.len() as f64;
            imitation_loss += f64::from(loss.to_scalar::<f32>()?) * mean;
            if let Target::Expectile(expectile) = config.target {
                let better = ((returns / self.network.unit())? - self.network.values(&observed)?)?;
                let value = expectile_loss(&better, expectile)?;
                value_loss += f64::from(value.to_scalar::<f32>()?) * mean;
                loss = (loss + value)?;
            }
            let trained = [(&mut self.actor_critic_adam, actor_critic), (&mut self.transformer_adam, transformer)];
            AdamW::descend_together(trained, &loss).with_context(|| format!("epoch {epoch}"))?;
        }
        let mut metrics = vec![("imitation_loss", imitation_loss)];
        if matches!(config.target, Target::Expectile(_)) {
            metrics.push(("value_loss", value_loss));
        }
        Ok(metrics)
    }
    fn policy(&self) -> Result<TensorFile> {
        self.network.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        let (actor_critic, transformer) = self.network.params();
        vec![
            ("policy", actor_critic, &mut self.actor_critic_adam),
            ("transformer", transformer, &mut self.transformer_adam),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};
    use crate::env::cluster_world;
    use crate::nn::Optimizer;
    use crate::rl::conformance::{
        ContractCase, assert_keeps_the_contract, returns_after_good_and_frequent, small_network, with,
    };

    fn solver(target: Target) -> DecisionTransformer {
        let encoder = Encoder::Transformer(Transformer { n_layers: 1, hidden_size: 16, n_heads: 2 });
        DecisionTransformer {
            n_epochs: 80,
            target,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: NetworkConfig { encoder, ..small_network() },
            ..DecisionTransformer::default()
        }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        // Who asks for a quantile needs no critic, and nothing that only the critic reads.
        for (target, frozen) in
            [(Target::Quantile(1.0), &["critic.", "encoder."][..]), (Target::Expectile(0.9), &[][..])]
        {
            let solver = || solver(target.clone());
            assert_keeps_the_contract(&ContractCase {
                short: DecisionTransformer { n_epochs: 5, batch_size: 7, ..solver() },
                untrained: DecisionTransformer { n_epochs: 0, ..solver() },
                solver: solver(),
                updates: 5,
                inputs: Offline::new,
                frozen,
                refused: vec![
                    (with(|c: &mut DecisionTransformer| c.batch_size = 0), "batch_size"),
                    (with(|c| c.target = Target::Quantile(1.1)), "target.quantile"),
                    (with(|c| c.target = Target::Expectile(1.0)), "target.expectile"),
                    (with(|c| c.network.encoder = Encoder::Window), "network.encoder"),
                ],
                online: false,
            });
        }
    }

    #[test]
    fn it_does_what_returned_as_much_as_is_asked_for() {
        // Near the end of a session there is little to tell the returns apart.
        let solver = |target| DecisionTransformer { n_epochs: 160, ..solver(target) };
        let returns = |target| returns_after_good_and_frequent(&solver(target));
        assert_eq!(returns(Target::Quantile(1.0)), [120.0, 120.0], "the best of the log");
        assert_eq!(returns(Target::Quantile(0.0)), [90.0, 90.0], "the worst of the log, which is what is frequent");
        assert_eq!(returns(Target::Expectile(0.99)), [120.0, 120.0], "as much as the log supports");
    }

    #[test]
    fn returns_to_go_agree_with_hand_computed_values() {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 4, 2);
        world.rules.quit_penalty = Some(-2.0);
        let episode = |rewards: &[f32], end| {
            let step = |(item, &reward): (u32, &f32)| Step {
                item,
                reward,
                candidates: vec![],
                scores: vec![],
                call: String::new(),
            };
            Trajectory { user: 0, steps: (0..).zip(rewards).map(step).collect(), end }
        };
        let demonstrations = Demonstrations::new(vec![
            episode(&[1.0, 2.0, 3.0], Termination::Horizon),
            episode(&[4.0, 5.0], Termination::Similar),
            episode(&[8.0], Termination::Horizon),
        ]);
        let log = ReturnsToGo::of(&demonstrations, &world).unwrap();
        // The user of the second left: its last reward is the penalty.
        assert_eq!(log.returns, [6.0, 5.0, 3.0, 2.0, -2.0, 8.0]);
        assert_eq!(log.by_turn(1.0, 4), [8.0, 5.0, 3.0, 3.0], "nobody reached the last turn");
        assert_eq!(log.by_turn(0.5, 4), [6.0, 5.0, 3.0, 3.0]);
        assert_eq!(log.by_turn(0.0, 4), [2.0, -2.0, 3.0, 3.0]);
        assert!((log.mean() - 16.0 / 3.0).abs() < 1e-12);
    }
}
