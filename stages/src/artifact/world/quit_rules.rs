//! When simulated users quit, what may be recommended, and what learners are paid.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::termination::Termination;

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
