//! `worth.returns`: the returns of recommenders that learned from N ratings of a log, with and without a model's scores of the items.
//!
//! One stage is one draw; sweep `draw`. The N ratings of a draw are nested: those of 100 are among those of 300. Every learner ranks the
//! items for each user, and the first item that may be shown is recommended at each turn. Scores alone, and learners with these scores
//! shuffled over the items, are the controls of learners with scores. Nothing but the draw is random.
//!
//! **Cold shelf.** Where no offered item has a rating in the log that learners draw from, cross-validation holds out whole items: it decides
//! then how far scores, genres, years and vectors are to be believed of items that nobody has rated, and which learner is the best.
//! Popularity by count and factorisation know nothing of such items and are left out. Popularity by mean without scores is random.

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use pipeline::{Artifact as _, Context, Many, NoLeakage, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arms::NamedScores;
use super::curve::{Curve, Place, terciles};
use crate::artifact::{Interactions, ItemScores, ItemVectors, Items, Returns, Users, World};
use crate::nn::rng;

/// `worth.returns`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateReturns {
    /// The log sizes N, rising. Sizes beyond the log are left out.
    pub sizes: Vec<usize>,
    /// The number of the draw, which seeds everything: sweep it over 20 numbers or so. `split` draws the same ratings for the same
    /// number.
    pub draw: u64,
    /// Only items with at least this many ratings in the log at `evaluation_log` are offered; 20 by default. Without that input all
    /// are.
    pub min_item_ratings: usize,
    /// Only items of this year or later are offered; all by default, undated ones too.
    pub from_year: Option<i32>,
    /// The share of the items that nobody has rated (the cold shelf), in (0, 1): drawn by `draw` from those that pass the other conditions,
    /// they lose their ratings in the log, and only they are offered. None by default. Another shelf with every draw makes the
    /// intervals those of other items, too; the input `offered` keeps one shelf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unrated: Option<f64>,
    /// Fits, beside the drawn N, as many drawn negatives of rating 0: items that their users did not choose. For logs of one rating, which
    /// say only what people chose: N then counts positives, and popularity by mean is the share of positives. The worlds want the
    /// same setting. Off by default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sample_negatives: bool,
    /// Evaluates also with only the rarely, the averagely and the often rated third of the offered items, by their number of ratings
    /// in the log at `evaluation_log`. Off by default.
    pub terciles: bool,
    /// Evaluates with this many users, drawn by number 0 and thus the same in every draw; with all when absent.
    pub users: Option<usize>,
}

impl Default for EvaluateReturns {
    fn default() -> Self {
        Self {
            sizes: vec![100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000],
            draw: 0,
            min_item_ratings: 20,
            from_year: None,
            unrated: None,
            sample_negatives: false,
            terciles: false,
            users: None,
        }
    }
}

pipeline::ports! {
    /// What is learned from, and where it is evaluated.
    pub struct Inputs {
        /// The log from which learners draw.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
        /// The evaluation worlds, of two families or more, fitted to ratings that are not in the log.
        worlds: Many<World>,
        /// The models' scores of the items.
        item_scores: Many<ItemScores>,
        /// Vectors of the items, as `embed` makes them: two more learners rank by ridge regression on their 32 largest directions,
        /// alone and beside genre and year. The same learners with the vectors of other items are the control.
        item_vectors: Option<ItemVectors>,
        /// The log that the evaluation worlds were fitted to, which says how often an item was rated.
        evaluation_log: Option<Interactions>,
        /// Only items of this log are offered, for example those that a `split` held out as a whole (`by: item`).
        offered: Option<Interactions>,
    }
}

pipeline::ports! {
    /// The returns.
    pub struct Outputs {
        /// One row an episode.
        returns: Returns,
    }
}

