//! What a server's answer says: the option that a reply names, and how likely the labels were.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::super::{Reading, Request};
use super::budget::Tokens;

/// The most options that letters can stand for, which is also the most likely tokens that a server lists.
pub(super) const LETTERS: usize = 20;

/// The raw answer: what of the response is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    /// The model's words.
    pub reply: String,
    /// Why it stopped, in the server's words.
    pub finish_reason: Option<String>,
    /// What the server counts, where it says so.
    pub usage: Option<Usage>,
    /// The likeliest first tokens with their natural-log probabilities, where they were asked for and given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Vec<(String, f64)>>,
}

/// Tokens as servers count them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Usage {
    pub prompt_tokens: u64,
    #[serde(default)]
    pub completion_tokens: u64,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Self { prompt: usage.prompt_tokens, completion: usage.completion_tokens }
    }
}

/// How the options are told apart in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Labels {
    /// `1.` and so on.
    Numbers,
    /// `A.` and so on: each is one token to every tokenizer, which `10` is not.
    Letters,
}

impl Labels {
    pub fn of(self, option: usize) -> String {
        match self {
            Self::Numbers => (option + 1).to_string(),
            Self::Letters => char::from(b'A' + option as u8).to_string(),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Numbers => "number",
            Self::Letters => "letter",
        }
    }

    /// The option of a label that stands alone.
    fn option(self, text: &str, options: usize) -> Option<usize> {
        match self {
            Self::Numbers => text.parse().ok().filter(|number| (1..=options).contains(number)).map(|number| number - 1),
            Self::Letters => (0..options).find(|&option| self.of(option) == text),
        }
    }
}

/// The answer as it was kept.
pub(super) fn parse(answer: &str) -> Result<Raw> {
    serde_json::from_str(answer).with_context(|| format!("no answer of a server: {answer}"))
}

/// What an answer says; one with the first token's probabilities was asked with letters.
pub(in super::super) fn read(request: &Request, answer: &str) -> Result<Reading> {
    let raw = parse(answer)?;
    let scores = raw.first.as_deref().map_or_else(Vec::new, |first| scores(first, request.options.len()));
    let best = (0..scores.len()).reduce(|best, option| if scores[option] > scores[best] { option } else { best });
    let said = || {
        let number = named(&raw.reply, &request.options, Labels::Numbers);
        number.or_else(|| named(&raw.reply, &request.options, Labels::Letters))
    };
    Ok(Reading { index: best.or_else(said), scores })
}

/// The text that an answer holds.
pub(in super::super) fn written(answer: &str) -> Result<String> {
    Ok(parse(answer)?.reply.trim().to_owned())
}

/// The tokens that the server counted, where it did.
pub(in super::super) fn tokens(answer: &str) -> Result<Option<super::super::Tokens>> {
    let counted = |usage: Usage| super::super::Tokens { read: usage.prompt_tokens, written: usage.completion_tokens };
    Ok(parse(answer)?.usage.map(counted))
}

/// The natural-log probability of each option's letter as the first token, with or without a space before it. A letter that
/// is not listed is at most as likely as the last one that is, which stands for it. Empty where no letter is listed.
fn scores(first: &[(String, f64)], options: usize) -> Vec<f32> {
    let lowest = first.iter().map(|(_, logprob)| *logprob).fold(0.0, f64::min);
    let of = |option: usize| {
        let label = Labels::Letters.of(option);
        let listed: Vec<f64> =
            first.iter().filter(|(token, _)| token.trim() == label).map(|(_, logprob)| logprob.exp()).collect();
        (!listed.is_empty()).then(|| listed.iter().sum::<f64>().ln().max(lowest))
    };
    let options = options.min(LETTERS);
    let found: Vec<Option<f64>> = (0..options).map(of).collect();
    if found.iter().all(Option::is_none) {
        return vec![];
    }
    found.into_iter().map(|logprob| logprob.unwrap_or(lowest) as f32).collect()
}

/// The option that a reply names: by nothing but its label, else by its title, else by the only label in it that fits (for
/// letters: the one that it begins with, because `A` is also a word).
fn named(reply: &str, options: &[String], labels: Labels) -> Option<usize> {
    let bare = |text: &str| labels.option(text.trim_matches(|c: char| !c.is_alphanumeric()), options.len());
    if let Some(index) = bare(reply) {
        return Some(index);
    }
    let lower = reply.to_lowercase();
    // Of `Heat` and `Dead Heat` the longer one is meant where both fit.
    let titled = (0..options.len()).filter(|&index| lower.contains(&options[index].to_lowercase()));
    if let Some(index) = titled.max_by_key(|&index| (options[index].len(), std::cmp::Reverse(index))) {
        return Some(index);
    }
    if labels == Labels::Letters {
        let first = reply.split_whitespace().next()?;
        return bare(first).filter(|_| first.ends_with(|c: char| ".):*".contains(c)));
    }
    // A model that writes a list of its own has chosen nothing.
    let mut numbers =
        reply.split(|c: char| !c.is_ascii_digit()).filter_map(|number| labels.option(number, options.len()));
    let first = numbers.next()?;
    numbers.all(|number| number == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::super::conformance::request;
    use super::*;

    #[test]
    fn replies_name_options() {
        let options = ["Heat", "Dead Heat", "7 Years in Tibet", "12 Monkeys"].map(String::from);
        for (reply, index) in [
            ("2", Some(1)),
            (" **3**.\n", Some(2)),
            ("I recommend number 4!", Some(3)),
            ("dead heat", Some(1)),
            ("12 monkeys", Some(3)),
            ("4. 12 Monkeys", Some(3)),
            ("1) Heat", Some(0)),
            ("2: yes, 2 of 9", Some(1)),
            ("1. Alien\n2. Aliens", None),
            ("0", None),
            ("5", None),
            ("none of them", None),
            ("", None),
        ] {
            assert_eq!(named(reply, &options, Labels::Numbers), index, "{reply:?}");
        }
        for (reply, index) in [
            ("B", Some(1)),
            (" **C**\n", Some(2)),
            ("D) the last", Some(3)),
            ("A good question", None),
            ("b", None),
            ("E", None),
            ("A: Dead Heat", Some(1)),
        ] {
            assert_eq!(named(reply, &options, Labels::Letters), index, "{reply:?}");
        }
    }

    #[test]
    fn letters_score_by_the_first_token() {
        let asked = request(&["a\n"], &["Heat", "Fargo", "Big"]);
        let read = |first: &str, reply: &str| {
            let answer = format!(r#"{{"reply":"{reply}","finish_reason":"stop","usage":null,"first":{first}}}"#);
            super::read(&asked, &answer).unwrap()
        };
        let reading = read(r#"[["C",-1.0],[" A",-2.0],["A",-2.0],["The",-7.5]]"#, "C");
        let both = (2.0 * f64::exp(-2.0)).ln() as f32;
        assert_eq!(reading, Reading { index: Some(2), scores: vec![both, -7.5, -1.0] });
        assert_eq!(read(r#"[["The",-0.1]]"#, "B"), Reading { index: Some(1), scores: vec![] }, "the reply counts");
        assert_eq!(read("null", "2"), Reading { index: Some(1), scores: vec![] }, "a server that offers none");
    }
}
