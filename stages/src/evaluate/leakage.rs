//! Where what is judged comes from: nothing may have learned from its judge.

use anyhow::{Context as _, Result, bail};
use pipeline::Named;

use super::{Inputs, LeakageCheck};
use crate::artifact::{DistancesFrom, Origin, PolicyFile, Repeats, World};

const HELP: &str = "help: judge in a world of another family, or set `judge: same_as_training` to ask how much of a result is \
                    learning; such rows are labelled as privileged";

const HELP_VALIDATION: &str = "help: choose checkpoints in a world of its own; those that the judge chose look better in it \
                               than elsewhere";

const HELP_PLANNED: &str =
    "help: the row `best plan` is the plan in the judging world; connect worlds of another family here";

const LEARNED_HERE: &str = "privileged: learned in the world that judges it";
const NOT_KEPT_APART: &str =
    "privileged: under `judge: same_as_training` nothing keeps what it learned from apart from the judge";
const HAD_DISTANCES: &str = "privileged: trained with the judge's distances";
const FROM_A_THIRD: &str = "privileged: its training world and the judge have their distances from a third world, so it knew \
                            when people leave";
const NOT_SAID: &str = "privileged as far as is known: trained with the judge's distances, and does not say whose they were; \
                        connect its world to `training`, or train it again";
const SHARES_DISTANCES: &str = "the judge has its training world's distances, so they agree on when people leave";
const OF_THE_CATALOGUE: &str = "its training world and the judge have the distances of the catalogue, so they agree on when \
                                people leave";

/// What a policy knows of the judge's item distances.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DistanceKnowledge {
    /// Nothing, or nobody leaves because of them.
    Nothing,
    /// What anyone can read in the catalogue.
    OfTheCatalogue,
    /// What its own training world lent the judge.
    Lent,
    /// What the judge alone could know.
    OfTheJudge,
    /// What the judge has from a world that is not the training world.
    OfAThird,
    /// The same distances; whose they are the policy does not say.
    NotSaid,
}

impl DistanceKnowledge {
    fn remark(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::OfTheCatalogue => Some(OF_THE_CATALOGUE),
            Self::Lent => Some(SHARES_DISTANCES),
            Self::OfTheJudge => Some(HAD_DISTANCES),
            Self::OfAThird => Some(FROM_A_THIRD),
            Self::NotSaid => Some(NOT_SAID),
        }
    }

    fn privileged(self) -> bool {
        matches!(self, Self::OfTheJudge | Self::OfAThird | Self::NotSaid)
    }
}

/// What a world is known by.
struct WorldDigests {
    /// [`World::rewards_digest`].
    rewards: String,
    /// [`World::distances_digest`].
    distances: String,
    from: DistancesFrom,
}

impl WorldDigests {
    fn of(world: &World) -> Self {
        let (rewards, distances) = (world.rewards_digest(), world.distances_digest());
        Self { rewards, distances, from: world.distances.clone() }
    }
}

/// What the judge may have in common with what policies learned from.
pub(super) struct LeakageAudit {
    judge: LeakageCheck,
    evaluation: WorldDigests,
    /// Whether anybody leaves the judge because items are alike.
    similarity_quits: bool,
    /// The world at `training`.
    training: Option<WorldDigests>,
}

impl LeakageAudit {
    /// Of what is judged by `world`, where policies are said to have learned in `training`.
    pub fn new(judge: LeakageCheck, world: &World, training: Option<&World>) -> Self {
        let rules = &world.rules;
        Self {
            judge,
            evaluation: WorldDigests::of(world),
            similarity_quits: rules.distance_threshold.is_some() && rules.repeats != Repeats::MaskedFixedLength,
            training: training.map(WorldDigests::of),
        }
    }

