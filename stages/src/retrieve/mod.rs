//! `retrieve`: candidates for each user, from the log alone.
//!
//! A language model chooses from these candidates, and the first of them is a row of every table (the retriever top-1). The
//! stage reads no world, learns no parameter and excludes no item, not even one that the user rated: simulated worlds allow
//! repeats.

mod cooccurrence;
mod item_scores;

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Candidates, Interactions, Items, Users};
use crate::env::{Popularity, USUAL_PRIOR};
use cooccurrence::Likes;
pub use item_scores::RetrieveByItemScores;

/// `retrieve`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retrieve {
    /// How items are ranked.
    pub by: By,
    /// Number of candidates per user, at least 1; at least the world's horizon if `evaluate` plays the retriever. 100 by default.
    pub top_k: usize,
    /// c, the weight of co-occurrence against popularity in `cooccurrence`, in ratings per unit of similarity, 0 or more; 0
    /// is `popular`. 16 by default: of ten unseen items per user of MovieLens-100K, 10.5 % are rated 4 or more in the held-out
    /// part, against 4.0 % at 0 and 11.8 % at 100, which offers items with lower ratings.
    pub similarity_weight: f64,
    /// Whether candidates at which the simulated user would quit are removed. This needs the item distances of the quit rules,
    /// which a deployed retriever knows only if the worlds share them.
    pub filter_quit_items: bool,
}

/// How items are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The shrunken mean rating; the same for every user.
    Popular,
    /// The shrunken mean rating and the co-occurrence with items that the user liked.
    #[default]
    Cooccurrence,
}

impl Default for Retrieve {
    fn default() -> Self {
        Self { by: By::default(), top_k: 100, similarity_weight: 16.0, filter_quit_items: false }
    }
}

pipeline::ports! {
    /// The log and its tables.
    pub struct Inputs {
        /// The training ratings.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
    }
}

pipeline::ports! {
    /// The candidates.
    pub struct Outputs {
        /// The first `top_k` items of each user.
        candidates: Candidates,
    }
}

impl Stage for Retrieve {
    const KIND: &'static str = "retrieve";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "retrieve candidates for each user by popularity and co-occurrence in the log";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.top_k == 0 {
            return Err(("top_k".into(), "a ranking holds at least one item".into()));
        }
        if !(self.similarity_weight >= 0.0 && self.similarity_weight.is_finite()) {
            return Err(("similarity_weight".into(), "the weight of similarity is 0 or more".into()));
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let (users, items) = (inputs.users.len(), inputs.items.len());
        let log = &inputs.interactions;
        log.check_within("interactions", users, items)?;
        ensure!(items > 0, "the catalogue is empty");
        if let Some(rating) = log.only_rating().filter(|_| self.by == By::Popular || self.similarity_weight == 0.0) {
            cx.warn(format!(
                "all ratings are {rating}, so no item is more popular than another: every user gets the first {} items of the \
                 catalogue\nhelp: take `by: cooccurrence` with a `similarity_weight` above 0, or name the log's ratings where it is read",
                self.top_k.min(items)
            ));
        }
        let popularity = Popularity::of(log, items, USUAL_PRIOR)?;
        let bar = cx.bar("rank", Some(users as u64), "users");
        let ranked: Vec<(Vec<u32>, Vec<f32>)> = match self.by {
            By::Popular => {
                let ranking = self.first(&popularity.mean, &mut Vec::new());
                bar.inc(users as u64);
                vec![ranking; users]
            }
            By::Cooccurrence => {
                let likes = Likes::of(log, users, items);
                let similar = likes.similarities();
                cx.check_cancelled()?;
                let rank = |(scores, order): &mut (Vec<f64>, Vec<u32>), user: usize| {
                    likes.company(user, &similar, scores);
                    let score = |(company, mean): (&mut f64, &f64)| *company = mean + self.similarity_weight * *company;
                    scores.iter_mut().zip(&popularity.mean).for_each(score);
                    bar.inc(1);
                    self.first(scores, order)
                };
                // What is as long as the catalogue is kept once for each user at work, not once for each user.
                (0..users).into_par_iter().map_init(Default::default, rank).collect()
            }
        };
        let (items, scores) = ranked.into_iter().unzip();
        Ok(Outputs { candidates: Candidates { items, scores, filter_quit_items: self.filter_quit_items } })
    }
}

