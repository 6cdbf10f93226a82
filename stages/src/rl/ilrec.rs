//! IL-Rec's joint loop: a discriminator, weights of the demonstrations and a policy, learned together on mixed replay.
//!
//! Each iteration plays with π (B_env), updates the discriminator, computes the weights of the demonstrations and takes one step on
//! L = L_RL(B_env ∪ B_demo) + λ·L_imit(B_demo), with
//!   r = (1 − ω)·r̂ + ω·r_IRL,  r_IRL = −log(1 − D_E(s, a)) ≥ 0
//!   L_D = −mean_demo(log D_E) − mean_π(log(1 − D_E)), with smoothed labels
//!   w = w_env^α · (D_E/(1 − D_E))^(κ·(1−α)), mean 1 over all demonstrations;  L_imit = −mean(w·log π(a|s))
//!   L_RL = −mean(A·log π(a|s)) − c_H·H(π) + c_V·mean((V − R)²), as in `rl.a2c`;
//!   for demonstrated steps A = max(R − V, 0) / deviation, and R of a truncated one is bootstrapped with V of the state after it
//!
//! Zhang et al. 2025 (arXiv 2510.13229); the discriminator is GAIL's (arXiv 1606.03476, eq. 17), as in the released code. At ω = 0 the
//! learned reward is not used, as released; at ω = 1 the world's is not: pure inverse RL. Unlike the release, the discriminator is
//! updated in every iteration, all demonstrations have weights, and their fraction of a batch is constant. Advantages of
//! demonstrated steps are cut at 0 from below, as in self-imitation learning (Oh et al. 2018, arXiv 1806.05635, eq. 2): to be
//! pushed away from what the policy no longer does has no bound. Left out: AIRL's form and other reward forms (see `irl`), which
//! a policy can learn from through `rl.a2c`; w_env comes from an `irl` stage, for it depends on the demonstrations alone.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::a2c::policy_gradient_loss;
use super::advantage::{bootstrap_truncated, n_step_returns, normalised_and_clipped, true_advantages};
use super::batch::{Batch, value_unit};
use super::dataset::Demonstration;
use super::ilrec_discriminator::IlRecDiscriminator;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::{LearnerTables, states_of};
use super::mixed_reward::mixed;
use super::settings::learner_settings;
use super::shaping::{Shaper, shaped};
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{BcDataset, EntropyBy, NetworkConfig, Outputs, PolicyLearner, Shaping};
use crate::artifact::{Array, Demonstrations, ItemVectors, Items, MemoryGraph, PolicyFile, TensorFile, Weights, World};
use crate::env::{Features, Observation, PolicyAgent, states};
use crate::nn::importance_weights::mixed_weights;
use crate::nn::loss::value_loss;
use crate::nn::{ActionLogProb, ActorCritic, AdamW, DiscriminatorSettings, device, rng};

