//! From a table of sessions and prompts to what each prompt is worth, with its controls.

use std::collections::BTreeMap;

use super::super::bootstrap::{Bootstrap, Resampling};
use crate::artifact::{PromptEstimate, PromptResult, PromptSummary, PromptTable};
use crate::prompting::HistoryOrder;

/// Standard errors of the smallest difference that is found with a power of 80 % at a level of 5 %.
const POWER: f64 = 2.8;

/// One value a session; `None` where there is none.
type Values = Vec<Option<f64>>;

/// The rows of one prompt by session.
struct Arm<'a> {
    prompt: &'a str,
    order: &'a str,
    rows: Vec<Option<&'a PromptResult>>,
}

impl Arm<'_> {
    fn values(&self, of: impl Fn(&PromptResult) -> Option<f64>) -> Values {
        self.rows.iter().map(|row| row.and_then(&of)).collect()
    }

    fn answered(&self, of: impl Fn(&PromptResult) -> f64) -> Values {
        self.values(|row| (!row.scores.is_empty()).then(|| of(row)))
    }
}

fn ndcg(arm: &Arm) -> Values {
    arm.answered(PromptResult::ndcg)
}

fn score(arm: &Arm) -> Values {
    arm.values(|row| row.target_score().map(f64::from))
}

fn less(a: &Values, b: &Values) -> Values {
    a.iter().zip(b).map(|(a, b)| Some((*a)? - (*b)?)).collect()
}

/// The summary of a table. `plain` is the prompt to which examples and hints are added; `aggregates` are the prompts whose scores are
/// points, which are not compared with ln p.
pub(super) fn summarise(
    table: &PromptTable,
    plain: &str,
    aggregates: &[&str],
    seed: u64,
    resamples: usize,
) -> PromptSummary {
    let sessions = table.0.iter().map(|row| row.session as usize + 1).max().unwrap_or(0);
    let mut arms: Vec<Arm> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in &table.0 {
        let at = *places.entry((&row.prompt, &row.order)).or_insert_with(|| {
            arms.push(Arm { prompt: &row.prompt, order: &row.order, rows: vec![None; sessions] });
            arms.len() - 1
        });
        arms[at].rows[row.session as usize] = Some(row);
    }
    let find =
        |prompt: &str, order: HistoryOrder| arms.iter().find(|arm| arm.prompt == prompt && arm.order == order.name());
    let bootstrap = Bootstrap { seed, resamples, resampling: Resampling::Crossed };
    let mut summary = PromptSummary::default();
    for arm in &arms {
        let scored = !aggregates.contains(&arm.prompt);
        let mut quantities: Vec<(String, Values, bool)> = vec![
            ("ndcg".into(), ndcg(arm), false),
            ("first".into(), arm.answered(|row| f64::from(row.rank() == Some(1.0))), false),
        ];
        let mut compare = |with: Option<&Arm>, name: &str| {
            let Some(with) = with else { return };
            quantities.push((format!("ndcg_over_{name}"), less(&ndcg(arm), &ndcg(with)), true));
            if scored && !aggregates.contains(&with.prompt) {
                quantities.push((format!("score_over_{name}"), less(&score(arm), &score(with)), true));
            }
        };
        if arm.prompt != ITEM_ONLY {
            compare(find(ITEM_ONLY, HistoryOrder::Chronological), "item_only");
        }
        if arm.order == HistoryOrder::Chronological.name() {
            compare(find(arm.prompt, HistoryOrder::Shuffled), "shuffled");
        }
        if arm.prompt.contains(ADDED_TO_PLAIN) {
            compare(find(plain, HistoryOrder::Chronological), "plain");
        }
        quantities.push(("tokens".into(), arm.values(|row| row.tokens.map(|tokens| tokens as f64)), false));
        quantities.push(("calls".into(), arm.values(|row| Some(f64::from(row.calls))), false));
        for (quantity, values, difference) in quantities {
            summary.0.extend(estimate(arm, quantity, &values, difference, &bootstrap));
        }
    }
    summary
}

