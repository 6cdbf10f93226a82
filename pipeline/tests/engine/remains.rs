//! What runs leave behind, to be compared and to be put back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::project::Project;

/// Everything that must not depend on what happened on the way: the objects, the results by key, and the views.
pub fn remains(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let artifacts = project.path("artifacts");
    let mut remains = BTreeMap::new();
    for (path, bytes) in files(project) {
        let name = path.strip_prefix(&artifacts).unwrap().display().to_string();
        // A killed process leaves files that it had not finished.
        if path.file_name().unwrap().to_string_lossy().starts_with(".new-") {
            continue;
        }
        if name.starts_with("store/entries/") {
            let mut entry: Value = serde_json::from_slice(&bytes).unwrap();
            entry["entry"].as_object_mut().unwrap().remove("made");
            remains.insert(name, entry["entry"].to_string().into_bytes());
        } else if name.ends_with("-as-run.html") {
            // It tells the run; that it is there is all that two runs have in common.
            remains.insert(name, Vec::new());
        } else if name.starts_with("store/objects/") || !name.starts_with("store/") {
            remains.insert(name, bytes);
        }
    }
    remains
}

/// The remains of a run that nothing disturbed.
pub fn undisturbed(experiment: &str) -> BTreeMap<String, Vec<u8>> {
    let project = Project::new(experiment);
    project.ok("run x.yaml");
    remains(&project)
}

/// Every file below the results.
pub fn files(project: &Project) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    collect(&project.path("artifacts"), &mut found);
    found
}

/// Puts the results back to what they were.
pub fn restore(project: &Project, files: &BTreeMap<PathBuf, Vec<u8>>) {
    fs::remove_dir_all(project.path("artifacts")).unwrap();
    for (path, bytes) in files {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn collect(dir: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
}
