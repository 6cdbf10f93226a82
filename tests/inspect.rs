//! Every result of the smoke experiment can be looked into, as text and as JSON.

use std::fs;
use std::path::PathBuf;

use crate::project::{Project, text};

/// Every `stage.port` with its readable view.
fn outputs(project: &Project) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for stage in fs::read_dir(project.path("artifacts/smoke")).unwrap().map(Result::unwrap) {
        for port in fs::read_dir(stage.path()).unwrap().map(Result::unwrap) {
            let port_name = port.path().file_stem().unwrap().to_string_lossy().into_owned();
            // The page of the run is no output of a stage.
            if port_name.ends_with("-as-run") {
                continue;
            }
            found.push((format!("{}.{port_name}", stage.file_name().display()), port.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn every_output_as_text_and_as_json_by_name_and_by_path() {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "-q"]);
    let outputs = outputs(&project);
    assert_eq!(outputs.len(), 36);
    for (name, path) in &outputs {
        let shown = project.ok(&["inspect", name]);
        let format = match path.extension().unwrap().to_str().unwrap() {
            "parquet" => "parquet",
            "arrow" => "arrow",
            "safetensors" => "safetensors",
            "html" => "html",
            other => panic!("{name} is a .{other} file"),
        };
        shown.prints(&["made by  ", &format!("{name} ("), "command", "apprentice run x.yaml", "digest"]);

        let json = project.ok(&["inspect", name, "--json", "--head", "3"]).json();
        assert_eq!(json["content"]["format"], format, "{name}");
        assert_eq!(format!("{}.{}", text(&json["provenance"]["stage"]), text(&json["provenance"]["port"])), *name);
        assert_eq!(text(&json["digest"]), blake3::hash(&fs::read(path).unwrap()).to_hex().as_str());
        match format {
            "parquet" | "arrow" => {
                let table = &json["content"]["table"];
                // The evaluation world has seen every rating, so there is none to tell how far it is off; who only acts remembers nothing.
                let empty = name == "evaluation.calibration" || name.ends_with(".memories");
                assert_eq!(table["rows"] == 0, empty, "{name} has {} rows", table["rows"]);
                assert!(!table["columns"].as_array().unwrap().is_empty(), "{name} has no columns");
            }
            "safetensors" => assert!(!json["content"]["tensors"].as_array().unwrap().is_empty(), "{name}"),
            _ => assert_eq!(json["content"]["title"], "Learned policies and baselines"),
        }
        let by_path = project.ok(&["inspect", path.to_str().unwrap(), "--json"]).json();
        // Also of results with equal bytes, such as two empty memories.
        assert_eq!((&by_path["digest"], &by_path["provenance"]), (&json["digest"], &json["provenance"]), "{name}");
    }
    the_catalogue_in_full(&project);
    an_episode_as_a_conversation(&project);
    where_a_table_came_from(&project);
    what_is_asked_for_wrongly(&project);
}

fn the_catalogue_in_full(project: &Project) {
    let items = project.ok(&["inspect", "log.items", "--head", "2"]);
    items.prints(&[
        "items.parquet: Parquet, ",
        "60 rows in 1 row group, 4 columns, written by apprentice",
        "Columns",
        "id ",
        "title ",
        "year ",
        "genres ",
        "Numbers",
        "First 2 of 60 rows",
        "Drama 0",
        "Drama 1",
        "made by",
        "log.items (ingest.recbole, version ",
    ]);
    let json = project.ok(&["inspect", "log.items", "--json"]).json();
    let names: Vec<_> =
        json["content"]["table"]["columns"].as_array().unwrap().iter().map(|c| text(&c["name"])).collect();
    assert_eq!(names, ["id", "title", "year", "genres"]);
    assert_eq!(json["content"]["table"]["rows"], 60);
}

fn an_episode_as_a_conversation(project: &Project) {
    let shown = project.ok(&["inspect", "demos.demonstrations", "--episode", "1"]);
    shown.prints(&[
        "episode 1: user ",
        "return ",
        "the model is ",
        "step 0",
        "  user   ",
        "  offer ",
        "  model  ",
        "  world  ",
    ]);
    let told = project.ok(&["inspect", "demos.demonstrations", "--episode", "1", "--json"]).json();
    let turn = &told["content"]["turns"][0];
    assert!(!turn["messages"].as_array().unwrap().is_empty(), "the prompt comes from the calls: {turn}");
    assert!(!text(&turn["chosen"]).starts_with("item "), "the titles come from the catalogue: {turn}");
    project.ok(&["inspect", "score.rollouts", "--episode", "0"]).prints(&[
        "episode 0 of ",
        "policy ",
        "return_inclusive",
        "step 0\n  policy ",
    ]);
    // Who judges episodes reads no catalogue: the titles come from that of the worlds.
    let told = project.ok(&["inspect", "score.steps", "--episode", "0", "--json"]).json();
    let (whose, turn) = (&told["content"]["policy"], &told["content"]["turns"][0]);
    assert!(!text(whose).is_empty() && !text(&turn["chosen"]).starts_with("item "), "{whose}: {turn}");
    project
        .run(&["inspect", "demos.demonstrations", "--episode", "9999"])
        .ends_with(2)
        .says(&["it has no episode 9999"]);
}

fn where_a_table_came_from(project: &Project) {
    let tree = project.ok(&["inspect", "score.metrics", "--lineage"]);
    tree.prints(&[
        "score.metrics (evaluate, version ",
        "command apprentice run x.yaml",
        "← log.",
        "asset ",
        "from generate toy-log",
    ]);
    let tree = project.ok(&["inspect", "log.items", "--lineage", "--json"]).json();
    let asset = &tree["lineage"]["from"][0];
    assert_eq!((text(&asset["asset"]), text(&asset["origin"])), ("toy-log".into(), "generate toy-log".into()));
    let run = text(&tree["lineage"]["made"]["run"]);
    project.ok(&["inspect", &run]).prints(&["experiment  smoke", "log ", ".items", "score "]);
    let key = text(&tree["lineage"]["key"]);
    project.ok(&["inspect", &key[..10]]).prints(&["made by", "log (ingest.recbole", "config", ".items"]);
    project.ok(&["inspect", &format!("{}.items", &key[..10]), "--head", "0"]).prints(&["60 rows in 1 row group"]);
}

fn what_is_asked_for_wrongly(project: &Project) {
    project
        .run(&["inspect", "policy.curves"])
        .ends_with(2)
        .says(&["`policy` was swept", "policy@seed=0, policy@seed=1"]);
    project.run(&["inspect", "log"]).ends_with(2).says(&["say which output of `log`", "interactions, items, users"]);
    project.run(&["inspect", "lgo.items"]).ends_with(2).says(&["neither a file nor an output of experiment `smoke`"]);
    project.run(&["inspect", "x.yaml"]).ends_with(2).says(&["x.yaml: is text", "help: an editor shows it"]);
}
