//! A `with:` block read into the config of a stage, or the place where it is none.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why a `with:` block is not a config of its stage kind.
#[derive(Debug)]
pub struct ConfigError {
    /// Path below `with`, such as `llm.gguf.asset`; empty for the block itself.
    pub path: String,
    /// What is wrong, without the place.
    pub message: String,
}

/// Reads a value with serde, keeping the path of the first error.
pub(crate) fn read_strictly<T: DeserializeOwned>(value: Value) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        ConfigError { path: if path == "." { String::new() } else { path }, message: error.into_inner().to_string() }
    })
}
