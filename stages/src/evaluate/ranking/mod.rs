//! `evaluate.ranking`: how high systems rank the held-out interactions of a log, over the whole catalogue.
//!
//! Policies, retrievers and worlds rank all items for each user with a relevant held-out interaction, beside a random ranking and one
//! by the number of training interactions. No item is sampled: metrics among sampled items order systems differently (Krichene and
//! Rendle 2020, KDD). [`measures`] has the metrics; the values are those of `ranx` on equal scores, to 1e-6.
//!
//! A policy ranks in the state at the beginning of an episode, or after the user's last training interactions; it recommends one item
//! a step, so that a ranking says less of it than its return does. Retrievers rank as deep as their lists are. Left out: graded
//! relevance, and metrics of the whole ranking without a cut-off.

mod held_out;
mod measures;
mod ports;
mod settings;
mod summary;
mod systems;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, ensure};
use pipeline::{Artifact as _, Context, MemoryNeed, NoLeakage, Sizes, Stage};

use crate::artifact::{Interactions, RankingHits};
use held_out::HeldOut;
use ports::{RankingInputs, RankingOutputs};
pub use settings::EvaluateRanking;
use summary::Ranked;
use systems::{System, Task, systems};

/// The largest cut-off, and the most random rankings.
const MOST: usize = 1_000_000;
/// Bytes of what is kept of a user in a ranking until the file is written: ids, names of system and seed, and some ranks.
const OF_HIT: u64 = 160;

impl Stage for EvaluateRanking {
    const KIND: &'static str = "evaluate.ranking";
    /// 1: first. 2: the interval of coverage, a share, lies within 0 and 1.
    const VERSION: u32 = 2;
    const ABOUT: &'static str =
        "measure how high policies, retrievers and worlds rank the held-out interactions of a log";
    type Inputs = RankingInputs;
    type Outputs = RankingOutputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        let mut distinct = self.top_k.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < self.top_k.len() || distinct.first().is_none_or(|&k| k == 0) {
            return wrong("top_k", "one or more cut-offs of at least 1, each once");
        }
        if distinct.last().is_some_and(|&k| k > MOST) {
            return wrong("top_k", "cut-offs of a million at most");
        }
        if self.min_rating.is_some_and(|rating| !rating.is_finite()) {
            return wrong("min_rating", "a finite rating");
        }
        if !(1..=MOST).contains(&self.n_repeats) {
            return wrong("n_repeats", "between one random ranking and a million");
        }
        Ok(())
    }

    fn no_leakage(&self) -> Vec<NoLeakage> {
        let rule = |from| NoLeakage {
            port: "test",
            from,
            // A world is measured on `holdout` and learns nothing from it; propensities tell how often was rated, not what.
            except: &["holdout", "propensities"],
            through: &[],
            drawn_from: Some(Interactions::KIND),
            why: "what learned from the held-out interactions ranks them high",
            help: "rank with what learned from the training part alone, such as `split.train`",
        };
        ["policies", "candidates", "worlds", "train"].map(rule).into()
    }

    fn memory(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let (train, test, users) = (inputs.get("train")?, inputs.get("test")?, inputs.get("users")?);
        let most = self.top_k.iter().max().copied().unwrap_or(0) as u64;
        // What is ranked beside the random rankings and popular is not known here: one system of one seed, at least.
        let rankings = self.n_repeats as u64 + 2;
        Some(
            MemoryNeed::new("lower `n_repeats` or `top_k`")
                .table("interactions", &[train + test], 24)
                .table("rankings", &[users, most], 8)
                .table("hits", &[rankings, users], OF_HIT)
                .table("metrics", &[rankings, users, self.top_k.len() as u64, measures::MEASURES.len() as u64], 8),
        )
    }

    fn run(&self, inputs: RankingInputs, cx: &Context) -> Result<RankingOutputs> {
        let (users, items) = (inputs.users.len(), inputs.items.len());
        inputs.train.check_within("train", users, items)?;
        inputs.test.check_within("test", users, items)?;
        ensure!(items > 0, "the catalogue is empty");
        let held = HeldOut::new(self, &inputs.train, &inputs.test, users, cx)?;
        let systems = systems(self, &inputs);
        let k = self.top_k.iter().max().copied().unwrap_or(0);
        let task = Task { users, items, k, exclude: self.exclude_train };
        let cells = systems.iter().map(|system| system.cells.len()).sum::<usize>();
        let bar = cx.bar("rank", Some((cells * held.users.len()) as u64), "users");
        let (mut hits, mut rows) = (Vec::new(), Vec::new());
        for system in &systems {
            let mut ranked = Ranked::new(&self.top_k, items);
            for (cell, ranker) in &system.cells {
                let label = || format!("`{}` {cell}", system.name).trim_end().to_owned();
                ranker.check(&label(), users, items)?;
                let lists =
                    ranker.rank(&held, &task, &bar, cx).with_context(|| format!("cannot rank with {}", label()))?;
                let of_cell = ranked.add(system, cell, &held, &lists);
                hits.extend(of_cell);
            }
            warn_if_short(system, &ranked, cx);
            rows.push((system, ranked));
        }
        let metrics = summary::table(&rows, held.users.len());
        summary::note(&metrics, cx);
        Ok(RankingOutputs { metrics, hits: RankingHits(hits) })
    }
}

/// Warns of rankings that end before the cut-off: of a retriever, whose lists are as long as they were made, or in a small catalogue.
fn warn_if_short(system: &System, ranked: &Ranked, cx: &Context) {
    for (k, missing) in ranked.missing() {
        if missing > 0.0 {
            let help = match system.cells.iter().all(|(_, ranker)| ranker.is_of_candidates()) {
                true => {
                    "raise `top_k` of the stage that made them by the largest number of items that a user has in `train`"
                }
                false => "lower `top_k`: some users have fewer items that they have not met in `train`",
            };
            let name = &system.name;
            cx.warn(format!(
                "the rankings of {name} fall short of {k} by {missing:.1} items on average, which count as misses\nhelp: {help}"
            ));
        }
    }
}
