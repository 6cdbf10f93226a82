//! Discrete soft actor-critic: a policy that maximises the critics' values and its own entropy, from a replay buffer.
//!
//! r = (1 − ω)·r̂ + ω·r_IRL
//! V(s) = Σ_a π(a|s)·(min_i Q_i(s, a) − α·log π(a|s)), with the target networks Q̄_i in targets
//! L_Q = Σ_i ½·mean((Q_i(s, a) − r − γ·V̄(s′))²)
//! L_π = mean(Σ_a π(a|s)·(α·log π(a|s) − min_i Q_i(s, a))) = −mean(V(s)), Q as constants
//! L_α = mean(α·(H(π(·|s)) − H̄)),  H̄ = c·log|A(s)|, π as a constant
//! with a reference policy π₀: −λ·(log π − log π₀) in the place of −α·log π, λ falls as set, and L_α is left out
//!
//! Christodoulou 2019 (arXiv 1910.07207): its soft value of discrete actions, policy objective and temperature objective, all
//! sums exact; α is exp of a learned number. A(s) are the items that may be shown in s, which are the whole catalogue unless
//! the world masks repeats. Published for games of up to 18 actions: c 0.98, Adam with 3e-4, one replay of transitions. Left
//! out: the first steps at random (a new policy draws from softmax(Q/α) of what the training world knows, see `network`), and
//! Polyak averaging of the targets (they are copied every `target_update_interval` steps, as in `rl.dqn`). Q is dueling as in
//! `rl.dqn`, and the value after the last turn is 0.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};

use super::batch::Batch;
use super::inputs::OnlineWithReference;
use super::kl_config::KlConfig;
use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::LearnerTables;
use super::mixed_reward::MixedReward;
use super::q_values::{QValues, bellman_loss};
use super::reference::{Reference, ReferenceMetrics, kl_divergence};
use super::replay_buffer::{ReplayBuffer, Transitions};
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner, target_network};
use crate::artifact::{Array, TensorFile, World};
use crate::env::{Observation, PolicyAgent, states};
use crate::nn::{ActorCritic, AdamW, ItemValues, Params, device, rng};

