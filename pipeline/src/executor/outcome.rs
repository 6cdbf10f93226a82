//! What came of a job: what its worker says is passed on, and the entry in the store decides.

use anyhow::bail;

use super::job_files::JobFiles;
use super::task::Task;
use super::worker_event::{EventReader, WorkerEvent};
use crate::event::Event;
use crate::exit::WorkerFailure;
use crate::progress::Sink;
use crate::store::Entry;
use crate::{Exit, Interrupted};

/// The end that a worker told of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Done,
    Interrupted,
    Failed(WorkerFailure),
}

/// Hears a worker for a task.
pub(super) struct Listener<'a> {
    task: &'a Task<'a>,
    reader: EventReader,
    /// The end that it told of; a new attempt at the job takes it back.
    pub end: Option<End>,
}

impl<'a> Listener<'a> {
    pub fn new(task: &'a Task<'a>, files: &JobFiles) -> Self {
        Self { task, reader: EventReader::new(files.events()), end: None }
    }

    /// Passes on what the worker said since the last time.
    pub fn hear(&mut self) {
        let id = &self.task.job.id;
        let each = |tell: &dyn Fn(&dyn Sink)| self.task.sinks.iter().for_each(|sink| tell(&**sink));
        // What cannot be read now is read the next time: it decides nothing.
        for event in self.reader.read().unwrap_or_default() {
            match event {
                WorkerEvent::Started { host, pid } => {
                    self.end = None;
                    each(&|sink| sink.note(id, "worker", &format!("process {pid} on {host}")));
                }
                WorkerEvent::Progress { label, done, total, unit, message } => {
                    each(&|sink| sink.advanced(id, &label, done, total, &unit, &message));
                }
                WorkerEvent::ProgressEnded { label } => each(&|sink| sink.finished(id, &label)),
                WorkerEvent::Note { name, value } => each(&|sink| sink.note(id, &name, &value)),
                WorkerEvent::Warning { text } => {
                    each(&|sink| sink.event(&Event::Warning { stage: id.clone(), text: text.clone() }));
                }
                WorkerEvent::Waiting { holder } => {
                    each(&|sink| sink.event(&Event::Waiting { stage: id.clone(), holder: holder.clone() }));
                }
                WorkerEvent::Done => self.end = Some(End::Done),
                WorkerEvent::Interrupted => self.end = Some(End::Interrupted),
                WorkerEvent::Failed { exit, text } => {
                    self.end = Some(End::Failed(WorkerFailure { exit: Exit::of_code(exit), text }));
                }
            }
        }
    }

    /// The result, or why there is none although the worker has come to an end; `otherwise` is what is known of an end that it did not tell of.
    pub fn result(&self, files: &JobFiles, otherwise: WorkerFailure) -> anyhow::Result<Entry> {
        if let Some(entry) = self.task.job.stored(self.task.store)? {
            return Ok(entry);
        }
        match &self.end {
            Some(End::Failed(failure)) => Err(failure.clone().into()),
            _ if self.task.cancel.is_raised() => Err(Interrupted.into()),
            Some(End::Interrupted) => {
                bail!("its worker was stopped from outside; finished units are saved\nhelp: run it again")
            }
            Some(End::Done) => bail!(
                "its worker says that it is done, and the store has no result of it\n\
                 help: let the workers see the store of the run, on a file system that both share"
            ),
            None => {
                let WorkerFailure { exit, text } = otherwise;
                let (what, help) = text.split_once("\nhelp: ").unwrap_or((&text, "run it again"));
                let text = format!("{what}{}\nhelp: {help}", files.log_tail());
                Err(WorkerFailure { exit, text }.into())
            }
        }
    }
}
