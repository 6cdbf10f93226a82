//! How the model is asked about an item.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The maximum number of words of a contrast: servers give no more log-probabilities.
const MAX_WORDS: usize = 20;

/// How the model rates an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateBy {
    /// By contrasts of words, each under a name; the score is the mean over all of them. Needs log-probabilities.
    Contrasts(BTreeMap<String, Contrast>),
    /// By a grade that the model writes. For servers without log-probabilities.
    Grade(Grade),
    /// By how likely the title is: fame, the control of an opinion. Needs the log-probability of a whole title, which an embedded model
    /// gives and a server does not.
    Likelihood(Likelihood),
}

/// One contrast: ln p of positive words less ln p of negative words after a prompt, in nats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// The text that a word continues, a minijinja template. Variables: `noun`, `title`, `year` (none where it is unknown) and
    /// `genres`, a list. Contrasts whose first lines are equal share their evaluation.
    pub prompt: String,
    /// Words of praise, at least one.
    pub positive: Vec<String>,
    /// Words of blame, at least one. Both lists together hold at most 20 words.
    pub negative: Vec<String>,
}

/// A grade in a written answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grade {
    /// The question, a minijinja template. Variables: those of a contrast, and `low` and `high`. The first of several lines is
    /// the instruction, a server's system message.
    pub prompt: String,
    /// The grade of the worst items.
    pub low: i32,
    /// The grade of the best items, at most 100 above `low`.
    pub high: i32,
    /// Maximum length of an answer, in tokens. A reasoning model needs hundreds.
    pub max_tokens: u32,
}

/// The log-probability of an item's title after a prompt, in nats. A longer title is less likely, whatever its fame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Likelihood {
    /// The text that the title continues, a minijinja template. Variable: `noun`.
    pub prompt: String,
}

impl Default for RateBy {
    /// Three contrasts in plain words for any noun.
    fn default() -> Self {
        let words = |words: [&str; 4]| words.map(str::to_owned).to_vec();
        let contrast = |prompt: &str, positive, negative| Contrast {
            prompt: prompt.trim_end().to_owned(),
            positive: words(positive),
            negative: words(negative),
        };
        let critics = contrast(
            include_str!("prompt/critics.j2"),
            ["excellent", "brilliant", "outstanding", "superb"],
            ["terrible", "boring", "awful", "poor"],
        );
        let audience = contrast(
            include_str!("prompt/audience.j2"),
            ["great", "wonderful", "unforgettable", "amazing"],
            ["bad", "disappointing", "forgettable", "dull"],
        );
        let verdict = contrast(
            include_str!("prompt/verdict.j2"),
            ["perfect", "fantastic", "impressive", "beautiful"],
            ["mediocre", "weak", "worthless", "ridiculous"],
        );
        let named = [("critics", critics), ("audience", audience), ("verdict", verdict)];
        Self::Contrasts(named.map(|(name, contrast)| (name.to_owned(), contrast)).into())
    }
}

impl Default for Grade {
    fn default() -> Self {
        Self { prompt: include_str!("prompt/grade.j2").trim_end().to_owned(), low: 1, high: 10, max_tokens: 8 }
    }
}

impl Default for Likelihood {
    fn default() -> Self {
        Self { prompt: include_str!("prompt/likelihood.j2").trim_end().to_owned() }
    }
}

impl Contrast {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        for (field, words) in [("positive", &self.positive), ("negative", &self.negative)] {
            if words.is_empty() || words.iter().any(|word| word.trim().is_empty() || word.trim() != word) {
                return Err((field, "at least one word, without spaces around it".into()));
            }
        }
        let mut all: Vec<&String> = self.positive.iter().chain(&self.negative).collect();
        if all.len() > MAX_WORDS {
            return Err(("negative", format!("at most {MAX_WORDS} positive and negative words together")));
        }
        all.sort_unstable();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(("negative", format!("each word once; `{}` stands twice", pair[0]))),
            None => Ok(()),
        }
    }
}
