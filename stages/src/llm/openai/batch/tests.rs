//! Batches against a server that answers as it should, and one that does not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipeline::checkpointing::ValueStore;
use pipeline::{Cancel, Context, Secret};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::super::conformance::request;
use super::super::super::{CachedLlm, ChoiceRequest, Llm as _, ask_each};
use super::super::OpenaiConfig;
use super::super::batch_server::{BatchServer, Line};
use super::super::budget::Spending;
use super::super::mock_server::response;
use super::*;

/// A completion that names an option by the length of the question, billed by it.
pub(super) fn completion(body: &Value) -> Value {
    let length = body["messages"].to_string().len();
    let message = json!({ "role": "assistant", "content": format!("{}", 1 + length % 2) });
    let usage = json!({ "prompt_tokens": length, "completion_tokens": 1 });
    json!({ "choices": [{ "message": message, "finish_reason": "stop" }], "usage": usage })
}

pub(super) fn server() -> BatchServer {
    BatchServer::start(|body| Line::Answer(completion(body)), |_| response(500, "", "asked directly"))
}

/// A run: its model with the ledger and the store of `folder`.
pub(super) struct Run {
    pub llm: OpenaiLlm,
    pub values: ValueStore,
    pub cx: Context,
}

pub(super) fn run_with(folder: &TempDir, server: &BatchServer, more: Value) -> Run {
    let mut fields = json!({
        "base_url": server.mock.base_url, "model": "m", "api_key": Secret::of("PATH"), "max_retries": 1,
        "batch": {}, "prices": { "input": 2.0, "output": 4.0 },
    });
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    let config: OpenaiConfig = serde_json::from_value(fields).unwrap();
    assert_eq!(config.check(), Ok(()));
    let cx = Context::detached(folder.path());
    let mut llm = config.open(cx.spent(), Cancel::default()).unwrap();
    llm.sleep.sleep = |_| {};
    Run { llm, values: ValueStore::open(cx.calls()).unwrap(), cx }
}

pub(super) fn run(folder: &TempDir, server: &BatchServer) -> Run {
    run_with(folder, server, json!({}))
}

pub(super) fn question(number: usize) -> ChoiceRequest {
    request(&["Choose.\n", &format!("{}\n", "x".repeat(number))], &["Heat", "Fargo"])
}

/// Asks these questions, each for itself: the options that are chosen, and those that fail with their reasons.
pub(super) fn outcomes(run: &Run, numbers: &[usize]) -> Result<Vec<Result<usize, String>>> {
    let cache = CachedLlm::new(&run.llm, run.values.clone());
    cache.ask_all(numbers, &run.cx, |&number| {
        let conversations = run.llm.conversations("")?;
        let (choice, calls) = cache.choose(&mut *conversations(), &question(number))?;
        Ok(choice
            .index
            .ok_or_else(|| calls[0].failure.as_ref().map_or("none".into(), |failure| failure.reason.clone())))
    })
}

/// What `completion` chooses.
fn chosen(run: &Run, number: usize) -> usize {
    let chat = run.llm.choice(&question(number)).unwrap();
    chat.body["messages"].to_string().len() % 2
}

pub(super) fn all_chosen(run: &Run, numbers: &[usize]) -> Vec<Result<usize, String>> {
    numbers.iter().map(|&number| Ok(chosen(run, number))).collect()
}

pub(super) fn spent(run: &Run) -> Spending {
    run.llm.budget.spent().unwrap()
}

pub(super) fn requests(server: &BatchServer) -> Vec<usize> {
    server.batches().iter().map(|batch| batch.requests.len()).collect()
}

pub(super) fn paths(server: &BatchServer) -> Vec<String> {
    let line = |head: &str| head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    server.mock.received().iter().map(|request| line(&request.head)).collect()
}

