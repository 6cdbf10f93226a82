//! `tune`: of many trained policies the one with the highest return in a validation world.
//!
//! Learners are compared fairly where each had as many trials, and where the trial was chosen in a world that is neither the one it learned in
//! nor the one that evaluates it. A trial is a policy at `policies`: a cell of a `sweep` (a grid) or of a `search` (random draws). With
//! `sweep: { seed: [0, 1, 2] }` of its own each cell takes the trials of its seed, so that the choice is made anew for each seed and the
//! intervals of the evaluation are over the whole procedure, tuning included (Dodge et al. 2019, EMNLP; Agarwal et al. 2021, NeurIPS).
//!
//! ```text
//! chosen = argmax over trials of  1/U Σ_u return_inclusive(u);   the first of equals
//! ```
//!
//! Left out: early stopping of bad trials, choices by another metric.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use pipeline::checkpointing::Log;
use pipeline::{Context, Many, Named, Stage};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Interactions, Metric, Metrics, PolicyFile, RowRole, World};
use crate::env::{PolicyAgent, play};
use crate::nn::rng;

/// The order of trials, among the draws of `nn::rng`.
const ORDER: u64 = 0x7e57;

/// `tune`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tune {
    /// The budget: so many of the trials are considered, drawn by `seed`. Without a value all are. Learners with larger grids than others gain
    /// by their size alone, unless all have one budget.
    pub n_trials: Option<usize>,
    /// Seed of that draw. Swept, each cell takes the trials of its seed, where those are of a sweep over `seed` too.
    pub seed: u64,
}

pipeline::ports! {
    /// What is chosen from, and where.
    pub struct Inputs {
        /// The validation world: neither the evaluation world nor, better, the one that the policies learned in.
        world: World,
        /// The trials: the cells of one learner.
        policies: Many<PolicyFile>,
        /// A log whose users are the validation users; all users of the world without it.
        eval_users: Option<Interactions>,
    }
}

pipeline::ports! {
    /// The choice.
    pub struct Outputs {
        /// The chosen policy. It says among how many it was chosen, and that it knows the validation world.
        policy: PolicyFile,
        /// `return_inclusive` of each trial in the validation world, a mean over users, with the interval mean ± 1.96 standard errors; the remark
        /// says which was chosen.
        metrics: Metrics,
    }
}

impl Stage for Tune {
    const KIND: &'static str = "tune";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "choose, of many trained policies, the one with the highest return in a validation world";
    const JOINS_CELLS: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.n_trials == Some(0) {
            return Err(("n_trials".into(), "at least one trial; leave it out to consider all".into()));
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let Inputs { world, policies, eval_users } = inputs;
        ensure!(!policies.is_empty(), "no policy is connected at `policies`, so there is nothing to choose");
        let users: Vec<u32> = match &eval_users {
            Some(log) => log.user.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
            None => (0..world.users() as u32).collect(),
        };
        if let Some(log) = &eval_users {
            log.check_within("eval_users", world.users(), world.items())?;
        }
        ensure!(!users.is_empty(), "there is no validation user");
        let trials = self.considered(policies)?;
        let digest = world.rewards_digest();
        if trials.iter().any(|trial| trial.value.origin().is_ok_and(|origin| origin.learned_in == digest)) {
            cx.warn(
                "the validation world is the one that a policy learned in: its return there says how well it exploits that world\nhelp: fit a \
                 world of another family, or to another part of the log, and connect that to `world`",
            );
        }
        let returns = scored(&trials, &world, &users, cx)?;
        let mut chosen = 0;
        for (trial, score) in returns.iter().enumerate() {
            if score.mean > returns[chosen].mean {
                chosen = trial;
            }
        }
        let metrics = metrics(&trials, &returns, chosen, users.len());
        cx.note(
            "chosen",
            format!("{} of {}: {:.4} a user", label(&trials[chosen]), trials.len(), returns[chosen].mean),
        );
        let mut policy = trials[chosen].value.clone();
        policy.tell_tuned(trials.len(), &digest)?;
        Ok(Outputs { policy, metrics })
    }
}

