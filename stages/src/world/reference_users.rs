//! A fitted world whose rewards are averages over reference users, who are like the user: for training offline learners.
//!
//! r(u, i) = Σ_{v ∈ S(u)} w_v·r̂(v, i), the weights add up to 1, and S(u) always holds the user u.
//!
//! `nearest`: the users with the largest cosine of what is known of them, weighted by it (Zhang et al. 2024, ROLeR, arXiv 2407.13163).
//! The authors' script for Coat takes 15 users, the fitted rewards as what is known, and no penalty.
//! `selected`: users who are like u and unlike each other, chosen one after the other, with equal weights; then anew by the refined
//! rewards, and so on (after Zhang et al. 2025, DARLR, arXiv 2505.07257).
//!
//! A model that was fitted to a few ratings a user errs differently for each user, and an average errs less where the reference users
//! share a taste; where they do not, it takes away what is personal. The penalty of the result is ROLeR's variance of the reference
//! users' rewards or their mean distance, or, after DARLR, `dynamic`: how little they represent the user, plus how much the last round
//! changed the reward.
//!
//! Of ROLeR we have read the abstract and the authors' program, of DARLR the abstract and a summary, for no program is published. DARLR
//! learns its choice, by an agent that is paid r̂ + λ_s·similarity + λ_d·diversity while the policy learns; here the choice is greedy by
//! similarity + λ_d·diversity and made before any policy learns, and the sum in `dynamic` is ours. Left out: ROLeR's weights that do not
//! add up to 1, and its rewards that are drawn or divided by the penalty.
//!
//! Users, items, distances, quit rules and the standard deviations of the fitted models stay; the vectors that policies start from are
//! of the new rewards. The stage holds users × users numbers.

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::{Context, MemoryNeed, Requirement, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::factorization::factorize;
use super::reference_averages::{References, averages, mean};
use super::user_similarity::{Similarity, of_log};
use super::world_memory::of_compared_users;
use crate::artifact::{Array, Interactions, Rewards, World};

/// `world.reference_users`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReferenceUsers {
    /// Who is a reference user: `nearest` or `selected`.
    pub by: By,
    /// What is known of a user, by which users are compared: the cosine of two such vectors is their similarity.
    pub indicators: Indicators,
    /// λ: the coefficient of the penalty that is taken from the averages, 0 or more. 0, the default, takes nothing.
    pub uncertainty_coef: f64,
    /// What the penalty is.
    pub uncertainty: Uncertainty,
}

/// Who is a reference user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum By {
    /// The most similar users.
    Nearest(Nearest),
    /// Users who are similar to the user and not to each other, chosen anew in every round.
    Selected(Selected),
}

impl Default for By {
    fn default() -> Self {
        Self::Nearest(Nearest::default())
    }
}

/// Settings of `by: nearest`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Nearest {
    /// How many reference users, the user included, 1 or more; ROLeR's script: Coat 15, Yahoo 20, KuaiRec and KuaiRand 30.
    pub n_users: usize,
    /// What each counts for.
    pub weights: Weights,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { n_users: 15, weights: Weights::Similarity }
    }
}

/// Settings of `by: selected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selected {
    /// How many reference users, the user included, 1 or more.
    pub n_users: usize,
    /// λ_d: what 1 − cos to the users chosen so far, on average, counts for beside the cosine to the user, 0 or more; 0 chooses the
    /// nearest, and above 1 the differences among them matter more than the similarity. The default is ours.
    pub diversity_coef: f64,
    /// How often users are chosen and rewards refined, 1 or more; by the rewards of the round before where `indicators` is `rewards`.
    pub rounds: u64,
}

impl Default for Selected {
    fn default() -> Self {
        Self { n_users: 15, diversity_coef: 0.5, rounds: 3 }
    }
}

/// What a reference user counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Weights {
    /// The similarity to the user, 0 where it is negative.
    #[default]
    Similarity,
    /// All the same.
    Equal,
}

/// What is known of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Indicators {
    /// The rewards of the world for all items.
    #[default]
    Rewards,
    /// The ratings at `interactions`, 0 for what the user did not rate. It needs users who rated the same items.
    Log,
}

/// What the penalty of user × item is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Uncertainty {
    /// The weighted variance of the reference users' rewards of the item, in units of the squared rating.
    #[default]
    Variance,
    /// 1 − the mean similarity of the reference users to the user: the same for all items.
    Distance,
    /// `distance` plus the change of the reward in the last round, |r_n − r_(n−1)|.
    Dynamic,
}

