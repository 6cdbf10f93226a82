//! Assets that cannot be had, or cannot be what they are.

use std::fs;

use crate::project::{Ended, Project};

const LOG: &str = "\
name: log
assets: { log: { from: [{ path: data/ }] } }
stages:
  one: { use: toy.train, with: { value: 1 } }
  log: { use: toy.number, with: { asset: log } }
  sum: { use: toy.add, inputs: { a: log.value, b: one.value } }
";

/// A project whose asset is the file `data`, which holds a number.
fn with_file() -> Project {
    let project = Project::new(&LOG.replace("data/", "data"));
    project.write("data", "7");
    project
}

#[track_caller]
fn refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, 2, "{ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
    }
}

#[test]
fn an_asset_that_is_not_there_is_told_before_anything_runs() {
    let project = Project::new(LOG);
    let error = "error: stage `log` needs something that is missing: x.yaml:2:33: asset `log` is not on this machine";
    let help = "\nhelp: correct `path: data/`, which begins at the folder of the experiment file\n";
    let plan = project.run("plan x.yaml");
    refused(&plan, &[error, help]);
    assert!(plan.stdout.contains("log  cannot run: asset log is missing\n"), "{}", plan.stdout);
    assert!(plan.stdout.contains("3 stages: 2 will run, 1 cannot run\n"), "{}", plan.stdout);
    refused(&project.run("run x.yaml"), &[error, help]);
    refused(&project.run("plan x.yaml --check --offline"), &[error]);
    assert_eq!(project.count("entries"), 0);
    project.ok("run x.yaml one");
    let going = project.run("run x.yaml --keep-going");
    assert!(going.code == 8 && going.stderr.starts_with("warning: stage `log` needs"), "{going:?}");
    // With another name for the same thing it is not needed, and a second source may have it.
    project.ok(r#"plan x.yaml --set assets.log.from=[{"path":gone},{"generate":seven}]"#);
    project.ok(r#"run x.yaml --set assets.log.from=[{"path":gone},{"generate":seven}]"#);
    // What is fetched may be; offline it may not, unless it is kept.
    let web = r#"--set assets.log.from=[{"path":gone},{"url":https://127.0.0.1:9/a}]"#;
    project.ok(&format!("plan x.yaml {web}"));
    refused(
        &project.run(&format!("plan x.yaml --offline {web}")),
        &["https://127.0.0.1:9/a: not tried: the run is offline"],
    );
}

#[test]
fn an_asset_of_other_content_than_is_wanted_is_told_before_anything_runs() {
    let project = with_file();
    let wanted = format!("--set assets.log.sha256={}", "0".repeat(64));
    for command in ["plan", "run"] {
        refused(
            &project.run(&format!("{command} x.yaml {wanted}")),
            &["asset `log`: ", " has the SHA-256 ", "help: put the right content there"],
        );
    }
}

/// As in python/mypy#10051: `~` in a variable, or behind `=`, is expanded by nobody, and became a folder of that name.
#[test]
fn a_path_that_begins_with_a_tilde_begins_at_the_home_whoever_wrote_it() {
    let project = Project::new(&LOG.replace("data/", "~/data"));
    project.write("data", "7");
    // The home of these tests is the folder of the project.
    fs::create_dir(project.path("below")).unwrap();
    let run = |args: &str| {
        let mut command = project.command(&format!("run ../x.yaml {args}"));
        command.current_dir(project.path("below")).env("APPRENTICE_ARTIFACTS", "~/from-variable");
        command.env("APPRENTICE_CACHE", "~/from-variable/cached");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    run("");
    run("--artifacts=~/from-option");
    for made in ["from-variable/log/log/value.txt", "from-variable/cached/seen", "from-option/log/log/value.txt"] {
        assert!(project.path(made).exists(), "{made}");
    }
    assert_eq!(fs::read_dir(project.path("below")).unwrap().count(), 0, "nothing is named `~`");
}

#[cfg(unix)]
mod entries {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::Command;

    use super::*;

    /// A project whose asset is the folder `data`.
    fn with_folder() -> Project {
        let project = Project::new(LOG);
        fs::create_dir(project.path("data")).unwrap();
        project.write("data/l.csv", "7");
        project
    }

    #[test]
    fn the_entry_that_is_none_is_named_and_nobody_is_sent_to_another_machine() {
        let project = with_folder();
        let bad = project.path("data/bad");
        let says = |parts: &[&str]| {
            for command in ["plan", "run"] {
                let ended = project.run(&format!("{command} x.yaml"));
                refused(&ended, parts);
                assert!(!ended.stderr.contains("another machine"), "{}", ended.stderr);
            }
            fs::remove_file(&bad).unwrap();
        };
        symlink("nowhere.csv", &bad).unwrap();
        says(&[
            "x.yaml:2:33: asset `log`: `data/bad` is a link to `nowhere.csv`, which is not there",
            "help: mend the link",
        ]);
        assert!(Command::new("mkfifo").arg(&bad).status().unwrap().success());
        says(&["asset `log`: `data/bad` is a named pipe, and an asset holds files and folders only", "take it out of"]);
        fs::write(&bad, "1").unwrap();
        fs::set_permissions(&bad, fs::Permissions::from_mode(0o0)).unwrap();
        // Whoever may read everything is refused nothing.
        if fs::read(&bad).is_err() {
            says(&["asset `log`: cannot read `data/bad`: Permission denied", "help: give yourself the right"]);
        }
        fs::remove_dir_all(project.path("data")).unwrap();
        symlink("nowhere", project.path("data")).unwrap();
        refused(&project.run("plan x.yaml"), &["asset `log`: `data` is a link to `nowhere`, which is not there"]);
    }

    #[test]
    fn an_asset_that_holds_the_results_is_refused_by_name() {
        let project = with_folder();
        let says = |args: &str, words: &str| {
            for command in ["plan", "run"] {
                let ended = project.run(&format!("{command} x.yaml {args}"));
                refused(&ended, &[words, "which change with every run\nhelp: "]);
            }
            assert!(!project.path("artifacts").exists());
        };
        says(r#"--set assets.log.from=[{"path":./}]"#, "asset `log`: `./` holds the results in `artifacts`, which");
        says(r#"--set assets.log.from=[{"path":data/..}]"#, "`data/..` holds the results in `artifacts`, which");
        says("--artifacts data/deep/results", "asset `log`: `data/` holds the results in `data/deep/results`, which");
        says("--artifacts data", "asset `log`: `data/` holds the results in `data`, which");
        symlink("data", project.path("link")).unwrap();
        says("--artifacts link/results", "`data/` holds the results in `link/results`, which");
        symlink("..", project.path("data/up")).unwrap();
        says("", "`data/` holds the results in `artifacts` by the link `data/up`, which");
        fs::remove_file(project.path("data/up")).unwrap();
        // Below `--data`, too: there it goes by its name.
        fs::create_dir_all(project.path("all/log")).unwrap();
        project.write("all/log/l.csv", "7");
        says("--data all --artifacts all/log/results", "asset `log`: `all/log` holds the results in `all/log/results`");
        let cache = project.run_with("plan x.yaml", &[("APPRENTICE_CACHE", "data/cache")]);
        refused(&cache, &["`data/` holds the cached assets in `data/cache`, which", "APPRENTICE_CACHE"]);
        // Beside each other they may lie, and results of another experiment are data like any.
        let named = project.run("plan x.yaml --artifacts data-results --json");
        assert_eq!(named.code, 0, "{named:?}");
        project.write("other.yaml", "name: other\nstages: { a: { use: toy.number, with: { value: 3 } } }\n");
        project.ok("run other.yaml");
        project.ok(r#"plan x.yaml --set assets.log.from=[{"path":artifacts/other}]"#);
        let own = project.run(r#"plan x.yaml --set assets.log.from=[{"path":artifacts/other}] --set name=other"#);
        refused(&own, &["holds the results in `artifacts/other`"]);
    }

    #[test]
    fn a_folder_of_results_that_is_a_link_to_nothing_is_told_so() {
        let project = with_folder();
        symlink("gone/far", project.path("artifacts")).unwrap();
        for command in ["plan x.yaml", "run x.yaml one", "runs"] {
            let words = "`artifacts` is a link to `gone/far`, which is not there\nhelp: ";
            refused(&project.run(command), &[words]);
        }
        project.write("file", "");
        refused(&project.run("run x.yaml one --artifacts file"), &["`file` is no folder"]);
    }
}
