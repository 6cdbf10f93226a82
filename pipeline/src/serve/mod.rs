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
//! answers where it is. [`listening`] has the only async runtime, and [`pages`] serves other
//! pages by it.

mod answered;
mod answers;
mod assignment;
mod impression_log;
mod impression_rows;
mod listening;
mod metrics;
mod options;
mod pages;
mod part_files;
mod policies;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Catalog;
use impression_log::ImpressionLog;
use listening::listen;
use metrics::Metrics;
pub(crate) use options::{Limits, LogOptions, ServeOptions};
pub(crate) use pages::{PageReply, PageRequest, serve_pages};
use policies::Policies;

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
    let (mut log, mut watch) = (None, None);
    let served = listen(options.address, options.threads, stop, |address| {
        if let Some(wanted) = options.log {
            let asked = (options.limits, policies.shares.clone());
            let (shown, written) = ImpressionLog::start(wanted, asked, catalog.encode_impressions, &metrics, tell)?;
            log = Some((Arc::new(shown), written));
        }
        ready(address, &policies.described());
        watch = Some(policies::watch(&policies, catalog.load_policy, &metrics, stop, tell)?);
        Ok(routes::app(policies, metrics, options.limits, log.as_ref().map(|(log, _)| log.clone())))
    });
    stop.store(true, Ordering::Relaxed);
    if let Some(watch) = watch {
        let _ = watch.join();
    }
    if let Some((log, written)) = log {
        log.stop();
        let _ = written.join();
    }
    served
}