learner_settings! {
    /// `rl.ilrec`.
    pub struct IlRec {
        /// Iterations; each plays `episodes_per_update` episodes, updates the discriminator and takes one gradient step of the policy.
        pub n_iterations: u64 = 400,
        /// Whole episodes that an iteration plays, from 1.
        pub episodes_per_update: usize = 64,
        /// Fraction of demonstrated steps in L_RL, in [0, 1). Whole episodes are added until it is reached. Ours; in the released code
        /// the fraction falls as the replay buffer fills.
        pub demo_fraction: f64 = 0.25,
        /// n of the n-step returns, from 1: rewards that are summed before the critic's value is added.
        pub n_step: usize = 8,
        /// c_H: weight of the entropy bonus, per nat; IL-Rec: 0.1.
        pub entropy_coef: f64 = 0.01,
        /// What the entropy of a played step is multiplied by in the bonus: 1 (`mean`, the default) or the normalised advantage, cut to ±3
        /// (`advantage`: IBRO, see `rl::entropy`).
        #[serde(skip_serializing_if = "EntropyBy::is_mean")]
        pub entropy_by: EntropyBy = EntropyBy::Mean,
        /// c_V: weight of the critic's loss, 0 or more.
        pub value_coef: f64 = 0.5,
        /// Share ω of r_IRL in the reward, in [0, 1]: 0 as in IL-Rec's released code, 1 is pure inverse RL.
        pub omega: f64 = 0.0,
        /// λ: weight of the behaviour-cloning loss, 0 or more; IL-Rec: 0.25 on Steam, 0.5 on Amazon.
        pub bc_coef: f64 = 0.25,
        /// Demonstrated steps in the behaviour-cloning loss of an iteration, from 1.
        pub bc_batch_size: usize = 128,
        /// The discriminator between demonstrated and played steps.
        pub discriminator: DiscriminatorSettings = DiscriminatorSettings::default(),
        /// The weights of demonstrated steps.
        pub weights: WeightsConfig = WeightsConfig::default(),
        /// How a connected `memory` shapes the advantages: Ã = ηÂ + ξU (after MIRA, arXiv 2602.17930).
        #[serde(skip_serializing_if = "Shaping::is_default")]
        pub shaping: Shaping = Shaping::default(),
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        network: NetworkConfig::default(),
        checkpoint_every: 25 iterations,
        /// IL-Rec: 0.5.
        gamma: 0.9,
    }
}

/// The weights of `rl.ilrec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WeightsConfig {
    /// Iterations between two computations of all weights; 0 never computes them, so that w ≡ 1, the ablation.
    pub reweight_interval: u64,
    /// κ of w_IRL.
    pub kappa: f64,
    /// α of w = w_env^α · w_IRL^(1−α), in [0, 1]; IL-Rec: 0.5 on Steam, 0.25 on Amazon.
    pub alpha: f64,
}

impl Default for WeightsConfig {
    fn default() -> Self {
        Self { reweight_interval: 10, kappa: 1.0, alpha: 0.5 }
    }
}

pipeline::ports! {
    /// What is learned from.
    pub struct Inputs {
        /// The training world, never the evaluation world.
        world: World,
        /// What the expert did in it.
        demonstrations: Demonstrations,
        /// Whose `w_env` says how much better each demonstrated step was than usual; 1 without.
        weights: Option<Weights>,
        /// The catalogue: with it the discriminator reads the items' titles and genres in the place of the world's vectors.
        items: Option<Items>,
        /// A vector for each item, such as that of its text by `embed`. The discriminator reads it instead of the world's item vectors.
        /// Not beside `items`.
        item_vectors: Option<ItemVectors>,
        /// The policy to begin from; a new network without.
        init: Option<PolicyFile>,
        /// The memory that shapes the advantages of played steps, see `shaping`.
        memory: Option<MemoryGraph>,
    }
}

impl Inputs {
    /// Of these demonstrations, without anything optional.
    #[must_use]
    pub fn new(world: World, demonstrations: Demonstrations) -> Self {
        Self { world, demonstrations, weights: None, items: None, item_vectors: None, init: None, memory: None }
    }
}

impl Stage for IlRec {
    const KIND: &'static str = "rl.ilrec";
    /// 1: first. 2: returns of a demonstration that was only cut off go on; demonstrated advantages are cut at 0 before they are
    /// scaled; the penalty for leaving is learned from. 3: the discriminator learns from logits that are not cut.
    /// 4: steps of training are fused, so sums round otherwise; `discriminator.n_layers`.
    /// 5: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 5;
    const ABOUT: &'static str = "train discriminator, weights and policy together on mixed replay, as IL-Rec does";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init", "memory"];
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::fraction("omega", self.omega)?;
        validation::fraction("demo_fraction", self.demo_fraction)?;
        validation::positive("demo_fraction", 1.0 - self.demo_fraction, "below 1: the policy plays, too")?;
        validation::n_step(self.n_step)?;
        validation::episodes_per_update(self.episodes_per_update)?;
        validation::behaviour_cloning(self.bc_coef, self.bc_batch_size)?;
        validation::coefficient("value_coef", self.value_coef)?;
        validation::finite("entropy_coef", self.entropy_coef)?;
        validation::nested("discriminator", self.discriminator.check())?;
        validation::nested("shaping", self.shaping.check())?;
        validation::fraction("weights.alpha", self.weights.alpha)?;
        validation::coefficient("weights.kappa", self.weights.kappa)?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        self.shaping.requirement().into_iter().collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 2, states_of(self.episodes_per_update, inputs)).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let mut learner = Learner::new(self, &inputs, &device)?;
        let plan = self.plan(self.n_iterations).after(inputs.init.as_ref(), None)?;
        train(&mut learner, &plan.taught_by(Some(&inputs.demonstrations)), world, cx)
    }
}

