//! A learner: from a few ratings, and what is known of the items, to a score of every user and item.
//!
//! Item biases deviate from a prior mean m_i = β·s·z_i + x_i·θ. z are a language model's scores of the items, standardised over the
//! catalogue; s is the standard deviation of the ratings; x are features such as genre and year, with θ by ridge regression. β, the
//! strength λ_i and the ridge are not chosen but averaged over: every member of a grid is fitted, and counts by its cross-validated
//! error ([`member_weights`]). Without ratings all members count alike, and the items are ranked by the model's scores alone; with
//! many, only what the ratings support is left. The same holds for the regularisation of the factors.
//!
//! Where the ratings are to say something of items that have none, whole items are held out ([`HoldOut::Items`]). β·s·z + x·θ is then all
//! that is known of a held-out item, λ_i is how much of an item's deviation it leaves unexplained ([`item_deviance`]), and the ridge
//! regression is that of the same model: an item counts as n·λ_i/(n + λ_i) ratings in it, not as n.

use super::{
    Biases, Design, Equations, Factors, HoldOut, Regularization, WeightedLog, deviance_weights, item_deviance,
    member_weights,
};
use crate::artifact::Interactions;

/// β: how much of the ratings' spread a standard deviation of the model's scores may stand for.
const BETAS: [f64; 7] = [0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8];
/// λ_i, in ratings.
const ITEM_REGULARIZATIONS: [f64; 5] = [1.0, 3.0, 10.0, 30.0, 100.0];
/// λ_u, in ratings.
const USER_REGULARIZATION: f64 = 3.0;
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
    /// Biases around what the features of an item predict.
    Features,
    /// Biases and factors: what a user likes beyond what everybody likes.
    Factorization,
}

/// What is known of the items beside their ratings.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// Features; used by [`Learner::Features`].
    pub design: &'a Design,
    /// A model's scores with mean 0 and standard deviation 1, one an item; used by every learner where given.
    pub scores: Option<&'a [f64]>,
}

/// How the members of the grid are compared.
#[derive(Clone, Copy, Debug)]
pub struct Validation {
    /// What is held out.
    pub hold_out: HoldOut,
    /// Seed of the folds and of the factors.
    pub seed: u64,
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
    /// Fits it to `log` of `[users, items]`. An empty log leaves the prior mean. Factors say nothing of an item without ratings.
    #[must_use]
    pub fn fit(self, log: &WeightedLog, size: [usize; 2], knowledge: Knowledge, validation: Validation) -> Fitted {
        let Validation { hold_out, seed } = validation;
        let rows = log.ratings.len();
        let fold = hold_out.folds(&log.ratings.item, FOLDS, seed);
        let parts: Vec<Part> = (0..fold.iter().max().map_or(0, |last| last + 1))
            .map(|k| {
                let (held, kept): (Vec<usize>, Vec<usize>) = (0..rows).partition(|&row| fold[row] == k);
                Part { log: log.take(&kept), held }
            })
            .collect();
        let grid = Grid::of(self, knowledge, log.deviation(), hold_out);
        let of_parts: Vec<Vec<Biases>> = parts.iter().map(|part| grid.fit(&part.log, size)).collect();
        let weights = grid.weights(log, size[1], &parts, &of_parts);
        let biases = Biases::mixture(&grid.fit(log, size), &weights);
        let of_parts: Vec<Biases> = of_parts.iter().map(|fitted| Biases::mixture(fitted, &weights)).collect();
        let mut out_of_fold = vec![0.0; rows];
        for (part, biases) in parts.iter().zip(&of_parts) {
            part.held.iter().for_each(|&row| out_of_fold[row] = biases.item[log.ratings.item[row] as usize]);
        }
        let strength = grid.strength(&weights);
        let factors = match self {
            Self::Factorization if !parts.is_empty() => {
                fit_factors(log, size, (&parts, &of_parts), &biases, seed, &mut out_of_fold)
            }
            _ => Vec::new(),
        };
        Fitted { biases, factors, strength, out_of_fold }
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

/// What is averaged over, and what its members have in common.
struct Grid<'a> {
    members: Vec<Member>,
    /// The features that are regressed on.
    design: Option<&'a Design>,
    scores: Option<&'a [f64]>,
    /// s.
    spread: f64,
    hold_out: HoldOut,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    beta: f64,
    ridge: f64,
    regularization: f64,
}

impl<'a> Grid<'a> {
    fn of(learner: Learner, knowledge: Knowledge<'a>, spread: f64, hold_out: HoldOut) -> Self {
        let Knowledge { design, scores } = knowledge;
        let design = Some(design).filter(|_| learner == Learner::Features);
        let ridges = design.map_or(&[0.0][..], Design::ridges);
        let mut members = Vec::new();
        for &beta in &BETAS[..if scores.is_some() { BETAS.len() } else { 1 }] {
            for &ridge in ridges {
                members.extend(ITEM_REGULARIZATIONS.map(|regularization| Member { beta, ridge, regularization }));
            }
        }
        Self { members, design, scores, spread, hold_out }
    }

