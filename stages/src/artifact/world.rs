//! A world: the expected reward of each user and item, item distances, and the quit rules of simulated users.

use std::path::Path;

use anyhow::{Result, ensure};
use pipeline::{Artifact, IdSpaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ids;
use super::demonstrations::Termination;
use super::diversity_penalty::DiversityPenalty;
use super::tensors::{Array, TensorFile};

/// Which recent items the quit window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowRule {
    /// The last `n` items.
    #[default]
    Last,
    /// As EasyRL4Rec and DORL compute it: for 0 < t < n the slice's negative start wraps, so the window is min(t, n − t).
    Easyrl4rec,
}

impl WindowRule {
    /// The length of the window after `t` items, for a quit window of `n`.
    #[must_use]
    pub fn length(self, t: usize, n: usize) -> usize {
        match self {
            Self::Last => t.min(n),
            Self::Easyrl4rec if t < n => t.min(n - t),
            Self::Easyrl4rec => n,
        }
    }
}

/// Whether an item may be recommended to a user again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Repeats {
    /// Yes (`FB` of EasyRL4Rec); the quit rules may punish it.
    #[default]
    Allowed,
    /// No: items that were shown are masked (`NX_0`).
    Masked,
    /// No, and no user quits: every episode lasts exactly `horizon` turns (`NX_10` at a horizon of 10).
    MaskedFixedLength,
}

/// When the training reward of a session is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RewardTiming {
    /// At each step.
    #[default]
    EachStep,
    /// At the last step, the sum of all: a sparse reward.
    SessionEnd,
}

impl RewardTiming {
    /// Whether it is paid at each step, which is left out of keys and files.
    #[must_use]
    pub fn is_each_step(&self) -> bool {
        *self == Self::EachStep
    }
}

/// When an episode ends (method: the quit rules of IL-Rec, BiLLP and EasyRL4Rec as settings of one rule). They are tried
/// in this order: low reward, similar, category, horizon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuitRules {
    /// Maximum number of turns; an episode that reaches it is `truncated`, not `terminal`.
    pub horizon: usize,
    /// Number of recent items that the `similar` and the `category` rule compare with.
    pub quit_window: usize,
    /// Which items the window holds early in an episode.
    pub window_rule: WindowRule,
    /// Quit at an item whose distance to one in the window is below this (strict); `None` turns the rule off.
    pub distance_threshold: Option<f32>,
    /// Quit when the reward is below this; `None` turns the rule off.
    pub quit_below: Option<f32>,
    /// Quit at an item if one of its categories occurs more often than this in the window; `None` turns the rule off.
    #[serde(default)]
    pub max_same_category: Option<u32>,
    /// Number of first turns at which no user quits: 0 in IL-Rec, 1 in BiLLP.
    #[serde(default)]
    pub min_turns: usize,
    /// The training reward of the step at which a user quits, in place of its reward (BiLLP: −1000). Metrics never contain it.
    #[serde(default)]
    pub quit_penalty: Option<f32>,
    /// Whether items may be recommended again.
    #[serde(default)]
    pub repeats: Repeats,
    /// When the training reward is paid. Metrics never depend on it.
    #[serde(default, skip_serializing_if = "RewardTiming::is_each_step")]
    pub training_reward: RewardTiming,
}

impl Default for QuitRules {
    /// No rule but a horizon of 30.
    fn default() -> Self {
        Self {
            horizon: 30,
            quit_window: 7,
            window_rule: WindowRule::Last,
            distance_threshold: None,
            quit_below: None,
            max_same_category: None,
            min_turns: 0,
            quit_penalty: None,
            repeats: Repeats::Allowed,
            training_reward: RewardTiming::EachStep,
        }
    }
}

