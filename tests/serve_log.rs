//! The log of a service: from what was shown to an estimate, full disks, kills, and files that change under it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::project::{Project, repository, text};
use crate::serve::{copied, trained};
use crate::service::Service;
use crate::skipped::skipped;

/// The rows of the log, in its order.
fn rows(project: &Project) -> Vec<Value> {
    let found = project.ok(&["inspect", "shown", "--format", "ndjson"]).stdout;
    found.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

/// Two policies with equal shares, the first and the second seed of the smoke experiment.
fn two(project: &Project) -> [&'static str; 3] {
    copied(project, 0, "a.safetensors");
    copied(project, 1, "b.safetensors");
    ["a.safetensors", "b.safetensors", "--log"]
}

/// The click that the users of this test would give: it depends on user and item alone.
fn clicks(user: usize, item: &str) -> bool {
    (user + item.parse::<usize>().unwrap()).is_multiple_of(3)
}

#[test]
fn what_was_shown_and_clicked_gives_the_value_of_a_policy() {
    let project = trained();
    let policies = two(&project);
    let service = Service::start(&project, &[&policies[..], &["shown", "-n", "3", "--explore", "softmax=4"]].concat());
    let users: Vec<Value> = (0..40).map(|user| json!({ "user": user })).collect();
    let mut clicked = "answer_id,item,click\n".to_owned();
    for _ in 0..60 {
        for (user, answer) in service.ask(&json!(users)).1.as_array().unwrap().iter().enumerate() {
            for item in answer["items"].as_array().unwrap().iter().map(|item| text(&item["id"])) {
                if clicks(user, &item) {
                    clicked += &format!("{},{item},1\n", text(&answer["answer_id"]));
                }
            }
        }
    }
    fs::write(project.path("clicks.csv"), clicked).unwrap();
    let said = service.stop();
    assert!(said.contains("stopped"), "{said}");

    // What the first policy is worth, by its scores of all items: it samples from their softmax.
    let exact = Service::start(&project, &["a.safetensors", "-n", "60"]);
    let answers = exact.ask(&json!(users)).1;
    let worth = answers.as_array().unwrap().iter().enumerate().map(|(user, answer)| {
        let items = answer["items"].as_array().unwrap();
        let best = number(&items[0]["score"]);
        let parts: Vec<f64> = items.iter().map(|item| (number(&item["score"]) - best).exp()).collect();
        let paid = items.iter().zip(&parts).filter(|(item, _)| clicks(user, &text(&item["id"])));
        paid.map(|(_, part)| part).sum::<f64>() / parts.iter().sum::<f64>()
    });
    let worth = worth.sum::<f64>() / 40.0;

    let smoke = fs::read_to_string(repository().join("configs/smoke.yaml")).unwrap();
    let (before, _) = smoke.split_once("  score:").unwrap();
    let before = before.replace(
        "assets:\n",
        "assets:\n  served: { from: [{ path: shown }] }\n  clicks: { from: [{ path: clicks.csv }] }\n",
    );
    let project = project.config(&format!(
        "{before}  table:
    use: ingest.table
    with: {{ asset: served, log: {{ file: ., user: user, item: item, timestamp: {{ column: time }} }} }}
  shown:
    use: ingest.impressions
    inputs: {{ items: log.items, users: log.users }}
    with: {{ asset: served, feedback: {{ asset: clicks, file: clicks.csv, reward: click }} }}
  estimates:
    use: evaluate.offpolicy
    inputs:
      world: world.world
      log: shown.interactions
      logged_propensities: shown.propensities
      policies: {{ a2c: policy.policy }}
    with: {{ logging_policy: logged, horizon: 1 }}
"
    ));
    project.ok(&["run", "x.yaml", "-q"]);
    let table =
        project.ok(&["inspect", "table.interactions", "--sql", "select count(*) as n from self", "--format", "csv"]);
    assert!(table.stdout.contains("7200"), "{}", table.stdout);
    let estimates = project.ok(&["inspect", "estimates.estimates", "--format", "ndjson"]).stdout;
    let mut seen = BTreeSet::new();
    for row in estimates.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (estimator, of_a) = (text(&row["estimator"]), row["cell"] == "seed=0");
        if of_a && ["ips", "snips", "doubly_robust"].contains(&&*estimator) {
            let [value, low, high] = ["value", "low", "high"].map(|name| number(&row[name]));
            assert_eq!((&row["rows"], row["conclusive"].as_bool()), (&json!(2400), Some(true)), "{row}");
            // Twice a 95 % interval: what is drawn differs each time.
            assert!((value - worth).abs() <= (high - low).max(0.01), "{row}, worth {worth}");
            assert!(text(&row["remark"]).contains("with the probabilities of the log"), "{row}");
            seen.insert(estimator);
        }
    }
    assert_eq!(seen.len(), 3, "{estimates}");
}

