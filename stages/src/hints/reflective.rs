//! Hints that a model writes about its own mistakes.
//!
//! After Re2LLM (arXiv 2403.16427), stage A. Of a session of the training log the model ranks the candidates. Where it ranks the item taken
//! next too low, it is told that the ranking is wrong and asked for likely mistakes; then it is shown the item and asked why it
//! was missed; then it is asked for short instructions that name no item. An instruction is kept where it names no title, says
//! something new, and the same question with it brings the item to the top.
//!
//! Two things are ours: what is new is decided by shared words and not by a question, which small models answer at random, and the
//! leak check covers every title of the catalogue.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use pipeline::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::leak::{TitleLeaks, words};
use crate::artifact::{Call, HintOrigin, HintVerdict, PromptResult};
use crate::llm::item_names::sanitize;
use crate::llm::{CachedLlm, CompletionRequest, Conversation, ConversationFactory};
use crate::prompting::{
    CandidateOrders, HistoryOrder, LogHistory, Negatives, Prompt, Prompts, Sampler, Strategy, Teller, Window,
};

/// Sessions that are asked at once: the hints of one batch do not know of each other.
const BATCH: usize = 8;
/// A hint of fewer words is no instruction.
const MIN_WORDS: usize = 3;
/// Maximum length of a hint and of an explanation, in characters.
const MAX_CHARS: usize = 200;
const MAX_EXPLANATION: usize = 400;

/// Settings of `kind: reflective`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reflective {
    /// Number of sessions of the training log that are asked at most, each of another user.
    pub sessions: usize,
    /// Number of places that count as found: a session is missed where the item taken next is ranked below, and a hint is effective
    /// where the item is ranked within.
    pub top: usize,
    /// Number of hints that are taken of one session at most.
    pub hints_per_session: usize,
    /// Share of equal words, 0 to 1, from which a hint says the same as an earlier one: words in both over words in either.
    pub max_overlap: f64,
    /// Number of candidates of a session, from 2.
    pub n_candidates: usize,
    /// How the items that the user never took are drawn.
    pub negatives: Negatives,
    /// Minimum number of items that a user took before the session, at least 1.
    pub min_history: usize,
    /// How the history is told.
    pub strategy: Strategy,
    /// How much of the history is told.
    pub log_history: LogHistory,
    /// Sampling temperature of explanations and hints; 0 is greedy decoding.
    pub temperature: f64,
    /// Maximum length of each of the two explanations, in tokens.
    pub max_explanation_tokens: u32,
    /// Maximum length of all hints of a session together, in tokens.
    pub max_hint_tokens: u32,
    /// Instructions at the beginning of the prompt, instead of the default ones.
    pub instructions: Option<String>,
    /// Prompt templates that replace the default ones. The question is that of `evaluate.prompts`; use equal ones in both.
    pub prompts: Prompts,
}

impl Default for Reflective {
    fn default() -> Self {
        Self {
            sessions: 50,
            top: 5,
            hints_per_session: 3,
            max_overlap: 0.5,
            n_candidates: 20,
            negatives: Negatives::default(),
            min_history: 5,
            strategy: Strategy::Recent,
            log_history: LogHistory::default(),
            temperature: 0.5,
            max_explanation_tokens: 48,
            max_hint_tokens: 96,
            instructions: None,
            prompts: Prompts::default(),
        }
    }
}

impl Reflective {
    /// Ranges that no type expresses.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        for (path, count) in [
            ("sessions", self.sessions),
            ("top", self.top),
            ("hints_per_session", self.hints_per_session),
            ("min_history", self.min_history),
            ("max_explanation_tokens", self.max_explanation_tokens as usize),
            ("max_hint_tokens", self.max_hint_tokens as usize),
        ] {
            if count == 0 {
                return wrong(path, "at least 1");
            }
        }
        if self.n_candidates <= self.top {
            return wrong("n_candidates", "more candidates than `top`: else nothing can be missed");
        }
        if !(0.0..=1.0).contains(&self.max_overlap) {
            return wrong("max_overlap", "a share lies between 0 and 1");
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return wrong("temperature", "0 to 2");
        }
        self.log_history.check().map_err(|(path, wanted)| (format!("log_history.{path}"), wanted))?;
        self.prompts.check().map_err(|(path, wanted)| (format!("prompts.{path}"), wanted))
    }
}

/// A hint of one session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Proposal {
    pub text: String,
    pub verdict: HintVerdict,
    pub origin: HintOrigin,
}

/// What one session gave.
pub(super) struct Explored {
    pub user: u32,
    /// Whether the model ranked the item too low; `None` where it did not answer.
    pub missed: Option<bool>,
    pub proposals: Vec<Proposal>,
    /// In the order of use.
    pub calls: Vec<Arc<Call>>,
}

/// Asks sessions for hints.
pub(super) struct Explorer<'a> {
    pub settings: &'a Reflective,
    pub noun: &'a str,
    pub prompt: &'a Prompt,
    pub teller: &'a Teller<'a>,
    pub sampler: &'a Sampler,
    pub leaks: &'a TitleLeaks,
    pub cache: &'a CachedLlm<'a>,
}