    /// Fits every member, in their order.
    fn fit(&self, log: &WeightedLog, [users, items]: [usize; 2]) -> Vec<Biases> {
        let mean = log.mean();
        let regression = self.design.map(|design| Regression::of(design, &log.counts(items), self.hold_out));
        let mut fitted = Vec::with_capacity(self.members.len());
        // Members of one β and one ridge differ in λ_i alone.
        for alike in self.members.chunks_exact(ITEM_REGULARIZATIONS.len()) {
            let mut prior = vec![0.0; items];
            if let Some(scores) = self.scores {
                prior.iter_mut().zip(scores).for_each(|(prior, z)| *prior = alike[0].beta * self.spread * z);
            }
            let sums = log.sums(mean, &prior);
            let beside = regression.as_ref().map(|regression| regression.predict(&sums, alike[0].ridge));
            for (at, member) in alike.iter().enumerate() {
                let mut prior = prior.clone();
                // One prediction for all, or one for each.
                if let Some(of_features) = beside.as_ref().and_then(|found| found.get(at).or(found.first())) {
                    prior.iter_mut().zip(of_features).for_each(|(prior, x)| *prior += x);
                }
                let strength = Regularization { item: member.regularization, user: USER_REGULARIZATION };
                fitted.push(Biases::fit(&log.ratings, &log.weights, mean, [users, items], strength, Some(&prior)));
            }
        }
        fitted
    }

    /// The weights of the members by what those fitted without a part say of it.
    fn weights(&self, log: &WeightedLog, items: usize, parts: &[Part], of_parts: &[Vec<Biases>]) -> Vec<f64> {
        let members = 0..self.members.len();
        let of_parts = || parts.iter().zip(of_parts);
        match self.hold_out {
            HoldOut::Ratings => {
                let squared = |member: usize| -> f64 {
                    let error = |row: usize, biases| log.weights[row] * residual(log, row, biases).powi(2);
                    let of_part = |part: &Part, biases| part.held.iter().map(|&row| error(row, biases)).sum::<f64>();
                    of_parts().map(|(part, fitted)| of_part(part, &fitted[member])).sum()
                };
                let count = if parts.is_empty() { 0.0 } else { log.total() };
                member_weights(&members.map(squared).collect::<Vec<_>>(), count)
            }
            HoldOut::Items => {
                let counts = if parts.is_empty() { vec![0.0; items] } else { log.counts(items) };
                let deviance = |member: usize| {
                    let (mut square, mut sums) = (0.0, vec![0.0; items]);
                    for (part, fitted) in of_parts() {
                        for &row in &part.held {
                            let error = residual(log, row, &fitted[member]);
                            square += log.weights[row] * error.powi(2);
                            sums[log.ratings.item[row] as usize] += log.weights[row] * error;
                        }
                    }
                    item_deviance(square, &sums, &counts, self.members[member].regularization)
                };
                deviance_weights(&members.map(deviance).collect::<Vec<_>>())
            }
        }
    }

