//! A scripted model that misses what it does not know, and writes one hint that helps.

use std::sync::Mutex;

use super::*;
use crate::artifact::HintOrigin;
use crate::llm::{Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, ParsedChoice};

const IDENTITY: &str = r#"{"provider":"gguf","blake3":"scripted"}"#;
const USEFUL: &str = "Prefer what is new and late.";

/// Ranks items with a low number first, unless it is told the hint that helps; writes that hint, one that does nothing, and one that names
/// the answer.
#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<ChoiceRequest>>,
    wrote: Mutex<Vec<CompletionRequest>>,
}

struct Reader<'a>(&'a Scripted);

impl Llm for Scripted {
    fn identity(&self) -> String {
        IDENTITY.into()
    }
    fn max_concurrency(&self) -> Option<usize> {
        Some(2)
    }
    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(|| Box::new(Reader(self))))
    }
    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        vec![]
    }
    fn parse_choice(&self, _: &ChoiceRequest, answer: &str, _: &[String]) -> Result<ParsedChoice> {
        let answer: serde_json::Value = serde_json::from_str(answer)?;
        let scores: Vec<f32> = serde_json::from_value(answer["logprob_sum"].clone())?;
        Ok(ParsedChoice { index: Some(0), scores })
    }
    fn completion_text(&self, answer: &str) -> Result<String> {
        let answer: serde_json::Value = serde_json::from_str(answer)?;
        Ok(answer["text"].as_str().context("no text")?.to_owned())
    }
}

impl Conversation for Reader<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        self.0.asked.lock().unwrap().push(request.clone());
        let number = |title: &String| title.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        let helped = request.context.iter().any(|line| line.contains(USEFUL));
        let sums: Vec<f64> =
            request.options.iter().map(|title| if helped { number(title) - 100.0 } else { -number(title) }).collect();
        let tokens = vec![1; sums.len()];
        Ok(Answer { text: serde_json::json!({ "logprob_sum": sums, "tokens": tokens }).to_string(), tokens: 1 })
    }
    fn complete(&mut self, request: &CompletionRequest) -> Result<Answer> {
        self.0.wrote.lock().unwrap().push(request.clone());
        let taken = request.context.iter().find_map(|line| line.strip_prefix("The user took: "));
        let text = match request.completion_prefix.split(' ').next() {
            Some("Short") => {
                format!("1. {USEFUL}\n2. Be bold and free.\n- Choose {}\n", taken.unwrap().trim().trim_end_matches('.'))
            }
            _ => "It was too careful.".into(),
        };
        Ok(Answer { text: serde_json::json!({ "text": text }).to_string(), tokens: 1 })
    }
}

/// 30 items; 12 users who took items 0 to 5 and then a late one, but the last two, who took an early one.
fn inputs() -> Inputs {
    let title = |k: usize| format!("Ocean storm number {k}");
    let items = Items {
        id: (0..30).map(|k| k.to_string()).collect(),
        title: (0..30).map(title).collect(),
        year: vec![None; 30],
        genres: vec![vec![]; 30],
        ..Items::default()
    };
    let mut train = Interactions::default();
    for user in 0..12_u32 {
        let target = if user < 10 { 20 + user } else { 6 };
        for (time, item) in [0, 1, 2, 3, 4, 5, target].into_iter().enumerate() {
            train.user.push(user);
            train.item.push(item);
            train.rating.push(4.0);
            train.timestamp.push(time as i64);
        }
    }
    Inputs { train, items, calls: None, adapter: None }
}

fn reflective(count: usize) -> MakeHints {
    let llm = serde_json::from_value(serde_json::json!({ "replay": { "score": "mean_logprob" } })).unwrap();
    let reflective =
        Reflective { n_candidates: 10, negatives: crate::prompting::Negatives::Uniform, ..Reflective::default() };
    MakeHints { kind: HintKind::Reflective, count, llm: Some(llm), reflective, ..MakeHints::default() }
}

fn reflect(stage: &MakeHints, llm: &dyn Llm) -> Outputs {
    let folder = tempfile::tempdir().unwrap();
    stage.reflect(llm, &inputs(), &Context::detached(folder.path())).unwrap()
}

