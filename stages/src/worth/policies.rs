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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Rollout, Termination};

    fn rollout(policy: &str, cell: &str, user: u32, value: f64) -> Rollout {
        Rollout {
            policy: policy.into(),
            cell: cell.into(),
            user,
            length: 2,
            return_inclusive: value,
            return_exclusive: value,
            distinct_items: 2,
            diversity: 0.0,
            novelty: 0.0,
            top_category: None,
            return_training_world: None,
            end: Termination::Horizon,
        }
    }

    fn arms() -> BTreeMap<String, PolicyArm> {
        let arm = |scores: &str| PolicyArm { learner: "a2c".into(), scores: scores.into() };
        BTreeMap::from([("alone".into(), arm("")), ("full".into(), arm("llm"))])
    }

    #[test]
    fn cells_of_policies_become_draws_of_arms() {
        let rows = |policy: &str, level: f64| {
            let of_draw = |draw: u32| {
                let cell = format!("draw={draw},n=100");
                [(0, 1.0), (4, 3.0)].map(|(user, x)| rollout(policy, &cell, user, level + x + f64::from(draw)))
            };
            [0, 1].map(of_draw).concat()
        };
        let baseline = rollout("random", "episode=0", 0, 9.0);
        let rollouts = Rollouts([rows("alone", 10.0), rows("full", 20.0), vec![baseline]].concat());
        let mut study = Study::default();
        add_rollouts(&mut study, "a/mf", &rollouts, &arms()).unwrap();
        let mean = |scores| study.means()[&Mean { world: "mf".into(), arm: Arm::new("a2c", scores), n: 100 }];
        assert_eq!((mean(""), mean("llm")), (12.5, 22.5));
        assert_eq!(study.size(), "2 users; a: 2 draws");
    }

    #[test]
    fn what_is_no_cell_of_a_study_is_told() {
        let refused = |place: &str, rollouts: Vec<Rollout>| {
            add_rollouts(&mut Study::default(), place, &Rollouts(rollouts), &arms()).unwrap_err().to_string()
        };
        let both = |cell: &str| vec![rollout("alone", cell, 0, 1.0), rollout("full", cell, 0, 1.0)];
        assert!(
            refused("mf", both("draw=0,n=1")).starts_with("found `mf` as the name of rollouts, wanted `half/world`")
        );
        assert!(refused("a/mf", both("draw=0")).starts_with("the cell `draw=0` of a policy has no `n`"));
        assert!(refused("a/mf", both("draw=0,n=x")).starts_with("found x as `n` of the cell"));
        assert!(refused("a/mf", vec![rollout("alone", "draw=0,n=1", 0, 1.0)]).starts_with("no row `full` among"));
        let twice = [both("draw=0,n=1"), both("draw=0,n=1")].concat();
        assert!(refused("a/mf", twice).starts_with("user 0 played twice in `draw=0,n=1` of `alone`"));
    }
}
