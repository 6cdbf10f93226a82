//! What a language model is told before it recommends, and how it is asked.
//!
//! `prompt` fills the `templates`; `strategies` tell a user's log; `windows` are questions with known answers, from the log;
//! `ranking` asks, `borda` makes one ranking of several, `examples` answers
//! questions before one is asked.

mod borda;
mod examples;
mod log_row;
mod prompt;
mod ranking;
mod strategies;
mod templates;
mod windows;

pub(crate) use examples::{ExampleSelector, Measured, WindowQuestions};
pub use examples::{Examples, Select};
pub(crate) use log_row::LogRow;
pub(crate) use prompt::Prompt;
pub use ranking::Aggregate;
pub(crate) use ranking::CandidateOrders;
pub(crate) use strategies::Teller;
pub use strategies::{HistoryOrder, LogHistory, Strategy};
pub use templates::Prompts;
pub use windows::Negatives;
pub(crate) use windows::{Sampler, Window, held_out, histories, last_of_log, untimed};
