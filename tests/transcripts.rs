//! Episodes of a language model beside a real log: one numbering, and what the model was told is held out of what evaluates it.

use crate::project::Project;

const EXPERIMENT: &str = "name: beside
assets:
  log: { from: [{ path: log/ }] }
  episodes: { from: [{ path: episodes/ }] }
stages:
  log:
    use: ingest.table
    with: { asset: log, log: { file: log.csv, user: user, item: item }, items: { file: items.csv, id: id, title: title } }
  recorded:
    use: ingest.transcripts
    inputs: { items: log.items, users: log.users, interactions: log.interactions }
    with: { asset: episodes, files: part, format: lines, titles: maps.json, user_ids: same }
  judged:
    use: split
    inputs: { interactions: recorded.log, test: recorded.history }
    with: { by: predefined }
";

fn project() -> Project {
    Project::new()
        .config(EXPERIMENT)
        .file("log/log.csv", "user,item\nanne,1\nanne,2\nbert,2\nbert,3\nanne,3\nanne,2\n")
        .file("log/items.csv", "id,title\n1,Braid\n2,Limbo\n3,Myst\n")
        .file("episodes/maps.json", r#"{"id2item_dict": {"2": "Limbo", "3": "Myst", "4": "Portal"}}"#)
        .file(
            "episodes/part.ndjson",
            r#"{"user": "anne", "history": ["Limbo"], "steps": [{"said": "Myst", "reward": 4}, {"said": "portal", "reward": 5}]}"#,
        )
}

#[test]
fn what_an_episode_told_is_held_out_of_the_log_that_judges_it() {
    let project = project();
    project.ok(&["run", "x.yaml"]).says(&["2 of 3 are in `items`, by id"]);
    let rows = |output: &str| project.ok(&["inspect", output, "--format", "csv", "--columns", "user,item"]).stdout;
    assert_eq!(rows("recorded.history"), "user,item\n0,1\n0,1\n", "both times that she met it");
    assert_eq!(rows("judged.train"), "user,item\n0,0\n0,2\n1,1\n1,2\n");
    assert_eq!(rows("recorded.demonstrations").lines().nth(1), Some("0,2"), "Portal is not in the log");
}

#[test]
fn equal_ids_are_not_taken_for_equal_things() {
    let wrong = |set: &str, code: i32, says: &str| {
        let project = project();
        project.run(&["run", "x.yaml", "--set", set]).ends_with(code).says(&[says, "help: "]);
    };
    wrong("stages.recorded.with.user_ids=null", 2, "how users are matched is not set");
    wrong("stages.recorded.with.user_ids=others", 2, "`others`");
    let renamed = project().file("log/items.csv", "id,title\n1,Braid\n2,Limbo\n3,Riven\n");
    renamed.run(&["run", "x.yaml"]).ends_with(1).says(&[
        "item 3 is \"Myst\" in the transcripts and \"Riven\" in `items`; 1 of 2 common ids have different titles",
        "help: set `item_ids: titles`",
    ]);
    let others = project().file("log/log.csv", "user,item\nanne,1\nbert,2\nbert,3\n");
    others.run(&["run", "x.yaml"]).ends_with(1).says(&["user anne has none of the items", "help: set `user_ids: new`"]);
    others
        .ok(&["run", "x.yaml", "--set", "stages.recorded.with.user_ids=new"])
        .says(&["1 new ones after the 2 of `users`"]);
    assert!(others.ok(&["inspect", "recorded.users"]).stdout.contains("3 rows"));
}
