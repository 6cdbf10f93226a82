//! A service of policies, and a client of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::send;
use crate::project::{Project, text};

/// A service that is ended when the test is over.
pub struct Service {
    pub child: Child,
    pub address: String,
}

impl Service {
    pub fn start(project: &Project, args: &[&str]) -> Self {
        Self::of(project.start(&[&["serve", "--port", "0", "--json"], args].concat()))
    }

    /// One that was started with `--port 0 --json`.
    pub fn of(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut said = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
            panic!("it did not start: {said}");
        }
        let event: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: text(&event["address"]).to_owned() }
    }

    /// The status and the body of an answer; 0 where there is none.
    pub fn send(&self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let reply = send(&self.address, method, path, &["Host: x"], body);
        (reply.status, reply.body)
    }

    pub fn ask(&self, question: &Value) -> (u16, Value) {
        let (status, body) = self.send("POST", "/recommend", question.to_string().as_bytes());
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Waits until the metrics hold a line, while somebody asks all the time.
    pub fn until(&self, part: &str, question: &Value) {
        let begun = Instant::now();
        while !self.metrics().contains(part) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{part}: {}", self.metrics());
            assert_eq!(self.ask(question).0, 200);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it by SIGTERM; what it said meanwhile.
    pub fn stop(self) -> String {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        self.wait()
    }

    /// Waits for its end; what it said meanwhile.
    pub fn wait(mut self) -> String {
        let mut said = String::new();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }

    pub fn metrics(&self) -> String {
        self.send("GET", "/metrics", b"").1
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
