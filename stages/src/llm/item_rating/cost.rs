//! An estimate of the cost of a rating before it runs.

use super::questions::Questions;
use super::rate_by::RateBy;
use crate::artifact::Items;
use crate::llm::item_names::item_texts;
use crate::llm::{LlmConfig, Workload};

/// Bytes per token in most texts.
const BYTES_PER_TOKEN: f64 = 4.0;
/// Bytes of a title and a year where the catalogue is not known yet.
const ITEM_BYTES: f64 = 28.0;
/// Tokens around a prompt: the chat template and the form of the answer.
const FIXED_TOKENS: f64 = 30.0;
/// Tokens around a word in a list of options.
const WORD_TOKENS: f64 = 3.0;

impl RateBy {
    /// The estimated calls, tokens and cost; `None` where the model costs only time. Stored answers cost nothing.
    pub(crate) fn cost(&self, llm: &LlmConfig, items: Option<&Items>) -> Option<String> {
        let each = if items.is_none() { "per item, because the catalogue is not known yet: " } else { "" };
        let words = llm.estimate(&self.workload(items))?;
        Some(format!("{each}{words} (an estimate; stored answers cost nothing)"))
    }

    fn workload(&self, items: Option<&Items>) -> Workload {
        let count = items.map_or(1, Items::len) as f64;
        let item_bytes = items.map_or(ITEM_BYTES, |items| {
            let bytes = |text: crate::llm::item_names::ItemText| {
                text.title.len()
                    + text.year.map_or(0, |_| 7)
                    + text.genres.iter().map(|genre| genre.len() + 2).sum::<usize>()
            };
            item_texts(items).into_iter().map(bytes).sum::<usize>() as f64 / count.max(1.0)
        });
        let Ok(questions) = Questions::new(self, "item") else { return Workload::default() };
        let prompts: f64 = questions.all.iter().map(|(_, question)| question.prompt().len() as f64).sum();
        let asked = questions.all.len() as f64;
        let tokens = (prompts + asked * item_bytes) / BYTES_PER_TOKEN + asked * FIXED_TOKENS;
        let all = |each: f64| (count * each) as u64;
        match self {
            Self::Contrasts(contrasts) => {
                let words: usize = contrasts.values().map(|c| c.positive.len() + c.negative.len()).sum();
                let prompt_tokens = all(tokens + words as f64 * WORD_TOKENS);
                Workload { choices: all(asked), prompt_tokens, ..Workload::default() }
            }
            Self::Likelihood(_) => Workload { choices: all(asked), prompt_tokens: all(tokens), ..Workload::default() },
            Self::Grade(grade) => Workload {
                texts: all(asked),
                prompt_tokens: all(tokens),
                text_tokens: all(f64::from(grade.max_tokens)),
                ..Workload::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Grade;
    use super::*;

    #[test]
    fn by_hand_with_and_without_the_catalogue() {
        let server =
            json!({ "openai": { "model": "m", "prices": { "input": 1.0, "output": 10.0 }, "logprobs": true } });
        let llm: LlmConfig = serde_json::from_value(server).unwrap();
        let grade = RateBy::Grade(Grade { prompt: "12345678".into(), ..Grade::default() });
        let items = Items {
            id: vec!["0".into(), "1".into()],
            title: vec!["Heat".into(), "Casino".into()],
            year: vec![Some(1995), None],
            genres: vec![vec![], vec!["Drama".into()]],
            ..Items::default()
        };
        // Items of 4 + 7 and 6 + 7 bytes, on average 12: (8 + 12)/4 + 30 tokens each, and 8 written.
        let work = Workload { texts: 2, prompt_tokens: 70, text_tokens: 16, ..Workload::default() };
        assert_eq!(grade.workload(Some(&items)), work);
        let said = grade.cost(&llm, Some(&items)).unwrap();
        assert_eq!(said, "about 2 calls, 86 tokens, 0.0002 USD (an estimate; stored answers cost nothing)");
        assert!(
            grade.cost(&llm, None).unwrap().starts_with("per item, because the catalogue is not known yet: about 1 ")
        );
        assert_eq!(RateBy::default().workload(Some(&items)).choices, 6, "each of three contrasts");
        let own: LlmConfig = serde_json::from_value(json!({ "gguf": { "asset": "toy" } })).unwrap();
        assert_eq!(grade.cost(&own, Some(&items)), None);
    }
}