pipeline::ports! {
    /// The world to refine.
    pub struct Inputs {
        /// A fitted world.
        world: World,
        /// The ratings by which users are compared; for `indicators: log`.
        interactions: Option<Interactions>,
    }
}

pipeline::ports! {
    /// What comes out.
    pub struct Outputs {
        /// The training world; it may not be an evaluation world.
        world: World,
    }
}

impl Stage for ReferenceUsers {
    const KIND: &'static str = "world.reference_users";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "average a fitted world's rewards over similar users (ROLeR, DARLR)";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let refused = |path: &str, why: &str| Err((path.to_owned(), why.to_owned()));
        let (path, n_users) = match &self.by {
            By::Nearest(by) => ("by.nearest.n_users", by.n_users),
            By::Selected(by) => ("by.selected.n_users", by.n_users),
        };
        if n_users == 0 {
            return refused(path, "the user is one of the reference users, so there is at least one");
        }
        if let By::Selected(Selected { diversity_coef, rounds, .. }) = self.by {
            if !(diversity_coef >= 0.0 && diversity_coef.is_finite()) {
                return refused("by.selected.diversity_coef", "what a part counts for is 0 or more");
            }
            if rounds == 0 {
                return refused("by.selected.rounds", "rewards are refined at least once");
            }
        }
        if !(self.uncertainty_coef >= 0.0 && self.uncertainty_coef.is_finite()) {
            return refused("uncertainty_coef", "what a part counts for is 0 or more");
        }
        Ok(())
    }

    fn requirements(&self) -> Vec<Requirement> {
        let requirement = (self.indicators == Indicators::Log).then(|| Requirement {
            setting: "indicators",
            port: "interactions",
            connected: true,
            why: "it is `log`, so users are compared by their ratings".to_owned(),
            help: "connect the ratings that the world was fitted on, or take `indicators: rewards`",
        });
        requirement.into_iter().collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        of_compared_users(inputs)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let mut world = inputs.world;
        let (users, n_users) = (world.users(), self.n_users());
        ensure!(
            n_users <= users,
            "{n_users} reference users are wanted, but the world has {users} users\nhelp: set `n_users` to {users} or less"
        );
        let Rewards::Dense(fitted) = world.rewards().clone() else {
            let gigabytes = 4e-9 * users as f64 * world.items() as f64;
            bail!(
                "the rewards are averaged where they are stored ({gigabytes:.1} GB), and this world holds factors\nhelp: set `form: dense` \
                 in the world that is read, and keep fewer users and items by `filter.kcore` where that is too much"
            )
        };
        let log = match self.indicators {
            Indicators::Rewards => None,
            Indicators::Log => {
                let log = inputs.interactions.as_ref().context(
                    "`indicators` is `log`, but no `interactions` are connected\nhelp: connect the ratings that the world was fitted \
                     on, or take `indicators: rewards`",
                )?;
                log.check_within("interactions", users, world.items())?;
                Some(of_log(log, users, world.items()))
            }
        };
        let rounds = match self.by {
            By::Nearest(_) => 1,
            By::Selected(Selected { rounds, .. }) => rounds,
        };
        let (mut before, mut after) = (fitted.clone(), fitted.clone());
        let mut references = Vec::new();
        for _ in 0..rounds {
            before = after;
            references = self.references(&Similarity::of(log.as_ref().unwrap_or(&before), cx)?);
            after = averages(&before, &references);
        }
        let similar = mean(references.iter().map(|references| references.similarity));
        let change = mean(pairs(&after, &fitted).map(|(new, old)| (new - old).powi(2))).sqrt();
        cx.note(
            "reference users",
            format!("{n_users} of {users} each, of similarity {similar:.3}; rewards change by {change:.3} (root mean square)"),
        );
        if self.uncertainty_coef > 0.0 {
            let penalty = self.uncertainty.penalty(&before, &after, &references);
            cx.note(
                "penalty",
                format!("{:.4} on average, times {}", mean(penalty.iter().copied()), self.uncertainty_coef),
            );
            let penalties = penalty.iter().map(|penalty| (self.uncertainty_coef * penalty) as f32);
            after.data.iter_mut().zip(penalties).for_each(|(r, penalty)| *r -= penalty);
        }
        (world.user_vectors, world.item_vectors) = factorize(&after.clone().into(), world.user_vectors.shape[1], cx)?;
        world.set_rewards(after);
        Ok(Outputs { world })
    }
}

