//! `evaluate.offpolicy`: off-policy estimates of the reward of a policy from a log, without a simulator.
//!
//! Row t of a log shows item a_t in state s_t, drawn by a logging policy μ, and the rating r_t; w_t = π(a_t|s_t) / μ(a_t|u).
//! In units of the log's rating for one recommendation:
//!
//! - `ips`: Σ w r / n (Horvitz and Thompson 1952); `snips`: Σ w r / Σ w (Swaminathan and Joachims 2015, eq. 7)
//! - `per_decision`: Σ_t (Π_{k≤t} w_k) r_t / n over episodes (Precup, Sutton and Singh 2000, eq. 4; γ = 1)
//! - `doubly_robust`: Σ [q(s) + w·(r − r̂(u, a))] / n with q(s) = Σ_a π(a|s) r̂(u, a) (Dudík, Langford and Li 2011, eq. 2)
//! - `direct`: Σ q(s) / n: the prediction of the world model alone
//!
//! With `estimate_returns`, also of the discounted return of a whole episode: [`trajectories`] has these estimators.
//!
//! An episode is a run of at most `horizon` interactions of one user in the order of time. All but `per_decision` take the
//! states as the log had them. Intervals are over users. An estimate on which few rows carry the weight is marked as not
//! conclusive.

mod fitted_q;
mod trajectories;

use anyhow::{Context as _, Result, ensure};
use pipeline::{Artifact as _, Context, Many, MemoryNeed, Named, NoLeakage, Requirement, Sizes, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ActionSelection;
use super::bootstrap::{Bootstrap, Interval, Resampling, ScoreMatrix};
use super::importance_sampling::{LoggedRow, by_user, effective};
use super::leakage::policy_label;
use super::value_based::gives_values;
use crate::artifact::{Estimate, Estimates, Interactions, LoggedPropensities, PolicyFile, Propensities, World};
use crate::env::{Observation, PolicyAgent, states};
use crate::nn::PolicyNetwork;
use fitted_q::RowFeatures;
use trajectories::{EpisodeSums, RETURN_ESTIMATORS};

/// States that a network takes at once.
const BATCH: usize = 512;

/// The error without them.
const UNLOGGED: &str =
    "`logging_policy: logged` needs them\nhelp: connect `propensities` of the log's `ingest.impressions`";
/// Scores at once.
const SCORES: usize = 1 << 24;
/// The estimators in the order of the table.
const ESTIMATORS: [&str; 5] = ["ips", "snips", "per_decision", "doubly_robust", "direct"];

/// `evaluate.offpolicy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OffPolicy {
    /// The policy that chose the items of the log.
    pub logging_policy: LoggingPolicy,
    /// How policies select an action. The default is the stochastic policy; `evaluate` evaluates the greedy one by default,
    /// whose items appear in few rows of a log. A value-based policy (`rl.dqn`, `rl.cql`) has no distribution and is always
    /// greedy.
    pub action_selection: ActionSelection,
    /// Interactions of one user per episode, from 1; 5 by default, because products of more weights have too high a variance.
    pub horizon: usize,
    /// Also estimates the discounted return of a whole episode: by importance sampling of trajectories, plain and weighted, per
    /// decision, by sequential doubly robust estimates and by fitted-Q evaluation.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimate_returns: bool,
    /// Discount γ of these returns, in (0, 1]; 1 by default.
    #[serde(skip_serializing_if = "is_one")]
    pub gamma: f64,
    /// Ridge λ of the linear Q of these returns, above 0; 1 by default. Q is linear in a constant, the rating that `world` expects, and
    /// the item's vector in it.
    #[serde(skip_serializing_if = "is_one")]
    pub q_regularization: f64,
    /// Importance weights are clipped at this value; not clipped when absent. It trades variance for bias.
    pub max_importance_weight: Option<f64>,
    /// An estimate with a smaller effective sample size is not conclusive; 100 by default.
    pub min_effective_sample_size: f64,
    /// Resamples of users behind each interval, from 100; 2000 by default.
    pub n_resamples: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// How the items of a log were chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoggingPolicy {
    /// Uniformly at random, as Coat's random ratings: μ = 1/|I|.
    #[default]
    Uniform,
    /// An estimate for logs of self-selected items: an item's share in `train`, with one interaction added to each item.
    Popularity,
    /// By the chances at `propensities`: one rating of a user is of an item with that pair's chance to be rated over the
    /// number of pairs that the user rated in the log that they describe, of which `log` may be a part.
    Propensities,
    /// By the probability of each row at `logged_propensities`, as `ingest.impressions` reads it from the log of a service.
    Logged,
}

