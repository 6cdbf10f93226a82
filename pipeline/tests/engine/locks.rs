//! Who waits for whom.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::project::{Project, SLOW, SUM};
#[cfg(target_os = "linux")]
use crate::remains::files;

#[test]
fn of_two_runs_one_makes_the_result_and_the_other_reuses_it() {
    let project = Project::new(SLOW);
    let first = project.start_and_hold(5, "");
    let mut second = project.start("");
    let holder = second.until(|event| event["event"] == "waiting")["holder"].as_str().unwrap().to_owned();
    assert!(holder.contains(&format!("process {}", first.child.id())), "{holder}");
    let third = project.run("run x.yaml --no-wait");
    assert_eq!(third.code, 4);
    assert!(third.stderr.contains(&holder), "{}", third.stderr);
    project.write("gate", "");
    let (code, statuses) = first.end();
    assert_eq!((code, &*statuses["slow"]), (0, "ran"));
    let (code, statuses) = second.end();
    assert_eq!((code, &*statuses["slow"]), (0, "hit"));
    let undisturbed = Project::new(SLOW);
    undisturbed.ok("run x.yaml");
    assert_eq!(project.objects(), undisturbed.objects());
}

#[test]
fn a_run_that_waits_can_be_interrupted() {
    let project = Project::new(SLOW);
    let first = project.start_and_hold(5, "");
    let mut second = project.start("");
    second.until(|event| event["event"] == "waiting");
    second.signal("INT");
    assert_eq!(second.end().0, 130);
    project.write("gate", "");
    assert_eq!(first.end().0, 0);
}

#[test]
fn the_lock_of_a_killed_run_is_free() {
    let project = Project::new(SLOW);
    project.start_and_hold(5, "").kill();
    assert_eq!(project.run("run x.yaml --no-wait").code, 0);
}

#[test]
fn stages_of_one_run_with_one_key_wait_for_each_other() {
    let project = Project::new(
        "name: twins\nstages:\n  one: { use: toy.slow, with: { units: 3, hold_at: 1, gate: gate } }\n  two: { use: toy.slow, with: { units: 3, hold_at: 1, gate: gate } }\n",
    );
    let mut run = project.start("--no-wait -j 2");
    let (mut holds, mut waits) = (false, None);
    run.until(|event| {
        holds |= event["name"] == "holds at";
        if event["event"] == "waiting" {
            waits = Some((event["stage"].as_str().unwrap().to_owned(), event["holder"].as_str().unwrap().to_owned()));
        }
        holds && waits.is_some()
    });
    let (second, holder) = waits.unwrap();
    let first = if second == "one" { "two" } else { "one" };
    assert_eq!(holder, format!("{first} in this run"));
    project.write("gate", "");
    let (code, statuses) = run.end();
    assert_eq!((code, &*statuses[first], &*statuses[&second]), (0, "ran", "hit"));
}

#[cfg(target_os = "linux")]
const MORE: &str = "\
name: more
assets:
  seven: { from: [{ generate: seven }] }
stages:
  slow: { use: toy.slow, with: { units: 2 } }
  seven: { use: toy.number, with: { asset: seven } }
";

/// A C compiler is there, because Rust links with it.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_without_locks_is_told_and_nothing_is_taken_away_there() {
    let project = Project::new(SUM);
    // ENOLCK, as a network disk says whose lock service is away; and a file system that nods and does nothing.
    for (name, body) in [("refuses", "errno = 37; return -1;"), ("pretends", "return 0;")] {
        project.write("flock.c", &format!("#include <errno.h>\nint flock(int file, int how) {{ {body} }}\n"));
        let library = project.path(&format!("{name}.so"));
        let built = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &project.path("flock.c")])
            .status();
        assert!(built.unwrap().success());
        let on_it = |args: &str| {
            let output = project.command(args).env("LD_PRELOAD", &library).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, talk) = on_it("run x.yaml --force a");
        assert_eq!(code, Some(0), "{talk}");
        let warning = "warning: the file system of `artifacts` does not hold locks";
        assert_eq!(talk.matches(warning).count(), 1, "{talk}");
        // A damaged answer is replaced under a lock, and an asset is fetched under one.
        project.write("more.yaml", MORE);
        let answers = || files(&project).into_keys().filter(|path| path.to_str().unwrap().contains("store/calls/"));
        project.ok("run more.yaml");
        answers().for_each(|path| std::fs::write(path, "damaged").unwrap());
        std::fs::remove_dir_all(project.path("cache")).unwrap();
        let (code, talk) = on_it("run more.yaml --force slow");
        assert_eq!(code, Some(0), "{talk}");
        assert_eq!(answers().count(), 2);
        let (code, talk) = on_it("gc --apply");
        assert_eq!(code, Some(1));
        assert!(talk.contains("error: nothing can be removed: the file system of `artifacts`"), "{talk}");
        assert_eq!(on_it("gc").0, Some(0), "looking is free");
    }
}

#[test]
fn what_reads_an_asset_that_is_here_does_not_wait_for_one_that_is_fetched() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let project = Project::new(&format!(
        "name: n\nassets:\n  far: {{ from: [{{ url: 'http://{}/far' }}] }}\n  near: {{ from: [{{ path: near.txt }}] }}\nstages:\n  one: {{ use: toy.number, with: {{ asset: far }} }}\n  slow: {{ use: toy.slow, with: {{ units: 10 }} }}\n  two: {{ use: toy.number, with: {{ asset: near }} }}\n",
        server.local_addr().unwrap()
    ));
    project.write("near.txt", "5");
    let mut run = project.start_and_hold(0, "-j 2");
    let (mut stream, _) = server.accept().unwrap();
    let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    assert!(head.count() > 0);
    // One waits for an answer; only the other job can end `two`, or this hangs.
    project.write("gate", "");
    run.until(|event| event["event"] == "stage_ended" && event["stage"] == "two");
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n7").unwrap();
    drop(stream);
    let (code, statuses) = run.end();
    assert_eq!((code, &*statuses["one"]), (0, "ran"));
}