/// The steps that L_RL learns from.
struct Mix {
    batch: Batch,
    /// How many of them were played; the others are demonstrated.
    played: usize,
    /// The steps with which a demonstration was cut off, and which of `Learner::after` comes after each.
    last: Vec<usize>,
    after: Vec<usize>,
}

struct Learner<'a> {
    config: &'a IlRec,
    world: &'a World,
    network: ActorCritic,
    adam: AdamW,
    /// The critic's unit.
    value_unit: f64,
    discriminator: IlRecDiscriminator<'a>,
    /// The demonstrations as episodes.
    demos: Batch,
    /// The states after those that were only cut off.
    after: Observation,
    /// Which of `after` is of each episode; `None` where nothing comes after it.
    cut: Vec<Option<usize>>,
    /// The demonstrations as pairs, weighted anew from time to time.
    pairs: BcDataset,
    /// log w_env `[N]`.
    log_env: Vec<f32>,
    /// The memory, where one is connected.
    shaper: Option<Shaper>,
}

impl<'a> Learner<'a> {
    fn new(config: &'a IlRec, inputs: &'a Inputs, device: &Device) -> Result<Self> {
        let Inputs { world, demonstrations, weights, items, item_vectors, init, memory } = inputs;
        let (weights, window) = (weights.as_ref(), config.network.window);
        let mut pairs = BcDataset::new(demonstrations, weights, world, window)?;
        let log = |w: &f32| w.max(f32::MIN_POSITIVE).ln();
        let log_env = match weights {
            Some(weights) => weights.w_env.iter().map(log).collect(),
            None => vec![0.0; pairs.actions.len()],
        };
        pairs.weights.fill(1.0);
        let (mut demos, mut after, mut cut) = (Batch::empty(world, window), Observation::of(world, window), Vec::new());
        for Demonstration { user, items, rewards, training_rewards, terminal } in
            Demonstration::all(demonstrations, world)?
        {
            demos.push(user, &items, &rewards, &training_rewards, world);
            cut.push((!terminal).then_some(after.len()));
            if !terminal {
                after.push(user, &items, &rewards, world.rules.horizon, world.items() as u32);
            }
        }
        let start = Start::new(IlRec::KIND, &config.network, init.as_ref(), world, device)?;
        let network = start.network(config.seed)?;
        let (items, vectors) = (items.as_ref(), item_vectors.as_ref());
        let features = Features::of(world, items, vectors, config.discriminator.text_embedding_dim, config.seed)?;
        Ok(Self {
            adam: config.optimizer.adam(network.params())?,
            network,
            value_unit: value_unit(world, config.gamma),
            discriminator: IlRecDiscriminator::new(
                device,
                &config.discriminator,
                &pairs,
                world,
                features,
                config.seed,
            )?,
            demos,
            after,
            cut,
            pairs,
            log_env,
            shaper: Shaper::optional(&config.shaping, memory.as_ref(), world, config.n_iterations, config.seed)?,
            config,
            world,
        })
    }

