//! Who watches: a completed reward matrix becomes a world with quit rules, item distances and vectors for policies.

use anyhow::{Result, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distance::{Similar, USUAL, closest, column_distances};
use super::vectors::factorise;
use crate::artifact::{Array, Repeats, Rules, Window, World};

/// Who watches, and when they leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audience {
    /// Turns after which an episode is cut; 30 as in EasyRL4Rec.
    pub horizon: usize,
    /// Items a user remembers; 7 as EasyRL4Rec has it for MovieLens-1M and Coat.
    pub window: usize,
    /// Which items the window holds early in an episode: `last`, or `easyrl4rec` with its slice quirk.
    pub window_kind: Window,
    /// When two items feel alike; `closest_share: 0.02` where absent. Only without the input `distances`, which brings its own.
    pub similar: Option<Similar>,
    /// Users leave at a reward below this; off by default.
    pub low_reward: Option<f64>,
    /// Users leave at an item of which a category was shown more often than this in the window; off by default. 1 in
    /// EasyRL4Rec's KuaiRec, 0 in its KuaiRand. Only in worlds that know categories.
    pub category_above: Option<u32>,
    /// Turns at the beginning at which nobody leaves: 0 as in IL-Rec, 1 as in BiLLP.
    pub spared: usize,
    /// What learners are told instead of the reward at which a user leaves; BiLLP has −1000. Metrics never hold it. Off by
    /// default.
    pub penalty: Option<f64>,
    /// Whether items may be shown again: `allowed`, `masked`, or `masked_exact_rounds`, where nobody leaves either and an
    /// episode lasts `horizon` rounds. EasyRL4Rec calls them FB, NX_0 and NX_10 (at a horizon of 10).
    pub repeats: Repeats,
    /// Width of the user and item vectors that policies start from: a factorisation of the completed matrix.
    pub vectors: usize,
}

impl Default for Audience {
    fn default() -> Self {
        Self {
            horizon: 30,
            window: 7,
            window_kind: Window::Last,
            similar: None,
            low_reward: None,
            category_above: None,
            spared: 0,
            penalty: None,
            repeats: Repeats::Allowed,
            vectors: 16,
        }
    }
}

impl Audience {
    /// What no type can say.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((format!("audience.{path}"), message.to_owned()));
        if self.horizon == 0 {
            return wrong("horizon", "an episode has at least one turn");
        }
        if self.vectors == 0 {
            return wrong("vectors", "policies need vectors of at least one number");
        }
        if self.low_reward.is_some_and(|x| !x.is_finite()) {
            return wrong("low_reward", "a reward is a finite number");
        }
        if self.penalty.is_some_and(|x| !x.is_finite()) {
            return wrong("penalty", "a reward is a finite number");
        }
        match self.similar {
            Some(Similar::ClosestShare(share)) if !(share > 0.0 && share < 1.0) => {
                wrong("similar.closest_share", "a share of pairs lies between 0 and 1, both excluded")
            }
            _ => Ok(()),
        }
    }

    /// Completes `reward [U, I]` to a world; item distances and their threshold are those of `shared`, if given.
    pub fn complete(&self, shared: Option<&World>, reward: Array) -> Result<World> {
        ensure!(
            reward.data.iter().all(|x| x.is_finite()),
            "the fitted rewards are not all finite; lower learning_rate"
        );
        let users = reward.shape[0];
        let distance = match shared {
            Some(world) => world.distance.clone(),
            None => column_distances(&reward)?,
        };
        ensure!(distance.shape[0] == reward.shape[1], "the shared distances are of another catalogue");
        ensure!(
            self.repeats == Repeats::Allowed || self.horizon <= reward.shape[1],
            "a catalogue of {} items cannot fill {} turns without a repeat. help: lower `audience.horizon`, or take \
             `repeats: allowed`",
            reward.shape[1],
            self.horizon
        );
        let similar_below = match (shared, self.similar) {
            (Some(_), Some(_)) => bail!(
                "`audience.similar` is set, but `distances` brings its own threshold. help: leave out one of the two"
            ),
            (Some(world), None) => world.rules.similar_below,
            (None, similar) => match similar.unwrap_or(USUAL) {
                Similar::ClosestShare(share) => Some(closest(&distance, share)),
                Similar::Below(threshold) => Some(threshold as f32),
                // Rounded like the distances themselves, so that a distance of just the threshold is not below it.
                Similar::EuclideanBelow(threshold) => Some((threshold * threshold / users as f64).sqrt() as f32),
                Similar::Off => None,
            },
        };
        let (user_vectors, item_vectors) = factorise(&reward, self.vectors)?;
        let rules = Rules {
            horizon: self.horizon,
            window: self.window,
            window_kind: self.window_kind,
            similar_below,
            low_reward: self.low_reward.map(|x| x as f32),
            category_above: self.category_above,
            spared: self.spared,
            penalty: self.penalty.map(|x| x as f32),
            repeats: self.repeats,
        };
        Ok(World { reward, distance, user_vectors, item_vectors, deviation: None, categories: None, rules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_threshold_and_vectors_of_a_small_matrix() {
        // Items 0 and 1 are alike; item 2 is the opposite.
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let audience = Audience { vectors: 2, similar: Some(Similar::ClosestShare(0.4)), ..Audience::default() };
        let world = audience.complete(None, reward.clone()).unwrap();
        assert_eq!(world.distance.data, [0.0, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0, 4.0, 0.0]);
        assert_eq!(world.rules.similar_below, Some(4.0));
        assert!(world.conflicts(1, &[0]) && !world.conflicts(2, &[0]) && world.conflicts(2, &[2]));
        for (u, i) in [(0, 0), (0, 2), (1, 1), (1, 2)] {
            let product: f32 =
                world.user_vectors.row(u).iter().zip(world.item_vectors.row(i)).map(|(a, b)| a * b).sum();
            assert!((product + 3.0 - reward.row(u)[i]).abs() < 1e-4, "({u}, {i}): {product}");
        }
    }

    #[test]
    fn shared_distances_bring_their_threshold_and_no_other_is_taken() {
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let below = Audience { vectors: 2, similar: Some(Similar::Below(0.5)), ..Audience::default() };
        let shared = below.complete(None, reward.clone()).unwrap();
        let other = Audience { vectors: 2, ..Audience::default() };
        assert_eq!(other.complete(Some(&shared), reward.clone()).unwrap().rules.similar_below, Some(0.5));
        let error = below.complete(Some(&shared), reward).unwrap_err().to_string();
        assert!(error.contains("`audience.similar` is set, but `distances` brings its own"), "{error}");
    }

    #[test]
    fn a_euclidean_threshold_is_strict() {
        // Items 0 and 1 are √(3² + 4²) = 5 apart.
        let reward = Array::new(&[2, 2], vec![1.0, 4.0, 5.0, 1.0]);
        let conflicts = |threshold: f64| {
            let similar = Some(Similar::EuclideanBelow(threshold));
            let audience = Audience { vectors: 2, similar, ..Audience::default() };
            audience.complete(None, reward.clone()).unwrap().conflicts(0, &[1])
        };
        assert!(!conflicts(4.99) && !conflicts(5.0) && conflicts(5.01));
    }

    #[test]
    fn a_share_outside_its_range_is_refused() {
        let audience = Audience { similar: Some(Similar::ClosestShare(1.5)), ..Audience::default() };
        assert_eq!(audience.check().unwrap_err().0, "audience.similar.closest_share");
    }
}
