//! Trained networks: the policy and the learned reward.

use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::{Artifact, IdSpaces};
use serde::{Deserialize, Serialize};

use super::tensors::TensorFile;
use super::{DistancesFrom, Ids, Repeats, World};

/// Parameters by name with the description that rebuilds the module (`about` is its config as JSON).
pub type Network = TensorFile;

/// safetensors: the parameters of a policy π(a|s), with the encoder's and head's shape and its [`Origin`] in the metadata; where its
/// scores are not the network's own logits, also how they are made (`served`, see `nn/policy/policy_io.rs`) and the parameters of what
/// makes them; and the [`Ids`] of the users and items that it answers for.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFile(pub Network);

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The kind of stage that trained it (`rl.a2c`).
    pub learner: String,
    /// [`World::rewards_digest`] of the world it was trained in: a policy must not be evaluated in the world that it learned from.
    pub learned_in: String,
    /// The horizon there, the unit of the progress through an episode.
    pub horizon: usize,
    /// [`World::distances_digest`] of that world: equal to the evaluation world's if the policy was trained with its distances.
    pub distances_digest: String,
    /// The source of those distances: it decides whether equal ones are a privilege. Absent in policies of earlier versions.
    #[serde(default)]
    pub distances: Option<DistancesFrom>,
    /// [`World::rewards_digest`] of the worlds that the policies behind it learned in: what it began from, and what it was held near;
    /// and of the worlds in which its demonstrations were searched for.
    #[serde(default)]
    pub learned_in_before: Vec<String>,
    /// Whether items may be recommended again there: the policy is evaluated and served in the same way.
    #[serde(default)]
    pub repeats: Repeats,
    /// Whether its parameters equal the initial ones to the bit: training changed nothing.
    #[serde(default)]
    pub untrained: bool,
    /// Among how many trials it was chosen in a validation world; none where it was not tuned.
    #[serde(default)]
    pub tuned_over: Option<usize>,
    /// How many of its last items were added after it was trained: what it knows of them are their columns.
    #[serde(default)]
    pub added_items: usize,
}

impl Origin {
    /// Of what `learner` makes of that world.
    #[must_use]
    pub fn of(learner: &str, world: &World) -> Self {
        Self {
            learner: learner.to_owned(),
            learned_in: world.rewards_digest(),
            horizon: world.rules.horizon,
            distances_digest: world.distances_digest(),
            distances: Some(world.distances.clone()),
            repeats: world.rules.repeats,
            learned_in_before: Vec::new(),
            untrained: false,
            tuned_over: None,
            added_items: 0,
        }
    }
}

impl PolicyFile {
    /// A network that `learner` trained in that world.
    pub fn new(mut network: Network, learner: &str, world: &World) -> Result<Self> {
        network.tell("learner", &learner)?;
        network.tell("learned_in", &world.rewards_digest())?;
        network.tell("horizon", &world.rules.horizon)?;
        network.tell("distances_digest", &world.distances_digest())?;
        network.tell("distances", &world.distances)?;
        network.tell("repeats", &world.rules.repeats)?;
        world.ids.write_into(&mut network);
        Ok(Self(network))
    }

    /// The ids that its row numbers stand for.
    ///
    /// # Errors
    /// When they do not fit its users and items.
    pub fn ids(&self) -> Result<Ids> {
        let rows = |table: &str| self.0.arrays.get(table).and_then(|array| array.shape.first().copied()).unwrap_or(0);
        Ids::read_from(&self.0, rows("table.user_vectors"), rows("table.item_vectors"))
    }

    /// Says in which worlds the policies behind it learned; nothing where there are none.
    pub fn tell_learned_before(&mut self, worlds: &[String]) -> Result<()> {
        if worlds.is_empty() { Ok(()) } else { self.0.tell("learned_in_before", &worlds) }
    }

    /// Says among how many trials it was chosen, and in which world.
    pub fn tell_tuned(&mut self, trials: usize, world: &str) -> Result<()> {
        let mut worlds = self.origin()?.learned_in_before;
        worlds.push(world.to_owned());
        self.tell_learned_before(&worlds)?;
        self.0.tell("tuned_over", &trials)
    }

    /// Says of a policy that its parameters are those that it began with.
    pub fn tell_untrained(&mut self) -> Result<()> {
        self.0.tell("untrained", &true)
    }

    /// Says that items with these ids and titles stand behind the others; their rows are in its tables already.
    ///
    /// # Errors
    /// When its header is none.
    pub fn tell_added(&mut self, ids: &[String], titles: &[String]) -> Result<()> {
        let added = self.origin()?.added_items + ids.len();
        self.0.tell("added_items", &added)?;
        Ids::append_items(&mut self.0, ids, titles);
        Ok(())
    }

    /// Where it comes from.
    pub fn origin(&self) -> Result<Origin> {
        self.0.about().context("the policy does not say where it was trained")
    }
}

/// safetensors: the parameters of a learned reward r(s, a, s'), with its input, its form, its unit and what should be known of it
/// in the metadata (the `DiscriminatorConfig` of its discriminator), and the items' texts `texts [I, D_x]` where it reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardModel(pub Network);

impl Artifact for PolicyFile {
    const KIND: &'static str = "policy";
    const EXTENSION: &'static str = "safetensors";
    /// 5: with the ids that its row numbers stand for, whether items may be shown again, and whether it was trained at all.
    /// 6: its header names the network's settings as an experiment does (`hidden_size`, `prior_scale`, `encoder.*.n_layers`).
    const FORMAT: u32 = 6;
    const NUMBERED: bool = true;
    fn write(&self, path: &Path) -> Result<()> {
        self.0.write(path, Self::KIND, Self::FORMAT, &self.ids()?.spaces())
    }
    fn id_spaces(&self) -> IdSpaces {
        self.ids().map(|ids| ids.spaces()).unwrap_or_default()
    }
    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        TensorFile::id_spaces_of(path, Self::KIND, Self::FORMAT)
    }
    fn read(path: &Path) -> Result<Self> {
        Ok(Self(TensorFile::read(path, Self::KIND, Self::FORMAT)?))
    }
}

impl Artifact for RewardModel {
    const KIND: &'static str = "reward-model";
    const EXTENSION: &'static str = "safetensors";
    /// 4: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 4;
    const NUMBERED: bool = true;
    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }
    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        self.0.write(path, Self::KIND, Self::FORMAT, spaces)
    }
    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        TensorFile::id_spaces_of(path, Self::KIND, Self::FORMAT)
    }
    fn read(path: &Path) -> Result<Self> {
        Ok(Self(TensorFile::read(path, Self::KIND, Self::FORMAT)?))
    }
}
