//! Reports of a run to trackers of experiments: `run --track mlflow=http://host:5000 --track tensorboard=logs`.
//!
//! In: each stage as it is up to date, with its settings, its figures and its curves, and the pages at the end. Out: requests to MLflow's
//! server, or event files of TensorBoard. Where it is reported is a setting of the run and in no key. A tracker works on a thread of
//! its own and never stops a run: what goes wrong is a warning, after which that tracker is told nothing more of this run.

mod destination;
mod mlflow;
mod tensorboard;
mod tracker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::Context as _;
use serde_json::Value;

use crate::event::{Event, RunStatus};
use crate::progress::Sink;
use crate::secret::redact;
use crate::store::{Entry, Store};
use crate::{Catalog, clock};
pub(crate) use destination::Destination;
pub(crate) use tracker::TrackedRun;
use tracker::{TrackedStage, Tracker};

/// The stage under which warnings of trackers are shown.
const NAME: &str = "tracking";

enum Message {
    Stage(Box<TrackedStage>),
    End(RunStatus, Vec<PathBuf>),
}

/// All trackers of a run, at work until [`Self::end`].
pub(crate) struct Tracking {
    tell: Sender<Message>,
    thread: JoinHandle<()>,
}

impl Tracking {
    /// Begins to report to these places.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(
        destinations: &[Destination],
        run: TrackedRun,
        sinks: Arc<[Arc<dyn Sink>]>,
    ) -> anyhow::Result<Option<Self>> {
        if destinations.is_empty() {
            return Ok(None);
        }
        let (tell, told) = channel();
        let mut trackers: Vec<_> = destinations.iter().map(|place| (place.to_string(), place.tracker())).collect();
        let work = move || report(&mut trackers, &run, &told, &sinks);
        let thread =
            std::thread::Builder::new().name(NAME.into()).spawn(work).context("start the thread of trackers")?;
        Ok(Some(Self { tell, thread }))
    }

    /// A stage is up to date. Its files are read here, where they are surely in the store.
    pub fn stage(&self, id: &str, entry: &Entry, store: &Store, catalog: &Catalog) -> anyhow::Result<()> {
        let mut stage = TrackedStage {
            id: id.to_owned(),
            kind: entry.material.kind.clone(),
            key: entry.key.clone(),
            params: flat(&entry.material.config),
            at: clock::now(),
            ..TrackedStage::default()
        };
        for output in &entry.outputs {
            let path = store.object(&output.digest);
            if let Some(reader) = catalog.metrics.iter().find(|reader| reader.kind == output.kind) {
                stage.metrics.extend((reader.read)(&path)?);
            }
            if let Some(reader) = catalog.curves.iter().find(|reader| reader.kind == output.kind) {
                stage.curves.extend((reader.read)(&path)?);
            }
        }
        // A thread that is gone has said why.
        let _ = self.tell.send(Message::Stage(Box::new(stage)));
        Ok(())
    }

    /// Waits until everything is told.
    pub fn end(self, status: RunStatus, pages: &[PathBuf]) {
        let _ = self.tell.send(Message::End(status, pages.to_vec()));
        let _ = self.thread.join();
    }
}

/// The work of the thread.
fn report(
    trackers: &mut Vec<(String, Box<dyn Tracker + Send>)>,
    run: &TrackedRun,
    told: &Receiver<Message>,
    sinks: &[Arc<dyn Sink>],
) {
    let warn = |text: String| {
        let event = Event::Warning { stage: NAME.into(), text: redact(&text).into_owned() };
        sinks.iter().for_each(|sink| sink.event(&event));
    };
    let mut tell = |what: &dyn Fn(&mut dyn Tracker) -> anyhow::Result<Option<String>>| {
        trackers.retain_mut(|(name, tracker)| match what(&mut **tracker) {
            Ok(None) => true,
            Ok(Some(text)) => {
                warn(format!("{name}: {text}"));
                true
            }
            Err(error) => {
                warn(format!(
                    "{name} is told nothing more of this run: {error:#}\nhelp: the run goes on; `run` again with `--track` reports it whole from the store"
                ));
                false
            }
        });
    };
    tell(&|tracker| tracker.begin(run, clock::now()).map(|()| None));
    for told in told {
        match told {
            Message::Stage(stage) => tell(&|tracker| tracker.stage(&stage).map(|()| None)),
            Message::End(status, pages) => return tell(&|tracker| tracker.end(status, &pages, clock::now())),
        }
    }
}