/// One session while it is asked.
struct Session<'e, 'a> {
    explorer: &'e Explorer<'a>,
    conversation: &'e mut dyn Conversation,
    number: u32,
    window: &'e Window,
    candidates: Vec<u32>,
    /// The question without a hint.
    context: Vec<String>,
    explored: Explored,
}

impl Explorer<'_> {
    /// Asks sessions until `count` hints are kept; what each one gave, in the order of `windows`. `advance` is called after each.
    pub fn explore(
        &self,
        windows: &[Window],
        count: usize,
        conversations: &ConversationFactory,
        cx: &Context,
        advance: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<Vec<Explored>> {
        let (mut all, mut kept): (Vec<Explored>, Vec<String>) = (vec![], vec![]);
        for (batch, windows) in windows.chunks(BATCH).enumerate() {
            if kept.len() >= count {
                break;
            }
            let ask = |&(place, window): &(usize, &Window)| {
                advance()?;
                let number = (batch * BATCH + place) as u32;
                let explored = self.session(number, window, &kept, &mut *conversations());
                explored.with_context(|| format!("the session of user {}", window.user))
            };
            let numbered: Vec<(usize, &Window)> = windows.iter().enumerate().collect();
            for mut explored in self.cache.ask_all(&numbered, cx, ask)? {
                for proposal in explored.proposals.iter_mut().filter(|found| found.verdict == HintVerdict::Kept) {
                    // Another session of the batch may have said the same.
                    if self.is_redundant(&proposal.text, &kept) {
                        proposal.verdict = HintVerdict::Redundant;
                    } else {
                        kept.push(proposal.text.clone());
                    }
                }
                all.push(explored);
            }
        }
        Ok(all)
    }

    fn is_redundant(&self, text: &str, kept: &[String]) -> bool {
        kept.iter().any(|other| overlap(text, other) >= self.settings.max_overlap)
    }

    fn session(
        &self,
        number: u32,
        window: &Window,
        kept: &[String],
        conversation: &mut dyn Conversation,
    ) -> Result<Explored> {
        let candidates = self.sampler.candidates(window)?;
        let order = HistoryOrder::Chronological;
        let context = self.teller.prefix(self.settings.strategy, window.user, &window.history, order, &[])?;
        let explored = Explored { user: window.user, missed: None, proposals: vec![], calls: vec![] };
        let mut session = Session { explorer: self, conversation, number, window, candidates, context, explored };
        session.run(kept)?;
        Ok(session.explored)
    }
}

impl Session<'_, '_> {
    fn run(&mut self, kept: &[String]) -> Result<()> {
        let top = self.explorer.settings.top as f64;
        let before = self.ask(None)?;
        let Some(rank) = before.rank() else { return Ok(()) };
        self.explored.missed = Some(rank > top);
        if rank <= top {
            return Ok(());
        }
        for text in self.reflect(&before)? {
            let verdict = if words(&text).len() < MIN_WORDS {
                HintVerdict::Empty
            } else if self.explorer.leaks.find(&text, Some(self.window.target)).is_some() {
                HintVerdict::Leaks
            } else if self.explorer.is_redundant(&text, kept) || self.said(&text) {
                HintVerdict::Redundant
            } else {
                HintVerdict::Kept
            };
            let after = if verdict == HintVerdict::Kept { Some(self.ask(Some(&text))?) } else { None };
            let effective = after.as_ref().is_none_or(|after| after.rank().is_some_and(|rank| rank <= top));
            let verdict = if effective { verdict } else { HintVerdict::Ineffective };
            let origin = HintOrigin {
                session: self.number,
                user: self.window.user,
                target: self.window.target,
                ndcg_without: before.ndcg() as f32,
                ndcg_with: after.filter(|after| after.rank().is_some()).map(|after| after.ndcg() as f32),
            };
            self.explored.proposals.push(Proposal { text, verdict, origin });
        }
        Ok(())
    }

    /// Whether this session has said it already, to whatever effect.
    fn said(&self, text: &str) -> bool {
        let most = self.explorer.settings.max_overlap;
        self.explored.proposals.iter().any(|other| overlap(text, &other.text) >= most)
    }

    /// Ranks the candidates, with a hint or without.
    fn ask(&mut self, hint: Option<&str>) -> Result<PromptResult> {
        let Explorer { prompt, cache, .. } = *self.explorer;
        let mut context = self.context.clone();
        if let Some(hint) = hint {
            context.push(prompt.hint_line(hint)?);
        }
        let asked = CandidateOrders::GIVEN.ask(cache, self.conversation, prompt, &context, &self.candidates)?;
        self.explored.calls.extend(asked.calls);
        Ok(PromptResult {
            session: self.number,
            user: self.window.user,
            target: self.window.target,
            history: self.window.history.iter().map(|row| row.item).collect(),
            prompt: hint.unwrap_or_default().to_owned(),
            order: HistoryOrder::Chronological.name().to_owned(),
            candidates: self.candidates.clone(),
            scores: asked.rankings.into_iter().next().unwrap_or_default(),
            tokens: None,
            calls: asked.choices.len() as u32,
        })
    }

