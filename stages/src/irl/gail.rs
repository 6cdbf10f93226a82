//! Adversarial inverse RL in GAIL's form: a discriminator learns what the expert does and the policy does not.
//!
//! min −mean_demo(ŵ·log D_E) − mean_π(log(1 − D_E)), D_E(s, a) = P(expert) = σ(logit); at the optimum e^logit = ρ_demo/ρ_π.
//! (Label smoothing ε draws the optimum in, to ((1−ε)·ρ_demo + ε·ρ_π) / (ε·ρ_demo + (1−ε)·ρ_π): with it neither the reward nor
//! the weights are exact ratios, and no ratio exceeds (1−ε)/ε.)
//! r_IRL is a form of D_E, by default −log(1 − D_E) ≥ 0 (so it rewards staying alive); w_IRL = (1/D − 1)^κ with D = 1 − D_E.
//!
//! Ho and Ermon 2016 (arXiv 1606.03476, eq. 17); IL-Rec (arXiv 2510.13229) computes this form although it says AIRL. The
//! generator is `rl`'s actor-critic on r = (1 − ω)·r̂ + ω·r_IRL, which by default also imitates the demonstrations (+ λ·L_imit,
//! `policy.bc_coef`, as in IL-Rec; with `omega: 1` and `policy.bc_coef: 0` it is GAIL itself). Left out: gradient penalties.

use anyhow::Result;
use pipeline::{Context, MemoryNeed, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adversarial::AdversarialTrainer;
use super::{Inputs, Outputs, WeightingConfig};
use crate::nn::{DiscriminatorSettings, RewardForm};
use crate::rl::A2c;

/// `irl.gail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gail {
    /// Number of rounds; each updates the generator, then the discriminator.
    pub rounds: u64,
    /// Generator updates in each round.
    pub generator_updates: u64,
    /// Share ω of r_IRL in the generator's reward, in [0, 1].
    pub omega: f64,
    /// The form of r_IRL; all but `f`, which is AIRL's.
    pub reward: RewardForm,
    /// Whether the discriminator reads the state only, not the action.
    pub state_only: bool,
    /// Whether r_IRL is divided by its running standard deviation. Its mean is not subtracted. The reward model records the divisor.
    pub normalize_reward: bool,
    /// The discriminator.
    pub discriminator: DiscriminatorSettings,
    /// Weights of the demonstrated steps.
    pub weights: WeightingConfig,
    /// The generator; its `omega` and `n_iterations` are set by this stage, and each round is a checkpoint.
    pub policy: A2c,
    /// Seed of the discriminator and of the batches.
    pub seed: u64,
}

impl Default for Gail {
    fn default() -> Self {
        Self {
            rounds: 20,
            generator_updates: 2,
            omega: 0.5,
            reward: RewardForm::NegLogOneMinusD,
            state_only: false,
            normalize_reward: false,
            discriminator: DiscriminatorSettings::default(),
            weights: WeightingConfig::default(),
            policy: A2c::default(),
            seed: 0,
        }
    }
}

impl Gail {
    /// The trainer of these settings.
    pub(super) fn trainer(&self) -> AdversarialTrainer<'_> {
        AdversarialTrainer {
            rounds: self.rounds,
            generator_updates: self.generator_updates,
            omega: self.omega,
            reward: self.reward,
            exported_reward: self.reward,
            discount: None,
            state_only: self.state_only,
            normalize: self.normalize_reward,
            discriminator: &self.discriminator,
            weights: &self.weights,
            policy: &self.policy,
            seed: self.seed,
        }
    }
}

