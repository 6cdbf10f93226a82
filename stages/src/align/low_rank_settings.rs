//! Which maps have low-rank terms, and of which form: the settings that alignments by LoRA share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::llm::gguf::{Adaptation, Gguf, Projection};

const INITIAL: u64 = 0xa11f;

/// Low-rank terms (LoRA: Hu et al. 2021, arXiv 2106.09685).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LowRankSettings {
    /// The maps with terms, in every layer; at least one. By default queries and values, as in §4.2 of the paper.
    pub projections: Vec<Projection>,
    /// r, the rank of a term, from 1; ours: 8.
    pub rank: usize,
    /// α: a term is scaled by α/r. Above 0; ours: 16.
    pub alpha: f64,
}

impl Default for LowRankSettings {
    fn default() -> Self {
        Self { projections: vec![Projection::Queries, Projection::Values], rank: 8, alpha: 16.0 }
    }
}

impl LowRankSettings {
    /// What types cannot express: the path of the first invalid setting and a message.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        let twice = self.projections.iter().enumerate().any(|(at, one)| self.projections[..at].contains(one));
        if self.projections.is_empty() || twice {
            return wrong("projections", "at least one, each once");
        }
        if self.rank == 0 {
            return wrong("rank", "at least 1");
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return wrong("alpha", "a number above 0");
        }
        Ok(())
    }

    /// Terms that change nothing yet.
    pub(super) fn initial(&self, model: &Gguf, seed: u64) -> Adaptation {
        model.new_low_rank(&self.projections, self.rank, self.alpha, &[seed, INITIAL])
    }
}
