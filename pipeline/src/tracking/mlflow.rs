//! A run in MLflow, by its REST API 2.0.
//!
//! An experiment of the same name, one run, of each stage its settings as params (`policy.network.window`), its figures and curves as metrics
//! (`policy/return`), and the pages as artifacts where the server takes them (`mlflow-artifacts`). Who asks is in the environment as for
//! MLflow's own client: `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{TrackedRun, TrackedStage, Tracker};
use crate::asset::is_loopback;
use crate::event::RunStatus;
use crate::secret::watch;

/// Of one request to a server at work.
const PATIENCE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// How often a request is sent that got no answer, or one of an overloaded server.
const ATTEMPTS: u32 = 3;
/// What one `log-batch` may hold, by MLflow's documentation of its API.
const METRICS: usize = 1000;
const PARAMS: usize = 100;
const KEY_CHARS: usize = 250;
const VALUE_CHARS: usize = 6000;

pub(super) struct MlflowTracker {
    address: String,
    agent: ureq::Agent,
    run: Option<OpenRun>,
}

struct OpenRun {
    id: String,
    artifacts: String,
}

impl MlflowTracker {
    pub fn new(address: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(PATIENCE))
            .user_agent(concat!("apprentice/", env!("CARGO_PKG_VERSION")));
        // A proxy could not reach this machine's own servers.
        let config = if is_loopback(address) { config.proxy(None) } else { config };
        Self { address: address.to_owned(), agent: config.build().new_agent(), run: None }
    }

    /// The id of the experiment, which is made where there is none.
    fn experiment(&self, name: &str) -> anyhow::Result<String> {
        let create = || self.post("experiments/create", &json!({ "name": name }));
        let found = self.call("experiments/get-by-name", |agent, url| {
            authorised(agent.get(url).query("experiment_name", name)).call()
        })?;
        let id = match found {
            (200, found) => {
                ensure!(
                    found["experiment"]["lifecycle_stage"] != "deleted",
                    "its experiment `{name}` is deleted\nhelp: restore it in MLflow, or name the experiment otherwise"
                );
                found["experiment"]["experiment_id"].clone()
            }
            (404, _) => create()?["experiment_id"].clone(),
            (status, answer) => bail!(refusal("experiments/get-by-name", status, &answer)),
        };
        Ok(id.as_str().context("its answer names no experiment")?.to_owned())
    }

    fn open(&self) -> anyhow::Result<&OpenRun> {
        self.run.as_ref().context("it was not begun")
    }

    fn post(&self, method: &str, body: &Value) -> anyhow::Result<Value> {
        let sent = self.call(method, |agent, url| authorised(agent.post(url)).send_json(body))?;
        match sent {
            (200, answer) => Ok(answer),
            (status, answer) => bail!(refusal(method, status, &answer)),
        }
    }

    /// Sends a request until it is answered; the status, and the answer as JSON where it is that.
    fn call(
        &self,
        method: &str,
        send: impl Fn(&ureq::Agent, &str) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<(u16, Value)> {
        let url = format!("{}/api/2.0/mlflow/{method}", self.address);
        let mut attempt = 1;
        loop {
            match send(&self.agent, &url) {
                Ok(mut answer) if !(is_busy(answer.status().as_u16()) && attempt < ATTEMPTS) => {
                    let text = answer.body_mut().read_to_string().unwrap_or_default();
                    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                    return Ok((answer.status().as_u16(), value));
                }
                Err(error) if attempt >= ATTEMPTS => return Err(anyhow!("{method}: {error}")),
                _ => std::thread::sleep(Duration::from_millis(500) * attempt),
            }
            attempt += 1;
        }
    }

    fn upload(&self, run: &OpenRun, page: &Path) -> anyhow::Result<()> {
        let folder = run.artifacts.strip_prefix("mlflow-artifacts:").unwrap_or_default().trim_start_matches('/');
        let name = page.file_name().unwrap_or_default().to_string_lossy();
        let stage = page.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{folder}/{stage}/{name}", self.address);
        let bytes = std::fs::read(page).with_context(|| format!("cannot read `{}`", page.display()))?;
        let answer = authorised(self.agent.put(&url)).send(&bytes[..])?;
        ensure!(answer.status().is_success(), "it refused `{name}` with status {}", answer.status());
        Ok(())
    }
}

