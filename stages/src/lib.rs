//! Everything that knows data or models.

pub mod artifact;
pub mod env;
pub mod nn;
pub mod world;
