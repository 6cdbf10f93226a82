//! The engine's promises, each tried on the toy program.

mod caching;
mod commands;
mod crowd;
mod damage;
mod disk;
mod failing;
mod future;
mod killing;
mod logs;
mod project;
mod remains;
mod resuming;
mod torn;
