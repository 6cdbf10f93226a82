//! A local server with the batch API, which answers as a test specifies.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::mock_server::{MockServer, Received, response};

/// What a batch brings for a request.
pub(crate) enum Line {
    /// A chat completion.
    Answer(Value),
    /// A refusal with a status and a body.
    Refusal(u16, Value),
    /// It was not processed in time.
    Expired,
    /// These lines, whatever they are; `CUSTOM_ID` stands for its id.
    Raw(String),
}

/// A batch on the server.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub id: String,
    pub submission: String,
    /// The bodies of its requests by their id.
    pub requests: Vec<(String, Value)>,
    pub status: String,
    results: Option<String>,
}

/// What the server holds, and how it behaves.
pub(crate) struct State {
    files: BTreeMap<String, String>,
    pub batches: Vec<Batch>,
    /// The status that batches reach when they are looked at; `in_progress` holds them.
    pub next_status: &'static str,
    /// Requests to paths that begin so, with a method before, get this response; none breaks the connection behind the work.
    pub trouble: Vec<(&'static str, Option<String>)>,
}

/// The server.
pub(crate) struct BatchServer {
    pub mock: MockServer,
    pub state: Arc<Mutex<State>>,
}

impl BatchServer {
    /// `line` answers a request of a batch by its body, and `direct` any other request.
    pub fn start(
        line: impl Fn(&Value) -> Line + Send + Sync + 'static,
        direct: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let state = State { files: BTreeMap::new(), batches: vec![], next_status: "completed", trouble: vec![] };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let mock = MockServer::whole(move |_, request, stream| {
            let mut state = shared.lock().unwrap();
            let (method_and_path, path) = route(&request.head);
            let trouble = state.trouble.iter().position(|(prefix, _)| method_and_path.starts_with(prefix));
            let trouble = trouble.map(|at| state.trouble.remove(at).1);
            if let Some(Some(response)) = trouble {
                let _ = stream.write_all(response.as_bytes());
                return;
            }
            let reply = match path.as_str() {
                path if path.starts_with("/v1/files") || path.starts_with("/v1/batches") => {
                    state.reply(&method_and_path, request, &line)
                }
                _ => direct(&request.body),
            };
            if trouble.is_none() {
                // The client may be gone.
                let _ = stream.write_all(reply.as_bytes());
            }
        });
        Self { mock, state }
    }

    /// All batches so far.
    pub fn batches(&self) -> Vec<Batch> {
        self.state.lock().unwrap().batches.clone()
    }

    /// Changes what batches become when they are looked at.
    pub fn set_next_status(&self, status: &'static str) {
        self.state.lock().unwrap().next_status = status;
    }

    /// The next request that begins so, such as `POST /v1/batches`, gets `response`; with none it is carried out, and the connection
    /// breaks.
    pub fn trouble(&self, request: &'static str, response: Option<String>) {
        self.state.lock().unwrap().trouble.push((request, response));
    }
}

/// `POST /v1/files` and `/v1/files`.
fn route(head: &str) -> (String, String) {
    let line = head.lines().next().unwrap_or_default();
    let words: Vec<&str> = line.split(' ').collect();
    (words[..2].join(" "), words[1].to_owned())
}

fn ok(body: &Value) -> String {
    response(200, "", &body.to_string())
}

impl State {
    fn reply(&mut self, request: &str, received: &Received, line: &dyn Fn(&Value) -> Line) -> String {
        let no = || response(404, "", r#"{"error":{"message":"no such thing"}}"#);
        if request == "POST /v1/files" {
            let id = format!("file-{}", self.files.len());
            assert!(received.body.contains("name=\"purpose\"\r\n\r\nbatch\r\n"), "{}", received.body);
            let lines: Vec<&str> = received.body.lines().filter(|line| line.starts_with('{')).collect();
            self.files.insert(id.clone(), lines.join("\n"));
            return ok(&json!({ "id": id, "object": "file", "purpose": "batch" }));
        }
        if request == "POST /v1/batches" {
            return self.create(&received.body);
        }
        if request.starts_with("GET /v1/batches?") {
            let data: Vec<Value> = self.batches.iter().map(Batch::describe).collect();
            return ok(&json!({ "object": "list", "data": data, "has_more": false }));
        }
        if let Some(file) = request.strip_prefix("GET /v1/files/").and_then(|rest| rest.strip_suffix("/content")) {
            return self.files.get(file).map_or_else(no, |text| response(200, "", text));
        }
        let id = request.rsplit("/batches/").next().unwrap_or_default();
        let (id, cancels) = id.strip_suffix("/cancel").map_or((id, false), |id| (id, true));
        let next = if cancels { "cancelling" } else { self.next_status };
        let Some(at) = self.batches.iter().position(|batch| batch.id == id) else { return no() };
        let batch = &mut self.batches[at];
        let is_final = |status: &str| ["completed", "failed", "expired", "cancelled"].contains(&status);
        if !is_final(&batch.status) {
            let next = if batch.status == "cancelling" { "cancelled" } else { next };
            next.clone_into(&mut batch.status);
            if is_final(next) && next != "failed" {
                let results: String = batch.requests.iter().map(|(id, body)| output_line(id, line(body))).collect();
                let file = format!("results-{id}");
                batch.results = Some(file.clone());
                self.files.insert(file, results);
            }
        }
        ok(&self.batches[at].describe())
    }

    fn create(&mut self, body: &str) -> String {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["endpoint"], &body["completion_window"]), (&json!("/v1/chat/completions"), &json!("24h")));
        let file = &self.files[body["input_file_id"].as_str().unwrap()];
        let request = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["method"], &line["url"]), (&json!("POST"), &json!("/v1/chat/completions")));
            (line["custom_id"].as_str().unwrap().to_owned(), line["body"].clone())
        };
        let batch = Batch {
            id: format!("batch_{}", self.batches.len()),
            submission: body["metadata"]["apprentice_submission"].as_str().unwrap().to_owned(),
            requests: file.lines().map(request).collect(),
            status: "validating".to_owned(),
            results: None,
        };
        self.batches.push(batch);
        ok(&self.batches[self.batches.len() - 1].describe())
    }
}

impl Batch {
    fn describe(&self) -> Value {
        let total = self.requests.len();
        let completed = if self.results.is_some() { total } else { 0 };
        json!({
            "id": self.id, "object": "batch", "status": self.status, "output_file_id": self.results, "error_file_id": null,
            "request_counts": { "total": total, "completed": completed, "failed": 0 },
            "metadata": { "apprentice_submission": self.submission },
            "errors": { "data": [{ "code": "too_large", "message": "the file has too many lines" }] },
        })
    }
}

fn output_line(id: &str, line: Line) -> String {
    let of = |response: Value, error: Value| {
        format!("{}\n", json!({ "id": "r", "custom_id": id, "response": response, "error": error }))
    };
    match line {
        Line::Answer(body) => of(json!({ "status_code": 200, "body": body }), Value::Null),
        Line::Refusal(status, body) => of(json!({ "status_code": status, "body": body }), Value::Null),
        Line::Expired => of(Value::Null, json!({ "code": "batch_expired", "message": "not in time" })),
        Line::Raw(text) => text.replace("CUSTOM_ID", id),
    }
}
