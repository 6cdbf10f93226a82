//! The reward of online learners: r = (1 − ω)·r̂ + ω·r_IRL.

use anyhow::Result;
use pipeline::Requirement;

use super::batch::Batch;
use crate::artifact::{RewardModel, World};
use crate::env::{LearnedReward, last_steps};

/// The mix of the world's reward and a learned one, ω of the latter: 0 as in IL-Rec's released code, 1 is pure inverse RL.
pub struct MixedReward<'w> {
    omega: f64,
    learned: Option<LearnedReward<'w>>,
}

impl<'w> MixedReward<'w> {
    /// For states of the last `window` items in that world.
    ///
    /// # Errors
    /// When `omega` is above 0 and no model is connected, or it was learned elsewhere.
    pub fn new(omega: f64, model: Option<&RewardModel>, world: &'w World, window: usize) -> Result<Self> {
        let learned = match model {
            Some(model) if omega > 0.0 => Some(LearnedReward::load(model, world, window)?),
            None if omega > 0.0 => anyhow::bail!(
                "omega is {omega}, but no `reward` is connected\nhelp: connect the reward of an irl stage, or set `omega: 0`"
            ),
            _ => None,
        };
        Ok(Self { omega, learned })
    }

    /// The port that ω requires.
    #[must_use]
    pub fn requirement(omega: f64) -> Option<Requirement> {
        (omega > 0.0).then(|| Requirement {
            setting: "omega",
            port: "reward",
            connected: true,
            why: format!("it is {omega}, the share of a learned reward"),
            help: "connect the reward of an irl stage, or set `omega: 0`",
        })
    }

    /// The rewards of a batch, `[S]`.
    pub fn of(&self, batch: &Batch) -> Result<Vec<f32>> {
        let Some(learned) = &self.learned else { return Ok(batch.training_rewards.clone()) };
        let irl = learned.rewards(&batch.observation, &batch.actions, &last_steps(&batch.lengths))?;
        Ok(mixed(&batch.training_rewards, &irl, self.omega))
    }
}

/// (1 − ω)·r̂ + ω·r_IRL, element by element.
#[must_use]
pub fn mixed(world: &[f32], irl: &[f32], omega: f64) -> Vec<f32> {
    let omega = omega as f32;
    world.iter().zip(irl).map(|(r, irl)| (1.0 - omega) * r + omega * irl).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn omega_goes_from_the_world_to_pure_inverse_rl() {
        let (world, irl) = ([1.0, 4.0], [3.0, -2.0]);
        assert_eq!(mixed(&world, &irl, 0.0), world);
        assert_eq!(mixed(&world, &irl, 1.0), irl);
        assert_eq!(mixed(&world, &irl, 0.25), [1.5, 2.5]);
    }

    #[test]
    fn a_share_of_nothing_is_refused() {
        let world = cluster_world(&[5.0, 4.0], 1, 1, 4, 1);
        let error = MixedReward::new(0.5, None, &world, 2).err().unwrap().to_string();
        assert!(error.contains("no `reward` is connected") && error.contains("help: "), "{error}");
        assert!(MixedReward::new(0.0, None, &world, 2).is_ok());
    }
}
