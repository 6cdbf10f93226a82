//! A model behind the batch API of a server: what it makes is what direct requests make, and each request is paid for once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::batch_server::{BatchServer, Line};
use crate::mock_server::{MockServer, response};
use crate::project::{Project, text};
use crate::server::{TURNS, USERS, answer, completion, project};

const ITEMS: usize = 60;
/// The settings of a run that waits.
const WAITS: &str =
    ", prices: { input: 1, output: 2 }, batch: { poll_seconds: 0.01, prices: { input: 0.5, output: 1 } }";
/// The settings of one that does not.
const DETACHED: &str = ", prices: { input: 1, output: 2 }, batch: { detach: true }";

/// Answers both ways alike, by the body as a value: how it is written differs.
fn server() -> BatchServer {
    let direct = |body: &str| answer(&serde_json::from_str::<Value>(body).unwrap().to_string());
    BatchServer::start(|body| Line::Answer(completion(&body.to_string())), direct)
}

/// What the stage wrote, by file.
fn outputs(project: &Project) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let files = std::fs::read_dir(project.path("artifacts/servers/demos")).unwrap();
    let mut files: Vec<_> =
        files.map(|file| file.unwrap()).map(|file| (file.file_name(), std::fs::read(file.path()).unwrap())).collect();
    files.sort();
    assert_eq!(files.len(), 4);
    files
}

/// Two runs wrote the same files.
#[track_caller]
fn same_outputs(one: &Project, other: &Project) {
    for ((name, one), (_, other)) in outputs(one).into_iter().zip(outputs(other)) {
        let at = one.iter().zip(&other).position(|(one, other)| one != other);
        assert!(one == other, "{} differs: {} and {} bytes, from {at:?} on", name.display(), one.len(), other.len());
    }
}

fn batches(server: &BatchServer) -> Vec<usize> {
    server.batches().iter().map(|batch| batch.requests.len()).collect()
}

/// Every request of every batch by its id, which is sent once.
#[track_caller]
fn submitted_once(server: &BatchServer) -> usize {
    let ids: Vec<String> =
        server.batches().iter().flat_map(|batch| batch.requests.iter().map(|(id, _)| id.clone())).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "a request was submitted twice");
    ids.len()
}

#[test]
fn batches_make_the_bytes_of_direct_requests_in_one_round_a_turn() {
    let server = server();
    let direct = project(&server.mock.base_url, "");
    direct.ok(&["run", "x.yaml", "demos"]);
    assert!(server.batches().is_empty());
    let batched = project(&server.mock.base_url, WAITS);
    batched.ok(&["run", "x.yaml", "world", "offers"]);
    let plan = batched.ok(&["plan", "x.yaml", "demos"]);
    plan.prints(&["about 440 calls, ", " USD at the prices of batches in 4 rounds of batches (an estimate"]);
    batched.ok(&["run", "x.yaml", "demos"]).says(&["calls", "440 asked, 0 served", "spent", "440 calls, "]);
    assert_eq!(batches(&server), [USERS; TURNS]);
    same_outputs(&batched, &direct);
    // The mode is in no key, and what one bought serves the other.
    let other = batched.config(&crate::server::experiment(&server.mock.base_url, ""));
    other.ok(&["run", "x.yaml", "demos"]).prints(&["4 hits"]);

    // A rating is one batch.
    let grades = BatchServer::start(|body| Line::Answer(completion(&body.to_string())), answer);
    let llm =
        format!("llm: {{ openai: {{ base_url: \"{}\", model: m, api_key: null{WAITS} }} }}", grades.mock.base_url);
    let rated = format!(
        "  rated: {{ use: rate, inputs: {{ items: log.items }}, with: {{ {llm}, by: {{ grade: {{ high: 10 }} }} }} }}\n"
    );
    let project = project(&grades.mock.base_url, WAITS);
    let config = crate::server::experiment(&grades.mock.base_url, WAITS) + &rated;
    project.config(&config).ok(&["run", "x.yaml", "rated"]).says(&["60 of 60 items"]);
    assert_eq!(batches(&grades), [ITEMS]);
}

#[test]
fn a_detached_run_ends_with_code_10_until_everything_is_answered() {
    let server = server();
    server.set_next_status("in_progress");
    let project = project(&server.mock.base_url, DETACHED);
    let first = project.run(&["run", "x.yaml", "demos"]).ends_with(10);
    first.says(&[
        "demos submitted its requests",
        "4 stages: 3 ran, 1 submitted",
        "stage `demos` submitted its requests: 1 batch with 110 requests at http://127.0.0.1:",
        "`batch_0` is validating, 0 of 110 requests are processed; they may cost up to 0.0",
        "help: run the same command again",
    ]);
    let events = project.run(&["run", "x.yaml", "demos", "--json"]).ends_with(10).events();
    let last = events.last().unwrap();
    assert_eq!((text(&last["event"]), text(&last["status"])), ("run_ended".into(), "submitted".into()));
    let ended = events.iter().find(|event| event["event"] == "stage_ended" && event["stage"] == "demos").unwrap();
    assert!(text(&ended["error"]).contains("`batch_0` is in_progress"), "{ended}");
    project.ok(&["runs"]).prints(&["submitted"]);
    server.set_next_status("completed");
    let mut codes = Vec::new();
    while codes.last() != Some(&0) {
        codes.push(project.run(&["run", "x.yaml", "demos"]).code);
    }
    assert_eq!(codes, [10, 10, 10, 0]);
    assert_eq!(batches(&server), [USERS; TURNS]);
    let direct = self::project(&server.mock.base_url, "");
    direct.ok(&["run", "x.yaml", "demos"]);
    same_outputs(&project, &direct);
    project.ok(&["verify"]).prints(&["1 ledger"]);
}