impl Stage for Gail {
    const KIND: &'static str = "irl.gail";
    /// 1: first. 2: the reward says which states and vectors it is for; the generator's defaults are those of rl.a2c. 3: reward
    /// forms and stabilisers; the reward's file says its form; pairs of learned and true reward. 4: advantages in units of the return, with what comes after a demonstration that was
    /// cut off; the generator is paid what the rules log; logits are cut after learning; seeds are hashed; pairs are drawn.
    /// 5: steps of training are fused, so sums round otherwise; `discriminator.n_layers`.
    /// 6: gradients are summed in parts, for threads, so they round otherwise.
    const VERSION: u32 = 6;
    const ABOUT: &'static str = "learn a reward and demonstration weights by adversarial inverse RL (GAIL's form)";
    const NOT_IN_KEY: &'static [&'static str] = &["policy.checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.reward == RewardForm::F {
            return wrong("reward", "`f` is the reward of irl.airl; GAIL's logit is `log_d_minus_log_one_minus_d`");
        }
        self.trainer().check()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        self.trainer().memory(inputs)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        self.trainer().train(&inputs, cx)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::artifact::{Array, Demonstrations, ItemVectors, Items, Repeats, Step, Termination, Trajectory, World};
    use crate::env::{LearnedReward, cluster_world, last_steps};
    use crate::irl::Scheme;
    use crate::nn::training::assert_resumes_exactly;
    use crate::rl::{BcDataset, NetworkConfig};

    /// Three users are shown the cycle of all three clusters, to the horizon of 6.
    pub(in crate::irl) fn cycle() -> Inputs {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 6, 3);
        let step = |t: usize| Step {
            item: [0, 2, 4][t % 3],
            reward: [5.0, 4.0, 3.0][t % 3],
            candidates: vec![],
            scores: vec![],
            call: String::new(),
        };
        let trajectory = |user| Trajectory { user, steps: (0..6).map(step).collect(), end: Termination::Horizon };
        let demonstrations = Demonstrations::new((0..3).map(trajectory).collect());
        Inputs { world, demonstrations, items: None, item_vectors: None, true_world: None }
    }

    pub(in crate::irl) fn brief(buffer_rounds: usize) -> DiscriminatorSettings {
        DiscriminatorSettings {
            buffer_rounds,
            max_accuracy: 1.1,
            n_updates: Some(4),
            ..DiscriminatorSettings::default()
        }
    }

    fn small() -> Gail {
        let policy = A2c { episodes_per_update: 4, ..A2c::default() };
        Gail { rounds: 6, discriminator: brief(3), policy, ..Gail::default() }
    }

    fn run(stage: &Gail, inputs: Inputs) -> Outputs {
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs, &Context::detached(folder.path())).unwrap()
    }

    #[test]
    fn interrupted_after_every_round_it_ends_the_same() {
        let discriminator = DiscriminatorSettings { spectral_norm: true, weighted: true, ..brief(3) };
        for stage in [small(), Gail { normalize_reward: true, state_only: true, discriminator, ..small() }] {
            assert_resumes_exactly(&stage, cycle, |o| (o.reward, o.weights, o.curves, o.pairs), 6);
        }
    }

    #[test]
    fn a_form_of_one_sign_is_remarked_only_where_people_leave() {
        let remark = |stage: &Gail, inputs: Inputs| {
            let about: crate::nn::discriminator::DiscriminatorConfig = run(stage, inputs).reward.0.about().unwrap();
            about.remark
        };
        assert!(remark(&small(), cycle()).unwrap().contains("never negative"));
        let both_signs = Gail { reward: RewardForm::LogDMinusLogOneMinusD, ..small() };
        assert_eq!(remark(&both_signs, cycle()), None);
        let with_rules = |change: fn(&mut World)| {
            let mut inputs = cycle();
            inputs.world.rules.distance_threshold = None;
            // Short enough to show nothing twice, for worlds that mask repeats.
            inputs.demonstrations.trajectories.iter_mut().for_each(|trajectory| trajectory.steps.truncate(3));
            change(&mut inputs.world);
            remark(&small(), inputs)
        };
        assert_eq!(with_rules(|_| ()), None);
        // A category limit is a quit rule, too; no quit rule applies where whole rounds are played.
        let by_category = |world: &mut World| {
            world.categories = Some(Array::new(&[6, 1], vec![1.0; 6]));
            world.rules.max_same_category = Some(3);
        };
        assert!(with_rules(by_category).unwrap().contains("never negative"));
        let whole_rounds = |world: &mut World| {
            world.rules.distance_threshold = Some(0.5);
            world.rules.repeats = Repeats::MaskedFixedLength;
        };
        assert_eq!(with_rules(whole_rounds), None);
    }

    #[test]
    fn the_generator_is_paid_the_penalty_for_leaving() {
        let omitted = |penalty: Option<f32>| {
            let mut inputs = cycle();
            inputs.world.rules.quit_penalty = penalty;
            let end = Termination::Similar;
            inputs.demonstrations.trajectories.iter_mut().for_each(|trajectory| trajectory.end = end);
            let stage = Gail {
                omega: 0.0,
                weights: WeightingConfig { scheme: Scheme::None, ..WeightingConfig::default() },
                ..small()
            };
            let outputs = run(&stage, inputs);
            (outputs.reward, outputs.weights.w_env)
        };
        let (without, with) = (omitted(None), omitted(Some(-50.0)));
        assert!(without.0 != with.0, "the generator plays otherwise, so the discriminator sees something else");
        assert!(without.1 != with.1, "so are the demonstrations");
    }

    #[test]
    fn the_file_pays_what_the_pairs_show_and_the_truth_is_for_the_picture_alone() {
        let mut with_truth = cycle();
        let mut truth = with_truth.world.clone();
        truth.rewards_mut().data.iter_mut().for_each(|r| *r *= 10.0);
        with_truth.true_world = Some(truth);
        let stage = Gail { normalize_reward: true, ..small() };
        let (plain, pictured) = (run(&stage, cycle()), run(&stage, with_truth));
        assert_eq!((&plain.reward, &plain.weights), (&pictured.reward, &pictured.weights));
        let world = cycle().world;
        let pairs = BcDataset::new(&cycle().demonstrations, None, &world, 7).unwrap();
        let learned = LearnedReward::load(&plain.reward, &world, 7).unwrap();
        let rewards = learned.rewards(&pairs.observation, &pairs.actions, &last_steps(&[6, 6, 6])).unwrap();
        assert!(plain.pairs.0.iter().any(|pair| pair.series == "generator"));
        for (k, reward) in rewards.iter().enumerate() {
            let (mine, theirs) = (&plain.pairs.0[k], &pictured.pairs.0[k]);
            assert_eq!((mine.series.as_str(), mine.learned), ("demonstrations", f64::from(*reward)));
            assert!((mine.true_reward * 10.0 - theirs.true_reward).abs() < 1e-9);
            assert!(!mine.of_truth && theirs.of_truth);
        }
    }

    #[test]
    fn texts_stand_in_for_the_worlds_vectors() {
        let mut inputs = cycle();
        let names: Vec<String> = (0..6).map(|k| format!("item {k}")).collect();
        inputs.items = Some(Items { id: names.clone(), title: names, genres: vec![vec![]; 6], ..Items::default() });
        let outputs = run(&small(), inputs);
        let texts: &Array = &outputs.reward.0.arrays[crate::env::TEXTS];
        assert_eq!(texts.shape, [6, 16]);
        assert!(LearnedReward::load(&outputs.reward, &cycle().world, 7).is_ok());
    }

    #[test]
    fn vectors_of_items_stand_in_for_the_worlds_and_go_with_the_reward() {
        let mut inputs = cycle();
        let vectors = Array::new(&[6, 5], (0..30).map(|x| (x as f32).sin()).collect());
        let vectors = ItemVectors { vectors, space: "toy".into(), columns: vec![] };
        let wanted = vectors.standardized();
        inputs.item_vectors = Some(vectors);
        let outputs = run(&small(), inputs);
        assert_eq!(outputs.reward.0.arrays[crate::env::TEXTS], wanted);
        assert!(LearnedReward::load(&outputs.reward, &cycle().world, 7).is_ok(), "the file serves alone");
    }

    #[test]
    fn what_no_type_can_say_is_refused_by_its_own_name() {
        let weights = WeightingConfig { advantage_temperature: 0.0, ..WeightingConfig::default() };
        assert_eq!(Gail { weights, ..Gail::default() }.check().unwrap_err().0, "weights.advantage_temperature");
        let policy = A2c { gamma: 2.0, ..A2c::default() };
        assert_eq!(Gail { policy, ..Gail::default() }.check().unwrap_err().0, "policy.gamma");
        let discriminator = DiscriminatorSettings { buffer_rounds: 0, ..DiscriminatorSettings::default() };
        assert_eq!(Gail { discriminator, ..Gail::default() }.check().unwrap_err().0, "discriminator.buffer_rounds");
        let discriminator = DiscriminatorSettings { n_updates: Some(0), ..DiscriminatorSettings::default() };
        assert_eq!(Gail { discriminator, ..Gail::default() }.check().unwrap_err().0, "discriminator.n_updates");
        assert_eq!(Gail { omega: 2.0, ..Gail::default() }.check().unwrap_err().0, "omega");
        assert_eq!(Gail { rounds: 0, ..Gail::default() }.check().unwrap_err().0, "rounds");
        assert_eq!(Gail { generator_updates: 0, ..Gail::default() }.check().unwrap_err().0, "generator_updates");
        let policy = A2c { omega: 0.1, ..A2c::default() };
        assert_eq!(Gail { policy, ..Gail::default() }.check().unwrap_err().0, "policy.omega");
        let mut policy = A2c::default();
        policy.kl.coef = 1.0;
        assert_eq!(Gail { policy, ..Gail::default() }.check().unwrap_err().0, "policy.kl");
        let mut policy = A2c::default();
        policy.shaping.capacity = 1;
        assert_eq!(Gail { policy, ..Gail::default() }.check().unwrap_err().0, "policy.shaping");
        let policy = A2c { n_iterations: 10, ..A2c::default() };
        assert_eq!(Gail { policy, ..Gail::default() }.check().unwrap_err().0, "policy.n_iterations");
        assert_eq!(Gail::NOT_IN_KEY, ["policy.checkpoint_every"]);
        assert_eq!(Gail { reward: RewardForm::F, ..Gail::default() }.check().unwrap_err().0, "reward");
        let policy = A2c { network: NetworkConfig { hidden_size: 0, ..NetworkConfig::default() }, ..A2c::default() };
        assert_eq!(Gail { policy, ..Gail::default() }.check().unwrap_err().0, "policy.network.hidden_size");
        Gail::default().check().unwrap();
    }
}
