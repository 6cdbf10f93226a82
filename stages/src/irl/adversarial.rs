//! Adversarial training of GAIL and AIRL: a generator imitates the expert, and a discriminator learns to tell the two apart.
//!
//! A round has three parts: `generator_updates` updates of the generator on r = (1 − ω)·r̂ + ω·r_IRL, where r̂ is the world's training
//! reward; new episodes for the replay buffer; and gradient steps of the discriminator on balanced batches. A checkpoint holds
//! everything that the next round needs.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, MemoryNeed, Sizes, Stage};
use rand::RngExt;

use super::demo_advantage::advantages;
use super::transitions::Transitions;
use super::{Inputs, Outputs, WeightingConfig};
use crate::artifact::{Array, Curves, RewardModel, RewardPair, RewardPairs, World};
use crate::env::{Features, TEXTS, last_steps, states};
use crate::nn::discriminator::{DiscriminatorBatch, DiscriminatorConfig};
use crate::nn::loss::log_prob;
use crate::nn::{
    ActorCritic, Discriminator, DiscriminatorSettings, DiscriminatorTrainer, RewardForm, TABLE_ITEMS,
    TrainingCheckpoints, TrainingState, device, rng,
};
use crate::rl::a2c::{Batch, Learner};
use crate::rl::mixed_reward::mixed;
use crate::rl::{A2c, BcDataset};

/// The default of `discriminator.n_updates`.
const DEFAULT_DISCRIMINATOR_STEPS: u64 = 10;

/// Steps of each series in `pairs`.
const PAIRS: usize = 2000;

/// Names of the running variances in a checkpoint: of the generator's reward, and of the exported reward.
const VARIANCES: [&str; 2] = ["variance", "variance_of_file"];

/// The configuration that both stages share.
pub(super) struct AdversarialTrainer<'a> {
    /// Number of rounds.
    pub rounds: u64,
    /// Generator updates in each round.
    pub generator_updates: u64,
    /// Share ω of r_IRL in the generator's reward.
    pub omega: f64,
    /// Form of the generator's reward.
    pub reward: RewardForm,
    /// Form of the exported reward. AIRL's f does not depend on the policy; all its other forms do.
    pub exported_reward: RewardForm,
    /// γ of AIRL's shaping term; `None` in GAIL's form.
    pub discount: Option<f64>,
    /// Whether g reads the state only.
    pub state_only: bool,
    /// Whether r_IRL is divided by its running standard deviation.
    pub normalize: bool,
    /// The discriminator's settings.
    pub discriminator: &'a DiscriminatorSettings,
    /// Weights of the demonstrated steps.
    pub weights: &'a WeightingConfig,
    /// The generator's settings.
    pub policy: &'a A2c,
    /// Seed of the discriminator and of the batches.
    pub seed: u64,
}

