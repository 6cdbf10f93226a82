//! What the rows of a log say: ratings, amounts, or choices alone.

use crate::artifact::Interactions;

/// Values of a scale, at most.
const SCALE: usize = 101;

/// The kind of feedback.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Feedback {
    /// Ratings on a scale: so many values between these, and what a person has to look at.
    Explicit { values: usize, min: f32, max: f32, doubt: Option<Doubt> },
    /// How much or how often.
    Amounts(Amounts),
    /// All rows have one rating, or none is read.
    Implicit,
}

/// Why ratings may be none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Doubt {
    /// A lowest one stands apart and may mean that nothing was rated: its value and its share.
    Unrated(f32, f64),
    /// They are spread as counts are: this share of those above 0 is 1.
    Counts(f64),
}

/// What the name of a column, or the user, says of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Called {
    Rating,
    Amount,
    Neither,
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
/// The highest of most scales of ratings whose values are all whole.
const TEN: f32 = 10.0;

/// The share of ones among sorted numbers above 0 that are spread as counts are: whole from 0 or 1 on, ones most often, twos less, and the
/// highest far above the median.
fn counts(sorted: &[f32]) -> Option<f64> {
    let above = &sorted[sorted.partition_point(|number| *number <= 0.0)..];
    let (max, median) = (*above.last()?, above[above.len() / 2]);
    let is_whole = sorted[0] >= 0.0 && sorted.iter().all(|number| number.fract() == 0.0);
    let often = |number: f32| above.iter().filter(|other| **other == number).count();
    let [ones, twos, threes] = [1.0, 2.0, 3.0].map(often);
    let spread = is_whole && max > 3.0 && median * 4.0 <= max && ones > twos && twos >= threes;
    spread.then(|| ones as f64 / above.len() as f64)
}

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
    /// By the ratings that were read, and by what they are called.
    pub fn of(log: &Interactions, has_rating: bool, called: Called) -> Self {
        if !has_rating || log.is_empty() || log.only_rating().is_some() {
            return Self::Implicit;
        }
        let mut ratings = log.rating.clone();
        ratings.sort_unstable_by(f32::total_cmp);
        let (min, median, max) = (ratings[0], ratings[ratings.len() / 2], ratings[ratings.len() - 1]);
        let zeros = ratings.iter().filter(|rating| **rating == 0.0).count() as f64 / ratings.len() as f64;
        let above = &ratings[ratings.partition_point(|rating| *rating <= 0.0)..];
        let [least, usual] = [0, above.len() / 2].map(|place| above.get(place).copied().unwrap_or(1.0));
        let counts = counts(&ratings);
        let doubt = unrated(&ratings).map(|(value, share)| Doubt::Unrated(value, share)).or(counts.map(Doubt::Counts));
        ratings.dedup();
        let values = ratings.len();
        // Stars, grades and percents end; what people do a long time or often does not.
        let is_scale = min >= -10.0 && max <= 100.0 && (values <= SCALE || max <= 10.0 * median.max(1.0));
        // Beyond ten a person who means ratings has to say so.
        let are_counts = called == Called::Neither && counts.is_some() && max > TEN;
        match is_scale && called != Called::Amount && !are_counts {
            true => Self::Explicit { values, min, max, doubt },
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

    fn found(ratings: Vec<f32>, called: Called) -> Feedback {
        let rows = ratings.len();
        let log = Interactions { user: vec![0; rows], item: vec![0; rows], timestamp: vec![0; rows], rating: ratings };
        Feedback::of(&log, true, called)
    }

    fn of(ratings: Vec<f32>, is_amount: bool) -> &'static str {
        found(ratings, if is_amount { Called::Amount } else { Called::Rating }).name()
    }

    /// So many ones, half as many twos, a third as many threes.
    fn plays(ones: usize, most: usize) -> Vec<f32> {
        (1..=most).flat_map(|count| vec![count as f32; (ones / count).max(1)]).collect()
    }

    #[test]
    fn counts_are_no_ratings_unless_they_are_called_so_and_then_it_is_said() {
        assert_eq!(found(plays(600, 40), Called::Neither).name(), "amounts");
        for (ratings, called) in [(plays(600, 40), Called::Rating), (plays(600, 8), Called::Neither)] {
            let Feedback::Explicit { doubt: Some(Doubt::Counts(share)), .. } = found(ratings, called) else {
                panic!("no doubt about counts that are called {called:?}");
            };
            assert!(share > 0.2, "{share}");
        }
        let stars = [vec![1.0; 6], vec![2.0; 11], vec![3.0; 27], vec![4.0; 34], vec![5.0; 21]].concat();
        let percents: Vec<f32> = (0..100).map(|k| (k * k % 101) as f32).collect();
        for scale in [stars, percents, vec![0.0, 1.0, 1.0], vec![1.0, 1.0, 2.0, 3.0]] {
            assert!(
                matches!(found(scale.clone(), Called::Neither), Feedback::Explicit { doubt: None, .. }),
                "{scale:?}"
            );
        }
    }

    #[test]
    fn zeros_and_minus_ones_apart_from_a_scale_may_be_no_ratings() {
        let apart = |mut ratings: Vec<f32>| {
            ratings.sort_unstable_by(f32::total_cmp);
            unrated(&ratings)
        };
        assert_eq!(apart(vec![0.0, 0.0, 1.0, 5.0, 4.0]), Some((0.0, 0.4)));
        assert_eq!(apart(vec![-1.0, 7.0, 8.0, 8.0, 10.0]), Some((-1.0, 0.2)));
        let few = [vec![0.0], vec![3.0; 9], vec![1.0, 2.0]].concat();
        for scale in
            [few, vec![0.0, 1.0], vec![-1.0, 1.0], vec![0.0, 0.0, 0.5, 1.0, 1.5], vec![-1.0, -0.5, 0.0, 1.0], vec![]]
        {
            assert_eq!(apart(scale.clone()), None, "{scale:?}");
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
        assert_eq!(Feedback::of(&Interactions::default(), true, Called::Neither), Feedback::Implicit);
    }
}
