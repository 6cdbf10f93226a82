//! What `inspect` shows of the rows of a file, and in which forms.

use std::fs;

use serde_json::Value;

use crate::project::{Project, text};

const LOG: &str = "\
name: log
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title, genres: class, year: release_year } }
";

fn project() -> Project {
    let project = Project::new().config(LOG);
    project.ok(&["run", "x.yaml", "-q"]);
    project
}

#[test]
fn rows_are_chosen_and_written_in_every_form() {
    let project = project();
    every_form(&project);
    filters(&project);
    queries(&project);
    samples(&project);
    damage(&project);
    differences(&project);
    what_is_asked_for_wrongly(&project);
}

fn every_form(project: &Project) {
    let csv = project.ok(&["inspect", "log.items", "--format", "csv"]).stdout;
    assert_eq!(csv.lines().count(), 61, "all rows and a header");
    assert_eq!(csv.lines().next(), Some("id,title,year,genres"));
    assert_eq!(csv.lines().nth(1), Some("0,Drama 0,1950,\"[\"\"Drama\"\"]\""));

    let rows =
        project.ok(&["inspect", "log.items", "--format", "ndjson", "--columns", "year,id", "--head", "2"]).stdout;
    assert_eq!(rows, "{\"year\":1950,\"id\":\"0\"}\n{\"year\":1951,\"id\":\"1\"}\n");

    let whole = project.ok(&["inspect", "log.items", "--rows", "--json", "--head", "1"]).json();
    assert_eq!((&whole["schema_version"], &whole["content"]["rows_in_file"]), (&1.into(), &60.into()));
    assert_eq!(whole["content"]["rows"][0]["title"], "Drama 0");

    let md =
        project.ok(&["inspect", "log.items", "--rows", "--format", "md", "--columns", "title,year", "--head", "1"]);
    assert_eq!(md.stdout, "| title | year |\n| --- | ---: |\n| Drama 0 | 1950 |\n");
    project.ok(&["inspect", "log.items", "--format", "md"]).prints(&[
        "items.parquet: Parquet",
        "## Columns",
        "made by",
    ]);

    let table = project.ok(&["inspect", "log.items", "--rows", "--columns", "title", "--head", "1"]);
    assert_eq!(table.stdout, "     title\n─────────────\n 0   Drama 0\n");
}

fn filters(project: &Project) {
    let filter = "year >= 1952 and (genres contains 'Drama' or title = 'War 3') and year is not null";
    let rows =
        project.ok(&["inspect", "log.items", "--filter", filter, "--format", "csv", "--columns", "title"]).stdout;
    let titles: Vec<_> = rows.lines().skip(1).collect();
    assert_eq!(titles.len(), 9, "{rows}");
    assert_eq!((titles[0], titles[8]), ("Drama 2", "War 3"));
    let overview = project.ok(&["inspect", "log.items", "--filter", filter]);
    overview.prints(&[
        "60 rows in 1 row group",
        "9 rows pass the filter",
        "Numbers",
        "year ",
        "1952",
        "All matching rows",
    ]);
    project.run(&["inspect", "log.items", "--filter", "yaer >= 1952"]).ends_with(2).says(&[
        "items.parquet: invalid filter: there is no column `yaer`",
        "\n  yaer >= 1952\n  ^^^^\n",
        "help: the columns are id, title, year, genres",
    ]);
}

fn queries(project: &Project) {
    let by_year = "select year, count(*) as n from self where genres contains 'Drama' group by year order by n desc, year limit 2";
    let answer = project.ok(&["inspect", "log.items", "--sql", by_year, "--format", "csv"]).stdout;
    let rows: Vec<_> = answer.lines().collect();
    assert_eq!((rows[0], rows.len()), ("year,n", 3), "{answer}");
    // The same of the file, of all files of a pattern, and as JSON around the rows.
    let view = "artifacts/log/log/items.parquet";
    assert_eq!(project.ok(&["inspect", view, "--sql", by_year, "--format", "csv"]).stdout, answer);
    assert_eq!(
        project.ok(&["inspect", "artifacts/log/*/items.parquet", "--sql", by_year, "--format", "csv"]).stdout,
        answer
    );
    let json = project.ok(&["inspect", "log.items", "--sql", by_year, "--json"]).json();
    assert_eq!(json["content"]["columns"][1]["name"], "n");
    assert_eq!(json["content"]["rows"].as_array().unwrap().len(), 2);
    project.ok(&["inspect", "log.items", "--tail", "2"]).prints(&["Last 2 of 60 rows", "\n 59   "]);
    project.run(&["inspect", "log.items", "--sql", "select yaer from self"]).ends_with(2).says(&[
        "items.parquet: invalid query: there is no column `yaer`",
        "\n  select yaer from self\n         ^^^^\n",
        "help: the columns are id, title, year, genres; did you mean `year`?",
    ]);
    project.run(&["inspect", "artifacts", "--sql", "select 1"]).ends_with(2).says(&["which is no table\nhelp: "]);
}

