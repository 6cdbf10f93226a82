//! The engine's promises, each tried on the toy program.

mod caching;
mod commands;
mod damage;
mod failing;
mod killing;
mod project;
mod resuming;