impl Stage for EvaluateReturns {
    const KIND: &'static str = "worth.returns";
    /// 1: first. 2: popularity by count may be the best by validation with scores, too.
    const VERSION: u32 = 2;
    const ABOUT: &'static str =
        "evaluate recommenders that learned from few or many ratings, with and without a model's scores of the items";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if self.sizes.is_empty() || self.sizes[0] == 0 || !self.sizes.is_sorted_by(|a, b| a < b) {
            return wrong(
                "sizes",
                "at least one log size, rising, from 1: what needs no ratings is evaluated in any case",
            );
        }
        if self.unrated.is_some_and(|share| !(share > 0.0 && share < 1.0)) {
            return wrong(
                "unrated",
                "a share of the items, between 0 and 1, both excluded; leave it out to offer rated items",
            );
        }
        if self.users == Some(0) {
            return wrong("users", "at least one user; leave it out to evaluate with all");
        }
        if self.draw > u64::from(u32::MAX) {
            return wrong("draw", "a number below 4,294,967,296");
        }
        Ok(())
    }

    fn no_leakage(&self) -> Vec<NoLeakage> {
        let rule = |port, from, why| NoLeakage {
            port,
            from,
            // A hold-out is measured, never fitted.
            except: &["distances", "holdout"],
            through: &[],
            drawn_from: Some(Interactions::KIND),
            why,
            help: "split the log once (`split` with halves): fit `worlds` to the one part, and connect the other one to `interactions`",
        };
        vec![
            rule(
                "interactions",
                "worlds",
                "a learner that draws from the ratings behind the evaluation world is evaluated on what it learned",
            ),
            rule(
                "evaluation_log",
                "item_scores",
                "scores that know the ratings of the evaluation are evaluated on them",
            ),
            rule(
                "interactions",
                "item_scores",
                "scores that know the ratings that learners draw are worth these ratings",
            ),
            rule(
                "evaluation_log",
                "item_vectors",
                "vectors that know the ratings of the evaluation are evaluated on them",
            ),
            rule(
                "interactions",
                "item_vectors",
                "learners with vectors that know further ratings have drawn more than N",
            ),
        ]
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let (items, users) = (&inputs.items, inputs.users.len());
        let log = &inputs.interactions;
        ensure!(!log.is_empty(), "the log at `interactions` is empty\nhelp: connect one half of a `split`");
        ensure!(
            !inputs.worlds.is_empty(),
            "no world at `worlds`\nhelp: connect worlds that were fitted to the other half"
        );
        if let Some(rating) = log.only_rating().filter(|&rating| !self.sample_negatives || rating == 0.0) {
            bail!(
                "all {} ratings at `interactions` are {rating}: the learners of this stage predict ratings, and these do not differ\n\
                 help: name the log's ratings where it is read (`rating`), or set `sample_negatives: true` where it only says what people \
                 chose",
                log.len()
            );
        }
        log.check_within("interactions", users, items.len())?;
        for world in &inputs.worlds {
            world.value.check_catalogue(items)?;
        }
        let counts = inputs.evaluation_log.as_ref().map(|log| counts(log, items.len())).transpose()?;
        let mut offered = self.offered(&inputs, counts.as_deref())?;
        let rest;
        let log = match self.unrated {
            None => log,
            Some(share) => {
                offered = self.shelf(share, offered);
                let kept = |&row: &usize| offered.binary_search(&log.item[row]).is_err();
                rest = log.take(&(0..log.len()).filter(kept).collect::<Vec<_>>());
                &rest
            }
        };
        let mut places = Vec::new();
        for world in &inputs.worlds {
            places.push(Place { name: world.name.clone(), world: &world.value, offered: offered.clone() });
            if let (true, Some(counts)) = (self.terciles, &counts) {
                let parts = terciles(&offered, counts)?.into_iter().zip(["rare", "average", "frequent"]);
                places.extend(parts.map(|(offered, part)| Place {
                    name: format!("{}/{part}", world.name),
                    world: &world.value,
                    offered,
                }));
            }
        }
        ensure!(
            !self.terciles || counts.is_some(),
            "`terciles` are by the number of ratings, which the input `evaluation_log` has\nhelp: connect it, or leave `terciles` out"
        );
        let rated: BTreeSet<u32> = log.item.iter().copied().collect();
        let cold = !offered.iter().any(|item| rated.contains(item));
        // On a cold shelf it is from the scores of rated items that a learner sees what scores are worth.
        let scored: Vec<u32> = if cold {
            rated.iter().chain(&offered).copied().collect::<BTreeSet<u32>>().into_iter().collect()
        } else {
            offered.clone()
        };
        let mut scores = Vec::new();
        for given in &inputs.item_scores {
            given.value.check_items("item_scores", items.len())?;
            let of = |item: usize| given.value.score[item].filter(|_| scored.binary_search(&(item as u32)).is_ok());
            let known: Vec<Option<f64>> = (0..items.len()).map(of).collect();
            let judged = offered.iter().any(|&item| known[item as usize].is_some());
            ensure!(judged, "`{}` has no score of an offered item", given.name);
            // An item without a score is an average one; an outlier is not all that counts.
            let z = ItemScores { score: known, questions: Vec::new() }.standardised();
            let values = z.into_iter().map(|z| z.unwrap_or(0.0).clamp(-3.0, 3.0)).collect();
            scores.push(NamedScores { name: given.name.clone(), values });
        }
        if let Some(vectors) = &inputs.item_vectors {
            vectors.check_items(items.len())?;
        }
        let (within, beyond): (Vec<usize>, Vec<usize>) = self.sizes.iter().partition(|&&n| n <= log.len());
        ensure!(
            !within.is_empty(),
            "the log has {} ratings, fewer than the smallest size, {}\nhelp: add smaller `sizes`",
            log.len(),
            self.sizes[0]
        );
        cx.note("offered", format!("{} of {} items", offered.len(), items.len()));
        if cold {
            cx.note(
                "cold shelf",
                "no offered item has a rating at `interactions`: cross-validation holds out whole items",
            );
        }
        cx.note("sizes", format!("{within:?} of a log of {} ratings", log.len()));
        if !beyond.is_empty() {
            cx.note("left out", format!("{beyond:?}: beyond the log"));
        }
        let curve = Curve {
            log,
            items,
            users,
            places,
            evaluated: self.evaluated(users),
            scores,
            scored,
            vectors: inputs.item_vectors.as_ref(),
            cold,
            negatives: self.sample_negatives,
            draw: self.draw,
        };
        Ok(Outputs { returns: curve.play(&within, cx)? })
    }
}