/// Whether a setting has the default of 1.
fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl Default for OffPolicy {
    fn default() -> Self {
        Self {
            logging_policy: LoggingPolicy::Uniform,
            action_selection: ActionSelection::Sample,
            horizon: 5,
            estimate_returns: false,
            gamma: 1.0,
            q_regularization: 1.0,
            max_importance_weight: None,
            min_effective_sample_size: 100.0,
            n_resamples: 2000,
            seed: 0,
        }
    }
}

pipeline::ports! {
    /// What is estimated from what.
    pub struct Inputs {
        /// r̂: a world fitted on other interactions than those of the log, for `doubly_robust` and `direct`.
        world: World,
        /// Interactions that no policy learned from.
        log: Interactions,
        /// What tells an item's popularity, wanted for `logging_policy: popularity`.
        train: Option<Interactions>,
        /// How likely each pair of the log was to be rated, wanted for `logging_policy: propensities`.
        propensities: Option<Propensities>,
        /// With which probability each row of the log was shown, wanted for `logging_policy: logged`.
        logged_propensities: Option<LoggedPropensities>,
        /// Who is estimated.
        policies: Many<PolicyFile>,
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
    /// 1: first. 2: propensities are shared among all that a user rated in their log; learners of values are greedy; remarks
    /// say how a policy acts.
    /// 3: the layers of a policy are fused, so sums round otherwise. 4: the remarks are in the field's words.
    const VERSION: u32 = 4;
    const ABOUT: &'static str = "estimate the reward of policies from a log, without a simulator";
    const ADDED_PORTS: &'static [&'static str] = &["logged_propensities"];
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.horizon == 0 {
            return wrong("horizon", "an episode has at least one interaction");
        }
        if self.max_importance_weight.is_some_and(|clip| !(clip > 0.0 && clip.is_finite())) {
            return wrong("max_importance_weight", "the largest importance weight is above 0");
        }
        if !(self.min_effective_sample_size >= 1.0 && self.min_effective_sample_size.is_finite()) {
            return wrong("min_effective_sample_size", "an effective sample size is 1 or more");
        }
        if !(self.gamma > 0.0 && self.gamma <= 1.0) {
            return wrong("gamma", "a discount above 0 and at most 1");
        }
        if !(self.q_regularization > 0.0 && self.q_regularization.is_finite()) {
            return wrong("q_regularization", "a ridge above 0");
        }
        if !self.estimate_returns && !is_one(&self.gamma) {
            return wrong("gamma", "1: without `estimate_returns: true` no return is discounted");
        }
        if !self.estimate_returns && !is_one(&self.q_regularization) {
            return wrong("q_regularization", "1: without `estimate_returns: true` no Q is fitted");
        }
        if self.n_resamples < 100 {
            return wrong("n_resamples", "the ends of a 95 % interval need at least 100 resamples");
        }
        Ok(())
    }

    fn no_leakage(&self) -> Vec<NoLeakage> {
        let rule = |from| NoLeakage {
            port: "log",
            from,
            // Propensities tell how often was rated, not what.
            except: &["holdout", "propensities"],
            through: &[],
            drawn_from: Some(Interactions::KIND),
            why: "a policy that learned from a log looks better in it than elsewhere",
            help: "estimate from held-out interactions, such as `split.test`",
        };
        ["policies", "world"].map(rule).into()
    }

    fn requirements(&self) -> Vec<Requirement> {
        let requirement = |(port, why, help): (_, &str, _)| Requirement {
            setting: "logging_policy",
            port,
            connected: true,
            why: why.to_owned(),
            help,
        };
        let wanted = match self.logging_policy {
            LoggingPolicy::Uniform => None,
            LoggingPolicy::Popularity => {
                Some(("train", "it needs the popularity of items", "connect the train part of the split"))
            }
            LoggingPolicy::Propensities => {
                Some(("propensities", "it reads them", "connect `world.propensities` of the log"))
            }
            LoggingPolicy::Logged => {
                Some(("logged_propensities", "it reads them", "connect `propensities` of its `ingest.impressions`"))
            }
        };
        wanted.map(requirement).into_iter().collect()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let items = inputs.get("items")?;
        self.tables(inputs, items.saturating_mul(BATCH as u64).min(items.max(SCORES as u64)))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let Inputs { world, log, policies, .. } = &inputs;
        let episodes = Episodes::of(log, world, self.horizon)?;
        let propensity = self.propensity(&inputs, &episodes)?;
        let bar = cx.bar("estimate", Some(policies.len() as u64), "policies");
        let mut estimates = Vec::new();
        for policy in policies {
            cx.check_cancelled()?;
            let network =
                PolicyAgent::load(&policy.value, world.users(), world.items()).with_context(|| policy_label(policy))?;
            let act = self.acts(policy)?;
            let (logged, features) = episodes.logged_rows(&network, world, &propensity, act, self)?;
            estimates.extend(self.estimates(policy, act, &logged));
            if self.estimate_returns {
                estimates.extend(self.returns(policy, act, &logged, &features));
            }
            bar.inc(1);
        }
        Ok(Outputs { estimates: Estimates(estimates) })
    }
}