impl AdversarialTrainer<'_> {
    /// Checks what the types do not; paths are those of the stages' settings.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        let below = |path: &str| {
            let path = path.to_owned();
            move |(at, message): (String, String)| (format!("{path}.{at}"), message)
        };
        if self.rounds == 0 {
            return wrong("rounds", "at least one round");
        }
        if self.generator_updates == 0 {
            return wrong("generator_updates", "at least one update in each round");
        }
        if !(0.0..=1.0).contains(&self.omega) {
            return wrong("omega", "ω lies between 0 and 1");
        }
        if self.discriminator.n_updates == Some(0) {
            return wrong("discriminator.n_updates", "at least one update in each round");
        }
        self.discriminator.check().map_err(below("discriminator"))?;
        self.weights.check().map_err(below("weights"))?;
        self.policy.check().map_err(below("policy"))?;
        let default = A2c::default();
        if self.policy.omega != default.omega {
            return wrong("policy.omega", "set `omega` of this stage instead");
        }
        if self.policy.kl != default.kl {
            return wrong("policy.kl", "the generator of inverse RL has no reference policy");
        }
        if self.policy.shaping != default.shaping {
            return wrong("policy.shaping", "the generator of inverse RL has no memory");
        }
        if self.policy.n_iterations != default.n_iterations {
            return wrong("policy.n_iterations", "the generator makes `rounds` times `generator_updates` updates");
        }
        if !self.policy.shaping.is_default() {
            return wrong("policy.shaping", "the generator has no memory");
        }
        Ok(())
    }

    /// What the generator's tables take and the steps that the discriminator reads, from the replay buffer and once more in a batch.
    pub fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let need = Stage::memory(self.policy, inputs)?;
        let steps = inputs.get("horizon").unwrap_or(30).saturating_mul(self.policy.episodes_per_update as u64);
        let dimension = inputs.get("embedding_dim").unwrap_or(16) + self.discriminator.text_embedding_dim as u64;
        let features = (self.policy.network.window as u64 + 3).saturating_mul(dimension);
        let rounds = self.discriminator.buffer_rounds as u64 + 1;
        Some(need.table("steps as the discriminator reads them", &[rounds, steps, features], 8))
    }

    /// The generator's seed: a hash of both seeds. (Their exclusive or would be 0 for every pair of equal seeds.)
    fn generator_seed(&self) -> u64 {
        rng(&[self.seed, 0x6e4e, self.policy.seed]).random()
    }

    /// Trains and exports the reward.
    pub fn train(&self, inputs: &Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let config = A2c {
            n_iterations: self.rounds * self.generator_updates,
            omega: self.omega,
            seed: self.generator_seed(),
            ..self.policy.clone()
        };
        let pairs = BcDataset::new(&inputs.demonstrations, None, world, config.network.window)?;
        let expert = Transitions::demonstrated(&pairs, &inputs.demonstrations, world);
        let (items, vectors) = (inputs.items.as_ref(), inputs.item_vectors.as_ref());
        let features = Features::of(world, items, vectors, self.discriminator.text_embedding_dim, self.seed)?;
        let remark = self.remark(world);
        if let Some(remark) = &remark {
            cx.warn(remark);
        }
        let settings = self.discriminator;
        let mut trainer = DiscriminatorTrainer::new(
            &device,
            &DiscriminatorSettings { logit_clip: self.logit_clip(world.items()), ..settings.clone() },
            self.config(&features, config.network.window, world),
            self.seed,
        )?;
        let mut generator = Learner::new(&config, world, &device)?;
        let mut expert_batch =
            features.steps(&expert.observation, &expert.actions, &expert.terminal)?.to_device(&device)?;
        let advantages = advantages(&expert_batch, &inputs.demonstrations, &world.rules, config.gamma, self.seed)?;
        let mut replay: Vec<Transitions> = Vec::new();
        let mut curves = Curves::default();
        // Separate, because in AIRL's form the generator's reward contains log π and the exported one does not.
        let [generator_variance, exported_variance] = [RunningVariance::default(), RunningVariance::default()];
        let training = TrainingCheckpoints::open(cx, "checkpoints", 1)?;
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            let networks = vec![generator.modules(), trainer.module()];
            let mut state = TrainingState { networks, arrays: BTreeMap::new(), curves: &mut curves };
            state.restore(&bytes)?;
            for (running, name) in [&generator_variance, &exported_variance].into_iter().zip(VARIANCES) {
                running.0.set(state.arrays.remove(name).map(|array| array.data[0]));
            }
            let names: std::collections::BTreeSet<String> =
                state.arrays.keys().filter_map(|name| Some(name.rsplit_once('.')?.0.to_owned())).collect();
            replay = names.iter().map(|name| Transitions::restore(&state.arrays, name)).collect::<Result<_>>()?;
            done = number;
        }
        let bar = cx.bar("rounds", Some(self.rounds), "rounds");
        bar.inc(done);
        for round in done..self.rounds {
            let demonstrations = (config.bc_coef > 0.0).then_some(&pairs);
            let mut returns = (0.0, 0.0);
            for step in 0..self.generator_updates {
                let discriminator = &trainer.discriminator;
                // The policy that generated the batch: π is a constant of the reward.
                let reward = |batch: &Batch, policy: &ActorCritic| {
                    let terminal = last_steps(&batch.lengths);
                    let mut rows = features.steps(&batch.observation, &batch.actions, &terminal)?.to_device(&device)?;
                    if self.reads_policy() {
                        rows.log_policy = Some(log_policy(policy, &batch.observation, &batch.actions)?);
                    }
                    let mut irl: Vec<f32> = discriminator.rewards(self.reward, &rows)?.to_vec1()?;
                    if self.normalize {
                        generator_variance.update(&irl);
                        exported_variance.update(&discriminator.rewards(self.exported_reward, &rows)?.to_vec1()?);
                        let scale = generator_variance.std();
                        irl.iter_mut().for_each(|r| *r /= scale);
                    }
                    Ok(mixed(&batch.training_rewards, &irl, self.omega))
                };
                let progress =
                    generator.update(world, round * self.generator_updates + step, demonstrations, reward)?;
                returns = (progress.episode_return, progress.length);
            }
            // New episodes, with update numbers beyond those of the training.
            replay.push(Transitions::generated(generator.collect(world, config.n_iterations + round)?));
            if replay.len() > settings.buffer_rounds {
                replay.remove(0);
            }
            self.set_log_policy(&mut expert_batch, &expert, &generator.network)?;
            let generated = self.generated_batch(&replay, &features, &generator.network)?;
            let weights = if settings.weighted {
                let logits: Vec<f32> = trainer.discriminator.logits(&expert_batch)?.to_vec1()?;
                self.weights.weights(&inputs.demonstrations, &advantages, &logits)?.weight
            } else {
                vec![1.0; expert.actions.len()]
            };
            let weights = Tensor::from_vec(weights, expert.actions.len(), &device)?;
            let (mut loss, mut accuracy) = (0.0, 0.0);
            let steps = settings.n_updates.unwrap_or(DEFAULT_DISCRIMINATOR_STEPS);
            trainer.begin_round(round, self.rounds);
            for step in 0..steps {
                // The accuracy limit is applied between rounds only.
                let metrics = trainer.update((&expert_batch, &weights), &generated, [round, step], f64::INFINITY)?;
                loss += metrics.loss / steps as f64;
                accuracy += metrics.accuracy / steps as f64;
            }
            let mean = |rows: &DiscriminatorBatch| -> Result<f64> {
                let rewards = trainer.discriminator.rewards(self.reward, rows)?.mean_all()?;
                Ok(f64::from(rewards.to_scalar::<f32>()?))
            };
            curves.push("discriminator_loss", round + 1, loss);
            curves.push("accuracy", round + 1, accuracy);
            curves.push("generator_return", round + 1, returns.0);
            curves.push("generator_length", round + 1, returns.1);
            curves.push("demonstrated_reward", round + 1, mean(&expert_batch)?);
            curves.push("generated_reward", round + 1, mean(&generated)?);
            if self.normalize {
                curves.push("reward_scale", round + 1, f64::from(generator_variance.std()));
            }
            bar.inc_with(1, &format!("accuracy {accuracy:.2}"));
            if accuracy > settings.max_accuracy {
                cx.note("stopped", format!("after round {} of {}: accuracy {accuracy:.3}", round + 1, self.rounds));
                break;
            }
            training.after_unit(round + 1, || {
                let saved = replay.iter().enumerate().flat_map(|(k, steps)| steps.save(&format!("replay.{k:06}")));
                let mut arrays: BTreeMap<String, Array> = saved.collect();
                for (running, name) in [&generator_variance, &exported_variance].into_iter().zip(VARIANCES) {
                    arrays.extend(running.0.get().map(|v| (name.to_owned(), Array::new(&[1], vec![v]))));
                }
                let networks = vec![generator.modules(), trainer.module()];
                TrainingState { networks, arrays, curves: &mut curves }.save()
            })?;
        }
        self.set_log_policy(&mut expert_batch, &expert, &generator.network)?;
        let DiscriminatorTrainer { mut discriminator, .. } = trainer;
        let logits: Vec<f32> = discriminator.logits(&expert_batch)?.to_vec1()?;
        let weights = self.weights.weights(&inputs.demonstrations, &advantages, &logits)?;
        let scale = if self.normalize { f64::from(exported_variance.std()) } else { 1.0 };
        discriminator.describe(self.exported_reward, scale, remark);
        let generated = replay.pop().context("no generated steps")?;
        let mut shown = Vec::new();
        for (number, series, steps) in [(0, "demonstrations", &expert), (1, "generator", &generated)] {
            let steps = steps.sample(PAIRS, rng(&[self.seed, 0x9a17, number]));
            shown.extend(self.pairs(series, &steps, &features, &discriminator, inputs)?);
        }
        let mut reward = RewardModel(discriminator.export()?);
        if let Some(texts) = features.texts() {
            reward.0.arrays.insert(TEXTS.to_owned(), texts.clone());
        }
        Ok(Outputs { reward, weights, curves, pairs: RewardPairs(shown) })
    }

    fn config(&self, features: &Features, window: usize, world: &World) -> DiscriminatorConfig {
        DiscriminatorConfig {
            inputs: features.width(),
            window,
            vectors: world.vectors_digest(),
            horizon: world.rules.horizon,
            states: features.state_width(),
            state_only: self.state_only,
            discount: self.discount,
            ..DiscriminatorConfig::default()
        }
    }

    /// The bound of |logit|. In AIRL's form the logit holds −log π, which is ln I where π is uniform over I items: 9.5 at 13,864. There the
    /// bound is `logit_clip` + ln I for catalogues beyond [`TABLE_ITEMS`], so that it remains a bound of f.
    fn logit_clip(&self, items: usize) -> f64 {
        let clip = self.discriminator.logit_clip;
        if self.discount.is_some() && items > TABLE_ITEMS { clip + (items as f64).ln() } else { clip }
    }

    /// A caveat for readers of the reward.
    fn remark(&self, world: &World) -> Option<String> {
        world.users_may_quit().then(|| self.reward.confounds_length()).flatten().map(str::to_owned)
    }

    /// Whether the generator's reward contains log π.
    fn reads_policy(&self) -> bool {
        self.discount.is_some() && self.reward != RewardForm::F
    }

    /// Sets log π of the actions by `network`, where the discriminator reads it.
    fn set_log_policy(&self, rows: &mut DiscriminatorBatch, steps: &Transitions, network: &ActorCritic) -> Result<()> {
        if self.discount.is_some() {
            rows.log_policy = Some(log_policy(network, &steps.observation, &steps.actions)?);
        }
        Ok(())
    }

    fn generated_batch(
        &self,
        replay: &[Transitions],
        features: &Features,
        network: &ActorCritic,
    ) -> Result<DiscriminatorBatch> {
        let mut all: Option<DiscriminatorBatch> = None;
        for steps in replay {
            let mut rows =
                features.steps(&steps.observation, &steps.actions, &steps.terminal)?.to_device(network.device())?;
            self.set_log_policy(&mut rows, steps, network)?;
            all = Some(match all {
                Some(before) => before.concat(&rows)?,
                None => rows,
            });
        }
        all.context("no generated steps")
    }

    /// The exported reward beside the reward of the true world, or of the training world where the former is not known.
    fn pairs(
        &self,
        series: &str,
        steps: &Transitions,
        features: &Features,
        discriminator: &Discriminator,
        inputs: &Inputs,
    ) -> Result<Vec<RewardPair>> {
        let rows = features.steps(&steps.observation, &steps.actions, &steps.terminal)?;
        let rows = rows.to_device(discriminator.params().device())?;
        let learned =
            (discriminator.rewards(self.exported_reward, &rows)? / discriminator.config().scale)?.to_vec1::<f32>()?;
        let world = inputs.true_world.as_ref().unwrap_or(&inputs.world);
        let of_truth = inputs.true_world.is_some();
        let mut shown = Vec::with_capacity(learned.len());
        for ((&user, &item), learned) in steps.observation.user.iter().zip(&steps.actions).zip(learned) {
            let known = (user as usize) < world.users() && (item as usize) < world.items();
            anyhow::ensure!(
                known,
                "user {user} or item {item} is not in `true_world`\nhelp: connect a world of the same log"
            );
            let true_reward = f64::from(world.reward(user, item));
            shown.push(RewardPair { series: series.to_owned(), learned: f64::from(learned), true_reward, of_truth });
        }
        Ok(shown)
    }
}

