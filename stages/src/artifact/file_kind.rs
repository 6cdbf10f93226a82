//! What a file is by its first bytes, where its name or its place promised something else.

/// As many first bytes as [`stranger`] looks at.
pub(crate) const START: usize = 64;

/// A file of a kind that was not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stranger {
    /// What it is.
    pub is: &'static str,
    /// What to do with it.
    pub help: &'static str,
}

/// First bytes of kinds of files that are found under other names, what they are, and what to do.
const KINDS: [(&[u8], &str, &str); 19] = [
    (
        b"version https://git-lfs",
        "a Git LFS pointer, which stands for a file that was not fetched",
        "fetch it with `git lfs pull` where it was cloned, or download the file itself",
    ),
    (b"PARE", "a Parquet file with an encrypted footer", "write it again without encryption; no key can be given here"),
    (b"ARROW1", "an Arrow file (also known as Feather)", "write it as Parquet, such as with `to_parquet` of pandas"),
    (b"FEA1", "a file of Feather version 1", "write it as Parquet, or as version 2"),
    (b"\xff\xff\xff\xff", "perhaps an Arrow stream", "write it as Parquet, or as an Arrow file"),
    (b"GGUF", "a GGUF model", "name a file of another kind"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"\x1f\x8b", "packed with gzip", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it first"),
    (b"BZh", "packed with bzip2", "unpack it first"),
    (b"\xfd7zXZ\0", "packed with xz", "unpack it first"),
    (b"\x89HDF", "an HDF5 file", "write it as Parquet"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"SQLite format 3\0", "an SQLite database", "write its table as Parquet or CSV"),
    (b"\x93NUMPY", "an array of NumPy", "write it as Parquet"),
    (b"\x80\x04", "perhaps a pickle of Python", "write it as Parquet, such as with `to_parquet` of pandas"),
    (b"\x80\x05", "perhaps a pickle of Python", "write it as Parquet, such as with `to_parquet` of pandas"),
    (b"<", "perhaps a web page", "see what it says: a download often ends so where it was refused"),
];

/// What a file that begins with `start` is; `None` where nobody knows.
pub(crate) fn stranger(start: &[u8]) -> Option<Stranger> {
    let known = KINDS.iter().find(|(magic, ..)| start.starts_with(magic));
    if let Some(&(_, is, help)) = known {
        return Some(Stranger { is, help });
    }
    let is_text = str::from_utf8(start).map_or_else(|error| error.valid_up_to() + 4 > start.len(), |_| true)
        && !start.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace());
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace())?;
    match first {
        b'{' | b'[' if is_text => Some(Stranger {
            is: "perhaps JSON",
            help: "an editor shows it; a log of one record a line is named .ndjson",
        }),
        _ if is_text => {
            Some(Stranger { is: "text", help: "an editor shows it; a log of separated fields is named .csv or .tsv" })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_first_bytes() {
        let is = |start: &[u8]| stranger(start).map(|found| found.is);
        assert!(is(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n").unwrap().contains("pointer"));
        assert!(is(b"ARROW1\0\0").unwrap().contains("Feather"));
        assert_eq!(is(b"user,item\n1,2\n"), Some("text"));
        assert_eq!(is(b"{\"a\": 1}"), Some("perhaps JSON"));
        assert_eq!(is("u,i\né".as_bytes()[..5].as_ref()), Some("text"), "a letter may be cut in two");
        assert_eq!(is(b"\0\x01\x02"), None);
        assert_eq!(is(b""), None);
    }
}
