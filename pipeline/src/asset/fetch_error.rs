//! The error of an asset that could not be had, which tells a person without network what to put where.

use std::path::{Path, PathBuf};

use super::AssetSpec;
use super::spec::{Kind, is_inner_path, is_plain_name};
use super::walk::as_link;
use crate::error_report::ErrorReport;
use crate::home_dir;

/// Where a `path` source leads.
pub(super) fn place(base: &Path, path: &str) -> PathBuf {
    base.join(home_dir::expand_tilde(Path::new(path)))
}

/// The names under which a data folder may hold the asset: its own, then those of its sources, and where a source is a path that
/// leads inwards also that path, so that one folder may lie there as published.
pub(super) fn names(name: &str, spec: &AssetSpec) -> Vec<String> {
    let sources = spec.from.iter().filter_map(|source| source.kind().ok()?.basename());
    let mut names = Vec::new();
    for name in std::iter::once(name.to_owned()).chain(sources) {
        if is_plain_name(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    let inner = spec
        .from
        .iter()
        .filter_map(|source| source.path.clone())
        .filter(|path| is_inner_path(path) && !path.starts_with('~'));
    for path in inner.map(|path| path.trim_end_matches('/').to_owned()) {
        if !names.contains(&path) {
            names.push(path);
        }
    }
    names
}

/// Says where the asset was looked for, why each source failed, and what to do. `base` is where paths begin.
pub(super) fn unobtainable(
    name: &str,
    spec: &AssetSpec,
    data: &[PathBuf],
    base: &Path,
    causes: &[(Kind, anyhow::Error)],
) -> anyhow::Error {
    // Something lies there, also where it is a link to nothing: then that is what has to be mended.
    let is_there =
        |kind: &Kind| matches!(kind, Kind::Path(path) if as_link(&place(base, path)).symlink_metadata().is_ok());
    if let [(kind, cause)] = causes
        && is_there(kind)
    {
        let report = ErrorReport::of(cause);
        let help =
            if report.help().is_some() { "" } else { "\nhelp: put the right content there, or correct the asset" };
        return anyhow::anyhow!("asset `{name}`: {report}{help}");
    }
    let names = names(name, spec);
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let mut text = format!("asset `{name}` is not on this machine and no source gives it");
    for folder in data {
        let found = if folder.is_dir() { format!("holds no {}", quoted.join(", no ")) } else { "is no folder".into() };
        text += &format!("\n  data {}: {found}", folder.display());
    }
    let mut helps = Vec::new();
    for (kind, error) in causes {
        let report = ErrorReport::of(error);
        text += &format!("\n  {kind}: {}", report.message.replace('\n', "\n    "));
        helps.extend(report.help().into_iter().flat_map(|help| help.lines().map(str::to_owned).collect::<Vec<_>>()));
    }
    let what = if causes.iter().any(|(kind, _)| kind.is_folder() == Some(true)) { "folder" } else { "file" };
    let places: Vec<String> = names.iter().map(|name| format!("DIR/{name}")).collect();
    // Most often a path is only mistyped.
    for (kind, _) in causes.iter().filter(|(kind, _)| !is_there(kind)) {
        if let Kind::Path(path) = kind {
            let begins =
                if Path::new(path).is_relative() { ", which begins at the folder of the experiment file" } else { "" };
            helps.push(format!("correct `path: {path}`{begins}"));
        }
    }
    let wanted = spec.wanted().map(|wanted| format!(" (SHA-256 {wanted})")).unwrap_or_default();
    let places = places.join(" or ");
    helps.push(format!("get the {what} on another machine, put it at {places}{wanted}, and give `--data DIR`"));
    text.extend(helps.iter().map(|help| format!("\nhelp: {help}")));
    anyhow::anyhow!(text)
}
