//! Group-relative and negative-aware learning: sessions of one user are compared with each other, without a critic.
//!
//! R = π(a|s)/π_old(a|s);  r = share of good sessions in a group;  y = 1 in a good session, else 0
//! grpo, dr_grpo:  L = −mean(min(R·A, clip(R, 1 − ε, 1 + ε)·A)), A = (G − mean G)/σ_G over the group; dr_grpo without σ_G
//! nft, rft:       L = −mean(ω·(y·log R + w·(1 − y)·log max_st((1 − r·R)/(1 − r), ε⁻))); rft is w = 0
//! and L − c_H·mean(H(π(·|s))) + λ·mean(KL(π(·|s) ‖ π₀(·|s)))
//!
//! GRPO: Shao et al. 2024 (arXiv 2402.03300); Dr. GRPO: Liu et al. 2025 (arXiv 2503.20783); NFT, negative-aware fine-tuning:
//! Chen et al. 2025 (arXiv 2505.18116) with the constants of its released code: ω = 1 − r, w = 1, ε⁻ = 1, r within [0.02, 0.98], log R up to 10.
//! A bad session is evidence against its items: π_old is a mixture of a good and a bad policy, and a likelihood of the bad one bounds
//! what the good one can be. On policy the gradient of `nft` is that of `dr_grpo`, or by `group_weight: sqrt_failure_odds` that of
//! `grpo`, where G is y; its bound on R differs. Ours: a session of one user is an answer, a step a token, and a session is good where it
//! returned more than the median of its user's; where none did, where it returned as much. Groups of equal returns are dropped.
//! σ_G is that of the population. Left out: GRPO's mean over the steps of each session before that over sessions (each step counts the
//! same, as in Dr. GRPO and NFT's code), its estimate of the divergence from drawn actions (it is exact here), and the learned reward.
//!
//! `from: world` plays the sessions. `from: demonstrations` learns from recorded ones and asks no world: π_old is the policy at
//! `reference`, for example behaviour cloning of the same sessions, from which the training begins. It stays the same throughout, so the
//! clip holds `grpo` and `dr_grpo` within ε of it: they refine the reference, `nft` and `rft` may replace it.

mod loss;
mod outcome;
mod sessions;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};
use rand::RngExt;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::loss::{bounded, credits, negative_aware_loss};
pub use self::outcome::GroupWeight;
use self::sessions::{EvidenceForm, EvidenceTensors, GroupedSessions};
use super::advantage::true_advantages;
use super::batch::Batch;
use super::correlation::correlation;
use super::kl_config::KlConfig;
use super::learner::{Modules, UpdateMetrics, train};
use super::reference::{Reference, divergence_of};
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Demonstrations, PolicyFile, TensorFile, World};
use crate::env::{PolicyAgent, states};
use crate::nn::loss::clipped_loss;
use crate::nn::{ActionLogProb, ActorCritic, AdamW, device, rng};
use crate::rl::learner_memory::LearnerTables;

/// The loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Clipped policy gradient; advantages over the deviation of their group.
    Grpo,
    /// Clipped policy gradient; advantages are returns less their group's mean.
    DrGrpo,
    /// Likelihood of good sessions, and of an implicit negative policy in bad ones.
    Nft,
    /// Likelihood of good sessions alone.
    Rft,
}

/// Where sessions come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionsFrom {
    /// The policy plays them in the training world, `group_size` for each drawn user.
    World,
    /// The recorded sessions at `demonstrations`, grouped by user; of the world its user and item vectors and its rules are read.
    Demonstrations,
}

/// What `grpo` and `dr_grpo` compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Undiscounted returns.
    Return,
    /// y: 1 for a good session, else 0, which is all that `nft` and `rft` know.
    Good,
}

