//! Telling demonstrations from a policy: the network, its training, and the weights and rewards that follow from its logits.
//!
//! In: transitions of demonstrations and of a policy. Out: logits, rewards in the form of GAIL or AIRL, weights of demonstrated steps.

pub mod adversarial;
pub(in crate::nn) mod discriminator_settings;
pub(in crate::nn) mod discriminator_trainer;
pub mod importance_weights;
pub mod network;
pub(in crate::nn) mod reward_form;

pub use network::{Discriminator, DiscriminatorBatch, DiscriminatorConfig, TransitionStates};
