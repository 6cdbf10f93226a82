//! Parses the body of a response: a completion, embeddings, usage, or an error in their place.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use pipeline::secret;
use serde::Deserialize;
use serde_json::Value;

use super::super::FailedCall;
use super::choice_parser::parse_option;
use super::response::{RawResponse, Usage, quote};

/// The most characters of a server's message that an error quotes.
const MAX_QUOTE: usize = 300;

/// How servers write the log-probability of an impossible token in valid JSON.
const IMPOSSIBLE: &str = "-9999.0";

/// A body as JSON. A byte-order mark is skipped, and `NaN` and infinities are replaced.
///
/// # Errors
/// When it is no JSON; the message says what it looks like.
pub(super) fn json(body: &str) -> Result<Value> {
    let text = body.trim_start_matches('\u{feff}').trim();
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        // As Python writes them.
        Err(error) => match serde_json::from_str(&without_infinities(text)) {
            Ok(value) => Ok(value),
            Err(_) => bail!("{error}{}", looks_like(text)),
        },
    }
}

/// The text with null for `NaN` and `Infinity`, and [`IMPOSSIBLE`] for `-Infinity`, outside of quotes.
fn without_infinities(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let (mut quoted, mut rest) = (false, text);
    while let Some(c) = rest.chars().next() {
        let infinite = ["-Infinity", "Infinity", "NaN"].iter().find(|word| !quoted && rest.starts_with(*word));
        let step = match (c, infinite) {
            (_, Some(word)) => {
                plain.push_str(if *word == "-Infinity" { IMPOSSIBLE } else { "null" });
                word.len()
            }
            ('\\', _) if quoted => {
                let two = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                plain.push_str(&rest[..two]);
                two
            }
            _ => {
                quoted ^= c == '"';
                plain.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[step..];
    }
    plain
}

/// A help line for a body that is no JSON; empty where its form is unknown.
fn looks_like(text: &str) -> &'static str {
    let begins = text.get(..15.min(text.len())).unwrap_or_default().to_ascii_lowercase();
    if begins.starts_with('<') {
        "\nhelp: it is a web page, such as that of a login, a proxy or a web interface: set `base_url` to the address of the API, \
         which often ends with `/v1`"
    } else if ["data:", "event:", "id:", ": "].iter().any(|field| begins.starts_with(field)) {
        "\nhelp: it is a stream of events, which was not requested: switch streaming off in the server or its proxy"
    } else {
        ""
    }
}

/// The reported usage, where it is readable. Zero prompt tokens are no usage.
pub(super) fn usage(body: &Value) -> Option<Usage> {
    let count = |names: [&str; 2]| -> Option<u64> {
        let value = names.iter().map(|name| &body["usage"][*name]).find(|value| !value.is_null())?;
        let whole = |x: &f64| x.fract() == 0.0 && (0.0..9e15).contains(x);
        value.as_u64().or_else(|| value.as_f64().filter(whole).map(|x| x as u64))
    };
    let written = ["completion_tokens", "output_tokens"];
    let counts_written = written.iter().any(|name| !body["usage"][*name].is_null());
    let prompt_tokens = count(["prompt_tokens", "input_tokens"]).filter(|&tokens| tokens > 0)?;
    let completion_tokens = if counts_written { count(written)? } else { 0 };
    Some(Usage { prompt_tokens, completion_tokens })
}

/// A chat completion. With `options` it is a choice by letters, and the top log-probabilities at the place of its choice are
/// kept.
///
/// # Errors
/// [`FailedCall`] when the model refused to answer, which a retry would not change; any other when the body is no completion.
pub(super) fn completion(body: &str, options: Option<&[String]>) -> Result<RawResponse> {
    completion_of(json(body).context("no chat completion came back")?, options)
}

/// The same of a body that is parsed.
pub(super) fn completion_of(body: Value, options: Option<&[String]>) -> Result<RawResponse> {
    #[derive(Deserialize)]
    struct Completion {
        choices: Vec<Alternative>,
    }
    #[derive(Deserialize)]
    struct Alternative {
        message: Message,
        finish_reason: Option<String>,
        // In any form: servers without log-probabilities say so in different ways.
        #[serde(default)]
        logprobs: Value,
        #[serde(default)]
        error: Value,
    }
    #[derive(Deserialize)]
    struct Message {
        // Absent or null where a model refused or only reasoned; a text, or parts of one.
        #[serde(default)]
        content: Value,
        #[serde(default)]
        refusal: Value,
    }
    if let Some(message) = server_error(&body) {
        bail!("the server reports an error: {message}");
    }
    let usage = usage(&body);
    let completion: Completion = serde_json::from_value(body).context("no chat completion came back")?;
    let Alternative { message, finish_reason, logprobs, error } =
        completion.choices.into_iter().next().context("a chat completion without choices came back")?;
    if !error.is_null() || finish_reason.as_deref() == Some("error") {
        bail!("the provider broke off with an error: {}", message_of(&error));
    }
    let reply = text(&message.content).with_context(|| {
        format!("no chat completion came back: its content is {}", quote(&message.content.to_string(), MAX_QUOTE))
    })?;
    if let Some(refusal) = message.refusal.as_str().filter(|_| reply.trim().is_empty()) {
        let reason = format!("the model refused: {}", quote(refusal, MAX_QUOTE));
        return Err(FailedCall { status: Some(200), reason, raw: refusal.to_owned() }.into());
    }
    let (first, chosen) = top_logprobs(&logprobs, options);
    // An escaped key is found only in the parsed text.
    let clean = |text: String| secret::redact(&text).into_owned();
    Ok(RawResponse { reply: clean(reply), finish_reason: finish_reason.map(clean), usage, first, chosen })
}

/// The text of a message, or its parts without reasoning.
fn text(content: &Value) -> Result<String> {
    let part = |part: &Value| -> Option<String> {
        let kind = part["type"].as_str().unwrap_or("text");
        let content = part.as_str().or_else(|| part["text"].as_str());
        content.filter(|_| ["text", "output_text"].contains(&kind)).map(str::to_owned)
    };
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => Ok(parts.iter().filter_map(part).collect()),
        Value::Object(_) if content["text"].is_string() => Ok(part(content).unwrap_or_default()),
        _ => Err(anyhow!("neither a text nor parts of one")),
    }
}

