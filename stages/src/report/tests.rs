//! Pages of a made-up evaluation.

use std::path::Path;

use pipeline::{Context, Stage};

use super::{Inputs, Report, fixture};
use crate::artifact::{Curves, Demonstrations, Metric, Metrics, Page, Rollouts, RowRole, Termination};

fn page(report: &Report, inputs: Inputs) -> String {
    report.run(inputs, &Context::detached(Path::new("unused"))).expect("the page renders").page.0
}

fn metrics(inputs: &mut Inputs) -> &mut Vec<Metric> {
    &mut inputs.metrics.as_mut().expect("the fixture has metrics").rows
}

/// The page without its links, for sentences that a link stands in.
fn unlinked(page: &str) -> String {
    let mut parts = page.split("<a class=\"term\"");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once('>').map_or("", |(_, rest)| rest).replacen("</a>", "", 1));
    first + &rest.collect::<String>()
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let report = Report::default();
    assert_eq!(page(&report, fixture::inputs()), page(&report, fixture::inputs()));
}

#[test]
fn the_page_says_what_the_data_say() {
    let page = unlinked(&page(&Report::default(), fixture::inputs()));
    for part in [
        "The best of 2 learned policies, a2c, returns 135.0 [134.0, 136.0] per episode: above popular quit-aware",
        "The language model returns 118.0 [112.0, 124.0], below retriever top-1 (125.0",
        "Fewer than 5 training seeds: bc (1).",
        "privileged: knows the distances of the evaluation world",
        "policy · return",
        "median return",
        "chosen from",
        "a2c: significantly above random, random quit-aware, popular quit-aware, retriever top-1, teacher (LLM) and bc; significantly below",
        "18 of 18 differences (paired by user) are significant",
        "half of the episodes return more than 135",
        "above the 0.60 expected from ensemble spread and noise; 18000 ratings",
        "the learned reward is nearly uncorrelated with the true reward",
        "2 of 4 estimates are conclusive.",
        "3 evaluation worlds order 8 systems",
        "the best baseline by NDCG@10 is popular (0.1000",
        "2 of 4 off-policy estimates are not conclusive",
    ] {
        assert!(page.contains(part), "`{part}` is missing");
    }
}

#[test]
fn everything_is_inside_the_page() {
    let page = page(&Report::default(), fixture::inputs());
    for outside in ["http:", "https:", "<script", "<link rel=\"stylesheet", "@import", "url(", "src="] {
        assert!(!page.contains(outside), "`{outside}` reaches outside");
    }
    assert!(page.contains("scope=\"col\"") && page.contains("scope=\"row\""));
}

#[test]
fn text_from_data_is_escaped_everywhere() {
    let evil = "<script>alert('&')</script>";
    let mut inputs = fixture::inputs();
    for metric in metrics(&mut inputs) {
        metric.policy += evil;
        metric.remark += evil;
    }
    for rollout in inputs.rollouts.iter_mut().flat_map(|rollouts| &mut rollouts.0) {
        rollout.policy += evil;
    }
    for comparison in inputs.comparisons.iter_mut().flat_map(|comparisons| &mut comparisons.0) {
        for text in [&mut comparison.policy, &mut comparison.other, &mut comparison.metric] {
            *text += evil;
        }
    }
    for point in inputs.profiles.iter_mut().flat_map(|profiles| &mut profiles.0) {
        point.policy += evil;
    }
    for pair in inputs.agreement.iter_mut().flat_map(|agreement| &mut agreement.0) {
        pair.world += evil;
    }
    for difference in inputs.world_differences.iter_mut().flat_map(|differences| &mut differences.0) {
        difference.other += evil;
    }
    for row in inputs.ranking.iter_mut().flat_map(|ranking| &mut ranking.0) {
        row.system += evil;
        row.best_baseline += evil;
    }
    for estimate in inputs.estimates.iter_mut().flat_map(|estimates| &mut estimates.0) {
        for text in [&mut estimate.policy, &mut estimate.cell, &mut estimate.estimator, &mut estimate.remark] {
            *text += evil;
        }
    }
    for world in &mut inputs.calibration {
        world.name += evil;
        world.value.0.iter_mut().for_each(|bin| bin.model += evil);
    }
    for reward in &mut inputs.rewards {
        reward.cell += evil;
        reward.value.0.iter_mut().for_each(|pair| pair.series += evil);
    }
    for curves in &mut inputs.curves {
        curves.name += evil;
        curves.value.0.iter_mut().for_each(|point| point.series += evil);
    }
    for title in inputs.items.iter_mut().flat_map(|items| &mut items.title) {
        title.push_str(evil);
    }
    let page = page(&Report { title: Some(evil.to_owned()), baseline: None }, inputs);
    assert!(!page.contains("<script"));
    // Each section has its own.
    for part in [
        "Significant differences",
        "Performance profiles",
        "Calibration",
        "Learned reward against",
        "Off-policy estimates",
        "Ranking of held-out interactions",
        "Agreement of evaluation worlds",
    ] {
        let (_, section) = page.split_once(part).expect("the section is there");
        assert!(section.split("<h2>").next().expect("a part").contains("&lt;script&gt;"), "{part}");
    }
}

