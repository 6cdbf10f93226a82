//! The digests of a file or folder.
//!
//! A file's digests are those of its bytes. A folder's are those of its canonical listing: for each regular file below it,
//! in the byte order of the relative paths, `relative/path\0<digest of the file, hex>\n`. Names and bytes count; times,
//! permissions, empty folders and the folder's own name do not. Links are followed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::bail;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Work;
use super::walk::{Written, unreadable, walk};
use crate::progress::{Bar, WORTH_A_BAR};
use crate::store::digest_with;

/// What tells cheaply whether a file is still the one that was hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    /// Relative to the tree's root with `/` between the parts; empty where the root is a file.
    pub(super) path: String,
    /// Bytes.
    pub(super) size: u64,
    /// Nanoseconds since 1970; 0 where the file system keeps no time.
    pub(super) modified: u64,
    /// When anything about the file changed, also by hands that set `modified` back; 0 where the system does not say.
    #[serde(default)]
    pub(super) changed: u64,
    /// Its number on the disk, which a file that was put in the place of another does not share; 0 likewise.
    #[serde(default)]
    pub(super) number: u64,
}

/// A file, or a folder with everything in it.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    is_folder: bool,
    /// In the byte order of their paths.
    pub(super) stamps: Vec<FileStamp>,
}

impl Tree {
    /// Lists what lies at `root` without reading any content.
    pub(super) fn list(root: &Path) -> anyhow::Result<Self> {
        Self::list_beside(root, &[])
    }

    /// The same of what must not hold any of these folders.
    pub(super) fn list_beside(root: &Path, written: &[Written]) -> anyhow::Result<Self> {
        let mut stamps = Vec::new();
        walk(root, written, &mut |path, metadata| stamps.push(stamp(path, metadata)))?;
        stamps.sort_by(|a, b| a.path.cmp(&b.path));
        let is_folder = stamps.first().is_none_or(|stamp| !stamp.path.is_empty());
        if stamps.is_empty() {
            bail!("`{}` is an empty folder", root.display());
        }
        Ok(Self { root: root.to_path_buf(), is_folder, stamps })
    }

    /// The first file that may not be read.
    pub(super) fn check_readable(&self) -> anyhow::Result<()> {
        self.stamps.iter().map(|stamp| self.path(stamp)).try_for_each(|path| {
            let opened = File::open(&path).map(drop);
            opened.map_err(|error| unreadable(&path, error))
        })
    }

    fn path(&self, stamp: &FileStamp) -> PathBuf {
        if self.is_folder { self.root.join(&stamp.path) } else { self.root.clone() }
    }

    /// BLAKE3 as hex; stops when cancelled.
    pub(super) fn blake3(&self, work: &Work) -> anyhow::Result<String> {
        let bar = self.bar("hash", work);
        let hashed = |bytes: usize| {
            if let Some(bar) = &bar {
                bar.inc(bytes as u64);
            }
            work.check_cancelled()
        };
        let of_file = |path: PathBuf| digest_with(&path, hashed).map_err(|error| named(&path, error));
        if !self.is_folder {
            return of_file(self.root.clone());
        }
        let digests = self.stamps.par_iter().map(|stamp| of_file(self.path(stamp)));
        let listing = self.listing(digests.collect::<anyhow::Result<_>>()?);
        Ok(blake3::hash(listing.as_bytes()).to_hex().to_string())
    }

    /// Whether it looks now as it did when it was listed.
    pub(super) fn is_as_it_was(&self) -> bool {
        Self::list(&self.root).is_ok_and(|now| now.stamps == self.stamps)
    }

    /// SHA-256 as lower-case hex; stops when cancelled.
    pub(super) fn sha256(&self, work: &Work) -> anyhow::Result<String> {
        let bar = self.bar("check", work);
        let mut buffer = vec![0; 1 << 20];
        let mut read = |path: &Path| {
            let mut file = File::open(path)?;
            let mut hasher = Sha256::new();
            loop {
                work.check_cancelled()?;
                let n = file.read(&mut buffer)?;
                if n == 0 {
                    return anyhow::Ok(hex(hasher));
                }
                hasher.update(&buffer[..n]);
                if let Some(bar) = &bar {
                    bar.inc(n as u64);
                }
            }
        };
        let mut of_file = |path: PathBuf| read(&path).map_err(|error| named(&path, error));
        if !self.is_folder {
            return of_file(self.root.clone());
        }
        let digests = self.stamps.iter().map(|stamp| of_file(self.path(stamp)));
        let listing = self.listing(digests.collect::<anyhow::Result<_>>()?);
        Ok(hex(Sha256::new_with_prefix(listing)))
    }

