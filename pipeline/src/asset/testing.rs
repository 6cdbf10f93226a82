//! A web server of this process for the tests of downloads: it answers each request with the bytes a closure gives.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// The head of one request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    lines: Vec<String>,
}

impl Request {
    /// The value of a header, asked for in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found =
            self.lines.iter().filter_map(|line| line.split_once(": ")).find(|pair| pair.0.eq_ignore_ascii_case(name));
        found.map(|pair| pair.1)
    }
    /// The first byte that it asks for.
    pub(super) fn range(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// Serves until the test's process ends.
pub(super) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&Request) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                let request = Request { lines: lines.collect() };
                seen.lock().unwrap().push(request.clone());
                // A client may hang up in the middle; that is what some tests are about.
                let _ = stream.write_all(&answer(&request));
            }
        });
        Self { address, requests }
    }
    pub(super) fn url(&self, file: &str) -> String {
        format!("http://{}/{file}", self.address)
    }
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// An answer that announces `length` bytes and sends `body`.
pub(super) fn reply(status: u16, headers: &[(&str, &str)], length: usize, body: &[u8]) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}
