//! The other commands, and the codes of all.

use std::process::Stdio;

use serde_json::Value;

use crate::project::{Project, SUM};

#[test]
fn what_is_wrong_with_the_command_or_the_experiment_is_code_2() {
    let project = Project::new(SUM);
    for args in [
        "rnu x.yaml",
        "run",
        "run absent.yaml",
        "run x.yaml nosuch",
        "run x.yaml --force nosuch",
        "run x.yaml --threads 0",
        "run x.yaml --data absent",
        "plan x.yaml --data x.yaml",
        "run x.yaml --set stages.sum.with.pluss=1",
        "explain x.yaml nosuch",
        "inspect nosuch.value",
        "runs nosuch",
        "graph absent.yaml",
    ] {
        assert_eq!(project.run(args).code, 2, "{args}");
    }
    let typo = project.run("run x.yaml suum").stderr;
    assert!(typo.contains("has no stage `suum`\nhelp: did you mean `sum`?"), "{typo}");
    let typo: Value =
        serde_json::from_str(&project.run("plan x.yaml --json --set stages.sum.with.pluss=1").stdout).unwrap();
    assert_eq!((&typo["exit"], typo["diagnostics"].as_array().unwrap().len()), (&2.into(), 1));
}

#[test]
fn programs_are_given_the_help_of_every_error_by_itself() {
    let project = Project::new(SUM);
    for (args, message, help) in [
        ("run x.yaml suum --json", "experiment `sum` has no stage `suum`", "did you mean `sum`?"),
        ("runs 1 --json", "no run", "`apprentice runs` lists them"),
        ("runs --jsn --json", "unexpected argument '--jsn' found", "a similar argument exists: '--json'"),
        ("rnu x.yaml --json", "unrecognized subcommand 'rnu'", "a similar subcommand exists: 'runs'"),
    ] {
        let output: Value = serde_json::from_str(&project.run(args).stdout).unwrap();
        let fault = &output["diagnostics"][0];
        assert!(fault["message"].as_str().unwrap().contains(message), "{args}: {output:#}");
        assert!(!fault["message"].as_str().unwrap().contains("help"), "{args}: {output:#}");
        assert_eq!((&fault["help"], &fault["line"]), (&help.into(), &Value::Null), "{args}: {output:#}");
        assert!(output["error"].as_str().unwrap().contains(message), "{args}: {output:#}");
    }
}

#[test]
fn a_failed_stage_gives_its_help_by_itself() {
    let project = Project::new("name: f\nstages:\n  bad: { use: toy.fail, with: { how: panic } }\n");
    let ended = project.start("").until(|event| event["event"] == "stage_ended");
    let (error, help) = (ended["error"].as_str().unwrap(), ended["help"].as_str().unwrap());
    assert!(help.starts_with("this is a bug in the program") && error.ends_with(&format!("\nhelp: {help}")), "{ended}");
    project.write("x.yaml", "name: f\nstages:\n  bad: { use: toy.fail, with: { how: error } }\n");
    let ended = project.start("").until(|event| event["event"] == "stage_ended");
    assert_eq!(
        (&ended["help"], &ended["error"]),
        (&Value::Null, &"read the ratings: row 7: found `x`, wanted a number".into())
    );
}

#[test]
fn plan_check_ends_with_3_until_all_is_done() {
    let project = Project::new(SUM);
    let plan = project.run("plan x.yaml --check");
    assert_eq!(plan.code, 3);
    assert!(plan.stdout.contains("sum    will run: it has no result yet, after a, b\n"), "{}", plan.stdout);
    let end = "5 stages: 5 will run\ntime: unknown, for nothing alike ran before\n";
    assert!(plan.stdout.ends_with(end), "{}", plan.stdout);
    assert!(!project.path("artifacts").exists(), "planning writes nothing");
    project.ok("run x.yaml");
    let plan = project.ok("plan x.yaml --check");
    assert!(plan.ends_with("5 stages: 5 hits\n"), "{plan}");
}

