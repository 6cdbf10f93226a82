//! Headless Chromium, driven through WebDriver (W3C) as Debian's `chromium` and `chromium-driver` are.
//!
//! `.ci/run` installs them where it may. Without them a test says so and is skipped, unless `APPRENTICE_REQUIRE_BROWSER` is set.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::send;
use crate::skipped::skipped;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of a browser, closed when the test is over.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
}

impl Browser {
    /// A new window, as wide as that; `None` where there is no browser.
    pub fn open(width: u32) -> Option<Self> {
        let driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut driver) = driver else {
            skipped("BROWSER", "there is no `chromedriver`");
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let address = format!("127.0.0.1:{}", port.expect("chromedriver says its port"));
        // What it says further must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let args =
            json!(["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", format!("--window-size={width},900")]);
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": args } } } });
        let mut browser = Self { driver, address, session: String::new() };
        let begun = browser.call("POST", "/session", &wanted).unwrap();
        browser.session = format!("/session/{}", begun["sessionId"].as_str().unwrap());
        Some(browser)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let headers = [&*format!("Host: {}", self.address), "Content-Type: application/json"];
        let reply = send(&self.address, method, path, &headers, body.as_bytes());
        let value: Value = serde_json::from_str(&reply.body).map_err(|error| format!("{error}: {}", reply.body))?;
        if reply.status == 200 { Ok(value["value"].clone()) } else { Err(value.to_string()) }
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.call(method, &format!("{}{path}", self.session), body)
    }

    /// Opens an address.
    pub fn go(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url })).unwrap();
    }

    /// The element that an XPath names, as soon as it is there.
    #[track_caller]
    fn find(&self, path: &str) -> String {
        let start = Instant::now();
        loop {
            match self.command("POST", "/element", &json!({ "using": "xpath", "value": path })) {
                Ok(found) => return found[ELEMENT].as_str().unwrap().to_owned(),
                Err(error) => assert!(start.elapsed() < PATIENCE, "{path}: {error}\n{}", self.text()),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    #[track_caller]
    pub fn click(&self, path: &str) {
        let element = self.find(path);
        self.command("POST", &format!("/element/{element}/click"), &json!({})).unwrap();
    }

    /// Writes into a box.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str) {
        let element = self.find(path);
        self.command("POST", &format!("/element/{element}/value"), &json!({ "text": text })).unwrap();
    }

    /// What a person reads.
    pub fn text(&self) -> String {
        self.script("return document.body ? document.body.innerText : ''").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a person reads that.
    #[track_caller]
    pub fn reads(&self, part: &str) {
        let start = Instant::now();
        while !self.text().contains(part) {
            assert!(start.elapsed() < PATIENCE, "no {part:?} on the page:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a script gives.
    pub fn script(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] })).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.command("DELETE", "", &json!({}));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