impl QuitRules {
    /// The training rewards of an episode: if the user quit and there is a penalty, it replaces the last reward; then the sum may be paid
    /// at the end.
    #[must_use]
    pub fn training_rewards(&self, rewards: &[f32], end: Option<Termination>) -> Vec<f32> {
        let mut training_rewards = rewards.to_vec();
        if let (Some(penalty), Some(last), Some(end)) = (self.quit_penalty, training_rewards.last_mut(), end)
            && end.terminal()
        {
            *last = penalty;
        }
        if self.training_reward == RewardTiming::SessionEnd {
            let sum = training_rewards.iter().map(|&reward| f64::from(reward)).sum::<f64>() as f32;
            training_rewards.fill(0.0);
            training_rewards.last_mut().into_iter().for_each(|last| *last = sum);
        }
        training_rewards
    }
}

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

/// The description in a world's file.
#[derive(Serialize, Deserialize)]
struct About {
    rules: QuitRules,
    distances: DistancesFrom,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diversity_penalty: Option<DiversityPenalty>,
}

/// safetensors: `reward [U, I]` on the log's rating scale, `distance [I, I]`, `user_vectors [U, D]` and
/// `item_vectors [I, D]` (the model's own factors, for policies that start from what the world knows), the quit rules, and
/// where the distances come from; where they are known also `ensemble_std [U, I]`, `predicted_std [U, I]`, `bonus [I + 1, I + 1]`,
/// `categories [I, C]` and the penalty of similar items; and the [`Ids`] of its users and items.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// Expected reward of user × item, `[U, I]`.
    pub reward: Array,
    /// Distance of item × item, `[I, I]`, symmetric, zero on the diagonal.
    pub distance: Array,
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
    /// A reward that depends on the last two items alone and is added to `reward`, `[I + 1, I + 1]` by (the last item, the one
    /// before), I for none; the sum is never below 0. Only of worlds with an entropy term (DORL).
    pub bonus: Option<Array>,
    /// What is taken from the reward of an item that is similar to those shown before. Only of worlds with such a term (R3S).
    pub diversity_penalty: Option<DiversityPenalty>,
    /// Which categories each item belongs to, 1 or 0, `[I, C]`. Only where the catalogue names some.
    pub categories: Option<Array>,
    /// The quit rules.
    pub rules: QuitRules,
    /// Where `distance` comes from.
    pub distances: DistancesFrom,
    /// What its rows stand for.
    pub ids: Ids,
}

impl World {
    /// The rules of a world's file, without reading the world.
    ///
    /// # Errors
    /// When the file is no world, or is damaged at its beginning.
    pub fn rules_of(path: &Path) -> Result<QuitRules> {
        let About { rules, .. } = TensorFile::about_of(path, Self::KIND, Self::FORMAT)?;
        Ok(rules)
    }

