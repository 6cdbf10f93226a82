//! Minimum, maximum, mean, quantiles and a histogram of a stream of numbers, in bounded memory.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::value::CellValue;

/// Values up to which quantiles and histogram are exact; beyond it they come from a sample of this size.
pub(super) const EXACT_UP_TO: usize = 1_000_000;
/// Bins of a histogram.
const BINS: usize = 16;

/// What a column's finite numbers look like. Moments in time are described the same way, as text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NumberSummary {
    /// Values described: neither missing, nor NaN, nor infinite.
    pub count: u64,
    /// NaNs, which nothing below takes into account.
    pub nan: u64,
    /// Infinite values, which nothing below takes into account.
    pub infinite: u64,
    /// Smallest value; `null` without values, like all below.
    pub min: CellValue,
    /// Largest value.
    pub max: CellValue,
    /// Arithmetic mean; `null` also when the sum is too large for a 64-bit float.
    pub mean: CellValue,
    /// Quantiles, linear between the two nearest values (type 7 of Hyndman and Fan 1996).
    pub quantiles: Quantiles,
    /// How many values the quantiles and the histogram were taken from, when it was not all of them.
    pub sampled: Option<u64>,
    /// Counts in bins of equal width.
    pub histogram: Option<Histogram>,
}

/// A quarter, a half and three quarters of the values lie below these.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Lower quartile.
    pub q25: CellValue,
    /// Median.
    pub q50: CellValue,
    /// Upper quartile.
    pub q75: CellValue,
}

/// Counts in bins of equal width; integers that span few values get one bin for each value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub from: CellValue,
    /// Upper edge of the last bin, which belongs to it.
    pub to: CellValue,
    /// Values in each bin.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// One block character for each bin, its height the share of the fullest; a space where there is nothing.
    pub(super) fn bars(&self) -> String {
        let fullest = self.counts.iter().copied().max().unwrap_or(0).max(1);
        let level = |count: u64| match count {
            0 => ' ',
            _ => ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
                [((u128::from(count) * 8 - 1) / u128::from(fullest)).min(7) as usize],
        };
        self.counts.iter().map(|&count| level(count)).collect()
    }
}

/// The running state.
pub(super) struct NumberAccumulator {
    count: u64,
    nan: u64,
    infinite: u64,
    /// Smallest, largest and sum of the integers, exact.
    whole: Option<(i128, i128, i128)>,
    /// Smallest and largest of the floats.
    real: Option<(f64, f64)>,
    /// Sum of the floats and what rounding took from it (Neumaier 1974).
    sum: (f64, f64),
    /// All values, or from `room` on a reservoir of them (algorithm R, Vitter 1985).
    sample: Vec<f64>,
    room: usize,
    random: ChaCha8Rng,
}

impl NumberAccumulator {
    pub(super) fn new() -> Self {
        Self::with_room(EXACT_UP_TO)
    }

    /// For smallest, largest and mean alone.
    pub(super) fn without_sample() -> Self {
        Self::with_room(0)
    }

    fn with_room(room: usize) -> Self {
        Self {
            count: 0,
            nan: 0,
            infinite: 0,
            whole: None,
            real: None,
            sum: (0.0, 0.0),
            sample: Vec::new(),
            room,
            // A fixed seed: looking at the same file twice must show the same figures.
            random: ChaCha8Rng::seed_from_u64(0),
        }
    }

    pub(super) fn push_whole(&mut self, value: i128) {
        let (low, high, sum) = self.whole.unwrap_or((value, value, 0));
        self.whole = Some((low.min(value), high.max(value), sum + value));
        self.keep(value as f64);
    }

    pub(super) fn push_real(&mut self, value: f64) {
        if value.is_nan() {
            self.nan += 1;
        } else if value.is_infinite() {
            self.infinite += 1;
        } else {
            let (low, high) = self.real.unwrap_or((value, value));
            self.real = Some((low.min(value), high.max(value)));
            let (sum, lost) = self.sum;
            let next = sum + value;
            let slip = if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
            self.sum = (next, lost + slip);
            self.keep(value);
        }
    }

    fn keep(&mut self, value: f64) {
        self.count += 1;
        if self.sample.len() < self.room {
            self.sample.push(value);
        } else if self.room > 0
            && let Some(place) = self.sample.get_mut(self.random.random_range(0..self.count) as usize)
        {
            *place = value;
        }
    }

    /// The summary, with the functions that turn an exact integer and a computed number into a cell.
    pub(super) fn summary(
        mut self,
        whole: impl Fn(i128) -> CellValue,
        real: impl Fn(f64) -> CellValue,
    ) -> NumberSummary {
        self.sample.sort_unstable_by(f64::total_cmp);
        let (min, max, mean) = match (self.whole, self.real) {
            (Some((low, high, sum)), _) => (whole(low), whole(high), real(mean_of(sum, self.count))),
            (None, Some((low, high))) => {
                let mean = (self.sum.0 + self.sum.1) / self.count as f64;
                (real(low), real(high), if mean.is_finite() { real(mean) } else { CellValue::Null })
            }
            (None, None) => (CellValue::Null, CellValue::Null, CellValue::Null),
        };
        let range = self.whole.map(|(low, high, _)| (low as f64, high as f64)).or(self.real);
        let each = self.whole.map(|(low, high, _)| high - low + 1).filter(|&span| span <= BINS as i128);
        let each = each.map(|span| span as usize);
        let quantile = |share| quantile(&self.sample, share).map_or(CellValue::Null, &real);
        NumberSummary {
            count: self.count,
            nan: self.nan,
            infinite: self.infinite,
            min,
            max,
            mean,
            quantiles: Quantiles { q25: quantile(0.25), q50: quantile(0.5), q75: quantile(0.75) },
            sampled: (self.count > self.sample.len() as u64).then_some(self.sample.len() as u64),
            histogram: range.map(|(low, high)| Histogram {
                counts: histogram(&self.sample, low, high, each),
                from: real(low),
                to: real(high),
            }),
        }
    }
}