#[test]
fn all_questions_are_one_batch_which_is_paid_once() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let first = run(&folder, &server);
    let numbers = [1, 2, 3, 4, 5];
    assert_eq!(outcomes(&first, &numbers).unwrap(), all_chosen(&first, &numbers));
    assert_eq!(requests(&server), [5]);
    assert_eq!(
        paths(&server),
        ["POST /v1/files", "POST /v1/batches", "GET /v1/batches/batch_0", "GET /v1/files/results-batch_0/content"]
    );
    let secret = std::env::var("PATH").unwrap();
    for received in server.mock.received() {
        assert!(received.head.contains(&format!("authorization: Bearer {secret}\r\n")), "{}", received.head);
        assert!(!received.body.contains(&secret));
    }
    let billed: usize =
        numbers.iter().map(|&n| first.llm.choice(&question(n)).unwrap().body["messages"].to_string().len()).sum();
    let sum = spent(&first);
    assert_eq!((sum.calls, sum.in_batches, sum.tokens.prompt, sum.tokens.completion), (5, 0, billed as u64, 5));
    assert_eq!(sum.nano_usd, 2000 * billed as u64 + 4000 * 5);
    // Everything is in the store.
    let again = run(&folder, &server);
    assert_eq!(outcomes(&again, &numbers).unwrap(), all_chosen(&first, &numbers));
    assert_eq!((requests(&server), paths(&server).len()), (vec![5], 4));
    assert_eq!(spent(&again), sum);
}

#[test]
fn the_stored_answers_are_those_of_direct_requests() {
    let direct = |body: &str| response(200, "", &completion(&serde_json::from_str(body).unwrap()).to_string());
    let server = BatchServer::start(|body| Line::Answer(completion(body)), direct);
    let answers = |more: Value| {
        let folder = tempfile::tempdir().unwrap();
        let run = run_with(&folder, &server, more);
        let found = outcomes(&run, &[1, 2, 7]).unwrap();
        let stored =
            [1, 2, 7].map(|number| run.values.get(&question(number).key(&run.llm.identity())).unwrap().unwrap());
        (found, stored, run.llm.identity())
    };
    let (batched, alone) = (answers(json!({})), answers(json!({ "batch": null })));
    assert_eq!(batched, alone, "and the identity, so that neither mode pays for what the other bought");
    assert_eq!(requests(&server), [3]);
}

#[test]
fn work_goes_on_in_rounds_and_independent_questions_share_one() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let run = run(&folder, &server);
    let cache = CachedLlm::new(&run.llm, run.values.clone());
    let begun = AtomicUsize::new(0);
    let ends = Mutex::new(vec![]);
    let done = cache.ask_all(&[0, 1, 2], &run.cx, |&worker| {
        begun.fetch_add(1, Ordering::Relaxed);
        let conversations = run.llm.conversations("")?;
        let choose = |number| Ok(cache.choose(&mut *conversations(), &question(number))?.0.index.unwrap());
        // Worker n asks n times two questions at once.
        for turn in 0..worker {
            ask_each([0, 1].into_iter().map(|which| choose(100 * worker + 10 * turn + which)))?;
        }
        ends.lock().unwrap().push(worker);
        Ok(worker)
    });
    assert_eq!(done.unwrap(), [0, 1, 2]);
    assert_eq!(requests(&server), [4, 2], "both workers' first turns, then the second one of worker 2");
    // Worker 0 needs no round, 1 two and 2 three; nobody who is done begins again.
    assert_eq!((begun.into_inner(), ends.into_inner().unwrap()), (1 + 2 + 3, vec![0, 1, 2]));
    let counters = cache.counters();
    assert_eq!((counters.asked, counters.served, counters.failed), (6, 0, 0));
}

