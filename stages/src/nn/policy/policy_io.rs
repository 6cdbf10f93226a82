//! Policies in files.

use anyhow::Result;
use candle_core::Device;
use serde::Deserialize;

use crate::artifact::TensorFile;
use crate::nn::ActorCritic;
use crate::nn::policy::bcq_policy::BcqPolicy;
use crate::nn::policy::categorical::Categorical;
use crate::nn::policy::decision_transformer::DecisionTransformer;
use crate::nn::policy::mixture_policy::MixturePolicy;
use crate::nn::policy::policy_network::PolicyNetwork;
use crate::nn::policy::policy_output::PolicyOutput;

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
