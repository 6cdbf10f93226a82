//! Adversarial inverse RL in AIRL's form: a reward that is disentangled from the dynamics.
//!
//! f(s, a, s') = g(s[, a]) + γ·h(s') − h(s), h(terminal) = 0; D_E = e^f/(e^f + π(a|s)), so logit = f − log π, π a constant under
//! the masking used to sample; min −mean_demo(ŵ·log D_E) − mean_π(log(1 − D_E)). At the optimum f is the expert's soft advantage,
//! and with g of the state alone, g is the reward and h the value, each up to a constant.
//! The generator's reward is log D_E − log(1 − D_E) = f − log π without an entropy bonus, or f with one of ω, never both: the one
//! would count the entropy twice. The file's reward is f: −log π is the learner's own, and whoever learns from f has his own.
//!
//! Fu, Luo and Levine 2018 (arXiv 1710.11248, eqs. 3 to 5, algorithm 1). log π of a replayed step is recomputed with
//! the current policy. Left out: gradient penalties; a bonus inside the returns (the actor-critic's is beside them, and it divides
//! advantages by their deviation, so with `f` a nat of entropy is not exactly worth its reward: `f − log π` is the default).

use anyhow::Result;
use pipeline::{Context, MemoryNeed, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adversarial::AdversarialTrainer;
use super::{Inputs, Outputs, WeightingConfig};
use crate::nn::{DiscriminatorSettings, RewardForm};
use crate::rl::A2c;

/// `irl.airl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Airl {
    /// Number of rounds; each updates the generator, then the discriminator.
    pub rounds: u64,
    /// Generator updates in each round.
    pub generator_updates: u64,
    /// Share ω of r_IRL in the generator's reward, in [0, 1]; 1 is AIRL itself, where `policy.bc_coef` is 0.
    pub omega: f64,
    /// The form of the generator's reward: `log_d_minus_log_one_minus_d` (f − log π) or another form of D with `policy.entropy_coef: 0`, or `f` with
    /// `policy.entropy_coef` equal to `omega`.
    pub reward: RewardForm,
    /// Whether g reads the state only, as the theorem on disentangled rewards assumes; else state and action.
    pub state_only: bool,
    /// Whether the generator's r_IRL and the exported f are each divided by their running standard deviation. Their means are not
    /// subtracted. Not with `reward: f`, whose unit is the nat.
    pub normalize_reward: bool,
    /// The discriminator.
    pub discriminator: DiscriminatorSettings,
    /// Weights of the demonstrated steps.
    pub weights: WeightingConfig,
    /// The generator; its `omega` and `n_iterations` are set by this stage, each round is a checkpoint, and its `gamma` is the γ of f.
    /// Without any setting it has no entropy bonus and does not imitate; where one is set, those left out are rl.a2c's, so say
    /// `bc_coef: 0` and `entropy_coef: 0` too.
    pub policy: A2c,
    /// Seed of the discriminator and of the batches.
    pub seed: u64,
}

impl Default for Airl {
    fn default() -> Self {
        Self {
            rounds: 20,
            generator_updates: 2,
            omega: 1.0,
            reward: RewardForm::LogDMinusLogOneMinusD,
            state_only: false,
            normalize_reward: false,
            discriminator: DiscriminatorSettings::default(),
            weights: WeightingConfig::default(),
            policy: A2c { entropy_coef: 0.0, bc_coef: 0.0, ..A2c::default() },
            seed: 0,
        }
    }
}

impl Airl {
    /// The trainer of these settings.
    pub(super) fn trainer(&self) -> AdversarialTrainer<'_> {
        AdversarialTrainer {
            rounds: self.rounds,
            generator_updates: self.generator_updates,
            omega: self.omega,
            reward: self.reward,
            exported_reward: RewardForm::F,
            discount: Some(self.policy.gamma),
            state_only: self.state_only,
            normalize: self.normalize_reward,
            discriminator: &self.discriminator,
            weights: &self.weights,
            policy: &self.policy,
            seed: self.seed,
        }
    }
}

