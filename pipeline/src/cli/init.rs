//! `apprentice init`: a commented experiment to start from, by itself or for a log.

use std::sync::Arc;

use serde_json::json;

use super::args;
use super::output::{print_json, talk};
use super::progress_ui::progress_ui;
use super::session::Session;
use crate::exit::{Exit, Failure};
use crate::log_experiment::{LogExperiment, LogFiles};
use crate::progress::{Progress, Sink};
use crate::spec;

pub(super) fn init(session: &Session, args: &args::Init) -> Result<Exit, Failure> {
    let path = args.path.display();
    let Some(log) = &args.log else {
        spec::write_template(&args.path, session.catalog.template).map_err(Failure::usage)?;
        talk(&format!("wrote `{path}`; run it with `apprentice run {path}`"));
        return if session.global.json { print_json(json!({ "path": args.path })) } else { Ok(Exit::Ok) };
    };
    // A log may take a while to read: what would be refused is refused before.
    let name = spec::new_experiment(&args.path).map_err(Failure::usage)?;
    let parent = args.path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let request = LogFiles {
        folder: parent.unwrap_or(".".as_ref()).to_path_buf(),
        log: log.clone(),
        items: args.items.clone(),
        users: args.users.clone(),
        columns: args.columns.clone(),
    };
    let progress = Progress::new("init", [progress_ui(false, session.global.json, false) as Arc<dyn Sink>].into());
    let LogExperiment { text, findings, details } =
        (session.catalog.log_experiment)(&request, &progress).map_err(Failure::usage)?;
    spec::write_log_experiment(&args.path, &name, &text).map_err(Failure::usage)?;
    if session.global.json {
        return print_json(json!({ "path": args.path, "findings": details }));
    }
    let width = findings.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, sentence) in &findings {
        talk(&format!("{name:width$}  {sentence}"));
    }
    talk(&format!("wrote `{path}`: see the choices beside its lines, then run it with `apprentice run {path}`"));
    Ok(Exit::Ok)
}
