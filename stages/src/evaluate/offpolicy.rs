//! `evaluate.offpolicy`: what a policy would have earned, as far as a log of others can tell without any simulator.
//!
//! Row t of a log shows item a_t in state s_t, drawn by a logging policy μ, and the rating r_t; w_t = π(a_t|s_t) / μ(a_t|u).
//! In units of the log's rating for one recommendation:
//!
//! - `ips`: Σ w r / n (Horvitz and Thompson 1952); `snips`: Σ w r / Σ w (Swaminathan and Joachims 2015, eq. 7)
//! - `per_decision`: Σ_t (Π_{k≤t} w_k) r_t / n over episodes (Precup, Sutton and Singh 2000, eq. 4; γ = 1)
//! - `doubly_robust`: Σ [q(s) + w·(r − r̂(u, a))] / n with q(s) = Σ_a π(a|s) r̂(u, a) (Dudík, Langford and Li 2011, eq. 2)
//! - `direct`: Σ q(s) / n: the world model's word alone
//!
//! An episode is a run of at most `horizon` interactions of one user in the order of time. All but `per_decision` take the
//! states as the log had them. Intervals are over users. Where few rows carry all the weight, nothing can be concluded, and
//! the row says so. Left out: logging propensities of each single row, which no benchmark here has.

use anyhow::{Context as _, Result, ensure};
use pipeline::{Apart, Context, Many, Named, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Grid, Resampling};
use super::origin::called;
use super::weighing::{Logged, by_user, effective};
use crate::artifact::{Estimate, Estimates, Interactions, Policy, Propensities, World};
use crate::env::{Observation, Student, states};
use crate::nn::ActorCritic;

/// States that a network takes at once.
const BATCH: usize = 512;
/// The estimators in the order of the table.
const ESTIMATORS: [&str; 5] = ["ips", "snips", "per_decision", "doubly_robust", "direct"];

/// `evaluate.offpolicy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OffPolicy {
    /// How the items of the log were chosen.
    pub logging: Logging,
    /// Interactions of one user that make an episode, from 1; 5 by default, for products of more weights say nothing.
    pub horizon: usize,
    /// No weight counts more than this; nothing is cut when absent. Less variance for some bias.
    pub clip: Option<f64>,
    /// An estimate with a smaller effective sample is not conclusive; 100 by default.
    pub least_effective: f64,
    /// Resamples of users behind each interval, from 100; 2000 by default.
    pub bootstrap: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// How the items of a log were chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Logging {
    /// Each item alike, as Coat's random ratings were: μ = 1/|I|.
    #[default]
    Uniform,
    /// An estimate for logs of what people chose: an item's share in `train`, each item given one interaction more.
    Popularity,
    /// By the chances at `propensities`: one rating of a user is of an item with that pair's chance to be rated over the
    /// number of the user's ratings in the log.
    Propensities,
}

impl Default for OffPolicy {
    fn default() -> Self {
        Self { logging: Logging::Uniform, horizon: 5, clip: None, least_effective: 100.0, bootstrap: 2000, seed: 0 }
    }
}

pipeline::ports! {
    /// What is estimated from what.
    pub struct Inputs {
        /// r̂: a world fitted on other interactions than those of the log, for `doubly_robust` and `direct`.
        world: World,
        /// Interactions that no policy learned from.
        log: Interactions,
        /// What tells an item's popularity, wanted for `logging: popularity`.
        train: Option<Interactions>,
        /// How likely each pair of the log was to be rated, wanted for `logging: propensities`.
        propensities: Option<Propensities>,
        /// Who is estimated.
        policies: Many<Policy>,
    }
}

pipeline::ports! {
    /// What was estimated.
    pub struct Outputs {
        /// One row a policy, cell and estimator.
        estimates: Estimates,
    }
}

