#![doc = include_str!("../README.md")]

mod artifact;
pub mod asset;
mod context;
pub mod diagnostic;
pub mod graph;
mod ports;
pub mod progress;
pub mod spec;
mod stage;

pub use artifact::Artifact;
pub use context::{Cancel, Context, Interrupted};
pub use ports::{Arity, Many, Named, PortField, PortFile, PortSpec, Ports};
pub use stage::{AnyStage, AssetName, Catalog, ConfigError, Generator, InspectOptions, Stage, StageKind};
