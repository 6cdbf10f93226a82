//! The rows behind the tables as comma-separated values (RFC 4180), safe to be opened in a spreadsheet.

use super::row::MISSING;
use super::tell::Table;
use crate::artifact::Metric;

/// What the columns are called.
const HEADER: [&str; 13] = [
    "run",
    "experiment",
    "stage",
    "policy",
    "control",
    "privileged",
    "remark",
    "metric",
    "mean",
    "low",
    "high",
    "seeds",
    "episodes",
];

/// One line for each row of the metrics of each table.
pub(super) fn csv(tables: &[Table]) -> String {
    let mut text = HEADER.join(",") + "\n";
    for table in tables {
        for Metric { policy, control, privileged, remark, metric, mean, low, high, seeds, episodes } in
            table.metrics.0.iter().filter(|row| row.metric != MISSING)
        {
            let [run, experiment] = [&table.ran.id, &table.ran.experiment].map(|name| cell(name));
            let [stage, policy, remark, metric] = [table.stage, policy, remark, metric].map(cell);
            text += &format!(
                "{run},{experiment},{stage},{policy},{control},{privileged},{remark},{metric},{mean},{low},{high},{seeds},{episodes}\n"
            );
        }
    }
    text
}

/// A text as a field. A spreadsheet takes what begins with `=`, `+`, `-`, `@`, a tab or a line end for a formula and runs it:
/// an apostrophe before it makes it a text.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if is_formula || text.contains([',', '"', '\n', '\r', ';']) || text.trim() != text {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_text_is_taken_for_a_formula_or_for_two_fields() {
        let cells =
            ["a2c", "a,b", "say \"no\"", "=1+1", "-1", "@SUM(A1)", "+x", "\t=x", "two\nlines", " led"].map(cell);
        let wanted = [
            "a2c",
            "\"a,b\"",
            "\"say \"\"no\"\"\"",
            "\"'=1+1\"",
            "\"'-1\"",
            "\"'@SUM(A1)\"",
            "\"'+x\"",
            "\"'\t=x\"",
            "\"two\nlines\"",
            "\" led\"",
        ];
        assert_eq!(cells, wanted);
    }
}
