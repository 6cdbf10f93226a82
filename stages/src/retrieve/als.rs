//! Factors of implicit feedback by alternating least squares (Hu, Koren & Volinsky 2008).
//!
//! r_ui ≥ 0 is the sum of what user u rated item i; p_ui = 1 where r_ui > 0, else 0; c_ui = 1 + α·r_ui (eq. 2 there). The factors
//! minimise (eq. 3)
//!
//! ```text
//! L(x, y) = Σ over all pairs c_ui (p_ui − x_u·y_i)² + λ (Σ |x_u|² + Σ |y_i|²).
//! ```
//!
//! In turns all x_u, then all y_i are set to their exact minimum with the others fixed (eq. 4 and 5):
//! x_u = (YᵀY + Yᵀ(C_u − I)Y + λI)⁻¹ Yᵀ C_u p_u, by Cholesky's decomposition. A half-step costs ratings·F² + (users + items)·F³/6
//! and never visits a pair without a rating, so that L never rises. Sums over rows are taken in blocks of a fixed size, in their order:
//! the factors are the same to the bit on any number of threads.

use anyhow::{Result, ensure};
use pipeline::Context;
use pipeline::progress::Bar;
use rand::RngExt;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ranked;
use super::als_scan;
use super::sparse_rows::SparseRows;
use crate::artifact::Interactions;
use crate::nn::{rng, with_simd};
use crate::ratings::solve;

/// The draws of initial factors, among those of `nn::rng`.
const INITIAL: u64 = 0xa15;
/// Rows whose outer products are added before the sums of all blocks are; fixed, because it decides the order of addition.
const BLOCK: usize = 4096;

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

/// What is factorised: r of each user and item that is above 0, by user and by item.
struct Observed {
    by_user: SparseRows<f64>,
    by_item: SparseRows<f64>,
}

impl Observed {
    fn of(log: &Interactions, users: usize, items: usize) -> Result<Self> {
        if let Some(row) = log.rating.iter().position(|rating| !(*rating >= 0.0 && rating.is_finite())) {
            anyhow::bail!(
                "row {row} of the log at `interactions` has the rating {}: implicit feedback is 0 or more\nhelp: shift the ratings, \
                 or take `by: cooccurrence`, which assumes no scale",
                log.rating[row]
            );
        }
        let rated = || {
            let rows = log.user.iter().zip(&log.item).zip(&log.rating).filter(|(_, rating)| **rating > 0.0);
            rows.map(|((&user, &item), &rating)| (user, item, f64::from(rating)))
        };
        let by_user = SparseRows::new(users, rated, |sum, rating| *sum += rating);
        ensure!(by_user.len() > 0, "no rating is above 0, so there is nothing to factorise");
        Ok(Self { by_item: by_user.transposed(items), by_user })
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
        let observed = Observed::of(log, users, popular.len())?;
        let factors = self.fit(&observed, cx)?;
        let cold = |user: usize| observed.by_user.columns(user).is_empty();
        als_scan::rank(&factors.users, &factors.items, self.n_factors, top_k, &cold, popular, cx)
    }

    fn fit(&self, observed: &Observed, cx: &Context) -> Result<Factors> {
        let (users, items) = (observed.by_user.rows(), observed.by_item.rows());
        let mut factors = self.initial(users, items);
        let bar = cx.bar("factorise", Some((self.n_iterations * (users + items)) as u64), "rows");
        let mut losses = Vec::new();
        for _ in 0..self.n_iterations {
            factors.users = self.half_step(&observed.by_user, &factors.items, &bar, cx)?;
            factors.items = self.half_step(&observed.by_item, &factors.users, &bar, cx)?;
            let loss = self.loss(observed, &factors);
            bar.inc_with(0, &format!("loss {loss:.6e}"));
            losses.push(loss);
        }
        if let [first, .., last] = losses[..] {
            cx.note("loss", format!("{first:.6e} after one iteration, {last:.6e} after {}", losses.len()));
        }
        Ok(factors)
    }