learner_settings! {
    /// `rl.group`.
    pub struct Group {
        /// Where sessions come from: `world` or `demonstrations`.
        pub from: SessionsFrom = SessionsFrom::World,
        /// The loss: `grpo`, `dr_grpo`, `nft` or `rft`.
        pub loss: Loss = Loss::Nft,
        /// Iterations; each takes `users_per_update` groups and passes over their steps `n_epochs` times.
        pub n_iterations: u64 = 150,
        /// Users of an iteration, from 1. Played, they are drawn evenly; of recorded ones, different users with sessions that differ.
        pub users_per_update: usize = 8,
        /// K: sessions that the policy plays for each of these users, from 2. Recorded groups have the size they have.
        pub group_size: usize = 8,
        /// Passes over the steps of an iteration, from 1; in the first gradient step R is 1 where sessions are played. NFT's code: 1.
        pub n_epochs: u64 = 1,
        /// Steps of a gradient step, from 1.
        pub batch_size: usize = 512,
        /// What `grpo` and `dr_grpo` compare: `return` or `good`.
        pub compare: Compare = Compare::Return,
        /// ε of `grpo` and `dr_grpo`: R is clipped to 1 − ε and 1 + ε, above 0.
        pub clip_range: f64 = 0.2,
        /// ω of `nft` and `rft`: `uniform`, `failure_rate` or `sqrt_failure_odds`.
        pub group_weight: GroupWeight = GroupWeight::FailureRate,
        /// w: weight of bad sessions in `nft`, 0 or more; 0 makes it `rft`.
        pub neg_weight: f64 = 1.0,
        /// ε⁻ of `nft`: the ratio of the implicit negative policy counts as at least this, above 0. At 1 a bad step never counts more
        /// than by the odds r/(1 − r) of its group.
        pub min_neg_ratio: f64 = 1.0,
        /// c_H: weight of the entropy bonus, per nat, 0 or more.
        pub entropy_coef: f64 = 0.0,
        /// The divergence from the policy at `reference`, with λ = 0 by default as in NFT and Dr. GRPO; GRPO: `coef` and `final_coef` 0.04.
#[serde(skip_serializing_if = "KlConfig::is_off")]
                pub kl: KlConfig = KlConfig::default(),
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        network: NetworkConfig::default(),
        checkpoint_every: 25 iterations,
    }
}

pipeline::ports! {
    /// What sessions are played in, or which were recorded.
    pub struct Inputs {
        /// The training world, never the evaluation world. With `from: demonstrations` its rewards are not read.
        world: World,
        /// Recorded sessions, several of a user, required with `from: demonstrations`.
        demonstrations: Option<Demonstrations>,
        /// The policy to begin from; without, a new network, or with `from: demonstrations` the policy at `reference`.
        init: Option<PolicyFile>,
        /// π₀, the policy to stay near, required where `kl.coef` is above 0; with `from: demonstrations` π_old, and always required.
        reference: Option<PolicyFile>,
    }
}

impl Stage for Group {
    const KIND: &'static str = "rl.group";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "train a policy by comparing sessions of one user, played or recorded: GRPO, Dr. GRPO, NFT or RFT";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::at_least_one("users_per_update", self.users_per_update, "an iteration has at least one user")?;
        if self.group_size < 2 {
            return Err(("group_size".into(), "a group compares at least two sessions".into()));
        }
        validation::at_least_one(
            "n_epochs",
            self.n_epochs as usize,
            "an iteration passes over its steps at least once",
        )?;
        validation::batch_size(self.batch_size)?;
        validation::positive("clip_range", self.clip_range, "the clip range is above 0")?;
        validation::coefficient("neg_weight", self.neg_weight)?;
        validation::positive("min_neg_ratio", self.min_neg_ratio, "a ratio is above 0")?;
        validation::finite("min_neg_ratio", self.min_neg_ratio)?;
        validation::coefficient("entropy_coef", self.entropy_coef)?;
        validation::nested("kl", self.kl.check())?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        let recorded = self.from == SessionsFrom::Demonstrations;
        let demonstrations = Requirement {
            setting: "from",
            port: "demonstrations",
            connected: recorded,
            why: if recorded { "sessions are recorded ones" } else { "sessions are played in the world" }.into(),
            help: if recorded { "connect demonstrations" } else { "disconnect them, or set `from: demonstrations`" },
        };
        let reference = if recorded {
            Requirement {
                setting: "from",
                port: "reference",
                connected: true,
                why: "recorded sessions are compared with the policy π_old that stands for whoever made them".into(),
                help: "connect the policy of an `rl.bc` that learned from the same demonstrations",
            }
        } else {
            self.kl.requirement()
        };
        vec![demonstrations, reference]
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 2, self.batch_size as u64).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        let mut forbidden_sources = forbidden("init", Self::KIND);
        if self.from == SessionsFrom::Demonstrations {
            forbidden_sources.extend(forbidden("reference", Self::KIND));
        }
        forbidden_sources
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let window = self.network.window;
        let recorded = match (self.from, &inputs.demonstrations, &inputs.reference) {
            (SessionsFrom::World, ..) => None,
            (SessionsFrom::Demonstrations, Some(demonstrations), Some(reference)) => {
                let sessions = GroupedSessions::recorded(demonstrations, world, window, self.form())?;
                cx.note("groups without a better session", sessions.dropped);
                let old = Reference::new(reference, 0.0, 1.0, world, window, &device)?;
                let log_old = old.action_log_probs(&sessions.batch.observation, &sessions.batch.actions)?;
                Some(Recorded { sessions, log_old })
            }
            (SessionsFrom::Demonstrations, ..) => anyhow::bail!(
                "`from: demonstrations` needs both `demonstrations` and `reference`\nhelp: connect them, or set `from: world`"
            ),
        };
        let (init, reference) = (inputs.init.as_ref(), inputs.reference.as_ref());
        let start = match reference {
            Some(reference) if recorded.is_some() => {
                Start::at_reference(Self::KIND, &self.network, (init, reference), world, &device)?
            }
            _ => Start::new(Self::KIND, &self.network, init, world, &device)?,
        };
        let policy = start.network(self.seed)?;
        let mut learner = Learner {
            config: self,
            world,
            recorded: recorded.as_ref(),
            reference: Reference::optional(&self.kl, reference, world, window, &device)?,
            adam: self.optimizer.adam(policy.params())?,
            policy,
        };
        train(
            &mut learner,
            &self.plan(self.n_iterations).after(start.init(), reference)?.taught_by(inputs.demonstrations.as_ref()),
            world,
            cx,
        )
    }
}

