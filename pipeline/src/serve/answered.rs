//! A question with its answer, as it is logged and sent.

use std::sync::Arc;

use serde::Serialize;

use super::policies::Loaded;
use crate::recommend::{Answer, RecommendQuery, Recommended};

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
pub(super) struct Sent<'a> {
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
    pub fn sent<'a>(&'a self, versions: &'a [Arc<Loaded>]) -> Sent<'a> {
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
