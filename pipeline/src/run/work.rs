//! The work of one stage: its surroundings, what it computes, and the commit of what it wrote.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Context as _;

use super::panics::{self, THREADS};
use crate::asset::{Resolved, Resolver};
use crate::executor::Job;
use crate::failpoints::reached;
use crate::key::KeyMaterial;
use crate::memory_need::{self, TableRefused, WORTH_SAYING};
use crate::progress::{Progress, WORTH_A_BAR};
use crate::store::{AssetMade, Entry, Made, Output, Store};
use crate::{AnyStage, Cancel, Context, Device, MemoryNeed, PortFile, Sizes, StageKind, clock, out_of_memory};

/// What a job is worked on with, beside its file.
pub(super) struct Work<'a> {
    pub job: &'a Job,
    pub material: KeyMaterial,
    pub kind: &'static StageKind,
    pub config: &'a dyn AnyStage,
    pub store: &'a Store,
    pub resolver: &'a Resolver,
    pub assets: &'a [(String, Resolved)],
    pub device: Option<Device>,
    /// What its tables need, where it can say.
    pub need: Option<&'a MemoryNeed>,
    /// Whether its scratch folder holds finished units.
    pub resumed: bool,
    pub progress: Progress,
    pub cancel: Cancel,
    pub warn: &'a dyn Fn(&str),
}

impl Work<'_> {
    /// Runs the stage in its scratch folder and commits what it wrote. The caller holds the key's lock.
    pub fn carry_out(self) -> anyhow::Result<Entry> {
        let Self { job, store, kind, .. } = self;
        let start = Instant::now();
        let scratch = store.scratch(&job.key);
        let out = scratch.with_extension("out");
        // What a killed attempt had written as outputs is not trusted; its units in `scratch` are, and carry checksums.
        remove(&out)?;
        for dir in [&scratch, &out, &store.part("calls")] {
            fs::create_dir_all(dir).with_context(|| format!("make the folder `{}`", dir.display()))?;
        }
        let cx = Context {
            scratch: scratch.clone(),
            calls: store.part("calls"),
            spent: store.spent(&job.experiment, &job.stage),
            assets: self.assets.iter().map(|(name, found)| (name.clone(), found.path.clone())).collect(),
            progress: self.progress,
            threads: job.threads,
            device: self.device.unwrap_or_default(),
            cancel: self.cancel,
            warnings: Arc::default(),
            incomplete: Arc::default(),
        };
        // A pool for each stage: in a shared one, the stage that began first would keep every thread until its queue is empty.
        // Which thread computes what changes no result, so the system may share the cores among all of them.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads);
        let pool = pool.thread_name(|index| format!("{THREADS}pool-{index}")).build();
        let pool = pool.context("start the threads of the stage")?;
        let _at_work = out_of_memory::at_work(&job.id, self.need.map_or("", MemoryNeed::help));
        let files = |port: &str| job.files(store, port);
        let worked = panics::caught(|| pool.install(|| self.config.execute(&files, &cx, &out)));
        worked.map_err(|error| with_help(self.need, error))?;
        // A result of other bytes than those of the key must not go by it.
        for (name, found) in self.assets {
            self.resolver.check_unchanged(name, found)?;
        }
        let output = |port: crate::PortSpec| Output {
            port: port.name.into(),
            kind: port.kind.into(),
            format: port.format,
            extension: port.extension.into(),
            digest: String::new(),
            bytes: 0,
        };
        let outputs: Vec<_> = (kind.outputs)().into_iter().map(output).collect();
        let mut bytes = 0;
        for output in &outputs {
            let written = fs::metadata(out.join(&output.port)).ok().filter(fs::Metadata::is_file);
            let written = written.with_context(|| format!("{} wrote no output `{}`", kind.kind, output.port))?;
            bytes += written.len();
        }
        let made = Made {
            experiment: job.experiment.clone(),
            stage: job.id.clone(),
            run: job.run.clone(),
            command: job.command.clone(),
            host: clock::host(),
            finished: clock::timestamp(clock::now()),
            seconds: start.elapsed().as_secs_f64(),
            resumed: self.resumed,
            device: self.device.map(|device| device.to_string()),
            incomplete: cx.incomplete.load(Ordering::Relaxed),
            assets: self.assets.iter().map(asset_made).collect(),
        };
        let bar = (bytes >= WORTH_A_BAR).then(|| cx.bar("keep", Some(bytes), "bytes"));
        let hashed = |bytes| bar.iter().for_each(|bar| bar.inc(bytes));
        let entry = Entry { key: job.key.clone(), material: self.material, outputs, made };
        let entry = store.commit(entry, &out, &hashed)?;
        // The result is in the store, whatever becomes of what it was made in.
        for error in [&out, &scratch].into_iter().filter_map(|dir| remove(dir).err()) {
            (self.warn)(&format!("the stage has finished, and its working folder remains: {error:#}"));
        }
        Ok(entry)
    }
}

/// What the tables of a stage need, where it can say, for inputs of the sizes that these files have: known before they are made.
///
/// # Errors
/// When that is more than `cap`.
pub(super) fn need_of(
    kind: &StageKind,
    config: &dyn AnyStage,
    files: &dyn Fn(&str) -> Vec<PortFile>,
    cap: u64,
    progress: &Progress,
) -> anyhow::Result<Option<MemoryNeed>> {
    let mut sizes = Sizes::default();
    for port in (kind.inputs)() {
        for file in files(port.name) {
            sizes = sizes.and((port.sizes)(&file.path)?);
        }
    }
    let need = config.memory(&sizes);
    if let Some(need) = &need {
        need.check(cap)?;
        if need.total() >= WORTH_SAYING {
            progress.note("memory", &need.words(cap));
        }
    }
    Ok(need)
}

/// Adds to the error of a table that could not be had what makes it smaller.
fn with_help(need: Option<&MemoryNeed>, error: anyhow::Error) -> anyhow::Error {
    match need {
        Some(need) if !need.help().is_empty() && error.chain().any(|cause| cause.is::<TableRefused>()) => {
            error.context(format!("its tables need {}\nhelp: {}", memory_need::bytes(need.total()), need.help()))
        }
        _ => error,
    }
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => {
            reached("removed", dir);
            removed.with_context(|| format!("remove `{}`", dir.display()))
        }
    }
}

fn asset_made((name, found): &(String, Resolved)) -> AssetMade {
    AssetMade { name: name.clone(), origin: found.origin.clone(), path: found.path.display().to_string() }
}
