//! Direct preference optimisation: the better of two sessions of a user becomes more likely than the worse, relative to a reference policy.
//!
//! Δ(τ) = Σ_t (log π(a_t|s_t) − log π_ref(a_t|s_t));  L = −mean(log σ(β·(Δ(τ_w) − Δ(τ_l))))
//!
//! Rafailov et al. 2023 (arXiv 2305.18290, eq. 7); DPO4Rec (arXiv 2410.05939) prefers rationales of a language model in this way, and here it
//! is the policy that learns. `pairs: sessions` takes each two recorded sessions of a user whose returns differ: their users answered to
//! whole sessions, and the sum over the steps is that of the policy's log-likelihood of a session, because what users answer cancels.
//! `pairs: candidates` takes what a model chose against each candidate that it did not choose in the same state; it reads no reward.
//! The training begins from the policy at `reference`, so that the loss is ln 2 and the first gradient −β/2·(∇log π(τ_w) − ∇log π(τ_l)).
//! Ours: β = 0.1, as often for language models; DPO4Rec is reported with 0.01. Left out: how much better a session was.

mod pairs;

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use pipeline::{Context, ForbiddenSource, MemoryNeed, Sizes, Stage};
use rand::seq::{IndexedRandom, SliceRandom};

pub use self::pairs::PairsFrom;
use self::pairs::{Pair, PairBatch, Pairs};
use super::learner::{Modules, UpdateMetrics, train};
use super::reference::Reference;
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Demonstrations, PolicyFile, TensorFile, World};
use crate::env::states;
use crate::nn::loss::softplus;
use crate::nn::{ActorCritic, AdamW, device, rng};
use crate::rl::learner_memory::{LearnerTables, states_of};

/// Updates between two looks at the pairs that are held out.
const LOOK_EVERY: u64 = 25;
/// Pairs at which it looks, if there are as many.
const LOOK_AT: usize = 200;

learner_settings! {
    /// `rl.dpo`.
    pub struct Dpo {
        /// What is compared: `sessions` or `candidates`.
        pub pairs: PairsFrom = PairsFrom::Sessions,
        /// β, above 0: a pair counts half as much once the policy's log-odds have moved by about 1/β. The higher it is, the nearer the
        /// policy stays to the reference.
        pub beta: f64 = 0.1,
        /// Whether Δ is the mean over the steps of a session instead of the sum; a long session then counts as much as a short one.
        pub mean_over_steps: bool = false,
        /// Gradient steps.
        pub n_gradient_steps: u64 = 500,
        /// Pairs of a gradient step, from 1.
        pub batch_size: usize = 16,
        /// Share of the users whose pairs are only predicted, every 25 gradient steps, in [0, 1]; 0 learns from all. At least one user
        /// is learned from.
        pub holdout_fraction: f64 = 0.1,
    }
    shared {
        optimizer: { learning_rate: 0.0005, weight_decay: 0.0, max_grad_norm: 1.0, schedule: Linear },
        network: NetworkConfig::default(),
        checkpoint_every: 100 steps,
    }
}

pipeline::ports! {
    /// Preferences and the policy that they are relative to.
    pub struct Inputs {
        /// The training world, for its vectors and rules.
        world: World,
        /// Several sessions of a user, or steps with candidates.
        demonstrations: Demonstrations,
        /// π_ref, for example behaviour cloning of the same demonstrations; the training begins from it.
        reference: PolicyFile,
        /// Another policy to begin from.
        init: Option<PolicyFile>,
    }
}

