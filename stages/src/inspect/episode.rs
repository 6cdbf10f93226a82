//! One episode as a conversation: prompts, candidates, the choice of the model and the reward.
//!
//! The titles come from the catalogue and the prompts from the calls that lie beside the demonstrations; without them
//! the items are numbers and only the choices are shown. Of evaluated episodes `rollouts` holds one row each, `steps` each step.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pipeline::inspect::{RelatedFile, Request};
use pipeline::{Artifact, UsageError};
use serde::Serialize;
use serde_json::Value;

use super::escape::{self, write_json};
use super::opened::Opened;
use super::revised::{Revised, revisions};
use super::role_calls::{RoleCall, TurnRoleCalls, role_calls};
use super::selection::{Draw, Selection};
use super::source::Source;
use super::table;
use super::text_output::{TextOutput, counted, output_style};
use super::value::{CellValue, Length};
use crate::artifact::{
    Call, Calls, Demonstrations, EpisodeSteps, Items, LlmUsage, Revisions, Rollouts, Steps, TitledEpisode, Trajectory,
    catch_panics,
};

/// The key of the schema's metadata that holds the kind of an artifact.
const KIND: &str = "apprentice";
/// Characters of one text of the conversation.
const TEXT: usize = 2000;

/// Writes one episode of a file of demonstrations or rollouts.
///
/// # Errors
/// [`UsageError`] where the file holds no episodes, or not so many; else when a file cannot be read.
pub(super) fn show(path: &Path, opened: Opened, index: usize, request: &Request, out: &mut dyn Write) -> Result<()> {
    let Opened::Table(source) = &opened else { return Err(no_episodes()) };
    let kind = source.schema().metadata().get(KIND).and_then(|kind| kind.split_once('/')).map(|(kind, _)| kind);
    match kind {
        Some(Demonstrations::KIND) => demonstrated(path, index, request, out),
        // The calls of an episode are told with it.
        Some(Calls::KIND) => {
            let told = related(request, Demonstrations::KIND).ok_or_else(no_episodes)?;
            let mut request = request.clone();
            request.related.insert(0, RelatedFile { kind: Calls::KIND.into(), path: path.to_owned() });
            demonstrated(told, index, &request, out)
        }
        Some(Steps::KIND) => {
            let steps = evaluated_steps(path)?;
            let count = counted(steps.len() as u64, "episode");
            let wrong = || UsageError(format!("it has no episode {index}; it has {count}, the first is 0"));
            let played = steps.get(index).ok_or_else(wrong)?;
            write(&conversation(&played.trajectory(), Some(played), index, request)?, request, out)
        }
        Some(Rollouts::KIND) => row(source, index, request, out),
        _ => Err(no_episodes()),
    }
}

/// Writes one episode of a file of demonstrations.
fn demonstrated(path: &Path, index: usize, request: &Request, out: &mut dyn Write) -> Result<()> {
    let trajectory = catch_panics(|| Demonstrations::one(path, index).map_err(|error| format!("{error:#}")));
    let trajectory = trajectory.map_err(|error| super::damaged("its episodes cannot be read", error))?;
    let Some(trajectory) = trajectory else {
        let all = catch_panics(|| Demonstrations::read(path).map_err(|error| format!("{error:#}")));
        let all = all.map_err(|error| super::damaged("its episodes cannot be read", error))?;
        let count = counted(all.trajectories.len() as u64, "episode");
        bail!(UsageError(format!("it has no episode {index}; it has {count}, the first is 0")));
    };
    write(&conversation(&trajectory, None, index, request)?, request, out)
}

/// The steps of evaluated episodes.
fn evaluated_steps(path: &Path) -> Result<Vec<EpisodeSteps>> {
    let steps = catch_panics(|| Steps::read(path).map_err(|error| format!("{error:#}")));
    Ok(steps.map_err(|error| super::damaged("its episodes cannot be read", error))?.0)
}

fn no_episodes() -> anyhow::Error {
    UsageError("it holds no episodes\nhelp: demonstrations, the calls behind them, rollouts and steps do".into()).into()
}

/// A turn of the conversation, ready to tell.
#[derive(Debug, Serialize)]
struct Turn {
    step: usize,
    /// What was added to the context since the last turn.
    messages: Vec<String>,
    /// Calls of other roles in this turn.
    role_calls: TurnRoleCalls,
    /// The words that its choice completes.
    cue: Option<String>,
    /// What was proposed in its place, where the episode was recycled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    revisions: Vec<Revised>,
    candidates: Vec<Candidate>,
    /// The answer as it came, where the calls are known.
    answer: Option<Value>,
    chosen: String,
    /// From 1; absent where the choice is none of the candidates.
    place: Option<usize>,
    reward: f64,
}

#[derive(Debug, Serialize)]
struct Candidate {
    title: String,
    /// Higher is better; absent where the model gives none.
    score: Option<f32>,
}