impl OffPolicy {
    /// How a policy acts: values are no logits of a distribution.
    fn acts(&self, policy: &Named<PolicyFile>) -> Result<ActionSelection> {
        Ok(if gives_values(policy)? { ActionSelection::Greedy } else { self.action_selection })
    }

    /// μ(a|u) of each row.
    fn propensity(&self, inputs: &Inputs, episodes: &Episodes) -> Result<Vec<f64>> {
        let items = inputs.world.items();
        match self.logging_policy {
            LoggingPolicy::Uniform => Ok(vec![1.0 / items as f64; episodes.log.item.len()]),
            LoggingPolicy::Popularity => {
                let train = inputs.train.as_ref().context(
                    "`logging_policy: popularity` needs the popularity of items\nhelp: connect the train part of the split to `train`",
                )?;
                let shares = shares(train, items)?;
                Ok(episodes.log.item.iter().map(|&item| shares[item as usize]).collect())
            }
            LoggingPolicy::Logged => inputs.logged_propensities.as_ref().context(UNLOGGED)?.of(&episodes.log),
            LoggingPolicy::Propensities => {
                let known = inputs.propensities.as_ref().context(
                    "`logging_policy: propensities` needs them\nhelp: connect `world.propensities` of the log to `propensities`",
                )?;
                let mut rated = vec![0.0; inputs.world.users()];
                // A part drawn from the log has its items as likely as the whole, not more so.
                for &user in &known.user {
                    let rated = rated.get_mut(user as usize);
                    *rated.with_context(|| {
                        let users = inputs.world.users();
                        format!("`propensities` names user {user}, the world has {users}\nhelp: make both from one ingest stage")
                    })? += 1.0;
                }
                let chances = known.of(&episodes.log)?.into_iter().zip(&episodes.log.user);
                Ok(chances.map(|(chance, &user)| chance / rated[user as usize]).collect())
            }
        }
    }

