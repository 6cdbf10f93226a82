//! What a column is read as.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Columns by name, and what each is read as.
pub type Declared = BTreeMap<String, FeatureKind>;

/// What a column is read as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FeatureKind {
    /// One of several values (`token` in RecBole): each has an embedding, and so has the missing value.
    Categorical,
    /// A number (`float`): standardised by the rows that are fitted and limited to ±5 standard deviations, times an embedding. A missing
    /// number has an embedding of its own.
    Numeric,
    /// Several values (`token_seq`): the mean of their embeddings; none where there is no value. The text is the separator, as in
    /// `multi_valued: "|"`; the text of a list (`["a", "b"]`) is read as that list.
    MultiValued(String),
    /// Words. A world reads them as the vectors at its input `item_vectors`, whose stage `embed` has a template that names the column
    /// (`{{ features.description }}`); a prompt tells their first 200 characters.
    Text,
}

impl FeatureKind {
    /// How an experiment names it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Categorical => "categorical",
            Self::Numeric => "numeric",
            Self::MultiValued(_) => "multi_valued",
            Self::Text => "text",
        }
    }
}
