//! A fitted world with lower rewards where its models are uncertain, for training offline learners.
//!
//! `mopo`: r = r̂ − λ·max_k σ_k (Yu et al. 2020, arXiv 2005.13239: σ_k is what the k-th model states of itself)
//! `dorl`: r = max(0, r̂ − λ_σ·σ − min r̂ + λ_H·Σ_{k ∈ {1, 2}} H_k) (Gao et al. 2023, arXiv 2307.04571)
//! `r3s`: r = r̂ − λ_σ·σ − λ_l·s(a, h_1) − λ_g·Σ_k δ^(k−1)·s(a, h_k) / Σ_k δ^(k−1) (after Shu et al. 2025, arXiv 2506.22112)
//!
//! A learner in a plain fitted world finds what its models imagine; here that costs it. Pessimism alone drives it to what the
//! log has most of and people tire of that, so DORL also pays for sessions after which anything may come: H_k is the entropy
//! of the next item in the log after the last k ones. It depends on where a session has come to and not on the item, so
//! it does not change which item is best at a turn, but where it pays to go. Users, items, distances and quit rules stay those
//! of the fitted world; a threshold of low rewards moves with them, and reads r̂ less the penalty alone. The vectors that
//! policies start from are of the new rewards. Left out: MOPO's short rollouts from logged states, as sessions are short.
//!
//! R3S takes from an item what it is like those shown before: at the last turn (local) and in the whole session (global), the less
//! the longer ago. We have read only the abstract: uncertainty of the model, and penalties with decay for less variety, local and
//! global. The similarity s from the world's distances, the weighted mean and the defaults are ours. Nothing is cut at 0 here, so
//! coefficients that exceed the rewards make it pay to leave.
//!
//! A world that holds factors keeps them, with the penalty beside them, and with the vectors of what was fitted.

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::{Context, MemoryNeed, Requirement, Sizes, Stage};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entropy::openness;
use super::factorization::factorize;
use super::threshold::PairDistances;
use super::world_memory::of_changed_world;
use crate::artifact::{Array, Demonstrations, DiversityPenalty, Factored, Penalty, Rewards, World};

/// `world.pessimistic`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pessimistic {
    /// The form of pessimism: `mopo`, `dorl` or `r3s`.
    pub by: By,
    /// What σ is: the standard deviation of the ensemble, or the standard deviation that its models predict.
    pub uncertainty: Uncertainty,
}

/// What to do with a world of a single model.
const NO_ENSEMBLE: &str = "the world has no standard deviation of its models\nhelp: connect one with `ensemble_size` above 1, such as \
                           `world.deepfm` with `ensemble_size: 5`";

/// What to do with a world whose models state no variance.
const NO_STATED: &str = "the world's models predict no variance\nhelp: connect `world.deepfm` with `predict_variance: true`, or take \
                         `uncertainty: ensemble_std`";

/// The forms of pessimism.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum By {
    /// r̂ − λ·σ.
    Mopo(Mopo),
    /// max(0, r̂ − λ_σ·σ − min r̂ + λ_H·Σ H_k).
    Dorl(Dorl),
    /// r̂ − λ_σ·σ less a penalty for items that are similar to those shown before.
    R3s(R3s),
}

impl Default for By {
    fn default() -> Self {
        Self::Mopo(Mopo::default())
    }
}

/// Settings of `by: mopo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mopo {
    /// λ: the coefficient of σ, 0 or more; 1 by default, among the 0.5, 1 and 5 of the authors' tasks.
    pub uncertainty_coef: f64,
}

impl Default for Mopo {
    fn default() -> Self {
        Self { uncertainty_coef: 1.0 }
    }
}

/// Settings of `by: dorl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dorl {
    /// λ_σ: the coefficient of σ, 0 or more; the default is ours.
    pub uncertainty_coef: f64,
    /// λ_H: the coefficient of the entropies H_1 and H_2 of the next item, 0 or more. DORL's scripts: KuaiRec 5, KuaiRand 0.05;
    /// EasyRL4Rec's: Coat 3, MovieLens-1M 5.
    pub entropy_coef: f64,
}

