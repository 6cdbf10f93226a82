//! `hints`: short instructions that a language model may be told before it recommends.
//!
//! `template` fills sentences with what the log knows; `reflective` lets the model explain its mistakes in sessions of the training log
//! and keeps what helps (after Re2LLM, arXiv 2403.16427). No hint names a title of the catalogue, nor three words of one in a row.
//! `evaluate.prompts` asks held-out sessions with each hint, and `hint_policy` learns which hint suits which history.
//!
//! A hint of `reflective` was chosen because it helped in the last session of a user in `train`, so its worth is measured on later ones:
//! connect the held-out log to `evaluate.prompts`.
//!
//! Every answer is stored before it is used, and a killed run asks no question twice. Left out: hints in other languages than English.

mod leak;
mod reflective;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use pipeline::checkpointing::ValueStore;
use pipeline::{AssetName, Context, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Adapter, Call, Calls, Hint, HintVerdict, Hints, Interactions, Items, LlmUsage};
use crate::llm::{self, CachedLlm, Llm, LlmConfig, RecordedCall, Workload, usage_by_user};
use crate::prompting::{Prompt, Sampler, Teller, histories, last_of_log};
use leak::TitleLeaks;
pub use reflective::Reflective;
use reflective::{Explored, Explorer};

/// Tokens of a prompt without titles, and of a title, in estimates.
const FIXED_TOKENS: u64 = 120;
const TITLE_TOKENS: u64 = 7;
/// Number of items that the strategy `top_rated` tells.
const N_TOP_RATED: usize = 5;

/// `hints`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MakeHints {
    /// How hints are made: `template` or `reflective`.
    pub kind: HintKind,
    /// Number of hints, at least 1: as many are kept at most.
    pub count: usize,
    /// The noun for an item, such as `movie`.
    pub item_noun: String,
    /// The language model that reflects; only for `kind: reflective`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmConfig>,
    /// Settings of `kind: reflective`.
    pub reflective: Reflective,
    /// Seed of the sessions and the candidates of `kind: reflective`.
    pub seed: u64,
}

impl Default for MakeHints {
    fn default() -> Self {
        let (kind, item_noun, reflective) = (HintKind::Template, "item".to_owned(), Reflective::default());
        Self { kind, count: 20, item_noun, llm: None, reflective, seed: 0 }
    }
}

/// How hints are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HintKind {
    /// Sentences filled with the genres, years and features of the log; no model is asked.
    #[default]
    Template,
    /// Written by the model about its own mistakes in sessions of the training log, and kept where they correct the mistake.
    Reflective,
}

pipeline::ports! {
    /// The log and its catalogue.
    pub struct Inputs {
        /// The training log.
        train: Interactions,
        /// The catalogue.
        items: Items,
        /// Recorded calls from which `llm: { replay: {} }` answers; none when not connected.
        calls: Option<Calls>,
        /// What an embedded model learned beside its weights; none when not connected.
        adapter: Option<Adapter>,
    }
}

pipeline::ports! {
    /// The hints and the calls behind them.
    pub struct Outputs {
        /// Every hint that was proposed, and what became of it.
        hints: Hints,
        /// Every call of the language model; none for `kind: template`.
        calls: Calls,
        /// Calls and tokens of each session.
        llm_usage: LlmUsage,
    }
}

