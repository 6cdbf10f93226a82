//! Propensities: the probability that each rating of a log was observed (Schnabel et al. 2016, arXiv 1602.05352, § 5).
//!
//! naive Bayes (their eq. 17): P(rated | r) = P(r | rated)·P(rated) / P(r), where P(r) comes from ratings of random items;
//! without those the log alone says how often users and items are met: P(rated | u, i) = n_u·n_i/N, naive Bayes with user and
//! item as the evidence. Left out: logistic regression on features.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::{AssetName, Context, Requirement, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matrix::member_of;
use crate::artifact::{Interactions, Items, Propensities, Users, check_asset_path, read_matrix};

/// `world.propensities`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EstimatePropensities {
    /// How they are estimated.
    pub by: PropensitiesBy,
}

/// How propensities are estimated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PropensitiesBy {
    /// From the counts of the user and the item: n_u·n_i/N, at most 1. From the log alone.
    #[default]
    Counts,
    /// Naive Bayes on the rating: P(r | rated)·P(rated)/P(r), at most 1. Needs the input `random`.
    NaiveBayes {
        /// Added to the count of each value of the rating, in the log and in `random`; 1 is Laplace's.
        smoothing: f64,
    },
    /// From a file: one line per user, one number per item, separated by blanks, such as Coat's `propensities.ascii`.
    Matrix {
        /// The file, or the folder that holds it.
        asset: AssetName,
        /// The file in the folder; null where the asset is the file itself.
        member: Option<String>,
    },
}

pipeline::ports! {
    /// What was rated.
    pub struct Inputs {
        /// The log whose ratings are weighted: all of it, held-out ratings included.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
        /// Ratings of randomly assigned items. If a true matrix was fitted to them, no policy may learn from them.
        random: Option<Interactions>,
    }
}

pipeline::ports! {
    /// What comes out.
    pub struct Outputs {
        /// One for each pair that the log holds.
        propensities: Propensities,
    }
}

impl Stage for EstimatePropensities {
    const KIND: &'static str = "world.propensities";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "estimate or read the propensity of each rating";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn assets(&self) -> Vec<AssetName> {
        match &self.by {
            PropensitiesBy::Matrix { asset, .. } => vec![asset.clone()],
            PropensitiesBy::Counts | PropensitiesBy::NaiveBayes { .. } => Vec::new(),
        }
    }

    fn check(&self) -> Result<(), (String, String)> {
        match &self.by {
            PropensitiesBy::NaiveBayes { smoothing } if !(*smoothing >= 0.0 && smoothing.is_finite()) => {
                Err(("by.naive_bayes.smoothing".into(), "a count is 0 or more".into()))
            }
            PropensitiesBy::Matrix { member, .. } => check_asset_path(member.as_deref(), "by.matrix.member"),
            PropensitiesBy::Counts | PropensitiesBy::NaiveBayes { .. } => Ok(()),
        }
    }

    fn requirements(&self) -> Vec<Requirement> {
        let requirement = matches!(self.by, PropensitiesBy::NaiveBayes { .. }).then(|| Requirement {
            setting: "by.naive_bayes",
            port: "random",
            connected: true,
            why: "it compares the log with ratings of randomly assigned items".to_owned(),
            help: "connect them, or take `by: counts`",
        });
        requirement.into_iter().collect()
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        ensure!(!log.is_empty(), "no interaction to estimate a propensity of");
        let (users, items) = (inputs.users.len(), inputs.items.len());
        log.check_within("interactions", users, items)?;
        let of_rows = match &self.by {
            PropensitiesBy::Counts => counts(log, users, items),
            PropensitiesBy::NaiveBayes { smoothing } => {
                let random = inputs.random.as_ref().filter(|random| !random.is_empty()).context(
                    "`naive_bayes` compares the log with ratings of randomly assigned items\nhelp: connect `random`, or take \
                     `by: counts`",
                )?;
                if let Some(rating) = log.only_rating() {
                    bail!(
                        "all {} ratings of the log are {rating}, and `naive_bayes` distinguishes pairs by their ratings alone\nhelp: name the \
                         log's ratings where it is read (`rating`), or take `by: counts`",
                        log.len()
                    );
                }
                naive_bayes(log, random, *smoothing, users * items)?
            }
            PropensitiesBy::Matrix { asset, member } => {
                let path = member_of(cx.asset(asset)?, member.as_deref());
                let matrix = read_matrix(&path)?;
                ensure!(
                    matrix.shape == [users, items],
                    "{} is {} × {}, the log has {users} users and {items} items",
                    path.display(),
                    matrix.shape[0],
                    matrix.shape[1]
                );
                let pairs = log.user.iter().zip(&log.item);
                pairs.map(|(&user, &item)| f64::from(matrix.row(user as usize)[item as usize])).collect()
            }
        };
        // Of a pair that was rated twice the last rating counts.
        let pairs = log.user.iter().zip(&log.item).map(|(&user, &item)| (user, item));
        let of_pairs: BTreeMap<(u32, u32), f64> = pairs.zip(of_rows).collect();
        let propensities = Propensities::new(of_pairs.into_iter().map(|((u, i), p)| (u, i, p)).collect())?;
        let extreme = |pick: fn(f64, f64) -> f64| propensities.propensity.iter().copied().reduce(pick).unwrap_or(0.0);
        cx.note("propensities", format!("{:.4} to {:.4}", extreme(f64::min), extreme(f64::max)));
        Ok(Outputs { propensities })
    }
}