/// The error in a body: `{"error": …}`, or `{"object": "error", "message": …}`.
fn server_error(body: &Value) -> Option<String> {
    let choices = body["choices"].as_array().is_some_and(|choices| !choices.is_empty());
    let error = if body["object"] == "error" { body } else { &body["error"] };
    (!choices && !error.is_null()).then(|| message_of(error))
}

fn message_of(error: &Value) -> String {
    let message = error["message"].as_str().or_else(|| error.as_str()).map_or_else(|| error.to_string(), str::to_owned);
    quote(&message, MAX_QUOTE)
}

/// The most likely tokens at one place, with their log-probabilities.
type TopLogprobs = Option<Vec<(String, f64)>>;

/// The most likely tokens at the beginning of the reply, and those where it names an option if that is another place.
fn top_logprobs(logprobs: &Value, options: Option<&[String]>) -> (TopLogprobs, TopLogprobs) {
    let place = |place: &Value| Some((place["token"].as_str()?.to_owned(), place["logprob"].as_f64()?));
    let Some(places) = logprobs["content"].as_array() else { return (None, None) };
    let listed = |at: usize| -> TopLogprobs {
        let listed: Vec<_> = places[at]["top_logprobs"].as_array()?.iter().filter_map(place).collect();
        (!listed.is_empty()).then_some(listed)
    };
    let tokens: Vec<&str> = places.iter().map(|place| place["token"].as_str().unwrap_or_default()).collect();
    let Some(begins) = tokens.iter().position(|token| !token.trim().is_empty()) else { return (None, None) };
    let reply = tokens.concat();
    let at = options.and_then(|options| parse_option(&reply, options).ok()).and_then(|parsed| parsed.at);
    // The letter may be inside the first token, but not its first character.
    match at.filter(|&at| !reply[..at].trim().is_empty()) {
        Some(at) => {
            let mut end = 0;
            let token = tokens.iter().position(|token| {
                end += token.len();
                at < end
            });
            match token.and_then(listed) {
                Some(chosen) => (None, Some(chosen)),
                None => (listed(begins), None),
            }
        }
        None => (listed(begins), None),
    }
}

