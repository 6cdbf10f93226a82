//! The engine's promises, each tried on the toy program.

mod any_store;
mod caching;
mod commands;
mod damage;
mod diff;
mod failing;
mod gc;
mod locks;
mod project;
mod resuming;
mod runs;
