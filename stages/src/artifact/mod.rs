//! The nouns that stages hand to each other. An artifact's doc *is* its schema.
//!
//! Tables are Parquet, episodes are Arrow IPC files, matrices and networks are safetensors. Every file carries its kind and
//! format number, and no file holds a date, a host or a measured time.

mod arrow_blocks;
mod calibration;
mod comparisons;
mod curves;
mod demonstrations;
mod describe;
mod efforts;
mod episode;
mod estimates;
mod frame;
mod groundings;
mod guard;
mod interactions;
mod items;
mod matrix;
mod member;
mod memories;
mod metrics;
mod network;
mod page;
mod parquet_footer;
mod profiles;
mod propensities;
mod rankings;
mod reward_pairs;
mod rollouts;
mod row_groups;
mod steps;
mod tensors;
mod text_file;
mod users;
mod weights;
mod world;

pub(crate) use arrow_blocks::check as check_arrow_blocks;
pub use calibration::{Calibration, CalibrationBin};
pub use comparisons::{Comparison, Comparisons};
pub use curves::{Curves, Point};
pub use demonstrations::{Call, Calls, Choice, Demonstrations, End, Failure, Trajectory};
pub use efforts::{Effort, Efforts};
pub use episode::{Episode, Step};
pub use estimates::{Estimate, Estimates};
pub use groundings::{GroundedName, Groundings};
pub(crate) use guard::guarded;
pub use interactions::Interactions;
pub use items::Items;
pub use matrix::read_matrix;
pub(crate) use member::check_member;
pub use memories::{Memories, Memory};
pub use metrics::{Metric, Metrics, figures};
pub use network::{Network, Origin, Policy, RewardModel};
pub use page::Page;
pub(crate) use parquet_footer::check as check_parquet_footer;
pub use profiles::{ProfilePoint, Profiles};
pub use propensities::Propensities;
pub use rankings::Rankings;
pub use reward_pairs::{RewardPair, RewardPairs};
pub use rollouts::{Rollout, Rollouts};
pub use steps::{Played, Steps};
pub use tensors::{Array, TensorFile};
pub(crate) use text_file::TextFile;
pub use users::Users;
pub use weights::Weights;
pub use world::{DistancesFrom, Repeats, Rules, Window, World};
