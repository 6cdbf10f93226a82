//! What the commands share: the catalogue, the global options, and how they open an experiment.

use super::args::{Global, Source};
use crate::asset::{Resolver, ResolverOptions, default_cache};
use crate::exit::Failure;
use crate::run::{Assets, Project};
use crate::spec::{self, Experiment};
use crate::store::Store;
use crate::Catalog;

pub(super) struct Session {
    pub catalog: &'static Catalog,
    pub global: Global,
}

impl Session {
    pub fn store(&self) -> Store {
        Store::new(&self.global.artifacts)
    }

    /// Reads an experiment file.
    pub fn load(&self, source: &Source) -> Result<Experiment, Failure> {
        spec::load(&source.experiment, &source.set, self.catalog).map_err(Failure::wrong)
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
        Project { experiment, store: self.store(), assets: Assets::new(&experiment.assets, resolver) }
    }
}