#[test]
fn explain_shows_the_key_and_the_first_cause_upstream() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let text = project.ok("explain x.yaml page --set stages.sum.with.plus=4");
    assert!(text.contains("page (toy.page): waits for round; first cause: sum will run: plus 3.0 → 4.0"), "{text}");
    let text = project.ok("explain x.yaml sum --set stages.sum.with.plus=4 --set stages.a.with.value=1.3");
    assert!(text.contains("sum (toy.add): will run: plus 3.0 → 4.0, after a\n"), "{text}");
    assert!(text.contains("changed since the last result:\n    config.plus  3.0 → 4.0\n"), "{text}");
    let plan: Value = serde_json::from_str(&project.ok("plan x.yaml --json --set stages.sum.with.plus=4")).unwrap();
    let cause = &plan["stages"][4]["first_cause"];
    assert_eq!((&cause["stage"], &cause["words"]), (&"sum".into(), &"plus 3.0 → 4.0".into()), "{plan:#}");
    let plan = project.ok("plan x.yaml --set stages.sum.with.plus=4");
    let rows = [
        "round  waits for sum, which will run: plus 3.0 → 4.0\n",
        "page   waits for round; first cause: sum will run: ",
    ];
    assert!(rows.iter().all(|row| plan.contains(row)), "{plan}");
    let end = "5 stages: 2 hits, 1 will run, 2 wait\ntime: less than a second of work\n";
    assert!(plan.ends_with(end), "{plan}");
    let text = project.ok("explain x.yaml a");
    assert!(text.contains("config.value          1.2") && text.contains("not in the key: label"), "{text}");
    assert!(text.contains("last result: "), "{text}");
}

#[test]
fn inspect_tells_who_made_a_file_and_from_what() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    for what in ["sum.value", "sum", "artifacts/sum/sum/value.txt"] {
        let text = project.ok(&format!("inspect {what}"));
        assert!(text.starts_with("6.2\n\nmade by  sum.value (toy.add, version 1)\n"), "{what}: {text}");
        assert!(text.contains("command  apprentice run x.yaml\n"), "{text}");
        assert!(text.contains("from a   a.value ") && text.contains("from b   b.value "), "{text}");
    }
    assert_eq!(project.provenance("page.page")["inputs"][0]["from"], "round.value");
    project.write("mine.txt", "1");
    assert!(project.ok("inspect mine.txt").contains("made by: unknown"));
    let swept = "name: s\nstages:\n  a: { use: toy.number, sweep: { value: [0.5, 2] } }\n";
    project.write("x.yaml", swept);
    project.ok("run x.yaml");
    assert!(project.ok("inspect -e s a@value=0.5.value").starts_with("0.5\n"));
    let many = project.run("inspect -e s a.value");
    assert_eq!(many.code, 2);
    assert!(many.stderr.contains("name one of its cells: a@value=0.5, a@value=2"), "{}", many.stderr);
}

#[test]
fn init_writes_what_runs_and_overwrites_nothing() {
    let project = Project::new(SUM);
    project.ok("init new.yaml");
    project.ok("run new.yaml");
    assert!(project.path("artifacts/new/one/value.txt").is_file(), "it is named after its file");
    assert_eq!(project.run("init new.yaml").code, 2);
    let wrong = project.run("init New.yaml");
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("for example `new.yaml`"), "{}", wrong.stderr);
}

#[test]
fn every_command_speaks_json() {
    let project = Project::new(SUM);
    for line in project.ok("run x.yaml --json").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["schema_version"], 1);
    }
    let run = project.ok("runs").split_whitespace().next().unwrap().to_owned();
    for args in [
        "plan x.yaml",
        "explain x.yaml sum",
        "inspect sum",
        "graph x.yaml",
        "schema",
        "runs",
        "verify",
        "init j.yaml",
        "completions bash",
    ] {
        let value: Value = serde_json::from_str(&project.ok(&format!("{args} --json"))).unwrap();
        assert_eq!(value["schema_version"], 1, "{args}");
    }
    let value: Value = serde_json::from_str(&project.ok(&format!("runs {run} --json"))).unwrap();
    assert_eq!(value["run"]["nodes"][2]["notes"]["sum"], "6.2");
}

#[test]
fn every_error_is_json_too_and_one_line_on_standard_output() {
    let project = Project::new(SUM);
    for args in [
        "rnu x.yaml",
        "run",
        "run x.yaml --forse a",
        "run absent.yaml",
        "run x.yaml nosuch",
        "plan x.yaml --set stages.sum.with.pluss=1",
        "explain x.yaml nosuch",
        "inspect nosuch.value",
        "graph absent.yaml",
        "runs nosuch",
        "init x.yaml",
        "completions tcsh",
    ] {
        let ended = project.run(&format!("{args} --json"));
        assert_eq!((ended.code, ended.stdout.lines().count(), &*ended.stderr), (2, 1, ""), "{args}: {ended:?}");
        let error: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((&error["schema_version"], &error["event"]), (&1.into(), &"error".into()), "{args}");
        assert_eq!(error["exit"], 2);
        assert!(error["error"].as_str().is_some_and(|text| !text.contains('\u{1b}')), "{error}");
    }
    // A run that began ends its own stream: what failed is in `stage_ended`.
    project.write("x.yaml", "name: f\nstages: { bad: { use: toy.fail, with: { how: error } } }\n");
    let ended = project.run("run x.yaml --json");
    assert_eq!((ended.code, &*ended.stderr), (1, ""));
    let events: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|event| event["schema_version"] == 1));
    let named = |name: &str| events.iter().find(|event| event["event"] == name).unwrap();
    assert!(named("stage_ended")["error"].as_str().unwrap().starts_with("read the ratings: row 7"));
    assert_eq!((&named("run_ended")["status"], &named("run_ended")["failures"][0]), (&"failed".into(), &"bad".into()));
}

