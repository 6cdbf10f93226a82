//! Trained policies in a study of log sizes: rows of evaluations whose cells say N and draw.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Mean, Study};
use crate::artifact::{Arm, Rollouts};

/// What a policy is in the study.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyArm {
    /// The learner; two policies of one learner, one of them without scores, are compared.
    pub learner: String,
    /// The model whose knowledge it was given, by the name that it has at `item_scores`; empty for none, as by default.
    #[serde(default)]
    pub scores: String,
}

/// Adds the episodes of `policies` to the study; `place` is `half/world`.
pub(super) fn add_rollouts(
    study: &mut Study,
    place: &str,
    rollouts: &Rollouts,
    policies: &BTreeMap<String, PolicyArm>,
) -> Result<()> {
    let (half, world) = place.split_once('/').with_context(|| {
        format!("found `{place}` as the name of rollouts, wanted `half/world`\nhelp: write `rollouts: {{ a/mf: … }}`")
    })?;
    let mut cells: BTreeMap<(&PolicyArm, u32, u32), BTreeMap<u32, f32>> = BTreeMap::new();
    for rollout in &rollouts.0 {
        let Some(arm) = policies.get(&rollout.policy) else { continue };
        let [n, draw] = ["n", "draw"].map(|name| number(&rollout.cell, name));
        let (n, draw) = (n?, draw?);
        let of_users = cells.entry((arm, n, draw)).or_default();
        let before = of_users.insert(rollout.user, rollout.return_inclusive as f32);
        ensure!(before.is_none(), "user {} played twice in `{}` of `{}`", rollout.user, rollout.cell, rollout.policy);
    }
    for name in policies.keys() {
        let known = rollouts.0.iter().any(|rollout| rollout.policy == *name);
        ensure!(known, "no row `{name}` among the rollouts `{place}`\nhelp: name a policy as `evaluate` does");
    }
    for ((arm, n, draw), returns) in cells {
        let (users, returns): (Vec<u32>, Vec<f32>) = returns.into_iter().unzip();
        let cell = Mean { world: world.to_owned(), arm: Arm::new(&arm.learner, &arm.scores), n };
        study.add(half, cell, draw, &users, returns)?;
    }
    Ok(())
}

/// The value of a swept number in the name of a cell (`draw=3,n=100`).
fn number(cell: &str, name: &str) -> Result<u32> {
    let value = cell.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let value = value.with_context(|| {
        format!("the cell `{cell}` of a policy has no `{name}`\nhelp: sweep `n` and `draw` where the ratings are drawn, and let the policy follow")
    })?;
    value.parse().with_context(|| format!("found {value} as `{name}` of the cell `{cell}`, wanted a whole number"))
}
