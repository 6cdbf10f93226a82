//! One episode as a conversation: what the model was told, what it chose among, what came of it.
//!
//! The titles come from the catalogue and the prompts from the calls that lie beside the demonstrations; without them the
//! items are numbers and only the choices are told. Of judged episodes `rollouts` holds one row each, `steps` each step.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::inspect::{Beside, Request};
use pipeline::{Artifact, Wrong};
use serde::Serialize;
use serde_json::Value;

use super::cell::{Cell, Length};
use super::escape;
use super::page::{Page, counted};
use super::selection::{Draw, Selection};
use super::source::Source;
use super::{Opened, medium, table, write_json};
use crate::artifact::{Call, Calls, Demonstrations, Episode, Items, Played, Rollouts, Steps, Trajectory, guarded};

/// The key of the schema's metadata that holds the kind of an artifact.
const KIND: &str = "apprentice";
/// Characters of one text of the conversation.
const TEXT: usize = 2000;

/// Writes one episode of a file of demonstrations or rollouts.
///
/// # Errors
/// [`Wrong`] where the file holds no episodes, or not so many; else when a file cannot be read.
pub(super) fn show(path: &Path, opened: Opened, index: usize, request: &Request, out: &mut dyn Write) -> Result<()> {
    let Opened::Table(source) = &opened else { return Err(no_episodes()) };
    let kind = source.schema().metadata().get(KIND).and_then(|kind| kind.split_once('/')).map(|(kind, _)| kind);
    match kind {
        Some(Demonstrations::KIND) => {
            let trajectory = guarded(|| Demonstrations::one(path, index).map_err(|error| format!("{error:#}")));
            let trajectory = trajectory.map_err(|error| super::damaged("its episodes cannot be read", error))?;
            let trajectory = trajectory.ok_or_else(|| Wrong(format!("it has no episode {index}; the first is 0")))?;
            write(&conversation(&trajectory, None, index, request)?, request, out)
        }
        Some(Steps::KIND) => {
            let steps = judged(path)?;
            let count = counted(steps.len() as u64, "episode");
            let wrong = || Wrong(format!("it has no episode {index}; it has {count}, the first is 0"));
            let played = steps.get(index).ok_or_else(wrong)?;
            write(&conversation(&played.trajectory(), Some(played), index, request)?, request, out)
        }
        Some(Rollouts::KIND) => row(source, index, request, out),
        _ => Err(no_episodes()),
    }
}

/// The steps of judged episodes.
fn judged(path: &Path) -> Result<Vec<Played>> {
    let steps = guarded(|| Steps::read(path).map_err(|error| format!("{error:#}")));
    Ok(steps.map_err(|error| super::damaged("its episodes cannot be read", error))?.0)
}

fn no_episodes() -> anyhow::Error {
    Wrong("it holds no episodes\nhelp: demonstrations, rollouts and steps do".into()).into()
}

/// A turn of the conversation, ready to tell.
#[derive(Debug, Serialize)]
struct Turn {
    step: usize,
    /// What the model was told since the last turn.
    told: Vec<String>,
    /// The words that its choice completes.
    cue: Option<String>,
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
    /// The row of the table whose episode this is; absent where it was not judged.
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
}

/// An episode in words; of a judged one `played` says whose it is.
fn conversation(
    trajectory: &Trajectory,
    played: Option<&Played>,
    index: usize,
    request: &Request,
) -> Result<Conversation> {
    let items = beside(request, Items::KIND).map(Items::read).transpose().context("read the catalogue")?;
    let keys: BTreeSet<&str> = trajectory.steps.iter().map(|step| step.call.as_str()).collect();
    let calls = beside(request, Calls::KIND).map(|path| Calls::with_keys(path, &keys)).transpose();
    let calls = calls.context("read the calls")?.unwrap_or_default().0;
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
        turns: turns(trajectory, items.as_ref(), &calls),
    })
}

