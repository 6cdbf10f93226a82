//! Trained policies: numbers of all items in a state, what is chosen by them, and their files.
//!
//! In: states. Out: logits, values or distributions of every item, dense or block by block; log-probabilities; the chosen items.

pub(in crate::nn) mod action_advantages;
pub(in crate::nn) mod action_choice;
pub(in crate::nn) mod action_log_prob;
pub mod actor_critic;
#[cfg(test)]
pub(in crate::nn) mod actor_critic_tests;
pub mod bcq_policy;
pub mod categorical;
pub mod decision_transformer;
pub(in crate::nn) mod item_tables;
pub mod item_values;
pub mod mixture_policy;
pub mod policy_io;
pub(in crate::nn) mod policy_network;
pub mod policy_output;
pub mod sampled_softmax;
pub(in crate::nn) mod state_features;
pub mod support;
pub(in crate::nn) mod top_items;
