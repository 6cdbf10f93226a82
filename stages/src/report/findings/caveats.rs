//! What a careful reader would object to, looked for in the data and printed under the verdict.

use crate::artifact::{Comparisons, Estimates, Metrics, Rollouts};
use crate::report::findings::significance;
use crate::report::findings::verdict::{Contenders, SEEDS};
use crate::report::table::format;
use crate::report::table::row::{EpisodeStats, Role, Row};

/// The baselines without which a table says little, by the beginnings of their names.
const BASELINES: [&str; 4] = ["random", "random quit-aware", "popular", "greedy oracle"];
/// A gap between the two worlds that is worth a word, as a share of the return.
const BIG_GAP: f64 = 0.05;
/// A policy that recommends less of the catalogue than this says nothing of the rest.
const NARROW: f64 = 0.1;

/// What is said of a table without `evaluate.agreement`.
const ONE_WORLD: &str =
    "Every ranking rests on one evaluation world: another model of the same users may order the rows otherwise.";

/// What the caveats are looked for in, beside the rows of the table.
#[derive(Clone, Copy, Default)]
pub(in crate::report) struct Evidence<'a> {
    pub metrics: Option<&'a Metrics>,
    pub comparisons: Option<&'a Comparisons>,
    pub rollouts: Option<&'a Rollouts>,
    pub estimates: Option<&'a Estimates>,
    /// Whether other evaluation worlds were asked, too.
    pub several_worlds: bool,
}

/// Sentences of warning, most important first.
pub(in crate::report) fn caveats(rows: &[Row], contenders: &Contenders, evidence: Evidence) -> Vec<String> {
    let Evidence { metrics, comparisons, rollouts, estimates, several_worlds } = evidence;
    let mut caveats = Vec::new();
    if metrics.is_none() && rows.is_empty() {
        return estimates.and_then(small_sample).into_iter().collect();
    }
    caveats.extend(comparisons.and_then(|comparisons| not_after_correction(contenders, comparisons)));
    caveats.extend(missing_returns(rows));
    caveats.extend(other_horizons(rows));
    caveats.extend(privileged(rows));
    caveats.extend(missing_baselines(rows, metrics));
    caveats.extend(few_seeds(rows));
    caveats.extend(other_users(contenders, rollouts));
    caveats.extend(order_by_convention(contenders));
    caveats.extend(estimates.and_then(small_sample));
    caveats.extend(low_coverage(contenders));
    caveats.extend(gap(contenders));
    if !several_worlds {
        caveats.push(ONE_WORLD.to_owned());
    }
    caveats
}

/// What the training world would have paid for the same episodes and the evaluation world does not.
fn gap(contenders: &Contenders) -> Option<String> {
    let (best, gap, returns) = (contenders.best?, contenders.best?.get("gap")?, contenders.best?.returns()?);
    let size = gap.mean.abs();
    (size > BIG_GAP * returns.mean.abs() && (gap.low > 0.0 || gap.high < 0.0)).then(|| {
        let word = if gap.mean > 0.0 { "more" } else { "less" };
        format!(
            "For the same episodes of {} the training world gives {} {word} reward per episode than the evaluation world: this is the error of the training world on these episodes.",
            best.name,
            format::one_decimal(size)
        )
    })
}

/// Rows that are told what a deployed policy would not know.
fn privileged(rows: &[Row]) -> Option<String> {
    let told = |row: &&Row| row.privileged;
    let learned = names(rows.iter().filter(told).filter(|row| row.is_trained()));
    // What has learned nothing made no use of what it was told.
    let others = |row: &&Row| !row.is_trained() && row.role != Role::Untrained;
    let controls = names(rows.iter().filter(told).filter(others));
    let learned = (!learned.is_empty()).then(|| {
        let was = if learned.len() == 1 { "was" } else { "were" };
        format!(
            "{} {was} trained with information from the evaluation world (privileged): no evidence for a deployed policy.",
            format::list(&learned)
        )
    });
    let controls = (!controls.is_empty()).then(|| {
        let use_ = if controls.len() == 1 { "uses" } else { "use" };
        format!(
            "Privileged: {} {use_} information that a deployed policy does not have (see the remarks in the table).",
            format::list(&controls)
        )
    });
    let both: Vec<String> = [learned, controls].into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join(" "))
}

