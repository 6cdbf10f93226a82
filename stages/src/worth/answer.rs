//! The answer in words: what the scores add at each log size, what they are worth, and where they stop mattering.

use std::collections::BTreeSet;

use super::arms::{BEST, ORACLE, RANDOM, SHUFFLED};
use super::contenders::{GENRE_YEAR_AND_TEXT, GENRE_YEAR_AND_TEXT_PERMUTED, TEXT, TEXT_PERMUTED};
use crate::artifact::WorthEstimate;

/// The name of the mean over the evaluation worlds.
pub(super) const ALL: &str = "all";

/// The answer, one line a statement; each model's begin with its name.
pub(super) fn answer(rows: &[WorthEstimate]) -> Vec<String> {
    let models: BTreeSet<&str> = rows
        .iter()
        .map(|row| row.scores.as_str())
        .filter(|name| !name.is_empty() && !name.contains(SHUFFLED))
        .collect();
    models.into_iter().flat_map(|model| of_model(rows, model)).chain(of_vectors(rows)).collect()
}

/// What learners gain by vectors of the items beside genre and year, or alone where the catalogue has neither.
fn of_vectors(rows: &[WorthEstimate]) -> Vec<String> {
    let find = |learner: &str, quantity: &str| -> Vec<&WorthEstimate> {
        let all = |row: &&WorthEstimate| row.world == ALL && row.learner == learner && row.quantity == quantity;
        let mut found: Vec<&WorthEstimate> = rows.iter().filter(all).collect();
        found.sort_by_key(|row| row.n);
        found
    };
    let catalogue = !find(GENRE_YEAR_AND_TEXT, "lead").is_empty();
    let (with, permuted, base) = match catalogue {
        true => (GENRE_YEAR_AND_TEXT, GENRE_YEAR_AND_TEXT_PERMUTED, "a learner of genre and year"),
        false => (TEXT, TEXT_PERMUTED, "popularity by mean"),
    };
    let smallest = find(with, "detectable_lead");
    let mut lines = Vec::new();
    for (lead, smallest) in find(with, "lead").into_iter().zip(smallest) {
        let beside = format!("Vectors of the items beside {} ratings", thousands(f64::from(lead.n)));
        lines.push(if lead.low <= 0.0 {
            let most = smallest.value;
            format!(
                "{beside} add nothing that can be seen to {base}: {}; {most:.2} would have been found.",
                decimals(lead)
            )
        } else {
            format!("{beside} add {} to the return of {base}.", decimals(lead))
        });
    }
    if let Some(lead) = find(permuted, "lead").first() {
        let n = thousands(f64::from(lead.n));
        lines.push(format!("Control: beside {n} ratings the vectors of other items add {}.", decimals(lead)));
    }
    lines
}

