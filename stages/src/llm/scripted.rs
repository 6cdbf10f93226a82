//! A model that answers by a script, in the form of a GGUF model, for planted cases.

use std::sync::Mutex;

use anyhow::{Result, bail};

use super::option_scorer;
use super::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, Llm, ParsedChoice, Score, TokenUsage,
};

/// ln p of each option by `choose`, each of one token. It tells nothing about titles alone, so [`Score::MeanLogprob`] ranks.
pub(crate) struct ScriptedLlm<F> {
    choose: F,
    /// Every choice that was asked for, in the order of arrival.
    pub asked: Mutex<Vec<ChoiceRequest>>,
}

impl<F: Fn(&ChoiceRequest) -> Vec<f64> + Sync> ScriptedLlm<F> {
    pub fn new(choose: F) -> Self {
        Self { choose, asked: Mutex::default() }
    }
}

struct ScriptedConversation<'a, F>(&'a ScriptedLlm<F>);

impl<F: Fn(&ChoiceRequest) -> Vec<f64> + Sync> Llm for ScriptedLlm<F> {
    fn identity(&self) -> String {
        r#"{"provider":"gguf","name":"scripted"}"#.to_owned()
    }
    fn max_concurrency(&self) -> Option<usize> {
        None
    }
    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(move || Box::new(ScriptedConversation(self))))
    }
    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        vec![]
    }
    fn parse_choice(&self, request: &ChoiceRequest, answer: &str, references: &[String]) -> Result<ParsedChoice> {
        option_scorer::parse_choice(Score::MeanLogprob, request, answer, references)
    }
    fn option_logprobs(&self, request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
        option_scorer::option_logprobs(request, answer)
    }
    fn scores_options_alone(&self) -> bool {
        true
    }
    fn completion_text(&self, answer: &str) -> Result<String> {
        option_scorer::completion_text(answer)
    }
    fn count_tokens(&self, request: &str, _: &str) -> Result<Option<TokenUsage>> {
        Ok(Some(TokenUsage { prompt: request.len() as u64, completion: 0 }))
    }
}

impl<F: Fn(&ChoiceRequest) -> Vec<f64> + Sync> Conversation for ScriptedConversation<'_, F> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        self.0.asked.lock().unwrap().push(request.clone());
        let (logprob_sum, tokens) = ((self.0.choose)(request), vec![1; request.options.len()]);
        let text = serde_json::json!({ "logprob_sum": logprob_sum, "tokens": tokens }).to_string();
        Ok(Answer { text, tokens: 1 })
    }
    fn complete(&mut self, _: &CompletionRequest) -> Result<Answer> {
        bail!("the script writes no text")
    }
}
