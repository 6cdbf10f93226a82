//! The Python package: its wheel is built and installed into a fresh environment, where it answers as this program does and runs it.
//!
//! What it is tested with comes from pip, once, into the build folder. Without a network the test says so and is skipped, unless
//! `APPRENTICE_REQUIRE_NETWORK` is set.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::policy_forms;
use crate::project::repository;
use crate::skipped::skipped;

/// The folder of that name with these packages, if pip gives them; each is imported by its own name.
pub fn packages(folder: &str, names: &[&str]) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let works = || {
        let mut python = Command::new("python3");
        python.args(["-c", &format!("import {}", names.join(", "))]).env("PYTHONPATH", &folder);
        python.output().is_ok_and(|output| output.status.success())
    };
    if works() {
        return Some(folder);
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"]).arg(&folder).args(names);
    let said = match pip.output() {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    if works() {
        return Some(folder);
    }
    let names = names.join(" and ");
    skipped("NETWORK", format_args!("pip gives no {names}: {said}"));
    None
}

/// What cargo tells its tests; a build that begins here must not take it for a change of its own surroundings.
const OF_CARGO: [&str; 8] = [
    "CARGO",
    "CARGO_BIN_",
    "CARGO_CRATE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_",
    "CARGO_RUSTC_",
    "CARGO_TARGET_TMPDIR",
];

/// A fresh environment in `folder` with the wheel and what it needs. The wheel takes the program that cargo has built.
fn environment(folder: &Path) -> PathBuf {
    let made = Command::new("python3").args(["-m", "venv"]).arg(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bin = folder.join("bin");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut pip = Command::new(bin.join("python"));
    pip.args(["-m", "pip", "install", "--quiet"]).arg(repository().join("pipeline/python"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let told = |of: &&str| if of.ends_with('_') { name.starts_with(*of) } else { name == **of };
        if OF_CARGO.iter().any(told) {
            pip.env_remove(&name);
        }
    }
    // Maturin moves the program to where it packs it: to a folder of its own, for other tests run the one that is there.
    pip.env("CARGO_BUILD_BUILD_DIR", target).env("CARGO_TARGET_DIR", folder.join("built"));
    let installed = pip.output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    bin
}

/// A command of an environment that sees it alone, and these packages.
fn command(bin: &Path, program: &str, packages: &Path) -> Command {
    let mut command = Command::new(bin.join(program));
    command.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(repository());
    command
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
}

#[test]
fn the_wheel_runs_answers_and_reads() {
    let names = ["mypy", "numpy", "onnx", "onnxruntime", "pandas", "polars", "pyarrow", "pytest", "safetensors"];
    let Some(packages) = packages("python-package-peers", &names) else { return };
    let folder = tempfile::tempdir().unwrap();
    let bin = environment(&folder.path().join("venv"));

    // The program of the wheel is the one that the other tests drive: equal sources, features and profile, nothing built twice.
    let [own, installed] =
        [Path::new(env!("CARGO_BIN_EXE_apprentice")), &bin.join("apprentice")].map(|path| fs::read(path).unwrap());
    assert!(own == installed, "the wheel holds another program than cargo built for the tests");
    succeeds(Command::new(bin.join("apprentice")).arg("--version"));
    succeeds(Command::new(bin.join("python")).args(["-c", "import apprentice; apprentice.Policy"]));

    let policies = folder.path().join("policies");
    fs::create_dir(&policies).unwrap();
    policy_forms::write(&policies, |policy| {
        let mut export = Command::new(bin.join("apprentice"));
        export.args(["export", "--format", "onnx", "--out"]).arg(policy.with_extension("onnx")).arg(policy);
        succeeds(export.arg("--artifacts").arg(folder.path().join("none")));
    });
    let mut pytest = command(&bin, "python", &packages);
    pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
    pytest.arg("--rootdir").arg(repository().join("pipeline/python"));
    succeeds(pytest.arg(repository().join("pipeline/python/tests")).env("APPRENTICE_TEST_POLICIES", &policies));

    let mut mypy = command(&bin, "python", &packages);
    mypy.args(["-m", "mypy", "--strict", "--cache-dir"]).arg(packages.join("mypy-cache"));
    mypy.arg("--config-file").arg(repository().join("pipeline/python/pyproject.toml"));
    succeeds(mypy.arg(repository().join("pipeline/python/apprentice")));
}
