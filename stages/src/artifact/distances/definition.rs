//! Distances in a world's file, and what is said of them in digests.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{ColumnDistances, Distances, SetDistances, SetMeasure, VectorDistances};
use crate::artifact::array_hash;
use crate::artifact::rewards::Rewards;
use crate::artifact::tensors::{Array, TensorFile};
use crate::artifact::whole_numbers::whole_numbers;

/// What distances are computed from that are not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::artifact) enum DistanceDefinition {
    /// The world's rewards, or others that the file describes; `distance_users [n]` where not all count.
    Columns,
    /// `distance_sizes [I]`, `distance_members [n]` and `distance_counts [n]`.
    Sets(SetMeasure),
    /// `distance_vectors [I, d]`.
    Vectors,
}

const TABLE: &str = "distance";
const USERS: &str = "distance_users";
const SETS: [&str; 3] = ["distance_sizes", "distance_members", "distance_counts"];
const VECTORS: &str = "distance_vectors";

impl Distances {
    pub(in crate::artifact) fn definition(&self) -> Option<DistanceDefinition> {
        match self {
            Self::Table(_) => None,
            Self::Columns(_) => Some(DistanceDefinition::Columns),
            Self::Sets(sets) => Some(DistanceDefinition::Sets(sets.measure())),
            Self::Vectors(_) => Some(DistanceDefinition::Vectors),
        }
    }

    /// The rewards whose columns are compared, where they are not the world's own.
    pub(in crate::artifact) fn others(&self) -> Option<&Rewards> {
        match self {
            Self::Columns(columns) => columns.others(),
            Self::Table(_) | Self::Sets(_) | Self::Vectors(_) => None,
        }
    }

    /// Adds what they are to a file that says their [`definition`](Self::definition) and describes [`others`](Self::others); what is
    /// large is not copied.
    pub(in crate::artifact) fn write_into<'a>(&'a self, file: &mut TensorFile, arrays: &mut Vec<(String, &'a Array)>) {
        let mut add = |name: &str, array: Array| file.arrays.insert(name.to_owned(), array);
        match self {
            Self::Table(table) => arrays.push((TABLE.to_owned(), table)),
            Self::Columns(columns) => {
                if let Some(users) = columns.users() {
                    add(USERS, numbers(users));
                }
            }
            Self::Sets(sets) => SETS.into_iter().zip(sets.arrays()).for_each(|(name, array)| {
                add(name, array);
            }),
            Self::Vectors(vectors) => arrays.push((VECTORS.to_owned(), vectors.array())),
        }
    }

    pub(in crate::artifact) fn read_from(
        file: &mut TensorFile,
        definition: Option<DistanceDefinition>,
        others: Option<Rewards>,
    ) -> Result<Self> {
        Ok(match definition {
            None => Self::from(file.take(TABLE)?),
            Some(DistanceDefinition::Columns) => {
                let users = file.arrays.remove(USERS).map(|users| {
                    ensure!(users.shape.len() == 1, "`{USERS}` is {:?}, wanted one row of numbers", users.shape);
                    let users = whole_numbers(USERS, &users.data, u64::MAX)?;
                    let some = !users.is_empty() && users.is_sorted_by(|a, b| a < b);
                    ensure!(some, "`{USERS}` does not rise, or names nobody");
                    Ok(users)
                });
                let users = users.transpose()?;
                let mut columns = ColumnDistances::new(users);
                if let Some(others) = others {
                    columns.keep(|| others);
                }
                Self::Columns(columns)
            }
            Some(DistanceDefinition::Sets(measure)) => {
                let [sizes, members, counts] = SETS.map(|name| file.take(name));
                Self::Sets(SetDistances::from_arrays(measure, SETS, [sizes?, members?, counts?])?)
            }
            Some(DistanceDefinition::Vectors) => {
                let vectors = file.take(VECTORS)?;
                ensure!(vectors.shape.len() == 2, "`{VECTORS}` is {:?}, wanted items × numbers", vectors.shape);
                ensure!(vectors.data.iter().all(|x| x.is_finite()), "`{VECTORS}` holds numbers that are not finite");
                Self::Vectors(VectorDistances::new(vectors))
            }
        })
    }

    /// Checks that they are of the items of a world with these rewards.
    pub(in crate::artifact) fn check(&self, own: &Rewards) -> Result<()> {
        if let Self::Table(table) = self {
            let items = own.items();
            ensure!(table.shape == [items, items], "distance is {:?} for {items} items", table.shape);
        }
        if let Self::Columns(columns) = self {
            let users = columns.rewards(own).users();
            let known = columns.users().is_none_or(|some| some.iter().all(|&user| (user as usize) < users));
            ensure!(known, "distance_users names a user beyond the {users} of the rewards");
        }
        ensure!(
            self.items(own) == own.items(),
            "distances are of {} items, rewards of {}",
            self.items(own),
            own.items()
        );
        Ok(())
    }

    /// For how many items they are made.
    #[must_use]
    pub fn items(&self, own: &Rewards) -> usize {
        match self {
            Self::Table(table) => table.shape[0],
            Self::Columns(columns) => columns.rewards(own).items(),
            Self::Sets(sets) => sets.len(),
            Self::Vectors(vectors) => vectors.len(),
        }
    }

    /// Adds what they are to a digest: of a table its numbers, of others what they are computed from.
    pub(in crate::artifact) fn hash_into(&self, own: &Rewards, hasher: &mut blake3::Hasher) {
        match self {
            Self::Table(table) => array_hash::update(hasher, table),
            Self::Columns(columns) => {
                hasher.update(b"columns");
                columns.rewards(own).hash_into(hasher);
                columns.users().iter().for_each(|users| array_hash::update(hasher, &numbers(users)));
            }
            Self::Sets(sets) => {
                hasher.update(match sets.measure() {
                    SetMeasure::Jaccard => b"jaccard",
                    SetMeasure::Cosine => b"cosines",
                });
                sets.arrays().iter().for_each(|array| array_hash::update(hasher, array));
            }
            Self::Vectors(vectors) => {
                hasher.update(b"vectors");
                array_hash::update(hasher, vectors.array());
            }
        }
    }
}

fn numbers(values: &[u32]) -> Array {
    Array::new(&[values.len()], values.iter().map(|&x| x as f32).collect())
}
