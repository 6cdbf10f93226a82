//! One request and its response, in bounded time and memory, classified for the next attempt.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use pipeline::{Secret, secret};
use serde_json::Value;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, TcpConnector};
use ureq::{Agent, Body};

use super::super::FailedCall;
use super::completion::{json, usage};
use super::config::OpenaiConfig;
use super::rejection::{MAX_RAW, classify};
use super::response::{Usage, quote};
use super::retry::RetryClass;
use super::retry_after::retry_after;
use super::tls::{self, CustomRoots};

/// The most characters of a server's message that an error quotes.
const MAX_QUOTE: usize = 300;
/// The most redirects of a request.
const MAX_REDIRECTS: u32 = 5;

/// Sends requests to one server.
pub(super) struct HttpClient {
    /// Scheme, host, port and path, without a `/` at the end.
    pub server: String,
    agent: Agent,
}

/// The outcome of one request.
pub(super) struct Outcome<T> {
    pub answer: Result<T, RetryClass>,
    pub charge: Charge,
}

/// What a request sends.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    /// Nothing: it gets what is there.
    Nothing,
    Json(&'a Value),
    Bytes {
        content_type: &'a str,
        bytes: &'a [u8],
    },
}

/// Whether a request is billed.
pub(super) enum Charge {
    /// The server answered; the usage that it reports, if any.
    Billed(Option<Usage>),
    /// Not billed: it was rejected, or never arrived.
    Free,
    /// Unknown: it was sent, and no complete response came.
    Unknown,
}

impl HttpClient {
    pub fn new(config: &OpenaiConfig) -> Result<Self> {
        let (server, host) =
            config.server().with_context(|| format!("`{}` is no address of a server", config.base_url))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Followed in `send`, which keeps the method and the body.
            .max_redirects(0)
            .timeout_global(Some(Duration::try_from_secs_f64(config.timeout_seconds)?))
            .user_agent(concat!("apprentice/", env!("CARGO_PKG_VERSION")));
        // A proxy could not reach this machine's own servers.
        let loopback = host == "localhost" || host == "[::1]" || host.starts_with("127.");
        let agent = if loopback { agent.proxy(None) } else { agent }.build();
        let agent = match tls::custom_file().filter(|_| server.starts_with("https:")) {
            None => agent.new_agent(),
            Some(file) => {
                let connector = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default());
                Agent::with_parts(agent, connector.chain(CustomRoots::of(file)?), DefaultResolver::default())
            }
        };
        Ok(Self { server, agent })
    }

    /// Sends `payload` to `path` with the key, and gives the response whatever its status; `timeout` instead of that of a request.
    pub fn respond(
        &self,
        config: &OpenaiConfig,
        path: &str,
        payload: Payload<'_>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, (RetryClass, Charge)> {
        let key = match config.api_key.as_ref().map(bearer).transpose() {
            Ok(key) => key,
            Err(error) => {
                let error = match error.is::<InvalidKey>() {
                    true => error,
                    false => error.context(format!(
                        "{} may need a key; for a server without one set `api_key: null`",
                        self.server
                    )),
                };
                return Err((RetryClass::Permanent(error), Charge::Free));
            }
        };
        self.send(&format!("{}/{path}", self.server), key.as_deref(), payload, timeout)
    }

    /// Sends `body` to `path`, and parses at most `limit` bytes of the response with `parse`.
    pub fn post<T>(
        &self,
        config: &OpenaiConfig,
        path: &str,
        body: &Value,
        limit: u64,
        parse: impl FnOnce(&str) -> Result<T>,
    ) -> Outcome<T> {
        let url = format!("{}/{path}", self.server);
        let mut response = match self.respond(config, path, Payload::Json(body), None) {
            Ok(response) => response,
            Err(outcome) => return Outcome { answer: Err(outcome.0), charge: outcome.1 },
        };
        let status = response.status().as_u16();
        let after = retry_after(response.headers());
        let read = response.body_mut().with_config().limit(limit).read_to_vec();
        let refused = status != 200;
        let text = match read {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // The status matters more than the message.
            Err(error) if refused => format!("({error})"),
            Err(ureq::Error::BodyExceedsLimit(_)) => {
                let reason = format!("{url} answered more than {limit} bytes");
                let failed = FailedCall { status: Some(status), reason, raw: String::new() };
                return Outcome { answer: Err(RetryClass::Malformed(failed)), charge: Charge::Billed(None) };
            }
            Err(error) => return Outcome { answer: Err(no_answer(&url, &error)), charge: Charge::Unknown },
        };
        // Some servers echo the key.
        let text = secret::redact(&text);
        if refused {
            return Outcome { answer: Err(classify(config, &url, status, &text, after)), charge: Charge::Free };
        }
        let charge = Charge::Billed(json(&text).ok().and_then(|body| usage(&body)));
        let answer = parse(&text).map_err(|error| {
            // A retry would not be answered either.
            if error.is::<FailedCall>() {
                return RetryClass::Permanent(error);
            }
            let reason = format!("{url} answered: {}: {error:#}", quote(&text, MAX_QUOTE));
            RetryClass::Malformed(FailedCall { status: Some(status), reason, raw: quote(&text, MAX_RAW) })
        });
        Outcome { answer, charge }
    }

    /// Sends a request and follows redirects within the host.
    fn send(
        &self,
        url: &str,
        key: Option<&str>,
        payload: Payload<'_>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, (RetryClass, Charge)> {
        let ours = |error| (RetryClass::Permanent(error), Charge::Free);
        let mut to = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let response = match self.send_once(&to, key, payload, timeout) {
                Ok(response) => response,
                Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                    return Err(ours(anyhow!("cannot ask {to}: {error}")));
                }
                Err(error) => {
                    let charge = if never_arrived(&error) { Charge::Free } else { Charge::Unknown };
                    return Err((no_answer(&to, &error), charge));
                }
            };
            let status = response.status().as_u16();
            if ![301, 302, 303, 307, 308].contains(&status) {
                return Ok(response);
            }
            let place = response.headers().get("location").and_then(|place| place.to_str().ok()).unwrap_or_default();
            let place = secret::redact(place).into_owned();
            let target = target(&to, &place).filter(|_| status != 303);
            match target {
                Some((next, true)) => to = next,
                _ => {
                    let place = quote(&place, MAX_QUOTE);
                    return Err(ours(anyhow!(
                        "{to} answered {status}: it redirects to {place}; requests and keys are not sent to another host\nhelp: set \
                         `base_url` to the address of the API there, if you trust that host"
                    )));
                }
            }
        }
        Err(ours(anyhow!("{url} redirects more than {MAX_REDIRECTS} times, last to {to}\nhelp: check `base_url`")))
    }
}

