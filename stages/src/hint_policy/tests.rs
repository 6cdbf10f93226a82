//! Planted tables: which prompt helps depends on the history, or on nothing.

use rand::RngExt;

use super::*;
use crate::artifact::{Hint, HintVerdict, PromptResult};

const HINTS: usize = 4;

fn items() -> Items {
    Items {
        id: (0..40).map(|k| k.to_string()).collect(),
        title: (0..40).map(|k| format!("Title {k}")).collect(),
        year: vec![None; 40],
        genres: (0..40).map(|k| vec![format!("genre {}", k % HINTS)]).collect(),
        ..Items::default()
    }
}

fn hints() -> Hints {
    let hint = |k: usize| Hint {
        id: format!("h{:02}", k + 1),
        text: format!("Prefer genre {k}."),
        kind: "template".into(),
        verdict: HintVerdict::Kept,
        origin: None,
    };
    Hints((0..HINTS).map(hint).collect())
}

/// Sessions of users who like one genre each; the target has rank `rank(session, prompt, noise in [0, 1))` among 20.
fn table(sessions: u32, rank: impl Fn(u32, usize, f64) -> f64) -> PromptTable {
    let mut draw = rng(&[11]);
    let mut rows = Vec::new();
    for session in 0..sessions {
        let genre = session % HINTS as u32;
        for prompt in 0..=HINTS {
            let rank = rank(session, prompt, draw.random()).round().clamp(1.0, 20.0) as u32;
            // The target is candidate 0; rank − 1 candidates have a higher score.
            let scores = (0..20).map(|k| {
                if k == 0 {
                    0.5
                } else if k < rank {
                    1.0 + k as f32
                } else {
                    -(k as f32)
                }
            });
            rows.push(PromptResult {
                session,
                user: 100 + session,
                target: 0,
                history: (0..5).map(|k| genre + k * HINTS as u32 + 4).collect(),
                prompt: if prompt == 0 { "recent".into() } else { format!("recent + h{prompt:02}") },
                order: "chronological".into(),
                candidates: (0..20).collect(),
                scores: scores.collect(),
                tokens: None,
                calls: 1,
            });
        }
    }
    PromptTable(rows)
}

/// Hint k + 1 takes the target of users of genre k from the middle to the top, the others do nothing.
fn planted(session: u32, prompt: usize, noise: f64) -> f64 {
    if prompt == (session % HINTS as u32) as usize + 1 { 1.0 + noise } else { 8.0 + 2.0 * noise }
}

/// A quick PPO, as far as an unoptimised build allows.
fn ppo() -> HintPolicy {
    let optimizer = crate::nn::Optimizer::with_learning_rate(0.005);
    let ppo = PpoSettings {
        n_iterations: 40,
        sessions_per_update: 64,
        n_epochs: 4,
        hidden_size: 16,
        clip_range: 0.2,
        optimizer,
        ..PpoSettings::default()
    };
    HintPolicy { algorithm: Algorithm::Ppo(ppo), folds: 2, n_resamples: 200, ..HintPolicy::default() }
}

fn bandit() -> HintPolicy {
    HintPolicy { n_resamples: 200, ..HintPolicy::default() }
}

fn run(settings: &HintPolicy, prompts: PromptTable, hints: Option<Hints>) -> Outputs {
    let folder = tempfile::tempdir().unwrap();
    let inputs = Inputs { prompts, test: None, items: items(), item_vectors: None, hints };
    settings.run(inputs, &Context::detached(folder.path())).unwrap()
}

fn find(outputs: &Outputs, policy: &str, metric: &str) -> (f64, f64, f64) {
    let row = outputs.metrics.rows.iter().find(|row| row.policy == policy && row.metric == metric).unwrap();
    (row.mean, row.low, row.high)
}

