//! What the rows of a log say: ratings, amounts, or choices alone.

use crate::artifact::Interactions;

/// Values of a scale, at most.
const SCALE: usize = 101;

/// The kind of feedback.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Feedback {
    /// Ratings on a scale: so many values between these. A lowest one that may stand for no rating, and its share.
    Explicit { values: usize, min: f32, max: f32, unrated: Option<(f32, f64)> },
    /// How much or how often.
    Amounts(Amounts),
    /// All rows have one rating, or none is read.
    Implicit,
}

/// Amounts: many values, few of them large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Amounts {
    /// The share of zeros.
    pub zeros: f64,
    pub median: f32,
    pub min: f32,
    pub max: f32,
    /// The smallest amount above 0, and the median of those.
    pub least: f32,
    pub usual: f32,
}

/// The share of zeros from which on they may stand for no rating.
const MANY_ZEROS: f64 = 0.2;

/// The lowest of sorted ratings that stands apart from a scale of three values or more, as 0 or −1 where nothing was rated.
fn unrated(sorted: &[f32]) -> Option<(f32, f64)> {
    let lowest = *sorted.first()?;
    let (share, rest) = (of_lowest(sorted), sorted.iter().copied().filter(|rating| *rating > lowest));
    let mut scale: Vec<f32> = rest.collect();
    scale.dedup();
    let apart = match lowest {
        0.0 => share >= MANY_ZEROS && scale.first()? >= &1.0,
        -1.0 => scale.first()? >= &0.0,
        _ => false,
    };
    (apart && scale.len() > 2).then_some((lowest, share))
}

fn of_lowest(sorted: &[f32]) -> f64 {
    sorted.iter().take_while(|rating| **rating == sorted[0]).count() as f64 / sorted.len() as f64
}

impl Feedback {
    /// By the ratings that were read; `is_amount` where the column's name says that they are amounts.
    pub fn of(log: &Interactions, has_rating: bool, is_amount: bool) -> Self {
        if !has_rating || log.is_empty() || log.only_rating().is_some() {
            return Self::Implicit;
        }
        let mut ratings = log.rating.clone();
        ratings.sort_unstable_by(f32::total_cmp);
        let (min, median, max) = (ratings[0], ratings[ratings.len() / 2], ratings[ratings.len() - 1]);
        let zeros = ratings.iter().filter(|rating| **rating == 0.0).count() as f64 / ratings.len() as f64;
        let above = &ratings[ratings.partition_point(|rating| *rating <= 0.0)..];
        let [least, usual] = [0, above.len() / 2].map(|place| above.get(place).copied().unwrap_or(1.0));
        let unrated = unrated(&ratings);
        ratings.dedup();
        let values = ratings.len();
        // Stars, grades and percents end; what people do a long time or often does not.
        let is_scale = min >= -10.0 && max <= 100.0 && (values <= SCALE || max <= 10.0 * median.max(1.0));
        match is_scale && !is_amount {
            true => Self::Explicit { values, min, max, unrated },
            false => Self::Amounts(Amounts { zeros, median, min, max, least, usual }),
        }
    }

    /// In one word, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Explicit { .. } => "explicit",
            Self::Amounts(_) => "amounts",
            Self::Implicit => "implicit",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ratings: Vec<f32>, is_amount: bool) -> &'static str {
        let rows = ratings.len();
        let log = Interactions { user: vec![0; rows], item: vec![0; rows], timestamp: vec![0; rows], rating: ratings };
        Feedback::of(&log, true, is_amount).name()
    }

    #[test]
    fn zeros_and_minus_ones_apart_from_a_scale_may_be_no_ratings() {
        let found = |mut ratings: Vec<f32>| {
            ratings.sort_unstable_by(f32::total_cmp);
            unrated(&ratings)
        };
        assert_eq!(found(vec![0.0, 0.0, 1.0, 5.0, 4.0]), Some((0.0, 0.4)));
        assert_eq!(found(vec![-1.0, 7.0, 8.0, 8.0, 10.0]), Some((-1.0, 0.2)));
        let few = [vec![0.0], vec![3.0; 9], vec![1.0, 2.0]].concat();
        for scale in
            [few, vec![0.0, 1.0], vec![-1.0, 1.0], vec![0.0, 0.0, 0.5, 1.0, 1.5], vec![-1.0, -0.5, 0.0, 1.0], vec![]]
        {
            assert_eq!(found(scale.clone()), None, "{scale:?}");
        }
    }

    #[test]
    fn the_ratings_say_what_they_are() {
        assert_eq!(of(vec![1.0, 5.0, 3.5, 4.0], false), "explicit");
        assert_eq!(of(vec![0.0, 1.0, 1.0], false), "explicit");
        assert_eq!(of(vec![-10.0, 9.9, 3.3], false), "explicit");
        assert_eq!(of(vec![1.0, 1.0], false), "implicit");
        assert_eq!(of(vec![0.0, 4116.0, 5.0], false), "amounts");
        assert_eq!(of(vec![1.0, 2.0, 3.0], true), "amounts");
        assert_eq!(Feedback::of(&Interactions::default(), true, false), Feedback::Implicit);
    }
}
