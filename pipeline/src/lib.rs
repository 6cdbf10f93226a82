#![doc = include_str!("../README.md")]

pub mod add_items;
mod artifact;
pub mod asset;
pub mod checkpointing;
pub mod cli;
mod clock;
mod context;
mod csv_cell;
mod device;
pub mod diagnostic;
mod diff;
mod error_report;
pub mod escape;
pub mod event;
mod exit;
pub mod export;
pub mod failpoints;
pub mod graph;
mod home_dir;
mod host_info;
mod id_spaces;
pub mod impressions;
pub mod inspect;
mod interrupt;
mod key;
pub mod log_experiment;
mod maintenance;
pub mod memory_need;
pub mod out_of_memory;
mod path_aliases;
mod ports;
pub mod progress;
mod reason;
pub mod recommend;
mod record;
pub mod report;
mod run;
pub mod secret;
mod secret_matcher;
mod serve;
pub mod spec;
mod stage;
mod store;
mod tracking;
pub mod worth;

pub use artifact::Artifact;
pub use context::{Cancel, Context, Interrupted, WARNING};
pub use csv_cell::csv_cell;
pub use device::{Device, Devices};
pub use exit::{BudgetExhausted, Exit, Submitted, Unreachable, UsageError};
pub use id_spaces::IdSpaces;
pub use memory_need::{MemoryExceeded, MemoryNeed, Sizes};
pub use ports::{Arity, Many, Named, PortField, PortFile, PortSpec, Ports};
pub use reason::MissReason;
pub use secret::Secret;
pub use stage::{
    AnyStage, AssetName, Catalog, ConfigError, CurvePoint, CurvesReader, ForbiddenSource, Generator, MetricValues,
    MetricsReader, NoLeakage, Requirement, Stage, StageKind,
};
