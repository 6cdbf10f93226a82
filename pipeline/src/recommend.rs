//! What `apprentice recommend` asks of the code that knows policies.

use std::fmt;
use std::path::Path;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Answers with a policy's file.
///
/// # Errors
/// [`crate::UsageError`] where somebody asks about what the policy does not know; else a file cannot be read.
pub type Recommend = fn(&Path, &RecommendBatch) -> anyhow::Result<Answers>;

/// What a policy is asked.
#[derive(Clone, Debug, Default)]
pub struct RecommendBatch {
    /// One answer each, in this order.
    pub queries: Vec<RecommendQuery>,
    /// How many items an answer holds.
    pub count: usize,
    /// Whether nothing of a history is recommended again, also where the world that the policy learned in allows repeats.
    pub exclude_history: bool,
    /// Whether users and items go by their row numbers from 0, not by their ids.
    pub rows: bool,
}

/// Somebody who wants a recommendation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct RecommendQuery {
    /// The user's id in the source; a text or a whole number.
    #[serde(deserialize_with = "id")]
    pub user: String,
    /// Items shown in this session, oldest first, by id (a text or a whole number) or exact title.
    #[serde(default, deserialize_with = "ids")]
    pub history: Vec<String>,
    /// What each of them earned, on the scale of the log; some policies read it.
    #[serde(default)]
    pub rewards: Vec<f32>,
    /// `FILE:LINE` of the question, where it is from a file.
    #[serde(skip)]
    pub place: Option<String>,
}

/// Ids are texts here, and numbers in many a file.
struct Id;

impl Visitor<'_> for Id {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id: a text or a whole number")
    }

    fn visit_str<E: Error>(self, id: &str) -> Result<String, E> {
        Ok(id.to_owned())
    }

    fn visit_u64<E: Error>(self, id: u64) -> Result<String, E> {
        Ok(id.to_string())
    }

    fn visit_i64<E: Error>(self, id: i64) -> Result<String, E> {
        Ok(id.to_string())
    }
}

fn id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    from.deserialize_any(Id)
}

fn ids<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Ids;
    impl<'de> Visitor<'de> for Ids {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of ids")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            #[derive(Deserialize)]
            struct One(#[serde(deserialize_with = "id")] String);
            let mut ids = Vec::new();
            while let Some(One(id)) = list.next_element()? {
                ids.push(id);
            }
            Ok(ids)
        }
    }
    from.deserialize_seq(Ids)
}

/// What a policy answers.
#[derive(Clone, Debug)]
pub struct Answers {
    /// In the order of the questions.
    pub answers: Vec<Answer>,
    /// What deciding took, without reading files.
    pub seconds: f64,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Whom it is for.
    pub user: String,
    /// Items, best first.
    pub items: Vec<Recommended>,
    /// Why there are fewer than asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One recommended item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recommended {
    /// Its id in the source, or its row number where those were asked for.
    pub id: String,
    /// Its title, where one is known.
    pub title: Option<String>,
    /// The policy's score: a log-probability or a value, by the kind of policy.
    pub score: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_numbers() {
        let query: RecommendQuery = serde_json::from_str(r#"{"user": 3, "history": [4, "Heat", -1]}"#).unwrap();
        assert_eq!((&*query.user, query.history), ("3", vec!["4".to_owned(), "Heat".into(), "-1".into()]));
        for (line, part) in [
            (r#"{"user": 3.5}"#, "floating point `3.5`, expected an id: a text or a whole number"),
            (r#"{"user": "3", "history": [null]}"#, "null, expected an id"),
            (r#"{"user": "3", "history": 4}"#, "integer `4`, expected a list of ids"),
        ] {
            let error = serde_json::from_str::<RecommendQuery>(line).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
