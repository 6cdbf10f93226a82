//! Language models, as the stages see them.
//!
//! [`gguf`] is the embedded one: it runs inside the process, needs no network, and equal prompts give equal bits.

pub mod gguf;
