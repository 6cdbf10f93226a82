//! Tunes a language model on a log: gradients through the model, of few numbers beside its weights.
//!
//! `questions` asks of windows of the log what `evaluate.prompts` and `demonstrate` ask; `objective` and `pairs` are the losses;
//! `training` is the loop; `sft`, `virtual_tokens` and `dpo` are the stages. The last row of every user is held out: no question is about it, so that a stage that asks for
//! it (`evaluate.prompts` without `test`) asks something new.

mod dpo;
mod low_rank_settings;
mod objective;
mod pairs;
mod questions;
mod sft;
#[cfg(test)]
mod tests;
mod training;
mod virtual_tokens;

pub use dpo::AlignDpo;
pub use low_rank_settings::LowRankSettings;
pub use questions::LogQuestions;
pub use sft::AlignSft;
pub use training::Passes;
pub use virtual_tokens::AlignVirtualTokens;

use crate::artifact::{Adapter, Curves, Interactions, Items};

pipeline::ports! {
    /// The log and its catalogue.
    pub struct Inputs {
        /// The catalogue with the titles. Items without a title are described by their genres and features.
        items: Items,
        /// The training log. The last row of each user is only predicted.
        train: Interactions,
    }
}

pipeline::ports! {
    /// What the model learned.
    pub struct Outputs {
        /// Connect it where the same model is asked.
        adapter: Adapter,
        /// By update: `loss`, of answers the mean −ln p of a token and of pairs the mean loss, in the batch, and `gradient_norm` before
        /// clipping. At the beginning and behind each pass, over what is held out: of answers `nll.held_out`, the same mean; of pairs
        /// `loss.held_out`, and `accuracy.held_out`, the share in which the chosen answer gained more than the rejected one.
        curves: Curves,
    }
}