#[test]
fn without_exploration_the_shares_are_the_probabilities_and_answers_are_as_before() {
    let project = trained();
    let policies = two(&project);
    let users: Vec<Value> = (0..40).map(|user| json!({ "user": user, "history": ["45"] })).collect();
    let plain = Service::start(&project, &[&policies[..2], &["--split", "0.75,0.25"]].concat());
    let answers = plain.ask(&json!(users)).1;
    let service = Service::start(&project, &[&policies[..], &["shown", "--split", "0.75,0.25"]].concat());
    let mut logged = service.ask(&json!(users)).1;
    let ids: Vec<String> = logged
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .map(|answer| text(&answer.as_object_mut().unwrap().remove("answer_id").unwrap()))
        .collect();
    assert_eq!(logged, answers);
    service.stop();

    let rows = rows(&project);
    assert_eq!(rows.len(), 400);
    let asks = |policy: &str| {
        let service = Service::start(&project, &[policy]);
        let answers = service.ask(&json!(users)).1;
        let items = |answer: &Value| answer["items"].as_array().unwrap().iter().map(|item| text(&item["id"])).collect();
        answers.as_array().unwrap().iter().map(items).collect::<Vec<Vec<String>>>()
    };
    let (of_a, of_b) = (asks("a.safetensors"), asks("b.safetensors"));
    let mut shared = 0;
    for row in &rows {
        let user: usize = text(&row["user"]).parse().unwrap();
        let (item, place) = (text(&row["item"]), row["position"].as_u64().unwrap() as usize - 1);
        assert_eq!((&text(&row["answer_id"]), &row["history"]), (&ids[user], &json!(["45"])));
        let chance = [(&of_a, 0.75), (&of_b, 0.25)];
        let chance: f64 = chance.iter().filter(|(of, _)| of[user][place] == item).map(|(_, share)| share).sum();
        assert!((number(&row["propensity"]) - chance).abs() < 1e-12, "{row}: {chance}");
        assert_eq!(row["policy_propensity"], json!(1.0));
        let first = row["policy"] == "a.safetensors";
        assert_eq!((number(&row["share"]) > 0.5, text(&row["digest"]).len()), (first, 12));
        shared += usize::from(chance == 1.0);
    }
    assert!((1..rows.len()).contains(&shared), "{shared} of {} rows are shown by both", rows.len());

    let wrong = |args: &[&str], parts: &[&str]| {
        project.run(&[&["serve", "a.safetensors"], args].concat()).ends_with(2).says(parts);
    };
    wrong(&["--explore", "softmax=1"], &["--log <FOLDER>"]);
    wrong(&["--log", "x", "--explore", "greedy"], &["wanted `epsilon=0.1`"]);
    wrong(&["--log", "x.yaml", "--port", "0"], &["cannot write a log to `x.yaml`", "help: name a folder"]);
}

#[test]
fn a_policy_of_another_catalogue_shares_the_users_and_shows_none_of_these_items() {
    let bandit = fs::read_to_string(repository().join("configs/off-policy.yaml")).unwrap();
    let other = Project::new().config(&bandit);
    other.ok(&["run", "x.yaml", "policy", "-q"]);
    let project = trained();
    copied(&project, 0, "a.safetensors");
    fs::copy(other.path("artifacts/off-policy/policy/policy.safetensors"), project.path("c.safetensors")).unwrap();
    let service = Service::start(&project, &["a.safetensors", "c.safetensors", "--log", "shown", "-n", "2"]);
    // The catalogue of the second policy ends at item 19: it refuses this history.
    let statuses: Vec<u16> = (0..30).map(|user| service.ask(&json!({ "user": user, "history": ["45"] })).0).collect();
    let answered = statuses.iter().filter(|&&status| status == 200).count();
    assert!(answered > 5 && statuses.iter().all(|status| [200, 422].contains(status)) && answered < 30, "{statuses:?}");
    service.stop();
    let rows = rows(&project);
    assert_eq!(rows.len(), 2 * answered);
    for row in rows {
        assert_eq!((&row["policy"], &row["propensity"]), (&json!("a.safetensors"), &json!(0.5)), "{row}");
    }
}

