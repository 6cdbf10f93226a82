//! Digests that need not be taken again: of what looks as it did when it was read ([`tree_snapshot`](super::tree_snapshot)).

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cache::{Cache, publish};
use super::digest::{FileStamp, Tree};
use super::tree_snapshot::TreeSnapshot;

/// The file of a path in the cache.
#[derive(Serialize, Deserialize)]
struct Row {
    path: PathBuf,
    blake3: String,
    read: u64,
    files: Vec<FileStamp>,
}

impl Cache {
    /// The BLAKE3 of the tree at `path`, where it looks as it did when that was taken.
    pub(super) fn cached_digest(&self, path: &Path, tree: &Tree) -> Option<String> {
        let (name, path) = self.place(path)?;
        let row: Row = serde_json::from_slice(&fs::read(name).ok()?).ok()?;
        let known = row.path == path && TreeSnapshot { files: row.files, read: row.read }.is(tree);
        known.then_some(row.blake3)
    }

    /// Remembers that the tree at `path` had this BLAKE3 when reading it began at `read`. A cache that cannot be written to
    /// only means that it is read again next time.
    pub(super) fn cache_digest(&self, path: &Path, blake3: &str, tree: &Tree, read: u64) {
        let Some((name, path)) = self.place(path) else { return };
        let row = Row { path, blake3: blake3.into(), read, files: tree.stamps.clone() };
        let Some((folder, name)) = name.parent().zip(name.file_name().and_then(|name| name.to_str())) else { return };
        let _ = fs::create_dir_all(folder)
            .map_err(anyhow::Error::from)
            .and_then(|()| publish(folder, name, &serde_json::to_vec(&row)?));
    }

    /// Where the row of a path is kept, and the whole path.
    fn place(&self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let path = std::path::absolute(path).ok()?;
        let name = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
        Some((self.root().join("seen").join(name.as_str()), path))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree_snapshot::{TICK, now};
    use super::*;

    #[test]
    fn a_row_is_believed_for_its_path_and_look_alone() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        let [file, twin] = ["file", "twin"].map(|name| dir.path().join(name));
        fs::write(&file, "1").unwrap();
        fs::hard_link(&file, &twin).unwrap();
        let tree = Tree::list(&file).unwrap();
        assert_eq!(cache.cached_digest(&file, &tree), None);
        cache.cache_digest(&file, "digest", &tree, now() + TICK);
        assert_eq!(cache.cached_digest(&file, &tree).as_deref(), Some("digest"));
        assert_eq!(cache.cached_digest(&twin, &tree), None);
        cache.cache_digest(&file, "digest", &tree, now());
        assert_eq!(cache.cached_digest(&file, &tree), None, "it had just changed");
        fs::write(&file, "2").unwrap();
        cache.cache_digest(&file, "digest", &tree, now() + TICK);
        assert_eq!(cache.cached_digest(&file, &Tree::list(&file).unwrap()), None);
    }
}
