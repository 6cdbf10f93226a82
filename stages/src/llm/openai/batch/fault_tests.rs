//! Kills, limits, servers without batches, batches that fail as a whole, and results without sense.

use std::sync::Mutex;

use pipeline::{BudgetExhausted, Unreachable};
use serde_json::{Value, json};

use super::super::super::{BatchRequest, Llm as _};
use super::super::batch_server::{BatchServer, Line};
use super::super::budget::TokenCount;
use super::super::mock_server::{MockServer, response};
use super::super::tests::SECRET;
use super::tests::*;
use super::*;

fn pending(run: &Run, numbers: &[usize]) -> Vec<BatchRequest> {
    let identity = run.llm.identity();
    let request = |&number: &usize| {
        let question = question(number);
        BatchRequest { key: question.key(&identity), request: question.canonical() }
    };
    numbers.iter().map(request).collect()
}

fn round<'a>(run: &'a Run, pending: &'a [BatchRequest]) -> BatchRound<'a> {
    BatchRound { pending, values: &run.values, is_answered: &|_| Ok(false), cx: &run.cx }
}

#[test]
fn what_another_run_takes_in_is_neither_waited_for_nor_submitted_again() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    server.set_next_status("in_progress");
    let waiting = run(&folder, &server);
    let requests_pending = pending(&waiting, &[1, 2]);
    std::thread::scope(|scope| {
        let other = run(&folder, &server);
        let waits =
            scope.spawn(|| waiting.llm.exchange(round(&waiting, &requests_pending), &mut |_, _| panic!("taken")));
        let open = loop {
            let open = other.llm.budget.open_batches().unwrap();
            if let Some(open) = open.into_iter().find(|open| open.id.is_some()) {
                break open;
            }
            std::thread::yield_now();
        };
        other.llm.budget.batch_taken(open.of, 2, TokenCount::default(), None).unwrap();
        waits.join().unwrap().unwrap();
    });
    let answered = BatchRound { is_answered: &|_| Ok(true), ..round(&waiting, &requests_pending) };
    waiting.llm.exchange(answered, &mut |_, _| panic!("taken")).unwrap();
    assert_eq!(requests(&server), [2]);
}

#[test]
fn a_server_that_is_away_for_a_while_is_waited_for() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let lost = || server.trouble("GET /v1/batches/", Some(response(503, "", "overloaded")));
    (0..5).for_each(|_| lost());
    let run = run(&folder, &server);
    assert_eq!(outcomes(&run, &[1]).unwrap(), all_chosen(&run, &[1]));
    (0..24).for_each(|_| lost());
    let error = outcomes(&run, &[2]).unwrap_err();
    assert!(error.is::<Unreachable>() && error.to_string().contains("answered 503"), "{error:#}");
    assert_eq!(spent(&run).in_batches, 1);
}

#[test]
fn killed_behind_its_reservation_nothing_was_sent() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let killed = run(&folder, &server);
    let worst = TokenCount { prompt: 1000, completion: 8 };
    killed.llm.budget.reserve_batch("killed", &killed.llm.http.server, &[worst]).unwrap();
    assert_eq!(spent(&killed).in_batches, 1);
    let next = run(&folder, &server);
    assert_eq!(outcomes(&next, &[1, 2]).unwrap(), all_chosen(&next, &[1, 2]));
    assert_eq!((requests(&server), spent(&next).calls), (vec![2], 2));
}

#[test]
fn killed_before_its_upload_it_is_the_same_submission() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let killed = run(&folder, &server);
    let requests_kept = pending(&killed, &[1, 2]);
    let kept = requests_kept
        .iter()
        .map(|request| request::SubmittedRequest::new(request, &killed.llm.chat_request(&request.request).unwrap()));
    let kept: Vec<_> = kept.collect();
    killed.llm.budget.reserve_batch("killed", &killed.llm.http.server, &[kept[0].worst, kept[1].worst]).unwrap();
    let list: Vec<String> = kept.iter().map(|kept| serde_json::to_string(kept).unwrap()).collect();
    killed.values.put_new(&submit::place("killed"), list.join("\n").as_bytes()).unwrap();
    let next = run(&folder, &server);
    assert_eq!(outcomes(&next, &[1, 2, 3]).unwrap(), all_chosen(&next, &[1, 2, 3]));
    assert_eq!(requests(&server), [2, 1]);
    assert_eq!(server.batches()[0].submission, "killed");
    assert_eq!(spent(&next).calls, 3);
}

