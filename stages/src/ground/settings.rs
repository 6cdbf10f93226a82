//! How near is near enough, and what happens to the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How names that a model wrote become items of the catalogue: by the exact title, by the normalised title (case, accents,
/// punctuation, articles and a year in brackets set aside), else by the nearest one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchSettings {
    /// The least similarity at which the nearest title by trigrams is taken, above 0 and up to 1: runs of three letters that
    /// both have, by those that either has (Jaccard). No threshold parts one title in other words from another part of its
    /// series: at the default, chosen by looking at what GPT-3.5 said on Steam, both come through (`Darkest Dungeon 2` as
    /// `Darkest Dungeon®`), and what merely begins alike mostly does not (`Stellaris` as `Stellar 2D`).
    #[serde(default = "MatchSettings::default_trigram")]
    pub trigram: f64,
    /// The least cosine at which the nearest item by embeddings is taken, −1 to 1; used where there are vectors. The default
    /// is strict; models differ in what a cosine means, so look at what it lets through.
    #[serde(default = "MatchSettings::default_embedding")]
    pub embedding: f64,
    /// What happens to a name that is near enough to nothing.
    #[serde(default)]
    pub on_unmatched: OnUnmatched,
}

/// What happens to a name that is near enough to nothing in the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnmatched {
    /// It does not fit, and is treated like anything that does not.
    #[default]
    Refuse,
    /// It means no item: it is left out and counted.
    Drop,
    /// It means the nearest item all the same; what has nothing in common with any title is left out and counted.
    Nearest,
}

impl Default for MatchSettings {
    fn default() -> Self {
        Self {
            trigram: Self::default_trigram(),
            embedding: Self::default_embedding(),
            on_unmatched: OnUnmatched::default(),
        }
    }
}

impl MatchSettings {
    fn default_trigram() -> f64 {
        0.6
    }
    fn default_embedding() -> f64 {
        0.8
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The field at fault and what it wants.
    pub fn check(&self) -> Result<(), (String, String)> {
        if !(self.trigram > 0.0 && self.trigram <= 1.0) {
            return Err(("trigram".into(), "a similarity above 0 and up to 1".into()));
        }
        if !(-1.0..=1.0).contains(&self.embedding) {
            return Err(("embedding".into(), "a cosine from -1 to 1".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_out_of_range_are_named() {
        let field = |grounds: MatchSettings| grounds.check().err().map(|(field, _)| field);
        assert_eq!(field(MatchSettings::default()), None);
        for wrong in [0.0, 1.1, f64::NAN] {
            assert_eq!(field(MatchSettings { trigram: wrong, ..MatchSettings::default() }).as_deref(), Some("trigram"));
        }
        for wrong in [-1.1, f64::NAN] {
            assert_eq!(
                field(MatchSettings { embedding: wrong, ..MatchSettings::default() }).as_deref(),
                Some("embedding")
            );
        }
    }
}
