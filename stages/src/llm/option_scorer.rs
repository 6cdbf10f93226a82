//! The embedded model chooses: an option's score is the probability of its text after the prompt.
//!
//! A small model assigns a high probability to some titles after any prompt, because their words are common. The default score
//! therefore subtracts the title's log-probability after the completion prefix alone. This is the domain-conditional pointwise
//! mutual information (Holtzman et al. 2021, eq. 3), per token because titles differ in length:
//! `score(y) = (ln p(y | context, prefix) − ln p(y | prefix)) / |y|`.
//!
//! The prompt of a choice is plain text that the title continues, which resembles the training data most and needs fewest
//! tokens. The prompt of a completion has the form of the file's chat template, if it has one.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pipeline::AssetName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gguf::{Gguf, Session};
use super::{Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, Llm, ParsedChoice};
use crate::artifact::Adapter;

/// Raised when an equal request to an equal file should give another raw answer.
const FORM: u32 = 2;
/// Conversations per thread; they share forward passes.
const CONVERSATIONS_PER_THREAD: usize = 4;

/// `llm: { gguf: … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GgufConfig {
    /// The model file, an entry of `assets`.
    pub asset: AssetName,
    /// The score that ranks the options.
    #[serde(default)]
    pub score: Score,
}

/// The score that ranks the options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// Pointwise mutual information per token: the option's log-probability after the conversation less that after the
    /// completion prefix alone.
    #[default]
    Pmi,
    /// The option's mean log-probability per token after the conversation.
    MeanLogprob,
}

impl GgufConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// As [`Gguf::load`] and [`Gguf::adapt`].
    pub(super) fn open(&self, path: &Path, adapter: Option<&Adapter>) -> Result<OptionScorer> {
        let mut model = Gguf::load(path)?;
        let digest = Gguf::digest(path)?;
        if let Some(adapter) = adapter {
            model.adapt(adapter, &digest)?;
        }
        Ok(OptionScorer { model, digest, adapter: adapter.map(Adapter::digest), score: self.score })
    }
}

/// The embedded model with its score.
pub(super) struct OptionScorer {
    model: Gguf,
    digest: String,
    /// Of what the model learned beside its weights.
    adapter: Option<String>,
    score: Score,
}

/// The raw answer to a choice: the log-probability of each option.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScores {
    /// Σ ln p over the option's tokens.
    logprob_sum: Vec<f64>,
    /// How many tokens it has.
    tokens: Vec<usize>,
}

impl RawScores {
    fn parse(answer: &str, options: usize) -> Result<Self> {
        let raw: Self = serde_json::from_str(answer).with_context(|| format!("no answer of a GGUF model: {answer}"))?;
        let counts = (raw.logprob_sum.len(), raw.tokens.len());
        ensure!(counts == (options, options), "scores of {counts:?} options, wanted {options}: {answer}");
        ensure!(!raw.tokens.contains(&0), "an option without a token: {answer}");
        Ok(raw)
    }
}

/// The raw answer to a completion.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCompletion {
    text: String,
}

