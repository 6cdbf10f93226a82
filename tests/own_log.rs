//! From a log of one's own to a report: what `init --log` writes runs as it is.

use std::fs;
use std::path::Path;

use crate::assets::fetched;
use crate::project::{Ended, Project, repository, text};
use crate::skipped::{data, folder_with};

/// Less training than what is written, so that the test is short: the two lines that anybody may change.
const SHORT: [&str; 4] =
    ["--set", "stages.policy.with.n_iterations=3", "--set", "stages.score.with.baselines.n_iterations=2"];

/// 40 users with 25 ratings of 60 items each, on days of 2021; `broken` rows of a hundred are torn, `repeated` come twice.
fn ratings(broken: usize, repeated: usize) -> String {
    let mut text = "user_id,movie_id,stars,watched_at\n".to_owned();
    for row in 0..1000_usize {
        let (user, item) = (row / 25, (row / 25 * 7 + row * 11) % 60);
        let stars = 1 + (user * 3 + item * 5 + row) % 5;
        let line = format!("{user},{item},{stars},2021-{:02}-{:02}T10:00:00+02:00\n", 1 + row % 12, 1 + row % 28);
        text += &line;
        if row % 100 < repeated {
            text += &line;
        }
        if row % 100 >= 100 - broken {
            text += "torn,row\n";
        }
    }
    text
}

fn films() -> String {
    let row = |item: usize| format!("{item},\"Film, the {item}th\",{},Drama|War\n", 1950 + item);
    "movie_id,title,year,genres\n".to_owned() + &(0..60).map(row).collect::<String>()
}

#[test]
fn a_log_of_ratings_goes_from_file_to_report() {
    let project = Project::new().file("logs/ratings.csv", &ratings(1, 2)).file("logs/films.csv", &films());
    let init = ["init", "mine.yaml", "--log", "logs/ratings.csv", "--items", "logs/films.csv"];
    project.ok(&init).says(&[
        "logs/ratings.csv: text separated by commas",
        "1,020 rows of 40 users and 60 items",
        "20 (2.0 %) rows repeat a user and an item",
        "10 (1.0 %) would be refused",
        "`user_id` (by its name; integers)",
        "5 values from 1 to 5: ratings",
        "holds dates, from 2021-01-01 to 2021-12-",
        "wrote `mine.yaml`",
    ]);
    project.run(&init).ends_with(2).says(&["`mine.yaml` exists already\nhelp: give another name"]);
    let run = [&["run", "mine.yaml"][..], &SHORT].concat();
    project.ok(&run).says(&["1020 interactions, 40 users, 60 items"]);
    assert!(project.path("artifacts/mine/report/page.html").is_file());
}

#[test]
fn a_log_of_choices_goes_from_file_to_report() {
    let plays: String = (0..1000_usize)
        .map(|row| {
            format!(
                "{{\"account\": \"a{}\", \"track\": \"t{}\", \"plays\": {}}}\n",
                row / 25,
                row * 13 % 70,
                row * row % 977
            )
        })
        .collect();
    let project = Project::new().file("plays.ndjson", &plays);
    let found = project.ok(&["init", "mine.yaml", "--log", "plays.ndjson", "--json"]).json();
    let findings = &found["findings"];
    assert_eq!((&findings["feedback"], &findings["users"]), (&"amounts".into(), &40.into()), "{findings}");
    let text = fs::read_to_string(project.path("mine.yaml")).unwrap();
    assert!(text.contains("rating: plays # by its name; amounts up to"), "{text}");
    let run = [&["run", "mine.yaml"][..], &SHORT].concat();
    project.ok(&run);
    assert!(project.path("artifacts/mine/report/page.html").is_file());
}

#[test]
fn what_cannot_be_told_is_asked_for() {
    let project =
        Project::new().file("x.csv", "p,q,r\n1609459200,1609459201,1609459202\n1609459210,1609459211,1609459212\n");
    project.run(&["init", "mine.yaml", "--log", "x.csv"]).ends_with(2).says(&[
        "x.csv: no two columns can be told to hold the ids",
        "`p` (times)",
        "help: name them with `--columns user=COLUMN",
    ]);
    assert!(!project.path("mine.yaml").exists());
    project.ok(&["init", "mine.yaml", "--log", "x.csv", "--columns", "user=p,item=q,timestamp=r"]);
    project.ok(&["plan", "mine.yaml"]).prints(&["log ", "report "]);
    project
        .run(&["init", "other.yaml", "--log", "x.csv", "--columns", "who=p"])
        .ends_with(2)
        .says(&["wanted ROLE=COLUMN"]);
    project.run(&["init", "other.yaml", "--items", "x.csv"]).ends_with(2).says(&["--log"]);
}

