//! Behaviour cloning: the policy most likely to have made the demonstrations.
//!
//! min −mean(w·log π(a|s)), w ≡ 1 without weights (Pomerleau 1991; weighted as in AWR, arXiv 1910.00177, where the weights
//! are exp(A/β)). Left out: anything that would use the world's answers; it is here to show what copying alone gives.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use pipeline::{Context, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Demonstrated, NetworkConfig, Outputs};
use crate::artifact::{Curves, Demonstrations, Policy, Weights, World};
use crate::nn::{ActorCritic, AdamW, State, Training, rng};

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
    /// The network.
    pub network: NetworkConfig,
    /// Epochs between two checkpoints.
    pub checkpoint_every: u64,
    /// Seed of the weights and of the order of batches.
    pub seed: u64,
}

impl Default for BehaviourCloning {
    fn default() -> Self {
        Self {
            epochs: 40,
            batch_size: 128,
            learning_rate: 0.003,
            weight_decay: 0.001,
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
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "copy the demonstrations by (weighted) behaviour cloning";
    const NOT_IN_KEY: &'static [&'static str] = &["checkpoint_every"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.batch_size == 0 {
            return wrong("batch_size", "an update needs at least one step");
        }
        if !AdamW::is_step_size(self.learning_rate) {
            return wrong("learning_rate", "a step size is above 0");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return wrong("weight_decay", "a decay is 0 or more");
        }
        if self.checkpoint_every == 0 {
            return wrong("checkpoint_every", "a checkpoint comes after at least one epoch");
        }
        self.network.check().map_err(|(path, message)| (format!("network.{path}"), message))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let pairs =
            Demonstrated::new(&inputs.demonstrations, inputs.weights.as_ref(), &inputs.world, self.network.window)?;
        let network = self.network.build(&inputs.world, self.seed)?;
        let mut adam = AdamW::new(network.params(), self.learning_rate, self.weight_decay, 1.0)?;
        let mut curves = Curves::default();
        let training = Training::open(cx, "checkpoints", self.checkpoint_every)?;
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            state(&network, &mut adam, &mut curves).restore(&bytes)?;
            done = number;
        }
        let bar = cx.bar("copy", Some(self.epochs), "epochs");
        bar.inc(done);
        for epoch in done..self.epochs {
            let mut order: Vec<usize> = (0..pairs.actions.len()).collect();
            order.shuffle(&mut rng(&[self.seed, 0xbc, epoch]));
            let mut sum = 0.0;
            for rows in order.chunks(self.batch_size) {
                let loss = pairs.imitation_loss(&network, rows)?;
                sum += f64::from(loss.to_scalar::<f32>()?) * rows.len() as f64;
                adam.descend(network.params(), &loss).with_context(|| format!("epoch {epoch}"))?;
            }
            let loss = sum / order.len() as f64;
            curves.push("imitation_loss", epoch + 1, loss);
            bar.inc_with(1, &format!("loss {loss:.3}"));
            training.passed(epoch + 1, || state(&network, &mut adam, &mut curves).save())?;
        }
        Ok(Outputs { policy: Policy::new(network.export()?, Self::KIND, &inputs.world)?, curves })
    }
}

fn state<'a>(network: &'a ActorCritic, adam: &'a mut AdamW, curves: &'a mut Curves) -> State<'a> {
    State { networks: vec![("policy", network.params(), adam)], arrays: BTreeMap::new(), curves }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Choice, End, Trajectory};
    use crate::env::{Student, cluster_world, play};
    use crate::nn::training::assert_resumes_exactly;

    fn cycle() -> Inputs {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 2);
        let choice = |t: usize| Choice {
            item: [0, 2, 4][t % 3],
            reward: 4.0,
            candidates: vec![],
            scores: vec![],
            call: String::new(),
        };
        let trajectory = Trajectory { user: 1, steps: (0..30).map(choice).collect(), end: End::Horizon };
        Inputs { world, demonstrations: Demonstrations { trajectories: vec![trajectory] }, weights: None }
    }

    fn small() -> BehaviourCloning {
        BehaviourCloning {
            epochs: 150,
            learning_rate: 0.02,
            network: NetworkConfig { window: 2, hidden: 32, prior: 0.0, avoid: 0.0, ..NetworkConfig::default() },
            ..BehaviourCloning::default()
        }
    }

    #[test]
    fn it_copies_a_cycle_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = small().run(cycle(), &Context::detached(folder.path())).unwrap();
        let network = Student::load(&outputs.policy, 2, 6).unwrap();
        let world = cycle().world;
        let judged = play(&world, &[1], &Student { network: &network, sample: false }, 0).unwrap();
        assert!((judged.rewards(0).iter().sum::<f32>() - 120.0).abs() < 1e-3, "{:?}", judged.items(0));
        assert!(outputs.curves.0.last().unwrap().value < 0.1);
    }

    #[test]
    fn interrupted_after_every_epoch_it_ends_the_same() {
        let stage = BehaviourCloning { epochs: 6, batch_size: 7, ..small() };
        assert_resumes_exactly(&stage, cycle, |outputs| (outputs.policy, outputs.curves), 6);
    }
}
