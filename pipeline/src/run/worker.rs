//! A job worked on in a process of its own: `apprentice work JOB`.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use super::key_lock;
use super::panics;
use super::work::{Work, need_of};
use crate::asset::{Resolver, ResolverOptions, default_cache};
use crate::checkpointing::ResumePoint;
use crate::error_report::ErrorReport;
use crate::event::Event;
use crate::executor::{EventWriter, Job, JobFiles, WorkerEvent};
use crate::exit::{Failure, Locked};
use crate::failpoints::reached;
use crate::key::KeyMaterial;
use crate::progress::{Progress, Sink};
use crate::store::{Holder, Store};
use crate::{AnyStage, Cancel, Catalog, Device, Exit, Interrupted, StageKind, clock};

/// Works on the job in a file, says so as it goes on, and gives how it ended. `memory` is what its tables may take.
pub(crate) fn work_on(path: &Path, catalog: &'static Catalog, cancel: &Cancel, memory: u64) -> anyhow::Result<Exit> {
    let files = JobFiles::at(path);
    let (job, store) = files.read()?;
    let events = Arc::new(EventWriter::append(&files.events())?);
    events.say(&WorkerEvent::Started { host: clock::host(), pid: std::process::id() });
    let worker = Worker { job: &job, store: &store, catalog, cancel, memory, events: &events };
    let (event, exit) = match panics::caught(|| worker.make()) {
        Ok(()) => (WorkerEvent::Done, Exit::Ok),
        Err(error) if error.chain().any(|cause| cause.is::<Interrupted>()) => {
            (WorkerEvent::Interrupted, Exit::Interrupted)
        }
        Err(error) => {
            let text = ErrorReport::of(&error).to_string();
            let exit = Failure::from(error).exit;
            (WorkerEvent::Failed { exit: exit as u8, text }, exit)
        }
    };
    events.say(&event);
    events.sync();
    Ok(exit)
}

struct Worker<'a> {
    job: &'a Job,
    store: &'a Store,
    catalog: &'static Catalog,
    cancel: &'a Cancel,
    memory: u64,
    events: &'a Arc<EventWriter>,
}

impl Worker<'_> {
    /// Makes sure that the result is in the store.
    fn make(&self) -> anyhow::Result<()> {
        let Self { job, store, .. } = *self;
        store.check_format()?;
        let kind = self.catalog.stage(&job.kind).with_context(|| other_build(&job.kind))?;
        let config =
            (kind.parse)(job.config.0.clone()).map_err(|error| anyhow!("{}: {}", error.path, error.message))?;
        let material = self.material(kind, &*config)?;
        let _lock = key_lock::locked(store, &job.key, &|| self.holder(), self.cancel, |holder| {
            if job.no_wait {
                return Err(Locked { stage: job.id.clone(), holder }.into());
            }
            self.events.event(&Event::Waiting { stage: job.id.clone(), holder });
            Ok(())
        })?;
        if job.stored(store)?.is_some() {
            return Ok(());
        }
        self.check_inputs()?;
        let sinks: Arc<[Arc<dyn Sink>]> = Arc::new([self.events.clone() as Arc<dyn Sink>]);
        let progress = Progress::new(&job.id, sinks);
        let files = |port: &str| job.files(store, port);
        let need = need_of(kind, &*config, &files, self.memory, &progress)?;
        let work = Work {
            job,
            material,
            kind,
            config: &*config,
            store,
            resolver: &self.resolver(),
            assets: &job.resolved_assets(),
            device: job.device.as_deref().map(str::parse::<Device>).transpose().map_err(|text| anyhow!(text))?,
            need: need.as_ref(),
            resumed: ResumePoint::in_scratch(&store.scratch(&job.key))?.is_some(),
            progress,
            cancel: self.cancel.clone(),
            warn: &|text| self.events.say(&WorkerEvent::Warning { text: text.to_owned() }),
        };
        work.carry_out()?;
        reached("unlocked", &store.scratch(&job.key));
        Ok(())
    }

    /// The material of the key, which must be that of the job.
    fn material(&self, kind: &StageKind, config: &dyn AnyStage) -> anyhow::Result<KeyMaterial> {
        let assets: Vec<_> = self.job.assets.iter().map(|(name, asset)| (name.clone(), asset.digest.clone())).collect();
        let material = KeyMaterial::new(kind, config, &assets, &|port| self.job.key_inputs(port));
        if material.key() == self.job.key { Ok(material) } else { bail!(other_build(kind.kind)) }
    }

    /// What this host does not see it cannot read; said here, because a stage would say it in other words.
    fn check_inputs(&self) -> anyhow::Result<()> {
        let inputs = self.job.inputs.values().flatten().map(|input| self.store.object(&input.digest));
        let assets = self.job.assets.iter().map(|(_, asset)| asset.path.clone());
        match inputs.chain(assets).find(|path| !path.exists()) {
            Some(path) => bail!(
                "{} does not see `{}`\n\
                 help: keep results and assets on a file system that the nodes share (`--artifacts`, `--data`, APPRENTICE_CACHE)",
                clock::host(),
                path.display()
            ),
            None => Ok(()),
        }
    }

    fn resolver(&self) -> Resolver {
        // The run found the assets; here they are only looked at again.
        let base = self.store.artifacts().to_path_buf();
        Resolver::new(ResolverOptions { data: vec![], cache: default_cache(), offline: true, base, generators: &[] })
    }

    fn holder(&self) -> Holder {
        let since = clock::timestamp(clock::now());
        Holder { host: clock::host(), pid: std::process::id(), since, run: self.job.run.clone() }
    }
}

fn other_build(kind: &str) -> String {
    format!(
        "this worker ({}) comes to another key for `{kind}` than the run\n\
         help: let the nodes run the same build of apprentice as the run",
        concat!("apprentice ", env!("CARGO_PKG_VERSION"))
    )
}