#[test]
fn every_link_leads_to_a_meaning_that_stands_there_once() {
    let page = page(&Report::default(), fixture::inputs());
    let ends: Vec<&str> = page.split("href=\"#").skip(1).filter_map(|part| part.split('"').next()).collect();
    assert!(ends.len() > 20, "{ends:?}");
    for end in ends {
        assert_eq!(page.matches(&format!("id=\"{end}\"")).count(), 1, "{end}");
    }
    // Return and privilege are explained where they are first used, in the verdict and the caveats.
    let (top, _) = page.split_once("<h2>Results</h2>").expect("the table is there");
    for word in ["#term-return", "#term-privileged", "#term-learned", "#term-interval", "#row-2"] {
        assert!(top.contains(word), "{word}");
    }
}

#[test]
fn a_policy_that_is_served_otherwise_is_no_other_policy() {
    let mut inputs = fixture::inputs();
    let before = unlinked(&page(&Report::default(), fixture::inputs()));
    assert!(before.contains("The best of 2 learned policies, a2c, returns 135.0"), "{before}");
    // The same policy without repeats, though it returns more, is not the best of three.
    let own = |metric: &&Metric| metric.policy == "a2c" && metric.metric == "return_inclusive";
    let found = metrics(&mut inputs).iter().find(own).expect("it is there").clone();
    let policy = "a2c without repeats".to_owned();
    let role = RowRole::PolicyWithoutRepeats;
    metrics(&mut inputs).push(Metric { policy, role, mean: 199.0, low: 198.0, high: 200.0, seeds: 1, ..found });
    let page = unlinked(&page(&Report::default(), inputs));
    assert!(page.contains("The best of 2 learned policies, a2c, returns 135.0"), "{page}");
    assert!(page.contains("a2c without repeats") && page.contains("as `recommend --exclude-history` serves"));
}

#[test]
fn what_was_never_trained_is_none_of_the_learned() {
    let mut inputs = fixture::inputs();
    let bc = metrics(&mut inputs).iter().find(|metric| metric.policy == "bc").expect("it is there").clone();
    metrics(&mut inputs).push(Metric { metric: "untrained".to_owned(), mean: 1.0, low: 1.0, high: 1.0, ..bc });
    let page = unlinked(&self::page(&Report::default(), inputs));
    assert!(page.contains("The learned policy a2c returns 135.0"), "{page}");
    assert!(!page.contains("Fewer than 5 training seeds") && page.contains("<tr class=\"untrained\">"));
    let mut inputs = fixture::inputs();
    metrics(&mut inputs).retain(|metric| metric.policy != "a2c");
    let some = metrics(&mut inputs).iter().find(|metric| metric.policy == "bc").expect("it is there").clone();
    metrics(&mut inputs).push(Metric {
        metric: "untrained".to_owned(),
        mean: 0.5,
        low: 0.0,
        high: 1.0,
        ..some.clone()
    });
    let learned = unlinked(&self::page(&Report::default(), inputs));
    assert!(learned.contains("The learned policy bc returns"), "half of it was trained");
    let mut inputs = fixture::inputs();
    metrics(&mut inputs).retain(|metric| metric.policy != "a2c");
    metrics(&mut inputs).push(Metric { metric: "untrained".to_owned(), mean: 1.0, low: 1.0, high: 1.0, ..some });
    let none = unlinked(&self::page(&Report::default(), inputs));
    let said = "The table holds no learned policy: it shows language models, untrained policies and baselines.";
    assert!(none.contains(said), "{none}");
}

