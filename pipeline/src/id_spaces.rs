//! Which ids the row numbers in an artifact stand for.
//!
//! Tables, worlds and policies name users and items by row number. Two catalogues of equal size in another order fit each other
//! in every shape and in no meaning, so each file says which ids its numbers stand for, and a stage refuses inputs that differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// For each space of numbers (`items`, `users`) a digest of its ids in the order of their numbers. Empty where an artifact has no
/// such numbers, or does not say what they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdSpaces(BTreeMap<String, String>);

impl IdSpaces {
    /// The space `name`, whose numbers from 0 stand for these ids.
    #[must_use]
    pub fn of(name: &str, ids: &[String]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for id in ids {
            // The length before each id, so that no two lists read alike.
            hasher.update(&(id.len() as u64).to_le_bytes()).update(id.as_bytes());
        }
        Self([(name.to_owned(), hasher.finalize().to_hex().to_string())].into())
    }

    /// These and those; those where both say something.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Name and digest of each space, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, digest)| (name.as_str(), digest.as_str()))
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for IdSpaces {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(spaces: T) -> Self {
        Self(spaces.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: &[&str]) -> Vec<String> {
        of.iter().map(|&id| id.to_owned()).collect()
    }

    #[test]
    fn order_and_borders_of_ids_count() {
        let of = |list: &[&str]| IdSpaces::of("items", &ids(list));
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        for other in [&["b", "a"][..], &["ab"], &["a", "b", ""], &["", "ab"]] {
            assert_ne!(of(&["a", "b"]), of(other), "{other:?}");
        }
    }
}