#[derive(Debug, Serialize)]
struct Conversation {
    episode: usize,
    /// The row of the table whose episode this is; absent where it was not evaluated.
    policy: Option<String>,
    /// Its seed or the like; empty where there is only one.
    cell: Option<String>,
    user: u32,
    #[serde(rename = "return")]
    total: f64,
    /// `similar`, `low_reward`, `category`, `stopped` or `horizon`.
    end: &'static str,
    /// Whether the user left, as against being cut off at the horizon.
    terminal: bool,
    model: Option<String>,
    turns: Vec<Turn>,
    /// Calls of other roles at the end.
    last: Vec<RoleCall>,
}

/// An episode in words; of a judged one `played` says whose it is.
fn conversation(
    trajectory: &Trajectory,
    played: Option<&EpisodeSteps>,
    index: usize,
    request: &Request,
) -> Result<Conversation> {
    let items = related(request, Items::KIND).map(Items::read).transpose().context("read the catalogue")?;
    let keys: BTreeSet<&str> = trajectory.steps.iter().map(|step| step.call.as_str()).collect();
    let told_by = related(request, Calls::KIND);
    let calls = told_by.map(|path| Calls::with_keys(path, &keys)).transpose();
    let calls = calls.context("read the calls")?.unwrap_or_default().0;
    // An evaluated policy may be no language model, and its episodes are not those of the stage that called one.
    let usage = related(request, LlmUsage::KIND).filter(|_| played.is_none());
    let (mut role_calls, last) = role_calls(trajectory, index, told_by, usage)?;
    let recycled = related(request, Revisions::KIND).filter(|_| played.is_none());
    let mut revisions = revisions(recycled, trajectory, index, items.as_ref())?;
    let calls: BTreeMap<&str, &Call> = calls.iter().map(|call| (call.key.as_str(), call)).collect();
    Ok(Conversation {
        episode: index,
        policy: played.map(|played| played.policy.clone()),
        cell: played.map(|played| played.cell.clone()),
        user: trajectory.user,
        total: trajectory.total(),
        end: trajectory.end.name(),
        terminal: trajectory.end.terminal(),
        model: calls.values().next().map(|call| call.model.clone()),
        turns: turns(trajectory, items.as_ref(), &calls, &mut role_calls, &mut revisions),
        last,
    })
}

fn write(told: &Conversation, request: &Request, out: &mut dyn Write) -> Result<()> {
    match output_style(request.format)? {
        Some(output_style) => {
            let mut page = TextOutput::new(output_style);
            tell(&mut page, told);
            Ok(out.write_all(page.text.as_bytes())?)
        }
        None => write_json(told, out),
    }
}

fn related<'a>(request: &'a Request, kind: &str) -> Option<&'a Path> {
    request.related.iter().find(|file: &&RelatedFile| file.kind == kind).map(|file| file.path.as_path())
}

fn turns(
    trajectory: &Trajectory,
    items: Option<&Items>,
    calls: &BTreeMap<&str, &Call>,
    role_calls: &mut [TurnRoleCalls],
    revisions: &mut [Vec<Revised>],
) -> Vec<Turn> {
    let mut before: Vec<String> = Vec::new();
    let steps = TitledEpisode::of(trajectory, items).steps.into_iter().zip(&trajectory.steps);
    let turn = |(number, (titled, step)): (usize, (crate::artifact::TitledStep, &crate::artifact::Step))| {
        let call = calls.get(step.call.as_str());
        let request: Option<Value> = call.and_then(|call| serde_json::from_str(&call.request).ok());
        let texts = request.as_ref().and_then(|request| request["context"].as_array()).into_iter().flatten();
        let context: Vec<String> = texts.filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect();
        // The conversation only grows, but for the window that moves on: what is still there was told already.
        let messages = context.iter().filter(|text| !before.contains(text)).cloned().collect();
        before = context;
        let scores = step.scores.iter().map(|&score| Some(score)).chain(std::iter::repeat(None));
        Turn {
            step: number,
            messages,
            role_calls: std::mem::take(&mut role_calls[number]),
            revisions: std::mem::take(&mut revisions[number]),
            cue: request.as_ref().and_then(|request| request["cue"].as_str().map(ToOwned::to_owned)),
            candidates: titled
                .candidates
                .into_iter()
                .zip(scores)
                .map(|(title, score)| Candidate { title, score })
                .collect(),
            answer: call.map(|call| serde_json::from_str(&call.told()).unwrap_or_else(|_| call.told().into())),
            chosen: titled.title,
            place: titled.place,
            reward: titled.reward,
        }
    };
    steps.enumerate().map(turn).collect()
}