#[test]
fn an_episode_that_lasted_did_not_end_by_a_quit_rule() {
    let ends = |page: &str| -> String {
        let (_, table) = page.split_once("<tbody>").expect("the table is there");
        let (_, row) = table.split_once(">greedy oracle</a>").expect("the row is there");
        let (_, cell) = row.split_once("<td class=\"ends\"").expect("its ends");
        cell.split("</td>").next().unwrap_or_default().to_owned()
    };
    // At the last turn nothing is lost by leaving: a planner ends on an item that it had to avoid until then.
    let planner = |inputs: &mut Inputs| {
        for metric in metrics(inputs).iter_mut().filter(|metric| metric.policy == "greedy oracle") {
            match metric.metric.as_str() {
                "end_similar" => (metric.mean, metric.low, metric.high) = (1.0, 1.0, 1.0),
                "end_horizon" => (metric.mean, metric.low, metric.high) = (0.0, 0.0, 0.0),
                _ => {}
            }
        }
        for rollout in inputs.rollouts.iter_mut().flat_map(|rollouts| &mut rollouts.0) {
            if rollout.policy == "greedy oracle" {
                rollout.end = Termination::Similar;
            }
        }
    };
    let mut inputs = fixture::inputs();
    planner(&mut inputs);
    let found = ends(&page(&Report::default(), inputs));
    assert!(found.contains("horizon 100 %") && !found.contains("too similar"), "{found}");
    // The same is known without episodes: another row, whose episodes were all cut, was no longer.
    let mut inputs = fixture::inputs();
    planner(&mut inputs);
    inputs.rollouts = None;
    let found = ends(&page(&Report::default(), inputs));
    assert!(found.contains("horizon 100 %") && !found.contains("too similar"), "{found}");
    // A shorter one did end by the rule.
    let mut inputs = fixture::inputs();
    planner(&mut inputs);
    for rollout in inputs.rollouts.iter_mut().flat_map(|rollouts| &mut rollouts.0) {
        if rollout.policy == "greedy oracle" {
            rollout.length = 29;
        }
    }
    assert!(ends(&page(&Report::default(), inputs)).contains("too similar 100 %"));
}

#[test]
fn text_that_is_read_from_right_to_left_turns_nothing_around() {
    // pagedjs/pagedjs#67: a number beside Hebrew went to its other side. And one character can reverse the rest of a line.
    let mut inputs = fixture::inputs();
    for metric in metrics(&mut inputs).iter_mut().filter(|metric| metric.policy == "a2c") {
        metric.policy = "שלום".to_owned();
    }
    for title in inputs.items.iter_mut().flat_map(|items| &mut items.title) {
        title.insert_str(0, "עולם\u{202e}");
    }
    let page = unlinked(&page(&Report::default(), inputs));
    assert!(page.contains("learned policies, <bdi>שלום</bdi>, returns 135.0 [134.0, 136.0]"), "{page}");
    assert!(page.contains("<b><bdi>עולם\\u{202e}"), "{page}");
    assert!(!page.contains('\u{202e}'));
}

#[test]
fn several_language_models_stand_side_by_side() {
    let mut inputs = fixture::inputs();
    let teacher = |metric: &&Metric| metric.policy.starts_with("teacher");
    let mut second: Vec<Metric> = metrics(&mut inputs).iter().filter(teacher).cloned().collect();
    second.push(Metric { metric: "calls".to_owned(), mean: 31.5, low: 31.5, high: 31.5, ..second[0].clone() });
    second.iter_mut().for_each(|metric| metric.policy = "teacher <script>".to_owned());
    metrics(&mut inputs).extend(second);
    let mut other = inputs.demonstrations[0].clone();
    other.cell = "expert=<script>".to_owned();
    inputs.demonstrations.push(other);
    let page = page(&Report::default(), inputs);
    let (_, table) = page.split_once("<h3>Language models</h3>").expect("they have a table");
    let (table, rest) = table.split_once("</table>").expect("it ends");
    assert!(table.contains("teacher (LLM)</th>") && table.contains("teacher &lt;script&gt;</th>"), "{table}");
    assert!(table.contains("31.5</td>") && table.contains("prompt tokens per episode</th>"), "{table}");
    assert!(rest.contains("<h3>demos</h3>") && rest.contains("<h3>demos expert=&lt;script&gt;</h3>"));
    assert_eq!(rest.matches("Episode of median return").count(), 2);
    assert!(!rest.contains("Episode of lowest return") && !page.contains("<script"));
}