/// min(1, n_u·n_i/N) of each row.
fn counts(log: &Interactions, users: usize, items: usize) -> Vec<f64> {
    let count = |ids: &[u32], length: usize| {
        let mut counts = vec![0_usize; length];
        ids.iter().for_each(|&id| counts[id as usize] += 1);
        counts
    };
    let (of_user, of_item) = (count(&log.user, users), count(&log.item, items));
    let pairs = log.user.iter().zip(&log.item);
    let met = |(&user, &item): (&u32, &u32)| (of_user[user as usize] * of_item[item as usize]) as f64;
    pairs.map(|pair| (met(pair) / log.len() as f64).min(1.0)).collect()
}

/// P(r | rated)·P(rated)/P(r) of each row, at most 1.
fn naive_bayes(log: &Interactions, random: &Interactions, smoothing: f64, pairs: usize) -> Result<Vec<f64>> {
    // f32 has no order; its bits have one, and equal ratings have equal bits.
    let mut counted: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for rating in &log.rating {
        counted.entry(rating.to_bits()).or_default().0 += 1.0;
    }
    for rating in &random.rating {
        counted.entry(rating.to_bits()).or_default().1 += 1.0;
    }
    let values = counted.len() as f64;
    let share = |count: f64, all: usize| (count + smoothing) / (all as f64 + smoothing * values);
    let of_value = |(bits, (chosen, drawn)): (&u32, &(f64, f64))| {
        let rating = f32::from_bits(*bits);
        ensure!(
            *drawn + smoothing > 0.0 || *chosen == 0.0,
            "rating {rating} stands in the log, but in none of the random ratings\nhelp: set `smoothing` above 0"
        );
        let p = share(*chosen, log.len()) * (log.len() as f64 / pairs as f64) / share(*drawn, random.len());
        Ok((*bits, p.min(1.0)))
    };
    let of_values: BTreeMap<u32, f64> = counted.iter().map(of_value).collect::<Result<_>>()?;
    Ok(log.rating.iter().map(|rating| of_values[&rating.to_bits()]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::small_log;

    fn log(cells: &[(u32, u32, f32)]) -> Interactions {
        Interactions {
            user: cells.iter().map(|cell| cell.0).collect(),
            item: cells.iter().map(|cell| cell.1).collect(),
            rating: cells.iter().map(|cell| cell.2).collect(),
            timestamp: vec![0; cells.len()],
        }
    }

    #[test]
    fn counts_by_hand() {
        let log = log(&[(0, 0, 5.0), (0, 1, 1.0), (1, 0, 5.0), (0, 2, 2.0)]);
        // n_u = 3, 1; n_i = 2, 1, 1; N = 4: 6/4 is cut to 1.
        assert_eq!(counts(&log, 2, 3), [1.0, 0.75, 0.5, 0.75]);
    }

    #[test]
    fn naive_bayes_by_hand() {
        let chosen = log(&[(0, 0, 5.0), (0, 1, 5.0), (1, 0, 5.0), (1, 2, 1.0)]);
        let random = log(&[(0, 2, 1.0), (1, 1, 1.0), (0, 1, 1.0), (1, 2, 5.0), (1, 0, 1.0)]);
        // P(5 | rated) = 3/4, P(5) = 1/5, P(rated) = 4/20: 0.75·0.2/0.2 = 0.75; P(1 | rated) = 1/4, P(1) = 4/5: 1/16.
        let found = naive_bayes(&chosen, &random, 0.0, 20).unwrap();
        assert!(found.iter().zip([0.75, 0.75, 0.75, 0.0625]).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        // Smoothed by 1: P(5 | rated) = 4/6, P(5) = 2/7.
        let found = naive_bayes(&chosen, &random, 1.0, 20).unwrap();
        assert!((found[0] - (4.0 / 6.0) * 0.2 / (2.0 / 7.0)).abs() < 1e-12, "{found:?}");
        let unseen = naive_bayes(&chosen, &log(&[(0, 0, 1.0)]), 0.0, 20).unwrap_err().to_string();
        assert!(
            unseen.starts_with("rating 5 stands in the log, but in none of the random ratings\nhelp: "),
            "{unseen}"
        );
    }

    #[test]
    fn a_file_gives_those_of_the_log_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let run = |by: PropensitiesBy, rows: usize| {
            let row = |user: usize| (0..8).map(|item| format!("0.{}{item} ", user + 1)).collect::<String>() + "\n";
            std::fs::write(folder.path().join("p"), (0..rows).map(row).collect::<String>()).unwrap();
            let mut cx = Context::detached(folder.path());
            cx.add_asset("files", folder.path());
            let small = small_log();
            let inputs =
                Inputs { interactions: small.interactions, items: small.items, users: small.users, random: None };
            EstimatePropensities { by }.run(inputs, &cx).map(|outputs| outputs.propensities)
        };
        let given = || PropensitiesBy::Matrix { asset: AssetName("files".into()), member: Some("p".into()) };
        let found = run(given(), 6).unwrap();
        assert_eq!((found.user[0], found.item[0]), (0, 0));
        let row = found.user.iter().zip(&found.item).position(|(&u, &i)| (u, i) == (2, 2)).unwrap();
        assert!((found.propensity[row] - 0.32).abs() < 1e-6);
        assert_eq!(found.len(), run(PropensitiesBy::Counts, 6).unwrap().len());
        let error = run(given(), 5).unwrap_err().to_string();
        assert!(error.contains("p is 5 × 8, the log has 6 users and 8 items"), "{error}");
        let mut small = small_log();
        small.interactions.rating.fill(1.0);
        let random = Some(log(&[(0, 0, 1.0), (0, 1, 2.0)]));
        let inputs = Inputs { interactions: small.interactions, items: small.items, users: small.users, random };
        let by = PropensitiesBy::NaiveBayes { smoothing: 1.0 };
        let error =
            EstimatePropensities { by }.run(inputs, &Context::detached(folder.path())).err().unwrap().to_string();
        assert!(error.starts_with("all 30 ratings of the log are 1, and `naive_bayes` distinguishes"), "{error}");
        let error = run(PropensitiesBy::NaiveBayes { smoothing: 1.0 }, 6).unwrap_err().to_string();
        assert!(error.contains("help: connect `random`, or take `by: counts`"), "{error}");
    }
}
