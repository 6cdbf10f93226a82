//! The files below a folder, links followed; and what an asset cannot hold, named entry by entry.
//!
//! Where a link leads matters: a folder that holds what this program writes would be another one after every run, and one
//! that is met again inside itself would never end.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A folder that this program writes to, and so no part of any asset.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    /// What it is, as `the results` or `the cache`.
    pub what: &'static str,
    /// As a person knows it.
    pub name: PathBuf,
    /// Without links, also where it is not there yet.
    real: PathBuf,
    /// What to do about an asset that holds it.
    pub help: &'static str,
}

impl Written {
    pub fn new(what: &'static str, path: &Path, help: &'static str) -> Self {
        Self { what, name: path.to_path_buf(), real: real(path), help }
    }
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let there = whole.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let joined = there.and_then(|(part, real)| Some(real.join(whole.strip_prefix(part).ok()?)));
    // Joining nothing leaves a slash behind, which no comparison minds.
    joined.unwrap_or(whole)
}

/// Hands each file at or below `root` to `file`, with its path below the root in parts of `/`; that of the root itself is
/// empty.
///
/// # Errors
/// The entry that is no part of an asset, and why.
pub(super) fn walk(root: &Path, written: &[Written], file: &mut dyn FnMut(&str, &Metadata)) -> anyhow::Result<()> {
    Walk { root, written, reals: Vec::new(), file }.entry(root, "")
}

struct Walk<'a> {
    root: &'a Path,
    written: &'a [Written],
    /// The folders that lead to the present one, without links.
    reals: Vec<PathBuf>,
    file: &'a mut dyn FnMut(&str, &Metadata),
}

impl Walk<'_> {
    fn entry(&mut self, path: &Path, relative: &str) -> anyhow::Result<()> {
        let metadata = fs::metadata(path).map_err(|error| unreachable(path, error))?;
        if metadata.is_file() {
            (self.file)(relative, &metadata);
            return Ok(());
        }
        if !metadata.is_dir() {
            bail!(
                "`{}` is {}, and an asset holds files and folders only\nhelp: take it out of there, or let `path` lead elsewhere",
                path.display(),
                noun(&metadata)
            );
        }
        let real = path.canonicalize().map_err(|error| unreadable(path, error))?;
        self.check(path, &real)?;
        self.reals.push(real);
        for entry in fs::read_dir(path).map_err(|error| unreadable(path, error))? {
            let name = entry.map_err(|error| unreadable(path, error))?.file_name();
            let below = self.below(path, relative, &name)?;
            self.entry(&path.join(name), &below)?;
        }
        self.reals.pop();
        Ok(())
    }

    fn below(&self, path: &Path, relative: &str, name: &OsStr) -> anyhow::Result<String> {
        let text =
            name.to_str().with_context(|| format!("the name of `{}` is not UTF-8", path.join(name).display()))?;
        Ok(if relative.is_empty() { text.to_owned() } else { format!("{relative}/{text}") })
    }

    /// Refuses a folder that holds what this program writes, and one that is met again on the way into itself.
    fn check(&self, path: &Path, real: &Path) -> anyhow::Result<()> {
        if let Some(written) = self.written.iter().find(|written| written.real.starts_with(real)) {
            let leads = if path == self.root { String::new() } else { format!(" by the link `{}`", path.display()) };
            bail!(
                "`{}` holds {} `{}`{leads}, which change with every run\nhelp: {}",
                self.root.display(),
                written.what,
                written.name.display(),
                written.help
            );
        }
        if self.reals.iter().any(|outer| outer.starts_with(real)) {
            bail!(
                "`{}` leads back into a folder that it lies in, without end\nhelp: take the link out of there",
                path.display()
            );
        }
        Ok(())
    }
}