/// Recorded sessions, and log π_old of their steps.
struct Recorded {
    sessions: GroupedSessions,
    log_old: Vec<f32>,
}

struct Learner<'a> {
    config: &'a Group,
    world: &'a World,
    recorded: Option<&'a Recorded>,
    /// π₀, where it has a weight.
    reference: Option<Reference>,
    policy: ActorCritic,
    adam: AdamW,
}

/// What the gradient steps of an iteration did.
#[derive(Default)]
struct Record {
    /// The steps that were learned from, in their order; one of several passes is there as often.
    rows: Vec<usize>,
    /// How far the loss pushed log π of each of them.
    credits: Vec<f32>,
    /// Sums over them.
    entropy: f64,
    ratio: f64,
    reference_kl: Option<f64>,
    /// λ of this iteration, where there is a reference.
    kl_coef: Option<f64>,
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        self.adam.learning_rate = self.config.optimizer.rate(number, self.config.n_iterations);
        let place = || format!("update {number}");
        if let Some(Recorded { sessions, log_old }) = self.recorded {
            let mut groups: Vec<usize> = (0..sessions.kept.len()).collect();
            groups.shuffle(&mut rng(&[self.config.seed, 0x6709, number]));
            groups.truncate(self.config.users_per_update);
            let rows: Vec<usize> = groups.iter().flat_map(|&group| &sessions.kept[group]).copied().collect();
            let rates: Vec<f64> = groups.iter().map(|&group| sessions.rates[group]).collect();
            let record = self.learn(sessions, log_old, rows, number).with_context(place)?;
            return Ok(record.metrics(&rates));
        }
        let (sessions, log_old) = self.play(number).with_context(place)?;
        let rows = sessions.kept.concat();
        let groups = sessions.kept.len() + sessions.dropped;
        let record = self.learn(&sessions, &log_old, rows, number).with_context(place)?;
        let batch = &sessions.batch;
        let truth = true_advantages(&batch.rewards, &batch.lengths, 1.0);
        let truth: Vec<f32> = record.rows.iter().map(|&row| truth[row]).collect();
        let played = [
            ("return", batch.episode_return()),
            ("length", batch.length()),
            ("groups_dropped", sessions.dropped as f64 / groups as f64),
            ("credit_correlation", correlation(&record.credits, &truth)),
        ];
        Ok(played.into_iter().chain(record.metrics(&sessions.rates)).collect())
    }
    fn policy(&self) -> Result<TensorFile> {
        self.policy.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![("policy", self.policy.params(), &mut self.adam)]
    }
}

