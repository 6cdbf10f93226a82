//! What the results of a run cost when they were made, whichever run made them, beside what this run took.
//!
//! A run that finds everything in the store takes a moment, and that moment is no cost of what it shows. Times of stages are added
//! up: stages that ran side by side took less by the clock. Of a stage that was interrupted only the attempt that finished it is
//! known.

use std::collections::BTreeMap;

use pipeline::report::{RunSummary, RunSummaryStage};
use serde_json::json;

use crate::llm::usd_spent;
use crate::report::findings::provenance_checks;
use crate::report::table::format;

/// What was paid for the results of a run.
#[derive(Debug, Default, PartialEq)]
pub(in crate::report) struct Cost {
    /// Stages with a result.
    pub stages: usize,
    /// Of these, made by this run.
    pub made_here: usize,
    /// Seconds over all stages; a result that two stages share counts once.
    pub seconds: f64,
    /// US dollars that language models were paid.
    pub usd: f64,
}

impl Cost {
    pub fn of(ran: &RunSummary) -> Self {
        let made: Vec<&RunSummaryStage> = ran.stages.iter().filter(|stage| stage.made_in_seconds.is_some()).collect();
        let made_here = made.iter().filter(|stage| is_of(stage, ran)).count();
        let mut cost = Self { stages: made.len(), made_here, ..Self::default() };
        for (at, stage) in made.iter().enumerate() {
            // Two stages of equal settings on equal inputs have one result.
            let shared = made[..at].iter().any(|other| {
                let one = |s: &RunSummaryStage| {
                    (s.kind.clone(), s.config.clone(), s.inputs.clone(), s.assets.clone(), s.version)
                };
                one(other) == one(stage) && other.made_in_seconds == stage.made_in_seconds
            });
            if !shared {
                cost.seconds += stage.made_in_seconds.unwrap_or_default();
            }
        }
        // Cells of a sweep share the ledger of their stage.
        let mut paid: BTreeMap<&str, f64> = BTreeMap::new();
        for stage in made {
            let usd = paid.entry(provenance_checks::parts(&stage.name).0).or_default();
            *usd = usd.max(usd_spent(&stage.notes).unwrap_or_default());
        }
        cost.usd = paid.values().sum();
        cost
    }

    pub fn to_json(&self) -> serde_json::Value {
        let Self { stages, made_here, seconds, usd } = self;
        json!({ "stages": stages, "made_here": made_here, "seconds": seconds, "usd": usd })
    }

    /// `results took 2 min 40 s of compute, all in earlier runs`; nothing where no stage has a result.
    pub fn said(&self) -> Option<String> {
        let where_made = match self.made_here {
            _ if self.stages == 0 => return None,
            0 => "all in earlier runs".to_owned(),
            all if all == self.stages => "all in this run".to_owned(),
            some => format!("{some} of {} in this run", self.stages),
        };
        let paid = if self.usd > 0.0 { format!(" and {} USD", format::three_digits(self.usd)) } else { String::new() };
        Some(format!("results took {} of compute{paid}, {where_made}", format::seconds(self.seconds)))
    }
}

fn is_of(stage: &RunSummaryStage, ran: &RunSummary) -> bool {
    stage.made_by.as_ref().is_none_or(|(run, _)| *run == ran.id)
}

#[cfg(test)]
mod tests {
    use super::Cost;
    use crate::report::fixture::{ran, stage};

    #[test]
    fn what_results_cost_is_not_what_the_last_run_took() {
        let mut ran = ran();
        ran.seconds = 0.11;
        let made = |name: &str, seconds: f64| {
            let mut made = stage(name, "rl.a2c", &[], &[name]);
            made.made_in_seconds = Some(seconds);
            made.config = serde_json::json!({ "name": name });
            made.made_by = Some(("20240101T000000Z-1".to_owned(), "desk".to_owned()));
            made
        };
        ran.stages = vec![made("a", 60.0), made("b", 5.0), made("b", 5.0)];
        ran.stages[2].name = "again".to_owned();
        ran.stages[0]
            .notes
            .insert("spent".to_owned(), "240 calls, 9000 + 40 tokens and 0.016000 USD in all runs".to_owned());
        let cost = Cost::of(&ran);
        assert_eq!(cost, Cost { stages: 3, made_here: 0, seconds: 65.0, usd: 0.016 });
        assert_eq!(cost.said().unwrap(), "results took 1 min 05 s of compute and 0.0160 USD, all in earlier runs");
        ran.stages[1].made_by = Some((ran.id.clone(), "desk".to_owned()));
        assert!(Cost::of(&ran).said().unwrap().ends_with("1 of 3 in this run"));
        ran.stages.clear();
        assert_eq!(Cost::of(&ran).said(), None);
    }
}