impl ReferenceUsers {
    fn n_users(&self) -> usize {
        match &self.by {
            By::Nearest(by) => by.n_users,
            By::Selected(by) => by.n_users,
        }
    }

    /// The reference users of each user.
    fn references(&self, similarity: &Similarity) -> Vec<References> {
        let (diversity_coef, weights) = match &self.by {
            By::Nearest(by) => (0.0, by.weights),
            By::Selected(by) => (by.diversity_coef, Weights::Equal),
        };
        let of = |user: usize| {
            let chosen = similarity.choose(user, self.n_users(), diversity_coef);
            let similarities = chosen.iter().map(|&other| similarity.between(user, other));
            let weight = |similar: f64| if weights == Weights::Equal { 1.0 } else { similar.max(0.0) };
            // The user is like itself, so this is at least 1.
            let sum: f64 = similarities.clone().map(weight).sum();
            References {
                similarity: mean(similarities.clone()),
                users: chosen.iter().copied().zip(similarities.map(|similar| weight(similar) / sum)).collect(),
            }
        };
        (0..similarity.users()).map(of).collect()
    }
}

impl Uncertainty {
    /// Of user × item, `[U · I]`, for rewards `before` the last round and `after` it.
    fn penalty(self, before: &Array, after: &Array, references: &[References]) -> Vec<f64> {
        let items = before.shape[1];
        let of = |(cell, (new, old)): (usize, (f64, f64))| {
            let (References { users, similarity }, item) = (&references[cell / items], cell % items);
            match self {
                Self::Variance => {
                    let apart =
                        |&(user, weight): &(usize, f64)| weight * (f64::from(before.row(user)[item]) - new).powi(2);
                    users.iter().map(apart).sum()
                }
                Self::Distance => 1.0 - similarity,
                Self::Dynamic => 1.0 - similarity + (new - old).abs(),
            }
        };
        pairs(after, before).enumerate().map(of).collect()
    }
}

