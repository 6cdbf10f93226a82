//! How a config names an asset.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of an entry of the experiment's `assets`; a stage's config field of this type makes the engine fetch it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AssetName(pub String);
