//! The provider against a server that answers as it should, or refuses as servers do.

use pipeline::{BudgetExhausted, Secret, Unreachable};
use tempfile::TempDir;

use super::super::conformance::{conforms, request};
use super::mock_server::{MockServer, response};
use super::*;

/// Set wherever programs run, and not to be found in an answer by chance.
pub(super) const SECRET: &str = "PATH";

fn config(server: &MockServer) -> OpenaiConfig {
    let fields = json!({ "base_url": server.base_url, "model": "m", "api_key": Secret::of(SECRET), "max_retries": 2 });
    serde_json::from_value(fields).unwrap()
}

/// With a ledger of its own, and without sleep.
fn open(config: &OpenaiConfig) -> (TempDir, OpenaiLlm) {
    let folder = tempfile::tempdir().unwrap();
    let mut remote = config.open(&folder.path().join("ledger"), Cancel::default()).unwrap();
    remote.sleep.sleep = |_| {};
    (folder, remote)
}

fn remote(server: &MockServer) -> (TempDir, OpenaiLlm) {
    open(&config(server))
}

fn completion(content: &str) -> String {
    let choice = json!({ "message": { "role": "assistant", "content": content }, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42 });
    response(200, "", &json!({ "choices": [choice], "usage": usage }).to_string())
}

fn choose_once(remote: &OpenaiLlm) -> Result<Answer> {
    let conversations = remote.conversations("").unwrap();
    conversations().choose(&request(&["Be brief.\n", "Shown: Alien.\n"], &["Heat", "Fargo"]))
}

#[test]
fn it_conforms() {
    // Answers by the length of the question, so that different ones get different answers.
    let server = MockServer::start(|_, body| Some(completion(&format!("{}", 1 + body.len() % 2))));
    conforms(&remote(&server).1);
}

#[test]
fn what_is_sent_and_what_is_kept() {
    let server = MockServer::start(|_, _| Some(completion("2.")));
    let (_ledger, remote) = remote(&server);
    let answer = choose_once(&remote).unwrap();
    let stored = r#"{"reply":"2.","finish_reason":"stop","usage":{"prompt_tokens":40,"completion_tokens":2}}"#;
    assert_eq!(answer, Answer { text: stored.into(), tokens: 42 });
    assert_eq!(remote.count_tokens("", stored).unwrap(), Some(crate::llm::TokenUsage { prompt: 40, completion: 2 }));
    let received = &server.received()[0];
    let secret = std::env::var(SECRET).unwrap();
    assert!(received.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
    assert!(received.head.contains(&format!("authorization: Bearer {secret}\r\n")));
    let body: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(
        body,
        json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "Be brief.\nAnswer with the number of your choice and nothing else." },
                { "role": "user", "content": "Shown: Alien.\nCandidates:\n1. Heat\n2. Fargo\nNext:" },
            ],
            "max_tokens": 8,
            "temperature": 0.0,
        })
    );
    let server = &server.base_url;
    assert_eq!(
        remote.identity(),
        format!(r#"{{"provider":"openai","form":2,"server":"{server}","model":"m","max_tokens":8,"temperature":0}}"#)
    );
}

#[test]
fn passing_trouble_is_tried_again() {
    let server = MockServer::start(|number, _| match number {
        0 => Some(response(429, "retry-after: 7\r\n", "slow down")),
        1 => None,
        _ => Some(completion("1")),
    });
    assert!(choose_once(&remote(&server).1).is_ok());
    assert_eq!(server.received().len(), 3);
}

#[test]
fn a_server_that_stays_away_is_unreachable() {
    let busy = MockServer::start(|_, _| Some(response(503, "", "over\nloaded")));
    let error = choose_once(&remote(&busy).1).unwrap_err();
    let url = format!("{}/chat/completions", busy.base_url);
    assert!(error.is::<Unreachable>());
    assert!(error.to_string().starts_with(&format!("{url} answered 503: over loaded (3 attempts)\nhelp: ")), "{error}");
    let silent = MockServer::start(|_, _| None);
    let error = choose_once(&remote(&silent).1).unwrap_err();
    assert!(error.is::<Unreachable>() && error.to_string().contains("does not answer"), "{error}");
    assert_eq!(silent.received().len(), 3);
    let later = MockServer::start(|_, _| Some(response(429, "retry-after: 3600\r\n", "")));
    let error = choose_once(&remote(&later).1).unwrap_err();
    assert!(error.is::<Unreachable>() && error.to_string().contains("a pause of 3600 s"), "{error}");
    assert_eq!(later.received().len(), 1);
}

