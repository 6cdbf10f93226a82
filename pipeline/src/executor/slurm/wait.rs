//! One stage, from its submission to its entry.

use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};

use super::board::{SharedBoard, Ticket};
use super::profile::{OnInterrupt, Profile};
use super::submission::Submission;
use crate::event::Event;
use crate::executor::job::Job;
use crate::executor::job_files::JobFiles;
use crate::executor::outcome::{End, Listener};
use crate::executor::task::Task;
use crate::exit::WorkerFailure;
use crate::store::{Entry, list};
use crate::{Exit, Interrupted};

/// How often a waiting stage looks at the events of its worker.
const LOOK: Duration = Duration::from_millis(250);
/// How often a task may be gone without a result before its stage has failed.
const MOST_LOST: u32 = 3;
/// How often it may be stopped at the end of its time and go on.
const MOST_STOPS: u32 = 100;
/// How long a task that was cancelled may take to save.
const SAVING: Duration = Duration::from_secs(25);

/// A stage that is waited for.
pub(super) struct Wait<'a> {
    task: &'a Task<'a>,
    job: &'a Job,
    profile: &'a Profile,
    board: &'a SharedBoard,
    files: JobFiles,
    listener: Listener<'a>,
    ticket: u64,
    /// Whether an earlier run submitted it.
    taken_up: bool,
    /// What was said of it last.
    said: String,
    marked: bool,
    lost: u32,
    stops: u32,
    done: Option<Instant>,
}

impl<'a> Wait<'a> {
    pub fn new(task: &'a Task<'a>, job: &'a Job, profile: &'a Profile, board: &'a SharedBoard) -> anyhow::Result<Self> {
        let earlier = Submission::of(task.store, job)?;
        let (files, ticket, taken_up) = match earlier {
            Some((submission, files)) => {
                let ticket = board.follow(submission.id, files.log());
                (files, ticket, true)
            }
            None => {
                let files = JobFiles::create(task.store, job)?;
                let ticket = board.request(files.job().to_path_buf(), job.resources.clone());
                (files, ticket, false)
            }
        };
        let listener = Listener::new(task, &files);
        let (said, marked) = (String::new(), taken_up);
        Ok(Self {
            task,
            job,
            profile,
            board,
            files,
            listener,
            ticket,
            taken_up,
            said,
            marked,
            lost: 0,
            stops: 0,
            done: None,
        })
    }

    /// Comes back with the result, or with why there is none.
    pub fn result(mut self) -> anyhow::Result<Entry> {
        let ended = self.ended();
        self.board.forget(self.ticket);
        // A run that leaves its jobs behind finds them by their marks.
        let detached =
            ended.is_err() && self.task.cancel.is_raised() && self.profile.on_interrupt == OnInterrupt::Detach;
        if !detached {
            Submission::forget(self.task.store, &self.job.key);
        }
        ended
    }

    fn ended(&mut self) -> anyhow::Result<Entry> {
        loop {
            let (ticket, silent) = self.board.ticket(self.ticket);
            self.listener.hear();
            if let Some(entry) = self.look(&ticket)? {
                return Ok(entry);
            }
            if self.task.cancel.is_raised() {
                return Err(self.interrupted(&ticket));
            }
            self.show(&ticket, silent.as_deref());
            self.mark(&ticket)?;
            if ticket.failed {
                let why = ticket.refused.unwrap_or_default();
                bail!("it could not be submitted: {why}\nhelp: change the profile or the `resources` of the stage");
            }
            self.board.wait(LOOK);
        }
    }

    /// The result, where there is one; an error where there never will be; nothing while it is worked on, or not seen yet.
    fn look(&mut self, ticket: &Ticket) -> anyhow::Result<Option<Entry>> {
        let visibility = Duration::from_secs(self.profile.visibility);
        let gone = ticket.gone.is_some_and(|since| since.elapsed() >= visibility);
        match &self.listener.end {
            Some(End::Failed(failure)) => return Err(failure.clone().into()),
            Some(End::Done) => {
                let waited = self.done.get_or_insert_with(Instant::now).elapsed();
                let entry = self.stored()?;
                if entry.is_none() && waited >= visibility {
                    bail!(
                        "its worker says that it is done, and the store has had no result of it for {} s\n\
                         help: let the nodes see the store of the run, or raise `visibility` in the profile",
                        waited.as_secs()
                    );
                }
                return Ok(entry);
            }
            _ if ticket.gone.is_none() => return Ok(None),
            _ => {}
        }
        // Gone from the queue, without a last word so far.
        if let Some(entry) = self.stored()? {
            return Ok(Some(entry));
        }
        if gone {
            self.again(ticket)?;
        }
        Ok(None)
    }