impl Default for Dorl {
    fn default() -> Self {
        Self { uncertainty_coef: 1.0, entropy_coef: 3.0 }
    }
}

/// Settings of `by: r3s`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct R3s {
    /// λ_σ: the coefficient of σ, 0 or more; the default is MOPO's.
    pub uncertainty_coef: f64,
    /// λ_l: what an item like the last one costs, in units of the rating, 0 or more. Two items are alike by
    /// max(0, 1 − d / d̄), where d is their distance in the world and d̄ the mean of all pairs.
    pub local_coef: f64,
    /// λ_g: what an item costs that is like all items of the session, in units of the rating, 0 or more.
    pub global_coef: f64,
    /// δ: what an item counts for beside the one that was shown after it, from 0 (the last alone) to 1 (all alike).
    pub decay: f64,
}

impl Default for R3s {
    fn default() -> Self {
        Self { uncertainty_coef: 1.0, local_coef: 0.5, global_coef: 0.5, decay: 0.9 }
    }
}

/// What σ is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Uncertainty {
    /// The standard deviation of the models' predictions: epistemic uncertainty. Of any world with `ensemble_size` above 1.
    #[default]
    EnsembleStd,
    /// The largest standard deviation that a model predicts, max_k σ_k, as in MOPO and DORL; of `world.deepfm` with
    /// `predict_variance: true`. It includes the variance of the ratings themselves, which more data does not reduce.
    PredictedStd,
}

pipeline::ports! {
    /// The world to lower.
    pub struct Inputs {
        /// A fitted world with uncertainties.
        world: World,
        /// The log in its order, as `demonstrate.from_log` gives it; required if `entropy_coef` is above 0.
        demonstrations: Option<Demonstrations>,
    }
}

pipeline::ports! {
    /// What comes out.
    pub struct Outputs {
        /// The training world; it may not be an evaluation world.
        world: World,
    }
}

impl Stage for Pessimistic {
    const KIND: &'static str = "world.pessimistic";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "lower a fitted world's rewards where its models are uncertain (MOPO, DORL, R3S)";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let weights = match &self.by {
            By::Mopo(Mopo { uncertainty_coef }) => vec![("by.mopo.uncertainty_coef", *uncertainty_coef)],
            By::Dorl(Dorl { uncertainty_coef, entropy_coef }) => {
                vec![("by.dorl.uncertainty_coef", *uncertainty_coef), ("by.dorl.entropy_coef", *entropy_coef)]
            }
            By::R3s(R3s { uncertainty_coef, local_coef, global_coef, decay }) => {
                if !(0.0..=1.0).contains(decay) {
                    return Err(("by.r3s.decay".to_owned(), "a decay is from 0 to 1".to_owned()));
                }
                let coefs = [uncertainty_coef, local_coef, global_coef];
                let paths = ["by.r3s.uncertainty_coef", "by.r3s.local_coef", "by.r3s.global_coef"];
                paths.into_iter().zip(coefs.map(|coef| *coef)).collect()
            }
        };
        match weights.into_iter().find(|(_, weight)| !(*weight >= 0.0 && weight.is_finite())) {
            Some((path, _)) => Err((path.to_owned(), "what a part counts for is 0 or more".to_owned())),
            None => Ok(()),
        }
    }

    fn requirements(&self) -> Vec<Requirement> {
        let By::Dorl(Dorl { entropy_coef, .. }) = self.by else { return vec![] };
        let requirement = Requirement {
            setting: "by.dorl.entropy_coef",
            port: "demonstrations",
            connected: true,
            why: format!("it is {entropy_coef}, so the order of the log is needed"),
            help: "connect `demonstrate.from_log` of the ratings that the world was fitted on, or set `entropy_coef: 0`",
        };
        if entropy_coef > 0.0 { vec![requirement] } else { vec![] }
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        of_changed_world(inputs)
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let mut world = inputs.world;
        if matches!(self.by, By::R3s(_)) && world.diversity_penalty.is_some() {
            bail!(
                "the world has a diversity penalty already, and uncertainty would be taken from its rewards twice\nhelp: connect the \
                 world that it was made from"
            );
        }
        let (uncertainty_coef, entropy_coef) = match self.by {
            By::Mopo(Mopo { uncertainty_coef }) => (uncertainty_coef as f32, 0.0),
            By::Dorl(Dorl { uncertainty_coef, entropy_coef }) => (uncertainty_coef as f32, entropy_coef as f32),
            By::R3s(R3s { uncertainty_coef, .. }) => (uncertainty_coef as f32, 0.0),
        };
        // Entropy is added later, and the sum is cut at 0.
        let floor = (matches!(self.by, By::Dorl(_)) && entropy_coef == 0.0).then_some(0.0);
        let (rewards, least, said) = self.lowered(&world, uncertainty_coef, floor, cx)?;
        world.rules.quit_below = world.rules.quit_below.map(|low| low - least);
        if entropy_coef > 0.0 {
            let log = inputs.demonstrations.as_ref().context(
                "`by.dorl.entropy_coef` is above 0, but no `demonstrations` are connected\nhelp: connect `demonstrate.from_log`, or set \
                 `entropy_coef: 0`",
            )?;
            let open = openness(log, world.items())?;
            let said = format!(
                "H_1 + H_2 is {:.3} on average after two items, and 2 where the log has no next item",
                open.mean()
            );
            cx.note("entropy", said);
            world.bonus = Some(open.scaled(entropy_coef));
        }
        if let By::R3s(by) = &self.by {
            let pairs = PairDistances::of(world.item_distances(), world.rewards(), cx)?;
            let penalty = by.penalty(&pairs);
            cx.note("similarity", mean_similarity(&penalty, &pairs));
            world.diversity_penalty = Some(penalty);
        }
        (world.user_vectors, world.item_vectors) = factorize(&rewards, world.user_vectors.shape[1], cx)?;
        if uncertainty_coef > 0.0 {
            cx.note("pessimism", said);
        }
        world.set_rewards(rewards);
        Ok(Outputs { world })
    }
}

