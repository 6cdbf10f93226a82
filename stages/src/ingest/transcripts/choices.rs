//! What becomes of the parts of a transcript that are open to choice.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which items of a catalogue are included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogueFilter {
    /// Items that were recommended, or are in a user's history.
    #[default]
    Named,
    /// All items.
    All,
}

/// How the recommendation at which the user left is recorded. (BiLLP's reward of −1000 is a marker, not a rating.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnQuit {
    /// It is excluded from the episode.
    Exclude,
    /// It is a step with this reward: 0 for no reward, −1000 as recorded.
    Reward(f64),
}

impl Default for OnQuit {
    fn default() -> Self {
        Self::Reward(0.0)
    }
}