fn of_model(rows: &[WorthEstimate], model: &str) -> Vec<String> {
    let find = |scores: &str, learner: &str, world: &str, quantity: &str| {
        let mut found: Vec<&WorthEstimate> = rows
            .iter()
            .filter(|row| (row.scores.as_str(), row.learner.as_str()) == (scores, learner))
            .filter(|row| (row.world.as_str(), row.quantity.as_str()) == (world, quantity))
            .collect();
        found.sort_by_key(|row| row.n);
        found
    };
    let mut lines = Vec::new();
    let worlds: BTreeSet<&str> =
        rows.iter().map(|row| row.world.as_str()).filter(|world| *world != ALL && !world.contains('/')).collect();
    if let (Some(worth), Some(alone)) =
        (find(model, "", ALL, "standalone_worth").first(), find(model, "", ALL, "return").first())
    {
        let each = worlds.iter().filter_map(|world| {
            let worth = *find(model, "", world, "standalone_worth").first()?;
            Some(format!("{} in {world}", count(worth)))
        });
        let without = |learner: &str| find("", learner, ALL, "return").first().map_or(f64::NAN, |row| row.value);
        let (random, oracle) = (without(RANDOM), without(ORACLE));
        let alone =
            format!("{model} alone returns {} per session (random {random:.2}, oracle {oracle:.2})", decimals(alone));
        let each = each.collect::<Vec<_>>().join(", ");
        lines.push(if worth.value == 0.0 {
            format!("{alone}: no more than random recommendations, so that alone it is worth no rating.")
        } else {
            format!(
                "{alone}. Without it, the recommender that validation chooses needs {} ratings for that return ({each}).",
                interval(worth)
            )
        });
    }
    let learner = if find(model, BEST, ALL, "gain").is_empty() { learner_of(rows, model) } else { BEST.to_owned() };
    let worths = find(model, &learner, ALL, "marginal_worth");
    let who =
        if learner == BEST { "the recommender that validation chooses".to_owned() } else { format!("`{learner}`") };
    let margin = find("", "", ALL, "margin").first().map_or(f64::NAN, |row| row.value);
    let random = find("", RANDOM, ALL, "return").first().map_or(f64::NAN, |row| row.value);
    // Whether its ratings help the learner at all: a flat curve has no inverse.
    let learns = find("", &learner, ALL, "return").last().is_none_or(|row| row.value > random + margin);
    for gain in find(model, &learner, ALL, "gain").into_iter().filter(|gain| gain.n > 0) {
        let Some(worth) = worths.iter().find(|worth| worth.n == gain.n) else { continue };
        let beside = format!("{model} beside {} ratings", thousands(f64::from(gain.n)));
        lines.push(if gain.high < 0.0 {
            let cost = format!("{:.2} [{:.2}, {:.2}]", -gain.value, -gain.high, -gain.low);
            format!("{beside} costs {cost} of the return of {who}.")
        } else if gain.low <= 0.0 {
            let most = find(model, &learner, ALL, "detectable_gain").iter().find(|row| row.n == gain.n).map_or(f64::NAN, |row| row.value);
            format!(
                "{beside} adds nothing that can be seen to the return of {who}: {}; a gain of {most:.2} would have been found.",
                decimals(gain)
            )
        } else if !learns || (worth.value == 0.0 && worth.censored == "value") {
            // At the largest size no larger one says how many ratings would do the same.
            let why = if learns { "is too small" } else { "does not help that recommender, so that nothing is there" };
            let gain = decimals(gain);
            format!("{beside} adds {gain} to the return of {who}; the log {why} to say how many ratings that is worth.")
        } else {
            let (gain, worth) = (decimals(gain), interval(worth));
            format!("{beside} adds {gain} to the return of {who}, and is worth {worth} more ratings.")
        });
    }
    if let Some(end) = find(model, &learner, ALL, "end").first() {
        let largest = find(model, &learner, ALL, "gain").last().map_or(0, |row| row.n);
        lines.push(if end.value.is_nan() {
            format!(
                "{model} matters, or may matter, up to {} ratings, the largest size: from none on it is known to change the return by less than {margin:.2}, the margin of equivalence.",
                thousands(f64::from(largest))
            )
        } else {
            format!(
                "{model} stops mattering at {} ratings: from there on its gain is 0 within a margin of {margin:.2}.",
                thousands(end.value)
            )
        });
    }
    let shuffled = format!("{model}{SHUFFLED}");
    if let Some(gain) = find(&shuffled, &learner, ALL, "gain").iter().find(|row| row.n > 0) {
        let beside = format!("beside {} ratings the same scores shuffled over the items", thousands(f64::from(gain.n)));
        let wrong = if gain.low > 0.0 {
            ", which should be nothing: look for the reason before you trust the study"
        } else {
            ""
        };
        lines.push(format!("Control: {beside} add {}{wrong}.", decimals(gain)));
    }
    lines
}

/// The first learner that was played with these scores.
fn learner_of(rows: &[WorthEstimate], scores: &str) -> String {
    let of_scores = |row: &&WorthEstimate| row.scores == scores && row.quantity == "gain";
    rows.iter().find(of_scores).map(|row| row.learner.clone()).unwrap_or_default()
}

/// `+0.71 [0.20, 1.10]`, without the sign for returns.
fn decimals(row: &WorthEstimate) -> String {
    let sign = if ["gain", "lead"].contains(&row.quantity.as_str()) && row.value >= 0.0 { "+" } else { "" };
    format!("{sign}{:.2} [{:.2}, {:.2}]", row.value, row.low, row.high)
}

/// `1,240 [800, ≥ 48,000]`.
fn interval(row: &WorthEstimate) -> String {
    let high = if row.censored.is_empty() { "" } else { "≥ " };
    format!("{} [{}, {high}{}]", count(row), thousands(row.low), thousands(row.high))
}

