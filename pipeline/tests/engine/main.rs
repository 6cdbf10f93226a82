//! The engine's promises, each tried on the toy program.

mod caching;
mod commands;
mod damage;
mod failing;
mod inspecting;
mod project;
mod resuming;
