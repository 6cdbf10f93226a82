//! A world: the expected reward of each user and item, item distances, and the quit rules of simulated users.

mod file;
mod quit_rules;

use std::borrow::Cow;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::cached::Cached;
use super::distances::Distances;
use super::diversity_penalty::DiversityPenalty;
use super::items::{Items, ONE_NUMBERING};
use super::rewards::Rewards;
use super::session_bonus::SessionBonus;
use super::similar_items::SimilarItems;
use super::tensors::Array;
use super::{Ids, ItemFeatures, array_hash};
pub use quit_rules::{QuitRules, Repeats, RewardTiming, WindowRule};

/// The largest catalogue whose items are all asked at a turn.
const LISTED: usize = 16_384;

/// Where a world's item distances come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DistancesFrom {
    /// From the columns of its own rewards: they depend on the preferences of its users.
    #[default]
    Own,
    /// From the catalogue, its genres or titles: no privileged information.
    Catalogue,
    /// From the rewards of another world. A policy that is trained with the distances of the evaluation world is privileged, as
    /// the published learners are.
    Shared {
        /// [`World::distances_digest`] of the world they were taken from.
        digest: String,
    },
}

/// safetensors: `reward [U, I]` on the log's rating scale, or the factors of models whose mean it is (`factors.K.users [U, W]` and
/// `factors.K.items [I, W]`, and in the metadata the range that each product is clamped to); `distance [I, I]` or what it is computed
/// from, `user_vectors [U, D]` and
/// `item_vectors [I, D]` (the model's own factors, for policies that start from what the world knows), the quit rules, and
/// where the distances come from; where they are known also `ensemble_std [U, I]`, `predicted_std [U, I]`, `bonus [I + 1, I + 1]` (or,
/// in large catalogues, `bonus_after_one [I + 1]` and `bonus_after_two [P]` of the pairs `bonus_pairs [P, 2]` that a log has),
/// `categories [I, C]`, the penalty of similar items, and the declared columns of the items (`item_feature_ids [I, S]`,
/// `item_feature_weights [I, S]`, see [`ItemFeatures`]); and the [`Ids`] of its users and items.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Expected reward of user × item.
    rewards: Rewards,
    /// BLAKE3 of them, to which what else is paid is added.
    rewards_hash: Cached<blake3::Hasher>,
    /// Distance of item × item.
    distance: Distances,
    distances_digest: Cached<String>,
    similar_items: SimilarItems,
    /// One vector a user, `[U, D]`.
    pub user_vectors: Array,
    /// One vector an item, `[I, D]`.
    pub item_vectors: Array,
    /// Standard deviation of the ensemble's predictions: √(Σ_k (r_k − r̄)² / K), `[U, I]`, in units of the rating. It measures
    /// epistemic uncertainty, not the variance of a user's ratings. Only of fitted worlds with several models.
    pub ensemble_std: Option<Array>,
    /// The largest standard deviation that a model predicts, √max_k σ²_k, `[U, I]`, in units of the rating. It includes the
    /// variance of the ratings. Only of worlds whose models predict one.
    pub predicted_std: Option<Array>,
    /// A reward that depends on the last two items alone and is added to the reward; the sum is never below 0. Only of worlds with an entropy term (DORL).
    pub bonus: Option<SessionBonus>,
    /// What is taken from the reward of an item that is similar to those shown before. Only of worlds with such a term (R3S).
    pub diversity_penalty: Option<DiversityPenalty>,
    /// Which categories each item belongs to, 1 or 0, `[I, C]`. Only where the catalogue names some.
    pub categories: Option<Array>,
    /// The declared columns of the items, as the world was fitted with them; for the encoders of policies.
    pub item_features: Option<ItemFeatures>,
    /// The quit rules.
    pub rules: QuitRules,
    /// Where the distances come from.
    pub distances: DistancesFrom,
    /// What its rows stand for.
    pub ids: Ids,
}

impl World {
    /// Refuses a catalogue that is not this world's, as far as their sizes tell.
    ///
    /// # Errors
    /// With both sizes, where they differ.
    pub fn check_catalogue(&self, items: &Items) -> Result<()> {
        ensure!(
            items.len() == self.items(),
            "the catalogue at `items` has {} items, the world {}\n{ONE_NUMBERING}",
            items.len(),
            self.items()
        );
        Ok(())
    }