impl Stage for Dpo {
    const KIND: &'static str = "rl.dpo";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "train a policy on pairs of better and worse sessions, or of chosen and unchosen candidates";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::positive("beta", self.beta, "a temperature is above 0")?;
        validation::finite("beta", self.beta)?;
        validation::at_least_one("batch_size", self.batch_size, "a batch holds at least one pair")?;
        validation::fraction("holdout_fraction", self.holdout_fraction)?;
        self.check_shared()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 2, states_of(2 * self.batch_size, inputs)).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        [forbidden("init", Self::KIND), forbidden("reference", Self::KIND)].concat()
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let window = self.network.window;
        let mut pairs = Pairs::new(&inputs.demonstrations, self.pairs, world, window)?;
        let mut draw = rng(&[self.seed, 0xd90]);
        let mut held_out = pairs.hold_out(self.holdout_fraction, draw.clone());
        cx.note("pairs", format!("{}, and {} held out", pairs.pairs.len(), held_out.len()));
        held_out.shuffle(&mut draw);
        held_out.truncate(LOOK_AT);

        let reference = Reference::new(&inputs.reference, 0.0, 1.0, world, window, &device)?;
        let (observation, items) = pairs.take(&(0..pairs.decisions()).collect::<Vec<_>>());
        let log_reference = reference.action_log_probs(&observation, &items)?;
        let begin = (inputs.init.as_ref(), &inputs.reference);
        let start = Start::at_reference(Self::KIND, &self.network, begin, world, &device)?;
        let policy = start.network(self.seed)?;
        let adam = self.optimizer.adam(policy.params())?;
        let mut learner = Learner { config: self, pairs, held_out, log_reference, policy, adam };
        let plan = self
            .plan(self.n_gradient_steps)
            .after(start.init(), Some(&inputs.reference))?
            .taught_by(Some(&inputs.demonstrations));
        train(&mut learner, &plan, world, cx)
    }
}

struct Learner<'c> {
    config: &'c Dpo,
    pairs: Pairs,
    held_out: Vec<Pair>,
    /// log π_ref of each decision.
    log_reference: Vec<f32>,
    policy: ActorCritic,
    adam: AdamW,
}

impl Learner<'_> {
    /// Δ_w − Δ_l of each pair, `[B]`.
    fn margins(&self, pairs: &[&Pair]) -> Result<Tensor> {
        let device = self.policy.device();
        let PairBatch { decisions, signs } = PairBatch::new(pairs, self.config.mean_over_steps, device)?;
        let (observation, items) = self.pairs.take(&decisions);
        let observed = states(&self.policy, &observation)?;
        let log_prob = self.policy.action_log_prob(&observed, &items)?.log_prob;
        let reference = decisions.iter().map(|&decision| self.log_reference[decision]);
        Ok(margins(&signs, &log_prob, &Tensor::from_iter(reference, device)?)?)
    }

    /// Share of the held-out pairs whose better side the policy prefers more than the reference does.
    fn held_out_accuracy(&self) -> Result<f64> {
        let mut margins = Vec::with_capacity(self.held_out.len());
        for pairs in self.held_out.chunks(self.config.batch_size) {
            margins.extend(self.margins(&pairs.iter().collect::<Vec<_>>())?.to_vec1::<f32>()?);
        }
        Ok(accuracy(&margins))
    }
}

impl PolicyLearner for Learner<'_> {
    fn update(&mut self, number: u64) -> Result<UpdateMetrics> {
        let config = self.config;
        let mut draw = rng(&[config.seed, 0xd9a, number]);
        let drawn: Vec<&Pair> = (0..config.batch_size).filter_map(|_| self.pairs.pairs.choose(&mut draw)).collect();
        let margins = self.margins(&drawn)?;
        let loss = preference_loss(&margins, config.beta)?;
        let found = margins.to_vec1::<f32>()?;
        let mean = |of: &dyn Fn(f64) -> f64| found.iter().map(|&x| of(f64::from(x))).sum::<f64>() / found.len() as f64;
        let mut metrics = vec![
            ("preference_loss", f64::from(loss.to_scalar::<f32>()?)),
            ("pair_accuracy", accuracy(&found)),
            ("pair_margin", mean(&|margin| margin)),
            // What is left of a pair's gradient.
            ("pair_weight", mean(&|margin| 1.0 / (1.0 + (config.beta * margin).exp()))),
        ];
        self.adam.learning_rate = config.optimizer.rate(number, config.n_gradient_steps);
        self.adam.descend(self.policy.params(), &loss).with_context(|| format!("update {number}"))?;
        if (number + 1).is_multiple_of(LOOK_EVERY) && !self.held_out.is_empty() {
            metrics.push(("heldout_pair_accuracy", self.held_out_accuracy()?));
        }
        Ok(metrics)
    }
    fn policy(&self) -> Result<TensorFile> {
        self.policy.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![("policy", self.policy.params(), &mut self.adam)]
    }
}