#[test]
fn a_file_that_changes_under_load_gives_whole_answers_of_one_version() {
    let project = trained();
    copied(&project, 0, "a.safetensors");
    copied(&project, 0, "first");
    copied(&project, 1, "second");
    let questions: Vec<Value> = (0..8).map(|user| json!({ "user": user })).collect();
    // What each version answers, by its digest.
    let mut whole: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for name in ["first", "second"] {
        let service = Service::start(&project, &[name]);
        let answers = service.ask(&json!(questions)).1;
        let items =
            |answer: &Value| answer["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        let digest = text(&answers[0]["digest"]);
        whole.insert(digest, answers.as_array().unwrap().iter().map(items).collect());
    }
    let service = Service::start(&project, &["a.safetensors", "--log", "shown"]);
    let seen = thread::scope(|scope| {
        let ends = Instant::now() + Duration::from_secs(6);
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (service, questions, whole) = (&service, &questions, &whole);
                scope.spawn(move || {
                    let mut seen = BTreeMap::<String, usize>::new();
                    while Instant::now() < ends {
                        let (status, answers) = match client % 2 {
                            0 => service.ask(&json!(questions)),
                            _ => service.ask(&questions[client]),
                        };
                        assert_eq!(status, 200);
                        let all = match &answers {
                            Value::Array(all) => all.iter().enumerate().collect(),
                            one => vec![(client, one)],
                        };
                        let digest = text(&all[0].1["digest"]);
                        for (user, answer) in all {
                            // Of one request all answers are of one version.
                            assert_eq!(text(&answer["digest"]), digest);
                            let ids: Value =
                                answer["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
                            assert_eq!(ids, whole[&digest][user]);
                        }
                        *seen.entry(digest).or_default() += 1;
                    }
                    seen
                })
            })
            .collect();
        for name in ["second", "first", "second"] {
            thread::sleep(Duration::from_millis(1500));
            fs::copy(project.path(name), project.path("new")).unwrap();
            fs::rename(project.path("new"), project.path("a.safetensors")).unwrap();
        }
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(seen.iter().all(|seen| seen.len() == 2), "{seen:?}");
    service.stop();
    // The log says of each answer which version gave it.
    let mut logged: BTreeMap<String, (String, usize, Vec<Value>)> = BTreeMap::new();
    for row in rows(&project) {
        let user = text(&row["user"]).parse().unwrap();
        let of = logged.entry(text(&row["answer_id"])).or_insert((text(&row["digest"]), user, Vec::new()));
        assert_eq!((&of.0, of.1), (&text(&row["digest"]), user));
        of.2.push(row["item"].clone());
    }
    let asked: usize =
        seen.iter().enumerate().map(|(k, seen)| seen.values().sum::<usize>() * if k % 2 == 0 { 8 } else { 1 }).sum();
    assert_eq!(logged.len(), asked);
    for (digest, user, items) in logged.into_values() {
        assert_eq!(json!(items), whole[&digest][user]);
    }
}

#[test]
fn a_disk_that_is_full_costs_rows_and_no_answer() {
    let project = trained();
    copied(&project, 0, "a.safetensors");
    let asked = json!((0..40).map(|user| json!({ "user": user })).collect::<Vec<_>>());
    // Where somebody removes the folder and has a file in its place, any user sees the error of a write.
    let log = ["a.safetensors", "--log", "shown", "--log-rows", "500"];
    let service = Service::start(&project, &log);
    service.until("apprentice_impressions_total 500", &asked);
    fs::rename(project.path("shown"), project.path("kept")).unwrap();
    fs::write(project.path("shown"), "").unwrap();
    until_lost(&service, &asked);
    fs::remove_file(project.path("shown")).unwrap();
    // Four files' rows have waited.
    until_logged(&service, logged(&service) + 2000);
    let said = service.stop();
    assert_eq!(said.matches("cannot write the log in `shown`").count(), 1, "{said}");
    assert!(
        said.contains("answers go on") && said.contains("help: make space") && said.contains("is written again"),
        "{said}"
    );

    // A disk that is full; where the system lets nobody mount one, the above has to do.
    let mounted = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["-Urm", "sh", "-euc", script, "sh", env!("CARGO_BIN_EXE_apprentice")])
            .current_dir(project.path(""));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    };
    fs::remove_dir_all(project.path("shown")).unwrap();
    fs::create_dir(project.path("shown")).unwrap();
    let may = mounted("mount -t tmpfs none shown").and_then(|mut child| child.wait());
    if !may.is_ok_and(|status| status.success()) {
        skipped("MOUNT", "this system lets nobody mount a small file system to fill it");
        return;
    }
    let script = "mount -t tmpfs -o size=64k none shown
         dd if=/dev/zero of=shown/_fill bs=1k count=60 2>/dev/null
         (while ! test -e space; do sleep 0.05; done; rm shown/_fill; : > made) &
         code=0; \"$1\" serve a.safetensors --port 0 --json --log shown --log-rows 500 || code=$?
         cp shown/*.parquet kept/; exit $code";
    let service = Service::of(mounted(script).unwrap());
    let pid = || {
        let children = format!("/proc/{0}/task/{0}/children", service.child.id());
        fs::read_to_string(children)
            .unwrap()
            .split(' ')
            .filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("apprentice")))
            .map(str::to_owned)
            .next()
            .unwrap()
    };
    until_lost(&service, &asked);
    fs::write(project.path("space"), "").unwrap();
    until_logged(&service, 2000);
    let before = fs::read_dir(project.path("kept")).unwrap().count();
    assert!(Command::new("kill").args(["-TERM", &pid()]).status().unwrap().success());
    let output = service.wait();
    assert!(output.contains("No space left on device") && output.contains("is written again"), "{output}");
    assert!(fs::read_dir(project.path("kept")).unwrap().count() >= before + 4);
    for file in fs::read_dir(project.path("kept")).unwrap() {
        project.ok(&["inspect", file.unwrap().path().to_str().unwrap(), "--verify"]);
    }
}

/// Asks until the log has lost rows; every question is answered.
fn until_lost(service: &Service, asked: &Value) {
    let begun = Instant::now();
    while service.metrics().contains("apprentice_lost_impressions_total 0") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", service.metrics());
        assert_eq!(service.ask(asked).0, 200);
    }
}

fn until_logged(service: &Service, rows: u64) {
    let begun = Instant::now();
    while logged(service) < rows {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", service.metrics());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Rows in finished files.
fn logged(service: &Service) -> u64 {
    let metrics = service.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix("apprentice_impressions_total "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_kill_loses_the_file_at_work_and_leaves_no_half_one() {
    let project = trained();
    copied(&project, 0, "a.safetensors");
    let service = Service::start(&project, &["a.safetensors", "--log", "shown", "--log-rows", "150", "-n", "1"]);
    let asked = json!((0..40).map(|user| json!({ "user": user })).collect::<Vec<_>>());
    let answered = thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut answered = 0;
            // A request that the kill cuts off has no answer.
            while service.send("POST", "/recommend", asked.to_string().as_bytes()).0 == 200 {
                answered += 40;
            }
            answered
        });
        while logged(&service) < 900 {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(Command::new("kill").args(["-KILL", &service.child.id().to_string()]).status().unwrap().success());
        client.join().unwrap()
    });
    let found = rows(&project).len();
    assert!(found.is_multiple_of(150) && found >= 900 && found <= answered + 40, "{found} of {answered}");
    // The next service removes what was not finished.
    fs::write(project.path("shown/.new-abc123"), "half").unwrap();
    let service = Service::start(&project, &["a.safetensors", "--log", "shown"]);
    assert!(!project.path("shown/.new-abc123").exists());
    service.stop();
    assert_eq!(rows(&project).len(), found);
}