impl Stage for OffPolicy {
    const KIND: &'static str = "evaluate.offpolicy";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "estimate from a log, without a simulator, what policies would have earned";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.horizon == 0 {
            return wrong("horizon", "an episode has at least one interaction");
        }
        if self.clip.is_some_and(|clip| !(clip > 0.0 && clip.is_finite())) {
            return wrong("clip", "the largest weight is above 0");
        }
        if !(self.least_effective >= 1.0 && self.least_effective.is_finite()) {
            return wrong("least_effective", "an effective sample is 1 or more");
        }
        if self.bootstrap < 100 {
            return wrong("bootstrap", "the ends of a 95 % interval need at least 100 resamples");
        }
        Ok(())
    }

    fn apart(&self) -> Vec<Apart> {
        let apart = |from| Apart {
            port: "log",
            from,
            except: &["holdout"],
            why: "what was learned from a log looks better in it than elsewhere",
            help: "estimate from interactions that were kept back, such as `split.test`",
        };
        ["policies", "world"].map(apart).into()
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let Inputs { world, log, policies, .. } = &inputs;
        let episodes = Episodes::of(log, world, self.horizon)?;
        let propensity = self.propensity(&inputs, &episodes)?;
        let bar = cx.bar("estimate", Some(policies.len() as u64), "policies");
        let mut estimates = Vec::new();
        for policy in policies {
            cx.go_on()?;
            let network = Student::load(&policy.value, world.users(), world.items()).with_context(|| called(policy))?;
            let logged = episodes.judged(&network, world, &propensity, self.clip)?;
            estimates.extend(self.estimates(policy, &logged));
            bar.inc(1);
        }
        Ok(Outputs { estimates: Estimates(estimates) })
    }
}

impl OffPolicy {
    /// μ(a|u) of each row.
    fn propensity(&self, inputs: &Inputs, episodes: &Episodes) -> Result<Vec<f64>> {
        let items = inputs.world.items();
        match self.logging {
            Logging::Uniform => Ok(vec![1.0 / items as f64; episodes.log.item.len()]),
            Logging::Popularity => {
                let train = inputs.train.as_ref().context(
                    "`logging: popularity` needs to know what is popular. help: connect the train part of the split to `train`",
                )?;
                let shares = shares(train, items)?;
                Ok(episodes.log.item.iter().map(|&item| shares[item as usize]).collect())
            }
            Logging::Propensities => {
                let known = inputs.propensities.as_ref().context(
                    "`logging: propensities` needs them. help: connect `world.propensities` of the log to `propensities`",
                )?;
                let mut rated = vec![0.0; inputs.world.users()];
                episodes.log.user.iter().for_each(|&user| rated[user as usize] += 1.0);
                let chances = known.of(&episodes.log)?.into_iter().zip(&episodes.log.user);
                Ok(chances.map(|(chance, &user)| chance / rated[user as usize]).collect())
            }
        }
    }

    fn estimates(&self, policy: &Named<Policy>, logged: &[Logged]) -> Vec<Estimate> {
        let users = by_user(logged);
        let grids: [[Grid; 2]; 5] =
            std::array::from_fn(|k| std::array::from_fn(|end| vec![users.iter().map(|sums| sums[k][end]).collect()]));
        let bootstrap = Bootstrap { seed: self.seed, resamples: self.bootstrap, resampling: Resampling::Crossed };
        let found = bootstrap.intervals(&[(0, 1)], users.len(), |draws| {
            // Without any weight in a resample nothing was earned either.
            grids.iter().map(|[top, bottom]| draws[0].sum(top) / draws[0].sum(bottom).max(f64::MIN_POSITIVE)).collect()
        });
        let sizes = effective(logged);
        let estimate = |k: usize| {
            let enough = sizes[k] >= self.least_effective;
            let model_alone = ESTIMATORS[k] == "direct";
            Estimate {
                policy: policy.name.clone(),
                cell: policy.cell.clone(),
                estimator: ESTIMATORS[k].to_owned(),
                value: found[k].mean,
                low: found[k].low,
                high: found[k].high,
                effective_sample: sizes[k],
                rows: logged.len() as u32,
                conclusive: enough && !model_alone,
                remark: self.remark(enough, model_alone),
            }
        };
        (0..ESTIMATORS.len()).map(estimate).collect()
    }

