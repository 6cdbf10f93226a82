//! The stage as a whole, on a model of known verdicts, on one that fails, and on the toy model.

use std::path::Path;
use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::llm::gguf::toy;
use crate::llm::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, FailedCall, ParsedChoice,
};

const TITLES: [&str; 4] = ["Heat", "Fargo", "Big", "Alien"];

/// A model that gives word k of a question about `TITLES[i]` the probability e^(−i·k − [the prompt is long]), and the grade i + 1.
/// It refuses questions about the `refused` title, and gives no log-probabilities where it is `mute`.
#[derive(Default)]
struct Verdicts {
    refused: Option<&'static str>,
    mute: bool,
    asked: Mutex<Vec<String>>,
}

struct VerdictConversation<'a>(&'a Verdicts);

impl Llm for Verdicts {
    fn identity(&self) -> String {
        "verdicts".into()
    }
    fn max_concurrency(&self) -> Option<usize> {
        Some(2)
    }
    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(|| Box::new(VerdictConversation(self))))
    }
    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        panic!("the score of a recommendation plays no part")
    }
    fn parse_choice(&self, _: &ChoiceRequest, _: &str, _: &[String]) -> Result<ParsedChoice> {
        panic!("nothing is chosen")
    }
    fn option_logprobs(&self, request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
        let logprobs: Vec<f64> = serde_json::from_str(answer)?;
        assert_eq!(logprobs.len(), request.options.len());
        Ok((!self.mute).then_some(logprobs))
    }
    fn completion_text(&self, answer: &str) -> Result<String> {
        Ok(answer.to_owned())
    }
}

impl VerdictConversation<'_> {
    fn answer(&self, request: String, text: impl Fn(usize) -> String) -> Result<Answer> {
        self.0.asked.lock().unwrap().push(request.clone());
        if self.0.refused.is_some_and(|title| request.contains(title)) {
            return Err(FailedCall { status: Some(400), reason: "not that one".into(), raw: String::new() }.into());
        }
        let item = TITLES.iter().position(|title| request.contains(title)).unwrap_or(TITLES.len());
        Ok(Answer { text: text(item), tokens: 1 })
    }
}

impl Conversation for VerdictConversation<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        let long = if request.context.is_empty() { 0.0 } else { 1.0 };
        let logprob = |item: usize, word: usize| -((item * word) as f64) - long;
        let words = 0..request.options.len();
        self.answer(request.canonical(), |item| {
            json!(words.clone().map(|word| logprob(item, word)).collect::<Vec<_>>()).to_string()
        })
    }
    fn complete(&mut self, request: &CompletionRequest) -> Result<Answer> {
        self.answer(request.canonical(), |item| match item {
            3 => "I cannot say".into(),
            item => format!("{} of {}", item + 1, request.integer.unwrap().1),
        })
    }
}

fn items(titles: &[&str]) -> Items {
    Items {
        id: titles.iter().map(|title| format!("id of {title}")).collect(),
        title: titles.iter().map(|&title| title.to_owned()).collect(),
        year: vec![None; titles.len()],
        genres: vec![vec![]; titles.len()],
        ..Items::default()
    }
}

/// Two contrasts of 1 and 2, and of 1 and 1 words.
fn stage() -> Rate {
    serde_json::from_value(json!({
        "llm": { "gguf": { "asset": "toy" } },
        "item_noun": "movie",
        "by": { "contrasts": {
            "b": { "prompt": "Movie: {{ title }}\nIt is", "positive": ["good"], "negative": ["bad", "dull"] },
            "a": { "prompt": "{{ title }} was", "positive": ["fun"], "negative": ["not"] },
        } },
    }))
    .unwrap()
}

fn rate(stage: &Rate, llm: &Verdicts, titles: &[&str], folder: &Path) -> Result<Outputs> {
    stage.rate(llm, &items(titles), &Context::detached(folder))
}

