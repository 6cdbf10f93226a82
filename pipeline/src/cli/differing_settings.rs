//! Which settings stand beside the rows of a table of runs: those in which the rows differ, and of many the most telling.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};

use crate::diagnostic::nearest;

/// The settings of a row: `stage.setting` and its value.
pub(super) type Settings = BTreeMap<String, String>;

/// Settings by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DifferingSettings {
    /// In the order of their names.
    pub shown: Vec<String>,
    /// How many more differ.
    pub hidden: usize,
    /// What was asked for by name and is the same in all rows, with its value.
    pub alike: Vec<(String, String)>,
}

impl DifferingSettings {
    /// Of rows, at least one: all that `wanted` asks for by a part of the name; where it asks for nothing at most `most`.
    ///
    /// # Errors
    /// Where a text of `wanted` is in no name: with the nearest.
    pub fn of(rows: &[&Settings], wanted: &[String], most: usize) -> Result<Self> {
        let all: BTreeSet<&String> = rows.iter().flat_map(|settings| settings.keys()).collect();
        if let Some(part) = wanted.iter().find(|part| !all.iter().any(|name| name.contains(&***part))) {
            return Err(unknown(part, &all));
        }
        let asked =
            all.into_iter().filter(|name| wanted.is_empty() || wanted.iter().any(|part| name.contains(&**part)));
        let (mut differ, alike): (Vec<&String>, Vec<_>) =
            asked.partition(|name| rows.iter().any(|row| row.get(*name) != rows[0].get(*name)));
        let count = differ.len();
        if wanted.is_empty() && count > most {
            // What only some stages have differs by the stage, not by its values.
            let rank = |name: &&String| {
                let values: Vec<_> = rows.iter().filter_map(|row| row.get(*name)).collect();
                (values.iter().all(|value| *value == values[0]), usize::MAX - values.len())
            };
            differ.sort_by_key(rank);
            differ.truncate(most);
            differ.sort_unstable();
        }
        let alike = alike.into_iter().filter(|_| !wanted.is_empty());
        Ok(Self {
            hidden: count - differ.len(),
            shown: differ.into_iter().cloned().collect(),
            alike: alike.map(|name| (name.clone(), rows[0].get(name).cloned().unwrap_or_default())).collect(),
        })
    }
}

fn unknown(part: &str, all: &BTreeSet<&String>) -> anyhow::Error {
    // A setting is asked for with its stage or without.
    let own = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let short: BTreeSet<String> = all.iter().map(|name| own(name)).collect();
    let near =
        nearest(part, short.iter().map(String::as_str)).or_else(|| nearest(part, all.iter().map(|name| name.as_str())));
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "it is a part of a name, such as {}",
            short.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    };
    anyhow!("no setting of these rows has `{part}` in its name\nhelp: {help}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(all: &[(&str, &str)]) -> Settings {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn of(rows: &[Settings], wanted: &[&str], most: usize) -> Result<DifferingSettings> {
        let wanted: Vec<String> = wanted.iter().map(|part| (*part).to_owned()).collect();
        DifferingSettings::of(&rows.iter().collect::<Vec<_>>(), &wanted, most)
    }

    #[test]
    fn of_many_settings_those_whose_values_differ_come_first() {
        let rows = [
            settings(&[("a.gamma", "0.9"), ("a.lr", "1"), ("b.only", "1"), ("c.seed", "0")]),
            settings(&[("a.gamma", "0.95"), ("a.lr", "1"), ("c.seed", "1"), ("d.here", "x")]),
            settings(&[("a.lr", "1"), ("c.seed", "2"), ("d.here", "x")]),
        ];
        let found = of(&rows, &[], 8).unwrap();
        assert_eq!((&*found.shown.join(" "), found.hidden), ("a.gamma b.only c.seed d.here", 0));
        let found = of(&rows, &[], 2).unwrap();
        assert_eq!((&*found.shown.join(" "), found.hidden), ("a.gamma c.seed", 2));
        let found = of(&rows, &["."], 1).unwrap();
        assert_eq!((found.shown.len(), found.hidden), (4, 0));
        assert_eq!(found.alike, [("a.lr".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_setting_that_is_not_there_is_named_with_the_nearest() {
        let rows = [settings(&[("policy.gamma", "0.9"), ("world.n_epochs", "1")])];
        let told = |part| of(&rows, &[part], 8).unwrap_err().to_string();
        assert_eq!(told("gama"), "no setting of these rows has `gama` in its name\nhelp: did you mean `gamma`?");
        assert!(told("policy.gamme").ends_with("did you mean `policy.gamma`?"), "{}", told("policy.gamme"));
        assert!(told("zzzzzzzz").ends_with("such as `gamma`, `n_epochs`"), "{}", told("zzzzzzzz"));
    }
}