    fn strength(&self, weights: &[f64]) -> PriorStrength {
        let mean = |of: fn(&Member) -> f64| self.members.iter().zip(weights).map(|(member, w)| w * of(member)).sum();
        PriorStrength {
            points: self.spread * mean(|member: &Member| member.beta),
            ratings: mean(|member: &Member| member.regularization),
        }
    }
}

/// The ridge regression of one log: one for all members, or one for each λ_i.
struct Regression<'a>(Vec<(Equations<'a>, Vec<f64>)>);

impl<'a> Regression<'a> {
    fn of(design: &'a Design, counts: &[f64], hold_out: HoldOut) -> Self {
        let of_shares = |shares: Vec<f64>| {
            let counts: Vec<f64> = counts.iter().zip(&shares).map(|(count, share)| count * share).collect();
            (design.equations(&counts), shares)
        };
        Self(match hold_out {
            HoldOut::Ratings => vec![of_shares(vec![1.0; counts.len()])],
            HoldOut::Items => {
                let shares = |shrink: &f64| counts.iter().map(|count| shrink / (count + shrink)).collect();
                ITEM_REGULARIZATIONS.iter().map(shares).map(of_shares).collect()
            }
        })
    }

    fn predict(&self, sums: &[f64], ridge: f64) -> Vec<Vec<f64>> {
        let one = |(equations, shares): &(Equations, Vec<f64>)| {
            let sums: Vec<f64> = sums.iter().zip(shares).map(|(sum, share)| sum * share).collect();
            equations.regress(&sums, ridge)
        };
        self.0.iter().map(one).collect()
    }
}

/// The ratings outside of one fold, and the rows inside.
struct Part {
    log: WeightedLog,
    held: Vec<usize>,
}

/// Factors of what the biases leave, with weights by cross-validation; no factors at all are a member, too. Adds their part to
/// `out_of_fold`.
fn fit_factors(
    log: &WeightedLog,
    size: [usize; 2],
    (parts, of_parts): (&[Part], &[Biases]),
    biases: &Biases,
    seed: u64,
    out_of_fold: &mut [f64],
) -> Vec<(f64, Factors)> {
    let rows = log.ratings.len();
    let fit = |log: &WeightedLog, biases: &Biases, regularization: f64| {
        let rest: Vec<f64> = (0..log.ratings.len()).map(|row| residual(log, row, biases)).collect();
        Factors::fit([&log.ratings.user, &log.ratings.item], &rest, &log.weights, size, RANK, regularization, seed)
    };
    let mut errors = vec![0.0; 1 + FACTOR_REGULARIZATIONS.len()];
    let mut found: Vec<Vec<f64>> = vec![vec![0.0; rows]; FACTOR_REGULARIZATIONS.len()];
    for (part, biases) in parts.iter().zip(of_parts) {
        let of_members = FACTOR_REGULARIZATIONS.map(|regularization| fit(&part.log, biases, regularization));
        for &row in &part.held {
            let (rest, weight) = (residual(log, row, biases), log.weights[row]);
            errors[0] += weight * rest.powi(2);
            for (k, factors) in of_members.iter().enumerate() {
                found[k][row] = factors.predict(log.ratings.user[row], log.ratings.item[row]);
                errors[k + 1] += weight * (rest - found[k][row]).powi(2);
            }
        }
    }
    let weights = member_weights(&errors, log.total());
    for (found, weight) in found.iter().zip(&weights[1..]) {
        out_of_fold.iter_mut().zip(found).for_each(|(score, x)| *score += weight * x);
    }
    let kept = FACTOR_REGULARIZATIONS.iter().zip(&weights[1..]).filter(|&(_, &weight)| weight > 1e-3);
    kept.map(|(&regularization, &weight)| (weight, fit(log, biases, regularization))).collect()
}

