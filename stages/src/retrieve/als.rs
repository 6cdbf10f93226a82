//! `by: als`: candidates by factors of implicit feedback ([`AlternatingLeastSquares`]; Hu, Koren & Volinsky 2008).
//!
//! r_ui ≥ 0 is the sum of what user u rated item i; p_ui = 1 where r_ui > 0, else 0; c_ui = 1 + α·r_ui (eq. 2 there). The factors
//! minimise Σ over all pairs c_ui (p_ui − x_u·y_i)² + λ (Σ |x_u|² + Σ |y_i|²) (eq. 3).

use anyhow::Result;
use pipeline::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::als_scan;
use super::top_k::Ranked;
use crate::artifact::{Curves, Interactions};
use crate::ratings::{AlternatingLeastSquares, ImplicitFeedback};

/// `by: als`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Als {
    /// F, the numbers a user and an item, 1 to 1,024. 64 by default.
    pub n_factors: usize,
    /// How often all users and then all items are solved, at least 1. 15 by default.
    pub n_iterations: usize,
    /// α, how much confidence a rating adds per unit of its scale, above 0. 1 by default.
    pub alpha: f64,
    /// λ, the penalty on squared factors, above 0. 10 by default.
    pub regularization: f64,
    /// Seed of the items' initial factors.
    pub seed: u64,
}

impl Default for Als {
    fn default() -> Self {
        Self { n_factors: 64, n_iterations: 15, alpha: 1.0, regularization: 10.0, seed: 0 }
    }
}

impl Als {
    /// Whether nothing was set.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The setting at fault and what it should be.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let above_0 = |value: f64| value > 0.0 && value.is_finite();
        match () {
            () if !(1..=1024).contains(&self.n_factors) => Err(("n_factors", "between 1 and 1024 factors")),
            () if self.n_iterations == 0 => Err(("n_iterations", "at least one iteration")),
            () if !above_0(self.alpha) => Err(("alpha", "a confidence above 0")),
            () if !above_0(self.regularization) => {
                Err(("regularization", "a penalty above 0: without one a row may have no solution"))
            }
            () => Ok(()),
        }
    }

    /// The best `top_k` items of each user by x_u·y_i, of the whole catalogue. A user without a rating above 0 has the score 0 for
    /// each item, and gets them in the order of `popular`.
    pub(super) fn rank(
        &self,
        log: &Interactions,
        popular: &[u32],
        users: usize,
        top_k: usize,
        cx: &Context,
    ) -> Result<Vec<Ranked>> {
        let instead = "take `by: cooccurrence`, which assumes no scale";
        let observed = ImplicitFeedback::of(log, [users, popular.len()], instead)?;
        let mut curves = Curves::default();
        let factors = self.objective().fit(&observed, &mut curves, |_| Ok(Vec::new()), cx)?;
        if let [first, .., last] = &curves.0[..] {
            cx.note("loss", format!("{:.6e} after one iteration, {:.6e} after {}", first.value, last.value, last.step));
        }
        let cold = |user: usize| observed.by_user.columns(user).is_empty();
        als_scan::rank(&factors.users, &factors.items, self.n_factors, top_k, &cold, popular, cx)
    }

    fn objective(&self) -> AlternatingLeastSquares {
        AlternatingLeastSquares {
            n_factors: self.n_factors,
            n_iterations: self.n_iterations,
            unobserved_weight: 1.0,
            observed_weight: 0.0,
            alpha: self.alpha,
            regularization: self.regularization,
            frequency_exponent: 0.0,
            seed: self.seed,
        }
    }
}

#[cfg(test)]
#[path = "als_tests.rs"]
mod tests;
