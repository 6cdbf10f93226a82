//! Files of a dataset by name, unpacked where they are packed with gzip.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use pipeline::Context;

/// The one of `names` that the folder holds, as it is or with `.gz` behind it.
pub(super) fn one_of(folder: &Path, names: &[&str]) -> Result<PathBuf> {
    let both = names.iter().flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))]);
    let found: Vec<PathBuf> = both.filter(|path| path.is_file()).collect();
    match &found[..] {
        [path] => Ok(path.clone()),
        [] => bail!(
            "{} holds none of {} (nor any with .gz)\nhelp: name the folder with the dataset's files",
            folder.display(),
            names.join(", ")
        ),
        [first, second, ..] => {
            bail!("{} and {} lie in one folder; wanted one of them", first.display(), second.display())
        }
    }
}

/// The file itself, or a copy in the stage's scratch folder where it is packed: shards need places in a file.
pub(super) fn unpacked(path: &Path, cx: &Context) -> Result<PathBuf> {
    ensure!(path.is_file(), "{} is not there\nhelp: correct the name, or get the file", path.display());
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(path.to_path_buf());
    }
    let place = || format!("cannot unpack {}", path.display());
    // Two folders may hold files of one name.
    let own = &blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex()[..16];
    let folder = cx.scratch().join(format!("unpacked-{own}"));
    let whole = folder.join(path.file_stem().unwrap_or_default());
    cx.stands_for(&whole, path);
    if !whole.exists() {
        cx.go_on()?;
        std::fs::create_dir_all(&folder).with_context(place)?;
        let part = cx.scratch().join("unpacking");
        let mut packed = BufReader::new(File::open(path).with_context(place)?);
        ensure!(
            packed.fill_buf().with_context(place)?.starts_with(&[0x1f, 0x8b]),
            "{} is not packed with gzip\nhelp: leave `.gz` out of its name where it is plain, or get the file again",
            path.display()
        );
        let mut packed = MultiGzDecoder::new(packed);
        let mut to = File::create(&part).with_context(place)?;
        std::io::copy(&mut packed, &mut to).with_context(place)?;
        // A torn copy must not be taken for a whole one after a power cut.
        to.sync_all().and_then(|()| std::fs::rename(&part, &whole)).with_context(place)?;
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn packed_files_are_unpacked_once_and_torn_ones_named() {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cx = Context::detached(scratch.path());
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(b"one\ntwo\n").unwrap();
        let mut bytes = packed.finish().unwrap();
        // Two packed parts, one behind the other, are one file.
        bytes.extend(bytes.clone());
        std::fs::write(folder.path().join("log.json.gz"), &bytes).unwrap();
        let path = one_of(folder.path(), &["other.json", "log.json"]).unwrap();
        let plain = unpacked(&path, &cx).unwrap();
        assert_eq!(std::fs::read(&plain).unwrap(), b"one\ntwo\none\ntwo\n");
        std::fs::create_dir(folder.path().join("more")).unwrap();
        let mut other = GzEncoder::new(Vec::new(), Compression::fast());
        other.write_all(b"other\n").unwrap();
        std::fs::write(folder.path().join("more/log.json.gz"), other.finish().unwrap()).unwrap();
        let second = unpacked(&folder.path().join("more/log.json.gz"), &cx).unwrap();
        assert_eq!(std::fs::read(&second).unwrap(), b"other\n", "a file of the same name in another folder");
        std::fs::write(folder.path().join("torn.gz"), &bytes[..20]).unwrap();
        let error = unpacked(&folder.path().join("torn.gz"), &cx).unwrap_err();
        assert!(format!("{error:#}").contains("cannot unpack"), "{error:#}");
        std::fs::write(folder.path().join("plain.gz"), "<html>").unwrap();
        let error = unpacked(&folder.path().join("plain.gz"), &cx).unwrap_err().to_string();
        assert!(error.contains("plain.gz is not packed with gzip\nhelp: leave `.gz` out"), "{error}");
        assert_eq!(unpacked(&plain, &cx).unwrap(), plain);
        std::fs::write(folder.path().join("log.json"), "").unwrap();
        assert!(one_of(folder.path(), &["log.json"]).unwrap_err().to_string().contains("wanted one of them"));
        assert!(one_of(folder.path(), &["x"]).unwrap_err().to_string().contains("holds none of x"));
    }
}
