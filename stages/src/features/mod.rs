//! Columns of a catalogue, or of the users, as features: which ones are read, as what, and what is left out.
//!
//! One declaration serves worlds ([`world`](crate::world)), state encoders ([`nn`](crate::nn)) and prompts
//! ([`prompting`](crate::prompting)). Worlds and encoders read a column as rows of a table of embeddings with weights ([`Encoding`]);
//! prompts tell its values ([`told`]).
//!
//! Left out: crossed columns, buckets of numbers (a factorisation machine crosses fields itself), and sequences of numbers.

mod columns;
mod encode;
mod kind;
mod told;

pub use columns::{Columns, likely_kind};
pub use encode::{Column, Encoding};
pub use kind::{Declared, FeatureKind};
pub use told::{Told, told};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The columns that are features. Columns of a table with no entry here are read as the stage says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Features {
    /// Columns of the catalogue, `year` and `genres` among them: `{ price: numeric, brand: categorical, tags: { multi_valued: "|" } }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub items: Declared,
    /// Columns of the users.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub users: Declared,
    /// Values of a column that have an embedding each. Of more values, those that most ratings have; the others share one embedding.
    #[serde(skip_serializing_if = "is_default_cardinality")]
    pub max_cardinality: usize,
}

const MAX_CARDINALITY: usize = 100;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default_cardinality(values: &usize) -> bool {
    *values == MAX_CARDINALITY
}

impl Default for Features {
    fn default() -> Self {
        Self { items: Declared::new(), users: Declared::new(), max_cardinality: MAX_CARDINALITY }
    }
}

impl Features {
    /// Whether it is as without the setting, which is left out of keys.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What no type can say.
    ///
    /// # Errors
    /// The path of the setting, and what is wrong with it.
    pub fn check(&self) -> Result<(), (String, String)> {
        if self.max_cardinality < 2 {
            return Err(("max_cardinality".into(), "at least 2: a value, and one for the others".into()));
        }
        check(&self.items).map_err(|(path, message)| (format!("items.{path}"), message))?;
        check(&self.users).map_err(|(path, message)| (format!("users.{path}"), message))?;
        match self.users.iter().find(|(_, kind)| **kind == FeatureKind::Text) {
            None => Ok(()),
            Some((name, _)) => {
                Err((format!("users.{name}"), "`categorical` or `multi_valued`: users have no vectors of texts".into()))
            }
        }
    }
}

/// What no type can say of declared columns.
///
/// # Errors
/// The name of the column, and what is wrong with it.
pub fn check(declared: &Declared) -> Result<(), (String, String)> {
    let empty = |kind: &FeatureKind| matches!(kind, FeatureKind::MultiValued(separator) if separator.is_empty());
    match declared.iter().find(|(_, kind)| empty(kind)) {
        None => Ok(()),
        Some((name, _)) => Err((name.clone(), "a separator that is not empty, as `multi_valued: \"|\"`".into())),
    }
}
