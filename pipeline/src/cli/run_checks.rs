//! What `run` and `plan` ask of an experiment before anything runs.

use std::collections::BTreeSet;

use crate::exit::Failure;
use crate::run::{MissingPrerequisite, Project, select};

/// Independent stages gain little beyond this, and each holds its data in memory.
pub(super) const MOST_JOBS: usize = 4;

/// Stages on a cluster that a run waits for at once, by default: each takes a thread that sleeps.
pub(super) const MOST_REMOTE_JOBS: usize = 1000;

/// The nodes that `--force` names, which must be among the chosen ones.
pub(super) fn forced(
    project: &Project,
    chosen: &BTreeSet<usize>,
    force: &[String],
) -> Result<BTreeSet<usize>, Failure> {
    if force.is_empty() {
        return Ok(BTreeSet::new());
    }
    let forced = select(project.experiment, force).map_err(Failure::usage)?;
    match forced.difference(chosen).next() {
        Some(&out) => Err(Failure::usage(anyhow::anyhow!(
            "`--force {}`: the chosen stages do not need it\nhelp: name it as a stage, too",
            project.node(out).id
        ))),
        None => Ok(forced),
    }
}

/// The failure of what lacks so much; none where nothing is lacking.
pub(super) fn refuse(missing: &[MissingPrerequisite]) -> Option<Failure> {
    const LAST: &str = "`--keep-going` runs the stages that do not need it";
    if missing.is_empty() {
        return None;
    }
    let texts: Vec<String> = missing.iter().map(MissingPrerequisite::text).collect();
    let (messages, helps): (Vec<_>, Vec<_>) =
        texts.iter().map(|text| text.split_once("\nhelp: ").unwrap_or((text, ""))).unzip();
    let helps = helps.into_iter().filter(|help| !help.is_empty()).map(|help| format!("\nhelp: {help}"));
    let text = format!("{}{}\nhelp: {LAST}", messages.join("\nerror: "), helps.collect::<String>());
    Some(Failure::usage(anyhow::anyhow!(text)))
}
