//! What the engine gives a running stage: its scratch folder, its assets, progress, threads, and a flag to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::asset_name::AssetName;
use crate::progress::{Bar, Progress};
use crate::{Device, path_aliases};

/// The name of notes that a reader of a result must not miss; see [`Context::warn`].
pub const WARNING: &str = "warning";

/// A flag that Ctrl-C raises and long work looks at between two units.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks everyone who holds this flag to stop at the next unit.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Whether somebody asked.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The error of a stage that stopped because it was asked to; what it had committed is kept.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; finished units are saved and the next run resumes from them")]
pub struct Interrupted;

/// Handed to [`crate::Stage::run`].
pub struct Context {
    pub(crate) scratch: PathBuf,
    pub(crate) calls: PathBuf,
    pub(crate) spent: PathBuf,
    pub(crate) assets: BTreeMap<String, PathBuf>,
    pub(crate) progress: Progress,
    pub(crate) threads: usize,
    pub(crate) device: Device,
    pub(crate) cancel: Cancel,
    pub(crate) warnings: Arc<Mutex<Vec<String>>>,
    pub(crate) incomplete: Arc<AtomicBool>,
}

impl Context {
    /// The folder of this key's work in progress; it survives a kill and is removed after success.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }
    /// The folder of language-model answers, shared by all experiments.
    #[must_use]
    pub fn calls(&self) -> &Path {
        &self.calls
    }
    /// The [ledger](crate::checkpointing::Ledger) of what the experiment's stage spent, in all its runs, settings and cells.
    #[must_use]
    pub fn spent(&self) -> &Path {
        &self.spent
    }
    /// The verified local file or folder of an asset that [`crate::Stage::assets`] named.
    ///
    /// # Errors
    /// When the stage did not name it.
    pub fn asset(&self, name: &AssetName) -> anyhow::Result<&Path> {
        self.assets
            .get(&name.0)
            .map(PathBuf::as_path)
            .ok_or_else(|| anyhow::anyhow!("the stage uses asset `{}` but does not list it", name.0))
    }
    /// The same for a part of the work that saves units of its own, in a folder of that name below [`Context::scratch`].
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self {
            scratch: self.scratch.join(name),
            calls: self.calls.clone(),
            spent: self.spent.clone(),
            assets: self.assets.clone(),
            progress: self.progress.clone(),
            threads: self.threads,
            device: self.device,
            cancel: self.cancel.clone(),
            warnings: self.warnings.clone(),
            incomplete: self.incomplete.clone(),
        }
    }
    /// Calls a copy in [`Context::scratch`] by the name of the file that it stands for, in all messages from here on.
    pub fn stands_for(&self, copy: &Path, original: &Path) {
        path_aliases::stands_for(copy, original);
    }
    /// Opens a progress bar: `total` units of `unit`, or a spinner where the total is not known.
    #[must_use]
    pub fn bar(&self, label: &str, total: Option<u64>, unit: &'static str) -> Bar {
        self.progress.bar(label, total, unit)
    }
    /// Shows one fact on the screen and keeps it in the run's record (`rows`, `100000`). Never in an object.
    pub fn note(&self, name: &str, value: impl ToString) {
        self.progress.note(name, &path_aliases::named(&value.to_string()));
    }
    /// Notes what a reader of the result must not miss: reports say it beside the result. Several warnings stand in one note, each
    /// from a new line.
    pub fn warn(&self, text: impl ToString) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text.to_string();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
        self.note(WARNING, warnings.join("\n"));
    }
    /// What was warned of so far.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Says that another run may give the result what it lacks, such as answers that a server failed to give. It is kept and served
    /// in this run, and the next one makes it again, from all that is saved; should that fail, it goes on with the result of before.
    pub fn incomplete(&self) {
        self.incomplete.store(true, Ordering::Relaxed);
    }
    /// How many threads the user granted.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }
    /// Where the user wants a training to compute; `cpu` for stages that do not [train](crate::Stage::USES_DEVICE).
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }
    /// The same context with another device, for tests and benchmarks.
    #[must_use]
    pub fn on(self, device: Device) -> Self {
        Self { device, ..self }
    }
    /// Returns [`Interrupted`] once the user pressed Ctrl-C; call it between two units.
    ///
    /// # Errors
    /// [`Interrupted`], and nothing else.
    pub fn check_cancelled(&self) -> anyhow::Result<()> {
        if self.cancel.is_raised() { Err(Interrupted.into()) } else { Ok(()) }
    }
    /// As [`Context::check_cancelled`], for the parts of a step that saves nothing: an interruption from before the step lets it end, or
    /// a stage that is interrupted after each unit it saves would never get beyond it.
    pub fn check_cancelled_from_now(&self) -> impl Fn() -> anyhow::Result<()> + Sync + '_ {
        let before = self.cancel.is_raised();
        move || if before { Ok(()) } else { self.check_cancelled() }
    }
    /// The flag behind [`Context::check_cancelled`], for what outlives a borrow of this.
    #[must_use]
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }
    /// Asks the stage to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.cancel.raise();
    }
    /// The same context, whose progress is told there.
    #[must_use]
    pub fn telling(self, progress: &Progress) -> Self {
        Self { progress: progress.clone(), ..self }
    }
    /// Gives a detached context an asset.
    pub fn add_asset(&mut self, name: &str, path: &Path) {
        self.assets.insert(name.to_owned(), path.to_path_buf());
    }
    /// A context outside the engine, for tests and benchmarks.
    #[must_use]
    pub fn detached(scratch: &Path) -> Self {
        Self {
            scratch: scratch.to_path_buf(),
            calls: scratch.join("calls"),
            spent: scratch.join("spent"),
            assets: BTreeMap::new(),
            progress: Progress::silent(),
            threads: rayon::current_num_threads(),
            device: Device::Cpu,
            cancel: Cancel::default(),
            warnings: Arc::default(),
            incomplete: Arc::default(),
        }
    }
}
