//! What the commands share: the catalogue, the global options, and how they open an experiment.

use anyhow::Context as _;

use super::args::{Global, Source};
use crate::Catalog;
use crate::asset::{Resolver, ResolverOptions, default_cache};
use crate::exit::Failure;
use crate::run::{Assets, Project, THREADS};
use crate::spec::{self, Experiment};
use crate::store::Store;

pub(super) struct Session {
    pub catalog: &'static Catalog,
    pub global: Global,
}

impl Session {
    /// Makes the one pool that all numerical work shares, with exactly the threads that the user granted.
    pub fn start_threads(&self) -> Result<(), Failure> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.global.threads());
        let pool = pool.thread_name(|index| format!("{THREADS}pool-{index}"));
        Ok(pool.build_global().context("start the threads for numerical work")?)
    }

    pub fn store(&self) -> Store {
        Store::new(&self.global.artifacts)
    }

    /// Reads an experiment file.
    pub fn load(&self, source: &Source) -> Result<Experiment, Failure> {
        if let Some((what, help)) = self.global.device.and_then(|device| self.catalog.devices.lacks(device)) {
            return Err(Failure::usage(anyhow::anyhow!("`--device`: {what}\nhelp: {help}")));
        }
        let experiment = spec::load(&source.experiment, &source.set, self.catalog).map_err(Failure::usage)?;
        Ok(self.on_devices(experiment))
    }

    /// The experiment with the device of the command line, which goes before what the file says.
    pub fn on_devices(&self, mut experiment: Experiment) -> Experiment {
        for node in experiment.nodes.iter_mut().filter(|node| node.kind.uses_device) {
            node.device = self.global.device.or(node.device);
        }
        experiment
    }

    /// An experiment with its store and assets.
    pub fn project<'a>(&self, experiment: &'a Experiment) -> Project<'a> {
        let resolver = Resolver::new(ResolverOptions {
            data: self.global.data(),
            cache: default_cache(),
            offline: self.global.offline,
            base: experiment.base.clone(),
            generators: self.catalog.generators,
        });
        let resolver = resolver.beside_results(&self.global.artifacts, &experiment.name);
        Project { experiment, store: self.store(), assets: Assets::new(experiment, resolver) }
    }
}