/// What the verdict says of the best policy by one interval alone and what does not hold with all of them evaluated together.
fn not_after_correction(contenders: &Contenders, comparisons: &Comparisons) -> Option<String> {
    let best = contenders.best?;
    let tested = significance::test_all(comparisons);
    let others = [contenders.baseline, contenders.teacher, contenders.retriever];
    let weak = |other: &&Row| {
        tested
            .iter()
            .any(|j| j.comparison.policy == best.name && j.comparison.other == other.name && j.apart && !j.holds())
    };
    let named = names(others.into_iter().flatten().filter(weak));
    (!named.is_empty()).then(|| {
        format!(
            "The verdict uses uncorrected intervals: after Holm’s correction {} does not differ significantly from {}.",
            best.name,
            format::list(&named)
        )
    })
}

fn missing_baselines(rows: &[Row], metrics: Option<&Metrics>) -> Option<String> {
    let not_made = metrics.iter().flat_map(|metrics| &metrics.missing);
    let mut named: Vec<String> = not_made.map(|row| format!("`{}` ({})", row.policy, row.why)).collect();
    let has = |name: &&&str| rows.iter().any(|row| row.role == Role::Baseline && row.name.starts_with(**name));
    let told = |name: &&&str| named.iter().any(|known| known.starts_with(&format!("`{name}")));
    let unnamed: Vec<String> =
        BASELINES.iter().filter(|name| !has(name) && !told(name)).map(|name| format!("`{name}`")).collect();
    named.splice(0..0, unnamed);
    (!named.is_empty())
        .then(|| format!("Missing baselines: {}. Without them a return has no reference.", format::list(&named)))
}

/// Off-policy estimates that rest on too few logged interactions; the world model's own word (`direct`) rests on none.
fn small_sample(estimates: &Estimates) -> Option<String> {
    let weighed = || estimates.0.iter().filter(|estimate| estimate.estimator != "direct");
    let weak = || weighed().filter(|estimate| !estimate.conclusive);
    let sample = |smallest: f64, value: f64| if value.is_finite() { smallest.min(value) } else { smallest };
    let smallest = weak().map(|estimate| estimate.effective_sample_size).fold(f64::INFINITY, sample);
    let (few, all) = (weak().count(), weighed().count());
    (few > 0).then(|| {
        let size =
            if smallest.is_finite() { format!(" (down to {})", format::three_digits(smallest)) } else { String::new() };
        format!(
            "{few} of {all} off-policy estimates are not conclusive: their effective sample size is too small{size}."
        )
    })
}

/// A long tail that no user is ever shown.
fn low_coverage(contenders: &Contenders) -> Option<String> {
    let (best, covered) = (contenders.best?, contenders.best?.get("coverage")?.mean);
    (covered < NARROW).then(|| {
        format!(
            "{} recommends {} of the catalogue: its return says nothing about long-tail items, for which a world model has the fewest ratings.",
            best.name,
            format::percent(covered)
        )
    })
}

fn names<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<String> {
    rows.map(|row| row.name.clone()).collect()
}

fn missing_returns(rows: &[Row]) -> Option<String> {
    let names = names(rows.iter().filter(|row| row.returns().is_none()));
    (!names.is_empty())
        .then(|| format!("Without a finite return, and left out of all comparisons: {}.", format::list(&names)))
}

fn few_seeds(rows: &[Row]) -> Option<String> {
    let few = || rows.iter().filter(|row| row.is_learned() && row.seeds < SEEDS);
    let named: Vec<_> = few().map(|row| format!("{} ({})", row.name, row.seeds)).collect();
    // A t interval holds for any number of seeds from two on (`evaluate`'s crossed mean).
    let mut about = String::new();
    if few().any(|row| row.seeds > 1) {
        about += " A t interval over so few seeds is valid, but wide: more seeds may show differences that it hides.";
    }
    if few().any(|row| row.seeds == 1) {
        about += " With one seed the interval is over users alone, and says nothing of another training.";
    }
    (!named.is_empty()).then(|| format!("Fewer than {SEEDS} training seeds: {}.{about}", format::list(&named)))
}

