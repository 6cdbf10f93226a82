//! The requests of planner, critic and reflector, and the line that counts of their answers.

use anyhow::Result;

use super::agent::{Agent, RoleSettings};

use crate::llm::CompletionRequest;
use crate::llm::item_names::sanitize;
use crate::prompting::Prompt;

/// The critic's scale.
pub(super) const CRITIC_SCALE: (i32, i32) = (-5, 5);
/// Maximum length of the critic's answer, in tokens.
pub(super) const CRITIC_TOKENS: u32 = 8;
/// Maximum length of a thought or reflection, in characters.
const MAX_CHARS: usize = 600;

/// The roles beside the actor.
pub(super) struct Roles<'a> {
    /// The roles that are played.
    pub agent: Agent,
    pub settings: &'a RoleSettings,
    pub prompt: &'a Prompt,
}

impl Roles<'_> {
    /// The request for a thought after this context.
    pub fn thought(&self, context: &[String]) -> Result<CompletionRequest> {
        Ok(self.line(context, self.prompt.thought_prompt()?, self.settings.max_thought_tokens))
    }

    /// The request for the value of the state after this context.
    pub fn critique(&self, context: &[String]) -> Result<CompletionRequest> {
        let (low, high) = CRITIC_SCALE;
        let line = self.line(context, self.prompt.critic_prompt(low, high)?, CRITIC_TOKENS);
        Ok(CompletionRequest { integer: Some(CRITIC_SCALE), ..line })
    }

    /// The request for a reflection after an episode.
    pub fn reflection(&self, context: &[String], turns: usize, left: bool) -> Result<CompletionRequest> {
        Ok(self.line(context, self.prompt.reflection_prompt(turns, left)?, self.settings.max_reflection_tokens))
    }

    /// The request for one line.
    pub fn line(&self, context: &[String], completion_prefix: String, max_tokens: u32) -> CompletionRequest {
        let (context, temperature) = (context.to_vec(), self.settings.temperature);
        CompletionRequest {
            context,
            completion_prefix,
            max_tokens,
            stop: "\n".to_owned(),
            temperature,
            draw: 0,
            integer: None,
        }
    }
}

/// The first line that is not empty, sanitized; empty where there is none.
pub(super) fn first_line(text: &str) -> String {
    text.lines().map(|line| sanitize(line, MAX_CHARS)).find(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_of_an_answer() {
        assert_eq!(first_line("\n  \u{7}\n Something quiet.\nThen loud."), "Something quiet.");
        assert_eq!(first_line(" \n"), "");
        assert_eq!(first_line(&"x".repeat(10_000)).chars().count(), MAX_CHARS + 1);
    }
}