/// The mean of integers: the quotient is exact, only the remainder is rounded.
fn mean_of(sum: i128, count: u64) -> f64 {
    let count = i128::from(count);
    (sum / count) as f64 + (sum % count) as f64 / count as f64
}

/// The quantile of sorted values, `None` without values.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (below, part) = (sorted[place.floor() as usize], place.fract());
    let above = sorted[place.ceil() as usize];
    // Not `below + part * (above - below)`: the difference of two large floats overflows.
    Some(if below == above || part == 0.0 { below } else { below * (1.0 - part) + above * part })
}

/// Counts of `values`, which lie in `low..=high`. Integers that span few values (`each`) get one bin for each value.
fn histogram(values: &[f64], low: f64, high: f64, each: Option<usize>) -> Vec<u64> {
    let bins = each.unwrap_or(if low < high { BINS } else { 1 });
    let mut counts = vec![0; bins];
    for &value in values {
        let bin = match each {
            Some(_) => value - low,
            // Halved first, so that the width of the whole range of floats is still a float.
            None if low < high => (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) * bins as f64,
            None => 0.0,
        };
        counts[(bin as usize).min(bins - 1)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reals(values: impl IntoIterator<Item = f64>) -> NumberSummary {
        let mut numbers = NumberAccumulator::new();
        values.into_iter().for_each(|value| numbers.push_real(value));
        numbers.summary(CellValue::Whole, CellValue::Real)
    }

    fn wholes(values: impl IntoIterator<Item = i128>) -> NumberSummary {
        let mut numbers = NumberAccumulator::new();
        values.into_iter().for_each(|value| numbers.push_whole(value));
        numbers.summary(CellValue::Whole, CellValue::Real)
    }

    #[test]
    fn quantiles_lie_between_the_two_nearest_values() {
        let Quantiles { q25, q50, q75 } = wholes([4, 1, 3, 2]).quantiles;
        assert_eq!((q25, q50, q75), (CellValue::Real(1.75), CellValue::Real(2.5), CellValue::Real(3.25)));
    }

    #[test]
    fn nan_and_infinity_are_counted_and_left_out() {
        let summary = reals([f64::NAN, 1.0, f64::INFINITY, 3.0, f64::NEG_INFINITY]);
        assert_eq!((summary.count, summary.nan, summary.infinite), (2, 1, 2));
        assert_eq!(
            (summary.min, summary.max, summary.mean),
            (CellValue::Real(1.0), CellValue::Real(3.0), CellValue::Real(2.0))
        );
    }

    #[test]
    fn nothing_in_nothing_out() {
        let summary = reals([f64::NAN]);
        assert_eq!((summary.min, summary.mean, summary.histogram), (CellValue::Null, CellValue::Null, None));
        assert_eq!(summary.quantiles.q50, CellValue::Null);
    }

    #[test]
    fn large_integers_stay_exact() {
        let big = i128::from(i64::MAX);
        let summary = wholes([big, big - 1, -big]);
        assert_eq!((summary.min, summary.max), (CellValue::Whole(-big), CellValue::Whole(big)));
        assert_eq!(wholes([1, 2]).mean, CellValue::Real(1.5));
    }

    #[test]
    fn the_whole_range_of_floats_overflows_nothing() {
        let summary = reals([f64::MIN, 0.0, f64::MAX]);
        assert_eq!(summary.mean, CellValue::Real(0.0));
        assert_eq!(summary.quantiles.q50, CellValue::Real(0.0));
        assert_eq!(summary.histogram.unwrap().counts.iter().sum::<u64>(), 3);
        assert_eq!(reals([f64::MAX, f64::MAX]).mean, CellValue::Null);
    }

    #[test]
    fn the_sum_keeps_what_rounding_would_lose() {
        assert_eq!(reals([1.0, 1e100, 1.0, -1e100]).mean, CellValue::Real(0.5));
    }

    #[test]
    fn few_integers_get_a_bin_each() {
        let histogram = wholes([1, 2, 2, 5, 5, 5, 5]).histogram.unwrap();
        assert_eq!(histogram.counts, [1, 2, 0, 0, 4]);
        assert_eq!(histogram.bars(), "▂▄  █");
        assert_eq!(wholes(0..160).histogram.unwrap().counts, [10; 16]);
        assert_eq!(reals([2.5, 2.5]).histogram.unwrap().bars(), "█");
    }

    #[test]
    fn beyond_the_bound_a_sample_stands_for_all_and_is_the_same_every_time() {
        let run = || {
            let mut numbers = NumberAccumulator::with_room(1000);
            (0..100_000).for_each(|value| numbers.push_whole(value));
            numbers.summary(CellValue::Whole, CellValue::Real)
        };
        let summary = run();
        assert_eq!(summary, run());
        assert_eq!((summary.count, summary.sampled), (100_000, Some(1000)));
        assert_eq!(
            (summary.min, summary.max, summary.mean),
            (CellValue::Whole(0), CellValue::Whole(99_999), CellValue::Real(49_999.5))
        );
        // The median of 1000 of a uniform distribution has a standard deviation of 1.6 % of its width.
        let CellValue::Real(median) = summary.quantiles.q50 else { panic!("a number") };
        assert!((median - 50_000.0).abs() < 8_000.0, "{median}");
    }
}
