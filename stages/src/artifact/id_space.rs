//! The two spaces of row numbers.

use pipeline::IdSpaces;

/// The names of the two spaces of row numbers.
pub(super) const USERS: &str = "users";

pub(super) const ITEMS: &str = "items";

/// The space that the rows of a table of users make.
pub(super) fn user_space(ids: &[String]) -> IdSpaces {
    IdSpaces::of(USERS, ids)
}

/// The space that the rows of a catalogue make.
pub(super) fn item_space(ids: &[String]) -> IdSpaces {
    IdSpaces::of(ITEMS, ids)
}
