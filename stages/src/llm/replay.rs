//! Recorded calls as a model: it answers recorded requests and no others.
//!
//! Answers are parsed as their provider parses them, so an episode can be replayed without the server or the model. The identity
//! contains a digest of all recorded calls.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::openai::response;
use super::option_scorer::{self, Score};
use super::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, FailedCall, Llm, ParsedChoice,
    TokenUsage,
};
use crate::artifact::{Call, Calls};

/// The most characters of a request that an error quotes.
const QUOTED: usize = 300;

/// `llm: { replay: … }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayConfig {
    /// The score that ranks the options, for answers of a GGUF model.
    #[serde(default)]
    pub score: Score,
}

/// A recorded call.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// The identity of the model.
    pub model: String,
    /// The canonical request.
    pub request: String,
    /// The answer, or the failure.
    pub answer: Result<String, FailedCall>,
}

impl RecordedCall {
    /// The calls of an artifact; none where it is not connected.
    #[must_use]
    pub fn all_of(calls: Option<&Calls>) -> Vec<Self> {
        let record = |call: &Call| Self {
            model: call.model.clone(),
            request: call.request.clone(),
            answer: call.failure.as_ref().map_or_else(
                || Ok(call.answer.clone()),
                |failure| {
                    let (status, reason) = (failure.status, failure.reason.clone());
                    Err(FailedCall { status, reason, raw: call.answer.clone() })
                },
            ),
        };
        calls.map_or_else(Vec::new, |calls| calls.0.iter().map(record).collect())
    }
}

/// The provider of the answers.
#[derive(Clone, Copy)]
enum Reader {
    Gguf(Score),
    Openai,
}

/// Recorded calls by request.
pub(super) struct ReplayLlm {
    identity: String,
    reader: Reader,
    answers: BTreeMap<String, Result<String, FailedCall>>,
}

impl ReplayConfig {
    pub(super) fn open(&self, calls: Vec<RecordedCall>) -> Result<ReplayLlm> {
        let model = calls.first().context("no calls are recorded")?.model.clone();
        if let Some(other) = calls.iter().find(|call| call.model != model) {
            bail!("only calls of one model can be replayed; these are of `{model}` and of `{}`", other.model);
        }
        let reader = self.reader(&model)?;
        let mut hasher = blake3::Hasher::new();
        let mut answers = BTreeMap::new();
        for call in calls {
            answers.entry(call.request).or_insert(call.answer);
        }
        for (request, answer) in &answers {
            let answer = answer.as_ref().map_or_else(|failed| failed.reason.as_str(), String::as_str);
            for text in [request.as_str(), answer] {
                hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
        }
        let of = Value::from(model);
        let identity = format!(r#"{{"provider":"replay","blake3":"{}","of":{of}}}"#, hasher.finalize().to_hex());
        Ok(ReplayLlm { identity, reader, answers })
    }

    /// The parser of the answers of a model with that identity.
    fn reader(&self, model: &str) -> Result<Reader> {
        let about: Value = serde_json::from_str(model).unwrap_or_default();
        match (about["provider"].as_str(), about["of"].as_str()) {
            (Some("gguf"), _) => Ok(Reader::Gguf(self.score)),
            (Some("openai"), _) => Ok(Reader::Openai),
            (Some("replay"), Some(of)) => self.reader(of),
            _ => bail!(
                "the calls are of `{model}`, whose answers cannot be parsed\nhelp: connect the calls of a `demonstrate` or `rate` stage; \
                 imported transcripts are demonstrations already and need no replay"
            ),
        }
    }
}

impl Llm for ReplayLlm {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn max_concurrency(&self) -> Option<usize> {
        None
    }

    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(move || Box::new(ReplayConversation(self))))
    }

    fn references(&self, request: &ChoiceRequest) -> Vec<ChoiceRequest> {
        match self.reader {
            Reader::Gguf(score) => option_scorer::references(score, request),
            Reader::Openai => vec![],
        }
    }

    fn parse_choice(&self, request: &ChoiceRequest, answer: &str, references: &[String]) -> Result<ParsedChoice> {
        match self.reader {
            Reader::Gguf(score) => option_scorer::parse_choice(score, request, answer, references),
            Reader::Openai => response::parse_choice(request, answer),
        }
    }

