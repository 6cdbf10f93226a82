//! What `apprentice recommend` asks of the code that knows policies.

use std::fmt;
use std::path::Path;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Reads a policy's file.
///
/// # Errors
/// When the file cannot be read, or does not say whom and what its rows stand for.
pub type LoadPolicy = fn(&Path) -> anyhow::Result<Box<dyn ServedPolicy>>;

/// A policy in memory.
pub trait ServedPolicy: Send + Sync {
    /// Answers questions, in their order.
    ///
    /// # Errors
    /// [`crate::UsageError`] where somebody asks about what the policy does not know, or leaves it nothing to recommend.
    fn answer(&self, batch: &RecommendBatch) -> anyhow::Result<Answers>;

    /// The probability that this policy shows the items `shown`, by their ids, where they stand: a list for each question, the first
    /// item in the first place.
    ///
    /// # Errors
    /// As [`ServedPolicy::answer`].
    fn propensities(&self, batch: &RecommendBatch, shown: &[Vec<String>]) -> anyhow::Result<Vec<Vec<f64>>>;

    /// Makes ready for many questions, which are then answered faster.
    fn prepare(&self);

    /// What it knows.
    fn facts(&self) -> PolicyFacts;
}

/// What is told of a policy that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyFacts {
    /// The kind of stage that trained it.
    pub learner: String,
    /// Users of its log.
    pub users: usize,
    /// Items of its catalogue.
    pub items: usize,
    /// Steps of an episode that it learned from.
    pub horizon: usize,
}

/// What a policy is asked.
#[derive(Clone, Debug, Default)]
pub struct RecommendBatch {
    /// One answer each, in this order.
    pub queries: Vec<RecommendQuery>,
    /// How many items an answer holds, unless its question says so.
    pub count: usize,
    /// Whether nothing of a history is recommended again, also where the world that the policy learned in allows repeats.
    pub exclude_history: bool,
    /// Whether a user who is not in the policy's log is answered as somebody new; else it is an error.
    pub new_users: bool,
    /// Whether users and items go by their row numbers from 0, not by their ids.
    pub rows: bool,
    /// How the first item of an answer is drawn; without it the best is first.
    pub explore: Option<Explore>,
}

/// How the first item of an answer is drawn, so that a log of answers also tells of items that are not the best. The best of the others
/// follow it in their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Explore {
    /// With this probability uniformly from all items that may be recommended, else the best.
    Epsilon(f64),
    /// By the softmax of the scores over this temperature.
    Softmax(f64),
}

impl std::str::FromStr for Explore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted =
            || format!("found `{text}`, wanted `epsilon=0.1` (a probability) or `softmax=1` (a temperature above 0)");
        let (kind, number) = text.split_once('=').ok_or_else(wanted)?;
        let number: f64 = number.parse().map_err(|_| wanted())?;
        match kind {
            "epsilon" if (0.0..=1.0).contains(&number) => Ok(Self::Epsilon(number)),
            "softmax" if number > 0.0 && number.is_finite() => Ok(Self::Softmax(number)),
            _ => Err(wanted()),
        }
    }
}

/// Somebody who wants a recommendation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct RecommendQuery {
    /// The user's id in the source; a text or a whole number. Without one it is somebody new, who is answered from the history alone.
    #[serde(default, deserialize_with = "some_id")]
    pub user: Option<String>,
    /// Items shown in this session, oldest first, by id (a text or a whole number) or exact title.
    #[serde(default, deserialize_with = "ids")]
    pub history: Vec<String>,
    /// What each of them earned, on the scale of the log; some policies read it.
    #[serde(default)]
    pub rewards: Vec<f32>,
    /// Items that are not recommended.
    #[serde(default, deserialize_with = "ids")]
    pub exclude: Vec<String>,
    /// The only items that may be recommended; without it all.
    #[serde(default, deserialize_with = "some_ids")]
    pub candidates: Option<Vec<String>>,
    /// How many items the answer holds; by default as many as the batch says.
    #[serde(default)]
    pub top_k: Option<usize>,
    /// `FILE:LINE` of the question, where it is from a file.
    #[serde(skip)]
    pub place: Option<String>,
    /// What decides the draw of the first item, from 0 to below 1.
    #[serde(skip)]
    pub draw: f64,
}

