//! Keeping a store in order: which runs are remembered (`prune`), what nobody needs any more (`roots`, `garbage`, `sweep`),
//! and whether what is there is whole (`verify`).
//!
//! Nothing here touches a file that the store did not write, and nothing is taken away that a recorded run asked for.

mod garbage;
mod prune;
mod roots;
mod sweep;
mod verify;

pub(crate) use garbage::{Class, Garbage, Item, Wish, garbage};
pub(crate) use prune::{Prune, to_forget};
pub(crate) use roots::Roots;
pub(crate) use sweep::sweep;
pub(crate) use verify::{Fault, Verified, verify};
