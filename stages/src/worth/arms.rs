//! The recommenders of a study of log sizes, and the controls of a model's scores.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use crate::artifact::Items;
use crate::nn::rng;
use crate::ratings::{Fitted, HoldOut, Knowledge, Learner, Validation, WeightedLog, spearman};

use super::contenders::Contender;

/// What a control's name adds to that of the scores.
pub(super) const SHUFFLED: &str = " shuffled";
/// As [`SHUFFLED`], within genre and decade.
pub(super) const SHUFFLED_WITHIN: &str = " shuffled within genre and decade";

/// Popularity by the number of ratings.
pub(super) const BY_COUNT: &str = "popular by count";
/// The learner that validation inside the ratings chooses.
pub(super) const BEST: &str = "best by validation";
/// Recommenders that learn nothing.
pub(super) const RANDOM: &str = "random";
pub(super) const ORACLE: &str = "oracle";
pub(super) const OLDEST: &str = "oldest first";

/// Scores with a name; standardised, one an item.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NamedScores {
    pub name: String,
    pub values: Vec<f64>,
}

impl NamedScores {
    /// The scores themselves and their controls of one draw: shuffled over the items `among`, and shuffled within genre and decade. The
    /// distribution of the scores stays; what they say of an item goes.
    pub fn with_controls(&self, among: &[u32], items: &Items, draw: u64) -> [Self; 3] {
        let mut strata: BTreeMap<(String, Option<i32>), Vec<u32>> = BTreeMap::new();
        for &item in among {
            let row = item as usize;
            let genre = items.genres[row].first().cloned().unwrap_or_default();
            strata.entry((genre, items.year[row].map(|year| year.div_euclid(10)))).or_default().push(item);
        }
        let shuffled = |suffix: &str, groups: Vec<&[u32]>, purpose: u64| {
            let mut values = self.values.clone();
            for (at, group) in groups.into_iter().enumerate() {
                let mut order = group.to_vec();
                order.shuffle(&mut rng(&[draw, purpose, at as u64]));
                for (&to, &from) in group.iter().zip(&order) {
                    values[to as usize] = self.values[from as usize];
                }
            }
            Self { name: format!("{}{suffix}", self.name), values }
        };
        [
            self.clone(),
            shuffled(SHUFFLED, vec![among], 0x5f1e),
            shuffled(SHUFFLED_WITHIN, strata.values().map(Vec::as_slice).collect(), 0x5f1f),
        ]
    }
}

/// A ranking of the items: one for all users, or one a user.
pub(super) enum Scores {
    /// One score an item.
    All(Vec<f64>),
    /// Scores by the fitted factors of each user.
    Each(Box<Fitted>),
}

