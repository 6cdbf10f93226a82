//! What a careful reader would object to, looked for in the data and printed under the verdict.

use super::row::{Judged, Role, Row};
use super::say;
use super::verdict::{Cast, SEEDS};
use crate::artifact::Rollouts;

/// Sentences of warning, most important first.
pub(super) fn cautions(rows: &[Row], cast: &Cast, rollouts: Option<&Rollouts>) -> Vec<String> {
    let mut cautions = Vec::new();
    cautions.extend(missing(rows));
    cautions.extend(cut_elsewhere(rows));
    cautions.extend(few_seeds(rows));
    cautions.extend(other_users(cast, rollouts));
    cautions.extend(order_by_convention(cast));
    cautions
}

fn names<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<String> {
    rows.map(|row| row.name.clone()).collect()
}

fn missing(rows: &[Row]) -> Option<String> {
    let names = names(rows.iter().filter(|row| row.returns().is_none()));
    (!names.is_empty()).then(|| format!("{} without a finite return: left out of every comparison.", say::list(&names)))
}

fn few_seeds(rows: &[Row]) -> Option<String> {
    let few = || rows.iter().filter(|row| row.role == Role::Learned && row.seeds < SEEDS);
    let named: Vec<_> = few().map(|row| format!("{} ({})", row.name, row.seeds)).collect();
    (!named.is_empty()).then(|| {
        format!(
            "Fewer than {SEEDS} training seeds: {}. Another seed may move such a row by more than its interval.",
            say::list(&named)
        )
    })
}

/// Rows whose episodes were cut at another length than most rows'.
fn cut_elsewhere(rows: &[Row]) -> Option<String> {
    let cuts = || rows.iter().filter_map(|row| row.judged.cut_at);
    // Lengths of cut episodes are the horizon itself, so the longest is the evaluation's.
    let horizon = cuts().max()?;
    let odd = || rows.iter().filter(|row| row.judged.cut_at.is_some_and(|cut| cut != horizon));
    let named: Vec<_> = odd().map(|row| format!("{} ({})", row.name, row.judged.cut_at.unwrap_or_default())).collect();
    (!named.is_empty()).then(|| {
        format!(
            "Episodes are cut after {horizon} steps, but those of {} earlier: returns do not compare.",
            say::list(&named)
        )
    })
}

/// A teacher is slow and plays with few users; says how the best policy does with the same ones.
fn other_users(cast: &Cast, rollouts: Option<&Rollouts>) -> Option<String> {
    let (teacher, best, rollouts) = (cast.teacher?, cast.best?, rollouts?);
    let (Judged { users, .. }, all) = (&teacher.judged, &best.judged.users);
    if users.is_empty() || users == all {
        return None;
    }
    let on_same = |row: &Row| {
        let shared = rollouts.0.iter().filter(|r| r.policy == row.name && users.contains(&r.user));
        let returns: Vec<f64> = shared.map(|r| r.inclusive).filter(|r| r.is_finite()).collect();
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        (!returns.is_empty()).then(|| format!("{} returns {}", row.name, say::one(mean)))
    };
    let same: Vec<_> = [Some(best), cast.retriever].into_iter().flatten().filter_map(on_same).collect();
    let same = if same.is_empty() { String::new() } else { format!(" With these users alone {}.", say::list(&same)) };
    let (few, many) = (users.len(), all.len());
    Some(format!("Judged users: {few} for {}, {many} for {}.{same}", teacher.name, best.name))
}

fn order_by_convention(cast: &Cast) -> Option<String> {
    let (best, baseline) = (cast.best?, cast.baseline?);
    let lead = |metric: &str| Some(best.get(metric)?.mean - baseline.get(metric)?.mean);
    let (inclusive, exclusive) = (lead("return_inclusive")?, lead("return_exclusive")?);
    (inclusive * exclusive < 0.0).then(|| {
        format!(
            "The order of {} and {} depends on whether the step at which a user leaves counts: see both return columns.",
            best.name, baseline.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::cautions;
    use crate::artifact::{End, Rollout, Rollouts};
    use crate::report::fixture;
    use crate::report::row::Estimate;
    use crate::report::verdict::Cast;

    #[test]
    fn a_clean_table_has_none() {
        let rows = fixture::rows(&[("popular non-conflicting", true, 132.0, 0.0), ("a2c", false, 135.0, 1.0)]);
        assert_eq!(cautions(&rows, &Cast::of(&rows, None), None), Vec::<String>::new());
    }

    #[test]
    fn few_seeds_of_learned_rows_are_named() {
        let mut rows =
            fixture::rows(&[("random", true, 24.0, 0.0), ("bc", false, 128.0, 1.0), ("a2c", false, 135.0, 1.0)]);
        rows[0].seeds = 1;
        rows[1].seeds = 1;
        let said = cautions(&rows, &Cast::of(&rows, None), None);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("Fewer than 5 training seeds: bc (1)."), "{said:?}");
    }

    #[test]
    fn a_shorter_horizon_and_other_users_are_named() {
        let mut rows = fixture::rows(&[("teacher (LLM)", false, 24.0, 1.0), ("a2c", false, 135.0, 1.0)]);
        let play = |policy: &str, user, inclusive| Rollout {
            policy: policy.to_owned(),
            cell: String::new(),
            user,
            length: 30,
            inclusive,
            exclusive: inclusive,
            distinct: 30,
            diversity: 0.5,
            novelty: 6.0,
            top_category: None,
            training: None,
            end: End::Horizon,
        };
        let rollouts = Rollouts(vec![play("teacher (LLM)", 1, 24.0), play("a2c", 1, 130.0), play("a2c", 2, 140.0)]);
        rows[0].judged.cut_at = Some(6);
        rows[0].judged.users = [1].into();
        rows[1].judged.cut_at = Some(30);
        rows[1].judged.users = [1, 2].into();
        let said = cautions(&rows, &Cast::of(&rows, None), Some(&rollouts));
        assert_eq!(
            said,
            [
                "Episodes are cut after 30 steps, but those of teacher (LLM) (6) earlier: returns do not compare.",
                "Judged users: 1 for teacher (LLM), 2 for a2c. With these users alone a2c returns 130.0.",
            ]
        );
    }

    #[test]
    fn an_order_that_hangs_on_the_convention_is_named() {
        let mut rows = fixture::rows(&[("popular non-conflicting", true, 132.0, 0.0), ("a2c", false, 133.0, 1.0)]);
        rows[1].measures.insert("return_exclusive".to_owned(), Estimate { mean: 129.0, low: 129.0, high: 129.0 });
        let said = cautions(&rows, &Cast::of(&rows, None), None);
        assert!(said[0].contains("depends on whether the step at which a user leaves counts"), "{said:?}");
    }

    #[test]
    fn a_row_without_a_return_is_named() {
        let rows = fixture::rows(&[("a2c", false, 135.0, 1.0), ("bc", false, f64::NAN, 0.0)]);
        let said = cautions(&rows, &Cast::of(&rows, None), None);
        assert!(said[0].starts_with("bc without a finite return"), "{said:?}");
    }
}