#[test]
fn a_planted_hint_of_each_history_is_found() {
    for settings in [bandit(), ppo()] {
        let outputs = run(&settings, table(120, planted), Some(hints()));
        let name = settings.algorithm.name();
        let regret = find(&outputs, "oracle", "ndcg").0 - find(&outputs, name, "ndcg").0;
        assert!(regret < 0.03, "{name}: {regret}");
        let (_, low, _) = find(&outputs, name, "lead_over_best_fixed");
        assert!(low > 0.2, "{name} leads by {low} at least");
        assert!(find(&outputs, name, "lead_over_states_exchanged").1 > 0.2);
        assert!(find(&outputs, "oracle", "gain_corrected").1 > 0.05, "what is planted is no luck");
        // The memories are the hints of the users' genres.
        let right = |memory: &&Memory| {
            let Memory::Reflection { user, text, .. } = memory else { panic!("{memory:?}") };
            *text == format!("Prefer genre {}.", (user - 100) % HINTS as u32)
        };
        let share = outputs.memories.0.iter().filter(right).count() as f64 / 120.0;
        assert!(share > 0.95, "{name}: {share}");
        assert_eq!(outputs.choices.0.len(), 120);
        assert_eq!(outputs.curves.0.is_empty(), name == "bandit");
    }
}

#[test]
fn noise_alone_gives_no_lead_beyond_luck_and_the_policy_costs_little() {
    let outputs = run(&bandit(), table(200, |_, _, noise| 1.0 + 19.0 * noise), Some(hints()));
    assert!(find(&outputs, "oracle", "gain").1 > 0.1, "the oracle leads by luck");
    let (corrected, low, high) = find(&outputs, "oracle", "gain_corrected");
    assert!(corrected.abs() < 0.02 && low < 0.0 && high > 0.0, "{corrected} [{low}, {high}]");
    let (lead, low, high) = find(&outputs, "bandit", "lead_over_best_fixed");
    assert!(low <= 0.0 && high >= 0.0, "{lead} [{low}, {high}]");
}

#[test]
fn the_best_fixed_prompt_is_chosen_where_it_is_best_for_all() {
    let best = |_: u32, prompt: usize, noise: f64| if prompt == 2 { 1.0 + noise } else { 5.0 + 10.0 * noise };
    let outputs = run(&bandit(), table(80, best), Some(hints()));
    assert!(outputs.choices.0.iter().all(|choice| choice.prompt == "recent + h02" && choice.hint == "Prefer genre 1."));
    assert_eq!(find(&outputs, "bandit", "lead_over_best_fixed"), (0.0, 0.0, 0.0));
    let row = outputs.metrics.rows.iter().find(|row| row.policy == "best fixed").unwrap();
    assert_eq!(row.remark, "`recent + h02`");
    // The prompt without a hint where it is the best: no memory, so that nothing is told.
    let plain = |_: u32, prompt: usize, noise: f64| if prompt == 0 { 1.0 + noise } else { 5.0 + 10.0 * noise };
    let outputs = run(&bandit(), table(80, plain), Some(hints()));
    assert_eq!(outputs.memories, Memories::default());
}

#[test]
fn strategies_are_chosen_without_hints_and_leave_no_memories() {
    let outputs = run(&bandit(), table(120, planted), None);
    assert_eq!(outputs.memories, Memories::default());
    assert!(outputs.choices.0.iter().all(|choice| choice.hint.is_empty()));
    assert!(find(&outputs, "bandit", "lead_over_best_fixed").1 > 0.2);
    assert!(outputs.metrics.rows.iter().any(|row| row.policy == "recent" && row.metric == "ndcg"));
    let two = HintPolicy { prompts: vec!["recent + h01".into()], reference: Some("recent + h02".into()), ..bandit() };
    let outputs = run(&two, table(60, planted), None);
    assert!(outputs.choices.0.iter().all(|choice| ["recent + h01", "recent + h02"].contains(&choice.prompt.as_str())));
    assert!(outputs.metrics.rows.iter().any(|row| row.policy == "recent + h02" && row.metric == "ndcg"));
}