/// One embedding per text, in their order.
pub(super) fn vectors(text: &str, texts: usize) -> Result<Vec<Vec<f32>>> {
    #[derive(Deserialize)]
    struct Embeddings {
        data: Vec<Place>,
    }
    #[derive(Deserialize)]
    struct Place {
        index: usize,
        embedding: Vec<f32>,
    }
    let body = json(text).context("no embeddings came back")?;
    if let Some(message) = server_error(&body) {
        bail!("the server reports an error: {message}");
    }
    let Embeddings { data } = serde_json::from_value(body).context("no embeddings came back")?;
    let mut vectors = vec![vec![]; texts];
    for Place { index, embedding } in data {
        let place = vectors.get_mut(index).with_context(|| format!("an embedding of text {index} of {texts}"))?;
        ensure!(place.is_empty() && !embedding.is_empty(), "two embeddings of text {index}, or an empty one");
        ensure!(embedding.iter().all(|x| x.is_finite()), "an embedding of text {index} that is not finite");
        *place = embedding;
    }
    let width = vectors.first().map_or(0, Vec::len);
    ensure!(vectors.iter().all(|vector| vector.len() == width && width > 0), "{texts} embeddings of one length wanted");
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Vec<String> {
        ["Heat", "Fargo"].map(String::from).to_vec()
    }

    #[test]
    fn log_probabilities_are_taken_where_the_option_stands() {
        let of = |content: &str, places: &[(&str, &str)]| {
            let places: Vec<String> = places
                .iter()
                .map(|(token, top)| {
                    format!(r#"{{"token":{},"logprob":-0.5,"top_logprobs":[{top}]}}"#, Value::from(*token))
                })
                .collect();
            let text = format!(
                r#"{{"choices":[{{"message":{{"content":{}}},"logprobs":{{"content":[{}]}}}}]}}"#,
                Value::from(content),
                places.join(",")
            );
            let raw = completion(&text, Some(&options())).unwrap();
            (raw.first.map(|listed| listed[0].1), raw.chosen.map(|listed| listed[0].1))
        };
        let (one, two) = (r#"{"token":"x","logprob":-1}"#, r#"{"token":"B","logprob":-2}"#);
        assert_eq!(of(" B", &[("\n", one), (" B", two)]), (Some(-2.0), None), "a blank is no beginning");
        assert_eq!(of("**B**", &[("**", one), ("B", two), ("**", one)]), (None, Some(-2.0)));
        assert_eq!(of("**B**", &[("**B", two), ("**", one)]), (None, Some(-2.0)), "within a token");
        assert_eq!(of("B", &[("<think>A", one), ("</think>", one), ("\n\n", one), ("B", two)]), (None, Some(-2.0)));
        assert_eq!(of("hm", &[("hm", one)]), (Some(-1.0), None));
        for none in ["null", "{}", "[]", r#"{"content":null}"#, r#"{"content":[{"token":"a"}]}"#, r#""no""#] {
            let text = format!(r#"{{"choices":[{{"message":{{"content":"B"}},"logprobs":{none}}}]}}"#);
            let raw = completion(&text, Some(&options())).unwrap();
            assert!(raw.first.is_none() && raw.chosen.is_none(), "{none}");
        }
    }

    #[test]
    fn unreadable_usage_is_ignored() {
        for (body, read) in [
            (r#"{"usage":{"prompt_tokens":4,"completion_tokens":2}}"#, Some((4, 2))),
            (r#"{"usage":{"prompt_tokens":4}}"#, Some((4, 0))),
            (r#"{"usage":{"prompt_tokens":4.0,"completion_tokens":2.0}}"#, Some((4, 2))),
            (r#"{"usage":{"input_tokens":4,"output_tokens":2}}"#, Some((4, 2))),
            (r#"{"usage":{"prompt_tokens":4.5,"completion_tokens":2}}"#, None),
            (r#"{"usage":{"prompt_tokens":4,"completion_tokens":-2}}"#, None),
            // ding113/claude-code-hub#700: a server that counts nothing makes nothing free.
            (r#"{"usage":{"prompt_tokens":0,"completion_tokens":0}}"#, None),
            (r#"{"usage":{"prompt_tokens":"many"}}"#, None),
            (r#"{"usage":{"prompt_tokens":-4}}"#, None),
            (r#"{"usage":null}"#, None),
            ("[]", None),
        ] {
            let body: Value = serde_json::from_str(body).unwrap();
            assert_eq!(usage(&body).map(|usage| (usage.prompt_tokens, usage.completion_tokens)), read, "{body}");
        }
    }

    #[test]
    fn a_text_may_come_in_parts_with_a_mark_and_with_numbers_that_json_has_not() {
        let content = |content: &str| {
            completion(&format!(r#"{{"choices":[{{"message":{{"content":{content}}}}}]}}"#), None).map(|raw| raw.reply)
        };
        assert_eq!(content(r#"[{"type":"text","text":"A"}]"#).unwrap(), "A");
        assert_eq!(content(r#"[{"type":"reasoning","text":"B or C?"},{"type":"text","text":"A"}]"#).unwrap(), "A");
        assert_eq!(content(r#"["A","."]"#).unwrap(), "A.");
        assert_eq!(content("null").unwrap(), "");
        assert!(content("2").unwrap_err().to_string().ends_with("its content is 2"));
        let infinite = r#"{"choices":[{"message":{"content":"NaN \"-Infinity"},"logprobs":{"content":[{"token":"A",
            "top_logprobs":[{"token":"A","logprob":-0.1},{"token":"B","logprob":-Infinity}]}]}}]}"#;
        let raw = completion(&format!("\u{feff}\n{infinite}"), None).unwrap();
        assert_eq!(
            (raw.reply.as_str(), raw.first),
            ("NaN \"-Infinity", Some(vec![("A".to_owned(), -0.1), ("B".to_owned(), -9999.0)]))
        );
    }

    #[test]
    fn an_error_in_place_of_an_answer_is_reported() {
        let error_of = |body: &str| {
            let error = completion(body, None).unwrap_err();
            (format!("{error:#}"), error.is::<FailedCall>())
        };
        for (body, expected) in [
            (r#"{"error":{"message":"flagged","code":502}}"#, "the server reports an error: flagged"),
            (r#"{"error":"model is loading"}"#, "the server reports an error: model is loading"),
            (r#"{"object":"error","message":"too long","code":400}"#, "the server reports an error: too long"),
            (
                r#"{"choices":[{"message":{"content":""},"finish_reason":"error","error":{"message":"upstream died"}}]}"#,
                "the provider broke off with an error: upstream died",
            ),
            ("<html><body>Login</body></html>", "\nhelp: it is a web page"),
            ("data: {}\n\ndata: [DONE]\n\n", "\nhelp: it is a stream of events"),
            (r#"{"choices":null}"#, "no chat completion came back"),
        ] {
            let (found, failed) = error_of(body);
            assert!(found.contains(expected) && !failed, "{found}");
        }
        let (found, failed) = error_of(r#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#);
        assert!(failed && found == "the model refused: no", "{found}");
        assert_eq!(completion(r#"{"error":null,"choices":[{"message":{"content":"A"}}]}"#, None).unwrap().reply, "A");
    }

    #[test]
    fn embeddings_are_put_in_order_and_counted() {
        let two = r#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2.5]}]}"#;
        assert_eq!(vectors(two, 2).unwrap(), [[1.0, 2.5], [3.0, 4.0]]);
        for (texts, invalid) in [
            (3, two),
            (1, two),
            (2, r#"{"data":[{"index":0,"embedding":[1,2]},{"index":0,"embedding":[1,2]}]}"#),
            (2, r#"{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[1]}]}"#),
            (1, r#"{"data":[{"index":0,"embedding":[]}]}"#),
            (1, r#"{"data":[{"index":0,"embedding":[1e99]}]}"#),
            (1, r#"{"data":[{"index":0,"embedding":"aGk="}]}"#),
            (1, "{}"),
        ] {
            assert!(vectors(invalid, texts).is_err(), "{invalid}");
        }
    }
}