#[test]
fn the_place_for_what_was_run_is_there_once_whatever_the_data_hold() {
    let mut inputs = fixture::inputs();
    for metric in metrics(&mut inputs) {
        metric.remark = Page::PLACE.to_owned();
    }
    let page = page(&Report { title: Some(Page::PLACE.to_owned()), baseline: None }, inputs);
    assert_eq!(page.matches(Page::PLACE).count(), 1);
}

#[test]
fn values_that_are_not_finite_and_empty_curves_do_not_break_the_page() {
    let mut inputs = fixture::inputs();
    for metric in metrics(&mut inputs).iter_mut().filter(|metric| metric.policy == "bc") {
        (metric.mean, metric.low, metric.high) = (f64::NAN, f64::NEG_INFINITY, f64::INFINITY);
    }
    for curves in &mut inputs.curves {
        curves.value.0.iter_mut().for_each(|point| point.value = f64::NAN);
    }
    for estimate in inputs.estimates.iter_mut().flat_map(|estimates| &mut estimates.0) {
        (estimate.value, estimate.effective_sample_size) = (f64::NAN, f64::NAN);
    }
    for comparison in inputs.comparisons.iter_mut().flat_map(|comparisons| &mut comparisons.0) {
        comparison.probability_of_improvement = f64::NAN;
    }
    inputs.curves.push(pipeline::Named { name: "idle".into(), cell: String::new(), value: Curves::default() });
    inputs.demonstrations[0].value = Demonstrations::default();
    inputs.rollouts = Some(Rollouts::default());
    let page = unlinked(&page(&Report::default(), inputs));
    assert!(!page.contains("NaN") && !page.contains("inf<") && !page.contains("\"inf"));
    assert!(page.contains("no value is finite"));
    assert!(page.contains("left out of all comparisons: bc."));
}

#[test]
fn the_table_alone_makes_a_page() {
    let whole = fixture::inputs();
    let inputs = Inputs {
        metrics: whole.metrics,
        rollouts: None,
        comparisons: None,
        profiles: None,
        estimates: None,
        ranking: None,
        agreement: None,
        world_differences: None,
        calibration: Vec::new(),
        rewards: Vec::new(),
        curves: Vec::new(),
        demonstrations: Vec::new(),
        items: None,
    };
    let page = page(&Report::default(), inputs);
    assert!(page.contains("</html>") && !page.contains("Learning curves"));
}

#[test]
fn a_ranking_alone_makes_a_page() {
    let inputs = Inputs { metrics: None, ..fixture::inputs() };
    let page = unlinked(&page(&Report::default(), inputs));
    for part in [
        "Of 900 users with held-out interactions, the best baseline by NDCG@10 is popular",
        "</html>",
        "<code>metrics</code>",
    ] {
        assert!(page.contains(part), "no {part:?} in {page}");
    }
    for part in [
        "<h2>Results</h2>",
        "The learned policy",
        "Missing baselines",
        "<h3>Significant differences",
        "Return with 95 %",
    ] {
        assert!(!page.contains(part), "{part}");
    }
}

#[test]
fn names_in_backticks_are_code() {
    let mut inputs = fixture::inputs();
    metrics(&mut inputs).retain(|metric| metric.policy != "greedy oracle");
    let page = unlinked(&page(&Report::default(), inputs));
    assert!(page.contains("Missing baselines: <code>greedy oracle</code>"), "{page}");
}

#[test]
fn mistakes_are_named() {
    let error = |report: &Report, inputs| match report.run(inputs, &Context::detached(Path::new("unused"))) {
        Ok(_) => panic!("the page must not render"),
        Err(error) => error.to_string(),
    };
    let wrong = Report { title: None, baseline: Some("populer".to_owned()) };
    assert!(error(&wrong, fixture::inputs()).starts_with("`baseline` names no row of the metrics: `populer`\nhelp: "));
    let mut empty = fixture::inputs();
    empty.metrics = Some(Metrics::default());
    assert!(error(&Report::default(), empty).starts_with("input `metrics` holds no row"));
    let neither = Inputs { metrics: None, ranking: None, ..fixture::inputs() };
    assert!(error(&Report::default(), neither).starts_with("neither `metrics` nor `ranking` is connected"));
    let inputs = Inputs { metrics: None, ..fixture::inputs() };
    assert!(error(&wrong, inputs).starts_with("`baseline` names a row of the metrics, and no `metrics` are connected"));
}

#[test]
fn an_unknown_setting_is_refused() {
    let error = serde_json::from_str::<Report>(r#"{"titel": "x"}"#).expect_err("there is no such field");
    assert!(error.to_string().contains("unknown field `titel`"));
}
