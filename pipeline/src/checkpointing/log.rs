//! An append-only file of frames.
//!
//! A frame is `length (4 bytes, little-endian) · BLAKE3 of (position, length, payload) (32 bytes) · payload`. The position
//! in the sum keeps a frame from being believed where it was not written.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::SUM;
use crate::failpoints::reached;
use crate::store::sync_parent;

pub(super) const LENGTH: usize = 4;
pub(super) const HEADER: usize = LENGTH + SUM;

/// An append-only, framed file. One writer at a time: the lock of the key sees to that.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    end: u64,
}

impl Log {
    /// Opens or creates the log at `path` and gives every whole frame in it, oldest first.
    ///
    /// What follows the last whole frame (a torn write, or anything after a damaged frame) is cut off: it was never
    /// confirmed by [`Log::append`], or cannot be trusted any more, and its units are done again.
    ///
    /// # Errors
    /// When the file cannot be opened, read or cut.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Vec<Vec<u8>>)> {
        let wanted = || format!("open the log `{}`", path.display());
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).with_context(wanted)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(wanted)?;
        let mut frames = Vec::new();
        let mut end = 0;
        while let Some(payload) = frame_at(0, &bytes, end) {
            end += HEADER + payload.len();
            frames.push(payload.to_vec());
        }
        let mut log = Self { file, path: path.to_path_buf(), end: end as u64 };
        if end < bytes.len() {
            log.cut().with_context(|| format!("cut the damaged end of the log `{}`", path.display()))?;
        }
        log.file.seek(SeekFrom::Start(log.end)).with_context(wanted)?;
        sync_parent(path).with_context(wanted)?;
        Ok((log, frames))
    }

    /// Appends one frame; when it returns, the frame survives a kill and a power cut.
    ///
    /// # Errors
    /// When the disk refuses (the log is then as before), or the payload is over 4 GiB.
    pub fn append(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let frame = frame(self.end, payload)?;
        let written = self.file.write_all(&frame).and_then(|()| {
            reached("written", &self.path);
            self.file.sync_data()
        });
        if let Err(error) = written {
            // A later append must not land behind half a frame: everything after that would be lost on the next open.
            let _ = self.cut();
            return Err(error).with_context(|| format!("append to the log `{}`", self.path.display()));
        }
        self.end += frame.len() as u64;
        reached("synced", &self.path);
        Ok(())
    }

    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.sync_data()
    }
}

/// Where the bytes of a file that begins like a log hold a frame of full length that is not what was written. A tail that a
/// kill tore is no damage.
pub(crate) fn damaged_frame(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    while let Some(payload) = frame_at(0, bytes, end) {
        end += HEADER + payload.len();
    }
    let length = bytes.get(end..end + LENGTH).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes)?;
    let is_there = (end + HEADER).checked_add(length as usize).is_some_and(|frame_end| frame_end <= bytes.len());
    // Without one whole frame nobody can tell that it is a log.
    (end > 0 && is_there).then_some(end)
}

fn sum(position: u64, payload: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&position.to_le_bytes());
    hasher.update(&(payload.len() as u32).to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// A payload with what makes it a frame at that place in the file.
pub(super) fn frame(position: u64, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
    ensure!(u32::try_from(payload.len()).is_ok(), "a frame holds at most 4 GiB, found {} bytes", payload.len());
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(sum(position, payload).as_bytes());
    frame.extend(payload);
    Ok(frame)
}

/// The payload of the whole frame at `start` of bytes that begin at `base` in the file.
pub(super) fn frame_at(base: u64, bytes: &[u8], start: usize) -> Option<&[u8]> {
    let header = bytes.get(start..start + HEADER)?;
    let length = u32::from_le_bytes(header[..LENGTH].try_into().ok()?) as usize;
    let payload = bytes.get(start + HEADER..(start + HEADER).checked_add(length)?)?;
    let stored = blake3::Hash::from_bytes(header[LENGTH..].try_into().ok()?);
    (stored == sum(base + start as u64, payload)).then_some(payload)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FRAMES: [&[u8]; 3] = [b"first", b"", b"third, and longer than the others"];

    fn written(path: &Path) -> Vec<u8> {
        let (mut log, _) = Log::open(path).unwrap();
        for frame in FRAMES {
            log.append(frame).unwrap();
        }
        fs::read(path).unwrap()
    }

    /// How many frames end at or before `length` bytes.
    fn whole(length: usize) -> usize {
        let mut end = 0;
        FRAMES
            .iter()
            .take_while(|frame| {
                end += HEADER + frame.len();
                end <= length
            })
            .count()
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_and_the_log_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let bytes = written(&path);
        for length in 0..=bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let (mut log, frames) = Log::open(&path).unwrap();
            assert_eq!(frames, FRAMES[..whole(length)], "torn at byte {length}");
            assert_eq!(damaged_frame(&bytes[..length]), None, "torn at byte {length}");
            log.append(b"more").unwrap();
            let (_, frames) = Log::open(&path).unwrap();
            assert_eq!(frames.last().unwrap(), b"more");
            assert_eq!(frames.len(), whole(length) + 1);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_ends_the_log_before_its_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let bytes = written(&path);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let (_, frames) = Log::open(&path).unwrap();
            assert_eq!(frames, FRAMES[..whole(at)], "bit flipped in byte {at}");
            // A frame whose length is spoilt may seem to be torn, and a log without its first frame to be anything.
            if at > 2 * HEADER + FRAMES[0].len() + LENGTH {
                assert_eq!(damaged_frame(&damaged), Some(2 * HEADER + FRAMES[0].len()), "bit flipped in byte {at}");
            }
        }
    }

    #[test]
    fn a_frame_is_not_believed_at_another_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let bytes = written(&path);
        let first = &bytes[..HEADER + FRAMES[0].len()];
        fs::write(&path, [first, first].concat()).unwrap();
        assert_eq!(Log::open(&path).unwrap().1, FRAMES[..1]);
    }
}
