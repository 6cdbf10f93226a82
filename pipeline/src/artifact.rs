//! What one stage writes and a later one reads: one file in the store.

use std::path::Path;

use crate::{IdSpaces, Sizes};

/// A value that can be kept as one file and read back.
///
/// The bytes of `write` must depend on the value alone: no time, host, path or thread count, because a key is made of the
/// digests of its inputs, and equal results must give equal bytes.
pub trait Artifact: Sized + Send {
    /// The noun that names this kind in `inspect`, `plan` and error texts, such as `world`.
    const KIND: &'static str;
    /// The file extension of the readable view, without the dot.
    const EXTENSION: &'static str;
    /// Raised when the file's layout changes; part of every key that reads or writes it.
    const FORMAT: u32;
    /// Whether it names users or items by row number.
    const NUMBERED: bool = false;

    /// Writes the whole value to `path`, which does not exist yet.
    fn write(&self, path: &Path) -> anyhow::Result<()>;
    /// Reads the whole value back; an error names what is wrong with the file.
    fn read(path: &Path) -> anyhow::Result<Self>;

    /// Which ids its row numbers stand for, where the value itself holds the ids.
    fn id_spaces(&self) -> IdSpaces {
        IdSpaces::default()
    }
    /// As [`write`](Self::write), of a value whose row numbers stand for the ids of `spaces`: what is numbered and holds no ids
    /// keeps that in its file.
    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> anyhow::Result<()> {
        let _ = spaces;
        self.write(path)
    }
    /// Which ids the row numbers in a file stand for, from its beginning or end alone.
    fn id_spaces_of(path: &Path) -> anyhow::Result<IdSpaces> {
        let _ = path;
        Ok(IdSpaces::default())
    }
    /// How many users, items and the like a file is of, from its beginning or end alone.
    fn sizes_of(path: &Path) -> anyhow::Result<Sizes> {
        let _ = path;
        Ok(Sizes::default())
    }
}
