//! The user simulator: completes a reward matrix to a world with quit rules, item distances and embeddings for policies.

use anyhow::{Result, bail, ensure};
use pipeline::{Context, Requirement};
use rand::seq::index::sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::distance::{DistanceBy, DistanceForm, QuitSimilarity, USUAL, categories};
use super::factorization::factorize;
use super::threshold::{PairDistances, report_similar_pairs};
use crate::artifact::{
    DistancesFrom, Ids, ItemVectors, Items, QuitRules, Repeats, RewardTiming, Rewards, Users, WindowRule, World,
};
use crate::nn::rng;

/// How simulated users behave and when they quit. An episode ends, in this order, at a low reward (`quit_below`), at an item that
/// is too similar to one in the quit window (`quit_similarity`), at a category that was shown too often (`max_same_category`), or
/// at the `horizon`. The published protocols are settings of it:
///
/// - EasyRL4Rec and DORL, all with `window_rule: easyrl4rec` and `horizon: 30`: Coat `quit_window: 7, quit_similarity:
///   { euclidean_threshold: 6 }`; MovieLens-1M `quit_window: 7, quit_similarity: { euclidean_threshold: 75 }`; Yahoo
///   `quit_window: 3, quit_similarity: { euclidean_threshold: 120 }`; KuaiRec `quit_window: 9, quit_similarity: off,
///   max_same_category: 1`; KuaiRand `quit_window: 10, quit_similarity: off, max_same_category: 0`. Repeats: FB is `allowed`,
///   NX_0 is `masked`, NX_10 is `masked_fixed_length` with `horizon: 10`.
/// - IL-Rec: `horizon: 100, quit_window: 4, quit_below: 2` and a threshold of 50 (Steam) or 15 (Amazon). The paper does not say
///   which distance the threshold is of; `euclidean_threshold`, as in EasyRL4Rec, is our reading.
/// - BiLLP: as IL-Rec with `min_turns: 1, quit_penalty: -1000` and `horizon: 50` (70 in its test on Steam).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserSimulator {
    /// Maximum number of turns of an episode; 30 as in EasyRL4Rec.
    pub horizon: usize,
    /// Number of recent items that the quit rules compare with; 7 as in EasyRL4Rec for MovieLens-1M and Coat.
    pub quit_window: usize,
    /// Which items the quit window holds early in an episode: `last`, or `easyrl4rec` with its negative slice start.
    pub window_rule: WindowRule,
    /// The distance between items. Only without the input `distances`, which brings its own.
    pub distance: DistanceBy,
    /// Whether the distances of all pairs of items are stored, or computed when they are asked for. Only without the input `distances`.
    #[serde(skip_serializing_if = "DistanceForm::is_auto")]
    pub distance_form: DistanceForm,
    /// Number of users whose rewards are compared by `distance: rating_columns`, a random sample that is part of the definition; all
    /// without. Of a million users 4096 are enough: they make a pair's distance uncertain by about 1 %. Only without the input `distances`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_users: Option<usize>,
    /// When two items count as similar; `similar_fraction: 0.02` by default. Only without the input `distances`, which brings its own.
    pub quit_similarity: Option<QuitSimilarity>,
    /// Users quit at a reward below this; off by default.
    pub quit_below: Option<f64>,
    /// Users quit at an item if one of its categories occurs more often than this in the quit window; off by default. 1 in
    /// EasyRL4Rec's KuaiRec, 0 in its KuaiRand. Categories are the genres of the catalogue; a catalogue without genres is refused.
    /// The rule uses this simulator's value also where `distances` supplies the distances and their threshold.
    pub max_same_category: Option<u32>,
    /// Number of first turns at which no user quits: 0 as in IL-Rec, 1 as in BiLLP.
    pub min_turns: usize,
    /// The training reward of the step at which a user quits, in place of its reward; −1000 in BiLLP. Metrics never contain it.
    /// Off by default.
    pub quit_penalty: Option<f64>,
    /// Whether items may be recommended again: `allowed`, `masked`, or `masked_fixed_length`, where no user quits and every
    /// episode lasts `horizon` turns. EasyRL4Rec calls them FB, NX_0 and NX_10 (at a horizon of 10).
    pub repeats: Repeats,
    /// When learners are paid: at `each_step`, or at `session_end` the sum of the session's rewards, a sparse reward. Evaluation never
    /// depends on it.
    #[serde(skip_serializing_if = "RewardTiming::is_each_step")]
    pub training_reward: RewardTiming,
    /// Dimension of the user and item embeddings that policies are initialised with: a factorisation of the completed matrix.
    pub embedding_dim: usize,
}

