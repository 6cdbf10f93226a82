//! One log in many dresses: each is known for what it is, and is read as it is written down.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use pipeline::log_experiment::{LogExperiment, LogFiles};
use pipeline::progress::Progress;

use super::*;

/// Rows of users, items, ratings and days.
pub(super) fn rows() -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..600).map(|row| (row / 20, 7 * row % 41, 1 + row % 5, row % 28))
}

fn csv() -> String {
    let row = |(user, item, stars, day): (usize, usize, usize, usize)| {
        format!("u{user},i{item},{stars},2021-01-{:02}\n", day + 1)
    };
    "userId,movieId,rating,date\n".to_owned() + &rows().map(row).collect::<String>()
}

pub(super) fn experiment_for(request: &LogFiles) -> Result<LogExperiment> {
    log_experiment(request, &Progress::silent())
}

pub(super) fn look(folder: &Path, log: &str) -> Result<LogExperiment> {
    experiment_for(&LogFiles { folder: folder.to_path_buf(), log: folder.join(log), ..LogFiles::default() })
}

pub(super) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn parquet(path: &Path) {
    let day = 86_400_000_000;
    let texts = |text: &dyn Fn((usize, usize, usize, usize)) -> String| -> ArrayRef {
        Arc::new(rows().map(|row| Some(text(row))).collect::<StringArray>())
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("userId", texts(&|row| format!("u{}", row.0))),
        ("movieId", texts(&|row| format!("i{}", row.1))),
        ("rating", Arc::new(rows().map(|row| Some(row.2 as f64)).collect::<Float64Array>())),
        (
            "date",
            Arc::new(
                rows()
                    .map(|row| Some(1_609_459_200_000_000 + day * row.3 as i64))
                    .collect::<TimestampMicrosecondArray>()
                    .with_timezone("Europe/Berlin"),
            ),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn one_log_in_many_forms_is_one_experiment() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let csv = csv();
    let (header, body) = csv.split_once('\n').unwrap();
    let records: String = rows()
        .map(|(user, item, stars, day)| {
            let ms = 1_609_459_200_000_u64 + 86_400_000 * day as u64;
            format!("{{\"userId\": \"u{user}\", \"movieId\": \"i{item}\", \"rating\": {stars}, \"date\": {ms}}}\n")
        })
        .collect();
    write(at, "a.csv", &csv);
    write(at, "b.csv", csv.replace(',', ";"));
    write(at, "c.dat", csv.replace(',', "::"));
    write(at, "d.tsv", body.replace(',', "\t"));
    write(at, "e.csv.gz", gzip(&csv));
    write(at, "f.csv.zst", zstd::encode_all(csv.as_bytes(), 0).unwrap());
    write(at, "g.ndjson", &records);
    write(at, "h.csv", csv.lines().map(|line| format!("\"{}\"\r\n", line.replace(',', "\",\""))).collect::<String>());
    write(
        at,
        "i.txt",
        csv.replace(header, "rating,date,who,what")
            .lines()
            .map(|line| {
                let fields: Vec<&str> = line.split(',').collect();
                if fields[0] == "rating" {
                    format!("{line}\n")
                } else {
                    format!("{},{},{},{}\n", fields[2], fields[3], fields[0], fields[1])
                }
            })
            .collect::<String>(),
    );
    parquet(&at.join("j.parquet"));
    std::fs::create_dir(at.join("k")).unwrap();
    parquet(&at.join("k/part-0.parquet"));
    for log in
        ["a.csv", "b.csv", "c.dat", "d.tsv", "e.csv.gz", "f.csv.zst", "g.ndjson", "h.csv", "i.txt", "j.parquet", "k"]
    {
        let found = look(at, log).unwrap_or_else(|error| panic!("{log}: {error:#}"));
        let details = &found.details;
        assert_eq!(
            (&details["rows"], &details["users"], &details["items"]),
            (&600.into(), &30.into(), &41.into()),
            "{log}: {details}"
        );
        assert_eq!(
            (&details["feedback"], &details["repeats"], &details["bad_rows"]),
            (&"explicit".into(), &0.into(), &0.into()),
            "{log}"
        );
        assert_eq!(details["times"]["first"], "2021-01-01", "{log}: {details}");
        assert_eq!(details["times"]["last"], "2021-01-28", "{log}");
        for part in ["use: ingest.table", "use: world.deepfm", "by: time", "5 values from 1 to 5: ratings", "title: "] {
            assert!(found.text.contains(part), "{log}: no {part:?} in\n{}", found.text);
        }
        // The settings are those of a stage, and read the same log.
        let table: Table = serde_json::from_value(details["settings"].clone()).unwrap();
        let mut cx = Context::detached(&at.join(format!("scratch-{log}")));
        std::fs::create_dir_all(cx.scratch()).unwrap();
        cx.add_asset("log", &at.join(log));
        let outputs = pipeline::Stage::run(&table, super::super::NoInputs {}, &cx).unwrap();
        assert_eq!((outputs.interactions.len(), outputs.users.id.len()), (600, 30), "{log}");
        assert_eq!(outputs.interactions.timestamp[1], 1_609_459_200 + 86_400, "{log}");
    }
}

#[test]
fn what_is_wrong_with_a_log_is_counted_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let broken: String = csv()
        .lines()
        .enumerate()
        .map(|(row, line)| if row % 100 == 50 { "torn\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let twice = broken.clone() + &csv().lines().skip(1).take(30).map(|line| format!("{line}\n")).collect::<String>();
    write(at, "log.csv", twice);
    let found = look(at, "log.csv").unwrap();
    assert_eq!(
        (&found.details["bad_rows"], &found.details["rows"], &found.details["repeats"]),
        (&6.into(), &624.into(), &30.into())
    );
    for part in [
        "on_bad_row: drop # 6 (1.0 %) would be refused",
        "# 30 (4.8 %) rows repeat a user and an item",
        "use: filter.duplicates",
    ] {
        assert!(found.text.contains(part), "{}", found.text);
    }
    let choices: String = rows().map(|(user, item, ..)| format!("{user},{item}\n")).collect();
    write(at, "choices.csv", choices);
    let found = look(at, "choices.csv").unwrap();
    assert_eq!(found.details["feedback"], "implicit");
    for part in
        ["names: [user, item] # ← the file has no header", "use: world.two_tower", "use: world.ials", "by: random"]
    {
        assert!(found.text.contains(part), "no {part:?} in\n{}", found.text);
    }
    let minutes: String = rows().map(|(user, item, ..)| format!("{user},{item},{}\n", 97 * user * item)).collect();
    write(at, "plays.csv", "user,item,minutes\n".to_owned() + &minutes);
    let found = look(at, "plays.csv").unwrap();
    assert_eq!(found.details["feedback"], "amounts");
    for part in [
        "rating: minutes # by its name; amounts up to",
        "use: rescale",
        "min_rating: 0.1",
        "alpha: 1.0, n_factors",
        "interactions: scaled.interactions",
    ] {
        assert!(found.text.contains(part), "no {part:?} in\n{}", found.text);
    }
    let wrong: String = rows().map(|(user, ..)| format!("{user}\n")).collect();
    write(at, "one.csv", "user\n".to_owned() + &wrong);
    assert!(look(at, "one.csv").unwrap_err().to_string().contains("has no separator"));
    assert!(look(at, "absent.csv").unwrap_err().to_string().contains("does not exist\nhelp: correct `--log`"));
}

#[test]
fn tables_beside_the_log_are_found_by_its_ids() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "log.csv", csv());
    let items: String = (0..50)
        .map(|item| {
            let (genres, maker) = (["Drama|War", "Comedy"][item % 2], ["Acme", "Best", "Cosy"][item % 3]);
            format!("{item};i{item};Film {item};{};{genres};{}.5;{maker}\n", 1950 + item, 7 * item % 50)
        })
        .collect();
    write(at, "films.csv", "row;key;name;year;genres;price;made by\n".to_owned() + &items);
    let users: String = (0..30).map(|user| format!("{},u{user}\n", 20 + user * 7 % 30)).collect();
    write(at, "people.csv", "age,person\n".to_owned() + &users);
    let request = LogFiles {
        folder: at.to_path_buf(),
        log: at.join("log.csv"),
        items: Some(at.join("films.csv")),
        users: Some(at.join("people.csv")),
        columns: Vec::new(),
    };
    let found = experiment_for(&request).unwrap();
    assert_eq!((&found.details["items"], &found.details["bad_rows"]), (&50.into(), &0.into()));
    for part in [
        "items: { from: [{ path: ",
        "        separator: \";\"\n        id: key # holds ids of the log\n        title: name\n        year: year\n        genres: { \
         column: genres, separator: \"|\" }",
        "        id: person # holds ids of the log; all other columns are features",
        "        # features: [price, \"made by\"] # other columns: worlds, encoders and prompts may read them\n",
        "      # Other columns that the world may read, and what each looks like:\n      # features:\n      #   items: { price: numeric, \
         \"made by\": categorical, year: numeric, genres: { multi_valued: \"|\" } } # with `items.features` of `log`. price: numbers; made \
         by: 3 values\n      #   users: { age: numeric } # age: numbers\n",
    ] {
        assert!(found.text.contains(part), "no {part:?} in\n{}", found.text);
    }
    write(at, "other.csv", "a,b\n1,2\n3,4\n");
    let error = experiment_for(&LogFiles { items: Some(at.join("other.csv")), ..request }).unwrap_err().to_string();
    assert!(error.contains("other.csv: no column of the table of items holds ids of the log, as "), "{error}");
}

#[test]
fn a_column_that_is_called_a_rating_or_a_date_is_not_left_out_unsaid() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let rows = |rating: &str, date: &str| -> String {
        (0..200).map(|k| format!("u{};i{};{rating};{date}\n", k % 20, k % 30)).collect()
    };
    let found = |text: String, columns: &[(&str, &str)]| {
        write(at, "log.csv", text);
        let columns = columns.iter().map(|(role, name)| ((*role).to_owned(), (*name).to_owned())).collect();
        experiment_for(&LogFiles {
            folder: at.to_path_buf(),
            log: at.join("log.csv"),
            items: None,
            users: None,
            columns,
        })
    };
    let head = "User;Item;Rating;Date\n".to_owned();
    let error = found(head.clone() + &rows("four", "2021-01-31"), &[]).unwrap_err().to_string();
    assert!(error.contains("column `Rating` is called like a rating") && error.contains("(`four`)"), "{error}");
    let error = found(head.clone() + &rows("4.5", "last week"), &[]).unwrap_err().to_string();
    assert!(error.contains("column `Date` is called like a timestamp") && error.contains("format: "), "{error}");
    let without = [("rating", ""), ("timestamp", "")];
    assert!(found(head + &rows("four", "last week"), &without).is_ok());
}

