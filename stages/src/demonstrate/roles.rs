//! What planner, critic and reflector are asked to write, and what of it is taken.

use anyhow::Result;

use super::expert::{Expert, RoleSettings};
use super::prompt::{Prompt, tame};
use crate::llm::CompletionRequest;

/// The critic's scale.
const VALUES: (i32, i32) = (-5, 5);
/// The longest value, in tokens.
pub(super) const VALUE: u32 = 8;
/// The longest thought or reflection, in characters.
const LONGEST: usize = 600;

/// The roles beside the actor.
pub(super) struct Roles<'a> {
    /// Which of them are played.
    pub expert: Expert,
    pub settings: &'a RoleSettings,
    pub prompt: &'a Prompt,
}

impl Roles<'_> {
    /// Asks for a thought after what was told.
    pub fn thought(&self, told: &[String]) -> Result<CompletionRequest> {
        Ok(self.line(told, self.prompt.thought_cue()?, self.settings.thought_tokens))
    }

    /// Asks how content the user is after what was told.
    pub fn value(&self, told: &[String]) -> Result<CompletionRequest> {
        let (low, high) = VALUES;
        let line = self.line(told, self.prompt.value_cue(low, high)?, VALUE);
        Ok(CompletionRequest { integer: Some(VALUES), ..line })
    }

    /// Asks what to do otherwise after an episode.
    pub fn reflection(&self, told: &[String], turns: usize, left: bool) -> Result<CompletionRequest> {
        Ok(self.line(told, self.prompt.reflect_cue(turns, left)?, self.settings.reflection_tokens))
    }

    /// A line to write.
    pub fn line(&self, told: &[String], completion_prefix: String, max_tokens: u32) -> CompletionRequest {
        let (context, temperature) = (told.to_vec(), self.settings.temperature);
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

/// The first line that says something, tamed; empty where none does.
pub(super) fn first_line(text: &str) -> String {
    text.lines().map(|line| tame(line, LONGEST)).find(|line| !line.is_empty()).unwrap_or_default()
}

/// The first whole number of the critic's scale in its words, but for those with which it repeats the scale itself (`from -5 to
/// 5`, `of 5`); `None` where there is none.
pub(super) fn number(text: &str) -> Option<i32> {
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
        let (low, high) = VALUES;
        let pair = |low_at: usize| {
            let joins = |(number, before): &(i32, &str)| {
                *number == high && ["to", "and", "through", "..", "...", "…", ","].contains(before)
            };
            found.get(low_at).is_some_and(|(number, _)| *number == low) && found.get(low_at + 1).is_some_and(joins)
        };
        pair(k) || k.checked_sub(1).is_some_and(|k| pair(k) || ["of", "out of", "/"].contains(&found[k + 1].1))
    };
    let value = (0..found.len()).find(|&k| (VALUES.0..=VALUES.1).contains(&found[k].0) && !is_scale(k));
    value.map(|k| found[k].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_of_an_answer() {
        assert_eq!(first_line("\n  \u{7}\n Something quiet.\nThen loud."), "Something quiet.");
        assert_eq!(first_line(" \n"), "");
        assert_eq!(first_line(&"x".repeat(10_000)).chars().count(), LONGEST + 1);
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
            assert_eq!(number(text), value, "{text}");
        }
    }
}