    /// `batch`, which was played, then demonstrated episodes until their share is what is stated.
    fn mix(&self, batch: Batch, round: u64) -> Mix {
        let count = batch.steps();
        let mut mix = Mix { batch, played: count, last: vec![], after: vec![] };
        let share = self.config.demo_fraction;
        let wanted = (count as f64 * share / (1.0 - share)).round() as usize;
        let mut starts = vec![0];
        starts.extend(self.demos.lengths.iter().scan(0, |sum, length| {
            *sum += length;
            Some(*sum)
        }));
        let mut draw = rng(&[self.config.seed, 0x3173, round]);
        let mut order: Vec<usize> = Vec::new();
        while mix.batch.steps() < count + wanted {
            let episode = order.pop().unwrap_or_else(|| {
                order = (0..self.demos.lengths.len()).collect();
                order.shuffle(&mut draw);
                order.pop().unwrap_or(0)
            });
            let rows = starts[episode]..starts[episode + 1];
            let user = self.demos.observation.user[rows.start];
            let (rewards, training_rewards) =
                (&self.demos.rewards[rows.clone()], &self.demos.training_rewards[rows.clone()]);
            mix.batch.push(user, &self.demos.actions[rows], rewards, training_rewards, self.world);
            if let Some(after) = self.cut[episode] {
                mix.last.push(mix.batch.steps() - 1);
                mix.after.push(after);
            }
        }
        mix
    }

    /// V of those states after demonstrations, in the unit of rewards.
    fn values_after(&self, rows: &[usize]) -> Result<Vec<f32>> {
        if rows.is_empty() {
            return Ok(vec![]);
        }
        let values = self.network.values(&states(&self.network, &self.after.take(rows))?)?;
        Ok(values.to_vec1::<f32>()?.into_iter().map(|v| v * self.value_unit as f32).collect())
    }
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let place = || format!("update {number}");
        let student = PolicyAgent { network: &self.network, sample: true };
        let draw = rng(&[config.seed, 0x117, number]);
        let played = Batch::play(self.world, &student, config.episodes_per_update, config.network.window, draw)?;
        let (episode_return, length) = (played.episode_return(), played.length());

        let metrics = self
            .discriminator
            .learn(&played, &self.pairs.weights, [number, config.n_iterations])
            .with_context(place)?;
        let WeightsConfig { reweight_interval, kappa, alpha } = self.config.weights;
        if reweight_interval > 0 && number.is_multiple_of(reweight_interval) {
            self.pairs.weights = mixed_weights(&self.log_env, &self.discriminator.demo_logits()?, 1.0, kappa, alpha);
        }

        let Mix { batch, played: count, last, after } = self.mix(played, number);
        let rewards = mixed(&batch.training_rewards, &self.discriminator.rewards(&batch)?, config.omega);
        let mut rewards = batch.finite(rewards).with_context(place)?;
        bootstrap_truncated(&mut rewards, &last, &self.values_after(&after)?, config.gamma);
        let (choice, values) =
            self.network.evaluate_actions(&states(&self.network, &batch.observation)?, &batch.actions)?;
        let unit = self.value_unit as f32;
        let state_values: Vec<f32> = values.to_vec1::<f32>()?.into_iter().map(|v| v * unit).collect();
        let returns = n_step_returns(&rewards, &state_values, &batch.lengths, config.gamma, config.n_step);
        let advantages = normalised_and_clipped(returns.iter().zip(&state_values).map(|(r, v)| r - v).collect(), count);
        let targets: Vec<f32> = returns.iter().map(|r| r / unit).collect();

