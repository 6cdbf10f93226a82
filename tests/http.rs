//! A client of HTTP that does no more than a test needs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// An answer.
#[derive(Default)]
pub struct Reply {
    /// 0 where there is none.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    pub body: String,
}

/// Sends a request to `host:port`; `headers` are whole lines.
pub fn send(address: &str, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
    let Ok(mut stream) = TcpStream::connect(address) else { return Reply::default() };
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: {length}\r\n\r\n");
    // A service that refuses a large body may close before it has read all of it.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    // A service that refused a large body may be gone before its answer is read.
    while reader.read_line(&mut head).unwrap_or(0) > 2 {}
    let named = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let length = head.lines().filter_map(named).find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(u64::MAX);
    let mut body = String::new();
    // Not every server closes when it is asked to.
    let _ = reader.take(length).read_to_string(&mut body);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head, body }
}
