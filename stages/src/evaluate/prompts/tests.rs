//! The stage on scripted models, each also behind the replay provider.

use super::*;
use crate::artifact::{Hint, HintVerdict};
use crate::llm::scripted::ScriptedLlm;
use crate::llm::{ChoiceRequest, ReplayConfig, Score};

const USERS: usize = 40;
const ITEMS: usize = 30;

fn inputs() -> PromptInputs {
    let items = Items {
        id: (0..ITEMS).map(|item| item.to_string()).collect(),
        title: (0..ITEMS).map(|item| format!("T{item:02}")).collect(),
        year: vec![None; ITEMS],
        genres: (0..ITEMS).map(|item| vec![format!("G{}", item % 3)]).collect(),
        ..Items::default()
    };
    // User u took u, u+1, …, u+5 in that order; u+6 comes next.
    let row = |user: usize, step: usize| ((user + step) % ITEMS) as u32;
    let log = |steps: std::ops::Range<usize>| {
        let rows: Vec<(usize, usize)> =
            (0..USERS).flat_map(|user| steps.clone().map(move |step| (user, step))).collect();
        Interactions {
            user: rows.iter().map(|row| row.0 as u32).collect(),
            item: rows.iter().map(|&(user, step)| row(user, step)).collect(),
            rating: vec![4.0; rows.len()],
            timestamp: rows.iter().map(|row| row.1 as i64).collect(),
        }
    };
    PromptInputs { items, train: log(0..6), test: Some(log(6..7)), hints: None, calls: None, adapter: None }
}

fn stage() -> EvaluatePrompts {
    let of = serde_json::json!({ "llm": { "gguf": { "asset": "toy" } }, "sessions": 20, "n_candidates": 6, "item_noun": "thing" });
    serde_json::from_value(of).unwrap()
}

/// What the stage makes of a scripted model; and the same of its recorded calls.
fn scripted(
    stage: &EvaluatePrompts,
    inputs: PromptInputs,
    script: impl Fn(&ChoiceRequest) -> Vec<f64> + Sync,
) -> PromptOutputs {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [live, replayed] = folders.each_ref().map(|folder| Context::detached(folder.path()));
    let outputs = stage.evaluate(&ScriptedLlm::new(script), &inputs, &live).unwrap();
    let replay = LlmConfig::Replay(ReplayConfig { score: Score::MeanLogprob });
    let again = EvaluatePrompts { llm: replay, ..stage.clone() };
    let again = again.run(PromptInputs { calls: Some(outputs.calls.clone()), ..inputs }, &replayed).unwrap();
    let ranks = |table: &PromptTable| -> Vec<Option<f64>> { table.0.iter().map(PromptResult::rank).collect() };
    assert_eq!(ranks(&again.table), ranks(&outputs.table));
    outputs
}

