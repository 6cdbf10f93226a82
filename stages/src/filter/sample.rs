//! A uniform sample of the interactions of a log.
//!
//! For one `draw` a larger sample contains every smaller one, so that a sweep over `n` shows what more data of the same log is
//! worth. Users and items keep their numbers, so the tables beside the log stay as they are.

use anyhow::Result;
use pipeline::{Context, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Interactions;

/// `filter.sample`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Number of interactions, from 1 to the size of the log. Without replacement; each interaction has the same probability.
    pub n: usize,
    /// Number of the draw, its seed; 0 by default. For one draw 100 interactions are among the 300, and these among the 1,000.
    #[serde(default)]
    pub draw: u64,
}

pipeline::ports! {
    /// A log.
    pub struct Inputs {
        /// The log.
        interactions: Interactions,
    }
}

pipeline::ports! {
    /// The sample.
    pub struct Outputs {
        /// The rows of the sample, in their order.
        interactions: Interactions,
    }
}

impl Stage for Sample {
    const KIND: &'static str = "filter.sample";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "keep a random sample of the interactions; a larger sample contains the smaller ones";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.n == 0 {
            return Err(("n".into(), "at least 1 interaction".into()));
        }
        Ok(())
    }

    fn sizes(&self, inputs: &Sizes) -> Sizes {
        inputs.clone().with("interactions", self.n)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        let interactions = log.nested_sample(self.n, self.draw)?;
        let distinct = |of: &[u32]| of.iter().collect::<std::collections::BTreeSet<_>>().len();
        let (users, items) = (distinct(&interactions.user), distinct(&interactions.item));
        cx.note("sampled", format!("{} of {} interactions, of {users} users and {items} items", self.n, log.len()));
        Ok(Outputs { interactions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_that_of_the_draw_and_too_many_are_refused() {
        let log = Interactions {
            user: vec![0, 1, 0, 1, 2],
            item: vec![3, 4, 5, 6, 7],
            rating: vec![1.0; 5],
            timestamp: vec![5, 4, 3, 2, 1],
        };
        let folder = tempfile::tempdir().unwrap();
        let run =
            |n, draw| Sample { n, draw }.run(Inputs { interactions: log.clone() }, &Context::detached(folder.path()));
        assert_eq!(run(3, 7).unwrap().interactions, log.nested_sample(3, 7).unwrap());
        assert!((0..9).any(|draw| run(3, draw).unwrap().interactions != run(3, 9).unwrap().interactions));
        let error = run(6, 0).err().unwrap().to_string();
        assert!(error.contains("6 interactions was requested of a log with 5\nhelp: "), "{error}");
        let log = Sizes::of("interactions", 5_000_000).and(Sizes::of("users", 7));
        let sizes = Sample { n: 3, draw: 0 }.sizes(&log);
        assert_eq!(["interactions", "users"].map(|of| sizes.get(of)), [Some(3), Some(7)], "a plan counts the sample");
        assert_eq!(Sample { n: 0, draw: 0 }.check().unwrap_err().0, "n");
    }
}