learner_settings! {
    /// `rl.sac`.
    pub struct Sac {
        /// Iterations; each plays `episodes_per_update` whole episodes and then takes `gradient_steps`.
        pub n_iterations: u64 = 300,
        /// Whole episodes that an iteration plays, from 1.
        pub episodes_per_update: usize = 16,
        /// Gradient steps of an iteration, from 1; each updates both critics, the policy and the temperature.
        pub gradient_steps: u64 = 8,
        /// Transitions of a gradient step, from 1.
        pub batch_size: usize = 256,
        /// Episodes that the replay buffer holds, from 1; the oldest are dropped.
        pub buffer_episodes: usize = 2000,
        /// α at the first iteration: the temperature of the entropy bonus, in the unit of rewards, above 0.
        pub entropy_temperature: f64 = 1.0,
        /// c: target entropy as a fraction of the uniform policy's entropy, in [0, 1]. The paper's: 0.98, for 18
        /// actions at most.
        pub target_entropy_ratio: f64 = 0.3,
        /// Learning rate of log α, which follows `optimizer.schedule`; 0 keeps `entropy_temperature`.
        pub entropy_temperature_learning_rate: f64 = 0.01,
        /// Gradient steps between two updates of the target networks, from 1; an update copies the online networks.
        pub target_update_interval: u64 = 40,
        /// Share ω of r_IRL in the reward, in [0, 1].
        pub omega: f64 = 0.0,
        /// The divergence from a reference policy in the place of the entropy bonus, whose temperature and target are then not used (after LINVIT, arXiv 2402.16181).
        #[serde(skip_serializing_if = "KlConfig::is_off")]
        pub kl: KlConfig = KlConfig::default(),
    }
    shared {
        optimizer: { learning_rate: 0.002, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        /// `prior_scale: 1` starts the critics' advantages at the world's own rewards. `prior_scale` and `similarity_penalty` of the policy are
        /// those of the critics over `entropy_temperature`, so that it starts at softmax(Q/α).
        network: NetworkConfig { prior_scale: 1.0, ..NetworkConfig::default() },
        checkpoint_every: 25 iterations,
        /// 0.5 by default, as in `rl.dqn`.
        gamma: 0.5,
    }
}

impl Stage for Sac {
    const KIND: &'static str = "rl.sac";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "train a policy by discrete soft actor-critic on world and learned reward";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init", "reference"];
    const USES_DEVICE: bool = true;
    type Inputs = OnlineWithReference;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::fraction("omega", self.omega)?;
        validation::fraction("target_entropy_ratio", self.target_entropy_ratio)?;
        validation::positive("entropy_temperature", self.entropy_temperature, "a temperature is above 0")?;
        validation::finite("entropy_temperature", self.entropy_temperature)?;
        validation::coefficient("entropy_temperature_learning_rate", self.entropy_temperature_learning_rate)?;
        validation::episodes_per_update(self.episodes_per_update)?;
        validation::gradient_steps(self.gradient_steps)?;
        validation::batch_size(self.batch_size)?;
        validation::buffer_episodes(self.buffer_episodes)?;
        validation::target_update_interval(self.target_update_interval)?;
        validation::nested("kl", self.kl.check())?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        MixedReward::requirement(self.omega).into_iter().chain([self.kl.requirement()]).collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 5, self.batch_size as u64).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: OnlineWithReference, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let critic = |k| QValues::new(&self.network, world, self.gamma, self.seed.wrapping_add(k), &device);
        let adam = |params: &Params| self.optimizer.adam(params);
        let network = self.policy_network();
        let start = Start::new(Self::KIND, &network, inputs.init.as_ref(), world, &device)?;
        let (policy, critics) = (start.network(self.seed)?, [critic(1)?, critic(2)?]);
        let mut temperature = Params::on(&device);
        let log_temperature =
            temperature.add("log", &Tensor::new(&[self.entropy_temperature.ln() as f32], &Device::Cpu)?)?;
        let mut learner = Learner {
            config: self,
            world,
            reward: MixedReward::new(self.omega, inputs.reward.as_ref(), world, self.network.window)?,
            reference: Reference::optional(&self.kl, inputs.reference.as_ref(), world, self.network.window, &device)?,
            replay: ReplayBuffer::new(self.buffer_episodes, self.network.window, world),
            policy_adam: adam(policy.params())?,
            critic_adams: [adam(critics[0].network.params())?, adam(critics[1].network.params())?],
            temperature_adam: AdamW::new(&temperature, self.entropy_temperature_learning_rate, 0.0, f64::INFINITY)?,
            policy,
            critics,
            temperature,
            log_temperature,
        };
        train(
            &mut learner,
            &self.plan(self.n_iterations).after(inputs.init.as_ref(), inputs.reference.as_ref())?,
            world,
            cx,
        )
    }
}

impl Sac {
    /// The network of a policy that starts at softmax(Q/α), with Q of a new critic.
    fn policy_network(&self) -> NetworkConfig {
        let NetworkConfig { prior_scale, similarity_penalty, .. } = self.network;
        NetworkConfig {
            prior_scale: prior_scale / self.entropy_temperature,
            similarity_penalty: similarity_penalty / self.entropy_temperature,
            ..self.network.clone()
        }
    }
}

struct Learner<'a> {
    config: &'a Sac,
    world: &'a World,
    reward: MixedReward<'a>,
    /// π₀, where the policy is held near one.
    reference: Option<Reference>,
    replay: ReplayBuffer,
    policy: ActorCritic,
    policy_adam: AdamW,
    critics: [QValues; 2],
    critic_adams: [AdamW; 2],
    /// log α, by itself.
    temperature: Params,
    log_temperature: Tensor,
    temperature_adam: AdamW,
}

