//! The leakage check: no policy may have learned from the world that evaluates it.

use anyhow::{Context as _, Result, bail};
use pipeline::Named;
use rand::RngExt;

use super::ports::Inputs;
use super::settings::LeakageCheck;
use crate::artifact::{DistancesFrom, Origin, PolicyFile, Repeats, Rewards, World};
use crate::nn::rng;

const HELP: &str = "help: evaluate in a world of another family, or set `leakage_check: label`: such rows are then labelled as privileged";

const HELP_VALIDATION: &str = "help: select checkpoints in a separate world; those that the evaluation world selects look better in it than elsewhere";

const HELP_PLANNED: &str =
    "help: the row `planning oracle` plans in the evaluation world; connect worlds of another family here";

const HELP_SEARCHED: &str = "help: let it search in a world of another family (its input `model`), or set `leakage_check: label`: its row is then labelled as privileged";

const LEARNED_HERE: &str = "privileged: learned in the world that evaluates it";
const NOT_KEPT_APART: &str =
    "privileged: under `leakage_check: label` its training data may include the evaluation world";
const HAD_DISTANCES: &str = "privileged: trained with the distances of the evaluation world";
const FROM_A_THIRD: &str = "privileged: its training world and the evaluation world have their distances from a third world, so training knew when users quit";
const NOT_SAID: &str = "privileged as far as is known: trained with the distances of the evaluation world, whose origin its file does not record; connect its world to `training_world`, or train it again";
const SEARCHED: &str = "searched for its recommendations in a world of its own";
const SHARES_DISTANCES: &str =
    "the evaluation world has the distances of its training world, so both share the quit rule";
const OF_THE_CATALOGUE: &str =
    "its training world and the evaluation world have the distances of the catalogue, so both share the quit rule";

/// What a policy knows of the evaluation world's item distances.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DistanceKnowledge {
    /// Nothing, or no user quits because of them.
    Nothing,
    /// They come from the catalogue, which is public.
    OfTheCatalogue,
    /// The evaluation world took them from the training world.
    Lent,
    /// They are the evaluation world's own.
    OfTheJudge,
    /// Both worlds took them from a third world.
    OfAThird,
    /// The same distances; the policy file does not record whose they are.
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

/// The digests that identify a world.
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

/// Compares the evaluation world with the worlds from which policies learned.
pub(super) struct LeakageAudit {
    check: LeakageCheck,
    evaluation: WorldDigests,
    /// Whether the quit rule of the evaluation world uses item distances.
    similarity_quits: bool,
    /// The world at `training_world`.
    training: Option<WorldDigests>,
    /// Whether that one has the rewards of the evaluation world, in the same form or in another.
    trains_here: bool,
}

impl LeakageAudit {
    /// For the evaluation world `world`, where `training_world` is the connected training world.
    pub fn new(check: LeakageCheck, world: &World, training: Option<&World>) -> Self {
        let rules = &world.rules;
        Self {
            check,
            evaluation: WorldDigests::of(world),
            similarity_quits: rules.distance_threshold.is_some() && rules.repeats != Repeats::MaskedFixedLength,
            training: training.map(WorldDigests::of),
            trains_here: training.is_some_and(|training| same_rewards(training, world)),
        }
    }

    /// An error where a world or policy among the inputs has the rewards of the evaluation world and may not; the validation world
    /// never may. The engine checks what descends from the evaluation world; this also finds a second world with equal rewards.
    pub fn refuse(&self, inputs: &Inputs) -> Result<()> {
        if inputs.validation.as_ref().is_some_and(|world| same_rewards(world, &inputs.world)) {
            bail!("the world at `validation` has the rewards of the evaluation world\n{HELP_VALIDATION}");
        }
        if self.check == LeakageCheck::Label {
            return Ok(());
        }
        if self.trains_here {
            bail!("the world at `training_world` has the rewards of the evaluation world\n{HELP}");
        }
        if let Some(planned) = inputs.planning_worlds.iter().find(|planned| same_rewards(&planned.value, &inputs.world))
        {
            let name = input_label("world", planned);
            bail!("{name} at `planning_worlds` has the rewards of the evaluation world\n{HELP_PLANNED}");
        }
        for policy in &inputs.policies {
            if self.learned_from_its_evaluation(&origin(policy)?) {
                bail!("{} learned from the rewards of the evaluation world\n{HELP}", policy_label(policy));
            }
        }
        for teacher in &inputs.teacher {
            if teacher.value.searched_in.iter().any(|origin| self.learned_from_its_evaluation(origin)) {
                let name = input_label("teacher", teacher);
                bail!("{name} searched in a world with the rewards of the evaluation world\n{HELP_SEARCHED}");
            }
        }
        let demonstrations = inputs.demonstrations.iter().flat_map(|shown| &shown.searched_in);
        if demonstrations.into_iter().any(|origin| self.learned_from_its_evaluation(origin)) {
            bail!("the `demonstrations` were searched for in a world with the rewards of the evaluation world\n{HELP}");
        }
        Ok(())
    }

