//! A model behind an OpenAI-compatible server: it reads the options as a numbered list and answers with a number.
//!
//! `POST {base_url}/chat/completions`, which OpenAI, most other providers, and local servers (llama.cpp, vLLM, Ollama)
//! answer. The key is read from the environment when the first question is asked, goes into one header, and is cut out of
//! what comes back.
//!
//! Not here: streaming, tools, log-probabilities, batches, cost.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use pipeline::{Secret, secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::http::{Response, Uri};

use super::retry::{Trouble, persist};
use super::{Answer, Llm, Player, Players, Reading, Request};

/// Raised when an equal request to an equal model should be worded anew. 2: the path of the address is in the identity, because
/// one host may serve several models under several paths.
const FORM: u32 = 2;
/// The most of a server's own words that an error repeats, in characters.
const QUOTED: usize = 300;

/// `llm: { openai: … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenaiConfig {
    /// The server, up to the `/v1` or what it has in its place.
    #[serde(default = "OpenaiConfig::base_url")]
    pub base_url: String,
    /// The model's name, as the server knows it.
    pub model: String,
    /// The key, as `${env:NAME}`: the environment variable that holds it; `null` for a server that needs none.
    #[serde(default = "OpenaiConfig::api_key")]
    pub api_key: Option<Secret>,
    /// How many requests may be under way at once.
    #[serde(default = "OpenaiConfig::in_flight")]
    pub in_flight: usize,
    /// Seconds to wait for one whole answer.
    #[serde(default = "OpenaiConfig::timeout_seconds")]
    pub timeout_seconds: f64,
    /// How often a request is sent again after a timeout, a broken connection, a 429 or a 5xx.
    #[serde(default = "OpenaiConfig::retries")]
    pub retries: u32,
    /// The longest answer, in tokens; a model that thinks aloud needs more.
    #[serde(default = "OpenaiConfig::max_tokens")]
    pub max_tokens: u32,
    /// 0 for the most probable answer.
    #[serde(default)]
    pub temperature: f64,
}

impl OpenaiConfig {
    fn base_url() -> String {
        "https://api.openai.com/v1".into()
    }
    fn api_key() -> Option<Secret> {
        Some(Secret::of("OPENAI_API_KEY"))
    }
    fn in_flight() -> usize {
        4
    }
    fn timeout_seconds() -> f64 {
        60.0
    }
    fn retries() -> u32 {
        4
    }
    fn max_tokens() -> u32 {
        8
    }

    /// The server's scheme, host, port and path without a `/` at the end, and the host alone.
    fn server(&self) -> Option<(String, String)> {
        let uri: Uri = self.base_url.parse().ok()?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        if uri.query().is_some() {
            return None;
        }
        let path = uri.path().trim_end_matches('/');
        Some((format!("{scheme}://{authority}{path}"), authority.host().to_owned()))
    }

    /// What no type can say.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        if self.server().is_none() {
            return wrong(
                "base_url",
                "an address such as `https://api.openai.com/v1`, without a user, a password or a `?` in it",
            );
        }
        if self.model.trim().is_empty() {
            return wrong("model", "the model's name, as the server knows it");
        }
        if !(1..=256).contains(&self.in_flight) {
            return wrong("in_flight", "1 to 256 requests at once");
        }
        if !(self.timeout_seconds > 0.0 && self.timeout_seconds <= 3600.0) {
            return wrong("timeout_seconds", "more than 0 and at most 3600 seconds");
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens", "at least one token");
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return wrong("temperature", "0 to 2");
        }
        Ok(())
    }

    pub(super) fn open(&self) -> Result<Remote> {
        let (server, host) = self.server().with_context(|| format!("`{}` is no address of a server", self.base_url))?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::try_from_secs_f64(self.timeout_seconds)?))
            .user_agent(concat!("apprentice/", env!("CARGO_PKG_VERSION")));
        // A proxy could not reach this machine's own servers.
        let loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.");
        let agent = if loopback { agent.proxy(None) } else { agent };
        Ok(Remote { config: self.clone(), server, agent: agent.build().new_agent(), pause: std::thread::sleep })
    }
}

/// The server with what it takes to ask it.
pub(super) struct Remote {
    config: OpenaiConfig,
    server: String,
    agent: ureq::Agent,
    pause: fn(Duration),
}

/// The raw answer: what of the response is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// The model's words.
    reply: String,
    /// Why it stopped, in the server's words.
    finish_reason: Option<String>,
    /// What the server counts, where it says so.
    usage: Option<Usage>,
}

