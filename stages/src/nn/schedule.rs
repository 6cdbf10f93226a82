//! Schedules of numbers that change over a training.

/// From `first` to `last` in a straight line over `updates`; `last` from then on. `update` counts from 0.
#[must_use]
pub fn linear(first: f64, last: f64, update: u64, updates: u64) -> f64 {
    let passed = if updates == 0 { 1.0 } else { (update as f64 / updates as f64).min(1.0) };
    first + (last - first) * passed
}

/// The learning rate of the learners: from `learning_rate` to a tenth of it over the whole training.
#[must_use]
pub fn to_a_tenth(learning_rate: f64, update: u64, updates: u64) -> f64 {
    linear(learning_rate, 0.1 * learning_rate, update, updates)
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
        assert!((to_a_tenth(0.5, 2, 4) - 0.275).abs() < 1e-12);
    }
}