#[test]
fn killed_before_the_id_was_recorded_the_batch_is_found_and_not_submitted_again() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    server.trouble("POST /v1/batches", None);
    let error = outcomes(&run_with(&folder, &server, json!({ "max_retries": 0 })), &[1, 2]).unwrap_err();
    assert!(error.is::<Unreachable>() && error.to_string().starts_with("a batch could not be submitted"), "{error:#}");
    assert_eq!((requests(&server), spent(&run(&folder, &server)).in_batches), (vec![2], 2));
    let next = run(&folder, &server);
    assert_eq!(outcomes(&next, &[1, 2]).unwrap(), all_chosen(&next, &[1, 2]));
    assert_eq!((requests(&server), spent(&next).calls), (vec![2], 2));
    // Within one run the next attempt looks for the batch first.
    server.trouble("POST /v1/batches", None);
    assert_eq!(outcomes(&next, &[3]).unwrap(), all_chosen(&next, &[3]));
    assert_eq!(requests(&server), [2, 1]);
}

#[test]
fn killed_while_it_takes_in_the_first_answers_stay_and_are_billed_once() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let killed = run(&folder, &server);
    let requests_pending = pending(&killed, &[1, 2, 3]);
    let mut left = 2;
    let error = killed.llm.exchange(round(&killed, &requests_pending), &mut |_, _| {
        left -= 1;
        anyhow::ensure!(left > 0, "killed");
        Ok(())
    });
    assert_eq!(error.unwrap_err().to_string(), "killed");
    assert_eq!(spent(&killed).in_batches, 3);
    // A connection that breaks in the middle begins again.
    server.trouble("GET /v1/files/", Some("HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n{\"custom".to_owned()));
    let next = run(&folder, &server);
    assert_eq!(outcomes(&next, &[1, 2, 3]).unwrap(), all_chosen(&next, &[1, 2, 3]));
    assert_eq!((requests(&server), spent(&next).calls, spent(&next).in_batches), (vec![3], 3, 0));
}

#[test]
fn two_runs_at_once_submit_nothing_twice() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let found = std::thread::scope(|scope| {
        let work = |numbers: &'static [usize]| {
            let (folder, server) = (&folder, &server);
            scope.spawn(move || outcomes(&run(folder, server), numbers).unwrap())
        };
        let runs = [work(&[1, 2, 3]), work(&[2, 3, 4])];
        runs.map(|run| run.join().unwrap())
    });
    let last = run(&folder, &server);
    assert_eq!(found, [all_chosen(&last, &[1, 2, 3]), all_chosen(&last, &[2, 3, 4])]);
    let mut keys: Vec<String> =
        server.batches().iter().flat_map(|batch| batch.requests.iter().map(|(id, _)| id.clone())).collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), all), (4, 4));
    assert_eq!((spent(&last).calls, spent(&last).in_batches), (4, 0));
}

#[test]
fn a_budget_splits_a_batch_and_holds_between_submission_and_intake() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let limited = |more: Value| run_with(&folder, &server, more);
    let first = limited(json!({ "max_calls": 2, "batch": { "detach": true } }));
    assert!(outcomes(&first, &[1, 2, 3]).unwrap_err().is::<Submitted>());
    // The limit is lowered before the intake: what is submitted is taken in, and nothing more is submitted.
    let error = outcomes(&limited(json!({ "max_calls": 1 })), &[1, 2, 3]).unwrap_err();
    assert!(error.is::<BudgetExhausted>() && error.to_string().starts_with("`max_calls: 1` is used up"), "{error:#}");
    let raised = limited(json!({ "budget_usd": 1.0 }));
    assert_eq!(outcomes(&raised, &[1, 2, 3]).unwrap(), all_chosen(&raised, &[1, 2, 3]));
    assert_eq!(requests(&server), [2, 1]);
    // A reservation that leaves no room is no end while its batch is in flight: the actual cost is lower.
    let worst = raised.llm.choice(&question(4)).unwrap().worst();
    let cost = raised.llm.budget.batch_cost(worst).unwrap() as f64 / 1e9;
    let usd = spent(&raised).usd();
    let tight = limited(json!({ "budget_usd": usd + 1.9 * cost }));
    assert_eq!(outcomes(&tight, &[4, 5]).unwrap(), all_chosen(&tight, &[4, 5]));
    assert_eq!(requests(&server), [2, 1, 1, 1]);
}

#[test]
fn many_requests_are_several_batches() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let small = run_with(&folder, &server, json!({ "batch": { "max_requests": 2 } }));
    let numbers = [1, 2, 3, 4, 5];
    assert_eq!(outcomes(&small, &numbers).unwrap(), all_chosen(&small, &numbers));
    assert_eq!(requests(&server), [2, 2, 1]);
}

