//! `apprentice plan`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::output::{print, print_json, talk};
use super::run_checks::{MOST_JOBS, forced, refuse};
use super::session::Session;
use super::{args, format};
use crate::Exit;
use crate::exit::Failure;
use crate::memory_need::WORTH_SAYING;
use crate::run::{self, MissingPrerequisite, Plan, Project, TimeEstimate, Verdict, select};
use crate::spec::Experiment;

/// Below this many seconds a stage is done before a person has read how long it takes.
const WORTH_A_WORD: f64 = 1.0;

pub(super) fn plan(session: &Session, args: &args::Plan) -> Result<Exit, Failure> {
    let experiment = session.load(&args.source)?;
    plan_of(session, &experiment, &args.stages, &args.force, args.check)
}

/// The plan of these stages of an experiment, of all where none is named.
pub(super) fn plan_of(
    session: &Session,
    experiment: &Experiment,
    stages: &[String],
    force: &[String],
    check: bool,
) -> Result<Exit, Failure> {
    let project = session.project(experiment);
    let chosen = project.with_needs(&select(experiment, stages).map_err(Failure::usage)?);
    let forced = forced(&project, &chosen, force)?;
    let plan = run::plan(&project, &chosen, &forced)?;
    plan.check_ids(&project).map_err(Failure::usage)?;
    let missing = run::missing_prerequisites(&project, &plan);
    let (certain, others): (Vec<_>, Vec<_>) = missing.iter().cloned().partition(|one| one.certain);
    if session.global.json {
        let limits = (session.global.memory(), jobs(session));
        print_json(to_json(&project, &plan, &missing, limits))?;
        if !certain.is_empty() {
            return Ok(Exit::UsageError);
        }
    } else {
        print(&to_text(&project, &plan, (session.global.memory(), jobs(session))))?;
        others.iter().for_each(|one| talk(&format!("warning: {}", one.text())));
        if let Some(failure) = refuse(&certain) {
            return Err(failure);
        }
    }
    Ok(if check && !plan.is_done() { Exit::WorkFound } else { Exit::Ok })
}

/// How many stages a run has at work at once where it is not told.
fn jobs(session: &Session) -> usize {
    session.global.threads().min(MOST_JOBS)
}

fn to_json(project: &Project, plan: &Plan, missing: &[MissingPrerequisite], (cap, jobs): (u64, usize)) -> Value {
    let row = |(&index, verdict): (&usize, &Verdict)| {
        let mut row = json!({ "stage": project.node(index).id, "kind": project.node(index).kind.kind });
        let fields = serde_json::to_value(verdict).expect("a verdict is plain JSON");
        if let (Some(row), Value::Object(fields)) = (row.as_object_mut(), fields) {
            row.extend(fields);
        }
        row["words"] = words(project, plan, index).1.into();
        row["first_cause"] = first_cause(project, plan, index);
        row["estimate"] = plan.estimate(project, index).into();
        row["time"] = json!(plan.time(project, index));
        if let Some(need) = plan.memory(project, index) {
            row["memory"] = json!({ "need": need.total(), "cap": cap, "help": need.help() });
        }
        row
    };
    let stages: Vec<_> = plan.verdicts.iter().map(row).collect();
    let (seconds, unknown) = time_of_all(project, plan);
    let unknown: Vec<_> = unknown.into_iter().map(|index| &project.node(index).id).collect();
    let time = json!({ "seconds": seconds, "unknown": unknown });
    let mut all = json!({ "experiment": project.experiment.name, "stages": stages, "lacks": missing, "time": time });
    if let Some((at_once, need)) = plan.too_much_at_once(project, jobs, cap) {
        let at_once: Vec<_> = at_once.iter().map(|&index| &project.node(index).id).collect();
        all["memory_at_once"] = json!({ "stages": at_once, "need": need, "cap": cap });
    }
    all
}

/// The stage upstream where the need to run begins, with its reason; null where it begins at the stage itself.
pub(super) fn first_cause(project: &Project, plan: &Plan, index: usize) -> Value {
    if let Ok(Some((cause, reason))) = plan.changed_upstream(project, index) {
        return json!({ "stage": project.node(cause).id, "verdict": "hit", "words": reason.to_string() });
    }
    let Some(cause) = plan.first_cause(project, index) else { return Value::Null };
    let (verdict, words) = words(project, plan, cause);
    json!({ "stage": project.node(cause).id, "verdict": verdict, "words": words })
}

fn to_text(project: &Project, plan: &Plan, (cap, jobs): (u64, usize)) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for &index in plan.verdicts.keys() {
        let (short, long) = words(project, plan, index);
        *counts.entry(short).or_default() += 1;
        let estimate = plan.estimate(project, index).map(|estimate| format!("; {estimate}")).unwrap_or_default();
        let memory = plan.memory(project, index).filter(|need| need.total() >= WORTH_SAYING.min(cap));
        let memory = memory.map(|need| format!("; {}", need.words_with_help(cap))).unwrap_or_default();
        let time = plan.time(project, index).filter(|time| time.seconds.max(time.took_seconds) >= WORTH_A_WORD);
        let time = time.map(|time| format!("; {}", took(project, index, &time))).unwrap_or_default();
        rows.push(vec![project.node(index).id.clone(), sentence(short, &long) + &estimate + &time + &memory]);
    }
    let part = |word: &str| {
        let &n = counts.get(word)?;
        Some(match (word, n) {
            ("hit", _) => format::count(n, "hit"),
            ("waits", 2..) => format!("{n} wait"),
            _ => format!("{n} {word}"),
        })
    };
    let counted: Vec<_> = ["hit", "will run", "may run", "cannot run", "waits"].into_iter().filter_map(part).collect();
    let waiting = plan.too_much_at_once(project, jobs, cap).map(|(at_once, need)| {
        let ids: Vec<String> = at_once.iter().map(|&index| project.node(index).id.clone()).collect();
        let [need, cap] = [need, cap].map(format::bytes);
        format!("{} would need {need} at once of at most {cap}: some of them wait for others\n", grouped(&ids))
    });
    format!(
        "{}{}: {}\n{}{}",
        format::columns(&rows),
        format::count(plan.verdicts.len(), "stage"),
        counted.join(", "),
        all_words(project, plan),
        waiting.unwrap_or_default()
    )
}

