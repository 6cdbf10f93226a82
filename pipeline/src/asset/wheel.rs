//! Takes one file or folder out of a zip archive, such as a wheel.

use std::fs::{self, File};
use std::io::{BufReader, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use zip::ZipArchive;

use super::{Work, spec};

/// How many names an error offers in place of one that is not there.
const NEAR: usize = 3;

/// Writes `member` of the archive `wheel` to `into`, which does not exist yet: a folder where `member` ends with `/`, else the one
/// file whose path fits, with `*` for any text without `/`.
///
/// # Errors
/// When the wheel is damaged, has no such member (the error gives the nearest names) or several that fit, or holds a name that
/// would leave `into`.
pub(super) fn extract(wheel: &Path, member: &str, into: &Path, work: &Work) -> anyhow::Result<()> {
    let place = || format!("cannot read the archive `{}`", wheel.display());
    let file = File::open(wheel).with_context(place)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).with_context(place)?;
    let names: Vec<String> = archive.file_names().map(|name| Ok(name?.into_owned())).collect::<anyhow::Result<_>>()?;
    let is_folder = member.ends_with('/');
    // Index in the archive and path below `into`.
    let wanted: Vec<(usize, &str)> = names
        .iter()
        .enumerate()
        .filter(|(_, name)| !name.ends_with('/'))
        .filter_map(|(index, name)| {
            let below = if is_folder { name.strip_prefix(member)? } else { "" };
            (is_folder || fits(name, member)).then_some((index, below))
        })
        .collect();
    if wanted.is_empty() {
        bail!("the archive holds no `{member}`; near it: {}", near(&names, member).join(", "));
    }
    if !is_folder && wanted.len() > 1 {
        let (all, more) = (wanted.iter().take(NEAR), wanted.len().saturating_sub(NEAR));
        let named: Vec<String> = all.map(|&(index, _)| format!("`{}`", names[index])).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        bail!("`{member}` fits several files of the archive: {}{more}", named.join(", "));
    }
    let mut total = 0;
    for &(index, below) in &wanted {
        let entry = archive.by_index(index).with_context(place)?;
        if !below.is_empty() && !below.split('/').all(spec::is_plain_name) || entry.is_symlink() {
            bail!("the archive holds `{}`, which is not the name of a plain file", names[index]);
        }
        total += entry.size();
    }
    let bar = work.bar("unpack", Some(total), "bytes");
    let mut buffer = vec![0; 64 << 10];
    for (index, below) in wanted {
        let path = if is_folder { into.join(below) } else { into.to_path_buf() };
        let here = || format!("cannot write `{}`", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(here)?;
        }
        let mut out = File::create_new(&path).with_context(here)?;
        let mut entry = archive.by_index(index).with_context(place)?;
        loop {
            work.check_cancelled()?;
            let n = entry.read(&mut buffer).with_context(place)?;
            if n == 0 {
                break;
            }
            out.write_all(&buffer[..n]).with_context(here)?;
            bar.inc(n as u64);
        }
    }
    Ok(())
}

/// Whether `path` is as `pattern` says, where `*` stands for any text without `/`.
fn fits(path: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => path == pattern,
        Some((begin, rest)) => path.strip_prefix(begin).is_some_and(|tail| {
            let end = tail.find('/').unwrap_or(tail.len());
            (0..=end).any(|at| tail.is_char_boundary(at) && fits(&tail[at..], rest))
        }),
    }
}

/// The files and folders of the wheel whose paths are most like `member`, best first.
fn near(names: &[String], member: &str) -> Vec<String> {
    let folders = names.iter().flat_map(|name| name.match_indices('/').map(|(at, _)| &name[..=at]));
    let mut all: Vec<&str> = folders.chain(names.iter().map(String::as_str)).collect();
    all.sort_unstable();
    all.dedup();
    let likeness = |name: &str| strsim::normalized_levenshtein(name, member);
    all.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    all.truncate(NEAR);
    all.into_iter().map(|name| format!("`{name}`")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// Writes a wheel of these files.
    pub(in crate::asset) fn wheel(path: &Path, files: &[(&str, &str)]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, text) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    fn take(files: &[(&str, &str)], member: &str) -> (tempfile::TempDir, anyhow::Result<()>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.whl");
        wheel(&path, files);
        let result = extract(&path, member, &dir.path().join("out"), &Work::silent());
        (dir, result)
    }

    const LOG: &[(&str, &str)] = &[
        ("pkg/__init__.py", ""),
        ("pkg/data/log/a.inter", "1"),
        ("pkg/data/log/deep/b.item", "2"),
        ("pkg/data/logs.txt", "3"),
    ];

    #[test]
    fn a_file_and_a_folder_come_out() {
        let (dir, result) = take(LOG, "pkg/data/logs.txt");
        result.unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "3");

        let (dir, result) = take(LOG, "pkg/data/log/");
        result.unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("out/a.inter")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.path().join("out/deep/b.item")).unwrap(), "2");
        assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 2);
    }

    #[test]
    fn a_wildcard_takes_the_one_file_that_fits() {
        for member in ["*/data/logs*", "pkg/*/logs.txt", "p*g/d*a/*.txt", "pkg/data/logs.txt*"] {
            let (dir, result) = take(LOG, member);
            result.unwrap_or_else(|error| panic!("{member}: {error}"));
            assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "3", "{member}");
        }
        let error = take(LOG, "pkg/*.txt").1.unwrap_err().to_string();
        assert!(error.starts_with("the archive holds no `pkg/*.txt`; near it: "), "{error}");
        let twice = &[("a/1", ""), ("a/2", ""), ("a/3", ""), ("a/4", "")];
        let error = take(twice, "a/*").1.unwrap_err().to_string();
        assert_eq!(error, "`a/*` fits several files of the archive: `a/1`, `a/2`, `a/3` and 1 more");
    }

    #[test]
    fn a_missing_member_is_told_with_near_names() {
        let error = take(LOG, "pkg/data/log").1.unwrap_err().to_string();
        assert!(error.starts_with("the archive holds no `pkg/data/log`; near it: `pkg/data/log/`, "), "{error}");
    }

    #[test]
    fn no_name_leaves_the_folder() {
        for name in ["pkg/../../evil", "pkg//etc/evil", "pkg/a\\..\\evil", "pkg/./evil"] {
            let (dir, result) = take(&[("pkg/good", ""), (name, "x")], "pkg/");
            let error = result.unwrap_err().to_string();
            assert!(error.contains("is not the name of a plain file"), "{name}: {error}");
            assert!(!dir.path().join("out").exists(), "{name}");
        }
    }

    #[test]
    fn a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.whl");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        zip.add_symlink("pkg/link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap();
        assert!(extract(&path, "pkg/", &dir.path().join("out"), &Work::silent()).is_err());
    }

    #[test]
    fn a_file_that_is_no_wheel_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.whl");
        fs::write(&path, "not a zip").unwrap();
        let error = extract(&path, "a", &dir.path().join("out"), &Work::silent()).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the archive") && error.contains("a.whl"), "{error}");
    }
}