#[test]
fn scores_by_hand_and_each_question_is_asked_once_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let llm = Verdicts::default();
    let Outputs { item_scores, item_vectors, calls } = rate(&stage(), &llm, &TITLES, folder.path()).unwrap();
    // a: 0 − (−i); b: 0 − mean(−i, −2i) = 1.5·i, whatever the prompt costs.
    let of = |slope: f64| (0..4).map(|item| Some(slope * f64::from(item))).collect::<Vec<_>>();
    assert_eq!(item_scores.questions, [("a".to_owned(), of(1.0)), ("b".to_owned(), of(1.5))]);
    assert_eq!(item_scores.score, of(1.25));
    assert_eq!(
        (item_vectors.vectors.shape.as_slice(), &item_vectors.columns[..]),
        (&[4, 2][..], &["a".to_owned(), "b".into()][..])
    );
    let standard = ((0.0 - 1.5) / 1.25_f64.sqrt()) as f32;
    assert_eq!(item_vectors.vectors.row(0), [standard, standard]);
    assert_eq!((llm.asked.lock().unwrap().len(), calls.0.len()), (8, 8));
    let request: ChoiceRequest = serde_json::from_str(&calls.0[1].request).unwrap();
    assert_eq!((request.context, &*request.completion_prefix), (vec![String::new(), "Movie: Heat\n".into()], "It is"));

    // Another stage, and another run on more items: only what is new is asked.
    let again = rate(&Rate { min_valid_rate: 1.0, ..stage() }, &llm, &TITLES, folder.path()).unwrap();
    assert_eq!((again.item_scores, again.calls), (item_scores, calls));
    assert_eq!(llm.asked.lock().unwrap().len(), 8, "nothing");
    rate(&stage(), &llm, &["Alien", "Casino", "Heat"], folder.path()).unwrap();
    assert_eq!(llm.asked.lock().unwrap().len(), 10, "Casino");
}

#[test]
fn scores_follow_their_items_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let rated = |titles: &[&str]| rate(&stage(), &Verdicts::default(), titles, folder.path()).unwrap().item_scores;
    let (plain, mixed) = (rated(&TITLES), rated(&["Big", "Heat", "Alien", "Fargo"]));
    let moved: Vec<Option<f64>> = [2, 0, 3, 1].map(|item: usize| plain.score[item]).to_vec();
    assert_eq!(mixed.score, moved);
    let twice = rated(&["Big", "Big"]);
    assert_eq!(twice.score[0], twice.score[1], "one text, one answer");
}

#[test]
fn an_item_without_an_answer_has_no_score_and_too_many_of_them_fail_the_stage() {
    let folder = tempfile::tempdir().unwrap();
    let refusing = Verdicts { refused: Some("Fargo"), ..Verdicts::default() };
    let Outputs { item_scores, calls, .. } = rate(&stage(), &refusing, &TITLES, folder.path()).unwrap();
    assert_eq!(item_scores.score, [Some(0.0), None, Some(2.5), Some(3.75)]);
    assert_eq!(item_scores.questions[1].1[1], None);
    assert_eq!(calls.0.iter().filter(|call| call.failure.is_some()).count(), 2);
    let strict = Rate { min_valid_rate: 0.8, ..stage() };
    let error = rate(&strict, &refusing, &TITLES, folder.path()).err().unwrap().to_string();
    assert!(
        error.starts_with(
            "the answers about 1 of 4 items hold no log-probabilities; the first of them is: failed: not that one\n"
        ),
        "{error}"
    );
    assert!(error.contains("help: fix the error") && error.ends_with("`min_valid_rate` from 0.8"), "{error}");
    let asked = refusing.asked.lock().unwrap().len();
    assert_eq!(asked, 8 + 2, "the failed ones once more");
    // The next run asks them again, and then they are answered.
    let healed = Verdicts::default();
    let rated = rate(&strict, &healed, &TITLES, folder.path()).unwrap();
    assert_eq!((rated.item_scores.score[1], healed.asked.lock().unwrap().len()), (Some(1.25), 2));
}

#[test]
fn a_model_without_log_probabilities_is_noticed_at_the_first_items() {
    let folder = tempfile::tempdir().unwrap();
    let titles: Vec<String> = (0..100).map(|item| format!("Title {item}")).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mute = Verdicts { mute: true, ..Verdicts::default() };
    let error = rate(&stage(), &mute, &titles, folder.path()).err().unwrap().to_string();
    assert!(error.starts_with("the answers about the first ") && error.contains("by: { grade: {} }"), "{error}");
    assert!(mute.asked.lock().unwrap().len() <= 2 * 10, "two of a hundred were asked at a time");
}

