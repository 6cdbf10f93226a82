//! Why a stage runs although it may have run before.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// The first cause found; `Display` gives it in words (`gamma 0.9 → 0.95`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissReason {
    /// This stage of this experiment has no result yet.
    New,
    /// The program changed: the stage's version, or the engine's where `what` says so.
    Version {
        /// The kind of stage, or `engine`.
        what: String,
        /// The number then; 0 where another kind of stage went by this name.
        old: u32,
        /// The number now.
        new: u32,
    },
    /// The stage uses another kind.
    Kind {
        /// The kind then.
        old: String,
        /// The kind now.
        new: String,
    },
    /// A field of the config changed.
    Config {
        /// Dotted path below `with`.
        path: String,
        /// The value then; null where there was none.
        old: Value,
        /// The value now; null where there is none.
        new: Value,
    },
    /// What an input port reads changed.
    Input {
        /// The port.
        port: String,
        /// What was connected, in words.
        old: String,
        /// What is connected.
        new: String,
    },
    /// The content of an asset changed.
    Asset {
        /// Its name in the experiment.
        name: String,
    },
    /// The file format of a port changed.
    Format {
        /// The port.
        port: String,
    },
    /// The result was there and is damaged or lost.
    Corrupt {
        /// The output port at fault, or `entry` for the record itself.
        port: String,
    },
    /// The result is there, and the stage said that another run may give it what it lacks.
    Incomplete,
    /// Asked for with `--force`.
    Forced,
}

/// A value of a config, for people.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        // An empty text is shown by its quotes.
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

/// The first digits of a digest or key, for people.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(10).collect()
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("it has no result yet"),
            Self::Version { what, old, new } => write!(f, "version of {what} {old} → {new}"),
            Self::Kind { old, new } => write!(f, "use {old} → {new}"),
            Self::Config { path, old, new } => write!(f, "{path} {} → {}", value(old), value(new)),
            Self::Input { port, old, new } => write!(f, "input {port} changed: {old} → {new}"),
            Self::Asset { name } => write!(f, "the content of asset {name} changed"),
            Self::Format { port } => write!(f, "the file format of {port} changed"),
            Self::Corrupt { port } => write!(f, "its {port} is damaged or lost"),
            Self::Incomplete => f.write_str("its result is incomplete; another run may complete it"),
            Self::Forced => f.write_str("forced"),
        }
    }
}
