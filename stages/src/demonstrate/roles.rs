//! The requests of planner, critic and reflector, and the parsing of their answers.

use anyhow::Result;

use super::agent::{Agent, RoleSettings};
use super::prompt::{Prompt, sanitize};
use crate::llm::CompletionRequest;

/// The critic's scale.
const CRITIC_SCALE: (i32, i32) = (-5, 5);
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

/// The first integer on the critic's scale in its answer, except those that repeat the scale itself (`from -5 to 5`, `of 5`);
/// `None` where there is none.
pub(super) fn parse_value(text: &str) -> Option<i32> {
    let text = text.replace(['−', '–'], "-");
    let is_part = |c: char| c.is_ascii_digit() || c == '-';
    // Each number with the words before it, back to the number before.
    let mut found: Vec<(i32, &str)> = Vec::new();
    let (mut at, mut between) = (0, 0);
    while let Some(begin) = text[at..].find(is_part).map(|begin| at + begin) {
        at = text[begin..].find(|c| !is_part(c)).map_or(text.len(), |end| begin + end);
        if let Ok(number) = text[begin..at].parse() {
            found.push((number, text[between..begin].trim()));
            between = at;
        }
    }
    let is_scale = |k: usize| {
        let (low, high) = CRITIC_SCALE;
        let pair = |low_at: usize| {
            let joins = |(number, before): &(i32, &str)| {
                *number == high && ["to", "and", "through", "..", "...", "…", ","].contains(before)
            };
            found.get(low_at).is_some_and(|(number, _)| *number == low) && found.get(low_at + 1).is_some_and(joins)
        };
        pair(k) || k.checked_sub(1).is_some_and(|k| pair(k) || ["of", "out of", "/"].contains(&found[k + 1].1))
    };
    let value = (0..found.len()).find(|&k| (CRITIC_SCALE.0..=CRITIC_SCALE.1).contains(&found[k].0) && !is_scale(k));
    value.map(|k| found[k].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_of_an_answer() {
        assert_eq!(first_line("\n  \u{7}\n Something quiet.\nThen loud."), "Something quiet.");
        assert_eq!(first_line(" \n"), "");
        assert_eq!(first_line(&"x".repeat(10_000)).chars().count(), MAX_CHARS + 1);
        for (text, value) in [
            ("3", Some(3)),
            ("-4.", Some(-4)),
            ("Value: −2 of 5", Some(-2)),
            ("17, no: 2", Some(2)),
            // truera/trulens#2726: a scale that is repeated before the value was taken for it.
            ("On a scale from -5 to 5, I would say 3.", Some(3)),
            ("Value (-5 … 5): 4", Some(4)),
            ("(−5 to 5)", None),
            ("3 out of 5", Some(3)),
            ("a value of 2", Some(2)),
            ("between -5 and 5: -5", Some(-5)),
            ("-5", Some(-5)),
            ("5/5", Some(5)),
            ("-4-", None),
            ("none", None),
            ("", None),
        ] {
            assert_eq!(parse_value(text), value, "{text}");
        }
    }
}
