//! What an alignment minimises, and the objective of answers.

use anyhow::Result;

use super::questions::{Question, Questions};
use crate::llm::gguf::{Adaptation, Gguf};

/// A loss over units, such as questions, of which some are held out.
pub(super) trait Objective {
    /// How many units there are to learn from.
    fn units(&self) -> usize;

    /// The mean loss of the units at `places` and its gradient, in the update of that number.
    fn gradient(&self, adaptation: &Adaptation, places: &[usize], update: u64) -> Result<(f64, Adaptation)>;

    /// Names of curves and their values over the units that are held out.
    fn held_out(&self, adaptation: &Adaptation) -> Result<Vec<(&'static str, f64)>>;
}

/// −mean ln p of the answers' tokens.
pub(super) struct Answers<'a, K> {
    pub model: &'a Gguf,
    pub questions: &'a Questions,
    /// How many virtual tokens the questions of an update have; without an update, those that are held out.
    pub virtual_tokens: K,
    /// Questions that are predicted at once.
    pub batch_size: usize,
}

impl<K: Fn(Option<u64>) -> usize> Objective for Answers<'_, K> {
    fn units(&self) -> usize {
        self.questions.learnt.len()
    }

    fn gradient(&self, adaptation: &Adaptation, places: &[usize], update: u64) -> Result<(f64, Adaptation)> {
        let virtual_tokens = (self.virtual_tokens)(Some(update));
        let sequence = |&place: &usize| {
            let Question { segments, answer, .. } = &self.questions.learnt[place];
            self.model.sequence(segments, answer, virtual_tokens)
        };
        let sequences = places.iter().map(sequence).collect::<Result<Vec<_>>>()?;
        let tokens: usize = sequences.iter().map(|sequence| sequence.answer_tokens()).sum();
        let (mut nll, mut sum) = (0.0, adaptation.zeros_like());
        for own in self.model.answer_gradients(adaptation, &sequences)? {
            nll += own.nll;
            sum.add_scaled((1.0 / tokens as f64) as f32, &own.gradient);
        }
        Ok((nll / tokens as f64, sum))
    }

    fn held_out(&self, adaptation: &Adaptation) -> Result<Vec<(&'static str, f64)>> {
        let virtual_tokens = (self.virtual_tokens)(None);
        let (mut nll, mut tokens) = (0.0, 0);
        for questions in self.questions.held_out.chunks(self.batch_size) {
            let sequence =
                |question: &Question| self.model.sequence(&question.segments, &question.answer, virtual_tokens);
            let sequences = questions.iter().map(sequence).collect::<Result<Vec<_>>>()?;
            tokens += sequences.iter().map(|sequence| sequence.answer_tokens()).sum::<usize>();
            nll += self.model.answer_nlls(adaptation, &sequences)?.into_iter().sum::<f64>();
        }
        Ok(vec![("nll.held_out", nll / tokens as f64)])
    }
}