impl Default for UserSimulator {
    fn default() -> Self {
        Self {
            horizon: 30,
            quit_window: 7,
            window_rule: WindowRule::Last,
            distance: DistanceBy::RatingColumns,
            distance_form: DistanceForm::Auto,
            distance_users: None,
            quit_similarity: None,
            quit_below: None,
            max_same_category: None,
            min_turns: 0,
            quit_penalty: None,
            repeats: Repeats::Allowed,
            training_reward: RewardTiming::EachStep,
            embedding_dim: 16,
        }
    }
}

impl UserSimulator {
    /// What no type can say.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((format!("simulator.{path}"), message.to_owned()));
        if self.horizon == 0 {
            return wrong("horizon", "an episode has at least one turn");
        }
        if self.embedding_dim == 0 {
            return wrong("embedding_dim", "an embedding has at least one number");
        }
        if self.quit_below.is_some_and(|x| !x.is_finite()) {
            return wrong("quit_below", "a reward is a finite number");
        }
        if self.quit_penalty.is_some_and(|x| !x.is_finite()) {
            return wrong("quit_penalty", "a reward is a finite number");
        }
        if self.distance_users == Some(0) {
            return wrong("distance_users", "a distance of rewards needs at least one user");
        }
        if self.distance_users.is_some() && self.distance != DistanceBy::RatingColumns {
            return wrong("distance_users", "only distances of `rating_columns` are of users; leave it out");
        }
        match self.quit_similarity {
            Some(QuitSimilarity::SimilarFraction(share)) if !(share > 0.0 && share < 1.0) => {
                wrong("quit_similarity.similar_fraction", "a share of pairs lies between 0 and 1, both excluded")
            }
            Some(QuitSimilarity::EuclideanThreshold(_)) if self.distance != DistanceBy::RatingColumns => wrong(
                "quit_similarity.euclidean_threshold",
                "only distances of `rating_columns` are Euclidean; take `threshold` or `similar_fraction`",
            ),
            _ => Ok(()),
        }
    }

    /// What has no place beside another world's distances, and where vectors of items are wanted; a family that
    /// `learns_from_vectors` takes them with any distance.
    pub fn requirements(&self, learns_from_vectors: bool) -> Vec<Requirement> {
        let alone = |setting| Requirement {
            setting,
            port: "distances",
            connected: false,
            why: "distances come with a threshold of their own".to_owned(),
            help: "leave out one of the two",
        };
        let quit_similarity = self.quit_similarity.is_some().then(|| alone("simulator.quit_similarity"));
        let distance = (self.distance != DistanceBy::RatingColumns).then(|| alone("simulator.distance"));
        let form = (!self.distance_form.is_auto()).then(|| alone("simulator.distance_form"));
        let some_users = self.distance_users.is_some().then(|| alone("simulator.distance_users"));
        let by_vectors = self.distance == DistanceBy::ItemVectors;
        let vectors = (by_vectors || !learns_from_vectors).then(|| Requirement {
            setting: "simulator.distance",
            port: "item_vectors",
            connected: by_vectors,
            why: match by_vectors {
                true => "items are compared by their vectors".to_owned(),
                false => "this world reads vectors of items for `simulator.distance: item_vectors` alone".to_owned(),
            },
            help: match by_vectors {
                true => "connect the `item_vectors` of an `embed` stage, or take another distance",
                false => "set `simulator.distance: item_vectors`, or leave the input out",
            },
        });
        [quit_similarity, distance, form, some_users, vectors].into_iter().flatten().collect()
    }

    /// Completes the rewards of `users` and `items` to a world; item distances and their threshold are those of `shared`, if
    /// given, and `vectors` are those of the items, where they are connected.
    pub fn complete(
        &self,
        shared: Option<&World>,
        vectors: Option<&ItemVectors>,
        items: &Items,
        users: &Users,
        rewards: impl Into<Rewards>,
        cx: &Context,
    ) -> Result<World> {
        let rewards = rewards.into();
        ensure!(rewards.is_finite(), "the fitted rewards are not all finite; lower `optimizer.learning_rate`");
        let ids = Ids::of(items, users);
        let users = rewards.users();
        let (distance, distances) = match shared {
            Some(_) if self.distance != DistanceBy::RatingColumns => {
                bail!("`simulator.distance` is set, but `distances` brings its own\nhelp: leave out one of the two")
            }
            // What a lender has from the catalogue anyone could have.
            Some(world) if world.distances == DistancesFrom::Catalogue => {
                (world.lent_distances(), DistancesFrom::Catalogue)
            }
            Some(world) => (world.lent_distances(), DistancesFrom::Shared { digest: world.distances_digest() }),
            None => {
                let definition = self.distance.distances(items, vectors, &rewards, self.compared_users(users))?;
                (self.distance_form.of(definition, &rewards, cx)?, self.distance.from())
            }
        };
        ensure!(
            distance.items(&rewards) == rewards.items(),
            "the shared distances are of another catalogue: of {} items, and this world has {}\nhelp: connect `distances` to a \
             world of the same `items`",
            distance.items(&rewards),
            rewards.items()
        );
        ensure!(
            self.repeats == Repeats::Allowed || self.horizon < rewards.items(),
            "a catalogue of {} items cannot fill {} turns without a repeat and leave a choice\nhelp: lower \
             `simulator.horizon`, or take `repeats: allowed`",
            rewards.items(),
            self.horizon
        );
        let categories = categories(items);
        ensure!(
            self.max_same_category.is_none() || categories.is_some(),
            "`simulator.max_same_category` is set, but no item has a category\nhelp: name the catalogue's column of genres where \
             the log is read, or leave `max_same_category` out"
        );
        // Of distances that are not stored they cost much: the share and the report read the same.
        let mut pairs = None;
        let distance_threshold = match (shared, self.quit_similarity) {
            (Some(_), Some(_)) => bail!(
                "`simulator.quit_similarity` is set, but `distances` brings its own threshold\nhelp: leave out one of the two"
            ),
            (Some(world), None) => world.rules.distance_threshold,
            (None, similar) => match similar.unwrap_or(USUAL) {
                QuitSimilarity::SimilarFraction(share) => {
                    Some(similar_share(share, pairs.insert(PairDistances::of(&distance, &rewards, cx)?), cx))
                }
                QuitSimilarity::Threshold(threshold) => Some(threshold as f32),
                // Rounded like the distances themselves, so that a distance of just the threshold is not below it.
                QuitSimilarity::EuclideanThreshold(threshold) => {
                    Some((threshold * threshold / users as f64).sqrt() as f32)
                }
                QuitSimilarity::Off => None,
            },
        };
        if let Some(below) = distance_threshold {
            let pairs = pairs.map_or_else(|| PairDistances::of(&distance, &rewards, cx), Ok)?;
            report_similar_pairs(&pairs, below, cx);
        }
        let (user_vectors, item_vectors) = factorize(&rewards, self.embedding_dim, cx)?;
        let rules = QuitRules {
            horizon: self.horizon,
            quit_window: self.quit_window,
            window_rule: self.window_rule,
            distance_threshold,
            quit_below: self.quit_below.map(|x| x as f32),
            max_same_category: self.max_same_category,
            min_turns: self.min_turns,
            quit_penalty: self.quit_penalty.map(|x| x as f32),
            repeats: self.repeats,
            training_reward: self.training_reward,
        };
        let mut world = World::new(rewards, distance, [user_vectors, item_vectors], rules);
        (world.categories, world.distances, world.ids) = (categories, distances, ids);
        Ok(world)
    }

    /// The users whose rewards are compared, rising, where not all of these are.
    fn compared_users(&self, users: usize) -> Option<Vec<u32>> {
        let count = self.distance_users.filter(|&count| count < users)?;
        let mut drawn: Vec<u32> =
            sample(&mut rng(&[0xd15_7a2c, users as u64]), users, count).into_iter().map(|user| user as u32).collect();
        drawn.sort_unstable();
        Some(drawn)
    }
}

