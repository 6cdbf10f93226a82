//! `evaluate.agreement`: whether several evaluation worlds say the same.
//!
//! A ranking in one simulator is a ranking by one model of users. Evaluated in worlds of several families and seeds, each pair of
//! worlds has Kendall's τ between the mean returns of the systems that both evaluate, and each difference between two systems is read
//! in all worlds: its sign, and whether it is significant after Holm's correction in that world. The mean over worlds has a t interval
//! over worlds, as a sample of those that might have been fitted.
//!
//! The worlds are the inputs' names: one `evaluate` stage for each, or a sweep. Left out: a model of worlds nested in families.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use pipeline::{Context, Many, Named, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::ScoreMatrix;
use super::crossed_mean::CrossedMean;
use super::table_rows::{GREEDY_ORACLE, PLANNING_ORACLE};
use crate::artifact::{
    Comparison, Comparisons, Metrics, WorldAgreement, WorldDifference, WorldDifferences, WorldPair, WorldVerdict,
};
use crate::ratings::{holm, kendall};

/// The level of a claim, after Holm's correction.
const LEVEL: f64 = 0.05;

/// `evaluate.agreement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Agreement {
    /// The metric by whose means systems are ranked; `return_inclusive` by default.
    pub metric: String,
    /// Rows that take no part in the rank agreement. By default the greedy and the planning oracle, which read the rewards of each
    /// evaluation world and so are first in all.
    pub exclude: Vec<String>,
}

impl Default for Agreement {
    fn default() -> Self {
        Self {
            metric: "return_inclusive".to_owned(),
            exclude: [GREEDY_ORACLE, PLANNING_ORACLE].map(str::to_owned).into(),
        }
    }
}

pipeline::ports! {
    /// What several evaluations found.
    pub struct AgreementInputs {
        /// The metrics of each evaluation; the names stand for the worlds.
        metrics: Many<Metrics>,
        /// The comparisons of the same evaluations by the same names.
        comparisons: Many<Comparisons>,
    }
}

pipeline::ports! {
    /// Where they agree.
    pub struct AgreementOutputs {
        /// One row a pair of worlds.
        agreement: WorldAgreement,
        /// One row a pair of systems.
        differences: WorldDifferences,
    }
}

impl Stage for Agreement {
    const KIND: &'static str = "evaluate.agreement";
    /// 1: first. 2: a pair of systems that worlds list in different orders is one.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "compare what several evaluation worlds say: rank agreement, and differences that flip";
    type Inputs = AgreementInputs;
    type Outputs = AgreementOutputs;

    fn run(&self, inputs: AgreementInputs, cx: &Context) -> Result<AgreementOutputs> {
        let worlds = inputs.metrics.len();
        ensure!(
            worlds > 1,
            "{worlds} evaluation is connected to `metrics`, and one alone agrees with nothing\nhelp: evaluate the same policies in worlds of several \
             families or seeds, and connect the metrics of each"
        );
        let labels: Vec<String> = inputs.metrics.iter().map(label).collect();
        let compared: Vec<String> = inputs.comparisons.iter().map(label).collect();
        ensure!(
            labels == compared,
            "`metrics` are of {}, `comparisons` of {}\nhelp: connect both from the same evaluations by the same names",
            labels.join(", "),
            compared.join(", ")
        );
        let agreement = self.agreement(&inputs.metrics, &labels)?;
        let differences = differences(&inputs.comparisons);
        let most = inputs.comparisons.iter().map(|world| tested(&world.value).len()).max().unwrap_or(0);
        if differences.0.len() < most {
            cx.note("left out", format!("{} differences that not all worlds have", most - differences.0.len()));
        }
        let taus: Vec<f64> = agreement.0.iter().map(|pair| pair.kendall_tau).collect();
        let lowest = taus.iter().copied().fold(f64::INFINITY, f64::min);
        let mean = taus.iter().sum::<f64>() / taus.len() as f64;
        cx.note(
            "rank agreement",
            format!("Kendall τ {mean:.2} on average over {} pairs of worlds, lowest {lowest:.2}", taus.len()),
        );
        for verdict in [WorldVerdict::Contradict, WorldVerdict::SignFlips, WorldVerdict::SomeSignificant] {
            let count = differences.0.iter().filter(|difference| difference.verdict == verdict).count();
            cx.note(verdict.name(), format!("{count} of {} differences", differences.0.len()));
        }
        Ok(AgreementOutputs { agreement, differences })
    }
}