#[test]
fn the_record_of_a_run_holds_what_the_objects_must_not() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let run = project.ok("runs").split_whitespace().next().unwrap().to_owned();
    let dir = project.path("artifacts/store/runs").join(&run);
    assert_eq!(std::fs::read_to_string(dir.join("experiment.yaml")).unwrap(), SUM);
    assert!(std::fs::read_to_string(dir.join("logs/sum.log")).unwrap().contains(" sum: 6.2\n"));
    assert!(std::fs::read_to_string(dir.join("events.jsonl")).unwrap().contains("\"event\":\"run_ended\""));
    let shown = project.ok(&format!("runs {run}"));
    assert!(shown.contains("command     apprentice run x.yaml") && shown.contains("sum: sum 6.2"), "{shown}");
}

#[test]
fn help_lists_the_codes_and_a_closed_pipe_is_quiet() {
    let project = Project::new(SUM);
    let help = project.ok("--help");
    assert!(help.contains("130  interrupted"), "{help}");
    let mut child = project.command("schema").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
}

#[test]
fn what_an_experiment_says_commands_no_terminal() {
    let ask = |name: &str| {
        format!("name: e\nstages: {{ ask: {{ use: toy.ask, with: {{ server: {{ name: {name} }} }} }} }}\n")
    };
    let project = Project::new(&ask("calm"));
    let mut output = project.run("run x.yaml").stderr;
    project.write("x.yaml", &ask(r#""a\e[31m\u009b\u202e\ufeff""#));
    let shown = r"server.name calm → a\u{1b}[31m\u{9b}\u{202e}\u{feff}";
    let (plan, explained) = (project.ok("plan x.yaml"), project.ok("explain x.yaml ask"));
    assert!(
        plan.contains(shown) && explained.contains(&shown.replacen("server", "will run: server", 1)),
        "{plan}{explained}"
    );
    output += &(plan + &explained);
    for json in ["plan x.yaml --json", "explain x.yaml ask --json"] {
        let text = project.ok(json);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value.to_string().contains('\u{202e}'), "the value is the same");
        output += &text;
    }
    let run = project.run("run x.yaml");
    assert!(run.stderr.contains(&format!("ask runs: {shown}\n")), "{}", run.stderr);
    output += &(run.stderr
        + &project.ok("runs last")
        + &project.ok("diff last~1 last")
        + &project.ok("run x.yaml --json --force ask"));
    assert!(!output.contains(|c: char| pipeline::escape::is_unsafe(c) && c != '\n'), "{output:?}");
}

#[test]
fn folders_that_are_not_there_are_told() {
    let project = Project::new(SUM);
    let output = project.run("plan x.yaml --data . --data absent").stderr;
    assert_eq!(
        output,
        "error: `--data absent` is no folder\nhelp: give the folder that holds the assets, or leave `--data` out\n"
    );
    let ended = project.run_with("plan x.yaml", &[("APPRENTICE_DATA", "absent")]);
    assert_eq!((ended.code, &*ended.stderr), (0, ""), "a variable is for every project");
    for args in ["runs", "verify", "gc"] {
        let ended = project.run(&format!("{args} --artifacts absent"));
        assert_eq!(ended.code, 0, "{ended:?}");
        let output =
            "warning: there is no folder of results `absent`\nhelp: `apprentice run EXPERIMENT.yaml` makes one; ";
        assert!(ended.stderr.starts_with(output), "{ended:?}");
        assert_eq!(project.run(&format!("{args} --artifacts absent --json")).stderr, "", "{args}");
    }
    project.ok("run x.yaml a");
    assert_eq!(project.run("runs").stderr, "");
}

#[test]
fn a_mistyped_path_of_an_asset_is_told_with_its_place() {
    let project = Project::new(
        "name: n\nassets:\n  num: { from: [{ path: nums/on }] }\nstages:\n  one: { use: toy.number, with: { asset: num } }\n",
    );
    let output = project.run("run x.yaml").stderr;
    let begins = "error: stage `one` needs something that is missing: x.yaml:3:25: asset `num` is not on this machine";
    assert!(output.starts_with(begins), "{output}");
    assert!(output.contains("\nhelp: correct `path: nums/on`, which begins at the folder of"), "{output}");
}
