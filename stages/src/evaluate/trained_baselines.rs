//! The controls that learn: one that is only paid to stay, and one that only copies.
//!
//! A world with quit rules pays for length. The constant-reward learner is paid 1 for every step but one whose low reward drives
//! its user away (where an item is too similar the last step is paid for, as rewards are inclusive), and starts without the training world's taste: what it returns is what staying alone gives, and a learned reward that
//! does no better has learned no taste.

use anyhow::{Context as _, Result};
use pipeline::{Context, Named, Stage as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Demonstrations, PolicyFile, World};
use crate::rl::inputs::OnlineWithDemos;
use crate::rl::{A2c, BehaviourCloning, NetworkConfig, bc};

/// The controls that are trained where a training world is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Baselines {
    /// Whether an actor-critic that is paid 1 a step is trained; needs `training`.
    pub constant: bool,
    /// Its updates, of 32 episodes each, from 1; 200 by default.
    pub iterations: u64,
    /// Whether the demonstrations are copied where no policy comes from `rl.bc`; needs `training` and `demonstrations`.
    pub cloning: bool,
    /// Training seeds of each, from 1; 3 by default.
    pub seeds: u64,
}

impl Default for Baselines {
    fn default() -> Self {
        Self { constant: true, iterations: 200, cloning: true, seeds: 3 }
    }
}

impl Baselines {
    /// What no type can say.
    pub fn check(&self) -> Result<(), (String, String)> {
        if self.seeds == 0 {
            return Err(("seeds".into(), "a control is trained at least once; `constant: false` leaves it out".into()));
        }
        if self.constant && self.iterations == 0 {
            let help = "what was never updated learned nothing; `constant: false` leaves the control out";
            return Err(("iterations".into(), help.into()));
        }
        Ok(())
    }

    /// The learner that is only paid to stay.
    pub fn constant(&self, name: &str, training: &World, cx: &Context) -> Result<Vec<Named<PolicyFile>>> {
        let world = constant_reward_world(training);
        self.each(name, cx, |seed, cx| {
            let learner = A2c {
                iterations: self.iterations,
                episodes: 32,
                imitation: 0.0,
                network: NetworkConfig { prior_scale: 0.0, ..NetworkConfig::default() },
                seed,
                ..A2c::default()
            };
            let inputs = OnlineWithDemos { world: world.clone(), reward: None, demonstrations: None, weights: None };
            Ok(learner.run(inputs, cx)?.policy)
        })
    }

    /// The learner that only copies.
    pub fn cloning(
        &self,
        name: &str,
        training: &World,
        demonstrations: &Demonstrations,
        cx: &Context,
    ) -> Result<Vec<Named<PolicyFile>>> {
        self.each(name, cx, |seed, cx| {
            let learner = BehaviourCloning { seed, ..BehaviourCloning::default() };
            let inputs = bc::Inputs { world: training.clone(), demonstrations: demonstrations.clone(), weights: None };
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
            let value = train(seed, &cx).with_context(|| format!("control `{name}` of seed={seed}"))?;
            Ok(Named { name: name.to_owned(), cell: format!("seed={seed}"), value })
        };
        (0..self.seeds).map(one).collect()
    }
}

/// The same audience, paying 1 for each step; for one whose reward drives its user away 0, so that the rule still holds.
fn constant_reward_world(world: &World) -> World {
    let mut paid = world.clone();
    let low = world.rules.quit_below;
    paid.reward.data.iter_mut().for_each(|reward| *reward = f32::from(u8::from(low.is_none_or(|low| *reward >= low))));
    paid.rules.quit_below = low.map(|_| 0.5);
    paid
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
        let paid = constant_reward_world(&world);
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
            let ((end, length, _), (paid_end, paid_length, rewards)) = (played(&world), played(&paid));
            assert_eq!((end, length), (paid_end, paid_length));
            let stayed = rewards.len() - usize::from(end == Some(Termination::LowReward));
            assert_eq!(rewards.iter().sum::<f32>(), stayed as f32);
        }
    }

    #[test]
    fn it_learns_to_stay_and_nothing_of_taste() {
        // Four clusters with a window of two: a random player leaves soon, one that learned to stay does not.
        let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 2, 12, 3);
        let folder = tempfile::tempdir().unwrap();
        let controls = Baselines { seeds: 1, ..Baselines::default() };
        let policy = controls.constant("stay", &world, &Context::detached(folder.path())).unwrap().remove(0);
        assert_eq!((policy.name.as_str(), policy.cell.as_str()), ("stay", "seed=0"));
        let network = crate::env::PolicyAgent::load(&policy.value, 3, 8).unwrap();
        let student = crate::env::PolicyAgent { network: &network, sample: false };
        let episodes = crate::env::play(&world, &[0, 1, 2], &student, 0).unwrap();
        let turns: usize = (0..3).map(|e| episodes.items(e).len()).sum();
        assert!(turns >= 33, "{turns} turns of 36");
    }
}