impl Retrieve {
    /// The best items and their scores, no longer than they have to be; ties go to the lowest id. `order` is room to work in.
    fn first(&self, scores: &[f64], order: &mut Vec<u32>) -> (Vec<u32>, Vec<f32>) {
        order.clear();
        order.extend(0..scores.len() as u32);
        let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        if self.top_k < order.len() {
            order.select_nth_unstable_by(self.top_k, by_score);
            order.truncate(self.top_k);
        }
        order.sort_by(by_score);
        (order.clone(), order.iter().map(|&item| scores[item as usize] as f32).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Users 0 and 1 like items 0 and 1; user 2 likes item 2 and 3; user 3 has no rating.
    fn inputs() -> Inputs {
        let log =
            [(0, 0, 5.0), (0, 1, 5.0), (0, 2, 1.0), (1, 0, 4.0), (1, 1, 4.0), (2, 2, 5.0), (2, 3, 5.0), (2, 0, 2.0)];
        let name = |count: usize| (0..count).map(|k| k.to_string()).collect::<Vec<_>>();
        Inputs {
            interactions: Interactions {
                user: log.iter().map(|row| row.0).collect(),
                item: log.iter().map(|row| row.1).collect(),
                rating: log.iter().map(|row| row.2).collect(),
                timestamp: vec![0; log.len()],
            },
            items: Items {
                id: name(5),
                title: name(5),
                year: vec![None; 5],
                genres: vec![Vec::new(); 5],
                ..Items::default()
            },
            users: Users { id: name(4), features: Default::default() },
        }
    }

    fn run(stage: &Retrieve) -> Candidates {
        stage.run(inputs(), &Context::detached(std::path::Path::new("unused"))).unwrap().candidates
    }

    #[test]
    fn popular_is_the_shrunken_mean_for_everybody() {
        // μ = 31/8 = 3.875; sums 11, 9, 6, 5 of 3, 2, 2, 1 ratings.
        let candidates = run(&Retrieve { by: By::Popular, top_k: 3, ..Retrieve::default() });
        assert_eq!(candidates.items, vec![vec![3, 1, 4]; 4]);
        assert_eq!(candidates.scores[0], [24.375 / 6.0, 28.375 / 7.0, 3.875].map(|x: f64| x as f32));
    }

    #[test]
    fn cooccurrence_brings_the_company_of_what_was_liked() {
        let candidates = run(&Retrieve { similarity_weight: 10.0, ..Retrieve::default() });
        assert_eq!(candidates.items[0][..2], [1, 0], "1 and 0 keep each other's company");
        assert_eq!(candidates.items[2][..2], [3, 2]);
        // User 3 liked nothing: popularity decides, and no item is left out.
        assert_eq!(candidates.items[3], [3, 1, 4, 0, 2]);
        // User 0 likes {0, 1}; similarity(0, 1) = 2/√(2·2) = 1, half of it after the mean over the two.
        assert!((f64::from(candidates.scores[0][0]) - (28.375 / 7.0 + 10.0 * 0.5)).abs() < 1e-6);
    }

    /// A catalogue of 200,000 items and a ranking of ten: what a user keeps is ten, or 100,000 users take 80 GB.
    #[test]
    fn a_ranking_takes_no_more_room_than_it_is_deep() {
        let stage = Retrieve { top_k: 10, ..Retrieve::default() };
        let scores: Vec<f64> = (0..200_000).map(f64::from).collect();
        let mut room = Vec::new();
        for _ in 0..2 {
            let (items, scores) = stage.first(&scores, &mut room);
            assert_eq!((items.len(), items[0], scores[9]), (10, 199_999, 199_990.0));
            assert!(
                items.capacity() <= 10 && scores.capacity() <= 10,
                "{} and {}",
                items.capacity(),
                scores.capacity()
            );
        }
    }

    #[test]
    fn equal_bytes_on_any_thread_count_and_bad_ids_are_named() {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&Retrieve::default()))
        };
        assert_eq!(on(1), on(2));
        let mut inputs = inputs();
        inputs.interactions.user[4] = 9;
        let error = Retrieve::default().run(inputs, &Context::detached(std::path::Path::new("unused")));
        assert!(error.err().unwrap().to_string().starts_with("row 4 of the log at `interactions` is of user 9"));
    }
}
