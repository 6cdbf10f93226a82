//! One request and its answer, in bounded time and memory, sorted by what they mean for the next try.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use pipeline::escape::is_unsafe;
use pipeline::{Exhausted, Secret, secret};
use serde::Deserialize;
use serde_json::Value;

use super::super::Failed;
use super::config::OpenaiConfig;
use super::date::retry_after;
use super::reply::{Raw, Usage};
use super::retry::Trouble;

/// The most of a server's own words that an error repeats, in characters.
const QUOTED: usize = 300;
/// The most of them that a failed call keeps.
const KEPT: usize = 2000;

/// Where requests go.
pub(super) struct Wire {
    /// Up to the path, without a `/` at the end.
    pub server: String,
    agent: ureq::Agent,
}

/// What became of one request.
pub(super) struct Outcome<T> {
    pub answer: Result<T, Trouble>,
    pub bill: Bill,
}

/// What a request came to.
pub(super) enum Bill {
    /// The server answered; what it counted, where it says so.
    Answered(Option<Usage>),
    /// Nothing: it was refused, or never arrived.
    Nothing,
    /// Nobody knows: it was sent, and no whole answer came.
    Unknown,
}

impl Wire {
    pub fn new(config: &OpenaiConfig) -> Result<Self> {
        let (server, host) =
            config.server().with_context(|| format!("`{}` is no address of a server", config.base_url))?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::try_from_secs_f64(config.timeout_seconds)?))
            .user_agent(concat!("apprentice/", env!("CARGO_PKG_VERSION")));
        // A proxy could not reach this machine's own servers.
        let loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.");
        let agent = if loopback { agent.proxy(None) } else { agent };
        Ok(Self { server, agent: agent.build().new_agent() })
    }

    /// Sends `body` to `path`, and reads at most `limit` bytes of what comes back with `parse`.
    pub fn post<T>(
        &self,
        config: &OpenaiConfig,
        path: &str,
        body: &Value,
        limit: u64,
        parse: impl FnOnce(&str) -> Result<T>,
    ) -> Outcome<T> {
        let url = format!("{}/{path}", self.server);
        let nothing = |error| Outcome { answer: Err(Trouble::Final(error)), bill: Bill::Nothing };
        let mut call = self.agent.post(&url);
        match config.api_key.as_ref().map(Secret::reveal).transpose() {
            Ok(Some(key)) => call = call.header("authorization", format!("Bearer {key}")),
            Ok(None) => {}
            Err(unset) => {
                return nothing(unset.context(format!("{} may need a key (else set `api_key: null`)", self.server)));
            }
        }
        let mut response = match call.send_json(body) {
            Ok(response) => response,
            Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                return nothing(anyhow!("cannot ask {url}: {error}"));
            }
            Err(error) => {
                let bill = if never_arrived(&error) { Bill::Nothing } else { Bill::Unknown };
                return Outcome { answer: Err(silent(&url, &error)), bill };
            }
        };
        let status = response.status().as_u16();
        let after = retry_after(response.headers());
        let read = response.body_mut().with_config().limit(limit).read_to_vec();
        let refused = status != 200;
        let text = match read {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // What the words of a refusal were matters less than that it is one.
            Err(error) if refused => format!("({error})"),
            Err(ureq::Error::BodyExceedsLimit(_)) => {
                let reason = format!("{url} answered more than {limit} bytes");
                let failed = Failed { status: Some(status), reason, raw: String::new() };
                return Outcome { answer: Err(Trouble::Malformed(failed)), bill: Bill::Answered(None) };
            }
            Err(error) => return Outcome { answer: Err(silent(&url, &error)), bill: Bill::Unknown },
        };
        // Some servers repeat the key.
        let text = secret::redact(&text);
        if refused {
            return Outcome { answer: Err(refusal(config, &url, status, &text, after)), bill: Bill::Nothing };
        }
        let bill = Bill::Answered(usage(&text));
        let answer = parse(&text).map_err(|error| {
            let reason = format!("{url} answered: {}: {error:#}", quote(&text, QUOTED));
            Trouble::Malformed(Failed { status: Some(status), reason, raw: quote(&text, KEPT) })
        });
        Outcome { answer, bill }
    }
}

