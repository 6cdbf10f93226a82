//! From the hits of each ranking to the table.

use pipeline::Context;

use super::super::bootstrap::{Interval, ScoreMatrix};
use super::super::crossed_mean::CrossedMean;
use super::held_out::HeldOut;
use super::measures::MEASURES;
use super::systems::System;
use crate::artifact::{RankingHit, RankingMetric, RankingMetrics};
use crate::ratings::holm;

const COVERAGE: &str = "coverage";

/// What the rankings of a system came to.
pub(super) struct Ranked {
    items: usize,
    cut_offs: Vec<CutOff>,
}

/// The same at one cut-off.
struct CutOff {
    k: usize,
    /// `[S][N]` of each metric.
    scores: Vec<ScoreMatrix>,
    /// `[S][1]`, the share of the catalogue that is in any user's first k.
    coverage: ScoreMatrix,
    /// Mean number of items by which rankings fall short, of each seed.
    missing: Vec<f64>,
}

impl Ranked {
    /// Of no seed yet, over a catalogue of `items`.
    pub fn new(top_k: &[usize], items: usize) -> Self {
        let cut_off =
            |&k: &usize| CutOff { k, scores: vec![vec![]; MEASURES.len()], coverage: vec![], missing: vec![] };
        Self { items, cut_offs: top_k.iter().map(cut_off).collect() }
    }

    /// Adds the first items of each user's ranking by one seed; their hits.
    pub fn add(&mut self, system: &System, cell: &str, held: &HeldOut, lists: &[Vec<u32>]) -> Vec<RankingHit> {
        let hits = hits(system, cell, held, lists);
        for CutOff { k, scores, coverage, missing } in &mut self.cut_offs {
            for ((_, measure), scores) in MEASURES.iter().zip(scores) {
                let of = |hit: &RankingHit| {
                    let within = hit.ranks.partition_point(|&rank| rank as usize <= *k);
                    measure(&hit.ranks[..within], hit.relevant, *k as u32)
                };
                scores.push(hits.iter().map(of).collect());
            }
            let mut shown = vec![false; self.items];
            lists.iter().flat_map(|list| list.iter().take(*k)).for_each(|&item| shown[item as usize] = true);
            let distinct = shown.iter().filter(|&&shown| shown).count();
            coverage.push(vec![distinct as f64 / self.items as f64]);
            let short: usize = lists.iter().map(|list| k.saturating_sub(list.len())).sum();
            missing.push(short as f64 / lists.len() as f64);
        }
        hits
    }

    /// Each cut-off and by how many items rankings fall short of it, on average.
    pub fn missing(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.cut_offs.iter().map(|cut| (cut.k, cut.missing.iter().sum::<f64>() / cut.missing.len() as f64))
    }

    /// The scores of a metric, by its place.
    fn scores(&self, cut_off: usize, metric: usize) -> &ScoreMatrix {
        self.cut_offs[cut_off].scores.get(metric).unwrap_or(&self.cut_offs[cut_off].coverage)
    }
}

/// The table: system by system, by cut-off, then metric.
pub(super) fn table(rows: &[(&System, Ranked)], users: usize) -> RankingMetrics {
    let cut_offs = rows.first().map_or(0, |(_, ranked)| ranked.cut_offs.len());
    let names: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).chain([COVERAGE]).collect();
    // By cut-off and metric, the rows of all systems.
    let mut columns: Vec<Vec<RankingMetric>> = Vec::new();
    for cut_off in 0..cut_offs {
        for (metric, name) in names.iter().enumerate() {
            columns.push(column(rows, cut_off, metric, name, users));
        }
    }
    let of_system = |place: usize| columns.iter().map(move |column| column[place].clone());
    RankingMetrics((0..rows.len()).flat_map(of_system).collect())
}

/// All systems by one metric at one cut-off.
fn column(rows: &[(&System, Ranked)], cut_off: usize, metric: usize, name: &str, users: usize) -> Vec<RankingMetric> {
    let means: Vec<CrossedMean> =
        rows.iter().map(|(_, ranked)| CrossedMean::of(ranked.scores(cut_off, metric))).collect();
    let baselines = (0..rows.len()).filter(|&place| rows[place].0.baseline);
    // The first of equals.
    let best =
        baselines.reduce(|best, place| if means[place].mean > means[best].mean { place } else { best }).unwrap_or(0);
    let best_scores = rows[best].1.scores(cut_off, metric);
    let compare = |place: usize| {
        let compared = place != best && name != COVERAGE;
        compared.then(|| CrossedMean::of_difference(rows[place].1.scores(cut_off, metric), best_scores))
    };
    let differences: Vec<Option<CrossedMean>> = (0..rows.len()).map(compare).collect();
    let mut corrected = holm(&differences.iter().flatten().map(CrossedMean::p).collect::<Vec<_>>()).into_iter();
    let row = |(place, (system, ranked)): (usize, &(&System, Ranked))| {
        let cut = &ranked.cut_offs[cut_off];
        let own = match name {
            // A share of the catalogue.
            COVERAGE => means[place].is_tested().then(|| means[place].share_interval()),
            _ => ends(Some(&means[place])),
        };
        let difference = ends(differences[place].as_ref());
        RankingMetric {
            system: system.name.clone(),
            baseline: system.baseline,
            metric: name.to_owned(),
            k: cut.k as u32,
            mean: means[place].mean,
            low: own.map(|ends| ends.low),
            high: own.map(|ends| ends.high),
            best_baseline: rows[best].0.name.clone(),
            difference: differences[place].map(|difference| difference.mean),
            difference_low: difference.map(|ends| ends.low),
            difference_high: difference.map(|ends| ends.high),
            p: differences[place].and_then(|_| corrected.next()),
            seeds: system.cells.len() as u32,
            users: users as u32,
            missing: cut.missing.iter().sum::<f64>() / cut.missing.len() as f64,
        }
    };
    rows.iter().enumerate().map(row).collect()
}

/// The interval, where anything was put to a test.
fn ends(mean: Option<&CrossedMean>) -> Option<Interval> {
    mean.filter(|mean| mean.is_tested()).map(CrossedMean::interval)
}

/// Notes each system in a line.
pub(super) fn note(metrics: &RankingMetrics, cx: &Context) {
    let Some(k) = metrics.0.first().map(|row| row.k) else { return };
    for row in metrics.0.iter().filter(|row| row.metric == MEASURES[0].0 && row.k == k) {
        let mut line = format!("NDCG@{k} {:.4}", row.mean);
        if let (Some(low), Some(high)) = (row.low, row.high) {
            line += &format!(" [{low:.4}, {high:.4}]");
        }
        for (metric, label) in [("recall", "recall"), (COVERAGE, "coverage")] {
            if let Some(found) = metrics.find(&row.system, metric, k) {
                line += &format!("; {label}@{k} {:.4}", found.mean);
            }
        }
        cx.note(&row.system, line);
    }
}

/// Of each user the hits of one cell.
pub(super) fn hits(system: &System, cell: &str, held: &HeldOut, lists: &[Vec<u32>]) -> Vec<RankingHit> {
    let of = |(place, list): (usize, &Vec<u32>)| {
        let relevant = &held.relevant[place];
        let ranks = (1..).zip(list).filter(|(_, item)| relevant.binary_search(item).is_ok());
        RankingHit {
            system: system.name.clone(),
            cell: cell.to_owned(),
            user: held.users[place],
            relevant: relevant.len() as u32,
            ranks: ranks.map(|(rank, _)| rank).collect(),
        }
    };
    lists.iter().enumerate().map(of).collect()
}
