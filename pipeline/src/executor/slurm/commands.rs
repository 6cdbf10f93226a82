//! Slurm's own commands, found on the PATH. What they say is a hint: a controller that does not answer has lost nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// What the queue says of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queued {
    /// `PENDING`, `RUNNING`, `COMPLETING`.
    pub state: String,
    /// Why it waits, in Slurm's word (`Resources`, `Priority`); `None` where nothing is in the way.
    pub reason: String,
    /// Where it runs.
    pub node: String,
}

impl Queued {
    pub fn runs(&self) -> bool {
        self.state == "RUNNING" || self.state == "COMPLETING"
    }
}

/// Submits a script; gives the number of the job.
pub(super) fn sbatch(script: &Path) -> anyhow::Result<String> {
    let said = output(Command::new("sbatch").arg("--parsable").arg(script))?;
    // `17`, or `17;cluster`.
    let number = said.trim().lines().last().and_then(|line| line.split(';').next()).unwrap_or_default().trim();
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        bail!("`sbatch` gave no number of a job, but `{}`", said.trim());
    }
    Ok(number.to_owned())
}

/// The tasks of this user that are in the queue or at work, by `job_task`.
pub(super) fn squeue() -> anyhow::Result<BTreeMap<String, Queued>> {
    let said = output(Command::new("squeue").args(["--me", "--noheader", "--array", "--format=%i|%T|%r|%N"]))?;
    let row = |line: &str| {
        let mut parts = line.trim().splitn(4, '|').map(str::to_owned);
        let (id, state) = (parts.next()?, parts.next()?);
        Some((id, Queued { state, reason: parts.next().unwrap_or_default(), node: parts.next().unwrap_or_default() }))
    };
    Ok(said.lines().filter_map(row).collect())
}

/// Takes jobs or tasks from the queue; those at work are asked to end.
pub(super) fn scancel(ids: &[String]) -> anyhow::Result<()> {
    output(Command::new("scancel").args(ids)).map(drop)
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output();
    let done = done.with_context(|| {
        format!("run `{name}`\nhelp: `--executor slurm` works on a host where Slurm's commands are")
    })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        bail!("`{name}` refused: {}", if said.is_empty() { done.status.to_string() } else { said });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