#[test]
fn a_server_without_batches_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // As llama.cpp's server answers.
    let body = r#"{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}"#;
    for status in [404, 405, 501] {
        let server = MockServer::start(move |_, _| Some(response(status, "", body)));
        let server = BatchServer { mock: server, state: self::server().state };
        let run = run(&folder, &server);
        let error = format!("{:#}", outcomes(&run, &[1]).unwrap_err());
        let said = format!(
            "{}/files answered {status}: {body}\nhelp: the server has no batch API of this form: leave out `llm.openai.batch`",
            server.mock.base_url
        );
        assert!(error.contains(&said), "{error}");
        assert_eq!((spent(&run).calls, server.mock.received().len()), (0, 1), "nothing is reserved");
    }
}

#[test]
fn refusals_of_a_submission_keep_the_key_to_themselves_and_release_the_reservation() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    let secret = std::env::var(SECRET).unwrap();
    for (status, expected) in
        [(401, "check that `PATH` holds a key"), (400, "answered 400: no: ${env:PATH}"), (402, "credit")]
    {
        server.trouble("POST /v1/batches", Some(response(status, "", &format!("no: {secret}"))));
        let run = run(&folder, &server);
        let error = outcomes(&run, &[1]).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains(expected) && !message.contains(&secret), "{message}");
        assert_eq!(error.is::<BudgetExhausted>(), status == 402, "{message}");
        assert_eq!((spent(&run).calls, requests(&server).len()), (0, 0));
    }
    server.trouble("POST /v1/files", Some(response(429, "", "slow down")));
    let next = run(&folder, &server);
    assert_eq!(outcomes(&next, &[1]).unwrap(), all_chosen(&next, &[1]), "a pause and another attempt");
}

#[test]
fn a_batch_that_ends_otherwise_is_taken_in_and_said() {
    let numbers = [1, 2];
    for (status, expected) in [
        ("failed", "failed as a whole: too_large: the file has too many lines\nhelp: nothing was billed"),
        ("cancelled", "was cancelled; 2 of its 2 requests were answered and are taken in\nhelp: run again"),
    ] {
        let (folder, server) = (tempfile::tempdir().unwrap(), server());
        server.set_next_status(status);
        let first = run(&folder, &server);
        let error = format!("{:#}", outcomes(&first, &numbers).unwrap_err());
        assert!(error.contains(expected), "{error}");
        let answered = if status == "failed" { 0 } else { 2 };
        assert_eq!((spent(&first).calls, spent(&first).in_batches), (answered, 0));
        server.set_next_status("completed");
        let next = run(&folder, &server);
        assert_eq!(outcomes(&next, &numbers).unwrap(), all_chosen(&next, &numbers));
        assert_eq!(requests(&server), if status == "failed" { vec![2, 2] } else { vec![2] });
    }
    // What expires is asked again in the next batch, as often as `max_retries` says.
    let folder = tempfile::tempdir().unwrap();
    let server = BatchServer::start(|_| Line::Expired, |_| response(500, "", ""));
    server.set_next_status("expired");
    let run = run(&folder, &server);
    let found = outcomes(&run, &numbers).unwrap();
    assert!(
        found.iter().all(|found| found
            .as_ref()
            .unwrap_err()
            .ends_with("has no answer: batch_expired: not in time (2 batches)")),
        "{found:?}"
    );
    assert_eq!((requests(&server), spent(&run).calls), (vec![2, 2], 0));
}

#[test]
fn failures_stay_over_detached_runs_and_are_asked_again_by_the_next_result() {
    let folder = tempfile::tempdir().unwrap();
    let bad = std::sync::Arc::new(Mutex::new(true));
    let still = bad.clone();
    let server = BatchServer::start(
        move |body| match body["messages"].to_string().contains("\"xx\\nCandidates") && *still.lock().unwrap() {
            true => Line::Refusal(400, json!({ "error": { "message": "too long" } })),
            false => Line::Answer(completion(body)),
        },
        |_| response(500, "", ""),
    );
    let run = || run_with(&folder, &server, json!({ "batch": { "detach": true } }));
    // Work of two turns: the second one is asked whether or not the first fails.
    let work = |run: &Run| {
        let cache = super::super::super::CachedLlm::new(&run.llm, run.values.clone());
        cache.ask_all(&[1, 2], &run.cx, |&number| {
            let conversations = run.llm.conversations("")?;
            let choose =
                |number| Ok::<_, anyhow::Error>(cache.choose(&mut *conversations(), &question(number))?.0.index);
            let first = choose(number)?;
            Ok((first.is_some(), choose(number + 10)?.is_some()))
        })
    };
    for expected in [[2].as_slice(), &[2, 2]] {
        assert!(work(&run()).unwrap_err().is::<Submitted>());
        assert_eq!(requests(&server), expected);
    }
    assert_eq!(work(&run()).unwrap(), [(true, true), (false, true)]);
    // The stage is over, so the next run asks again what failed, and nothing else.
    *bad.lock().unwrap() = false;
    assert!(work(&run()).unwrap_err().is::<Submitted>());
    assert_eq!(requests(&server), [2, 2, 1]);
    assert_eq!(work(&run()).unwrap(), [(true, true), (true, true)]);
}