#[test]
fn killed_anywhere_it_submits_nothing_twice_and_makes_the_same_bytes() {
    let server = server();
    let project = project(&server.mock.base_url, WAITS);
    let received = || server.mock.received().len();
    let mut kills = 0;
    // An upload, the creation, a look and a download are four requests: a kill behind each of them, in several rounds.
    for enough in [1, 2, 3, 4, 6, 8, 9, 11] {
        kills += usize::from(project.kill_when(&["run", "x.yaml", "demos"], || received() >= enough));
    }
    assert!(kills > 3, "{kills} kills came in time");
    // The answer of the creation is lost, and the program ends.
    server.trouble("POST /v1/batches", None);
    let more = ["--set", "stages.demos.with.llm.openai.max_retries=0", "--set", "stages.demos.with.n_liked=3"];
    project
        .run(&[&["run", "x.yaml", "demos"], &more[..]].concat())
        .ends_with(7)
        .says(&["a batch could not be submitted"]);
    project.ok(&["run", "x.yaml", "demos"]);
    project.ok(&[&["run", "x.yaml", "demos"], &more[..]].concat());
    project.ok(&["run", "x.yaml", "demos"]);
    // Users with fewer favourites than either number have equal requests in both, which are bought once.
    let submitted = submitted_once(&server);
    assert!((USERS * TURNS + 1..=2 * USERS * TURNS).contains(&submitted), "{submitted}");
    let undisturbed = self::project(&server.mock.base_url, "");
    undisturbed.ok(&["run", "x.yaml", "demos"]);
    same_outputs(&project, &undisturbed);
}

#[test]
fn requests_that_fail_are_rows_and_those_that_were_not_processed_come_again() {
    let count = AtomicUsize::new(0);
    let refused = |body: &Value| body["messages"].to_string().len().is_multiple_of(5);
    let server = BatchServer::start(
        // Counted among those that are not refused: the order of a batch is that of its threads.
        move |body| match (!refused(body)).then(|| count.fetch_add(1, Ordering::Relaxed)) {
            None => Line::Refusal(400, json!({ "error": { "message": "not to our liking" } })),
            Some(7) => Line::Expired,
            Some(8) => Line::Raw("<html>\n".into()),
            Some(_) => Line::Answer(completion(&body.to_string())),
        },
        answer,
    );
    let project = project(&server.mock.base_url, WAITS);
    project.ok(&["run", "x.yaml", "demos"]).says(&["1 lines are no result of a request", "failed calls"]);
    let rows = project.ok(&["inspect", "demos.calls", "--filter", "failure is not null", "--format", "csv"]).stdout;
    let row = rows.lines().nth(1).unwrap_or_else(|| panic!("no failed call in: {rows}"));
    assert!(row.contains("answered 400: ") && row.contains("not to our liking") && row.ends_with(",400"), "{row}");
    let again = server.batches().into_iter().flat_map(|batch| batch.requests).map(|(id, _)| id);
    let mut seen = BTreeSet::new();
    let twice = again.filter(|id| !seen.insert(id.clone())).count();
    assert_eq!(twice, 2, "the two that were not processed");
}

#[test]
fn a_server_without_batches_and_settings_without_sense_are_errors_that_help() {
    let alone = MockServer::start(|_, body| match body.starts_with('{') {
        true => Some(answer(body)),
        false => Some(response(404, "", r#"{"error":{"message":"File Not Found"}}"#)),
    });
    let project = project(&alone.base_url, WAITS);
    project.run(&["run", "x.yaml", "demos"]).ends_with(1).says(&[
        "/v1/files answered 404: ",
        "File Not Found",
        "help: the server has no batch API of this form: leave out `llm.openai.batch`",
    ]);
    let typo = project.config(&crate::server::experiment(&alone.base_url, ", batch: { detached: true }"));
    typo.run(&["plan", "x.yaml"]).ends_with(2).says(&["detached", "detach"]);
    let prices = ", batch: { prices: { input: 1, output: 2 } }";
    let prices = typo.config(&crate::server::experiment(&alone.base_url, prices));
    prices.run(&["plan", "x.yaml"]).ends_with(2).says(&["`llm.openai.prices` beside them"]);
}
