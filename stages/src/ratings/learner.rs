//! A learner: from a few ratings, and what is known of the items, to a score of every user and item.
//!
//! Item biases deviate from a prior mean m_i = β·s·z_i + x_i·θ. z are a language model's scores of the items, standardised over the
//! catalogue; s is the standard deviation of the ratings; x are genre and year with θ by ridge regression. β and the strength λ_i are
//! not chosen but averaged over: every pair of a grid is fitted, and counts by its cross-validated error
//! ([`member_weights`](super::member_weights)). Without ratings all pairs count alike, and the items are ranked by the model's scores
//! alone; with many, only what the ratings support is left. The same holds for the regularisation of the factors.

use super::{Biases, Design, Factors, Regularization, folds, member_weights};
use crate::artifact::Interactions;

/// β: how much of the ratings' spread a standard deviation of the model's scores may stand for.
const BETAS: [f64; 7] = [0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8];
/// λ_i, in ratings.
const ITEM_REGULARIZATIONS: [f64; 5] = [1.0, 3.0, 10.0, 30.0, 100.0];
/// λ_u, in ratings.
const USER_REGULARIZATION: f64 = 3.0;
/// λ of the ridge regression on genre and year, in ratings.
const DESIGN_RIDGE: f64 = 10.0;
/// λ of the factors.
const FACTOR_REGULARIZATIONS: [f64; 3] = [5.0, 10.0, 20.0];
/// Factors of a user and an item.
const RANK: usize = 8;
/// Folds of the cross-validation.
const FOLDS: usize = 5;

/// Which model is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Learner {
    /// Item and user biases: popularity by mean rating.
    Biases,
    /// Biases around what genre and year predict.
    GenreAndYear,
    /// Biases and factors: what a user likes beyond what everybody likes.
    Factorization,
}

/// What is known of the items beside their ratings.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// Genre and year; used by [`Learner::GenreAndYear`].
    pub design: &'a Design,
    /// A model's scores with mean 0 and standard deviation 1, one an item; used by every learner where given.
    pub scores: Option<&'a [f64]>,
}

/// How much a fitted learner believes the model's scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriorStrength {
    /// The mean of β·s: how many rating points one standard deviation of the scores stands for.
    pub points: f64,
    /// The mean of λ_i: how many ratings the prior mean is worth.
    pub ratings: f64,
}

/// A fitted learner.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The biases; items' include their prior means.
    pub biases: Biases,
    /// Factors with their weights, which sum to at most 1.
    pub factors: Vec<(f64, Factors)>,
    /// How much it believes the scores.
    pub strength: PriorStrength,
    /// For each rating the score of its user and item by models that were fitted without it, on the scale of [`Fitted::scores`].
    pub out_of_fold: Vec<f64>,
}

impl Learner {
    /// Fits it to `log` of `[users, items]`; `seed` is that of the folds and the factors. An empty log leaves the prior mean.
    #[must_use]
    pub fn fit(self, log: &Interactions, size: [usize; 2], knowledge: Knowledge, seed: u64) -> Fitted {
        let fold_count = FOLDS.min(log.len());
        // One rating cannot be held out from itself.
        let fold = if fold_count < 2 { Vec::new() } else { folds(log.len(), fold_count, seed) };
        let parts: Vec<Part> = (0..if fold.is_empty() { 0 } else { fold_count })
            .map(|k| {
                let (held, kept): (Vec<usize>, Vec<usize>) = (0..log.len()).partition(|&row| fold[row] == k);
                Part { log: log.take(&kept), held }
            })
            .collect();
        let spread = deviation(log);
        let members: Vec<Member> = Member::grid(knowledge.scores.is_some());
        let fit_members = |log: &Interactions| -> Vec<Biases> {
            members.iter().map(|member| self.fit_biases(log, size, knowledge, spread, *member)).collect()
        };
        let of_parts: Vec<Vec<Biases>> = parts.iter().map(|part| fit_members(&part.log)).collect();
        let mut errors = vec![0.0; members.len()];
        for (part, fitted) in parts.iter().zip(&of_parts) {
            for (error, biases) in errors.iter_mut().zip(fitted) {
                *error += part.held.iter().map(|&row| residual(log, row, biases).powi(2)).sum::<f64>();
            }
        }
        let weights = member_weights(&errors, if parts.is_empty() { 0 } else { log.len() });
        let biases = Biases::mixture(&fit_members(log), &weights);
        let of_parts: Vec<Biases> = of_parts.iter().map(|fitted| Biases::mixture(fitted, &weights)).collect();
        let mut out_of_fold = vec![0.0; log.len()];
        for (part, biases) in parts.iter().zip(&of_parts) {
            part.held.iter().for_each(|&row| out_of_fold[row] = biases.item[log.item[row] as usize]);
        }
        let mean = |of: fn(&Member) -> f64| members.iter().zip(&weights).map(|(member, w)| w * of(member)).sum();
        let strength = PriorStrength {
            points: spread * mean(|member: &Member| member.beta),
            ratings: mean(|member: &Member| member.regularization),
        };
        let factors = match self {
            Self::Factorization if !parts.is_empty() => {
                fit_factors(log, size, (&parts, &of_parts), &biases, seed, &mut out_of_fold)
            }
            _ => Vec::new(),
        };
        Fitted { biases, factors, strength, out_of_fold }
    }