#[derive(Serialize, Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Llm for Remote {
    fn identity(&self) -> String {
        let OpenaiConfig { model, max_tokens, temperature, .. } = &self.config;
        let (server, model) = (Value::from(self.server.as_str()), Value::from(model.as_str()));
        format!(
            r#"{{"provider":"openai","form":{FORM},"server":{server},"model":{model},"max_tokens":{max_tokens},"temperature":{temperature}}}"#
        )
    }

    fn at_once(&self) -> Option<usize> {
        Some(self.config.in_flight)
    }

    fn players<'a>(&'a self, _: &str) -> Result<Players<'a>> {
        Ok(Box::new(move || Box::new(Caller(self))))
    }

    fn references(&self, _: &Request) -> Vec<Request> {
        vec![]
    }

    fn read(&self, request: &Request, answer: &str, _: &[String]) -> Result<Reading> {
        let raw: Raw = serde_json::from_str(answer).with_context(|| format!("no answer of a server: {answer}"))?;
        Ok(Reading { index: named(&raw.reply, &request.options), scores: vec![] })
    }
}

/// The option that a reply names: by nothing but its number, else by its title, else by the only number in it that fits.
fn named(reply: &str, options: &[String]) -> Option<usize> {
    let numbered =
        |number: &str| number.parse().ok().filter(|number| (1..=options.len()).contains(number)).map(|n| n - 1);
    if let Some(index) = numbered(reply.trim_matches(|c: char| !c.is_alphanumeric())) {
        return Some(index);
    }
    let reply = reply.to_lowercase();
    // Of `Heat` and `Dead Heat` the longer one is meant where both fit.
    let titled = (0..options.len()).filter(|&index| reply.contains(&options[index].to_lowercase()));
    if let Some(index) = titled.max_by_key(|&index| (options[index].len(), std::cmp::Reverse(index))) {
        return Some(index);
    }
    // A model that writes a list of its own has chosen nothing.
    let mut numbers = reply.split(|c: char| !c.is_ascii_digit()).filter_map(numbered);
    let first = numbers.next()?;
    numbers.all(|number| number == first).then_some(first)
}

/// A server keeps nothing between two requests, so all conversations are alike.
struct Caller<'a>(&'a Remote);

impl Player for Caller<'_> {
    fn ask(&mut self, request: &Request) -> Result<Answer> {
        ensure!(!request.options.is_empty(), "no option to choose from");
        let remote = self.0;
        let raw = persist(remote.config.retries, &remote.pause, || remote.send(request))?;
        let tokens = raw.usage.as_ref().map_or(0, |usage| usage.prompt_tokens + usage.completion_tokens);
        Ok(Answer { text: serde_json::to_string(&raw)?, tokens })
    }
}

impl Remote {
    fn send(&self, request: &Request) -> Result<Raw, Trouble> {
        let url = format!("{}/chat/completions", self.server);
        let key = self.key().map_err(Trouble::Final)?;
        let mut call = self.agent.post(&url);
        if let Some(key) = &key {
            call = call.header("authorization", format!("Bearer {key}"));
        }
        let passing = |why: String| Trouble::Passing { why, after: None };
        let broken = |error: ureq::Error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Trouble::Final(anyhow!("cannot ask {url}: {error}")),
            error => passing(format!("{url} does not answer: {error}")),
        };
        let mut response = call.send_json(self.body(request)).map_err(broken)?;
        let status = response.status().as_u16();
        let after = retry_after(&response);
        let text = response.body_mut().read_to_string().map_err(broken)?;
        // Some servers repeat the key.
        let text = secret::redact(&text);
        if status == 200 {
            return parse(&text).with_context(|| format!("{url} answered: {}", quote(&text))).map_err(Trouble::Final);
        }
        let why = format!("{url} answered {status}: {}", quote(&text));
        if status == 429 || status >= 500 {
            return Err(Trouble::Passing { why, after });
        }
        let variable = self.config.api_key.as_ref().map_or("api_key", Secret::variable);
        let help = match status {
            401 | 403 => format!("\nhelp: see that `{variable}` holds a key that may use `{}`", self.config.model),
            402 => "\nhelp: the account has no credit left; answered calls are kept".to_owned(),
            404 => format!("\nhelp: see that `base_url` is right and the server has the model `{}`", self.config.model),
            _ => String::new(),
        };
        Err(Trouble::Final(anyhow!("{why}{help}")))
    }

    fn key(&self) -> Result<Option<String>> {
        let Some(secret) = &self.config.api_key else { return Ok(None) };
        let needed = || format!("{} may need a key (else set `api_key: null`)", self.server);
        secret.reveal().with_context(needed).map(Some)
    }

    fn body(&self, request: &Request) -> Value {
        let (instructions, rest) = request.context.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
        let list: String =
            request.options.iter().enumerate().map(|(index, option)| format!("{}. {option}\n", index + 1)).collect();
        let system = format!("{instructions}Answer with the number of your choice and nothing else.");
        let user = format!("{}Candidates:\n{list}{}", rest.concat(), request.cue);
        json!({
            "model": self.config.model,
            "messages": [{ "role": "system", "content": system }, { "role": "user", "content": user }],
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature,
        })
    }
}

