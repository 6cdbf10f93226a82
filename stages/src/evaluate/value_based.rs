//! Policies of learners of values, which draw nothing.
//!
//! The scores of `rl.dqn`, `rl.cql` and others are values in the unit of rewards: their softmax is a policy that no user learned,
//! and it would change with the unit. What was learned is to take the best item. Rejected: to draw by the ε with which `rl.dqn`
//! explored, which is a setting of its training, and `rl.cql` has none.

use anyhow::{Context as _, Result, ensure};
use pipeline::Named;

use super::leakage::policy_label;
use crate::artifact::PolicyFile;
use crate::rl::{is_value_based, value_based};

/// Whether a policy gives values in the place of a distribution.
pub(super) fn gives_values(policy: &Named<PolicyFile>) -> Result<bool> {
    let learner = policy.value.origin().with_context(|| policy_label(policy))?.learner;
    Ok(is_value_based(&learner))
}

/// An error where a policy that is to draw its actions gives values: beside rows that draw, one that does not would be compared
/// with something else than it.
pub(super) fn refuse(policies: &[Named<PolicyFile>]) -> Result<()> {
    for policy in policies {
        ensure!(
            !gives_values(policy)?,
            "{} is value-based and has no distribution to sample from, but `action_selection` is `sample`\nhelp: set `action_selection: greedy`, or evaluate the policies of {} in a separate stage",
            policy_label(policy),
            value_based().collect::<Vec<_>>().join(", ")
        );
    }
    Ok(())
}
