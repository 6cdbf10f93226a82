//! A language model rates items: one question an item, independent of users and turns.
//!
//! A conversation about a user buries what a small model knows of items under what it cannot use. Here the model is asked an
//! absolute question about each item alone. There are three forms:
//!
//! - a **contrast** compares the probabilities of words after a prompt: score = mean over positive words of ln p(word | prompt) −
//!   mean over negative words of ln p(word | prompt), in nats. It needs a model that gives log-probabilities. A word is scored as
//!   a whole, so that the number of its tokens is the same for all items and cancels in comparisons between them. The item's
//!   score is the mean over all contrasts; none is chosen by its agreement with ratings.
//!   The default prompts are one line of running text, the form in which a review mentions a title.
//! - a **grade** is a whole number that the model writes;
//! - the **likelihood** of the title says how often the model has read of the item, not what it has read: the control that tells
//!   opinion from fame.
//!
//! The requests contain nothing but the item, so that another experiment on the same catalogue finds all answers in the call
//! store.

mod cost;
mod questions;
mod rate_by;
mod rating;

use super::LlmConfig;
use questions::Questions;
pub use rate_by::{Contrast, Grade, Likelihood, RateBy};
pub(crate) use rating::{Rated, Rating};

impl RateBy {
    /// Ranges that no type expresses, and whether `llm` can answer.
    ///
    /// # Errors
    /// The path of the first invalid setting and a message.
    pub fn check(&self, llm: &LlmConfig) -> Result<(), (String, String)> {
        let wrong = |path: String, wanted: &str| Err((path, wanted.to_owned()));
        match self {
            Self::Contrasts(contrasts) => {
                if let Some(why) = llm.lacks_logprobs() {
                    return wrong("contrasts".into(), &format!("{why}; without it use `by: {{ grade: {{}} }}`"));
                }
                if contrasts.is_empty() {
                    return wrong("contrasts".into(), "at least one contrast");
                }
                for (name, contrast) in contrasts {
                    let path = |field: &str| format!("contrasts.{name}{field}");
                    if !is_column(name) {
                        let wanted = "a name of letters, digits and `_`, but not `item` or `score`: it names a column";
                        return wrong(path(""), wanted);
                    }
                    contrast.check().map_err(|(field, wanted)| (path(&format!(".{field}")), wanted))?;
                }
            }
            Self::Grade(grade) => {
                if !(1..=100).contains(&grade.high.saturating_sub(grade.low)) {
                    return wrong("grade.high".into(), "a number above `low`, by at most 100");
                }
                if grade.max_tokens == 0 {
                    return wrong("grade.max_tokens".into(), "at least one token");
                }
            }
            Self::Likelihood(_) if matches!(llm, LlmConfig::Openai(_)) => {
                let wanted =
                    "an embedded model (`llm: { gguf: … }`): a server gives no log-probability of a whole title";
                return wrong("likelihood".into(), wanted);
            }
            Self::Likelihood(_) => {}
        }
        Questions::check(self)
    }
}

fn is_column(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain && !name.is_empty() && !["item", "score"].contains(&name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gguf() -> LlmConfig {
        serde_json::from_value(json!({ "gguf": { "asset": "toy" } })).unwrap()
    }

    fn wrong(by: serde_json::Value) -> (String, String) {
        serde_json::from_value::<RateBy>(by).unwrap().check(&gguf()).unwrap_err()
    }

    #[test]
    fn the_defaults_hold_and_what_no_type_can_say_is_refused() {
        assert_eq!(RateBy::default().check(&gguf()), Ok(()));
        assert_eq!(RateBy::Grade(Grade::default()).check(&gguf()), Ok(()));
        assert_eq!(RateBy::Likelihood(Likelihood::default()).check(&gguf()), Ok(()));
        let (path, said) = wrong(json!({ "likelihood": { "prompt": "{{ title }} is called" } }));
        assert_eq!(path, "likelihood.prompt", "a title that the prompt tells is likely");
        assert!(said.starts_with("`title` is not a variable of this template; its variables are `noun`"), "{said}");
        let one = |change: serde_json::Value| {
            let mut contrast = json!({ "prompt": "{{ title }} is", "positive": ["good"], "negative": ["bad"] });
            contrast.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            wrong(json!({ "contrasts": { "a": contrast } }))
        };
        assert_eq!(wrong(json!({ "contrasts": {} })).0, "contrasts");
        assert_eq!(one(json!({ "positive": [] })).0, "contrasts.a.positive");
        assert_eq!(one(json!({ "negative": ["bad "] })).0, "contrasts.a.negative");
        assert_eq!(one(json!({ "negative": ["good"] })).1, "each word once; `good` stands twice");
        let many: Vec<String> = (0..20).map(|k| format!("w{k}")).collect();
        assert!(one(json!({ "negative": many })).1.starts_with("at most 20"));
        let (path, said) = one(json!({ "prompt": "{{ titel }} is" }));
        assert_eq!(path, "contrasts.a.prompt");
        assert!(
            said.starts_with("`titel` is not a variable of this template; its variables are `noun`, `title`"),
            "{said}"
        );
        let contrast = json!({ "prompt": "x", "positive": ["a"], "negative": ["b"] });
        for name in ["score", "", "a b"] {
            assert_eq!(wrong(json!({ "contrasts": { name: contrast } })).0, format!("contrasts.{name}"));
        }
        assert_eq!(wrong(json!({ "grade": { "low": 3, "high": 3 } })).0, "grade.high");
        assert_eq!(wrong(json!({ "grade": { "max_tokens": 0 } })).0, "grade.max_tokens");
        assert_eq!(wrong(json!({ "grade": { "prompt": "{{ genres[0] }}" } })).0, "grade.prompt", "there may be none");
    }

    #[test]
    fn a_server_without_log_probabilities_is_told_to_grade() {
        let server = |logprobs: bool| -> LlmConfig {
            serde_json::from_value(json!({ "openai": { "model": "m", "logprobs": logprobs } })).unwrap()
        };
        let (path, said) = RateBy::default().check(&server(false)).unwrap_err();
        assert!(path == "contrasts" && said.contains("logprobs: true") && said.contains("grade"), "{said}");
        assert_eq!(RateBy::default().check(&server(true)), Ok(()));
        assert_eq!(RateBy::Grade(Grade::default()).check(&server(false)), Ok(()));
        let (path, said) = RateBy::Likelihood(Likelihood::default()).check(&server(true)).unwrap_err();
        assert!(path == "likelihood" && said.contains("no log-probability of a whole title"), "{said}");
    }
}