/// Running variance of a reward. The mean is not tracked: subtracting it would change the incentive to prolong episodes.
#[derive(Default)]
struct RunningVariance(Cell<Option<f32>>);

impl RunningVariance {
    /// Updates the variance with a batch of rewards.
    fn update(&self, rewards: &[f32]) {
        let count = rewards.len().max(1) as f64;
        let mean = rewards.iter().map(|&r| f64::from(r)).sum::<f64>() / count;
        let now = rewards.iter().map(|&r| (f64::from(r) - mean).powi(2)).sum::<f64>() / count;
        let running = self.0.get().map_or(now, |before| 0.9 * f64::from(before) + 0.1 * now);
        self.0.set(Some(running as f32));
    }

    /// The standard deviation; 1 before the first batch.
    fn std(&self) -> f32 {
        self.0.get().map_or(1.0, |v| v.sqrt().max(1e-6))
    }
}

/// log π(a|s) by the logits that sampling uses, `[S]`, detached from the graph.
fn log_policy(network: &ActorCritic, observation: &crate::env::Observation, actions: &[u32]) -> Result<Tensor> {
    let states = states(network, observation)?;
    if network.streams() {
        return Ok(network.action_log_prob(&states, actions)?.log_prob.detach());
    }
    let logits = network.logits(&states)?.detach();
    Ok(log_prob(&logits, &Tensor::from_slice(actions, actions.len(), logits.device())?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::irl::Gail;

    #[test]
    fn a_uniform_policy_does_not_saturate_the_logit_of_a_large_catalogue() {
        let (airl, gail) = (crate::irl::Airl::default(), Gail::default());
        let of = |items: usize| [airl.trainer().logit_clip(items), gail.trainer().logit_clip(items)];
        assert_eq!((of(300), of(TABLE_ITEMS)), ([10.0; 2], [10.0; 2]));
        assert_eq!(of(13_864), [10.0 + 13_864.0_f64.ln(), 10.0]);
    }

    #[test]
    fn equal_seeds_do_not_cancel() {
        let drawn = |seed: u64, of_policy: u64| {
            let policy = A2c { seed: of_policy, ..A2c::default() };
            Gail { seed, policy, ..Gail::default() }.trainer().generator_seed()
        };
        let seeds: std::collections::BTreeSet<u64> =
            [(0, 0), (1, 1), (2, 2), (1, 2), (2, 1)].map(|(seed, of_policy)| drawn(seed, of_policy)).into();
        assert_eq!(seeds.len(), 5);
        assert_eq!(drawn(1, 2), drawn(1, 2));
    }
}
