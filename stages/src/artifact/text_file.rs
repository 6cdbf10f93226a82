//! The one place that opens a text: a byte-order mark of UTF-8 is no part of it, and what is no such text is refused by name.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The byte-order mark of UTF-8, which some editors and spreadsheets write before the first character.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How far a look for bytes that no text holds goes.
const LOOK: usize = 4096;

/// A text file, and the file that people know it as: a copy that was unpacked goes by the name of the packed one.
#[derive(Clone, Debug)]
pub struct TextFile {
    path: PathBuf,
    name: PathBuf,
}

impl TextFile {
    /// The file at that path, which goes by it.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self::copy(path, path)
    }

    /// What lies at `path` and was made from `name`.
    #[must_use]
    pub fn copy(path: &Path, name: &Path) -> Self {
        Self { path: path.to_path_buf(), name: name.to_path_buf() }
    }

    /// Where its bytes lie.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The text's bytes from their first, and how many bytes of the file stand before it.
    ///
    /// # Errors
    /// Where the file cannot be read, or its first bytes say that it is no text in UTF-8: UTF-16 or UTF-32, packed, Parquet, a
    /// pointer of Git LFS.
    pub fn open(&self) -> Result<(BufReader<File>, u64)> {
        let place = || format!("cannot read {}", self.name.display());
        let mut file = File::open(&self.path).with_context(place)?;
        let mut first = Vec::with_capacity(LOOK);
        file.by_ref().take(LOOK as u64).read_to_end(&mut first).with_context(place)?;
        if let Some((found, help)) = no_text(&first) {
            let help = match help {
                encoding @ ("UTF-16" | "UTF-32") => in_utf8(&self.name, encoding),
                other => other.to_owned(),
            };
            bail!("{} is {found}\nhelp: {help}", self.name.display());
        }
        let start = if first.starts_with(MARK) { MARK.len() as u64 } else { 0 };
        file.seek(SeekFrom::Start(start)).with_context(place)?;
        Ok((BufReader::new(file), start))
    }

    /// The first line without its end; empty where there is none.
    ///
    /// # Errors
    /// As [`Self::open`], or where the line is not UTF-8.
    pub fn first_line(&self) -> Result<String> {
        let mut line = Vec::new();
        self.open()?.0.read_until(b'\n', &mut line).with_context(|| format!("cannot read {}", self.name.display()))?;
        let line = self.utf8(line)?;
        Ok(line.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// All bytes of the text, whatever they say.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open()?.0.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", self.name.display()))?;
        Ok(bytes)
    }

    /// The whole text.
    ///
    /// # Errors
    /// As [`Self::open`], or where it is not UTF-8: by line.
    pub fn text(&self) -> Result<String> {
        self.utf8(self.bytes()?)
    }

    /// Bytes that begin with the first line as text.
    ///
    /// # Errors
    /// Where they are not UTF-8: by line.
    pub fn utf8(&self, bytes: Vec<u8>) -> Result<String> {
        String::from_utf8(bytes).map_err(|error| {
            let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
            let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            let from = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let found: Vec<u8> = bytes[from..].iter().copied().take_while(|byte| *byte != b'\n').take(60).collect();
            anyhow::anyhow!(
                "{}:{line}: the line is not UTF-8: {:?}\nhelp: {}",
                self.name.display(),
                String::from_utf8_lossy(&found),
                in_utf8(&self.name, "WINDOWS-1252")
            )
        })
    }
}

/// How to write a text in another encoding anew, as a command for a shell.
pub fn in_utf8(path: &Path, encoding: &str) -> String {
    let name = path.to_string_lossy();
    let (plain, unpack) = [(".gz", "gunzip -c"), (".zst", "zstd -dc")]
        .into_iter()
        .find_map(|(ending, unpack)| Some((name.strip_suffix(ending)?.to_owned(), Some(unpack))))
        .unwrap_or((name.to_string(), None));
    let plain = Path::new(&plain);
    let ending = plain.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    let new = plain.with_file_name(format!("{}-utf8{ending}", plain.file_stem().unwrap_or_default().to_string_lossy()));
    let word = |name: &str| match name.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c)) {
        true => name.to_owned(),
        false => format!("'{}'", name.replace('\'', "'\\''")),
    };
    let (old, new) = (word(&name), word(&new.to_string_lossy()));
    let convert = format!("iconv -f {encoding} -t UTF-8");
    let command = match unpack {
        None => format!("{convert} {old} > {new}"),
        Some(unpack) => format!("{unpack} {old} | {convert} > {new}"),
    };
    format!("write it in UTF-8, as by `{command}`, and name the new file")
}