#[test]
fn prompts_without_a_hint_are_no_actions_of_a_policy_over_hints() {
    let mut with_others = table(60, planted);
    let more = with_others.0.iter().filter(|row| row.prompt == "recent");
    let others =
        more.flat_map(|row| ["item_only", "borda"].map(|name| PromptResult { prompt: name.into(), ..row.clone() }));
    let others: Vec<PromptResult> = others.collect();
    let table = PromptTable([others, with_others.0.split_off(0)].concat());
    let (wanted, reference) = bandit().actions(&table, Some(&hints())).unwrap();
    assert_eq!(wanted, ["recent + h01", "recent + h02", "recent + h03", "recent + h04"]);
    assert_eq!(reference.as_deref(), Some("recent"));
    let strange = Hints(hints().0.into_iter().map(|hint| Hint { id: format!("x{}", hint.id), ..hint }).collect());
    let error = bandit().actions(&table, Some(&strange)).unwrap_err().to_string();
    assert!(error.starts_with("no prompt of the table tells one of the 4 hints\nhelp: "), "{error}");
}

#[test]
fn other_users_can_be_the_test_and_equal_seeds_give_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let cx = Context::detached(folder.path());
    let mut later = table(160, planted);
    later.0.retain(|row| row.session >= 120);
    let inputs = |test: PromptTable| Inputs {
        prompts: table(120, planted),
        test: Some(test),
        items: items(),
        item_vectors: None,
        hints: Some(hints()),
    };
    let outputs = bandit().run(inputs(later.clone()), &cx).unwrap();
    assert_eq!(outputs.choices.0.len(), 40);
    assert!(find(&outputs, "oracle", "ndcg").0 - find(&outputs, "bandit", "ndcg").0 < 0.03);
    let small =
        HintPolicy { algorithm: Algorithm::Ppo(PpoSettings { n_iterations: 2, ..PpoSettings::default() }), ..bandit() };
    let [first, second] = [(); 2].map(|()| small.run(inputs(later.clone()), &cx).unwrap());
    assert_eq!((first.metrics, first.choices, first.curves), (second.metrics, second.choices, second.curves));
    let error = bandit().run(inputs(table(4, planted)), &cx).err().unwrap().to_string();
    assert!(error.starts_with("user 100 is in both `prompts` and `test`\nhelp: "), "{error}");
    let few = Inputs { test: None, prompts: table(6, planted), ..inputs(later) };
    let error = bandit().run(few, &cx).err().unwrap().to_string();
    assert!(error.starts_with("6 users with a complete session are too few, wanted 10\nhelp: "), "{error}");
}

#[test]
fn what_no_type_can_say_is_refused_by_its_own_name() {
    assert_eq!(HintPolicy { folds: 1, ..bandit() }.check().unwrap_err().0, "folds");
    assert_eq!(HintPolicy { n_resamples: 9, ..bandit() }.check().unwrap_err().0, "n_resamples");
    assert_eq!(HintPolicy { prompts: vec!["a".into(), "a".into()], ..bandit() }.check().unwrap_err().0, "prompts");
    let ppo = PpoSettings { batch_size: 0, ..PpoSettings::default() };
    let wrong = HintPolicy { algorithm: Algorithm::Ppo(ppo), ..bandit() };
    assert_eq!(wrong.check().unwrap_err().0, "algorithm.ppo.batch_size");
    let read: HintPolicy = serde_json::from_str(r#"{"algorithm":{"ppo":{"n_epochs":3}}}"#).unwrap();
    assert!(matches!(read.algorithm, Algorithm::Ppo(PpoSettings { n_epochs: 3, .. })));
    let read: HintPolicy = serde_json::from_str(r#"{"algorithm":"bandit"}"#).unwrap();
    assert_eq!(read, HintPolicy::default());
}
