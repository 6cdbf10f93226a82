//! Cross-entropy of an answer's tokens, and its gradient at the model's output.

use anyhow::{Result, ensure};

use super::super::decoder::Decoder;
use super::super::transposed_product::transposed_product;

/// The most rows of logits in memory at once.
const MAX_ROWS: usize = 32;

/// `hidden [answer, width]`, one row before each token of the answer → −Σ ln p and, where wanted, its gradient of the same shape:
/// (softmax − one-hot)·W.
pub(super) fn answer_loss(decoder: &Decoder, hidden: &[f32], answer: &[u32], wanted: bool) -> Result<(f64, Vec<f32>)> {
    let (width, vocabulary) = (decoder.config.width, decoder.config.vocabulary);
    let (mut nll, mut gradient) = (0.0, Vec::new());
    for (rows, ids) in hidden.chunks(MAX_ROWS * width).zip(answer.chunks(MAX_ROWS)) {
        let logits = decoder.logits(rows);
        nll -= ids.iter().enumerate().map(|(row, id)| logits.log_probability(row, *id)).sum::<f64>();
        if wanted {
            let mut d_logits = logits.probabilities();
            for (row, id) in d_logits.chunks_exact_mut(vocabulary).zip(ids) {
                row[*id as usize] -= 1.0;
            }
            gradient.extend(transposed_product(&decoder.output, &d_logits));
        }
    }
    ensure!(
        nll.is_finite(),
        "the loss of an answer is not finite\nhelp: lower the learning rate; if it is the first step, fetch the model's file again"
    );
    Ok((nll, gradient))
}
