//! What `apprentice recommend` asks of the code that knows policies.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::inspect::Beside;

/// Answers with a policy's file.
///
/// # Errors
/// [`crate::Wrong`] where somebody asks about what the policy does not know; else a file cannot be read.
pub type Recommend = fn(&Path, &Questions) -> anyhow::Result<Answers>;

/// What a policy is asked.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    /// One answer each, in this order.
    pub asked: Vec<Asked>,
    /// How many items an answer holds.
    pub count: usize,
    /// Files that tell what ids mean, the nearest ancestor of the policy first.
    pub beside: Vec<Beside>,
}

/// Somebody who wants a recommendation.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The user's id in the source.
    pub user: String,
    /// Items shown in this session, oldest first, by id or exact title.
    #[serde(default)]
    pub history: Vec<String>,
    /// What each of them earned, on the scale of the log; some policies read it.
    #[serde(default)]
    pub rewards: Vec<f32>,
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
    /// Items, best first; none of the history.
    pub items: Vec<Recommended>,
}

/// One recommended item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recommended {
    /// Its id in the source; its row where no catalogue is known.
    pub id: String,
    /// Its title, where a catalogue is known.
    pub title: Option<String>,
    /// The policy's score: a log-probability or a value, by the kind of policy.
    pub score: f32,
}
