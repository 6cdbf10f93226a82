//! Trained networks: the policy and the learned reward.

use std::path::Path;

use anyhow::Result;
use pipeline::Artifact;

use super::tensors::TensorFile;

/// Parameters by name with the description that rebuilds the module (`about` is its config as JSON).
pub type Network = TensorFile;

/// safetensors: the parameters of a policy π(a|s), with the encoder's and head's shape in the metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy(pub Network);

/// safetensors: the parameters of a learned reward r(s, a), with its input and form in the metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardModel(pub Network);

impl Artifact for Policy {
    const KIND: &'static str = "policy";
    const EXTENSION: &'static str = "safetensors";
    const FORMAT: u32 = 1;
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
    const FORMAT: u32 = 1;
    fn write(&self, path: &Path) -> Result<()> {
        self.0.write(path, Self::KIND, Self::FORMAT)
    }
    fn read(path: &Path) -> Result<Self> {
        Ok(Self(TensorFile::read(path, Self::KIND, Self::FORMAT)?))
    }
}