impl Tracker for MlflowTracker {
    fn begin(&mut self, run: &TrackedRun, at: Duration) -> anyhow::Result<()> {
        let experiment = self.experiment(&run.experiment)?;
        let tags = [("mlflow.source.name", &run.command), ("apprentice.run", &run.id)];
        let tags = tags.map(|(key, value)| json!({ "key": key, "value": cut(value, VALUE_CHARS) }));
        let made = self.post(
            "runs/create",
            &json!({ "experiment_id": experiment, "run_name": run.id, "start_time": millis(at), "tags": tags }),
        )?;
        let text = |field: &str| made["run"]["info"][field].as_str().map(str::to_owned);
        let id = text("run_id").context("its answer names no run")?;
        self.run = Some(OpenRun { id, artifacts: text("artifact_uri").unwrap_or_default() });
        Ok(())
    }

    fn stage(&mut self, stage: &TrackedStage) -> anyhow::Result<()> {
        let id = &self.open()?.id;
        let params: Vec<Value> = stage
            .params
            .iter()
            .map(|(name, value)| json!({ "key": key(&format!("{}.{name}", stage.id)), "value": cut(value, VALUE_CHARS) }))
            .collect();
        for params in params.chunks(PARAMS) {
            self.post("runs/log-batch", &json!({ "run_id": id, "params": params }))?;
        }
        let metric = |name: &str, step: u64, value: f64| {
            // JSON has no other numbers.
            value.is_finite().then(|| {
                json!({ "key": key(&format!("{}/{name}", stage.id)), "value": value, "timestamp": millis(stage.at), "step": step })
            })
        };
        let figures = stage.metrics.iter().filter_map(|(name, value)| metric(name, 0, *value));
        let curves = stage.curves.iter().filter_map(|point| metric(&point.series, point.step, point.value));
        let metrics: Vec<Value> = figures.chain(curves).collect();
        for metrics in metrics.chunks(METRICS) {
            self.post("runs/log-batch", &json!({ "run_id": id, "metrics": metrics }))?;
        }
        Ok(())
    }

    fn end(&mut self, status: RunStatus, pages: &[PathBuf], at: Duration) -> anyhow::Result<Option<String>> {
        let run = self.open()?;
        let is_kept = run.artifacts.starts_with("mlflow-artifacts:");
        let lost = match pages.first() {
            Some(_) if is_kept => {
                pages.iter().find_map(|page| self.upload(run, page).err()).map(|error| format!("{error:#}"))
            }
            Some(_) => Some(format!("its artifacts are at {}, which only its own clients reach", run.artifacts)),
            None => None,
        };
        let ended = match status {
            RunStatus::Ok => "FINISHED",
            RunStatus::Interrupted => "KILLED",
            _ => "FAILED",
        };
        self.post("runs/update", &json!({ "run_id": run.id, "status": ended, "end_time": millis(at) }))?;
        Ok(lost.map(|why| format!("the pages are not in MLflow: {why}")))
    }
}

/// With the sender's name, if the environment has it.
fn authorised<B>(request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
    if let Some(token) = watch("MLFLOW_TRACKING_TOKEN") {
        return request.header("authorization", format!("Bearer {token}"));
    }
    match (watch("MLFLOW_TRACKING_USERNAME"), watch("MLFLOW_TRACKING_PASSWORD")) {
        (Some(user), Some(password)) => {
            request.header("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
        }
        _ => request,
    }
}

/// Whether another attempt may be answered.
fn is_busy(status: u16) -> bool {
    matches!(status, 429 | 502..=504)
}

fn refusal(method: &str, status: u16, answer: &Value) -> String {
    let text = answer["message"].as_str().or(answer.as_str()).unwrap_or_default();
    let help = match status {
        401 | 403 => "\nhelp: set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        404 => "\nhelp: check that the address is that of an MLflow server",
        _ => "",
    };
    format!("{method} was refused with status {status}: {}{help}", cut(text.trim(), 300))
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

/// A name as MLflow takes it: letters, digits, `_ - . /` and spaces.
fn key(name: &str) -> String {
    let plain = |c: char| match c {
        '@' => '/',
        c if c.is_alphanumeric() || "_-./ ".contains(c) => c,
        _ => '_',
    };
    let plain: String = name.chars().map(plain).collect();
    if plain.chars().count() <= KEY_CHARS {
        return plain;
    }
    // Names of one long beginning, as of the cells of many sweeps, stay apart.
    let digest = blake3::hash(name.as_bytes()).to_hex();
    format!("{}-{}", cut(&plain, KEY_CHARS - 11), &digest[..10])
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_apart_and_short_ones_as_they_are() {
        assert_eq!(key("policy@seed=0/return"), "policy/seed_0/return");
        let cell = format!("policy@{}", "a.b=1,".repeat(60));
        let [one, other] = ["return", "length"].map(|metric| key(&format!("{cell}/{metric}")));
        assert_ne!(one, other);
        assert_eq!([one.chars().count(), other.chars().count()], [KEY_CHARS; 2]);
    }
}
