//! From values to pixels, and the round numbers along an axis.

/// A straight map from the values `low..=high` to the pixels `from..=to`.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Scale {
    /// Value at `from`.
    pub low: f64,
    /// Value at `to`; above `low`.
    pub high: f64,
    /// First pixel.
    pub from: f64,
    /// Last pixel; may lie before `from`, as on an upright axis.
    pub to: f64,
}

impl Scale {
    /// A scale that holds all finite `values`, widened to round numbers, about `want` steps apart.
    pub fn holding(values: impl IntoIterator<Item = f64>, want: usize, from: f64, to: f64) -> Self {
        let (low, high) = range(values);
        let step = step(low, high, want);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, from, to }
    }

    /// A scale from zero (or the lowest value, where one is negative) to a little beyond the highest of the finite `values`.
    pub fn from_zero(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = range(values.into_iter().chain([0.0]));
        Self { low, high: high + (high - low) * 0.04, from, to }
    }

    /// The pixel of a value.
    pub fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// As [`ticks`] of this scale's values.
    pub fn ticks(&self, want: usize) -> Vec<Tick> {
        ticks(self.low, self.high, want)
    }
}

/// A round number on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Tick {
    /// Where.
    pub value: f64,
    /// As printed: as many decimals as the step needs, thousands as `k`.
    pub label: String,
}

/// The multiples of 1, 2 or 5 times a power of ten in `low..=high`, about `want` of them; none for an empty or unbounded range.
pub(in crate::report) fn ticks(low: f64, high: f64, want: usize) -> Vec<Tick> {
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Vec::new();
    }
    let step = step(low, high, want);
    // A millionth of a step of slack keeps the end that rounding moved outside.
    let (first, last) = ((low / step - 1e-6).ceil() as i64, (high / step + 1e-6).floor() as i64);
    (first..=last)
        .map(|i| {
            // A multiple of the step, not a running sum: 0.3 stays 0.3.
            let value = i as f64 * step;
            Tick { value, label: label(value, step) }
        })
        .collect()
}

/// Lowest and highest finite value, held apart where they are one.
fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    match finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value))) {
        (low, high) if low > high => (0.0, 1.0),
        (low, high) if low == high => {
            let around = (low.abs() * 0.05).max(0.5);
            (low - around, high + around)
        }
        both => both,
    }
}

fn step(low: f64, high: f64, want: usize) -> f64 {
    let raw = (high - low) / want.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let factor = match raw / power {
        lead if lead <= 1.000_001 => 1.0,
        lead if lead <= 2.000_001 => 2.0,
        lead if lead <= 5.000_001 => 5.0,
        _ => 10.0,
    };
    factor * power
}

fn label(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let text = match step {
        step if step >= 1e6 => format!("{:.0}M", value / 1e6),
        step if step >= 1e3 => format!("{:.0}k", value / 1e3),
        step if step >= 100.0 && value.abs() >= 1e4 => format!("{:.1}k", value / 1e3),
        step if step < 1e-4 => {
            // As many digits as tell a label from its neighbour.
            let power = |x: f64| (x * 1.000_001).log10().floor();
            format!("{value:.*e}", (power(value.abs()) - power(step)).max(0.0) as usize)
        }
        step => format!("{value:.*}", (-(step * 1.000_001).log10().floor()).max(0.0) as usize),
    };
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::{Scale, ticks};

    fn labels(low: f64, high: f64, want: usize) -> Vec<String> {
        ticks(low, high, want).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(labels(0.0, 141.0, 7), ["0", "50", "100"]);
        assert_eq!(labels(0.0, 140.0, 7), ["0", "20", "40", "60", "80", "100", "120", "140"]);
        assert_eq!(labels(0.05, 0.62, 3), ["0.2", "0.4", "0.6"]);
        assert_eq!(labels(-1.0, 1.0, 4), ["−1.0", "−0.5", "0", "0.5", "1.0"]);
        assert_eq!(labels(0.0, 40_000.0, 4), ["0", "10k", "20k", "30k", "40k"]);
        // NPellet/jsGraph#56: labels in powers of ten repeated each other.
        assert_eq!(labels(2e-5, 4e-5, 4), ["2.0e−5", "2.5e−5", "3.0e−5", "3.5e−5", "4.0e−5"]);
        assert_eq!(labels(0.0, 4e-5, 4), ["0", "1e−5", "2e−5", "3e−5", "4e−5"]);
        assert_eq!(labels(3.1, 3.9, 4), ["3.2", "3.4", "3.6", "3.8"]);
    }

    #[test]
    fn a_range_without_extent_has_no_ticks_but_a_scale() {
        assert_eq!(ticks(1.0, 1.0, 5), []);
        assert_eq!(ticks(f64::NAN, 1.0, 5), []);
        assert_eq!(ticks(0.0, f64::INFINITY, 5), []);
        let flat = Scale::holding([2.0, 2.0], 4, 0.0, 100.0);
        assert!(flat.low < 2.0 && 2.0 < flat.high);
        let empty = Scale::holding([f64::NAN], 4, 0.0, 100.0);
        assert_eq!((empty.low, empty.high), (0.0, 1.0));
    }

    #[test]
    fn a_scale_reaches_round_numbers_around_its_values() {
        let scale = Scale::holding([24.1, 141.0], 7, 10.0, 160.0);
        assert_eq!((scale.low, scale.high), (20.0, 160.0));
        assert_eq!((scale.at(20.0), scale.at(90.0), scale.at(160.0)), (10.0, 85.0, 160.0));
        let scale = Scale::from_zero([24.0, 100.0], 0.0, 104.0);
        assert_eq!((scale.low, scale.high, scale.at(50.0)), (0.0, 104.0, 50.0));
    }
}