    /// One member of the grid.
    fn fit_biases(
        self,
        log: &Interactions,
        [users, items]: [usize; 2],
        knowledge: Knowledge,
        spread: f64,
        member: Member,
    ) -> Biases {
        let mean = mean(log);
        let mut prior = vec![0.0; items];
        if let Some(scores) = knowledge.scores {
            prior.iter_mut().zip(scores).for_each(|(prior, z)| *prior = member.beta * spread * z);
        }
        if self == Self::GenreAndYear {
            let (mut counts, mut sums) = (vec![0.0; items], vec![0.0; items]);
            for (&item, &rating) in log.item.iter().zip(&log.rating) {
                counts[item as usize] += 1.0;
                sums[item as usize] += f64::from(rating) - mean - prior[item as usize];
            }
            let beside = knowledge.design.regress(&counts, &sums, DESIGN_RIDGE);
            prior.iter_mut().zip(beside).for_each(|(prior, x)| *prior += x);
        }
        let regularization = Regularization { item: member.regularization, user: USER_REGULARIZATION };
        Biases::fit(log, &vec![1.0; log.len()], mean, [users, items], regularization, Some(&prior))
    }
}

impl Fitted {
    /// What every item is worth to a user beyond the user's own bias, which ranks nothing: b_i + Σ w·p_u·q_i.
    #[must_use]
    pub fn scores(&self, user: u32) -> Vec<f64> {
        let mut scores = self.biases.item.clone();
        for (weight, factors) in &self.factors {
            for (item, score) in scores.iter_mut().enumerate() {
                *score += weight * factors.predict(user, item as u32);
            }
        }
        scores
    }

    /// Whether it ranks the items alike for every user.
    #[must_use]
    pub fn impersonal(&self) -> bool {
        self.factors.is_empty()
    }
}

/// One pair of the grid.
#[derive(Clone, Copy, Debug)]
struct Member {
    beta: f64,
    regularization: f64,
}

impl Member {
    fn grid(scored: bool) -> Vec<Self> {
        let betas = if scored { &BETAS[..] } else { &BETAS[..1] };
        let pair = |&beta: &f64| ITEM_REGULARIZATIONS.map(|regularization| Self { beta, regularization });
        betas.iter().flat_map(pair).collect()
    }
}

/// The ratings outside of one fold, and the rows inside.
struct Part {
    log: Interactions,
    held: Vec<usize>,
}

/// Factors of what the biases leave, with weights by cross-validation; no factors at all are a member, too. Adds their part to
/// `out_of_fold`.
fn fit_factors(
    log: &Interactions,
    size: [usize; 2],
    (parts, of_parts): (&[Part], &[Biases]),
    biases: &Biases,
    seed: u64,
    out_of_fold: &mut [f64],
) -> Vec<(f64, Factors)> {
    let fit = |log: &Interactions, biases: &Biases, regularization: f64| {
        let rest: Vec<f64> = (0..log.len()).map(|row| residual(log, row, biases)).collect();
        Factors::fit([&log.user, &log.item], &rest, size, RANK, regularization, seed)
    };
    let mut errors = vec![0.0; 1 + FACTOR_REGULARIZATIONS.len()];
    let mut found: Vec<Vec<f64>> = vec![vec![0.0; log.len()]; FACTOR_REGULARIZATIONS.len()];
    for (part, biases) in parts.iter().zip(of_parts) {
        let of_members = FACTOR_REGULARIZATIONS.map(|regularization| fit(&part.log, biases, regularization));
        for &row in &part.held {
            let rest = residual(log, row, biases);
            errors[0] += rest.powi(2);
            for (k, factors) in of_members.iter().enumerate() {
                found[k][row] = factors.predict(log.user[row], log.item[row]);
                errors[k + 1] += (rest - found[k][row]).powi(2);
            }
        }
    }
    let weights = member_weights(&errors, log.len());
    for (found, weight) in found.iter().zip(&weights[1..]) {
        out_of_fold.iter_mut().zip(found).for_each(|(score, x)| *score += weight * x);
    }
    let kept = FACTOR_REGULARIZATIONS.iter().zip(&weights[1..]).filter(|&(_, &weight)| weight > 1e-3);
    kept.map(|(&regularization, &weight)| (weight, fit(log, biases, regularization))).collect()
}

fn residual(log: &Interactions, row: usize, biases: &Biases) -> f64 {
    f64::from(log.rating[row]) - biases.predict(log.user[row], log.item[row])
}