/// The path without a slash at its end, which would lead through a link to what lies behind it.
pub(super) fn as_link(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The error of an entry that cannot be looked at.
fn unreachable(path: &Path, error: io::Error) -> anyhow::Error {
    let path = &as_link(path);
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if is_link && error.kind() == ErrorKind::NotFound {
        let target = fs::read_link(path).unwrap_or_default();
        let what = format!("`{}` is a link to `{}`, which is not there", path.display(), target.display());
        // Also as an error of the system, for who asks whether anything is there.
        return anyhow::Error::new(error).context(format!("{what}\nhelp: mend the link, or take it out of there"));
    }
    unreadable(path, error)
}

/// The error of what is there and cannot be read.
pub(super) fn unreadable(path: &Path, error: io::Error) -> anyhow::Error {
    let help = match error.kind() {
        ErrorKind::PermissionDenied => "\nhelp: give yourself the right to read it, or take it out of there",
        _ => "",
    };
    let what = format!("cannot read `{}`{help}", path.display());
    anyhow::Error::new(error).context(what)
}

#[cfg(unix)]
fn noun(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = metadata.file_type();
    match () {
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

#[cfg(not(unix))]
fn noun(_: &Metadata) -> &'static str {
    "neither of both"
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::error_report::ErrorReport;

    /// What is found below `root`, or what is said of it; `written` is a folder of results.
    fn found(root: &Path, written: &Path) -> Result<Vec<String>, String> {
        let written = [Written::new("the results in", written, "give it a folder of its own")];
        let mut files = Vec::new();
        let walked = walk(root, &written, &mut |path, _| files.push(path.to_owned()));
        files.sort();
        walked
            .map(|()| files)
            .map_err(|error| ErrorReport::of(&error).to_string().replace(root.to_str().unwrap(), "DIR"))
    }

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("data/deep")).unwrap();
        fs::write(dir.path().join("data/deep/a"), "1").unwrap();
        dir
    }

    #[test]
    fn the_entry_that_an_asset_cannot_hold_is_named() {
        let dir = folder();
        let (root, away) = (dir.path().join("data"), dir.path().join("artifacts"));
        assert_eq!(found(&root, &away), Ok(vec!["deep/a".to_owned()]));
        let bad = root.join("deep/bad");
        let refused = |begins: &str, ends: &str| {
            let error = found(&root, &away).unwrap_err();
            assert!(error.starts_with(begins) && error.ends_with(ends), "{error}");
            fs::remove_file(&bad).unwrap();
        };
        symlink("gone", &bad).unwrap();
        refused(
            "`DIR/deep/bad` is a link to `gone`, which is not there",
            "help: mend the link, or take it out of there",
        );
        symlink(&bad, &bad).unwrap();
        refused("cannot read `DIR/deep/bad`: ", "(os error 40)");
        let _socket = UnixListener::bind(&bad).unwrap();
        refused("`DIR/deep/bad` is a socket, and an asset holds files and folders only", "let `path` lead elsewhere");
        symlink("..", &bad).unwrap();
        refused("`DIR/deep/bad` leads back into a folder that it lies in, without end", "take the link out of there");
    }

    #[test]
    fn two_links_that_lead_into_each_other_end() {
        let dir = folder();
        let root = dir.path().join("data");
        fs::create_dir(root.join("other")).unwrap();
        symlink("../other", root.join("deep/there")).unwrap();
        symlink("../deep", root.join("other/back")).unwrap();
        assert!(found(&root, &root.join("artifacts-beside")).unwrap_err().contains("holds the results"));
        let error = found(&root, &dir.path().join("artifacts")).unwrap_err();
        assert!(error.contains("leads back into a folder that it lies in"), "{error}");
    }

    #[test]
    fn what_the_program_writes_is_no_part_of_an_asset_however_it_is_reached() {
        let dir = folder();
        let data = dir.path().join("data");
        // Also before there are any.
        for inside in ["artifacts", "deep/artifacts", "."] {
            let error = found(&data, &data.join(inside)).unwrap_err();
            assert!(error.starts_with("`DIR` holds the results in `DIR/"), "{error}");
            assert!(error.ends_with("which change with every run\nhelp: give it a folder of its own"), "{error}");
        }
        let link = dir.path().join("link");
        symlink(&data, &link).unwrap();
        assert!(found(&link, &data.join("artifacts")).is_err(), "the asset is a link");
        assert!(found(&data, &link.join("artifacts")).is_err(), "the results lie behind a link");
        assert!(found(&data.join("../data/."), &data.join("artifacts")).is_err(), "by another way");
        // What only lies beside them, or inside them, does not hold them.
        assert!(found(&data, &dir.path().join("data-artifacts")).is_ok());
        assert!(found(&data.join("deep"), &data).is_ok());
        symlink("..", data.join("deep/up")).unwrap();
        let error = found(&data.join("deep"), &data.join("artifacts")).unwrap_err();
        assert!(error.contains(" by the link `DIR/up`, which change with every run"), "{error}");
    }
}