#[test]
fn a_refusal_is_final_and_keeps_the_key_to_itself() {
    for (status, help) in [(400, ""), (401, "help: check that `PATH`"), (402, "credit"), (403, "`PATH`"), (404, "`m`")]
    {
        let server = MockServer::start(move |_, _| {
            Some(response(status, "", &format!("not with {}", std::env::var(SECRET).unwrap())))
        });
        let error = format!("{:#}", choose_once(&remote(&server).1).unwrap_err());
        assert!(
            error.contains(&format!("answered {status}: not with ${{env:PATH}}")) && error.contains(help),
            "{error}"
        );
        assert_eq!(server.received().len(), 1, "{status} is not tried again");
    }
}

#[test]
fn a_missing_key_names_its_variable() {
    let server = MockServer::start(|_, _| Some(completion("1")));
    let named = OpenaiConfig { api_key: Some(Secret::of("NO_SUCH_KEY_IS_SET")), ..config(&server) };
    let error = format!("{:#}", choose_once(&open(&named).1).unwrap_err());
    assert!(error.contains(": the environment variable `NO_SUCH_KEY_IS_SET` is not set\nhelp: "), "{error}");
    assert!(server.received().is_empty());
    let none = OpenaiConfig { api_key: None, ..named };
    assert!(choose_once(&open(&none).1).is_ok());
    assert!(!server.received()[0].head.to_lowercase().contains("authorization"));
}

