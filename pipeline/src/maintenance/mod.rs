//! Keeping a store in order: which runs are remembered (`prune`), what nobody needs any more (`roots`, `gc_plan`, `gc_apply`),
//! and whether what is there is whole (`verify`).
//!
//! Nothing here touches a file that the store did not write, and nothing is taken away that a recorded run asked for.

mod gc_apply;
mod gc_plan;
mod prune;
mod roots;
mod verify;

pub(crate) use gc_apply::gc_apply;
pub(crate) use gc_plan::{Class, GcOptions, GcPlan, Item, gc_plan};
pub(crate) use prune::{Prune, to_forget};
pub(crate) use roots::Roots;
pub(crate) use verify::{Fault, Verified, verify};