impl Stage for MakeHints {
    const KIND: &'static str = "hints";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "make short instructions for a language model, from the log or from its own mistakes";
    const NOT_IN_KEY: &'static [&'static str] = llm::NOT_IN_KEY;
    const ADDED_PORTS: &'static [&'static str] = &["adapter"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn local_only(&self) -> bool {
        self.llm.as_ref().is_some_and(LlmConfig::asks_server)
    }

    fn assets(&self) -> Vec<AssetName> {
        self.llm.iter().filter_map(LlmConfig::asset).collect()
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if self.count == 0 {
            return wrong("count", "at least one hint");
        }
        if self.item_noun.trim().is_empty() {
            return wrong("item_noun", "a word for what is recommended, such as `movie`");
        }
        match (self.kind, &self.llm) {
            (HintKind::Template, None) => {}
            (HintKind::Template, Some(_)) => {
                return wrong("llm", "a template asks no model: leave `llm` out, or set `kind: reflective`");
            }
            (HintKind::Reflective, None) => return wrong("llm", "`kind: reflective` needs a language model"),
            (HintKind::Reflective, Some(llm)) => {
                llm.check().map_err(|(path, message)| (format!("llm.{path}"), message))?;
                if let Some(lacks) = llm.lacks_logprobs() {
                    return wrong("llm", &format!("the candidates are ranked by their probabilities: {lacks}"));
                }
            }
        }
        self.reflective.check().map_err(|(path, wanted)| (format!("reflective.{path}"), wanted))
    }

    fn requirements(&self) -> Vec<Requirement> {
        let idle = |port| Requirement {
            setting: "kind",
            port,
            connected: false,
            why: "a template asks no model".to_owned(),
            help: "leave the input out, or set `kind: reflective` and `llm`",
        };
        self.llm.as_ref().map_or_else(|| ["calls", "adapter"].map(idle).into(), LlmConfig::requirements)
    }

    fn estimate(&self, _: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Option<String>> {
        let Reflective { sessions, hints_per_session, n_candidates, log_history, .. } = &self.reflective;
        let (sessions, hints) = (*sessions as u64, *hints_per_session as u64);
        let titles = (log_history.length + n_candidates) as u64;
        let (choices, texts) = (sessions * (1 + hints), 3 * sessions);
        let explained = 2 * u64::from(self.reflective.max_explanation_tokens);
        let work = Workload {
            choices,
            texts,
            prompt_tokens: (choices + texts) * (FIXED_TOKENS + TITLE_TOKENS * titles),
            text_tokens: sessions * (explained + u64::from(self.reflective.max_hint_tokens)),
        };
        Ok(self.llm.as_ref().and_then(|llm| llm.estimate(&work)))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        ensure!(!inputs.train.is_empty(), "the training log is empty");
        inputs.train.check_within("train", users(&inputs.train), inputs.items.len())?;
        match &self.llm {
            None => self.fill_templates(&inputs, cx),
            Some(config) => {
                let llm = config.open(cx, RecordedCall::all_of(inputs.calls.as_ref()), inputs.adapter.as_ref())?;
                self.reflect(&*llm, &inputs, cx)
            }
        }
    }
}

impl MakeHints {
    fn fill_templates(&self, inputs: &Inputs, cx: &Context) -> Result<Outputs> {
        let leaks = TitleLeaks::of(&inputs.items);
        let (mut hints, mut kept) = (Vec::new(), 0);
        for text in template::hints(&inputs.items, &inputs.train, self.item_noun.trim()) {
            if kept == self.count {
                break;
            }
            let leaks = leaks.find(&text, None).is_some();
            kept += usize::from(!leaks);
            let verdict = if leaks { HintVerdict::Leaks } else { HintVerdict::Kept };
            hints.push(Hint { id: id(hints.len()), text, kind: "template".to_owned(), verdict, origin: None });
        }
        let (calls, llm_usage) = (Calls(vec![]), LlmUsage(vec![]));
        self.note(&hints, cx);
        Ok(Outputs { hints: Hints(hints), calls, llm_usage })
    }

    fn reflect(&self, llm: &dyn Llm, inputs: &Inputs, cx: &Context) -> Result<Outputs> {
        let (settings, noun) = (&self.reflective, self.item_noun.trim());
        let train = histories(&inputs.train, users(&inputs.train));
        let windows = last_of_log(&train, settings.sessions, settings.min_history, self.seed);
        ensure!(
            !windows.is_empty(),
            "no user of the training log took {} items before another one\nhelp: lower `reflective.min_history`",
            settings.min_history
        );
        let instructions = settings.instructions.as_deref();
        let prompt = Prompt::new(noun, instructions, &settings.prompts, 1, &inputs.items, &inputs.train)?;
        let teller = Teller {
            prompt: &prompt,
            items: &inputs.items,
            settings: &settings.log_history,
            n_top_rated: N_TOP_RATED,
            seed: self.seed,
        };
        teller.check(&[settings.strategy])?;
        let sampler = Sampler::new(&[&train], inputs.items.len(), settings.negatives, settings.n_candidates, self.seed);
        let cache = CachedLlm::new(llm, ValueStore::open(cx.calls())?);
        let (start, bar) = (Instant::now(), cx.bar("sessions", Some(windows.len() as u64), "sessions"));
        let leaks = TitleLeaks::of(&inputs.items);
        let explorer = Explorer {
            settings,
            noun,
            prompt: &prompt,
            teller: &teller,
            sampler: &sampler,
            leaks: &leaks,
            cache: &cache,
        };
        let advance = || {
            cache.advance(&bar, start);
            cx.check_cancelled()
        };
        let conversations = llm.conversations(&prompt.preamble)?;
        let explored = explorer.explore(&windows, self.count, &conversations, cx, &advance)?;
        cache.note_calls(self.llm.as_ref().is_none_or(|llm| !llm.replays()), start, cx);
        llm.spending()?.into_iter().for_each(|spent| cx.note("spent", spent));
        note_sessions(&explored, settings.top, cx)?;
        let mut hints: Vec<Hint> = Vec::new();
        for proposal in explored.iter().flat_map(|session| &session.proposals) {
            let (text, verdict, origin) = (proposal.text.clone(), proposal.verdict, Some(proposal.origin.clone()));
            hints.push(Hint { id: id(hints.len()), text, kind: "reflective".to_owned(), verdict, origin });
        }
        // A batch of sessions may give more than are wanted.
        let mut kept = hints.iter().enumerate().filter(|(_, hint)| hint.verdict == HintVerdict::Kept);
        if let Some((last, _)) = kept.nth(self.count - 1) {
            hints.truncate(last + 1);
        }
        self.note(&hints, cx);
        let llm_usage = usage_by_user(explored.iter().map(|session| (session.user, session.calls.as_slice())), llm)?;
        let calls = unique(explored.into_iter().flat_map(|session| session.calls));
        Ok(Outputs { hints: Hints(hints), calls, llm_usage })
    }

    /// Notes what became of the proposals; warns where there are fewer hints than wanted.
    fn note(&self, hints: &[Hint], cx: &Context) {
        let count = |verdict: HintVerdict| hints.iter().filter(|hint| hint.verdict == verdict).count();
        let others = [HintVerdict::Leaks, HintVerdict::Redundant, HintVerdict::Ineffective, HintVerdict::Empty];
        let others = others.map(|verdict| format!("{} {verdict}", count(verdict))).join(", ");
        let kept = count(HintVerdict::Kept);
        cx.note("hints", format!("{kept} kept of {} proposed: {others}", hints.len()));
        if kept < self.count {
            let help = match self.kind {
                HintKind::Template => "the log has no more to say; give the ingest stage columns of genres or years",
                HintKind::Reflective => "ask more `reflective.sessions`, or a model that writes better",
            };
            cx.warn(format!("{kept} hints are kept and `count` is {}\nhelp: {help}", self.count));
        }
    }
}

/// How many users the numbers of a log make.
fn users(log: &Interactions) -> usize {
    log.user.iter().max().map_or(0, |&user| user as usize + 1)
}

/// The name of the hint with that place.
fn id(place: usize) -> String {
    format!("h{:02}", place + 1)
}

fn note_sessions(explored: &[Explored], top: usize, cx: &Context) -> Result<()> {
    let answered = explored.iter().filter(|session| session.missed.is_some()).count();
    let missed = explored.iter().filter(|session| session.missed == Some(true)).count();
    cx.note("sessions", format!("{} asked, {missed} of them with the item below rank {top}", explored.len()));
    let first = explored.iter().flat_map(|session| &session.calls).next().context("no session was asked")?;
    ensure!(
        answered > 0,
        "the model gave no scores of the candidates in any of {} sessions; its first answer: {}",
        explored.len(),
        first.told()
    );
    Ok(())
}

fn unique(calls: impl Iterator<Item = Arc<Call>>) -> Calls {
    let mut seen = BTreeSet::new();
    Calls(calls.filter(|call| seen.insert(call.key.clone())).map(|call| Call::clone(&call)).collect())
}
