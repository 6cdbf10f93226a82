//! r̂(u, i) = μ + b_i + b_u, with b_i = (Σ_u w(r − μ) + λ_i·m_i) / (Σ_u w + λ_i) and b_u = Σ_i w(r − μ − b_i) / (Σ_i w + λ_u).
//!
//! The posterior means of a normal model in one pass, items first (Koren, Bell and Volinsky 2009, § "adding biases"). `m` is the
//! prior mean of the item biases: what is known of an item before anybody rated it. λ_i counts the ratings that it is worth.

use crate::artifact::Interactions;

/// How strongly biases are drawn to their prior means, in ratings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularization {
    /// λ_i.
    pub item: f64,
    /// λ_u.
    pub user: f64,
}

/// The fitted biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Biases {
    /// μ: the mean rating that the biases deviate from.
    pub mean: f64,
    /// b_i, one an item.
    pub item: Vec<f64>,
    /// b_u, one a user.
    pub user: Vec<f64>,
}

impl Biases {
    /// Fits them to `log` around `mean`; `weights` are one a row, `prior` is m, one an item, 0 where absent.
    #[must_use]
    pub fn fit(
        log: &Interactions,
        weights: &[f64],
        mean: f64,
        [users, items]: [usize; 2],
        regularization: Regularization,
        prior: Option<&[f64]>,
    ) -> Self {
        let rest: Vec<f64> = log.rating.iter().map(|&r| f64::from(r) - mean).collect();
        let item = posterior_means(&log.item, &rest, weights, regularization.item, prior, items);
        let rest: Vec<f64> = rest.iter().zip(&log.item).map(|(x, &i)| x - item[i as usize]).collect();
        let user = posterior_means(&log.user, &rest, weights, regularization.user, None, users);
        Self { mean, item, user }
    }

    /// r̂ of a user and an item.
    #[must_use]
    pub fn predict(&self, user: u32, item: u32) -> f64 {
        self.mean + self.item[item as usize] + self.user[user as usize]
    }

    /// Σ_k weights_k · models_k, of models of one size and one mean: the mixture's mean.
    #[must_use]
    pub fn mixture(models: &[Self], weights: &[f64]) -> Self {
        let sum = |pick: fn(&Self) -> &Vec<f64>| {
            let mut total = vec![0.0; pick(&models[0]).len()];
            for (model, weight) in models.iter().zip(weights) {
                total.iter_mut().zip(pick(model)).for_each(|(total, x)| *total += weight * x);
            }
            total
        };
        Self { mean: models[0].mean, item: sum(|model| &model.item), user: sum(|model| &model.user) }
    }
}

/// For each of `count` groups (Σ w·x + λ·m) / (Σ w + λ); m for one without any, whatever λ.
fn posterior_means(
    group: &[u32],
    x: &[f64],
    weights: &[f64],
    shrink: f64,
    prior: Option<&[f64]>,
    count: usize,
) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); count];
    for ((&group, x), w) in group.iter().zip(x).zip(weights) {
        let (sum, all) = &mut sums[group as usize];
        *sum += w * x;
        *all += w;
    }
    let mean = |(at, (sum, all)): (usize, &(f64, f64))| {
        let prior = prior.map_or(0.0, |prior| prior[at]);
        if *all == 0.0 { prior } else { (sum + shrink * prior) / (all + shrink) }
    };
    sums.iter().enumerate().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Interactions {
        Interactions { user: vec![0, 0, 1], item: vec![0, 1, 0], rating: vec![5.0, 1.0, 3.0], timestamp: vec![0; 3] }
    }

    #[test]
    fn biases_by_hand_with_and_without_a_prior_mean() {
        let strength = Regularization { item: 1.0, user: 2.0 };
        // μ = 3; b_0 = (2 + 0)/(2 + 1), b_1 = −2/2, b_2 = 0; user 0: (4/3 − 1)/(2 + 2), user 1: −2/3/3.
        let plain = Biases::fit(&log(), &[1.0; 3], 3.0, [2, 3], strength, None);
        let near = |found: &[f64], wanted: &[f64]| {
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} for {wanted:?}");
        };
        near(&plain.item, &[2.0 / 3.0, -1.0, 0.0]);
        near(&plain.user, &[1.0 / 12.0, -2.0 / 9.0]);
        assert_eq!(plain, Biases::fit(&log(), &[1.0; 3], 3.0, [2, 3], strength, Some(&[0.0; 3])));
        // A prior mean of 1 counts as one rating of μ + 1; an unrated item is what is known of it.
        let prior = Biases::fit(&log(), &[1.0; 3], 3.0, [2, 3], strength, Some(&[1.0, 0.0, -0.5]));
        near(&prior.item, &[1.0, -1.0, -0.5]);
        assert_eq!(prior.predict(0, 2), 3.0 - 0.5 + prior.user[0]);
    }

    #[test]
    fn a_mixture_is_the_weighted_mean() {
        let of = |x: f64| Biases { mean: 3.0, item: vec![x, 2.0 * x], user: vec![-x] };
        let mixed = Biases::mixture(&[of(1.0), of(3.0)], &[0.25, 0.75]);
        assert_eq!(mixed, of(2.5));
    }
}
