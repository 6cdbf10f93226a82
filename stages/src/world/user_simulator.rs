//! Who watches: a completed reward matrix becomes a world with quit rules, item distances and vectors for policies.

use anyhow::{Result, bail, ensure};
use pipeline::{Context, Requirement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distance::{DistanceBy, Similar, USUAL, categories, closest};
use super::factorization::factorize;
use crate::artifact::{Array, DistancesFrom, Ids, Items, QuitRules, Repeats, Users, WindowRule, World};

/// Who watches, and when they leave. An episode ends, in this order, at a bad item (`low_reward`), at one too similar to what
/// is remembered (`similar`), at one of a category shown too often (`category_above`), at the `horizon`. The published
/// protocols are settings of it:
///
/// - EasyRL4Rec and DORL, `window_kind: easyrl4rec` and `horizon: 30` in all: Coat `window: 7, similar: { euclidean_below: 6 }`;
///   MovieLens-1M `window: 7, similar: { euclidean_below: 75 }`; Yahoo `window: 3, similar: { euclidean_below: 120 }`; KuaiRec
///   `window: 9, similar: off, category_above: 1`; KuaiRand `window: 10, similar: off, category_above: 0`. Repeats: FB
///   `allowed`, NX_0 `masked`, NX_10 `masked_exact_rounds` and `horizon: 10`.
/// - IL-Rec: `horizon: 100, window: 4, low_reward: 2` and a threshold of 50 (Steam) or 15 (Amazon). Which distance it is of is
///   not published with it; `euclidean_below`, as in EasyRL4Rec, is our reading.
/// - BiLLP: as IL-Rec with `spared: 1, penalty: -1000` and `horizon: 50` (70 in its test on Steam).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserSimulator {
    /// Turns after which an episode is cut; 30 as in EasyRL4Rec.
    pub horizon: usize,
    /// Items a user remembers; 7 as EasyRL4Rec has it for MovieLens-1M and Coat.
    pub window: usize,
    /// Which items the window holds early in an episode: `last`, or `easyrl4rec` with its slice quirk.
    pub window_kind: WindowRule,
    /// What makes two items feel alike. Only without the input `distances`, which brings its own.
    pub distance: DistanceBy,
    /// When two items feel alike; `closest_share: 0.02` where absent. Only without the input `distances`, which brings its own.
    pub similar: Option<Similar>,
    /// Users leave at a reward below this; off by default.
    pub low_reward: Option<f64>,
    /// Users leave at an item of which a category was shown more often than this in the window; off by default. 1 in
    /// EasyRL4Rec's KuaiRec, 0 in its KuaiRand. Categories are the genres of the catalogue, so one without any is refused. This
    /// audience's own also where `distances` brings the distances and their threshold.
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

impl Default for UserSimulator {
    fn default() -> Self {
        Self {
            horizon: 30,
            window: 7,
            window_kind: WindowRule::Last,
            distance: DistanceBy::Columns,
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

impl UserSimulator {
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
            Some(Similar::EuclideanBelow(_)) if self.distance != DistanceBy::Columns => wrong(
                "similar.euclidean_below",
                "only distances of `columns` are Euclidean; take `below` or `closest_share`",
            ),
            _ => Ok(()),
        }
    }

    /// What has no place beside another world's distances.
    pub fn requirements(&self) -> Vec<Requirement> {
        let alone = |setting| Requirement {
            setting,
            port: "distances",
            connected: false,
            why: "distances come with a threshold of their own".to_owned(),
            help: "leave out one of the two",
        };
        let similar = self.similar.is_some().then(|| alone("audience.similar"));
        let distance = (self.distance != DistanceBy::Columns).then(|| alone("audience.distance"));
        similar.into_iter().chain(distance).collect()
    }

    /// Completes `reward [U, I]` of `users` and `items` to a world; item distances and their threshold are those of `shared`, if
    /// given.
    pub fn complete(
        &self,
        shared: Option<&World>,
        items: &Items,
        users: &Users,
        reward: Array,
        cx: &Context,
    ) -> Result<World> {
        ensure!(
            reward.data.iter().all(|x| x.is_finite()),
            "the fitted rewards are not all finite; lower learning_rate"
        );
        let ids = Ids::of(items, users);
        let users = reward.shape[0];
        let (distance, distances) = match shared {
            Some(_) if self.distance != DistanceBy::Columns => {
                bail!("`audience.distance` is set, but `distances` brings its own\nhelp: leave out one of the two")
            }
            // What a lender has from the catalogue anyone could have.
            Some(world) if world.distances == DistancesFrom::Catalogue => {
                (world.distance.clone(), DistancesFrom::Catalogue)
            }
            Some(world) => (world.distance.clone(), DistancesFrom::Shared { digest: world.distances_digest() }),
            None => (self.distance.distances(items, &reward, cx)?, self.distance.from()),
        };
        ensure!(
            distance.shape[0] == reward.shape[1],
            "the shared distances are of another catalogue: of {} items, and this world has {}\nhelp: connect `distances` to a \
             world of the same `items`",
            distance.shape[0],
            reward.shape[1]
        );
        ensure!(
            self.repeats == Repeats::Allowed || self.horizon < reward.shape[1],
            "a catalogue of {} items cannot fill {} turns without a repeat and leave a choice\nhelp: lower \
             `audience.horizon`, or take `repeats: allowed`",
            reward.shape[1],
            self.horizon
        );
        let categories = categories(items);
        ensure!(
            self.category_above.is_none() || categories.is_some(),
            "`audience.category_above` is set, but no item has a category\nhelp: name the catalogue's column of genres where \
             the log is read, or leave `category_above` out"
        );
        let similar_below = match (shared, self.similar) {
            (Some(_), Some(_)) => bail!(
                "`audience.similar` is set, but `distances` brings its own threshold\nhelp: leave out one of the two"
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
        let (user_vectors, item_vectors) = factorize(&reward, self.vectors, cx)?;
        let rules = QuitRules {
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
        let (deviation, stated, bonus) = (None, None, None);
        Ok(World {
            reward,
            distance,
            user_vectors,
            item_vectors,
            deviation,
            stated,
            bonus,
            categories,
            rules,
            distances,
            ids,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cx() -> Context {
        Context::detached(std::path::Path::new("unused"))
    }

    #[test]
    fn distances_threshold_and_vectors_of_a_small_matrix() {
        // Items 0 and 1 are alike; item 2 is the opposite.
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let audience =
            UserSimulator { vectors: 2, similar: Some(Similar::ClosestShare(0.4)), ..UserSimulator::default() };
        let world = audience.complete(None, &Items::default(), &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(world.distance.data, [0.0, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0, 4.0, 0.0]);
        assert_eq!(world.rules.similar_below, Some(4.0));
        assert!(world.too_similar(1, &[0]) && !world.too_similar(2, &[0]) && world.too_similar(2, &[2]));
        for (u, i) in [(0, 0), (0, 2), (1, 1), (1, 2)] {
            let product: f32 =
                world.user_vectors.row(u).iter().zip(world.item_vectors.row(i)).map(|(a, b)| a * b).sum();
            assert!((product + 3.0 - reward.row(u)[i]).abs() < 1e-4, "({u}, {i}): {product}");
        }
    }

    #[test]
    fn shared_distances_bring_their_threshold_and_no_other_is_taken() {
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let below = UserSimulator { vectors: 2, similar: Some(Similar::Below(0.5)), ..UserSimulator::default() };
        let shared = below.complete(None, &Items::default(), &Users::default(), reward.clone(), &cx()).unwrap();
        let other = UserSimulator { vectors: 2, ..UserSimulator::default() };
        assert_eq!(
            other
                .complete(Some(&shared), &Items::default(), &Users::default(), reward.clone(), &cx())
                .unwrap()
                .rules
                .similar_below,
            Some(0.5)
        );
        let fewer = Array::new(&[2, 2], vec![5.0, 5.0, 1.0, 1.0]);
        let error =
            other.complete(Some(&shared), &Items::default(), &Users::default(), fewer, &cx()).unwrap_err().to_string();
        assert!(error.contains("of another catalogue: of 3 items, and this world has 2\nhelp: connect"), "{error}");
        let error =
            below.complete(Some(&shared), &Items::default(), &Users::default(), reward, &cx()).unwrap_err().to_string();
        assert!(error.contains("`audience.similar` is set, but `distances` brings its own"), "{error}");
    }

    #[test]
    fn a_euclidean_threshold_is_strict() {
        // Items 0 and 1 are √(3² + 4²) = 5 apart.
        let reward = Array::new(&[2, 2], vec![1.0, 4.0, 5.0, 1.0]);
        let conflicts = |threshold: f64| {
            let similar = Some(Similar::EuclideanBelow(threshold));
            let audience = UserSimulator { vectors: 2, similar, ..UserSimulator::default() };
            audience
                .complete(None, &Items::default(), &Users::default(), reward.clone(), &cx())
                .unwrap()
                .too_similar(0, &[1])
        };
        assert!(!conflicts(4.99) && !conflicts(5.0) && conflicts(5.01));
    }

    #[test]
    fn a_world_remembers_whose_distances_it_has() {
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let genres = ["a", "b", "b"].map(|name| vec![name.to_owned()]).to_vec();
        let items = Items { genres, id: vec![String::new(); 3], ..Items::default() };
        let similar = Some(Similar::Below(0.5));
        let audience = UserSimulator { vectors: 2, distance: DistanceBy::Genres, similar, ..UserSimulator::default() };
        let own = audience.complete(None, &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(own.distances, DistancesFrom::Catalogue);
        assert_eq!(own.categories.as_ref().unwrap().data, [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert!(own.too_similar(1, &[2]) && !own.too_similar(1, &[0]));
        let sharing = UserSimulator { vectors: 2, ..UserSimulator::default() };
        let shared = sharing.complete(Some(&own), &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(shared.distances, DistancesFrom::Catalogue, "what anyone could have is not lent");
        let columns = sharing.complete(None, &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(columns.distances, DistancesFrom::Own);
        let shared = sharing.complete(Some(&columns), &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(shared.distances, DistancesFrom::Shared { digest: columns.distances_digest() });
        assert_eq!(shared.distances_digest(), columns.distances_digest());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world");
        pipeline::Artifact::write(&shared, &path).unwrap();
        assert_eq!(<World as pipeline::Artifact>::read(&path).unwrap(), shared);
        let error = audience.complete(Some(&own), &items, &Users::default(), reward, &cx()).unwrap_err().to_string();
        assert!(error.starts_with("`audience.distance` is set, but `distances` brings its own"), "{error}");
    }

    #[test]
    fn a_horizon_that_a_catalogue_cannot_fill_without_repeats_is_refused() {
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let complete = |horizon: usize, repeats: Repeats| {
            let audience = UserSimulator { vectors: 2, horizon, repeats, ..UserSimulator::default() };
            audience
                .complete(None, &Items::default(), &Users::default(), reward.clone(), &cx())
                .map(|world| world.rules.repeats)
        };
        for repeats in [Repeats::Masked, Repeats::MaskedExactRounds] {
            assert_eq!(complete(2, repeats).unwrap(), repeats);
            let error = complete(3, repeats).unwrap_err().to_string();
            assert!(
                error.starts_with("a catalogue of 3 items cannot fill 3 turns") && error.contains("help: "),
                "{error}"
            );
        }
        assert!(complete(30, Repeats::Allowed).is_ok());
    }

    #[test]
    fn a_rule_of_categories_needs_some_and_is_the_audiences_own() {
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let genres = ["a", "b", "b"].map(|name| vec![name.to_owned()]).to_vec();
        let items = Items { genres, id: vec![String::new(); 3], ..Items::default() };
        let audience = |category_above| UserSimulator { vectors: 2, category_above, ..UserSimulator::default() };
        let error = audience(Some(0))
            .complete(None, &Items::default(), &Users::default(), reward.clone(), &cx())
            .unwrap_err()
            .to_string();
        assert!(error.contains("no item has a category\nhelp: name the catalogue's column"), "{error}");
        let judge = audience(Some(0)).complete(None, &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert!(judge.too_much_of_a_category(1, &[2]) && !judge.too_much_of_a_category(1, &[0]));
        let sharing = |above| {
            audience(above)
                .complete(Some(&judge), &items, &Users::default(), reward.clone(), &cx())
                .unwrap()
                .rules
                .category_above
        };
        assert_eq!((sharing(None), sharing(Some(1))), (None, Some(1)));
    }

    #[test]
    fn a_euclidean_threshold_is_for_columns_only() {
        let similar = Some(Similar::EuclideanBelow(6.0));
        let audience = UserSimulator { similar, distance: DistanceBy::Text, ..UserSimulator::default() };
        assert_eq!(audience.check().unwrap_err().0, "audience.similar.euclidean_below");
    }

    #[test]
    fn a_share_outside_its_range_is_refused() {
        let audience = UserSimulator { similar: Some(Similar::ClosestShare(1.5)), ..UserSimulator::default() };
        assert_eq!(audience.check().unwrap_err().0, "audience.similar.closest_share");
    }
}
