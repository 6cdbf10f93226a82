//! Off-policy estimates: what a log of others says of the policies, and whether it can say anything.

use minijinja::{Value, context};

use crate::artifact::{Estimate, Estimates};
use crate::report::table::{format, row};

/// The rows of the table.
pub(in crate::report) fn rows(estimates: &Estimates) -> Value {
    let row = |estimate: &Estimate| {
        context! {
            policy => estimate.policy.as_str(),
            cell => estimate.cell.as_str(),
            estimator => estimate.estimator.replace('_', " "),
            value => formatted(estimate),
            sample => format::three_digits(estimate.effective_sample_size),
            logged => estimate.rows,
            conclusive => estimate.conclusive,
            remark => estimate.remark.as_str(),
        }
    };
    estimates.0.iter().map(row).collect()
}

/// The estimate with its interval; a dash where one of the three is no number.
pub(in crate::report) fn formatted(estimate: &Estimate) -> String {
    let write = |found: row::Estimate| [found.mean, found.low, found.high].map(format::two_decimals);
    value(estimate).map(write).map_or("–".to_owned(), |[mean, low, high]| format!("{mean} [{low}, {high}]"))
}

fn value(estimate: &Estimate) -> Option<row::Estimate> {
    let Estimate { value: mean, low, high, .. } = *estimate;
    [mean, low, high].iter().all(|value| value.is_finite()).then_some(row::Estimate { mean, low, high })
}

/// What the table allows to say: of each policy, whether it can be told from the others by conclusive estimates alone.
pub(in crate::report) fn sentences(estimates: &Estimates) -> Vec<String> {
    let sound: Vec<&Estimate> = estimates.0.iter().filter(|e| e.conclusive && value(e).is_some()).collect();
    if sound.is_empty() {
        return vec!["No estimate is conclusive: the log does not support a comparison of these policies.".to_owned()];
    }
    let mut apart = Vec::new();
    let mut pairs = 0;
    for (i, a) in sound.iter().enumerate() {
        for b in &sound[i + 1..] {
            if a.estimator != b.estimator || a.policy == b.policy {
                continue;
            }
            pairs += 1;
            let (upper, lower) = if a.value >= b.value { (a, b) } else { (b, a) };
            if upper.low > lower.high {
                apart.push(format!("{} above {} ({})", named(upper), named(lower), upper.estimator.replace('_', " ")));
            }
        }
    }
    let count = format!("{} of {} estimates are conclusive.", sound.len(), estimates.0.len());
    let said = match (pairs, apart.is_empty()) {
        (0, _) => "No two policies have a conclusive estimate of the same estimator.".to_owned(),
        (_, true) => "All conclusive intervals overlap: no difference is established.".to_owned(),
        (_, false) => format!("Intervals that do not overlap (uncorrected): {}.", format::list(&apart)),
    };
    vec![format!("{count} {said}")]
}

fn named(estimate: &Estimate) -> String {
    if estimate.cell.is_empty() { estimate.policy.clone() } else { format!("{} {}", estimate.policy, estimate.cell) }
}

#[cfg(test)]
mod tests {
    use super::sentences;
    use crate::artifact::{Estimate, Estimates};

    fn estimate(policy: &str, value: f64, conclusive: bool) -> Estimate {
        Estimate {
            policy: policy.to_owned(),
            cell: "seed=0".to_owned(),
            estimator: "doubly_robust".to_owned(),
            value,
            low: value - 0.2,
            high: value + 0.2,
            effective_sample_size: 90.0,
            rows: 1000,
            conclusive,
            remark: String::new(),
        }
    }

    #[test]
    fn only_conclusive_estimates_are_compared() {
        let say = |rows: Vec<Estimate>| sentences(&Estimates(rows)).remove(0);
        assert!(say(vec![estimate("a2c", 3.0, false)]).starts_with("No estimate is conclusive"));
        assert!(say(vec![estimate("a2c", 3.0, true)]).ends_with("of the same estimator."));
        assert!(
            say(vec![estimate("a2c", 3.0, true), estimate("bc", 2.9, true)])
                .contains("All conclusive intervals overlap")
        );
        assert_eq!(
            say(vec![estimate("bc", 2.0, true), estimate("a2c", 3.0, true), estimate("x", 9.0, false)]),
            "2 of 3 estimates are conclusive. Intervals that do not overlap (uncorrected): a2c seed=0 above bc seed=0 (doubly robust)."
        );
    }
}
