//! What is submitted, and what the queue last said of it: shared by the threads that wait for stages and the one that asks Slurm.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::commands::Queued;
use crate::resources::Resources;

/// A job that is to be submitted.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub ticket: u64,
    pub job: PathBuf,
    pub resources: Resources,
    pub since: Instant,
}

/// What is known of a job from its request on.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticket {
    /// `job_task` in Slurm, once it is submitted.
    pub id: Option<String>,
    /// What the task prints goes here.
    pub log: Option<PathBuf>,
    pub queued: Option<Queued>,
    /// Since when the queue, which answers, does not list it.
    pub gone: Option<Instant>,
    /// Why it cannot be submitted, for now or for good.
    pub refused: Option<String>,
    pub failed: bool,
}

#[derive(Default)]
pub(super) struct Board {
    pub requests: Vec<Request>,
    pub tickets: BTreeMap<u64, Ticket>,
    /// Why the queue could not be read the last time.
    pub silent: Option<String>,
    /// Tasks to be taken from the queue.
    pub unwanted: Vec<String>,
    pub ended: bool,
    next: u64,
}

#[derive(Default)]
pub(super) struct SharedBoard {
    board: Mutex<Board>,
    changed: Condvar,
}

impl SharedBoard {
    pub fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits.
    pub fn tell(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change, or as long.
    pub fn wait(&self, long: Duration) {
        drop(self.changed.wait_timeout(self.lock(), long));
    }

    /// Asks for the submission of a job.
    pub fn request(&self, job: PathBuf, resources: Resources) -> u64 {
        let mut board = self.lock();
        let ticket = board.number();
        board.tickets.insert(ticket, Ticket::default());
        board.requests.push(Request { ticket, job, resources, since: Instant::now() });
        drop(board);
        self.tell();
        ticket
    }

    /// Follows a task that an earlier run submitted.
    pub fn follow(&self, id: String, log: PathBuf) -> u64 {
        let mut board = self.lock();
        let ticket = board.number();
        board.tickets.insert(ticket, Ticket { id: Some(id), log: Some(log), ..Ticket::default() });
        ticket
    }

    /// What is known of a ticket now, and why the queue is silent.
    pub fn ticket(&self, ticket: u64) -> (Ticket, Option<String>) {
        let board = self.lock();
        (board.tickets.get(&ticket).cloned().unwrap_or_default(), board.silent.clone())
    }

    /// Nobody waits for it any more.
    pub fn forget(&self, ticket: u64) {
        let mut board = self.lock();
        board.tickets.remove(&ticket);
        board.requests.retain(|request| request.ticket != ticket);
    }
}

impl Board {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
