//! Parses a stored response: the option that the reply names, the scores of the options, and whether it is an answer at all.

use anyhow::{Context as _, Result};
use pipeline::escape::is_unsafe;
use serde::{Deserialize, Serialize};

use super::super::{ChoiceRequest, FailedCall, ParsedChoice};
use super::budget::TokenCount;
use super::choice_parser::{NoChoice, after_thoughts, letter_first, parse_option};

/// The most options that letters can label, which is also the number of top log-probabilities that a server returns.
pub(crate) const LETTERS: usize = 20;
/// The most characters of a reply that an error quotes.
const MAX_QUOTE: usize = 200;

/// The stored part of a response.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResponse {
    /// The text of the reply.
    pub reply: String,
    /// The server's finish reason.
    pub finish_reason: Option<String>,
    /// The reported usage, if any.
    pub usage: Option<Usage>,
    /// The most likely first tokens with their natural-log probabilities, where they were requested and returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Vec<(String, f64)>>,
    /// The most likely tokens at the place of the option that the reply names, where that is not its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Vec<(String, f64)>>,
}

/// Tokens as servers count them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Usage {
    pub prompt_tokens: u64,
    #[serde(default)]
    pub completion_tokens: u64,
}

impl From<Usage> for TokenCount {
    fn from(usage: Usage) -> Self {
        Self { prompt: usage.prompt_tokens, completion: usage.completion_tokens }
    }
}

/// How options are labelled in a prompt.
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
}

/// The stored answer.
pub(super) fn parse(answer: &str) -> Result<RawResponse> {
    serde_json::from_str(answer).with_context(|| format!("no answer of a server: {answer}"))
}

/// The choice that an answer makes.
pub(in super::super) fn parse_choice(request: &ChoiceRequest, answer: &str) -> Result<ParsedChoice> {
    let (index, scores) = choice(&parse(answer)?, &request.options);
    Ok(ParsedChoice { index: index.ok(), scores })
}

/// The log-probability of each option's letter at the place where the reply names one, where the server gave them.
pub(in super::super) fn option_logprobs(request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
    let (_, scores) = choice(&parse(answer)?, &request.options);
    Ok((!scores.is_empty()).then(|| scores.into_iter().map(f64::from).collect()))
}

/// Why an answer chooses no option.
enum ChoiceFailure {
    Unparsed(NoChoice),
    /// Two options tie for the highest probability.
    Tied,
}

/// The option that an answer chooses, and the scores of all options where the probabilities of their letters are known at that
/// place. Equal scores choose nothing: which of them a server writes depends on its token ids, not on the model.
fn choice(raw: &RawResponse, options: &[String]) -> (Result<usize, ChoiceFailure>, Vec<f32>) {
    let letter = |why| match (why, &raw.first) {
        (NoChoice::Several, Some(_)) => letter_first(&raw.reply, options).ok_or(why),
        _ => Err(why),
    };
    let found = parse_option(&raw.reply, options).or_else(letter);
    let Ok(parsed) = found else { return (found.map(|parsed| parsed.option).map_err(ChoiceFailure::Unparsed), vec![]) };
    let begins = parsed.at.is_some_and(|at| raw.reply[..at].trim().is_empty());
    let listed = raw.chosen.as_deref().or_else(|| raw.first.as_deref().filter(|_| begins));
    let Some(scores) = listed.and_then(|listed| scores(listed, options.len(), parsed.option)) else {
        return (Ok(parsed.option), vec![]);
    };
    let best = scores.iter().map(|score| score.0).fold(f64::MIN, f64::max);
    let mut highest = (0..scores.len()).filter(|&option| scores[option] == (best, true));
    let index = highest.next().filter(|_| highest.next().is_none()).ok_or(ChoiceFailure::Tied);
    // Scores that do not separate the choice from the other options are dropped.
    let informative = scores.iter().any(|score| score.0 < best);
    (index, scores.into_iter().filter(|_| informative).map(|score| score.0 as f32).collect())
}

/// The text of an answer, without reasoning before it.
pub(in super::super) fn completion_text(answer: &str) -> Result<String> {
    Ok(after_thoughts(&parse(answer)?.reply).unwrap_or_default().trim().to_owned())
}

/// The usage that the server reported, if any.
pub(in super::super) fn count_tokens(answer: &str) -> Result<Option<super::super::TokenUsage>> {
    let counted =
        |usage: Usage| super::super::TokenUsage { prompt: usage.prompt_tokens, completion: usage.completion_tokens };
    Ok(parse(answer)?.usage.map(counted))
}