impl Agreement {
    fn agreement(&self, metrics: &[Named<Metrics>], labels: &[String]) -> Result<WorldAgreement> {
        let means = |metrics: &Named<Metrics>| -> BTreeMap<String, f64> {
            let rows = metrics.value.rows.iter();
            let rows = rows
                .filter(|row| row.metric == self.metric && row.mean.is_finite() && !self.exclude.contains(&row.policy));
            rows.map(|row| (row.policy.clone(), row.mean)).collect()
        };
        let means: Vec<BTreeMap<String, f64>> = metrics.iter().map(means).collect();
        let mut pairs = Vec::new();
        for (a, of_a) in means.iter().enumerate() {
            for (b, of_b) in means.iter().enumerate().skip(a + 1) {
                let shared = of_a.iter().filter_map(|(system, x)| Some((*x, *of_b.get(system)?)));
                let (x, y): (Vec<f64>, Vec<f64>) = shared.unzip();
                ensure!(
                    x.len() > 1,
                    "the evaluations {} and {} share {} rows with a mean of `{}`, too few for a ranking\nhelp: connect evaluations of the same \
                     policies",
                    labels[a],
                    labels[b],
                    x.len(),
                    self.metric
                );
                pairs.push(WorldPair {
                    world: labels[a].clone(),
                    other: labels[b].clone(),
                    kendall_tau: kendall(&ranks(&x), &ranks(&y)),
                    systems: x.len() as u32,
                });
            }
        }
        Ok(WorldAgreement(pairs))
    }
}

/// What a world is called: the name of its evaluation, and the cell.
fn label<A>(named: &Named<A>) -> String {
    format!("{} {}", named.name, named.cell).trim_end().to_owned()
}

/// The place of each value among all, as whole numbers that f32 holds exactly; equal ones share theirs.
fn ranks(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| values.iter().filter(|other| *other < value).count() as f32).collect()
}

/// Each pair of systems once that all worlds compare, in the order of the first world.
fn differences(comparisons: &[Named<Comparisons>]) -> WorldDifferences {
    let worlds: Vec<Vec<Tested>> = comparisons.iter().map(|named| tested(&named.value)).collect();
    let of = |first: &Tested| {
        let all: Vec<Tested> =
            worlds.iter().filter_map(|world| world.iter().find_map(|other| other.seen_as(first))).collect();
        (all.len() == worlds.len()).then(|| difference(first.comparison, &all))
    };
    WorldDifferences(worlds.first().into_iter().flatten().filter_map(of).collect())
}

/// A comparison with its p after Holm's correction over those of its world.
#[derive(Clone, Copy)]
struct Tested<'a> {
    comparison: &'a Comparison,
    /// Of the two systems in the order in which the first world has them.
    difference: f64,
    p: f64,
}

impl<'a> Tested<'a> {
    /// This comparison in the order of the systems of another one; none where it is of others. A world may list them the other way round.
    fn seen_as(&self, first: &Tested) -> Option<Tested<'a>> {
        let (own, wanted) = (self.comparison, first.comparison);
        if own.metric != wanted.metric {
            return None;
        }
        match (&*own.policy, &*own.other) {
            (a, b) if a == wanted.policy && b == wanted.other => Some(*self),
            (a, b) if a == wanted.other && b == wanted.policy => Some(Tested { difference: -self.difference, ..*self }),
            _ => None,
        }
    }
}