    fn option_logprobs(&self, request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
        match self.reader {
            Reader::Gguf(_) => option_scorer::option_logprobs(request, answer),
            Reader::Openai => response::option_logprobs(request, answer),
        }
    }

    fn scores_options_alone(&self) -> bool {
        matches!(self.reader, Reader::Gguf(_))
    }

    fn completion_text(&self, answer: &str) -> Result<String> {
        match self.reader {
            Reader::Gguf(_) => option_scorer::completion_text(answer),
            Reader::Openai => response::completion_text(answer),
        }
    }

    fn answer_failure(&self, request: &str, answer: &str) -> Result<Option<FailedCall>> {
        match self.reader {
            Reader::Gguf(_) => Ok(None),
            Reader::Openai => response::answer_failure(request, answer),
        }
    }

    fn count_tokens(&self, _: &str, answer: &str) -> Result<Option<TokenUsage>> {
        match self.reader {
            // The tokenizer is not available.
            Reader::Gguf(_) => Ok(None),
            Reader::Openai => response::count_tokens(answer),
        }
    }
}

struct ReplayConversation<'a>(&'a ReplayLlm);

impl ReplayConversation<'_> {
    fn recite(&self, request: &str) -> Result<Answer> {
        match self.0.answers.get(request) {
            // Older programs recorded invalid answers.
            Some(Ok(text)) => match self.0.answer_failure(request, text)? {
                None => Ok(Answer { text: text.clone(), tokens: 0 }),
                Some(failed) => Err(failed.into()),
            },
            Some(Err(failed)) => Err(failed.clone().into()),
            None => {
                let cut = if request.chars().nth(QUOTED).is_some() { "…" } else { "" };
                let shown: String = request.chars().take(QUOTED).collect();
                bail!(
                    "none of the {} recorded calls answers the request {shown}{cut}\nhelp: replay with the settings and inputs \
                     that the calls were recorded with",
                    self.0.answers.len()
                )
            }
        }
    }
}