#[test]
fn when_every_request_of_the_first_batch_fails_it_is_not_the_requests() {
    let folder = tempfile::tempdir().unwrap();
    let rejected = json!({ "error": { "message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens" } });
    for (status, body, expected) in [
        (400, json!({ "error": { "message": "no" } }), "all of the first 6 calls failed, the last one: the batch"),
        (400, rejected, "rejects requests: the batch `batch_0` at"),
        (401, json!({ "error": { "message": "no" } }), "help: check that `PATH` holds a key"),
    ] {
        let answer = body.clone();
        let server = BatchServer::start(move |_| Line::Refusal(status, answer.clone()), |_| response(500, "", ""));
        let run = run(&folder, &server);
        let error = format!("{:#}", outcomes(&run, &[1, 2, 3, 4, 5, 6]).unwrap_err());
        assert!(error.contains(expected), "{error}");
        if body["error"]["param"] == "max_tokens" {
            assert!(error.contains("help: the server rejects `max_tokens`: set `max_tokens_field"), "{error}");
        }
        assert_eq!(spent(&run).calls, 0);
    }
}

#[test]
fn results_without_sense_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let answer = json!({ "status_code": 200, "body": completion(&json!({})) });
    let twice = format!("{{\"custom_id\":\"CUSTOM_ID\",\"response\":{answer}}}\n").repeat(2);
    let huge = format!("{}\n", "x".repeat(600_000));
    let lines = Mutex::new(vec![twice, huge, "\u{0}\u{1b}[31m\n{\"custom_id\":7}\n[[[[[\n".into()]);
    let server = BatchServer::start(
        move |body| lines.lock().unwrap().pop().map_or_else(|| Line::Answer(completion(body)), Line::Raw),
        |_| response(500, "", ""),
    );
    let run = run(&folder, &server);
    let found = outcomes(&run, &[1, 2, 3]).unwrap();
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert_eq!(requests(&server), [3, 2]);
    // Of a completed batch, what has no line counts at its highest cost.
    assert_eq!((spent(&run).calls, spent(&run).in_batches), (5, 0));
}

#[test]
fn ids_that_are_no_ids_go_into_no_path() {
    let server = MockServer::start(|_, _| Some(response(200, "", r#"{"id":"../../admin?x","status":"completed"}"#)));
    let server = BatchServer { mock: server, state: self::server().state };
    let folder = tempfile::tempdir().unwrap();
    let error = format!("{:#}", outcomes(&run(&folder, &server), &[1]).unwrap_err());
    assert!(error.contains("names a file or a batch `../../admin?x`, which is no id"), "{error}");
    assert_eq!(server.mock.received().len(), 1);
}

#[test]
fn a_batch_is_cancelled_or_given_up() {
    let (folder, server) = (tempfile::tempdir().unwrap(), server());
    server.set_next_status("in_progress");
    let detached = || run_with(&folder, &server, json!({ "batch": { "detach": true } }));
    assert!(outcomes(&detached(), &[1, 2]).unwrap_err().is::<Submitted>());
    let cancel = |numbers: &[usize]| {
        outcomes(&run_with(&folder, &server, json!({ "batch": { "cancel": true } })), numbers).unwrap_err().to_string()
    };
    let error = cancel(&[1, 2, 3]);
    assert!(error.contains(" any more: 1 were cancelled") && error.contains("help: set `cancel: false`"), "{error}");
    assert!(paths(&server).contains(&"POST /v1/batches/batch_0/cancel".to_owned()));
    let next = run(&folder, &server);
    assert_eq!((spent(&next).calls, spent(&next).in_batches), (2, 0));
    server.set_next_status("completed");
    assert_eq!(outcomes(&next, &[1, 2, 3]).unwrap(), all_chosen(&next, &[1, 2, 3]));
    assert_eq!(requests(&server), [2, 1], "what the cancelled batch had answered is kept");
    // One that the server has forgotten.
    assert!(outcomes(&detached(), &[4]).unwrap_err().is::<Submitted>());
    server.state.lock().unwrap().batches.pop();
    let error = format!("{:#}", outcomes(&detached(), &[4]).unwrap_err());
    assert!(error.contains("does not know the batch `batch_2`") && error.contains("cancel: true"), "{error}");
    assert!(cancel(&[4]).contains(" 1 were cancelled"));
    assert_eq!((spent(&next).calls, spent(&next).in_batches), (4, 0), "it counts");
    assert_eq!(outcomes(&next, &[4]).unwrap(), all_chosen(&next, &[4]));
}
