//! What the row numbers in worlds and policies stand for: they answer for users and items by id wherever their file goes.

use anyhow::{Result, ensure};
use pipeline::IdSpaces;

use super::id_space::{ITEMS, USERS, item_space, user_space};
use super::tensors::TensorFile;
use super::{Items, Users};

/// Names of the lists in a file.
const USER_IDS: &str = "ids.users";
const ITEM_IDS: &str = "ids.items";
const TITLES: &str = "ids.titles";

/// Ids and titles in the order of their row numbers. In a safetensors file: `ids.users`, `ids.items` and `ids.titles`, each the
/// UTF-8 bytes of a JSON list of texts; left out where they are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Ids of users in the source.
    pub users: Vec<String>,
    /// Ids of items in the source.
    pub items: Vec<String>,
    /// What items are called; as many as `items`.
    pub titles: Vec<String>,
}

impl Ids {
    /// Those of a catalogue and its users.
    #[must_use]
    pub fn of(items: &Items, users: &Users) -> Self {
        Self { users: users.id.clone(), items: items.id.clone(), titles: items.title.clone() }
    }

    /// Which spaces of numbers these ids make; none where they are not known.
    #[must_use]
    pub fn spaces(&self) -> IdSpaces {
        let of = |spaces: fn(&[String]) -> IdSpaces, ids: &[String]| {
            if ids.is_empty() { IdSpaces::default() } else { spaces(ids) }
        };
        of(user_space, &self.users).and(of(item_space, &self.items))
    }

    /// Puts the lists into a file.
    pub(super) fn write_into(&self, file: &mut TensorFile) {
        for (name, list) in [(USER_IDS, &self.users), (ITEM_IDS, &self.items), (TITLES, &self.titles)] {
            if !list.is_empty() {
                file.texts.insert(name.to_owned(), list.clone());
            }
        }
    }

    /// Adds items behind those that a file names.
    pub(super) fn append_items(file: &mut TensorFile, ids: &[String], titles: &[String]) {
        for (name, list) in [(ITEM_IDS, ids), (TITLES, titles)] {
            if let Some(names) = file.texts.get_mut(name) {
                names.extend_from_slice(list);
            }
        }
    }

    /// The lists of a file of that many users and items.
    ///
    /// # Errors
    /// When a list holds neither as many texts as there are rows nor none.
    pub(super) fn read_from(file: &TensorFile, users: usize, items: usize) -> Result<Self> {
        let list = |name: &str, count: usize, what: &str| {
            let list = file.texts.get(name).cloned().unwrap_or_default();
            ensure!(list.is_empty() || list.len() == count, "`{name}` names {} of {count} {what}", list.len());
            Ok(list)
        };
        let ids = Self {
            users: list(USER_IDS, users, USERS)?,
            items: list(ITEM_IDS, items, ITEMS)?,
            titles: list(TITLES, items, ITEMS)?,
        };
        Ok(ids)
    }
}
