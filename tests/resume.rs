//! Killed runs: what was finished is kept, and the end is the same to the byte, on any number of threads.

use std::collections::BTreeSet;

use crate::project::Project;

/// Thirty seeded moments would all be as good as these; SplitMix64 (Steele et al. 2014).
fn draw(state: &mut u64, from: usize, to: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    from + (z ^ (z >> 31)) as usize % (to - from)
}

/// Longer than in the smoke experiment, so that kills come in time.
const LONG: [&str; 4] = ["--set", "stages.policy.with.n_iterations=90", "--set", "stages.demos.with.users=12"];

fn run<'a>(args: &[&'a str]) -> Vec<&'a str> {
    ["run", "x.yaml"].iter().chain(&LONG).chain(args).copied().collect()
}

fn names(project: &Project, part: &str) -> BTreeSet<String> {
    let root = project.path("artifacts/store").join(part);
    project.files(part).iter().map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect()
}

/// The highest checkpoint of any stage at work.
fn checkpoint(project: &Project) -> usize {
    let number = |path: &std::path::PathBuf| path.file_name()?.to_str()?.strip_suffix(".checkpoint")?.parse().ok();
    project.files("scratch").iter().filter_map(number).max().unwrap_or(0)
}

#[test]
fn killed_runs_end_with_the_bytes_of_an_undisturbed_one() {
    let undisturbed = Project::smoke();
    undisturbed.ok(&run(&["--threads", "1"]));

    let killed = Project::smoke();
    let mut state = 2024;
    let mut hits = 0;
    for round in 0..4 {
        let calls = || killed.files("calls").len();
        let enough = calls() + draw(&mut state, 1, 30);
        if killed.kill_when(&run(&["--threads", "2", "demos"]), || calls() >= enough) {
            hits += 1;
            assert!(calls() >= enough, "round {round}: answers were lost");
        }
    }
    assert!(hits > 0, "every kill during `demonstrate` came too late");

    let before = run(&["--threads", "2", "reward", "bc"]);
    killed.ok(&before);
    hits = 0;
    for round in 1..=4 {
        let enough = draw(&mut state, 15 * round - 10, 15 * round);
        if killed.kill_when(&run(&["--threads", "2", "policy"]), || checkpoint(&killed) >= enough) {
            hits += 1;
            let saved = checkpoint(&killed);
            assert!(saved >= enough, "round {round}: checkpoint {enough} was lost, {saved} is there");
        }
    }
    assert!(hits > 0, "every kill during `rl.a2c` came too late");

    let last = killed.ok(&run(&["--threads", "2", "--json"]));
    let started = last.events().into_iter().filter(|event| event["event"] == "stage_started");
    assert!(started.into_iter().any(|event| event["resumed"] == true), "nothing was resumed");
    assert_eq!(killed.files("scratch").len(), 0);
    assert!(names(&killed, "calls") == names(&undisturbed, "calls"), "a question was asked that need not be");
    same_objects(&killed, &undisturbed);
    killed.ok(&["verify"]);
}

/// Kills at the commits of stages of every kind, and while each of them is at work.
#[test]
fn killed_at_every_stage_it_ends_the_same() {
    let undisturbed = Project::smoke();
    undisturbed.ok(&["run", "x.yaml", "--threads", "2"]);
    let stages = undisturbed.files("entries").len();

    let killed = Project::smoke();
    let (mut kills, mut state) = (0, 7);
    for _ in 0..100 {
        // A step further than before, in whatever is at work: an entry, a call, a checkpoint, or a file of outputs.
        let progress = || ["entries", "calls", "scratch"].map(|part| killed.files(part));
        let (before, further) = (progress(), draw(&mut state, 1, 4));
        let new = || progress().iter().zip(&before).map(|(now, then)| now.difference(then).count()).sum::<usize>();
        if !killed.kill_when(&["run", "x.yaml", "--threads", "1"], || new() >= further) {
            break;
        }
        kills += 1;
    }
    assert!(kills >= stages, "only {kills} kills for {stages} stages");
    killed.ok(&["run", "x.yaml", "--threads", "2"]);
    // What kills between a commit and the end of its stage left behind goes when asked for, and nothing else does.
    killed.ok(&["gc", "--apply"]);
    assert_eq!(killed.files("scratch").len(), 0);
    same_objects(&killed, &undisturbed);
    killed.ok(&["verify"]);
}

#[test]
fn one_thread_and_several_give_the_same_bytes() {
    let with = |threads: &str| {
        let project = Project::smoke();
        project.ok(&["run", "x.yaml", "--threads", threads]);
        project
    };
    let one = with("1");
    for threads in ["2", "5"] {
        same_objects(&with(threads), &one);
    }
}

#[track_caller]
fn same_objects(a: &Project, b: &Project) {
    let (a, b) = (a.objects(), b.objects());
    assert!(
        a.keys().eq(b.keys()),
        "only one has {:?}",
        a.keys().filter(|key| !b.contains_key(*key)).collect::<Vec<_>>()
    );
    assert!(a == b);
}
