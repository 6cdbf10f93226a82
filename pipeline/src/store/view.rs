//! The readable view: `<artifacts>/<experiment>/<stage>[@cell]/<port>.<extension>`, copies that a person, pandas or DuckDB
//! may open, change and spoil without harm to the store.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::atomic_write::{move_new, open_to_others, temporary};
use super::file_name::file_name;
use super::{Damage, Entry, FileStamp, LatestResult, Output, Store, digest_of};
use crate::failpoints::reached;

impl Store {
    /// Where a person finds an output.
    pub fn view(&self, experiment: &str, stage: &str, output: &Output) -> PathBuf {
        self.view_folder(experiment, stage).join(format!("{}.{}", output.port, output.extension))
    }

    /// Where a person finds all outputs of a stage.
    pub fn view_folder(&self, experiment: &str, stage: &str) -> PathBuf {
        self.artifacts().join(file_name(experiment)).join(file_name(stage))
    }

    /// Brings the view of a stage up to its entry and remembers both. A view whose size and time are as they were left is
    /// not read. What this program did not write is the user's: it is moved aside, and the new names are given.
    pub fn show(
        &self,
        experiment: &str,
        stage: &str,
        entry: &Entry,
    ) -> anyhow::Result<Result<Vec<DisplacedFile>, Damage>> {
        let before = self.latest(experiment, stage)?.unwrap_or_default();
        let mut now = LatestResult { stage: stage.into(), key: entry.key.clone(), ..LatestResult::default() };
        let mut all_kept = Vec::new();
        for output in &entry.outputs {
            let path = self.view(experiment, stage, output);
            let known = before.views.get(&output.port);
            let there = FileStamp::of(&path, &output.digest);
            let stamp = match there {
                Some(there) if known == Some(&there) => there,
                // Not as it was left, and still what it should be: another run wrote it meanwhile, or it was touched.
                Some(there) if there.bytes == output.bytes && is_content(&path, &output.digest) => there,
                there => {
                    let object = match self.check_object(&output.digest)? {
                        Ok(object) => object,
                        Err(damage) => return Ok(Err(damage)),
                    };
                    let as_left =
                        known.is_some_and(|known| FileStamp::of(&path, &known.digest).as_ref() == Some(known));
                    if there.is_some() && !as_left && !self.is_ours(&path)? {
                        let aside = keep(&path).with_context(|| format!("move `{}` aside", path.display()))?;
                        all_kept.push(DisplacedFile { view: path.clone(), aside });
                    }
                    let stamp = copy(&object, &path, &output.digest);
                    stamp.with_context(|| format!("write the view `{}`", path.display()))?
                }
            };
            now.views.insert(output.port.clone(), stamp);
        }
        if now != before {
            self.remember(experiment, &now)?;
        }
        Ok(Ok(all_kept))
    }

    /// Whether a file holds something that the store has, too: an older view, or one that another run has just written.
    fn is_ours(&self, path: &Path) -> anyhow::Result<bool> {
        let digest = digest_of(path).with_context(|| format!("read `{}`", path.display()))?;
        Ok(self.object(&digest).is_file())
    }
}

/// A file of the user's that stood where a view belongs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DisplacedFile {
    pub view: PathBuf,
    /// Where it is now.
    pub aside: PathBuf,
}

/// Gives a file another name beside its own, one that nothing has yet.
pub(crate) fn keep(path: &Path) -> std::io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for number in 1.. {
        let end = if number == 1 { String::new() } else { format!("-{number}") };
        let aside = path.with_file_name(format!("{name}.kept{end}"));
        if move_new(path, &aside)? {
            return Ok(aside);
        }
    }
    unreachable!("some name is free")
}

fn is_content(path: &Path, digest: &str) -> bool {
    digest_of(path).is_ok_and(|found| found == digest)
}

/// A copy that shares no bytes that could be written through: the system's copy makes a reflink where the disk can. Gives its
/// stamp, taken before it has its name: from then on another run may put its own view there.
fn copy(object: &Path, view: &Path, digest: &str) -> anyhow::Result<FileStamp> {
    let dir = view.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let temp = temporary(dir)?;
    reached("created", view);
    // The copy takes the object's mode with it.
    fs::copy(object, temp.path())?;
    open_to_others(temp.path())?;
    reached("written", view);
    let stamp = FileStamp::of(temp.path(), digest).context("the copy is gone before it had its name")?;
    temp.persist(view)?;
    reached("named", view);
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::entry;
    use super::*;

    fn store_with(bytes: &[u8]) -> (tempfile::TempDir, Store, Entry) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("table"), bytes).unwrap();
        let output = Output {
            port: "table".into(),
            kind: "table".into(),
            format: 1,
            extension: "csv".into(),
            digest: String::new(),
            bytes: 0,
        };
        let entry = store.commit(Entry { outputs: vec![output], ..entry() }, &out, &|_| {}).unwrap();
        (dir, store, entry)
    }

    #[test]
    fn a_view_comes_once_stays_and_is_restored() {
        let (dir, store, entry) = store_with(b"a,b\n");
        let path = dir.path().join("exp/stage@x=%2Fetc/table.csv");
        let show = || store.show("exp", "stage@x=/etc", &entry).unwrap().unwrap();
        assert!(show().is_empty());
        assert_eq!(fs::read(&path).unwrap(), b"a,b\n");
        let made = FileStamp::of(&path, "").unwrap();
        assert!(show().is_empty());
        assert_eq!(FileStamp::of(&path, "").unwrap(), made, "an untouched view is not written again");
        let touch = |time| fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        touch(std::time::UNIX_EPOCH);
        assert!(show().is_empty(), "one that was only touched is no change by hand");
        assert_eq!(FileStamp::of(&path, "").unwrap().modified, 0, "and not written again");
        for (name, text) in [("table.csv.kept", "spoiled by hand"), ("table.csv.kept-2", "and again")] {
            fs::write(&path, text).unwrap();
            let aside = path.with_file_name(name);
            assert_eq!(show(), [DisplacedFile { view: path.clone(), aside: aside.clone() }]);
            assert_eq!(fs::read(&path).unwrap(), b"a,b\n");
            assert_eq!(fs::read_to_string(aside).unwrap(), text);
        }
        fs::remove_file(&path).unwrap();
        assert!(show().is_empty(), "a missing view is no change by hand");
        assert_eq!(fs::read(&path).unwrap(), b"a,b\n");
    }

    #[test]
    fn a_view_is_never_made_from_a_damaged_object() {
        let (_dir, store, entry) = store_with(b"a,b\n");
        let object = store.object(&entry.outputs[0].digest);
        fs::remove_file(&object).unwrap();
        fs::write(&object, b"a,c\n").unwrap();
        assert!(store.show("exp", "stage", &entry).unwrap().is_err());
        assert!(!store.view("exp", "stage", &entry.outputs[0]).exists());
    }
}
