//! Items rated by a model behind a server, one question each: what is asked, what it costs, and what the scores are good for.

use std::fmt::Write as _;

use serde_json::json;

use crate::mock_server::{MockServer, response};
use crate::project::Project;

const USERS: usize = 40;
const ITEMS: usize = 30;

/// How good an item is, 0 to 9: what all users say of it, and the server's model knows.
fn quality(item: usize) -> usize {
    item * 7 % 10
}

/// A log in which everybody rates everything by its quality, but for what a user likes; who came first rated at random.
fn project(server: &str) -> Project {
    let mut log = String::from("user_id:token\titem_id:token\trating:float\ttimestamp:float\n");
    for user in 0..USERS {
        for item in 0..ITEMS {
            let time = (user * 17 + item * 29) % 997;
            let rating =
                if time < 40 { 1 + (user * 3 + item) % 5 } else { 1 + (quality(item) + (user + item) % 2) / 2 };
            writeln!(log, "u{user}\ti{item}\t{}\t{time}", rating.min(5)).unwrap();
        }
    }
    let titles: String = (0..ITEMS).map(|item| format!("i{item}\tTitle No. {item}.\n")).collect();
    let scores: String = (0..ITEMS).map(|item| format!("{},i{item}\n", quality(item))).collect();
    Project::new()
        .file("log/log.inter", &log)
        .file("log/log.item", &format!("item_id:token\ttitle:token_seq\n{titles}"))
        .file("scores/scores.csv", &format!("points,movie\n{scores}"))
        .config(&experiment(server))
}

fn experiment(server: &str) -> String {
    let llm = format!(
        "llm: {{ openai: {{ base_url: \"{server}\", model: m, api_key: null, prices: {{ input: 1, output: 2 }} }} }}"
    );
    let simulator = "simulator: { horizon: 8, quit_similarity: off, repeats: masked }";
    format!(
        "name: rate
assets:
  log: {{ from: [{{ path: log/ }}] }}
  scores: {{ from: [{{ path: scores/ }}] }}
stages:
  log: {{ use: ingest.recbole, with: {{ asset: log, title: title }} }}
  split: {{ use: split, inputs: {{ interactions: log.interactions }}, with: {{ by: time, test_fraction: 0.95 }} }}
  evaluation:
    use: world.bias
    inputs: {{ interactions: log.interactions, items: log.items, users: log.users }}
    with: {{ {simulator} }}
  offers: {{ use: retrieve, inputs: {{ interactions: split.train, items: log.items, users: log.users }} }}
  rated:
    use: rate
    inputs: {{ items: log.items }}
    with: {{ {llm}, item_noun: movie, by: {{ grade: {{ high: 10 }} }} }}
  ranked: {{ use: retrieve.item_scores, inputs: {{ item_scores: rated.item_scores, users: log.users }} }}
  given: {{ use: ingest.item_scores, inputs: {{ items: log.items }}, with: {{ asset: scores, file: scores.csv, item: movie, score: points }} }}
  demos:
    use: demonstrate
    inputs: {{ world: evaluation.world, items: log.items, train: split.train, candidates: offers.candidates }}
    with: {{ {llm}, users: 12, item_noun: movie, actor: {{ rate: {{ by: {{ grade: {{ high: 10 }} }} }} }} }}
  again:
    use: rate
    inputs: {{ items: log.items, calls: rated.calls }}
    with: {{ llm: {{ replay: {{}} }}, item_noun: movie, by: {{ grade: {{ high: 10 }} }} }}
  score:
    use: evaluate
    inputs: {{ world: evaluation.world, train: split.train, candidates: ranked.candidates, teacher: demos.demonstrations }}
"
    )
}