#[test]
fn an_empty_account_is_a_quota_and_other_refusals_are_about_one_question() {
    for (status, body) in [(402, "pay"), (429, r#"{"error":{"code":"insufficient_quota"}}"#)] {
        let server = MockServer::start(move |_, _| Some(response(status, "", body)));
        let error = choose_once(&remote(&server).1).unwrap_err();
        assert!(error.is::<BudgetExhausted>() && error.to_string().contains("\nhelp: the account"), "{error:#}");
        assert_eq!(server.received().len(), 1);
    }
    let server = MockServer::start(|_, _| Some(response(400, "", "too\nlong")));
    let failed = choose_once(&remote(&server).1).unwrap_err().downcast::<FailedCall>().unwrap();
    assert_eq!((failed.status, failed.raw.as_str()), (Some(400), "too long"));
}

#[test]
fn an_answer_that_is_none_is_a_failed_call_that_was_paid_for() {
    let of = |choice: Value| {
        response(
            200,
            "",
            &json!({ "choices": [choice], "usage": { "prompt_tokens": 40, "completion_tokens": 2 } }).to_string(),
        )
    };
    for (choice, expected, attempts) in [
        (json!({ "message": { "content": null }, "finish_reason": "stop" }), "the answer is empty (`stop`)", 1),
        (
            json!({ "message": { "content": "" }, "finish_reason": "length" }),
            "(`length`)\nhelp: raise the token limit",
            1,
        ),
        (
            json!({ "message": { "content": null, "refusal": "no" }, "finish_reason": "content_filter" }),
            "the model refused: no",
            1,
        ),
        (json!({ "message": { "content": "<think>Okay" }, "finish_reason": "length" }), "an unfinished thought", 1),
        (json!({ "message": { "content": "hm" }, "finish_reason": "stop" }), "the reply names no option: hm", 1),
        (json!({ "message": { "content": "2, 1" }, "finish_reason": "stop" }), "more than one option", 1),
        (
            json!({ "message": { "content": "" }, "finish_reason": "error", "error": { "message": "died" } }),
            "broke off with an error: died",
            3,
        ),
    ] {
        let answer = of(choice);
        let server = MockServer::start(move |_, _| Some(answer.clone()));
        let (_ledger, remote) = remote(&server);
        let failed = choose_once(&remote).unwrap_err().downcast::<FailedCall>().unwrap();
        assert!(failed.reason.contains(expected) && failed.status == Some(200), "{failed:?}");
        assert_eq!(server.received().len(), attempts, "{expected}");
        assert_eq!(remote.budget.spent().unwrap().calls, attempts as u64, "{expected}");
    }
}

#[test]
fn an_option_is_scored_where_the_reply_names_it() {
    let server = MockServer::start(|_, _| {
        let place = |token: &str, top: Value| json!({ "token": token, "logprob": -0.1, "top_logprobs": top });
        let mark = json!([{ "token": "**", "logprob": -0.01 }, { "token": "A", "logprob": -9.0 }]);
        let letter = json!([{ "token": "B", "logprob": -0.2 }, { "token": " A", "logprob": -2.5 }]);
        let places = [place("**", mark.clone()), place("B", letter), place("**", mark)];
        let choice =
            json!({ "message": { "content": "**B**" }, "finish_reason": "stop", "logprobs": { "content": places } });
        Some(response(200, "", &json!({ "choices": [choice] }).to_string()))
    });
    let (_ledger, remote) = open(&OpenaiConfig { logprobs: true, ..config(&server) });
    let answer = choose_once(&remote).unwrap();
    let choice = request(&["Be brief.\n", "Shown: Alien.\n"], &["Heat", "Fargo"]);
    assert_eq!(
        remote.parse_choice(&choice, &answer.text, &[]).unwrap(),
        ParsedChoice { index: Some(1), scores: vec![-2.5, -0.2] }
    );
}

#[test]
fn a_redirect_takes_the_question_along() {
    for status in [301, 302, 307, 308] {
        let server = MockServer::start(move |number, _| match number {
            0 => Some(response(status, "location: /r/v1/chat/completions\r\n", "")),
            _ => Some(completion("2")),
        });
        choose_once(&remote(&server).1).unwrap();
        let [first, second] = &server.received()[..] else { panic!("two requests") };
        assert!(
            second.head.starts_with("POST /r/v1/chat/completions ") && second.body == first.body,
            "{}",
            second.head
        );
        assert!(second.head.contains("authorization: Bearer "));
    }
    for (status, to) in [(303, "/v1/other"), (307, "http://127.0.0.1:1/v1"), (307, "")] {
        let server = MockServer::start(move |_, _| Some(response(status, &format!("location: {to}\r\n"), "")));
        let error = choose_once(&remote(&server).1).unwrap_err().to_string();
        assert!(
            error.contains(&format!("answered {status}: it redirects to ")) && error.contains("\nhelp: set `base_url`"),
            "{error}"
        );
        assert_eq!(server.received().len(), 1);
    }
}

#[test]
fn a_key_that_no_header_can_hold_is_refused_before_anything_is_sent() {
    // Set wherever the tests run by cargo, and more than one line long.
    let variable = std::env::vars().find(|(_, value)| value.len() > 8 && !value.is_ascii() || value.contains('\n'));
    let server = MockServer::start(|_, _| Some(completion("1")));
    for (value, holds) in
        [("k-secret\n", "a line break"), ("k-secret\u{2019}", "a character outside ASCII"), ("k\tsecret", "a control")]
    {
        assert!(http::check_header_value(value).unwrap_err().contains(holds), "{holds}");
    }
    assert_eq!(http::check_header_value("sk-1 \"2\""), Ok(()));
    if let Some((name, value)) = variable {
        let named = OpenaiConfig { api_key: Some(Secret::of(&name)), ..config(&server) };
        let error = format!("{:#}", choose_once(&open(&named).1).unwrap_err());
        assert!(error.contains(&format!("`{name}` holds a ")) && !error.contains(&value), "{error}");
        assert!(server.received().is_empty());
    }
}

#[test]
fn a_server_is_spoken_to_as_it_wants() {
    let server = MockServer::start(|_, _| Some(completion("1")));
    let wants = json!({
        "base_url": server.base_url, "model": "m", "api_key": null,
        "max_tokens_field": "max_completion_tokens", "system_role": "user", "leave_out": ["temperature"],
    });
    let (_ledger, remote) = open(&serde_json::from_value(wants).unwrap());
    choose_once(&remote).unwrap();
    let body: Value = serde_json::from_str(&server.received()[0].body).unwrap();
    let prompt = "Be brief.\nAnswer with the number of your choice and nothing else.\nShown: Alien.\nCandidates:\n1. Heat\n2. Fargo\nNext:";
    assert_eq!(
        body,
        json!({ "model": "m", "max_completion_tokens": 8, "messages": [{ "role": "user", "content": prompt }] })
    );
    let accent = r#""temperature":0,"max_tokens_field":"max_completion_tokens","system_role":"user","leave_out":["temperature"]}"#;
    assert!(remote.identity().ends_with(accent), "{}", remote.identity());
}

#[test]
fn a_budget_holds_over_all_runs() {
    let server = MockServer::start(|_, _| Some(completion("1")));
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (1.0, 10.0);
    let open = |budget_usd: f64| {
        let priced =
            OpenaiConfig { prices: Some(Prices { input, output }), budget_usd: Some(budget_usd), ..config(&server) };
        priced.open(&folder.path().join("ledger"), Cancel::default()).unwrap()
    };
    // An answer costs 40 + 2 · 10 microdollars; at its worst one of these costs about four times as much.
    let mut calls = 0;
    let mut error = None;
    while error.is_none() {
        error = choose_once(&open(0.001)).err();
        calls += usize::from(error.is_none());
    }
    let error = error.unwrap();
    assert!(error.is::<BudgetExhausted>() && error.to_string().contains("\nhelp: raise `budget_usd`"), "{error:#}");
    assert!((10..=16).contains(&calls) && server.received().len() == calls, "{calls} calls");
    let spent = open(0.001).budget.spent().unwrap();
    assert_eq!((spent.calls, spent.nano_usd), (calls as u64, calls as u64 * 60_000));
    assert_eq!(
        open(0.001).spending().unwrap().unwrap(),
        format!("{calls} calls, {} + {} tokens and {:.6} USD in all runs", 40 * calls, 2 * calls, 6e-5 * calls as f64)
    );
    choose_once(&open(0.002)).unwrap();
}

#[test]
fn a_limit_of_calls_counts_answers_and_not_refusals() {
    let server = MockServer::start(|number, _| match number {
        0 | 2 => Some(response(503, "", "busy")),
        _ => Some(completion("1")),
    });
    let few = OpenaiConfig { max_calls: Some(2), ..config(&server) };
    let (_ledger, remote) = open(&few);
    choose_once(&remote).unwrap();
    choose_once(&remote).unwrap();
    assert!(choose_once(&remote).unwrap_err().is::<BudgetExhausted>());
    assert_eq!(server.received().len(), 4, "two refusals and two answers");
}

#[test]
fn nothing_that_was_never_sent_is_counted() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fields = json!({ "base_url": format!("http://{closed}/v1"), "model": "m", "api_key": null, "max_retries": 1 });
    let config: OpenaiConfig = serde_json::from_value(fields).unwrap();
    let (_ledger, remote) = open(&config);
    assert!(choose_once(&remote).unwrap_err().is::<Unreachable>());
    assert_eq!(remote.budget.spent().unwrap(), budget::Spending::default());
}

