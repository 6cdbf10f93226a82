//! Factors of implicit feedback by alternating least squares (Hu, Koren and Volinsky 2008; Rendle, Krichene, Zhang and Koren 2022).
//!
//! r_ui > 0 is the sum of what user u rated item i, where u met i at all (S). The factors minimise
//!
//! ```text
//! L(x, y) = w₀ Σ over all pairs s_ui² + Σ over S ((w₁ + α·r_ui)·s_ui² − (1 + α·r_ui)·(2 s_ui − 1))
//!         + λ (Σ_u (n_u + w₀·I)^ν |x_u|² + Σ_i (n_i + w₀·U)^ν |y_i|²),      s_ui = x_u·y_i,
//! ```
//!
//! with n_u and n_i, how many of S are of u and of i. Hu et al. have w₀ = 1, w₁ = 0 and ν = 0: with c = 1 + α·r in S and 1 elsewhere, p = 1 in S
//! and 0 elsewhere, that is Σ c (p − s)² + λ(Σ|x|² + Σ|y|²), their eq. 3. Rendle et al. have w₁ = 1, ν = 1 and a small w₀ (α₀ there):
//! Σ_S (1 + α·r)(s − 1)² + w₀ Σ s² + their eq. 4's penalty.
//!
//! In turns all x_u, then all y_i are set to their exact minimum with the others fixed (eq. 4 and 5 of Hu et al.):
//! x_u = (w₀·YᵀY + Yᵀ W_u Y + λ_u)⁻¹ Yᵀ t_u, by Cholesky's decomposition. A half-step costs |S|·F² + (users + items)·F³/6
//! and never visits a pair outside of S, so that L never rises. Sums over rows are taken in blocks of a fixed size, in their order:
//! the factors are the same to the bit on any number of threads.

use anyhow::{Context as _, Result, ensure};
use pipeline::Context;
use pipeline::progress::Bar;
use rand::RngExt;
use rayon::prelude::*;

use super::sparse_rows::SparseRows;
use super::try_solve;
use crate::artifact::{Curves, Interactions};
use crate::nn::{TrainingCheckpoints, rng, with_simd};

/// The draws of initial factors, among those of `nn::rng`.
const INITIAL: u64 = 0xa15;
/// Rows whose outer products are added before the sums of all blocks are; fixed, because it decides the order of addition.
const BLOCK: usize = 4096;

/// What is factorised: r of each user and item that is above 0, by user and by item.
pub struct ImplicitFeedback {
    /// What each user met.
    pub by_user: SparseRows<f64>,
    /// Who met each item.
    pub by_item: SparseRows<f64>,
}

impl ImplicitFeedback {
    /// That of a log of so many users and items.
    ///
    /// # Errors
    /// When a rating is negative or no number, with `instead` as what else to do; when none is above 0.
    pub fn of(log: &Interactions, [users, items]: [usize; 2], instead: &str) -> Result<Self> {
        if let Some(row) = log.rating.iter().position(|rating| !(*rating >= 0.0 && rating.is_finite())) {
            anyhow::bail!(
                "row {row} of the log at `interactions` has the rating {}: implicit feedback is 0 or more\nhelp: shift the ratings, \
                 or {instead}",
                log.rating[row]
            );
        }
        let rated = || {
            let rows = log.user.iter().zip(&log.item).zip(&log.rating).filter(|(_, rating)| **rating > 0.0);
            rows.map(|((&user, &item), &rating)| (user, item, f64::from(rating)))
        };
        let by_user = SparseRows::new(users, rated, |sum, rating| *sum += rating);
        ensure!(!by_user.is_empty(), "no rating is above 0, so there is nothing to factorise");
        Ok(Self { by_item: by_user.transposed(items), by_user })
    }
}

