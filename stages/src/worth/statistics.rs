//! `worth`: how many ratings a model's scores are worth, from the returns of recommenders with and without them.
//!
//! For a learner F, V_F(N) is its mean return with N ratings and V_FM(N) that with the model's scores as well.
//! - **Marginal worth** W_F(N) = V_F⁻¹(V_FM(N)) − N: the ratings that F would need in addition.
//! - **Stand-alone worth** N*: V_best(N*) = V(the scores alone), where V_best is that of the learner chosen by validation.
//!
//! V_F⁻¹ inverts the isotonic regression of V_F on ln(1 + N); at N = 0 every learner without scores is random. A worth that the log
//! cannot resolve lies "at least" at its largest N. The scores stop to matter at the size from which on every interval of
//! V_FM − V_F lies within a margin of equivalence and not above 0.
//!
//! - **Lead** of learners that read vectors: how much more they return than "genre and year" (or, where the catalogue has neither,
//!   "popular by mean") from the same ratings.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use pipeline::{Context, Many, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::{ALL, answer};
use super::arms::{BEST, ORACLE, RANDOM};
use super::bootstrap::{Mean, Means, Study};
use super::contenders::{BY_MEAN, GENRE_AND_YEAR, OF_VECTORS};
use super::estimate::LearningCurve;
use super::policies::{PolicyArm, add_rollouts};
use crate::artifact::{Returns, Rollouts, Worth, WorthEstimate};

/// Standard errors of the smallest effect that a two-sided test at 5 % finds with a power of 80 %: 1.96 + 0.84.
const POWER: f64 = 2.8;
/// `worth`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EstimateWorth {
    /// Bootstrap resamples behind each interval, from 100; 1000 by default.
    pub n_resamples: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// The margin within which two returns count as equal: this share of the return of the oracle less that of random; 0.01 by default.
    pub equivalence: f64,
    /// The rows of `rollouts` that belong to the study: which learner each policy is of, and which scores it was given.
    pub policies: BTreeMap<String, PolicyArm>,
}

impl Default for EstimateWorth {
    fn default() -> Self {
        Self { n_resamples: 1000, seed: 0, equivalence: 0.01, policies: BTreeMap::new() }
    }
}

pipeline::ports! {
    /// The returns of a study.
    pub struct Inputs {
        /// The returns of closed-form recommenders; inputs of one name are the draws of one half.
        returns: Many<Returns>,
        /// Episodes of trained policies, each of a sweep over `n` and `draw`; the name of an input is `half/world`.
        rollouts: Many<Rollouts>,
    }
}

pipeline::ports! {
    /// The worths.
    pub struct Outputs {
        /// Returns, gains and worths with their intervals.
        worth: Worth,
    }
}

impl Stage for EstimateWorth {
    const KIND: &'static str = "worth";
    /// 1: first. 2: the answer says the scale of a return, what costs, and where the log does not help.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "estimate how many ratings a model's scores of the items are worth";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if self.n_resamples < 100 {
            return wrong("n_resamples", "the ends of a 95 % interval need at least 100 resamples");
        }
        if !(self.equivalence > 0.0 && self.equivalence < 1.0) {
            return wrong("equivalence", "a share between 0 and 1, both excluded");
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let mut study = Study::default();
        for part in inputs.returns {
            let Returns { users, cells } = part.value;
            for (cell, returns) in cells {
                let mean = Mean { world: cell.world, arm: cell.arm, n: cell.n };
                study.add(&part.name, mean, cell.draw, &users, returns)?;
            }
        }
        for part in &inputs.rollouts {
            add_rollouts(&mut study, &part.name, &part.value, &self.policies)?;
        }
        study.check()?;
        cx.note("study", study.size());
        let found = self.statistics(&study.means());
        ensure!(!found.is_empty(), "no returns of scores\nhelp: connect `item_scores` where the returns are made");
        cx.check_cancelled()?;
        let resamples = study.resampled(self.n_resamples, self.seed, |means| self.statistics(&means));
        let mut rows = estimates(&found, &resamples);
        rows.extend(ends(&rows));
        let answer = answer(&rows);
        cx.note("answer", answer.join(" "));
        Ok(Outputs { worth: Worth { rows, answer } })
    }
}

