//! A folder with an experiment, and the toy program run on it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// Three numbers, a sum, a rounding and a page.
pub const SUM: &str = "\
name: sum
stages:
  a: { use: toy.number, with: { value: 1.2 } }
  b: { use: toy.number, with: { value: 2 } }
  sum: { use: toy.add, inputs: { a: a.value, b: b.value }, with: { plus: 3 } }
  round: { use: toy.round, inputs: { value: sum.value } }
  page: { use: toy.page, inputs: { values: { total: round.value } } }
";

/// A stage of ten units, and one that needs it.
pub const SLOW: &str = "\
name: slow
stages:
  slow: { use: toy.slow, with: { units: 10 } }
  after: { use: toy.round, inputs: { value: slow.value } }
";

pub struct Project {
    dir: tempfile::TempDir,
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Project {
    pub fn new(experiment: &str) -> Self {
        let project = Self { dir: in_memory() };
        project.write("x.yaml", experiment);
        project
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_toy"));
        command.args(args.split_whitespace()).current_dir(self.dir.path());
        command.env_remove("APPRENTICE_ARTIFACTS").env_remove("APPRENTICE_DATA").env_remove("RUST_BACKTRACE");
        command.env("XDG_CACHE_HOME", self.path("cache")).env("HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &str) -> Ended {
        ended(self.command(args).output().unwrap())
    }

    /// Runs the program with variables in its environment.
    pub fn run_with(&self, args: &str, variables: &[(&str, &str)]) -> Ended {
        ended(self.command(args).envs(variables.iter().copied()).output().unwrap())
    }

    /// Runs the program, which must succeed, and gives what it printed.
    #[track_caller]
    pub fn ok(&self, args: &str) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{args}: {ended:?}");
        ended.stdout
    }

    /// Starts `run x.yaml --json` and gives its events as they come.
    pub fn start(&self, args: &str) -> Started {
        Started::of(self.command(&format!("run x.yaml --json {args}")).spawn().unwrap())
    }

    /// Starts a run of [`SLOW`] and comes back when its first stage stands still at `unit`.
    pub fn start_and_hold(&self, unit: u64, args: &str) -> Started {
        let gate = self.path("gate");
        let sets = format!("--set stages.slow.with.hold_at={unit} --set stages.slow.with.gate={}", gate.display());
        let mut started = self.start(&format!("{sets} {args}"));
        started.until(|event| event["name"] == "holds at");
        started
    }

    /// How each stage ended in a run that must succeed.
    #[track_caller]
    pub fn statuses(&self, args: &str) -> BTreeMap<String, String> {
        let stdout = self.ok(&format!("run x.yaml --json {args}"));
        statuses(&stdout)
    }

    /// The stages that ran, in a run that must succeed.
    #[track_caller]
    pub fn ran(&self, args: &str) -> Vec<String> {
        self.statuses(args).into_iter().filter(|(_, status)| status == "ran").map(|(stage, _)| stage).collect()
    }

    /// The reason that `plan` gives for a stage.
    #[track_caller]
    pub fn plan(&self, stage: &str, args: &str) -> String {
        let plan: Value = serde_json::from_str(&self.ok(&format!("plan x.yaml --json {args}"))).unwrap();
        let row = plan["stages"].as_array().unwrap().iter().find(|row| row["stage"] == stage).unwrap();
        format!("{}: {}", row["verdict"].as_str().unwrap(), row["words"].as_str().unwrap())
    }

    /// The provenance of an output.
    #[track_caller]
    pub fn provenance(&self, output: &str) -> Value {
        let shown: Value = serde_json::from_str(&self.ok(&format!("inspect {output} --json"))).unwrap();
        shown["provenance"].clone()
    }

    /// Where the bytes of an output lie in the store.
    #[track_caller]
    pub fn object(&self, output: &str) -> PathBuf {
        let shown: Value = serde_json::from_str(&self.ok(&format!("inspect {output} --json"))).unwrap();
        let digest = shown["digest"].as_str().unwrap();
        self.path("artifacts/store/objects").join(&digest[..2]).join(&digest[2..])
    }

    /// Every object of the store with its bytes.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = BTreeMap::new();
        for folder in fs::read_dir(self.path("artifacts/store/objects")).unwrap() {
            for file in fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                objects.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
            }
        }
        objects
    }

    /// The ids of the recorded runs, oldest first.
    pub fn runs(&self) -> Vec<String> {
        self.ok("runs").lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    }

    /// Whether a worker of any run printed a text.
    pub fn jobs_said(&self, text: &str) -> bool {
        let runs = fs::read_dir(self.path("artifacts/store/runs")).unwrap().map(|run| run.unwrap().path().join("jobs"));
        let logs = runs.flat_map(|jobs| fs::read_dir(jobs).into_iter().flatten()).map(|file| file.unwrap().path());
        logs.filter(|path| path.extension().is_some_and(|found| found == "log"))
            .any(|path| fs::read_to_string(path).unwrap().contains(text))
    }

    /// How many files lie in a folder of the store.
    pub fn count(&self, part: &str) -> usize {
        fs::read_dir(self.path("artifacts/store").join(part)).map_or(0, Iterator::count)
    }
}

/// A new folder where waiting for the disk takes no time, if the system has such a place: these tests start a thousand
/// processes, and each commit of theirs waits.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Puts other bytes into a read-only file.
pub fn spoil(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn statuses(stdout: &str) -> BTreeMap<String, String> {
    let events = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["event"] == "stage_ended")
        .map(|event| (event["stage"].as_str().unwrap().into(), event["status"].as_str().unwrap().into()))
        .collect()
}

fn ended(output: std::process::Output) -> Ended {
    Ended {
        // A process that a signal ended has no code.
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A run under way.
pub struct Started {
    pub child: Child,
    lines: BufReader<ChildStdout>,
}

impl Started {
    pub fn of(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Reads events up to one that fits.
    pub fn until(&mut self, mut fits: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the run ended before the awaited event");
            let event = serde_json::from_str(&line).unwrap();
            if fits(&event) {
                return event;
            }
        }
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for the end; gives the code and how the stages ended that had not ended before.
    pub fn end(mut self) -> (i32, BTreeMap<String, String>) {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut rest).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, statuses(&rest))
    }
}