impl HttpClient {
    fn send_once(
        &self,
        to: &str,
        key: Option<&str>,
        payload: Payload<'_>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, ureq::Error> {
        // ureq's builders of calls with and without a body are two types.
        macro_rules! prepared {
            ($call:expr) => {{
                let mut call = $call;
                if let Some(key) = key {
                    call = call.header("authorization", key);
                }
                match timeout {
                    Some(timeout) => call.config().timeout_global(Some(timeout)).build(),
                    None => call,
                }
            }};
        }
        match payload {
            Payload::Nothing => prepared!(self.agent.get(to)).call(),
            Payload::Json(body) => prepared!(self.agent.post(to)).send_json(body),
            Payload::Bytes { content_type, bytes } => {
                prepared!(self.agent.post(to)).header("content-type", content_type).send(bytes)
            }
        }
    }
}

/// The error of a key that no header can contain.
#[derive(Debug)]
struct InvalidKey(String);

impl std::fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidKey {}

/// The header's value. A value that no header can contain is refused and not shown.
fn bearer(key: &Secret) -> Result<String> {
    let value = key.reveal()?;
    let Err(holds) = check_header_value(&value) else { return Ok(format!("Bearer {value}")) };
    let variable = key.variable();
    Err(InvalidKey(format!(
        "the value of the environment variable `{variable}` holds {holds}, which an HTTP header cannot contain; nothing was sent\nhelp: \
         set `{variable}` to the key alone"
    ))
    .into())
}

/// Whether a header can contain a value; else the character that it cannot.
pub(super) fn check_header_value(value: &str) -> Result<(), &'static str> {
    if value.contains(['\n', '\r']) {
        Err("a line break")
    } else if value.chars().any(char::is_control) {
        Err("a control character")
    } else if !value.is_ascii() {
        Err("a character outside ASCII, such as a curly quote or a dash")
    } else {
        Ok(())
    }
}

/// The target of a redirect from `from`, and whether a request may follow it: to the same host and port, or to the same host by
/// an encrypted connection.
fn target(from: &str, place: &str) -> Option<(String, bool)> {
    let base: Uri = from.parse().ok()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let to = if place.contains("://") {
        place.to_owned()
    } else if let Some(rest) = place.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if place.starts_with('/') {
        format!("{scheme}://{authority}{place}")
    } else if place.is_empty() {
        return None;
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{place}")
    };
    let uri: Uri = to.parse().ok()?;
    let same = uri.authority()? == authority && uri.scheme_str() == Some(scheme);
    let safer = uri.scheme_str() == Some("https") && scheme == "http" && uri.host() == base.host();
    Some((to, same || safer))
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

fn no_answer(url: &str, error: &ureq::Error) -> RetryClass {
    if error.to_string().contains("certificate") {
        let help = "set the environment variable `SSL_CERT_FILE` to a PEM file with the certificate of the server or of its authority";
        return RetryClass::Permanent(
            pipeline::Unreachable(format!("{url} is not trusted: {error}\nhelp: {help}")).into(),
        );
    }
    RetryClass::Transient { why: format!("{url} does not answer: {error}"), after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_to_the_same_host_alone() {
        let from = "http://host:80/v1/chat/completions";
        for (place, to, follows) in [
            ("/r/v1/x", "http://host:80/r/v1/x", true),
            ("x?a=b", "http://host:80/v1/chat/x?a=b", true),
            ("http://host:80/", "http://host:80/", true),
            ("https://host/v1/x", "https://host/v1/x", true),
            ("//other/x", "http://other/x", false),
            ("http://host:81/x", "http://host:81/x", false),
            ("https://other/x", "https://other/x", false),
        ] {
            assert_eq!(target(from, place), Some((to.to_owned(), follows)), "{place}");
        }
        assert_eq!(target("https://host/x", "http://host/x"), Some(("http://host/x".into(), false)), "in clear");
        assert_eq!(target(from, ""), None);
    }
}