/// What the nodes that have to run may take together, in seconds, and the nodes of which nothing is known.
fn time_of_all(project: &Project, plan: &Plan) -> (f64, Vec<usize>) {
    let (mut seconds, mut unknown) = (0.0, Vec::new());
    for &index in plan.verdicts.keys().filter(|index| !plan.hits.contains_key(index)) {
        match plan.time(project, index) {
            Some(time) => seconds += time.seconds,
            None => unknown.push(index),
        }
    }
    (seconds, unknown)
}

/// `time: about 12 min 05 s of work, and unknown for 3 stages`.
fn all_words(project: &Project, plan: &Plan) -> String {
    let (seconds, unknown) = time_of_all(project, plan);
    let work = match seconds {
        seconds if seconds < WORTH_A_WORD => "less than a second of work".to_owned(),
        seconds => format!("about {} of work", format::seconds(seconds)),
    };
    match (plan.verdicts.len() - plan.hits.len(), unknown.len()) {
        (0, _) => String::new(),
        (all, unknown) if all == unknown => "time: unknown, for nothing alike ran before\n".to_owned(),
        (_, 0) => format!("time: {work}\n"),
        (_, unknown) => format!("time: {work}, and unknown for {}\n", format::count(unknown, "stage")),
    }
}

/// `took 3 min 20 s before`, `policy@seed=0 took 3 min 20 s`, `about 40.0 s by its rows: world of ml took 4.0 s`.
fn took(project: &Project, index: usize, time: &TimeEstimate) -> String {
    let more = if time.resumed { "more than " } else { "" };
    let seconds = format::seconds(time.took_seconds);
    let (stage, is_here) = (&time.stage, time.experiment == project.experiment.name);
    let said = match is_here {
        true if *stage == project.node(index).id => format!("took {more}{seconds} before"),
        true => format!("{stage} took {more}{seconds}"),
        false => format!("{stage} of {} took {more}{seconds}", time.experiment),
    };
    match time.rows_ratio {
        Some(_) => format!("about {} by its rows: {said}", format::seconds(time.seconds)),
        None => said,
    }
}

/// `hit`, `will run: plus 3 → 4`, `waits for sum, …`.
pub(super) fn sentence(short: &str, long: &str) -> String {
    match (short, long) {
        (_, "") => short.to_owned(),
        ("waits", _) => format!("{short} {long}"),
        _ => format!("{short}: {long}"),
    }
}

/// The verdict in a word, and the reason.
pub(super) fn words(project: &Project, plan: &Plan, index: usize) -> (&'static str, String) {
    match &plan.verdicts[&index] {
        Verdict::Hit { .. } => ("hit", String::new()),
        Verdict::Run { reason, resume, .. } => {
            // What cannot be read about the stages above is left out: the reason itself is known.
            let above = plan.changed_upstream(project, index).ok().flatten();
            let above = above.map(|(cause, why)| format!("; first cause: {}, {why}", project.node(cause).id));
            let resume = resume.map(|resume| format!("; {resume}"));
            ("will run", format!("{reason}{}{}", above.unwrap_or_default(), resume.unwrap_or_default()))
        }
        Verdict::After { on, reason: Some(reason) } => ("will run", format!("{reason}, after {}", grouped(on))),
        Verdict::After { on, reason: None } => {
            let cause = plan.first_cause(project, index).map(|cause| {
                let id = &project.node(cause).id;
                let (short, long) = words(project, plan, cause);
                let link = if on[..] == [id.clone()] { ", which".to_owned() } else { format!("; first cause: {id}") };
                format!("{link} {}", sentence(short, &long))
            });
            ("waits", format!("for {}{}", grouped(on), cause.unwrap_or_default()))
        }
        Verdict::Fetch { asset } if project.assets.lacking(asset).is_some() => {
            ("cannot run", format!("asset {asset} is missing"))
        }
        Verdict::Fetch { asset } => ("may run", format!("asset {asset} is not on this machine and will be fetched")),
    }
}

/// `world, policy ×5`: the cells of a sweep as one.
fn grouped(ids: &[String]) -> String {
    let mut stages: Vec<(&str, usize)> = Vec::new();
    for id in ids {
        let stage = id.split('@').next().unwrap_or(id);
        match stages.iter_mut().find(|(known, _)| *known == stage) {
            Some(known) => known.1 += 1,
            None => stages.push((stage, 1)),
        }
    }
    let word = |(stage, count): (&str, usize)| if count == 1 { stage.to_owned() } else { format!("{stage} ×{count}") };
    stages.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_sweep_are_named_once() {
        let ids = ["world", "policy@seed=0", "policy@seed=1"].map(str::to_owned);
        assert_eq!(grouped(&ids), "world, policy ×2");
    }
}
