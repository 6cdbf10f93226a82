//! Behaviour cloning: the policy most likely to have made the demonstrations.
//!
//! min −mean(w·log π(a|s)), w ≡ 1 without weights (Pomerleau 1991; weighted as in AWR, arXiv 1910.00177, where the weights
//! are exp(A/β)). Left out: anything that would use the world's answers; it is here to show what copying alone gives.

use anyhow::{Context as _, Result};
use pipeline::{Context, ForbiddenSource, MemoryNeed, Requirement, Sizes, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::learner::{Modules, UpdateMetrics, train};
use super::learner_memory::LearnerTables;
use super::settings::learner_settings;
use super::validation::{self, Validation};
use super::warm_start::{Start, forbidden};
use super::{BcDataset, NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Candidates, Demonstrations, PolicyFile, TensorFile, Weights, World};
use crate::nn::sampled_softmax::Proposal;
use crate::nn::{ActorCritic, AdamW, device, rng};

learner_settings! {
    /// `rl.bc`.
    pub struct BehaviourCloning {
        /// Passes over the demonstrations.
        pub n_epochs: u64 = 40,
        /// Demonstrated steps of a gradient step, from 1.
        pub batch_size: usize = 128,
        /// Items over which log π is normalised in the loss. The trained policy ranks the whole catalogue in either case.
        pub softmax: Softmax = Softmax::default(),
        /// Share of the users whose demonstrated steps are only predicted, after each pass, in [0, 1]; by default 0, which learns from all.
        /// At least one user is learned from. What is predicted is log π over the whole catalogue, whatever `softmax` is.
        #[serde(skip_serializing_if = "is_zero")]
        pub holdout_fraction: f64 = 0.0,
    }
    shared {
        optimizer: { learning_rate: 0.003, weight_decay: 0.001, max_grad_norm: 1.0, schedule: Constant },
        network: NetworkConfig::default(),
        checkpoint_every: 10 epochs,
    }
}

fn is_zero(fraction: &f64) -> bool {
    *fraction == 0.0
}

/// The items over which log π is normalised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Softmax {
    /// The whole catalogue.
    #[default]
    Full,
    /// A sample of it, drawn by how often items were demonstrated and corrected for that: of the tables of items a step touches only
    /// the rows of the sample and of the states, the others keep their values and their moments.
    Sampled(Sampled),
    /// The first `candidates` of the user, and what was demonstrated. The policy learns to tell the demonstrated item apart from them, and
    /// nothing of items that are nobody's candidate: its bias is larger than that of a sample.
    Candidates(CandidateSets),
}

/// Settings of `softmax: candidates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CandidateSets {
    /// Candidates of a user that count, from 1; ours: 100. Fewer where a user has fewer.
    pub n_candidates: usize,
}

impl Default for CandidateSets {
    fn default() -> Self {
        Self { n_candidates: 100 }
    }
}

/// Settings of `softmax: sampled`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampled {
    /// Items drawn for each update, from 1; ours: 1,000.
    pub n_negatives: usize,
    /// Whether each score is corrected by the logarithm of how likely its item is to be drawn, as by default. Without it the scores learn
    /// how much more often an item was demonstrated than it is drawn, so that frequent items are recommended too rarely.
    #[serde(skip_serializing_if = "is_true")]
    // The default of a field that is not written while it has it.
    #[schemars(extend("default" = true))]
    pub log_q_correction: bool,
}

fn is_true(flag: &bool) -> bool {
    *flag
}

impl Default for Sampled {
    fn default() -> Self {
        Self { n_negatives: 1000, log_q_correction: true }
    }
}

pipeline::ports! {
    /// What is copied.
    pub struct Inputs {
        /// The training world, for its vectors.
        world: World,
        /// What to copy.
        demonstrations: Demonstrations,
        /// How much each step counts; 1 without.
        weights: Option<Weights>,
        /// The policy to begin from; a new network without.
        init: Option<PolicyFile>,
        /// Each user's candidates, for `softmax: { candidates: … }` alone.
        candidates: Option<Candidates>,
    }
}

impl Inputs {
    /// Of these demonstrations, without anything optional.
    #[must_use]
    pub fn new(world: World, demonstrations: Demonstrations) -> Self {
        Self { world, demonstrations, weights: None, init: None, candidates: None }
    }
}

