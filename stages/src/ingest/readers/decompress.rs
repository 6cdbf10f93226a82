//! Files of a dataset by name, decompressed where they are compressed with gzip (`.gz`) or zstd (`.zst`).

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use flate2::bufread::GzDecoder;
use pipeline::Context;
use pipeline::progress::Bar;

use crate::artifact::TextFile;

/// The one of `names` that the folder holds, plain or with `.gz`.
pub(in crate::ingest) fn one_of(folder: &Path, names: &[&str]) -> Result<PathBuf> {
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
            bail!("{} and {} are in one folder; wanted one of them", first.display(), second.display())
        }
    }
}

/// The folder in the stage's scratch folder for files derived from that file; its name is unique per path.
pub(in crate::ingest) fn derived_folder(path: &Path, what: &str, cx: &Context) -> PathBuf {
    let own = &blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex()[..16];
    cx.scratch().join(format!("{what}-{own}"))
}

/// The file itself, or a decompressed copy in the stage's scratch folder: shards need positions in a file. Messages name the
/// original file.
pub(in crate::ingest) fn decompressed(path: &Path, cx: &Context) -> Result<TextFile> {
    ensure!(path.is_file(), "{} does not exist\nhelp: correct the name, or get the file", path.display());
    let Some(form) = Compression::of(path) else { return Ok(TextFile::new(path)) };
    let place = || format!("cannot decompress {}", path.display());
    let folder = derived_folder(path, "unpacked", cx);
    let whole = folder.join(path.file_stem().unwrap_or_default());
    cx.stands_for(&whole, path);
    if !whole.exists() {
        cx.check_cancelled()?;
        std::fs::create_dir_all(&folder).with_context(place)?;
        let part = cx.scratch().join("unpacking");
        let file = File::open(path).with_context(place)?;
        let bar = cx.bar("unpack", file.metadata().ok().map(|found| found.len()), "bytes");
        let mut packed = BufReader::new(Watched { file, bar: &bar });
        let (name, ending, magic) = match form {
            Compression::Gzip => ("gzip", ".gz", &[0x1f, 0x8b][..]),
            Compression::Zstd => ("zstd", ".zst", &[0x28, 0xb5, 0x2f, 0xfd][..]),
        };
        ensure!(
            packed.fill_buf().with_context(place)?.starts_with(magic),
            "{} is not a {name} file\nhelp: remove `{ending}` from its name if it is plain text, or get the file again",
            path.display()
        );
        let mut to = File::create(&part).with_context(place)?;
        match form {
            Compression::Gzip => decompress_members(packed, &mut to, path)?,
            Compression::Zstd => zstd::stream::copy_decode(packed, &mut to).map_err(|error| damaged(path, &error))?,
        }
        // After a power cut an incomplete copy must not be mistaken for a complete one.
        to.sync_all().and_then(|()| std::fs::rename(&part, &whole)).with_context(place)?;
    }
    Ok(TextFile::copy(&whole, path))
}

/// A file whose reading moves a bar.
struct Watched<'a> {
    file: File,
    bar: &'a Bar,
}

impl Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.bar.inc(read as u64);
        Ok(read)
    }
}

/// How a file is compressed, by its extension.
#[derive(Clone, Copy)]
enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" => Some(Self::Gzip),
            "zst" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The error for a packed file that cannot be unpacked to its end.
fn damaged(path: &Path, error: &std::io::Error) -> Error {
    let why = match error.kind() {
        ErrorKind::UnexpectedEof => "the file ends early, as after a download that was cut off: get it again",
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => "the file is damaged: get it again",
        _ => "see whether there is room in the store, and whether the file can be read",
    };
    anyhow!("cannot decompress {}: {error}\nhelp: {why}", path.display())
}