/// What a gradient step saw.
struct Step {
    value_error: f64,
    entropy: f64,
}

impl Learner<'_> {
    /// Of the critics, the policy and the temperature, in the paper's order.
    fn step(&mut self, transitions: &Transitions, coef: f64) -> Result<Step> {
        let Self { config, policy, critics, .. } = self;
        let reference = self.reference.as_ref();
        let alpha = match reference {
            Some(_) => Tensor::new(&[coef as f32], policy.device())?,
            None => self.log_temperature.exp()?,
        };
        // Q − λ·(log π − log π₀) is (Q + λ·log π₀) − λ·log π: the reference is a part of the values.
        let toward = |q: ItemValues, observation: &Observation| match reference {
            Some(reference) => q.plus(&reference.log_probs(observation)?, coef),
            None => Ok(q),
        };

        let target_q = critics[0].target_all(&transitions.next)?.minimum(&critics[1].target_all(&transitions.next)?)?;
        let target_q = toward(target_q, &transitions.next)?;
        let next = policy.item_values(&states(policy, &transitions.next)?)?;
        let targets = transitions.td_target(&soft_value(next.expectation(&target_q)?, &alpha)?)?;
        let mut value_error = 0.0;
        for (critic, adam) in critics.iter().zip(&mut self.critic_adams) {
            let error = bellman_loss(&critic.online_of(&transitions.now, &transitions.actions)?, &targets)?;
            adam.descend(critic.network.params(), &error)?;
            value_error += number(&error)? / 2.0;
        }

        let q = critics[0].online_all(&transitions.now)?.minimum(&critics[1].online_all(&transitions.now)?)?;
        let q = toward(q, &transitions.now)?;
        let now = policy.expectation(&states(policy, &transitions.now)?, &q, &transitions.actions)?;
        let entropies = now.choice.entropy;
        let loss = soft_value([now.expected, entropies.clone()], &alpha.detach())?.mean_all()?.neg()?;
        self.policy_adam.descend(policy.params(), &loss)?;

        let entropies = entropies.detach();
        let step = Step { value_error, entropy: number(&entropies.mean_all()?)? };
        if self.reference.is_some() {
            return Ok(step);
        }
        let wanted = target_entropies(&transitions.now, self.world.items(), config.target_entropy_ratio)?;
        let wanted = wanted.to_device(entropies.device())?;
        let loss = temperature_loss(&alpha, &entropies, &wanted)?;
        self.temperature_adam.descend(&self.temperature, &loss)?;
        Ok(step)
    }
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let agent = PolicyAgent { network: &self.policy, sample: true };
        let draw = rng(&[config.seed, 0x5ac0, number]);
        let batch = Batch::play(self.world, &agent, config.episodes_per_update, config.network.window, draw)?;
        let rewards = batch.finite(self.reward.of(&batch)?).with_context(|| format!("update {number}"))?;
        self.replay.add(&batch, &rewards);

        for adam in self.critic_adams.iter_mut().chain([&mut self.policy_adam]) {
            adam.learning_rate = config.optimizer.rate(number, config.n_iterations);
        }
        self.temperature_adam.learning_rate =
            config.optimizer.schedule.at(config.entropy_temperature_learning_rate, number, config.n_iterations);
        let coef = config.kl.coef_at(number, config.n_iterations);
        let mut held = None;
        if let Some(reference) = &self.reference {
            let logits = self.policy.item_values(&states(&self.policy, &batch.observation)?)?;
            let log_probs = reference.log_probs(&batch.observation)?;
            let divergences = kl_divergence(&logits, &log_probs)?;
            held = Some(ReferenceMetrics::of(&log_probs, coef, &divergences, &batch, config.gamma)?);
        }
        let mut mean = Step { value_error: 0.0, entropy: 0.0 };
        for step in 0..config.gradient_steps {
            let mut draw = rng(&[config.seed, 0x5ac1, number, step]);
            let transitions = self.replay.sample(config.batch_size, config.gamma, 1, &mut draw);
            let metrics =
                self.step(&transitions, coef).with_context(|| format!("update {number}, gradient step {step}"))?;
            mean.value_error += metrics.value_error / config.gradient_steps as f64;
            mean.entropy += metrics.entropy / config.gradient_steps as f64;
            if (number * config.gradient_steps + step + 1).is_multiple_of(config.target_update_interval) {
                self.critics.iter().try_for_each(QValues::update_target)?;
            }
        }
        let mut series = vec![
            ("return", batch.episode_return()),
            ("length", batch.length()),
            ("value_error", mean.value_error),
            ("entropy", mean.entropy),
        ];
        match held {
            Some(metrics) => series.extend(metrics.series()),
            None => series.push(("temperature", f64::from(self.log_temperature.to_vec1::<f32>()?[0].exp()))),
        }
        Ok(series)
    }
    fn policy(&self) -> Result<TensorFile> {
        self.policy.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        let [first, second] = &mut self.critic_adams;
        vec![
            ("policy", self.policy.params(), &mut self.policy_adam),
            ("critic.0", self.critics[0].network.params(), first),
            ("critic.1", self.critics[1].network.params(), second),
            ("temperature", &self.temperature, &mut self.temperature_adam),
        ]
    }
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        let mut state = BTreeMap::new();
        for (prefix, critic) in TARGETS.into_iter().zip(&self.critics) {
            state.extend(target_network::export(prefix, critic.target_params())?);
        }
        state.extend(self.replay.export().into_iter().map(|(name, array)| (format!("replay.{name}"), array)));
        Ok(state)
    }
    fn restore(&mut self, state: &BTreeMap<String, Array>) -> Result<()> {
        for (prefix, critic) in TARGETS.into_iter().zip(&self.critics) {
            target_network::import(prefix, critic.target_params(), state)?;
        }
        self.replay.import(state, "replay.")
    }
}

