//! Disks that are full, and stores that cannot be written to.
//!
//! A small file system of one's own needs Linux and its user namespaces. Where they are forbidden, that is said, and what is
//! left are the limit on the size of files (`damage.rs`) and the rights of another user (here).

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output};

use crate::project::{Project, SLOW, SUM};
use crate::remains::{remains, undisturbed};

const TOY: &str = env!("CARGO_BIN_EXE_toy");

/// Runs a shell script that may mount what only it sees; nothing where the system forbids that.
pub fn with_mounts(project: &Project, script: &str) -> Option<Output> {
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-euc", script]).current_dir(project.path("")).env("HOME", project.path(""));
        command.env_remove("APPRENTICE_ARTIFACTS").env("XDG_CACHE_HOME", project.path("cache")).output()
    };
    fs::create_dir_all(project.path("artifacts")).unwrap();
    if !shell("mount -t tmpfs none artifacts").is_ok_and(|output| output.status.success()) {
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "skipped: this system lets nobody mount a small file system to fill it");
        return None;
    }
    Some(shell(script).unwrap())
}

#[test]
fn a_disk_that_fills_up_at_any_page_loses_nothing() {
    let expected = undisturbed(SLOW);
    let mut failed = 0;
    for pages in 4.. {
        let project = Project::new(SLOW);
        let script = format!(
            "mount -t tmpfs -o size={}k none artifacts
             code=0; {TOY} run x.yaml 2>talk || code=$?
             mount -o remount,size=16m artifacts
             {TOY} run x.yaml
             {TOY} verify
             cp -r artifacts/* .
             exit $code",
            4 * pages
        );
        let Some(output) = with_mounts(&project, &script) else { return };
        let talk = fs::read_to_string(project.path("talk")).unwrap();
        let shown = format!("{pages} pages: {talk}{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_dir(project.path("artifacts")).unwrap();
        fs::create_dir(project.path("artifacts")).unwrap();
        for part in ["store", "slow"] {
            fs::rename(project.path(part), project.path("artifacts").join(part)).unwrap_or_else(|_| panic!("{shown}"));
        }
        assert_eq!(remains(&project), expected, "{shown}");
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), Some(1), "{shown}");
        assert!(talk.contains("No space left on device") && talk.contains("\nhelp: "), "{shown}");
        failed += 1;
    }
    assert!(failed > 10, "only {failed} sizes were too small");
}

#[test]
fn a_read_only_file_system_serves_those_who_only_look() {
    let project = Project::new(SUM);
    let script = format!(
        "mount -t tmpfs none artifacts
         {TOY} run x.yaml
         mount -o remount,ro artifacts
         for look in 'plan x.yaml' 'explain x.yaml sum' 'inspect sum.value' runs verify; do {TOY} $look >/dev/null; done
         {TOY} plan x.yaml --check
         code=0; {TOY} run x.yaml --set stages.a.with.value=7 2>talk || code=$?
         mount -o remount,rw artifacts
         {TOY} run x.yaml --set stages.a.with.value=7
         exit $code"
    );
    let Some(output) = with_mounts(&project, &script) else { return };
    let talk = fs::read_to_string(project.path("talk")).unwrap();
    assert_eq!(output.status.code(), Some(1), "{talk}{output:?}");
    assert!(talk.contains("cannot write to the store `artifacts/store`"), "{talk}");
    assert!(talk.contains("Read-only file system") && talk.contains("--artifacts DIR"), "{talk}");
}

#[cfg(unix)]
#[test]
fn a_store_of_somebody_else_serves_those_who_only_look() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let program = tempfile::tempdir().unwrap();
    let toy = program.path().join("toy");
    fs::copy(TOY, &toy).unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let open = |mode| {
        for path in ["", "artifacts", "artifacts/store", "artifacts/store/runs", "artifacts/store/scratch"] {
            fs::set_permissions(project.path(path), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    open(0o555);
    let run = |args: &str| {
        let mut command = Command::new(&toy);
        command.args(args.split(' ')).current_dir(project.path("")).env("HOME", project.path(""));
        command.env_remove("APPRENTICE_ARTIFACTS").env("XDG_CACHE_HOME", project.path("cache"));
        // Rights do not bind root, who must become somebody else.
        if fs::metadata(&toy).unwrap().uid() == 0 {
            command.uid(65534).gid(65534);
        }
        // A test beside this one may have forked while the copy was open for writing.
        loop {
            match command.output() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                output => return output.unwrap(),
            }
        }
    };
    for look in ["plan x.yaml --check", "explain x.yaml sum", "inspect sum.value", "runs", "verify"] {
        let output = run(look);
        assert!(output.status.success(), "{look}: {output:?}");
    }
    let output = run("run x.yaml");
    open(0o755);
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{talk}");
    assert!(talk.contains("cannot write to the store `artifacts/store`"), "{talk}");
    assert!(talk.contains("Permission denied") && talk.contains("--artifacts DIR"), "{talk}");
    project.ok("run x.yaml");
}