    fn estimates(&self, policy: &Named<PolicyFile>, act: ActionSelection, logged: &[LoggedRow]) -> Vec<Estimate> {
        let found = self.intervals(&by_user(logged));
        let sizes = effective(logged);
        let estimate = |k: usize| {
            let enough = sizes[k] >= self.min_effective_sample_size;
            let model_alone = ESTIMATORS[k] == "direct";
            Estimate {
                policy: policy.name.clone(),
                cell: policy.cell.clone(),
                estimator: ESTIMATORS[k].to_owned(),
                value: found[k].mean,
                low: found[k].low,
                high: found[k].high,
                effective_sample_size: sizes[k],
                rows: logged.len() as u32,
                conclusive: enough && !model_alone,
                remark: self.remark(act, enough, model_alone),
            }
        };
        (0..ESTIMATORS.len()).map(estimate).collect()
    }

    /// The returns of whole episodes.
    fn returns(
        &self,
        policy: &Named<PolicyFile>,
        act: ActionSelection,
        logged: &[LoggedRow],
        features: &[RowFeatures],
    ) -> Vec<Estimate> {
        let values = fitted_q::fit(logged, features, self.gamma, self.q_regularization);
        let sums = EpisodeSums::of(logged, &values, self.gamma);
        let found = self.intervals(&sums.users);
        let estimate = |k: usize| {
            let model_alone = RETURN_ESTIMATORS[k] == "fitted_q";
            let enough = sums.effective[k] >= self.min_effective_sample_size;
            let unit = format!("discounted return of an episode, γ = {}", self.gamma);
            let remark = match model_alone {
                true => {
                    format!("{unit}; a linear Q fitted to the log, without weights: right where its features span Q")
                }
                false => format!("{unit}; {}", self.remark(act, enough, false)),
            };
            Estimate {
                policy: policy.name.clone(),
                cell: policy.cell.clone(),
                estimator: RETURN_ESTIMATORS[k].to_owned(),
                value: found[k].mean,
                low: found[k].low,
                high: found[k].high,
                effective_sample_size: sums.effective[k],
                rows: sums.episodes as u32,
                conclusive: enough && !model_alone,
                remark,
            }
        };
        (0..RETURN_ESTIMATORS.len()).map(estimate).collect()
    }

    /// The fractions of all users with their intervals.
    fn intervals(&self, users: &[[[f64; 2]; 5]]) -> Vec<Interval> {
        let grids: [[ScoreMatrix; 2]; 5] =
            std::array::from_fn(|k| std::array::from_fn(|end| vec![users.iter().map(|sums| sums[k][end]).collect()]));
        let bootstrap = Bootstrap { seed: self.seed, resamples: self.n_resamples, resampling: Resampling::Crossed };
        bootstrap.intervals(&[(0, 1)], users.len(), |draws| {
            // Without any weight in a resample nothing was earned either.
            grids.iter().map(|[top, bottom]| draws[0].sum(top) / draws[0].sum(bottom).max(f64::MIN_POSITIVE)).collect()
        })
    }

