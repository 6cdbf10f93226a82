//! Thresholds of the matching, and the treatment of unmatched titles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How titles that a model wrote are matched to items of the catalogue: by the exact title, by the normalised title (without case,
/// accents, punctuation, articles and a year in brackets), else by the most similar title.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchSettings {
    /// Minimum similarity of a match by trigrams, above 0 and up to 1: the Jaccard coefficient of the sets of trigrams. No
    /// threshold separates a paraphrased title from another part of its series. The default was chosen on titles that GPT-3.5 wrote
    /// for Steam: `Darkest Dungeon 2` matches `Darkest Dungeon®`, `Stellaris` does not match `Stellar 2D`.
    #[serde(default = "MatchSettings::default_trigram")]
    pub trigram: f64,
    /// Minimum cosine of a match by embeddings, −1 to 1; used where the stage has an `embedder` or the provider an embedding model. The default is strict.
    /// Scales of cosines differ between models, so inspect the matches.
    #[serde(default = "MatchSettings::default_embedding")]
    pub embedding: f64,
    /// Treatment of unmatched titles.
    #[serde(default)]
    pub on_unmatched: OnUnmatched,
}

/// Treatment of titles that match no item of the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnmatched {
    /// The title is invalid, and is treated like any invalid value.
    #[default]
    Refuse,
    /// The title has no item: it is dropped and counted.
    Drop,
    /// The title matches the most similar item regardless of the threshold. A title without any common trigram is dropped and
    /// counted.
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

    /// Checks the ranges.
    ///
    /// # Errors
    /// The invalid field and its range.
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
