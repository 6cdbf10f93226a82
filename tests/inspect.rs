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
    assert_eq!(outputs.len(), 26);
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
                assert!(table["rows"].as_u64().unwrap() > 0, "{name} has no rows");
                assert!(!table["columns"].as_array().unwrap().is_empty(), "{name} has no columns");
            }
            "safetensors" => assert!(!json["content"]["tensors"].as_array().unwrap().is_empty(), "{name}"),
            _ => assert_eq!(json["content"]["title"], "Learned policies against their controls"),
        }
        let by_path = project.ok(&["inspect", path.to_str().unwrap(), "--json"]).json();
        assert_eq!((&by_path["digest"], &by_path["provenance"]), (&json["digest"], &json["provenance"]), "{name}");
    }
    the_catalogue_in_full(&project);
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

fn what_is_asked_for_wrongly(project: &Project) {
    project
        .run(&["inspect", "policy.curves"])
        .ends_with(2)
        .says(&["`policy` was swept", "policy@seed=0, policy@seed=1"]);
    project.run(&["inspect", "log"]).ends_with(2).says(&["say which output of `log`", "interactions, items, users"]);
    project.run(&["inspect", "lgo.items"]).ends_with(2).says(&["neither a file nor an output of experiment `smoke`"]);
    project.run(&["inspect", "x.yaml"]).ends_with(1).says(&["is of an unknown format", "help: "]);
}