fn samples(project: &Project) {
    let sample =
        |seed: &str| project.ok(&["inspect", "log.items", "--sample", "5", "--seed", seed, "--format", "csv"]).stdout;
    assert_eq!(sample("1").lines().count(), 6);
    assert_eq!(sample("1"), sample("1"));
    assert_ne!(sample("1"), sample("2"));
    project.ok(&["inspect", "log.items", "--sample", "5"]).prints(&["5 of 60 rows drawn at random, seed 0"]);
}

fn damage(project: &Project) {
    project.ok(&["inspect", "log.items", "--verify"]).prints(&[
        "items.parquet: Parquet",
        "checked: 1 row group, 60 rows, 4 column chunks",
        "whole: every part can be read",
    ]);
    let path = project.path("damaged.parquet");
    let mut bytes = fs::read(project.path("artifacts/log/log/items.parquet")).unwrap();
    // A zstd frame in the first column chunk.
    let frame = bytes.windows(4).position(|four| four == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    bytes[frame + 4..frame + 12].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    project
        .run(&["inspect", "damaged.parquet", "--verify"])
        .ends_with(1)
        .prints(&["damaged: ", "row group 0, column id"]);
    project.run(&["inspect", "damaged.parquet"]).ends_with(1).says(&["damaged.parquet: ", "help: make the file again"]);
    fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    let found = project.run(&["inspect", "damaged.parquet", "--verify", "--json"]).ends_with(1).json();
    assert_eq!(found["content"]["whole"], false);
    assert!(text(&found["content"]["faults"][0]["fault"]).contains("its footer is missing"), "{found}");
    // What is not read here is no damage.
    fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n").unwrap();
    for args in [&["inspect", "damaged.parquet", "--verify"][..], &["inspect", "damaged.parquet"]] {
        project
            .run(args)
            .ends_with(2)
            .says(&["damaged.parquet: is a Git LFS pointer", "help: fetch it with `git lfs pull`"]);
    }
}

fn differences(project: &Project) {
    project.ok(&["diff", "log.items", "log.items"]).prints(&["equal, byte for byte"]);
    let found = project.ok(&["diff", "log.items", "log.users", "--json"]).json();
    let schema: Vec<_> =
        found["content"]["table"]["schema"].as_array().unwrap().iter().map(|c| text(&c["column"])).collect();
    assert!(schema.contains(&"title".to_owned()), "{found}");
    assert_eq!((&found["content"]["one"]["rows"], &found["content"]["other"]["rows"]), (&60.into(), &40.into()));
    project.ok(&["diff", "log.items", "log.users", "--key", "id"]).prints(&[
        "A  ",
        "items.parquet: Parquet",
        "60 rows",
        "B  ",
        "users.parquet: Parquet",
        "Columns that differ",
        "title ",
        "Rows",
        "with the same id",
        "only in A",
    ]);
}

fn what_is_asked_for_wrongly(project: &Project) {
    for (args, words) in [
        (vec!["--columns", "ttile"], "there is no column `ttile`"),
        (vec!["--episode", "0"], "it holds no episodes"),
        (vec!["--verify", "--format", "csv"], "csv holds rows and nothing else"),
        (vec!["--against", "log.users"], "two files are compared by `apprentice diff A B`"),
    ] {
        let args = [vec!["inspect", "log.items"], args].concat();
        project.run(&args).ends_with(2).says(&[words]);
    }
    let error: Value = project.run(&["inspect", "log.items", "--columns", "x", "--json"]).ends_with(2).json();
    assert_eq!(error["exit"], 2);
}
