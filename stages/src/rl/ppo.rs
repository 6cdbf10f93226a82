//! Proximal policy optimisation over whole episodes, with a behaviour-cloning loss.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL;  A_t = Σ_k (γλ)ᵏ δ_{t+k}, R = A + V;  ρ = π(a|s)/π_old(a|s)
//! L = −mean(min(ρ·A, clip(ρ, 1 − ε, 1 + ε)·A)) − c_H·H(π) + c_V·mean((V − R)²) + λ_imit·L_imit + λ_KL·mean KL(π‖π₀)
//!
//! Schulman et al. 2017 (arXiv 1707.06347, eqs. 7 and 9), advantages by Schulman et al. 2016 (arXiv 1506.02438, eq. 16). The
//! task is of finite horizon and the state holds the progress, so the value after the last turn is 0 whether the user left
//! or was cut off. Left out: clipping of the value, and the penalty form of the objective.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};
use rand::seq::SliceRandom;

use super::advantage::{generalised_advantages, normalised, true_advantages};
use super::batch::{Batch, value_unit};
use super::inputs::OnlineWithDemos;
use super::kl_config::KlConfig;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::{LearnerTables, states_of};
use super::mixed_reward::MixedReward;
use super::reference::{Reference, ReferenceMetrics, divergence_of};
use super::settings::learner_settings;
use super::shaping::{Shaper, shaped};
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{BcDataset, EntropyBy, NetworkConfig, Outputs, PolicyLearner, Shaping};
use crate::artifact::{Array, TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::loss::{clipped_loss, value_loss};
use crate::nn::{ActionLogProb, ActorCritic, AdamW, ItemValues, device, rng};

learner_settings! {
    /// `rl.ppo`.
    pub struct Ppo {
        /// Iterations; each plays `episodes_per_update` whole episodes with the current policy and passes over them `n_epochs` times.
        pub n_iterations: u64 = 100,
        /// Whole episodes that an iteration plays, from 1.
        pub episodes_per_update: usize = 64,
        /// Passes over the steps of an iteration, from 1; the paper: 3 to 10.
        pub n_epochs: u64 = 4,
        /// Steps of a gradient step, from 1.
        pub batch_size: usize = 512,
        /// λ of generalised advantage estimation, in [0, 1]: 0 looks one step ahead, 1 to the end; the paper: 0.95.
        pub gae_lambda: f64 = 0.95,
        /// ε: the ratio π(a|s)/π_old(a|s) is clipped to 1 − ε and 1 + ε, above 0; the paper: 0.2.
        pub clip_range: f64 = 0.2,
        /// An iteration ends after the pass whose mean KL divergence from π_old exceeds this, in nats, above 0; ours.
        pub target_kl: f64 = 0.05,
        /// c_H: weight of the entropy bonus, per nat.
        pub entropy_coef: f64 = 0.01,
        /// What the entropy of a step is multiplied by in the bonus: 1 (`mean`, the default) or the normalised advantage, cut to ±3
        /// (`advantage`: IBRO, see `rl::entropy`).
        #[serde(skip_serializing_if = "EntropyBy::is_mean")]
        pub entropy_by: EntropyBy = EntropyBy::Mean,
        /// c_V: weight of the critic's loss, 0 or more.
        pub value_coef: f64 = 0.5,
        /// Share ω of r_IRL in the reward, in [0, 1].
        pub omega: f64 = 0.0,
        /// λ: weight of the behaviour-cloning loss, 0 or more; 0 turns it off. 0.25 is IL-Rec's for Steam.
        pub bc_coef: f64 = 0.25,
        /// Demonstrated steps in the behaviour-cloning loss of a gradient step, from 1.
        pub bc_batch_size: usize = 128,
        /// The divergence from a reference policy: λ·KL(π‖π₀) in the loss (after LINVIT, arXiv 2402.16181).
        #[serde(skip_serializing_if = "KlConfig::is_off")]
        pub kl: KlConfig = KlConfig::default(),
        /// How a connected `memory` shapes the advantages: Ã = ηÂ + ξU (after MIRA, arXiv 2602.17930).
        #[serde(skip_serializing_if = "Shaping::is_default")]
        pub shaping: Shaping = Shaping::default(),
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        network: NetworkConfig::default(),
        checkpoint_every: 10 iterations,
        gamma: 0.9,
    }
}

impl Stage for Ppo {
    const KIND: &'static str = "rl.ppo";
    /// 1: first.
    /// 2: steps of training are fused, so sums round otherwise.
    /// 3: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 3;
    const ABOUT: &'static str =
        "train a policy by proximal policy optimisation on world and learned reward, with a behaviour-cloning loss";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init", "reference", "memory"];
    const USES_DEVICE: bool = true;
    type Inputs = OnlineWithDemos;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::fraction("gae_lambda", self.gae_lambda)?;
        validation::fraction("omega", self.omega)?;
        validation::episodes_per_update(self.episodes_per_update)?;
        validation::at_least_one(
            "n_epochs",
            self.n_epochs as usize,
            "an iteration passes over its steps at least once",
        )?;
        validation::batch_size(self.batch_size)?;
        validation::positive("clip_range", self.clip_range, "the clip range is above 0")?;
        validation::positive("target_kl", self.target_kl, "a divergence is above 0")?;
        validation::behaviour_cloning(self.bc_coef, self.bc_batch_size)?;
        validation::coefficient("value_coef", self.value_coef)?;
        validation::finite("entropy_coef", self.entropy_coef)?;
        validation::nested("kl", self.kl.check())?;
        validation::nested("shaping", self.shaping.check())?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega)
            .into_iter()
            .chain(BcDataset::requirement(self.bc_coef))
            .chain([self.kl.requirement()])
            .chain(self.shaping.requirement())
            .collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 1, states_of(self.episodes_per_update, inputs)).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: OnlineWithDemos, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let window = self.network.window;
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let network = start.network(self.seed)?;
        let mut learner = Learner {
            config: self,
            world,
            reward: MixedReward::new(self.omega, inputs.reward.as_ref(), world, window)?,
            demonstrated: BcDataset::optional(
                self.bc_coef,
                inputs.demonstrations.as_ref(),
                inputs.weights.as_ref(),
                world,
                window,
            )?,
            adam: self.optimizer.adam(network.params())?,
            network,
            value_unit: value_unit(world, self.gamma),
            reference: Reference::optional(&self.kl, inputs.reference.as_ref(), world, window, &device)?,
            shaper: Shaper::optional(&self.shaping, inputs.memory.as_ref(), world, self.n_iterations, self.seed)?,
        };
        train(
            &mut learner,
            &self
                .plan(self.n_iterations)
                .after(inputs.init.as_ref(), inputs.reference.as_ref())?
                .taught_by(inputs.demonstrations.as_ref()),
            world,
            cx,
        )
    }
}

