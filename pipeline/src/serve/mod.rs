//! `apprentice serve`: trained policies behind HTTP.
//!
//! ```text
//! POST /recommend   {"user": "196", "history": ["242"]}, or a list of such questions
//! GET  /health      what is served; 200 as soon as questions are answered
//! GET  /metrics     counts and times in Prometheus's text format
//! ```
//!
//! In: files of policies, read by the catalogue ([`crate::recommend::LoadPolicy`]), and requests. Out: answers, and where a log is wanted
//! what they showed ([`impression_log`]). Each file is read again when it changes; a file that cannot be read leaves the policy that
//! answers where it is. This folder is the only place with an async runtime.

mod answers;
mod assignment;
mod impression_log;
mod impression_rows;
mod metrics;
mod part_files;
mod policies;
mod routes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use crate::recommend::{Explore, RecommendBatch, RecommendQuery};
use crate::{Catalog, UsageError};
use impression_log::ImpressionLog;
use metrics::Metrics;
use policies::Policies;

/// How long open requests may take after the signal to stop.
const GRACE: Duration = Duration::from_secs(10);

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
    fn batch(&self, queries: Vec<RecommendQuery>, explore: Option<Explore>) -> RecommendBatch {
        let Self { count, exclude_history, .. } = *self;
        RecommendBatch { queries, count, exclude_history, new_users: true, rows: false, explore }
    }
}

/// Serves until `stop` is raised. `ready` is told where it listens, `tell` what happens meanwhile.
///
/// # Errors
/// When a policy cannot be read, the address cannot be had, or the log's folder cannot be written to.
pub(crate) fn serve(
    options: ServeOptions,
    catalog: &'static Catalog,
    stop: &Arc<AtomicBool>,
    ready: impl FnOnce(SocketAddr, &[String]),
    tell: fn(&str),
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new());
    let policies = Arc::new(Policies::load(&options.policies, options.shares, catalog.load_policy)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads)
        .thread_name("serve")
        .enable_all()
        .build()
        .context("start the threads of the service")?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(options.address)).map_err(|error| {
        let address = options.address;
        anyhow!(UsageError(format!(
            "cannot listen on {address}: {error}\nhelp: another program may listen there; `--port 0` takes any free port"
        )))
    })?;
    let (log, written) = match options.log {
        None => (None, None),
        Some(log) => {
            let asked = (options.limits, policies.shares.clone());
            let (log, written) = ImpressionLog::start(log, asked, catalog.encode_impressions, &metrics, tell)?;
            (Some(Arc::new(log)), Some(written))
        }
    };
    ready(listener.local_addr()?, &policies.described());
    let watch = policies::watch(&policies, catalog.load_policy, &metrics, stop, tell)?;
    let stopped = stop.clone();
    let served = runtime.block_on(async {
        let signal = async move {
            while !stopped.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let app = routes::app(policies, metrics, options.limits, log.clone());
        let server = axum::serve(listener, app).with_graceful_shutdown(signal);
        let grace = async {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = server => served.context("serve"),
            () = grace => Ok(()),
        }
    });
    stop.store(true, Ordering::Relaxed);
    let _ = watch.join();
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Some((log, written)) = log.zip(written) {
        log.stop();
        let _ = written.join();
    }
    served
}