    /// Number of users U.
    #[must_use]
    pub fn users(&self) -> usize {
        self.reward.shape[0]
    }
    /// Number of items I.
    #[must_use]
    pub fn items(&self) -> usize {
        self.reward.shape[1]
    }
    /// BLAKE3 of the users' and items' vectors, in hex: what was learned on other vectors means nothing on these.
    #[must_use]
    pub fn vectors_digest(&self) -> String {
        digest(&[&self.user_vectors, &self.item_vectors])
    }
    /// The reward of `item` for a user who was shown these items, oldest first.
    #[must_use]
    pub fn reward_for(&self, user: u32, item: u32, shown: &[u32]) -> f32 {
        let mut reward = self.reward.row(user as usize)[item as usize];
        if let Some(penalty) = &self.diversity_penalty {
            reward -= penalty.of(item, shown, &self.distance);
        }
        let Some(bonus) = &self.bonus else { return reward };
        let none = self.items();
        let back = |steps: usize| shown.len().checked_sub(steps).map_or(none, |at| shown[at] as usize);
        (reward + bonus.row(back(1))[back(2)]).max(0.0)
    }
    /// BLAKE3 of the rewards, in hex: worlds with equal rewards are the same evaluation world.
    #[must_use]
    pub fn rewards_digest(&self) -> String {
        let penalty = self.diversity_penalty.as_ref().map(|penalty| {
            let DiversityPenalty { local, global, decay, reach } = *penalty;
            Array::new(&[4], vec![local, global, decay, reach])
        });
        let parts: Vec<&Array> =
            [Some(&self.reward), self.bonus.as_ref(), penalty.as_ref()].into_iter().flatten().collect();
        digest(&parts)
    }
    /// BLAKE3 of the item distances, in hex: in worlds with equal distances the same items are similar.
    #[must_use]
    pub fn distances_digest(&self) -> String {
        digest(&[&self.distance])
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
        let row = self.distance.row(item as usize);
        recent.iter().any(|&h| row[h as usize] < threshold)
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

fn digest(arrays: &[&Array]) -> String {
    let mut hasher = blake3::Hasher::new();
    for array in arrays {
        for &length in &array.shape {
            hasher.update(&(length as u64).to_le_bytes());
        }
        for x in &array.data {
            hasher.update(&x.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

impl Artifact for World {
    const KIND: &'static str = "world";
    const EXTENSION: &'static str = "safetensors";
    /// 5: with the ids that its row numbers stand for. 6: quit rules and uncertainties have the names of the settings.
    const FORMAT: u32 = 6;
    const NUMBERED: bool = true;

    fn id_spaces(&self) -> IdSpaces {
        self.ids.spaces()
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        TensorFile::id_spaces_of(path, Self::KIND, Self::FORMAT)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut file = TensorFile::new(&About {
            rules: self.rules.clone(),
            distances: self.distances.clone(),
            diversity_penalty: self.diversity_penalty.clone(),
        })?;
        for (name, array) in [
            ("reward", &self.reward),
            ("distance", &self.distance),
            ("user_vectors", &self.user_vectors),
            ("item_vectors", &self.item_vectors),
        ] {
            file.arrays.insert(name.to_owned(), array.clone());
        }
        for (name, array) in [
            ("ensemble_std", &self.ensemble_std),
            ("predicted_std", &self.predicted_std),
            ("bonus", &self.bonus),
            ("categories", &self.categories),
        ] {
            if let Some(array) = array {
                file.arrays.insert(name.to_owned(), array.clone());
            }
        }
        self.ids.write_into(&mut file);
        file.write(path, Self::KIND, Self::FORMAT, &self.ids.spaces())
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = TensorFile::read(path, Self::KIND, Self::FORMAT)?;
        let About { rules, distances, diversity_penalty } = file.about()?;
        let mut world = Self {
            reward: file.take("reward")?,
            distance: file.take("distance")?,
            user_vectors: file.take("user_vectors")?,
            item_vectors: file.take("item_vectors")?,
            ensemble_std: file.arrays.remove("ensemble_std"),
            predicted_std: file.arrays.remove("predicted_std"),
            bonus: file.arrays.remove("bonus"),
            diversity_penalty,
            categories: file.arrays.remove("categories"),
            rules,
            distances,
            ids: Ids::default(),
        };
        let (users, items) = (world.users(), world.items());
        world.ids = Ids::read_from(&file, users, items)?;
        ensure!(world.distance.shape == [items, items], "distance is {:?} for {items} items", world.distance.shape);
        ensure!(world.user_vectors.shape[0] == users, "user_vectors is {:?}", world.user_vectors.shape);
        ensure!(world.item_vectors.shape[0] == items, "item_vectors is {:?}", world.item_vectors.shape);
        let fits =
            |array: &Option<Array>, wanted: &dyn Fn(&[usize]) -> bool| array.as_ref().is_none_or(|a| wanted(&a.shape));
        ensure!(fits(&world.ensemble_std, &|shape| shape == [users, items]), "ensemble_std is not {users} × {items}");
        ensure!(fits(&world.predicted_std, &|shape| shape == [users, items]), "predicted_std is not {users} × {items}");
        let places = items + 1;
        ensure!(fits(&world.bonus, &|shape| shape == [places, places]), "bonus is not {places} × {places}");
        ensure!(
            fits(&world.categories, &|shape| shape.len() == 2 && shape[0] == items),
            "categories are not of {items} items"
        );
        Ok(world)
    }
}