struct Learner<'a> {
    config: &'a Ppo,
    world: &'a World,
    reward: MixedReward<'a>,
    demonstrated: Option<BcDataset>,
    network: ActorCritic,
    adam: AdamW,
    /// The critic's unit.
    value_unit: f64,
    /// π₀, where the policy is held near one.
    reference: Option<Reference>,
    /// The memory, where one is connected.
    shaper: Option<Shaper>,
}

/// A round's steps with what the policy that played them thought, `[S]` each.
struct Rollout {
    batch: Batch,
    /// log π_old(a|s).
    log_old: Vec<f32>,
    /// A, normalised over the round.
    advantages: Vec<f32>,
    /// The same, shaped by the memory where there is one.
    shaped: Vec<f32>,
    /// R in the critic's unit.
    targets: Vec<f32>,
    /// What the terms did that are off by default, by the name of their curve.
    terms: UpdateMetrics,
    /// Where the policy is held near a reference: λ, and log π₀ `[S, I]`.
    held: Option<(f64, ItemValues)>,
}

/// Sums over a round's gradient steps.
#[derive(Default)]
struct Sums {
    steps: f64,
    divergence: f64,
    entropy: f64,
    value_error: f64,
    bc_loss: f64,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let rollout = self.play(number)?;
        self.adam.learning_rate = config.optimizer.rate(number, config.n_iterations);
        let mut sums = Sums::default();
        for epoch in 0..config.n_epochs {
            let mut order: Vec<usize> = (0..rollout.batch.steps()).collect();
            order.shuffle(&mut rng(&[config.seed, 0x990, number, epoch]));
            let (before, steps_before) = (sums.divergence, sums.steps);
            for (k, rows) in order.chunks(config.batch_size).enumerate() {
                self.descend(&rollout, rows, &[number, epoch, k as u64], &mut sums)
                    .with_context(|| format!("update {number}"))?;
            }
            if (sums.divergence - before) / (sums.steps - steps_before) > config.target_kl {
                break;
            }
        }
        let mean = |sum: f64| sum / sums.steps.max(1.0);
        let mut series = vec![
            ("return", rollout.batch.episode_return()),
            ("length", rollout.batch.length()),
            ("entropy", mean(sums.entropy)),
            ("value_error", mean(sums.value_error)),
            ("imitation_loss", mean(sums.bc_loss)),
            ("divergence", mean(sums.divergence)),
            ("gradient_steps", sums.steps),
        ];
        series.extend(rollout.terms);
        Ok(series)
    }
    fn policy(&self) -> Result<TensorFile> {
        self.network.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![("policy", self.network.params(), &mut self.adam)]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        Ok(self.shaper.iter().flat_map(Shaper::extra_state).collect())
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        self.shaper.iter_mut().try_for_each(|shaper| shaper.restore(state))
    }
}

