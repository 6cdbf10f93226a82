//! Each stage in a process of its own on this machine: what ends one process, such as a lack of memory, ends one stage.
//!
//! The worker's standard input says whether the run still wants it: a line asks it to stop after the unit at work, and its end, which
//! also comes with a run that is killed, to leave at once. It is in a process group of its own, so that Ctrl-C reaches it through the
//! run alone.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context as _;

use super::job_files::JobFiles;
use super::outcome::Listener;
use super::task::{Executor, Task};
use crate::Exit;
use crate::exit::WorkerFailure;
use crate::store::Entry;

/// How long the run waits between two looks at a worker: little at first, because many stages are short.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(100);

/// Workers on this machine.
pub(crate) struct Process {
    program: PathBuf,
}

impl Process {
    /// # Errors
    /// When this program cannot be found on the disk, to be started again.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { program: std::env::current_exe().context("find this program, to start its workers")? })
    }

    fn start(&self, task: &Task, files: &JobFiles) -> anyhow::Result<Child> {
        let log = File::create(files.log()).with_context(|| format!("write `{}`", files.log().display()))?;
        let mut command = Command::new(&self.program);
        command.arg("work").arg("--attended").args(limits(task)).arg(files.job());
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().with_context(|| format!("start a worker, `{}`", self.program.display()))
    }
}

impl Executor for Process {
    fn execute(&self, task: &Task) -> anyhow::Result<Entry> {
        let files = JobFiles::create(task.store, &task.job)?;
        let mut worker = self.start(task, &files)?;
        let mut listener = Listener::new(task, &files);
        let (mut wait, mut asked) = (SHORTEST, false);
        let status = loop {
            if task.cancel.is_raised() && !asked {
                // A worker that has ended meanwhile needs no request.
                asked = worker.stdin.as_mut().is_some_and(|stdin| stdin.write_all(b"stop\n").is_ok());
            }
            // First whether it has ended, and then what it said: so nothing is missed.
            let ended = worker.try_wait().context("wait for a worker")?;
            listener.hear();
            if let Some(status) = ended {
                break status;
            }
            sleep(wait);
            wait = (wait * 3 / 2).min(LONGEST);
        };
        listener.result(&files, died(status))
    }
}

/// What of the command line a worker must know before it reads its job.
pub(super) fn limits(task: &Task) -> Vec<String> {
    let mut words = vec!["--threads".to_owned(), task.job.threads.to_string()];
    words.extend(task.job.memory.into_iter().flat_map(|bytes| ["--memory".to_owned(), bytes.to_string()]));
    words
}

/// What a worker died of that told of no end.
fn died(status: ExitStatus) -> WorkerFailure {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let saved = "finished work is saved, and the next run resumes from it";
    let failure =
        |exit, what: String, help: &str| WorkerFailure { exit, text: format!("{what}\nhelp: {saved}: {help}") };
    match (signal, status.code()) {
        (Some(9), _) => failure(
            Exit::Failed,
            "its worker was killed (signal 9), by somebody or by a system without memory".into(),
            "run fewer stages at once (`--jobs 1`), or cap their tables with `--memory`",
        ),
        (Some(signal), _) => failure(Exit::Failed, format!("its worker was ended by signal {signal}"), "run it again"),
        (None, Some(code)) if code == Exit::OutOfMemory as i32 => failure(
            Exit::OutOfMemory,
            "its worker ran out of memory".into(),
            "choose smaller settings, raise `--memory` where the machine has more, or use a larger machine",
        ),
        (None, code) => failure(
            Exit::Failed,
            format!("its worker ended with code {} and no result", code.unwrap_or_default()),
            "run it again",
        ),
    }
}