fn write(told: &Conversation, request: &Request, out: &mut dyn Write) -> Result<()> {
    match medium(request.format)? {
        Some(medium) => {
            let mut page = Page::new(medium);
            tell(&mut page, told);
            Ok(out.write_all(page.text.as_bytes())?)
        }
        None => write_json(told, out),
    }
}

fn beside<'a>(request: &'a Request, kind: &str) -> Option<&'a Path> {
    request.beside.iter().find(|file: &&Beside| file.kind == kind).map(|file| file.path.as_path())
}

fn turns(trajectory: &Trajectory, items: Option<&Items>, calls: &BTreeMap<&str, &Call>) -> Vec<Turn> {
    let mut before: Vec<String> = Vec::new();
    let steps = Episode::of(trajectory, items).steps.into_iter().zip(&trajectory.steps);
    let turn = |(number, (step, choice)): (usize, (crate::artifact::Step, &crate::artifact::Choice))| {
        let call = calls.get(choice.call.as_str());
        let request: Option<Value> = call.and_then(|call| serde_json::from_str(&call.request).ok());
        let texts = request.as_ref().and_then(|request| request["context"].as_array()).into_iter().flatten();
        let context: Vec<String> = texts.filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect();
        // The conversation only grows, but for the window that moves on: what is still there was told already.
        let told = context.iter().filter(|text| !before.contains(text)).cloned().collect();
        before = context;
        let scores = choice.scores.iter().map(|&score| Some(score)).chain(std::iter::repeat(None));
        Turn {
            step: number,
            told,
            cue: request.as_ref().and_then(|request| request["cue"].as_str().map(ToOwned::to_owned)),
            candidates: step
                .candidates
                .into_iter()
                .zip(scores)
                .map(|(title, score)| Candidate { title, score })
                .collect(),
            answer: call.map(|call| serde_json::from_str(&call.told()).unwrap_or_else(|_| call.told().into())),
            chosen: step.title,
            place: step.place,
            reward: step.reward,
        }
    };
    steps.enumerate().map(turn).collect()
}