#[test]
fn a_hundred_at_once_stay_within_the_limit_and_the_ledger_is_exact() {
    let server = MockServer::start(|number, _| match number % 7 {
        3 => Some(response(429, "retry-after: 0\r\n", "")),
        _ => Some(completion("1")),
    });
    let many = OpenaiConfig { max_calls: Some(150), max_retries: 20, ..config(&server) };
    let (_ledger, remote) = open(&many);
    let answered: usize = std::thread::scope(|scope| {
        let work = || (0..2).filter(|_| choose_once(&remote).is_ok()).count();
        let workers: Vec<_> = (0..100).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    let spent = remote.budget.spent().unwrap();
    assert_eq!((answered, spent.calls, spent.unknown), (150, 150, 0));
    assert_eq!(spent.tokens, TokenCount { prompt: 150 * 40, completion: 150 * 2 });
}

#[test]
fn letters_are_asked_for_and_scored() {
    let server = MockServer::start(|_, _| {
        let listed = json!([{ "token": "B", "logprob": -0.2 }, { "token": " A", "logprob": -2.5 }]);
        let place = json!({ "token": "B", "logprob": -0.2, "top_logprobs": listed });
        let choice =
            json!({ "message": { "content": "B" }, "finish_reason": "length", "logprobs": { "content": [place] } });
        Some(response(200, "", &json!({ "choices": [choice] }).to_string()))
    });
    let letters = OpenaiConfig { logprobs: true, ..config(&server) };
    let (_ledger, remote) = open(&letters);
    let answer = choose_once(&remote).unwrap();
    let choice = request(&["Be brief.\n", "Shown: Alien.\n"], &["Heat", "Fargo"]);
    assert_eq!(
        remote.parse_choice(&choice, &answer.text, &[]).unwrap(),
        ParsedChoice { index: Some(1), scores: vec![-2.5, -0.2] }
    );
    let body: Value = serde_json::from_str(&server.received()[0].body).unwrap();
    assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(20)));
    assert_eq!(body["messages"][1]["content"], "Shown: Alien.\nCandidates:\nA. Heat\nB. Fargo\nNext:");
    assert!(remote.identity().ends_with(r#""temperature":0,"logprobs":true}"#));
    let too_many = vec!["x"; 21];
    let error = remote.conversations("").unwrap()().choose(&request(&["a\n"], &too_many)).unwrap_err();
    assert!(error.to_string().starts_with("21 options"), "{error}");
}

#[test]
fn letters_conform_where_no_probabilities_are_offered() {
    let server = MockServer::start(|_, body| {
        let choice = if body.len() % 2 == 0 { "A" } else { "B." };
        Some(completion(if body.contains("whole number") { "3" } else { choice }))
    });
    conforms(&open(&OpenaiConfig { logprobs: true, ..config(&server) }).1);
}

#[test]
fn texts_become_vectors_in_batches() {
    let server = MockServer::start(|_, body| {
        let body: Value = serde_json::from_str(body).unwrap();
        let texts = body["input"].as_array().unwrap().iter().enumerate();
        let data: Vec<Value> = texts
            .map(|(index, text)| json!({ "index": index, "embedding": [text.as_str().unwrap().len(), 1] }))
            .collect();
        Some(response(200, "", &json!({ "data": data, "usage": { "prompt_tokens": 5 } }).to_string()))
    });
    let (_ledger, remote) = open(&OpenaiConfig { embedding_model: Some("e".into()), ..config(&server) });
    let texts: Vec<String> = (1..=100).map(|length| "x".repeat(length)).collect();
    let embedder = remote.embedder().unwrap();
    let Embeddings { vectors, tokens } = embedder.embed(&texts).unwrap();
    let expected: Vec<Vec<f32>> = (1..=100_u8).map(|length| vec![f32::from(length), 1.0]).collect();
    assert_eq!((vectors, tokens), (expected, 10));
    assert_eq!(server.received().len(), 2);
    assert!(server.received()[0].head.starts_with("POST /v1/embeddings "));
    assert!(embedder.embed(&["".into()]).is_err());
    assert!(embedder.space().contains(r#""embedding_model":"e""#));
    assert!(open(&config(&server)).1.embedder().is_none());
}

#[test]
fn the_pace_is_kept_over_all_threads() {
    let server = MockServer::start(|_, _| Some(completion("1")));
    let slow = OpenaiConfig { requests_per_minute: Some(1200.0), ..config(&server) };
    let folder = tempfile::tempdir().unwrap();
    let remote = slow.open(&folder.path().join("ledger"), Cancel::default()).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| choose_once(&remote).unwrap()))));
    assert!(start.elapsed().as_secs_f64() >= 7.0 * 0.05, "eight requests are seven pauses of 50 ms apart");
}