/// Number of the last title that the prompt tells.
fn last_told(request: &ChoiceRequest) -> Option<usize> {
    let text = request.context.concat();
    let at = text
        .rmatch_indices('T')
        .map(|(at, _)| at)
        .find(|&at| text[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?;
    text[at + 1..at + 3].parse().ok()
}

/// ln p: 0 of the title behind the last one that is told, −1 of the others.
fn reads_the_order(request: &ChoiceRequest) -> Vec<f64> {
    let next = last_told(request).map(|last| format!("T{:02}", (last + 1) % ITEMS));
    request.options.iter().map(|option| if Some(option) == next.as_ref() { 0.0 } else { -1.0 }).collect()
}

#[test]
fn a_model_that_reads_the_order_is_found_and_one_that_does_not_is_null() {
    let stage = stage();
    let summary = scripted(&stage, inputs(), reads_the_order).summary;
    let of = |prompt: &str, quantity: &str| summary.find(prompt, "chronological", quantity).unwrap().clone();
    for strategy in ["recent", "proximal", "global", "clusters"] {
        assert_eq!(of(strategy, "ndcg").value, 1.0, "{strategy}");
        let delta = of(strategy, "score_over_shuffled");
        assert!(delta.low > 0.3 && delta.value > 0.5, "{strategy}: {delta:?}");
        assert!(of(strategy, "ndcg_over_item_only").low > 0.2, "{strategy}");
    }
    assert!(of("borda", "ndcg_over_shuffled").low > 0.1);
    // The null by the same code and settings: a model that likes the first letters of titles, whatever it was told.
    let null = scripted(&stage, inputs(), |request| {
        request.options.iter().map(|option| -option[1..].parse::<f64>().unwrap() / 10.0).collect()
    });
    for row in null.summary.0.iter().filter(|row| row.quantity.contains("_over_")) {
        assert_eq!((row.value, row.low, row.high), (0.0, 0.0, 0.0), "{row:?}");
    }
}

#[test]
fn examples_that_teach_are_chosen_by_their_effect_and_no_others() {
    let mut stage = stage();
    let effect = Examples { select: Select::Effect, count: 2, length: 2, kappa: 0.0, pool: 8, windows: 6 };
    let random = Examples { select: Select::Random, count: 2, length: 2, ..Examples::default() };
    stage.examples = vec![random, effect];
    stage.each_example = true;
    stage.strategies = vec![Strategy::TopRated];
    // Examples whose next item is even teach the model to rank the target's title first; others do nothing.
    let teaches = |request: &ChoiceRequest| {
        let text = request.context.concat();
        let steps = text.match_indices("Recommended thing: T").map(|(at, found)| &text[at + found.len()..][..2]);
        let taught = steps.filter(|step| step.parse::<usize>().unwrap() % 2 == 0).count() as f64;
        // The favourites are 5 of the six latest; the title after the largest of a run comes next.
        let own = text.rsplit("favourites: ").next().unwrap().trim().trim_end_matches('.');
        let own: Vec<usize> = own.split("; ").filter_map(|title| title.strip_prefix('T')?.parse().ok()).collect();
        let next = own.iter().map(|item| (item + 1) % ITEMS).find(|next| !own.contains(next));
        let score = |option: &String| if option[1..].parse().ok() == next { taught - 2.0 } else { -2.0 };
        request.options.iter().map(score).collect()
    };
    let outputs = scripted(&stage, inputs(), teaches);
    let find = |prompt: &str| outputs.summary.find(prompt, "chronological", "score_over_plain").unwrap().clone();
    let (effect, random) = (find("top_rated + effect examples"), find("top_rated + random examples"));
    assert!(effect.value > random.value && effect.low > 0.5, "{effect:?} {random:?}");
    let singles: Vec<f64> = (0..8).map(|place| find(&format!("top_rated + example {place}")).value).collect();
    assert!(singles.iter().any(|&value| value > 0.5) && singles.contains(&0.0), "{singles:?}");
    // Where no example does anything, none is chosen: the same requests as without.
    let inert = scripted(&stage, inputs(), |request| vec![-1.0; request.options.len()]);
    let rows = |prompt: &str| -> Vec<(u32, Vec<f32>)> {
        let rows = inert.table.0.iter().filter(|row| row.prompt == prompt);
        rows.map(|row| (row.session, row.scores.clone())).collect()
    };
    assert_eq!(rows("top_rated + effect examples"), rows("top_rated"));
}

#[test]
fn equal_on_any_number_of_threads_and_with_or_without_a_held_out_log() {
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| scripted(&stage(), inputs(), reads_the_order))
    };
    let [one, four] = [1, 4].map(on);
    assert_eq!((&one.table, &one.calls), (&four.table, &four.calls));
    // item_only, top_rated, four strategies twice, and Borda twice.
    assert_eq!(one.table.0.len(), 20 * 12);
    assert!(one.table.0.iter().all(|row| row.tokens.is_some_and(|tokens| tokens > 0)));
    let borda = one.table.0.iter().find(|row| row.prompt == "borda").unwrap();
    assert_eq!(borda.calls, 5);
    // Without a held-out log the last item is asked for, and told to nobody.
    let alone = scripted(&stage(), PromptInputs { test: None, ..inputs() }, reads_the_order);
    for row in &alone.table.0 {
        assert_eq!(row.target, (row.user + 5) % ITEMS as u32);
        assert!(!row.history.contains(&row.target));
    }
}

