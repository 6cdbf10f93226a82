//! Where what is judged comes from: nothing may have learned from its judge.

use anyhow::{Context as _, Result, bail};
use pipeline::Named;

use super::{Inputs, Judge};
use crate::artifact::{DistancesFrom, Policy, World};

const HELP: &str = "help: judge in a world of another family, or set `judge: same_as_training` to ask how much of a result is \
                    learning; such rows are labelled as privileged";

const LEARNED_HERE: &str = "privileged: learned in the world that judges it";
const HAD_DISTANCES: &str = "privileged: trained with the judge's distances";
const SHARES_DISTANCES: &str = "the judge has its training world's distances, so they agree on when people leave";

/// What the judge may have in common with what policies learned from.
pub(super) struct Origins {
    judge: Judge,
    /// [`World::rewards_digest`] of the judge.
    rewards: String,
    /// [`World::distances_digest`] of the judge.
    distances: String,
    /// Whether the judge took its distances from another world: then who has the same ones knows nothing of the judge.
    borrowed: bool,
}

impl Origins {
    /// Of what is judged by `world`.
    pub fn new(judge: Judge, world: &World) -> Self {
        Self {
            judge,
            rewards: world.rewards_digest(),
            distances: world.distances_digest(),
            borrowed: world.distances != DistancesFrom::Own,
        }
    }

    /// An error where a world or policy among the inputs has the judge's rewards and may not. The engine sees to what
    /// descends from the judge; this also sees a second world with equal rewards.
    pub fn refuse(&self, inputs: &Inputs) -> Result<()> {
        if self.judge == Judge::SameAsTraining {
            return Ok(());
        }
        let worlds = [("training", &inputs.training), ("validation", &inputs.validation)];
        for (port, world) in worlds {
            if world.as_ref().is_some_and(|world| world.rewards_digest() == self.rewards) {
                bail!("the world at `{port}` has the rewards of the judging world. {HELP}");
            }
        }
        for policy in &inputs.policies {
            if self.judged_by_its_teacher(policy)? {
                bail!("{} learned from the rewards that judge it. {HELP}", called(policy));
            }
        }
        Ok(())
    }

    /// Whether a policy learned in a world with the judge's rewards.
    fn judged_by_its_teacher(&self, policy: &Named<Policy>) -> Result<bool> {
        let origin = policy.value.origin().with_context(|| called(policy))?;
        Ok(origin.learned_in == self.rewards)
    }

    /// Whether policies know of the judge what they should not, and what a reader must know of that.
    pub fn told<'a>(&self, policies: impl Iterator<Item = &'a Named<Policy>>) -> Result<(bool, Vec<&'static str>)> {
        let (mut rewards, mut distances) = (false, false);
        for policy in policies {
            rewards |= self.judged_by_its_teacher(policy)?;
            distances |= policy.value.origin()?.distances_digest == self.distances;
        }
        let remarks = [
            rewards.then_some(LEARNED_HERE),
            (distances && !self.borrowed && !rewards).then_some(HAD_DISTANCES),
            (distances && self.borrowed && !rewards).then_some(SHARES_DISTANCES),
        ];
        Ok((rewards || (distances && !self.borrowed), remarks.into_iter().flatten().collect()))
    }
}

/// A policy as messages call it.
pub(super) fn called(policy: &Named<Policy>) -> String {
    match policy.cell.as_str() {
        "" => format!("policy `{}`", policy.name),
        cell => format!("policy `{}` of {cell}", policy.name),
    }
}
