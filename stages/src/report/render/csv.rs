//! The rows behind the tables as comma-separated values (RFC 4180), safe to be opened in a spreadsheet.

use pipeline::csv_cell as cell;
use pipeline::report::RunSummary;

use crate::artifact::{Estimates, Metric, RankingMetrics, RowRole};
use crate::report::findings::evaluation_table::Table;

/// What the columns are called; the last four are of off-policy estimates only, as `seeds` and `episodes` are of the others.
const HEADER: [&str; 17] = [
    "run",
    "experiment",
    "stage",
    "policy",
    "baseline",
    "privileged",
    "remark",
    "metric",
    "mean",
    "low",
    "high",
    "seeds",
    "episodes",
    "cell",
    "effective_sample_size",
    "logged",
    "conclusive",
];

/// One line for each row of the metrics of each table, then one for each ranking metric (`ndcg@10`; `episodes` counts users and seeds)
/// and each off-policy estimate, whose `metric` is
/// `off_policy_` and the estimator.
pub(in crate::report) fn csv(
    tables: &[Table],
    rankings: &[(&RunSummary, &str, RankingMetrics)],
    estimates: &[(&RunSummary, &str, Estimates)],
) -> String {
    let mut text = HEADER.join(",") + "\n";
    for table in tables {
        for Metric { policy, role, privileged, remark, metric, mean, low, high, seeds, episodes } in &table.metrics.rows
        {
            let baseline = *role == RowRole::Baseline;
            let [run, experiment] = [&table.ran.id, &table.ran.experiment].map(|name| cell(name));
            let [stage, policy, remark, metric] = [table.stage, policy, remark, metric].map(cell);
            text += &format!(
                "{run},{experiment},{stage},{policy},{baseline},{privileged},{remark},{metric},{mean},{low},{high},{seeds},{episodes},,,,\n"
            );
        }
    }
    for (ran, stage, ranking) in rankings {
        for m in &ranking.0 {
            let [run, experiment, stage, system] = [ran.id.as_str(), &ran.experiment, *stage, &m.system].map(cell);
            let [low, high] = [m.low, m.high].map(|end| end.map_or_else(String::new, |end| end.to_string()));
            text += &format!(
                "{run},{experiment},{stage},{system},{},,,{}@{},{},{low},{high},{},{},,,,\n",
                m.baseline,
                m.metric,
                m.k,
                m.mean,
                m.seeds,
                m.seeds * m.users
            );
        }
    }
    for (ran, stage, estimates) in estimates {
        for e in &estimates.0 {
            let metric = format!("off_policy_{}", e.estimator);
            let [run, experiment, stage] = [ran.id.as_str(), &ran.experiment, *stage].map(cell);
            let [policy, remark, metric, of] = [&e.policy, &e.remark, &metric, &e.cell].map(|text| cell(text));
            text += &format!(
                "{run},{experiment},{stage},{policy},false,,{remark},{metric},{},{},{},,,{of},{},{},{}\n",
                e.value, e.low, e.high, e.effective_sample_size, e.rows, e.conclusive
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{HEADER, csv};
    use crate::report::fixture;

    #[test]
    fn estimates_of_a_log_are_rows_too() {
        let estimates = fixture::inputs().estimates.unwrap();
        let (count, first) = (estimates.0.len(), estimates.0[0].clone());
        let text = csv(&[], &[], &[(&fixture::ran(), "log", estimates)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0].split(',').count()), (1 + count, HEADER.len()));
        let begins = format!("20250131T120000Z-4242,toy,log,{},false,,", first.policy);
        let ends = format!(",{},{},{}", first.effective_sample_size, first.rows, first.conclusive);
        assert!(lines[1].starts_with(&begins) && lines[1].ends_with(&ends), "{}", lines[1]);
        assert!(lines[1].contains(&format!(",off_policy_{},{},", first.estimator, first.value)), "{}", lines[1]);
    }

    #[test]
    fn rankings_are_rows_too() {
        let ranking = fixture::ranking();
        let count = ranking.0.len();
        let text = csv(&[], &[(&fixture::ran(), "rank", ranking)], &[]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[1].split(',').count()), (1 + count, HEADER.len()));
        assert!(lines[2].contains(",rank,popular,true,,,ndcg@10,0.1,0.09000000000000001,0.11,5,4500,"), "{}", lines[2]);
    }
}
