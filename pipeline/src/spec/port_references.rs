//! What an input port refers to, as it is written.

use super::tree::{Data, Tree};

/// The references of one port: a text, a list of texts, or texts with group names.
pub(super) fn references(value: &Tree) -> Vec<(Option<&str>, &Tree)> {
    match &value.data {
        Data::Scalar(_) => vec![(None, value)],
        Data::List(items) => items.iter().map(|item| (None, item)).collect(),
        Data::Map(entries) => entries.iter().map(|entry| (Some(entry.key.as_str()), &entry.value)).collect(),
    }
}