fn pairs<'a>(one: &'a Array, other: &'a Array) -> impl Iterator<Item = (f64, f64)> + 'a {
    one.data.iter().zip(&other.data).map(|(&x, &y)| (f64::from(x), f64::from(y)))
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;
    use rand::seq::SliceRandom as _;

    use super::*;
    use crate::env::cluster_world;
    use crate::nn::rng;

    fn world(reward: &[&[f32]]) -> World {
        let (users, items) = (reward.len(), reward[0].len());
        let mut world = cluster_world(&vec![1.0; items], 1, 1, 10, users);
        world.set_rewards(Array::new(&[users, items], reward.concat()));
        let width = users.min(items).min(2);
        world.user_vectors = Array::new(&[users, width], vec![0.0; users * width]);
        world.item_vectors = Array::new(&[items, width], vec![0.0; items * width]);
        world
    }

    fn run(stage: &ReferenceUsers, world: World, interactions: Option<Interactions>) -> Result<World> {
        stage.check().unwrap();
        let folder = tempfile::tempdir().unwrap();
        Ok(stage.run(Inputs { world, interactions }, &Context::detached(folder.path()))?.world)
    }

    fn nearest(n_users: usize, weights: Weights) -> ReferenceUsers {
        ReferenceUsers { by: By::Nearest(Nearest { n_users, weights }), ..ReferenceUsers::default() }
    }

    fn close(found: &[f32], wanted: &[f64]) {
        let near = found.iter().zip(wanted).all(|(&f, w)| (f64::from(f) - w).abs() < 1e-6);
        assert!(near && found.len() == wanted.len(), "{found:?} for {wanted:?}");
    }

    #[test]
    fn the_nearest_are_averaged_by_their_similarity() {
        // cos(0, 1) = 24/25, cos(0, 2) = 0, cos(1, 2) = 7/25.
        let fitted = world(&[&[3.0, 4.0, 0.0], &[0.0, 0.0, 5.0], &[4.0, 3.0, 0.0]]);
        let found = run(&nearest(2, Weights::Similarity), fitted.clone(), None).unwrap();
        let (one, other) = (1.0 / 1.96, 0.96 / 1.96);
        close(&found.rewards_of(0), &[3.0 * one + 4.0 * other, 4.0 * one + 3.0 * other, 0.0]);
        // Nobody is like user 1: of two who are like it by 0, the first is taken, and counts for nothing.
        close(&found.rewards_of(1), &[0.0, 0.0, 5.0]);
        let equal = run(&nearest(2, Weights::Equal), fitted.clone(), None).unwrap();
        close(equal.stored_rewards(), &[3.5, 3.5, 0.0, 1.5, 2.0, 2.5, 3.5, 3.5, 0.0]);
        assert_ne!(equal.vectors_digest(), fitted.vectors_digest());
        assert_eq!((equal.item_distances(), &equal.rules), (fitted.item_distances(), &fitted.rules));
        // The user alone: nothing changes but the vectors, which are of the rewards.
        assert_eq!(run(&nearest(1, Weights::Equal), fitted.clone(), None).unwrap().rewards(), fitted.rewards());
    }

    #[test]
    fn penalties_agree_with_hand_computed_values() {
        let fitted = world(&[&[3.0, 4.0], &[4.0, 3.0]]);
        let lowered = |uncertainty| {
            let stage = ReferenceUsers { uncertainty_coef: 2.0, uncertainty, ..nearest(2, Weights::Equal) };
            run(&stage, fitted.clone(), None).unwrap().stored_rewards().to_vec()
        };
        // Both averages are 3.5; variance ¼, mean similarity (1 + 24/25)/2 = 0.98, change ½.
        close(&lowered(Uncertainty::Variance), &[3.5 - 2.0 * 0.25; 4]);
        close(&lowered(Uncertainty::Distance), &[3.5 - 2.0 * 0.02; 4]);
        close(&lowered(Uncertainty::Dynamic), &[3.5 - 2.0 * (0.02 + 0.5); 4]);
    }

    #[test]
    fn users_are_chosen_anew_by_what_was_refined() {
        let by = |rounds| By::Selected(Selected { n_users: 2, diversity_coef: 0.0, rounds });
        let stage = |rounds| ReferenceUsers { by: by(rounds), ..ReferenceUsers::default() };
        // 0 and 1 are nearest to each other; 2 is nearest to 1.
        let fitted = world(&[&[4.0, 0.0], &[4.0, 2.0], &[2.0, 4.0]]);
        let once = run(&stage(1), fitted.clone(), None).unwrap().stored_rewards().to_vec();
        close(&once, &[4.0, 1.0, 4.0, 1.0, 3.0, 3.0]);
        // Now 0 and 1 are the same; user 2 takes the first of them.
        close(run(&stage(2), fitted.clone(), None).unwrap().stored_rewards(), &[4.0, 1.0, 4.0, 1.0, 3.5, 2.0]);
        let lowered = ReferenceUsers { uncertainty: Uncertainty::Dynamic, uncertainty_coef: 1.0, ..stage(2) };
        let found = run(&lowered, fitted, None).unwrap();
        close(&found.rewards_of(0), &[4.0, 1.0]);
        let far = 0.5 * (1.0 - 5.0 / (17.0_f64.sqrt() * 2.0_f64.sqrt()));
        close(&found.rewards_of(2), &[3.5 - far - 0.5, 2.0 - far - 1.0]);
    }

    #[test]
    fn users_are_compared_by_their_ratings() {
        // The rewards say that 0 and 2 are alike, the log that 0 and 1 are.
        let fitted = world(&[&[3.0, 0.0], &[0.0, 5.0], &[1.0, 0.0]]);
        let log = Interactions {
            user: vec![0, 1, 2],
            item: vec![0, 0, 1],
            rating: vec![2.0, 4.0, 5.0],
            timestamp: vec![0; 3],
        };
        let stage = ReferenceUsers { indicators: Indicators::Log, ..nearest(2, Weights::Equal) };
        let found = run(&stage, fitted.clone(), Some(log.clone())).unwrap();
        close(&found.rewards_of(0), &[1.5, 2.5]);
        assert_eq!(stage.requirements().len(), 1);
        let error = |log| run(&stage, fitted.clone(), log).unwrap_err().to_string();
        assert!(error(None).contains("no `interactions` are connected\nhelp: "));
        assert!(error(Some(Interactions { user: vec![0, 1, 3], ..log })).contains("interactions"));
    }

    /// Users of `groups` tastes for items; the truth, and what a model with errors makes of it.
    fn planted(groups: usize, users: usize, items: usize, error: f32) -> (Array, Array) {
        let random = &mut rng(&[19, 8]);
        let tastes: Vec<f32> = (0..groups * items).map(|_| random.random_range(1.0..5.0)).collect();
        let truth: Vec<f32> = (0..users * items).map(|x| tastes[x / items % groups * items + x % items]).collect();
        // Uniform errors of that standard deviation.
        let fitted = truth.iter().map(|r| r + error * 12.0_f32.sqrt() * random.random_range(-0.5..0.5)).collect();
        (Array::new(&[users, items], truth), Array::new(&[users, items], fitted))
    }

    fn off(found: &Array, truth: &Array) -> f64 {
        mean(pairs(found, truth).map(|(x, y)| (x - y).powi(2))).sqrt()
    }

    /// What the ten items of largest reward are worth to each user.
    fn ten_best(found: &Array, truth: &Array) -> Vec<f64> {
        let of = |user: usize| {
            let mut items: Vec<usize> = (0..found.shape[1]).collect();
            items.sort_by(|&a, &b| found.row(user)[b].total_cmp(&found.row(user)[a]));
            items[..10].iter().map(|&item| f64::from(truth.row(user)[item])).sum()
        };
        (0..found.shape[0]).map(of).collect()
    }

    /// The mean difference by user, less and plus 1.96 standard errors.
    fn interval(one: &[f64], other: &[f64]) -> (f64, f64) {
        let differences = || one.iter().zip(other).map(|(a, b)| a - b);
        let middle = mean(differences());
        let error = (mean(differences().map(|d| (d - middle).powi(2))) / one.len() as f64).sqrt();
        (middle - 1.96 * error, middle + 1.96 * error)
    }

    #[test]
    fn users_of_one_taste_take_the_errors_of_a_model_away_and_others_do_not() {
        let (truth, fitted) = planted(4, 60, 30, 1.0);
        let rows: Vec<&[f32]> = (0..60).map(|user| fitted.row(user)).collect();
        let before = off(&fitted, &truth);
        for by in [By::Nearest(Nearest::default()), By::Selected(Selected::default())] {
            let stage = ReferenceUsers { by, ..ReferenceUsers::default() };
            let refined = run(&stage, world(&rows), None).unwrap().rewards_mut().clone();
            // Fifteen errors that have nothing to do with each other: about 1/√15 of one.
            let after = off(&refined, &truth);
            assert!(after < 0.5 * before, "{stage:?}: {after} of {before}");
            let gain = interval(&ten_best(&refined, &truth), &ten_best(&fitted, &truth));
            assert!(gain.0 > 0.5, "{stage:?}: {gain:?}");
            // The control: somebody else's reference users.
            let cx = Context::detached(std::path::Path::new("unused"));
            let mut others = stage.references(&Similarity::of(&fitted, &cx).unwrap());
            others.shuffle(&mut rng(&[19, 8, 1]));
            let shuffled = averages(&fitted, &others);
            assert!(off(&shuffled, &truth) > before, "{stage:?}");
            let loss = interval(&ten_best(&shuffled, &truth), &ten_best(&fitted, &truth));
            assert!(loss.1 < 0.0, "{stage:?}: {loss:?}");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        let selected = |selected| ReferenceUsers { by: By::Selected(selected), ..ReferenceUsers::default() };
        for (stage, path) in [
            (nearest(0, Weights::Equal), "by.nearest.n_users"),
            (selected(Selected { n_users: 0, ..Selected::default() }), "by.selected.n_users"),
            (selected(Selected { rounds: 0, ..Selected::default() }), "by.selected.rounds"),
            (selected(Selected { diversity_coef: -1.0, ..Selected::default() }), "by.selected.diversity_coef"),
            (ReferenceUsers { uncertainty_coef: f64::NAN, ..ReferenceUsers::default() }, "uncertainty_coef"),
        ] {
            assert_eq!(stage.check().unwrap_err().0, path);
        }
        let error = run(&nearest(4, Weights::Equal), world(&[&[1.0], &[2.0]]), None).unwrap_err().to_string();
        assert!(error.starts_with("4 reference users are wanted, but the world has 2 users\nhelp: "), "{error}");
        assert!(ReferenceUsers::default().requirements().is_empty());
    }
}