impl Pessimistic {
    /// max(floor, r̂ − λ·σ − c), where c is the least r̂ for DORL and 0 for others, with c, and how much it is, as text.
    fn lowered(&self, world: &World, coef: f32, floor: Option<f32>, cx: &Context) -> Result<(Rewards, f32, String)> {
        let from_least = matches!(self.by, By::Dorl(_));
        let said = |sigma: f64, reward: f64| format!("σ {sigma:.3} on average, rewards now {reward:.3}");
        match world.rewards() {
            Rewards::Dense(fitted) => {
                // Where it does not count, the world need not know any.
                let sigma = match coef {
                    0.0 => vec![0.0; fitted.data.len()],
                    _ => self.stored_sigma(world)?.data.clone(),
                };
                let least = if from_least { fitted.data.iter().copied().fold(f32::INFINITY, f32::min) } else { 0.0 };
                let mut reward = fitted.clone();
                reward.data.iter_mut().zip(&sigma).for_each(|(r, sigma)| *r -= coef * sigma + least);
                if let Some(floor) = floor {
                    reward.data.iter_mut().for_each(|r| *r = r.max(floor));
                }
                let mean = |data: &[f32]| data.iter().map(|&x| f64::from(x)).sum::<f64>() / data.len() as f64;
                let said = said(mean(&sigma), mean(&reward.data));
                Ok((reward.into(), least, said))
            }
            Rewards::Factored(fitted) => {
                self.check_factors(fitted, coef)?;
                let least = if from_least { least(fitted, cx)? } else { 0.0 };
                let penalty = Some(Penalty { uncertainty_coef: coef, constant: least, floor });
                let lowered = Factored { penalty, ..fitted.clone() };
                let sigma = world.rewards().mean_of_sample(|user, item| f64::from(fitted.std(user, item)));
                let reward = world.rewards().mean_of_sample(|user, item| f64::from(lowered.of(user, item)));
                Ok((lowered.into(), least, said(sigma, reward)))
            }
            Rewards::AtLeast { .. } | Rewards::Constant { .. } => bail!("rewards of 0 and 1 are no estimates"),
        }
    }