/// Decompresses the members of a gzip file one after the other. Zeros after the last member are padding of tapes and archives.
fn decompress_members(mut packed: impl BufRead, to: &mut File, path: &Path) -> Result<()> {
    let place = || format!("cannot decompress {}", path.display());
    loop {
        let next = packed.fill_buf().with_context(place)?;
        match next.first() {
            None => return Ok(()),
            Some(0) => {
                let is_zero = next.iter().all(|byte| *byte == 0);
                ensure!(
                    is_zero,
                    "{} holds other data after its last gzip member\nhelp: get the file again",
                    path.display()
                );
                let read = next.len();
                packed.consume(read);
            }
            Some(_) => {
                let mut part = GzDecoder::new(&mut packed);
                std::io::copy(&mut part, to).map_err(|error| damaged(path, &error))?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression as Level, write::GzEncoder};

    use super::*;

    #[test]
    fn packed_files_are_unpacked_once_and_torn_ones_named() {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cx = Context::detached(scratch.path());
        let mut packed = GzEncoder::new(Vec::new(), Level::fast());
        packed.write_all(b"one\ntwo\n").unwrap();
        let mut bytes = packed.finish().unwrap();
        // Two packed parts, one behind the other, are one file.
        bytes.extend(bytes.clone());
        std::fs::write(folder.path().join("log.json.gz"), &bytes).unwrap();
        let path = one_of(folder.path(), &["other.json", "log.json"]).unwrap();
        let plain = decompressed(&path, &cx).unwrap();
        assert_eq!(plain.text().unwrap(), "one\ntwo\none\ntwo\n");
        assert_eq!(plain.name(), path, "messages name the original file");
        std::fs::create_dir(folder.path().join("more")).unwrap();
        let mut other = GzEncoder::new(Vec::new(), Level::fast());
        other.write_all(b"other\n").unwrap();
        std::fs::write(folder.path().join("more/log.json.gz"), other.finish().unwrap()).unwrap();
        let second = decompressed(&folder.path().join("more/log.json.gz"), &cx).unwrap();
        assert_eq!(second.text().unwrap(), "other\n", "a file of the same name in another folder");
        std::fs::write(folder.path().join("torn.gz"), &bytes[..20]).unwrap();
        let zstd = zstd::encode_all(&b"one\ntwo\n"[..], 0).unwrap();
        std::fs::write(folder.path().join("torn.zst"), &zstd[..zstd.len() - 6]).unwrap();
        for torn in ["torn.gz", "torn.zst"] {
            let error = decompressed(&folder.path().join(torn), &cx).unwrap_err().to_string();
            assert!(error.contains("cannot decompress") && error.contains("\nhelp: the file ends early"), "{error}");
        }
        std::fs::write(folder.path().join("plain.gz"), "<html>").unwrap();
        let error = decompressed(&folder.path().join("plain.gz"), &cx).unwrap_err().to_string();
        assert!(error.contains("plain.gz is not a gzip file\nhelp: remove `.gz`"), "{error}");
        assert_eq!(decompressed(plain.path(), &cx).unwrap().path(), plain.path());
        std::fs::write(folder.path().join("log.csv.zst"), zstd::encode_all(&b"one\ntwo\n"[..], 0).unwrap()).unwrap();
        let plain = decompressed(&folder.path().join("log.csv.zst"), &cx).unwrap();
        assert_eq!((plain.text().unwrap().as_str(), plain.path().extension()), ("one\ntwo\n", Some("csv".as_ref())));
        std::fs::write(folder.path().join("log.json"), "").unwrap();
        assert!(one_of(folder.path(), &["log.json"]).unwrap_err().to_string().contains("wanted one of them"));
        assert!(one_of(folder.path(), &["x"]).unwrap_err().to_string().contains("holds none of x"));
    }

    #[test]
    fn zeros_behind_the_packed_part_are_no_part_of_it_and_nothing_else_may_stand_there() {
        let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = folder.path().join("log.gz");
        let mut packed = GzEncoder::new(Vec::new(), Level::fast());
        packed.write_all(b"one\n").unwrap();
        let packed = packed.finish().unwrap();
        for (behind, wanted) in [
            (vec![0; 20_000], Ok("one\n")),
            (b"\0\0x".to_vec(), Err("holds other data")),
            (b"x".to_vec(), Err("cannot decompress")),
        ] {
            std::fs::write(&path, [packed.clone(), behind].concat()).unwrap();
            let cx = Context::detached(scratch.path());
            match (decompressed(&path, &cx), wanted) {
                (Ok(file), Ok(text)) => {
                    assert_eq!(file.text().unwrap(), text);
                    std::fs::remove_file(file.path()).unwrap();
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error:#}"),
                (found, _) => panic!("{found:?}"),
            }
        }
    }
}
