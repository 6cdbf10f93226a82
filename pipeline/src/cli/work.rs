//! `apprentice work`, which runs start and people need not know.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;
use std::{env, fs};

use anyhow::Context as _;

use super::args::Work;
use super::output::talk;
use super::session::Session;
use crate::exit::Failure;
use crate::interrupt::Heard;
use crate::{Cancel, Exit, interrupt, out_of_memory, run};

/// How long after a signal it is known which one it was.
const LATEST: Duration = Duration::from_secs(2);

pub(super) fn work(session: &Session, args: &Work) -> Result<Exit, Failure> {
    let cancel = Cancel::default();
    let (tell, heard) = mpsc::channel();
    let hear = move |what: Heard| {
        let _ = tell.send(what);
        talk(&what.words(None));
    };
    interrupt::listen(&cancel, hear).context("listen for signals")?;
    out_of_memory::explain_aborts().context("listen for the end of memory")?;
    out_of_memory::set_cap(session.global.memory());
    if args.attended {
        obey(&cancel)?;
    }
    let jobs = args.list.as_deref().map_or_else(|| Ok(args.jobs.clone()), listed)?;
    let mut exit = Exit::Ok;
    for job in jobs.iter().take_while(|_| !cancel.is_raised()) {
        let ended = run::work_on(job, session.catalog, &cancel, session.global.memory())?;
        exit = if exit == Exit::Ok { ended } else { exit };
    }
    // Which signal it was is told by another thread, a moment after the stage has heard of it.
    if args.requeue && cancel.is_raised() && heard.recv_timeout(LATEST) == Ok(Heard::Interrupt) {
        requeue();
    }
    Ok(exit)
}

/// The jobs in a list.
fn listed(list: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = fs::read_to_string(list).with_context(|| format!("read the list of jobs `{}`", list.display()))?;
    let folder = list.parent().unwrap_or(Path::new("."));
    Ok(text.lines().filter(|line| !line.is_empty()).map(|line| folder.join(line)).collect())
}

/// Goes back into the queue. Where that cannot be, as in a container without Slurm's commands, the run submits the job again.
fn requeue() {
    let variable = |name: &str| env::var(name).ok();
    let task = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
    let Some(id) = task.map(|(job, task)| format!("{job}_{task}")).or_else(|| variable("SLURM_JOB_ID")) else { return };
    match Command::new("scontrol").args(["requeue", &id]).status() {
        Ok(status) if status.success() => {}
        Ok(status) => talk(&format!("`scontrol requeue {id}` refused: {status}; the run submits it again")),
        Err(error) => talk(&format!("`scontrol requeue {id}`: {error}; the run submits it again")),
    }
}

/// Does what whoever started this process asks for on standard input.
fn obey(cancel: &Cancel) -> anyhow::Result<()> {
    let cancel = cancel.clone();
    let listen = move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
            cancel.raise();
        }
        // The run is gone, and nobody waits for the unit at work; what is committed is committed.
        signal_hook::low_level::exit(Exit::Interrupted as i32);
    };
    Builder::new().name("stdin".into()).spawn(listen).map(drop).context("listen to the run")
}