#[test]
fn a_kind_of_stage_is_explained_in_the_terminal() {
    let project = Project::new();
    project.ok(&["stages"]).prints(&[
        "evaluate ",
        "ingest.table ",
        "rl.a2c ",
        "world.two_tower ",
        "`apprentice stages KIND`",
    ]);
    project.ok(&["stages", "split"]).prints(&[
        "use: split",
        "interactions: stage.interactions",
        "Inputs:",
        "test          interactions, optional",
        "Outputs:",
        "by  a choice; by default `by: time`",
        "`global_time`: ",
        "test_fraction  a number; by default `test_fraction: 0.2`",
    ]);
    project
        .ok(&["stages", "ingest.table"])
        .prints(&["log.file  a text; required, as `file: text`", "log.timestamp.column"]);
    let found = project.ok(&["stages", "rl.a2c", "--json"]).json();
    let settings = found["settings"].as_array().unwrap();
    let gamma = settings.iter().find(|setting| setting["path"] == "gamma").unwrap();
    assert_eq!((&gamma["default"], &gamma["example"]), (&0.9.into(), &"gamma: 0.9".into()));
    project.run(&["stages", "rl.a2k"]).ends_with(2).says(&["no kind of stage `rl.a2k`\nhelp: did you mean `rl.a2c`?"]);
    project
        .run(&["stages", "irl"])
        .ends_with(2)
        .says(&["no kind of stage `irl`, it is a family of kinds\nhelp: there are `irl.airl`, `irl.gail`"]);
    project.run(&["stages", "worlds"]).ends_with(2).says(&["help: did you mean `world`?"]);
    project.run(&["stages", "xyz"]).ends_with(2).says(&["lists all kinds; families are `", "`world`"]);
}

#[test]
fn a_benchmark_in_parts_is_read_whole_and_keeps_its_split() {
    let head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n".to_owned();
    let part = |of: &[usize]| {
        let rows = (0..1000_usize).filter(|row| of.contains(&(row % 5)));
        let row = |row: usize| format!("{}\t{}\t{}\t{}\n", row / 25, (row * 7 + row / 25) % 60, 1 + row * row % 5, row);
        head.clone() + &rows.map(row).collect::<String>()
    };
    let project = Project::new()
        .file("set/x.train.inter", &part(&[0, 1, 2]))
        .file("set/x.valid.inter", &part(&[3]))
        .file("set/x.test.inter", &part(&[4]));
    project.ok(&["init", "mine.yaml", "--log", "set"]).says(&["known by x.train.inter, x.valid.inter, x.test.inter"]);
    project.ok(&["run", "mine.yaml", "split"]).says(&["800 train, 200 test as given (200 rows were in both)"]);
    project.ok(&["plan", "mine.yaml"]).prints(&["held_out ", "report "]);
}

/// The script that takes logs to reports, on three small ones of the three kinds.
#[test]
fn three_logs_go_from_file_to_report_by_a_script_of_exact_commands() {
    let choices: String =
        (0..1000_usize).map(|row| format!("{},b{},{}\n", row / 25, row * 13 % 70, row % 25)).collect();
    let books: String = (0..70).map(|book| format!("b{book},The Book {book},Essay|Novel\n")).collect();
    let plays: String = (0..1000_usize)
        .map(|row| format!("p{},{},{}\n", row / 25, row * 17 % 60, row * row % 977 * (row % 3)))
        .collect();
    let games: String = (0..60).map(|game| format!("{game},Game {game},Action\n")).collect();
    let project = Project::new()
        .file("ratings.csv", &ratings(0, 0))
        .file("choices.csv", &("user,item,position\n".to_owned() + &choices))
        .file("books.csv", &("id,title,genre\n".to_owned() + &books))
        .file("plays.csv", &("user,item,minutes\n".to_owned() + &plays))
        .file("games.csv", &("id,title,genre\n".to_owned() + &games));
    let files = ["ratings.csv", "choices.csv", "books.csv", "plays.csv", "games.csv"];
    roads(&project.script("tests/data/own_log.sh", &files).ends_with(0), &project, ["1,000", "1,000", "1,000"]);
}

