//! Whether a world's rewards are stored or computed from factors.

use pipeline::Sizes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest matrix that is stored unless it is asked for: 10⁸ numbers are 400 MB.
const LARGEST: usize = 100_000_000;

/// How a world holds its rewards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WorldForm {
    /// `dense` up to 100 million pairs of a user and an item, `factored` beyond.
    #[default]
    Auto,
    /// A number for each user and item, 4 bytes each, and as many for their uncertainty.
    Dense,
    /// The factors of the models: a few numbers for each user and each item, from which a reward is computed when it is asked for. Those
    /// of `world.deepfm` go through the later layers of its network each time, so its rewards take longer.
    Factored,
}

impl WorldForm {
    /// Whether it is left at the default, which is in no key.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// Whether a world of that many users and items holds factors.
    pub(super) fn is_factored(self, [users, items]: [usize; 2]) -> bool {
        match self {
            Self::Auto => users.saturating_mul(items) > LARGEST,
            Self::Dense => false,
            Self::Factored => true,
        }
    }

    /// The same of inputs of these sizes; what is not known is small.
    pub(super) fn is_factored_for(self, inputs: &Sizes) -> bool {
        let size = |name| inputs.get(name).map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX));
        self.is_factored([size("users"), size("items")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_worlds_are_stored_and_large_ones_are_not() {
        let factored = |form: WorldForm, users| form.is_factored([users, 10_000]);
        assert!(!factored(WorldForm::Auto, 10_000) && factored(WorldForm::Auto, 10_001));
        assert!(!factored(WorldForm::Dense, 10_001) && factored(WorldForm::Factored, 1));
    }
}
