//! Logs that were misread in silence, or refused without a way out.

use pipeline::log_experiment::{LogExperiment, LogFiles};
use serde_json::Value;

use super::tests::{experiment_for, has, look, rows, write};
use super::*;

/// What is written of a file of that text.
fn of_text(name: &str, text: impl AsRef<[u8]>) -> Result<LogExperiment> {
    of_text_with(name, text, &[])
}

fn of_text_with(name: &str, text: impl AsRef<[u8]>, columns: &[(&str, &str)]) -> Result<LogExperiment> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), name, text);
    experiment_for(&LogFiles {
        folder: folder.path().to_path_buf(),
        log: folder.path().join(name),
        columns: columns.iter().map(|(role, name)| ((*role).to_owned(), (*name).to_owned())).collect(),
        ..LogFiles::default()
    })
}

/// A header, and 600 rows.
fn text(header: &str, row: impl Fn(usize, (usize, usize, usize, usize)) -> String) -> String {
    let rows: String = rows().enumerate().map(|(at, of)| row(at, of) + "\n").collect();
    if header.is_empty() { rows } else { format!("{header}\n{rows}") }
}

fn sizes(found: &LogExperiment) -> [&Value; 3] {
    ["rows", "users", "items"].map(|name| &found.details[name])
}

fn error(found: Result<LogExperiment>) -> String {
    format!("{:#}", found.unwrap_err())
}

#[test]
fn quoted_fields_with_the_separator_in_them_stay_whole() {
    let named = |(user, item, stars, _)| format!("\"Doe, {user}\",\"Film, the {item}th; a|b\",{stars}");
    for header in ["", "\"user, who\",\"item, what\",rating"] {
        let found = of_text("log.csv", text(header, |_, row| named(row))).unwrap();
        assert_eq!(sizes(&found), [600, 30, 41].map(Value::from).each_ref(), "{header}");
        assert_eq!(
            (&found.details["feedback"], found.text.contains("quotes:")),
            (&"explicit".into(), false),
            "{header}"
        );
    }
    let listed =
        of_text("log.txt", text("", |_, (user, item, stars, _)| format!("u{user},i{item},{stars},\"a|b|c|d|e\"")))
            .unwrap();
    assert_eq!(sizes(&listed), [600, 30, 41].map(Value::from).each_ref());
    has(&listed, &["separator: \",\"", "5 values from 1 to 5"]);
    let review = |_, (user, item, stars, _)| format!("u{user},i{item},{stars},\"good, \nvery \"\"good\"\"\nindeed\"");
    let found = of_text("log.csv", text("user,item,rating,review", review)).unwrap();
    assert_eq!((sizes(&found), &found.details["bad_rows"]), ([600, 30, 41].map(Value::from).each_ref(), &0.into()));
    let tabs = text("\"user\"\t\"item\"\t\"rating\"", |_, (user, item, stars, _)| {
        format!("\"u{user}\"\t\"i{item}\"\t\"{stars}\"")
    });
    has(&of_text("log.tsv", tabs).unwrap(), &["quotes: always", "user: user", "5 values from 1 to 5"]);
}

#[test]
fn a_column_may_be_called_like_a_number() {
    let row = |at: usize, (user, item, stars, _): (usize, usize, usize, usize)| {
        let stars = if at % 40 == 7 { "nan".to_owned() } else { stars.to_string() };
        format!("u{user},i{item},{stars}")
    };
    for header in ["a,b,nan", "user,item,nan"] {
        let found = of_text("log.csv", text(header, row)).unwrap();
        assert!(found.text.contains("with a header") && !found.text.contains("names:"), "{header}: {}", found.text);
    }
    let found =
        of_text("log.csv", text("user,item,2021", |_, (user, item, stars, _)| format!("u{user},i{item},{stars}")))
            .unwrap();
    assert_eq!(sizes(&found), [600, 30, 41].map(Value::from).each_ref());
}

#[test]
fn decimal_commas_are_read_and_others_are_refused() {
    let row = |_, (user, item, stars, _)| format!("u{user};i{item};{stars},5");
    for header in ["user;item;rating", ""] {
        let found = of_text("log.csv", text(header, row)).unwrap();
        has(&found, &["        decimal: \",\" # 4,5 is 4.5", "5 values from 1.5 to 5.5: ratings"]);
        let table: Table = serde_json::from_value(found.details["settings"].clone()).unwrap();
        assert_eq!(table.log.decimal, Decimal::Comma);
    }
    let points =
        of_text("log.csv", text("user;item;rating", |_, (user, item, stars, _)| format!("u{user};i{item};{stars}.5")))
            .unwrap();
    assert!(!points.text.contains("decimal"), "{}", points.text);
    let thousands = text("user;item;plays", |_, (user, item, stars, _)| format!("u{user};i{item};{stars},500"));
    let refused = error(of_text("log.csv", thousands));
    assert!(
        refused.contains("column `plays` holds numbers with commas (`1,500`") && refused.contains("\nhelp: "),
        "{refused}"
    );
}

