//! What is served, and how.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::recommend::{Explore, RecommendBatch, RecommendQuery};

/// What is served, and how.
pub(crate) struct ServeOptions {
    /// Each policy's name and file, in the order of `shares`.
    pub policies: Vec<(String, PathBuf)>,
    /// The share of the users that each policy answers; they sum to 1.
    pub shares: Vec<f64>,
    /// Where it listens; port 0 is any free one.
    pub address: SocketAddr,
    /// Threads that answer.
    pub threads: usize,
    pub limits: Limits,
    /// Where what was shown is written down.
    pub log: Option<LogOptions>,
}

/// How what was shown is written down.
pub(crate) struct LogOptions {
    pub folder: PathBuf,
    /// Rows after which a file is finished.
    pub rows: usize,
    /// The time after which it is.
    pub age: Duration,
    /// How the first item of an answer is drawn.
    pub explore: Option<Explore>,
}

/// What a request may ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Items of an answer, unless its question says so.
    pub count: usize,
    /// Whether nothing of a history is recommended again.
    pub exclude_history: bool,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Questions of a request.
    pub questions: usize,
    /// Requests at work at once; further ones get 503.
    pub requests: usize,
}

impl Limits {
    /// What a policy is asked with `queries`.
    pub fn batch(&self, queries: Vec<RecommendQuery>, explore: Option<Explore>) -> RecommendBatch {
        let Self { count, exclude_history, .. } = *self;
        RecommendBatch { queries, count, exclude_history, new_users: true, rows: false, explore }
    }
}