/// Why a stored `answer` does not answer the stored `request`; none where it does.
pub(in super::super) fn answer_failure(request: &str, answer: &str) -> Result<Option<FailedCall>> {
    let raw = parse(answer)?;
    let cut = raw.finish_reason.as_deref() == Some("length");
    let content = after_thoughts(&raw.reply);
    let quote = quote(&raw.reply, MAX_QUOTE);
    let plainer = "\nhelp: use a model that follows instructions, or describe the form of the answer in `instructions`";
    let longer = "\nhelp: raise the token limit: `max_tokens` for a choice, `roles` and `actor` for texts; a reasoning model needs hundreds \
                  of tokens, and `leave_out: [stop]` so that its thoughts do not end at a line break";
    let why = match raw.finish_reason.as_deref() {
        Some("content_filter") => "the provider withheld the answer (`content_filter`)".to_owned(),
        Some("error") => "the provider broke off with an error".to_owned(),
        _ if content.is_none() => format!("the answer is an unfinished thought: {quote}{longer}"),
        _ if content.is_some_and(|content| content.trim().is_empty()) => {
            let words = raw
                .finish_reason
                .as_deref()
                .map_or_else(String::new, |reason| format!(" (`{}`)", self::quote(reason, 40)));
            format!("the answer is empty{words}{}", if cut { longer } else { "" })
        }
        _ => match serde_json::from_str::<ChoiceRequest>(request).map(|request| choice(&raw, &request.options).0) {
            // Any reply is a text.
            Err(_) | Ok(Ok(_)) => return Ok(None),
            Ok(Err(ChoiceFailure::Tied)) => format!("the reply {quote} gives two options the same probability"),
            Ok(Err(ChoiceFailure::Unparsed(NoChoice::Several))) => {
                format!("the reply names more than one option, or negates one: {quote}{plainer}")
            }
            Ok(Err(ChoiceFailure::Unparsed(_))) => {
                format!("the reply names no option: {quote}{}", if cut { longer } else { plainer })
            }
        },
    };
    Ok(Some(FailedCall { status: None, reason: why, raw: answer.to_owned() }))
}

/// The beginning of a text in one line, safe to print.
pub(super) fn quote(text: &str, most: usize) -> String {
    // Bounded before it is joined.
    let line: Vec<&str> = text.split_whitespace().take(most).collect();
    let line: String = line.join(" ").chars().filter(|&c| !is_unsafe(c)).take(most).collect();
    if line.is_empty() { "nothing".into() } else { line }
}

