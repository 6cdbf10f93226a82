//! What prompts tell, by scripted models.

use super::tests::{inputs, stage};
use super::*;
use crate::artifact::Step;
use crate::llm::ChoiceRequest;
use crate::llm::scripted::ScriptedLlm;
use crate::prompting::{Aggregate, Examples, HistoryOrder, LogHistory, Select, Strategy};

fn played(
    stage: &Demonstrate,
    script: impl Fn(&ChoiceRequest) -> Vec<f64> + Sync,
) -> (Vec<Step>, Vec<ChoiceRequest>, Outputs) {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = inputs();
    let genres = |item: usize| vec![format!("G{}", item % 3)];
    inputs.items.genres = (0..inputs.items.len()).map(genres).collect();
    let llm = ScriptedLlm::new(script);
    let outputs = stage.demonstrate(&llm, &inputs, &Context::detached(folder.path())).unwrap();
    let steps = outputs.demonstrations.steps().map(|(_, _, step)| step.clone()).collect();
    let mut asked = llm.asked.into_inner().unwrap();
    asked.sort_by_key(ChoiceRequest::canonical);
    asked.dedup();
    (steps, asked, outputs)
}

/// Prefers long names, and says so by their number of letters.
fn by_length(request: &ChoiceRequest) -> Vec<f64> {
    request.options.iter().map(|option| option.len() as f64 / 100.0).collect()
}

#[test]
fn favourites_are_what_was_told_before_and_one_strategy_is_the_models_own_choice() {
    let off = played(&stage(), by_length);
    for same in [
        Demonstrate { strategies: vec![Strategy::TopRated], ..stage() },
        Demonstrate { examples: Examples { count: 9, ..Examples::default() }, ..stage() },
    ] {
        let on = played(&same, by_length);
        assert_eq!((&on.0, &on.1), (&off.0, &off.1));
    }
    let text = serde_json::to_string(&stage()).unwrap();
    for unset in ["strategies", "aggregate", "candidate_orders", "log_history", "examples"] {
        assert!(!text.contains(unset), "{unset} is part of no key where it is off: {text}");
    }
    let recent = played(&Demonstrate { strategies: vec![Strategy::Recent], ..stage() }, by_length);
    let items = |steps: &[Step]| steps.iter().map(|step| step.item).collect::<Vec<_>>();
    assert_eq!(items(&recent.0), items(&off.0), "the script reads no history");
    assert_ne!(recent.1, off.1);
}

#[test]
fn two_strategies_are_two_requests_and_their_points_choose() {
    // `recent` likes the first name most, `item_only` the second and then the third: 3+1 points of the first, 0… as by hand below.
    let script = |request: &ChoiceRequest| -> Vec<f64> {
        let told = request.context.concat().contains("history, oldest first");
        let by = if told { [-1.0, -2.0, -3.0, -4.0] } else { [-4.0, -1.0, -1.5, -5.0] };
        by[..request.options.len()].to_vec()
    };
    let both = Demonstrate { strategies: vec![Strategy::Recent, Strategy::ItemOnly], ..stage() };
    let (steps, asked, outputs) = played(&both, script);
    assert!(asked.iter().any(|request| request.context.concat().contains("history, oldest first")));
    let full: Vec<&Step> = steps.iter().filter(|step| step.candidates.len() == 4).collect();
    assert!(!full.is_empty());
    for step in full {
        // User 3 has no log: both prompts are the same there.
        let user_without_log = step.scores[0] == -4.0;
        let expected =
            if user_without_log { (1, vec![-4.0, -1.0, -1.5, -5.0]) } else { (1, vec![-2.5, -1.5, -2.25, -4.5]) };
        // Points 3 + 1, 2 + 3, 1 + 2, 0 + 0.
        assert_eq!((step.candidates[expected.0], step.scores.clone()), (step.item, expected.1));
    }
    let calls: u32 = outputs.llm_usage.0.iter().map(|episode| episode.calls).sum();
    assert_eq!(calls as usize, asked.len());
}