    /// Of the items, uniform in ±0.5/√F; those of the users are solved before they are read.
    fn initial(&self, users: usize, items: usize) -> Factors {
        let width = self.n_factors;
        let mut draw = rng(&[self.seed, INITIAL]);
        let half = 0.5 / (width as f64).sqrt();
        let items = (0..items * width).map(|_| draw.random_range(-half..half)).collect();
        Factors { users: vec![0.0; users * width], items }
    }

    /// The factors of all rows that minimise L where those of the columns are `fixed`, `[columns, F]` → `[rows, F]`.
    fn half_step(&self, rated: &SparseRows<f64>, fixed: &[f64], bar: &Bar, cx: &Context) -> Result<Vec<f64>> {
        let width = self.n_factors;
        let mut gram = gram(fixed, width);
        (0..width).for_each(|k| gram[k * width + k] += self.regularization);
        let mut solved = vec![0.0; rated.rows() * width];
        solved.par_chunks_mut(width).enumerate().try_for_each(|(row, x)| {
            if !rated.columns(row).is_empty() {
                cx.check_cancelled()?;
                let (mut a, mut b) = (gram.clone(), vec![0.0; width]);
                with_simd(|| {
                    for (column, r) in rated.row(row) {
                        let y = &fixed[column as usize * width..][..width];
                        add_outer(&mut a, y, self.alpha * r);
                        let confidence = 1.0 + self.alpha * r;
                        b.iter_mut().zip(y).for_each(|(b, y)| *b += confidence * y);
                    }
                });
                x.copy_from_slice(&solve(&mut a, &b));
            }
            bar.inc(1);
            anyhow::Ok(())
        })?;
        Ok(solved)
    }

    /// L. Σ over all pairs of (x_u·y_i)² is ⟨XᵀX, YᵀY⟩; what stands where something was rated is corrected.
    fn loss(&self, observed: &Observed, factors: &Factors) -> f64 {
        let width = self.n_factors;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (users, items) = (gram(&factors.users, width), gram(&factors.items, width));
        // Only the lower triangles are filled.
        let at = |row: usize, column: usize| users[row * width + column] * items[row * width + column];
        let off_diagonal = |row: usize| 2.0 * (0..row).map(|column| at(row, column)).sum::<f64>();
        let of_all: f64 = (0..width).map(|row| at(row, row) + off_diagonal(row)).sum();
        let of_user = |user: usize| {
            let x = &factors.users[user * width..][..width];
            let corrected = observed.by_user.row(user).map(|(item, r)| {
                let score = dot(x, &factors.items[item as usize * width..][..width]);
                (1.0 + self.alpha * r) * (1.0 - score).powi(2) - score.powi(2)
            });
            corrected.sum::<f64>()
        };
        let of_users: Vec<f64> = (0..observed.by_user.rows()).into_par_iter().map(of_user).collect();
        let trace = |gram: &[f64]| (0..width).map(|k| gram[k * width + k]).sum::<f64>();
        of_all + of_users.iter().sum::<f64>() + self.regularization * (trace(&users) + trace(&items))
    }
}

/// The factors of users and items, `[U, F]` and `[I, F]`.
struct Factors {
    users: Vec<f64>,
    items: Vec<f64>,
}

/// The lower triangle of ZᵀZ, `[F, F]`, of `z`, `[N, F]`.
fn gram(z: &[f64], width: usize) -> Vec<f64> {
    let of_block = |rows: &[f64]| {
        let mut sum = vec![0.0; width * width];
        with_simd(|| rows.chunks_exact(width).for_each(|row| add_outer(&mut sum, row, 1.0)));
        sum
    };
    let blocks: Vec<Vec<f64>> = z.par_chunks(BLOCK * width).map(of_block).collect();
    let mut sum = vec![0.0; width * width];
    for block in blocks {
        sum.iter_mut().zip(block).for_each(|(sum, part)| *sum += part);
    }
    sum
}

/// Adds scale·y·yᵀ to the lower triangle of `a`.
#[inline(always)]
fn add_outer(a: &mut [f64], y: &[f64], scale: f64) {
    for (row, (a, &value)) in a.chunks_exact_mut(y.len()).zip(y).enumerate() {
        let value = scale * value;
        a[..=row].iter_mut().zip(y).for_each(|(a, y)| *a += value * y);
    }
}

#[cfg(test)]
#[path = "als_tests.rs"]
mod tests;
