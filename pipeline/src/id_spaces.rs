//! Which ids the row numbers in an artifact stand for.
//!
//! Tables, worlds and policies name users and items by row number. Two catalogues of equal size in another order fit each other
//! in every shape and in no meaning, so each file says which ids its numbers stand for, and a stage refuses inputs that differ.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::{PortFile, PortSpec};

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

/// One input that speaks of users or items by number.
pub(crate) struct NumberedInput {
    /// The port that it comes in by.
    pub port: &'static str,
    /// What it is called there.
    pub name: String,
    /// Which ids its numbers stand for.
    pub spaces: IdSpaces,
}

impl NumberedInput {
    /// All files behind the inputs of a stage.
    ///
    /// # Errors
    /// When the beginning of one cannot be read.
    pub fn all(specs: &[PortSpec], files: &dyn Fn(&str) -> Vec<PortFile>) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::new();
        for spec in specs.iter().filter(|spec| spec.numbered) {
            for file in files(spec.name) {
                let cell = if file.cell.is_empty() { String::new() } else { format!("@{}", file.cell) };
                let name = format!("{}{cell}", file.name);
                all.push(Self { port: spec.name, name, spaces: (spec.id_spaces)(&file.path)? });
            }
        }
        Ok(all)
    }
}

/// What to do where two inputs number differently.
pub(crate) const HELP: &str = "take both from one ingest stage, or from what was made of it: two readings of one log, or a log before \
                               and behind a filter, number differently";

/// What all of them agree on.
///
/// # Errors
/// With the first two that number users or items differently.
pub(crate) fn agreed(inputs: &[NumberedInput]) -> anyhow::Result<IdSpaces> {
    let mut found: BTreeMap<&str, (&NumberedInput, &str)> = BTreeMap::new();
    for input in inputs {
        for (space, digest) in input.spaces.iter() {
            let &mut (first, known) = found.entry(space).or_insert((input, digest));
            if known != digest {
                bail!("{}\nhelp: {HELP}", differ(space, first, input));
            }
        }
    }
    Ok(found.into_iter().map(|(space, (_, digest))| (space.to_owned(), digest.to_owned())).collect())
}

fn differ(space: &str, one: &NumberedInput, other: &NumberedInput) -> String {
    format!(
        "the inputs `{}` (of {}) and `{}` (of {}) do not number the same {space} in the same order, so row numbers of one mean \
         other {space} in the other",
        one.port, one.name, other.port, other.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(of: &[&str]) -> Vec<String> {
        of.iter().map(|&id| id.to_owned()).collect()
    }

    fn input(port: &'static str, spaces: IdSpaces) -> NumberedInput {
        NumberedInput { port, name: format!("{port}_stage"), spaces }
    }

    #[test]
    fn order_and_borders_of_ids_count() {
        let of = |list: &[&str]| IdSpaces::of("items", &ids(list));
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        for other in [&["b", "a"][..], &["ab"], &["a", "b", ""], &["", "ab"]] {
            assert_ne!(of(&["a", "b"]), of(other), "{other:?}");
        }
    }

    #[test]
    fn inputs_agree_space_by_space_and_the_first_two_that_differ_are_named() {
        let (users, items) = (IdSpaces::of("users", &ids(&["u"])), IdSpaces::of("items", &ids(&["i", "j"])));
        let world = input("world", users.clone().and(items.clone()));
        let all = [input("nothing", IdSpaces::default()), world, input("items", items.clone())];
        assert_eq!(agreed(&all).unwrap(), users.clone().and(items));

        let [_, world, _] = all;
        let turned = input("items", IdSpaces::of("items", &ids(&["j", "i"])));
        let error = agreed(&[world, turned]).unwrap_err().to_string();
        assert!(error.starts_with(
            "the inputs `world` (of world_stage) and `items` (of items_stage) do not number the same items"
        ));
        assert!(error.contains("help: take both from one ingest stage"), "{error}");
    }
}
