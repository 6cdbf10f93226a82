//! The thread that talks to Slurm: ready stages become arrays, and one look at the queue serves all who wait.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::board::{Request, SharedBoard};
use super::commands::{sbatch, scancel, squeue};
use super::profile::Profile;
use super::script::{Array, script};
use crate::resources::Resources;

/// How long the first of several ready stages waits for others to join its array.
const GATHER: Duration = Duration::from_millis(500);
/// How often the clerk looks what there is to do.
const TICK: Duration = Duration::from_millis(100);
/// Tasks of an array, at most: what Slurm takes by default (`MaxArraySize`).
const MOST_TASKS: usize = 1000;
/// How long a refused submission rests, and how long a controller may be away while nothing else is in the queue.
const REST: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_mins(10);

/// Who submits, asks and cancels.
pub(super) struct Clerk {
    pub profile: Profile,
    pub program: PathBuf,
    pub directory: PathBuf,
    pub board: Arc<SharedBoard>,
}

impl Clerk {
    /// Serves until the run is over.
    pub fn serve(&self) {
        let poll = Duration::from_secs(self.profile.poll);
        let (mut asked, mut rest) = (None::<Instant>, None::<Instant>);
        loop {
            self.board.wait(TICK);
            let (requests, unwanted, ended) = self.due(rest);
            if !unwanted.is_empty() {
                // What is gone already cannot be cancelled, and need not.
                let _ = scancel(&unwanted);
            }
            if ended {
                return;
            }
            if !requests.is_empty() {
                rest = self.submit_all(requests).then(|| Instant::now() + REST);
            }
            if asked.is_none_or(|asked| asked.elapsed() >= poll) && self.follows_any() {
                self.look();
                asked = Some(Instant::now());
            }
        }
    }

    /// What is to be done now.
    fn due(&self, rest: Option<Instant>) -> (Vec<Request>, Vec<String>, bool) {
        let mut board = self.board.lock();
        let ready = board.requests.first().is_some_and(|first| first.since.elapsed() >= GATHER);
        let rests = rest.is_some_and(|until| Instant::now() < until);
        let requests = if ready && !rests { std::mem::take(&mut board.requests) } else { Vec::new() };
        (requests, std::mem::take(&mut board.unwanted), board.ended)
    }

    fn follows_any(&self) -> bool {
        self.board.lock().tickets.values().any(|ticket| ticket.id.is_some())
    }

    /// Submits what is ready, in arrays of equal resources. Says whether Slurm refused any for now.
    fn submit_all(&self, requests: Vec<Request>) -> bool {
        let mut equal: BTreeMap<Resources, Vec<Request>> = BTreeMap::new();
        for request in requests {
            equal.entry(request.resources.clone()).or_default().push(request);
        }
        let mut refused = false;
        for (resources, requests) in equal {
            for requests in requests.chunks(MOST_TASKS * self.profile.cells_per_task) {
                let submitted = self.submit(&resources, requests);
                refused |= submitted.is_err();
                self.note(requests, submitted);
            }
        }
        self.board.tell();
        refused
    }

    /// Submits one array; gives the number of the job and the folder of the logs.
    fn submit(&self, resources: &Resources, requests: &[Request]) -> anyhow::Result<(String, PathBuf)> {
        let first = requests.first().context("an array of nothing")?;
        let folder = first.job.with_extension("array");
        fs::create_dir_all(&folder).with_context(|| format!("make the folder `{}`", folder.display()))?;
        let folder = fs::canonicalize(&folder)?;
        let on_nodes = self.on_nodes(&folder);
        let tasks: Vec<_> = requests.chunks(self.profile.cells_per_task).collect();
        let write =
            |path: &Path, text: &str| fs::write(path, text).with_context(|| format!("write `{}`", path.display()));
        for (index, cells) in tasks.iter().enumerate() {
            // Relative to the list, so that it holds wherever the folder is mounted.
            let names = cells.iter().filter_map(|request| request.job.file_name());
            let lines: String = names.map(|name| format!("../{}\n", name.to_string_lossy())).collect();
            write(&folder.join(format!("{}.list", index + 1)), &lines)?;
        }
        let array = Array {
            name: "apprentice",
            folder_on_nodes: &on_nodes,
            tasks: tasks.len(),
            resources,
            directory: &self.directory,
            program: self.profile.program.as_deref().unwrap_or(&self.program),
        };
        let path = folder.join("array.sh");
        write(&path, &script(&array, &self.profile))?;
        Ok((sbatch(&path)?, folder))
    }

    /// Where the nodes see a folder of the results: `<artifacts>/store/runs/<run>/jobs/<folder>`.
    fn on_nodes(&self, folder: &Path) -> PathBuf {
        let root = folder.ancestors().nth(5);
        match (&self.profile.artifacts, root.and_then(|root| folder.strip_prefix(root).ok())) {
            (Some(artifacts), Some(inside)) => artifacts.join(inside),
            _ => folder.to_path_buf(),
        }
    }

    /// Writes down what came of a submission; a refusal is tried again as long as there is hope.
    fn note(&self, requests: &[Request], submitted: anyhow::Result<(String, PathBuf)>) {
        let mut board = self.board.lock();
        match submitted {
            Ok((job, folder)) => {
                for (index, request) in requests.iter().enumerate() {
                    let task = index / self.profile.cells_per_task + 1;
                    if let Some(ticket) = board.tickets.get_mut(&request.ticket) {
                        ticket.id = Some(format!("{job}_{task}"));
                        ticket.log = Some(folder.join(format!("{task}.log")));
                        ticket.refused = None;
                    }
                }
            }
            Err(error) => {
                let text = format!("{error:#}");
                let others = board.tickets.values().any(|ticket| ticket.id.is_some());
                // A limit of the site ends when other tasks do, a restart of the controller by itself.
                let away = ["contact", "timed out", "Connection refused"].iter().any(|word| text.contains(word));
                for request in requests {
                    let again = others || (away && request.since.elapsed() < PATIENCE);
                    if let Some(ticket) = board.tickets.get_mut(&request.ticket) {
                        (ticket.refused, ticket.failed) = (Some(text.clone()), !again);
                        if again {
                            board.requests.push(request.clone());
                        }
                    }
                }
            }
        }
    }

    /// Looks at the queue.
    fn look(&self) {
        let queue = squeue();
        let mut board = self.board.lock();
        match queue {
            Ok(queue) => {
                board.silent = None;
                for ticket in board.tickets.values_mut() {
                    let Some(id) = &ticket.id else { continue };
                    ticket.queued = queue.get(id).cloned();
                    ticket.gone = match ticket.queued {
                        Some(_) => None,
                        None => ticket.gone.or_else(|| Some(Instant::now())),
                    };
                }
            }
            // Nothing is concluded from silence.
            Err(error) => {
                board.silent = Some(format!("{error:#}").lines().next().unwrap_or_default().to_owned());
                board.tickets.values_mut().for_each(|ticket| ticket.gone = None);
            }
        }
        drop(board);
        self.board.tell();
    }
}