impl Stage for BehaviourCloning {
    const KIND: &'static str = "rl.bc";
    /// 1: first. 2: log π is one operation, so sums round otherwise; `network.encoder`.
    /// 3: steps of training are fused, so sums round otherwise.
    /// 4: gradients are summed in parts, for threads, so they round otherwise; `softmax`.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "copy the demonstrations by (weighted) behaviour cloning";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    const ADDED_PORTS: &'static [&'static str] = &["init", "candidates"];
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::batch_size(self.batch_size)?;
        let one = "a softmax tells an item apart from at least one";
        match self.softmax {
            Softmax::Full => {}
            Softmax::Sampled(Sampled { n_negatives, .. }) => {
                validation::at_least_one("softmax.sampled.n_negatives", n_negatives, one)?;
            }
            Softmax::Candidates(CandidateSets { n_candidates }) => {
                validation::at_least_one("softmax.candidates.n_candidates", n_candidates, one)?;
            }
        }
        validation::fraction("holdout_fraction", self.holdout_fraction)?;
        self.check_shared()
    }

    fn requirements(&self) -> Vec<Requirement> {
        let connected = matches!(self.softmax, Softmax::Candidates(_));
        vec![Requirement {
            setting: "softmax",
            port: "candidates",
            connected,
            why: match connected {
                true => "log π is normalised over each user's candidates".to_owned(),
                false => "only `softmax: { candidates: … }` reads candidates".to_owned(),
            },
            help: match connected {
                true => "connect `candidates` of a `retrieve` stage",
                false => "leave `candidates` out, or set `softmax: { candidates: {} }`",
            },
        }]
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        LearnerTables::streamed(&self.network, 1, self.batch_size as u64).need(inputs)
    }

    fn forbidden_sources(&self) -> Vec<ForbiddenSource> {
        forbidden("init", Self::KIND)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let mut pairs = BcDataset::new(&inputs.demonstrations, inputs.weights.as_ref(), world, self.network.window)?;
        let held_out = match self.holdout_fraction {
            0.0 => None,
            fraction => Some(pairs.hold_out(fraction, rng(&[self.seed, 0xbc0]))),
        };
        if let Some(held_out) = &held_out {
            cx.note("steps", format!("{}, and {} held out", pairs.actions.len(), held_out.actions.len()));
        }
        let start = Start::new(Self::KIND, &self.network, inputs.init.as_ref(), world, &device)?;
        let network = start.network(self.seed)?;
        let adam = self.optimizer.adam(network.params())?;
        let (adam, among) = match self.softmax {
            Softmax::Full => (adam, Among::All),
            Softmax::Sampled(Sampled { n_negatives, log_q_correction }) => {
                let proposal = Proposal::new(world.items(), &pairs.actions, log_q_correction);
                (adam.with_sparse_rows(), Among::Sample(proposal, n_negatives))
            }
            Softmax::Candidates(CandidateSets { n_candidates }) => {
                let candidates = inputs.candidates.context("the input `candidates` is missing")?;
                candidates.check_world(world)?;
                (adam.with_sparse_rows(), Among::Candidates(candidates, n_candidates))
            }
        };
        let mut learner = Learner { config: self, pairs, held_out, network, adam, among };
        train(
            &mut learner,
            &self.plan(self.n_epochs).after(inputs.init.as_ref(), None)?.taught_by(Some(&inputs.demonstrations)),
            world,
            cx,
        )
    }
}

struct Learner<'c> {
    config: &'c BehaviourCloning,
    pairs: BcDataset,
    /// What is only predicted.
    held_out: Option<BcDataset>,
    network: ActorCritic,
    adam: AdamW,
    among: Among,
}

/// What an item is told apart from.
enum Among {
    All,
    /// So many draws an update.
    Sample(Proposal, usize),
    /// The first so many of each user.
    Candidates(Candidates, usize),
}

