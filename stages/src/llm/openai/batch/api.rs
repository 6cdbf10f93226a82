//! The batch API of a server in OpenAI's form: upload a file, create a batch of it, look at it, read the files that it wrote.

use std::io::{BufReader, Read};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use pipeline::secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use ureq::Body;

use super::super::super::FailedCall;
use super::super::completion;
use super::super::config::OpenaiConfig;
use super::super::http::{HttpClient, Payload};
use super::super::rejection::classify;
use super::super::response::quote;
use super::super::retry::{CancellableSleep, RetryClass, with_retries};
use super::super::retry_after::retry_after;
use super::lines::each_line;

/// The key of our name of a batch in its metadata.
const METADATA: &str = "apprentice_submission";
/// The longest time of the upload or download of a file.
const FILE_TIMEOUT: Duration = Duration::from_secs(1800);
/// The most bytes of a batch, or of a list of batches, that are read.
const MAX_BYTES: u64 = 4 << 20;
/// Batches on a page of the list, and the most pages that are read.
const PAGE: usize = 100;
const MAX_PAGES: usize = 50;
/// The most characters of a server's message that an error quotes.
const MAX_QUOTE: usize = 300;
/// The help line of a server without batches.
const NO_API: &str =
    "\nhelp: the server has no batch API of this form: leave out `llm.openai.batch`, and each request is sent alone";

/// The batch API of one server.
pub(super) struct BatchApi<'a> {
    pub http: &'a HttpClient,
    pub config: &'a OpenaiConfig,
    pub sleep: &'a CancellableSleep,
}

/// A batch as the server describes it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Batch {
    pub id: String,
    pub status: String,
    #[serde(default)]
    pub output_file_id: Option<String>,
    #[serde(default)]
    pub error_file_id: Option<String>,
    #[serde(default)]
    pub request_counts: Option<RequestCounts>,
    #[serde(default)]
    errors: Value,
    #[serde(default)]
    metadata: Option<Map<String, Value>>,
}

/// Requests of a batch.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestCounts {
    pub total: u64,
    pub completed: u64,
    pub failed: u64,
}

/// What is not retried like a request for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// A 404 means that there is no batch API.
    Api,
    /// A 404 means that there is no such thing.
    Thing,
}

impl Batch {
    /// Whether its files are complete, and nothing more will come.
    pub fn is_final(&self) -> bool {
        ["completed", "failed", "expired", "cancelled"].contains(&self.status.as_str())
    }

    /// How many of its requests were processed.
    pub fn processed(&self) -> u64 {
        self.request_counts.map_or(0, |counts| counts.completed.saturating_add(counts.failed))
    }

    /// Why the server rejects it as a whole, and a word on what helps.
    pub fn errors(&self) -> String {
        let listed = self.errors["data"].as_array().map_or(&[][..], Vec::as_slice);
        let text = |error: &Value| {
            let word = |name: &str| error[name].as_str().map(str::to_owned);
            [word("code"), word("message")].into_iter().flatten().collect::<Vec<_>>().join(": ")
        };
        let texts: Vec<String> = listed.iter().take(3).map(text).collect();
        quote(&texts.join("; "), MAX_QUOTE)
    }
}

