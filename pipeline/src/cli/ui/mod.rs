//! `apprentice ui`: what a store holds as pages in a browser, on this machine alone.
//!
//! In: the store, and requests of one browser. Out: pages that a server renders, without a script; nothing is ever written.
//!
//! ```text
//! /                           the runs, and which of them to compare
//! /run/ID                     one run: its graph with states, its stages, their files and logs; anew every two seconds while it is at work
//! /run/ID/experiment          its file, as it was run
//! /run/ID/log/STAGE           what a stage said
//! /run/ID/page/STAGE/PORT     a report
//! /file/DIGEST                an artifact as `inspect` shows it: overview, rows, a query, episodes
//! /compare?run=ID&run=ID      the figures of runs side by side
//! ```
//!
//! The address holds a token, which a cookie then stands for: whoever has it not, such as another page in the browser, is refused.
//! So is a request to another host's name, because a name may be made to mean this machine.

mod file_page;
mod graph_svg;
mod html;
mod pages;
mod run_page;
mod runs_page;

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args;
use super::output::{print, talk, write};
use super::session::Session;
use crate::exit::Failure;
use crate::serve::{PageReply, PageRequest, serve_pages};
use crate::{Exit, UsageError, escape};
use pages::Pages;

pub(super) fn ui(session: &Session, args: &args::Ui) -> Result<Exit, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the process at once.
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone()).context("listen to signals")?;
        signal_hook::flag::register(signal, stop.clone()).context("listen to signals")?;
    }
    let pages = Guarded { pages: Pages { store: session.store(), catalog: session.catalog }, token: token()? };
    let token = pages.token.clone();
    let as_json = session.global.json;
    let ready = |address: SocketAddr| {
        let url = format!("http://{address}/?token={token}");
        // Whoever started it reads where it listens; that nobody does is no failure.
        let _ = match as_json {
            true => write(&escape::json(&format!("{}\n", json!({ "event": "listening", "url": url })))),
            false => print(&format!("open {url}\nCtrl-C stops it; only this machine reaches it\n")),
        };
    };
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), args.port);
    serve_pages(address, Arc::new(move |request: &PageRequest| pages.answer(request)), &stop, ready)?;
    talk("stopped");
    Ok(Exit::Ok)
}

/// 128 bits that nobody guesses.
fn token() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("draw a token")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Answers the requests that know the token.
struct Guarded {
    pages: Pages,
    token: String,
}

impl Guarded {
    fn answer(&self, request: &PageRequest) -> PageReply {
        if !request.host.as_deref().is_some_and(is_this_machine) {
            return html::refusal(
                403,
                "this address is not this machine's",
                "open the address that `apprentice ui` printed",
            );
        }
        if request.path == "/" && request.values("token").any(|token| self.is_token(token)) {
            let cookie = format!("{}={}; Path=/; HttpOnly; SameSite=Strict", cookie(request), self.token);
            return PageReply::redirect("/").with("set-cookie", cookie);
        }
        if !request.cookie(&cookie(request)).is_some_and(|token| self.is_token(token)) {
            return html::refusal(403, "the token is missing", "open the address that `apprentice ui` printed");
        }
        self.page(request).unwrap_or_else(|error| match error.downcast::<UsageError>() {
            Ok(UsageError(text)) => html::refused(400, &text),
            Err(error) => html::refused(500, &format!("{error:#}")),
        })
    }

    fn page(&self, request: &PageRequest) -> anyhow::Result<PageReply> {
        let parts: Vec<&str> = request.path.split('/').skip(1).collect();
        match parts[..] {
            [""] => runs_page::runs(&self.pages, request),
            ["compare"] => runs_page::compare(&self.pages, request),
            ["run", run] => run_page::run(&self.pages, run),
            ["run", run, "experiment"] => run_page::experiment(&self.pages, run),
            ["run", run, "log", stage] => run_page::log(&self.pages, run, stage),
            ["run", run, "page", stage, port] => run_page::page(&self.pages, run, stage, port),
            ["file", digest] => file_page::file(&self.pages, digest, request),
            _ => Ok(html::refusal(404, "there is no such page", "the first page lists the runs")),
        }
    }

    fn is_token(&self, given: &str) -> bool {
        // Digests compare in constant time.
        blake3::hash(given.as_bytes()) == blake3::hash(self.token.as_bytes())
    }
}

/// Cookies know no ports, and several of these may be at work.
fn cookie(request: &PageRequest) -> String {
    let port = request.host.as_deref().and_then(|host| host.rsplit(':').next()).unwrap_or_default();
    format!("apprentice-{port}")
}

fn is_this_machine(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    ["127.0.0.1", "localhost"].contains(&name) && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(dir: &std::path::Path) -> Guarded {
        let pages = Pages { store: crate::store::Store::new(dir), catalog: &crate::spec::toy::CATALOG };
        Guarded { pages, token: "t0k3n".into() }
    }

    fn get(path: &str, host: &str, cookie: &str) -> PageRequest {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        PageRequest {
            path: path.into(),
            query: query.map(|(name, value)| (name.into(), value.into())).collect(),
            host: Some(host.into()),
            cookies: Some(cookie.into()),
        }
    }

    #[test]
    fn only_who_has_the_token_and_asks_this_machine_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let pages = pages(dir.path());
        let status = |path: &str, host: &str, cookie: &str| pages.answer(&get(path, host, cookie)).status;
        let good = "other=1; apprentice-8=t0k3n";
        assert_eq!(status("/", "127.0.0.1:8", good), 200);
        assert_eq!(status("/", "localhost:8", good), 200);
        assert_eq!(status("/?token=t0k3n", "127.0.0.1:8", ""), 303);
        for (path, host, cookie) in [
            ("/", "127.0.0.1:8", ""),
            ("/", "127.0.0.1:8", "apprentice-8=t0k3m"),
            ("/", "127.0.0.1:9", good),
            ("/?token=no", "127.0.0.1:8", ""),
            ("/?token=t0k3n", "evil.example:8", ""),
            ("/", "evil.example:8", good),
            ("/", "127.0.0.1.evil.example:8", good),
        ] {
            assert_eq!(status(path, host, cookie), 403, "{path} {host} {cookie}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let pages = pages(dir.path());
        let digest = "0".repeat(64);
        for (path, status) in [
            ("/nothing".to_owned(), 404),
            ("/run/20250131T120000Z-1".into(), 400),
            ("/run/..".into(), 400),
            ("/file/..".into(), 400),
            (format!("/file/{digest}"), 400),
            ("/compare".into(), 400),
        ] {
            let reply = pages.answer(&get(&path, "127.0.0.1:8", "apprentice-8=t0k3n"));
            assert_eq!(reply.status, status, "{path}: {}", String::from_utf8_lossy(&reply.body));
        }
    }
}
