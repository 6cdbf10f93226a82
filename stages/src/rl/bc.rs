//! Behaviour cloning: the policy most likely to have made the demonstrations.
//!
//! min −mean(w·log π(a|s)), w ≡ 1 without weights (Pomerleau 1991; weighted as in AWR, arXiv 1910.00177, where the weights
//! are exp(A/β)). Left out: anything that would use the world's answers; it is here to show what copying alone gives.

use anyhow::Result;
use pipeline::{Context, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Demonstrated, NetworkConfig, Outputs};
use crate::artifact::{Curves, Demonstrations, Policy, Weights, World};
use crate::nn::{AdamW, rng};

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
    /// Seed of the weights and of the order of batches.
    pub seed: u64,
}

impl Default for BehaviourCloning {
    fn default() -> Self {
        let network = NetworkConfig::default();
        Self { epochs: 40, batch_size: 128, learning_rate: 0.003, weight_decay: 0.001, network, seed: 0 }
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
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.batch_size == 0 {
            return Err(("batch_size".into(), "an update needs at least one step".into()));
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let pairs =
            Demonstrated::new(&inputs.demonstrations, inputs.weights.as_ref(), &inputs.world, self.network.window)?;
        let network = self.network.build(&inputs.world, self.seed)?;
        let mut adam = AdamW::new(network.params(), self.learning_rate, self.weight_decay, 1.0)?;
        let mut curves = Curves::default();
        let bar = cx.bar("copy", Some(self.epochs), "epochs");
        for epoch in 0..self.epochs {
            cx.go_on()?;
            let mut order: Vec<usize> = (0..pairs.actions.len()).collect();
            order.shuffle(&mut rng(&[self.seed, 0xbc, epoch]));
            let mut sum = 0.0;
            for rows in order.chunks(self.batch_size) {
                let loss = pairs.imitation_loss(&network, rows)?;
                sum += f64::from(loss.to_scalar::<f32>()?) * rows.len() as f64;
                adam.descend(network.params(), &loss)?;
            }
            let loss = sum / order.len() as f64;
            curves.push("imitation_loss", epoch + 1, loss);
            bar.inc_with(1, &format!("loss {loss:.3}"));
        }
        Ok(Outputs { policy: Policy(network.export()?), curves })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Choice, End, Trajectory};
    use crate::env::{Student, cluster_world, play};

    #[test]
    fn it_copies_a_cycle_exactly() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 2);
        let choice = |t: usize| Choice {
            item: [0, 2, 4][t % 3],
            reward: 4.0,
            candidates: vec![],
            scores: vec![],
            call: String::new(),
        };
        let trajectory = Trajectory { user: 1, steps: (0..30).map(choice).collect(), end: End::Horizon };
        let demonstrations = Demonstrations { trajectories: vec![trajectory] };
        let folder = tempfile::tempdir().unwrap();
        let bc = BehaviourCloning {
            epochs: 150,
            learning_rate: 0.02,
            network: NetworkConfig { window: 2, hidden: 32, prior: 0.0, avoid: 0.0, ..NetworkConfig::default() },
            ..BehaviourCloning::default()
        };
        let inputs = Inputs { world: world.clone(), demonstrations, weights: None };
        let outputs = bc.run(inputs, &Context::detached(folder.path())).unwrap();
        let network = Student::load(&outputs.policy, 2, 6).unwrap();
        let judged = play(&world, &[1], &Student { network: &network, sample: false }, 0).unwrap();
        assert!((judged.rewards(0).iter().sum::<f32>() - 120.0).abs() < 1e-3, "{:?}", judged.items(0));
        assert!(outputs.curves.0.last().unwrap().value < 0.1);
    }
}
