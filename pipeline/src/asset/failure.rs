//! The error of an asset that could not be had, which tells a person without network what to put where.

use std::path::{Path, PathBuf};

use super::AssetSpec;
use super::spec::{Kind, is_inner_path, is_plain_name};

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
    let inner = spec.from.iter().filter_map(|source| source.path.clone()).filter(|path| is_inner_path(path));
    for path in inner.map(|path| path.trim_end_matches('/').to_owned()) {
        if !names.contains(&path) {
            names.push(path);
        }
    }
    names
}

/// Lists where the asset was looked for and why each source failed.
pub(super) fn unobtainable(
    name: &str,
    spec: &AssetSpec,
    data: &[PathBuf],
    causes: &[(Kind, anyhow::Error)],
) -> anyhow::Error {
    let names = names(name, spec);
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let mut text = format!("asset `{name}` is not on this machine and no source gives it");
    for folder in data {
        let found = if folder.is_dir() { format!("holds no {}", quoted.join(", no ")) } else { "is no folder".into() };
        text += &format!("\n  data {}: {found}", folder.display());
    }
    for (kind, error) in causes {
        let cause = format!("{error:#}");
        text += &format!("\n  {kind}: {}", cause.replace('\n', "\n    "));
    }
    let what = if causes.iter().any(|(kind, _)| kind.is_folder() == Some(true)) { "folder" } else { "file" };
    let places: Vec<String> = names.iter().map(|name| format!("DIR/{name}")).collect();
    // Most often a path is only mistyped.
    for (kind, _) in causes {
        if let Kind::Path(path) = kind {
            let begins =
                if Path::new(path).is_relative() { ", which begins at the folder of the experiment file" } else { "" };
            text += &format!("\nhelp: correct `path: {path}`{begins}");
        }
    }
    text += &format!("\nhelp: get the {what} on another machine, put it at {}", places.join(" or "));
    if let Some(wanted) = spec.wanted() {
        text += &format!(" (SHA-256 {wanted})");
    }
    text += ", and give `--data DIR`";
    anyhow::anyhow!(text)
}