/// What the first bytes of a file say that it is, other than a text in UTF-8, and what to do about it, or the encoding that it has.
fn no_text(first: &[u8]) -> Option<(&'static str, &'static str)> {
    const UNPACK: &str = "unpack it";
    let begins: [(&[u8], &str, &str); 10] = [
        (b"\xff\xfe\0\0", "in UTF-32", "UTF-32"),
        (b"\0\0\xfe\xff", "in UTF-32", "UTF-32"),
        (b"\xff\xfe", "in UTF-16", "UTF-16"),
        (b"\xfe\xff", "in UTF-16", "UTF-16"),
        (b"\x1f\x8b", "packed with gzip, and its name does not say so", "unpack it, or let its name end in .gz"),
        (b"PK\x03\x04", "a ZIP archive", UNPACK),
        (
            b"\x28\xb5\x2f\xfd",
            "packed with zstd, and its name does not say so",
            "unpack it, or let its name end in .zst",
        ),
        (b"\xfd7zXZ\0", "packed with xz", UNPACK),
        (b"PAR1", "Parquet", "let its name end in .parquet, and read it by `ingest.table`"),
        (
            b"version https://git-lfs.github.com/spec/",
            "a pointer of Git LFS, not the file itself",
            "get the file with `git lfs pull`",
        ),
    ];
    let found = begins.iter().find(|(begin, ..)| first.starts_with(begin)).map(|&(_, found, help)| (found, help));
    let is_text = !first.contains(&0);
    found.or_else(|| {
        (!is_text).then_some((
            "no text: it holds bytes of zero",
            "see that it is the right file; UTF-16 is written as UTF-8 by `iconv -f UTF-16LE -t UTF-8`",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_writes_a_text_anew_names_its_files() {
        for (path, wanted) in [
            ("logs/a.csv", "`iconv -f X -t UTF-8 logs/a.csv > logs/a-utf8.csv`"),
            ("my log.csv.zst", "`zstd -dc 'my log.csv.zst' | iconv -f X -t UTF-8 > 'my log-utf8.csv'`"),
            ("log", "`iconv -f X -t UTF-8 log > log-utf8`"),
        ] {
            let found = in_utf8(Path::new(path), "X");
            assert!(found.contains(wanted), "{found}");
        }
    }

    #[test]
    fn a_mark_is_no_part_of_the_text_and_other_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let file = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            TextFile::copy(&path, Path::new("theirs.csv.gz"))
        };
        for (bytes, start) in [(&b"a,b\r\n1,2\n"[..], 0), (b"\xef\xbb\xbfa,b\r\n1,2\n", 3)] {
            let file = file(bytes);
            assert_eq!(file.open().unwrap().1, start);
            assert_eq!((file.first_line().unwrap(), file.text().unwrap()), ("a,b".into(), "a,b\r\n1,2\n".into()));
        }
        assert_eq!(file(b"").first_line().unwrap(), "");
        for (bytes, wanted) in [
            (
                &b"\xff\xfea\0,\0"[..],
                "theirs.csv.gz is in UTF-16\nhelp: write it in UTF-8, as by `gunzip -c theirs.csv.gz | iconv -f UTF-16 -t",
            ),
            (b"\xfe\xff\0a", "is in UTF-16"),
            (b"\xff\xfe\0\0a\0\0\0", "is in UTF-32"),
            (b"a\0,\0b\0", "is no text: it holds bytes of zero"),
            (b"\x1f\x8b\x08", "is packed with gzip"),
            (b"PK\x03\x04", "is a ZIP archive"),
            (b"PAR1", "is Parquet\nhelp: let its name end in .parquet"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a pointer of Git LFS"),
            (
                b"a\nb\xe9c\nd",
                "theirs.csv.gz:2: the line is not UTF-8: \"b\u{fffd}c\"\nhelp: write it in UTF-8, as by `gunzip -c theirs.csv.gz | iconv -f WINDOWS-1252 -t UTF-8 > theirs-utf8.csv`, and name",
            ),
        ] {
            let error = file(bytes).text().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}\nwanted: {wanted}");
        }
    }
}
