//! The engine's promises, each tried on the toy program.

mod any_store;
mod assets;
mod caching;
mod commands;
mod completing;
mod crowd;
mod damage;
mod devices;
mod diff;
mod disk;
mod failing;
mod future;
mod gc;
mod inspecting;
mod killing;
mod locks;
mod logs;
mod newest;
mod project;
mod remains;
mod report;
mod resuming;
mod runs;
mod secrets;
mod sweeps;
mod torn;
