//! A world of implicit feedback: how sure it is that a user would take an item, by weighted alternating least squares (iALS).
//!
//! ŝ(u, i) = x_u·y_i is fitted to 1 where u took i and, with a small weight, to 0 everywhere ([`AlternatingLeastSquares`]; Hu, Koren and
//! Volinsky 2008, ICDM; with the weights and the penalty by frequency of Rendle, Krichene, Zhang and Koren 2022, RecSys, eqs. 1 to 4):
//!
//! ```text
//! Σ_S (1 + α·r_ui)(ŝ − 1)² + w₀ Σ over all pairs ŝ² + λ (Σ_u (n_u + w₀·I)^ν |x_u|² + Σ_i (n_i + w₀·U)^ν |y_i|²)
//! ```
//!
//! The reward is ŝ clamped to [0, 1]. No pair is drawn and no gradient step is taken: an iteration costs |S|·F² + (U + I)·F³/6, whatever U·I is.
//!
//! Left out: block-wise solvers for hundreds of factors (iALS++), features.

use std::collections::HashSet;

use anyhow::Result;
use pipeline::memory_need::zeros;
use pipeline::{Context, MemoryNeed, Requirement, Sizes, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::positives::positives;
use super::side_features::note_unread;
use super::world_memory::{with_distances, with_stored};
use super::{UserSimulator, WorldForm};
use crate::artifact::{Array, Curves, Factored, Factors, Interactions, ItemVectors, Items, Rewards, Users, World};
use crate::ratings::{AlternatingLeastSquares, ImplicitFactors, ImplicitFeedback};

/// Interactions of the hold-out that are scored.
const SCORED: usize = 4096;
/// Places of the list in which a held-out item is looked for.
const RECALL_AT: usize = 20;
/// Places of the list that count for NDCG.
const NDCG_AT: usize = 10;

/// `world.ials`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ials {
    /// F, the numbers a user and an item, 1 to 1,024.
    pub n_factors: usize,
    /// How often all users and then all items are solved, at least 1.
    pub n_iterations: usize,
    /// w₀, the weight of each pair as something that was not taken, above 0. One of 1 is that of a pair that was taken.
    pub unobserved_weight: f64,
    /// α, how much confidence a rating adds per unit of its scale, 0 or more: a rating may be a number of plays. At 0 each item that a user
    /// took counts alike.
    pub alpha: f64,
    /// λ, the penalty on squared factors, above 0.
    pub regularization: f64,
    /// ν: a user or an item of n interactions is penalised by λ·(n + w₀·N)^ν, N the number of items or users. At 0 all alike, as Hu et al.
    /// have it; at 1 by frequency, where λ is small (Rendle et al. take 0.003).
    pub frequency_exponent: f64,
    /// The least rating of an interaction that counts as taken. Without a value each rating above 0 does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rating: Option<f64>,
    /// Seed of the items' initial factors.
    pub seed: u64,
    /// Whether the world stores a reward for each user and item, or the factors: `auto`, `dense` or `factored`.
    #[serde(skip_serializing_if = "WorldForm::is_auto")]
    pub form: WorldForm,
    /// How simulated users behave in the completed world.
    pub simulator: UserSimulator,
}

impl Default for Ials {
    fn default() -> Self {
        // Chosen on a held-out split of MovieLens-100K.
        Self {
            n_factors: 64,
            n_iterations: 16,
            unobserved_weight: 0.3,
            alpha: 0.0,
            regularization: 3.0,
            frequency_exponent: 0.0,
            min_rating: None,
            seed: 0,
            form: WorldForm::Auto,
            simulator: UserSimulator::default(),
        }
    }
}

pipeline::ports! {
    /// What people took.
    pub struct Inputs {
        /// The interactions to fit; their ratings are 0 or more.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
        /// Held-out interactions: their rank is reported, and they are never fitted.
        holdout: Option<Interactions>,
        /// A world whose item distances and threshold are used; those of `simulator` without it.
        distances: Option<World>,
        /// A vector for each item, such as that of its text (`embed`): `simulator.distance: item_vectors` compares items by it.
        item_vectors: Option<ItemVectors>,
    }
}

pipeline::ports! {
    /// The results.
    pub struct Outputs {
        /// The completed world.
        world: World,
        /// An iteration: `loss.train`, the sum that is minimised. Of up to 4,096 interactions at `holdout`, each ranked among the items that its
        /// user did not take in the fitted log: `recall_at_20.holdout`, the share among the first 20, and `ndcg_at_10.holdout`, the mean of
        /// 1 / log₂(1 + rank) up to rank 10.
        curves: Curves,
    }
}