#[test]
fn a_benchmark_in_parts_keeps_its_own_split() {
    let folder = tempfile::tempdir().unwrap();
    let part = |skip: usize| -> String {
        let rows =
            rows().skip(skip).step_by(5).map(|(user, item, stars, day)| format!("{user}\t{item}\t{stars}\t{day}\n"));
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n".to_owned() + &rows.collect::<String>()
    };
    std::fs::create_dir(folder.path().join("set")).unwrap();
    for (name, skip) in [("set/x.test.inter", 4), ("set/x.train.inter", 0), ("set/x.valid.inter", 2)] {
        write(folder.path(), name, part(skip));
    }
    for log in ["set", "set/x.train.inter"] {
        let found = look(folder.path(), log).unwrap();
        assert_eq!(
            (&found.details["rows"], &found.details["reader"]),
            (&360.into(), &"ingest.recbole".into()),
            "{log}"
        );
        for part in [
            "known by x.train.inter, x.valid.inter, x.test.inter",
            "      parts: [train, valid, test] # all parts of the log; ids are numbered over all of them\n",
            "  held_out: { use: ingest.recbole, with: { asset: log, parts: [test] } }\n",
            "inputs: { interactions: log.interactions, test: held_out.interactions }\n    with: { by: predefined }",
        ] {
            assert!(found.text.contains(part), "{log}: no {part:?} in\n{}", found.text);
        }
    }
}

