//! Where questions are answered: from the store, or by the model and then into the store before anyone uses it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use pipeline::units::Vault;

use crate::artifact::Call;
use crate::llm::{Answer, Llm, Player, Reading, Request, Writing, key};

/// A model with the store of its answers.
pub(super) struct Desk<'a> {
    llm: &'a dyn Llm,
    identity: String,
    vault: Vault,
    /// Answers in use here, by key. One answer a key: where two episodes ask the same at once, the first one kept counts
    /// for both, else a resumed run could read another answer than this one.
    known: Mutex<BTreeMap<String, Arc<Call>>>,
    asked: AtomicU64,
    served: AtomicU64,
    tokens: AtomicU64,
}

/// What a desk did so far; none of it may enter an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Questions that the model answered.
    pub asked: u64,
    /// Different questions that the store had the answer to.
    pub served: u64,
    /// Tokens newly evaluated or billed.
    pub tokens: u64,
}

impl<'a> Desk<'a> {
    pub fn new(llm: &'a dyn Llm, vault: Vault) -> Self {
        let (asked, served, tokens) = Default::default();
        Self { llm, identity: llm.identity(), vault, known: Mutex::default(), asked, served, tokens }
    }

    /// The reading of the model's answer, the call behind it and then those that the reading needed.
    pub fn choose(&self, player: &mut dyn Player, request: &Request) -> Result<(Reading, Vec<Arc<Call>>)> {
        let mut calls = vec![self.answer(player, request)?];
        for reference in self.llm.references(request) {
            calls.push(self.answer(player, &reference)?);
        }
        let references: Vec<String> = calls[1..].iter().map(|call| call.answer.clone()).collect();
        let reading = self.llm.read(request, &calls[0].answer, &references);
        Ok((reading.with_context(|| format!("cannot read the answer of call {}", calls[0].key))?, calls))
    }

    /// The text that the model writes, and the call behind it.
    pub fn write(&self, player: &mut dyn Player, writing: &Writing) -> Result<(String, Arc<Call>)> {
        let call = self.kept_or_new(&writing.canonical(), || player.write(writing))?;
        let text = self.llm.written(&call.answer);
        Ok((text.with_context(|| format!("cannot read the answer of call {}", call.key))?, call))
    }

    fn answer(&self, player: &mut dyn Player, request: &Request) -> Result<Arc<Call>> {
        self.kept_or_new(&request.canonical(), || player.ask(request))
    }

    fn kept_or_new(&self, canonical: &str, ask: impl FnOnce() -> Result<Answer>) -> Result<Arc<Call>> {
        let key = key(&self.identity, canonical);
        if let Some(call) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(call.clone());
        }
        let (answer, new_tokens) = match self.kept(&key)? {
            Some(kept) => (kept, None),
            None => {
                let new = ask()?;
                (new.text, Some(new.tokens))
            }
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = known.get(&key) {
            return Ok(call.clone());
        }
        let answer = match new_tokens {
            None => {
                self.served.fetch_add(1, Ordering::Relaxed);
                answer
            }
            Some(tokens) => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.tokens.fetch_add(tokens, Ordering::Relaxed);
                // Another run may have asked the same meanwhile; then its answer counts.
                text(&key, self.vault.put_new(&key, answer.as_bytes())?)?
            }
        };
        let request = canonical.to_owned();
        let call = Arc::new(Call { key: key.clone(), model: self.identity.clone(), request, answer });
        known.insert(key, call.clone());
        Ok(call)
    }

    fn kept(&self, key: &str) -> Result<Option<String>> {
        self.vault.get(key)?.map(|bytes| text(key, bytes)).transpose()
    }

    pub fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally { asked: read(&self.asked), served: read(&self.served), tokens: read(&self.tokens) }
    }
}

fn text(key: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).with_context(|| format!("the kept answer of call {key} is no text"))
}