    /// The lines that the model writes after it has explained its ranking, first without the answer and then with it.
    fn reflect(&mut self, before: &PromptResult) -> Result<Vec<String>> {
        let Explorer { settings, noun, prompt, .. } = *self.explorer;
        let mut ranked: Vec<(f32, u32)> =
            before.scores.iter().copied().zip(before.candidates.iter().copied()).collect();
        // Stable: equals in the order in which they were offered.
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let ranked: Vec<&str> = ranked.iter().take(settings.top).map(|&(_, item)| prompt.name(item)).collect();
        let mut context = self.context.clone();
        context.push(format!("You ranked first: {}.\n", ranked.join("; ")));
        context.push(format!("This is wrong: the user took another {noun} next.\n"));
        let mistakes = "Likely mistakes of this ranking, in one sentence:";
        let text = self.write(&context, mistakes, settings.max_explanation_tokens, "\n")?;
        context.push(format!("{mistakes} {}\n", sanitize(&text, MAX_EXPLANATION)));
        context.push(format!("The user took: {}.\n", prompt.name(self.window.target)));
        let reason = "Why it was missed, in one sentence:";
        let text = self.write(&context, reason, settings.max_explanation_tokens, "\n")?;
        context.push(format!("{reason} {}\n", sanitize(&text, MAX_EXPLANATION)));
        let wanted = settings.hints_per_session;
        let cue = format!(
            "Short instructions for the next ranking that name no {noun}, {wanted} at most, one a line, each beginning with a verb:"
        );
        let text = self.write(&context, &cue, settings.max_hint_tokens, "")?;
        Ok(lines(&text).take(wanted).collect())
    }

    fn write(&mut self, context: &[String], cue: &str, max_tokens: u32, stop: &str) -> Result<String> {
        let request = CompletionRequest {
            context: context.to_vec(),
            completion_prefix: cue.to_owned(),
            max_tokens,
            stop: stop.to_owned(),
            temperature: self.explorer.settings.temperature,
            draw: 0,
            integer: None,
        };
        let (text, call) = self.explorer.cache.write(self.conversation, &request)?;
        self.explored.calls.push(call);
        Ok(text)
    }
}

/// The lines of a list, without its numbers and bullets.
fn lines(text: &str) -> impl Iterator<Item = String> {
    let bullet = |c: char| c.is_ascii_digit() || c.is_whitespace() || "-*•.):\"'“”".contains(c);
    let lines =
        text.lines().map(move |line| sanitize(line.trim_start_matches(bullet).trim_end_matches(['"', '”']), MAX_CHARS));
    lines.filter(|line| !line.is_empty())
}

/// Words in both over words in either.
fn overlap(a: &str, b: &str) -> f64 {
    let set = |text: &str| words(text).into_iter().collect::<BTreeSet<_>>();
    let (a, b) = (set(a), set(b));
    let either = a.union(&b).count();
    if either == 0 { 1.0 } else { a.intersection(&b).count() as f64 / either as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_list_are_taken_and_words_are_compared() {
        let found: Vec<String> = lines("1. Prefer old films.\n\n- \"Avoid war\"\n  2) Be bold.").collect();
        assert_eq!(found, ["Prefer old films.", "Avoid war", "Be bold."]);
        assert_eq!(overlap("Prefer old films.", "prefer OLD movies"), 0.5);
        assert_eq!((overlap("a", "b"), overlap("", "")), (0.0, 1.0));
    }

    #[test]
    fn what_no_type_can_say_is_refused_by_its_own_name() {
        let refused = |change: fn(&mut Reflective)| {
            let mut settings = Reflective::default();
            change(&mut settings);
            settings.check().unwrap_err().0
        };
        assert_eq!(refused(|s| s.sessions = 0), "sessions");
        assert_eq!(refused(|s| s.top = 0), "top");
        assert_eq!(refused(|s| s.hints_per_session = 0), "hints_per_session");
        assert_eq!(refused(|s| s.max_overlap = 1.5), "max_overlap");
        assert_eq!(refused(|s| s.n_candidates = 5), "n_candidates");
        assert_eq!(refused(|s| s.min_history = 0), "min_history");
        assert_eq!(refused(|s| s.log_history.length = 0), "log_history.length");
        assert_eq!(refused(|s| s.temperature = f64::NAN), "temperature");
        assert_eq!(refused(|s| s.max_explanation_tokens = 0), "max_explanation_tokens");
        assert_eq!(refused(|s| s.max_hint_tokens = 0), "max_hint_tokens");
        assert_eq!(refused(|s| s.prompts.hint = Some("{{ hin }}".into())), "prompts.hint");
        assert_eq!(Reflective::default().check(), Ok(()));
    }
}