    /// What a world of factors can be lowered by.
    fn check_factors(&self, fitted: &Factored, coef: f32) -> Result<()> {
        ensure!(
            fitted.penalty.is_none(),
            "the world's rewards are lowered already\nhelp: connect the world that it was made from, or set `form: dense` there"
        );
        ensure!(coef == 0.0 || self.uncertainty == Uncertainty::EnsembleStd, NO_STATED);
        ensure!(coef == 0.0 || fitted.members.len() > 1, NO_ENSEMBLE);
        Ok(())
    }

    /// σ, `[U, I]`.
    fn stored_sigma<'w>(&self, world: &'w World) -> Result<&'w Array> {
        match self.uncertainty {
            Uncertainty::EnsembleStd => world.ensemble_std.as_ref().context(NO_ENSEMBLE),
            Uncertainty::PredictedStd => world.predicted_std.as_ref().context(NO_STATED),
        }
    }
}

/// The least reward, of all users and items.
fn least(fitted: &Factored, cx: &Context) -> Result<f32> {
    let check_cancelled = cx.check_cancelled_from_now();
    let bar = cx.bar("least reward", Some(fitted.users() as u64), "users");
    let of_user = |user: u32| {
        check_cancelled()?;
        bar.inc(1);
        let rewards = fitted.of_pairs((0..fitted.items() as u32).map(|item| (user, item)));
        Ok(rewards.into_iter().fold(f32::INFINITY, f32::min))
    };
    (0..fitted.users() as u32).into_par_iter().map(of_user).try_reduce(|| f32::INFINITY, |a, b| Ok(a.min(b)))
}

impl R3s {
    /// The penalty where items are so far apart.
    fn penalty(&self, pairs: &PairDistances) -> DiversityPenalty {
        let reach = match pairs {
            // An item is at 0 from itself, so all of it counts as pairs of different items.
            PairDistances::Table(table) => {
                let sum = table.data.iter().fold(0.0, |sum, &distance| sum + f64::from(distance));
                sum / (table.shape[0] * (table.shape[0] - 1)).max(1) as f64
            }
            PairDistances::Drawn(..) => pairs.mean(f64::from),
        };
        let [local, global, decay] = [self.local_coef, self.global_coef, self.decay].map(|x| x as f32);
        DiversityPenalty { local, global, decay, reach: reach as f32 }
    }
}