    /// Whether a policy learned in a world with the evaluation world's rewards.
    fn learned_from_its_evaluation(&self, origin: &Origin) -> bool {
        let worlds = std::iter::once(&origin.learned_in).chain(&origin.learned_in_before);
        let there = self.training.as_ref().filter(|_| self.trains_here).map(|training| &training.rewards);
        worlds.into_iter().any(|world| *world == self.evaluation.rewards || Some(world) == there)
    }

    /// Whether one of these policies learned in another world than the one at `training_world`.
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
        // The world at `training_world` tells the origin for a policy that learned there and does not record it.
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

    /// The same of the worlds in which a teacher searched, in which it counts as trained.
    pub fn remarks_of_search(&self, origins: &[Origin]) -> (bool, Vec<String>) {
        if origins.is_empty() {
            return (false, Vec::new());
        }
        let (privileged, remarks) = self.remarks_of(origins);
        let remarks = remarks.into_iter().map(|remark| format!("its search counts as training: {remark}"));
        (privileged, std::iter::once(SEARCHED.to_owned()).chain(remarks).collect())
    }

    /// Whether policies of these origins are privileged, and the remarks on that.
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
        let unguarded = self.check == LeakageCheck::Label;
        let remarks = unguarded.then_some(NOT_KEPT_APART).into_iter();
        let remarks = remarks.chain(known.iter().filter_map(|knowledge| knowledge.remark())).collect();
        (unguarded || known.iter().any(|knowledge| knowledge.privileged()), remarks)
    }
}

/// Pairs of a user and an item at which worlds in two forms are compared, and how much they may differ there: one stores what the other
/// computes.
const COMPARED: usize = 4096;
const ROUNDING: f32 = 1e-4;

/// Whether two worlds pay the same. A world that stores its rewards and one that computes the same from factors have digests of their own.
pub(super) fn same_rewards(one: &World, other: &World) -> bool {
    if one.rewards_digest() == other.rewards_digest() {
        return true;
    }
    let alike = [World::users, World::items].iter().all(|count| count(one) == count(other) && count(one) > 0)
        && one.bonus == other.bonus
        && one.diversity_penalty == other.diversity_penalty;
    let stored = |world: &World| matches!(world.rewards(), Rewards::Dense(_));
    if !alike || stored(one) == stored(other) {
        return false;
    }
    let mut draw = rng(&[0x1ea4]);
    (0..COMPARED).all(|_| {
        let (user, item) = (draw.random_range(0..one.users() as u32), draw.random_range(0..one.items() as u32));
        (one.reward(user, item) - other.reward(user, item)).abs() <= ROUNDING
    })
}

/// Where a policy comes from.
pub(super) fn origin(policy: &Named<PolicyFile>) -> Result<Origin> {
    policy.value.origin().with_context(|| policy_label(policy))
}

/// The name of a policy in messages.
pub(super) fn policy_label(policy: &Named<PolicyFile>) -> String {
    input_label("policy", policy)
}

/// The name of an input in messages: its kind and its name.
pub(super) fn input_label<A>(kind: &str, input_label: &Named<A>) -> String {
    match input_label.cell.as_str() {
        "" => format!("{kind} `{}`", input_label.name),
        cell => format!("{kind} `{}` of {cell}", input_label.name),
    }
}
