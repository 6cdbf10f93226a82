//! From the body of a request to its answer.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::Limits;
use super::assignment::assigned;
use super::policies::Policies;
use crate::UsageError;
use crate::error_report::ErrorReport;
use crate::recommend::{Answer, RecommendBatch, RecommendQuery};

const QUESTION: &str = r#"a question is an object such as {"user": "196", "history": ["242"], "top_k": 5}, and a body one or a list of them"#;

/// What an answer tells beside its items.
#[derive(Debug, Serialize)]
struct Answered {
    #[serde(flatten)]
    answer: Answer,
    /// The policy that answered, and the beginning of its file's digest.
    policy: String,
    digest: String,
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

/// The answer to the body of a request, as JSON: one question, or a list of them.
pub(super) fn answer(body: &[u8], policies: &Policies, limits: &Limits) -> Result<(Vec<u8>, Counted), Refused> {
    let bad = |error: String| Refused::new(StatusCode::BAD_REQUEST, format!("{error}\nhelp: {QUESTION}"));
    let several = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
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
    let answers = answered(queries, policies, limits)?;
    let new_users = answers.iter().filter(|answered| answered.answer.new_user).count() as u64;
    let counted = Counted { questions: answers.len() as u64, new_users };
    let json = if several { serde_json::to_vec(&answers) } else { serde_json::to_vec(&answers.first()) };
    Ok((json.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?, counted))
}

/// The answers in the order of the questions, each by the policy that its user is assigned to.
fn answered(queries: Vec<RecommendQuery>, policies: &Policies, limits: &Limits) -> Result<Vec<Answered>, Refused> {
    let count = queries.len();
    let mut by_policy: Vec<Vec<(usize, RecommendQuery)>> = policies.shares.iter().map(|_| Vec::new()).collect();
    for (place, mut query) in queries.into_iter().enumerate() {
        let who = query.user.clone().unwrap_or_else(|| query.history.join("\n"));
        query.place = (count > 1).then(|| format!("question {place}"));
        by_policy[assigned(&who, &policies.shares)].push((place, query));
    }
    let mut all: Vec<Option<Answered>> = (0..count).map(|_| None).collect();
    for (at, asked) in by_policy.into_iter().enumerate().filter(|(_, asked)| !asked.is_empty()) {
        let loaded = policies.at(at);
        let (places, queries): (Vec<usize>, Vec<RecommendQuery>) = asked.into_iter().unzip();
        let batch = RecommendBatch {
            queries,
            count: limits.count,
            exclude_history: limits.exclude_history,
            new_users: true,
            rows: false,
        };
        let answers = loaded.policy.answer(&batch).map_err(|error| refused(&error))?;
        for (place, answer) in places.into_iter().zip(answers.answers) {
            all[place] = Some(Answered { answer, policy: loaded.name.clone(), digest: loaded.digest.clone() });
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
