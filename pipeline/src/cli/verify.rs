//! `apprentice verify`: reads every byte of the store and of the cache of assets.

use std::sync::Arc;

use super::format;
use super::output::{print, print_json};
use super::progress_ui::progress_ui;
use super::session::Session;
use crate::Exit;
use crate::asset::default_cache;
use crate::exit::Failure;
use crate::maintenance::{self, Fault, Verified};
use crate::progress::{Progress, Sink};

pub(super) fn verify(session: &Session) -> Result<Exit, Failure> {
    let progress = Progress::new("verify", [progress_ui(false, session.global.json, false) as Arc<dyn Sink>].into());
    let verified = maintenance::verify(&session.store(), &default_cache(), &progress)?;
    if session.global.json {
        print_json(serde_json::to_value(&verified).expect("what was verified is plain JSON"))?;
    } else {
        print(&to_text(&verified))?;
    }
    Ok(if verified.faults.is_empty() { Exit::Ok } else { Exit::Damaged })
}

fn to_text(verified: &Verified) -> String {
    let mut text: String = verified.faults.iter().map(line).collect();
    let counts = [
        (verified.objects, "object"),
        (verified.results, "result"),
        (verified.answers, "answer"),
        (verified.units, "file of unfinished work"),
        (verified.ledgers, "ledger"),
        (verified.runs, "run"),
        (verified.assets, "asset"),
    ];
    let counted: Vec<_> = counts.iter().filter(|(n, _)| *n > 0).map(|&(n, noun)| counted(n, noun)).collect();
    let counted = if counted.is_empty() { "nothing here yet".into() } else { counted.join(", ") };
    let end = match verified.faults.len() {
        0 => "all intact".into(),
        n if verified.faults.iter().all(|fault| ["run", "memory"].contains(&fault.what)) => {
            format!("{}, none of them in a result", format::count(n, "fault"))
        }
        n => format!("{}; the next run that needs one makes it again", format::count(n, "fault")),
    };
    text += &format!("{counted}: {end}\n");
    text
}

fn counted(n: usize, noun: &str) -> String {
    match noun.split_once(' ') {
        Some((first, rest)) => format!("{} {rest}", format::count(n, first)),
        None => format::count(n, noun),
    }
}

fn line(fault: &Fault) -> String {
    let mut line = fault.text.clone();
    for named in &fault.named_by {
        line += &format!("\n  it is {}.{} of {} (entry {})", named.stage, named.port, named.experiment, named.key);
    }
    line + "\n"
}