    /// Users who pay `rewards` and quit by `rules`, and items that are `distance` apart, their own; with vectors of users `[U, D]`
    /// and of items `[I, D]`. Nothing else is known of it.
    #[must_use]
    pub fn new(
        rewards: impl Into<Rewards>,
        distance: impl Into<Distances>,
        [user_vectors, item_vectors]: [Array; 2],
        rules: QuitRules,
    ) -> Self {
        Self {
            rewards: rewards.into(),
            rewards_hash: Cached::default(),
            distance: distance.into(),
            distances_digest: Cached::default(),
            similar_items: SimilarItems::default(),
            user_vectors,
            item_vectors,
            ensemble_std: None,
            predicted_std: None,
            bonus: None,
            diversity_penalty: None,
            categories: None,
            item_features: None,
            rules,
            distances: DistancesFrom::Own,
            ids: Ids::default(),
        }
    }

    /// Number of users U.
    #[must_use]
    pub fn users(&self) -> usize {
        self.rewards.users()
    }
    /// Number of items I.
    #[must_use]
    pub fn items(&self) -> usize {
        self.rewards.items()
    }
    /// The expected rewards.
    #[must_use]
    pub fn rewards(&self) -> &Rewards {
        &self.rewards
    }
    /// Replaces the expected rewards; items are as far apart as before.
    pub fn set_rewards(&mut self, rewards: impl Into<Rewards>) {
        let before = std::mem::replace(&mut self.rewards, rewards.into());
        self.distance.keep(|| before);
        self.rewards_hash = Cached::default();
    }
    /// The expected reward of `item` for a user, whatever was shown before.
    #[must_use]
    pub fn reward(&self, user: u32, item: u32) -> f32 {
        self.rewards.of(user, item)
    }
    /// The expected rewards of all items for a user, `[I]`.
    #[must_use]
    pub fn rewards_of(&self, user: u32) -> Cow<'_, [f32]> {
        self.rewards.row(user)
    }
    /// The distance of two items; 0 of an item to itself.
    #[must_use]
    pub fn distance(&self, item: u32, other: u32) -> f32 {
        self.distance.between(&self.rewards, item, other)
    }
    /// How far the items are from each other.
    #[must_use]
    pub fn item_distances(&self) -> &Distances {
        &self.distance
    }
    /// The same, for a world with other rewards.
    #[must_use]
    pub fn lent_distances(&self) -> Distances {
        let mut lent = self.distance.clone();
        lent.keep(|| self.rewards.clone());
        lent
    }
    /// BLAKE3 of the users' and items' vectors, in hex: what was learned on other vectors means nothing on these.
    #[must_use]
    pub fn vectors_digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        [&self.user_vectors, &self.item_vectors].into_iter().for_each(|array| array_hash::update(&mut hasher, array));
        array_hash::hex(&hasher)
    }
    /// The reward of `item` for a user who was shown these items, oldest first.
    #[must_use]
    pub fn reward_for(&self, user: u32, item: u32, shown: &[u32]) -> f32 {
        let mut reward = self.reward(user, item);
        if let Some(penalty) = &self.diversity_penalty {
            reward -= penalty.of(shown, |other| self.distance(item, other));
        }
        let Some(bonus) = &self.bonus else { return reward };
        let none = self.items();
        let back = |steps: usize| shown.len().checked_sub(steps).map_or(none, |at| shown[at] as usize);
        (reward + bonus.of(back(1), back(2))).max(0.0)
    }
    /// BLAKE3 of the rewards, in hex: worlds with equal rewards are the same evaluation world.
    #[must_use]
    pub fn rewards_digest(&self) -> String {
        let rewards = self.rewards_hash.get_or_compute(|| {
            let mut hasher = blake3::Hasher::new();
            self.rewards.hash_into(&mut hasher);
            hasher
        });
        let penalty = self.diversity_penalty.as_ref().map(|penalty| {
            let DiversityPenalty { local, global, decay, reach } = *penalty;
            Array::new(&[4], vec![local, global, decay, reach])
        });
        let mut hasher = rewards.clone();
        self.bonus.iter().for_each(|bonus| bonus.hash_into(&mut hasher));
        penalty.iter().for_each(|array| array_hash::update(&mut hasher, array));
        array_hash::hex(&hasher)
    }
    /// BLAKE3 of the item distances, in hex: in worlds with equal distances the same items are similar.
    #[must_use]
    pub fn distances_digest(&self) -> String {
        let digest = self.distances_digest.get_or_compute(|| {
            let mut hasher = blake3::Hasher::new();
            self.distance.hash_into(&self.rewards, &mut hasher);
            array_hash::hex(&hasher)
        });
        digest.clone()
    }
    /// Whether a user can quit before the horizon, under any rule.
    #[must_use]
    pub fn users_may_quit(&self) -> bool {
        let rules = &self.rules;
        let by_category = rules.max_same_category.is_some() && self.categories.is_some();
        let by_any = rules.distance_threshold.is_some() || rules.quit_below.is_some() || by_category;
        by_any && rules.repeats != Repeats::MaskedFixedLength && rules.min_turns < rules.horizon
    }
    /// Whether `item` is too similar to one of `recent` under the `similar` rule.
    #[must_use]
    pub fn too_similar(&self, item: u32, recent: &[u32]) -> bool {
        let Some(threshold) = self.rules.distance_threshold else { return false };
        self.distance.any_below(&self.rewards, item, recent, threshold)
    }
    /// Whether the items at which a user does not quit are listed at each turn by those who ask for all of them. Of large catalogues, and
    /// where every distance takes a while, they are looked for instead.
    #[must_use]
    pub fn lists_free_items(&self) -> bool {
        let cheap = self.rules.distance_threshold.is_none() || self.distance.rows_are_cheap(&self.rewards);
        self.items() <= LISTED && cheap
    }
    /// The items that are too similar to any of `recent` under the `similar` rule, as bits by their numbers, `[⌈I/64⌉]`; none without the
    /// rule, and where rows of distances are not computed.
    #[must_use]
    pub fn similar_to_any(&self, recent: &[u32]) -> Option<Vec<u64>> {
        let threshold = self.rules.distance_threshold?;
        if !self.lists_free_items() {
            return None;
        }
        let items = self.items();
        let mut bits = vec![0; items.div_ceil(64)];
        for &item in recent {
            let row = || self.distance.below(&self.rewards, item, threshold);
            self.similar_items.add(&mut bits, item, items, threshold, row);
        }
        Some(bits)
    }
    /// Whether a category of `item` occurs too often in `recent` under the `category` rule.
    #[must_use]
    pub fn too_much_of_a_category(&self, item: u32, recent: &[u32]) -> bool {
        let (Some(most), Some(categories)) = (self.rules.max_same_category, &self.categories) else { return false };
        let own = categories.row(item as usize).iter().enumerate().filter(|&(_, &x)| x > 0.0);
        own.into_iter().any(|(c, _)| {
            let times = recent.iter().filter(|&&h| categories.row(h as usize)[c] > 0.0).count();
            times > most as usize
        })
    }
}

/// For tests, which change what is stored.
#[cfg(test)]
impl World {
    /// The stored rewards, `[U, I]`.
    pub(crate) fn rewards_mut(&mut self) -> &mut Array {
        self.rewards_hash = Cached::default();
        let Rewards::Dense(stored) = &mut self.rewards else { panic!("the rewards are not stored") };
        stored
    }
    /// The stored rewards, user by user.
    pub(crate) fn stored_rewards(&self) -> &[f32] {
        let Rewards::Dense(stored) = &self.rewards else { panic!("the rewards are not stored") };
        &stored.data
    }
    /// The stored distances, `[I, I]`.
    pub(crate) fn distances_mut(&mut self) -> &mut Array {
        self.distances_digest = Cached::default();
        self.similar_items = SimilarItems::default();
        let Distances::Table(table) = &mut self.distance else { unreachable!("it stores its distances") };
        std::sync::Arc::make_mut(table)
    }
}