/// All six roads have ended at a page, each with two changed lines; `rows` are those of the three logs.
fn roads(ended: &Ended, project: &Project, rows: [&str; 3]) {
    let changed = ended.stdout.lines().filter(|line| line.starts_with("> ")).count();
    assert_eq!(changed, 6 * 2, "two lines of each experiment are changed:\n{}", ended.stdout);
    for (name, rows) in ["ratings", "choices", "plays"].into_iter().zip(rows) {
        for worse in ["", "worse-"] {
            let page =
                fs::read_to_string(project.path(&format!("artifacts/{worse}{name}/report/page-as-run.html"))).unwrap();
            assert!(page.contains("The learned policy a2c returns") && page.contains("<b>Run</b>"), "{worse}{name}");
        }
        assert!(ended.stderr.contains(&format!("{rows} rows of ")), "{name}: {}", ended.stderr);
    }
    let of_worse = ["(1.0 %) would be refused: ", "rows repeat a user and an item", ", compressed"];
    for part in of_worse {
        assert!(ended.stderr.matches(part).count() >= 3, "{part}: {}", ended.stderr);
    }
}

/// Writes an experiment for a real log, and reads the log with it.
fn read(folder: &Path, log: &str, items: Option<&str>, rows: &str) {
    let project = Project::new();
    let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
    let mut words = vec!["init".to_owned(), "mine.yaml".into(), "--log".into(), path(log)];
    words.extend(items.into_iter().flat_map(|items| ["--items".to_owned(), path(items)]));
    project.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    project.ok(&["run", "mine.yaml", "log"]).says(&[rows]);
    project.ok(&["plan", "mine.yaml"]).prints(&["report "]);
}

#[test]
fn real_logs_are_known_for_what_they_are() {
    let Some(folder) = data("amazon_book/interactions.csv") else { return };
    read(
        &folder,
        "amazon_book/interactions.csv",
        Some("amazon_book/items.csv"),
        "116007 interactions, 1049 users, 13864 items",
    );
    read(
        &folder,
        "steam_logs/playtime.csv",
        Some("steam_logs/items.csv"),
        "104822 interactions, 13193 users, 6012 items",
    );
    read(&folder, "beauty/interactions.csv", None, "353962 interactions, 40226 users, 54542 items");
    read(&folder, "coat", None, "6960 chosen and 4640 random ratings, 290 users, 300 items");
}

/// The same on MovieLens, Amazon-Book and Steam's minutes.
#[test]
fn three_real_logs_go_from_file_to_report() {
    let Some(folder) = data("amazon_book/interactions.csv") else { return };
    let Some(movielens) = movielens() else { return };
    let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
    let files = [
        movielens,
        path("amazon_book/interactions.csv"),
        path("amazon_book/items.csv"),
        path("steam_logs/playtime.csv"),
        path("steam_logs/items.csv"),
    ];
    let project = Project::new();
    let ended = project.script("tests/data/own_log.sh", &files.each_ref().map(String::as_str)).ends_with(0);
    roads(&ended, &project, ["100,000", "116,007", "104,822"]);
}

/// The folder of MovieLens-100K, as a run of the quickstart finds or fetches it.
fn movielens() -> Option<String> {
    if let Some(folder) = folder_with("ml-100k/ml-100k.inter") {
        return Some(folder.join("ml-100k").to_str().unwrap().to_owned());
    }
    let project = Project::new().shared_cache();
    let quickstart = fs::read_to_string(repository().join("configs/quickstart.yaml")).unwrap();
    let project = project.config(&quickstart);
    let run = project.run(&["run", "x.yaml", "log"]);
    if !fetched(&run) {
        return None;
    }
    let entry = fs::read_to_string(project.files("entries").first().unwrap()).unwrap();
    let entry: serde_json::Value = serde_json::from_str(&entry).unwrap();
    Some(text(&entry["entry"]["made"]["assets"][0]["path"]))
}
