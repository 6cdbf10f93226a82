//! What a row of a table of results stands for.

use anyhow::{Context as _, Result};

/// What a row stands for. The stage that makes the row says it; nobody reads it from the row's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowRole {
    /// A policy that was trained, or chosen, by stages of the experiment.
    Policy,
    /// The policies of another row once more, served without what an episode showed already.
    PolicyWithoutRepeats,
    /// A language model whose episodes are shown.
    Teacher,
    /// A rule, or a policy that the evaluation trains, to compare with.
    Baseline,
    /// What planning in a fitted world gives, without any learning.
    Plan,
}

impl RowRole {
    const ALL: [Self; 5] = [Self::Policy, Self::PolicyWithoutRepeats, Self::Teacher, Self::Baseline, Self::Plan];

    /// As files and JSON write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::PolicyWithoutRepeats => "policy_without_repeats",
            Self::Teacher => "teacher",
            Self::Baseline => "baseline",
            Self::Plan => "plan",
        }
    }

    /// The role of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_name(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name).with_context(|| format!("`{name}` is no role of a row"))
    }
}