impl Conversation for ReplayConversation<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        ensure!(!request.options.is_empty(), "no option to choose from");
        self.recite(&request.canonical())
    }

    fn complete(&mut self, request: &CompletionRequest) -> Result<Answer> {
        self.recite(&request.canonical())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::conformance::{conforms, request};
    use super::super::gguf::toy;
    use super::super::{GgufConfig, LlmConfig};
    use super::*;

    const SERVER: &str = r#"{"provider":"openai","form":2}"#;

    fn recorded(model: &str, request: &ChoiceRequest, answer: &str) -> RecordedCall {
        RecordedCall { model: model.into(), request: request.canonical(), answer: Ok(answer.into()) }
    }

    fn server(reply: &str) -> String {
        format!(r#"{{"reply":"{reply}","finish_reason":"stop","usage":null}}"#)
    }

    /// Forwards to a model and records every call.
    struct RecordingLlm {
        inner: Box<dyn Llm>,
        calls: Mutex<Vec<RecordedCall>>,
    }

    struct RecordingConversation<'a>(Box<dyn Conversation + 'a>, &'a RecordingLlm);

    impl RecordingLlm {
        fn note(&self, request: String, answer: Result<Answer>) -> Result<Answer> {
            let answer = answer?;
            let (model, text) = (self.inner.identity(), answer.text.clone());
            self.calls.lock().unwrap().push(RecordedCall { model, request, answer: Ok(text) });
            Ok(answer)
        }
    }

    impl Llm for RecordingLlm {
        fn identity(&self) -> String {
            self.inner.identity()
        }
        fn max_concurrency(&self) -> Option<usize> {
            self.inner.max_concurrency()
        }
        fn conversations<'a>(&'a self, opening: &str) -> Result<ConversationFactory<'a>> {
            let conversations = self.inner.conversations(opening)?;
            Ok(Box::new(move || Box::new(RecordingConversation(conversations(), self))))
        }
        fn references(&self, request: &ChoiceRequest) -> Vec<ChoiceRequest> {
            self.inner.references(request)
        }
        fn parse_choice(&self, request: &ChoiceRequest, answer: &str, references: &[String]) -> Result<ParsedChoice> {
            self.inner.parse_choice(request, answer, references)
        }
        fn option_logprobs(&self, request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
            self.inner.option_logprobs(request, answer)
        }
        fn completion_text(&self, answer: &str) -> Result<String> {
            self.inner.completion_text(answer)
        }
    }

    impl Conversation for RecordingConversation<'_> {
        fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
            self.1.note(request.canonical(), self.0.choose(request))
        }
        fn complete(&mut self, request: &CompletionRequest) -> Result<Answer> {
            self.1.note(request.canonical(), self.0.complete(request))
        }
    }

    #[test]
    fn what_a_model_answered_conforms_without_the_model() {
        let folder = tempfile::tempdir().unwrap();
        toy::write_toy(&folder.path().join("toy.gguf")).unwrap();
        let mut cx = pipeline::Context::detached(folder.path());
        cx.add_asset("toy", &folder.path().join("toy.gguf"));
        let config = LlmConfig::Gguf(GgufConfig { asset: pipeline::AssetName("toy".into()), score: Score::Pmi });
        let recorder = RecordingLlm { inner: config.open(&cx, vec![], None).unwrap(), calls: Mutex::default() };
        conforms(&recorder);
        let calls = recorder.calls.into_inner().unwrap();
        let replayed = ReplayConfig::default().open(calls.clone()).unwrap();
        conforms(&replayed);
        let model = replayed.identity();
        let again = calls.into_iter().map(|call| RecordedCall { model: model.clone(), ..call }).collect();
        conforms(&ReplayConfig::default().open(again).unwrap());
    }

    #[test]
    fn a_miss_names_the_request() {
        let choice = request(&["a\n"], &["x", "y"]);
        let replayed = ReplayConfig::default().open(vec![recorded(SERVER, &choice, &server("2"))]).unwrap();
        let conversations = replayed.conversations("").unwrap();
        assert_eq!(conversations().choose(&choice).unwrap().text, server("2"));
        assert_eq!(replayed.parse_choice(&choice, &server("2"), &[]).unwrap().index, Some(1));
        let error = conversations().choose(&request(&["b\n"], &["x", "y"])).unwrap_err().to_string();
        let named =
            r#"none of the 1 recorded calls answers the request {"context":["b\n"],"cue":"Next:","options":["x","y"]}"#;
        assert!(error.starts_with(named) && error.contains("\nhelp: "), "{error}");
        let long = request(&["b\n".repeat(500).as_str()], &["x"]);
        assert!(conversations().choose(&long).unwrap_err().to_string().chars().count() < 500);
    }

    #[test]
    fn failures_are_replayed_as_failures() {
        let choice = request(&["a\n"], &["x", "y"]);
        let failed = FailedCall { status: Some(400), reason: "too long".into(), raw: "no".into() };
        let call = RecordedCall { answer: Err(failed.clone()), ..recorded(SERVER, &choice, "") };
        let replayed = ReplayConfig::default().open(vec![call]).unwrap();
        let error = replayed.conversations("").unwrap()().choose(&choice).unwrap_err();
        assert_eq!(error.downcast::<FailedCall>().unwrap(), failed);
    }

    #[test]
    fn the_identity_is_that_of_all_answers() {
        let choice = request(&["a\n"], &["x", "y"]);
        let identity = |reply: &str| {
            ReplayConfig::default().open(vec![recorded(SERVER, &choice, &server(reply))]).unwrap().identity()
        };
        assert_eq!(identity("1"), identity("1"));
        assert_ne!(identity("1"), identity("2"));
    }

    #[test]
    fn calls_that_cannot_be_replayed_are_refused() {
        let choice = request(&["a\n"], &["x", "y"]);
        let refused = |models: &[&str]| {
            let calls = models.iter().map(|model| recorded(model, &choice, "{}")).collect();
            ReplayConfig::default().open(calls).err().unwrap().to_string()
        };
        assert_eq!(refused(&[]), "no calls are recorded");
        assert!(refused(&["gpt-3.5"]).contains("`gpt-3.5`, whose answers cannot be parsed\nhelp: "));
        assert!(refused(&[SERVER, "x"]).contains("calls of one model"));
    }
}
