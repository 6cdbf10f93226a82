//! What a worker says while it is at work: one JSON object a line, in a file that the run reads as it grows.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::progress::{Sink, Throttle};

/// At most one word of a bar in this time.
const EVERY: Duration = Duration::from_millis(200);

/// One thing that a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum WorkerEvent {
    /// It is at work.
    Started {
        host: String,
        pid: u32,
    },
    Progress {
        label: String,
        done: u64,
        total: Option<u64>,
        unit: String,
        message: String,
    },
    ProgressEnded {
        label: String,
    },
    Note {
        name: String,
        value: String,
    },
    Warning {
        text: String,
    },
    /// It waits for another run that makes the same result.
    Waiting {
        holder: String,
    },
    /// It stopped because it was asked to; finished units are saved.
    Interrupted,
    /// It failed, and would have ended the program with this code.
    Failed {
        exit: u8,
        text: String,
    },
    /// Its result is in the store.
    Done,
}

/// Writes the events of one worker. What cannot be written is lost: a full disk shows itself when the result is stored.
pub(crate) struct EventWriter {
    file: Mutex<File>,
    throttle: Throttle,
}

impl EventWriter {
    /// Goes on behind what an earlier attempt at the job said.
    pub fn append(path: &Path) -> anyhow::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("write `{}`", path.display()))?;
        // A worker that was killed may have left a part of a line.
        let _ = file.write_all(b"\n");
        Ok(Self { file: Mutex::new(file), throttle: Throttle::new(EVERY) })
    }

    pub fn say(&self, event: &WorkerEvent) {
        let text = serde_json::to_string(event).expect("an event is plain JSON");
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(format!("{text}\n").as_bytes());
    }

    /// Makes what was said visible to other hosts.
    pub fn sync(&self) {
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).sync_data();
    }
}

impl Sink for EventWriter {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str) {
        // The last unit is heard in any case: a short stage would else seem to have done nothing.
        if self.throttle.may(stage, label) || Some(done) == total {
            let (label, unit, message) = (label.to_owned(), unit.to_owned(), message.to_owned());
            self.say(&WorkerEvent::Progress { label, done, total, unit, message });
        }
    }
    fn finished(&self, stage: &str, label: &str) {
        self.throttle.forget(stage, label);
        self.say(&WorkerEvent::ProgressEnded { label: label.to_owned() });
    }
    fn note(&self, _: &str, name: &str, value: &str) {
        self.say(&WorkerEvent::Note { name: name.to_owned(), value: value.to_owned() });
    }
    fn event(&self, event: &Event) {
        match event {
            Event::Warning { text, .. } => self.say(&WorkerEvent::Warning { text: text.clone() }),
            Event::Waiting { holder, .. } => self.say(&WorkerEvent::Waiting { holder: holder.clone() }),
            _ => {}
        }
    }
}

/// Reads the events of a worker as they come.
pub(super) struct EventReader {
    path: PathBuf,
    offset: u64,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl EventReader {
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, rest: Vec::new() }
    }

    /// What was said since the last time. The file is opened anew each time, because only then does a network disk show what others wrote.
    pub fn read(&mut self) -> io::Result<Vec<WorkerEvent>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.offset))?;
        self.offset += file.read_to_end(&mut self.rest)? as u64;
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        Ok(lines.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_once_and_whole_and_a_torn_one_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job.events");
        let mut reader = EventReader::new(path.clone());
        assert_eq!(reader.read().unwrap(), []);
        let writer = EventWriter::append(&path).unwrap();
        writer.note("slow", "rows", "7");
        let note = WorkerEvent::Note { name: "rows".into(), value: "7".into() };
        assert_eq!(reader.read().unwrap(), std::slice::from_ref(&note));
        assert_eq!(reader.read().unwrap(), []);
        let torn = |bytes: &str| OpenOptions::new().append(true).open(&path).unwrap().write_all(bytes.as_bytes());
        torn("{\"event\":\"no").unwrap();
        assert_eq!(reader.read().unwrap(), []);
        let again = EventWriter::append(&path).unwrap();
        again.say(&WorkerEvent::Done);
        assert_eq!(reader.read().unwrap(), [WorkerEvent::Done]);
        assert_eq!(EventReader::new(path).read().unwrap(), [note, WorkerEvent::Done]);
    }
}