/// The grade of the item that a question is about; a word where it is none of ours.
fn grade(body: &str) -> String {
    let item = body.split("Title No. ").nth(1).and_then(|rest| rest.split('.').next()?.parse().ok());
    let text = item.map_or("what?".to_owned(), |item: usize| format!("Grade: {}", 1 + quality(item)));
    let choice = json!({ "message": { "content": text }, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": body.len() / 4, "completion_tokens": 3 });
    response(200, "", &json!({ "choices": [choice], "usage": usage }).to_string())
}

#[test]
fn one_question_an_item_ranks_the_catalogue_for_good() {
    let server = MockServer::start(|_, body| Some(grade(body)));
    let project = project(&server.base_url);
    let plan = project.ok(&["plan", "x.yaml", "rated"]);
    plan.prints(&["per item, because the catalogue is not known yet: about 1 calls"]);
    project.ok(&["run", "x.yaml", "rated"]).says(&["rated", "30 of 30 items", "highest", "Title No. 7. 10.00"]);
    assert_eq!(server.received().len(), ITEMS);
    let body = &server.received()[0].body;
    assert!(body.contains("Movie: Title No. ") && body.contains("Answer with a whole number from 1 to 10"), "{body}");
    assert!(!body.contains("user u") && !body.contains("rating"), "nothing of anybody: {body}");

    // The actor, the replay and another experiment find every answer.
    project.ok(&["run", "x.yaml"]);
    project.ok(&["run", "x.yaml", "rated", "--set", "stages.rated.with.min_valid_rate=1.0"]);
    assert_eq!(server.received().len(), ITEMS, "no question more");
    let columns =
        |name: &str, columns: &str| project.ok(&["inspect", name, "--columns", columns, "--format", "csv"]).stdout;
    assert_eq!(columns("rated.item_scores", "item,score,grade"), columns("again.item_scores", "item,score,grade"));
    let scores: Vec<String> = columns("rated.item_scores", "score").lines().skip(1).map(str::to_owned).collect();
    let points: Vec<String> = columns("given.item_scores", "score").lines().skip(1).map(str::to_owned).collect();
    let number = |text: &String| text.parse::<f64>().unwrap();
    assert!(scores.iter().zip(&points).all(|(score, points)| number(score) == number(points) + 1.0), "{scores:?}");

    // Everybody is shown the best items, and what is planted in them beats what few ratings say.
    let metrics = columns("score.metrics", "policy,metric,mean");
    let value = |row: &str| -> f64 {
        let start = format!("{row},return_inclusive,");
        let line =
            metrics.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no {row}: {metrics}"));
        line[start.len()..].parse().unwrap()
    };
    let (ranked, popular, best) = (value("retriever top-1"), value("popular quit-aware"), value("planning oracle"));
    assert!(ranked > popular + 1.0 && ranked > best - 0.5, "{ranked} {popular} {best}");
    let demonstrated = columns("demos.demonstrations", "item");
    let shown: Vec<usize> = demonstrated.lines().skip(1).map(|item| item.parse().unwrap()).collect();
    assert!(shown.len() == 12 * 8 && shown.iter().all(|&item| quality(item) >= 7), "{shown:?}");
}

#[test]
fn items_of_which_nothing_is_known_are_rated_with_a_warning_and_contrasts_need_probabilities() {
    let server = MockServer::start(|_, _| Some(grade("Title No. 3.")));
    let project = project(&server.base_url);
    let bare = project
        .file("log/log.item", &format!("item_id:token\n{}", (0..ITEMS).map(|i| format!("i{i}\n")).collect::<String>()));
    let bare = bare.config(&experiment(&server.base_url).replace(", title: title", ""));
    bare.ok(&["run", "x.yaml", "rated"]).says(&[
        "neither titles nor features",
        "nothing can be expected",
        "all 30 rated items have the score 2",
    ]);
    let grades = "by: { grade: { high: 10 } }";
    let contrasts = bare.config(&experiment(&server.base_url).replace(grades, "by: { contrasts: {} }"));
    contrasts.run(&["plan", "x.yaml"]).ends_with(2).says(&["logprobs: true", "by: { grade: {} }"]);
    let typo = contrasts.config(&experiment(&server.base_url).replace("high: 10", "prompt: \"Rate {{ titel }}\""));
    typo.run(&["plan", "x.yaml"]).ends_with(2).says(&["`titel` is not a variable of this template", "`title`"]);
}