        let steps = batch.steps();
        let ActionLogProb { log_prob, entropy } = choice;
        let entropy = entropy.narrow(0, 0, count)?;
        let played = &batch.lengths[..config.episodes_per_update];
        let truth = || true_advantages(&batch.training_rewards[..count], played, config.gamma);
        let mut terms = config.entropy_by.series(&entropy.to_vec1()?, &advantages[..count], truth);
        let (shaped, memory) = shaped(&mut self.shaper, number, &batch, played.len(), &advantages, truth)?;
        terms.extend(memory);
        let advantages = Tensor::from_vec(advantages, steps, values.device())?;
        let actor = policy_gradient_loss(&log_prob, &Tensor::from_vec(shaped, steps, values.device())?)?;
        let bonus = config.entropy_by.bonus(&entropy, &advantages.narrow(0, 0, count)?)?;
        let entropy = entropy.mean_all()?;
        let critic = value_loss(&values, &Tensor::from_vec(targets, steps, values.device())?)?;
        let rows = self.pairs.draw(config.bc_batch_size, rng(&[config.seed, 0x1317, number]));
        let bc_loss = self.pairs.imitation_loss(&self.network, &rows)?;
        let learned = ((&actor - (bonus * config.entropy_coef)?)? + (&critic * config.value_coef)?)?;
        let loss = (learned + (&bc_loss * config.bc_coef)?)?;
        self.adam.learning_rate = config.optimizer.rate(number, config.n_iterations);
        self.adam.descend(self.network.params(), &loss).with_context(place)?;
        let max_weight = self.pairs.weights.iter().copied().fold(0.0, f32::max);
        let mut series = vec![
            ("return", episode_return),
            ("length", length),
            ("entropy", f64::from(entropy.to_scalar::<f32>()?)),
            ("value_error", f64::from(critic.to_scalar::<f32>()?)),
            ("imitation_loss", f64::from(bc_loss.to_scalar::<f32>()?)),
            ("demonstrated_share", (steps - count) as f64 / steps as f64),
            ("discriminator_loss", metrics.loss),
            ("accuracy", metrics.accuracy),
            ("heaviest_weight", f64::from(max_weight)),
        ];
        series.extend(terms);
        Ok(series)
    }
    fn policy(&self) -> Result<TensorFile> {
        self.network.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![("policy", self.network.params(), &mut self.adam), self.discriminator.modules()]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        let mut state = self.discriminator.extra_state()?;
        state.insert("weights".to_owned(), Array::new(&[self.pairs.weights.len()], self.pairs.weights.clone()));
        state.extend(self.shaper.iter().flat_map(Shaper::extra_state));
        Ok(state)
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        self.pairs.weights = state.get("weights").context("no weights in the checkpoint")?.data.clone();
        self.shaper.iter_mut().try_for_each(|shaper| shaper.restore(state))?;
        self.discriminator.restore(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::Optimizer;
    use crate::rl::conformance::{
        ContractCase, assert_keeps_the_contract, demonstrated_cycles, greedy_returns, small_network, with,
    };

    fn solver() -> IlRec {
        IlRec {
            n_iterations: 250,
            episodes_per_update: 16,
            optimizer: Optimizer::with_learning_rate(0.01),
            omega: 0.3,
            bc_batch_size: 32,
            discriminator: DiscriminatorSettings { batch_size: 32, hidden_size: 16, ..Default::default() },
            network: small_network(),
            ..IlRec::default()
        }
    }

    fn train_with(config: &IlRec, world: &World, demonstrations: Demonstrations) -> Outputs {
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs::new(world.clone(), demonstrations);
        config.run(inputs, &Context::detached(folder.path())).unwrap()
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let weights = WeightsConfig { reweight_interval: 2, ..WeightsConfig::default() };
        let discriminator = DiscriminatorSettings { buffer_rounds: 2, ..solver().discriminator };
        assert_keeps_the_contract(&ContractCase {
            short: IlRec { n_iterations: 5, episodes_per_update: 4, weights, discriminator, ..solver() },
            untrained: IlRec { n_iterations: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: Inputs::new,
            frozen: &[],
            refused: vec![
                (with(|c: &mut IlRec| c.omega = 2.0), "omega"),
                (with(|c| c.demo_fraction = 1.0), "demo_fraction"),
                (with(|c| c.demo_fraction = -0.1), "demo_fraction"),
                (with(|c| c.n_step = 0), "n_step"),
                (with(|c| c.episodes_per_update = 0), "episodes_per_update"),
                (with(|c| c.bc_batch_size = 0), "bc_batch_size"),
                (with(|c| c.bc_coef = -1.0), "bc_coef"),
                (with(|c| c.value_coef = -1.0), "value_coef"),
                (with(|c| c.entropy_coef = f64::NAN), "entropy_coef"),
                (with(|c| c.discriminator.batch_size = 0), "discriminator.batch_size"),
                (with(|c| c.discriminator.buffer_rounds = 0), "discriminator.buffer_rounds"),
                (with(|c| c.discriminator.label_smoothing = 0.5), "discriminator.label_smoothing"),
                (with(|c| c.discriminator.logit_clip = 0.0), "discriminator.logit_clip"),
                (with(|c| c.discriminator.max_accuracy = f64::NAN), "discriminator.max_accuracy"),
                (with(|c| c.discriminator.max_accuracy = 0.0), "discriminator.max_accuracy"),
                (with(|c| c.weights.alpha = 1.5), "weights.alpha"),
                (with(|c| c.weights.kappa = -1.0), "weights.kappa"),
            ],
            online: true,
        });
    }

    /// Without imitation and at ω = 1 nothing but r_IRL can tell the demonstrated cycle, over the clusters that pay 4, 3 and 2, from
    /// the better one; at ω = 0 nothing but the world's reward counts.
    #[test]
    fn omega_goes_from_the_world_to_pure_inverse_rl() {
        let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 2, 30, 2);
        let alone = IlRec { bc_coef: 0.0, demo_fraction: 0.0, ..solver() };
        let returned = |omega: f64| {
            let outputs =
                train_with(&IlRec { omega, ..alone.clone() }, &world, demonstrated_cycles(&world, &[&[2, 4, 6]]));
            greedy_returns(&outputs.policy, &world)
        };
        let (pure, none) = (returned(1.0), returned(0.0));
        assert!(pure.iter().all(|r| (r - 90.0).abs() < 1e-3), "the expert's 90, found {pure:?}");
        assert!(none.iter().all(|r| *r >= 120.0 - 1e-3), "the world's 120, found {none:?}");
    }

    #[test]
    fn a_demonstration_that_was_only_cut_off_goes_on() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 8, 2);
        let mut demonstrations = demonstrated_cycles(&world, &[&[0, 2, 4]]);
        demonstrations.trajectories[1].steps.truncate(3);
        let config = IlRec { demo_fraction: 0.6, ..solver() };
        let inputs = Inputs::new(world.clone(), demonstrations);
        let learner = Learner::new(&config, &inputs, &Device::Cpu).unwrap();
        assert_eq!(learner.cut, [None, Some(0)], "of eight turns, eight and three");
        assert_eq!((&learner.after.recent[..], learner.after.progress[0]), (&[4, 2][..], 0.375));
        let mut played = Batch::empty(&world, 2);
        played.push(0, &[0, 2, 4, 0, 2, 4, 0, 2], &[4.0; 8], &[4.0; 8], &world);
        // 12 steps wanted: both demonstrations, of 8 and 3 steps, and one of them again.
        let mix = learner.mix(played, 0);
        assert!(!mix.last.is_empty() && mix.last.iter().all(|&row| mix.batch.observation.user[row] == 1));
        assert!(mix.last.iter().all(|&row| mix.batch.actions[row - 2..=row] == [0, 2, 4]), "{:?}", mix.last);
        assert_eq!(mix.after, vec![0; mix.last.len()]);
        assert_eq!(learner.values_after(&mix.after).unwrap().len(), mix.last.len());
    }

    #[test]
    fn the_share_of_demonstrated_steps_is_what_is_stated() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 8, 4);
        let config = IlRec { n_iterations: 3, demo_fraction: 0.4, ..solver() };
        let outputs = train_with(&config, &world, demonstrated_cycles(&world, &[&[0, 2, 4]]));
        let shares = outputs.curves.0.iter().filter(|point| point.series == "demonstrated_share");
        let shares: Vec<f64> = shares.map(|point| point.value).collect();
        // Whole episodes of eight steps to at least 32 played ones.
        assert!(shares.len() == 3 && shares.iter().all(|share| (0.4..0.51).contains(share)), "{shares:?}");
    }
}
