//! Faulty servers: each leads to a clear error, in bounded time and memory.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use pipeline::{Secret, Unreachable};
use serde_json::json;

use super::super::conformance::request;
use super::mock_server::{MockServer, response};
use super::*;

/// How long a server may take here.
const TIMEOUT: Duration = Duration::from_millis(400);
/// How long the whole request may take, with two attempts and room for a busy machine.
const BOUND: Duration = Duration::from_secs(8);

/// The error after two attempts, and the ledger's sum.
fn request_error(server: &MockServer) -> (anyhow::Error, budget::Spending) {
    let folder = tempfile::tempdir().unwrap();
    let fields = json!({
        "base_url": server.base_url, "model": "m", "api_key": Secret::of("PATH"), "max_retries": 1,
        "timeout_seconds": TIMEOUT.as_secs_f64(),
    });
    let config: OpenaiConfig = serde_json::from_value(fields).unwrap();
    let mut remote = config.open(&folder.path().join("ledger"), Cancel::default()).unwrap();
    remote.sleep.sleep = |_| {};
    let start = Instant::now();
    let error = remote.conversations("").unwrap()().choose(&request(&["a\n"], &["x", "y"])).unwrap_err();
    assert!(start.elapsed() < BOUND, "{:?} for: {error:#}", start.elapsed());
    let message = format!("{error:#}");
    assert!(message.chars().count() < 1000 && !message.contains(&std::env::var("PATH").unwrap()), "{message}");
    (error, remote.budget.spent().unwrap())
}

/// Each attempt counts at its highest cost, because it may have been billed.
fn unreachable(server: &MockServer, expected: &str) {
    let (error, spent) = request_error(server);
    assert!(error.is::<Unreachable>() && error.to_string().contains(expected), "{error:#}");
    assert_eq!((spent.calls, spent.unknown), (2, 2), "{error:#}");
    assert_eq!(server.received().len(), 2);
}

/// Each attempt was answered and billed.
fn failed(server: &MockServer, expected: &str) -> FailedCall {
    let (error, spent) = request_error(server);
    let failed = error.downcast::<FailedCall>().unwrap();
    assert!(failed.reason.contains(expected) && failed.reason.contains(" (2 attempts)"), "{failed}");
    assert_eq!((spent.calls, spent.unknown), (2, 0), "{failed}");
    assert_eq!(failed.status, Some(200));
    failed
}

/// Sends pieces until the client closes the connection.
fn drip(stream: &mut TcpStream, head: &str, piece: &str, pause: Duration) {
    let mut going = stream.write_all(head.as_bytes());
    while going.is_ok() {
        going = stream.write_all(piece.as_bytes());
        std::thread::park_timeout(pause);
    }
}

#[test]
fn a_server_that_never_answers() {
    let server = MockServer::raw(|_, _, stream| drip(stream, "", "", Duration::from_secs(30)));
    unreachable(&server, "does not answer: timeout");
}

#[test]
fn a_head_that_never_ends() {
    let server = MockServer::raw(|_, _, stream| {
        drip(stream, "HTTP/1.1 200 OK\r\n", "x-more: and more\r\n", Duration::from_millis(5));
    });
    unreachable(&server, "does not answer");
    let fast = MockServer::raw(|_, _, stream| {
        drip(stream, "HTTP/1.1 200 OK\r\n", &format!("x: {}\r\n", "y".repeat(10_000)), Duration::ZERO);
    });
    unreachable(&fast, "does not answer");
}

#[test]
fn a_server_that_is_always_about_to_answer() {
    for (piece, pause) in [("HTTP/1.1 100 Continue\r\n\r\n", 5), ("HTTP/1.1 102 Processing\r\n\r\n", 0)] {
        let server = MockServer::raw(move |_, _, stream| drip(stream, "", piece, Duration::from_millis(pause)));
        let (error, _) = request_error(&server);
        assert!(error.is::<Unreachable>() || error.to_string().contains("answered 102"), "{error:#}");
    }
}

#[test]
fn lengths_without_sense() {
    for length in ["99999999999999999999999", "-1", "many", "9223372036854775807"] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{{}}");
        let server = MockServer::start(move |_, _| Some(head.clone()));
        let (error, _) = request_error(&server);
        let message = format!("{error:#}");
        assert!(
            ["does not answer", "cannot ask", "no chat completion"].iter().any(|part| message.contains(part)),
            "{message}"
        );
    }
}

#[test]
fn a_redirect_without_end() {
    let server = MockServer::start(|_, _| Some(response(302, "location: /v1/chat/completions\r\n", "")));
    let (error, _) = request_error(&server);
    assert!(server.received().len() <= 30, "{} requests", server.received().len());
    assert!(!error.to_string().is_empty());
}

#[test]
fn a_body_that_comes_letter_by_letter() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{";
    let server = MockServer::raw(move |_, _, stream| drip(stream, head, " ", Duration::from_millis(5)));
    unreachable(&server, "does not answer: timeout");
}

#[test]
fn chunks_that_never_end() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let slow = MockServer::raw(move |_, _, stream| drip(stream, head, "1\r\n \r\n", Duration::from_millis(5)));
    unreachable(&slow, "does not answer: timeout");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let fast = MockServer::raw(move |_, _, stream| drip(stream, head, &chunk, Duration::ZERO));
    let (error, _) = request_error(&fast);
    // Whichever limit it meets first.
    assert!(error.is::<FailedCall>() || error.is::<Unreachable>(), "{error:#}");
}

