//! Event files that TensorBoard reads.
//!
//! A file is a sequence of records (TensorFlow's TFRecord: length, CRC of the length, bytes, CRC of the bytes), each an `Event` message
//! of protocol buffers (`event.proto`, `summary.proto`, `tensor.proto`). Only the few fields that are needed are written here.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::{TrackedRun, TrackedStage, Tracker};
use crate::clock;
use crate::event::RunStatus;

/// `FOLDER/EXPERIMENT/RUN/events.out.tfevents.…`: one file a run.
pub(super) struct TensorBoardTracker {
    folder: PathBuf,
    open: Option<(PathBuf, File)>,
}

impl TensorBoardTracker {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: None }
    }

    fn append(&mut self, events: &[u8]) -> anyhow::Result<()> {
        let (path, file) = self.open.as_mut().context("it was not begun")?;
        file.write_all(events).with_context(|| format!("cannot write `{}`", path.display()))
    }
}

impl Tracker for TensorBoardTracker {
    fn begin(&mut self, run: &TrackedRun, at: Duration) -> anyhow::Result<()> {
        let folder = self.folder.join(&run.experiment).join(&run.id);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        let path = folder.join(format!("events.out.tfevents.{}.{}", at.as_secs(), clock::host()));
        let file = File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        self.open = Some((path, file));
        let mut events = record(&version(at));
        events.extend(record(&text("command", &run.command, at)));
        self.append(&events)
    }

    fn stage(&mut self, stage: &TrackedStage) -> anyhow::Result<()> {
        let mut events = Vec::new();
        let id = &stage.id;
        let rows: String =
            stage.params.iter().map(|(name, value)| format!("| {} | {} |\n", cell(name), cell(value))).collect();
        let table = format!("`{}`, key `{}`\n\n| setting | value |\n|---|---|\n{rows}", stage.kind, stage.key);
        events.extend(record(&text(&format!("{id}/settings"), &table, stage.at)));
        for (name, value) in &stage.metrics {
            events.extend(record(&scalar(&format!("{id}/{name}"), 0, *value, stage.at)));
        }
        for point in &stage.curves {
            events.extend(record(&scalar(&format!("{id}/{}", point.series), point.step, point.value, stage.at)));
        }
        self.append(&events)
    }

    fn end(&mut self, status: RunStatus, pages: &[PathBuf], at: Duration) -> anyhow::Result<Option<String>> {
        let pages: String = pages.iter().map(|page| format!("\n\n`{}`", page.display())).collect();
        self.append(&record(&text("ended", &format!("{}{pages}", status.name()), at)))?;
        let (path, file) = self.open.take().context("it was not begun")?;
        file.sync_all().with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(None)
    }
}

/// A cell of a table in Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Length, CRC of the length, bytes, CRC of the bytes.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), bytes, &masked_crc(bytes)].concat()
}

/// The CRC-32C, rotated and shifted: a file may hold CRCs of its own.
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    (crc.rotate_right(15).wrapping_add(0xa282_ead8)).to_le_bytes()
}

/// The first event of a file.
fn version(at: Duration) -> Vec<u8> {
    [wall_time(at), field(3, b"brain.Event:2")].concat()
}

/// `simple_value` of a tag.
fn scalar(tag: &str, step: u64, value: f64, at: Duration) -> Vec<u8> {
    let value = [field(1, tag.as_bytes()), tagged(2, FIXED32, &(value as f32).to_le_bytes())].concat();
    event(step, &value, at)
}

/// A text in Markdown, for the plugin of texts.
fn text(tag: &str, text: &str, at: Duration) -> Vec<u8> {
    const STRING: u64 = 7;
    let plugin = field(1, &field(1, b"text"));
    let shape = field(2, &number(1, 1));
    let tensor = [number(1, STRING), field(2, &shape), field(8, text.as_bytes())].concat();
    event(0, &[field(1, tag.as_bytes()), field(9, &plugin), field(8, &tensor)].concat(), at)
}

/// `Event { wall_time, step, summary { value } }`.
fn event(step: u64, value: &[u8], at: Duration) -> Vec<u8> {
    [wall_time(at), number(2, step), field(5, &field(1, value))].concat()
}

fn wall_time(at: Duration) -> Vec<u8> {
    tagged(1, FIXED64, &at.as_secs_f64().to_le_bytes())
}

/// Wire types of protocol buffers.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

fn tagged(id: u64, wire: u64, bytes: &[u8]) -> Vec<u8> {
    [&varint(id << 3 | wire)[..], bytes].concat()
}

fn number(id: u64, value: u64) -> Vec<u8> {
    tagged(id, VARINT, &varint(value))
}

fn field(id: u64, bytes: &[u8]) -> Vec<u8> {
    tagged(id, BYTES, &[&varint(bytes.len() as u64)[..], bytes].concat())
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_protocol_buffers() {
        assert_eq!(varint(300), [0xac, 0x02]);
        assert_eq!(number(2, 150), [0x10, 0x96, 0x01]);
        assert_eq!(field(2, b"testing"), b"\x12\x07testing");
        let at = Duration::from_secs(1);
        let value = b"\x0a\x01a\x15\x00\x00\x00\x3f";
        let event = [&b"\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x07\x2a\x0a\x0a\x08"[..], value].concat();
        assert_eq!(scalar("a", 7, 0.5, at), event);
    }

    #[test]
    fn records_carry_masked_checksums() {
        // RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 8a9136aa.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
        let masked = u32::from_le_bytes(masked_crc(&[0; 32]));
        assert_eq!(masked.wrapping_sub(0xa282_ead8).rotate_left(15), 0x8a91_36aa);
        let found = record(b"abc");
        assert_eq!((found.len(), &found[..8], &found[12..15]), (19, &[3, 0, 0, 0, 0, 0, 0, 0][..], &b"abc"[..]));
    }
}
