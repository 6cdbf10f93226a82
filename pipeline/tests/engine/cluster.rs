//! Stages as tasks of Slurm, on a stand-in for its commands that loses jobs, puts them back into the queue and does not answer.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::killing::EXPERIMENT;
use crate::project::{Ended, Project, SLOW, SUM, Started};
use crate::remains::{remains, undisturbed};

/// Looks often, and believes soon.
const SITE: &str = "{ poll: 1, visibility: 1, partition: cpu }";

struct Cluster {
    project: Project,
}

impl Cluster {
    fn new(experiment: &str, site: &str) -> Self {
        let project = Project::new(experiment);
        project.write("site.yaml", site);
        fs::create_dir(project.path("bin")).unwrap();
        fs::create_dir(project.path("slurm")).unwrap();
        for name in ["sbatch", "squeue", "scancel", "scontrol"] {
            project.write(&format!("bin/{name}"), include_str!("fake_slurm.sh"));
            fs::set_permissions(project.path("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { project }
    }

    /// Says what goes wrong from here on.
    fn trouble(&self, kind: &str, how: &str) {
        self.project.write(&format!("slurm/{kind}"), how);
    }

    fn command(&self, args: &str) -> Command {
        let mut command = self.project.command(&format!("run x.yaml --executor slurm --profile site.yaml {args}"));
        let path = format!("{}:{}", self.project.path("bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("FAKE_SLURM", self.project.path("slurm"));
        command
    }

    fn run(&self, args: &str) -> Ended {
        let output = self.command(args).output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs to the end, which must be that of a local run; gives the events.
    #[track_caller]
    fn ends_well(&self, args: &str, experiment: &str) -> Vec<Value> {
        let ended = self.run(&format!("--json {args}"));
        assert_eq!(ended.code, 0, "{ended:?}");
        assert_eq!(remains(&self.project), undisturbed(experiment));
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Starts a run of [`SLOW`] and comes back when its worker stands still at `unit`, with the process of the worker.
    fn start_and_hold(&self, unit: u64, args: &str) -> (Started, String) {
        let gate = self.project.path("gate");
        let sets = format!("--set stages.slow.with.hold_at={unit} --set stages.slow.with.gate={}", gate.display());
        let mut started = Started::of(self.command(&format!("--json {sets} {args}")).spawn().unwrap());
        let worker = started.until(|event| event["name"] == "worker" && event["stage"] == "slow");
        started.until(|event| event["name"] == "holds at");
        (started, worker["value"].as_str().unwrap().split(' ').nth(1).unwrap().to_owned())
    }

    /// How many arrays were submitted.
    fn arrays(&self) -> usize {
        let made = fs::read_dir(self.project.path("slurm")).unwrap();
        made.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("job-")).count()
    }

    /// The scripts that were submitted.
    fn scripts(&self) -> Vec<String> {
        let runs = fs::read_dir(self.project.path("artifacts/store/runs")).unwrap();
        let jobs = runs.flat_map(|run| fs::read_dir(run.unwrap().path().join("jobs")).into_iter().flatten());
        jobs.filter_map(|file| fs::read_to_string(file.unwrap().path().join("array.sh")).ok()).collect()
    }
}

fn signal(name: &str, process: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), process]).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
}

fn is_alive(process: &str) -> bool {
    let listed = Command::new("ps").args(["-o", "stat=", "-p", process]).output().unwrap().stdout;
    !listed.is_empty() && !listed.starts_with(b"Z")
}

fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn the_results_are_those_of_a_local_run_and_ready_cells_share_an_array() {
    let cluster = Cluster::new(EXPERIMENT, SITE);
    let events = cluster.ends_well("", EXPERIMENT);
    // The slow stage and both cells of the sweep, then the page that needs them.
    assert_eq!(cluster.arrays(), 2);
    assert!(cluster.scripts().iter().any(|script| script.contains("#SBATCH --array=1-3\n")), "{:?}", cluster.scripts());
    let workers = events.iter().filter(|event| event["name"] == "worker").count();
    assert_eq!(workers, 4);
    assert_eq!(cluster.project.ran(""), Vec::<String>::new(), "where they were worked on is in no key");
    assert_eq!(cluster.project.count("scratch"), 0);
}

#[test]
fn several_cells_share_a_task_where_the_site_wants_it() {
    let cluster = Cluster::new(EXPERIMENT, "{ poll: 1, visibility: 1, cells_per_task: 2, array_limit: 7 }");
    cluster.ends_well("", EXPERIMENT);
    assert!(
        cluster.scripts().iter().any(|script| script.contains("#SBATCH --array=1-2%7\n")),
        "{:?}",
        cluster.scripts()
    );
}

#[test]
fn why_a_task_waits_and_where_it_runs_is_told() {
    let cluster = Cluster::new(SUM, SITE);
    cluster.trouble("delay", "2");
    let (events, run) = (cluster.ends_well("", SUM), cluster.project.runs().pop().unwrap());
    let queued = named(&events, "queued");
    let words = "of Slurm is pending (Resources)";
    assert!(queued.iter().any(|event| event["why"].as_str().unwrap().ends_with(words)), "{queued:?}");
    let record = fs::read_to_string(cluster.project.path("artifacts/store/runs").join(run).join("run.json")).unwrap();
    assert!(record.contains(" on ") && record.contains("\"worker\": \"process "), "{record}");
}

#[test]
fn what_a_stage_asks_for_is_in_the_script_and_in_no_key() {
    let asks = SLOW.replace(
        "{ units: 10 }",
        "{ units: 10 }, resources: { cpus: 2, memory: 1GiB, time: '0:30:00', gres: 'gpu:1' }",
    );
    let cluster = Cluster::new(&asks, "{ poll: 1, visibility: 1, cpus: 1, account: lab, extra: [--qos=long] }");
    cluster.ends_well("slow", SLOW.split("  after").next().unwrap());
    let script = cluster.scripts().pop().unwrap();
    for line in ["--cpus-per-task=2", "--mem=1024M", "--time=0:30:00", "--gres=gpu:1", "--account=lab", "--qos=long"] {
        assert!(script.contains(&format!("#SBATCH {line}\n")), "{script}");
    }
    cluster.project.write("x.yaml", SLOW);
    assert_eq!(cluster.project.ran(""), ["after"]);
}

#[test]
fn a_lost_task_is_submitted_again_and_one_that_is_always_lost_is_an_error() {
    let cluster = Cluster::new(SLOW, SITE);
    cluster.trouble("lose", "1");
    let events = cluster.ends_well("", SLOW);
    let warnings = named(&events, "warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0]["text"].as_str().unwrap().contains("is gone without a result; it is submitted again"));
    let cluster = Cluster::new(SLOW, SITE);
    cluster.trouble("lose", "100");
    let ended = cluster.run("");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("its task was gone from the queue without a result 3 times"), "{}", ended.stderr);
}

#[test]
fn a_controller_that_does_not_answer_has_lost_nothing() {
    let cluster = Cluster::new(SLOW, SITE);
    cluster.trouble("silent", "queue");
    let events = cluster.ends_well("", SLOW);
    assert!(named(&events, "warning").is_empty(), "nothing is taken for lost");
    assert_eq!(cluster.arrays(), 2);
}

#[test]
fn a_task_at_the_end_of_its_time_saves_and_goes_back_into_the_queue() {
    let cluster = Cluster::new(SLOW, SITE);
    let (mut started, worker) = cluster.start_and_hold(4, "");
    // As `--signal=B:INT@…` has it.
    signal("INT", &worker);
    let again = started.until(|event| event["name"] == "worker" && event["stage"] == "slow");
    assert!(!again["value"].as_str().unwrap().contains(&format!("process {worker} ")));
    assert_eq!(started.until(|event| event["name"] == "units found")["value"], "4");
    cluster.project.write("gate", "");
    assert_eq!(started.end().0, 0);
    assert_eq!(remains(&cluster.project), undisturbed(SLOW));
    assert_eq!(cluster.arrays(), 2, "Slurm itself has started it again");
}

#[test]
fn ctrl_c_cancels_and_what_was_saved_counts() {
    let cluster = Cluster::new(SLOW, SITE);
    let (started, worker) = cluster.start_and_hold(5, "");
    started.signal("INT");
    let (code, statuses) = started.end();
    assert_eq!((code, statuses.get("slow").map(String::as_str)), (130, Some("interrupted")));
    let asked = Instant::now();
    while is_alive(&worker) {
        assert!(asked.elapsed() < Duration::from_secs(15), "the task goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let events = cluster.ends_well("", SLOW);
    assert!(events.iter().any(|event| event["name"] == "units found" && event["value"] == "5"), "{events:?}");
    assert_eq!(cluster.project.count("scratch"), 0, "no mark of a submission stays");
}

#[test]
fn a_run_that_detaches_or_dies_is_taken_up_by_the_same_command() {
    for how in ["detach", "kill"] {
        let cluster = Cluster::new(SLOW, SITE);
        let (started, worker) = cluster.start_and_hold(6, "--on-interrupt detach");
        if how == "kill" {
            // The mark of the submission is written by then.
            started.kill();
        } else {
            started.signal("INT");
            assert_eq!(started.end().0, 130);
        }
        assert!(is_alive(&worker), "{how}: the task goes on");
        let (second, same) = cluster.start_and_hold(6, "--on-interrupt detach");
        assert_eq!(same, worker, "{how}");
        cluster.project.write("gate", "");
        assert_eq!(second.end().0, 0);
        assert_eq!(remains(&cluster.project), undisturbed(SLOW));
        assert_eq!(cluster.arrays(), 2, "{how}: one for each stage, and none twice");
        assert_eq!(cluster.project.count("scratch"), 0);
    }
}

#[test]
fn kill_9_of_a_task_costs_at_most_a_unit() {
    let cluster = Cluster::new(SLOW, SITE);
    let (mut started, worker) = cluster.start_and_hold(7, "");
    signal("KILL", &worker);
    assert_eq!(started.until(|event| event["name"] == "units found")["value"], "7");
    cluster.project.write("gate", "");
    assert_eq!(started.end().0, 0);
    assert_eq!(remains(&cluster.project), undisturbed(SLOW));
}

#[test]
fn a_failure_on_a_node_reads_as_one_here_and_the_others_go_on() {
    let text = "name: t\nstages:\n  bad: { use: toy.fail, with: { how: error } }\n  good: { use: toy.number }\n";
    let cluster = Cluster::new(text, SITE);
    let ended = cluster.run("--keep-going");
    assert_eq!(ended.code, 8, "{ended:?}");
    let words = "error: stage `bad` failed: read the ratings: row 7: found `x`, wanted a number\n";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert_eq!(cluster.project.count("entries"), 1);
}

#[test]
fn faults_of_a_profile_and_of_resources_are_told_before_anything_runs() {
    let cluster = Cluster::new(SLOW, "{ partitions: gpu }");
    let ended = cluster.run("");
    assert!(ended.code == 2 && ended.stderr.contains("unknown field `partitions`"), "{ended:?}");
    let project = Project::new(&SLOW.replace("{ units: 10 }", "{ units: 10 }, resources: { memory: much, core: 2 }"));
    let ended = project.run("plan x.yaml");
    assert!(ended.code == 2 && ended.stderr.contains("core") && ended.stderr.contains("x.yaml"), "{ended:?}");
}
