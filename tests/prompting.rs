//! What a model is told of a user, measured and played through the program, by a server that reads the order of a history.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::mock_server::{MockServer, response};
use crate::project::Project;

const USERS: usize = 30;
const ITEMS: usize = 24;

/// User u takes the films u, u+1, … in that order.
fn project(server: &str) -> Project {
    let mut log = String::from("user_id:token\titem_id:token\trating:float\ttimestamp:float\n");
    for user in 0..USERS {
        for step in 0..8 {
            writeln!(log, "u{user}\ti{}\t{}\t{step}", (user + step) % ITEMS, 3 + (user + step) % 3).unwrap();
        }
    }
    let genre = |item: usize| if item.is_multiple_of(2) { "War" } else { "Love" };
    let titles: String = (0..ITEMS).map(|item| format!("i{item}\tFilm {item:02}\t{}\n", genre(item))).collect();
    Project::new()
        .file("log/log.inter", &log)
        .file("log/log.item", &format!("item_id:token\ttitle:token_seq\tkind:token_seq\n{titles}"))
        .config(&experiment(server))
}

fn experiment(server: &str) -> String {
    let llm = format!(
        "llm: {{ openai: {{ base_url: \"{server}\", model: m, api_key: null, logprobs: true, prices: {{ input: 1, output: 2 }} }} }}"
    );
    format!(
        "name: prompting
assets: {{ log: {{ from: [{{ path: log/ }}] }} }}
stages:
  log: {{ use: ingest.recbole, with: {{ asset: log, title: title, genres: kind }} }}
  split: {{ use: split, inputs: {{ interactions: log.interactions }}, with: {{ by: time, test_fraction: 0.13 }} }}
  world:
    use: world.bias
    inputs: {{ interactions: log.interactions, items: log.items, users: log.users }}
    with: {{ simulator: {{ horizon: 4, quit_similarity: off, repeats: masked }} }}
  offers: {{ use: retrieve, inputs: {{ interactions: split.train, items: log.items, users: log.users }} }}
  ranks:
    use: evaluate.prompts
    inputs: {{ items: log.items, train: split.train, test: split.test }}
    with: {{ {llm}, item_noun: film, sessions: 20, n_candidates: 6, candidate_orders: 2, examples: [{{ select: nearest }}] }}
  demos:
    use: demonstrate
    inputs: {{ world: world.world, items: log.items, train: split.train, candidates: offers.candidates }}
    with: {{ {llm}, item_noun: film, users: 3, strategies: [recent, clusters], candidate_orders: 2 }}
"
    )
}

/// Chooses the option behind the last film that it was told, else the first, and gives log-probabilities of the letters.
fn reply(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    let text: String = messages.iter().map(|message| message["content"].as_str().unwrap().to_owned() + "\n").collect();
    let number = |text: &str| -> Option<usize> { text.rsplit("Film ").next()?.get(..2)?.parse().ok() };
    let is_option = |line: &&str| line.len() > 3 && line[1..].starts_with([')', '.', ':']) && line.contains("Film ");
    let options: Vec<(&str, usize)> =
        text.lines().filter(is_option).filter_map(|line| Some((&line[..1], number(line)?))).collect();
    let told = text.lines().rfind(|line| !is_option(line) && line.contains("Film ")).and_then(number);
    let next = told.map(|told| (told + 1) % ITEMS);
    let chosen = options.iter().find(|option| Some(option.1) == next).or(options.first()).unwrap().0;
    let token = |letter: &str| json!({ "token": letter, "logprob": if letter == chosen { -0.1 } else { -3.0 } });
    let top: Vec<Value> = options.iter().map(|option| token(option.0)).collect();
    let place = json!({ "token": chosen, "logprob": -0.1, "top_logprobs": top });
    let choice =
        json!({ "message": { "content": chosen }, "finish_reason": "stop", "logprobs": { "content": [place] } });
    let usage = json!({ "prompt_tokens": text.len() / 4, "completion_tokens": 1 });
    response(200, "", &json!({ "choices": [choice], "usage": usage }).to_string())
}

#[test]
fn an_order_that_is_read_is_measured_and_chooses() {
    let server = MockServer::start(|_, body| Some(reply(body)));
    let project = project(&server.base_url);
    project.ok(&["plan", "x.yaml"]).prints(&["about 440 calls", "USD"]);
    let run = project.ok(&["run", "x.yaml"]);
    run.says(&["NDCG@10 1.000", "over shuffled +0.", "agreement of the orders of candidates"]);
    let summary =
        |filter: &str| project.ok(&["inspect", "ranks.summary", "--rows", "--filter", filter, "--json"]).stdout;
    let delta = summary("prompt = 'recent' and quantity = 'score_over_shuffled'");
    let rows: Value = serde_json::from_str(&delta).unwrap();
    let text = rows.to_string();
    assert!(text.contains("\"low\""), "{text}");
    let asked = server.received().len();
    project.ok(&["run", "x.yaml"]);
    assert_eq!(server.received().len(), asked, "nothing is asked twice");
    // Two strategies in two orders are four calls a turn.
    let demos = project.ok(&["inspect", "demos.llm_usage", "--rows", "--json"]).stdout;
    assert!(demos.contains("\"calls\""), "{demos}");
}

#[test]
fn a_mistake_says_what_would_help() {
    let project = project("http://127.0.0.1:9/v1");
    let refused = |set: &str, words: &[&str]| {
        project.run(&["plan", "x.yaml", "--set", set]).ends_with(2).says(words);
    };
    refused("stages.demos.with.strategies=[recent, recnt]", &["recnt", "recent"]);
    refused("stages.demos.with.llm.openai.logprobs=false", &["strategies", "logprobs: true"]);
    refused("stages.ranks.with.llm.openai.logprobs=false", &["llm", "logprobs: true"]);
    refused("stages.ranks.with.strategies=[item_only]", &["item_only", "always asked"]);
    refused("stages.ranks.with.each_example=true", &["each_example", "select: effect"]);
    refused("stages.demos.with.examples={ select: best }", &["best", "effect"]);
}
