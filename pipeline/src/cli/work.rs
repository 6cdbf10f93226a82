//! `apprentice work`, which runs start and people need not know.

use std::io::BufRead as _;
use std::thread::Builder;

use anyhow::Context as _;

use super::args::Work;
use super::session::Session;
use crate::exit::Failure;
use crate::{Cancel, Exit, interrupt, out_of_memory, run};

pub(super) fn work(session: &Session, args: &Work) -> Result<Exit, Failure> {
    let cancel = Cancel::default();
    interrupt::listen(&cancel, |heard| eprintln!("{}", heard.words(None))).context("listen for signals")?;
    out_of_memory::explain_aborts().context("listen for the end of memory")?;
    out_of_memory::set_cap(session.global.memory());
    if args.attended {
        obey(&cancel)?;
    }
    let mut exit = Exit::Ok;
    for job in args.jobs.iter().take_while(|_| !cancel.is_raised()) {
        let ended = run::work_on(job, session.catalog, &cancel, session.global.memory())?;
        exit = if exit == Exit::Ok { ended } else { exit };
    }
    Ok(exit)
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
