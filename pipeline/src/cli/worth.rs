//! `apprentice worth`: what the teacher of an experiment is worth, by an experiment of its own.

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::output::{print, print_json};
use super::session::Session;
use super::{args, plan, run};
use crate::exit::Failure;
use crate::report::RunSummary;
use crate::worth::WorthRequest;
use crate::{Exit, record, spec};

pub(super) fn worth(session: &Session, args: &args::Worth) -> Result<Exit, Failure> {
    // The experiment itself must be sound: its faults are shown where they stand in its file.
    session.load(&args.source)?;
    if args.sizes.first() == Some(&0) || !args.sizes.is_sorted_by(|a, b| a < b) {
        let given = args.sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let wanted = "wanted log sizes that rise, from 1, such as `100,1000,10000`";
        return Err(Failure::usage(anyhow!("`--sizes {given}`: {wanted}")));
    }
    let request = WorthRequest {
        draws: args.draws.into(),
        sizes: args.sizes.clone(),
        users: args.users,
        min_item_ratings: args.min_item_ratings,
    };
    let file = &args.source.experiment;
    let document = spec::document_of(file, &args.source.set, session.catalog).map_err(Failure::usage)?;
    let study = (session.catalog.worth.experiment)(&document, &request)
        .with_context(|| format!("`{}`", file.display()))
        .map_err(Failure::usage)?;
    let text = serde_yaml::to_string(&study).context("write the experiment of the study")?;
    if args.print {
        return if session.global.json { print_json(study) } else { print(&text) };
    }
    let name = format!("the study of `{}` (`--print` shows it)", file.display());
    let base = file.parent().map(Into::into).unwrap_or_default();
    let experiment = spec::check(&name, base, text, &[], session.catalog).map_err(Failure::usage)?;
    let experiment = session.on_devices(experiment);
    if args.plan {
        return plan::plan_of(session, &experiment, &[], &[], false);
    }
    let exit = run::run_of(session, &experiment, &[], &[], &args.options)?;
    if exit == Exit::Ok {
        answer(session, &experiment)?;
    }
    Ok(exit)
}

/// Prints the answer of the study that has just been run.
fn answer(session: &Session, experiment: &spec::Experiment) -> Result<(), Failure> {
    let (stage, port) = session.catalog.worth.output;
    let store = session.store();
    let runs = record::runs(&store)?;
    let newest = runs.iter().rfind(|run| run.experiment == experiment.name);
    let newest = newest.ok_or_else(|| anyhow!("no run of `{}` is recorded", experiment.name))?;
    let node = newest.nodes.iter().find(|node| node.stage == stage);
    let key = node.and_then(|node| node.key.as_deref()).ok_or_else(|| anyhow!("the run has no stage `{stage}`"))?;
    let entry = store.entry(key)?.ok_or_else(|| anyhow!("the result of `{stage}` is gone"))?;
    let output = entry.output(port).ok_or_else(|| anyhow!("`{stage}` has no output `{port}`"))?;
    let path = store.view(&experiment.name, stage, output);
    let lines = (session.catalog.worth.answer)(&path, &RunSummary::of(&store, newest)?)?;
    if session.global.json {
        print_json(json!({ "answer": lines, "path": path }))?;
    } else {
        print(&(lines.join("\n") + "\n"))?;
    }
    Ok(())
}