impl BatchApi<'_> {
    /// Uploads the requests of a batch; the file's id.
    pub fn upload(&self, submission: &str, requests: &[u8]) -> Result<String> {
        #[derive(Deserialize)]
        struct Uploaded {
            id: String,
        }
        let boundary = format!("apprentice-{submission}");
        let part = |head: &str| format!("--{boundary}\r\ncontent-disposition: form-data; {head}\r\n");
        let mut body = part("name=\"purpose\"").into_bytes();
        body.extend_from_slice(b"\r\nbatch\r\n");
        body.extend(part(&format!("name=\"file\"; filename=\"{boundary}.jsonl\"")).into_bytes());
        body.extend_from_slice(b"content-type: application/jsonl\r\n\r\n");
        body.extend_from_slice(requests);
        body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
        let content_type = format!("multipart/form-data; boundary={boundary}");
        let payload = Payload::Bytes { content_type: &content_type, bytes: &body };
        let uploaded: Option<Uploaded> =
            self.retried(|| self.json("files", payload, Some(FILE_TIMEOUT), Missing::Api))?;
        checked_id(uploaded.context("no file came back")?.id)
    }

    /// Creates a batch of an uploaded file, once: where an attempt has an unknown outcome, the next one looks for its batch first.
    pub fn create(&self, submission: &str, file: &str) -> Result<Batch> {
        let window = self.config.batch.as_ref().map_or("24h", |batch| &batch.completion_window);
        let body = json!({
            "input_file_id": file,
            "endpoint": "/v1/chat/completions",
            "completion_window": window,
            "metadata": { METADATA: submission },
        });
        let mut attempts = 0;
        let created: Option<Batch> = self.retried(|| {
            attempts += 1;
            if attempts > 1
                && let Some(found) = self.find_once(submission)?
            {
                return Ok(Some(found));
            }
            self.json("batches", Payload::Json(&body), None, Missing::Api)
        })?;
        checked(created.context("no batch came back")?)
    }

    /// The batch that was created under our name of it.
    pub fn find(&self, submission: &str) -> Result<Option<Batch>> {
        self.retried(|| self.find_once(submission))?.map(checked).transpose()
    }

    fn find_once(&self, submission: &str) -> Result<Option<Batch>, RetryClass> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<Batch>,
            #[serde(default)]
            has_more: bool,
        }
        let mut after = String::new();
        for _ in 0..MAX_PAGES {
            let path = format!("batches?limit={PAGE}{after}");
            let page: Option<Page> = self.json(&path, Payload::Nothing, None, Missing::Api)?;
            let Some(Page { data, has_more }) = page else { return Ok(None) };
            let last = data.last().map(|batch| batch.id.clone());
            let ours = |batch: &Batch| {
                batch.metadata.as_ref().is_some_and(|metadata| metadata.get(METADATA) == Some(&submission.into()))
            };
            if let Some(found) = data.into_iter().find(ours) {
                return Ok(Some(found));
            }
            match last {
                Some(id) if has_more => after = format!("&after={}", checked_id(id).map_err(RetryClass::Permanent)?),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// A batch by the server's id; none where the server does not know it.
    pub fn batch(&self, id: &str) -> Result<Option<Batch>> {
        self.retried(|| self.json(&format!("batches/{id}"), Payload::Nothing, None, Missing::Thing))?
            .map(checked)
            .transpose()
    }

    /// Cancels a batch; none where the server does not know it.
    pub fn cancel(&self, id: &str) -> Result<Option<Batch>> {
        let path = format!("batches/{id}/cancel");
        self.retried(|| self.json(&path, Payload::Json(&json!({})), None, Missing::Thing))?.map(checked).transpose()
    }

    /// Reads a file line by line: at most `limit` bytes of it, and of each line at most `longest`. Gives what of it could not be read,
    /// if any. After a broken connection it begins again, which `on_line` is told by none.
    pub fn lines(
        &self,
        file: &str,
        limit: u64,
        longest: usize,
        on_line: &mut dyn FnMut(Option<&str>) -> Result<()>,
    ) -> Result<Option<String>> {
        let file = checked_id(file.to_owned())?;
        let path = format!("files/{file}/content");
        self.retried(|| {
            let read = |body: &mut Body| {
                let mut reader = BufReader::new(body.with_config().limit(limit).reader());
                on_line(None).map_err(RetryClass::Permanent)?;
                match each_line(&mut reader, longest, &mut |line| on_line(Some(&secret::redact(line))))? {
                    Ok(skipped) => Ok(skipped),
                    Err(error) if is_over_limit(&error) => Ok(Some(format!("the file has more than {limit} bytes"))),
                    Err(error) => {
                        let why = format!("{}/{path} does not answer: {error}", self.http.server);
                        Err(RetryClass::Transient { why, after: None })
                    }
                }
            };
            let skipped = self.respond(&path, Payload::Nothing, Some(FILE_TIMEOUT), Missing::Thing, read)?;
            skipped.ok_or_else(|| {
                RetryClass::Permanent(anyhow!(
                    "{} does not have the file {file} of a batch\nhelp: `batch: {{ cancel: true }}` gives the batch up",
                    self.http.server
                ))
            })
        })
    }

    fn retried<T>(&self, attempt: impl FnMut() -> Result<T, RetryClass>) -> Result<T> {
        let sleep = |pause| self.sleep.wait(pause);
        with_retries(self.config.max_retries, &sleep, attempt).map_err(|error| match error.downcast::<FailedCall>() {
            // No call: it says nothing about a request.
            Ok(FailedCall { reason, .. }) => anyhow!(reason),
            Err(error) => error,
        })
    }

    /// One attempt, and its body as JSON.
    fn json<T: DeserializeOwned>(
        &self,
        path: &str,
        payload: Payload<'_>,
        timeout: Option<Duration>,
        missing: Missing,
    ) -> Result<Option<T>, RetryClass> {
        self.respond(path, payload, timeout, missing, |body| {
            let url = format!("{}/{path}", self.http.server);
            let bytes = body.with_config().limit(MAX_BYTES).read_to_vec().map_err(|error| match error {
                ureq::Error::BodyExceedsLimit(_) => malformed(format!("{url} answered more than {MAX_BYTES} bytes")),
                error => RetryClass::Transient { why: format!("{url} does not answer: {error}"), after: None },
            })?;
            let text = String::from_utf8_lossy(&bytes);
            let text = secret::redact(&text);
            let parsed = completion::json(&text).and_then(|value| Ok(serde_json::from_value(value)?));
            parsed.map_err(|error| malformed(format!("{url} answered: {}: {error:#}", quote(&text, MAX_QUOTE))))
        })
    }

    /// One attempt; `read` gets the body of a success. None for what is missing.
    fn respond<T>(
        &self,
        path: &str,
        payload: Payload<'_>,
        timeout: Option<Duration>,
        missing: Missing,
        read: impl FnOnce(&mut Body) -> Result<T, RetryClass>,
    ) -> Result<Option<T>, RetryClass> {
        let mut response = self.http.respond(self.config, path, payload, timeout).map_err(|(class, _)| class)?;
        let status = response.status().as_u16();
        if matches!(status, 200 | 201) {
            return read(response.body_mut()).map(Some);
        }
        let after = retry_after(response.headers());
        let mut text = String::new();
        // The status matters more than the message.
        let _ = response.body_mut().with_config().limit(64 << 10).reader().read_to_string(&mut text);
        let text = secret::redact(&text);
        let url = format!("{}/{path}", self.http.server);
        if matches!(status, 404 | 405 | 501) {
            return match missing {
                Missing::Thing if status == 404 => Ok(None),
                _ => {
                    Err(RetryClass::Permanent(anyhow!("{url} answered {status}: {}{NO_API}", quote(&text, MAX_QUOTE))))
                }
            };
        }
        Err(classify(self.config, &url, status, &text, after))
    }
}

fn malformed(reason: String) -> RetryClass {
    RetryClass::Malformed(FailedCall { status: Some(200), reason, raw: String::new() })
}

fn is_over_limit(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    matches!(inner, Some(ureq::Error::BodyExceedsLimit(_)))
}

/// A batch whose id can stand in a path.
fn checked(batch: Batch) -> Result<Batch> {
    Ok(Batch { id: checked_id(batch.id)?, ..batch })
}

/// An id of the server that can stand in a path.
fn checked_id(id: String) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if id.is_empty() || id.len() > 256 || !id.chars().all(plain) || id.starts_with('.') {
        bail!("the server names a file or a batch `{}`, which is no id", quote(&id, 80));
    }
    Ok(id)
}
