//! Calls of the roles beside the actor in an episode: prompts and answers of planner, critic and reflector, and failed attempts of
//! the actor, placed between the turns where they happened.
//!
//! The calls of a stage stand in the order of their first use, episode by episode, and its usage says how many each has. So the
//! calls of one episode lie together; one that an earlier episode made too lies there, and is not repeated.

use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::Artifact as _;
use serde::Serialize;
use serde_json::Value;

use crate::artifact::{Call, Calls, LlmUsage, Trajectory};

/// One call that did not recommend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct RoleCall {
    /// The context of the call, oldest first.
    #[serde(skip)]
    pub context: Vec<String>,
    /// The prompt that the model continued.
    pub cue: String,
    /// The answer as it came.
    pub answer: Value,
}

/// The role calls of one turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct TurnRoleCalls {
    /// Before it recommended.
    pub before: Vec<RoleCall>,
    /// After its reward was known.
    pub after: Vec<RoleCall>,
}

/// The role calls of each turn of the episode `index`, and those at its end; none where the usage is not known.
pub(super) fn role_calls(
    trajectory: &Trajectory,
    index: usize,
    calls: Option<&Path>,
    usage: Option<&Path>,
) -> Result<(Vec<TurnRoleCalls>, Vec<RoleCall>)> {
    let mut turns = vec![TurnRoleCalls::default(); trajectory.steps.len()];
    let mut last = Vec::new();
    let (Some(calls), Some(usage)) = (calls, usage) else { return Ok((turns, last)) };
    let usage = LlmUsage::read(usage).context("read the LLM usage")?.0;
    let count = |episode: &crate::artifact::EpisodeUsage| episode.calls as usize;
    let first = usage.iter().take(index).map(count).sum::<usize>();
    let own = usage.get(index).map_or(0, count);
    let mut turn = 0;
    for call in Calls::rows(calls, first..first + own).context("read the calls")?.0 {
        let chosen = trajectory.steps.iter().skip(turn).position(|step| step.call == call.key);
        if let Some(further) = chosen {
            turn += further + 1;
            continue;
        }
        let Some((role_call, values)) = role_call(&call) else { continue };
        match turns.len() {
            // A critic values what was recommended last.
            _ if values && turn > 0 => turns[turn - 1].after.push(role_call),
            all if turn < all => turns[turn].before.push(role_call),
            _ => last.push(role_call),
        }
    }
    Ok((turns, last))
}

/// A call that had the model write, and whether a number; `None` for one that had it choose.
fn role_call(call: &Call) -> Option<(RoleCall, bool)> {
    let request: Value = serde_json::from_str(&call.request).ok()?;
    request.get("max_tokens")?;
    let cue = request["cue"].as_str()?.to_owned();
    let context = request["context"].as_array().into_iter().flatten();
    let context = context.filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect();
    let answer = serde_json::from_str(&call.told()).unwrap_or_else(|_| call.told().into());
    Some((RoleCall { context, cue, answer }, !request["integer"].is_null()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::artifact::{EpisodeUsage, Step, Termination};

    fn call(key: &str, request: Value) -> Call {
        let answer = json!({ "text": format!("to {key}") }).to_string();
        Call { key: key.into(), model: "toy".into(), request: request.to_string(), answer, failure: None }
    }

    #[test]
    fn each_stands_with_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let write = |key: &str| call(key, json!({ "context": ["a\n"], "cue": format!("{key}:"), "max_tokens": 8 }));
        let value =
            |key: &str| call(key, json!({ "context": ["a\n"], "cue": "How:", "max_tokens": 8, "integer": [-5, 5] }));
        let choose = |key: &str| call(key, json!({ "context": ["a\n"], "cue": "Next:", "options": ["x"] }));
        let calls = [
            write("other episode"),
            write("think 0"),
            choose("act 0"),
            choose("reference"),
            value("value 0"),
            write("think 1"),
            write("try"),
            write("act 1"),
            value("value 1"),
            write("reflect"),
            write("next episode"),
        ];
        let calls = Calls(calls.into());
        let episode = |user, calls| EpisodeUsage { user, calls, prompt_tokens: None, completion_tokens: None };
        let usage = LlmUsage(vec![episode(1, 1), episode(2, 9), episode(3, 1)]);
        let (calls_at, efforts_at) = (folder.path().join("calls"), folder.path().join("usage"));
        calls.write(&calls_at).unwrap();
        usage.write(&efforts_at).unwrap();
        let step = |call: &str| Step { item: 0, reward: 1.0, candidates: vec![], scores: vec![], call: call.into() };
        let trajectory = Trajectory { user: 2, steps: vec![step("act 0"), step("act 1")], end: Termination::Horizon };
        let (turns, last) = role_calls(&trajectory, 1, Some(&calls_at), Some(&efforts_at)).unwrap();
        let said = |role_calls: &[RoleCall]| {
            role_calls.iter().map(|role_call| role_call.answer["text"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let seen: Vec<_> = turns.iter().map(|turn| (said(&turn.before), said(&turn.after))).collect();
        let told = |texts: &[&str]| texts.iter().map(|text| format!("to {text}")).collect::<Vec<_>>();
        assert_eq!(seen, [(told(&["think 0"]), told(&["value 0"])), (told(&["think 1", "try"]), told(&["value 1"]))]);
        assert_eq!(said(&last), ["to reflect"]);
        let (turns, last) = role_calls(&trajectory, 1, Some(&calls_at), None).unwrap();
        assert!(turns.len() == 2 && turns[0] == TurnRoleCalls::default() && last.is_empty());
    }
}
