//! How high systems rank the held-out interactions of the log, beside what they return in a simulator.

use minijinja::{Value, context};

use crate::artifact::{RankingMetric, RankingMetrics};
use crate::report::table::format;
use crate::report::table::row::Estimate;

/// The metric that sentences and differences are of, and the others of the table with their heads.
const MAIN: &str = "ndcg";
const OTHERS: [(&str, &str); 5] =
    [("recall", "Recall"), ("hit_rate", "hit rate"), ("mrr", "MRR"), ("map", "MAP"), ("coverage", "coverage")];

/// The level of a claim, after Holm's correction.
const LEVEL: f64 = 0.05;

/// All systems at one cut-off.
pub(in crate::report) struct RankingTable {
    pub k: u32,
    /// The first cell of a line names a system.
    pub heads: Vec<String>,
    pub lines: Vec<Vec<String>>,
}

/// One table a cut-off.
pub(in crate::report) fn tables(metrics: &RankingMetrics) -> Vec<RankingTable> {
    let mut cut_offs: Vec<u32> = metrics.0.iter().map(|row| row.k).collect();
    cut_offs.sort_unstable();
    cut_offs.dedup();
    let table = |k| {
        let best = metrics.0.iter().find(|row| row.metric == MAIN && row.k == k).map_or("", |row| &row.best_baseline);
        let mut heads =
            vec!["system".to_owned(), format!("NDCG@{k}"), format!("against {best}"), "p (Holm)".to_owned()];
        heads.extend(OTHERS.map(|(_, label)| format!("{label}@{k}")));
        heads.extend(["seeds", "users"].map(str::to_owned));
        let rows = metrics.0.iter().filter(|row| row.metric == MAIN && row.k == k);
        let line = |row: &RankingMetric| {
            let mut line = vec![row.system.clone(), own(row), difference(row)];
            line.push(row.p.map_or("–".to_owned(), format::p_value));
            line.extend(OTHERS.map(|(metric, _)| {
                metrics.find(&row.system, metric, k).map_or("–".to_owned(), |row| format::four_decimals(row.mean))
            }));
            line.extend([row.seeds.to_string(), row.users.to_string()]);
            line
        };
        RankingTable { k, heads, lines: rows.map(line).collect() }
    };
    cut_offs.into_iter().map(table).collect()
}

fn own(row: &RankingMetric) -> String {
    match (row.low, row.high) {
        (Some(low), Some(high)) => format::four_decimals_with_interval(Estimate { mean: row.mean, low, high }),
        _ => format::four_decimals(row.mean),
    }
}

fn difference(row: &RankingMetric) -> String {
    match (row.difference, row.difference_low, row.difference_high) {
        (Some(mean), Some(low), Some(high)) => format::four_decimals_with_interval(Estimate { mean, low, high }),
        (Some(mean), ..) => format::four_decimals(mean),
        _ => "–".to_owned(),
    }
}

/// What the smallest cut-off says: the best baseline, and how the others stand to it.
pub(in crate::report) fn sentences(metrics: &RankingMetrics) -> Vec<String> {
    let Some(k) = metrics.0.iter().map(|row| row.k).min() else {
        return vec!["Nothing was ranked.".to_owned()];
    };
    let rows: Vec<&RankingMetric> = metrics.0.iter().filter(|row| row.metric == MAIN && row.k == k).collect();
    let mut said = Vec::new();
    if let Some(best) = rows.iter().find(|row| row.system == row.best_baseline) {
        let users = best.users;
        said.push(format!(
            "Of {users} users with held-out interactions, the best baseline by NDCG@{k} is {} ({}).",
            best.system,
            own(best)
        ));
    }
    let others = |is: &dyn Fn(&RankingMetric) -> bool| -> Vec<String> {
        let rows = rows.iter().filter(|row| !row.baseline && is(row));
        rows.map(|row| format!("{} ({})", row.system, difference(row))).collect()
    };
    let holds = |row: &RankingMetric| row.p.is_some_and(|p| p < LEVEL);
    let above = |row: &RankingMetric| row.difference.is_some_and(|difference| difference > 0.0);
    let parts = [
        ("Significantly above it", others(&|row| holds(row) && above(row))),
        ("Significantly below it", others(&|row| holds(row) && !above(row))),
        ("No significant difference", others(&|row| !holds(row))),
    ];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    said.extend(parts.map(|(words, names)| format!("{words}: {}.", format::list(names))));
    let short: Vec<String> = rows.iter().filter(|row| row.missing > 0.0).map(|row| row.system.clone()).collect();
    if !short.is_empty() {
        said.push(format!("Rankings end before {k} items, and the rest counts as misses: {}.", format::list(&short)));
    }
    said
}

/// The section of the page.
pub(in crate::report) fn section(metrics: &RankingMetrics) -> Value {
    let table = |table: RankingTable| {
        context! { k => table.k, heads => table.heads, lines => table.lines }
    };
    let tables: Value = tables(metrics).into_iter().map(table).collect();
    context! { sentences => sentences(metrics), tables }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_table_a_cut_off_and_words_for_the_smallest() {
        let metrics = fixture::ranking();
        let tables = tables(&metrics);
        assert_eq!(tables.iter().map(|table| table.k).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(tables[0].heads[..4], ["system", "NDCG@10", "against popular", "p (Holm)"]);
        assert_eq!(
            tables[0].lines[2],
            [
                "a2c",
                "0.0950 [0.0850, 0.1050]",
                "−0.0050 [−0.0150, 0.0050]",
                "0.300",
                "–",
                "–",
                "–",
                "–",
                "–",
                "5",
                "900"
            ]
        );
        assert_eq!(tables[0].lines[1][2..4], ["–", "–"], "nothing is compared with itself");
        assert_eq!(
            sentences(&metrics),
            [
                "Of 900 users with held-out interactions, the best baseline by NDCG@10 is popular (0.1000 [0.0900, 0.1100]).",
                "Significantly above it: als (0.0400 [0.0300, 0.0500]).",
                "No significant difference: a2c (−0.0050 [−0.0150, 0.0050]).",
                "Rankings end before 10 items, and the rest counts as misses: als.",
            ]
        );
        assert_eq!(sentences(&RankingMetrics::default()), ["Nothing was ranked."]);
    }
}