#[test]
fn several_orders_of_the_candidates_keep_the_scale_of_the_scores() {
    let rows = |candidate_orders: usize| -> Vec<(String, Vec<f32>)> {
        let outputs = scripted(&EvaluatePrompts { candidate_orders, ..stage() }, inputs(), reads_the_order);
        outputs.table.0.into_iter().map(|row| (row.prompt, row.scores)).collect()
    };
    assert_eq!(rows(2), rows(1), "a model that does not mind the order");
}

#[test]
fn settings_without_sense_are_refused() {
    let refused = |change: fn(&mut EvaluatePrompts)| {
        let mut stage = stage();
        change(&mut stage);
        stage.check().unwrap_err().0
    };
    assert_eq!(refused(|stage| stage.sessions = 1), "sessions");
    assert_eq!(refused(|stage| stage.candidate_orders = 2), "candidate_orders");
    assert_eq!(refused(|stage| stage.strategies = vec![Strategy::ItemOnly]), "strategies");
    assert_eq!(refused(|stage| stage.strategies = vec![Strategy::Recent, Strategy::Recent]), "strategies");
    assert_eq!(refused(|stage| stage.log_history.order = HistoryOrder::Shuffled), "log_history.order");
    assert_eq!(refused(|stage| stage.each_example = true), "each_example");
    assert_eq!(refused(|stage| stage.examples = vec![Examples::default()]), "examples");
    let server = serde_json::json!({ "openai": { "model": "m" } });
    let silent = EvaluatePrompts { llm: serde_json::from_value(server).unwrap(), ..stage() };
    let (path, said) = silent.check().unwrap_err();
    assert!(path == "llm" && said.contains("logprobs: true"), "{said}");
    assert_eq!(stage().check(), Ok(()));
}

#[test]
fn a_hint_is_told_last_and_without_hints_the_questions_are_the_same() {
    let hint = |id: &str, text: &str, verdict| Hint {
        id: id.into(),
        text: text.into(),
        kind: "template".into(),
        verdict,
        origin: None,
    };
    let hints = Hints(vec![
        hint("h01", "Prefer what comes next.", HintVerdict::Kept),
        hint("h02", "Prefer T05.", HintVerdict::Leaks),
        hint("h03", "Be bold.", HintVerdict::Kept),
    ]);
    // The model reads the order only where it is told to.
    let obeys = |request: &ChoiceRequest| match request
        .context
        .last()
        .is_some_and(|line| line == "Hint: Prefer what comes next.\n")
    {
        true => reads_the_order(&ChoiceRequest {
            context: request.context[..request.context.len() - 1].to_vec(),
            ..request.clone()
        }),
        false => request.options.iter().map(|option| -option[1..].parse::<f64>().unwrap() / 10.0).collect(),
    };
    let stage = EvaluatePrompts { strategies: vec![Strategy::Recent], aggregates: vec![], ..stage() };
    let [with, none, without] = [Some(hints), Some(Hints::default()), None]
        .map(|hints| scripted(&stage, PromptInputs { hints, ..inputs() }, obeys));
    assert_eq!((&none.calls, &none.table), (&without.calls, &without.table));
    let prompts: BTreeSet<&str> = with.table.0.iter().map(|row| row.prompt.as_str()).collect();
    assert_eq!(prompts.into_iter().collect::<Vec<_>>(), ["item_only", "recent", "recent + h01", "recent + h03"]);
    let gain = |prompt: &str| with.summary.find(prompt, "chronological", "ndcg_over_plain").unwrap();
    assert!(gain("recent + h01").low > 0.2 && gain("recent + h03").value == 0.0, "{:?}", with.summary);
}