#[test]
fn counts_are_rescaled_and_doubtful_ones_are_marked() {
    // Of 600 plays half are one, a fourth two, and so on.
    let play = |at: usize, most: u32| (1 + at.trailing_ones()).min(most) * if at % 97 == 96 { 6 } else { 1 };
    let row = |at, (user, item, ..): (usize, usize, usize, usize)| format!("u{user},i{item},{}", play(at, 9));
    let found = of_text("log.csv", text("", row)).unwrap();
    assert_eq!(found.details["feedback"], "amounts", "{}", found.text);
    has(
        &found,
        &[
            "# ← by its content; amounts up to 18",
            "`--columns rating=column_3` of `init` takes",
            "use: rescale",
            "by: log",
            "use: world.ials",
        ],
    );
    let said = of_text_with("log.csv", text("user,item,freq", row), &[("rating", "freq")]).unwrap();
    has(
        &said,
        &["rating: freq # ← as you say; ", "above 0 are 1, as of counts", "`--columns amount=freq`", "use: world.mf"],
    );
    let counted = of_text_with("log.csv", text("user,item,freq", row), &[("amount", "freq")]).unwrap();
    assert_eq!(counted.details["feedback"], "amounts");
    has(&counted, &["rating: freq # as you say; amounts up to", "use: rescale"]);
}

#[test]
fn a_log_of_one_item_or_one_user_is_warned_of() {
    let item =
        of_text("log.csv", text("user,item,rating", |at, (_, _, stars, _)| format!("u{at},i1,{stars}"))).unwrap();
    has(&item, &["  # ← the log has one item only: there is nothing to rank"]);
    assert!(item.findings.iter().any(|(name, text)| name == "warning" && text.contains("one item only")));
    let user = of_text("log.csv", text("user,item,rating", |at, (_, _, stars, _)| format!("u,i{at},{stars}"))).unwrap();
    has(&user, &["  # ← the log has one user only", "600 rows of 1 user and 600 items"]);
}

#[test]
fn times_that_are_dates_in_part_are_refused_with_the_first_bad_one() {
    let dated = |bad: usize| {
        text("user,item,rating,watched", move |at, (user, item, stars, day)| {
            let date = if at % bad == 2 { "yesterday".to_owned() } else { format!("2021-01-{:02}", day + 1) };
            format!("u{user},i{item},{stars},{date}")
        })
    };
    let refused = error(of_text("log.csv", dated(4)));
    assert!(
        refused.contains("column `watched` holds dates in 450 of 600 rows looked at")
            && refused.contains("the first: line 4, \"yesterday\"")
            && refused.contains("`--columns timestamp=watched`"),
        "{refused}"
    );
    let dropped = of_text_with("log.csv", dated(4), &[("timestamp", "watched")]).unwrap();
    assert_eq!((&dropped.details["bad_rows"], &dropped.details["rows"]), (&150.into(), &450.into()));
    let few = of_text("log.csv", dated(50)).unwrap();
    has(
        &few,
        &[
            "on_bad_row: drop # 12 (2.0 %) would be refused: 12 × `watched` is not a date as 2021-01-31; the first: line 4, \"yesterday\"",
        ],
    );
    let units = |of: usize| {
        text("user,item,rating,time", move |at, (user, item, stars, _)| {
            let time = 1_600_000_000_000_usize + 1_000_000 * at;
            format!("u{user},i{item},{stars},{}", if at % of == 2 { time / 1000 } else { time })
        })
    };
    let refused = error(of_text("log.csv", units(3)));
    assert!(
        refused.contains(
            "holds times in two units: of 600 rows looked at 400 are plausible as milliseconds and 200 as seconds"
        ),
        "{refused}"
    );
    let few = of_text("log.csv", units(60)).unwrap();
    has(&few, &["timestamp: { column: time } # ← ", "10 of 600 times are implausible in milliseconds"]);
}

