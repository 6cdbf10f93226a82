//! Pages over HTTP: the network is here, what is in the pages is told by a plain function.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::listening::listen;

/// What a browser asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageRequest {
    /// Decoded, part by part: a slash within a part stays `%2F`.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub host: Option<String>,
    pub cookies: Option<String>,
}

impl PageRequest {
    /// The values of a name of the query.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.cookies.as_deref()?.split(';').filter_map(|pair| pair.trim().split_once('='));
        cookies.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// What it gets.
#[derive(Clone, Debug)]
pub(crate) struct PageReply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl PageReply {
    pub fn html(status: u16, html: String) -> Self {
        let headers = vec![
            ("content-type", "text/html; charset=utf-8".to_owned()),
            ("cache-control", "no-store".to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
        ];
        Self { status, headers, body: html.into_bytes() }
    }

    pub fn redirect(to: &str) -> Self {
        Self { headers: vec![("location", to.to_owned())], ..Self::html(303, String::new()) }
    }

    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What makes the pages; called on several threads.
pub(crate) type Pages = Arc<dyn Fn(&PageRequest) -> PageReply + Send + Sync>;

/// Threads that answer one browser.
const THREADS: usize = 2;

/// Serves pages until `stop` is raised. `ready` is told where.
///
/// # Errors
/// When the address cannot be had.
pub(crate) fn serve_pages(
    address: SocketAddr,
    pages: Pages,
    stop: &Arc<AtomicBool>,
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let app = Router::new().fallback(answer).with_state(pages);
    listen(address, THREADS, stop, |at| {
        ready(at);
        Ok(app)
    })
}

async fn answer(State(pages): State<Pages>, request: Request<axum::body::Body>) -> Response {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return (StatusCode::METHOD_NOT_ALLOWED, "pages are only read").into_response();
    }
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let asked = PageRequest {
        path: decoded(request.uri().path()),
        query: form_urlencoded::parse(query).map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
        host: text(header::HOST),
        cookies: text(header::COOKIE),
    };
    let reply = tokio::task::block_in_place(|| pages(&asked));
    let mut response = (StatusCode::from_u16(reply.status).unwrap_or_default(), reply.body).into_response();
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The parts of a path, each decoded.
fn decoded(path: &str) -> String {
    let part = |part: &str| {
        // A plus is a plus in a path, and a space in a form.
        let form = part.replace('+', "%2B").replace(['&', '='], "");
        let text =
            form_urlencoded::parse(form.as_bytes()).next().map_or_else(String::new, |(text, _)| text.into_owned());
        text.replace('/', "%2F")
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_part_by_part() {
        assert_eq!(decoded("/run/policy%40seed%3D3/log"), "/run/policy@seed=3/log");
        assert_eq!(decoded("/a%2Fb/../c+d%C3%BC"), "/a%2Fb/../c+dü");
        let request = PageRequest { cookies: Some("a=1; b=2=3".into()), ..PageRequest::default() };
        assert_eq!([request.cookie("a"), request.cookie("b"), request.cookie("c")], [Some("1"), Some("2=3"), None]);
    }
}