/// L, and how it is minimised.
#[derive(Clone, Debug)]
pub struct AlternatingLeastSquares {
    /// F.
    pub n_factors: usize,
    /// How often all users and then all items are solved.
    pub n_iterations: usize,
    /// w₀.
    pub unobserved_weight: f64,
    /// w₁.
    pub observed_weight: f64,
    /// α.
    pub alpha: f64,
    /// λ.
    pub regularization: f64,
    /// ν.
    pub frequency_exponent: f64,
    /// Seed of the items' initial factors.
    pub seed: u64,
}

/// The factors of users and items.
#[derive(Clone, Debug, PartialEq)]
pub struct ImplicitFactors {
    /// x, `[U, F]`.
    pub users: Vec<f64>,
    /// y, `[I, F]`.
    pub items: Vec<f64>,
}

impl AlternatingLeastSquares {
    /// Minimises L. `curves` gets `loss.train`, and what `score` says of the factors, after each iteration; a training that was stopped goes
    /// on after its last one.
    ///
    /// # Errors
    /// When the user interrupts, a checkpoint cannot be written or read, or `score` fails.
    pub fn fit(
        &self,
        observed: &ImplicitFeedback,
        curves: &mut Curves,
        score: impl Fn(&ImplicitFactors) -> Result<Vec<(&'static str, f64)>>,
        cx: &Context,
    ) -> Result<ImplicitFactors> {
        let (users, items) = (observed.by_user.rows(), observed.by_item.rows());
        let mut factors = self.initial(users, items);
        let training = TrainingCheckpoints::open(cx, "alternations", 1)?;
        let mut done = 0;
        if let Some((number, bytes)) = training.latest()? {
            *curves = factors.restore(&bytes)?;
            done = number;
        }
        let bar = cx.bar("factorise", Some((self.n_iterations * (users + items)) as u64), "rows");
        bar.inc(done * (users + items) as u64);
        for iteration in done..self.n_iterations as u64 {
            factors.users = self.half_step(&observed.by_user, &factors.items, &bar, cx)?;
            factors.items = self.half_step(&observed.by_item, &factors.users, &bar, cx)?;
            let loss = self.loss(observed, &factors);
            bar.inc_with(0, &format!("loss {loss:.6e}"));
            curves.push("loss.train", iteration + 1, loss);
            for (series, value) in score(&factors)? {
                curves.push(series, iteration + 1, value);
            }
            training.after_unit(iteration + 1, || factors.save(curves))?;
        }
        Ok(factors)
    }

    /// Of the items, uniform in ±0.5/√F; those of the users are solved before they are read.
    fn initial(&self, users: usize, items: usize) -> ImplicitFactors {
        let width = self.n_factors;
        let mut draw = rng(&[self.seed, INITIAL]);
        let half = 0.5 / (width as f64).sqrt();
        let items = (0..items * width).map(|_| draw.random_range(-half..half)).collect();
        ImplicitFactors { users: vec![0.0; users * width], items }
    }

    /// λ of a row that meets `met` of `columns`.
    fn penalty(&self, met: usize, columns: usize) -> f64 {
        self.regularization * (met as f64 + self.unobserved_weight * columns as f64).powf(self.frequency_exponent)
    }

    /// The factors of all rows that minimise L where those of the columns are `fixed`, `[columns, F]` → `[rows, F]`.
    fn half_step(&self, rated: &SparseRows<f64>, fixed: &[f64], bar: &Bar, cx: &Context) -> Result<Vec<f64>> {
        let width = self.n_factors;
        let check_cancelled = cx.check_cancelled_from_now();
        let mut gram = gram(fixed, width);
        gram.iter_mut().for_each(|sum| *sum *= self.unobserved_weight);
        let columns = fixed.len() / width;
        let mut solved = vec![0.0; rated.rows() * width];
        solved.par_chunks_mut(width).enumerate().try_for_each(|(row, x)| {
            let met = rated.columns(row).len();
            if met > 0 {
                check_cancelled()?;
                let (mut a, mut b) = (gram.clone(), vec![0.0; width]);
                let penalty = self.penalty(met, columns);
                (0..width).for_each(|k| a[k * width + k] += penalty);
                with_simd(|| {
                    for (column, r) in rated.row(row) {
                        let y = &fixed[column as usize * width..][..width];
                        add_outer(&mut a, y, self.observed_weight + self.alpha * r);
                        let wanted = 1.0 + self.alpha * r;
                        b.iter_mut().zip(y).for_each(|(b, y)| *b += wanted * y);
                    }
                });
                let found = try_solve(&mut a, &b).with_context(|| {
                    format!(
                        "the {width} factors of row {row} have no solution in numbers of 64 bits: the penalty {penalty:e} is lost beside \
                         what was rated\nhelp: raise `regularization`"
                    )
                })?;
                x.copy_from_slice(&found);
            }
            bar.inc(1);
            anyhow::Ok(())
        })?;
        Ok(solved)
    }

    /// L. Σ over all pairs of (x_u·y_i)² is ⟨XᵀX, YᵀY⟩; what S adds is added pair by pair.
    fn loss(&self, observed: &ImplicitFeedback, factors: &ImplicitFactors) -> f64 {
        let width = self.n_factors;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (users, items) = (gram(&factors.users, width), gram(&factors.items, width));
        // Only the lower triangles are filled.
        let at = |row: usize, column: usize| users[row * width + column] * items[row * width + column];
        let off_diagonal = |row: usize| 2.0 * (0..row).map(|column| at(row, column)).sum::<f64>();
        let of_all: f64 = (0..width).map(|row| at(row, row) + off_diagonal(row)).sum();
        let [by_user, by_item] = [&observed.by_user, &observed.by_item];
        let of_user = |user: usize| {
            let x = &factors.users[user * width..][..width];
            let added = by_user.row(user).map(|(item, r)| {
                let score = dot(x, &factors.items[item as usize * width..][..width]);
                (self.observed_weight + self.alpha * r) * score.powi(2) - (1.0 + self.alpha * r) * (2.0 * score - 1.0)
            });
            added.sum::<f64>() + self.penalty(by_user.columns(user).len(), by_item.rows()) * dot(x, x)
        };
        let of_item = |item: usize| {
            let y = &factors.items[item * width..][..width];
            self.penalty(by_item.columns(item).len(), by_user.rows()) * dot(y, y)
        };
        let of_users: Vec<f64> = (0..by_user.rows()).into_par_iter().map(of_user).collect();
        let of_items: Vec<f64> = (0..by_item.rows()).into_par_iter().map(of_item).collect();
        self.unobserved_weight * of_all + of_users.iter().sum::<f64>() + of_items.iter().sum::<f64>()
    }
}

impl ImplicitFactors {
    /// The factors and the curves so far: the length of these in 8 bytes, these, the numbers of users and items.
    fn save(&self, curves: &Curves) -> Result<Vec<u8>> {
        let curves = curves.to_bytes()?;
        let mut out = (curves.len() as u64).to_le_bytes().to_vec();
        out.extend(curves);
        out.extend(self.users.iter().chain(&self.items).flat_map(|number| number.to_le_bytes()));
        Ok(out)
    }

    /// Takes over what [`ImplicitFactors::save`] wrote of as many users and items, and gives the curves.
    fn restore(&mut self, bytes: &[u8]) -> Result<Curves> {
        let (length, rest) = bytes.split_at_checked(8).context("a checkpoint of fewer than 8 bytes")?;
        let length = u64::from_le_bytes(length.try_into()?) as usize;
        let (curves, numbers) = rest.split_at_checked(length).context("a checkpoint that ends early")?;
        ensure!(numbers.len() == 8 * (self.users.len() + self.items.len()), "a checkpoint of other sizes");
        let mut numbers = numbers.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")));
        self.users.iter_mut().chain(&mut self.items).zip(&mut numbers).for_each(|(to, from)| *to = from);
        Curves::from_bytes(curves)
    }
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
#[path = "alternating_tests.rs"]
mod tests;
