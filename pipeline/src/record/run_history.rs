//! The runs that are recorded: found by name, pinned, forgotten; which of them are still at work, and what they asked for.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};

use super::RunRecord;
use crate::event::RunStatus;
use crate::store::{Store, file_name, is_held, list, read_if_there, write_atomically};

/// The file that names every key a run asked for, one a line; the run at work holds its lock.
pub(super) const KEYS: &str = "keys";
/// The logs of stages.
pub(super) const LOGS: &str = "logs";
const RECORD: &str = "run.json";
/// The experiment's file as it was; never written again.
pub(super) const EXPERIMENT: &str = "experiment.yaml";
/// What a run at work is called.
pub(crate) const RUNNING: &str = "running";
/// Its presence keeps a run from being forgotten.
const PIN: &str = "pinned";

/// The folder of a run.
#[derive(Clone, Debug)]
pub(crate) struct RunFolder {
    pub dir: PathBuf,
}

/// The folders of all runs, oldest first; of one second, in the order in which they were written, else in that of the numbers
/// of their processes, which begin anew from time to time. Folders with other names are somebody else's.
pub(crate) fn folders(store: &Store) -> anyhow::Result<Vec<RunFolder>> {
    let dirs = list(&store.part("runs"))?.into_iter().filter(|path| path.is_dir());
    let written = |dir: &Path| dir.join(EXPERIMENT).metadata().and_then(|found| found.modified()).ok();
    let mut dirs: Vec<_> = dirs
        .filter_map(|dir| {
            let (time, process, attempt) = age(&dir)?;
            Some((time, written(&dir), process, attempt, dir))
        })
        .collect();
    dirs.sort();
    Ok(dirs.into_iter().map(|(.., dir)| RunFolder { dir }).collect())
}

/// What the id `20250131T120000Z-4242-2` says: time, process, attempt. `None` where it is no id.
fn age(dir: &Path) -> Option<(String, u64, u64)> {
    let (time, numbers) = dir.file_name()?.to_str()?.split_once('-')?;
    let fits = |(found, wanted): (u8, &u8)| if *wanted == b'0' { found.is_ascii_digit() } else { found == *wanted };
    let is_time = time.len() == 16 && time.bytes().zip(b"00000000T000000Z").all(fits);
    let (process, attempt) = numbers.split_once('-').unwrap_or((numbers, "1"));
    is_time.then_some((time.into(), process.parse().ok()?, attempt.parse().ok()?))
}

/// The records of all runs, oldest first. Unreadable ones are left out: they are not results.
pub(crate) fn runs(store: &Store) -> anyhow::Result<Vec<RunRecord>> {
    let mut runs = Vec::new();
    for folder in folders(store)? {
        runs.extend(folder.record()?.and_then(Result::ok));
    }
    Ok(runs)
}

/// The folders of runs whose records are damaged, unless pinned or at work.
pub(crate) fn damaged(store: &Store) -> anyhow::Result<Vec<RunFolder>> {
    let mut damaged = Vec::new();
    for folder in folders(store)? {
        if matches!(folder.record()?, Some(Err(_))) && !folder.is_pinned() && !folder.is_alive()? {
            damaged.push(folder);
        }
    }
    Ok(damaged)
}

/// The run that a person means: the beginning of its id, `last`, or `last~2` for two before it.
///
/// # Errors
/// When it is none, or more than one; in words.
pub(crate) fn find<'a>(runs: &'a [RunRecord], name: &str) -> anyhow::Result<&'a RunRecord> {
    const LIST: &str = "help: `apprentice runs` lists them";
    let back = match name.strip_prefix("last") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix('~').and_then(|back| back.parse::<usize>().ok()),
        None => None,
    };
    if let Some(back) = back {
        let run = runs.len().checked_sub(back + 1).and_then(|index| runs.get(index));
        return run.ok_or_else(|| anyhow!("there is no run `{name}`: {} recorded\n{LIST}", runs.len()));
    }
    if let Some(run) = runs.iter().find(|run| run.id == name) {
        return Ok(run);
    }
    let matching: Vec<_> = runs.iter().filter(|run| run.id.starts_with(name)).collect();
    match matching[..] {
        [run] => Ok(run),
        [] => bail!("there is no run `{name}`\n{LIST}"),
        _ => bail!("{} runs begin with `{name}`\nhelp: give more of the id", matching.len()),
    }
}

impl RunFolder {
    pub fn of(store: &Store, id: &str) -> Self {
        Self { dir: store.part("runs").join(id) }
    }

