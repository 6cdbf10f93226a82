//! The objective of pairs: −ln σ(β[(ln π − ln π_ref)(chosen) − (ln π − ln π_ref)(rejected)]) (DPO: Rafailov et al. 2023, arXiv
//! 2305.18290, eq. 7).
//!
//! With m the bracket times β, its gradient is −β·σ(−m)·(∇ ln π(chosen) − ∇ ln π(rejected)); where π is π_ref the loss is ln 2.

use anyhow::{Context as _, Result};

use super::objective::Objective;
use super::questions::{Question, Questions};
use crate::llm::gguf::{Adaptation, Gguf, Sequence};

/// Pairs with the log-probabilities of the reference, which is the model without an adaptation.
pub(super) struct Pairs<'a> {
    model: &'a Gguf,
    beta: f64,
    batch_size: usize,
    learnt: Vec<Pair>,
    held_out: Vec<Pair>,
}

/// Chosen and rejected.
struct Pair {
    sequences: [Sequence; 2],
    /// −ln π_ref.
    reference: [f64; 2],
}

impl<'a> Pairs<'a> {
    /// Computes the reference's log-probabilities.
    pub fn new(model: &'a Gguf, questions: &Questions, beta: f64, batch_size: usize) -> Result<Self> {
        let pairs = |questions: &[Question]| -> Result<Vec<Pair>> {
            let mut pairs = Vec::with_capacity(questions.len());
            for question in questions {
                let rejected = question.rejected.as_ref().context("a question without a rejected answer")?;
                let of = |answer: &str| model.sequence(&question.segments, answer, 0);
                let sequences = [of(&question.answer)?, of(rejected)?];
                let nlls = model.answer_nlls(&Adaptation::default(), &sequences)?;
                pairs.push(Pair { sequences, reference: [nlls[0], nlls[1]] });
            }
            Ok(pairs)
        };
        let (learnt, held_out) = (pairs(&questions.learnt)?, pairs(&questions.held_out)?);
        Ok(Self { model, beta, batch_size, learnt, held_out })
    }

    /// m of a pair whose answers have these −ln π.
    fn margin(&self, pair: &Pair, nlls: [f64; 2]) -> f64 {
        self.beta * ((pair.reference[0] - nlls[0]) - (pair.reference[1] - nlls[1]))
    }
}

impl Objective for Pairs<'_> {
    fn units(&self) -> usize {
        self.learnt.len()
    }

    fn gradient(&self, adaptation: &Adaptation, places: &[usize], _: u64) -> Result<(f64, Adaptation)> {
        let sequences: Vec<Sequence> =
            places.iter().flat_map(|&place| self.learnt[place].sequences.iter().cloned()).collect();
        let found = self.model.answer_gradients(adaptation, &sequences)?;
        let (mut loss, mut sum) = (0.0, adaptation.zeros_like());
        for (&place, both) in places.iter().zip(found.as_chunks::<2>().0) {
            let margin = self.margin(&self.learnt[place], [both[0].nll, both[1].nll]);
            loss += minus_log_sigmoid(margin);
            let share = (self.beta / (1.0 + margin.exp()) / places.len() as f64) as f32;
            sum.add_scaled(share, &both[0].gradient);
            sum.add_scaled(-share, &both[1].gradient);
        }
        Ok((loss / places.len() as f64, sum))
    }

    fn held_out(&self, adaptation: &Adaptation) -> Result<Vec<(&'static str, f64)>> {
        let (mut loss, mut right) = (0.0, 0.0);
        for pairs in self.held_out.chunks(self.batch_size) {
            let sequences: Vec<Sequence> = pairs.iter().flat_map(|pair| pair.sequences.iter().cloned()).collect();
            let nlls = self.model.answer_nlls(adaptation, &sequences)?;
            for (pair, nlls) in pairs.iter().zip(nlls.as_chunks::<2>().0) {
                let margin = self.margin(pair, *nlls);
                loss += minus_log_sigmoid(margin);
                right += if margin == 0.0 { 0.5 } else { f64::from(u8::from(margin > 0.0)) };
            }
        }
        let count = self.held_out.len() as f64;
        Ok(vec![("loss.held_out", loss / count), ("accuracy.held_out", right / count)])
    }
}

/// −ln σ(x), for any x.
fn minus_log_sigmoid(x: f64) -> f64 {
    (-x.abs()).exp().ln_1p() + (-x).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::gguf::{Projection, toy};

    fn questions() -> Questions {
        let question = |answer: &str, rejected: &str| Question {
            segments: vec!["Watched: Heat\n".to_owned(), "Next:".to_owned()],
            answer: answer.to_owned(),
            rejected: Some(rejected.to_owned()),
        };
        let all = || vec![question(" the theatre", " over"), question(" thin", " the inner one")];
        Questions { learnt: all(), held_out: all() }
    }

    #[test]
    fn at_the_reference_the_loss_is_ln_2_and_the_gradient_that_of_the_paper() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let model = Gguf::load(&path).unwrap();
        let pairs = Pairs::new(&model, &questions(), 0.3, 2).unwrap();
        let start = model.new_low_rank(&[Projection::Queries, Projection::Values], 2, 4.0, &[1]);
        let (loss, gradient) = pairs.gradient(&start, &[0, 1], 0).unwrap();
        assert!((loss - 2.0_f64.ln()).abs() < 1e-6, "{loss}");
        assert_eq!(pairs.held_out(&start).unwrap()[1], ("accuracy.held_out", 0.5));
        let mut wanted = start.zeros_like();
        for pair in &pairs.learnt {
            let own = model.answer_gradients(&start, &pair.sequences).unwrap();
            wanted.add_scaled(0.5 * 0.3 / 2.0, &own[0].gradient);
            wanted.add_scaled(-0.5 * 0.3 / 2.0, &own[1].gradient);
        }
        for ((name, found), (_, wanted)) in gradient.tensors().into_iter().zip(wanted.tensors()) {
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
        }
        // Away from the reference, along the gradient the loss falls by its norm.
        let mut away = start.clone();
        away.add_scaled(-3.0, &gradient);
        let (loss, gradient) = pairs.gradient(&away, &[0, 1], 0).unwrap();
        assert!(loss < 2.0_f64.ln());
        let norm =
            gradient.tensors().iter().flat_map(|(_, x)| x.iter()).map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let at = |by: f64| {
            let mut moved = away.clone();
            moved.add_scaled((by / norm) as f32, &gradient);
            pairs.gradient(&moved, &[0, 1], 0).unwrap().0
        };
        let slope = (at(0.02) - at(-0.02)) / 0.04;
        assert!((slope - norm).abs() < 0.02 * norm, "{slope} is not {norm}");
    }

    #[test]
    fn the_loss_of_a_large_margin_is_finite() {
        assert!((minus_log_sigmoid(-800.0) - 800.0).abs() < 1e-9 && minus_log_sigmoid(800.0) < 1e-9);
        assert!((minus_log_sigmoid(1.0) - (1.0 + (-1.0_f64).exp()).ln()).abs() < 1e-12);
    }
}
