//! What several evaluation worlds say together.

use minijinja::{Value, context};

use crate::artifact::{WorldAgreement, WorldDifference, WorldDifferences, WorldVerdict};
use crate::report::table::format;
use crate::report::table::row::Estimate;

/// Differences that are named in a sentence, at most.
const NAMED: usize = 6;

/// How far the worlds agree, in words.
pub(in crate::report) fn sentences(agreement: &WorldAgreement, differences: Option<&WorldDifferences>) -> Vec<String> {
    let taus: Vec<f64> = agreement.0.iter().map(|pair| pair.kendall_tau).collect();
    let lowest = agreement.0.iter().min_by(|a, b| a.kendall_tau.total_cmp(&b.kendall_tau));
    let Some(lowest) = lowest else {
        return vec!["No two evaluation worlds were compared.".to_owned()];
    };
    let mean = taus.iter().sum::<f64>() / taus.len() as f64;
    let mut said = vec![format!(
        "{} evaluation worlds order {} systems with a Kendall τ of {} on average; the lowest is {}, of {} and {}.",
        agreement.worlds().len(),
        lowest.systems,
        format::two_decimals(mean),
        format::two_decimals(lowest.kendall_tau),
        lowest.world,
        lowest.other
    )];
    let Some(differences) = differences else { return said };
    let of = |verdict| differences.0.iter().filter(move |difference| difference.verdict == verdict);
    let all = differences.0.len();
    let agree = of(WorldVerdict::Agree).count();
    let mut parts = vec![format!("{agree} of {all} differences have one sign and one significance in all worlds")];
    for (verdict, words) in [
        (WorldVerdict::SomeSignificant, "significant in some worlds only"),
        (WorldVerdict::SignFlips, "of another sign in some"),
        (WorldVerdict::Contradict, "significantly above in one and significantly below in another"),
    ] {
        let names: Vec<String> = of(verdict).map(|d| format!("{} − {}", d.policy, d.other)).collect();
        if !names.is_empty() {
            let more = names.len().saturating_sub(NAMED);
            let mut list = names[..names.len() - more].join(", ");
            if more > 0 {
                list += &format!(" and {more} more");
            }
            parts.push(format!("{} {words} ({list})", names.len()));
        }
    }
    said.push(format!("{}.", format::list(&parts)));
    said
}

/// The section of the page.
pub(in crate::report) fn section(agreement: &WorldAgreement, differences: Option<&WorldDifferences>) -> Value {
    let pair = |pair: &crate::artifact::WorldPair| {
        context! {
            world => pair.world.as_str(),
            other => pair.other.as_str(),
            tau => format::two_decimals(pair.kendall_tau),
            systems => pair.systems,
        }
    };
    let row = |d: &WorldDifference| {
        context! {
            policy => d.policy.as_str(),
            other => d.other.as_str(),
            mean => mean(d),
            positive => d.positive,
            negative => d.negative,
            above => d.above,
            below => d.below,
            verdict => d.verdict.name().replace('_', " "),
        }
    };
    context! {
        sentences => sentences(agreement, differences),
        pairs => agreement.0.iter().map(pair).collect::<Value>(),
        differences => differences.map(|differences| differences.0.iter().map(row).collect::<Value>()),
    }
}

/// The mean over worlds with its interval.
fn mean(difference: &WorldDifference) -> String {
    let mean = difference.mean;
    let (low, high) = (difference.low.unwrap_or(mean), difference.high.unwrap_or(mean));
    format::difference_with_interval(Estimate { mean, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_agrees_and_what_flips_is_said() {
        let (agreement, differences) = fixture::worlds();
        assert_eq!(
            sentences(&agreement, Some(&differences)),
            [
                "3 evaluation worlds order 8 systems with a Kendall τ of 0.80 on average; the lowest is 0.60, of mf and deepfm.",
                "1 of 3 differences have one sign and one significance in all worlds, 1 significant in some worlds only (a2c − teacher (LLM)) and \
                 1 of another sign in some (a2c − popular quit-aware).",
            ]
        );
        assert_eq!(sentences(&agreement, None).len(), 1);
        assert_eq!(sentences(&WorldAgreement::default(), None), ["No two evaluation worlds were compared."]);
    }
}