impl Stage for Ials {
    const KIND: &'static str = "world.ials";
    /// 1: first.
    /// 2: `similar_fraction` leaves out pairs at 0 where they are so many that nothing would lie below them.
    /// 3: a rating of 0 at `holdout` is nothing that was taken.
    const VERSION: u32 = 3;
    const ABOUT: &'static str =
        "fit implicit feedback by weighted alternating least squares and complete it to a simulated world";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        let above_0 = |value: f64| value > 0.0 && value.is_finite();
        if !(1..=1024).contains(&self.n_factors) {
            return wrong("n_factors", "between 1 and 1024 factors");
        }
        if self.n_iterations == 0 {
            return wrong("n_iterations", "at least one iteration");
        }
        if !above_0(self.unobserved_weight) {
            return wrong("unobserved_weight", "above 0: without it every reward may be 1");
        }
        if !(self.alpha >= 0.0 && self.alpha.is_finite()) {
            return wrong("alpha", "a confidence of 0 or more");
        }
        if !above_0(self.regularization) {
            return wrong("regularization", "a penalty above 0: without one a row may have no solution");
        }
        if !(0.0..=2.0).contains(&self.frequency_exponent) {
            return wrong("frequency_exponent", "between 0 (all alike) and 2; 1 is by frequency");
        }
        self.simulator.check()
    }

    fn requirements(&self) -> Vec<Requirement> {
        self.simulator.requirements(true)
    }

    fn sizes(&self, inputs: &Sizes) -> Sizes {
        self.simulator.sizes(inputs, u64::from(!self.form.is_factored_for(inputs)))
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let (users, items) = (inputs.get("users")?, inputs.get("items")?);
        // Values and the next ones, and once more in a checkpoint; the world's own.
        let is_factored = self.form.is_factored([users as usize, items as usize]);
        let help = match is_factored {
            true => "lower `n_factors`, or keep fewer users and items by `filter.kcore`",
            false => "set `form: factored`, lower `n_factors`, or keep fewer users and items by `filter.kcore`",
        };
        let need = MemoryNeed::new(help).table("factors", &[users + items, self.n_factors as u64], 36).table(
            "interactions by user and by item",
            &[inputs.get("interactions")?],
            44,
        );
        Some(match is_factored {
            false => with_stored(need, [users, items], 4, &self.simulator),
            true => with_distances(need, [users, items], &self.simulator),
        })
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let sizes = [inputs.users.len(), inputs.items.len()];
        let [taken, holdout] =
            positives(&inputs.interactions, inputs.holdout.as_ref(), (self.min_rating, false), sizes, cx)?;
        let observed = ImplicitFeedback::of(&taken, sizes, "take `world.mf`, which fits ratings of any scale")?;
        note_unread(&inputs.users, &inputs.items, cx);
        let mut curves = Curves::default();
        let factors =
            self.objective().fit(&observed, &mut curves, |factors| self.score(factors, &observed, &holdout), cx)?;
        let rewards = self.rewards(&factors, sizes, cx)?;
        let (shared, vectors) = (inputs.distances.as_ref(), inputs.item_vectors.as_ref());
        let world = self.simulator.complete(shared, vectors, &inputs.items, &inputs.users, rewards, cx)?;
        Ok(Outputs { world, curves })
    }
}

impl Ials {
    fn objective(&self) -> AlternatingLeastSquares {
        AlternatingLeastSquares {
            n_factors: self.n_factors,
            n_iterations: self.n_iterations,
            unobserved_weight: self.unobserved_weight,
            observed_weight: 1.0,
            alpha: self.alpha,
            regularization: self.regularization,
            frequency_exponent: self.frequency_exponent,
            seed: self.seed,
        }
    }

    /// ŝ clamped to [0, 1], stored or as factors.
    fn rewards(&self, factors: &ImplicitFactors, [users, items]: [usize; 2], cx: &Context) -> Result<Rewards> {
        let array = |numbers: &[f64], rows: usize| {
            Array::new(&[rows, self.n_factors], numbers.iter().map(|&number| number as f32).collect())
        };
        let factors = Factors::of_product(array(&factors.users, users), array(&factors.items, items));
        let factored = Factored { members: vec![factors], range: (0.0, 1.0), penalty: None };
        if self.form.is_factored([users, items]) {
            return Ok(factored.into());
        }
        let mut stored = zeros::<f32>("rewards, users × items", users * items)?;
        let bar = cx.bar("complete", Some(users as u64), "users");
        stored.par_chunks_mut(items).enumerate().for_each(|(user, row)| {
            row.iter_mut().zip(0..).for_each(|(reward, item)| *reward = factored.of(user as u32, item));
            bar.inc(1);
        });
        Ok(Array::new(&[users, items], stored).into())
    }

    /// Recall and NDCG of held-out interactions, at equal distances among them where there are many; nothing without any.
    fn score(
        &self,
        factors: &ImplicitFactors,
        observed: &ImplicitFeedback,
        holdout: &Interactions,
    ) -> Result<Vec<(&'static str, f64)>> {
        let count = holdout.len().min(SCORED);
        let width = self.n_factors;
        let rank = |k: usize| -> usize {
            let row = k * holdout.len() / count;
            let (user, own) = (holdout.user[row] as usize, holdout.item[row]);
            let x = &factors.users[user * width..][..width];
            let score = |item: u32| -> f64 {
                factors.items[item as usize * width..][..width].iter().zip(x).map(|(y, x)| y * x).sum()
            };
            let (mine, taken) = (score(own), observed.by_user.columns(user).iter().collect::<HashSet<_>>());
            let others = (0..observed.by_item.rows() as u32).filter(|&item| item != own && !taken.contains(&item));
            // Items that score alike, as those of a user without factors, stand before it: a tie is no success.
            1 + others.filter(|&item| score(item) >= mine).take(RECALL_AT).count()
        };
        let ranks: Vec<usize> = (0..count).into_par_iter().map(rank).collect();
        let mean = |of: &dyn Fn(usize) -> f64| ranks.iter().map(|&rank| of(rank)).sum::<f64>() / count as f64;
        if count == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![
            ("recall_at_20.holdout", mean(&|rank| f64::from(u8::from(rank <= RECALL_AT)))),
            ("ndcg_at_10.holdout", mean(&|rank| if rank <= NDCG_AT { 1.0 / (1.0 + rank as f64).log2() } else { 0.0 })),
        ])
    }
}

#[cfg(test)]
#[path = "ials_tests.rs"]
mod tests;