/// The pause that the server asks for in seconds; a date is not understood.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    Some(Duration::from_secs(response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?))
}

fn parse(text: &str) -> Result<Raw> {
    #[derive(Deserialize)]
    struct Completion {
        choices: Vec<Alternative>,
        usage: Option<Usage>,
    }
    #[derive(Deserialize)]
    struct Alternative {
        message: Message,
        finish_reason: Option<String>,
    }
    #[derive(Deserialize)]
    struct Message {
        // Absent or null where a model refused or only thought.
        content: Option<String>,
    }
    let completion: Completion = serde_json::from_str(text).context("no chat completion came back")?;
    let first = completion.choices.into_iter().next().context("a chat completion without choices came back")?;
    Ok(Raw {
        reply: first.message.content.unwrap_or_default(),
        finish_reason: first.finish_reason,
        usage: completion.usage,
    })
}

/// The beginning of a server's words in one line.
fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "nothing".into() } else { line.chars().take(QUOTED).collect() }
}

#[cfg(test)]
mod tests {
    use pipeline::Unreachable;

    use super::super::conformance::{conforms, request};
    use super::super::mock_server::{MockServer, response};
    use super::*;

    /// Set wherever programs run, and not to be found in an answer by chance.
    const SECRET: &str = "PATH";

    fn config(server: &MockServer) -> OpenaiConfig {
        let fields = json!({ "base_url": server.base_url, "model": "m", "api_key": Secret::of(SECRET), "retries": 2 });
        serde_json::from_value(fields).unwrap()
    }

    fn remote(server: &MockServer) -> Remote {
        Remote { pause: |_| {}, ..config(server).open().unwrap() }
    }