impl Learner<'_> {
    /// Plays the episodes of an iteration and computes their advantages.
    fn play(&mut self, number: u64) -> Result<Rollout> {
        let config = self.config;
        let student = PolicyAgent { network: &self.network, sample: true };
        let draw = rng(&[config.seed, 0x99a, number]);
        let batch = Batch::play(self.world, &student, config.episodes_per_update, config.network.window, draw)?;
        let rewards = batch.finite(self.reward.of(&batch)?).with_context(|| format!("update {number}"))?;
        let observed = states(&self.network, &batch.observation)?;
        let (choice, values) = self.network.evaluate_actions(&observed, &batch.actions)?;
        let unit = self.value_unit as f32;
        let state_values: Vec<f32> = values.to_vec1::<f32>()?.into_iter().map(|v| v * unit).collect();
        let advantages =
            generalised_advantages(&rewards, &state_values, &batch.lengths, config.gamma, config.gae_lambda);
        let targets = advantages.iter().zip(&state_values).map(|(a, v)| (a + v) / unit).collect();
        let advantages = normalised(advantages);
        let truth = || true_advantages(&batch.training_rewards, &batch.lengths, config.gamma);
        let mut terms = config.entropy_by.series(&choice.entropy.to_vec1()?, &advantages, truth);
        let episodes = batch.lengths.len();
        let (shaped, memory) = shaped(&mut self.shaper, number, &batch, episodes, &advantages, truth)?;
        terms.extend(memory);
        let mut held = None;
        if let Some(reference) = &self.reference {
            let log_probs = reference.log_probs(&batch.observation)?;
            let divergences = divergence_of(&self.network, &observed, &log_probs)?;
            let coef = config.kl.coef_at(number, config.n_iterations);
            terms.extend(ReferenceMetrics::of(&log_probs, coef, &divergences, &batch, config.gamma)?.series());
            held = Some((coef, log_probs));
        }
        Ok(Rollout { held, log_old: choice.log_prob.to_vec1()?, targets, terms, advantages, shaped, batch })
    }

    /// One gradient step on the given rows of a round.
    fn descend(&mut self, rollout: &Rollout, rows: &[usize], place: &[u64; 3], sums: &mut Sums) -> Result<()> {
        let config = self.config;
        let device = self.network.device().clone();
        let select = |values: &[f32]| Tensor::from_iter(rows.iter().map(|&row| values[row]), &device);
        let actions: Vec<u32> = rows.iter().map(|&row| rollout.batch.actions[row]).collect();
        let states = states(&self.network, &rollout.batch.observation.take(rows))?;
        let (ActionLogProb { log_prob, entropy }, values) = self.network.evaluate_actions(&states, &actions)?;
        let change = (log_prob - select(&rollout.log_old)?)?;
        let actor = clipped_loss(&change, &select(&rollout.shaped)?, config.clip_range)?;
        let bonus = config.entropy_by.bonus(&entropy, &select(&rollout.advantages)?)?;
        let entropy = entropy.mean_all()?;
        let critic = value_loss(&values, &select(&rollout.targets)?)?;
        let mut loss = ((&actor - (bonus * config.entropy_coef)?)? + (&critic * config.value_coef)?)?;
        if let Some(demonstrated) = &self.demonstrated {
            let rows =
                demonstrated.draw(config.bc_batch_size, rng(&[config.seed, 0x1317, place[0], place[1], place[2]]));
            let bc_loss = demonstrated.imitation_loss(&self.network, &rows)?;
            sums.bc_loss += f64::from(bc_loss.to_scalar::<f32>()?);
            loss = (loss + (bc_loss * config.bc_coef)?)?;
        }
        if let Some((coef, log_probs)) = &rollout.held {
            let held = divergence_of(&self.network, &states, &log_probs.rows(rows)?)?;
            loss = (loss + (held.mean_all()? * *coef)?)?;
        }
        sums.steps += 1.0;
        sums.divergence += divergence(&change.to_vec1()?);
        sums.entropy += f64::from(entropy.to_scalar::<f32>()?);
        sums.value_error += f64::from(critic.to_scalar::<f32>()?);
        self.adam.descend(self.network.params(), &loss)?;
        Ok(())
    }
}

