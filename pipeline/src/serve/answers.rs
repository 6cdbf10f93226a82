//! From the body of a request to its answer.

use std::sync::Arc;

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::Limits;
use super::assignment::assigned;
use super::impression_log::ImpressionLog;
use super::policies::{Loaded, Policies};
use crate::UsageError;
use crate::error_report::ErrorReport;
use crate::recommend::{Answer, RecommendQuery, Recommended};

const QUESTION: &str = r#"a question is an object such as {"user": "196", "history": ["242"], "top_k": 5}, and a body one or a list of them"#;

/// A question and its answer.
pub(super) struct Answered {
    /// The place of the policy that answered.
    pub by: usize,
    pub query: RecommendQuery,
    pub answer: Answer,
    /// The name of the answer in the log, where there is one.
    pub id: Option<String>,
}

/// An answer as it is sent: [`Answer`], and what the service tells beside it.
#[derive(Serialize)]
struct Sent<'a> {
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    new_user: bool,
    items: &'a [Recommended],
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    /// The policy that answered, and the beginning of its file's digest.
    policy: &'a str,
    digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_id: Option<&'a str>,
}

impl Answered {
    fn sent<'a>(&'a self, versions: &'a [Arc<Loaded>]) -> Sent<'a> {
        let (Answer { user, new_user, items, note, .. }, by) = (&self.answer, &versions[self.by]);
        Sent {
            user: user.as_deref(),
            new_user: *new_user,
            items,
            note: note.as_deref(),
            policy: &by.name,
            digest: &by.digest,
            answer_id: self.id.as_deref(),
        }
    }
}

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

/// How many questions were answered, and how many of them for users who are not in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub questions: u64,
    pub new_users: u64,
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
