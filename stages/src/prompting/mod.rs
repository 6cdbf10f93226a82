//! What a language model is told before it recommends: templates, and the prompts that are filled from them.

mod prompt;
mod templates;

pub(crate) use prompt::Prompt;
pub use templates::Prompts;