    fn bar(&self, doing: &str, work: &Work) -> Option<Bar> {
        let bytes = self.stamps.iter().map(|stamp| stamp.size).sum();
        (bytes >= WORTH_A_BAR).then(|| work.bar(doing, Some(bytes), "bytes"))
    }

    /// The canonical listing, given the digests of the files.
    fn listing(&self, digests: Vec<String>) -> String {
        let rows = self.stamps.iter().zip(digests);
        rows.map(|(stamp, digest)| format!("{}\0{digest}\n", stamp.path)).collect()
    }
}

/// Adds to an error which file it is of.
fn named(path: &Path, error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<io::Error>() {
        Ok(error) => unreadable(path, error),
        Err(error) => error.context(format!("cannot read `{}`", path.display())),
    }
}

fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stamp(path: &str, metadata: &fs::Metadata) -> FileStamp {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = since.map_or(0, |since| since.as_nanos() as u64);
    let (changed, number) = change(metadata);
    FileStamp { path: path.to_owned(), size: metadata.len(), modified, changed, number }
}

/// `changed` and `number` of a stamp.
#[cfg(unix)]
fn change(metadata: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let nanoseconds = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
    (u64::try_from(nanoseconds).unwrap_or(0), metadata.ino())
}

#[cfg(not(unix))]
fn change(_: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::progress::{Progress, Sink};

    fn sha256_of(bytes: &[u8]) -> String {
        hex(Sha256::new_with_prefix(bytes))
    }

    #[test]
    fn a_file_has_the_digests_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "abc").unwrap();
        let tree = Tree::list(&file).unwrap();
        // FIPS 180-2, appendix B.1.
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(tree.sha256(&Work::silent()).unwrap(), known);
        assert_eq!(tree.blake3(&Work::silent()).unwrap(), blake3::hash(b"abc").to_hex().as_str());
    }

    #[test]
    fn a_folder_has_the_digests_of_its_listing() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::write(dir.path().join("b/y"), "2").unwrap();
        fs::write(dir.path().join("b.x"), "1").unwrap();
        let tree = Tree::list(dir.path()).unwrap();
        let listing = format!("b.x\0{}\nb/y\0{}\n", sha256_of(b"1"), sha256_of(b"2"));
        assert_eq!(tree.sha256(&Work::silent()).unwrap(), sha256_of(listing.as_bytes()));
    }

    #[test]
    fn a_new_name_is_a_new_folder() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        let blake3 = || Tree::list(dir.path()).unwrap().blake3(&Work::silent()).unwrap();
        let before = blake3();
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_ne!(before, blake3());
    }

    #[test]
    fn large_work_shows_a_bar() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        File::create(&file).unwrap().set_len(WORTH_A_BAR).unwrap();
        let seen = Arc::new(RecordingSink::default());
        let progress = Progress::new("stage", [Arc::clone(&seen) as Arc<dyn Sink>].into());
        let work = Work { name: "weights".into(), progress, cancel: crate::Cancel::default() };
        Tree::list(&file).unwrap().blake3(&work).unwrap();
        let bars = seen.0.lock().unwrap();
        assert_eq!(bars.first(), Some(&("hash weights".to_owned(), 0)));
        assert_eq!(bars.last(), Some(&("hash weights".to_owned(), WORTH_A_BAR)));
    }

    /// What bars showed: label and bytes done.
    #[derive(Default)]
    struct RecordingSink(Mutex<Vec<(String, u64)>>);

    impl Sink for RecordingSink {
        fn advanced(&self, _: &str, label: &str, done: u64, _: Option<u64>, _: &str, _: &str) {
            self.0.lock().unwrap().push((label.to_owned(), done));
        }
        fn finished(&self, _: &str, _: &str) {}
        fn note(&self, _: &str, _: &str, _: &str) {}
    }

    #[test]
    fn hashing_ends_when_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        let work = Work::silent();
        work.cancel.raise();
        for path in [dir.path().to_path_buf(), dir.path().join("a")] {
            let error = Tree::list(&path).unwrap().blake3(&work).unwrap_err();
            assert!(error.is::<crate::Interrupted>(), "{error:#}");
        }
    }

    #[test]
    fn an_empty_folder_is_no_asset() {
        let dir = tempfile::tempdir().unwrap();
        let error = Tree::list(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("is an empty folder"), "{error}");
    }
}
