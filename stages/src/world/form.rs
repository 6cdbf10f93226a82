//! Whether a world's rewards are stored or computed from factors.

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest matrix that is stored unless it is asked for: 10⁸ numbers are 400 MB.
const LARGEST: usize = 100_000_000;

/// How a world holds its rewards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WorldForm {
    /// `dense` up to 100 million pairs of a user and an item, `factored` beyond. A family without factors is refused there.
    #[default]
    Auto,
    /// A number for each user and item, 4 bytes each, and as many for their uncertainty.
    Dense,
    /// The factors of the models: a few numbers for each user and each item, from which a reward is computed when it is asked for. Only of
    /// `world.mf`, `world.bias`, `world.ials` and `world.two_tower`.
    Factored,
}

impl WorldForm {
    /// Whether it is left at the default, which is in no key.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// What a family without factors cannot be.
    ///
    /// # Errors
    /// When it was asked for factors.
    pub(super) fn check_without_factors(self) -> Result<(), (String, String)> {
        match self {
            Self::Auto | Self::Dense => Ok(()),
            Self::Factored => {
                Err(("form".into(), "this family has no factors; `world.mf` and `world.bias` have".into()))
            }
        }
    }

    /// Whether a world of that many users and items holds factors, where its family `has_factors`; `stored` matrices of that size it
    /// would hold otherwise.
    ///
    /// # Errors
    /// When it can hold neither.
    pub(super) fn is_factored(self, [users, items]: [usize; 2], has_factors: bool, stored: usize) -> Result<bool> {
        let small = users.saturating_mul(items) <= LARGEST;
        let gigabytes = (stored * 4) as f64 * users as f64 * items as f64 / 1e9;
        ensure!(
            has_factors || small || self != Self::Auto,
            "a world of {users} users and {items} items would hold {stored} matrices of that size, {gigabytes:.1} GB\nhelp: take \
             `world.mf`, whose worlds hold factors from {LARGEST} pairs on, keep fewer users and items by `filter.kcore`, or set \
             `form: dense` where there is as much memory"
        );
        Ok(match self {
            Self::Auto => !small,
            Self::Dense => false,
            Self::Factored => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_worlds_are_stored_and_large_ones_are_not() {
        let factored = |form: WorldForm, users, has_factors| form.is_factored([users, 10_000], has_factors, 2);
        assert!(
            !factored(WorldForm::Auto, 10_000, true).unwrap() && !factored(WorldForm::Auto, 10_000, false).unwrap()
        );
        assert!(factored(WorldForm::Auto, 10_001, true).unwrap());
        assert!(!factored(WorldForm::Dense, 10_001, false).unwrap() && factored(WorldForm::Factored, 1, true).unwrap());
        let error = factored(WorldForm::Auto, 100_000, false).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "a world of 100000 users and 10000 items would hold 2 matrices of that size, 8.0 GB\nhelp: "
            )
        );
        assert!(error.contains("`world.mf`") && error.contains("`form: dense`"), "{error}");
    }
}