/// An estimate of KL(π_old ‖ π) from log ρ of actions of π_old that is never negative: mean(ρ − 1 − log ρ).
fn divergence(change: &[f32]) -> f64 {
    let one = |&x: &f32| f64::from(x).exp_m1() - f64::from(x);
    change.iter().map(one).sum::<f64>() / change.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Optimizer;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    #[test]
    fn it_keeps_the_contract_of_learners() {
        let solver = Ppo {
            n_iterations: 80,
            episodes_per_update: 32,
            batch_size: 256,
            optimizer: Optimizer::with_learning_rate(0.01),
            bc_coef: 0.0,
            network: small_network(),
            ..Ppo::default()
        };
        assert_keeps_the_contract(&ContractCase {
            short: Ppo { n_iterations: 4, episodes_per_update: 4, batch_size: 5, bc_coef: 0.1, ..solver.clone() },
            untrained: Ppo { n_iterations: 0, ..solver.clone() },
            solver,
            updates: 4,
            inputs: |world, demonstrations| OnlineWithDemos {
                demonstrations: Some(demonstrations),
                ..OnlineWithDemos::new(world)
            },
            frozen: &[],
            refused: vec![
                (with(|c: &mut Ppo| c.gae_lambda = -0.5), "gae_lambda"),
                (with(|c| c.omega = 2.0), "omega"),
                (with(|c| c.episodes_per_update = 0), "episodes_per_update"),
                (with(|c| c.n_epochs = 0), "n_epochs"),
                (with(|c| c.batch_size = 0), "batch_size"),
                (with(|c| c.bc_batch_size = 0), "bc_batch_size"),
                (with(|c| c.clip_range = 0.0), "clip_range"),
                (with(|c| c.target_kl = f64::NAN), "target_kl"),
                (with(|c| c.bc_coef = f64::INFINITY), "bc_coef"),
                (with(|c| c.value_coef = -1.0), "value_coef"),
                (with(|c| c.entropy_coef = f64::NAN), "entropy_coef"),
            ],
            online: true,
        });
    }

    #[test]
    fn the_divergence_of_an_unchanged_policy_is_zero() {
        assert!(divergence(&[0.0, 0.0]).abs() < 1e-15);
        // ρ = 2 and ½: (2 − 1 − ln 2 + ½ − 1 + ln 2)/2 = ¼.
        let change = [2.0_f32.ln(), 0.5_f32.ln()];
        assert!((divergence(&change) - 0.25).abs() < 1e-7, "{}", divergence(&change));
    }
}