#[test]
fn grades_are_read_and_an_answer_without_one_is_no_score() {
    let folder = tempfile::tempdir().unwrap();
    let by = RateBy::Grade(crate::llm::Grade { low: 1, high: 5, ..Default::default() });
    let stage = Rate { by, ..stage() };
    let Outputs { item_scores, calls, .. } = rate(&stage, &Verdicts::default(), &TITLES, folder.path()).unwrap();
    assert_eq!(item_scores.score, [Some(1.0), Some(2.0), Some(3.0), None]);
    assert_eq!(item_scores.questions, [("grade".to_owned(), item_scores.score.clone())]);
    assert!(calls.0.iter().all(|call| call.failure.is_none()), "it was answered, if not with a number");
    let error = rate(&Rate { min_valid_rate: 0.9, ..stage }, &Verdicts::default(), &TITLES, folder.path());
    let error = error.err().unwrap().to_string();
    assert!(
        error.starts_with("the answers about 1 of 4 items hold no grade; the first of them is: I cannot say\n"),
        "{error}"
    );
}

#[test]
fn the_embedded_model_gives_equal_bytes_on_any_thread_count() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("toy.gguf");
    toy::write_toy(&model).unwrap();
    let rated = |threads: usize| {
        let scratch = tempfile::tempdir().unwrap();
        let mut cx = Context::detached(scratch.path());
        cx.add_asset("toy", &model);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let inputs =
            Inputs { items: items(&["over", "the inner", "thin", "<|im_end|>", ""]), calls: None, adapter: None };
        let stage: Rate = serde_json::from_value(json!({ "llm": { "gguf": { "asset": "toy" } } })).unwrap();
        let outputs = pool.install(|| stage.run(inputs, &cx)).unwrap();
        let file = scratch.path().join("scores");
        outputs.item_scores.write(&file).unwrap();
        (outputs.item_scores, outputs.calls, std::fs::read(file).unwrap())
    };
    let (scores, calls, bytes) = rated(1);
    assert!(rated(2) == (scores.clone(), calls.clone(), bytes));
    assert!(scores.score.iter().all(Option::is_some) && scores.questions.len() == 3);
    assert_eq!(calls.0.len(), 15);

    // What was recorded answers again without the model.
    let replay: Rate = serde_json::from_value(json!({ "llm": { "replay": {} } })).unwrap();
    let inputs =
        Inputs { items: items(&["over", "the inner", "thin", "<|im_end|>", ""]), calls: Some(calls), adapter: None };
    let scratch = tempfile::tempdir().unwrap();
    assert_eq!(replay.run(inputs, &Context::detached(scratch.path())).unwrap().item_scores, scores);
}

#[test]
fn the_likelihood_of_a_title_is_that_of_its_tokens_after_the_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("toy.gguf");
    toy::write_toy(&model).unwrap();
    let mut cx = Context::detached(folder.path());
    cx.add_asset("toy", &model);
    let likelihood = json!({ "likelihood": { "prompt": "One {{ noun }}:" } });
    let stage = json!({ "llm": { "gguf": { "asset": "toy" } }, "item_noun": "thing", "by": likelihood });
    let stage: Rate = serde_json::from_value(stage).unwrap();
    let titles = ["over", "the inner", "over the inner"];
    let found = stage.run(Inputs { items: items(&titles), calls: None, adapter: None }, &cx).unwrap().item_scores;
    let llm = stage.llm.open(&cx, vec![], None).unwrap();
    let wanted = titles.map(|title| {
        let (completion_prefix, options) = ("One thing:".to_owned(), vec![title.to_owned()]);
        let request = ChoiceRequest { context: vec![], completion_prefix, options };
        let answer = llm.conversations("").unwrap()().choose(&request).unwrap();
        Some(llm.option_logprobs(&request, &answer.text).unwrap().unwrap()[0])
    });
    assert_eq!(found.score, wanted);
    assert!(wanted[2] < wanted[0], "a longer title is less likely: {wanted:?}");
}

#[test]
fn a_stop_keeps_what_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let cx = Context::detached(folder.path());
    cx.interrupt();
    let llm = Verdicts::default();
    let stopped = stage().rate(&llm, &items(&TITLES), &cx).err().unwrap();
    assert!(stopped.is::<pipeline::Interrupted>() && llm.asked.lock().unwrap().is_empty(), "{stopped:#}");
}

#[test]
fn what_no_type_can_say_is_refused_by_its_own_name() {
    let refused = |change: fn(&mut Rate)| {
        let mut stage = stage();
        change(&mut stage);
        stage.check().unwrap_err().0
    };
    assert_eq!(stage().check(), Ok(()));
    assert_eq!(refused(|s| s.item_noun = " ".into()), "item_noun");
    assert_eq!(refused(|s| s.min_valid_rate = 1.5), "min_valid_rate");
    assert_eq!(refused(|s| s.by = RateBy::Contrasts(Default::default())), "by.contrasts");
}