fn residual(log: &WeightedLog, row: usize, biases: &Biases) -> f64 {
    let Interactions { user, item, rating, .. } = &log.ratings;
    f64::from(rating[row]) - biases.predict(user[row], item[row])
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::artifact::{Array, ItemVectors, Items};
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
        let knowledge = Knowledge { design: &design, scores };
        learner.fit(&WeightedLog::equal(log.clone()), [50, ITEMS as usize], knowledge, RATINGS)
    }

    const RATINGS: Validation = Validation { hold_out: HoldOut::Ratings, seed: 1 };

    fn centred(x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|x| x - mean).collect()
    }

    fn dot(x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).map(|(x, y)| x * y).sum()
    }

    fn correlation(found: &[f64]) -> f64 {
        let truth: Vec<f64> = (0..ITEMS).map(quality).collect();
        let (x, y) = (centred(found), centred(&truth));
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
    fn items_without_ratings_get_what_scores_and_vectors_say_of_others() {
        // Ratings of the first 30 items; the others are judged. Vectors hold the quality in one of their five numbers.
        let mut few = log(600, 5);
        few = few.take(&(0..few.len()).filter(|&row| few.item[row] < 30).collect::<Vec<_>>());
        let mut draw = rng(&[8]);
        let data = (0..ITEMS).flat_map(|item| {
            let noise: [f64; 4] = std::array::from_fn(|_| draw.random_range(-1.0..1.0));
            [noise[0], noise[1], quality(item), noise[2], noise[3]].map(|x| x as f32)
        });
        let vectors = ItemVectors {
            vectors: Array::new(&[ITEMS as usize, 5], data.collect()),
            space: "toy".into(),
            columns: vec![],
        };
        let text = Design::of_vectors(&vectors).unwrap();
        let other: Vec<usize> = (0..ITEMS as usize).map(|item| (item * 7 + 3) % ITEMS as usize).collect();
        let scores: Vec<f64> = (0..ITEMS).map(|item| quality(item) / 0.58 + draw.random_range(-1.0..1.0)).collect();
        let wrong: Vec<f64> = other.iter().map(|&item| scores[item]).collect();
        let unrated = |learner: Learner, design: &Design, scores: Option<&[f64]>| {
            let validation = Validation { hold_out: HoldOut::Items, seed: 1 };
            let log = WeightedLog::equal(few.clone());
            let found = learner.fit(&log, [50, ITEMS as usize], Knowledge { design, scores }, validation);
            assert!(found.out_of_fold.iter().any(|&x| x != 0.0) || (learner == Learner::Biases && scores.is_none()));
            (found.scores(0)[30..].to_vec(), found.strength)
        };
        let truth: Vec<f64> = (30..ITEMS).map(quality).collect();
        let agrees = |found: &[f64]| dot(&centred(found), &centred(&truth));
        let (by_text, _) = unrated(Learner::Features, &text, None);
        let (by_others, _) = unrated(Learner::Features, &text.permuted(&other), None);
        assert!(
            agrees(&by_text) > 0.8 && agrees(&by_others).abs() < 0.5 * agrees(&by_text),
            "{by_text:?} {by_others:?}"
        );
        assert_eq!(unrated(Learner::Biases, &text, None).0, [0.0; 10], "a mean knows nothing of them");
        let (by_scores, believed) = unrated(Learner::Biases, &text, Some(&scores));
        let (_, doubted) = unrated(Learner::Biases, &text, Some(&wrong));
        assert!(agrees(&by_scores) > 0.5 && believed.points > 3.0 * doubted.points, "{believed:?} {doubted:?}");
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
        let fold = HoldOut::Ratings.folds(&one.item, FOLDS, 1);
        one.rating[7] = 5.0;
        let after = fit(Learner::Biases, &one, None);
        // Only weights of the mixture know it; they are the same for all rows of the fold.
        let others =
            (0..200).filter(|&row| fold[row] == fold[7]).map(|row| before.out_of_fold[row] - after.out_of_fold[row]);
        assert!(others.into_iter().all(|change| change.abs() < 0.05));
    }
}
