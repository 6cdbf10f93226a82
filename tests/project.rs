//! A folder with an experiment, and the program run on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A folder of its own with everything the program could touch: experiment, results and cache.
pub struct Project {
    dir: tempfile::TempDir,
    shared_cache: bool,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Project {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), shared_cache: false }
    }

    /// With the smoke experiment as `x.yaml`.
    pub fn smoke() -> Self {
        Self::new().config(&fs::read_to_string(repository().join("configs/smoke.yaml")).unwrap())
    }

    /// With `text` as `x.yaml`.
    pub fn config(self, text: &str) -> Self {
        self.file("x.yaml", text)
    }

    /// With a file more.
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// With the user's own cache of assets: what is large is fetched once, not for each test.
    pub fn shared_cache(mut self) -> Self {
        self.shared_cache = true;
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        self.within(Command::new(env!("CARGO_BIN_EXE_apprentice")), args)
    }

    fn within(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["APPRENTICE_ARTIFACTS", "APPRENTICE_DATA", "RUST_BACKTRACE"] {
            command.env_remove(name);
        }
        if !self.shared_cache {
            command.env("APPRENTICE_CACHE", self.path("cache"));
        }
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        Self::ended(self.command(args))
    }

    /// Runs a script of the repository to its end, which calls `apprentice`.
    pub fn script(&self, script: &str, args: &[&str]) -> Ended {
        let mut command = Command::new("sh");
        command.arg(repository().join(script));
        let own = Path::new(env!("CARGO_BIN_EXE_apprentice")).parent().unwrap().to_path_buf();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env("PATH", std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&path))).unwrap());
        Self::ended(self.within(command, args))
    }

    fn ended(mut command: Command) -> Ended {
        let output = command.output().unwrap();
        Ended {
            // A process that a signal ended has no code.
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the program, which must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> Ended {
        self.run(args).ends_with(0)
    }

    /// Starts the program; who starts it reads what it prints, and ends it.
    pub fn start(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts the program and kills it as soon as `ready`; `false` where it ended before.
    pub fn kill_when(&self, args: &[&str], ready: impl Fn() -> bool) -> bool {
        let mut child = self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let killed = watch(&mut child, ready);
        // Of a process that has ended there is nothing to kill.
        let _ = child.kill();
        child.wait().unwrap();
        killed
    }

    /// Every object of the store by digest.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let named =
            |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
        self.files("objects").into_iter().map(named).collect()
    }

    /// Every whole file in a part of the store, at any depth; a kill may leave a `.new-…` that nothing believes.
    pub fn files(&self, part: &str) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.path("artifacts/store").join(part)];
        while let Some(folder) = folders.pop() {
            // A folder may go while it is read: a run works on it.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !entry.file_name().to_string_lossy().starts_with('.') {
                    found.insert(path);
                }
            }
        }
        found
    }
}

fn watch(child: &mut Child, ready: impl Fn() -> bool) -> bool {
    loop {
        if ready() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Ended {
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The talk holds all of `parts`, in this order.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        in_order(&self.stderr, parts);
        self
    }

    /// The data holds all of `parts`, in this order.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Self {
        in_order(&self.stdout, parts);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }

    /// The events of `run --json`.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        self.stdout.lines().map(event).collect()
    }

    /// How each stage of `run --json` ended.
    #[track_caller]
    pub fn statuses(&self) -> BTreeMap<String, String> {
        let ends = self.events().into_iter().filter(|event| event["event"] == "stage_ended");
        ends.map(|event| (text(&event["stage"]), text(&event["status"]))).collect()
    }

    /// The stages of `run --json` that ended so, by name.
    #[track_caller]
    pub fn stages(&self, status: &str) -> Vec<String> {
        self.statuses().into_iter().filter(|(_, found)| found == status).map(|(stage, _)| stage).collect()
    }
}

#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { panic!("no {part:?} (or not in this place) in:\n{text}") };
        rest = after;
    }
}

/// A JSON text's content.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
