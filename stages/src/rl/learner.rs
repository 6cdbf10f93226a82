//! The contract of learners, and the loop that the stage of each runs.

use std::collections::BTreeMap;

use anyhow::Result;
use pipeline::Context;

use super::Outputs;
use crate::artifact::{Array, Curves, Demonstrations, PolicyFile, TensorFile, World};
use crate::nn::{AdamW, Params, TrainingCheckpoints, TrainingState};

/// Metrics of one update, by the name of their curve. The progress bar shows the first.
pub type UpdateMetrics = Vec<(&'static str, f64)>;

/// Networks with their optimisers, by name.
pub type Modules<'l> = Vec<(&'static str, &'l Params, &'l mut AdamW)>;

/// Something that becomes a policy, update by update. Update k draws all that is random from (seed, purpose, k), so that
/// networks, optimisers and the extra state are the whole state.
pub trait PolicyLearner {
    /// Learns once; `number` counts from 0.
    fn update(&mut self, number: u64) -> Result<UpdateMetrics>;

    /// The policy so far, as its file's content.
    fn policy(&self) -> Result<TensorFile>;

    /// The networks with their optimisers.
    fn modules(&mut self) -> Modules<'_>;

    /// Other state that the next update needs: a replay buffer, a target network.
    fn extra_state(&self) -> Result<BTreeMap<String, Array>> {
        Ok(BTreeMap::new())
    }

    /// Goes back to what [`PolicyLearner::extra_state`] gave.
    fn restore(&mut self, _extra_state: &BTreeMap<String, Array>) -> Result<()> {
        Ok(())
    }
}

/// How long a training lasts.
pub struct TrainingPlan {
    /// The kind of its stage.
    pub kind: &'static str,
    /// Updates in all.
    pub updates: u64,
    /// The unit of the progress bar.
    pub unit: &'static str,
    /// Updates between two checkpoints.
    pub checkpoint_every: u64,
    /// [`World::rewards_digest`](World::rewards_digest) of the worlds in which the policies at `init` and `reference` learned,
    /// and of those in which its demonstrations were searched for.
    pub learned_in_before: Vec<String>,
    /// Whether it begins from a trained policy.
    pub warm: bool,
}

impl TrainingPlan {
    /// The same, beginning from `init` and beside `reference`, where they are connected.
    pub fn after(mut self, init: Option<&PolicyFile>, reference: Option<&PolicyFile>) -> Result<Self> {
        let mut worlds = std::collections::BTreeSet::new();
        for policy in init.into_iter().chain(reference) {
            let origin = policy.origin()?;
            worlds.extend(std::iter::once(origin.learned_in).chain(origin.learned_in_before));
        }
        self.learned_in_before = worlds.into_iter().collect();
        self.warm = init.map(PolicyFile::origin).transpose()?.is_some_and(|origin| !origin.untrained);
        Ok(self)
    }

    /// The same, learning from these demonstrations: where they were searched for, it counts as having learned.
    pub fn taught_by(mut self, demonstrations: Option<&Demonstrations>) -> Self {
        self.learned_in_before.extend(demonstrations.into_iter().flat_map(Demonstrations::searched_worlds));
        self.learned_in_before.sort_unstable();
        self.learned_in_before.dedup();
        self
    }
}

/// Trains from the last checkpoint to the end of the plan. A policy whose parameters did not change is marked as untrained.
pub fn train(learner: &mut impl PolicyLearner, plan: &TrainingPlan, world: &World, cx: &Context) -> Result<Outputs> {
    let training = TrainingCheckpoints::open(cx, "checkpoints", plan.checkpoint_every)?;
    let initial = learner.policy()?.arrays;
    let mut curves = Curves::default();
    let mut done = 0;
    if let Some((number, bytes)) = training.latest()? {
        let mut state = TrainingState { networks: learner.modules(), arrays: BTreeMap::new(), curves: &mut curves };
        state.restore(&bytes)?;
        let extra_state = std::mem::take(&mut state.arrays);
        learner.restore(&extra_state)?;
        done = number;
    }
    let bar = cx.bar("train", Some(plan.updates), plan.unit);
    bar.inc(done);
    for update in done..plan.updates {
        let metrics = learner.update(update)?;
        for (series, value) in &metrics {
            curves.push(series, update + 1, *value);
        }
        bar.inc_with(1, &metrics.first().map(|(name, value)| format!("{name} {value:.2}")).unwrap_or_default());
        training.after_unit(update + 1, || {
            let arrays = learner.extra_state()?;
            TrainingState { networks: learner.modules(), arrays, curves: &mut curves }.save()
        })?;
    }
    let mut policy = PolicyFile::new(learner.policy()?, plan.kind, world)?;
    policy.tell_learned_before(&plan.learned_in_before)?;
    if policy.0.arrays == initial && !plan.warm {
        policy.tell_untrained()?;
    }
    Ok(Outputs { policy, curves })
}
