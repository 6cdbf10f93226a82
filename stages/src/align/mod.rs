//! Tunes a language model on a log: gradients through the model, of few numbers beside its weights.
//!
//! `questions` asks of windows of the log what `evaluate.prompts` and `demonstrate` ask; `objective` and `pairs` are the losses;
//! `training` is the loop; `sft`, `virtual_tokens` and `dpo` are the stages. The last row of every user is held out: no question is about
//! it, so that a stage that asks for it (`evaluate.prompts` without `test`) asks something new.

mod dpo;
mod low_rank_settings;
mod objective;
mod pairs;
mod ports;
mod questions;
mod sft;
#[cfg(test)]
mod tests;
mod training;
mod virtual_tokens;

pub use dpo::AlignDpo;
pub use low_rank_settings::LowRankSettings;
pub use ports::{Inputs, Outputs};
pub use questions::LogQuestions;
pub use sft::AlignSft;
pub use training::Passes;
pub use virtual_tokens::AlignVirtualTokens;