impl Tune {
    /// The trials of the budget, in the order of the connection.
    fn considered(&self, mut policies: Vec<Named<PolicyFile>>) -> Result<Vec<Named<PolicyFile>>> {
        let Some(count) = self.n_trials else { return Ok(policies) };
        ensure!(
            count <= policies.len(),
            "a budget of {count} trials, but {} are connected\nhelp: lower `n_trials`, or connect more: `search: {{ n_trials: {count}, over: … }}`",
            policies.len()
        );
        let mut places: Vec<usize> = (0..policies.len()).collect();
        places.shuffle(&mut rng(&[self.seed, ORDER]));
        places.truncate(count);
        let kept: BTreeSet<usize> = places.into_iter().collect();
        let mut place = 0..;
        policies.retain(|_| place.next().is_some_and(|place| kept.contains(&place)));
        Ok(policies)
    }
}

/// The return of a trial.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Score {
    mean: f64,
    error: f64,
}

/// The returns of all trials; those of an earlier run that was stopped are not played again.
fn scored(trials: &[Named<PolicyFile>], world: &World, users: &[u32], cx: &Context) -> Result<Vec<Score>> {
    let (mut log, frames) = Log::open(&cx.scratch().join("trials"))?;
    let number = |bytes: &[u8]| Some(f64::from_le_bytes(bytes.try_into().ok()?));
    let read = |frame: &Vec<u8>| {
        let (mean, error) = frame.split_at_checked(8)?;
        Some(Score { mean: number(mean)?, error: number(error)? })
    };
    let mut scores: Vec<Score> =
        frames.iter().map(read).collect::<Option<_>>().context("the log of trials is of another form")?;
    let bar = cx.bar("play", Some(trials.len() as u64), "trials");
    bar.inc(scores.len() as u64);
    for trial in &trials[scores.len()..] {
        let network = PolicyAgent::load(&trial.value, world.users(), world.items()).with_context(|| label(trial))?;
        let episodes = play(world, users, &PolicyAgent { network: &*network, sample: false }, 0)?;
        let of = |e: usize| episodes.rewards(e).iter().map(|&reward| f64::from(reward)).sum::<f64>();
        let score = Score::of(&(0..episodes.len()).map(of).collect::<Vec<_>>());
        log.append(&[score.mean.to_le_bytes(), score.error.to_le_bytes()].concat())?;
        scores.push(score);
        bar.inc_with(1, &format!("return {:.3}", score.mean));
        cx.check_cancelled()?;
    }
    Ok(scores)
}

impl Score {
    fn of(returns: &[f64]) -> Self {
        let count = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / count;
        let squares: f64 = returns.iter().map(|value| (value - mean).powi(2)).sum();
        let error = if returns.len() < 2 { 0.0 } else { (squares / (count - 1.0) / count).sqrt() };
        Self { mean, error }
    }
}

/// What a trial is called: its cell, or the name of its connection.
fn label(trial: &Named<PolicyFile>) -> String {
    match (&*trial.name, &*trial.cell) {
        (name, "") => name.to_owned(),
        (name, cell) => format!("{name}@{cell}"),
    }
}

