//! The repository's own files, for the tests that hold the house in order.

use std::fs;
use std::path::PathBuf;

use crate::project::repository;

/// A file of Rust or of the templates and pages beside it.
pub struct Source {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
}

/// Every file with one of these extensions below `folder`, by path.
pub fn sources(folder: &str, extensions: &[&str]) -> Vec<Source> {
    let mut folders = vec![repository().join(folder)];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| extensions.iter().any(|wanted| end == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder} holds no {extensions:?}");
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let relative = path.strip_prefix(repository()).unwrap();
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        Source { path: parts.join("/"), text }
    };
    found.into_iter().map(source).collect()
}

impl Source {
    /// What of it is in the program: without its tests and without comments.
    pub fn program(&self) -> String {
        let tests = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = self.text[..tests].lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// Whether the file is there for tests only.
    pub fn is_for_tests(&self, all: &[Self]) -> bool {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let name = file.trim_end_matches(".rs");
        // A submodule is declared in `mod.rs` (or the root) of its folder.
        let declared =
            |parent: &&Self| ["mod.rs", "lib.rs"].iter().any(|root| parent.path == format!("{folder}/{root}"));
        all.iter().filter(declared).any(|parent| {
            let lines: Vec<&str> = parent.text.lines().collect();
            let mut pairs = lines.windows(2);
            pairs.any(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with(&format!("mod {name};")))
        })
    }
}
