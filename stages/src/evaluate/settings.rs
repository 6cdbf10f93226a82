//! The settings of `evaluate`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::Resampling;
use super::trained_baselines::Baselines;
use crate::env::USUAL_PRIOR;

/// `evaluate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Seed of the random baselines, of sampled actions and of what is resampled.
    pub seed: u64,
    /// Episodes of each random baseline per user, from 1; 5 by default.
    pub n_repeats: usize,
    /// How policies select an action from their distribution.
    pub action_selection: ActionSelection,
    /// Evaluates each policy a second time without repeats, in a row of its own: as `recommend --exclude-history` serves it.
    /// Where the world masks repeats, the first row shows that already. Off by default.
    pub exclude_history: bool,
    /// Popularity is the mean rating of an item, shrunk towards the mean of the log by this number of pseudo-ratings; 0 is the
    /// plain mean, under which a single high rating makes an item popular.
    pub popularity_prior: f64,
    /// The popular cycle recommends the items with most ratings of at least this value, on the scale of the log; 4 by default.
    /// Where no rating is as high, all ratings count.
    pub liked_from: f64,
    /// The baselines that are trained in this stage.
    pub baselines: Baselines,
    /// What happens where a policy learned from the evaluation world.
    pub leakage_check: LeakageCheck,
    /// The swept setting whose values are checkpoints of one training (`n_iterations`, `n_gradient_steps`): of each training the
    /// checkpoint with the highest return in the world at `validation` is evaluated. Without it every policy is.
    pub select_over: Option<String>,
    /// Bootstrap resamples behind each interval where `resampling` draws any, from 100; 2000 by default.
    pub n_resamples: usize,
    /// Whether intervals are of Student's t (`none`, the default), or which bootstrap they are of.
    pub resampling: Resampling,
    /// Evaluates with the first users only, this many; with all when absent.
    pub users: Option<usize>,
}

/// How a policy selects an action from its distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionSelection {
    /// The most likely item, as when serving.
    #[default]
    Greedy,
    /// An item sampled from the distribution, as during training. `evaluate` refuses value-based policies (`rl.dqn`, `rl.cql`),
    /// which have no distribution; `evaluate.offpolicy` takes their best item.
    Sample,
}

/// What happens where a policy learned from the evaluation world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeakageCheck {
    /// The experiment is refused.
    #[default]
    Refuse,
    /// All learned rows are labelled as privileged: for studies of how much of a result is the error of the world model. A
    /// validation world must be separate even so.
    Label,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            seed: 0,
            n_repeats: 5,
            action_selection: ActionSelection::Greedy,
            exclude_history: false,
            popularity_prior: USUAL_PRIOR,
            liked_from: 4.0,
            baselines: Baselines::default(),
            leakage_check: LeakageCheck::Refuse,
            select_over: None,
            n_resamples: 2000,
            resampling: Resampling::None,
            users: None,
        }
    }
}