fn metrics(trials: &[Named<PolicyFile>], returns: &[Score], chosen: usize, users: usize) -> Metrics {
    let row = |(place, (trial, score)): (usize, (&Named<PolicyFile>, &Score))| Metric {
        policy: label(trial),
        role: RowRole::Policy,
        privileged: false,
        remark: if place == chosen { "chosen".to_owned() } else { String::new() },
        metric: "return_inclusive".to_owned(),
        mean: score.mean,
        low: score.mean - 1.96 * score.error,
        high: score.mean + 1.96 * score.error,
        seeds: 1,
        episodes: users as u32,
    };
    Metrics { rows: trials.iter().zip(returns).enumerate().map(row).collect(), missing: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::actor_critic::ActorCriticConfig;
    use crate::nn::{ActorCritic, Encoder};

    const USERS: usize = 6;

    fn world() -> World {
        cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, USERS)
    }

    fn trial(seed: u64) -> Named<PolicyFile> {
        let world = world();
        let config = ActorCriticConfig {
            users: USERS,
            items: 6,
            width: 3,
            window: 2,
            hidden_size: 4,
            prior_scale: 0.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.5,
            encoder: Encoder::Window,
        };
        let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, seed).unwrap();
        let mut learned_in = world;
        learned_in.rewards_mut().data.iter_mut().for_each(|reward| *reward /= 2.0);
        let value = PolicyFile::new(network.export().unwrap(), "rl.a2c", &learned_in).unwrap();
        Named { name: "a2c".into(), cell: format!("trial={seed}"), value }
    }

    fn inputs(count: u64) -> Inputs {
        Inputs { world: world(), policies: (0..count).map(trial).collect(), eval_users: None }
    }

    fn run(stage: &Tune, inputs: Inputs) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs, &Context::detached(folder.path()))
    }

    #[test]
    fn the_trial_with_the_highest_return_is_chosen_and_says_among_how_many() {
        let outputs = run(&Tune::default(), inputs(8)).unwrap();
        let best = outputs.metrics.rows.iter().map(|row| row.mean).fold(f64::MIN, f64::max);
        let place = outputs.metrics.rows.iter().position(|row| row.mean == best).unwrap();
        let chosen: Vec<usize> = (0..8).filter(|&k| outputs.metrics.rows[k].remark == "chosen").collect();
        assert_eq!(chosen, [place]);
        assert!(outputs.metrics.rows.iter().any(|row| row.mean < best), "{:?}", outputs.metrics);
        assert_eq!(outputs.policy.0.arrays, trial(place as u64).value.0.arrays);
        let origin = outputs.policy.origin().unwrap();
        assert_eq!((origin.tuned_over, origin.learned_in_before), (Some(8), vec![world().rewards_digest()]));
        // By hand: what the policy plays with each user.
        let episodes = {
            let network = PolicyAgent::load(&outputs.policy, USERS, 6).unwrap();
            let world = world();
            let users: Vec<u32> = (0..USERS as u32).collect();
            let agent = PolicyAgent { network: &*network, sample: false };
            let episodes = play(&world, &users, &agent, 0).unwrap();
            (0..USERS).map(|e| episodes.rewards(e).iter().map(|&r| f64::from(r)).sum::<f64>()).collect::<Vec<_>>()
        };
        assert!((episodes.iter().sum::<f64>() / USERS as f64 - best).abs() < 1e-9);
    }

    #[test]
    fn a_budget_draws_trials_and_users_are_those_of_the_log() {
        let of = |seed| {
            let stage = Tune { n_trials: Some(3), seed };
            run(&stage, inputs(8)).unwrap().metrics.rows.iter().map(|row| row.policy.clone()).collect::<Vec<_>>()
        };
        assert!(of(0).len() == 3 && of(0) == of(0) && (1..9).any(|seed| of(seed) != of(0)));
        let error = run(&Tune { n_trials: Some(9), seed: 0 }, inputs(8)).err().unwrap().to_string();
        assert!(error.starts_with("a budget of 9 trials, but 8 are connected\nhelp: lower `n_trials`"), "{error}");
        let log = Interactions { user: vec![4, 1, 4], item: vec![0; 3], rating: vec![1.0; 3], timestamp: vec![0; 3] };
        let some = run(&Tune::default(), Inputs { eval_users: Some(log), ..inputs(2) }).unwrap();
        assert!(some.metrics.rows.iter().all(|row| row.episodes == 2));
        assert_eq!(Tune { n_trials: Some(0), seed: 0 }.check().unwrap_err().0, "n_trials");
        assert!(run(&Tune::default(), inputs(0)).err().unwrap().to_string().contains("nothing to choose"));
    }

    #[test]
    fn interrupted_after_every_trial_it_chooses_the_same() {
        crate::nn::training::assert_resumes_exactly(
            &Tune::default(),
            || inputs(4),
            |outputs| (outputs.policy, outputs.metrics),
            4,
        );
    }

    #[test]
    fn means_and_errors_by_hand() {
        // Variance 1 over three users: √(1/3).
        let score = Score::of(&[1.0, 2.0, 3.0]);
        assert!(score.mean == 2.0 && (score.error - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Score::of(&[7.0]), Score { mean: 7.0, error: 0.0 });
    }
}