#[test]
fn a_shuffled_history_is_another_request_about_the_same_items() {
    let told = |order: HistoryOrder| {
        let log_history = LogHistory { order, ..LogHistory::default() };
        played(&Demonstrate { strategies: vec![Strategy::Recent], log_history, ..stage() }, by_length).1
    };
    let (right, shuffled) = (told(HistoryOrder::Chronological), told(HistoryOrder::Shuffled));
    assert_ne!(right, shuffled);
    assert_eq!(right.len(), shuffled.len());
}

#[test]
fn examples_that_do_nothing_are_not_told_and_their_questions_are_kept() {
    let examples = Examples { select: Select::Effect, count: 2, pool: 2, windows: 1, ..Examples::default() };
    let (steps, asked, outputs) =
        played(&Demonstrate { examples, ..stage() }, |request| vec![-1.0; request.options.len()]);
    let off = played(&stage(), |request| vec![-1.0; request.options.len()]);
    assert_eq!(steps, off.0);
    let examples = asked.iter().filter(|request| request.context.concat().contains("Another user's history")).count();
    assert!(examples > 0);
    assert_eq!(outputs.calls.0.len(), asked.len(), "what measured them is among the calls");
    let random = Examples { select: Select::Random, count: 1, ..Examples::default() };
    let (_, asked, _) = played(&Demonstrate { examples: random, ..stage() }, by_length);
    assert!(asked.iter().all(|request| request.context[1].starts_with("Another user's history, oldest first: ")));
}

#[test]
fn what_has_no_effect_or_no_answer_is_refused() {
    let refused = |change: fn(&mut Demonstrate)| {
        let mut stage = stage();
        change(&mut stage);
        stage.check().unwrap_err()
    };
    let two = || vec![Strategy::Recent, Strategy::Global];
    assert_eq!(refused(|stage| stage.strategies = vec![Strategy::Recent, Strategy::Recent]).0, "strategies");
    assert_eq!(refused(|stage| stage.candidate_orders = 0).0, "candidate_orders");
    assert!(refused(|stage| stage.candidate_orders = 2).1.contains("scores each candidate by itself"));
    assert_eq!(refused(|stage| stage.log_history.length = 3).0, "log_history");
    assert_eq!(refused(|stage| stage.aggregate = Aggregate::MeanScore).0, "aggregate");
    assert_eq!(
        refused(|stage| stage.examples = Examples { select: Select::Recent, count: 0, ..Examples::default() }).0,
        "examples.count"
    );
    let writes = |stage: &mut Demonstrate| {
        stage.strategies = vec![Strategy::Recent, Strategy::Global];
        stage.actor = Actor::Write(agent::TitleGeneration::default());
    };
    assert!(refused(writes).1.contains("only `actor: choose`"));
    let silent = |stage: &mut Demonstrate| {
        stage.strategies = vec![Strategy::Recent, Strategy::Global];
        stage.llm = serde_json::from_value(serde_json::json!({ "openai": { "model": "m" } })).unwrap();
    };
    assert!(refused(silent).1.contains("logprobs: true"));
    let rates = |stage: &mut Demonstrate| {
        stage.strategies = vec![Strategy::Recent];
        stage.actor = serde_json::from_value(serde_json::json!({ "rate": {} })).unwrap();
    };
    assert_eq!(refused(rates).0, "actor");
    assert_eq!(Demonstrate { strategies: two(), ..stage() }.check(), Ok(()));
}

#[test]
fn users_with_a_hint_are_told_it_and_others_are_not() {
    use crate::artifact::Memory;
    let folder = tempfile::tempdir().unwrap();
    let hint = |user| Memory::Reflection { user, total: 0.0, text: "Prefer what is old.".into() };
    let asked = |memories: Option<Memories>| {
        let llm = ScriptedLlm::new(by_length);
        let inputs = Inputs { memories, ..inputs() };
        stage().demonstrate(&llm, &inputs, &Context::detached(folder.path())).unwrap();
        let asked = llm.asked.into_inner().unwrap();
        asked.iter().filter(|request| request.context.concat().contains("Hint: Prefer what is old.")).count()
    };
    let all = asked(Some(Memories((0..super::tests::USERS as u32).map(hint).collect())));
    assert!(all > 0, "users with a hint are told it");
    assert_eq!((asked(Some(Memories::default())), asked(None)), (0, 0));
}
