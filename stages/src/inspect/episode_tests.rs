//! Episodes as they are told.

use pipeline::inspect::{Format, RelatedFile, Request, Show};
use pipeline::{Artifact as _, UsageError};
use serde_json::Value;

use super::inspect;
use super::testing::inspected;
use crate::artifact::{
    Call, Calls, Demonstrations, EpisodeSteps, EpisodeUsage, Items, LlmUsage, Rollout, Rollouts, Step, Steps,
    Termination, Trajectory,
};

struct Folder(tempfile::TempDir);

impl Folder {
    /// Two episodes, a catalogue with a hostile title, and the calls behind the second.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let step = |item: u32, call: &str| Step {
            item,
            reward: 4.0,
            candidates: vec![0, 1],
            scores: vec![-1.5, -0.25],
            call: call.into(),
        };
        let trajectories = vec![
            Trajectory { user: 3, steps: vec![step(0, "a")], end: Termination::Horizon },
            Trajectory { user: 9, steps: vec![step(1, "b"), step(0, "c")], end: Termination::Similar },
        ];
        Demonstrations::new(trajectories).write(&folder.path().join("demonstrations")).unwrap();
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
        let related = ["items", "calls"].map(|kind| RelatedFile { kind: kind.into(), path: self.0.path().join(kind) });
        Request { show: Show::Episode(episode), format, related: related.into(), ..Request::default() }
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
fn what_the_other_roles_were_asked_stands_where_it_happened() {
    let folder = Folder::new();
    let call = |key: &str, request: Value, answer: &str| Call {
        key: key.into(),
        model: "toy".into(),
        request: request.to_string(),
        answer: serde_json::json!({ "text": answer }).to_string(),
        failure: None,
    };
    let asked = |key: &str, context: &[&str], cue: &str, answer: &str| {
        call(key, serde_json::json!({ "context": context, "cue": cue, "max_tokens": 9 }), answer)
    };
    let acts = |key: &str, context: &[&str]| {
        call(key, serde_json::json!({ "context": context, "cue": "Recommended:", "options": [] }), "")
    };
    let calls = vec![
        asked("t", &["Choose well.\n"], "Thought on what is next:", "Something\u{1b}[2J loud."),
        acts("b", &["Choose well.\n", "Thought: Something loud.\n"]),
        acts("c", &["Choose well.\n"]),
        asked("r", &["Choose well.\n"], "What should be done otherwise:", "Vary.\nMore."),
    ];
    let calls_at = folder.0.path().join("calls");
    std::fs::remove_file(&calls_at).unwrap();
    Calls(calls).write(&calls_at).unwrap();
    let episode = |user, calls| EpisodeUsage { user, calls, prompt_tokens: None, completion_tokens: None };
    let usage_at = folder.0.path().join("llm_usage");
    LlmUsage(vec![episode(3, 0), episode(9, 4)]).write(&usage_at).unwrap();
    let mut request = folder.request(1, Format::Table);
    request.related.push(RelatedFile { kind: "llm_usage".into(), path: usage_at });
    let text = inspected(&folder.0.path().join("demonstrations"), &request);
    let first = "\
step 0
  user   Choose well.
  prompt Thought on what is next:
  model  Something\\u{1b}[2J loud.
  user   Thought: Something loud.
  offer   1. Heat";
    assert!(text.contains(first), "{text}");
    let last = "at the end\n  prompt What should be done otherwise:\n  model  Vary.\n  model  More.\n";
    assert!(text.ends_with(last), "{text}");
    // The same by the calls.
    let related = ["demonstrations", "items", "llm_usage"];
    let related = related.map(|kind| RelatedFile { kind: kind.into(), path: folder.0.path().join(kind) });
    let by_calls = Request { related: related.into(), ..request };
    assert_eq!(inspected(&calls_at, &by_calls), text);
    let alone = Request { related: Vec::new(), ..by_calls };
    let error = inspect(&calls_at, &alone, &mut Vec::new()).unwrap_err();
    assert!(format!("{error:#}").contains("it holds no episodes\nhelp: "), "{error:#}");
}

#[test]
fn without_its_neighbours_an_episode_is_told_in_numbers() {
    let folder = Folder::new();
    let request = Request { related: Vec::new(), ..folder.request(0, Format::Json) };
    let json: Value = serde_json::from_str(&inspected(&folder.0.path().join("demonstrations"), &request)).unwrap();
    assert_eq!((&json["user"], &json["end"], &json["terminal"]), (&3.into(), &"horizon".into(), &false.into()));
    let turn = &json["turns"][0];
    assert_eq!((&turn["chosen"], &turn["place"], &turn["answer"]), (&"item 0".into(), &1.into(), &Value::Null));
}

#[test]
fn a_judged_episode_is_told_step_by_step() {
    let folder = Folder::new();
    let played = |user, items: &[u32]| EpisodeSteps {
        policy: "a2c".into(),
        cell: "seed=0".into(),
        user,
        items: items.to_vec(),
        rewards: vec![4.0; items.len()],
        end: Termination::Similar,
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
    let outcome = |played: &EpisodeSteps| Rollout {
        policy: played.policy.clone(),
        cell: played.cell.clone(),
        user: played.user,
        length: played.items.len() as u32,
        return_inclusive: 8.0,
        return_exclusive: 4.0,
        distinct_items: 1,
        diversity: 0.0,
        novelty: 0.0,
        top_category: None,
        return_training_world: None,
        end: played.end,
    };
    let rollouts = folder.0.path().join("rollouts");
    Rollouts(steps.0.iter().map(outcome).collect()).write(&rollouts).unwrap();
    let mut request = folder.request(0, Format::Table);
    assert!(inspected(&rollouts, &request).contains("Its steps are not in this file"));
    request.related.push(RelatedFile { kind: "steps".into(), path: path.clone() });
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
            error.chain().any(|cause| cause.is::<UsageError>()) && format!("{error:#}").contains(words),
            "{error:#}"
        );
    }
}