/// What is written of a log of 600 rows: a user and an item, and what `more` says of a row.
fn written(header: &str, more: impl Fn((usize, usize, usize, usize)) -> String) -> LogExperiment {
    let folder = tempfile::tempdir().unwrap();
    let text: String = rows().map(|row| format!("u{}{}\n", row.0, more(row))).collect();
    write(folder.path(), "log.csv", format!("{header}\n{text}"));
    look(folder.path(), "log.csv").unwrap_or_else(|error| panic!("{header}: {error:#}"))
}

pub(super) fn has(found: &LogExperiment, parts: &[&str]) {
    for part in parts {
        assert!(found.text.contains(part), "no {part:?} in\n{}", found.text);
    }
}

#[test]
fn spaces_in_dates_and_behind_commas_do_not_move_columns() {
    let zone =
        written("user_id,item_id,viewed_at", |row| format!(",i{},2021-04-{:02} 09:47:48 +0000 UTC", row.1, row.3 + 1));
    assert_eq!((&zone.details["users"], &zone.details["items"]), (&30.into(), &41.into()));
    has(&zone, &["separated by commas, fields may be quoted, with a header", "column: viewed_at", "2021-04-01"]);
    let behind =
        written("user,item,rating,date", |row| format!(", {}, {}, 2021-04-{:02} 09:47:48", row.1, row.2, row.3 + 1));
    assert_eq!(
        (&behind.details["items"], &behind.details["bad_rows"], &behind.details["feedback"]),
        (&41.into(), &0.into(), &"explicit".into())
    );
    has(&behind, &["trim_whitespace: true # spaces", "5 values from 1 to 5"]);
    let trailing = written("user,item", |row| format!("{},i{}", if row.2 == 1 { " " } else { "" }, row.1));
    assert_eq!(trailing.details["users"], 30);
    has(&trailing, &["trim_whitespace: true"]);
    assert!(!written("user,item", |row| format!(",i{}", row.1)).text.contains("trim_whitespace"));
}

