//! Rewards in a world's file: stored ones are the array `reward`, others are described in the metadata beside the arrays of their models.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::factored::{Factored, Factors, Penalty};
use super::pair_network::PairNetwork;
use super::rewards::Rewards;
use super::tensors::{Array, TensorFile};

/// The array of stored rewards.
const REWARD: &str = "reward";

/// What the metadata say of rewards that are not stored.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum StoredRewards {
    /// The array `reward`.
    #[default]
    Dense,
    /// Arrays `factors.K.users [U, W]` and `factors.K.items [I, W]` for each K from 0 on. With networks also
    /// `factors.K.network.users [U, H]`, `factors.K.network.items [I, H]`, and `factors.K.network.L.weight` and `.bias` of so many layers.
    Factored {
        members: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network_layers: Option<usize>,
        range: (f32, f32),
        #[serde(default, skip_serializing_if = "Option::is_none")]
        penalty: Option<Penalty>,
    },
    AtLeast {
        of: Box<StoredRewards>,
        low: f32,
    },
    Constant {
        value: f32,
        users: usize,
        items: usize,
    },
}

impl StoredRewards {
    /// What is not said.
    pub fn is_dense(&self) -> bool {
        *self == Self::Dense
    }

    /// Describes rewards whose arrays are added to those of a file, with names that begin with `prefix`.
    pub fn of<'a>(rewards: &'a Rewards, prefix: &str, arrays: &mut Vec<(String, &'a Array)>) -> Self {
        match rewards {
            Rewards::Dense(stored) => {
                arrays.push((format!("{prefix}{REWARD}"), stored));
                Self::Dense
            }
            Rewards::Factored(Factored { members, range, penalty }) => {
                for (k, Factors { users, items, network }) in members.iter().enumerate() {
                    arrays.push((name(prefix, k, "users"), users));
                    arrays.push((name(prefix, k, "items"), items));
                    let Some(PairNetwork { users, items, layers }) = network else { continue };
                    arrays.push((name(prefix, k, "network.users"), users));
                    arrays.push((name(prefix, k, "network.items"), items));
                    for (l, [weight, bias]) in layers.iter().enumerate() {
                        arrays.push((name(prefix, k, &format!("network.{l}.weight")), weight));
                        arrays.push((name(prefix, k, &format!("network.{l}.bias")), bias));
                    }
                }
                let network_layers = members[0].network.as_ref().map(|network| network.layers.len());
                Self::Factored { members: members.len(), network_layers, range: *range, penalty: penalty.clone() }
            }
            Rewards::AtLeast { of, low } => Self::AtLeast { of: Box::new(Self::of(of, prefix, arrays)), low: *low },
            Rewards::Constant { value, users, items } => Self::Constant { value: *value, users: *users, items: *items },
        }
    }

    /// Takes the rewards out of a file.
    ///
    /// # Errors
    /// When an array is missing or does not fit the others.
    pub fn read_from(self, prefix: &str, file: &mut TensorFile) -> Result<Rewards> {
        Ok(match self {
            Self::Dense => {
                let stored = file.take(&format!("{prefix}{REWARD}"))?;
                ensure!(stored.shape.len() == 2, "`{REWARD}` is {:?}, wanted users × items", stored.shape);
                Rewards::Dense(stored)
            }
            Self::Factored { members, network_layers, range, penalty } => {
                ensure!(members > 0, "the rewards are the mean of no model");
                let mut read = Vec::new();
                for k in 0..members {
                    let mut take = |side: &str| file.take(&name(prefix, k, side));
                    let (users, items) = (take("users")?, take("items")?);
                    let mut network = None;
                    if let Some(layers) = network_layers {
                        let layer = |l: usize, take: &mut dyn FnMut(&str) -> Result<Array>| -> Result<[Array; 2]> {
                            Ok([take(&format!("network.{l}.weight"))?, take(&format!("network.{l}.bias"))?])
                        };
                        let (users, items) = (take("network.users")?, take("network.items")?);
                        let layers = (0..layers).map(|l| layer(l, &mut take)).collect::<Result<_>>()?;
                        network = Some(PairNetwork { users, items, layers });
                    }
                    let factors = Factors { users, items, network };
                    let fits = |shape: &[usize], first: &[usize]| shape.len() == 2 && shape[0] == first[0];
                    let Factors { users, items, .. } = read.first().unwrap_or(&factors);
                    ensure!(
                        fits(&factors.users.shape, &users.shape)
                            && fits(&factors.items.shape, &items.shape)
                            && factors.users.shape[1] == factors.items.shape[1],
                        "the factors of model {k} are {:?} and {:?}, which do not fit",
                        factors.users.shape,
                        factors.items.shape
                    );
                    ensure!(
                        factors.network.as_ref().is_none_or(|network| network.fits(users.shape[0], items.shape[0])),
                        "the network of model {k} does not fit {} users and {} items",
                        users.shape[0],
                        items.shape[0]
                    );
                    read.push(factors);
                }
                let (low, high) = range;
                ensure!(low <= high, "the rewards are clamped to {low} to {high}, which is no range");
                let read = Factored { members: read, range, penalty };
                ensure!(read.is_finite(), "the factors of the rewards are not all finite numbers");
                Rewards::Factored(read)
            }
            Self::AtLeast { of, low } => {
                ensure!(low.is_finite(), "a reward of at least {low} is none");
                Rewards::AtLeast { of: Box::new(of.read_from(prefix, file)?), low }
            }
            Self::Constant { value, users, items } => {
                ensure!(value.is_finite(), "a reward of {value} is none");
                Rewards::Constant { value, users, items }
            }
        })
    }
}

fn name(prefix: &str, member: usize, side: &str) -> String {
    format!("{prefix}factors.{member}.{side}")
}
