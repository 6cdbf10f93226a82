//! The learned baselines: constant reward and behaviour cloning.
//!
//! In a world with a quit rule longer episodes return more. The constant-reward baseline learns with a reward of 1 for every step
//! except one at whose low reward the user quits (at an item that is too similar the last step counts, because rewards are
//! inclusive), and its network starts without the prior of the training world. It shows the return of keeping users alone: a
//! policy that does not exceed it has learned no preference.

use anyhow::{Context as _, Result};
use pipeline::{Context, Named, Stage as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, PolicyFile, World};
use crate::rl::inputs::OnlineWithDemos;
use crate::rl::{A2c, BehaviourCloning, NetworkConfig, bc};

/// The baselines that are trained where a training world is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Baselines {
    /// Whether an actor-critic with a reward of 1 per step is trained; needs `training_world`.
    pub constant_reward: bool,
    /// Its iterations, of 32 episodes each, from 1; 200 by default.
    pub n_iterations: u64,
    /// Whether behaviour cloning is trained where no policy comes from `rl.bc`; needs `training_world` and `demonstrations`.
    pub behaviour_cloning: bool,
    /// Training seeds of each, from 1; 3 by default.
    pub seeds: u64,
}

impl Default for Baselines {
    fn default() -> Self {
        Self { constant_reward: true, n_iterations: 200, behaviour_cloning: true, seeds: 3 }
    }
}

impl Baselines {
    /// What no type can say.
    pub fn check(&self) -> Result<(), (String, String)> {
        if self.seeds == 0 {
            return Err((
                "seeds".into(),
                "a learned baseline is trained at least once; `constant_reward: false` leaves it out".into(),
            ));
        }
        if self.constant_reward && self.n_iterations == 0 {
            let help =
                "a policy that was never updated learned nothing; `constant_reward: false` leaves the baseline out";
            return Err(("n_iterations".into(), help.into()));
        }
        Ok(())
    }

    /// The constant-reward baseline.
    pub fn constant_reward(&self, name: &str, training: &World, cx: &Context) -> Result<Vec<Named<PolicyFile>>> {
        let world = constant_reward_world(training);
        self.each(name, cx, |seed, cx| {
            let learner = A2c {
                n_iterations: self.n_iterations,
                episodes_per_update: 32,
                bc_coef: 0.0,
                network: NetworkConfig { prior_scale: 0.0, ..NetworkConfig::default() },
                seed,
                ..A2c::default()
            };
            let inputs = OnlineWithDemos::new(world.clone());
            Ok(learner.run(inputs, cx)?.policy)
        })
    }

    /// The behaviour cloning baseline.
    pub fn behaviour_cloning(
        &self,
        name: &str,
        training: &World,
        demonstrations: &Demonstrations,
        cx: &Context,
    ) -> Result<Vec<Named<PolicyFile>>> {
        self.each(name, cx, |seed, cx| {
            let learner = BehaviourCloning { seed, ..BehaviourCloning::default() };
            let inputs = bc::Inputs::new(training.clone(), demonstrations.clone());
            Ok(learner.run(inputs, cx)?.policy)
        })
    }

    /// One policy a seed; each training has a scratch folder of its own, so an interrupted one goes on.
    fn each(
        &self,
        name: &str,
        cx: &Context,
        train: impl Fn(u64, &Context) -> Result<PolicyFile>,
    ) -> Result<Vec<Named<PolicyFile>>> {
        let one = |seed| {
            let cx = cx.part(&format!("{name} {seed}").replace(' ', "-"));
            let value = train(seed, &cx).with_context(|| format!("baseline `{name}` of seed={seed}"))?;
            Ok(Named { name: name.to_owned(), cell: format!("seed={seed}"), value })
        };
        (0..self.seeds).map(one).collect()
    }
}

/// The same users with a reward of 1 for each step, and 0 for a step at whose low reward the user quits, so that the rule holds.
fn constant_reward_world(world: &World) -> World {
    let mut constant = world.clone();
    let low = world.rules.quit_below;
    constant.set_rewards(world.rewards().constant(low));
    constant.rules.quit_below = low.map(|_| 0.5);
    constant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Termination;
    use crate::env::{Episodes, cluster_world};

    #[test]
    fn people_leave_as_before_and_pay_for_nothing_else() {
        let mut world = cluster_world(&[5.0, 1.0, 3.0], 1, 1, 4, 1);
        world.rules.quit_below = Some(2.0);
        let constant = constant_reward_world(&world);
        for items in [[0, 2, 0, 2], [0, 0, 0, 0], [0, 1, 0, 0]] {
            let played = |world| {
                let mut episodes = Episodes::new(world, &[0]);
                for item in items {
                    if episodes.end(0).is_none() {
                        episodes.step(&[0], &[item]).unwrap();
                    }
                }
                (episodes.end(0), episodes.items(0).len(), episodes.rewards(0).to_vec())
            };
            let ((end, length, _), (constant_end, constant_length, rewards)) = (played(&world), played(&constant));
            assert_eq!((end, length), (constant_end, constant_length));
            let stayed = rewards.len() - usize::from(end == Some(Termination::LowReward));
            assert_eq!(rewards.iter().sum::<f32>(), stayed as f32);
        }
    }

    #[test]
    fn it_learns_to_stay_and_nothing_of_taste() {
        // Four clusters with a window of two: a random player leaves soon, one that learned to stay does not.
        let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 2, 12, 3);
        let folder = tempfile::tempdir().unwrap();
        let baselines = Baselines { seeds: 1, ..Baselines::default() };
        let policy = baselines.constant_reward("stay", &world, &Context::detached(folder.path())).unwrap().remove(0);
        assert_eq!((policy.name.as_str(), policy.cell.as_str()), ("stay", "seed=0"));
        let network = crate::env::PolicyAgent::load(&policy.value, 3, 8).unwrap();
        let student = crate::env::PolicyAgent { network: &network, sample: false };
        let episodes = crate::env::play(&world, &[0, 1, 2], &student, 0).unwrap();
        let turns: usize = (0..3).map(|e| episodes.items(e).len()).sum();
        assert!(turns >= 33, "{turns} turns of 36");
    }
}
