//! A request in a batch: its line in the file that is submitted, and what a line of the results says of it.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::super::{Answer, BatchOutcome, BatchRequest, ChoiceRequest, FailedCall};
use super::super::budget::TokenCount;
use super::super::completion::{self, completion_of, usage};
use super::super::config::OpenaiConfig;
use super::super::rejection::{MAX_RAW, classify};
use super::super::response::quote;
use super::super::retry::RetryClass;
use super::super::{ChatRequest, checked};

/// A submitted request, as it is kept until its batch is taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubmittedRequest {
    /// The key of its answer, which is its `custom_id`.
    pub key: String,
    /// The canonical request.
    pub request: String,
    /// Whether the options have letters.
    pub letters: bool,
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// The highest usage.
    pub worst: TokenCount,
}

/// What a line of a batch's results says of a request.
pub(super) struct LineResult {
    pub outcome: Result<BatchOutcome, anyhow::Error>,
    /// What it is billed for; none where the server refused it.
    pub billed: Option<TokenCount>,
}

/// A line of a batch's results.
#[derive(Deserialize)]
pub(super) struct ResultLine {
    pub custom_id: String,
    #[serde(default)]
    response: Option<ResultResponse>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct ResultResponse {
    status_code: u16,
    #[serde(default)]
    body: Value,
}

impl SubmittedRequest {
    pub fn new(request: &BatchRequest, chat: &ChatRequest) -> Self {
        let BatchRequest { key, request } = request.clone();
        Self { key, request, letters: chat.letters, max_tokens: chat.max_tokens, worst: chat.worst() }
    }

    /// The line of the submitted file, with its end.
    pub fn line(&self, chat: ChatRequest) -> String {
        let line = json!({ "custom_id": self.key, "method": "POST", "url": "/v1/chat/completions", "body": chat.body });
        format!("{line}\n")
    }

    /// What a line says of this request; `source` names the batch in messages.
    pub fn result(&self, config: &OpenaiConfig, source: &str, line: ResultLine) -> LineResult {
        let ResultLine { response, error, .. } = line;
        let Some(ResultResponse { status_code, body }) = response else {
            let words = ["code", "message"].map(|name| error[name].as_str().unwrap_or_default()).join(": ");
            let reason = format!("{source} has no answer: {}", quote(words.trim_matches([':', ' ']), 300));
            let failed = FailedCall { status: None, reason, raw: quote(&error.to_string(), MAX_RAW) };
            return LineResult { outcome: Ok(BatchOutcome::Unanswered(failed)), billed: None };
        };
        if status_code != 200 {
            let raw = body.to_string();
            let outcome = match classify(config, source, status_code, &raw, None) {
                RetryClass::Transient { why, .. } => {
                    let raw = quote(&raw, MAX_RAW);
                    Ok(BatchOutcome::Unanswered(FailedCall { status: Some(status_code), reason: why, raw }))
                }
                RetryClass::Malformed(failed) => Ok(BatchOutcome::Unanswered(failed)),
                RetryClass::Permanent(error) => error.downcast().map(BatchOutcome::Failed),
            };
            return LineResult { outcome, billed: None };
        }
        let usage = usage(&body).map(TokenCount::from);
        let raw = quote(&body.to_string(), MAX_RAW);
        let outcome = match self.answer(body, usage) {
            Ok(answer) => BatchOutcome::Answered(answer),
            Err(error) => match error.downcast::<FailedCall>() {
                Ok(failed) => BatchOutcome::Failed(failed),
                Err(error) => {
                    let reason = format!("{source} answered: {}: {error:#}", quote(&raw, 300));
                    BatchOutcome::Unanswered(FailedCall { status: Some(200), reason, raw })
                }
            },
        };
        LineResult { outcome: Ok(outcome), billed: Some(usage.unwrap_or(self.worst)) }
    }

    fn answer(&self, body: Value, usage: Option<TokenCount>) -> Result<Answer> {
        let choice: Option<ChoiceRequest> = serde_json::from_str(&self.request).ok().filter(|_| self.letters);
        let raw = completion_of(body, choice.as_ref().map(|choice| &choice.options[..]))?;
        let answer = Answer { text: serde_json::to_string(&raw)?, tokens: usage.map_or(0, TokenCount::sum) };
        checked(&self.request, answer)
    }
}

impl ResultLine {
    /// None where it is no result of a request.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_value(completion::json(line).ok()?).ok()
    }
}