fn tell(page: &mut Page, told: &Conversation) {
    let safe = |text: &str| escape::shown(text.trim_end(), TEXT);
    let end = match told.end {
        "similar" => "the user left: too similar",
        "low_reward" => "the user left: a bad item",
        "category" => "the user left: too much of a category",
        "stopped" => "the user left",
        _ => "cut off at the horizon",
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
    // Who is judged may be no language model.
    let speaker = if told.policy.is_some() { "policy" } else { "model" };
    for turn in &told.turns {
        page.heading(&format!("step {}", turn.step));
        for text in &turn.told {
            text.lines().for_each(|line| page.line(&format!("  user   {}", safe(line))));
        }
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
        page.line(&format!("  world  {}: {:.2}", safe(&turn.chosen), turn.reward));
    }
}

/// What a model said, where its answer is words and not scores.
fn words(answer: &Value) -> Option<String> {
    let text = answer.as_str().or_else(|| ["text", "content", "message"].iter().find_map(|name| answer[name].as_str()));
    text.map(ToOwned::to_owned)
}

/// A judged episode: its row, and its steps where they lie beside.
fn row(source: &Source, index: usize, request: &Request, out: &mut dyn Write) -> Result<()> {
    let mut found = None;
    let all = Selection::new(&Request::default(), source.schema(), true)?;
    let all = Selection { draw: Draw::First(index.saturating_add(1)), ..all };
    all.rows(source, request, Length::Whole, |(number, cells)| {
        if number == index as u64 {
            found = Some(cells);
        }
        Ok(())
    })?;
    let cells = found.ok_or_else(|| {
        Wrong(format!("it has no episode {index}; it has {}, the first is 0", counted(source.rows(), "episode")))
    })?;
    let names = source.schema().fields().iter().map(|field| field.name().clone());
    let fields: Vec<(String, Cell)> = names.zip(cells).collect();
    // Both are in the same order.
    let steps = beside(request, Steps::KIND).map(judged).transpose()?.unwrap_or_default();
    let told = steps.get(index).map(|played| conversation(&played.trajectory(), Some(played), index, request));
    let told = told.transpose()?;
    match medium(request.format)? {
        Some(medium) => {
            let mut page = Page::new(medium);
            page.title(&format!("episode {index} of {}", counted(source.rows(), "judged episode")));
            let rows: Vec<_> =
                fields.iter().map(|(name, cell)| vec![escape::shown(name, TEXT), table::bound(cell)]).collect();
            page.table("Outcome", &["what", "value"], &[], &rows);
            match &told {
                Some(told) => tell(&mut page, told),
                None => page.line(
                    " Its steps are not in the file: `rollouts` keeps one row an episode, `steps` beside it each step.",
                ),
            }
            Ok(out.write_all(page.text.as_bytes())?)
        }
        None => {
            write_json(&serde_json::json!({ "episode": index, "outcome": Cell::Record(fields), "steps": told }), out)
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::inspect::{Format, Show};

    use super::super::inspect;
    use super::super::testing::inspected;
    use super::*;
    use crate::artifact::{Choice, End, Rollout};

    struct Folder(tempfile::TempDir);

    impl Folder {
        /// Two episodes, a catalogue with a hostile title, and the calls behind the second.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let choice = |item: u32, call: &str| Choice {
                item,
                reward: 4.0,
                candidates: vec![0, 1],
                scores: vec![-1.5, -0.25],
                call: call.into(),
            };
            let trajectories = vec![
                Trajectory { user: 3, steps: vec![choice(0, "a")], end: End::Horizon },
                Trajectory { user: 9, steps: vec![choice(1, "b"), choice(0, "c")], end: End::Similar },
            ];
            Demonstrations { trajectories }.write(&folder.path().join("demonstrations")).unwrap();
            let items = Items {
                id: vec!["x".into(), "y".into()],
                title: vec!["Heat".into(), "Fargo\u{1b}[2J".into()],
                year: vec![Some(1995), None],
                genres: vec![vec![], vec![]],
                ..Items::default()
            };
            items.write(&folder.path().join("items")).unwrap();
            let call = |key: &str, context: &[&str], answer: &str| Call {
                key: key.into(),
                model: "toy".into(),
                request: serde_json::json!({ "context": context, "cue": "Recommended:", "options": [] }).to_string(),
                answer: answer.into(),
                failure: None,
            };
            let calls = vec![
                call("b", &["Choose well.\n", "She liked Heat.\n"], "{\"scores\":[1,2]}"),
                call("c", &["Choose well.\n", "She liked Heat.\n", "Fargo: 4 of 5.\n"], "\"I take the first\""),
                call("z", &["Never shown.\n"], "{}"),
            ];
            Calls(calls).write(&folder.path().join("calls")).unwrap();
            Self(folder)
        }

        fn request(&self, episode: usize, format: Format) -> Request {
            let beside = ["items", "calls"].map(|kind| Beside { kind: kind.into(), path: self.0.path().join(kind) });
            Request { show: Show::Episode(episode), format, beside: beside.into(), ..Request::default() }
        }
    }

    #[test]
    fn an_episode_reads_as_a_conversation() {
        let folder = Folder::new();
        let text = inspected(&folder.0.path().join("demonstrations"), &folder.request(1, Format::Table));
        let wanted = "\
episode 1: user 9, 2 steps, return 8.00, the user left: too similar
the model is toy

step 0
  user   Choose well.
  user   She liked Heat.
  offer   1. Heat (1995)  (-1.500)
  offer → 2. Fargo\\u{1b}[2J  (-0.250)
  model  Recommended: Fargo\\u{1b}[2J
  world  Fargo\\u{1b}[2J: 4.00

step 1
  user   Fargo: 4 of 5.
  offer → 1. Heat (1995)  (-1.500)
  offer   2. Fargo\\u{1b}[2J  (-0.250)
  model  I take the first
  world  Heat (1995): 4.00
";
        assert_eq!(text, wanted, "\n{text}");
    }

    #[test]
    fn without_its_neighbours_an_episode_is_told_in_numbers() {
        let folder = Folder::new();
        let request = Request { beside: Vec::new(), ..folder.request(0, Format::Json) };
        let json: Value = serde_json::from_str(&inspected(&folder.0.path().join("demonstrations"), &request)).unwrap();
        assert_eq!((&json["user"], &json["end"], &json["terminal"]), (&3.into(), &"horizon".into(), &false.into()));
        let turn = &json["turns"][0];
        assert_eq!((&turn["chosen"], &turn["place"], &turn["answer"]), (&"item 0".into(), &1.into(), &Value::Null));
    }

    #[test]
    fn a_judged_episode_is_told_step_by_step() {
        let folder = Folder::new();
        let played = |user, items: &[u32]| Played {
            policy: "a2c".into(),
            cell: "seed=0".into(),
            user,
            items: items.to_vec(),
            rewards: vec![4.0; items.len()],
            end: End::Similar,
        };
        let steps = Steps(vec![played(3, &[0, 1]), played(9, &[1])]);
        let path = folder.0.path().join("steps");
        steps.write(&path).unwrap();
        assert_eq!(Steps::read(&path).unwrap(), steps);
        let text = inspected(&path, &folder.request(0, Format::Table));
        let title = "episode 0 of a2c (seed=0): user 3, 2 steps, return 8.00, the user left: too similar";
        assert!(text.starts_with(title), "{text}");
        assert!(text.contains("  policy Heat (1995)\n  world  Heat (1995): 4.00"), "{text}");
        let json: Value = serde_json::from_str(&inspected(&path, &folder.request(1, Format::Json))).unwrap();
        assert_eq!((&json["policy"], &json["cell"], &json["user"]), (&"a2c".into(), &"seed=0".into(), &9.into()));
        // The row of an episode is told with its steps, where they are known.
        let outcome = |played: &Played| Rollout {
            policy: played.policy.clone(),
            cell: played.cell.clone(),
            user: played.user,
            length: played.items.len() as u32,
            inclusive: 8.0,
            exclusive: 4.0,
            distinct: 1,
            diversity: 0.0,
            novelty: 0.0,
            top_category: None,
            training: None,
            end: played.end,
        };
        let rollouts = folder.0.path().join("rollouts");
        Rollouts(steps.0.iter().map(outcome).collect()).write(&rollouts).unwrap();
        let mut request = folder.request(0, Format::Table);
        assert!(inspected(&rollouts, &request).contains("Its steps are not in the file"));
        request.beside.push(Beside { kind: "steps".into(), path: path.clone() });
        let text = inspected(&rollouts, &request);
        assert!(text.contains("a2c") && text.contains(title) && text.contains("world  Heat (1995): 4.00"), "{text}");
        let error = inspect(&path, &folder.request(2, Format::Table), &mut Vec::new()).unwrap_err();
        assert!(format!("{error:#}").contains("it has no episode 2; it has 2 episodes"), "{error:#}");
    }

    #[test]
    fn an_episode_that_is_not_there_is_a_wrong_request() {
        let folder = Folder::new();
        for (file, words) in [("demonstrations", "it has no episode 7"), ("items", "it holds no episodes")] {
            let path = folder.0.path().join(file);
            let error = inspect(&path, &folder.request(7, Format::Table), &mut Vec::new()).unwrap_err();
            assert!(
                error.chain().any(|cause| cause.is::<Wrong>()) && format!("{error:#}").contains(words),
                "{error:#}"
            );
        }
    }
}
