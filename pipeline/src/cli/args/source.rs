//! The experiment that a command is about.

use std::path::PathBuf;

use clap::Args;

/// An experiment, with overrides.
#[derive(Clone, Debug, Args)]
pub(crate) struct Source {
    /// The experiment file.
    #[arg(value_name = "EXPERIMENT.yaml")]
    pub experiment: PathBuf,
    /// Override a value of the experiment (`stages.policy.with.gamma=0.95`); may be repeated.
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
}
