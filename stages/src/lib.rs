//! Everything that knows data or models.

pub mod artifact;
pub mod llm;
