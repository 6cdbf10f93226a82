//! From the body of a request to its answer.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::Value;

use super::answered::Answered;
use super::assignment::assigned;
use super::impression_log::ImpressionLog;
use super::metrics::Counted;
use super::options::Limits;
use super::policies::{Loaded, Policies};
use crate::UsageError;
use crate::error_report::ErrorReport;
use crate::recommend::RecommendQuery;

const QUESTION: &str = r#"a question is an object such as {"user": "196", "history": ["242"], "top_k": 5}, and a body one or a list of them"#;

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refused {
    pub status: StatusCode,
    pub error: String,
}

impl Refused {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }
}

/// Whether a body asks a list of questions.
pub(super) fn is_list(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// The answer to the body of a request, as JSON: one question, or a list of them. What it shows goes to the log, where there is one.
pub(super) fn answer(
    body: &[u8],
    policies: &Policies,
    limits: &Limits,
    log: Option<&ImpressionLog>,
) -> Result<(Vec<u8>, Counted), Refused> {
    let bad = |error: String| Refused::new(StatusCode::BAD_REQUEST, format!("{error}\nhelp: {QUESTION}"));
    let several = is_list(body);
    let queries = match several {
        false => vec![RecommendQuery::from_json(body).map_err(bad)?],
        true => {
            let queries: Vec<RecommendQuery> = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
            for (place, query) in queries.iter().enumerate() {
                query.check().map_err(|error| bad(format!("question {place}: {error}")))?;
            }
            queries
        }
    };
    if queries.len() > limits.questions {
        let (asked, most) = (queries.len(), limits.questions);
        return Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("{asked} questions in one request, of {most} at most\nhelp: send several requests"),
        ));
    }
    // A file that changes meanwhile changes nothing of this answer.
    let versions = policies.all();
    let answers = answered(queries, &versions, &policies.shares, limits, log)?;
    let new_users = answers.iter().filter(|answered| answered.answer.new_user).count() as u64;
    let counted = Counted { questions: answers.len() as u64, new_users };
    let json = match (several, &answers[..]) {
        (false, [one]) => serde_json::to_vec(&one.sent(&versions)),
        _ => serde_json::to_vec(&answers.iter().map(|answered| answered.sent(&versions)).collect::<Vec<_>>()),
    };
    let json = json.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    if let Some(log) = log {
        log.offer(versions, answers);
    }
    Ok((json, counted))
}

/// The answers in the order of the questions, each by the policy that its user is assigned to.
fn answered(
    queries: Vec<RecommendQuery>,
    versions: &[Arc<Loaded>],
    shares: &[f64],
    limits: &Limits,
    log: Option<&ImpressionLog>,
) -> Result<Vec<Answered>, Refused> {
    let count = queries.len();
    let mut by_policy: Vec<Vec<(usize, RecommendQuery)>> = shares.iter().map(|_| Vec::new()).collect();
    for (place, mut query) in queries.into_iter().enumerate() {
        query.place = (count > 1).then(|| format!("question {place}"));
        let by = match &query.user {
            Some(user) => assigned(user, shares),
            None => assigned(&query.history.join("\n"), shares),
        };
        by_policy[by].push((place, query));
    }
    let mut all: Vec<Option<Answered>> = (0..count).map(|_| None).collect();
    for (by, asked) in by_policy.into_iter().enumerate().filter(|(_, asked)| !asked.is_empty()) {
        let (places, mut queries): (Vec<usize>, Vec<RecommendQuery>) = asked.into_iter().unzip();
        let ids: Vec<Option<String>> = queries.iter_mut().map(|query| Some(log?.name(query))).collect();
        let batch = limits.batch(queries, log.and_then(ImpressionLog::explore));
        let answers = versions[by].policy.answer(&batch).map_err(|error| refused(&error))?.answers;
        for (((place, query), answer), id) in places.into_iter().zip(batch.queries).zip(answers).zip(ids) {
            all[place] = Some(Answered { by, query, answer, id });
        }
    }
    Ok(all.into_iter().flatten().collect())
}

/// Who asks for what a policy does not know did it; anything else is a fault of this program.
fn refused(error: &anyhow::Error) -> Refused {
    let asked_wrongly = error.chain().any(|cause| cause.is::<UsageError>());
    let status = if asked_wrongly { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::INTERNAL_SERVER_ERROR };
    Refused::new(status, ErrorReport::of(error).to_string())
}

/// An error as JSON: the first line, and what helps.
pub(super) fn error_json(error: &str) -> Value {
    let (message, help) = error.split_once("\nhelp: ").map_or((error, None), |(message, help)| (message, Some(help)));
    serde_json::json!({ "error": message, "help": help })
}
