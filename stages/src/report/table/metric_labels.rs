//! What is measured: how each measure is called on a page and how it is written.

use crate::report::table::format;
use crate::report::table::row::{Estimate, Row};

/// The measures that have a column of their own in the table.
const COLUMNS: [&str; 11] = [
    "return_inclusive",
    "return_exclusive",
    "reward_per_step",
    "length",
    "coverage",
    "distinct_items",
    "end_similar",
    "end_low_reward",
    "end_category",
    "end_stopped",
    "end_horizon",
];
/// The measures that reports in few words show.
pub(in crate::report) const MAIN: [&str; 4] = ["return_inclusive", "length", "reward_per_step", "coverage"];

/// The measures beyond the table's columns, in the order of their names.
pub(in crate::report) fn further_metrics(rows: &[Row]) -> Vec<String> {
    let mut names: Vec<String> = rows.iter().flat_map(|row| row.measures.keys().cloned()).collect();
    names.retain(|name| !COLUMNS.contains(&name.as_str()));
    names.sort();
    names.dedup();
    names
}

/// A measure in a reader's words; one that is not known goes by its name.
pub(in crate::report) fn label(name: &str) -> String {
    let known = match name {
        "return_inclusive" => "return",
        "return_exclusive" => "return, exclusive",
        "return_iqm" => "interquartile mean of the return",
        "reward_per_step" => "reward per step",
        "length" => "length",
        "distinct_items" => "distinct items",
        "return_teacher_users" => "return, users of the teachers",
        "return_training_world" => "return in the training world",
        "return_bound" => "upper bound of the return",
        "world_rmse" => "RMSE of the planning world",
        "world_correlation" => "correlation of the planning world",
        "untrained" => "untrained policies",
        "gap" => "training world less evaluation world",
        "lead_over_popular" => "lead over popular",
        "lead_over_retriever" => "lead over retriever top-1",
        "lead_over_teacher" => "lead over the teacher",
        "calls" => "calls per episode",
        "prompt_tokens" => "prompt tokens per episode",
        "completion_tokens" => "completion tokens per episode",
        _ => return name.replace('_', " "),
    };
    known.to_owned()
}

/// A value with its interval, in digits that fit it.
pub(in crate::report) fn formatted(name: &str, estimate: Estimate) -> String {
    let write = match name {
        "coverage" | "coverage_per_step" | "repeat_rate" | "top_category" | "untrained" => format::percent,
        "distinct_items" | "calls" => format::one_decimal,
        "reward_per_step"
        | "reward_per_step_exclusive"
        | "diversity"
        | "novelty"
        | "world_rmse"
        | "world_correlation" => format::two_decimals,
        _ if name.starts_with("end_") => format::percent,
        _ if name.starts_with("length") => format::one_decimal,
        _ => format::three_digits,
    };
    if ["return_", "lead_over_", "gap"].iter().any(|start| name.starts_with(start)) {
        return format::with_interval(estimate);
    }
    let varies = estimate.low < estimate.high;
    let [mean, low, high] = [estimate.mean, estimate.low, estimate.high].map(write);
    if varies { format!("{mean} [{low}, {high}]") } else { mean }
}

#[cfg(test)]
mod tests {
    use super::{formatted, further_metrics, label};
    use crate::report::fixture;
    use crate::report::table::row::Estimate;

    #[test]
    fn measures_without_a_column_are_found_and_named() {
        let mut rows = fixture::rows(&[("a2c", false, 135.0, 1.0)]);
        let estimate = Estimate { mean: 0.25, low: 0.2, high: 0.3 };
        rows[0].measures.insert("some_rate".to_owned(), estimate);
        assert_eq!(further_metrics(&rows), ["some_rate"]);
        assert_eq!(
            (label("some_rate").as_str(), formatted("some_rate", estimate).as_str()),
            ("some rate", "0.25 [0.20, 0.30]")
        );
        assert_eq!(formatted("coverage", estimate), "25.0 % [20.0 %, 30.0 %]");
        assert_eq!(formatted("lead_over_popular", estimate), "0.25 [0.20, 0.30]");
        assert_eq!(formatted("length", Estimate { mean: 30.0, low: 30.0, high: 30.0 }), "30.0");
    }
}