impl Learner<'_> {
    /// Plays `group_size` sessions of each drawn user, with log π_old of their steps.
    fn play(&self, number: u64) -> Result<(GroupedSessions, Vec<f32>)> {
        let config = self.config;
        let student = PolicyAgent { network: &self.policy, sample: true };
        let mut draw = rng(&[config.seed, 0x670a, number]);
        let users = (0..config.users_per_update).map(|_| draw.random_range(0..self.world.users() as u32));
        let users: Vec<u32> = users.flat_map(|user| std::iter::repeat_n(user, config.group_size)).collect();
        let batch = Batch::play_for(&users, self.world, &student, config.network.window, draw)?;
        batch.finite(batch.training_rewards.clone())?;
        let sizes = vec![config.group_size; config.users_per_update];
        let sessions = GroupedSessions::new(batch, &sizes, config.form());
        let observed = states(&self.policy, &sessions.batch.observation)?;
        let old = self.policy.action_log_prob(&observed, &sessions.batch.actions)?;
        Ok((sessions, old.log_prob.to_vec1()?))
    }

    /// Passes over `rows` of the sessions.
    fn learn(
        &mut self,
        sessions: &GroupedSessions,
        log_old: &[f32],
        mut rows: Vec<usize>,
        number: u64,
    ) -> Result<Record> {
        let mut record = Record::default();
        for epoch in 0..self.config.n_epochs {
            rows.shuffle(&mut rng(&[self.config.seed, 0x670b, number, epoch]));
            for rows in rows.chunks(self.config.batch_size) {
                self.descend(sessions, log_old, rows, number, &mut record)?;
            }
        }
        Ok(record)
    }

    /// One gradient step on the given rows.
    fn descend(
        &mut self,
        sessions: &GroupedSessions,
        log_old: &[f32],
        rows: &[usize],
        number: u64,
        record: &mut Record,
    ) -> Result<()> {
        let config = self.config;
        let device = self.policy.device().clone();
        let actions: Vec<u32> = rows.iter().map(|&row| sessions.batch.actions[row]).collect();
        let observation = sessions.batch.observation.take(rows);
        let observed = states(&self.policy, &observation)?;
        let ActionLogProb { log_prob, entropy } = self.policy.action_log_prob(&observed, &actions)?;
        let change = (log_prob - Tensor::from_iter(rows.iter().map(|&row| log_old[row]), &device)?)?;
        let evidence = sessions.evidence_at(rows, &device)?;
        let mut loss = config.loss_of(&change, &evidence)?;
        let entropy = entropy.mean_all()?;
        let credits = credits(&change, |change| config.loss_of(change, &evidence))?.to_vec1::<f32>()?;
        let number_of = |tensor: &Tensor| tensor.to_scalar::<f32>().map(f64::from);
        let count = rows.len() as f64;
        if config.entropy_coef > 0.0 {
            loss = (loss - (&entropy * config.entropy_coef)?)?;
        }
        if let Some(reference) = &self.reference {
            let kl = divergence_of(&self.policy, &observed, &reference.log_probs(&observation)?)?.mean_all()?;
            *record.reference_kl.get_or_insert_default() += number_of(&kl)? * count;
            let coef = config.kl.coef_at(number, config.n_iterations);
            record.kl_coef = Some(coef);
            loss = (loss + (kl * coef)?)?;
        }
        record.rows.extend_from_slice(rows);
        record.credits.extend(credits);
        record.entropy += number_of(&entropy)? * count;
        record.ratio += number_of(&bounded(&change)?.exp()?.sum_all()?)?;
        self.adam.descend(self.policy.params(), &loss)?;
        Ok(())
    }
}

impl Record {
    /// Means over the steps of all gradient steps; none where every group was dropped.
    fn metrics(&self, rates: &[f64]) -> UpdateMetrics {
        if self.rows.is_empty() {
            return vec![];
        }
        let mean = |sum: f64| sum / self.rows.len() as f64;
        let mut metrics = vec![
            ("success_rate", rates.iter().sum::<f64>() / rates.len() as f64),
            ("entropy", mean(self.entropy)),
            ("probability_ratio", mean(self.ratio)),
            ("credit", mean(self.credits.iter().map(|&credit| f64::from(credit.abs())).sum())),
            ("credited_share", mean(self.credits.iter().filter(|&&credit| credit != 0.0).count() as f64)),
        ];
        metrics.extend(self.kl_coef.map(|coef| ("kl_coef", coef)));
        metrics.extend(self.reference_kl.map(|kl| ("reference_kl", mean(kl))));
        metrics
    }
}

impl Group {
    fn form(&self) -> EvidenceForm {
        EvidenceForm {
            group_weight: self.group_weight,
            verified: self.compare == Compare::Good,
            scaled: self.loss == Loss::Grpo,
        }
    }

    /// The loss of log R without the bonus and the penalty.
    fn loss_of(&self, change: &Tensor, evidence: &EvidenceTensors) -> candle_core::Result<Tensor> {
        match self.loss {
            Loss::Grpo | Loss::DrGrpo => clipped_loss(&bounded(change)?, &evidence.advantage, self.clip_range),
            Loss::Nft => negative_aware_loss(change, &evidence.verified(), self.neg_weight, self.min_neg_ratio),
            Loss::Rft => negative_aware_loss(change, &evidence.verified(), 0.0, self.min_neg_ratio),
        }
    }
}