    /// An error where a world or policy among the inputs has the judge's rewards and may not; the validation world never may.
    /// The engine sees to what descends from the judge; this also sees a second world with equal rewards.
    pub fn refuse(&self, inputs: &Inputs) -> Result<()> {
        if inputs.validation.as_ref().is_some_and(|world| world.rewards_digest() == self.evaluation.rewards) {
            bail!("the world at `validation` has the rewards of the judging world\n{HELP_VALIDATION}");
        }
        if self.judge == LeakageCheck::SameAsTraining {
            return Ok(());
        }
        if self.training.as_ref().is_some_and(|training| training.rewards == self.evaluation.rewards) {
            bail!("the world at `training` has the rewards of the judging world\n{HELP}");
        }
        if let Some(planned) =
            inputs.planned.iter().find(|planned| planned.value.rewards_digest() == self.evaluation.rewards)
        {
            let name = input_label("world", planned);
            bail!("{name} at `planned` has the rewards of the judging world\n{HELP_PLANNED}");
        }
        for policy in &inputs.policies {
            if self.learned_from_its_evaluation(&origin(policy)?) {
                bail!("{} learned from the rewards that judge it\n{HELP}", policy_label(policy));
            }
        }
        Ok(())
    }

    /// Whether a policy learned in a world with the judge's rewards.
    fn learned_from_its_evaluation(&self, origin: &Origin) -> bool {
        origin.learned_in == self.evaluation.rewards
    }

    /// Whether one of these policies learned in another world than the one at `training`, if there is one.
    pub fn learned_elsewhere(&self, policies: &[(String, &Named<PolicyFile>)]) -> Result<bool> {
        let Some(training) = &self.training else { return Ok(false) };
        for (_, policy) in policies {
            if origin(policy)?.learned_in != training.rewards {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn knowledge(&self, origin: &Origin) -> DistanceKnowledge {
        if !self.similarity_quits || origin.distances_digest != self.evaluation.distances {
            return DistanceKnowledge::Nothing;
        }
        // The world at `training` speaks for a policy that does not say and learned there.
        let there = |training: &&WorldDigests| {
            training.rewards == origin.learned_in && training.distances == origin.distances_digest
        };
        let training = self.training.as_ref().filter(there).map(|training| &training.from);
        match (&self.evaluation.from, origin.distances.as_ref().or(training)) {
            (DistancesFrom::Catalogue, _) | (_, Some(DistancesFrom::Catalogue)) => DistanceKnowledge::OfTheCatalogue,
            (DistancesFrom::Own, _) => DistanceKnowledge::OfTheJudge,
            (DistancesFrom::Shared { digest }, Some(DistancesFrom::Own)) if *digest == origin.distances_digest => {
                DistanceKnowledge::Lent
            }
            (DistancesFrom::Shared { .. }, Some(_)) => DistanceKnowledge::OfAThird,
            (DistancesFrom::Shared { .. }, None) => DistanceKnowledge::NotSaid,
        }
    }

    /// Whether what comes from there knows of the judge what it should not, and what a reader must know of that.
    pub fn remarks_of(&self, origins: &[Origin]) -> (bool, Vec<&'static str>) {
        let mut rewards = false;
        let mut known: Vec<DistanceKnowledge> = Vec::new();
        for origin in origins {
            rewards |= self.learned_from_its_evaluation(origin);
            let knowledge = self.knowledge(origin);
            if !known.contains(&knowledge) {
                known.push(knowledge);
            }
        }
        if rewards {
            return (true, vec![LEARNED_HERE]);
        }
        let unguarded = self.judge == LeakageCheck::SameAsTraining;
        let remarks = unguarded.then_some(NOT_KEPT_APART).into_iter();
        let remarks = remarks.chain(known.iter().filter_map(|knowledge| knowledge.remark())).collect();
        (unguarded || known.iter().any(|knowledge| knowledge.privileged()), remarks)
    }
}

/// Where a policy comes from.
pub(super) fn origin(policy: &Named<PolicyFile>) -> Result<Origin> {
    policy.value.origin().with_context(|| policy_label(policy))
}

/// A policy as messages call it.
pub(super) fn policy_label(policy: &Named<PolicyFile>) -> String {
    input_label("policy", policy)
}

/// What is connected by a name, as messages call it: its kind and that.
pub(super) fn input_label<A>(kind: &str, input_label: &Named<A>) -> String {
    match input_label.cell.as_str() {
        "" => format!("{kind} `{}`", input_label.name),
        cell => format!("{kind} `{}` of {cell}", input_label.name),
    }
}
