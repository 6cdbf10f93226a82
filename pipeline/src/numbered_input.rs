//! The inputs of a stage that speak of users or items by number must number them alike.

use std::collections::BTreeMap;

use anyhow::bail;

use crate::{IdSpaces, PortFile, PortSpec};

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
