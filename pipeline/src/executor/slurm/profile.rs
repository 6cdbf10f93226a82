//! What a site is like: a file for `--profile`, written once for a cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::resources::Resources;

/// A profile, as its file has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Profile {
    /// What a stage gets that asks for nothing.
    partition: Option<String>,
    time: Option<String>,
    cpus: Option<u32>,
    memory: Option<String>,
    gres: Option<String>,
    /// The account that pays.
    pub account: Option<String>,
    /// Tasks of one array at work at once, at most; any number where it is left out.
    pub array_limit: Option<u32>,
    /// Stages that one task works on, one after the other, where more are ready than there are tasks wanted: for small cells.
    pub cells_per_task: usize,
    /// More options of `sbatch`, one each.
    pub extra: Vec<String>,
    /// Words before the command, as for a container (`[apptainer, exec, image.sif]`).
    pub wrap: Vec<String>,
    /// The program on the nodes; by default this one, at the same path.
    pub program: Option<PathBuf>,
    /// The folder of results as the nodes see it; by default at the same path.
    pub artifacts: Option<PathBuf>,
    /// Seconds between two looks at the queue.
    pub poll: u64,
    /// Seconds that a file may take to be seen from another host, at most.
    pub visibility: u64,
    /// Seconds before the end of its time at which a job saves and goes back into the queue.
    pub grace: u64,
    /// What Ctrl-C does to jobs.
    pub on_interrupt: OnInterrupt,
}

/// What Ctrl-C does to jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnInterrupt {
    /// They save and are taken from the queue.
    Cancel,
    /// They go on; the same command takes them up.
    Detach,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            partition: None,
            time: None,
            cpus: None,
            memory: None,
            gres: None,
            account: None,
            array_limit: None,
            cells_per_task: 1,
            extra: Vec::new(),
            wrap: Vec::new(),
            program: None,
            artifacts: None,
            poll: 5,
            visibility: 60,
            grace: 120,
            on_interrupt: OnInterrupt::Cancel,
        }
    }
}

impl Profile {
    /// Reads the file of a profile.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let wanted = || format!("the profile `{}`", path.display());
        let text = fs::read_to_string(path).with_context(wanted)?;
        let profile = if text.trim().is_empty() { Ok(Self::default()) } else { serde_yaml::from_str(&text) };
        let profile: Self = profile.with_context(wanted)?;
        if let Err((field, why)) = profile.resources().check() {
            bail!("{}: `{field}`: {why}", wanted());
        }
        if profile.cells_per_task == 0 || profile.poll == 0 {
            bail!("{}: `cells_per_task` and `poll` are at least 1", wanted());
        }
        if let Some(line) = profile.extra.iter().find(|line| !line.starts_with('-') || line.contains('\n')) {
            bail!("{}: `extra`: `{line}` is no option of `sbatch`\nhelp: for example `extra: [--qos=long]`", wanted());
        }
        Ok(profile)
    }

    /// What a stage gets that asks for nothing.
    pub fn resources(&self) -> Resources {
        Resources {
            partition: self.partition.clone(),
            time: self.time.clone(),
            cpus: self.cpus,
            memory: self.memory.clone(),
            gres: self.gres.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_with_the_file_and_the_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.yaml");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            Profile::read(&path).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(read(""), Ok(Profile::default()));
        assert_eq!(read("cpus: 4\non_interrupt: detach\n").unwrap().resources().cpus, Some(4));
        for (text, part) in [
            ("partitions: gpu", "unknown field `partitions`"),
            ("memory: much", "`memory`: wanted a size"),
            ("cells_per_task: 0", "at least 1"),
            ("extra: [qos=long]", "`qos=long` is no option of `sbatch`"),
        ] {
            let fault = read(text).unwrap_err();
            assert!(fault.contains("site.yaml") && fault.contains(part), "{fault}");
        }
    }
}
