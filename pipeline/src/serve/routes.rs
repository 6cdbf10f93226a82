//! What is behind each path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::answers::{Refused, answer, error_json, is_list};
use super::impression_log::ImpressionLog;
use super::metrics::{Counted, Metrics};
use super::options::Limits;
use super::policies::Policies;

/// How long a client may take to send its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every request reads.
#[derive(Clone)]
struct Service {
    policies: Arc<Policies>,
    metrics: Arc<Metrics>,
    limits: Limits,
    log: Option<Arc<ImpressionLog>>,
}

pub(super) fn app(
    policies: Arc<Policies>,
    metrics: Arc<Metrics>,
    limits: Limits,
    log: Option<Arc<ImpressionLog>>,
) -> Router {
    Router::new()
        .route("/recommend", post(recommend))
        .route("/health", get(health))
        .route("/metrics", get(prometheus))
        .fallback(async || {
            refusal(&Refused::new(
                StatusCode::NOT_FOUND,
                "there is no such path\nhelp: POST /recommend, GET /health, GET /metrics",
            ))
        })
        .method_not_allowed_fallback(async || {
            refusal(&Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "another method is wanted\nhelp: POST /recommend, GET /health, GET /metrics",
            ))
        })
        .with_state(Service { policies, metrics, limits, log })
}

/// Counts a request while it is at work.
struct AtWork(Arc<Metrics>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn recommend(State(service): State<Service>, body: Body) -> Response {
    let at_work = service.metrics.begin();
    let _ends = AtWork(service.metrics.clone());
    let begun = Instant::now();
    let found = match at_work <= service.limits.requests {
        true => answered(&service, body).await,
        false => Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{} requests are at work, as many as may be\nhelp: ask again later", service.limits.requests),
        )),
    };
    let (response, status, counted) = match found {
        Ok((json, counted)) => {
            (([(header::CONTENT_TYPE, "application/json")], json).into_response(), StatusCode::OK, counted)
        }
        Err(refused) => (refusal(&refused), refused.status, Counted::default()),
    };
    service.metrics.request(status.as_u16(), begun.elapsed(), counted);
    response
}

async fn answered(service: &Service, body: Body) -> Result<(Vec<u8>, Counted), Refused> {
    let most = service.limits.body_bytes;
    let body = tokio::time::timeout(PATIENCE, to_bytes(body, most))
        .await
        .map_err(|_| Refused::new(StatusCode::REQUEST_TIMEOUT, format!("no whole body within {PATIENCE:?}")))?
        .map_err(|_| {
            Refused::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a body has {most} bytes at most\nhelp: send several requests"),
            )
        })?;
    let answer = || answer(&body, &service.policies, &service.limits, service.log.as_deref());
    // A list takes the processor for long: other requests go on on the other threads. For one question the change of threads would cost as
    // much as the answer.
    if is_list(&body) { tokio::task::block_in_place(answer) } else { answer() }
}

async fn health(State(service): State<Service>) -> Response {
    let told = service.policies.all().into_iter().zip(&service.policies.shares).map(|(loaded, share)| {
        json!({ "name": loaded.name, "digest": loaded.digest, "share": share, "policy": loaded.facts })
    });
    as_json(&json!({ "status": "ok", "policies": told.collect::<Vec<_>>() }))
}

async fn prometheus(State(service): State<Service>) -> Response {
    let served = service.policies.all();
    let told = served
        .iter()
        .zip(&service.policies.shares)
        .map(|(loaded, share)| (loaded.name.as_str(), loaded.digest.as_str(), loaded.facts.learner.as_str(), *share));
    match service.metrics.text(told) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(error) => refusal(&Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn refusal(refused: &Refused) -> Response {
    (refused.status, as_json(&error_json(&refused.error))).into_response()
}

fn as_json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
