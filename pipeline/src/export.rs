//! What `apprentice export` asks of the code that knows policies.

use std::path::Path;

use serde::Serialize;

/// Writes the policy of a file as an ONNX graph.
///
/// # Errors
/// When the file is no policy, or the form cannot hold it.
pub type ExportPolicy = fn(&Path) -> anyhow::Result<ExportedPolicy>;

/// A policy for other programs.
#[derive(Clone, Debug)]
pub struct ExportedPolicy {
    /// The file.
    pub bytes: Vec<u8>,
    /// The set of ONNX's operations that it is written in.
    pub opset: u32,
    /// What it is asked.
    pub inputs: Vec<GraphTensor>,
    /// What it answers.
    pub outputs: Vec<GraphTensor>,
}

/// A tensor that goes into a graph or comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GraphTensor {
    /// Its name.
    pub name: &'static str,
    /// The type of its elements, as NumPy calls it.
    pub element: &'static str,
    /// Sizes; a word for an open one.
    pub shape: Vec<String>,
    /// What it holds.
    pub about: &'static str,
}