#[test]
fn a_detached_run_submits_and_later_ones_look_once() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let detached = json!({ "batch": { "detach": true, "prices": { "input": 1.0, "output": 2.0 } } });
    let attempt = |numbers: &[usize]| outcomes(&run_with(&folder, &server, detached.clone()), numbers);
    let message = |result: Result<Vec<Result<usize, String>>>| {
        let error = result.unwrap_err();
        assert!(error.is::<Submitted>(), "{error:#}");
        error.to_string()
    };
    server.set_next_status("in_progress");
    let worst = 0.001
        * (1..=2)
            .map(|n| run(&folder, &server).llm.choice(&question(n)).unwrap().worst().prompt as f64 + 16.0)
            .sum::<f64>()
        / 1000.0;
    let said = message(attempt(&[1, 2]));
    assert_eq!(
        said,
        format!(
            "1 batch with 2 requests at {}: `batch_0` is validating, 0 of 2 requests are processed; they may cost up to {worst:.6} USD\nhelp: \
             run the same command again: it takes in what is answered by then, and goes on",
            server.mock.base_url
        )
    );
    let asked = paths(&server).len();
    assert!(message(attempt(&[1, 2])).contains("`batch_0` is in_progress"));
    assert_eq!(paths(&server)[asked..], ["GET /v1/batches/batch_0"]);
    // Another request is another batch; those in flight are not submitted again.
    assert!(message(attempt(&[2, 3])).starts_with("2 batches with 3 requests"));
    assert_eq!(requests(&server), [2, 1]);
    assert_eq!(spent(&run(&folder, &server)).in_batches, 3);
    server.set_next_status("completed");
    let last = run_with(&folder, &server, detached.clone());
    assert_eq!(outcomes(&last, &[1, 2, 3]).unwrap(), all_chosen(&last, &[1, 2, 3]));
    assert_eq!((requests(&server), spent(&last).calls, spent(&last).in_batches), (vec![2, 1], 3, 0));
}

/// The outcomes of a run in which the first batch answers by `line`, and later ones well.
fn after_first(
    line: impl Fn(usize) -> Line + Send + Sync + 'static,
    more: Value,
) -> (Result<Vec<Result<usize, String>>>, Run, BatchServer) {
    let folder = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let server = BatchServer::start(
        move |body| match count.fetch_add(1, Ordering::Relaxed) {
            number @ 0..3 => line(number),
            _ => Line::Answer(completion(body)),
        },
        |_| response(500, "", "asked directly"),
    );
    let run = run_with(&folder, &server, more);
    let found = outcomes(&run, &[1, 2, 3]);
    (found, run, server)
}

#[test]
fn what_passes_is_asked_again_in_the_next_batch_and_what_does_not_is_a_failed_call() {
    let busy = || json!({ "error": { "message": "slow down" } });
    let answer = |text: &str| json!({ "choices": [{ "message": { "content": text } }], "usage": { "prompt_tokens": 3, "completion_tokens": 1 } });
    for (line, again, failed) in [
        (Line::Refusal(429, busy()), true, ""),
        (Line::Refusal(500, busy()), true, ""),
        (Line::Expired, true, ""),
        (Line::Raw(String::new()), true, ""),
        (Line::Raw("<html>\n".into()), true, ""),
        (Line::Raw("{\"custom_id\":\"another\",\"response\":null}\n".into()), true, ""),
        (Line::Answer(json!({ "choices": [] })), true, ""),
        (Line::Refusal(400, json!({ "error": { "message": "too long" } })), false, "answered 400: "),
        (Line::Answer(answer("none of them")), false, "the reply names no option: none of them"),
    ] {
        let line = Mutex::new(Some(line));
        let (found, run, server) = after_first(
            move |number| match number {
                0 => line.lock().unwrap().take().unwrap(),
                _ => Line::Answer(json!({ "choices": [{ "message": { "content": "1" } }] })),
            },
            json!({}),
        );
        let found = found.unwrap();
        let failures: Vec<&String> = found.iter().filter_map(|found| found.as_ref().err()).collect();
        if again {
            assert_eq!((requests(&server), failures.len()), (vec![3, 1], 0), "{found:?}");
        } else {
            assert_eq!((requests(&server), failures.len()), (vec![3], 1), "{found:?}");
            assert!(failures[0].contains(failed), "{found:?}");
        }
        assert_eq!(spent(&run).in_batches, 0);
    }
}
