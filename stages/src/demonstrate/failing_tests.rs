//! Answers that are none: what becomes of them, in this run, in the next one, and in a store that holds some.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::tests::{inputs, stage};
use super::*;
use crate::llm::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, FailedCall, ParsedChoice,
};

/// Answers each question as `script` says by how often it was asked; `?` is an answer that is none, and `!` a failed call.
struct Moody {
    script: fn(usize) -> &'static str,
    asked: Mutex<BTreeMap<String, usize>>,
}

impl Moody {
    fn new(script: fn(usize) -> &'static str) -> Self {
        Self { script, asked: Mutex::default() }
    }

    fn questions(&self) -> usize {
        self.asked.lock().unwrap().values().sum()
    }
}

fn failed(reason: &str) -> FailedCall {
    FailedCall { status: Some(200), reason: reason.into(), raw: "?".into() }
}

impl Llm for Moody {
    fn identity(&self) -> String {
        "moody".into()
    }
    fn max_concurrency(&self) -> Option<usize> {
        Some(1)
    }
    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(|| Box::new(Mood(self))))
    }
    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        vec![]
    }
    fn parse_choice(&self, _: &ChoiceRequest, answer: &str, _: &[String]) -> Result<ParsedChoice> {
        Ok(ParsedChoice { index: answer.parse().ok(), scores: vec![] })
    }
    fn completion_text(&self, answer: &str) -> Result<String> {
        Ok(answer.to_owned())
    }
    fn answer_failure(&self, _: &str, answer: &str) -> Result<Option<FailedCall>> {
        Ok((answer == "?").then(|| failed("the answer is empty")))
    }
}

struct Mood<'a>(&'a Moody);

impl Conversation for Mood<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        let mut asked = self.0.asked.lock().unwrap();
        let times = asked.entry(request.canonical()).or_default();
        *times += 1;
        match (self.0.script)(*times) {
            "!" => Err(failed("withheld").into()),
            text => Ok(Answer { text: text.into(), tokens: 1 }),
        }
    }
    fn complete(&mut self, _: &CompletionRequest) -> Result<Answer> {
        anyhow::bail!("asked to write")
    }
}

fn play(stage: &Demonstrate, llm: &Moody, folder: &std::path::Path) -> Result<Outputs> {
    stage.demonstrate(llm, &inputs(), &Context::detached(folder))
}

/// The first question that any play of [`stage`] asks.
fn first_request() -> ChoiceRequest {
    let folder = tempfile::tempdir().unwrap();
    let llm = Moody::new(|_| "0");
    let played = play(&Demonstrate { users: 1, ..stage() }, &llm, folder.path()).unwrap();
    serde_json::from_str(&played.calls.0[0].request).unwrap()
}

#[test]
fn when_every_question_fails_it_is_not_the_questions() {
    let folder = tempfile::tempdir().unwrap();
    let lenient = Demonstrate { min_valid_rate: 0.0, ..stage() };
    let llm = Moody::new(|_| "!");
    let error = format!("{:#}", play(&lenient, &llm, folder.path()).err().unwrap());
    assert!(error.contains("all of the first 5 calls failed, the last one: withheld\nhelp: "), "{error}");
    assert_eq!(llm.questions(), 5, "nothing more was asked");
    // After an answer that is kept, a failure is one question's, also in the next run.
    let request = first_request();
    let values = ValueStore::open(Context::detached(folder.path()).calls()).unwrap();
    values.put_new(&request.key("moody"), b"0").unwrap();
    assert!(play(&lenient, &Moody::new(|_| "!"), folder.path()).is_ok());
}

#[test]
fn a_failed_question_is_asked_again_by_the_next_run_and_an_answer_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let lenient = Demonstrate { min_valid_rate: 0.0, ..stage() };
    let values = ValueStore::open(Context::detached(folder.path()).calls()).unwrap();
    let first = first_request();
    // As an older program kept them: no answer at the first, an answer at none.
    values.put_new(&first.key("moody"), b"?").unwrap();
    let llm = Moody::new(|_| "1");
    let played = play(&lenient, &llm, folder.path()).unwrap();
    assert!(llm.asked.lock().unwrap().contains_key(&first.canonical()), "what lacks an answer is asked again");
    let call = played.calls.0.iter().find(|call| call.key == first.key("moody")).unwrap();
    assert_eq!((call.answer.as_str(), &call.failure), ("1", &None));
    let again = Moody::new(|_| "!");
    let served = play(&lenient, &again, folder.path()).unwrap();
    assert_eq!((again.questions(), served.calls), (0, played.calls), "stored answers stay");
    assert_eq!(values.get(&first.key("moody")).unwrap().unwrap(), b"?", "what the store holds stays");
}

#[test]
fn a_stage_of_which_no_answer_names_anything_stops_early() {
    let folder = tempfile::tempdir().unwrap();
    let llm = Moody::new(|_| "hm");
    let error = format!("{:#}", play(&stage(), &llm, folder.path()).err().unwrap());
    let said = "all of the first 8 answers name no item that may be shown; the first of them is: hm\nhelp: ";
    assert!(error.contains(said), "{error}");
    assert_eq!(llm.questions(), 8);
    let lenient = Demonstrate { min_valid_rate: 0.0, ..stage() };
    assert!(play(&lenient, &Moody::new(|_| "hm"), folder.path()).is_ok(), "whom it does not matter");
}