/// Δ_w − Δ_l: `signs [B, D]` of [`PairBatch`], `log_prob [D]` and `reference [D]` of its decisions → `[B]`.
fn margins(signs: &Tensor, log_prob: &Tensor, reference: &Tensor) -> candle_core::Result<Tensor> {
    signs.matmul(&(log_prob - reference)?.unsqueeze(1)?)?.squeeze(1)
}

/// −mean(log σ(β·margin)): `margins [B]` → scalar; Rafailov et al. 2023, eq. 7.
fn preference_loss(margins: &Tensor, beta: f64) -> candle_core::Result<Tensor> {
    softplus(&(margins * -beta)?)?.mean_all()
}

/// Share of margins above 0.
fn accuracy(margins: &[f32]) -> f64 {
    margins.iter().filter(|&&margin| margin > 0.0).count() as f64 / margins.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::env::cluster_world;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::nn::{Optimizer, action_log_prob};
    use crate::rl::conformance::{
        ContractCase, assert_keeps_the_contract, beside_worse_sessions, copied, demonstrated_cycles, greedy_returns,
        small_network, with,
    };

    fn solver() -> Dpo {
        Dpo {
            n_gradient_steps: 300,
            optimizer: Optimizer::with_learning_rate(0.01),
            network: small_network(),
            ..Dpo::default()
        }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        assert_keeps_the_contract(&ContractCase {
            short: Dpo { n_gradient_steps: 5, batch_size: 3, ..solver() },
            untrained: Dpo { n_gradient_steps: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: |world, demonstrations| {
                let (demonstrations, reference) = beside_worse_sessions(&world, demonstrations);
                Inputs { world, demonstrations, reference, init: None }
            },
            // There is no critic.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut Dpo| c.beta = 0.0), "beta"),
                (with(|c| c.batch_size = 0), "batch_size"),
                (with(|c| c.holdout_fraction = 1.5), "holdout_fraction"),
            ],
            online: false,
        });
    }

    fn run<S: Stage<Outputs = Outputs>>(stage: &S, inputs: S::Inputs) -> Outputs {
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs, &Context::detached(folder.path())).unwrap()
    }

    fn series(outputs: &Outputs, name: &str) -> Vec<f64> {
        outputs.curves.0.iter().filter(|point| point.series == name).map(|point| point.value).collect()
    }

    /// Two cycles, of which the worse was recorded three times as often: who copies follows it. Users of whom nothing was learned are
    /// judged as well.
    #[test]
    fn it_prefers_what_paid_over_what_was_frequent() {
        let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 2, 30, 4);
        let (good, frequent): (&[u32], &[u32]) = (&[0, 2, 4], &[2, 4, 6]);
        let demonstrations = demonstrated_cycles(&world, &[good, frequent, frequent, frequent]);
        let copied = copied(&world, &demonstrations);
        assert_eq!(greedy_returns(&copied, &world), [90.0; 4]);
        for mean_over_steps in [false, true] {
            let inputs = Inputs {
                world: world.clone(),
                demonstrations: demonstrations.clone(),
                reference: copied.clone(),
                init: None,
            };
            let stage = Dpo { mean_over_steps, holdout_fraction: 0.5, ..solver() };
            let learned = run(&stage, inputs);
            assert_eq!(greedy_returns(&learned.policy, &world), [120.0; 4]);
            let losses = series(&learned, "preference_loss");
            assert!((losses[0] - 2.0_f64.ln()).abs() < 1e-5 && losses[299] < losses[0], "{losses:?}");
            assert_eq!(series(&learned, "heldout_pair_accuracy").pop(), Some(1.0));
        }
    }

    /// A reference that follows 4, 0, 4, 0 (24), and a model that chose 2, 1, 2, 1 (27) where it could have chosen the others.
    #[test]
    fn it_prefers_what_was_chosen_among_candidates() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 1, 6, 2);
        let (chosen, frequent): (&[u32], &[u32]) = (&[2, 1], &[4, 0]);
        let reference = copied(&world, &demonstrated_cycles(&world, &[chosen, frequent, frequent, frequent]));
        assert_eq!(greedy_returns(&reference, &world), [24.0; 2]);
        let mut demonstrations = demonstrated_cycles(&world, &[chosen]);
        for step in demonstrations.trajectories.iter_mut().flat_map(|session| &mut session.steps) {
            (step.candidates, step.reward) = (vec![0, step.item, 4], 1.0);
        }
        let inputs = Inputs { reference, demonstrations, init: None, world: world.clone() };
        let learned = run(&Dpo { pairs: PairsFrom::Candidates, ..solver() }, inputs);
        assert_eq!(greedy_returns(&learned.policy, &world), [27.0; 2]);
    }

    #[test]
    fn a_reference_of_other_settings_is_refused_by_its_port() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 2);
        let (demonstrations, reference) = beside_worse_sessions(&world, demonstrated_cycles(&world, &[&[0, 2, 4]]));
        let wide = Dpo { network: NetworkConfig { hidden_size: 7, ..small_network() }, ..solver() };
        let folder = tempfile::tempdir().unwrap();
        let inputs = Inputs { world, demonstrations, reference, init: None };
        let error = wide.run(inputs, &Context::detached(folder.path())).err().unwrap().to_string();
        assert!(
            error.contains("the policy at `reference` has `hidden_size: 32`") && error.contains("help: "),
            "{error}"
        );
    }

    #[test]
    fn the_loss_agrees_with_hand_computed_values_and_finite_differences() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let found = preference_loss(&tensor(&[0.0, 3.0_f64.ln() * 2.0]), 0.5).unwrap().to_scalar::<f64>().unwrap();
        // −(ln ½ + ln ¾)/2.
        assert!((found + 0.5 * 0.375_f64.ln()).abs() < 1e-12, "{found}");
        assert_finite_differences(&tensor(&[0.3, -2.0, 4.0]), |margins| preference_loss(margins, 0.7));
        let signs = tensor(&[1.0, -0.5, -0.5, 0.0, 0.0, 1.0]).reshape((2, 3)).unwrap();
        let found = margins(&signs, &tensor(&[-1.0, -2.0, -4.0]), &tensor(&[-2.0, -2.0, -1.0])).unwrap();
        assert_eq!(found.to_vec1::<f64>().unwrap(), [2.5, -3.0]);
        assert_eq!(accuracy(&[0.0, 1.0, -1.0, 2.0]), 0.5);
    }

    /// At π = π_ref: ln 2, and −β/2·(∇log π(τ_w) − ∇log π(τ_l)).
    #[test]
    fn at_the_reference_the_gradient_is_that_of_the_difference_of_likelihoods() {
        let logits: Vec<f64> = (0..20).map(|k| f64::from(k * 37 % 23) / 7.0 - 1.5).collect();
        let logits = Var::from_tensor(&Tensor::from_vec(logits, (5, 4), &Device::Cpu).unwrap()).unwrap();
        let signs = Tensor::new(&[[1.0, 1.0, -1.0, -1.0, -1.0]], &Device::Cpu).unwrap();
        let log_prob = action_log_prob(logits.as_tensor(), &[0, 3, 1, 2, 2]).unwrap().log_prob;
        let gradient = |loss: Tensor| -> Vec<f64> {
            let gradients = loss.backward().unwrap();
            gradients.get(logits.as_tensor()).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let loss = preference_loss(&margins(&signs, &log_prob, &log_prob.detach()).unwrap(), 0.3).unwrap();
        assert!((loss.to_scalar::<f64>().unwrap() - 2.0_f64.ln()).abs() < 1e-15);
        let found = gradient(loss);
        let difference = gradient((signs.squeeze(0).unwrap() * &log_prob).unwrap().sum_all().unwrap());
        assert!(found.iter().zip(&difference).all(|(a, b)| (a + 0.15 * b).abs() < 1e-15), "{found:?} {difference:?}");
    }
}
