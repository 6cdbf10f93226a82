//! Everything that knows data or models.

pub mod artifact;
pub mod demonstrate;
pub mod env;
pub mod evaluate;
pub mod ingest;
pub mod inspect;
pub mod llm;
pub mod nn;
pub mod report;
pub mod retrieve;
pub mod rl;
pub mod split;
pub mod world;
