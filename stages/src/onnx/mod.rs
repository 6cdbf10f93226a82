//! Policies as ONNX graphs, for programs that serve models of any origin.
//!
//! A graph scores the whole catalogue in B states: the same numbers as `recommend`, up to rounding, for every encoder and form of a
//! policy. It takes row numbers. The ids that they stand for, and what else is needed to ask as `recommend` does (horizon, window, whether
//! repeats are masked), are in the file's metadata. Ids, titles and the choice of the best stay with the caller.
//!
//! Written as [`OPSET`](graph::OPSET) 17 by hand: what a graph needs of protocol buffers are three wire types.

mod encoders;
mod graph;
mod layers;
mod protobuf;
mod scores;
mod similarity;

use std::path::Path;

use anyhow::Result;
use pipeline::export::{ExportedPolicy, GraphTensor};
use pipeline::{Artifact as _, UsageError};
use serde_json::json;

use crate::artifact::{Origin, PolicyFile, Repeats};
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::policy_io::{load, output_of};
use crate::nn::policy_output::PolicyOutput;
use graph::{Graph, OPSET};
use scores::{Asked, Writer};

/// Bytes that a protocol buffer may have.
const LARGEST: usize = i32::MAX as usize;

/// Writes the policy of a file as a graph.
///
/// # Errors
/// When it cannot be read, or is larger than such a file may be.
pub fn export(path: &Path) -> Result<ExportedPolicy> {
    let policy = PolicyFile::read(path)?;
    let (output, origin, ids) = (output_of(&policy.0)?, policy.origin()?, policy.ids()?);
    // Whatever does not fit together is said as when it is served.
    load(&policy.0)?;
    let config: ActorCriticConfig = policy.0.about()?;
    check_size(&policy, &config)?;
    let reads_rewards = config.encoder.reads_rewards();
    let (inputs, scores) = (inputs(&config, reads_rewards), scores_of(&config));
    let mut graph = Graph::default();
    let mut asked: Vec<_> = inputs.iter().map(|input| graph.input(input)).collect();
    let (allowed, progress) = (asked.pop(), asked.pop());
    let rewards = if reads_rewards { asked.pop() } else { None };
    let (Some(allowed), Some(progress), Some(recent), Some(user)) = (allowed, progress, asked.pop(), asked.pop())
    else {
        anyhow::bail!("a graph has a user, recent items, progress and what is allowed")
    };
    let mut writer = Writer::new(graph, &policy.0, config, Asked { user, recent, rewards, progress, allowed })?;
    let found = writer.scores(&output)?;
    let Writer { mut graph, config, .. } = writer;
    graph.output(&found, &scores);
    let told = [
        ("learner", json!(origin.learner)),
        ("horizon", json!(origin.horizon)),
        ("window", json!(config.window)),
        ("repeats", json!(origin.repeats)),
        ("users", json!(ids.users)),
        ("items", json!(ids.items)),
        ("titles", json!(ids.titles)),
    ];
    let told = told.map(|(name, value)| (name, value.to_string()));
    let bytes = graph.file(&about(&origin, &output), &told);
    if bytes.len() > LARGEST {
        return Err(too_large(bytes.len()));
    }
    Ok(ExportedPolicy { bytes, opset: OPSET, inputs, outputs: vec![scores] })
}

fn about(origin: &Origin, output: &PolicyOutput) -> String {
    let repeats = match origin.repeats {
        Repeats::Allowed => "its world allows repeats",
        _ => "its world allows no repeats: mask what was shown",
    };
    let scores = match output {
        PolicyOutput::Mixture => "log-probabilities",
        PolicyOutput::Categorical(_) => "expected returns",
        _ => "logits",
    };
    format!("A policy of {}: {scores} of all items; {repeats}", origin.learner)
}

/// In the order of the graph.
fn inputs(config: &ActorCriticConfig, reads_rewards: bool) -> Vec<GraphTensor> {
    let (window, items) = (config.window.to_string(), config.items.to_string());
    let batch = || "batch".to_owned();
    let tensor = |name, element, shape, about| GraphTensor { name, element, shape, about };
    let mut inputs = vec![
        tensor("user", "int64", vec![batch()], "row of the user; the number of users for somebody new"),
        tensor(
            "recent",
            "int64",
            vec![batch(), window.clone()],
            "rows of the last items, newest first; the number of items behind the first",
        ),
    ];
    if reads_rewards {
        inputs.push(tensor(
            "rewards",
            "float32",
            vec![batch(), window],
            "what each of them earned; 0 behind the first",
        ));
    }
    inputs.push(tensor("progress", "float32", vec![batch()], "items shown, at most horizon - 1, over the horizon"));
    inputs.push(tensor("allowed", "bool", vec![batch(), items], "whether an item may be recommended"));
    inputs
}

fn scores_of(config: &ActorCriticConfig) -> GraphTensor {
    let shape = vec!["batch".to_owned(), config.items.to_string()];
    GraphTensor { name: "scores", element: "float32", shape, about: "higher is better; below -5e8 where not allowed" }
}

/// Refuses a policy whose arrays alone are too many, before they are copied.
fn check_size(policy: &PolicyFile, config: &ActorCriticConfig) -> Result<()> {
    let numbers: usize = policy.0.arrays.values().map(|array| array.data.len()).sum();
    let bytes = 4 * numbers + 12 * config.items * config.width;
    if bytes > LARGEST { Err(too_large(bytes)) } else { Ok(()) }
}

fn too_large(bytes: usize) -> anyhow::Error {
    UsageError(format!(
        "the policy takes {:.1} GB as ONNX, and such a file has at most 2 GB\nhelp: `apprentice serve` and the Python package answer with \
         the policy's own file",
        bytes as f64 * 1e-9
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::TensorFile;
    use crate::nn::Encoder;

    #[test]
    fn what_no_such_file_can_hold_is_refused_before_it_is_copied() {
        let mut config = ActorCriticConfig {
            users: 1,
            items: 1 << 20,
            width: 32,
            window: 1,
            hidden_size: 1,
            encoder: Encoder::Window,
            prior_scale: 1.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.5,
        };
        let policy = PolicyFile(TensorFile::default());
        assert!(check_size(&policy, &config).is_ok());
        config.items <<= 3;
        let error = check_size(&policy, &config).unwrap_err();
        assert!(error.is::<UsageError>());
        let said = error.to_string();
        assert!(said.contains("takes 3.2 GB as ONNX") && said.contains("\nhelp: "), "{said}");
    }
}
