//! What learning cost those who were recommended to meanwhile: a table from the learning curves of returns.

use minijinja::{Value, context};

use crate::report::render::chart::curves::Panel;
use crate::report::table::format::one_decimal;

/// The series with the mean return of the episodes of an update.
const RETURN: &str = "return";

/// Part of the training that counts as early, and as late.
const PART: f64 = 0.1;

/// Updates whose mean return is compared with the goal.
const TRAILING: usize = 5;

/// How one stage learned.
#[derive(Clone, Debug, PartialEq)]
struct Learning {
    stage: String,
    updates: u64,
    /// Mean return of the first and of the last tenth of the updates, over seeds.
    early: f64,
    late: f64,
    /// For each seed the first update at which the mean of the last five returns reaches nine tenths of the best.
    reached: Vec<Option<u64>>,
    /// For each seed the mean return of the first tenth.
    early_by_seed: Vec<f64>,
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean of one tenth of a seed's returns, at least one.
fn part(seed: &[(u64, f64)], late: bool) -> f64 {
    let count = ((seed.len() as f64 * PART).ceil() as usize).clamp(1, seed.len());
    let rows = if late { &seed[seed.len() - count..] } else { &seed[..count] };
    mean(&rows.iter().map(|&(_, value)| value).collect::<Vec<_>>())
}

fn reached(seed: &[(u64, f64)], goal: f64) -> Option<u64> {
    let width = TRAILING.min(seed.len());
    let place = seed.windows(width).find(|window| mean(&window.iter().map(|&(_, v)| v).collect::<Vec<_>>()) >= goal);
    place.and_then(|window| window.last()).map(|&(step, _)| step)
}

/// The stages that logged returns, and the best late return among them. Nothing where fewer than two did: there is nothing to compare.
fn compared(panels: &[Panel]) -> Option<(Vec<Learning>, f64)> {
    let panels: Vec<&Panel> = panels
        .iter()
        .filter(|panel| panel.series == RETURN)
        .filter(|panel| panel.seeds.iter().all(|seed| !seed.is_empty() && seed.iter().all(|(_, v)| v.is_finite())))
        .collect();
    if panels.len() < 2 {
        return None;
    }
    let late = |panel: &Panel| mean(&panel.seeds.iter().map(|seed| part(seed, true)).collect::<Vec<_>>());
    let best = panels.iter().map(|panel| late(panel)).fold(f64::NEG_INFINITY, f64::max);
    let row = |panel: &&Panel| {
        let early_by_seed: Vec<f64> = panel.seeds.iter().map(|seed| part(seed, false)).collect();
        Learning {
            stage: panel.stage.clone(),
            updates: panel.seeds.iter().filter_map(|seed| Some(seed.last()?.0)).max().unwrap_or(0),
            early: mean(&early_by_seed),
            late: late(panel),
            reached: panel.seeds.iter().map(|seed| reached(seed, 0.9 * best)).collect(),
            early_by_seed,
        }
    };
    Some((panels.iter().map(row).collect(), best))
}

impl Learning {
    /// `4.1` of one seed; `4.1 (3.9 to 4.4)` of several, from the lowest to the highest.
    fn regret(&self, best: f64) -> String {
        let regret = one_decimal(best - self.early);
        let ends = |end: fn(f64, f64) -> f64| self.early_by_seed.iter().map(|early| best - early).reduce(end);
        match (self.early_by_seed.len(), ends(f64::min), ends(f64::max)) {
            (2.., Some(low), Some(high)) => format!("{regret} ({} to {})", one_decimal(low), one_decimal(high)),
            _ => regret,
        }
    }

    /// The median over seeds; a seed that never gets there counts as later than all others.
    fn updates_to_goal(&self) -> String {
        let mut reached: Vec<u64> = self.reached.iter().map(|step| step.unwrap_or(u64::MAX)).collect();
        reached.sort_unstable();
        let never = reached.iter().filter(|&&step| step == u64::MAX).count();
        let of = if never > 0 { format!(" ({never} of {} never)", reached.len()) } else { String::new() };
        match reached[reached.len() / 2] {
            u64::MAX => format!("–{of}"),
            step => format!("{step}{of}"),
        }
    }
}

/// The table as the template takes it; `None` where there is nothing to compare.
pub(in crate::report) fn table(panels: &[Panel]) -> Option<Value> {
    let (rows, best) = compared(panels)?;
    let cells = |row: &Learning| {
        context! {
            stage => row.stage.as_str(),
            updates => row.updates,
            early => one_decimal(row.early),
            late => one_decimal(row.late),
            regret => row.regret(best),
            reached => row.updates_to_goal(),
        }
    };
    Some(context! { best => one_decimal(best), rows => rows.iter().map(cells).collect::<Value>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(stage: &str, seeds: &[&[f64]]) -> Panel {
        let steps = |seed: &&[f64]| seed.iter().enumerate().map(|(k, &v)| (k as u64 + 1, v)).collect();
        Panel { stage: stage.into(), series: RETURN.into(), seeds: seeds.iter().map(steps).collect() }
    }

    #[test]
    fn the_regret_is_what_the_best_end_returns_beyond_the_first_tenth() {
        let slow: Vec<f64> = (1..=20).map(f64::from).collect();
        let warm = vec![18.0; 20];
        let panels = [panel("slow", &[&slow, &slow]), panel("warm", &[&warm, &[17.0; 20]])];
        let (rows, best) = compared(&panels).unwrap();
        assert_eq!(best, 19.5, "of the last two of twenty");
        assert_eq!((rows[0].early, rows[0].late, rows[0].updates), (1.5, 19.5, 20));
        assert_eq!(
            (rows[0].regret(best), rows[1].regret(best)),
            ("18.0 (18.0 to 18.0)".into(), "2.0 (1.5 to 2.5)".into())
        );
        // 0.9·19.5 = 17.55: the mean of 16 to 20 is 18; 18 from the first five on; 17 never.
        assert_eq!((rows[0].updates_to_goal(), rows[1].updates_to_goal()), ("20".into(), "– (1 of 2 never)".into()));
    }

    #[test]
    fn one_stage_is_compared_with_nothing() {
        assert!(compared(&[panel("alone", &[&[1.0, 2.0]])]).is_none());
        let broken = panel("broken", &[&[1.0, f64::NAN]]);
        assert!(compared(&[panel("a", &[&[1.0]]), broken]).is_none());
    }
}