/// The natural-log probability of each option's letter at a place, whatever punctuation its token has, and whether it is listed. A
/// letter that is not listed gets the lowest listed value, an upper bound. None where the letter of the `parsed` option is not
/// listed: then it is another place.
fn scores(listed: &[(String, f64)], options: usize, parsed: usize) -> Option<Vec<(f64, bool)>> {
    let lowest = listed.iter().map(|(_, logprob)| *logprob).fold(0.0, f64::min);
    let bare = |token: &str| -> String {
        let plain: String = token.chars().map(super::reply_words::fold).collect();
        plain.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
    };
    let of = |option: usize, small: bool| {
        let label = Labels::Letters.of(option);
        let label = if small { label.to_lowercase() } else { label };
        let found: Vec<f64> =
            listed.iter().filter(|(token, _)| bare(token) == label).map(|(_, logprob)| logprob.exp()).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>().ln().max(lowest))
    };
    let options = options.min(LETTERS);
    // A model that answers in lower case is scored by lower-case letters.
    let small = [false, true].into_iter().find(|&small| parsed < options && of(parsed, small).is_some())?;
    Some((0..options).map(|option| of(option, small).map_or((lowest, false), |score| (score, true))).collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::conformance::request;
    use super::*;

    fn raw(reply: &str, more: &str) -> String {
        format!(r#"{{"reply":{},"finish_reason":"stop","usage":null{more}}}"#, serde_json::Value::from(reply))
    }

    #[test]
    fn letters_score_where_the_option_stands() {
        let choice = request(&["a\n"], &["Heat", "Fargo", "Big"]);
        let read = |reply: &str, more: &str| super::parse_choice(&choice, &raw(reply, more)).unwrap();
        let reading = read("C", r#","first":[["C",-1.0],[" A",-2.0],["A",-2.0],["The",-7.5]]"#);
        let both = (2.0 * f64::exp(-2.0)).ln() as f32;
        assert_eq!(reading, ParsedChoice { index: Some(2), scores: vec![both, -7.5, -1.0] });
        let logprobs = |more: &str| option_logprobs(&choice, &raw("C", more)).unwrap();
        let listed = logprobs(r#","first":[["C",-1.0],[" A",-2.0],["A",-2.0],["The",-7.5]]"#);
        assert_eq!(listed, Some(vec![f64::from(both), -7.5, -1.0]));
        assert_eq!(logprobs(""), None, "a server that offers none");
        let of = |index| ParsedChoice { index, scores: vec![] };
        assert_eq!(read("B", r#","first":[["The",-0.1]]"#), of(Some(1)), "the reply counts");
        assert_eq!(read("2", r#","first":null"#), of(Some(1)), "a server that offers none");
        // What was kept of a first token that is no option's letter: markup, a line break, a thought, a word.
        assert_eq!(read("**B**", r#","first":[["**",-0.01],["A",-9.0]]"#), of(Some(1)));
        assert_eq!(read("A good choice is B.", r#","first":[["A",-0.1],["B",-3.0]]"#), of(Some(1)));
        let other = read("B. Heat", r#","first":[["B",-0.1],["A",-3.0]]"#);
        assert_eq!(other.index, Some(1), "the letter was asked for, and has a probability");
        assert_eq!(read("B. Heat", ""), of(None));
        assert_eq!(read("**", r#","first":[["**",-0.01],["A",-9.0]]"#), of(None), "no floor is a choice");
        let chosen = read("**B**", r#","chosen":[["B",-0.1],["A",-3.0]]"#);
        assert_eq!(chosen, ParsedChoice { index: Some(1), scores: vec![-3.0, -0.1, -3.0] });
        // Nothing else is listed, so nothing is known of the others but that they are no likelier.
        assert_eq!(read("B", r#","first":[["B",-0.1]]"#), of(Some(1)));
        let small = read("b", r#","first":[["b",-0.1],[" a",-3.0]]"#);
        assert_eq!(small, ParsedChoice { index: Some(1), scores: vec![-3.0, -0.1, -3.0] });
        let tie = read("A", r#","first":[["A",-0.7],["B",-0.7],["C",-2.0]]"#);
        assert_eq!(tie.index, None, "which of two equals a server writes is no choice");
        // As a server says that the others are impossible.
        let sure = read("A", r#","first":[["A",-0.1],[" B",-9999.0]]"#);
        assert_eq!(sure, ParsedChoice { index: Some(0), scores: vec![-0.1, -9999.0, -9999.0] });
    }

    #[test]
    fn what_is_no_answer_says_why() {
        let choice = request(&["a\n"], &["Heat", "Fargo"]).canonical();
        let completion = super::super::super::CompletionRequest {
            context: vec![],
            completion_prefix: "Thought:".into(),
            max_tokens: 8,
            stop: "\n".into(),
            temperature: 0.0,
            draw: 0,
            integer: None,
        };
        let completion = completion.canonical();
        let why = |request: &str, reply: &str, finish: &str| {
            let answer =
                format!(r#"{{"reply":{},"finish_reason":"{finish}","usage":null}}"#, serde_json::Value::from(reply));
            answer_failure(request, &answer).unwrap().map(|failed| failed.reason)
        };
        for (reply, finish, expected) in [
            ("A", "stop", None),
            ("B", "length", None),
            ("", "stop", Some("the answer is empty (`stop`)")),
            ("", "length", Some("the answer is empty (`length`)\nhelp: raise the token limit: `max_tokens`")),
            ("A", "content_filter", Some("the provider withheld the answer")),
            ("", "error", Some("the provider broke off")),
            ("<think>\nOkay B might", "length", Some("an unfinished thought: <think> Okay B might\nhelp: ")),
            ("<think>no</think>\n", "stop", Some("the answer is empty")),
            ("The best", "length", Some("the reply names no option: The best\nhelp: ")),
            ("hm", "stop", Some("the reply names no option: hm")),
            ("B, A", "stop", Some("more than one option")),
        ] {
            let found = why(&choice, reply, finish);
            match expected {
                None => assert_eq!(found, None, "{reply}"),
                Some(expected) => {
                    assert!(found.as_ref().is_some_and(|found| found.contains(expected)), "{reply}: {found:?}")
                }
            }
        }
        assert_eq!(why(&completion, "B, A", "length"), None, "any words are a text");
        assert!(why(&completion, " \n", "stop").is_some() && why(&completion, "<think>\n", "stop").is_some());
        assert!(answer_failure(&choice, "").is_err(), "an empty answer is invalid");
    }

    #[test]
    fn a_text_is_what_comes_after_the_thoughts() {
        // anomalyco/opencode#21515: thoughts that a server leaves in the content are shown as the answer.
        assert_eq!(
            completion_text(&raw("<think>\nHe likes crime.\n</think>\n\nSomething light.\n", "")).unwrap(),
            "Something light."
        );
        assert_eq!(completion_text(&raw(" plain ", "")).unwrap(), "plain");
    }

    #[test]
    fn quotes_are_one_short_line_without_commands_to_a_terminal() {
        assert_eq!(quote("a\n\n b\u{1b}[31m\u{202e}c", 300), "a b[31mc");
        assert_eq!(quote(&"x ".repeat(1_000_000), 10), "x x x x x ");
        assert_eq!(quote(" \n", 9), "nothing");
    }
}
