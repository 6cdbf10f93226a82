//! What `apprentice serve --log` asks of the code that writes tables.

use std::sync::Arc;

/// Rows of a log as the bytes of a whole table.
///
/// # Errors
/// When they cannot be encoded.
pub type EncodeImpressions = fn(&[Impression]) -> anyhow::Result<Vec<u8>>;

/// One item that was shown to somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Impression {
    /// When the question was answered, in microseconds since 1970.
    pub time: i64,
    /// The answer that it belongs to, as the answer itself says.
    pub answer_id: Arc<str>,
    /// Whom the question named.
    pub user: Option<String>,
    /// Whether the policy's log has no such user.
    pub new_user: bool,
    /// The items of the question's history, oldest first, as it called them.
    pub history: Arc<[String]>,
    /// Whether the question said what may be recommended (`exclude`, `candidates`).
    pub restricted: bool,
    /// The policy that answered.
    pub policy: Arc<str>,
    /// The beginning of the digest of its file.
    pub digest: Arc<str>,
    /// The share of the users that it answers.
    pub share: f64,
    /// The item's place in the answer, from 1.
    pub position: u32,
    /// The item's id.
    pub item: String,
    /// The probability that this policy shows this item at this place.
    pub policy_propensity: f64,
    /// The same over all policies that share the users: the sum of their shares times their probabilities.
    pub propensity: f64,
}