impl PolicyLearner for Learner<'_> {
    /// One pass over all pairs, in a new order.
    fn update(&mut self, epoch: u64) -> Result<UpdateMetrics> {
        let mut order: Vec<usize> = (0..self.pairs.actions.len()).collect();
        let mut draw = rng(&[self.config.seed, 0xbc, epoch]);
        order.shuffle(&mut draw);
        self.adam.learning_rate = self.config.optimizer.rate(epoch, self.config.n_epochs);
        let mut sum = 0.0;
        for rows in order.chunks(self.config.batch_size) {
            let loss = match &self.among {
                Among::All => self.pairs.imitation_loss(&self.network, rows)?,
                Among::Sample(proposal, n_negatives) => {
                    self.pairs.sampled_imitation_loss(&self.network, rows, (proposal, *n_negatives), &mut draw)?
                }
                Among::Candidates(candidates, most) => {
                    self.pairs.candidate_imitation_loss(&self.network, rows, (candidates, *most))?
                }
            };
            sum += f64::from(loss.to_scalar::<f32>()?) * rows.len() as f64;
            self.adam.descend(self.network.params(), &loss).with_context(|| format!("epoch {epoch}"))?;
        }
        let mut metrics = vec![("imitation_loss", sum / order.len() as f64)];
        if let Some(held_out) = &self.held_out {
            metrics.push(("heldout_loss", held_out.mean_loss(&self.network, self.config.batch_size)?));
        }
        Ok(metrics)
    }
    fn policy(&self) -> Result<TensorFile> {
        self.network.export()
    }
    fn modules(&mut self) -> Modules<'_> {
        vec![("policy", self.network.params(), &mut self.adam)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::PolicyFile;
    use crate::env::{PolicyAgent, cluster_world, play};
    use crate::nn::Optimizer;
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, demonstrated_cycles, small_network, with};

    fn solver() -> BehaviourCloning {
        BehaviourCloning {
            n_epochs: 150,
            optimizer: Optimizer::with_learning_rate(0.02),
            network: small_network(),
            ..BehaviourCloning::default()
        }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        assert_keeps_the_contract(&ContractCase {
            short: BehaviourCloning { n_epochs: 5, batch_size: 7, ..solver() },
            untrained: BehaviourCloning { n_epochs: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: Inputs::new,
            // Behaviour cloning has no value loss.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut BehaviourCloning| c.batch_size = 0), "batch_size"),
                (with(|c| c.holdout_fraction = 1.5), "holdout_fraction"),
            ],
            online: false,
        });
    }

    #[test]
    fn a_softmax_over_a_sample_keeps_the_contract_too() {
        let sampled = |n_negatives| Softmax::Sampled(Sampled { n_negatives, ..Sampled::default() });
        assert_keeps_the_contract(&ContractCase {
            short: BehaviourCloning { n_epochs: 5, batch_size: 7, softmax: sampled(2), ..solver() },
            untrained: BehaviourCloning { n_epochs: 0, softmax: sampled(2), ..solver() },
            solver: BehaviourCloning { softmax: sampled(3), ..solver() },
            updates: 5,
            inputs: Inputs::new,
            frozen: &["critic."],
            refused: vec![(
                BehaviourCloning { softmax: sampled(0), ..BehaviourCloning::default() },
                "softmax.sampled.n_negatives",
            )],
            online: false,
        });
    }

    /// All items of the small worlds, for each user.
    fn with_candidates(world: World, demonstrations: Demonstrations) -> Inputs {
        let items: Vec<Vec<u32>> = vec![(0..world.items() as u32).collect(); world.users()];
        let scores = vec![vec![0.0; world.items()]; world.users()];
        let candidates = Some(Candidates { items, scores, filter_quit_items: false });
        Inputs { candidates, ..Inputs::new(world, demonstrations) }
    }

    #[test]
    fn a_softmax_over_candidates_keeps_the_contract_too() {
        let among = |n_candidates| Softmax::Candidates(CandidateSets { n_candidates });
        assert_keeps_the_contract(&ContractCase {
            short: BehaviourCloning { n_epochs: 5, batch_size: 7, softmax: among(2), ..solver() },
            untrained: BehaviourCloning { n_epochs: 0, softmax: among(2), ..solver() },
            solver: BehaviourCloning { softmax: among(100), ..solver() },
            updates: 5,
            inputs: with_candidates,
            frozen: &["critic."],
            refused: vec![(
                BehaviourCloning { softmax: among(0), ..BehaviourCloning::default() },
                "softmax.candidates.n_candidates",
            )],
            online: false,
        });
    }

    #[test]
    fn over_candidates_that_are_the_whole_catalogue_the_loss_is_that_of_the_full_softmax() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 4);
        let pairs = BcDataset::new(&demonstrated_cycles(&world, &[&[0, 2, 4]]), None, &world, 2).unwrap();
        let small = small_network();
        let start = Start::new("rl.bc", &small, None, &world, &candle_core::Device::Cpu).unwrap();
        let network = start.network(3).unwrap();
        let loss = |most| {
            let inputs = with_candidates(world.clone(), Demonstrations::default());
            let loss = pairs.candidate_imitation_loss(&network, &[0, 1, 5, 7], (&inputs.candidates.unwrap(), most));
            loss.unwrap().to_scalar::<f32>().unwrap()
        };
        let full = pairs.imitation_loss(&network, &[0, 1, 5, 7]).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss(100) - full).abs() < 1e-5, "{} for {full}", loss(100));
        // Item 0 is what was demonstrated first: nothing is left to tell it apart from.
        assert!(loss(1) < full);
    }

    #[test]
    fn candidates_are_connected_where_the_softmax_is_over_them_and_nowhere_else() {
        let port = |softmax| BehaviourCloning { softmax, ..solver() }.requirements().remove(0);
        assert!(port(Softmax::Candidates(CandidateSets::default())).connected && !port(Softmax::Full).connected);
    }

    #[test]
    fn what_is_held_out_is_predicted_and_not_learned_from() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 4);
        let run = |holdout_fraction| {
            let stage = BehaviourCloning { n_epochs: 100, holdout_fraction, ..solver() };
            let demonstrations = demonstrated_cycles(&world, &[&[0, 2, 4]]);
            let folder = tempfile::tempdir().unwrap();
            let found =
                stage.run(Inputs::new(world.clone(), demonstrations), &Context::detached(folder.path())).unwrap();
            let series = |name: &str| -> Vec<f64> {
                found.curves.0.iter().filter(|point| point.series == name).map(|point| point.value).collect()
            };
            (series("imitation_loss"), series("heldout_loss"))
        };
        assert!(run(0.0).1.is_empty());
        let (learned, predicted) = run(0.5);
        // All users do the same, of whom this world says nothing: it is predicted as it is learned.
        assert!(predicted.len() == 100 && predicted[99] < 0.5 * predicted[0], "{predicted:?}");
        assert!(learned != run(0.0).0);
        let key = serde_json::to_value(BehaviourCloning { softmax: Softmax::Sampled(Sampled::default()), ..solver() });
        let key = key.unwrap();
        assert!(key.get("holdout_fraction").is_none() && key["softmax"]["sampled"].get("log_q_correction").is_none());
    }

    /// Two experts disagree in every state; the weights say whom to follow.
    #[test]
    fn weights_choose_between_experts() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 1);
        let mut demonstrations = demonstrated_cycles(&world, &[&[0, 2, 4], &[4, 2, 0]]);
        demonstrations.trajectories.truncate(2);
        let first_of = |weight: [f32; 2]| {
            let steps: Vec<(u32, u32)> = demonstrations.steps().map(|(t, s, _)| (t as u32, s as u32)).collect();
            let weight: Vec<f32> = steps.iter().map(|&(t, _)| weight[t as usize]).collect();
            let (trajectory, step) = steps.into_iter().unzip();
            let (w_env, w_irl) = (weight.clone(), weight.clone());
            let weights = Weights { trajectory, step, w_env, w_irl, weight, demonstrations: demonstrations.digest() };
            let (world, demonstrations) = (world.clone(), demonstrations.clone());
            let inputs = Inputs { weights: Some(weights), ..Inputs::new(world.clone(), demonstrations) };
            let folder = tempfile::tempdir().unwrap();
            let stage = BehaviourCloning { n_epochs: 40, ..solver() };
            let policy: PolicyFile = stage.run(inputs, &Context::detached(folder.path())).unwrap().policy;
            let network = PolicyAgent::load(&policy, world.users(), world.items()).unwrap();
            let played = play(&world, &[0], &PolicyAgent { network: &network, sample: false }, 0).unwrap();
            played.items(0)[..3].to_vec()
        };
        assert_eq!(first_of([1.9, 0.1]), [0, 2, 4]);
        assert_eq!(first_of([0.1, 1.9]), [4, 2, 0]);
    }
}