/// What an estimate is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Quantity {
    scores: String,
    learner: String,
    world: String,
    name: &'static str,
    n: u32,
}

/// A number, and whether the log cannot resolve it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value {
    value: f64,
    beyond: bool,
}

impl EstimateWorth {
    /// Everything that is computed from the means of one resample.
    fn statistics(&self, means: &Means) -> BTreeMap<Quantity, Value> {
        let means = with_means_over_worlds(means);
        let mut found = BTreeMap::new();
        for (world, of) in OfWorld::each(&means) {
            let mut put = |scores: &str, learner: &str, name: &'static str, n: u32, value: f64, beyond: bool| {
                let (scores, learner, world) = (scores.to_owned(), learner.to_owned(), world.to_owned());
                found.insert(Quantity { scores, learner, world, name, n }, Value { value, beyond });
            };
            for (&(learner, scores), sizes) in &of.0 {
                sizes.iter().for_each(|&(n, value)| put(scores, learner, "return", n, value, false));
            }
            let (Some(oracle), Some(random)) = (of.get(ORACLE, "", 0), of.get(RANDOM, "", 0)) else { continue };
            put("", "", "margin", 0, self.equivalence * (oracle - random), false);
            let all_scores: BTreeSet<&str> =
                of.0.keys().map(|(_, scores)| *scores).filter(|scores| !scores.is_empty()).collect();
            let learns = |learner: &&str| !of.sizes(learner, "").is_empty();
            let learners: BTreeSet<&str> =
                of.0.keys()
                    .filter(|(_, scores)| scores.is_empty())
                    .map(|(learner, _)| *learner)
                    .filter(learns)
                    .collect();
            let base = if learners.contains(GENRE_AND_YEAR) { GENRE_AND_YEAR } else { BY_MEAN };
            for learner in OF_VECTORS {
                for (n, with) in of.sizes(learner, "") {
                    let lead = of.get(base, "", n).map(|without| with - without);
                    lead.into_iter().for_each(|lead| put("", learner, "lead", n, lead, false));
                }
            }
            for scores in all_scores {
                let alone = of.get("", scores, 0);
                for learner in &learners {
                    let curve = of.curve(learner, random);
                    for (n, with) in of.sizes(learner, scores).into_iter().chain(alone.map(|alone| (0, alone))) {
                        let without = if n == 0 { Some(random) } else { of.get(learner, "", n) };
                        let Some(without) = without else { continue };
                        put(scores, learner, "gain", n, with - without, false);
                        let needed = curve.inverse(with);
                        let more = (needed.count - f64::from(n)).max(0.0);
                        put(scores, learner, "marginal_worth", n, more, needed.beyond);
                    }
                }
                if let (Some(alone), true) = (alone, learners.contains(BEST)) {
                    let needed = of.curve(BEST, random).inverse(alone);
                    put(scores, "", "standalone_worth", 0, needed.count, needed.beyond);
                }
            }
        }
        found
    }
}

/// With the means over the worlds, and over the same parts of them (`all/rare`).
fn with_means_over_worlds(means: &Means) -> Means {
    let mut sums: BTreeMap<Mean, (f64, f64)> = BTreeMap::new();
    for (cell, value) in means {
        let world = match cell.world.split_once('/') {
            Some((_, part)) => format!("{ALL}/{part}"),
            None => ALL.to_owned(),
        };
        let (sum, count) = sums.entry(Mean { world, ..cell.clone() }).or_default();
        *sum += value;
        *count += 1.0;
    }
    let mut all = means.clone();
    all.extend(sums.into_iter().map(|(cell, (sum, count))| (cell, sum / count)));
    all
}

/// The means of one world: of each arm (learner, scores) the return at each N, rising.
struct OfWorld<'a>(BTreeMap<(&'a str, &'a str), Vec<(u32, f64)>>);