/// The comparisons of a world, each pair of systems in the order in which it comes first.
fn tested<'c>(comparisons: &'c Comparisons) -> Vec<Tested<'c>> {
    let mut once: Vec<&'c Comparison> = Vec::new();
    for c in &comparisons.0 {
        let mirrored =
            once.iter().any(|known| known.policy == c.other && known.other == c.policy && known.metric == c.metric);
        if c.difference.is_finite() && c.p.is_finite() && !mirrored {
            once.push(c);
        }
    }
    let corrected = holm(&once.iter().map(|c| c.p).collect::<Vec<_>>());
    let tested = |(comparison, p): (&'c Comparison, f64)| Tested { comparison, difference: comparison.difference, p };
    once.into_iter().zip(corrected).map(tested).collect()
}

fn difference(first: &Comparison, worlds: &[Tested]) -> WorldDifference {
    let count = |is: &dyn Fn(&Tested) -> bool| worlds.iter().filter(|tested| is(tested)).count() as u32;
    let positive = count(&|tested| tested.difference > 0.0);
    let negative = count(&|tested| tested.difference < 0.0);
    let above = count(&|tested| tested.p < LEVEL && tested.difference > 0.0);
    let below = count(&|tested| tested.p < LEVEL && tested.difference < 0.0);
    let values: ScoreMatrix = vec![worlds.iter().map(|tested| tested.difference).collect()];
    let mean = CrossedMean::of(&values);
    let interval = mean.is_tested().then(|| mean.interval());
    let all = worlds.len() as u32;
    WorldDifference {
        policy: first.policy.clone(),
        other: first.other.clone(),
        metric: first.metric.clone(),
        worlds: all,
        positive,
        negative,
        above,
        below,
        mean: mean.mean,
        low: interval.map(|interval| interval.low),
        high: interval.map(|interval| interval.high),
        verdict: match (positive > 0 && negative > 0, above + below) {
            (true, _) if above > 0 && below > 0 => WorldVerdict::Contradict,
            (true, _) => WorldVerdict::SignFlips,
            (false, significant) if significant == 0 || significant == all => WorldVerdict::Agree,
            _ => WorldVerdict::SomeSignificant,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::artifact::{Metric, RowRole};

    fn metrics(means: &[(&str, f64)]) -> Metrics {
        let metric = |&(policy, mean): &(&str, f64)| Metric {
            policy: policy.into(),
            role: RowRole::Policy,
            privileged: false,
            remark: String::new(),
            metric: "return_inclusive".into(),
            mean,
            low: mean,
            high: mean,
            seeds: 1,
            episodes: 9,
        };
        Metrics { rows: means.iter().map(metric).collect(), missing: Vec::new() }
    }

    fn compare(policy: &str, other: &str, difference: f64, p: f64) -> Comparison {
        Comparison {
            policy: policy.into(),
            other: other.into(),
            metric: "return_inclusive".into(),
            difference,
            low: difference - 1.0,
            high: difference + 1.0,
            p,
            probability_of_improvement: 0.5,
            probability_of_improvement_low: 0.5,
            probability_of_improvement_high: 0.5,
            seeds: 5,
            users: 9,
        }
    }

    fn named<A>(name: &str, value: A) -> Named<A> {
        Named { name: name.into(), cell: String::new(), value }
    }

    fn run(inputs: AgreementInputs) -> Result<AgreementOutputs> {
        Agreement::default().run(inputs, &Context::detached(Path::new("unused")))
    }

    /// Three worlds with four systems and an oracle; of each the differences a − b, a − c, a − d and b − c.
    fn inputs() -> AgreementInputs {
        let worlds = [
            ("mf", [4.0, 3.0, 2.0, 1.0], [(1.0, 0.001), (2.0, 0.001), (3.0, 0.001), (1.0, 0.3)]),
            ("bias", [4.0, 3.0, 2.0, 5.0], [(1.0, 0.001), (2.0, 0.02), (-1.0, 0.001), (1.0, 0.4)]),
            ("deepfm", [3.0, 4.0, 2.0, 1.0], [(-1.0, 0.5), (1.0, 0.9), (2.0, 0.001), (2.0, 0.6)]),
        ];
        let systems = ["a", "b", "c", "d"];
        let metrics = |(name, means, _): &(&str, [f64; 4], _)| {
            let rows: Vec<(&str, f64)> = systems.into_iter().zip(*means).chain([(GREEDY_ORACLE, 99.0)]).collect();
            named(name, metrics(&rows))
        };
        let comparisons = |(name, _, found): &(&str, _, [(f64, f64); 4])| {
            let pairs = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c")];
            let mut all: Vec<Comparison> =
                pairs.iter().zip(found).map(|(pair, (d, p))| compare(pair.0, pair.1, *d, *p)).collect();
            // The other side of a pair is the same difference.
            all.push(compare("b", "a", -found[0].0, found[0].1));
            named(name, Comparisons(all))
        };
        AgreementInputs {
            metrics: worlds.iter().map(metrics).collect(),
            comparisons: worlds.iter().map(comparisons).collect(),
        }
    }

    #[test]
    fn orders_and_differences_of_three_worlds_by_hand() {
        let found = run(inputs()).unwrap();
        let taus: Vec<(&str, &str, f64)> =
            found.agreement.0.iter().map(|pair| (&*pair.world, &*pair.other, pair.kendall_tau)).collect();
        // Of six pairs of systems mf and bias order three alike, mf and deepfm five, bias and deepfm two.
        let wanted = [("mf", "bias", 0.0), ("mf", "deepfm", 2.0 / 3.0), ("bias", "deepfm", -1.0 / 3.0)];
        for (found, wanted) in taus.iter().zip(wanted) {
            assert!((found.0, found.1) == (wanted.0, wanted.1) && (found.2 - wanted.2).abs() < 1e-12, "{found:?}");
        }
        assert!(found.agreement.0.iter().all(|pair| pair.systems == 4), "the oracle takes no part");
        let verdicts: Vec<WorldVerdict> = found.differences.0.iter().map(|difference| difference.verdict).collect();
        // a − c is significant in mf (0.003) and, by Holm, in bias (0.04), not in deepfm.
        let wanted =
            [WorldVerdict::SignFlips, WorldVerdict::SomeSignificant, WorldVerdict::Contradict, WorldVerdict::Agree];
        assert_eq!(verdicts, wanted);
        let WorldDifference { positive, negative, above, below, mean, low, .. } = found.differences.0[2].clone();
        assert_eq!((positive, negative, above, below), (2, 1, 2, 1));
        // 3, −1 and 2: mean 4/3, standard error √(13/9), t with 2 degrees of freedom.
        assert!((mean - 4.0 / 3.0).abs() < 1e-12);
        assert!((low.unwrap() - (4.0 / 3.0 - 4.302_652_729_749_46 * (13.0_f64 / 9.0).sqrt())).abs() < 1e-9, "{low:?}");
    }

    #[test]
    fn a_pair_that_a_world_lists_the_other_way_round_is_the_same_pair() {
        let wanted = run(inputs()).unwrap().differences.0;
        let mut turned = inputs();
        for c in &mut turned.comparisons[1].value.0 {
            std::mem::swap(&mut c.policy, &mut c.other);
            c.difference = -c.difference;
        }
        assert_eq!(run(turned).unwrap().differences.0, wanted);
        // What one world lacks is in no row.
        let mut fewer = inputs();
        fewer.comparisons[2].value.0.retain(|c| c.other != "d");
        assert_eq!(run(fewer).unwrap().differences.0.len(), wanted.len() - 1);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let error = |inputs| run(inputs).err().unwrap().to_string();
        let mut one = inputs();
        one.metrics.truncate(1);
        assert!(error(one).starts_with("1 evaluation is connected"));
        let mut other = inputs();
        other.comparisons[1].name = "matrix".into();
        assert!(
            error(other).contains("`metrics` are of mf, bias, deepfm, `comparisons` of mf, matrix, deepfm\nhelp: ")
        );
        let mut apart = inputs();
        apart.metrics[2].value = metrics(&[("a", 1.0), ("z", 2.0)]);
        assert!(error(apart).contains("mf and deepfm share 1 rows"));
    }
}
