//! The assets of an experiment: each found or fetched once in a run.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;

use crate::asset::{AssetSpec, Resolved, Resolver};
use crate::progress::Progress;
use crate::spec::{Experiment, Node};
use crate::{Cancel, Interrupted};

pub(crate) struct Assets<'a> {
    specs: &'a BTreeMap<String, AssetSpec>,
    /// Where each is written.
    places: &'a BTreeMap<String, String>,
    resolver: Resolver,
    /// Each under a lock of its own: an asset that is here does not wait for one that is fetched.
    resolved: BTreeMap<&'a str, Mutex<Option<Resolved>>>,
    /// One fetch at a time: two that share one line gain nothing.
    line: Mutex<()>,
}

impl<'a> Assets<'a> {
    pub fn new(experiment: &'a Experiment, resolver: Resolver) -> Self {
        let (specs, places) = (&experiment.assets, &experiment.asset_places);
        let resolved = specs.keys().map(|name| (name.as_str(), Mutex::default())).collect();
        Self { specs, places, resolver, resolved, line: Mutex::default() }
    }

    /// The assets of a node that are on this machine, by name in the stage's order; `Err` with the name of the first that is
    /// not.
    pub fn known(&self, node: &Node) -> Result<Vec<(String, Resolved)>, String> {
        let one = |name: String| match self.look(&name) {
            Some(found) => Ok((name, found)),
            None => Err(name),
        };
        names(node).into_iter().map(one).collect()
    }

    /// The assets of a node, fetched where they are not here. Stages that need the same one wait for the first of them.
    pub fn fetched(
        &self,
        node: &Node,
        progress: &Progress,
        cancel: &Cancel,
    ) -> anyhow::Result<Vec<(String, Resolved)>> {
        let one = |name: String| {
            let place = self.resolved.get(&*name).zip(self.specs.get(&name));
            let (known, spec) = place.with_context(|| format!("the experiment has no asset `{name}`"))?;
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = &*known {
                return Ok((name, found.clone()));
            }
            if cancel.is_raised() {
                return Err(Interrupted.into());
            }
            let found = match self.resolver.look_for(&name, spec, progress, cancel)? {
                Some(found) => found,
                None => {
                    let _line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
                    let found = self.resolver.fetch(&name, spec, progress, cancel);
                    let found = found.map_err(|error| self.located(&name, error))?;
                    progress.note(&format!("asset {name}"), &found.origin);
                    found
                }
            };
            *known = Some(found.clone());
            Ok((name, found))
        };
        names(node).into_iter().map(one).collect()
    }

    /// Why an asset cannot be had, with its place, as far as that shows without network; nothing where it can, or may.
    pub fn lacking(&self, name: &str) -> Option<anyhow::Error> {
        let error = self.resolver.lacking(name, self.specs.get(name)?)?;
        Some(self.located(name, error))
    }

    /// What finds them.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Adds to the error of a stage that looked for a folder where an asset is a file: that it is, and what to write instead.
    pub fn wanted_folder(&self, found: &[(String, Resolved)], error: anyhow::Error) -> anyhow::Error {
        let text = format!("{error:#}");
        let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let is_listed = io.is_some_and(|error| error.kind() == ErrorKind::NotADirectory);
        let is_meant = |path: &Path| {
            let path = path.display().to_string();
            // The stage says so, or names a file below the one that is no folder.
            (is_listed && text.contains(&path)) || text.contains(&format!("{path}/"))
        };
        match found.iter().find(|(_, found)| found.path.is_file() && is_meant(&found.path)) {
            Some((name, _)) => {
                let what = format!("asset `{name}` is a file, and the stage wants a folder");
                let help = "`path` must be the folder that holds the file, not the file itself (`path: FOLDER/`)";
                self.located(name, error.context(format!("{what}\nhelp: {help}")))
            }
            None => error,
        }
    }

    /// Adds where the experiment names an asset.
    fn located(&self, name: &str, error: anyhow::Error) -> anyhow::Error {
        match self.places.get(name) {
            Some(place) if !error.is::<Interrupted>() => error.context(place.clone()),
            _ => error,
        }
    }

    fn look(&self, name: &str) -> Option<Resolved> {
        let mut known = self.resolved.get(name)?.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = self.resolver.known(name, self.specs.get(name)?);
        }
        known.clone()
    }
}

fn names(node: &Node) -> Vec<String> {
    node.config.assets().into_iter().map(|name| name.0).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::asset::ResolverOptions;

    fn experiment(base: &Path) -> Experiment {
        let spec: AssetSpec = serde_yaml::from_str("from: [{ path: ratings }]").unwrap();
        Experiment {
            name: "toy".into(),
            base: base.into(),
            source: String::new(),
            assets: BTreeMap::from([("log".to_owned(), spec)]),
            asset_places: BTreeMap::from([("log".to_owned(), "x.yaml:2:20".to_owned())]),
            nodes: vec![],
            catalog: &crate::spec::toy::CATALOG,
        }
    }

    fn assets(experiment: &Experiment) -> Assets<'_> {
        let resolver = Resolver::new(ResolverOptions {
            data: vec![],
            cache: experiment.base.join("cache"),
            offline: true,
            base: experiment.base.clone(),
            generators: &[],
        });
        Assets::new(experiment, resolver)
    }

    #[test]
    fn a_file_that_a_stage_took_for_a_folder_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let experiment = experiment(dir.path());
        let assets = assets(&experiment);
        let path = dir.path().join("ratings");
        fs::write(&path, "1").unwrap();
        let found = [("log".to_owned(), assets.look("log").unwrap())];
        let placed = |error: anyhow::Error| {
            crate::error_report::ErrorReport::of(&assets.wanted_folder(&found, error)).to_string()
        };
        let begins = "x.yaml:2:20: asset `log` is a file, and the stage wants a folder: ";
        let help = "\nhelp: `path` must be the folder that holds the file, not the file itself (`path: FOLDER/`)";
        let listed = fs::read_dir(&path).map(|_| ()).with_context(|| format!("cannot list {}", path.display()));
        let text = placed(listed.unwrap_err());
        assert!(text.starts_with(&format!("{begins}cannot list ")) && text.ends_with(help), "{text}");
        let text = placed(anyhow::anyhow!("{}/a.csv is not there", path.display()));
        assert!(text.starts_with(begins) && text.ends_with(help), "{text}");
        let other = format!("{}: row 3 holds no number", path.display());
        assert_eq!(placed(anyhow::anyhow!(other.clone())), other);
    }

    #[test]
    fn changed_gone_and_unreadable_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ratings");
        let experiment = experiment(dir.path());
        let assets = assets(&experiment);
        fs::write(&path, "1").unwrap();
        let found = assets.look("log").unwrap();
        let changed = || format!("{:#}", assets.resolver().check_unchanged("log", &found).unwrap_err());
        assets.resolver().check_unchanged("log", &found).unwrap();
        fs::write(&path, "2").unwrap();
        assert!(changed().starts_with("asset `log` changed while the stage was running"), "{}", changed());
        fs::remove_file(&path).unwrap();
        assert!(changed().starts_with(&format!("asset `log` went from `{}` while", path.display())), "{}", changed());
        // A link to itself: there, and not to be read by anybody.
        symlink(&path, &path).unwrap();
        let text = changed();
        assert!(text.starts_with("asset `log` cannot be read again") && text.contains("symbolic links"), "{text}");
    }
}
