//! Schedules of numbers that change over a training.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate changes from the first update of a training to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// In a straight line to a tenth.
    Linear,
    /// Along half a cosine to a tenth (Loshchilov and Hutter 2017, arXiv 1608.03983, eq. 5, without restarts).
    Cosine,
}

/// What is left of a falling learning rate at the end of a training.
const LAST: f64 = 0.1;

impl Schedule {
    /// The learning rate of an update, counted from 0, of `updates` in all, where the first is `learning_rate`.
    #[must_use]
    pub fn at(self, learning_rate: f64, update: u64, updates: u64) -> f64 {
        let last = LAST * learning_rate;
        match self {
            Self::Constant => learning_rate,
            Self::Linear => linear(learning_rate, last, update, updates),
            Self::Cosine => last + (learning_rate - last) * 0.5 * (1.0 + (PI * elapsed(update, updates)).cos()),
        }
    }
}

/// From `first` to `last` in a straight line over `updates`; `last` from then on. `update` counts from 0.
#[must_use]
pub fn linear(first: f64, last: f64, update: u64, updates: u64) -> f64 {
    first + (last - first) * elapsed(update, updates)
}

/// The part of a training that is over, in [0, 1].
fn elapsed(update: u64, updates: u64) -> f64 {
    if updates == 0 { 1.0 } else { (update as f64 / updates as f64).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_agree_with_hand_computed_values() {
        let at = |update| linear(1.0, 0.2, update, 4);
        for (update, wanted) in [(0, 1.0), (1, 0.8), (3, 0.4), (4, 0.2), (9, 0.2)] {
            assert!((at(update) - wanted).abs() < 1e-12, "{update}: {}", at(update));
        }
        assert!((linear(1.0, 0.2, 0, 0) - 0.2).abs() < 1e-12, "no time to change");
    }

    #[test]
    fn schedules_agree_with_hand_computed_values() {
        let root = 0.5_f64.sqrt();
        let wanted = [
            (Schedule::Constant, [0.5, 0.5, 0.5, 0.5]),
            (Schedule::Linear, [0.5, 0.3875, 0.275, 0.05]),
            (Schedule::Cosine, [0.5, 0.05 + 0.225 * (1.0 + root), 0.275, 0.05]),
        ];
        for (schedule, wanted) in wanted {
            for (update, wanted) in [0, 1, 2, 9].into_iter().zip(wanted) {
                let found = schedule.at(0.5, update, 4);
                assert!((found - wanted).abs() < 1e-12, "{schedule:?} at {update}: {found}");
            }
        }
    }
}
