//! What a language model is told before it recommends, and how it is asked.
//!
//! `prompt` fills the `templates`; `strategies` tell a user's log; `windows` are questions with known answers, from the log;
//! `ranking` asks, `borda` makes one ranking of several.

mod borda;
mod prompt;
mod ranking;
mod strategies;
mod templates;
mod windows;

pub(crate) use prompt::Prompt;
pub use ranking::Aggregate;
pub(crate) use ranking::{Asked, CandidateOrders};
pub use strategies::{HistoryOrder, LogHistory, Strategy};
pub(crate) use strategies::{Teller, favourites};
pub use templates::Prompts;
pub use windows::Negatives;
pub(crate) use windows::{LogRow, Sampler, Window, held_out, histories, last_of_log};