impl Llm for OptionScorer {
    fn identity(&self) -> String {
        let name = serde_json::Value::from(self.model.name());
        let adapter = self.adapter.as_ref().map(|digest| format!(r#","adapter":"{digest}""#)).unwrap_or_default();
        format!(r#"{{"provider":"gguf","form":{FORM},"name":{name},"blake3":"{}"{adapter}}}"#, self.digest)
    }

    fn max_concurrency(&self) -> Option<usize> {
        Some(CONVERSATIONS_PER_THREAD * rayon::current_num_threads())
    }

    fn conversations<'a>(&'a self, opening: &str) -> Result<ConversationFactory<'a>> {
        let mut first = self.model.session();
        if !opening.is_empty() {
            first.prepare(&[opening.to_owned()])?;
        }
        let conversation = move || GgufConversation {
            main: first.fork(),
            references: self.model.session(),
            completions: self.model.session(),
        };
        Ok(Box::new(move || Box::new(conversation())))
    }

    fn references(&self, request: &ChoiceRequest) -> Vec<ChoiceRequest> {
        references(self.score, request)
    }

    fn parse_choice(&self, request: &ChoiceRequest, answer: &str, answers: &[String]) -> Result<ParsedChoice> {
        parse_choice(self.score, request, answer, answers)
    }

    fn option_logprobs(&self, request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
        option_logprobs(request, answer)
    }

    fn scores_options_alone(&self) -> bool {
        true
    }

    fn completion_text(&self, answer: &str) -> Result<String> {
        completion_text(answer)
    }

    /// Counted by the file's tokenizer, segment by segment as they are evaluated, without the text of a chat template. The last
    /// token of an option is predicted but not evaluated.
    fn count_tokens(&self, request: &str, answer: &str) -> Result<Option<super::TokenUsage>> {
        let count = |text: &str| -> Result<u64> { Ok(self.model.tokenize_continuation(text)?.len() as u64) };
        let prompt = |context: &[String], completion_prefix: &str| -> Result<u64> {
            let mut pieces = context.iter().map(String::as_str).chain([completion_prefix]);
            let first = pieces.next().map_or(Ok(Vec::new()), |piece| self.model.tokenize(piece))?;
            pieces.try_fold(first.len() as u64, |sum, piece| Ok(sum + count(piece)?))
        };
        if let Ok(request) = serde_json::from_str::<ChoiceRequest>(request) {
            let options = RawScores::parse(answer, request.options.len())?.tokens;
            let options: u64 = options.iter().map(|tokens| *tokens as u64 - 1).sum();
            return Ok(Some(super::TokenUsage {
                prompt: prompt(&request.context, &request.completion_prefix)? + options,
                completion: 0,
            }));
        }
        let completion: CompletionRequest =
            serde_json::from_str(request).context("a request for neither a choice nor a text")?;
        let read = prompt(&completion.context, &completion.completion_prefix)?;
        Ok(Some(super::TokenUsage { prompt: read, completion: count(&completion_text(answer)?)? }))
    }
}

/// The options after the completion prefix alone, where the score subtracts their log-probability there.
pub(super) fn references(score: Score, request: &ChoiceRequest) -> Vec<ChoiceRequest> {
    let alone = |option: &String| ChoiceRequest {
        context: vec![],
        completion_prefix: request.completion_prefix.clone(),
        options: vec![option.clone()],
    };
    match score {
        Score::Pmi => request.options.iter().map(alone).collect(),
        Score::MeanLogprob => vec![],
    }
}

/// The choice of an answer, given the answers to the references.
pub(super) fn parse_choice(
    score: Score,
    request: &ChoiceRequest,
    answer: &str,
    references: &[String],
) -> Result<ParsedChoice> {
    let raw = RawScores::parse(answer, request.options.len())?;
    let mut scores = Vec::with_capacity(raw.tokens.len());
    for (option, (sum, &tokens)) in raw.logprob_sum.iter().zip(&raw.tokens).enumerate() {
        let neutral = match score {
            Score::MeanLogprob => 0.0,
            Score::Pmi => {
                let reference = references.get(option).context("a reference without an answer")?;
                RawScores::parse(reference, 1)?.logprob_sum[0]
            }
        };
        scores.push(((sum - neutral) / tokens as f64) as f32);
    }
    Ok(ParsedChoice { index: best(&scores), scores })
}

/// Σ ln p over the tokens of each option.
pub(super) fn option_logprobs(request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
    Ok(Some(RawScores::parse(answer, request.options.len())?.logprob_sum))
}

/// The text of an answer.
pub(super) fn completion_text(answer: &str) -> Result<String> {
    let raw: RawCompletion =
        serde_json::from_str(answer).with_context(|| format!("no text of a GGUF model: {answer}"))?;
    Ok(raw.text.trim().to_owned())
}

/// The first of the highest.
fn best(scores: &[f32]) -> Option<usize> {
    (0..scores.len()).reduce(|best, option| if scores[option] > scores[best] { option } else { best })
}

/// One conversation. References and completions have caches of their own, so that they do not evict that of the conversation.
struct GgufConversation<'m> {
    main: Session<'m>,
    references: Session<'m>,
    completions: Session<'m>,
}

