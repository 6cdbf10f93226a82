//! Rating models in closed form: biases with a prior mean, ridge regression on features, factorisation by alternating least
//! squares. Nothing is drawn, and nothing is learned by gradient steps.
//!
//! ```text
//! ratings ─▶ ItemEvidence ─┐
//! genres, texts ─▶ Design ──┼─▶ prior mean m_i ─▶ biases b_i, b_u ─▶ factors p_u·q_i ─▶ scores of user × item
//! a model's scores ────────┘        (how strong: by cross-validation inside the ratings)
//! ```
//!
//! `world.bias` completes a world with them, and `worth.returns` fits hundreds of them to draws of a log. Beside them stand factors of
//! implicit feedback ([`AlternatingLeastSquares`]), which rank the candidates of `retrieve` and complete the world of `world.ials`.
//! So do the statistics that the results of stages share: rank correlations, Student's t, Holm's correction.

mod alternating;
mod biases;
mod cross_validation;
mod design;
mod factors;
mod learner;
mod negative_sampling;
mod rank_correlation;
mod ridge;
mod sparse_rows;
mod student_t;
mod weighted_log;

pub use alternating::{AlternatingLeastSquares, ImplicitFactors, ImplicitFeedback};
pub use biases::{Biases, Regularization};
pub use cross_validation::{HoldOut, deviance_weights, item_deviance, member_weights};
pub use design::{Design, Equations};
pub use factors::Factors;
pub use learner::{Fitted, Knowledge, Learner, PriorStrength, Validation};
pub use negative_sampling::NegativeSampler;
pub use rank_correlation::{kendall, spearman};
pub use ridge::{inverse, solve, try_solve};
pub use sparse_rows::SparseRows;
pub use student_t::{holm, normal_p, student_t_p, student_t_quantile};
pub use weighted_log::WeightedLog;
