//! `retrieve.item_scores`: the whole catalogue for each user, by scores that do not depend on the user.
//!
//! The ranking is by weight·z(score) + (1 − weight)·z(retriever's score), where z has mean 0 and standard deviation 1: over the
//! items that have a score, and over the user's candidates. An item that the retriever does not list gets the lowest of its z.
//! Items without a score come last. Ties go to the lowest item number.

use anyhow::{Result, ensure};
use pipeline::{Context, Requirement, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Candidates, ItemScores, Users};
use crate::env::ItemRanking;

/// `retrieve.item_scores`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrieveByItemScores {
    /// Weight of the scores, 0 to 1; the retriever's candidates have the rest. 1 by default: the scores alone, the same for every
    /// user.
    pub weight: f64,
    /// Number of candidates per user; without a value the whole catalogue.
    pub top_k: Option<usize>,
    /// As in `retrieve`: whether candidates at which the simulated user would quit are removed.
    pub filter_quit_items: bool,
}

impl Default for RetrieveByItemScores {
    fn default() -> Self {
        Self { weight: 1.0, top_k: None, filter_quit_items: false }
    }
}

pipeline::ports! {
    /// The scores and whom they are for.
    pub struct Inputs {
        /// The scores of the items.
        item_scores: ItemScores,
        /// The users.
        users: Users,
        /// The retriever's candidates, for a `weight` below 1; best with a `top_k` as large as the catalogue.
        candidates: Option<Candidates>,
    }
}

pipeline::ports! {
    /// The ranking.
    pub struct Outputs {
        /// The ranked catalogue of each user.
        candidates: Candidates,
    }
}

impl Stage for RetrieveByItemScores {
    const KIND: &'static str = "retrieve.item_scores";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "rank the whole catalogue by scores of items, alone or mixed with a retriever's";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if !(0.0..=1.0).contains(&self.weight) {
            return Err(("weight".into(), "a weight between 0 and 1".into()));
        }
        if self.top_k == Some(0) {
            return Err(("top_k".into(), "a ranking holds at least one item".into()));
        }
        Ok(())
    }

    fn requirements(&self) -> Vec<Requirement> {
        let mixed = self.weight < 1.0;
        let (why, help) = match mixed {
            true => ("the rest of the weight belongs to a retriever", "connect its `candidates`, or set `weight: 1`"),
            false => {
                ("with all of the weight on the scores no retriever counts", "lower `weight`, or leave the input out")
            }
        };
        vec![Requirement { setting: "weight", port: "candidates", connected: mixed, why: why.into(), help }]
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let users = inputs.users.len();
        if let Some(candidates) = &inputs.candidates {
            let lists = candidates.items.len();
            ensure!(lists == users, "the candidates have {lists} users, `users` has {users}");
        }
        let ranking = ItemRanking::new(&inputs.item_scores, inputs.candidates.as_ref(), self.weight)?;
        let unscored = inputs.item_scores.score.iter().filter(|score| score.is_none()).count();
        if unscored > 0 {
            cx.note("without a score", format!("{unscored} of {} items, which come last", inputs.item_scores.len()));
        }
        let bar = cx.bar("rank", Some(users as u64), "users");
        let rank = |user: usize| {
            bar.inc(1);
            ranking.of(user, self.top_k.unwrap_or(usize::MAX))
        };
        let (items, scores) = (0..users).into_par_iter().map(rank).collect();
        Ok(Outputs { candidates: Candidates { items, scores, filter_quit_items: self.filter_quit_items } })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_user_gets_the_whole_catalogue_or_its_best() {
        let inputs = || Inputs {
            item_scores: ItemScores { score: vec![Some(1.0), Some(3.0), None, Some(2.0)], questions: vec![] },
            users: Users { id: vec!["a".into(), "b".into()], features: Default::default() },
            candidates: None,
        };
        let run = |stage: &RetrieveByItemScores, inputs| stage.run(inputs, &Context::detached(Path::new("unused")));
        let all = run(&RetrieveByItemScores::default(), inputs()).unwrap().candidates;
        assert_eq!(all.items, vec![vec![1, 3, 0, 2]; 2]);
        assert!(all.scores[0].is_sorted_by(|a, b| a >= b) && !all.filter_quit_items);
        let best = RetrieveByItemScores { top_k: Some(2), filter_quit_items: true, ..Default::default() };
        let best = run(&best, inputs()).unwrap().candidates;
        assert!(best.items == vec![vec![1, 3]; 2] && best.filter_quit_items);
        let one = Candidates { items: vec![vec![0]], scores: vec![vec![1.0]], filter_quit_items: false };
        let mixed = RetrieveByItemScores { weight: 0.5, ..Default::default() };
        let error = run(&mixed, Inputs { candidates: Some(one), ..inputs() }).err().unwrap().to_string();
        assert_eq!(error, "the candidates have 1 users, `users` has 2");
    }

    #[test]
    fn a_retriever_is_connected_where_it_counts() {
        let connected = |weight| RetrieveByItemScores { weight, ..Default::default() }.requirements()[0].connected;
        assert_eq!((connected(1.0), connected(0.9)), (false, true));
        let refused = |stage: RetrieveByItemScores| stage.check().unwrap_err().0;
        assert_eq!(refused(RetrieveByItemScores { weight: f64::NAN, ..Default::default() }), "weight");
        assert_eq!(refused(RetrieveByItemScores { top_k: Some(0), ..Default::default() }), "top_k");
    }
}