/// The leaves of a config by their paths.
fn flat(config: &Value) -> Vec<(String, String)> {
    fn walk(path: &str, value: &Value, out: &mut Vec<(String, String)>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, value, out);
                }
            }
            Value::String(text) => out.push((path.to_owned(), text.clone())),
            other => out.push((path.to_owned(), other.to_string())),
        }
    }
    let mut out = Vec::new();
    if config.as_object().is_some_and(|fields| !fields.is_empty()) {
        walk("", config, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use std::time::Duration;

    use super::*;

    #[test]
    fn settings_are_flat_texts() {
        let config = json!({ "a": 1, "b": { "c": "x", "d": {}, "e": [1, 2] }, "f": null });
        let named = |path: &str, value: &str| (path.to_owned(), value.to_owned());
        assert_eq!(
            flat(&config),
            [named("a", "1"), named("b.c", "x"), named("b.d", "{}"), named("b.e", "[1,2]"), named("f", "null")]
        );
        assert_eq!(flat(&json!({})), []);
    }

    /// Fails at the second stage.
    struct Broken(Sender<String>);

    impl Tracker for Broken {
        fn begin(&mut self, run: &TrackedRun, _: Duration) -> anyhow::Result<()> {
            Ok(self.0.send(format!("begin {}", run.id))?)
        }
        fn stage(&mut self, stage: &TrackedStage) -> anyhow::Result<()> {
            anyhow::ensure!(stage.id != "second", "no space left");
            Ok(self.0.send(stage.id.clone())?)
        }
        fn end(&mut self, _: RunStatus, _: &[PathBuf], _: Duration) -> anyhow::Result<Option<String>> {
            Ok(self.0.send("end".into()).map(|()| None)?)
        }
    }

    /// Keeps the warnings.
    struct Warnings(Sender<String>);

    impl Sink for Warnings {
        fn advanced(&self, _: &str, _: &str, _: u64, _: Option<u64>, _: &str, _: &str) {}
        fn finished(&self, _: &str, _: &str) {}
        fn note(&self, _: &str, _: &str, _: &str) {}
        fn event(&self, event: &Event) {
            if let Event::Warning { text, .. } = event {
                let _ = self.0.send(text.clone());
            }
        }
    }

    #[test]
    fn what_goes_wrong_is_said_once_and_ends_that_tracker_alone() {
        let (said, heard) = channel();
        let (warned, warnings) = channel();
        let (other, others) = channel();
        let mut trackers: Vec<(String, Box<dyn Tracker + Send>)> =
            vec![("broken".into(), Box::new(Broken(said))), ("gone".into(), Box::new(Broken(other)))];
        drop(others);
        let (tell, told) = channel();
        for id in ["first", "second", "third"] {
            tell.send(Message::Stage(Box::new(TrackedStage { id: id.into(), ..TrackedStage::default() }))).unwrap();
        }
        tell.send(Message::End(RunStatus::Ok, vec![])).unwrap();
        let run = TrackedRun { id: "r1".into(), experiment: "e".into(), command: "run".into() };
        let sinks: [Arc<dyn Sink>; 1] = [Arc::new(Warnings(warned))];
        report(&mut trackers, &run, &told, &sinks);
        drop((trackers, sinks));
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["begin r1", "first"]);
        let warnings: Vec<String> = warnings.iter().collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("gone is told nothing more of this run: "), "{warnings:?}");
        assert!(
            warnings[1].starts_with("broken is told nothing more of this run: no space left\nhelp: "),
            "{warnings:?}"
        );
    }
}