/// What the targets are called in a checkpoint.
const TARGETS: [&str; 2] = ["target.0.", "target.1."];

fn number(scalar: &Tensor) -> Result<f64> {
    Ok(f64::from(scalar.to_scalar::<f32>()?))
}

/// V = Σ_a π(a|s)·(Q(s, a) − α·log π(a|s)) of what π expects of Q, and of its entropy: `[N]` both, `temperature [1]` → `[N]`.
fn soft_value([expected, entropy]: [Tensor; 2], temperature: &Tensor) -> candle_core::Result<Tensor> {
    expected + entropy.broadcast_mul(temperature)?
}

/// c·log|A(s)| of each state, `[N]`, nats; `items` of which a state may mask some.
fn target_entropies(observation: &Observation, items: usize, share: f64) -> Result<Tensor> {
    let wanted = |row| (share * ((items - observation.masked(row).len()) as f64).ln()) as f32;
    Ok(Tensor::from_iter((0..observation.len()).map(wanted), &Device::Cpu)?)
}

/// mean(α·(H − H̄)): `temperature [1]`, `entropies [N]` and `wanted [N]` → scalar. α rises where π is too certain.
fn temperature_loss(temperature: &Tensor, entropies: &Tensor, wanted: &Tensor) -> candle_core::Result<Tensor> {
    temperature.broadcast_mul(&(entropies - wanted)?)?.mean_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::MASKED_LOGIT;
    use crate::nn::Optimizer;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, small_network, with};

    fn solver() -> Sac {
        Sac {
            n_iterations: 150,
            episodes_per_update: 8,
            batch_size: 128,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Sac::default()
        }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        assert_keeps_the_contract(&ContractCase {
            // The targets are updated and the buffer drops episodes within the few iterations.
            short: Sac {
                n_iterations: 5,
                episodes_per_update: 4,
                gradient_steps: 3,
                batch_size: 9,
                buffer_episodes: 6,
                target_update_interval: 4,
                ..solver()
            },
            untrained: Sac { n_iterations: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: |world, _| OnlineWithReference::new(world),
            // The critics are other networks.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut Sac| c.omega = 2.0), "omega"),
                (with(|c| c.target_entropy_ratio = 1.1), "target_entropy_ratio"),
                (with(|c| c.entropy_temperature = 0.0), "entropy_temperature"),
                (with(|c| c.entropy_temperature = f64::INFINITY), "entropy_temperature"),
                (with(|c| c.entropy_temperature_learning_rate = -0.1), "entropy_temperature_learning_rate"),
                (with(|c| c.episodes_per_update = 0), "episodes_per_update"),
                (with(|c| c.gradient_steps = 0), "gradient_steps"),
                (with(|c| c.batch_size = 0), "batch_size"),
                (with(|c| c.buffer_episodes = 0), "buffer_episodes"),
                (with(|c| c.target_update_interval = 0), "target_update_interval"),
            ],
            online: true,
        });
    }

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    /// Of tensors of Q and of the logits of π; what may not be shown has no share in it.
    fn soft_value_of(q: &Tensor, logits: &Tensor, temperature: &Tensor) -> candle_core::Result<Tensor> {
        let [q, logits] = [q, logits].map(|tensor| ItemValues::Tensor(tensor.clone()));
        let parts = logits.expectation(&q).map_err(|error| candle_core::Error::Msg(error.to_string()))?;
        soft_value(parts, temperature)
    }

    #[test]
    fn losses_agree_with_hand_computed_values() {
        // π is (¾, ¼): 3 + 2 of Q, and with α = 2 twice the entropy. Of the second state's three items one may not be shown.
        let forbidden = MASKED_LOGIT;
        let q = tensor(&[4.0, 8.0, forbidden, 1.0, forbidden, 3.0]).reshape((2, 3)).unwrap();
        let logits = tensor(&[3.0_f64.ln(), 0.0, forbidden, 0.0, forbidden, 0.0]).reshape((2, 3)).unwrap();
        let found = soft_value_of(&q, &logits, &tensor(&[2.0])).unwrap().to_vec1::<f64>().unwrap();
        let (uneven, even) = (-0.75 * 0.75_f64.ln() - 0.25 * 0.25_f64.ln(), 2.0_f64.ln());
        let wanted = [5.0 + 2.0 * uneven, 2.0 + 2.0 * even];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {wanted:?}");
        // 2·((1 − ½) + (0 − 1))/2.
        let loss = temperature_loss(&tensor(&[2.0]), &tensor(&[1.0, 0.0]), &tensor(&[0.5, 1.0])).unwrap();
        assert_eq!(loss.to_scalar::<f64>().unwrap(), -0.5);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let q = tensor(&[4.0, 8.0, 1.0, 3.0, -2.0, 0.5]).reshape((2, 3)).unwrap();
        let logits = tensor(&[0.3, -1.2, 0.4, 0.01, 1.0, 0.5]).reshape((2, 3)).unwrap();
        assert_finite_differences(&logits, |z| soft_value_of(&q, z, &tensor(&[0.7]))?.mean_all()?.neg());
        assert_finite_differences(&tensor(&[-0.5]), |log| {
            temperature_loss(&log.exp()?, &tensor(&[1.0, 0.2]), &tensor(&[0.5, 0.3]))
        });
    }

    #[test]
    fn the_uncertainty_that_is_wanted_is_among_what_may_be_shown() {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 5, 4);
        world.rules.repeats = crate::artifact::Repeats::Masked;
        let mut observation = Observation::of(&world, 2);
        observation.push(0, &[], &[], 5, 6);
        observation.push(0, &[0, 3], &[5.0, 4.0], 5, 6);
        let found = target_entropies(&observation, 6, 0.5).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(found, [0.5 * 6.0_f32.ln(), 0.5 * 4.0_f32.ln()]);
    }
}