#[test]
fn the_hint_that_helps_is_kept_and_what_leaks_repeats_or_does_nothing_is_not() {
    let llm = Scripted::default();
    let outputs = reflect(&reflective(20), &llm);
    let kept: Vec<&Hint> = outputs.hints.kept().collect();
    assert_eq!(kept.iter().map(|hint| hint.text.as_str()).collect::<Vec<_>>(), [USEFUL], "{:?}", outputs.hints);
    let Some(HintOrigin { session, user, target, ndcg_without, ndcg_with }) = &kept[0].origin else { panic!() };
    assert!(*user < 10 && *target == 20 + user && *session == *user, "{kept:?}");
    assert!(*ndcg_without < 0.4 && ndcg_with.unwrap() > 0.4);
    let of = |user: u32| -> Vec<HintVerdict> {
        let own = outputs.hints.0.iter().filter(|hint| hint.origin.as_ref().unwrap().user == user);
        own.map(|hint| hint.verdict).collect()
    };
    let missed: BTreeSet<u32> = outputs.hints.0.iter().map(|hint| hint.origin.as_ref().unwrap().user).collect();
    assert!(missed.len() > 5 && missed.iter().all(|user| *user < 10), "an early item is found without a hint");
    use HintVerdict::{Ineffective, Kept, Leaks, Redundant};
    let (first, last) = (missed.first().unwrap(), missed.last().unwrap());
    assert_eq!(of(*first), [Kept, Ineffective, Leaks]);
    assert_eq!(of(*last), [Redundant, Ineffective, Leaks]);
    // What leaks is never told to the model, and every call is recorded once.
    let asked = llm.asked.lock().unwrap();
    assert!(!asked.iter().flat_map(|request| &request.context).any(|line| line.contains("Hint: Choose")));
    assert_eq!(outputs.calls.0.len(), asked.len() + llm.wrote.lock().unwrap().len());
    let counted: u32 = outputs.llm_usage.0.iter().map(|usage| usage.calls).sum();
    assert_eq!((outputs.llm_usage.0.len(), counted as usize), (12, outputs.calls.0.len()));
    // The model learns the answer only after it has explained its mistake without it.
    let wrote = llm.wrote.lock().unwrap();
    for request in wrote.iter() {
        let told = request.context.iter().any(|line| line.starts_with("The user took: "));
        assert_eq!(told, !request.completion_prefix.starts_with("Likely mistakes"), "{request:?}");
    }
}

#[test]
fn recorded_calls_give_the_same_hints_and_no_session_is_asked_after_the_last_hint() {
    let outputs = reflect(&reflective(1), &Scripted::default());
    assert_eq!(outputs.hints.kept().count(), 1);
    assert_eq!(outputs.hints.0.last().unwrap().verdict, HintVerdict::Kept, "what came after the last hint is cut");
    let users: Vec<u32> = outputs.llm_usage.0.iter().map(|usage| usage.user).collect();
    assert_eq!(users, [0, 1, 2, 3, 4, 5, 6, 7], "one batch");
    let folder = tempfile::tempdir().unwrap();
    let replayed = Inputs { calls: Some(outputs.calls.clone()), ..inputs() };
    let again = reflective(1).run(replayed, &Context::detached(folder.path())).unwrap();
    assert_eq!(again.hints, outputs.hints);
}

#[test]
fn templates_name_no_title_and_ask_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cx = Context::detached(folder.path());
    let outputs = MakeHints::default().run(inputs(), &cx).unwrap();
    assert_eq!(outputs.hints.kept().count(), 20);
    assert_eq!((outputs.calls, outputs.llm_usage), (Calls(vec![]), LlmUsage(vec![])));
    assert_eq!(outputs.hints.0[0].id, "h01");
    // A title that a template happens to hold is not told.
    let mut inputs = inputs();
    inputs.items.title[7] = "The Latest Choice (1999)".into();
    let found = MakeHints { item_noun: "film".into(), ..MakeHints::default() }.run(inputs, &cx).unwrap().hints;
    let leaked: Vec<&Hint> = found.0.iter().filter(|hint| hint.verdict == HintVerdict::Leaks).collect();
    assert!(!leaked.is_empty() && leaked.iter().all(|hint| hint.text.contains("the latest choice")), "{leaked:?}");
    // "the latest choices" is another word.
    let whole = |text: &str| ["the latest choice ", "the latest choice."].iter().any(|phrase| text.contains(phrase));
    assert!(found.kept().all(|hint| !whole(&hint.text)));
}

#[test]
fn what_no_type_can_say_is_refused_by_its_own_name() {
    let refused = |stage: MakeHints| stage.check().unwrap_err();
    assert_eq!(refused(MakeHints { count: 0, ..MakeHints::default() }).0, "count");
    assert_eq!(refused(MakeHints { item_noun: " ".into(), ..MakeHints::default() }).0, "item_noun");
    assert_eq!(refused(MakeHints { kind: HintKind::Template, ..reflective(1) }).0, "llm");
    assert_eq!(refused(MakeHints { llm: None, ..reflective(1) }).1, "`kind: reflective` needs a language model");
    let server = serde_json::json!({ "openai": { "base_url": "http://localhost:1/v1", "model": "m" } });
    let silent = MakeHints { llm: Some(serde_json::from_value(server).unwrap()), ..reflective(1) };
    assert!(refused(silent).1.contains("logprobs: true"));
    let wrong = MakeHints { reflective: Reflective { top: 0, ..Reflective::default() }, ..MakeHints::default() };
    assert_eq!(refused(wrong).0, "reflective.top");
    let template = serde_json::to_value(MakeHints::default()).unwrap();
    assert!(template.get("llm").is_none());
}
