//! `apprentice verify`: reads every byte of the store.

use serde_json::json;

use super::screen::screen;
use super::session::Session;
use super::{format, print, print_json};
use crate::Exit;
use crate::exit::Failure;
use crate::progress::Progress;

pub(super) fn verify(session: &Session) -> Result<Exit, Failure> {
    let store = session.store();
    let digests = store.objects()?;
    let progress = Progress::new("verify", [screen(false, session.global.json, false)].into());
    let bar = progress.bar("objects", Some(digests.len() as u64), "objects");
    let mut faults = Vec::new();
    for digest in &digests {
        if let Err(damage) = store.check_object(digest)? {
            faults.push(damage.to_string());
        }
        bar.inc(1);
    }
    drop(bar);
    let (entries, damaged) = store.entries()?;
    faults.extend(damaged.iter().map(|path| format!("the entry `{}` is damaged", path.display())));
    for entry in &entries {
        for output in entry.outputs.iter().filter(|output| !digests.contains(&output.digest)) {
            let (stage, port) = (&entry.made.stage, &output.port);
            faults.push(format!("the object {} is lost ({stage}.{port} of {})", output.digest, entry.made.experiment));
        }
    }
    if session.global.json {
        print_json(json!({ "objects": digests.len(), "entries": entries.len(), "faults": faults }))?;
    } else {
        let lines: String = faults.iter().map(|fault| format!("{fault}\n")).collect();
        let counted = format!("{}, {}", format::count(digests.len(), "object"), format::count(entries.len(), "result"));
        let end = match faults.len() {
            0 => "all whole".into(),
            n => format!("{}; the next run that needs one makes it again", format::count(n, "fault")),
        };
        print(&format!("{lines}{counted}: {end}\n"))?;
    }
    Ok(if faults.is_empty() { Exit::Ok } else { Exit::Damaged })
}
