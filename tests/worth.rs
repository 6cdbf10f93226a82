//! `apprentice worth`: from an experiment with a teacher to an answer, on a log with planted item means.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::mock_server::{MockServer, response};
use crate::project::Project;

const ITEMS: u64 = 24;

/// Numbers in [0, 1) that look random.
fn noise(seed: u64) -> f64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

fn quality(item: u64) -> f64 {
    2.0 + 2.0 * noise(item * 7919)
}

const EXPERIMENT: &str = "name: planted
assets:
  log: { from: [{ path: log/ }] }
stages:
  log:
    use: ingest.table
    with: { asset: log, log: { file: log.csv, user: who, item: what, rating: stars } }
  world:
    use: world.bias
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { simulator: { horizon: 5, repeats: masked, quit_similarity: off, embedding_dim: 2 } }
  teacher:
    use: ingest.item_scores
    inputs: { items: log.items }
    with: { asset: log, file: scores.csv, item: what, score: opinion }
";

/// A log of 1,600 ratings around the items' means, and scores that are these means.
fn planted() -> Project {
    let project = Project::new();
    let mut log = String::from("who,what,stars\n");
    for row in 0..1600 {
        let item = (noise(row * 3) * ITEMS as f64) as u64;
        let rating = quality(item) + 2.0 * (noise(row * 3 + 1) + noise(row * 3 + 2) - 1.0);
        writeln!(log, "{},{item},{rating:.2}", row % 40).unwrap();
    }
    let mut scores = String::from("what,opinion\n");
    (0..ITEMS).for_each(|item| writeln!(scores, "{item},{}", quality(item)).unwrap());
    project.file("log/log.csv", &log).file("log/scores.csv", &scores).config(EXPERIMENT)
}

#[test]
fn a_teacher_is_worth_ratings_and_a_second_run_says_the_same() {
    let project = planted();
    let size = ["--draws", "4", "--sizes", "30,100,400", "--users", "20"];
    let worth = |more: &[&str]| project.ok(&[&["worth", "x.yaml"][..], &size, more].concat());
    worth(&["--plan"]).prints(&["returns_a@draw=3", "worth", "page"]);
    let printed = worth(&["--print"]).stdout;
    assert!(printed.starts_with("name: planted-worth\n") && printed.contains("by: global_random"), "{printed}");
    let first = worth(&[]).prints(&[
        "teacher alone returns ",
        "teacher beside 30 ratings adds ",
        "Control: beside 30 ratings the same scores shuffled",
    ]);
    let again = worth(&["-q"]).prints(&["teacher beside 30 ratings adds "]);
    let answer = |said: &str| {
        let lines: Vec<String> = said.lines().filter(|line| line.starts_with("teacher ")).map(str::to_owned).collect();
        assert!(lines.len() > 3, "{said}");
        lines
    };
    assert_eq!(answer(&again.stdout), answer(&first.stdout), "from the store");
    let rows = ["inspect", "worth.worth", "--format", "ndjson", "--filter"];
    let filter =
        "quantity = 'gain' and scores = 'teacher' and learner = 'popular by mean' and world = 'all' and n = 30";
    let gain: Value = serde_json::from_str(project.ok(&[&rows[..], &[filter]].concat()).stdout.trim()).unwrap();
    assert!(gain["low"].as_f64().unwrap() > 0.0, "{gain}");
    let page = std::fs::read_to_string(project.path("artifacts/planted-worth/page/page.html")).unwrap();
    assert!(page.contains("Return against log size") && page.contains("class=\"line learned\""));
}

/// The title of an item in one of four languages, or none: the model then reads the item's features.
fn title(item: u64) -> String {
    match item % 6 {
        0 => format!("Großes Glück {item}"),
        1 => format!("夜の物語 {item}"),
        2 => format!("Мастер {item}"),
        3 => format!("ليلة {item}"),
        4 => format!("Le fabuleux destin {item}"),
        _ => String::new(),
    }
}

#[test]
fn a_model_behind_a_server_is_worth_ratings_in_any_language_and_of_items_without_titles() {
    let server = MockServer::start(|_, body| {
        let told = |item: &u64| match title(*item) {
            none if none.is_empty() => body.contains(&format!("mark-{item}-")),
            title => body.contains(&title),
        };
        // The longest number that fits, so that item 2 is not taken for 20.
        let item = (0..ITEMS).rev().find(told).expect("a question about an item of ours");
        let grade = format!("{:.0}", (quality(item) - 2.0) * 50.0);
        let choice = json!({ "message": { "content": grade }, "finish_reason": "stop" });
        let usage = json!({ "prompt_tokens": 40, "completion_tokens": 2 });
        Some(response(200, "", &json!({ "choices": [choice], "usage": usage }).to_string()))
    });
    let items: String = (0..ITEMS).map(|item| format!("{item},{},mark-{item}-\n", title(item))).collect();
    let read = "log: { file: log.csv, user: who, item: what, rating: stars }";
    let with_items = "items: { file: items.csv, id: what, title: name, genres: { column: mark } }";
    let project = planted().file("log/items.csv", &format!("what,name,mark\n{items}"));
    let teacher = format!(
        "  teacher:
    use: rate
    inputs: {{ items: log.items }}
    with:
      llm: {{ openai: {{ base_url: \"{}\", model: m, api_key: null }} }}
      by: {{ grade: {{ low: 0, high: 100 }} }}
",
        server.base_url
    );
    let (world, _) = EXPERIMENT.split_once("  teacher:").unwrap();
    let project = project.config(&(world.replace(read, &format!("{read}, {with_items}")) + &teacher));
    let size = ["--draws", "2", "--sizes", "30,400", "--users", "20"];
    let said = project.ok(&[&["worth", "x.yaml"][..], &size].concat());
    said.prints(&["teacher alone returns ", "teacher beside 30 ratings adds "]);
    assert_eq!(server.received().len(), ITEMS as usize, "one question an item");
    let filter =
        "quantity = 'gain' and scores = 'teacher' and learner = 'popular by mean' and world = 'all' and n = 30";
    let row = project.ok(&["inspect", "worth.worth", "--format", "ndjson", "--filter", filter]).stdout;
    let gain: Value = serde_json::from_str(row.trim()).unwrap();
    assert!(gain["low"].as_f64().unwrap() > 0.0, "{gain}");
}

#[test]
fn an_experiment_without_a_teacher_is_told_what_to_add() {
    let project = Project::new().config(
        "name: x
assets: { toy: { from: [{ generate: toy-log }] } }
stages: { log: { use: ingest.recbole, with: { asset: toy } } }
",
    );
    project
        .run(&["worth", "x.yaml"])
        .ends_with(2)
        .says(&["the experiment has no teacher", "help: add one, such as `opinion: { use: rate"]);
}
