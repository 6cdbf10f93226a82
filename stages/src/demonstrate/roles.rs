//! What planner, critic and reflector are asked to write, and what of it is taken.

use anyhow::Result;

use super::expert::{Expert, RoleSettings};
use super::prompt::{Prompt, tame};
use crate::llm::Writing;

/// The critic's scale.
const VALUES: (i32, i32) = (-5, 5);
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
    pub fn thought(&self, told: &[String]) -> Result<Writing> {
        Ok(self.line(told, self.prompt.thought_cue()?, self.settings.thought_tokens))
    }

    /// Asks how content the user is after what was told.
    pub fn value(&self, told: &[String]) -> Result<Writing> {
        let (low, high) = VALUES;
        let line = self.line(told, self.prompt.value_cue(low, high)?, 8);
        Ok(Writing { integer: Some(VALUES), ..line })
    }

    /// Asks what to do otherwise after an episode.
    pub fn reflection(&self, told: &[String], turns: usize, left: bool) -> Result<Writing> {
        Ok(self.line(told, self.prompt.reflect_cue(turns, left)?, self.settings.reflection_tokens))
    }

    /// A line to write.
    pub fn line(&self, told: &[String], cue: String, max_tokens: u32) -> Writing {
        let (context, temperature) = (told.to_vec(), self.settings.temperature);
        Writing { context, cue, max_tokens, stop: "\n".to_owned(), temperature, draw: 0, integer: None }
    }
}

/// The first line that says something, tamed; empty where none does.
pub(super) fn first_line(text: &str) -> String {
    text.lines().map(|line| tame(line, LONGEST)).find(|line| !line.is_empty()).unwrap_or_default()
}

/// The first whole number of the critic's scale in its words; `None` where there is none.
pub(super) fn number(text: &str) -> Option<i32> {
    let text = text.replace('−', "-");
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '-');
    words.filter_map(|word| word.parse().ok()).find(|number| (VALUES.0..=VALUES.1).contains(number))
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
            ("none", None),
            ("", None),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
    }
}