/// Whether a request certainly never reached a server.
fn never_arrived(error: &ureq::Error) -> bool {
    use ureq::{Error, Timeout};
    match error {
        Error::HostNotFound | Error::ConnectionFailed | Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

fn silent(url: &str, error: &ureq::Error) -> Trouble {
    Trouble::Passing { why: format!("{url} does not answer: {error}"), after: None }
}

fn refusal(config: &OpenaiConfig, url: &str, status: u16, text: &str, after: Option<Duration>) -> Trouble {
    let why = format!("{url} answered {status}: {}", quote(text, QUOTED));
    let variable = config.api_key.as_ref().map_or("api_key", Secret::variable);
    let credit = "\nhelp: the account has no credit left; answered calls are kept";
    match status {
        // OpenAI says so of an empty account, too, which no patience fills.
        429 if text.contains("insufficient_quota") => Trouble::Final(Exhausted(format!("{why}{credit}")).into()),
        408 | 409 | 425 | 429 | 500 | 502.. => Trouble::Passing { why, after },
        401 | 403 => {
            let help = format!("\nhelp: see that `{variable}` holds a key that may use `{}`", config.model);
            Trouble::Final(anyhow!("{why}{help}"))
        }
        402 => Trouble::Final(Exhausted(format!("{why}{credit}")).into()),
        404 | 405 | 501 | ..=399 => {
            let help = format!("\nhelp: see that `base_url` is right and the server has the model `{}`", config.model);
            Trouble::Final(anyhow!("{why}{help}"))
        }
        // About this one question: too long, or not to the provider's liking.
        _ => Trouble::Final(Failed { status: Some(status), reason: why, raw: quote(text, KEPT) }.into()),
    }
}

/// What the server counted, where it says so in a form that can be read.
fn usage(text: &str) -> Option<Usage> {
    let mut answer: Value = serde_json::from_str(text).ok()?;
    serde_json::from_value(answer.get_mut("usage")?.take()).ok()
}

/// A chat completion.
pub(super) fn completion(text: &str) -> Result<Raw> {
    #[derive(Deserialize)]
    struct Completion {
        choices: Vec<Alternative>,
    }
    #[derive(Deserialize)]
    struct Alternative {
        message: Message,
        finish_reason: Option<String>,
        // Of any form: whoever offers none may say so in their own way.
        #[serde(default)]
        logprobs: Value,
    }
    #[derive(Deserialize)]
    struct Message {
        // Absent or null where a model refused or only thought.
        content: Option<String>,
    }
    let completion: Completion = serde_json::from_str(text).context("no chat completion came back")?;
    let first = completion.choices.into_iter().next().context("a chat completion without choices came back")?;
    Ok(Raw {
        // Escaped in the answer's own form, a key would not have been found there.
        reply: secret::redact(&first.message.content.unwrap_or_default()).into_owned(),
        finish_reason: first.finish_reason.map(|reason| secret::redact(&reason).into_owned()),
        usage: usage(text),
        first: likeliest(&first.logprobs),
    })
}

/// The likeliest tokens at the first place where the reply is not blank.
fn likeliest(logprobs: &Value) -> Option<Vec<(String, f64)>> {
    let place = |place: &Value| Some((place["token"].as_str()?.to_owned(), place["logprob"].as_f64()?));
    let places = logprobs["content"].as_array()?;
    let first = places.iter().find(|found| place(found).is_some_and(|(token, _)| !token.trim().is_empty()))?;
    let listed: Vec<_> = first["top_logprobs"].as_array()?.iter().filter_map(place).collect();
    (!listed.is_empty()).then_some(listed)
}

/// One vector a text, in their order.
pub(super) fn vectors(text: &str, texts: usize) -> Result<Vec<Vec<f32>>> {
    #[derive(Deserialize)]
    struct Vectors {
        data: Vec<Place>,
    }
    #[derive(Deserialize)]
    struct Place {
        index: usize,
        embedding: Vec<f32>,
    }
    let Vectors { data } = serde_json::from_str(text).context("no embeddings came back")?;
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

/// The beginning of a server's words in one line, safe to show.
fn quote(text: &str, most: usize) -> String {
    // No more than can be needed, however long it is.
    let line: Vec<&str> = text.split_whitespace().take(most).collect();
    let line: String = line.join(" ").chars().filter(|&c| !is_unsafe(c)).take(most).collect();
    if line.is_empty() { "nothing".into() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_are_taken_where_the_reply_begins() {
        let text = r#"{"choices":[{"message":{"content":" B"},"finish_reason":"length","logprobs":{"content":[
            {"token":"\n","logprob":-0.1,"top_logprobs":[{"token":"x","logprob":-9}]},
            {"token":" B","logprob":-0.5,"top_logprobs":[{"token":" B","logprob":-0.5},{"token":"A","logprob":-2}]}]}}]}"#;
        let raw = completion(text).unwrap();
        assert_eq!(raw.first.unwrap(), [(" B".to_owned(), -0.5), ("A".to_owned(), -2.0)]);
        for none in ["null", "{}", "[]", r#"{"content":null}"#, r#"{"content":[{"token":"a"}]}"#, r#""no""#] {
            let text = format!(r#"{{"choices":[{{"message":{{"content":"B"}},"logprobs":{none}}}]}}"#);
            assert!(completion(&text).unwrap().first.is_none(), "{none}");
        }
    }

    #[test]
    fn a_bill_that_cannot_be_read_is_none() {
        for (said, read) in [
            (r#"{"usage":{"prompt_tokens":4,"completion_tokens":2}}"#, Some((4, 2))),
            (r#"{"usage":{"prompt_tokens":4}}"#, Some((4, 0))),
            (r#"{"usage":{"prompt_tokens":"many"}}"#, None),
            (r#"{"usage":{"prompt_tokens":-4}}"#, None),
            (r#"{"usage":null}"#, None),
            ("[]", None),
            ("<html>", None),
        ] {
            assert_eq!(usage(said).map(|usage| (usage.prompt_tokens, usage.completion_tokens)), read, "{said}");
        }
    }

    #[test]
    fn embeddings_are_put_in_order_and_counted() {
        let two = r#"{"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2.5]}]}"#;
        assert_eq!(vectors(two, 2).unwrap(), [[1.0, 2.5], [3.0, 4.0]]);
        for (texts, spoilt) in [
            (3, two),
            (1, two),
            (2, r#"{"data":[{"index":0,"embedding":[1,2]},{"index":0,"embedding":[1,2]}]}"#),
            (2, r#"{"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[1]}]}"#),
            (1, r#"{"data":[{"index":0,"embedding":[]}]}"#),
            (1, r#"{"data":[{"index":0,"embedding":[1e99]}]}"#),
            (1, r#"{"data":[{"index":0,"embedding":"aGk="}]}"#),
            (1, "{}"),
        ] {
            assert!(vectors(spoilt, texts).is_err(), "{spoilt}");
        }
    }

    #[test]
    fn quotes_are_one_short_line_without_commands_to_a_terminal() {
        assert_eq!(quote("a\n\n b\u{1b}[31m\u{202e}c", 300), "a b[31mc");
        assert_eq!(quote(&"x ".repeat(1_000_000), 10), "x x x x x ");
        assert_eq!(quote(" \n", 9), "nothing");
    }
}