/// Rows whose episodes were cut at another length than most rows'.
fn other_horizons(rows: &[Row]) -> Option<String> {
    let cuts = || rows.iter().filter_map(|row| row.stats.cut_at);
    // Lengths of cut episodes are the horizon itself, so the longest is the evaluation's.
    let horizon = cuts().max()?;
    let odd = || rows.iter().filter(|row| row.stats.cut_at.is_some_and(|cut| cut != horizon));
    let named: Vec<_> = odd().map(|row| format!("{} ({})", row.name, row.stats.cut_at.unwrap_or_default())).collect();
    (!named.is_empty()).then(|| {
        format!(
            "The horizon is {horizon} steps, but episodes were truncated earlier in {}: these returns are not comparable.",
            format::list(&named)
        )
    })
}

/// A teacher is slow and plays with few users; says how the best policy does with the same ones.
fn other_users(contenders: &Contenders, rollouts: Option<&Rollouts>) -> Option<String> {
    let (teacher, best, rollouts) = (contenders.teacher?, contenders.best?, rollouts?);
    let (EpisodeStats { users, .. }, all) = (&teacher.stats, &best.stats.users);
    if users.is_empty() || users == all {
        return None;
    }
    let on_same = |row: &Row| {
        let shared = rollouts.0.iter().filter(|r| r.policy == row.name && users.contains(&r.user));
        let returns: Vec<f64> = shared.map(|r| r.return_inclusive).filter(|r| r.is_finite()).collect();
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        (!returns.is_empty()).then(|| format!("{} returns {}", row.name, format::one_decimal(mean)))
    };
    let same: Vec<_> = [Some(best), contenders.retriever].into_iter().flatten().filter_map(on_same).collect();
    let same = if same.is_empty() { String::new() } else { format!(" On the shared users {}.", format::list(&same)) };
    let (few, many) = (users.len(), all.len());
    Some(format!("Evaluated users: {few} for {}, {many} for {}.{same}", teacher.name, best.name))
}