    fn stored(&self) -> anyhow::Result<Option<Entry>> {
        // A network disk remembers for a while that a file is not there, until its folder is read anew.
        list(&self.task.store.part("entries"))?;
        self.job.stored(self.task.store)
    }

    /// Submits a task again that went without a result.
    fn again(&mut self, ticket: &Ticket) -> anyhow::Result<()> {
        let id = ticket.id.clone().unwrap_or_default();
        let stopped = self.listener.end == Some(End::Interrupted);
        let (count, most) = if stopped { (&mut self.stops, MOST_STOPS) } else { (&mut self.lost, MOST_LOST) };
        *count += 1;
        let (count, first) = (*count, std::mem::take(&mut self.taken_up));
        if count >= most {
            let what =
                if stopped { "was stopped at the end of its time" } else { "was gone from the queue without a result" };
            let text = format!(
                "its task {what} {count} times, the last time as {id}{}\n\
                 help: finished work is saved; give it more `time` or `memory` in `resources`, and run it again",
                self.files.log_tail()
            );
            return Err(WorkerFailure { exit: Exit::Failed, text }.into());
        }
        if !stopped && !first {
            self.tell(&Event::Warning {
                stage: self.job.id.clone(),
                text: format!(
                    "task {id} of Slurm is gone without a result; it is submitted again{}",
                    self.files.log_tail()
                ),
            });
        }
        self.board.forget(self.ticket);
        self.files = JobFiles::create(self.task.store, self.job)?;
        self.listener = Listener::new(self.task, &self.files);
        self.ticket = self.board.request(self.files.job().to_path_buf(), self.job.resources.clone());
        self.marked = false;
        Ok(())
    }

    /// Leaves the task, as the profile says.
    fn interrupted(&mut self, ticket: &Ticket) -> anyhow::Error {
        let Some(id) = &ticket.id else { return Interrupted.into() };
        if self.profile.on_interrupt == OnInterrupt::Detach {
            self.queued(format!("task {id} of Slurm goes on; the same command takes it up"));
            return Interrupted.into();
        }
        self.board.lock().unwanted.push(id.clone());
        self.board.tell();
        let asked = Instant::now();
        while asked.elapsed() < SAVING && self.listener.end.is_none() {
            let (ticket, _) = self.board.ticket(self.ticket);
            if ticket.gone.is_some() || !ticket.queued.is_some_and(|queued| queued.runs()) {
                break;
            }
            self.board.wait(LOOK);
            self.listener.hear();
        }
        Interrupted.into()
    }

    /// Says why it waits, or where it runs, whenever that changes.
    fn show(&mut self, ticket: &Ticket, silent: Option<&str>) {
        let id = ticket.id.as_deref().unwrap_or_default();
        let why = match (silent, &ticket.queued, &ticket.refused) {
            (_, None, Some(refused)) => {
                format!("Slurm takes no more for now: {}", refused.lines().next().unwrap_or_default())
            }
            (Some(silent), ..) => format!("Slurm does not answer: {silent}"),
            (_, Some(queued), _) if queued.runs() => {
                let node = format!("{}, task {id} of Slurm", queued.node);
                if self.said != node {
                    self.task.sinks.iter().for_each(|sink| sink.note(&self.job.id, "node", &node));
                    self.said = node;
                }
                return;
            }
            (_, Some(queued), _) => match queued.reason.as_str() {
                "" | "None" => format!("task {id} of Slurm is {}", queued.state.to_lowercase()),
                reason => format!("task {id} of Slurm is {} ({reason})", queued.state.to_lowercase()),
            },
            (_, None, None) => return,
        };
        self.queued(why);
    }

    fn queued(&mut self, why: String) {
        if self.said != why {
            self.tell(&Event::Queued { stage: self.job.id.clone(), why: why.clone() });
            self.said = why;
        }
    }

    /// Leaves a mark of the submission for a run that comes after this one.
    fn mark(&mut self, ticket: &Ticket) -> anyhow::Result<()> {
        if let (Some(id), Some(log), false) = (&ticket.id, &ticket.log, self.marked) {
            Submission::note(self.task.store, &self.job.key, id, self.files.job(), log)
                .map_err(|error| anyhow!("note that task {id} of Slurm was submitted: {error:#}"))?;
            self.files = self.files.clone().logging_to(log.clone());
            self.marked = true;
        }
        Ok(())
    }

    fn tell(&self, event: &Event) {
        self.task.sinks.iter().for_each(|sink| sink.event(event));
    }
}