#[test]
fn dates_of_another_form_are_read_where_it_is_plain() {
    let dated = |form: &'static str| {
        text("user,item,rating,date", move |_, (user, item, stars, day)| {
            let [day, month] = [format!("{:02}", day + 1), format!("{:02}", 1 + day % 3)];
            format!("u{user},i{item},{stars},{}", form.replace("DD", &day).replace("MM", &month))
        })
    };
    for (form, wanted) in [("MM/DD/2021", "%m/%d/%Y"), ("DD.MM.2021 12:30", "%d.%m.%Y %H:%M"), ("DD.MM.21", "%d.%m.%y")]
    {
        let found = of_text("log.csv", dated(form)).unwrap();
        has(
            &found,
            &[
                &format!(
                    "timestamp: {{ column: date, format: \"{wanted}\" }} # by its name; `date` holds dates as `{wanted}`, from 2021-01-01 to 2021-03-27"
                ),
                "by: time",
            ],
        );
    }
    let open = error(of_text(
        "log.csv",
        text("user,item,rating,date", |_, (user, item, stars, day)| {
            format!("u{user},i{item},{stars},{:02}/0{}/2021", 1 + day % 12, 1 + day % 3)
        }),
    ));
    assert!(
        open.contains("whose form is open")
            && open.contains("`%d/%m/%Y` and as `%m/%d/%Y`")
            && open.contains("\nhelp: "),
        "{open}"
    );
    let decimal = of_text(
        "log.csv",
        text("user,item,time", |at, (user, item, ..)| format!("u{user},i{item},{}.25", 1_600_000_000 + at)),
    )
    .unwrap();
    assert!(
        decimal.findings.iter().any(|(name, text)| name == "timestamp" && text == "`time` (by its name; times)"),
        "{:?}",
        decimal.findings
    );
}

#[test]
fn a_text_in_another_encoding_is_told_how_to_be_written_anew() {
    let latin = |every: usize| -> Vec<u8> {
        let text = text("user,item,rating", move |at, (user, item, stars, _)| {
            format!("u{user},{}{item},{stars}", if at % every == 0 { "Amélie" } else { "x" })
        });
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    };
    let refused = error(of_text("log.csv", latin(1)));
    assert!(
        refused.contains("help: write it in UTF-8, as by `iconv -f WINDOWS-1252 -t UTF-8 ")
            && refused.contains("log-utf8.csv`"),
        "{refused}"
    );
    has(
        &of_text("log.csv", latin(40)).unwrap(),
        &["on_bad_row: drop # ← 15 (2.5 %) would be refused: 15 × is not UTF-8", "`iconv -f WINDOWS-1252"],
    );
}

#[test]
fn a_catalogue_is_counted_apart_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "log.csv", text("user,item,rating", |_, (user, item, stars, _)| format!("u{user},i{item},{stars}")));
    write(
        at,
        "films.csv",
        "item,title\n".to_owned() + &(0..1200).map(|item| format!("i{item},Film {item}\n")).collect::<String>(),
    );
    let request = LogFiles {
        folder: at.to_path_buf(),
        log: at.join("log.csv"),
        items: Some(at.join("films.csv")),
        ..LogFiles::default()
    };
    let found = experiment_for(&request).unwrap();
    has(&found, &["  # 600 rows of 30 users and 41 items (the catalogue has 1,200 items).\n"]);
    assert_eq!((&found.details["items"], &found.details["items_of_log"]), (&1200.into(), &41.into()));
}

#[test]
fn recbole_folders_get_lines_of_features_and_amounts_their_treatment() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::create_dir(at.join("set")).unwrap();
    write(
        at,
        "set/x.inter",
        text("user_id:token\titem_id:token\tweight:float", |at, (user, item, ..)| {
            format!("u{user}\ti{item}\t{}", 7 * at)
        }),
    );
    let items: String = (0..50)
        .map(|item| format!("i{item}\tFilm {item}\t{}.5\t{}\n", 7 * item % 50, ["red big", "big", "red"][item % 3]))
        .collect();
    write(at, "set/x.item", "item_id:token\ttitle:token_seq\tprice:float\tlooks:token_seq\n".to_owned() + &items);
    let users: String = (0..30).map(|user| format!("u{user}\t{}\n", 20 + user * 7 % 30)).collect();
    write(at, "set/x.user", "user_id:token\tage:float\n".to_owned() + &users);
    let found = look(at, "set").unwrap();
    assert_eq!(found.details["feedback"], "amounts");
    has(
        &found,
        &[
            "      rating: weight # by its name\n",
            "      # features: [price, looks] # other fields of the items",
            "      #   items: { price: numeric, looks: { multi_valued: \" \" } } # with `features` of `log`. price: numbers; looks: sequences of 2 values\n",
            "      #   users: { age: numeric } # age: numbers\n",
            "600 rows of 30 users and 41 items (the catalogue has 50 items)",
        ],
    );
}
