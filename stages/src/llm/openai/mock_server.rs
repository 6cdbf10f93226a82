//! A local server that answers as a test specifies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Request line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Serves until the test's process ends, every connection in a thread of its own.
pub(crate) struct MockServer {
    /// `http://127.0.0.1:PORT/v1`.
    pub base_url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl MockServer {
    /// `reply` makes the bytes to send from the number of the request, from 0, and its body; none closes the connection.
    pub fn start(reply: impl Fn(usize, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::raw(move |number, body, stream| {
            if let Some(answer) = reply(number, body) {
                // The client may be gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        })
    }

    /// `serve` may use the connection freely once the request was read.
    pub fn raw(serve: impl Fn(usize, &str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::whole(move |number, request, stream| serve(number, &request.body, stream))
    }

    /// The same with the whole request.
    pub fn whole(serve: impl Fn(usize, &Received, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (log, serve) = (received.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, serve, mut stream) = (log.clone(), serve.clone(), stream.unwrap());
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    let number = {
                        let mut log = log.lock().unwrap();
                        log.push(request.clone());
                        log.len() - 1
                    };
                    serve(number, &request, &mut stream);
                });
            }
        });
        Self { base_url, received }
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// A whole HTTP response; `headers` each end with `\r\n`.
pub(crate) fn response(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Mock\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// None where the client closed the connection before the end of its request.
fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Received { head, body: String::from_utf8(body).ok()? })
}
