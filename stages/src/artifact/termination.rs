//! Why an episode ended.

use anyhow::{Context as _, Result};

/// Why an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Termination {
    /// The user quit at an item that was too similar (`terminal`).
    Similar,
    /// The user quit at a low reward (`terminal`).
    LowReward,
    /// The user quit at a category that was shown too often (`terminal`).
    Category,
    /// The user quit for a reason that was not recorded (`terminal`): in episodes of other programs.
    Stopped,
    /// The horizon was reached (`truncated`).
    Horizon,
}

impl Termination {
    /// Every reason, the horizon last.
    pub const ALL: [Self; 5] = [Self::Similar, Self::LowReward, Self::Category, Self::Stopped, Self::Horizon];

    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Similar => "similar",
            Self::LowReward => "low_reward",
            Self::Category => "category",
            Self::Stopped => "stopped",
            Self::Horizon => "horizon",
        }
    }
    /// From the name in files.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|end| end.name() == name)
            .with_context(|| format!("`{name}` is no reason for an end"))
    }
    /// Whether the user quit, in contrast to truncation: no future reward may be bootstrapped.
    #[must_use]
    pub fn terminal(self) -> bool {
        self != Self::Horizon
    }
}
