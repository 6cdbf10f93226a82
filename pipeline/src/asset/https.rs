//! A download over HTTPS that goes on where it was torn.
//!
//! The bytes go to a part file. Beside it lies the validator (`ETag`, else `Last-Modified`) that the server gave, so that a
//! later call can ask for the rest on the condition that the file there is still the same one; without a validator the part
//! is used only where the caller knows the digest of the whole.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use ureq::http::{Response, StatusCode};

use super::{Work, spec};

/// Long enough for a slow network, short enough that a machine without one goes on to the next source.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest silence in the middle of a transfer.
const STALL: Duration = Duration::from_secs(60);
/// How often a torn transfer is taken up again, as long as each attempt brings bytes.
const ATTEMPTS: u32 = 6;

/// Why an attempt ended early.
enum Failure {
    /// The transfer broke; what came is kept and another attempt may bring the rest.
    Torn(anyhow::Error),
    /// Another attempt would end alike.
    Final(anyhow::Error),
}

/// Downloads `url` to `part` and returns with the whole file there. `digest_known` says that the caller checks the result
/// against a digest, so that a part without validator may be continued.
///
/// # Errors
/// When the server is not reached or refuses, or the transfer breaks too often; the part is kept for the next call.
/// [`crate::Interrupted`] when cancelled, with the part kept.
pub(super) fn download(url: &str, part: &Path, digest_known: bool, work: &Work) -> anyhow::Result<()> {
    let loopback = spec::is_loopback(url);
    let config = ureq::Agent::config_builder()
        .https_only(!loopback)
        .http_status_as_error(false)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_send_request(Some(CONNECT))
        .timeout_recv_response(Some(STALL))
        .timeout_per_read(Some(STALL))
        .user_agent(concat!("apprentice/", env!("CARGO_PKG_VERSION")));
    // A proxy could not reach this machine's own servers.
    let config = if loopback { config.proxy(None) } else { config };
    let agent = config.build().new_agent();
    let mut attempt = 1;
    loop {
        let before = size(part);
        match transfer(&agent, url, part, digest_known, work) {
            Ok(()) => return Ok(()),
            Err(Failure::Torn(_)) if attempt < ATTEMPTS && size(part) > before => attempt += 1,
            Err(Failure::Torn(error)) => {
                return Err(error.context(format!("the download broke off after {} bytes", size(part))));
            }
            Err(Failure::Final(error)) => return Err(error),
        }
    }
}

/// Removes a part and its validator, so that the next download begins anew.
pub(super) fn discard(part: &Path) {
    // Where one cannot be removed, the digest check of the next download finds it out.
    let _ = fs::remove_file(part);
    let _ = fs::remove_file(validator_path(part));
}

fn transfer(agent: &ureq::Agent, url: &str, part: &Path, digest_known: bool, work: &Work) -> Result<(), Failure> {
    let validator = fs::read_to_string(validator_path(part)).ok();
    if validator.is_none() && !digest_known {
        discard(part);
    }
    let start = size(part);
    // A coded body would have another length, and its ranges would be those of the coding.
    let mut request = agent.get(url).header("accept-encoding", "identity");
    if start > 0 {
        request = request.header("range", format!("bytes={start}-"));
        if let Some(validator) = &validator {
            request = request.header("if-range", validator);
        }
    }
    let response =
        request.call().map_err(|error| Failure::Final(anyhow!(error).context("the server is not reached")))?;
    match response.status() {
        StatusCode::PARTIAL_CONTENT if start > 0 => match content_range(&response) {
            Some((Some(first), total)) if first == start => receive(response, part, start, total, work),
            _ => {
                discard(part);
                Err(Failure::Final(anyhow!("the server sent another range than the one asked for")))
            }
        },
        StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => {
            // The part may be the whole file: the last run was killed between its download and its check.
            if matches!(content_range(&response), Some((_, Some(total))) if total == start) {
                return Ok(());
            }
            discard(part);
            transfer(agent, url, part, digest_known, work)
        }
        StatusCode::OK => {
            discard(part);
            keep_validator(&response, part).map_err(Failure::Final)?;
            let total = header(&response, "content-length").and_then(|length| length.parse().ok());
            receive(response, part, 0, total, work)
        }
        status => Err(Failure::Final(anyhow!("the server answers {status}"))),
    }
}

/// Appends the body to `part`, which holds `start` bytes; `total` counts those too.
fn receive(
    mut response: Response<ureq::Body>,
    part: &Path,
    start: u64,
    total: Option<u64>,
    work: &Work,
) -> Result<(), Failure> {
    let here = || format!("cannot write `{}`", part.display());
    let mut file = File::options().create(true).append(true).open(part).with_context(here).map_err(Failure::Final)?;
    let bar = work.bar("download", total, "bytes");
    bar.inc(start);
    let mut reader = response.body_mut().as_reader();
    let mut buffer = vec![0; 64 << 10];
    let mut received = start;
    loop {
        work.check_cancelled().map_err(Failure::Final)?;
        let n = reader.read(&mut buffer).map_err(|error| Failure::Torn(error.into()))?;
        if n == 0 {
            break;
        }
        file.write_all(&buffer[..n]).with_context(here).map_err(Failure::Final)?;
        received += n as u64;
        bar.inc(n as u64);
    }
    match total {
        Some(total) if received < total => Err(Failure::Torn(anyhow!("the server closed before all {total} came"))),
        Some(total) if received > total => {
            discard(part);
            Err(Failure::Final(anyhow!("the server sent {received} bytes where it had announced {total}")))
        }
        _ => Ok(()),
    }
}

