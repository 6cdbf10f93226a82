//! The log of what was shown: answers leave their items here and do not wait; a thread of its own writes them down.
//!
//! What waits for the thread is bounded by its rows. Where more comes, and where the disk takes no file for long, rows are lost: that is
//! counted, and said once on the terminal with its cause. A kill loses the rows since the last file.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context as _, anyhow};

use super::answered::Answered;
use super::impression_rows::{Answers, Mixture};
use super::metrics::Metrics;
use super::options::{Limits, LogOptions};
use super::part_files::{PartFiles, Written};
use super::policies::Loaded;
use crate::impressions::EncodeImpressions;
use crate::recommend::{Explore, RecommendQuery};
use crate::{UsageError, clock};

/// Rows that may wait for the thread.
const QUEUE: usize = 1 << 17;
/// Requests that the thread takes at once: the other policies answer the questions of all of them together.
const AT_ONCE: usize = 256;

/// Where answers leave what they showed.
pub(super) struct ImpressionLog {
    messages: Sender<Message>,
    /// Rows that wait for the thread.
    queued: Arc<AtomicUsize>,
    explore: Option<Explore>,
    metrics: Arc<Metrics>,
    tell: fn(&str),
    told: AtomicBool,
    /// What makes names of answers and draws unlike those of other services and days.
    salt: u64,
    named: AtomicU64,
}

enum Message {
    Shown(Answers),
    Stop,
}

impl ImpressionLog {
    /// Starts the thread. `asked` is what every policy is asked, and the shares of all.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn start(
        options: LogOptions,
        asked: (Limits, Vec<f64>),
        encode: EncodeImpressions,
        metrics: &Arc<Metrics>,
        tell: fn(&str),
    ) -> anyhow::Result<(Self, JoinHandle<()>)> {
        let LogOptions { folder, rows, age, explore } = options;
        let salt = RandomState::new().build_hasher().finish();
        let files = PartFiles::open(&folder, rows, age, &format!("{salt:016x}"), encode).map_err(|error| {
            let folder = folder.display();
            anyhow!(UsageError(format!(
                "cannot write a log to `{folder}`: {error:#}\nhelp: name a folder of a disk with space, which may be new"
            )))
        })?;
        let (messages, received) = channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let (limits, shares) = asked;
        let mixture = Mixture { limits, shares, explore };
        let writer = Writer { files, folder, mixture, queued: queued.clone(), metrics: metrics.clone(), tell };
        let thread = Builder::new().name("log".to_owned()).spawn(move || writer.run(&received));
        let thread = thread.context("start the thread that writes the log")?;
        let (told, named) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok((Self { messages, queued, explore, metrics: metrics.clone(), tell, told, salt, named }, thread))
    }

    /// How the first item of an answer is drawn.
    pub fn explore(&self) -> Option<Explore> {
        self.explore
    }

    /// The name of the next answer; also decides what is drawn for its question.
    pub fn name(&self, query: &mut RecommendQuery) -> String {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:016x}-{number}", self.salt);
        let bytes = blake3::hash(name.as_bytes());
        let bits = u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("a digest has 32 bytes"));
        query.draw = (bits >> 11) as f64 / (1_u64 << 53) as f64;
        name
    }

    /// Takes in what answers show, if there is room.
    pub fn offer(&self, versions: Vec<Arc<Loaded>>, answered: Vec<Answered>) {
        let answers = Answers { time: clock::now().as_micros() as i64, versions, answered };
        let rows = answers.rows();
        let full = self.queued.fetch_add(rows, Ordering::Relaxed) + rows > QUEUE;
        if full || self.messages.send(Message::Shown(answers)).is_err() {
            self.queued.fetch_sub(rows, Ordering::Relaxed);
            self.metrics.lost(rows);
            if !self.told.swap(true, Ordering::Relaxed) {
                (self.tell)(
                    "warning: more is shown than can be written to the log; answers go on, and apprentice_lost_impressions_total counts \
                     what is lost\nhelp: answer on fewer `--threads`, or with fewer policies, or on a machine with more cores",
                );
            }
        }
    }

    /// Ends the thread after what waits for it.
    pub fn stop(&self) {
        // Where the thread has ended already there is nothing to stop.
        let _ = self.messages.send(Message::Stop);
    }
}

/// The thread.
struct Writer {
    files: PartFiles,
    folder: PathBuf,
    mixture: Mixture,
    queued: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    tell: fn(&str),
}

impl Writer {
    fn run(mut self, received: &Receiver<Message>) {
        loop {
            let mut stop = false;
            let mut shown = Vec::new();
            match received.recv_timeout(self.files.rest()) {
                Ok(message) => {
                    for message in std::iter::once(message).chain(received.try_iter().take(AT_ONCE - 1)) {
                        match message {
                            Message::Shown(answers) => shown.push(answers),
                            Message::Stop => stop = true,
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => stop = true,
            }
            let rows: usize = shown.iter().map(Answers::rows).sum();
            let lost = self.files.push(self.mixture.impressions(shown));
            self.queued.fetch_sub(rows, Ordering::Relaxed);
            self.metrics.lost(lost);
            if stop {
                return self.finish();
            }
            while self.written(PartFiles::write_if_due) {}
        }
    }

    /// Writes all that waits.
    fn finish(&mut self) {
        while self.written(PartFiles::write) {}
        let lost = self.files.give_up();
        if lost > 0 {
            self.metrics.lost(lost);
            (self.tell)(&format!("warning: {lost} rows of the log could not be written and are lost"));
        }
    }

    /// Writes a file, and says what came of it; whether there may be another.
    fn written(&mut self, write: fn(&mut PartFiles) -> Written) -> bool {
        let written = write(&mut self.files);
        let (folder, more) = (self.folder.display(), matches!(written, Written::Rows(..)));
        match written {
            Written::Nothing => {}
            Written::Rows(rows, failed) => {
                self.metrics.logged(rows);
                if let Some(lost) = failed {
                    (self.tell)(&format!("the log in `{folder}` is written again; {lost} rows were lost"));
                }
            }
            Written::Failed(error) => (self.tell)(&format!(
                "warning: cannot write the log in `{folder}`: {error}; answers go on, rows wait for space, and \
                 apprentice_lost_impressions_total counts those that find no room\nhelp: make space on the disk; it is tried again every \
                 two seconds"
            )),
        }
        more
    }
}