fn mean(log: &Interactions) -> f64 {
    log.rating.iter().map(|&r| f64::from(r)).sum::<f64>() / log.len().max(1) as f64
}

/// The standard deviation of the ratings; 1 where there is none.
fn deviation(log: &Interactions) -> f64 {
    let mean = mean(log);
    let variance = log.rating.iter().map(|&r| (f64::from(r) - mean).powi(2)).sum::<f64>() / log.len().max(1) as f64;
    if variance > 0.0 { variance.sqrt() } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::artifact::Items;
    use crate::nn::rng;

    const ITEMS: u32 = 40;

    fn quality(item: u32) -> f64 {
        f64::from(item * 17 % ITEMS) / 20.0 - 1.0
    }

    /// `rows` ratings 3 + quality + noise.
    fn log(rows: usize, seed: u64) -> Interactions {
        let mut draw = rng(&[seed, 7]);
        let mut log = Interactions::default();
        for _ in 0..rows {
            let item = draw.random_range(0..ITEMS);
            log.user.push(draw.random_range(0..50));
            log.item.push(item);
            log.rating.push((3.0 + quality(item) + draw.random_range(-1.7..1.7)) as f32);
            log.timestamp.push(0);
        }
        log
    }

    fn fit(learner: Learner, log: &Interactions, scores: Option<&[f64]>) -> Fitted {
        let design = Design::of_genres_and_years(&Items::default());
        learner.fit(log, [50, ITEMS as usize], Knowledge { design: &design, scores }, 1)
    }

    fn correlation(found: &[f64]) -> f64 {
        let truth: Vec<f64> = (0..ITEMS).map(quality).collect();
        let centred = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            x.iter().map(|x| x - mean).collect::<Vec<_>>()
        };
        let (x, y) = (centred(found), centred(&truth));
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()
    }

    #[test]
    fn without_ratings_the_model_alone_ranks_and_without_a_model_nothing_does() {
        let scores: Vec<f64> = (0..ITEMS).map(|item| quality(item) / 0.58).collect();
        let found = fit(Learner::Biases, &Interactions::default(), Some(&scores));
        assert!(correlation(&found.scores(0)) > 1.0 - 1e-9);
        assert!((found.strength.points - 0.35).abs() < 1e-9, "the mean of the grid: {:?}", found.strength);
        let bare = fit(Learner::Biases, &Interactions::default(), None);
        assert!(bare.scores(0).iter().all(|&score| score == 0.0));
    }

    #[test]
    fn good_scores_help_where_ratings_are_few_and_noise_is_forgotten_where_they_are_many() {
        let good: Vec<f64> = (0..ITEMS).map(|item| quality(item) / 0.58).collect();
        let mut draw = rng(&[3]);
        let noise: Vec<f64> = (0..ITEMS).map(|_| draw.random_range(-1.7..1.7)).collect();
        let of = |rows, scores| correlation(&fit(Learner::Biases, &log(rows, 5), scores).scores(0));
        assert!(of(60, Some(&good)) > of(60, None) + 0.1, "{} {}", of(60, Some(&good)), of(60, None));
        assert!((of(4000, Some(&noise)) - of(4000, None)).abs() < 0.01);
        let strength = |scores: &[f64]| fit(Learner::Biases, &log(400, 5), Some(scores)).strength;
        let (believed, doubted) = (strength(&good), strength(&noise));
        assert!(believed.points > 2.0 * doubted.points, "{believed:?} {doubted:?}");
        assert!(believed.ratings > doubted.ratings, "{believed:?} {doubted:?}");
    }

    #[test]
    fn factors_find_taste_where_there_is_some() {
        // Even users like even items.
        let mut taste = log(1500, 9);
        for row in 0..taste.len() {
            taste.rating[row] = if (taste.user[row] + taste.item[row]).is_multiple_of(2) { 4.0 } else { 2.0 };
        }
        let found = fit(Learner::Factorization, &taste, None);
        assert!(!found.impersonal());
        let scores = found.scores(2);
        assert!(scores[4] > scores[5] + 0.5, "{} {}", scores[4], scores[5]);
        assert_eq!(fit(Learner::Factorization, &log(300, 5), None).out_of_fold.len(), 300);
    }

    #[test]
    fn out_of_fold_scores_do_not_know_their_own_rating() {
        let mut one = log(200, 5);
        let before = fit(Learner::Biases, &one, None);
        let fold = folds(200, FOLDS, 1);
        one.rating[7] = 5.0;
        let after = fit(Learner::Biases, &one, None);
        // Only weights of the mixture know it; they are the same for all rows of the fold.
        let others =
            (0..200).filter(|&row| fold[row] == fold[7]).map(|row| before.out_of_fold[row] - after.out_of_fold[row]);
        assert!(others.into_iter().all(|change| change.abs() < 0.05));
    }
}
