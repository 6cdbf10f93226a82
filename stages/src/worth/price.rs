//! The price of a point of return: what it cost to ask a model about every item, over what its scores add.

use pipeline::report::{RunSummary, RunSummaryStage};

use super::answer::ALL;
use super::arms::BEST;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::artifact::WorthEstimate;

    fn asked(seconds: f64, spent: Option<&str>) -> RunSummaryStage {
        RunSummaryStage {
            name: "llm".into(),
            kind: "rate".into(),
            status: "ran".into(),
            seconds,
            made_in_seconds: Some(seconds),
            made_by: None,
            version: Some(1),
            config: Value::Null,
            inputs: vec![],
            assets: vec![],
            notes: spent.map(|said| ("spent".to_owned(), said.to_owned())).into_iter().collect::<BTreeMap<_, _>>(),
            files: vec![],
        }
    }

    fn gains(low: f64) -> Worth {
        let gain = |n, value: f64| WorthEstimate {
            scores: "llm".into(),
            learner: BEST.into(),
            world: ALL.into(),
            quantity: "gain".into(),
            n,
            value,
            low: low * value,
            high: 2.0 * value,
            censored: String::new(),
        };
        Worth { rows: vec![gain(100, 4.0), gain(1000, 0.5)], answer: vec![] }
    }

    #[test]
    fn a_point_of_return_has_a_price_in_dollars_or_time() {
        let paid = asked(9.0, Some("240 calls, 9000 + 40 tokens and 0.020000 USD in all runs"));
        assert_eq!(
            price(&gains(0.5), &paid).unwrap(),
            "Price: to ask llm once about every item cost 0.020 USD; a point of return per session cost 0.005 beside 100 ratings, 0.040 beside 1000 ratings."
        );
        let timed = price(&gains(0.5), &asked(10.0, None)).unwrap();
        assert!(
            timed.contains("cost 10.000 s of this machine; a point of return per session cost 2.500 beside"),
            "{timed}"
        );
    }

    #[test]
    fn what_adds_nothing_bought_nothing() {
        let said = price(&gains(-0.5), &asked(10.0, None)).unwrap();
        assert!(said.ends_with("and bought no point of return at any size."), "{said}");
        assert_eq!(price(&Worth::default(), &asked(10.0, None)), None);
    }
}
