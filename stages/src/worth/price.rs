//! The price of a point of return: what it cost to ask a model about every item, over what its scores add.

use pipeline::report::{RunSummary, RunSummaryStage};

use super::arms::BEST;
use super::statistics::ALL;
use crate::artifact::Worth;
use crate::llm::usd_spent;

/// One line for each stage of the run that asked a model for the scores of the study.
pub(super) fn prices(worth: &Worth, ran: &RunSummary) -> Vec<String> {
    ran.stages.iter().filter(|stage| stage.kind == "rate").filter_map(|stage| price(worth, stage)).collect()
}

fn price(worth: &Worth, stage: &RunSummaryStage) -> Option<String> {
    let gains = worth.rows.iter().filter(|row| {
        (row.scores.as_str(), row.learner.as_str(), row.world.as_str()) == (&*stage.name, BEST, ALL)
            && row.quantity == "gain"
            && row.n > 0
    });
    let gains: Vec<_> = gains.collect();
    if gains.is_empty() {
        return None;
    }
    let (cost, unit) = match usd_spent(&stage.notes).filter(|&usd| usd > 0.0) {
        Some(usd) => (usd, "USD"),
        None => (stage.made_in_seconds?, "s of this machine"),
    };
    let bought: Vec<String> = gains
        .iter()
        .filter(|gain| gain.low > 0.0)
        .map(|gain| format!("{:.3} beside {} ratings", cost / gain.value, gain.n))
        .collect();
    let asked = format!("Price: to ask {} once about every item cost {cost:.3} {unit}", stage.name);
    Some(if bought.is_empty() {
        format!("{asked}, and bought no point of return at any size.")
    } else {
        format!("{asked}; a point of return per session cost {}.", bought.join(", "))
    })
}