/// What a pair of different items costs on average where one follows the other, as text.
fn mean_similarity(penalty: &DiversityPenalty, pairs: &PairDistances) -> String {
    format!(
        "the second item of a session costs {:.3} on average, and {:.3} where it is the first one again",
        pairs.mean(|distance| f64::from(penalty.of(&[0], |_| distance))),
        penalty.local + penalty.global
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};
    use crate::env::{Episodes, cluster_world};

    fn world() -> World {
        let mut world = cluster_world(&[5.0, 3.0], 1, 1, 10, 2);
        world.rules.distance_threshold = None;
        world.rules.quit_below = Some(2.0);
        world.ensemble_std = Some(Array::new(&[2, 2], vec![0.0, 1.0, 2.0, 0.5]));
        world.predicted_std = Some(Array::new(&[2, 2], vec![1.0; 4]));
        world
    }

    fn run(stage: &Pessimistic, world: World, demonstrations: Option<Demonstrations>) -> Result<World> {
        stage.check().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::detached(folder.path());
        Ok(stage.run(Inputs { world, demonstrations }, &cx)?.world)
    }

    fn logged(items: &[u32]) -> Demonstrations {
        let step = |&item: &u32| Step { item, reward: 1.0, candidates: vec![], scores: vec![], call: String::new() };
        let steps = items.iter().map(step).collect();
        Demonstrations::new(vec![Trajectory { user: 0, steps, end: Termination::Horizon }])
    }

    #[test]
    fn mopo_takes_the_uncertainty_from_the_rewards() {
        let by = By::Mopo(Mopo { uncertainty_coef: 2.0 });
        let found = run(&Pessimistic { by: by.clone(), ..Pessimistic::default() }, world(), None).unwrap();
        assert_eq!(found.stored_rewards(), [5.0, 1.0, 1.0, 2.0]);
        assert_eq!((found.rules.quit_below, &found.bonus), (Some(2.0), &None));
        assert_eq!((found.item_distances(), &found.distances), (world().item_distances(), &world().distances));
        let stated = run(&Pessimistic { by, uncertainty: Uncertainty::PredictedStd }, world(), None).unwrap();
        assert_eq!(stated.stored_rewards(), [3.0, 1.0, 3.0, 1.0]);
        assert_ne!(found.rewards_digest(), world().rewards_digest());
    }

    #[test]
    fn dorl_pays_for_what_is_open_and_never_less_than_nothing() {
        let dorl = |entropy_coef| Pessimistic {
            by: By::Dorl(Dorl { uncertainty_coef: 2.0, entropy_coef }),
            ..Pessimistic::default()
        };
        let plain = run(&dorl(0.0), world(), None).unwrap();
        assert_eq!(plain.stored_rewards(), [2.0, 0.0, 0.0, 0.0], "less 2σ and the smallest, 3; cut at 0");
        assert_eq!(plain.rules.quit_below, Some(-1.0));
        // After item 0 came 1, always, and after 0 and 1 nothing twice; after 1 came 0.
        let found = run(&dorl(0.5), world(), Some(logged(&[0, 1, 0, 1, 0]))).unwrap();
        let mut episodes = Episodes::new(&found, &[0, 1]);
        episodes.step(&[0, 1], &[0, 0]).unwrap();
        // 2 + ½·2 and −2 + ½·2, the latter cut; nothing was shown yet.
        assert_eq!((episodes.rewards(0), episodes.rewards(1)), (&[3.0][..], &[0.0][..]));
        episodes.step(&[0], &[0]).unwrap();
        // After 0: H_1 is 0, and 0 before it never was: ½·1.
        assert_eq!(episodes.rewards(0), [3.0, 2.5]);
        assert_ne!(found.rewards_digest(), plain.rewards_digest());
    }

    #[test]
    fn r3s_takes_from_an_item_what_it_is_like_those_before() {
        let by = R3s { uncertainty_coef: 2.0, local_coef: 0.5, global_coef: 1.0, decay: 0.5 };
        let found = run(&Pessimistic { by: By::R3s(by), ..Pessimistic::default() }, world(), None).unwrap();
        assert_eq!(found.stored_rewards(), [5.0, 1.0, 1.0, 2.0], "less 2σ");
        let mut episodes = Episodes::new(&found, &[0]);
        // Items 0 and 1 are as far apart as all pairs are on average, so they are not alike.
        for item in [0, 1, 0] {
            episodes.step(&[0], &[item]).unwrap();
        }
        // Nothing at first, then nothing alike; item 0 again, one turn after it, by 1·½ / (1 + ½).
        let wanted = [5.0, 1.0, 5.0 - 0.5 / 1.5];
        assert!(episodes.rewards(0).iter().zip(wanted).all(|(r, w): (&f32, f32)| (r - w).abs() < 1e-6));
        assert_eq!(found.rules.quit_below, Some(2.0), "the rule reads what the penalty is taken from");
        let other = R3s { uncertainty_coef: 2.0, ..R3s::default() };
        let other = run(&Pessimistic { by: By::R3s(other), ..Pessimistic::default() }, world(), None).unwrap();
        assert_ne!(found.rewards_digest(), other.rewards_digest());
    }

    /// Users leave at an item like the last one, which the world to learn in does not know.
    #[test]
    fn r3s_varies_where_a_plain_world_says_to_repeat() {
        let truth = cluster_world(&[5.0, 4.8, 4.6], 2, 1, 30, 3);
        let mut fitted = truth.clone();
        fitted.rules.distance_threshold = None;
        fitted.ensemble_std = Some(Array::new(&[3, 6], vec![0.1; 18]));
        let returned = |world: &World| {
            let mut episodes = Episodes::new(&truth, &[0]);
            while episodes.end(0).is_none() {
                let reward = |item: u32| world.reward_for(0, item, episodes.items(0));
                let best = (0..6).max_by(|&a, &b| reward(a).total_cmp(&reward(b))).unwrap();
                episodes.step(&[0], &[best]).unwrap();
            }
            episodes.rewards(0).iter().sum::<f32>()
        };
        let lowered = |by| returned(&run(&Pessimistic { by, ..Pessimistic::default() }, fitted.clone(), None).unwrap());
        assert_eq!([returned(&fitted), lowered(By::Mopo(Mopo::default()))], [10.0; 2]);
        assert!(lowered(By::R3s(R3s::default())) > 140.0, "nobody leaves in 30 turns");
    }

    #[test]
    fn a_diversity_penalty_needs_no_uncertainty_and_is_given_once() {
        let by = By::R3s(R3s { uncertainty_coef: 0.0, ..R3s::default() });
        let stage = Pessimistic { by, ..Pessimistic::default() };
        let mut unsure = world();
        (unsure.ensemble_std, unsure.predicted_std) = (None, None);
        let once = run(&stage, unsure.clone(), None).unwrap();
        assert_eq!((once.rewards(), once.diversity_penalty.is_some()), (unsure.rewards(), true));
        let twice = run(&stage, once, None).unwrap_err().to_string();
        assert!(twice.contains("has a diversity penalty already") && twice.contains("help: "), "{twice}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |stage: &Pessimistic, world: World| run(stage, world, None).unwrap_err().to_string();
        let mut unsure = world();
        (unsure.ensemble_std, unsure.predicted_std) = (None, None);
        let spread = Pessimistic::default();
        assert!(error(&spread, unsure.clone()).contains("no standard deviation of its models\nhelp: connect one with"));
        let stated = Pessimistic { uncertainty: Uncertainty::PredictedStd, ..Pessimistic::default() };
        assert!(error(&stated, unsure).contains("predict no variance\nhelp: connect `world.deepfm`"));
        let dorl = Pessimistic { by: By::Dorl(Dorl::default()), ..Pessimistic::default() };
        assert!(error(&dorl, world()).contains("no `demonstrations` are connected\nhelp: "));
        assert_eq!((dorl.requirements().len(), spread.requirements().len()), (1, 0));
        let foreign = run(&dorl, world(), Some(logged(&[0, 7]))).unwrap_err().to_string();
        assert!(foreign.contains("item 7") && foreign.contains("help: "), "{foreign}");
        let negative = Pessimistic { by: By::Mopo(Mopo { uncertainty_coef: -1.0 }), ..Pessimistic::default() };
        assert_eq!(negative.check().unwrap_err().0, "by.mopo.uncertainty_coef");
        type Change = fn(&mut R3s);
        let wrong: [(Change, &str); 4] = [
            (|by| by.local_coef = -0.1, "by.r3s.local_coef"),
            (|by| by.global_coef = f64::NAN, "by.r3s.global_coef"),
            (|by| by.uncertainty_coef = f64::INFINITY, "by.r3s.uncertainty_coef"),
            (|by| by.decay = 1.1, "by.r3s.decay"),
        ];
        for (change, path) in wrong {
            let mut by = R3s::default();
            change(&mut by);
            let stage = Pessimistic { by: By::R3s(by), ..Pessimistic::default() };
            assert_eq!(stage.check().unwrap_err().0, path);
        }
    }

    #[test]
    fn a_file_keeps_what_is_paid_beside_the_matrix() {
        let folder = tempfile::tempdir().unwrap();
        for by in [By::Dorl(Dorl::default()), By::R3s(R3s::default())] {
            let path = folder.path().join(if matches!(by, By::R3s(_)) { "r3s" } else { "dorl" });
            let world = run(&Pessimistic { by, ..Pessimistic::default() }, world(), Some(logged(&[0, 1]))).unwrap();
            pipeline::Artifact::write(&world, &path).unwrap();
            assert_eq!(<World as pipeline::Artifact>::read(&path).unwrap(), world);
            let said = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains("diversity_penalty");
            assert_eq!(said, world.diversity_penalty.is_some(), "a world without it has the bytes of before");
        }
    }
}