    fn remark(&self, enough: bool, model_alone: bool) -> String {
        if model_alone {
            return "the world model's word alone: no logged rating enters".to_owned();
        }
        let mut remark = match self.logging {
            Logging::Uniform => "items of the log taken as drawn alike".to_owned(),
            Logging::Popularity => "items of the log taken as drawn by their share in `train`, an estimate".to_owned(),
            Logging::Propensities => "items of the log taken as drawn by their propensities".to_owned(),
        };
        if let Some(clip) = self.clip {
            remark += &format!("; weights cut at {clip}");
        }
        if !enough {
            remark += &format!(
                "; not conclusive: the effective sample is below {}, a few rows carry the weight",
                self.least_effective
            );
        }
        remark
    }
}

/// Each item's share in a log, one interaction added to each.
fn shares(train: &Interactions, items: usize) -> Result<Vec<f64>> {
    let mut counts = vec![1.0; items];
    for &item in &train.item {
        let count = counts.get_mut(item as usize);
        *count.with_context(|| format!("`train` names item {item}, the world has {items}"))? += 1.0;
    }
    let all: f64 = counts.iter().sum();
    Ok(counts.into_iter().map(|count| count / all).collect())
}

/// The log as episodes, one after the other, users in order.
struct Episodes {
    log: Interactions,
    /// Turns before this one in the same episode.
    turn: Vec<usize>,
}

impl Episodes {
    fn of(log: &Interactions, world: &World, horizon: usize) -> Result<Self> {
        ensure!(
            !log.is_empty(),
            "the log has no row. help: connect interactions that were kept back, such as `split.test`"
        );
        let (users, items) = (world.users(), world.items());
        for (row, (&user, &item)) in log.user.iter().zip(&log.item).enumerate() {
            ensure!(
                (user as usize) < users && (item as usize) < items,
                "row {row} of the log is of user {user} and item {item}, the world has {users} users and {items} items. help: \
                 make both from one ingest stage"
            );
        }
        let mut order: Vec<usize> = (0..log.len()).collect();
        order.sort_by_key(|&row| (log.user[row], log.timestamp[row]));
        let log = log.take(&order);
        let mut turn = Vec::with_capacity(log.len());
        for (row, &user) in log.user.iter().enumerate() {
            let goes_on = row > 0 && log.user[row - 1] == user && turn[row - 1] + 1 < horizon;
            turn.push(if goes_on { turn[row - 1] + 1 } else { 0 });
        }
        Ok(Self { log, turn })
    }

