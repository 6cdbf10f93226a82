//! How long a stage that has to run may take, by what stages took before.
//!
//! Nothing is invented. The stage's own last result counts first, then another cell of it, then any stage of the project with the
//! same settings but for its seed. Where the number of interactions is known of both and differs, time is taken to grow with it; a stage
//! of another log that differs in users or items alone says nothing.

use std::cmp::Ordering;

use serde::Serialize;

use super::{Plan, Project};
use crate::store::Entry;
use crate::{Sizes, key_changes};

/// What took less says nothing of a larger log: most of it does not grow with the rows.
const WORTH_SCALING: f64 = 1.0;
/// How much larger or smaller a log may be.
const MOST_TIMES: f64 = 100.0;
/// Logs that differ by less count as equal.
const EQUAL: f64 = 1.05;

/// How long a stage may take, and the result that says so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TimeEstimate {
    pub seconds: f64,
    /// Whose result that was.
    pub stage: String,
    pub experiment: String,
    /// What making it took.
    pub took_seconds: f64,
    /// Whether only a part of the work is in that time: what an interrupted run had done before is not.
    pub resumed: bool,
    /// How many times as many interactions there are now, where that is known and counts.
    pub rows_ratio: Option<f64>,
}

impl Plan {
    /// How long a node that has to run may take; none where nothing is known. What cannot be read is not known.
    pub fn time(&self, project: &Project, index: usize) -> Option<TimeEstimate> {
        if self.hits.contains_key(&index) {
            return None;
        }
        let node = project.node(index);
        let of_kind = |entry: &&Entry| entry.material.kind == node.kind.kind;
        let now = self.sizes_of_inputs(project, index);
        let here = self.last_entries(project);
        if let Some(own) = here[index].as_ref().filter(of_kind) {
            return Some(scaled(project, index, own, &now));
        }
        let assets = project.assets.known(node).ok()?;
        let config = project.material(index, &assets, &|_| String::new()).config;
        let cells = (0..here.len()).filter(|&other| project.node(other).stage == node.stage);
        let cells = cells.filter_map(|cell| here[cell].as_ref()).filter(of_kind);
        let changes = |entry: &&Entry| key_changes::differences(&entry.material.config, &config, "").len();
        if let Some(cell) =
            cells.min_by(|a, b| changes(a).cmp(&changes(b)).then(b.made.seconds.total_cmp(&a.made.seconds)))
        {
            return Some(scaled(project, index, cell, &now));
        }
        let anywhere = self.all_entries(project).iter().filter(of_kind);
        let alike = anywhere.filter(|entry| differ_in_seeds_alone(&entry.material.config, &config));
        let comparable = alike.filter_map(|entry| Some((distance(&sizes_then(project, index, entry), &now)?, entry)));
        let nearest = comparable.min_by(|(a, one), (b, other)| a.total_cmp(b).then(newer_first(one, other)));
        let estimate = scaled(project, index, nearest?.1, &now);
        let grew = distance(&sizes_then(project, index, nearest?.1), &now)?.exp() > EQUAL;
        (!grew || estimate.rows_ratio.is_some()).then_some(estimate)
    }
}

fn newer_first(one: &Entry, other: &Entry) -> Ordering {
    other.made.finished.cmp(&one.made.finished)
}

/// What an entry's time says of a stage whose inputs have these sizes.
fn scaled(project: &Project, index: usize, entry: &Entry, now: &Sizes) -> TimeEstimate {
    let then = sizes_then(project, index, entry);
    let rows = |sizes: &Sizes| sizes.get("interactions").filter(|rows| *rows > 0).map(|rows| rows as f64);
    let ratio = rows(now).zip(rows(&then)).map(|(now, then)| now / then);
    let counts = |ratio: &f64| (EQUAL.ln()..=MOST_TIMES.ln()).contains(&ratio.ln().abs());
    let rows_ratio = ratio.filter(counts).filter(|_| entry.made.seconds >= WORTH_SCALING);
    TimeEstimate {
        seconds: entry.made.seconds * rows_ratio.unwrap_or(1.0),
        stage: entry.made.stage.clone(),
        experiment: entry.made.experiment.clone(),
        took_seconds: entry.made.seconds,
        resumed: entry.made.resumed,
        rows_ratio,
    }
}

/// How far the sizes of two stages' inputs are apart, as the logarithm of a ratio; none where they say nothing of each other.
fn distance(then: &Sizes, now: &Sizes) -> Option<f64> {
    let both = |name| Some((then.get(name)? as f64, now.get(name)? as f64));
    match (then.get("interactions"), now.get("interactions")) {
        (Some(then), Some(now)) => return Some((now.max(1) as f64 / then.max(1) as f64).ln().abs()),
        (None, None) => {}
        _ => return None,
    }
    let known: Vec<(f64, f64)> = ["users", "items"].into_iter().filter_map(both).collect();
    (!known.is_empty() && known.iter().all(|(then, now)| then == now)).then_some(0.0)
}

/// The sizes of what an entry was made from, of the files that are still in the store.
fn sizes_then(project: &Project, index: usize, entry: &Entry) -> Sizes {
    let mut sizes = Sizes::default();
    for port in (project.node(index).kind.inputs)() {
        for row in entry.material.inputs.get(port.name).and_then(|rows| rows.as_array()).into_iter().flatten() {
            let path = row["digest"].as_str().map(|digest| project.store.object(digest));
            let found = path.filter(|path| path.is_file()).and_then(|path| (port.sizes)(&path).ok());
            sizes = sizes.and(found.unwrap_or_default());
        }
    }
    sizes
}

/// Whether two configs say the same but for seeds.
fn differ_in_seeds_alone(old: &serde_json::Value, new: &serde_json::Value) -> bool {
    let is_seed = |path: &str| path.rsplit('.').next().is_some_and(|field| field.ends_with("seed"));
    key_changes::differences(old, new, "").iter().all(|(path, ..)| is_seed(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_comparable_counts() {
        let log = |rows| Sizes::of("interactions", rows).and(Sizes::of("users", 10 * rows));
        assert_eq!(distance(&log(100), &log(100)), Some(0.0));
        assert!((distance(&log(100), &log(200)).unwrap() - 2_f64.ln()).abs() < 1e-12);
        assert_eq!(distance(&log(100), &Sizes::of("users", 1000)), None, "of how many rows is not known yet");
        let world = |items| Sizes::of("users", 9).and(Sizes::of("items", items)).and(Sizes::of("horizon", items));
        assert_eq!(distance(&world(5), &world(5)), Some(0.0));
        assert_eq!(distance(&world(5), &world(6)), None, "a learner's time is not known from another catalogue");
        assert_eq!(distance(&Sizes::default(), &world(6)), None);
        let config = |seed: u32, iterations: u32| json!({ "seed": seed, "a": { "split_seed": seed }, "n": iterations });
        assert!(differ_in_seeds_alone(&config(1, 5), &config(2, 5)));
        assert!(!differ_in_seeds_alone(&config(1, 5), &config(1, 6)));
    }
}
