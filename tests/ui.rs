//! `apprentice ui`, clicked through in a browser, and asked by others.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use serde_json::Value;

use crate::browser::Browser;
use crate::http::{Reply, send};
use crate::project::{Project, text};

/// The pages, served until the test is over.
struct Ui {
    child: Child,
    /// With the token.
    url: String,
}

impl Ui {
    fn start(project: &Project) -> Self {
        let mut child = project.start(&["ui", "--json"]);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, url: text(&event["url"]).to_owned() }
    }

    fn address(&self) -> &str {
        self.url.trim_start_matches("http://").split('/').next().unwrap()
    }

    fn ask(&self, method: &str, path: &str, cookie: &str) -> Reply {
        send(self.address(), method, path, &[&format!("Host: {}", self.address()), &format!("Cookie: {cookie}")], b"")
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn trained() -> Project {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "-q"]);
    project
}

#[test]
fn a_person_clicks_from_the_runs_to_an_episode_and_back() {
    let Some(browser) = Browser::open(1200) else { return };
    let project = trained();
    project.ok(&["run", "x.yaml", "-q", "--set", "stages.policy.with.n_iterations=3"]);
    let ui = Ui::start(&project);
    browser.go(&ui.url);
    browser.reads("started (UTC)");
    assert_eq!(browser.script("return location.search"), "", "the token leaves the address");

    browser.click("(//a[text()='smoke'])[1]");
    browser.reads("what it noted");
    for stage in ["policy ×2", "world.deepfm", "rl.a2c"] {
        let drawn = browser.script("return document.querySelector('svg').textContent");
        assert!(drawn.as_str().unwrap().contains(stage), "{stage} in {drawn}");
    }
    browser.click("//tr[td[contains(., 'policy@seed=0')]]//a[text()='log']");
    browser.reads("ran after");

    // The first run, which trained longer, has the same demonstrations.
    browser.go(&format!("http://{}/", ui.address()));
    browser.click("(//a[text()='smoke'])[2]");
    browser.click("//tr[td[contains(., 'demos')]]//a[text()='demonstrations']");
    browser.reads("read the episodes");
    browser.click("//a[text()='read the episodes']");
    browser.reads("episode 0");
    browser.click("//a[contains(text(), 'the next')]");
    browser.reads("episode 1");
    assert!(browser.text().contains("step 1"), "{}", browser.text());

    browser.go(&format!("http://{}/", ui.address()));
    browser.click("(//a[text()='smoke'])[1]");
    browser.click("//tr[td[contains(., 'score')]]//a[text()='rollouts']");
    browser
        .write("//input[@name='sql']", "select policy, count(*) as plays from self group by policy order by policy\n");
    browser.reads("plays");
    assert!(browser.text().contains("a2c"), "{}", browser.text());
    browser.write("//input[@name='filter']", "polcy = 'a2c'\n");
    browser.reads("did you mean");

    browser.go(&format!("http://{}/", ui.address()));
    browser.click("(//input[@name='run'])[1]");
    browser.click("(//input[@name='run'])[2]");
    browser.click("//button");
    browser.reads("return");
    browser.go(&format!("http://{}/", ui.address()));
    browser.click("(//a[text()='smoke'])[1]");
    browser.click("//a[text()='report.page']");
    browser.reads("Data sources");
}

#[test]
fn pages_fit_a_small_screen_and_show_a_run_at_work() {
    let Some(browser) = Browser::open(500) else { return };
    let project = trained();
    let mut at_work =
        project.start(&["run", "x.yaml", "-q", "--set", "stages.policy.with.n_iterations=1000000", "policy@seed=0"]);
    let ui = Ui::start(&project);
    browser.go(&ui.url);
    browser.reads("running");
    browser.click("(//a[text()='smoke'])[1]");
    browser.reads("policy@seed=0");
    let wide = browser.script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth");
    assert_eq!(wide, true, "what is too wide scrolls by itself");
    at_work.kill().unwrap();
    at_work.wait().unwrap();
    // The page asks again by itself.
    browser.reads("killed");
}

#[test]
fn nobody_else_is_answered_and_nothing_is_written() {
    let project = trained();
    let ui = Ui::start(&project);
    let (address, token) = (ui.address().to_owned(), ui.url.rsplit('=').next().unwrap().to_owned());
    let cookie = format!("apprentice-{}={token}", address.rsplit(':').next().unwrap());
    let begun = ui.ask("GET", &format!("/?token={token}"), "");
    assert_eq!(begun.status, 303);
    assert!(begun.head.contains(&cookie) && begun.head.contains("HttpOnly; SameSite=Strict"), "{}", begun.head);
    let first = ui.ask("GET", "/", &cookie);
    assert!(first.status == 200 && first.head.contains("default-src 'none'"), "{}", first.head);

    for (path, cookie) in [("/", ""), ("/", "apprentice=1"), ("/?token=0", ""), ("/run/last", "")] {
        let refused = ui.ask("GET", path, cookie);
        assert!(refused.status == 403 && refused.body.contains("help: "), "{path}: {}", refused.body);
    }
    let host = ["Host: evil.example", &*format!("Cookie: {cookie}")];
    assert_eq!(send(&address, "GET", "/", &host, b"").status, 403);
    assert_eq!(ui.ask("POST", "/", &cookie).status, 405);
    for path in ["/run/..%2F..", "/file/..%2Fx.yaml", "/file/x.yaml", "/run/20250131T120000Z-1/log/..%2F..%2Frun.json"]
    {
        let refused = ui.ask("GET", path, &cookie);
        assert!([400, 404].contains(&refused.status), "{path}: {} {}", refused.status, refused.body);
    }
    let before = project.files("");
    let run = first.body.split("href=\"/run/").nth(1).unwrap().split('"').next().unwrap();
    for path in ["", "/experiment", "/log/world", "/page/report/page"] {
        assert_eq!(ui.ask("GET", &format!("/run/{run}{path}"), &cookie).status, 200, "{path}");
    }
    assert_eq!(project.files(""), before, "pages write nothing");
    let child = &ui.child;
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
}
