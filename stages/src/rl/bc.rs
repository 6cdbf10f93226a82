//! Behaviour cloning: the policy most likely to have made the demonstrations.
//!
//! min −mean(w·log π(a|s)), w ≡ 1 without weights (Pomerleau 1991; weighted as in AWR, arXiv 1910.00177, where the weights
//! are exp(A/β)). Left out: anything that would use the world's answers; it is here to show what copying alone gives.

use anyhow::{Context as _, Result};
use pipeline::{Context, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::learner::{Modules, TrainingPlan, UpdateMetrics, train};
use super::validation::{self, Validation};
use super::{BcDataset, NetworkConfig, Outputs, PolicyLearner};
use crate::artifact::{Demonstrations, TensorFile, Weights, World};
use crate::nn::sampled_softmax::Proposal;
use crate::nn::{ActorCritic, AdamW, device, rng};

/// `rl.bc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BehaviourCloning {
    /// Passes over the demonstrations.
    pub epochs: u64,
    /// Demonstrated steps an update.
    pub batch_size: usize,
    /// AdamW's step size.
    pub learning_rate: f64,
    /// AdamW's decoupled decay.
    pub weight_decay: f64,
    /// What π is made of while it learns; what is served is over the whole catalogue either way.
    pub softmax: Softmax,
    /// The network.
    pub network: NetworkConfig,
    /// Epochs between two checkpoints.
    pub checkpoint_every: u64,
    /// Seed of the weights and of the order of batches.
    pub seed: u64,
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
}

/// Settings of [`Softmax::Sampled`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampled {
    /// Items drawn for each update, from 1; ours: 1,000.
    pub negatives: usize,
}

impl Default for Sampled {
    fn default() -> Self {
        Self { negatives: 1000 }
    }
}

impl Default for BehaviourCloning {
    fn default() -> Self {
        Self {
            epochs: 40,
            batch_size: 128,
            learning_rate: 0.003,
            weight_decay: 0.001,
            softmax: Softmax::default(),
            network: NetworkConfig::default(),
            checkpoint_every: 10,
            seed: 0,
        }
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
    const USES_DEVICE: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Validation {
        validation::batch_size(self.batch_size)?;
        validation::step_size("learning_rate", self.learning_rate)?;
        validation::coefficient("weight_decay", self.weight_decay)?;
        if let Softmax::Sampled(Sampled { negatives }) = self.softmax {
            validation::at_least_one(
                "softmax.sampled.negatives",
                negatives,
                "a softmax tells an item apart from at least one",
            )?;
        }
        validation::checkpoints(self.checkpoint_every)?;
        validation::nested("network", self.network.check())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let world = &inputs.world;
        let device = device::of(cx)?;
        let pairs = BcDataset::new(&inputs.demonstrations, inputs.weights.as_ref(), world, self.network.window)?;
        let network = self.network.build(world, self.seed, &device)?;
        let adam = AdamW::new(network.params(), self.learning_rate, self.weight_decay, 1.0)?;
        let (adam, sample) = match self.softmax {
            Softmax::Full => (adam, None),
            Softmax::Sampled(Sampled { negatives }) => {
                (adam.with_sparse_rows(), Some((Proposal::new(world.items(), &pairs.actions), negatives)))
            }
        };
        let mut learner = Learner { config: self, pairs, network, adam, sample };
        let plan = TrainingPlan {
            kind: Self::KIND,
            updates: self.epochs,
            unit: "epochs",
            checkpoint_every: self.checkpoint_every,
        };
        train(&mut learner, &plan, world, cx)
    }
}

struct Learner<'c> {
    config: &'c BehaviourCloning,
    pairs: BcDataset,
    network: ActorCritic,
    adam: AdamW,
    /// What negatives are drawn from, and how many an update.
    sample: Option<(Proposal, usize)>,
}

impl PolicyLearner for Learner<'_> {
    /// One pass over all pairs, in a new order.
    fn update(&mut self, epoch: u64) -> Result<UpdateMetrics> {
        let mut order: Vec<usize> = (0..self.pairs.actions.len()).collect();
        let mut draw = rng(&[self.config.seed, 0xbc, epoch]);
        order.shuffle(&mut draw);
        let mut sum = 0.0;
        for rows in order.chunks(self.config.batch_size) {
            let loss = match &self.sample {
                None => self.pairs.imitation_loss(&self.network, rows)?,
                Some((proposal, negatives)) => {
                    self.pairs.sampled_imitation_loss(&self.network, rows, (proposal, *negatives), &mut draw)?
                }
            };
            sum += f64::from(loss.to_scalar::<f32>()?) * rows.len() as f64;
            self.adam.descend(self.network.params(), &loss).with_context(|| format!("epoch {epoch}"))?;
        }
        Ok(vec![("imitation_loss", sum / order.len() as f64)])
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
    use crate::rl::conformance::{ContractCase, assert_keeps_the_contract, demonstrated_cycles, small_network, with};

    fn solver() -> BehaviourCloning {
        BehaviourCloning { epochs: 150, learning_rate: 0.02, network: small_network(), ..BehaviourCloning::default() }
    }

    #[test]
    fn it_keeps_the_contract_of_learners() {
        assert_keeps_the_contract(&ContractCase {
            short: BehaviourCloning { epochs: 5, batch_size: 7, ..solver() },
            untrained: BehaviourCloning { epochs: 0, ..solver() },
            solver: solver(),
            updates: 5,
            inputs: |world, demonstrations| Inputs { world, demonstrations, weights: None },
            // What a state is worth is no part of copying.
            frozen: &["critic."],
            refused: vec![
                (with(|c: &mut BehaviourCloning| c.batch_size = 0), "batch_size"),
                (with(|c| c.learning_rate = f64::NAN), "learning_rate"),
                (with(|c| c.weight_decay = -1.0), "weight_decay"),
                (with(|c| c.checkpoint_every = 0), "checkpoint_every"),
                (with(|c| c.network.hidden_size = 0), "network.hidden_size"),
            ],
            online: false,
        });
    }

    #[test]
    fn a_softmax_over_a_sample_keeps_the_contract_too() {
        let sampled = |negatives| Softmax::Sampled(Sampled { negatives });
        assert_keeps_the_contract(&ContractCase {
            short: BehaviourCloning { epochs: 5, batch_size: 7, softmax: sampled(2), ..solver() },
            untrained: BehaviourCloning { epochs: 0, softmax: sampled(2), ..solver() },
            solver: BehaviourCloning { softmax: sampled(3), ..solver() },
            updates: 5,
            inputs: |world, demonstrations| Inputs { world, demonstrations, weights: None },
            frozen: &["critic."],
            refused: vec![(
                BehaviourCloning { softmax: sampled(0), ..BehaviourCloning::default() },
                "softmax.sampled.negatives",
            )],
            online: false,
        });
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
            let inputs = Inputs { world: world.clone(), demonstrations, weights: Some(weights) };
            let folder = tempfile::tempdir().unwrap();
            let stage = BehaviourCloning { epochs: 40, ..solver() };
            let policy: PolicyFile = stage.run(inputs, &Context::detached(folder.path())).unwrap().policy;
            let network = PolicyAgent::load(&policy, world.users(), world.items()).unwrap();
            let played = play(&world, &[0], &PolicyAgent { network: &network, sample: false }, 0).unwrap();
            played.items(0)[..3].to_vec()
        };
        assert_eq!(first_of([1.9, 0.1]), [0, 2, 4]);
        assert_eq!(first_of([0.1, 1.9]), [4, 2, 0]);
    }
}