impl Stage for Airl {
    const KIND: &'static str = "irl.airl";
    /// 1: first. 2: as version 4 of irl.gail; the file's f is divided by its own deviation; the generator does not imitate.
    /// 3: steps of training are fused, so sums round otherwise; `discriminator.n_layers`.
    /// 4: gradients are summed in parts, for threads, so they round otherwise.
    /// 5: the potential reads both states of a step at once, so its gradients round otherwise.
    /// 6: in catalogues above 8,192 items the reward is clipped at `logit_clip` + ln I, which bounds f, no longer at `logit_clip`.
    const VERSION: u32 = 6;
    const ABOUT: &'static str = "learn a reward and demonstration weights by adversarial inverse RL (AIRL's form)";
    const NOT_IN_KEY: &'static [&'static str] = &["policy.checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        self.trainer().check()?;
        let (f, bonus) = (self.reward == RewardForm::F, self.policy.entropy_coef);
        if !f && bonus != 0.0 {
            let message =
                "this reward holds −log π already: a bonus counts the entropy twice. Set it to 0, or `reward: f`";
            return wrong("policy.entropy_coef", message);
        }
        if f && (bonus - self.omega).abs() > 1e-12 {
            return wrong("policy.entropy_coef", "`reward: f` is learned with an entropy bonus equal to `omega`");
        }
        if f && self.normalize_reward {
            return wrong("normalize_reward", "f is in nats, like the entropy bonus, and cannot be normalised");
        }
        Ok(())
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        self.trainer().memory(inputs)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        self.trainer().train(&inputs, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::LearnedReward;
    use crate::irl::gail::tests::{brief, cycle};
    use crate::nn::discriminator::DiscriminatorConfig;
    use crate::nn::training::assert_resumes_exactly;

    fn small() -> Airl {
        let policy = A2c { episodes_per_update: 4, ..Airl::default().policy };
        Airl { rounds: 5, discriminator: brief(2), policy, ..Airl::default() }
    }

    #[test]
    fn interrupted_after_every_round_it_ends_the_same() {
        let of_f = Airl {
            reward: RewardForm::F,
            state_only: true,
            policy: A2c { episodes_per_update: 4, entropy_coef: 1.0, ..A2c::default() },
            ..small()
        };
        for stage in [Airl { normalize_reward: true, ..small() }, of_f] {
            stage.check().unwrap();
            assert_resumes_exactly(&stage, cycle, |o| (o.reward, o.weights, o.curves, o.pairs), 5);
        }
    }

    #[test]
    fn the_file_holds_f_and_no_policy() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = small().run(cycle(), &Context::detached(folder.path())).unwrap();
        let config: DiscriminatorConfig = outputs.reward.0.about().unwrap();
        assert_eq!((config.reward, config.discount, config.remark), (RewardForm::F, Some(0.9), None));
        assert!(LearnedReward::load(&outputs.reward, &cycle().world, 7).is_ok());
        assert_eq!(outputs.weights.weight.len(), 18);
    }

    #[test]
    fn the_unit_of_the_file_is_its_own() {
        let deviation = |values: &[f64]| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
        };
        // One update, so that the variance is that of one batch of about 400 steps, whose deviation of f is estimated again by the next 400.
        let policy = A2c { episodes_per_update: 80, ..Airl::default().policy };
        let stage = Airl { rounds: 1, generator_updates: 1, normalize_reward: true, policy, ..small() };
        let folder = tempfile::tempdir().unwrap();
        let outputs = stage.run(cycle(), &Context::detached(folder.path())).unwrap();
        let of_generator = outputs.pairs.0.iter().filter(|pair| pair.series == "generator").map(|pair| pair.learned);
        let found = deviation(&of_generator.collect::<Vec<f64>>());
        let of_generator_reward = outputs.curves.0.iter().find(|point| point.series == "reward_scale").unwrap().value;
        let scale = outputs.reward.0.about::<DiscriminatorConfig>().unwrap().scale;
        assert!((0.7..1.4).contains(&found), "the file's reward has deviation {found}");
        assert!(
            (scale - of_generator_reward).abs() > 1e-4,
            "f and f − log π do not deviate equally: {scale} {of_generator_reward}"
        );
    }

    #[test]
    fn by_default_nothing_but_airl_moves_the_generator() {
        let Airl { omega, policy, .. } = Airl::default();
        assert_eq!((omega, policy.bc_coef, policy.entropy_coef), (1.0, 0.0, 0.0));
    }

    #[test]
    fn entropy_is_counted_once() {
        let refused = |stage: Airl| stage.check().unwrap_err().0;
        let bonus = |entropy_coef: f64| A2c { entropy_coef, ..A2c::default() };
        assert_eq!(refused(Airl { policy: bonus(0.01), ..Airl::default() }), "policy.entropy_coef");
        assert_eq!(refused(Airl { reward: RewardForm::F, ..Airl::default() }), "policy.entropy_coef");
        let f = Airl { reward: RewardForm::F, policy: bonus(1.0), ..Airl::default() };
        f.check().unwrap();
        assert_eq!(refused(Airl { normalize_reward: true, ..f }), "normalize_reward");
        assert_eq!(refused(Airl { omega: -1.0, ..Airl::default() }), "omega");
        Airl::default().check().unwrap();
    }
}