fn count(row: &WorthEstimate) -> String {
    format!("{}{}", if row.censored == "value" { "≥ " } else { "" }, thousands(row.value))
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scores: &str, learner: &str, quantity: &str, n: u32, [value, low, high]: [f64; 3]) -> WorthEstimate {
        let (scores, learner, quantity) = (scores.to_owned(), learner.to_owned(), quantity.to_owned());
        WorthEstimate { scores, learner, world: ALL.into(), quantity, n, value, low, high, censored: String::new() }
    }

    #[test]
    fn an_answer_in_words() {
        let mut rows = vec![
            row("", "", "margin", 0, [0.5; 3]),
            row("", RANDOM, "return", 0, [90.0; 3]),
            row("", ORACLE, "return", 0, [140.0; 3]),
            row("", BEST, "return", 100, [105.0; 3]),
            row("llm", "", "return", 0, [110.0, 109.0, 111.25]),
            row("llm", "", "standalone_worth", 0, [1240.0, 800.0, 48_000.0]),
            row("llm", BEST, "gain", 100, [3.5, 2.0, 5.0]),
            row("llm", BEST, "marginal_worth", 100, [900.0, 400.0, 2000.0]),
            row("llm", BEST, "end", 0, [10_000.0; 3]),
            row("llm shuffled", BEST, "gain", 100, [-1.5, -2.0, 0.25]),
        ];
        rows[5].censored = "high".into();
        assert_eq!(
            answer(&rows),
            [
                "llm alone returns 110.00 [109.00, 111.25] per session (random 90.00, oracle 140.00). Without it, the recommender that validation chooses needs 1,240 [800, ≥ 48,000] ratings for that return ().",
                "llm beside 100 ratings adds +3.50 [2.00, 5.00] to the return of the recommender that validation chooses, and is worth 900 [400, 2,000] more ratings.",
                "llm stops mattering at 10,000 ratings: from there on its gain is 0 within a margin of 0.50.",
                "Control: beside 100 ratings the same scores shuffled over the items add -1.50 [-2.00, 0.25].",
            ]
        );
        let mut unseen = rows.clone();
        unseen[6].low = -0.5;
        unseen.push(row("llm", BEST, "detectable_gain", 100, [2.25; 3]));
        assert_eq!(
            answer(&unseen)[1],
            "llm beside 100 ratings adds nothing that can be seen to the return of the recommender that validation chooses: +3.50 [-0.50, 5.00]; a gain of 2.25 would have been found."
        );
        let mut costs = rows.clone();
        (costs[4].value, costs[5].value) = (89.0, 0.0);
        costs[9] = row("llm shuffled", BEST, "gain", 100, [1.5, 0.5, 2.0]);
        let said = answer(&costs);
        assert_eq!(
            said[0],
            "llm alone returns 89.00 [109.00, 111.25] per session (random 90.00, oracle 140.00): no more than random recommendations, so that alone it is worth no rating."
        );
        assert!(
            said.last().unwrap().ends_with(
                "add +1.50 [0.50, 2.00], which should be nothing: look for the reason before you trust the study."
            ),
            "{said:?}"
        );
        let mut dear = rows.clone();
        (dear[6].value, dear[6].low, dear[6].high) = (-0.5, -1.0, -0.25);
        assert_eq!(
            answer(&dear)[1],
            "llm beside 100 ratings costs 0.50 [0.25, 1.00] of the return of the recommender that validation chooses."
        );
        let mut flat = rows.clone();
        flat[3].value = 90.25;
        assert_eq!(
            answer(&flat)[1],
            "llm beside 100 ratings adds +3.50 [2.00, 5.00] to the return of the recommender that validation chooses; the log does not help that recommender, so that nothing is there to say how many ratings that is worth."
        );
        let lead = [
            row("", GENRE_YEAR_AND_TEXT, "lead", 100, [1.5, 0.5, 2.0]),
            row("", GENRE_YEAR_AND_TEXT, "detectable_lead", 100, [0.75; 3]),
            row("", GENRE_YEAR_AND_TEXT_PERMUTED, "lead", 100, [-0.25, -1.0, 0.5]),
        ];
        assert_eq!(
            answer(&lead),
            [
                "Vectors of the items beside 100 ratings add +1.50 [0.50, 2.00] to the return of a learner of genre and year.",
                "Control: beside 100 ratings the vectors of other items add -0.25 [-1.00, 0.50].",
            ]
        );
        let weak = [row("", TEXT, "lead", 100, [0.5, -0.5, 2.0]), row("", TEXT, "detectable_lead", 100, [1.25; 3])];
        assert_eq!(
            answer(&weak),
            [
                "Vectors of the items beside 100 ratings add nothing that can be seen to popularity by mean: +0.50 [-0.50, 2.00]; 1.25 would have been found."
            ]
        );
        let mut largest = rows.clone();
        (largest[7].value, largest[7].low, largest[7].censored) = (0.0, 0.0, "value".into());
        assert_eq!(
            answer(&largest)[1],
            "llm beside 100 ratings adds +3.50 [2.00, 5.00] to the return of the recommender that validation chooses; the log is too small to say how many ratings that is worth."
        );
        rows[8].value = f64::NAN;
        assert!(answer(&rows)[2].starts_with("llm matters, or may matter, up to 100 ratings, the largest size: "));
    }
}
