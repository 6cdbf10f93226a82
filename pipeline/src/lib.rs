#![doc = include_str!("../README.md")]

mod artifact;
pub mod asset;
pub mod cli;
mod clock;
mod context;
mod copies;
mod device;
pub mod diagnostic;
mod diff;
pub mod escape;
pub mod event;
mod exit;
pub mod graph;
mod home;
mod id_spaces;
pub mod inspect;
mod interrupt;
mod key;
mod machine;
pub mod memory;
mod ports;
pub mod progress;
mod reason;
pub mod recommend;
mod record;
pub mod report;
mod run;
pub mod seam;
pub mod secret;
pub mod spec;
mod stage;
mod store;
mod told;
mod trace;
pub mod units;
mod upkeep;

pub use artifact::Artifact;
pub use context::{Cancel, Context, Interrupted, WARNING};
pub use device::{Device, Devices};
pub use exit::{Exhausted, Exit, Unreachable, Wrong};
pub use id_spaces::IdSpaces;
pub use ports::{Arity, Many, Named, PortField, PortFile, PortSpec, Ports};
pub use reason::MissReason;
pub use secret::Secret;
pub use stage::{
    AnyStage, Apart, AssetName, Catalog, ConfigError, Figures, FiguresOf, Generator, Stage, StageKind, Unfit, Wants,
};