    fn completion(content: &str) -> String {
        let choice = json!({ "message": { "role": "assistant", "content": content }, "finish_reason": "stop" });
        let usage = json!({ "prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42 });
        response(200, "", &json!({ "choices": [choice], "usage": usage }).to_string())
    }

    fn ask(remote: &Remote) -> Result<Answer> {
        let players = remote.players("").unwrap();
        players().ask(&request(&["Be brief.\n", "Shown: Alien.\n"], &["Heat", "Fargo"]))
    }

    #[test]
    fn it_conforms() {
        // Answers by the length of the question, so that different ones get different answers.
        let server = MockServer::start(|_, body| Some(completion(&format!("{}", 1 + body.len() % 2))));
        conforms(&remote(&server));
    }

    #[test]
    fn what_is_sent_and_what_is_kept() {
        let server = MockServer::start(|_, _| Some(completion("2.")));
        let remote = remote(&server);
        let answer = ask(&remote).unwrap();
        let kept = r#"{"reply":"2.","finish_reason":"stop","usage":{"prompt_tokens":40,"completion_tokens":2}}"#;
        assert_eq!(answer, Answer { text: kept.into(), tokens: 42 });
        let received = &server.received()[0];
        let secret = std::env::var(SECRET).unwrap();
        assert!(received.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
        assert!(received.head.contains(&format!("authorization: Bearer {secret}\r\n")));
        let body: Value = serde_json::from_str(&received.body).unwrap();
        assert_eq!(
            body,
            json!({
                "model": "m",
                "messages": [
                    { "role": "system", "content": "Be brief.\nAnswer with the number of your choice and nothing else." },
                    { "role": "user", "content": "Shown: Alien.\nCandidates:\n1. Heat\n2. Fargo\nNext:" },
                ],
                "max_tokens": 8,
                "temperature": 0.0,
            })
        );
        let server = &server.base_url;
        assert_eq!(
            remote.identity(),
            format!(
                r#"{{"provider":"openai","form":2,"server":"{server}","model":"m","max_tokens":8,"temperature":0}}"#
            )
        );
    }

    #[test]
    fn passing_trouble_is_tried_again() {
        let server = MockServer::start(|number, _| match number {
            0 => Some(response(429, "retry-after: 7\r\n", "slow down")),
            1 => None,
            _ => Some(completion("1")),
        });
        assert!(ask(&remote(&server)).is_ok());
        assert_eq!(server.received().len(), 3);
    }

    #[test]
    fn a_server_that_stays_away_is_unreachable() {
        let busy = MockServer::start(|_, _| Some(response(503, "", "over\nloaded")));
        let error = ask(&remote(&busy)).unwrap_err();
        let url = format!("{}/chat/completions", busy.base_url);
        assert!(error.is::<Unreachable>());
        assert!(
            error.to_string().starts_with(&format!("{url} answered 503: over loaded (3 tries)\nhelp: ")),
            "{error}"
        );
        let silent = MockServer::start(|_, _| None);
        let error = ask(&remote(&silent)).unwrap_err();
        assert!(error.is::<Unreachable>() && error.to_string().contains("does not answer"), "{error}");
        assert_eq!(silent.received().len(), 3);
        let later = MockServer::start(|_, _| Some(response(429, "retry-after: 3600\r\n", "")));
        let error = ask(&remote(&later)).unwrap_err();
        assert!(error.is::<Unreachable>() && error.to_string().contains("come back in 3600 s"), "{error}");
        assert_eq!(later.received().len(), 1);
    }

    #[test]
    fn a_refusal_is_final_and_keeps_the_key_to_itself() {
        for (status, help) in
            [(400, ""), (401, "help: see that `PATH`"), (402, "credit"), (403, "`PATH`"), (404, "`m`")]
        {
            let server = MockServer::start(move |_, _| {
                Some(response(status, "", &format!("not with {}", std::env::var(SECRET).unwrap())))
            });
            let error = format!("{:#}", ask(&remote(&server)).unwrap_err());
            assert!(
                error.contains(&format!("answered {status}: not with ${{env:PATH}}")) && error.contains(help),
                "{error}"
            );
            assert_eq!(server.received().len(), 1, "{status} is not tried again");
        }
    }

    #[test]
    fn garbage_is_final_and_shown() {
        for garbage in ["<html>hello</html>", "{}", r#"{"choices":[]}"#] {
            let server = MockServer::start(move |_, _| Some(response(200, "", garbage)));
            let error = format!("{:#}", ask(&remote(&server)).unwrap_err());
            assert!(error.contains(garbage) && error.contains("chat completion"), "{error}");
            assert_eq!(server.received().len(), 1);
        }
    }

    #[test]
    fn a_missing_key_names_its_variable() {
        let server = MockServer::start(|_, _| Some(completion("1")));
        let named = OpenaiConfig { api_key: Some(Secret::of("NO_SUCH_KEY_IS_SET")), ..config(&server) };
        let error = format!("{:#}", ask(&named.open().unwrap()).unwrap_err());
        assert!(error.contains(": the environment variable `NO_SUCH_KEY_IS_SET` is not set\nhelp: "), "{error}");
        assert!(server.received().is_empty());
        let none = OpenaiConfig { api_key: None, ..named };
        assert!(ask(&none.open().unwrap()).is_ok());
        assert!(!server.received()[0].head.to_lowercase().contains("authorization"));
    }

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
            assert_eq!(named(reply, &options), index, "{reply:?}");
        }
    }

    #[test]
    fn a_config_is_checked() {
        let base = json!({ "model": "m" });
        let parsed: OpenaiConfig = serde_json::from_value(base).unwrap();
        assert_eq!((parsed.base_url.as_str(), parsed.check()), ("https://api.openai.com/v1", Ok(())));
        assert_eq!(parsed.api_key, Some(Secret::of("OPENAI_API_KEY")));
        for (spoilt, path) in [
            (OpenaiConfig { base_url: "api.openai.com".into(), ..parsed.clone() }, "base_url"),
            (OpenaiConfig { base_url: "https://me:secret@host/v1".into(), ..parsed.clone() }, "base_url"),
            (OpenaiConfig { model: " ".into(), ..parsed.clone() }, "model"),
            (OpenaiConfig { in_flight: 0, ..parsed.clone() }, "in_flight"),
            (OpenaiConfig { timeout_seconds: f64::NAN, ..parsed.clone() }, "timeout_seconds"),
            (OpenaiConfig { max_tokens: 0, ..parsed.clone() }, "max_tokens"),
            (OpenaiConfig { temperature: 3.0, ..parsed.clone() }, "temperature"),
        ] {
            assert_eq!(spoilt.check().unwrap_err().0, path);
        }
    }
}
