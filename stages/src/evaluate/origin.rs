//! Where what is judged comes from: nothing may have learned from its judge.

use anyhow::{Context as _, Result, bail};
use pipeline::Named;

use super::{Inputs, Judge};
use crate::artifact::{Policy, World};

const HELP: &str = "help: judge in a world of another family, or set `judge: same_as_training` to ask how much of a result is \
                    learning; such rows are labelled as privileged";

/// What policies of one row learned from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origins {
    judge: Judge,
    /// [`World::rewards_digest`] of the judge.
    rewards: String,
}

impl Origins {
    /// Of what is judged by `world`.
    pub fn new(judge: Judge, world: &World) -> Self {
        Self { judge, rewards: world.rewards_digest() }
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
    pub fn judged_by_its_teacher(&self, policy: &Named<Policy>) -> Result<bool> {
        let origin = policy.value.origin().with_context(|| called(policy))?;
        Ok(origin.learned_in == self.rewards)
    }
}

/// A policy as messages call it.
pub(super) fn called(policy: &Named<Policy>) -> String {
    match policy.cell.as_str() {
        "" => format!("policy `{}`", policy.name),
        cell => format!("policy `{}` of {cell}", policy.name),
    }
}
