//! A simulated audience: what each user would answer to each item, which items feel alike, and when people leave.

use std::path::Path;

use anyhow::{Result, ensure};
use pipeline::Artifact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tensors::{Array, TensorFile};

/// How far back a user remembers when two items feel alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Window {
    /// The last `n` items.
    #[default]
    Last,
    /// As EasyRL4Rec and DORL compute it: for 0 < t < n the slice's negative start wraps, so the window is min(t, n − t).
    Easyrl4rec,
}

impl Window {
    /// How many of the `t` items so far count, for a window of `n`.
    #[must_use]
    pub fn length(self, t: usize, n: usize) -> usize {
        match self {
            Self::Last => t.min(n),
            Self::Easyrl4rec if t < n => t.min(n - t),
            Self::Easyrl4rec => n,
        }
    }
}

/// When an episode ends (method: the quit rules of IL-Rec, BiLLP and EasyRL4Rec as settings of one rule).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Turns after which the episode is cut (`truncated`, not `terminal`).
    pub horizon: usize,
    /// Items remembered by the `similar` rule.
    pub window: usize,
    /// Which items the window holds early in an episode.
    pub window_kind: Window,
    /// Quit when an item is nearer than this to one in the window (strict); `None` turns the rule off.
    pub similar_below: Option<f32>,
    /// Quit when the reward is below this; `None` turns the rule off.
    pub low_reward: Option<f32>,
}

/// safetensors: `reward [U, I]` on the log's rating scale, `distance [I, I]`, `user_vectors [U, D]` and
/// `item_vectors [I, D]` (the model's own factors, for policies that start from what the world knows), and the quit rules.
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
    /// When people leave.
    pub rules: Rules,
}

impl World {
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
        let mut hasher = blake3::Hasher::new();
        for array in [&self.user_vectors, &self.item_vectors] {
            for &length in &array.shape {
                hasher.update(&(length as u64).to_le_bytes());
            }
            for x in &array.data {
                hasher.update(&x.to_le_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }
    /// Whether `item` is too near to one of `recent` under the `similar` rule.
    #[must_use]
    pub fn conflicts(&self, item: u32, recent: &[u32]) -> bool {
        let Some(threshold) = self.rules.similar_below else { return false };
        let row = self.distance.row(item as usize);
        recent.iter().any(|&h| row[h as usize] < threshold)
    }
}

impl Artifact for World {
    const KIND: &'static str = "world";
    const EXTENSION: &'static str = "safetensors";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let mut file = TensorFile::new(&self.rules)?;
        for (name, array) in [
            ("reward", &self.reward),
            ("distance", &self.distance),
            ("user_vectors", &self.user_vectors),
            ("item_vectors", &self.item_vectors),
        ] {
            file.arrays.insert(name.to_owned(), array.clone());
        }
        file.write(path, Self::KIND, Self::FORMAT)
    }

    fn read(path: &Path) -> Result<Self> {
        let mut file = TensorFile::read(path, Self::KIND, Self::FORMAT)?;
        let world = Self {
            reward: file.take("reward")?,
            distance: file.take("distance")?,
            user_vectors: file.take("user_vectors")?,
            item_vectors: file.take("item_vectors")?,
            rules: file.about()?,
        };
        let (users, items) = (world.users(), world.items());
        ensure!(world.distance.shape == [items, items], "distance is {:?} for {items} items", world.distance.shape);
        ensure!(world.user_vectors.shape[0] == users, "user_vectors is {:?}", world.user_vectors.shape);
        ensure!(world.item_vectors.shape[0] == items, "item_vectors is {:?}", world.item_vectors.shape);
        Ok(world)
    }
}