fn size(part: &Path) -> u64 {
    fs::metadata(part).map_or(0, |metadata| metadata.len())
}

fn validator_path(part: &Path) -> PathBuf {
    part.with_added_extension("validator")
}

fn keep_validator(response: &Response<ureq::Body>, part: &Path) -> anyhow::Result<()> {
    // A weak tag stands for equal meaning, not for equal bytes.
    let tag = header(response, "etag").filter(|tag| !tag.starts_with("W/"));
    let Some(validator) = tag.or_else(|| header(response, "last-modified")) else { return Ok(()) };
    let path = validator_path(part);
    fs::write(&path, validator).with_context(|| format!("cannot write `{}`", path.display()))
}

fn header<'a>(response: &'a Response<ureq::Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// First byte and total of `Content-Range: bytes 5-9/10`, each where it is given.
fn content_range(response: &Response<ureq::Body>) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = header(response, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split('-').next().and_then(|first| first.parse().ok()), total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asset::testing::{Server, reply};

    const BODY: &[u8] = b"0123456789";

    fn get(server: &Server, part: &Path) -> anyhow::Result<()> {
        download(&server.url("a.bin"), part, false, &Work::silent())
    }

    /// Serves [`BODY`] with ranges, and only `served` bytes of it to each request.
    fn torn(served: usize, tag: &'static str) -> Server {
        Server::start(move |request| {
            let first = request.range().unwrap_or(0);
            if request.range().is_some() && request.header("if-range") != Some(tag) {
                return reply(200, &[("etag", tag)], BODY.len(), BODY);
            }
            if first >= BODY.len() {
                return reply(416, &[("content-range", "bytes */10")], 0, b"");
            }
            let end = BODY.len().min(first + served);
            let range = format!("bytes {first}-9/10");
            let status = if request.range().is_some() { 206 } else { 200 };
            reply(status, &[("etag", tag), ("content-range", &range)], BODY.len() - first, &BODY[first..end])
        })
    }

    #[test]
    fn a_whole_file_comes_in_one_request() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let server = Server::start(|_| reply(200, &[], BODY.len(), BODY));
        get(&server, &part).unwrap();
        assert_eq!(fs::read(&part).unwrap(), BODY);
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn a_torn_download_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let server = torn(4, "\"v1\"");
        get(&server, &part).unwrap();
        assert_eq!(fs::read(&part).unwrap(), BODY);
        let ranges: Vec<_> = server.requests().iter().map(|request| request.range()).collect();
        assert_eq!(ranges, [None, Some(4), Some(8)]);
    }

    #[test]
    fn a_later_call_goes_on_from_the_part() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        fs::write(&part, &BODY[..7]).unwrap();
        fs::write(validator_path(&part), "\"v1\"").unwrap();
        let server = torn(10, "\"v1\"");
        get(&server, &part).unwrap();
        assert_eq!(fs::read(&part).unwrap(), BODY);
        assert_eq!(server.requests()[0].range(), Some(7));
    }

    #[test]
    fn a_part_of_another_version_is_not_continued() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        fs::write(&part, "old").unwrap();
        fs::write(validator_path(&part), "\"v1\"").unwrap();
        get(&torn(10, "\"v2\""), &part).unwrap();
        assert_eq!(fs::read(&part).unwrap(), BODY);
    }

    #[test]
    fn a_part_that_is_the_whole_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        fs::write(&part, BODY).unwrap();
        fs::write(validator_path(&part), "\"v1\"").unwrap();
        let server = torn(10, "\"v1\"");
        get(&server, &part).unwrap();
        assert_eq!(server.requests().len(), 1);
    }

    #[test]
    fn a_server_without_ranges_that_always_tears_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let server = Server::start(|_| reply(200, &[], BODY.len(), &BODY[..4]));
        let error = format!("{:#}", get(&server, &part).unwrap_err());
        assert!(error.starts_with("the download broke off after 4 bytes"), "{error}");
        assert_eq!(server.requests().len(), 2);
    }

    #[test]
    fn a_refusal_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(|_| reply(404, &[], 0, b""));
        let error = get(&server, &dir.path().join("part")).unwrap_err().to_string();
        assert_eq!(error, "the server answers 404 Not Found");
    }

    #[test]
    fn cancel_keeps_the_part() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let work = Work::silent();
        let cancel = work.cancel.clone();
        let server = Server::start(move |_| {
            cancel.raise();
            reply(200, &[("etag", "\"v1\"")], BODY.len(), BODY)
        });
        let error = download(&server.url("a.bin"), &part, false, &work).unwrap_err();
        assert!(error.is::<crate::Interrupted>());
        assert!(part.exists());
    }
}
