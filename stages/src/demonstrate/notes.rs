//! What a run says of its answers, and where it fails for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use pipeline::Context;

use super::episode::EpisodeResult;
use super::settings::Demonstrate;
use crate::artifact::{Call, Calls, Candidates};
use crate::env::ItemRanking;
use crate::llm::{CachedLlm, Rated};

impl Demonstrate {
    /// Fails where fewer than `min_valid_rate` of the answers name an item: such episodes demonstrate the retriever.
    pub(super) fn check_valid_rate(&self, played: &[EpisodeResult]) -> Result<()> {
        let decisions: usize = played.iter().map(|played| played.trajectory.steps.len()).sum();
        let mut silent = played.iter().filter_map(|played| played.invalid.as_ref());
        let Some((example, first)) = silent.next() else { return Ok(()) };
        let count = first + silent.map(|(_, count)| count).sum::<usize>();
        ensure!(
            (decisions - count) as f64 >= self.min_valid_rate * decisions as f64,
            "{count} of {decisions} answers {}",
            self.invalid_answers(example)
        );
        Ok(())
    }

    /// The end of the message about invalid answers: an example and a help line.
    pub(super) fn invalid_answers(&self, example: &Call) -> String {
        let shown = example.told();
        let help = match (shown.contains("\nhelp: "), &example.failure) {
            (true, _) => String::new(),
            (false, Some(_)) => format!(
                "\nhelp: fix the error that the server reports and run again; only failed calls are repeated. Or lower `min_valid_rate` \
                 from {}",
                self.min_valid_rate
            ),
            (false, None) => format!(
                "\nhelp: use a larger model, allow more tokens, or lower `min_valid_rate` from {}",
                self.min_valid_rate
            ),
        };
        format!("name no item that may be shown; the first of them is: {shown}{help}")
    }
}

/// Notes how often the model agrees with its retriever.
pub(super) fn note_agreement(played: &[EpisodeResult], cx: &Context) {
    let steps = || played.iter().flat_map(|played| &played.trajectory.steps);
    let decisions = steps().count();
    let first = steps().filter(|step| step.candidates.first() == Some(&step.item)).count();
    cx.note(
        "agreement with the retriever",
        format!("{:.0} % of the decisions are its first candidate", 100.0 * first as f64 / decisions.max(1) as f64),
    );
}

/// The whole catalogue for each of `users`, by the model's scores and, with a `weight` below 1, the retriever's.
pub(super) fn ranked_catalogue(
    rated: &Rated,
    candidates: &Candidates,
    weight: f64,
    users: &[u32],
) -> Result<Candidates> {
    let ranking = ItemRanking::new(&rated.scores, Some(candidates), weight)?;
    let mut ranked = Candidates {
        items: vec![Vec::new(); candidates.items.len()],
        scores: vec![Vec::new(); candidates.items.len()],
        filter_quit_items: candidates.filter_quit_items,
    };
    for &user in users {
        let user = user as usize;
        (ranked.items[user], ranked.scores[user]) = ranking.of(user, usize::MAX);
    }
    Ok(ranked)
}

/// Notes the counts of the run; `retryable`: whether another run may get the answers that this one did not get.
pub(super) fn note_summary(played: &[EpisodeResult], cache: &CachedLlm, retryable: bool, start: Instant, cx: &Context) {
    let decisions = played.iter().map(|played| played.trajectory.steps.len()).sum::<usize>();
    cx.note("decisions", format!("{decisions} in {} episodes", played.len()));
    cache.note_calls(retryable, start, cx);
    let invalid: usize = played.iter().filter_map(|played| played.invalid.as_ref()).map(|(_, count)| count).sum();
    if invalid > 0 {
        cx.note("answers without an item", format!("{invalid}; replaced by the retriever's first candidate"));
        cx.warn(format!(
            "{invalid} of {decisions} decisions are the retriever's first candidate, because the language model's answers name no \
             item"
        ));
    }
    let unparsed_values: usize = played.iter().map(|played| played.unparsed_values).sum();
    if unparsed_values > 0 {
        cx.note("values that are no number", format!("{unparsed_values}; these actions are not remembered"));
    }
    let memories: usize = played.iter().map(|played| played.memories.len()).sum();
    if memories > 0 {
        cx.note("remembered", format!("{memories} actions and reflections"));
    }
}

pub(super) fn unique_calls(played: &[EpisodeResult]) -> Calls {
    let mut seen = BTreeSet::new();
    let used = played.iter().flat_map(|played| &played.calls);
    let distinct = used.filter(|call| seen.insert(&call.key));
    Calls(distinct.map(|call: &Arc<Call>| Call::clone(call)).collect())
}
