//! `retrieve`: candidates for each user, from the log alone.
//!
//! Memory is users × `top_k` + the log + threads × items, and a bounded room beside ([README](README.md)).
//!
//! A language model chooses from these candidates, and the first of them is a row of every table (the retriever top-1). The
//! stage reads no world and excludes no item, not even one that the user rated: simulated worlds allow
//! repeats.

mod als;
mod als_scan;
mod company;
mod cooccurrence;
mod item_scores;
mod likes;
mod top_k;

use anyhow::{Result, ensure};
use pipeline::{Context, MemoryNeed, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Candidates, Interactions, Items, Users};
use crate::env::{Popularity, USUAL_PRIOR};
pub use als::Als;
use company::Ranking;
use cooccurrence::{Cooccurrence, ROOM};
pub use item_scores::RetrieveByItemScores;
use likes::Likes;
use top_k::Ranked;

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
    /// Of each item, how many of the most similar ones count in `cooccurrence`; without a value all. It bounds time and memory of a
    /// large catalogue: with 200, an item costs 2.4 kB, and a like of a user 200 additions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_neighbors: Option<usize>,
    /// The settings of `als`.
    #[serde(skip_serializing_if = "Als::is_default")]
    pub als: Als,
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
    /// The dot product of factors of implicit feedback (alternating least squares), where a higher rating is more confidence and no
    /// rating says that something is disliked.
    Als,
}

impl Default for Retrieve {
    fn default() -> Self {
        Self {
            by: By::default(),
            top_k: 100,
            similarity_weight: 16.0,
            n_neighbors: None,
            als: Als::default(),
            filter_quit_items: false,
        }
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
    const ABOUT: &'static str = "retrieve candidates for each user by popularity, co-occurrence or factors of the log";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.top_k == 0 {
            return Err(("top_k".into(), "a ranking holds at least one item".into()));
        }
        if !(self.similarity_weight >= 0.0 && self.similarity_weight.is_finite()) {
            return Err(("similarity_weight".into(), "the weight of similarity is 0 or more".into()));
        }
        if self.n_neighbors == Some(0) {
            return Err(("n_neighbors".into(), "at least one similar item counts; `by: popular` takes none".into()));
        }
        if self.als != Als::default() && self.by != By::Als {
            return Err(("als".into(), "these settings are for `by: als`".into()));
        }
        self.als.check().map_err(|(setting, wanted)| (format!("als.{setting}"), wanted.into()))
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let (users, items) = (inputs.get("users")?, inputs.get("items")?);
        let interactions = inputs.get("interactions")?;
        let need = MemoryNeed::new("lower `top_k`, `n_neighbors` or `als.n_factors`")
            .table("candidates", &[users, items.min(self.top_k as u64)], 8)
            .table("interactions", &[interactions], 20);
        Some(match self.by {
            By::Popular => need,
            // The likes by user and by item; similarities that are kept, or made part by part.
            By::Cooccurrence => {
                let need = need.table("likes", &[interactions], 8);
                match self.n_neighbors {
                    Some(n_neighbors) => need.table("similarities", &[items, items.min(n_neighbors as u64)], 12),
                    None => need.table("similarities", &[items, items.min(ROOM as u64 / items.max(1))], 12),
                }
            }
            By::Als => need.table("ratings by user and by item", &[interactions], 24).table(
                "factors",
                &[users + items, self.als.n_factors as u64],
                16,
            ),
        })
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let (users, items) = (inputs.users.len(), inputs.items.len());
        let log = &inputs.interactions;
        log.check_within("interactions", users, items)?;
        ensure!(items > 0, "the catalogue is empty");
        if let Some(rating) = log
            .only_rating()
            .filter(|_| self.by == By::Popular || (self.by == By::Cooccurrence && self.similarity_weight == 0.0))
        {
            cx.warn(format!(
                "all ratings are {rating}, so no item is more popular than another: every user gets the first {} items of the \
                 catalogue\nhelp: take `by: cooccurrence` with a `similarity_weight` above 0, or name the log's ratings where it is read",
                self.top_k.min(items)
            ));
        }
        let popularity = Popularity::of(log, items, USUAL_PRIOR)?;
        let ranking = Ranking::new(&popularity.mean, self.similarity_weight, self.top_k);
        let ranked: Vec<Ranked> = match self.by {
            By::Popular => vec![ranking.of_nobody(); users],
            By::Cooccurrence => {
                let likes = Likes::of(log, users, items);
                drop(inputs);
                let model =
                    Cooccurrence { likes: &likes, ranking: &ranking, n_neighbors: self.n_neighbors, room: ROOM };
                model.rank(cx)?
            }
            By::Als => self.als.rank(log, &popularity.order(), users, self.top_k, cx)?,
        };
        let (items, scores) = ranked.into_iter().unzip();
        Ok(Outputs { candidates: Candidates { items, scores, filter_quit_items: self.filter_quit_items } })
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
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs(), &Context::detached(folder.path())).unwrap().candidates
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

    #[test]
    fn settings_that_say_nothing_are_refused_and_defaults_are_in_no_key() {
        let at_fault = |stage: Retrieve| stage.check().unwrap_err().0;
        assert_eq!(at_fault(Retrieve { n_neighbors: Some(0), ..Retrieve::default() }), "n_neighbors");
        let als = Als { n_factors: 0, ..Als::default() };
        assert_eq!(at_fault(Retrieve { als: als.clone(), ..Retrieve::default() }), "als");
        assert_eq!(at_fault(Retrieve { als, by: By::Als, ..Retrieve::default() }), "als.n_factors");
        let key = serde_json::to_value(Retrieve::default()).unwrap();
        let settings: Vec<_> = key.as_object().unwrap().keys().collect();
        assert_eq!(settings, ["by", "top_k", "similarity_weight", "filter_quit_items"]);
    }

    #[test]
    fn factors_rank_what_the_users_of_a_group_share() {
        let als = Als { n_factors: 2, regularization: 0.1, ..Als::default() };
        let candidates = run(&Retrieve { by: By::Als, top_k: 2, als, ..Retrieve::default() });
        assert_eq!(candidates.items[2].iter().copied().collect::<std::collections::BTreeSet<_>>(), [2, 3].into());
        assert_eq!((&candidates.items[3][..], &candidates.scores[3][..]), (&[3, 1][..], &[0.0; 2][..]));
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