impl EvaluateReturns {
    /// The items that are offered, ascending.
    fn offered(&self, inputs: &Inputs, counts: Option<&[usize]>) -> Result<Vec<u32>> {
        let items = &inputs.items;
        let only: Option<BTreeSet<u32>> = inputs.offered.as_ref().map(|log| log.item.iter().copied().collect());
        let fits = |&item: &u32| {
            let row = item as usize;
            counts.is_none_or(|counts| counts[row] >= self.min_item_ratings)
                && self.from_year.is_none_or(|from| items.year[row].is_some_and(|year| year >= from))
                && only.as_ref().is_none_or(|only| only.contains(&item))
        };
        let offered: Vec<u32> = (0..items.len() as u32).filter(fits).collect();
        ensure!(
            !offered.is_empty(),
            "no item is offered: none of {} has {} ratings in the half that fits the evaluation worlds{}\nhelp: lower \
             `min_item_ratings` (`apprentice worth --min-item-ratings`)",
            items.len(),
            self.min_item_ratings,
            if self.from_year.is_some() || only.is_some() { " and passes the other conditions" } else { "" }
        );
        Ok(offered)
    }

    /// The share of `offered` items that stands on the cold shelf of this draw, ascending; one at least.
    fn shelf(&self, share: f64, mut offered: Vec<u32>) -> Vec<u32> {
        offered.shuffle(&mut rng(&[self.draw, 0x5e1f]));
        offered.truncate(((offered.len() as f64 * share).round() as usize).max(1));
        offered.sort_unstable();
        offered
    }

    fn evaluated(&self, users: usize) -> Vec<u32> {
        let mut all: Vec<u32> = (0..users as u32).collect();
        if let Some(count) = self.users.filter(|&count| count < users) {
            all.shuffle(&mut rng(&[0, 0x05e4]));
            all.truncate(count);
            all.sort_unstable();
        }
        all
    }
}

fn counts(log: &Interactions, items: usize) -> Result<Vec<usize>> {
    let mut counts = vec![0; items];
    for &item in &log.item {
        ensure!((item as usize) < items, "the log at `evaluation_log` names item {item} of {items}");
        counts[item as usize] += 1;
    }
    Ok(counts)
}