fn order_by_convention(contenders: &Contenders) -> Option<String> {
    let (best, baseline) = (contenders.best?, contenders.baseline?);
    let lead = |metric: &str| Some(best.get(metric)?.mean - baseline.get(metric)?.mean);
    let (inclusive, exclusive) = (lead("return_inclusive")?, lead("return_exclusive")?);
    (inclusive * exclusive < 0.0).then(|| {
        format!(
            "Whether {} or {} returns more depends on whether the reward of the quitting step counts: see both return columns.",
            best.name, baseline.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{Evidence, caveats};
    use crate::artifact::{
        Comparison, Comparisons, Estimate as Weighed, Estimates, Metrics, MissingRow, Rollout, Rollouts, Termination,
    };
    use crate::report::findings::verdict::Contenders;
    use crate::report::fixture;
    use crate::report::table::row::{Estimate, Row};

    /// What is said beyond the baselines, which these small tables do not have.
    fn caveats_of(rows: &[Row], rollouts: Option<&Rollouts>) -> Vec<String> {
        let evidence = Evidence { rollouts, several_worlds: true, ..Evidence::default() };
        let mut said = caveats(rows, &Contenders::of(rows, None), evidence);
        said.retain(|sentence| !sentence.starts_with("Missing baselines"));
        said
    }

    #[test]
    fn controls_that_are_missing_and_rows_that_are_told_too_much_are_named() {
        let mut rows = fixture::rows(&[
            ("random", true, 24.0, 0.0),
            ("greedy oracle", true, 140.0, 0.0),
            ("a2c", false, 135.0, 1.0),
        ]);
        let evidence = Evidence { several_worlds: true, ..Evidence::default() };
        let said = |rows: &[Row]| caveats(rows, &Contenders::of(rows, None), evidence);
        assert_eq!(
            said(&rows),
            ["Missing baselines: `random quit-aware` and `popular`. Without them a return has no reference."]
        );
        rows[1].privileged = true;
        assert!(said(&rows)[0].starts_with("Privileged: greedy oracle uses"), "{:?}", said(&rows));
        rows[2].privileged = true;
        assert!(
            said(&rows)[0].starts_with("a2c was trained with information from the evaluation world"),
            "{:?}",
            said(&rows)
        );
    }

    #[test]
    fn a_control_that_could_not_be_made_is_named_with_the_reason() {
        let rows = fixture::rows(&[
            ("random", true, 24.0, 0.0),
            ("popular", true, 80.0, 0.0),
            ("greedy oracle", true, 140.0, 0.0),
        ]);
        let why = "connect `demonstrations`".to_owned();
        let missing = vec![MissingRow { policy: "behaviour cloning".to_owned(), why }];
        let metrics = Metrics { rows: Vec::new(), missing };
        let said =
            caveats(&rows, &Contenders::of(&rows, None), Evidence { metrics: Some(&metrics), ..Evidence::default() });
        assert!(
            said[0].starts_with(
                "Missing baselines: `random quit-aware` and `behaviour cloning` (connect `demonstrations`)."
            ),
            "{said:?}"
        );
    }

    #[test]
    fn a_verdict_that_does_not_hold_with_all_judged_together_is_named() {
        let rows =
            fixture::rows(&[("popular", true, 132.0, 0.0), ("a2c", false, 133.0, 1.0), ("bc", false, 120.0, 1.0)]);
        let compare = |other: &str, difference: f64, half: f64| Comparison {
            policy: "a2c".to_owned(),
            other: other.to_owned(),
            metric: "return_inclusive".to_owned(),
            difference,
            low: difference - half,
            high: difference + half,
            p: crate::ratings::normal_p(difference / half * 1.959_964),
            probability_of_improvement: 0.5,
            probability_of_improvement_low: 0.5,
            probability_of_improvement_high: 0.5,
            seeds: 5,
            users: 9,
        };
        let mut all = Comparisons(vec![compare("popular", 1.0, 0.95), compare("bc", 13.0, 20.0)]);
        let said = |all: &Comparisons| {
            caveats(&rows, &Contenders::of(&rows, None), Evidence { comparisons: Some(all), ..Evidence::default() })
        };
        assert!(said(&all)[0].ends_with("a2c does not differ significantly from popular."), "{:?}", said(&all));
        all.0.pop();
        assert!(!said(&all)[0].contains("uncorrected intervals"));
    }

    #[test]
    fn a_small_sample_and_a_small_part_of_the_catalogue_are_named() {
        let estimate = |conclusive, effective_sample_size| Weighed {
            policy: "a2c".to_owned(),
            cell: String::new(),
            estimator: "ips".to_owned(),
            value: 3.0,
            low: 2.0,
            high: 4.0,
            effective_sample_size,
            rows: 100,
            conclusive,
            remark: String::new(),
        };
        let mut rows = fixture::rows(&[("a2c", false, 135.0, 1.0)]);
        let coverage = Estimate { mean: 0.05, low: 0.05, high: 0.05 };
        rows[0].measures.insert("coverage".to_owned(), coverage);
        let direct = Weighed { estimator: "direct".to_owned(), ..estimate(false, 100.0) };
        let not_after_correction = Estimates(vec![direct.clone(), estimate(true, 90.0)]);
        assert_eq!(super::small_sample(&not_after_correction), None, "the model's own word rests on no sample");
        let estimates = Estimates(vec![estimate(false, 3.2), estimate(false, f64::NAN), estimate(true, 90.0), direct]);
        let said = caveats(
            &rows,
            &Contenders::of(&rows, None),
            Evidence { estimates: Some(&estimates), ..Evidence::default() },
        );
        assert!(said[1].starts_with("2 of 3 off-policy estimates") && said[1].contains("down to 3.20"), "{said:?}");
        assert!(said[2].starts_with("a2c recommends 5.0 % of the catalogue"), "{said:?}");
    }

    #[test]
    fn a_training_world_that_promises_more_is_named() {
        let mut rows = fixture::rows(&[("a2c", false, 135.0, 1.0)]);
        rows[0].measures.insert("gap".to_owned(), Estimate { mean: 12.0, low: 10.0, high: 14.0 });
        let said = caveats_of(&rows, None);
        assert!(said[0].starts_with("For the same episodes of a2c the training world gives 12.0 more"), "{said:?}");
        rows[0].measures.insert("gap".to_owned(), Estimate { mean: 2.0, low: 1.0, high: 3.0 });
        assert!(caveats_of(&rows, None).is_empty());
    }

    #[test]
    fn a_clean_table_has_none() {
        let rows = fixture::rows(&[("popular quit-aware", true, 132.0, 0.0), ("a2c", false, 135.0, 1.0)]);
        assert_eq!(caveats_of(&rows, None), Vec::<String>::new());
        // One evaluation world remains possible, and is said.
        let said = caveats(&rows, &Contenders::of(&rows, None), Evidence::default());
        assert!(
            said.last().is_some_and(|said| said.starts_with("Every ranking rests on one evaluation world")),
            "{said:?}"
        );
    }

    #[test]
    fn few_seeds_of_learned_rows_are_named() {
        let mut rows =
            fixture::rows(&[("random", true, 24.0, 0.0), ("bc", false, 128.0, 1.0), ("a2c", false, 135.0, 1.0)]);
        rows[0].seeds = 1;
        rows[1].seeds = 1;
        let said = caveats_of(&rows, None);
        assert_eq!(said.len(), 1);
        assert!(
            said[0].starts_with("Fewer than 5 training seeds: bc (1). With one seed the interval is over users"),
            "{said:?}"
        );
        rows[1].seeds = 3;
        let said = caveats_of(&rows, None);
        assert!(said[0].contains("bc (3). A t interval over so few seeds is valid, but wide"), "{said:?}");
        assert!(!said[0].contains("With one seed"), "{said:?}");
    }

    #[test]
    fn a_shorter_horizon_and_other_users_are_named() {
        let mut rows = fixture::rows(&[("teacher (LLM)", false, 24.0, 1.0), ("a2c", false, 135.0, 1.0)]);
        let play = |policy: &str, user, inclusive| Rollout {
            policy: policy.to_owned(),
            cell: String::new(),
            user,
            length: 30,
            return_inclusive: inclusive,
            return_exclusive: inclusive,
            distinct_items: 30,
            diversity: 0.5,
            novelty: 6.0,
            top_category: None,
            return_training_world: None,
            end: Termination::Horizon,
        };
        let rollouts = Rollouts(vec![play("teacher (LLM)", 1, 24.0), play("a2c", 1, 130.0), play("a2c", 2, 140.0)]);
        rows[0].stats.cut_at = Some(6);
        rows[0].stats.users = [1].into();
        rows[1].stats.cut_at = Some(30);
        rows[1].stats.users = [1, 2].into();
        let said = caveats_of(&rows, Some(&rollouts));
        assert_eq!(
            said,
            [
                "The horizon is 30 steps, but episodes were truncated earlier in teacher (LLM) (6): these returns are not comparable.",
                "Evaluated users: 1 for teacher (LLM), 2 for a2c. On the shared users a2c returns 130.0.",
            ]
        );
    }

    #[test]
    fn an_order_that_hangs_on_the_convention_is_named() {
        let mut rows = fixture::rows(&[("popular quit-aware", true, 132.0, 0.0), ("a2c", false, 133.0, 1.0)]);
        rows[1].measures.insert("return_exclusive".to_owned(), Estimate { mean: 129.0, low: 129.0, high: 129.0 });
        let said = caveats_of(&rows, None);
        assert!(said[0].contains("depends on whether the reward of the quitting step counts"), "{said:?}");
    }

    #[test]
    fn a_row_without_a_return_is_named() {
        let rows = fixture::rows(&[("a2c", false, 135.0, 1.0), ("bc", false, f64::NAN, 0.0)]);
        let said = caveats_of(&rows, None);
        assert!(said[0].starts_with("Without a finite return") && said[0].ends_with("bc."), "{said:?}");
    }
}