/// Every learner that was fitted to one draw with the same scores.
pub(super) struct FittedArms(pub Vec<(&'static str, Scores)>);

impl FittedArms {
    /// Fits the `contenders` to `log` of `[users, items]`, and names the best by validation inside it: the one whose scores of pairs that
    /// its model was fitted without are most correlated with what the ratings say beyond their users' biases (Spearman). Popularity by
    /// count takes part where items have ratings. It cannot use `scores`: with them it is no arm, but may be the best one, so that what
    /// validation chooses among differs by the scores alone. Contenders with permuted vectors are controls, which are not chosen and
    /// need no scores.
    ///
    /// With drawn negatives, ratings are compared as they are: every user has as many negatives as positives. Popularity by count
    /// counts positives.
    pub fn fit(
        log: &WeightedLog,
        size: [usize; 2],
        contenders: &[Contender],
        scores: Option<&[f64]>,
        validation: Validation,
    ) -> Self {
        let ratings = &log.ratings;
        let mut fitted: Vec<(&'static str, Scores)> = Vec::new();
        let (mut target, mut best, mut highest) = (Vec::new(), 0, f64::NEG_INFINITY);
        // The first of equals: the simplest.
        let mut compare = |at: usize, out_of_fold: &[f64], target: &[f64]| {
            let validity = spearman(out_of_fold, target);
            if validity > highest {
                (best, highest) = (at, validity);
            }
        };
        for contender in contenders.iter().filter(|contender| !contender.control || scores.is_none()) {
            let knowledge = Knowledge { design: &contender.design, scores };
            let found = contender.learner.fit(log, size, knowledge, validation);
            if contender.learner == Learner::Biases {
                let sampled = log.given < ratings.len();
                let of_user = |row: usize| if sampled { 0.0 } else { found.biases.user[ratings.user[row] as usize] };
                let user = |row: usize| found.biases.mean + of_user(row);
                target = (0..ratings.len()).map(|row| f64::from(ratings.rating[row]) - user(row)).collect();
            }
            if !contender.control {
                compare(fitted.len(), &found.out_of_fold, &target);
            }
            let scores =
                if found.impersonal() { Scores::All(found.biases.item) } else { Scores::Each(Box::new(found)) };
            fitted.push((contender.name, scores));
        }
        if validation.hold_out == HoldOut::Ratings {
            let mut counts = vec![0.0; size[1]];
            ratings.item[..log.given].iter().for_each(|&item| counts[item as usize] += 1.0);
            // The rating itself is no evidence of how often others rate the item.
            let itself = |row: usize| if row < log.given { 1.0 } else { 0.0 };
            let without_itself: Vec<f64> =
                (0..ratings.len()).map(|row| counts[ratings.item[row] as usize] - itself(row)).collect();
            compare(fitted.len(), &without_itself, &target);
            fitted.push((BY_COUNT, Scores::All(counts)));
        }
        let copy = match &fitted[best].1 {
            Scores::All(scores) => Scores::All(scores.clone()),
            Scores::Each(found) => Scores::Each(found.clone()),
        };
        if scores.is_some() {
            fitted.retain(|(name, _)| *name != BY_COUNT);
        }
        fitted.push((BEST, copy));
        Self(fitted)
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;
    use crate::artifact::Interactions;
    use crate::worth::contenders::contenders;

    fn items() -> Items {
        Items {
            id: (0..6).map(|k| k.to_string()).collect(),
            title: vec![String::new(); 6],
            year: [1991, 1995, 1999, 2001, 2002, 2003].map(Some).to_vec(),
            genres: vec![vec!["a".to_owned()]; 6],
            ..Items::default()
        }
    }

    #[test]
    fn controls_keep_the_distribution_and_lose_the_item() {
        let scores = NamedScores { name: "llm".into(), values: (0..6).map(f64::from).collect() };
        let [own, shuffled, within] = scores.with_controls(&[0, 1, 2, 3, 4, 5], &items(), 3);
        assert_eq!(own, scores);
        let sorted = |scores: &NamedScores, range: std::ops::Range<usize>| {
            let mut values = scores.values[range].to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        assert_eq!(sorted(&shuffled, 0..6), scores.values);
        assert_eq!(sorted(&within, 0..3), [0.0, 1.0, 2.0], "those of the nineties stay among themselves");
        assert!(shuffled.values != scores.values && within.name == "llm shuffled within genre and decade");
        assert_ne!(shuffled, scores.with_controls(&[0, 1, 2, 3, 4, 5], &items(), 4)[1]);
    }

    #[test]
    fn all_learners_are_fitted_and_the_best_is_one_of_them() {
        let items = items();
        let rows = 240_u32;
        let log = Interactions {
            user: (0..rows).map(|k| k % 20).collect(),
            item: (0..rows).map(|k| k / 20 % 6).collect(),
            rating: (0..rows).map(|k| (k / 20 % 6) as f32 + (k % 3) as f32).collect(),
            timestamp: vec![0; rows as usize],
        };
        let log = WeightedLog::equal(log);
        let validation = Validation { hold_out: HoldOut::Ratings, seed: 1 };
        let contenders = contenders(&items, None, validation).unwrap();
        let arms = FittedArms::fit(&log, [20, 6], &contenders, None, validation).0;
        let names: Vec<&str> = arms.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            ["popular by mean", "genre and year", "factorization", "popular by count", "best by validation"]
        );
        let Scores::All(mean) = &arms[0].1 else { panic!("popularity is the same for everybody") };
        assert!(mean.is_sorted(), "item 5 is the best: {mean:?}");
        let with = FittedArms::fit(&log, [20, 6], &contenders, Some(&[0.0; 6]), validation).0;
        assert_eq!(with.len(), 4, "a count cannot use scores");
    }

    #[test]
    fn a_count_may_be_the_best_with_scores_as_without() {
        // What is rated more often is rated better, beneath noise that hides it from means of two to eleven ratings.
        const ITEMS: u32 = 30;
        let items = Items {
            id: (0..ITEMS).map(|item| item.to_string()).collect(),
            title: vec![String::new(); ITEMS as usize],
            year: vec![None; ITEMS as usize],
            genres: vec![vec![]; ITEMS as usize],
            ..Items::default()
        };
        let count = |item: u32| 2 + item / 3;
        let mut draw = rng(&[4]);
        let mut log = Interactions::default();
        for (item, k) in (0..ITEMS).flat_map(|item| (0..count(item)).map(move |k| (item, k))) {
            log.user.push((item * 7 + k) % 40);
            log.item.push(item);
            log.rating.push(0.3 * count(item) as f32 + draw.random_range(-4.0..4.0));
            log.timestamp.push(0);
        }
        let log = WeightedLog::equal(log);
        let validation = Validation { hold_out: HoldOut::Ratings, seed: 1 };
        let contenders = contenders(&items, None, validation).unwrap();
        let best = |scores: Option<&[f64]>| {
            let arms = FittedArms::fit(&log, [40, ITEMS as usize], &contenders, scores, validation).0;
            let Some((BEST, Scores::All(best))) = arms.last() else { panic!("the best comes last") };
            best.clone()
        };
        let counts: Vec<f64> = (0..ITEMS).map(|item| f64::from(count(item))).collect();
        assert_eq!(best(None), counts);
        let scores: Vec<f64> = (0..ITEMS).map(|item| f64::from(item * 11 % 7) / 2.0 - 1.5).collect();
        assert_eq!(best(Some(&scores)), counts);
    }
}
