//! Items that came into the catalogue after a policy was trained.

use std::fs;

use pipeline::Artifact as _;
use serde_json::{Value, json};
use stages::artifact::Items;

use crate::project::Project;

/// A project with a trained policy, and in `new.parquet` its catalogue with two items more: copies of the first and the second.
fn project() -> Project {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "bc", "-q"]);
    let old = Items::read(&project.path("artifacts/smoke/log/items.parquet")).unwrap();
    let rows: Vec<usize> = (0..old.len()).chain([0, 1]).collect();
    let mut new = old.take(&rows);
    for (name, row) in ["a", "b"].into_iter().zip(old.len()..) {
        (new.id[row], new.title[row]) = (format!("new-{name}"), format!("New {name}"));
    }
    new.write(&project.path("new.parquet")).unwrap();
    project
}

#[test]
fn a_policy_learns_of_new_items_by_their_columns() {
    let project = project();
    let added = project.ok(&["add-items", "bc", "--items", "new.parquet", "--json"]).json();
    assert_eq!(added["path"], "bc-with-new-items.safetensors");
    let told = &added["added_items"];
    assert_eq!((&told["known"], &told["added"], &told["not_in_catalogue"]), (&json!(60), &json!(2), &json!(0)));
    let said = project.ok(&["add-items", "bc", "--items", "new.parquet", "--feature", "genres=multi_valued:|"]);
    said.says(&["wrote `bc-with-new-items.safetensors`: 2 new items behind 60"]).prints(&[
        "columns",
        "genres (multi_valued, ",
        "agreement",
        "rank correlation",
    ]);

    let file = "bc-with-new-items.safetensors";
    let ask = |policy: &str, more: &[&str]| -> Value {
        let asked = ["recommend", policy, "--user", "3", "-n", "62", "--json"];
        project.ok(&[&asked[..], more].concat()).json()["answer"]["items"].clone()
    };
    let (before, after) = (ask("bc", &[]), ask(file, &[]));
    let items = after.as_array().unwrap();
    let (new, old): (Vec<&Value>, Vec<&Value>) = items.iter().partition(|item| item["new_item"] == true);
    assert_eq!((new.len(), old.len()), (2, 60));
    assert!(before.as_array().unwrap().iter().eq(old), "known items keep their scores and their order");
    project.ok(&["recommend", file, "--user", "3", "-n", "62"]).prints(&["New a", "new: scored by its columns"]);
    let after = ask(file, &["--history", "New a", "--history", "7", "--exclude-history"]);
    assert!(after.as_array().unwrap().iter().all(|item| item["id"] != "new-a"), "as any other, by its title, too");
    // What else reads policies reads this one.
    project.ok(&["export", file, "--format", "onnx"]).prints(&["float32 [batch, 62]"]);
    project.ok(&["inspect", file, "--verify"]);
}

#[test]
fn what_has_nothing_new_or_is_none_is_refused_and_leaves_nothing() {
    let project = project();
    let wrong = |args: &[&str], parts: &[&str]| {
        project.run(&[&["add-items"], args].concat()).ends_with(2).says(parts);
    };
    wrong(&["bc", "--items", "log.items"], &["the policy knows all 60 items of the catalogue"]);
    wrong(&["bc", "--items", "world.world"], &["is of kind `world`, not a catalogue", "help: `ingest` stages"]);
    wrong(&["log.items", "--items", "new.parquet"], &["is of kind `items`, not a policy"]);
    wrong(&["bc", "--items", "new.parquet", "--feature", "brand"], &["wanted COLUMN=KIND"]);
    wrong(&["bc", "--items", "new.parquet", "--feature", "brand=categorical"], &["has no column `brand`", "help: "]);
    wrong(&["bc"], &["--items <CATALOGUE>"]);
    let nowhere = ["add-items", "bc", "--items", "new.parquet", "--out", "none/x.safetensors"];
    project.run(&nowhere).ends_with(1).says(&["cannot write `none/x.safetensors`"]);
    let left = fs::read_dir(project.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<String> = left.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(left.iter().all(|name| !name.starts_with(".new-") && !name.ends_with(".safetensors")), "{left:?}");
}