    /// Every row as a policy sees it.
    fn judged(
        &self,
        network: &ActorCritic,
        world: &World,
        propensity: &[f64],
        clip: Option<f64>,
    ) -> Result<Vec<Logged>> {
        let window = network.shape().window;
        let (horizon, padding) = (world.rules.horizon, world.items() as u32);
        let mut judged = Vec::with_capacity(self.log.user.len());
        for begin in (0..self.log.user.len()).step_by(BATCH) {
            let rows = begin..(begin + BATCH).min(self.log.user.len());
            let mut observation = Observation::of(world, window);
            for row in rows.clone() {
                let past = row - self.turn[row]..row;
                let (items, rewards) = (&self.log.item[past.clone()], &self.log.rating[past]);
                observation.push(self.log.user[row], items, rewards, horizon, padding);
            }
            let logits = network.logits(&states(network, &observation)?)?.flatten_all()?.to_vec1::<f32>()?;
            for (row, logits) in rows.zip(logits.chunks_exact(world.items())) {
                let (user, item) = (self.log.user[row], self.log.item[row] as usize);
                let chances = softmax(logits);
                let expected = world.reward.row(user as usize);
                let weight = chances[item] / propensity[row];
                judged.push(Logged {
                    user,
                    turn: self.turn[row],
                    weight: clip.map_or(weight, |clip| weight.min(clip)),
                    rating: f64::from(self.log.rating[row]),
                    expected: f64::from(expected[item]),
                    value: chances.iter().zip(expected).map(|(p, &r)| p * f64::from(r)).sum(),
                });
            }
        }
        Ok(judged)
    }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let high = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let parts: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - high).exp()).collect();
    let total: f64 = parts.iter().sum();
    parts.into_iter().map(|part| part / total).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::env::cluster_world;
    use crate::nn::Encoder;
    use crate::nn::actor_critic::Shape;

    const ROWS: [(u32, usize, f64, f64, f64, f64); 4] = [
        // user, turn, weight, rating, r̂, q
        (0, 0, 2.0, 5.0, 4.0, 3.0),
        (0, 1, 0.5, 3.0, 3.0, 2.0),
        (0, 0, 1.0, 1.0, 2.0, 2.0),
        (1, 0, 4.0, 2.0, 1.0, 1.0),
    ];

    fn logged() -> Vec<Logged> {
        let row =
            |&(user, turn, weight, rating, expected, value)| Logged { user, turn, weight, rating, expected, value };
        ROWS.iter().map(row).collect()
    }

    #[test]
    fn estimates_and_effective_samples_by_hand() {
        // w·r: 10, 1.5, 1 | 8. Products of weights: 2, 1, 1 | 4. q + w(r − r̂): 5, 2, 1 | 5.
        let users = by_user(&logged());
        assert_eq!(users[0], [[12.5, 3.0], [12.5, 3.5], [14.0, 3.0], [8.0, 3.0], [7.0, 3.0]]);
        assert_eq!(users[1], [[8.0, 1.0], [8.0, 4.0], [8.0, 1.0], [5.0, 1.0], [1.0, 1.0]]);
        let single = 7.5 * 7.5 / (4.0 + 0.25 + 1.0 + 16.0);
        assert_eq!(effective(&logged()), [single, single, 64.0 / 22.0, single, 4.0]);
        let policy = Named { name: "p".into(), cell: String::new(), value: policy(&world()) };
        let found = OffPolicy { least_effective: 2.7, ..OffPolicy::default() }.estimates(&policy, &logged());
        let values: Vec<f64> = found.iter().map(|estimate| estimate.value).collect();
        assert_eq!(values, [20.5 / 4.0, 20.5 / 7.5, 22.0 / 4.0, 13.0 / 4.0, 8.0 / 4.0]);
        // 64/22 = 2.9 is enough, 2.65 is not, and the model alone never is.
        let conclusive: Vec<bool> = found.iter().map(|estimate| estimate.conclusive).collect();
        assert_eq!(conclusive, [false, false, true, false, false]);
        assert!(found[0].remark.contains("not conclusive") && !found[2].remark.contains("not conclusive"));
        // Two users: each interval runs from the one to the other.
        assert_eq!((found[0].low, found[0].high), (12.5 / 3.0, 8.0));
    }

    fn world() -> World {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, 2);
        world.reward.data.iter_mut().enumerate().for_each(|(k, reward)| *reward += k as f32 / 10.0);
        world
    }

    fn policy(world: &World) -> Policy {
        let shape = Shape {
            users: 2,
            items: 6,
            width: 3,
            window: 2,
            hidden: 4,
            prior: 2.0,
            avoid: 0.0,
            alike_share: 0.5,
            encoder: Encoder::Window,
        };
        let mut vectors = world.user_vectors.clone();
        vectors.data = vec![0.5, 0.25, 0.0, 0.0, 0.5, 1.0];
        let network = ActorCritic::new(shape, &vectors, &world.item_vectors, 7).unwrap();
        Policy::new(network.export().unwrap(), "rl.a2c", world).unwrap()
    }

    /// Every item once, with the rating that the world expects: then each estimator is the policy's expected rating.
    fn whole_log(world: &World) -> Interactions {
        let (user, item): (Vec<u32>, Vec<u32>) = (0..12).map(|k| (k / 6, k % 6)).unzip();
        Interactions { user, item, rating: world.reward.data.clone(), timestamp: (0..12).collect() }
    }

    fn run(stage: &OffPolicy, log: Interactions, train: Option<Interactions>) -> Result<Vec<Estimate>> {
        let (world, propensities) = (world(), None);
        let policies = vec![Named { name: "p".into(), cell: "seed=0".into(), value: policy(&world) }];
        let inputs = Inputs { world, log, train, propensities, policies };
        Ok(stage.run(inputs, &Context::detached(Path::new("unused")))?.estimates.0)
    }

    #[test]
    fn on_a_log_that_shows_everything_all_estimators_agree() {
        let stage = OffPolicy { horizon: 1, ..OffPolicy::default() };
        let found = run(&stage, whole_log(&world()), None).unwrap();
        assert_eq!(found.len(), 5);
        for estimate in &found {
            assert!((estimate.value - found[4].value).abs() < 1e-6, "{estimate:?}");
            assert!(estimate.value > 3.0 && estimate.value < 6.2);
            assert_eq!((estimate.rows, estimate.cell.as_str()), (12, "seed=0"));
        }
        // The policy is not uniform, or the test would say little.
        assert!(found[0].effective_sample < 11.9, "{}", found[0].effective_sample);
        // Weights of at most ½: of 12 rows of mean weight 1 that is a smaller estimate.
        let cut = run(&OffPolicy { clip: Some(0.5), ..stage.clone() }, whole_log(&world()), None).unwrap();
        assert!(cut[0].value < found[0].value && cut[0].remark.contains("weights cut at 0.5"));
    }

    #[test]
    fn episodes_are_runs_of_one_user_in_time() {
        let log = Interactions {
            user: vec![1, 0, 1, 1, 1],
            item: vec![3, 0, 2, 1, 0],
            rating: vec![3.0, 9.0, 2.0, 1.0, 0.0],
            timestamp: vec![30, 5, 20, 10, 40],
        };
        let episodes = Episodes::of(&log, &world(), 3).unwrap();
        assert_eq!(episodes.log.item, [0, 1, 2, 3, 0]);
        assert_eq!(episodes.turn, [0, 0, 1, 2, 0]);
    }

    #[test]
    fn propensities_are_shared_among_the_ratings_of_a_user() {
        let log =
            Interactions { user: vec![0, 0, 1], item: vec![2, 1, 3], rating: vec![1.0; 3], timestamp: vec![1, 2, 3] };
        let world = world();
        let episodes = Episodes::of(&log, &world, 5).unwrap();
        let stage = OffPolicy { logging: Logging::Propensities, ..OffPolicy::default() };
        let found = |pairs: Option<Vec<(u32, u32, f64)>>| {
            let propensities = pairs.map(|pairs| Propensities::new(pairs).unwrap());
            let (world, log) = (world.clone(), log.clone());
            stage.propensity(&Inputs { world, log, train: None, propensities, policies: Vec::new() }, &episodes)
        };
        let pairs = vec![(0, 2, 0.5), (0, 1, 0.25), (1, 3, 0.125)];
        assert_eq!(found(Some(pairs.clone())).unwrap(), [0.25, 0.125, 0.125]);
        assert!(found(None).unwrap_err().to_string().contains("help: connect `world.propensities`"));
        let error = found(Some(pairs[1..].to_vec())).unwrap_err().to_string();
        assert!(error.starts_with("user 0 rated item 2, but there is no propensity of that."), "{error}");
    }

    #[test]
    fn popularity_is_a_share_and_what_cannot_be_estimated_is_named() {
        let stage = OffPolicy { logging: Logging::Popularity, ..OffPolicy::default() };
        // Counts 1 + [2, 0, 0, 0, 0, 1] of 9.
        let train = Interactions { user: vec![0; 3], item: vec![0, 0, 5], rating: vec![1.0; 3], timestamp: vec![0; 3] };
        assert_eq!(shares(&train, 6).unwrap(), [3.0, 1.0, 1.0, 1.0, 1.0, 2.0].map(|count| count / 9.0));
        assert!(shares(&train, 5).unwrap_err().to_string().contains("item 5"));
        assert!(run(&stage, whole_log(&world()), Some(train)).unwrap()[0].remark.contains("an estimate"));
        let error = |log, stage| format!("{:#}", run(stage, log, None).unwrap_err());
        assert!(error(whole_log(&world()), &stage).contains("help: connect the train part"));
        let uniform = OffPolicy::default();
        assert!(error(Interactions::default(), &uniform).contains("help: connect interactions that were kept back"));
        let mut strange = whole_log(&world());
        strange.item[3] = 6;
        assert!(error(strange, &uniform).starts_with("row 3 of the log is of user 0 and item 6"));
    }
}
