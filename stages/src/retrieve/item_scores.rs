//! `retrieve.item_scores`: the whole catalogue for each user, by scores that do not depend on the user.
//!
//! The ranking is by weight·z(score) + (1 − weight)·z(retriever's score), where z has mean 0 and standard deviation 1: over the
//! items that have a score, and over the user's candidates. An item that the retriever does not list gets the lowest of its z.
//! Items without a score come last. Ties go to the lowest item number.

use anyhow::{Result, ensure};
use pipeline::{Context, Requirement, Stage};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Candidates, ItemScores, Users};
use crate::env::ItemRanking;
use crate::nn::rng;

/// `retrieve.item_scores`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrieveByItemScores {
    /// Weight of the scores, 0 to 1; the retriever's candidates have the rest. 1 by default: the scores alone, the same for every
    /// user.
    pub weight: f64,
    /// Number of candidates per user; without a value the whole catalogue.
    pub top_k: Option<usize>,
    /// Whether the scores are shuffled over the items first: the control of what they say of an item.
    pub shuffle: bool,
    /// Number of the draw of `shuffle`: another one shuffles otherwise. Sweep it together with that of `filter.sample`. 0 without
    /// `shuffle`.
    pub draw: u64,
    /// As in `retrieve`: whether candidates at which the simulated user would quit are removed.
    pub filter_quit_items: bool,
}

impl Default for RetrieveByItemScores {
    fn default() -> Self {
        Self { weight: 1.0, top_k: None, shuffle: false, draw: 0, filter_quit_items: false }
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
        if self.draw > 0 && !self.shuffle {
            return Err(("draw".into(), "0: nothing is drawn without `shuffle: true`".into()));
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
        let shuffled = self.shuffle.then(|| shuffled(&inputs.item_scores, self.draw));
        let scores = shuffled.as_ref().unwrap_or(&inputs.item_scores);
        let ranking = ItemRanking::new(scores, inputs.candidates.as_ref(), self.weight)?;
        let unscored = inputs.item_scores.score.iter().filter(|score| score.is_none()).count();
        if unscored > 0 {
            cx.note("without a score", format!("{unscored} of {} items, which come last", inputs.item_scores.len()));
        }
        let bar = cx.bar("rank", Some(users as u64), "users");
        let top_k = self.top_k.unwrap_or(usize::MAX);
        let shared = (ranking.is_shared() && users > 0).then(|| ranking.of(0, top_k));
        let rank = |user: usize| {
            cx.check_cancelled()?;
            bar.inc(1);
            Ok(shared.clone().unwrap_or_else(|| ranking.of(user, top_k)))
        };
        let ranked: Vec<_> = (0..users).into_par_iter().map(rank).collect::<Result<_>>()?;
        let (items, scores) = ranked.into_iter().unzip();
        Ok(Outputs { candidates: Candidates { items, scores, filter_quit_items: self.filter_quit_items } })
    }
}

/// The same scores in another order among the items that have one: what they say of an item is lost, what they are is kept.
fn shuffled(scores: &ItemScores, draw: u64) -> ItemScores {
    let rated: Vec<usize> = (0..scores.len()).filter(|&item| scores.score[item].is_some()).collect();
    let mut from = rated.clone();
    from.shuffle(&mut rng(&[draw, 0x5f1e]));
    let mut score = scores.score.clone();
    for (to, from) in rated.into_iter().zip(from) {
        score[to] = scores.score[from];
    }
    ItemScores { score, questions: Vec::new() }
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
        assert_eq!(refused(RetrieveByItemScores { draw: 1, ..Default::default() }), "draw");
    }

    #[test]
    fn a_shuffle_keeps_the_scores_and_who_has_none() {
        let score: Vec<Option<f64>> = (0..30).map(|item| (item % 5 != 0).then_some(f64::from(item))).collect();
        let scores = ItemScores { score: score.clone(), questions: vec![] };
        let found = shuffled(&scores, 3);
        assert!(found == shuffled(&scores, 3) && found != shuffled(&scores, 4) && found != scores);
        assert!((0..30).all(|item| found.score[item].is_some() == score[item].is_some()));
        let mut values: Vec<f64> = found.score.iter().flatten().copied().collect();
        values.sort_by(f64::total_cmp);
        assert!(values.iter().eq(score.iter().flatten()));
        let shuffle = |draw| RetrieveByItemScores { shuffle: true, draw, ..Default::default() };
        let list = |stage: &RetrieveByItemScores| {
            let users = Users { id: vec!["a".into()], features: Default::default() };
            let inputs = Inputs { item_scores: scores.clone(), users, candidates: None };
            stage.run(inputs, &Context::detached(Path::new("unused"))).unwrap().candidates.items
        };
        assert!(list(&shuffle(1)) != list(&shuffle(2)) && list(&shuffle(1)) != list(&Default::default()));
    }
}
