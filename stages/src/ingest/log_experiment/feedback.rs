//! What the rows of a log say: ratings, amounts, or choices alone.

use crate::artifact::Interactions;

/// Values of a scale, at most.
const SCALE: usize = 101;

/// The kind of feedback.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Feedback {
    /// Ratings on a scale: so many values between these.
    Explicit { values: usize, min: f32, max: f32 },
    /// How much or how often: many values, few of them large. The share of zeros, the median and the largest.
    Amounts { zeros: f64, median: f32, max: f32 },
    /// All rows have one rating, or none is read.
    Implicit,
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
        ratings.dedup();
        let values = ratings.len();
        // Stars, grades and percents end; what people do a long time or often does not.
        let is_scale = min >= -10.0 && max <= 100.0 && (values <= SCALE || max <= 10.0 * median.max(1.0));
        if is_scale && !is_amount { Self::Explicit { values, min, max } } else { Self::Amounts { zeros, median, max } }
    }

    /// In one word, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Explicit { .. } => "explicit",
            Self::Amounts { .. } => "amounts",
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