/// The mean of the values that there are; `None` without any.
fn estimate(
    arm: &Arm,
    quantity: String,
    values: &Values,
    difference: bool,
    bootstrap: &Bootstrap,
) -> Option<PromptEstimate> {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    let count = known.len() as f64;
    let grid = vec![known];
    let found = bootstrap.intervals(&[(0, 1)], grid[0].len(), |draws| vec![draws[0].mean(&grid)]);
    let interval = found.first().filter(|_| count > 0.0)?;
    let variance = grid[0].iter().map(|value| (value - interval.mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    Some(PromptEstimate {
        prompt: arm.prompt.to_owned(),
        order: arm.order.to_owned(),
        quantity,
        value: interval.mean,
        low: interval.low,
        high: interval.high,
        // Sessions that do not differ say nothing of those that might.
        detectable: if difference && variance > 0.0 { POWER * (variance / count).sqrt() } else { f64::NAN },
        sessions: count as u32,
    })
}

/// The prompt that tells nothing of the user.
pub(super) const ITEM_ONLY: &str = "item_only";

/// What the names of prompts with examples or a hint contain.
pub(super) const ADDED_TO_PLAIN: &str = " + ";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(session: u32, prompt: &str, order: &str, scores: &[f32]) -> PromptResult {
        PromptResult {
            session,
            user: session,
            target: 0,
            history: vec![],
            prompt: prompt.into(),
            order: order.into(),
            candidates: vec![0, 1],
            scores: scores.to_vec(),
            tokens: Some(10 * u64::from(session + 1)),
            calls: 1,
        }
    }

    #[test]
    fn differences_are_paired_by_session_and_skip_what_was_not_answered() {
        let table = PromptTable(vec![
            row(0, "item_only", "chronological", &[0.0, 1.0]),
            row(0, "recent", "chronological", &[2.0, 1.0]),
            row(0, "recent", "shuffled", &[0.5, 1.0]),
            row(0, "recent + effect examples", "chronological", &[3.0, 1.0]),
            row(0, "borda", "chronological", &[1.0, 0.0]),
            row(1, "item_only", "chronological", &[]),
            row(1, "recent", "chronological", &[1.0, 0.0]),
            row(1, "recent", "shuffled", &[1.5, 1.0]),
            row(1, "recent + effect examples", "chronological", &[3.0, 4.0]),
            row(1, "borda", "chronological", &[1.0, 0.0]),
        ]);
        let summary = summarise(&table, "recent", &["borda"], 1, 200);
        let value = |prompt: &str, order: &str, quantity: &str| {
            summary.find(prompt, order, quantity).map(|row| (row.value, row.sessions))
        };
        let second = 1.0 / 3.0_f64.log2();
        assert_eq!(value("recent", "chronological", "ndcg"), Some((1.0, 2)));
        assert_eq!(value("recent", "chronological", "first"), Some((1.0, 2)));
        assert_eq!(value("item_only", "chronological", "ndcg"), Some((second, 1)));
        assert_eq!(value("recent", "chronological", "ndcg_over_item_only"), Some((1.0 - second, 1)));
        assert_eq!(value("recent", "chronological", "score_over_item_only"), Some((2.0, 1)));
        assert_eq!(value("recent", "chronological", "score_over_shuffled"), Some((0.5, 2)));
        assert_eq!(value("recent", "chronological", "ndcg_over_shuffled"), Some(((1.0 - second) / 2.0, 2)));
        assert_eq!(value("recent + effect examples", "chronological", "score_over_plain"), Some((1.5, 2)));
        assert_eq!(value("recent", "chronological", "score_over_plain"), None);
        assert_eq!(value("borda", "chronological", "score_over_item_only"), None, "points are no ln p");
        assert_eq!(value("borda", "chronological", "ndcg_over_item_only"), Some((1.0 - second, 1)));
        assert_eq!(value("recent", "shuffled", "tokens"), Some((15.0, 2)));
        let delta = summary.find("recent", "chronological", "score_over_shuffled").unwrap();
        // Differences of 1.5 and −0.5: a standard error of 1.
        assert!((delta.detectable - 2.8).abs() < 1e-12 && delta.low <= delta.value && delta.value <= delta.high);
        assert!(summary.find("recent", "chronological", "ndcg").unwrap().detectable.is_nan());
    }

    #[test]
    fn a_table_without_rows_says_nothing() {
        assert_eq!(summarise(&PromptTable::default(), "recent", &[], 0, 100), PromptSummary::default());
    }
}