#[test]
fn columns_of_other_names_are_no_ratings_and_are_listed() {
    let age = written("user,item,age,event,date", |row| {
        format!(",i{},{},{},2021-04-{:02}", row.1, 18 + row.2, ["view", "cart"][row.2 % 2], row.3 + 1)
    });
    assert_eq!(age.details["feedback"], "implicit");
    has(
        &age,
        &[
            "# not read: `age` (integers from 19 to 23; `--columns rating=age` reads it), `event` (texts, as `cart`, `view`",
        ],
    );
    let strange = written("a,b,c", |row| format!(",i{},{}", row.1, row.2));
    has(&strange, &["rating: c # ← by its content, not by its name: check it; 5 values"]);
    let zeros = written("user,item,rating", |row| format!(",i{},{}", row.1, if row.0 % 2 == 0 { 0 } else { row.2 }));
    has(&zeros, &["rating: rating # ← by its name; 6 values from 0 to 5: ratings; 50 % are 0: remove these rows if"]);
    let plays = written("user,song,num_plays", |row| format!(",i{},{}", row.1, row.2));
    assert_eq!(plays.details["feedback"], "amounts");
    let missing = written("user,item,rating", |row| {
        format!(",i{},{}", row.1, if row.1 % 7 == 0 { "NULL".into() } else { row.2.to_string() })
    });
    assert!(missing.details["bad_rows"].as_u64().unwrap() > 50, "{}", missing.details);
}

#[test]
fn few_users_are_no_scale_where_nothing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text: String =
        rows().map(|(user, item, stars, day)| format!("{user}\t{item}\t{stars}\t{}\n", 1_600_000_000 + day)).collect();
    write(folder.path(), "log.tsv", text);
    let found = look(folder.path(), "log.tsv").unwrap();
    assert!(found.text.contains("names: [user, item, rating, timestamp]"), "{}", found.text);
    assert_eq!((&found.details["users"], &found.details["items"]), (&30.into(), &41.into()));
}

#[test]
fn an_id_that_stands_twice_in_a_catalogue_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "log.csv", csv());
    let items: String = (0..50).chain([7]).zip(0..).map(|(item, row)| format!("i{item},Film {row}\n")).collect();
    write(at, "films.csv", "item_id,title\n".to_owned() + &items);
    let request = LogFiles {
        folder: at.to_path_buf(),
        log: at.join("log.csv"),
        items: Some(at.join("films.csv")),
        ..LogFiles::default()
    };
    let error = experiment_for(&request).unwrap_err().to_string();
    assert!(
        error.contains("column `item_id` of the table of items holds ids of the log, and \"i7\" several times"),
        "{error}"
    );
}

#[test]
fn amazons_items_may_come_first() {
    let folder = tempfile::tempdir().unwrap();
    for (name, names) in
        [("first.csv", "[item, user, rating, timestamp]"), ("second.csv", "[user, item, rating, timestamp]")]
    {
        let line = |(user, item, stars, day)| {
            let [user, item] = [format!("AQRU3HD1T{user:05}"), format!("B0003{item:05}")];
            let [one, other] = if name == "first.csv" { [item, user] } else { [user, item] };
            format!("{one},{other},{stars}.0,{}\n", 1_296_217_000 + 86_400 * day)
        };
        write(folder.path(), name, rows().map(line).collect::<String>());
        let found = look(folder.path(), name).unwrap();
        assert!(found.text.contains(&format!("names: {names}")), "{}", found.text);
        assert_eq!((&found.details["users"], &found.details["items"]), (&30.into(), &41.into()), "{name}");
    }
}