    /// The name of the folder.
    pub fn id(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What its record says: nothing where there is none, the path where it cannot be read.
    pub fn record(&self) -> anyhow::Result<Option<Result<RunRecord, PathBuf>>> {
        let path = self.dir.join(RECORD);
        let text = read_if_there(&path)?;
        Ok(text.map(|text| serde_json::from_slice(&text).map_err(|_| path)))
    }

    /// The experiment's file as it was run; empty where it is gone.
    pub fn experiment(&self) -> anyhow::Result<String> {
        let text = read_if_there(&self.dir.join(EXPERIMENT))?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The log of a stage, where it left one.
    pub fn log_of(&self, stage: &str) -> Option<PathBuf> {
        Some(log_path(&self.dir, stage)).filter(|path| path.is_file())
    }

    /// Whether the run is at work: the kernel knows, whatever the record says.
    pub fn is_alive(&self) -> anyhow::Result<bool> {
        is_held(&self.dir.join(KEYS))
    }

    pub fn is_pinned(&self) -> bool {
        self.dir.join(PIN).exists()
    }

    /// Keeps the run from being forgotten, or no longer.
    pub fn pin(&self, pinned: bool) -> anyhow::Result<()> {
        let path = self.dir.join(PIN);
        let done = if pinned { write_atomically(&path, b"") } else { gone(fs::remove_file(&path)) };
        done.with_context(|| format!("write `{}`", path.display()))
    }

    /// Every key that the run asked for. A last line that a power cut tore is none.
    pub fn keys(&self) -> anyhow::Result<Vec<String>> {
        let text = read_if_there(&self.dir.join(KEYS))?.unwrap_or_default();
        let lines = text.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        Ok(lines.filter(|line| blake3::Hash::from_hex(line).is_ok()).map(str::to_owned).collect())
    }

    /// Removes the record, unless its run is at work. The record itself goes first: what a kill leaves of the folder is no
    /// run any more. The caller holds the gc lock alone.
    pub fn forget(&self) -> anyhow::Result<bool> {
        if self.is_alive()? {
            return Ok(false);
        }
        gone(fs::remove_file(self.dir.join(RECORD)))
            .and_then(|()| gone(fs::remove_dir_all(&self.dir)))
            .with_context(|| format!("remove `{}`", self.dir.display()))?;
        Ok(true)
    }
}

impl RunRecord {
    /// How it ended, in words; `alive` is whether it is at work.
    pub fn word(&self, alive: bool) -> &'static str {
        match self.status {
            RunStatus::Running if alive => RUNNING,
            RunStatus::Running => "killed",
            RunStatus::Ok => "ok",
            RunStatus::Failed => "failed",
            RunStatus::Partial => "partial",
            RunStatus::Submitted => "submitted",
            RunStatus::Interrupted => "interrupted",
        }
    }
}

/// Where the log of a stage is in the folder of a run.
pub(super) fn log_path(dir: &Path, stage: &str) -> PathBuf {
    dir.join(LOGS).join(format!("{}.log", file_name(stage)))
}

/// Creates the file of keys of a run that begins, and holds its lock.
pub(super) fn create_keys(dir: &Path) -> io::Result<File> {
    let file = File::create_new(dir.join(KEYS))?;
    // Where locks cannot be had the run has said so, and nothing is ever taken away.
    let _ = file.lock();
    Ok(file)
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_in_order_and_other_folders_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let ids =
            ["20250131T115959Z-70000", "20250131T120000Z-9999", "20250131T120000Z-9999-2", "20250131T120000Z-10000"];
        for name in ids.iter().rev().chain(&["notes", "20250131T120000Z", "2025013aT120000Z-1", "20250131T120000Z-one"])
        {
            fs::create_dir_all(store.part("runs").join(name)).unwrap();
        }
        let found: Vec<_> = folders(&store).unwrap().into_iter().map(|folder| folder.dir).collect();
        assert_eq!(found, ids.map(|id| store.part("runs").join(id)));
    }

    #[test]
    fn of_one_second_the_one_written_later_is_the_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        // The numbers of processes had come to their end between the two.
        let ids = ["20250131T120000Z-32767", "20250131T120000Z-300"];
        for (age, id) in [(20, ids[0]), (10, ids[1])] {
            let folder = store.part("runs").join(id);
            fs::create_dir_all(&folder).unwrap();
            let file = File::create(folder.join(EXPERIMENT)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 - age)).unwrap();
        }
        let found: Vec<_> = folders(&store).unwrap().into_iter().map(|folder| folder.dir).collect();
        assert_eq!(found, ids.map(|id| store.part("runs").join(id)));
    }

    #[test]
    fn a_torn_line_of_keys_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let key = "a".repeat(64);
        fs::write(dir.path().join(KEYS), format!("{key}\n{}", &key[..40])).unwrap();
        assert_eq!(RunFolder { dir: dir.path().into() }.keys().unwrap(), [key]);
    }
}
