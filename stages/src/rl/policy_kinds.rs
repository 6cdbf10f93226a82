//! What the policies of each learner give for every item: a training begins from a policy that gives what its own will, and values mean
//! something else than logits where policies are compared.

/// What a policy gives for each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gives {
    /// Logits of a policy.
    Logits,
    /// Values.
    Values,
    /// Values among the items that the behaviour policy is likely to choose.
    UsualValues,
    /// Distributions of returns.
    Returns,
    /// Logits for a return that is asked for.
    LogitsForReturn,
    /// A mixture of two policies.
    Mixture,
}

/// All learners.
pub(super) const LEARNERS: [(&str, Gives); 17] = [
    ("rl.a2c", Gives::Logits),
    ("rl.bc", Gives::Logits),
    ("rl.bcq", Gives::UsualValues),
    ("rl.c51", Gives::Returns),
    ("rl.cql", Gives::Values),
    ("rl.crr", Gives::Logits),
    ("rl.decision_transformer", Gives::LogitsForReturn),
    ("rl.dpo", Gives::Logits),
    ("rl.dqn", Gives::Values),
    ("rl.group", Gives::Logits),
    ("rl.ilrec", Gives::Logits),
    ("rl.iql", Gives::Logits),
    ("rl.mixture", Gives::Mixture),
    ("rl.ppo", Gives::Logits),
    ("rl.reinforce", Gives::Logits),
    ("rl.sac", Gives::Logits),
    ("rl.sqn", Gives::Logits),
];

impl Gives {
    /// What the policies of a learner give; logits of one that is not known.
    pub fn of(learner: &str) -> Self {
        LEARNERS.iter().find(|(kind, _)| *kind == learner).map_or(Self::Logits, |(_, gives)| *gives)
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Logits => "logits of a policy",
            Self::Values => "values",
            Self::UsualValues => "values among usual items",
            Self::Returns => "distributions of returns",
            Self::LogitsForReturn => "logits for a return",
            Self::Mixture => "a mixture of two policies",
        }
    }

    /// Whether they are in the unit of rewards, so that their softmax is a policy that nobody learned.
    fn is_value(self) -> bool {
        matches!(self, Self::Values | Self::UsualValues | Self::Returns)
    }
}

/// Whether the policies of a learner give values.
#[must_use]
pub fn is_value_based(learner: &str) -> bool {
    Gives::of(learner).is_value()
}

/// The learners whose policies give values.
pub fn value_based() -> impl Iterator<Item = &'static str> {
    LEARNERS.iter().filter(|(_, gives)| gives.is_value()).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_learner_of_the_catalogue_has_a_row() {
        let learners = crate::CATALOG.stages.iter().map(|stage| stage.kind).filter(|kind| kind.starts_with("rl."));
        assert!(learners.eq(LEARNERS.iter().map(|(kind, _)| *kind)), "one row for each, in the order of the catalogue");
        assert_eq!(value_based().collect::<Vec<_>>(), ["rl.bcq", "rl.c51", "rl.cql", "rl.dqn"]);
        assert!(is_value_based("rl.dqn") && !is_value_based("rl.a2c") && !is_value_based("rl.mine"));
    }
}
