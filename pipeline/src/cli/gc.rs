//! `apprentice gc`: a plan, and under `--apply` what came of it.

use serde_json::{Value, json};

use super::output::{print, print_json, talk};
use super::session::Session;
use super::{args, format};
use crate::exit::Failure;
use crate::maintenance::{self, Class, GcOptions, GcPlan, Item};
use crate::{Cancel, Exit, Interrupted, interrupt};

pub(super) fn gc(session: &Session, args: &args::Gc) -> Result<Exit, Failure> {
    let store = session.store();
    let options = GcOptions { forget: args.forget.clone(), calls: args.calls };
    if let Some(name) = &args.forget {
        known(session, name)?;
    }
    // From before the first look to the last removal nobody may begin to rely on what goes. Looking alone needs nothing, and
    // works on a disk that cannot be written.
    let gc_lock = if args.apply && store.part("").is_dir() { Some(store.alone()?) } else { None };
    let plan = maintenance::gc_plan(&store, &options)?;
    let (mut removed, mut bytes) = (0, 0);
    let mut interrupted = false;
    if let Some(gc_lock) = &gc_lock {
        let cancel = Cancel::default();
        interrupt::listen(&cancel, |heard| talk(&heard.words(None)))
            .map_err(|error| anyhow::Error::new(error).context("listen for Ctrl-C"))?;
        let applied = maintenance::gc_apply(&store, gc_lock, &plan.items, &cancel, &mut |item| {
            (removed, bytes) = (removed + 1, bytes + item.bytes);
        });
        interrupted = applied.as_ref().is_err_and(|error| error.is::<Interrupted>());
        if !interrupted {
            applied?;
        }
    }
    drop(gc_lock);
    let damaged = !plan.unreadable.is_empty();
    if session.global.json {
        print_json(to_json(&plan, args.apply, removed, bytes))?;
    } else {
        print(&to_text(session, &plan, args, (removed, bytes)))?;
        if damaged {
            talk(
                "help: run the experiments again to make damaged results anew, or remove these files; then `gc` can remove results",
            );
        }
    }
    Ok(match (interrupted, damaged) {
        (true, _) => Exit::Interrupted,
        (_, true) => Exit::Damaged,
        _ => Exit::Ok,
    })
}

/// That there is something of the experiment to forget: a misspelt name must not pass for a clean store.
fn known(session: &Session, name: &str) -> Result<(), Failure> {
    let store = session.store();
    let mut names: Vec<_> = crate::record::runs(&store)?.into_iter().map(|run| run.experiment).collect();
    names.sort();
    names.dedup();
    if names.iter().any(|known| known == name) || !store.stages_of(name)?.is_empty() {
        return Ok(());
    }
    let help = match crate::diagnostic::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", if names.is_empty() { "none".into() } else { names.join(", ") }),
    };
    Err(Failure::usage(anyhow::anyhow!("the store knows no experiment `{name}`\nhelp: {help}")))
}

fn to_json(plan: &GcPlan, apply: bool, removed: usize, bytes: u64) -> Value {
    let mut value = serde_json::to_value(plan).expect("a list of files is plain JSON");
    value["bytes"] = plan.items.iter().map(|item| item.bytes).sum::<u64>().into();
    value["applied"] = if apply { json!({ "removed": removed, "bytes": bytes }) } else { Value::Null };
    value
}

fn to_text(session: &Session, plan: &GcPlan, args: &args::Gc, (removed, bytes): (usize, u64)) -> String {
    let mut rows = Vec::new();
    for ((class, why), (count, bytes)) in plan.summary() {
        rows.push(vec![noun(class).to_owned(), count.to_string(), format::bytes(bytes), why.to_owned()]);
    }
    let mut text = format::columns(&rows);
    if session.global.verbose {
        let item = |item: &Item| vec![format::bytes(item.bytes), item.path.display().to_string()];
        text += &format::columns(&plan.items.iter().map(item).collect::<Vec<_>>());
    }
    for path in &plan.unreadable {
        text += &format!(
            "`{}` cannot be read, so what it refers to is unknown: no result and no object is removed\n",
            path.display()
        );
    }
    let stays = &plan.stays;
    let total = plan.items.iter().map(|item| item.bytes).sum();
    text += &match (plan.items.is_empty(), args.apply) {
        (true, _) => "nothing to remove".to_owned(),
        (false, true) => format!("freed {} ({})", format::bytes(bytes), format::count(removed, "item")),
        (false, false) => format!("would free {}", format::bytes(total)),
    };
    text += &format!(
        "; {}, {} ({}) and {} stay for {}\n",
        format::count(stays.results, "result"),
        format::count(stays.objects, "object"),
        format::bytes(stays.bytes),
        format::count(stays.answers, "answer"),
        format::count(stays.runs, "run"),
    );
    if stays.unfinished > 0 {
        text += &format!("{} with unfinished work stay, for a run to resume\n", format::count(stays.unfinished, "key"));
    }
    if args.calls && stays.answers > 0 {
        text += "the answers of language models stay while work is unfinished: only with them it resumes exactly\n";
    }
    if stays.results_of_old_runs > 0 {
        text += &format!(
            "of these, {} ({}) stay for old runs alone: `apprentice runs --prune --keep 1` would forget those\n",
            format::count(stays.results_of_old_runs, "result"),
            format::bytes(stays.bytes_of_old_runs)
        );
    }
    if !plan.items.is_empty() && !args.apply {
        text += "nothing was removed; `--apply` removes it\n";
    }
    text
}

fn noun(class: Class) -> &'static str {
    match class {
        Class::Runs => "runs",
        Class::Views => "views",
        Class::Results => "results",
        Class::Objects => "objects",
        Class::Scratch => "scratch",
        Class::Temporary => "temporary",
        Class::Damaged => "damaged",
        Class::Answers => "answers",
    }
}
