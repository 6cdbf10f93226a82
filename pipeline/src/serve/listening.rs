//! One HTTP server until it is stopped: the only async runtime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::Router;

use crate::UsageError;

/// How long open requests may take after the signal to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How often the signal is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// Answers on `address` until `stop` is raised; `app` is told where it listens, before the first answer.
///
/// # Errors
/// When the address cannot be had, or `app` fails.
pub(super) fn listen(
    address: SocketAddr,
    threads: usize,
    stop: &Arc<AtomicBool>,
    app: impl FnOnce(SocketAddr) -> anyhow::Result<Router>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("serve")
        .enable_all()
        .build()
        .context("start the threads of the service")?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).map_err(|error| {
        anyhow!(UsageError(format!(
            "cannot listen on {address}: {error}\nhelp: another program may listen there; `--port 0` takes any free port"
        )))
    })?;
    let app = app(listener.local_addr()?)?;
    let served = runtime.block_on(async {
        let server = axum::serve(listener, app).with_graceful_shutdown(raised(stop.clone()));
        let grace = async {
            raised(stop.clone()).await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = server => served.context("serve"),
            () = grace => Ok(()),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn raised(stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(GLANCE).await;
    }
}
