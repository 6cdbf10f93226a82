//! What an item costs because it is similar to those that a session has shown.

use serde::{Deserialize, Serialize};

/// local·s(a, h_1) + global·Σ_k decay^(k−1)·s(a, h_k) / Σ_k decay^(k−1) for item a after h_1, the last item, h_2, the one before, and
/// so on to the first of the session; s(a, h) = max(0, 1 − d(a, h) / reach) is their similarity, from 0 to 1. Nothing at the first turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiversityPenalty {
    /// What the similarity to the last item counts for, in units of the reward.
    pub local: f32,
    /// What the similarity to all items of the session counts for, in units of the reward.
    pub global: f32,
    /// What an item counts for beside the one that was shown after it, from 0 to 1.
    pub decay: f32,
    /// The distance from which two items are not similar.
    pub reach: f32,
}

impl DiversityPenalty {
    /// The penalty of an item after `shown`, oldest first, which are that far from it; from 0 to `local + global`.
    #[must_use]
    pub fn of(&self, shown: &[u32], distance: impl Fn(u32) -> f32) -> f32 {
        let Some(&last) = shown.last() else { return 0.0 };
        let similarity = |other: u32| self.similarity(distance(other));
        let (mut similar, mut all, mut weight) = (0.0, 0.0, 1.0);
        for &other in shown.iter().rev() {
            similar += weight * similarity(other);
            all += weight;
            weight *= f64::from(self.decay);
        }
        (f64::from(self.local) * similarity(last) + f64::from(self.global) * similar / all) as f32
    }

    /// Of two items that far apart.
    fn similarity(&self, distance: f32) -> f64 {
        // Where all items are in one place, all are alike.
        if distance <= 0.0 { 1.0 } else { (1.0 - f64::from(distance) / f64::from(self.reach)).max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;

    fn penalty(local: f32, global: f32, decay: f32) -> DiversityPenalty {
        DiversityPenalty { local, global, decay, reach: 2.0 }
    }

    #[test]
    fn penalties_agree_with_hand_computed_values() {
        // 0 and 1 are half alike, 0 and 2 not at all, 1 and 2 by a quarter.
        let distance = Array::new(&[3, 3], vec![0.0, 1.0, 4.0, 1.0, 0.0, 1.5, 4.0, 1.5, 0.0]);
        let of = |penalty: &DiversityPenalty, item: usize, shown: &[u32]| {
            penalty.of(shown, |other| distance.row(item)[other as usize])
        };
        let both = penalty(2.0, 4.0, 0.5);
        assert_eq!(of(&both, 0, &[]), 0.0, "nothing was shown");
        assert_eq!(of(&both, 0, &[0]), 2.0 + 4.0);
        assert_eq!(of(&both, 0, &[2]), 0.0);
        // The last one by ½; then ½, 0 and 1 with weights 1, ½ and ¼.
        assert!((of(&both, 0, &[0, 2, 1]) - (2.0 * 0.5 + 4.0 * (0.5 + 0.25) / 1.75)).abs() < 1e-6);
        assert!((of(&penalty(0.0, 1.0, 1.0), 2, &[1, 0]) - 0.125).abs() < 1e-6, "all alike without decay");
        assert_eq!(of(&penalty(0.0, 1.0, 0.0), 2, &[0, 1]), 0.25, "the last one alone");
        assert_eq!(of(&penalty(1.0, 0.0, 0.5), 2, &[2, 1]), 0.25, "what came before the last is not local");
    }

    #[test]
    fn items_in_one_place_are_all_alike() {
        let none = DiversityPenalty { reach: 0.0, ..penalty(1.0, 0.0, 0.5) };
        assert_eq!(none.of(&[1], |_| 0.0), 1.0);
    }
}
