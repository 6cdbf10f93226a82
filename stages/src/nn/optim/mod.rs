//! Optimisers, schedules, losses and checkpoints of a training.
//!
//! In: parameters and losses. Out: the next parameters, and a state from which an interrupted training goes on to the same bytes.

pub(in crate::nn) mod adam_w;
#[cfg(test)]
pub mod gradient_check;
pub mod loss;
pub(in crate::nn) mod optimizer;
pub mod row_table;
pub mod schedule;
pub mod training;
