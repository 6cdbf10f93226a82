//! Policies in files.

use anyhow::Result;
use candle_core::Device;
use serde::Deserialize;

use super::ActorCritic;
use super::bcq_policy::BcqPolicy;
use super::categorical::Categorical;
use super::decision_transformer::DecisionTransformer;
use super::mixture_policy::MixturePolicy;
use super::policy_network::PolicyNetwork;
use super::policy_output::PolicyOutput;
use crate::artifact::TensorFile;

#[derive(Deserialize)]
struct PolicyHeader {
    #[serde(default)]
    served: PolicyOutput,
}

/// How the scores of a policy's file are computed.
///
/// # Errors
/// When its header does not say so in a known way.
pub fn output_of(file: &TensorFile) -> Result<PolicyOutput> {
    Ok(file.about::<PolicyHeader>()?.served)
}

/// Loads the policy of a file.
///
/// # Errors
/// When its arrays do not fit its header.
pub fn load(file: &TensorFile) -> Result<Box<dyn PolicyNetwork>> {
    Ok(match output_of(file)? {
        PolicyOutput::Logits => Box::new(ActorCritic::import(file)?),
        PolicyOutput::Bcq { threshold } => Box::new(BcqPolicy::import(file, threshold)?),
        PolicyOutput::Mixture => Box::new(MixturePolicy::import(file)?),
        PolicyOutput::Categorical(support) => Box::new(Categorical::import_on(&Device::Cpu, file, support)?),
        PolicyOutput::Decision(returns) => Box::new(DecisionTransformer::import_on(&Device::Cpu, file, returns)?),
    })
}
