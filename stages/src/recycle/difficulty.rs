//! Instruction-following difficulty (Li et al., arXiv 2308.12032 and 2402.10110): how much a text x helps to guess a text y.
//!
//! IFD = ppl(y | x) / ppl(y) = exp(−s), where s is the pointwise mutual information a token, the score by which the embedded model
//! ranks options. r-IFD exchanges the two: the prompt after the item. x is what the recorded prompt tells, also where an earlier
//! step of the episode was revised.

use std::sync::Arc;

use anyhow::Result;

use super::prompts::StepPrompt;
use crate::artifact::Call;
use crate::llm::{CachedLlm, ChoiceRequest, Conversation};

/// Both difficulties of the old and the new item.
pub(super) struct Difficulty {
    pub ifd: [f64; 2],
    pub r_ifd: [f64; 2],
}

/// Asks for the difficulties of two items of a prompt; `None` where the model gave no probabilities or the prompt tells nothing.
/// The first question is the recorded one, so that its answer is in the store already.
pub(super) fn ask(
    cache: &CachedLlm,
    conversation: &mut dyn Conversation,
    prompt: &StepPrompt,
    items: [u32; 2],
    noun: &str,
    calls: &mut Vec<Arc<Call>>,
) -> Result<Option<Difficulty>> {
    let (reading, asked) = cache.choose(conversation, prompt.request)?;
    calls.extend(asked);
    let told = prompt.request.context.iter().skip(1).map(String::as_str).collect::<String>();
    let told = told.trim();
    let mut found = Difficulty { ifd: [0.0; 2], r_ifd: [0.0; 2] };
    for (which, item) in items.into_iter().enumerate() {
        let score = prompt.place(item).and_then(|place| reading.scores.get(place));
        let (Some(&score), Some(title), false) = (score, prompt.title(item), told.is_empty()) else { return Ok(None) };
        found.ifd[which] = f64::from(-score).exp();
        let (reading, asked) = cache.choose(conversation, &reversed(title, told, noun))?;
        calls.extend(asked);
        let Some(&score) = reading.scores.first() else { return Ok(None) };
        found.r_ifd[which] = f64::from(-score).exp();
    }
    Ok(Some(found))
}

/// Which user was an item recommended to?
pub(super) fn reversed(title: &str, told: &str, noun: &str) -> ChoiceRequest {
    ChoiceRequest {
        context: vec![format!("This {noun} was recommended to a user: {title}.\n")],
        completion_prefix: "What was known of the user:".to_owned(),
        options: vec![told.to_owned()],
    }
}
