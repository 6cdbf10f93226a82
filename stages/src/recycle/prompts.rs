//! What the model was told at each step, as its recorded calls have it.

use std::collections::BTreeMap;

use crate::artifact::{Call, Calls, Demonstrations};
use crate::llm::ChoiceRequest;

/// Recorded requests with the candidates that they offer, by the key of their call.
pub(super) struct RecordedPrompts(BTreeMap<String, (ChoiceRequest, Vec<u32>)>);

/// The request behind a step, whose options are its recorded candidates.
pub(super) struct StepPrompt<'a> {
    pub request: &'a ChoiceRequest,
    candidates: &'a [u32],
}

impl RecordedPrompts {
    /// The choices behind the steps of demonstrations. Calls that are no choices among the candidates of their step are left out.
    pub fn of(calls: Option<&Calls>, demonstrations: &Demonstrations) -> Self {
        let offered: BTreeMap<&str, &Vec<u32>> =
            demonstrations.steps().map(|(.., step)| (step.call.as_str(), &step.candidates)).collect();
        let prompt = |call: &Call| {
            let request: ChoiceRequest = serde_json::from_str(&call.request).ok()?;
            let candidates = offered.get(call.key.as_str())?;
            let matching = request.options.len() == candidates.len();
            matching.then(|| (call.key.clone(), (request, candidates.to_vec())))
        };
        Self(calls.into_iter().flat_map(|calls| &calls.0).filter_map(prompt).collect())
    }

    /// Whether no step has its prompt.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first words of a prompt, which all share.
    pub fn opening(&self) -> &str {
        let first = self.0.values().find_map(|(request, _)| request.context.first());
        first.map_or("", String::as_str)
    }

    /// The request behind a step whose call has this key.
    pub fn of_call(&self, key: &str) -> Option<StepPrompt<'_>> {
        self.0.get(key).map(|(request, candidates)| StepPrompt { request, candidates })
    }
}

impl StepPrompt<'_> {
    /// The place of an item among the options.
    pub fn place(&self, item: u32) -> Option<usize> {
        self.candidates.iter().position(|&candidate| candidate == item)
    }

    /// The title of an item, as the prompt has it.
    pub fn title(&self, item: u32) -> Option<&str> {
        self.place(item).map(|place| self.request.options[place].as_str())
    }
}