#[test]
fn a_connection_that_closes_in_the_middle() {
    for (sent, how) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\":", Shutdown::Write),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"choices\":", Shutdown::Both),
        ("HTTP/1.1 200 OK\r\ncontent-le", Shutdown::Both),
        ("", Shutdown::Write),
    ] {
        let server = MockServer::raw(move |_, _, stream| {
            let _ = stream.write_all(sent.as_bytes());
            let _ = stream.shutdown(how);
            std::thread::park_timeout(Duration::from_secs(2));
        });
        unreachable(&server, "does not answer");
    }
}

#[test]
fn no_http_at_all() {
    for garbage in ["\u{0}\u{1}\u{2} not http \r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "HTTP/9.9 banana\r\n\r\n"] {
        let server = MockServer::start(move |_, _| Some(garbage.into()));
        let (error, _) = request_error(&server);
        assert!(
            format!("{error:#}").contains("does not answer") || format!("{error:#}").contains("cannot ask"),
            "{error:#}"
        );
    }
}

#[test]
fn an_answer_of_ten_megabytes() {
    let body = format!(r#"{{"choices":[{{"message":{{"content":"{}"}}}}]}}"#, "x".repeat(10_000_000));
    let server = MockServer::start(move |_, _| Some(response(200, "", &body)));
    let failed = failed(&server, &format!("answered more than {} bytes", max_bytes(8)));
    assert_eq!(failed.raw, "");
}

#[test]
fn a_small_answer_that_unpacks_to_a_large_one() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..200 {
        packed.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let packed = packed.finish().unwrap();
    assert!(packed.len() < max_bytes(8) as usize, "{} bytes", packed.len());
    let server = MockServer::raw(move |_, _, stream| {
        let length = packed.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&packed));
    });
    failed(&server, &format!("answered more than {} bytes", max_bytes(8)));
}

#[test]
fn a_refusal_of_ten_megabytes_is_a_refusal() {
    let server = MockServer::start(|_, _| Some(response(401, "", &"x".repeat(10_000_000))));
    let (error, spent) = request_error(&server);
    assert!(error.to_string().contains("answered 401"), "{error:#}");
    assert_eq!((spent.calls, server.received().len()), (0, 1), "never again");
}

#[test]
fn garbage_wrong_types_and_missing_fields() {
    for (garbage, expected) in [
        ("<html><body><h1>Welcome</h1></body></html>", "<h1>Welcome</h1>"),
        ("", "answered: nothing"),
        ("null", "no chat completion"),
        ("{}", "missing field `choices`"),
        (r#"{"choices":[]}"#, "without choices"),
        (r#"{"choices":{}}"#, "no chat completion"),
        (r#"{"choices":[{}]}"#, "missing field `message`"),
        (r#"{"choices":[{"message":"2"}]}"#, "no chat completion"),
        (r#"{"choices":[{"message":{"content":2}}]}"#, "no chat completion"),
        (r#"{"choices":[{"message":{"content":"2"},"finish_reason":7}]}"#, "no chat completion"),
        (r#"{"choices":[{"message":{"content":"2"}"#, "no chat completion"),
        (r#"{"error":{"message":"overloaded"}}"#, "overloaded"),
    ] {
        let server = MockServer::start(move |_, _| Some(response(200, "", garbage)));
        let failed = failed(&server, expected);
        let raw = if garbage.is_empty() { "nothing" } else { garbage };
        assert_eq!(failed.raw, raw, "the response is stored");
    }
}

#[test]
fn nested_without_end() {
    let server = MockServer::start(|_, _| Some(response(200, "", &"[".repeat(200_000))));
    let failed = failed(&server, "no chat completion");
    assert_eq!(failed.raw.len(), 2000, "the beginning of it");
}

#[test]
fn bytes_that_are_no_text() {
    let server = MockServer::raw(|_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n\xff\xfe\x1b[");
    });
    let failed = failed(&server, "no chat completion");
    assert!(!failed.reason.contains('\u{1b}'), "{failed:?}");
}

#[test]
fn a_bill_without_sense_counts_at_its_worst() {
    let body = r#"{"choices":[{"message":{"content":"2"}}],"usage":{"prompt_tokens":"lots","completion_tokens":-3}}"#;
    let server = MockServer::start(move |_, _| Some(response(200, "", body)));
    let folder = tempfile::tempdir().unwrap();
    let config: OpenaiConfig =
        serde_json::from_value(json!({ "base_url": server.base_url, "model": "m", "api_key": null })).unwrap();
    let remote = config.open(&folder.path().join("ledger"), Cancel::default()).unwrap();
    let answer = remote.conversations("").unwrap()().choose(&request(&["a\n"], &["x", "y"])).unwrap();
    assert_eq!(answer.tokens, 0);
    let spent = remote.budget.spent().unwrap();
    assert!(spent.tokens.prompt > 100 && spent.tokens.completion == 8, "{spent:?}");
}

#[test]
fn a_redirect_does_not_take_the_key_elsewhere() {
    let thief = MockServer::start(|_, _| Some(response(200, "", "{}")));
    let to = format!("location: {}/steal\r\n", thief.base_url);
    let server = MockServer::start(move |_, _| Some(response(307, &to, "")));
    let (error, _) = request_error(&server);
    let secret = std::env::var("PATH").unwrap();
    assert!(thief.received().iter().all(|request| !request.head.contains(&secret)), "{error:#}");
}