/// The distance below which that share of the pairs lies; notes where it is that of a sample, or of the pairs that are not at 0.
fn similar_share(share: f64, pairs: &PairDistances, cx: &Context) -> f32 {
    let (threshold, left_out) = pairs.closest(share);
    let mut said = format!("those less than {threshold} apart, as the closest {share} of {}", pairs.said());
    if left_out > 0 && threshold > 0.0 {
        said += &format!(", and {left_out} more at 0, such as of two items of which nothing is known");
    }
    if left_out > 0 || matches!(pairs, PairDistances::Drawn(..)) {
        cx.note("similar items", said);
    }
    threshold
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;

    fn cx() -> Context {
        Context::detached(std::path::Path::new("unused"))
    }

    #[test]
    fn distances_threshold_and_vectors_of_a_small_matrix() {
        // Items 0 and 1 are alike; item 2 is the opposite.
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let simulator = UserSimulator {
            embedding_dim: 2,
            quit_similarity: Some(QuitSimilarity::SimilarFraction(0.4)),
            ..UserSimulator::default()
        };
        let world =
            simulator.complete(None, None, &Items::default(), &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(world.item_distances().table().unwrap().data, [0.0, 0.0, 4.0, 0.0, 0.0, 4.0, 4.0, 4.0, 0.0]);
        assert_eq!(world.rules.distance_threshold, Some(4.0));
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
        let below = UserSimulator {
            embedding_dim: 2,
            quit_similarity: Some(QuitSimilarity::Threshold(0.5)),
            ..UserSimulator::default()
        };
        let shared = below.complete(None, None, &Items::default(), &Users::default(), reward.clone(), &cx()).unwrap();
        let other = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
        assert_eq!(
            other
                .complete(Some(&shared), None, &Items::default(), &Users::default(), reward.clone(), &cx())
                .unwrap()
                .rules
                .distance_threshold,
            Some(0.5)
        );
        let fewer = Array::new(&[2, 2], vec![5.0, 5.0, 1.0, 1.0]);
        let error = other
            .complete(Some(&shared), None, &Items::default(), &Users::default(), fewer, &cx())
            .unwrap_err()
            .to_string();
        assert!(error.contains("of another catalogue: of 3 items, and this world has 2\nhelp: connect"), "{error}");
        let error = below
            .complete(Some(&shared), None, &Items::default(), &Users::default(), reward, &cx())
            .unwrap_err()
            .to_string();
        assert!(error.contains("`simulator.quit_similarity` is set, but `distances` brings its own"), "{error}");
    }

    #[test]
    fn a_euclidean_threshold_is_strict() {
        // Items 0 and 1 are √(3² + 4²) = 5 apart.
        let reward = Array::new(&[2, 2], vec![1.0, 4.0, 5.0, 1.0]);
        let conflicts = |threshold: f64| {
            let quit_similarity = Some(QuitSimilarity::EuclideanThreshold(threshold));
            let simulator = UserSimulator { embedding_dim: 2, quit_similarity, ..UserSimulator::default() };
            simulator
                .complete(None, None, &Items::default(), &Users::default(), reward.clone(), &cx())
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
        let quit_similarity = Some(QuitSimilarity::Threshold(0.5));
        let simulator = UserSimulator {
            embedding_dim: 2,
            distance: DistanceBy::Genres,
            quit_similarity,
            ..UserSimulator::default()
        };
        let own = simulator.complete(None, None, &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(own.distances, DistancesFrom::Catalogue);
        assert_eq!(own.categories.as_ref().unwrap().data, [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert!(own.too_similar(1, &[2]) && !own.too_similar(1, &[0]));
        let sharing = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
        let shared = sharing.complete(Some(&own), None, &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(shared.distances, DistancesFrom::Catalogue, "what anyone could have is not lent");
        let columns = sharing.complete(None, None, &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(columns.distances, DistancesFrom::Own);
        let shared = sharing.complete(Some(&columns), None, &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert_eq!(shared.distances, DistancesFrom::Shared { digest: columns.distances_digest() });
        assert_eq!(shared.distances_digest(), columns.distances_digest());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world");
        pipeline::Artifact::write(&shared, &path).unwrap();
        assert_eq!(<World as pipeline::Artifact>::read(&path).unwrap(), shared);
        let error =
            simulator.complete(Some(&own), None, &items, &Users::default(), reward, &cx()).unwrap_err().to_string();
        assert!(error.starts_with("`simulator.distance` is set, but `distances` brings its own"), "{error}");
    }

    #[test]
    fn a_horizon_that_a_catalogue_cannot_fill_without_repeats_is_refused() {
        let reward = Array::new(&[2, 3], vec![5.0, 5.0, 1.0, 1.0, 1.0, 5.0]);
        let complete = |horizon: usize, repeats: Repeats| {
            let simulator = UserSimulator { embedding_dim: 2, horizon, repeats, ..UserSimulator::default() };
            simulator
                .complete(None, None, &Items::default(), &Users::default(), reward.clone(), &cx())
                .map(|world| world.rules.repeats)
        };
        for repeats in [Repeats::Masked, Repeats::MaskedFixedLength] {
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
        let simulator =
            |max_same_category| UserSimulator { embedding_dim: 2, max_same_category, ..UserSimulator::default() };
        let error = simulator(Some(0))
            .complete(None, None, &Items::default(), &Users::default(), reward.clone(), &cx())
            .unwrap_err()
            .to_string();
        assert!(error.contains("no item has a category\nhelp: name the catalogue's column"), "{error}");
        let judge = simulator(Some(0)).complete(None, None, &items, &Users::default(), reward.clone(), &cx()).unwrap();
        assert!(judge.too_much_of_a_category(1, &[2]) && !judge.too_much_of_a_category(1, &[0]));
        let sharing = |above| {
            simulator(above)
                .complete(Some(&judge), None, &items, &Users::default(), reward.clone(), &cx())
                .unwrap()
                .rules
                .max_same_category
        };
        assert_eq!((sharing(None), sharing(Some(1))), (None, Some(1)));
    }

    #[test]
    fn a_euclidean_threshold_is_for_columns_only() {
        let quit_similarity = Some(QuitSimilarity::EuclideanThreshold(6.0));
        let simulator = UserSimulator { quit_similarity, distance: DistanceBy::Text, ..UserSimulator::default() };
        assert_eq!(simulator.check().unwrap_err().0, "simulator.quit_similarity.euclidean_threshold");
    }

    #[test]
    fn a_share_outside_its_range_is_refused() {
        let simulator =
            UserSimulator { quit_similarity: Some(QuitSimilarity::SimilarFraction(1.5)), ..UserSimulator::default() };
        assert_eq!(simulator.check().unwrap_err().0, "simulator.quit_similarity.similar_fraction");
    }
}
