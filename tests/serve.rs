//! Policies behind HTTP: `apprentice serve`, asked by a client of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::project::{Project, text};
use crate::service::Service;

/// Whether two answers name the same items. Scores of a batch round otherwise than those of one question.
#[track_caller]
fn assert_alike(found: &Value, wanted: &Value) {
    let items = |answer: &Value| answer.as_array().unwrap_or_else(|| panic!("{answer}")).clone();
    let (found, wanted) = (items(found), items(wanted));
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!((&found["id"], &found["title"]), (&wanted["id"], &wanted["title"]));
        let [score, other] = [found, wanted].map(|item| item["score"].as_f64().unwrap());
        assert!((score - other).abs() < 1e-4, "{score} and {other}");
    }
}

pub fn trained() -> Project {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "-q"]);
    project
}

/// A trained policy as a file of the project.
pub fn copied(project: &Project, seed: usize, name: &str) {
    fs::copy(project.path(&format!("artifacts/smoke/policy@seed={seed}/policy.safetensors")), project.path(name))
        .unwrap();
}

#[test]
fn a_service_answers_as_the_command_line_does() {
    let project = trained();
    let service = Service::start(&project, &["policy@seed=0", "--exclude-history", "-n", "4"]);
    let asked =
        ["recommend", "policy@seed=0", "--user", "3", "--history", "7", "-n", "4", "--exclude-history", "--json"];
    let wanted = project.ok(&asked).json()["answer"]["items"].clone();
    let (status, answer) = service.ask(&json!({ "user": 3, "history": ["7"] }));
    assert_eq!((status, &answer["policy"]), (200, &json!("policy@seed=0")));
    assert_alike(&answer["items"], &wanted);

    let (status, answers) = service.ask(&json!([{ "user": "3", "history": [7] }, { "user": "zoe", "top_k": 2 }, {}]));
    assert_eq!(status, 200);
    assert_alike(&answers[0]["items"], &wanted);
    assert_eq!((&answers[1]["new_user"], answers[1]["items"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(answers[2]["items"].as_array().unwrap()[..2], answers[1]["items"].as_array().unwrap()[..]);
    assert_eq!(service.ask(&json!([])), (200, json!([])));

    let health: Value = serde_json::from_str(&service.send("GET", "/health", b"").1).unwrap();
    assert_eq!((&health["status"], &health["policies"][0]["policy"]["users"]), (&json!("ok"), &json!(40)));
    let metrics = service.metrics();
    for line in [
        "apprentice_requests_total{status=\"200\"} 3",
        "apprentice_questions_total 4",
        "apprentice_new_users_total 2",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[test]
fn what_cannot_be_answered_gets_a_reason_and_the_service_goes_on() {
    let project = trained();
    let limits = ["--max-body", "2000", "--max-questions", "3"];
    let service = Service::start(&project, &[&["policy@seed=0"], &limits[..]].concat());
    let refused = |body: &[u8], status: u16, part: &str| {
        let (found, said) = service.send("POST", "/recommend", body);
        let said: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{found}: {said}"));
        assert!(found == status && text(&said["error"]).contains(part), "{found}: {said}");
        assert!(said.get("help").is_some());
    };
    refused(b"", 400, "expected an object");
    refused(b"{\"user\": ", 400, "EOF");
    refused(b"\xff\xfe", 400, "expected an object");
    refused(b"{\"usr\": 3}", 400, "unknown field `usr`");
    refused(b"[{}, {\"top_k\": 0}]", 400, "question 1: `top_k` is 0");
    refused(b"{\"history\": [\"Heat\"]}", 422, "no item \"Heat\"");
    refused(b"[{}, {\"exclude\": [\"Heat\"]}]", 422, "question 1: the policy's catalogue has no item");
    refused(b"[{}, {}, {}, {}]", 413, "4 questions in one request, of 3 at most");
    refused(&[b' '; 2001], 413, "2000 bytes at most");
    // Ten megabytes are refused by their size alone.
    assert!(matches!(service.send("POST", "/recommend", &vec![b'['; 10_000_000]).0, 413 | 0));
    assert_eq!(service.send("GET", "/recommend", b"").0, 405);
    assert_eq!(service.send("GET", "/nothing", b"").0, 404);
    assert_eq!(service.ask(&json!({ "user": "3" })).0, 200);
    let metrics = service.metrics();
    assert!(metrics.contains("apprentice_requests_total{status=\"422\"} 2"), "{metrics}");
    assert!(metrics.contains("apprentice_requests_at_work 0"), "{metrics}");

    let wrong = |args: &[&str], parts: &[&str]| {
        project.run(&[&["serve"], args].concat()).ends_with(2).says(parts);
    };
    wrong(&["policy@seed=0", "--split", "0.9,0.1"], &["2 shares for 1 policies", "help: "]);
    wrong(&["policy@seed=0", "policy@seed=1", "--split", "0.9,0.2"], &["sum to 1.1"]);
    wrong(&["score.metrics"], &["is of kind `metrics`, not a policy"]);
    let port = service.address.rsplit(':').next().unwrap();
    wrong(&["policy@seed=0", "--port", port], &["cannot listen on 127.0.0.1", "--port 0"]);
}

#[test]
fn two_policies_share_the_users_and_a_changed_file_is_read_again() {
    let project = trained();
    copied(&project, 0, "a.safetensors");
    copied(&project, 1, "b.safetensors");
    let service = Service::start(&project, &["a.safetensors", "b.safetensors", "--split", "0.5,0.5"]);
    let users: Vec<Value> = (0..40).map(|user| json!({ "user": user })).collect();
    let by = |answers: &Value| {
        answers.as_array().unwrap().iter().map(|answer| text(&answer["policy"]).to_owned()).collect::<Vec<_>>()
    };
    let (status, answers) = service.ask(&json!(users));
    assert_eq!(status, 200);
    let first = by(&answers);
    assert!((10..=30).contains(&first.iter().filter(|name| *name == "a.safetensors").count()), "{first:?}");
    for (user, (name, answer)) in first.iter().zip(answers.as_array().unwrap()).enumerate().take(6) {
        let alone = service.ask(&users[user]).1;
        assert_eq!(text(&alone["policy"]), *name);
        assert_alike(&alone["items"], &answer["items"]);
        let wanted = project.ok(&["recommend", name, "--user", &user.to_string(), "--json"]).json();
        assert_alike(&alone["items"], &wanted["answer"]["items"]);
    }

    // Somebody asks all the time while the file becomes another policy, then no policy, then is gone.
    let until = |part: &str| service.until(part, &users[3]);
    fs::rename(project.path("b.safetensors"), project.path("a.safetensors")).unwrap();
    until("apprentice_reloads_total 1");
    let health: Value = serde_json::from_str(&service.send("GET", "/health", b"").1).unwrap();
    assert_eq!(health["policies"][0]["digest"], health["policies"][1]["digest"]);
    fs::write(project.path("a.safetensors"), b"no policy").unwrap();
    until("apprentice_failed_reloads_total 1");
    fs::remove_file(project.path("a.safetensors")).unwrap();
    let after = service.ask(&json!(users));
    assert_eq!((after.0, by(&after.1)), (200, first));
}

#[test]
fn a_signal_ends_it_after_open_requests() {
    let project = trained();
    let mut service = Service::start(&project, &["policy@seed=0"]);
    // A request whose body comes in two parts, with the signal between them.
    let mut open = TcpStream::connect(&service.address).unwrap();
    open.write_all(b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{\"user\":").unwrap();
    thread::sleep(Duration::from_millis(200));
    let killed = Command::new("kill").args(["-TERM", &service.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    thread::sleep(Duration::from_millis(300));
    open.write_all(b" \"3\"}").unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(service.child.wait().unwrap().success());
    assert!(TcpStream::connect(&service.address).is_err());
}