impl Conversation for GgufConversation<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        let session = if request.context.is_empty() { &mut self.references } else { &mut self.main };
        let segments: Vec<String> = request.context.iter().chain([&request.completion_prefix]).cloned().collect();
        // With the space in the option the tokens are those of running text.
        let options: Vec<String> = request.options.iter().map(|option| format!(" {option}")).collect();
        let before = session.evaluated_tokens();
        let scores = session.score(&segments, &options)?;
        let raw = RawScores {
            logprob_sum: scores.iter().map(|score| score.logprob_sum).collect(),
            tokens: scores.iter().map(|score| score.tokens).collect(),
        };
        Ok(Answer { text: serde_json::to_string(&raw)?, tokens: session.evaluated_tokens() - before })
    }

    fn complete(&mut self, completion: &CompletionRequest) -> Result<Answer> {
        let before = self.completions.evaluated_tokens();
        let text = self.completions.complete(completion)?;
        Ok(Answer {
            text: serde_json::to_string(&RawCompletion { text })?,
            tokens: self.completions.evaluated_tokens() - before,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{conforms, request};
    use super::super::gguf::toy;
    use super::*;

    fn open(score: Score) -> OptionScorer {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        GgufConfig { asset: AssetName("toy".into()), score }.open(&path, None).unwrap()
    }

    #[test]
    fn both_scores_conform() {
        conforms(&open(Score::Pmi));
        conforms(&open(Score::MeanLogprob));
    }

    #[test]
    fn scores_by_hand() {
        let choice = request(&["a\n"], &["x", "y"]);
        let answer = r#"{"logprob_sum":[-6.0,-8.0],"tokens":[2,4]}"#;
        let neutral =
            [r#"{"logprob_sum":[-9.0],"tokens":[2]}"#, r#"{"logprob_sum":[-9.0],"tokens":[4]}"#].map(String::from);
        let mean = open(Score::MeanLogprob).parse_choice(&choice, answer, &[]).unwrap();
        assert_eq!(mean, ParsedChoice { index: Some(1), scores: vec![-3.0, -2.0] });
        let pmi = open(Score::Pmi).parse_choice(&choice, answer, &neutral).unwrap();
        assert_eq!(pmi, ParsedChoice { index: Some(0), scores: vec![1.5, 0.25] });
        assert_eq!(best(&[1.0, 2.0, 2.0]), Some(1), "the first of equals");
        for score in [Score::Pmi, Score::MeanLogprob] {
            let sums = open(score).option_logprobs(&choice, answer).unwrap();
            assert_eq!(sums, Some(vec![-6.0, -8.0]), "whole texts, whatever ranks them");
        }
    }

    #[test]
    fn a_spoilt_answer_is_an_error() {
        let model = open(Score::MeanLogprob);
        let choice = request(&["a\n"], &["x", "y"]);
        for invalid in ["2", r#"{"logprob_sum":[-1.0],"tokens":[1]}"#, r#"{"logprob_sum":[-1.0,-2.0],"tokens":[1,0]}"#]
        {
            assert!(model.parse_choice(&choice, invalid, &[]).is_err(), "{invalid}");
        }
    }

    #[test]
    fn the_opening_and_the_conversation_are_evaluated_once() {
        let model = open(Score::Pmi);
        let opening = "You recommend movies.\n";
        let conversations = model.conversations(opening).unwrap();
        let count = |text: &str| model.model.tokenize(text).unwrap().len() as u64;
        let mut conversation = conversations();
        let mut cost = |context: &[&str]| conversation.choose(&request(context, &["x"])).unwrap().tokens;
        // An option's last token is predicted, never read, so " x" (two tokens) costs one.
        let cue_and_option = count("Next:") + count(" x") - 1;
        assert_eq!(cost(&[opening, "one\n"]), count("one\n") + cue_and_option);
        assert_eq!(cost(&[]), cue_and_option);
        assert_eq!(cost(&[opening, "one\n", "two\n"]), count("two\n") + cue_and_option);
    }

    #[test]
    fn tokens_are_those_of_the_whole_prompt_whatever_was_cached() {
        let model = open(Score::Pmi);
        let count = |text: &str| model.model.tokenize(text).unwrap().len() as u64;
        let mut conversation = model.conversations("You recommend movies.\n").unwrap()();
        let choice = request(&["You recommend movies.\n", "one\n"], &["x", "y"]);
        let answer = conversation.choose(&choice).unwrap();
        let read = count("You recommend movies.\n") + count("one\n") + count("Next:") + count(" x") + count(" y") - 2;
        let tokens = |request: &str, answer: &str| model.count_tokens(request, answer).unwrap().unwrap();
        let found = tokens(&choice.canonical(), &answer.text);
        assert_eq!((found.prompt, found.completion), (read, 0));
        assert!(answer.tokens < read, "the opening is cached");
        let completion = CompletionRequest {
            context: vec!["one\n".into()],
            completion_prefix: "Thought:".into(),
            max_tokens: 4,
            stop: String::new(),
            temperature: 0.0,
            draw: 0,
            integer: None,
        };
        let found = tokens(&completion.canonical(), r#"{"text":" over inner "}"#);
        assert_eq!((found.prompt, found.completion), (count("one\n") + count("Thought:"), count("over inner")));
        assert!(model.count_tokens("{}", &answer.text).is_err());
    }

    #[test]
    fn the_identity_is_that_of_the_bytes() {
        let model = open(Score::Pmi);
        let identity: serde_json::Value = serde_json::from_str(&model.identity()).unwrap();
        assert_eq!((&identity["provider"], &identity["name"]), (&"gguf".into(), &"toy".into()));
        assert_eq!(identity["blake3"].as_str().unwrap().len(), 64);
        assert_eq!(
            model.identity(),
            open(Score::MeanLogprob).identity(),
            "the score belongs to parsing, not to the request"
        );
    }
}