fn tell(page: &mut TextOutput, told: &Conversation) {
    let safe = |text: &str| escape::shown(text.trim_end(), TEXT);
    let end = match told.end {
        "similar" => "the user left: too similar",
        "low_reward" => "the user left: low reward",
        "category" => "the user left: too much of a category",
        "stopped" => "the user left",
        _ => "reached the horizon",
    };
    let steps = counted(told.turns.len() as u64, "step");
    let whose = told.policy.as_ref().map_or(String::new(), |policy| {
        let cell = told.cell.as_ref().filter(|cell| !cell.is_empty());
        format!(" of {}{}", safe(policy), cell.map_or(String::new(), |cell| format!(" ({})", safe(cell))))
    });
    let (episode, user, total) = (told.episode, told.user, told.total);
    page.title(&format!("episode {episode}{whose}: user {user}, {steps}, return {total:.2}, {end}"));
    if let Some(model) = &told.model {
        page.line(&format!("the model is {}", safe(model)));
    }
    // An evaluated policy may be no language model.
    let speaker = if told.policy.is_some() { "policy" } else { "model" };
    for turn in &told.turns {
        page.heading(&format!("step {}", turn.step));
        // What the planner was told comes before its thought, and the thought is then told to the actor.
        let mut unread: Vec<&String> = turn.messages.iter().collect();
        for role_call in &turn.role_calls.before {
            let (read, rest) = unread.into_iter().partition(|text| role_call.context.contains(text));
            unread = rest;
            transcript_lines(page, read);
            asked(page, role_call);
        }
        transcript_lines(page, unread);
        for (place, candidate) in turn.candidates.iter().enumerate() {
            let mark = if turn.place == Some(place + 1) { "→" } else { " " };
            let score = candidate.score.map_or(String::new(), |score| format!("  ({score:.3})"));
            page.line(&format!("  offer {mark}{:>2}. {}{score}", place + 1, safe(&candidate.title)));
        }
        let cue = turn.cue.as_ref().map_or(String::new(), |cue| format!("{} ", safe(cue)));
        // Scores stand beside the offers; words are the model's own.
        let words = turn.answer.as_ref().and_then(words);
        let said =
            words.map_or_else(|| vec![format!("{cue}{}", safe(&turn.chosen))], |text| text.lines().map(safe).collect());
        for (number, line) in said.iter().enumerate() {
            page.line(&format!("  {:<6} {line}", if number == 0 { speaker } else { "" }));
        }
        for revised in &turn.revisions {
            page.line(&format!("  revise {}", safe(&revised.words())));
        }
        page.line(&format!("  world  {}: {:.2}", safe(&turn.chosen), turn.reward));
        turn.role_calls.after.iter().for_each(|role_call| asked(page, role_call));
    }
    if !told.last.is_empty() {
        page.heading("at the end");
        told.last.iter().for_each(|role_call| asked(page, role_call));
    }
}

fn transcript_lines(page: &mut TextOutput, texts: Vec<&String>) {
    let lines = texts.into_iter().flat_map(|text| text.lines());
    lines.for_each(|line| page.line(&format!("  user   {}", escape::shown(line.trim_end(), TEXT))));
}

/// A question beside the recommendations, and its answer.
fn asked(page: &mut TextOutput, role_call: &RoleCall) {
    page.line(&format!("  prompt {}", escape::shown(&role_call.cue, TEXT)));
    let reply = || role_call.answer["reply"].as_str().map(ToOwned::to_owned);
    let said = words(&role_call.answer).or_else(reply).unwrap_or_else(|| role_call.answer.to_string());
    said.trim().lines().for_each(|line| page.line(&format!("  model  {}", escape::shown(line, TEXT))));
}

/// What a model said, where its answer is words and not scores.
fn words(answer: &Value) -> Option<String> {
    let text = answer.as_str().or_else(|| ["text", "content", "message"].iter().find_map(|name| answer[name].as_str()));
    text.map(ToOwned::to_owned)
}

/// An evaluated episode: its row, and its steps where they lie beside.
fn row(source: &Source, index: usize, request: &Request, out: &mut dyn Write) -> Result<()> {
    let mut found = None;
    let all = Selection::new(&Request::default(), source, true)?;
    let all = Selection { draw: Draw::First(index.saturating_add(1)), ..all };
    all.rows(source, request, Length::Whole, |(number, cells)| {
        if number == index as u64 {
            found = Some(cells);
        }
        Ok(())
    })?;
    let episodes = source.rows()?;
    let cells = found.ok_or_else(|| {
        UsageError(format!("it has no episode {index}; it has {}, the first is 0", counted(episodes, "episode")))
    })?;
    let names = source.schema().fields().iter().map(|field| field.name().clone());
    let fields: Vec<(String, CellValue)> = names.zip(cells).collect();
    // Both are in the same order.
    let steps = related(request, Steps::KIND).map(evaluated_steps).transpose()?.unwrap_or_default();
    let told = steps.get(index).map(|played| conversation(&played.trajectory(), Some(played), index, request));
    let told = told.transpose()?;
    match output_style(request.format)? {
        Some(output_style) => {
            let mut page = TextOutput::new(output_style);
            page.title(&format!("episode {index} of {}", counted(episodes, "evaluated episode")));
            let rows: Vec<_> =
                fields.iter().map(|(name, cell)| vec![escape::shown(name, TEXT), table::bound(cell)]).collect();
            page.table("Outcome", &["column", "value"], &[], &rows);
            match &told {
                Some(told) => tell(&mut page, told),
                None => page.line(
                    " Its steps are not in this file: `rollouts` has one row per episode, `steps` one row per step.",
                ),
            }
            Ok(out.write_all(page.text.as_bytes())?)
        }
        None => write_json(
            &serde_json::json!({ "episode": index, "outcome": CellValue::Record(fields), "steps": told }),
            out,
        ),
    }
}
