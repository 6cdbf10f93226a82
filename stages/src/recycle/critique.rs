//! A language model criticises its own choice and chooses again, after Reflection-Tuning (arXiv 2310.11716).

use std::sync::Arc;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::prompts::StepPrompt;
use crate::artifact::Call;
use crate::llm::{CachedLlm, ChoiceRequest, CompletionRequest, Conversation};

/// The most characters of a criticism that the second question repeats.
const MAX_CRITICISM: usize = 400;

/// `revise: { llm: … }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Critique {
    /// What the model criticises a recommendation by.
    pub criteria: Vec<String>,
    /// The longest criticism, in tokens.
    pub max_tokens: u32,
}

impl Default for Critique {
    fn default() -> Self {
        let criteria = ["fit to this user's taste", "variety after what was shown", "risk that the user leaves"];
        Self { criteria: criteria.map(str::to_owned).to_vec(), max_tokens: 48 }
    }
}

impl Critique {
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.criteria.iter().all(|criterion| criterion.trim().is_empty()) {
            return Err(("criteria".into(), "at least one criterion".into()));
        }
        if self.max_tokens == 0 {
            return Err(("max_tokens".into(), "at least one token".into()));
        }
        Ok(())
    }

    /// The request for a criticism of `title`.
    pub(super) fn criticism(&self, prompt: &ChoiceRequest, title: &str) -> CompletionRequest {
        let mut context = prompt.context.clone();
        context.push(format!("{} {title}\n", prompt.completion_prefix));
        CompletionRequest {
            context,
            completion_prefix: format!("Criticism of this choice by {}:", self.criteria.join(", ")),
            max_tokens: self.max_tokens,
            stop: "\n".to_owned(),
            temperature: 0.0,
            draw: 0,
            integer: None,
        }
    }

    /// The request for a second choice, among these titles.
    pub(super) fn second_choice(
        prompt: &ChoiceRequest,
        title: &str,
        criticism: &str,
        titles: Vec<String>,
    ) -> ChoiceRequest {
        let criticism: String = criticism.lines().next().unwrap_or_default().chars().take(MAX_CRITICISM).collect();
        let mut context = prompt.context.clone();
        context.push(format!("A first idea was {title}. Criticism of it: {criticism}\n"));
        ChoiceRequest { context, completion_prefix: prompt.completion_prefix.clone(), options: titles }
    }

    /// The place of the second choice among `offered`, its scores and the key of its call; `None` where it names none.
    pub(super) fn choose(
        &self,
        cache: &CachedLlm,
        conversation: &mut dyn Conversation,
        prompt: &StepPrompt,
        item: u32,
        offered: &[u32],
        calls: &mut Vec<Arc<Call>>,
    ) -> Result<Option<(usize, Vec<f32>, String)>> {
        let titles: Option<Vec<String>> =
            offered.iter().map(|&item| prompt.title(item).map(ToOwned::to_owned)).collect();
        let (Some(title), Some(titles)) = (prompt.title(item), titles) else { return Ok(None) };
        let (criticism, call) = cache.write(conversation, &self.criticism(prompt.request, title))?;
        calls.push(call);
        let request = Self::second_choice(prompt.request, title, &criticism, titles);
        let (reading, asked) = cache.choose(conversation, &request)?;
        let key = asked[0].key.clone();
        calls.extend(asked);
        Ok(reading.index.map(|place| (place, reading.scores, key)))
    }
}
