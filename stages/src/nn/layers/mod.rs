//! Layers, named parameters and their seeded initial values.
//!
//! In: tensors. Out: tensors, whose gradients reach every parameter.

pub(in crate::nn) mod attention;
pub(in crate::nn) mod embedding;
pub(in crate::nn) mod gru;
pub(in crate::nn) mod init;
pub(in crate::nn) mod layer_norm;
pub(in crate::nn) mod mlp;
pub mod params;
pub mod spectral;