impl RecommendQuery {
    /// A question from JSON.
    ///
    /// # Errors
    /// With what is wrong: JSON of another form, a reward that 32 bits do not hold, or no item asked for.
    pub fn from_json(text: &[u8]) -> Result<Self, String> {
        // Serde would take the values of a list for the fields in their order.
        if text.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err("expected an object".into());
        }
        let query: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        query.check()?;
        Ok(query)
    }

    /// Whether its numbers are some.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<(), String> {
        // JSON has no infinite numbers, but large ones that 32 bits do not hold.
        if !self.rewards.iter().all(|reward| reward.is_finite()) {
            return Err("a reward is not a finite number of 32 bits".to_owned());
        }
        if self.top_k == Some(0) {
            return Err("`top_k` is 0, wanted a whole number from 1".to_owned());
        }
        Ok(())
    }
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

fn some_id<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct One(#[serde(deserialize_with = "id")] String);
    Ok(Option::<One>::deserialize(from)?.map(|One(id)| id))
}

fn some_ids<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    ids(from).map(Some)
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
    /// Whom it is for; none where the question named nobody.
    pub user: Option<String>,
    /// Whether the policy's log has no such user, so that the answer is from the history alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub new_user: bool,
    /// Items, best first.
    pub items: Vec<Recommended>,
    /// Why there are fewer than asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The probability with which this policy shows each of the items where it stands; empty where nothing was drawn, so that each is 1.
    #[serde(skip)]
    pub propensities: Vec<f64>,
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
    /// Whether it was added after the policy was trained, so that it is scored by its columns.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub new_item: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_be_numbers() {
        let query: RecommendQuery = serde_json::from_str(r#"{"user": 3, "history": [4, "Heat", -1]}"#).unwrap();
        let history = vec!["4".to_owned(), "Heat".into(), "-1".into()];
        assert_eq!((query.user.as_deref(), query.history), (Some("3"), history));
        for (line, part) in [
            (r#"{"user": 3.5}"#, "floating point `3.5`, expected an id: a text or a whole number"),
            (r#"{"user": "3", "history": [null]}"#, "null, expected an id"),
            (r#"{"user": "3", "history": 4}"#, "integer `4`, expected a list of ids"),
        ] {
            let error = serde_json::from_str::<RecommendQuery>(line).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn exploration_is_written_with_its_number() {
        assert_eq!("epsilon=0.1".parse(), Ok(Explore::Epsilon(0.1)));
        assert_eq!("softmax=2".parse(), Ok(Explore::Softmax(2.0)));
        for wrong in ["", "epsilon", "epsilon=1.1", "softmax=0", "softmax=inf", "greedy=1", "epsilon=NaN"] {
            assert!(wrong.parse::<Explore>().unwrap_err().contains("wanted `epsilon=0.1`"), "{wrong}");
        }
    }

    #[test]
    fn nobody_may_be_named_and_numbers_are_some() {
        let query = |text: &str| RecommendQuery::from_json(text.as_bytes());
        for text in ["{}", r#"{"user": null}"#] {
            assert_eq!(query(text).unwrap(), RecommendQuery::default());
        }
        let asked = query(r#"{"candidates": [3, "Heat"], "exclude": ["4"], "top_k": 2}"#).unwrap();
        assert_eq!(asked.candidates.unwrap(), ["3", "Heat"]);
        assert_eq!((asked.exclude, asked.top_k), (vec!["4".to_owned()], Some(2)));
        for (text, part) in [
            (r#"{"top_k": 0}"#, "`top_k` is 0"),
            (r#"{"rewards": [1e39]}"#, "a reward is not a finite number"),
            (r#"{"candidates": null}"#, "null, expected a list of ids"),
            (r#"{"usr": 3}"#, "unknown field `usr`"),
        ] {
            let error = query(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
