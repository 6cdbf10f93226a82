//! Reports of runs: MLflow's own server and TensorBoard's own reader are told what the store holds, and neither can stop a run.
//!
//! Both come from pip, once, into the build folder. Without a network the test says so and is skipped, unless
//! `APPRENTICE_REQUIRE_NETWORK` is set.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pipeline::Artifact as _;
use serde_json::Value;
use stages::artifact::{Curves, Metrics};

use crate::project::{Project, repository};
use crate::python::packages;

/// How long a server may take to answer first.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of a number that is read from JSON, and of one that TensorBoard keeps in 32 bits.
const EXACT: f64 = 1e-14;
const NARROW: f64 = 1e-7;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It has children of its own, in a group of its own.
        let _ = Command::new("kill").args(["--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// MLflow with a folder for all that it keeps.
fn mlflow(packages: &Path, folder: &Path) -> (Server, String) {
    use std::os::unix::process::CommandExt as _;
    let port = free_port();
    let mut server = Command::new("python3");
    server.args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port", &port.to_string()]);
    server.args(["--backend-store-uri", "sqlite:///kept.db", "--artifacts-destination", "kept"]);
    server.current_dir(folder).env("PYTHONPATH", packages).process_group(0);
    let server = Server(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < PATIENCE, "MLflow's server does not answer");
        std::thread::sleep(Duration::from_millis(100));
    }
    (server, format!("http://127.0.0.1:{port}"))
}

fn told(packages: &Path, args: &[&str]) -> Value {
    let mut python = Command::new("python3");
    python.arg(repository().join("tests/data/read_trackers.py")).args(args).env("PYTHONPATH", packages);
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `[step, value]` of all points of a series.
fn points(curves: &Curves, series: &str) -> Vec<(u64, f64)> {
    curves.0.iter().filter(|point| point.series == series).map(|point| (point.step, point.value)).collect()
}

/// Whether two series are equal but for the last bits, which reading JSON may lose.
#[track_caller]
fn assert_near(found: &[(u64, f64)], wanted: &[(u64, f64)], within: f64) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found.0, wanted.0);
        assert!((found.1 - wanted.1).abs() <= within * wanted.1.abs(), "{found:?}, {wanted:?}");
    }
}

fn pairs(found: &Value) -> Vec<(u64, f64)> {
    let pair = |pair: &Value| (pair[0].as_u64().unwrap(), pair[1].as_f64().unwrap());
    found.as_array().unwrap_or_else(|| panic!("no such series")).iter().map(pair).collect()
}

#[test]
fn mlflow_and_tensorboard_hold_what_the_store_holds() {
    let Some(packages) = packages("trackers", &["mlflow", "tensorboard"]) else { return };
    let project = Project::new();
    let smoke = repository().join("configs/smoke.yaml");
    let smoke = smoke.to_str().unwrap();
    let kept = tempfile::tempdir().unwrap();
    let (_server, address) = mlflow(&packages, kept.path());
    let track = format!("--track=mlflow={address}");
    project.ok(&["run", smoke, &track, "--track", "tensorboard=logs"]);

    let file = |port: &str| -> PathBuf { project.path(&format!("artifacts/smoke/{port}.parquet")) };
    let curves = Curves::read(&file("policy@seed=0/curves")).unwrap();
    let metrics = Metrics::read(&file("score/metrics")).unwrap();
    let series = &curves.0[0].series;
    let figure = metrics.rows.iter().find(|row| row.metric == "return_inclusive").unwrap();

    let found = told(&packages, &["mlflow", &address, "smoke"]);
    assert_eq!(found["status"], "FINISHED");
    assert_near(&pairs(&found["metrics"][format!("policy/seed_0/{series}")]), &points(&curves, series), EXACT);
    let name = format!("score/{} return_inclusive", figure.policy);
    assert_near(&pairs(&found["metrics"][&name]), &[(0, figure.mean)], EXACT);
    assert_eq!(found["params"]["policy/seed_0.omega"], "0.1", "{}", found["params"]);
    assert!(found["params"]["world.n_epochs"].is_string(), "{}", found["params"]);
    assert_eq!(found["tags"]["apprentice.run"], found["name"]);
    let files = found["files"].as_array().unwrap();
    assert!(files.iter().any(|file| file.as_str().unwrap().ends_with(".html")), "{files:?}");

    let folder = project.path(&format!("logs/smoke/{}", found["name"].as_str().unwrap()));
    let board = told(&packages, &["tensorboard", folder.to_str().unwrap()]);
    let scalars = |name: &str| pairs(&board["scalars"][name]);
    assert_near(&scalars(&format!("policy@seed=0/{series}")), &points(&curves, series), NARROW);
    assert_near(&scalars(&name), &[(0, figure.mean)], NARROW);
    let settings = board["texts"]["policy@seed=0/settings"].as_str().unwrap();
    assert!(settings.contains("`rl.a2c`") && settings.contains("| omega | 0.1 |"), "{settings}");
    assert!(board["texts"]["ended"].as_str().unwrap().starts_with("ok"), "{}", board["texts"]);

    // What is in the store is reported whole by a later run, too, and a run that is reported makes no other results.
    let again = project.ok(&["run", smoke, &track]);
    assert!(again.stdout.contains("13 hits"), "{}", again.stdout);
    let second = told(&packages, &["mlflow", &address, "smoke"]);
    assert_ne!(second["name"], found["name"]);
    assert_eq!((&second["params"], &second["metrics"]), (&found["params"], &found["metrics"]));
}

#[test]
fn a_tracker_that_cannot_be_told_stops_no_run() {
    let project = Project::new().file("file", "");
    let smoke = repository().join("configs/smoke.yaml");
    let smoke = smoke.to_str().unwrap();
    let nobody = format!("mlflow=http://127.0.0.1:{}", free_port());
    let run = project.ok(&["run", smoke, "split", "--track", &nobody, "--track", "tensorboard=file/logs"]);
    run.says(&[
        &format!("{nobody} is told nothing more of this run: experiments/get-by-name: "),
        "tensorboard=file/logs is told nothing more of this run: cannot make `file/logs/smoke/",
        "help: the run goes on; `run` again with `--track` reports it whole from the store",
    ]);
    project
        .run(&["run", smoke, "split", "--track", "wandb=x"])
        .ends_with(2)
        .says(&["wanted `mlflow=http://HOST:PORT`"]);
}