impl<'a> OfWorld<'a> {
    /// Every world with its means, which are looked up thousands of times a resample.
    fn each(means: &'a Means) -> BTreeMap<&'a str, Self> {
        let mut worlds: BTreeMap<&str, Self> = BTreeMap::new();
        for (cell, &value) in means {
            let of = worlds.entry(&cell.world).or_insert_with(|| Self(BTreeMap::new()));
            of.0.entry((&cell.arm.learner, &cell.arm.scores)).or_default().push((cell.n, value));
        }
        worlds
    }

    fn get(&self, learner: &str, scores: &str, n: u32) -> Option<f64> {
        self.0.get(&(learner, scores))?.iter().find(|(size, _)| *size == n).map(|(_, value)| *value)
    }

    /// Sizes above 0 with the return of the arm, rising.
    fn sizes(&self, learner: &str, scores: &str) -> Vec<(u32, f64)> {
        self.0.get(&(learner, scores)).into_iter().flatten().copied().filter(|(n, _)| *n > 0).collect()
    }

    /// The learning curve of a learner without scores, from `random` at N = 0.
    fn curve(&self, learner: &str, random: f64) -> LearningCurve {
        let points = self.sizes(learner, "").into_iter().map(|(n, value)| (f64::from(n), value));
        LearningCurve::through(&[(0.0, random)].into_iter().chain(points).collect::<Vec<_>>())
    }
}

/// The statistics of the study with the percentile intervals of its resamples, and the smallest gains that it could have found.
fn estimates(found: &BTreeMap<Quantity, Value>, resamples: &[BTreeMap<Quantity, Value>]) -> Vec<WorthEstimate> {
    let mut rows = Vec::new();
    for (quantity, value) in found {
        let mut drawn: Vec<Value> = resamples.iter().filter_map(|resample| resample.get(quantity).copied()).collect();
        drawn.sort_by(|a, b| a.value.total_cmp(&b.value).then(a.beyond.cmp(&b.beyond)));
        let at = |share: f64| drawn[((drawn.len() - 1) as f64 * share).round() as usize];
        let (low, high) = if drawn.is_empty() { (*value, *value) } else { (at(0.025), at(0.975)) };
        let row = |name: &str, value: f64, low: f64, high: f64, censored: &str| WorthEstimate {
            scores: quantity.scores.clone(),
            learner: quantity.learner.clone(),
            world: quantity.world.clone(),
            quantity: name.to_owned(),
            n: quantity.n,
            value,
            low,
            high,
            censored: censored.to_owned(),
        };
        let censored = if value.beyond {
            "value"
        } else if high.beyond {
            "high"
        } else {
            ""
        };
        rows.push(row(quantity.name, value.value, low.value, high.value, censored));
        let smallest_of = match quantity.name {
            "gain" => Some("detectable_gain"),
            "lead" => Some("detectable_lead"),
            _ => None,
        };
        if let Some(name) = smallest_of {
            let mean = drawn.iter().map(|x| x.value).sum::<f64>() / drawn.len() as f64;
            let variance = drawn.iter().map(|x| (x.value - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
            let smallest = POWER * variance.sqrt();
            rows.push(row(name, smallest, smallest, smallest, ""));
        }
    }
    rows
}

/// For each world, scores and learner the size from which on the scores change nothing.
fn ends(rows: &[WorthEstimate]) -> Vec<WorthEstimate> {
    let mut gains: BTreeMap<(&str, &str, &str), Vec<&WorthEstimate>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.quantity == "gain") {
        gains.entry((&row.world, &row.scores, &row.learner)).or_default().push(row);
    }
    let end = |((world, scores, learner), gains): ((&str, &str, &str), Vec<&WorthEstimate>)| {
        let margin = rows.iter().find(|row| row.quantity == "margin" && row.world == world)?.value;
        let nothing = |gain: &WorthEstimate| gain.low <= 0.0 && gain.low >= -margin && gain.high <= margin;
        let mut sizes: Vec<&&WorthEstimate> = gains.iter().collect();
        sizes.sort_by_key(|gain| gain.n);
        let from =
            sizes.iter().rev().take_while(|gain| nothing(gain)).last().map_or(f64::NAN, |gain| f64::from(gain.n));
        Some(WorthEstimate {
            scores: scores.to_owned(),
            learner: learner.to_owned(),
            world: world.to_owned(),
            quantity: "end".to_owned(),
            n: 0,
            value: from,
            low: from,
            high: from,
            censored: String::new(),
        })
    };
    gains.into_iter().filter_map(end).collect()
}
