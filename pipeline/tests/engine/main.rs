//! The engine's promises, each tried on the toy program.

mod caching;
mod commands;
mod completing;
mod damage;
mod failing;
mod project;
mod resuming;
mod secrets;
mod sweeps;
