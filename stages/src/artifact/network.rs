//! Trained networks: the policy and the learned reward.

use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::Artifact;
use serde::{Deserialize, Serialize};

use super::tensors::TensorFile;
use super::{DistancesFrom, World};

/// Parameters by name with the description that rebuilds the module (`about` is its config as JSON).
pub type Network = TensorFile;

/// safetensors: the parameters of a policy π(a|s), with the encoder's and head's shape and its [`Origin`] in the metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy(pub Network);

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The kind of stage that trained it (`rl.a2c`).
    pub learner: String,
    /// [`World::rewards_digest`] of the world it was trained in: a policy must not be judged by what it learned from.
    pub learned_in: String,
    /// Turns of an episode there: what progress through a session is measured by.
    pub horizon: usize,
    /// [`World::distances_digest`] of that world: equal to the judge's where the policy was trained with the judge's distances.
    pub distances_digest: String,
    /// Where that world had them from: what tells whether equal ones are a privilege. Policies of earlier programs do not say.
    #[serde(default)]
    pub distances: Option<DistancesFrom>,
}

impl Policy {
    /// A network that `learner` trained in that world.
    pub fn new(mut network: Network, learner: &str, world: &World) -> Result<Self> {
        let mut about: serde_json::Map<String, serde_json::Value> = network.about()?;
        about.insert("learner".to_owned(), learner.into());
        about.insert("learned_in".to_owned(), world.rewards_digest().into());
        about.insert("horizon".to_owned(), world.rules.horizon.into());
        about.insert("distances_digest".to_owned(), world.distances_digest().into());
        about.insert("distances".to_owned(), serde_json::to_value(&world.distances)?);
        network.about = serde_json::to_string(&about)?;
        Ok(Self(network))
    }

    /// Where it comes from.
    pub fn origin(&self) -> Result<Origin> {
        self.0.about().context("the policy does not say where it was trained")
    }
}

/// safetensors: the parameters of a learned reward r(s, a, s'), with its input, its form, its unit and what should be known of it
/// in the metadata (the `Shape` of its discriminator), and the items' texts `texts [I, D_x]` where it reads them.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardModel(pub Network);

impl Artifact for Policy {
    const KIND: &'static str = "policy";
    const EXTENSION: &'static str = "safetensors";
    const FORMAT: u32 = 3;
    fn write(&self, path: &Path) -> Result<()> {
        self.0.write(path, Self::KIND, Self::FORMAT)
    }
    fn read(path: &Path) -> Result<Self> {
        Ok(Self(TensorFile::read(path, Self::KIND, Self::FORMAT)?))
    }
}

impl Artifact for RewardModel {
    const KIND: &'static str = "reward-model";
    const EXTENSION: &'static str = "safetensors";
    const FORMAT: u32 = 3;
    fn write(&self, path: &Path) -> Result<()> {
        self.0.write(path, Self::KIND, Self::FORMAT)
    }
    fn read(path: &Path) -> Result<Self> {
        Ok(Self(TensorFile::read(path, Self::KIND, Self::FORMAT)?))
    }
}