    fn remark(&self, act: ActionSelection, enough: bool, model_alone: bool) -> String {
        let acts = match act {
            ActionSelection::Greedy => "selects its most likely item",
            ActionSelection::Sample => "samples its actions",
        };
        if model_alone {
            return format!("{acts}; the prediction of the world model alone: no logged rating enters");
        }
        let drawn = match self.logging_policy {
            LoggingPolicy::Uniform => "uniformly",
            LoggingPolicy::Popularity => "by their share in `train`, an estimate",
            LoggingPolicy::Propensities => "by their propensities",
            LoggingPolicy::Logged => "with the probabilities of the log",
        };
        let mut remark = format!("{acts}; logging policy: items drawn {drawn}");
        if let Some(clip) = self.max_importance_weight {
            remark += &format!("; importance weights clipped at {clip}");
        }
        if !enough {
            remark +=
                &format!("; not conclusive: the effective sample size is below {}", self.min_effective_sample_size);
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
        ensure!(!log.is_empty(), "the log has no row\nhelp: connect held-out interactions, such as `split.test`");
        let (users, items) = (world.users(), world.items());
        for (row, (&user, &item)) in log.user.iter().zip(&log.item).enumerate() {
            ensure!(
                (user as usize) < users && (item as usize) < items,
                "row {row} of the log is of user {user} and item {item}, the world has {users} users and {items} items\nhelp: \
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
    fn logged_rows(
        &self,
        network: &dyn PolicyNetwork,
        world: &World,
        propensity: &[f64],
        action_selection: ActionSelection,
        stage: &OffPolicy,
    ) -> Result<(Vec<LoggedRow>, Vec<RowFeatures>)> {
        let window = network.config().window;
        let (horizon, padding) = (world.rules.horizon, world.items() as u32);
        let mut logged = Vec::with_capacity(self.log.user.len());
        let mut features = Vec::new();
        let batch = BATCH.min(SCORES / world.items().max(1)).max(1);
        for begin in (0..self.log.user.len()).step_by(batch) {
            let rows = begin..(begin + batch).min(self.log.user.len());
            let mut observation = Observation::of(world, window);
            for row in rows.clone() {
                let past = row - self.turn[row]..row;
                let (items, rewards) = (&self.log.item[past.clone()], &self.log.rating[past]);
                observation.push(self.log.user[row], items, rewards, horizon, padding);
            }
            let logits = network.logits(&states(network, &observation)?)?.flatten_all()?.to_vec1::<f32>()?;
            for (row, logits) in rows.zip(logits.chunks_exact(world.items())) {
                let (user, item) = (self.log.user[row], self.log.item[row] as usize);
                let chances = match action_selection {
                    ActionSelection::Greedy => greedy(logits),
                    ActionSelection::Sample => softmax(logits),
                };
                let expected = world.rewards_of(user);
                let weight = chances[item] / propensity[row];
                logged.push(LoggedRow {
                    user,
                    turn: self.turn[row],
                    weight: stage.max_importance_weight.map_or(weight, |clip| weight.min(clip)),
                    rating: f64::from(self.log.rating[row]),
                    expected: f64::from(expected[item]),
                    value: chances.iter().zip(&*expected).map(|(p, &r)| p * f64::from(r)).sum(),
                });
                if stage.estimate_returns {
                    features.push(row_features(world, &expected, item, &chances));
                }
            }
        }
        Ok((logged, features))
    }
}

/// A constant, the expected rating and the item's vector: of the logged item, and their mean under the policy.
fn row_features(world: &World, expected: &[f32], item: usize, chances: &[f64]) -> RowFeatures {
    let width = world.item_vectors.shape[1];
    let vector = |item: usize| &world.item_vectors.data[item * width..(item + 1) * width];
    let of_item = [1.0, f64::from(expected[item])].into_iter().chain(vector(item).iter().map(|&x| f64::from(x)));
    let mut of_policy = vec![0.0; 2 + width];
    of_policy[0] = 1.0;
    for (other, chance) in chances.iter().enumerate().filter(|(_, chance)| **chance > 0.0) {
        of_policy[1] += chance * f64::from(expected[other]);
        of_policy[2..].iter_mut().zip(vector(other)).for_each(|(sum, &x)| *sum += chance * f64::from(x));
    }
    RowFeatures { of_item: of_item.collect(), of_policy }
}

/// All on the largest, the first of equals, as when serving.
fn greedy(logits: &[f32]) -> Vec<f64> {
    let mut chances = vec![0.0; logits.len()];
    let best = (0..logits.len()).reduce(|best, k| if logits[k] > logits[best] { k } else { best });
    best.into_iter().for_each(|best| chances[best] = 1.0);
    chances
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let high = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let parts: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - high).exp()).collect();
    let total: f64 = parts.iter().sum();
    parts.into_iter().map(|part| part / total).collect()
}

#[cfg(test)]
mod tests;
